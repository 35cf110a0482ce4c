//! Read-only views of file trees: a chain of layers, or a build context. COPY, its cache keys and look-ups of names in an image
//! see nothing else, so one implementation serves every source.

pub mod merged;

use std::fs::File;
use std::path::PathBuf;

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::layer::Metadata;
use rayon::prelude::*;

/// Says of a name in a directory whether anybody wants to know what it is.
pub type Wanted<'a> = dyn Fn(&[u8]) -> bool + Sync + 'a;

/// A tree of files that can be looked at and read.
pub trait TreeView: Send + Sync {
    /// What is at `path`, symbolic links not followed: neither the last component nor those before it (a path through a symbolic
    /// link does not exist here; [`resolve`] walks links). `None` if nothing is there.
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError>;

    /// The names in the directory `path`, sorted by bytes; empty if there is no such directory.
    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError>;

    /// The wanted names in the directory `path`, sorted by bytes, and what they are: [`TreeView::children`] and [`TreeView::node`] in one.
    fn entries(&self, path: &ImagePath, is_wanted: &Wanted<'_>) -> Result<Vec<(Vec<u8>, ViewNode)>, ViewError> {
        let mut names = self.children(path)?;
        names.retain(|name| is_wanted(name));
        let look = |name: Vec<u8>| self.node(&path.join(&name)).map(|node| Some((name, node?))).transpose();
        if names.len() < 64 {
            return names.into_iter().filter_map(look).collect();
        }
        names.into_par_iter().with_min_len(32).filter_map(look).collect()
    }

    /// The hash of the bytes of the regular file `path`.
    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError>;

    /// Whether the regular file `path` holds what [`TreeView::content`] says as long as its status does not change. Else its bytes have to
    /// be hashed by whoever uses them.
    fn is_settled(&self, _path: &ImagePath) -> Result<bool, ViewError> {
        // Stored trees do not change.
        Ok(true)
    }

    /// The regular file `path`, opened for reading. Never blocks and never opens anything but a regular file.
    fn open(&self, path: &ImagePath) -> Result<File, ViewError>;
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewNode {
    /// What it is.
    pub kind: ViewKind,
    /// Its metadata. In a build context the owner is 0:0.
    pub metadata: Metadata,
}

/// What a path of a view is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Size in bytes.
        size: u64,
        /// The same for all names of one inode, if it has several in this view.
        link_group: Option<u64>,
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket: skipped by every copy.
    Socket,
}

impl ViewKind {
    /// What it is called in a sentence.
    pub fn article(&self) -> &'static str {
        match self {
            ViewKind::Directory => "a directory",
            ViewKind::File { .. } => "a file",
            ViewKind::Symlink { .. } => "a symbolic link",
            ViewKind::CharDevice { .. } | ViewKind::BlockDevice { .. } => "a device",
            ViewKind::Fifo => "a named pipe",
            ViewKind::Socket => "a socket",
        }
    }
}

/// A view could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// More than 40 symbolic links on one way.
    #[error("too many levels of symbolic links at {path}")]
    SymlinkLoop {
        /// Where it was given up.
        path: ImagePath,
    },
    /// The file changed while it was read.
    #[error("{path} changed while it was read")]
    Changed {
        /// Which file.
        path: ImagePath,
    },
    /// A store object is missing or broken.
    #[error("cannot read the stored tree of a layer")]
    Store {
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Follows `path` from the root of `view`: symbolic links in its directories, and the last component's too if `follow_last`. Links
/// never lead out of the root. Answers the real path and what is there, or the real path where the first missing component would be
/// (with the rest appended) and `None`.
pub fn resolve(
    view: &dyn TreeView,
    path: &ImagePath,
    follow_last: bool,
) -> Result<(ImagePath, Option<ViewNode>), ViewError> {
    let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut at = ImagePath::root();
    let mut node = view.node(&at)?;
    let mut links = 0;
    while let Some(component) = pending.pop() {
        if component == b".." {
            at = at.parent().unwrap_or_else(ImagePath::root);
            node = view.node(&at)?;
            continue;
        }
        let next = at.join(&component);
        match view.node(&next)? {
            Some(ViewNode { kind: ViewKind::Symlink { target }, .. }) if follow_last || !pending.is_empty() => {
                links += 1;
                if links > 40 {
                    return Err(ViewError::SymlinkLoop { path: next });
                }
                if target.first() == Some(&b'/') {
                    at = ImagePath::root();
                }
                pending.extend(
                    target
                        .split(|byte| *byte == b'/')
                        .filter(|part| !part.is_empty() && *part != b".")
                        .rev()
                        .map(<[u8]>::to_vec),
                );
                node = view.node(&at)?;
            }
            found @ Some(_) => {
                at = next;
                node = found;
            }
            None => {
                at = next;
                while let Some(rest) = pending.pop() {
                    at = at.join(&rest);
                }
                return Ok((at, None));
            }
        }
    }
    Ok((at, node))
}
