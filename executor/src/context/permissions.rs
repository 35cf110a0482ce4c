//! Whose permission bits the files of a build context have: those on disk, or those that a git commit has of them.
//!
//! A git commit knows one bit of a file, whether it may be executed. All others come from the umask of whoever checked it out, so
//! that one commit looks different on two machines. Seen as git keeps them, files are the same everywhere:
//!
//! ```text
//! regular file            0755 if its owner may execute it, else 0644
//! directory               0755
//! setuid, setgid, sticky  dropped
//! extended attributes     dropped, capabilities of files too
//! several names           are several files
//! symbolic link           as it is
//! ```

use bld_oci::layer::Metadata;

use crate::view::ViewKind;

/// The permission bits of a context's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContextPermissions {
    /// As on disk.
    #[default]
    Keep,
    /// As git would keep them, whatever checkout, copy or archive the files come from.
    Git,
}

impl ContextPermissions {
    /// Makes of a file what the context shows.
    pub(super) fn apply(self, kind: &mut ViewKind, metadata: &mut Metadata) {
        if self == ContextPermissions::Keep {
            return;
        }
        metadata.xattrs.clear();
        let is_executable = metadata.mode & 0o100 != 0;
        metadata.mode = match kind {
            ViewKind::Directory => 0o755,
            ViewKind::Symlink { .. } => metadata.mode,
            _ if is_executable => 0o755,
            _ => 0o644,
        };
        if let ViewKind::File { link_group, .. } = kind {
            *link_group = None;
        }
    }
}
