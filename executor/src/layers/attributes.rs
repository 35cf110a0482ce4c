//! Extended attributes: which ones belong to an image, and how those that overlayfs would obey are kept from it.
//!
//! ```text
//! in the image and in the index            on disk
//! user.x  trusted.x  security.capability   the same
//! trusted.overlay.x                        trusted.overlay.overlay.x     (user.overlay.x in a user namespace)
//! -                                        trusted.overlay.opaque=y      the directory hides what is below it
//! system.*  other security.*               dropped: they belong to a machine
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

pub(super) type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// The prefix of the extended attributes that an overlay mount obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayFlavor {
    /// `trusted.overlay.`: mounted by root of the machine.
    Trusted,
    /// `user.overlay.`: mounted with `userxattr`, as in a user namespace.
    User,
}

impl OverlayFlavor {
    fn prefix(self) -> &'static [u8] {
        match self {
            OverlayFlavor::Trusted => b"trusted.overlay.",
            OverlayFlavor::User => b"user.overlay.",
        }
    }

    /// The name on disk of the marker of an opaque directory.
    pub(super) fn opaque(self) -> Vec<u8> {
        [self.prefix(), b"opaque"].concat()
    }

    /// The name on disk of an attribute that the image calls `name`.
    pub(super) fn escape(self, name: &[u8]) -> Vec<u8> {
        match name.strip_prefix(self.prefix()) {
            Some(rest) => [self.prefix(), b"overlay.", rest].concat(),
            None => name.to_vec(),
        }
    }

    /// Sorts what is on disk into what belongs to the image and what overlayfs wrote for itself.
    pub(super) fn interpret(self, on_disk: Attributes) -> Interpreted {
        let mut found = Interpreted::default();
        for (name, value) in on_disk {
            let Some(own) = name.strip_prefix(self.prefix()) else {
                if belongs_to_image(&name) {
                    found.image.insert(name, value);
                }
                continue;
            };
            match own {
                b"opaque" => found.opaque = value == b"y",
                b"redirect" | b"metacopy" | b"whiteout" => {
                    found.feature = Some(String::from_utf8_lossy(own).into_owned());
                }
                _ => {
                    if let Some(rest) = own.strip_prefix(b"overlay.") {
                        found.image.insert([self.prefix(), rest].concat(), value);
                    }
                }
            }
        }
        found
    }
}

/// The attributes of one file, sorted.
#[derive(Debug, Default)]
pub(super) struct Interpreted {
    /// What the image means.
    pub(super) image: Attributes,
    /// Whether it is an opaque directory.
    pub(super) opaque: bool,
    /// A feature of overlayfs that bld never switches on.
    pub(super) feature: Option<String>,
}

/// Whether an attribute is part of an image at all. Labels of security modules and access lists come from the machine that the
/// file happens to be on.
pub(super) fn belongs_to_image(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"trusted.") || name == b"security.capability"
}

/// All attributes of an open file.
pub(super) fn read(file: impl AsFd) -> io::Result<Attributes> {
    let file = file.as_fd();
    collect(|buffer| rustix::fs::flistxattr(file, buffer), |name, buffer| rustix::fs::fgetxattr(file, name, buffer))
}

/// All attributes of `name` in `directory`, which may be a symbolic link or a device: such things cannot be opened.
pub(super) fn read_at(directory: impl AsFd, name: &[u8]) -> io::Result<Attributes> {
    let path = through_proc(directory, name);
    collect(
        |buffer| rustix::fs::llistxattr(path.as_slice(), buffer),
        |name, buffer| rustix::fs::lgetxattr(path.as_slice(), name, buffer),
    )
}

/// Sets an attribute of an open file.
pub(super) fn write(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

/// Sets an attribute of `name` in `directory`, not following it.
pub(super) fn write_at(directory: impl AsFd, name: &[u8], attribute: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(through_proc(directory, name), attribute, value, XattrFlags::empty())
}

/// The link in /proc leads to the open directory itself, wherever its name is now; only `name` is looked up in it.
fn through_proc(directory: impl AsFd, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).as_bytes(), name].concat()
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Attributes> {
    let mut attributes = Attributes::new();
    let mut small = [0; 256];
    let names = match list(&mut small) {
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut large = vec![0; 64 * 1024];
            let length = list(&mut large)?;
            large.truncate(length);
            large
        }
        Err(Errno::NOTSUP) => return Ok(attributes),
        Err(error) => return Err(error.into()),
    };
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut small = [0; 256];
        let value = match get(name, &mut small) {
            Ok(length) => small[..length].to_vec(),
            Err(Errno::RANGE) => {
                let mut large = vec![0; 64 * 1024];
                let length = get(name, &mut large)?;
                large.truncate(length);
                large
            }
            // Listed, but not for us: `trusted.` without the capability, or a label that a security module keeps.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => continue,
            Err(error) => return Err(error.into()),
        };
        attributes.insert(name.to_vec(), value);
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlayfs_obeys_is_escaped_and_comes_back() {
        for flavor in [OverlayFlavor::Trusted, OverlayFlavor::User] {
            for name in [
                b"trusted.overlay.redirect".as_slice(),
                b"user.overlay.opaque",
                b"trusted.overlay.overlay.x",
                b"user.plain",
                b"security.capability",
            ] {
                let disk = flavor.escape(name);
                let back = flavor.interpret([(disk, b"y".to_vec())].into());
                assert_eq!(back.image.keys().collect::<Vec<_>>(), [name], "{flavor:?}");
                assert!(!back.opaque && back.feature.is_none());
            }
            assert!(flavor.interpret([(flavor.opaque(), b"y".to_vec())].into()).opaque);
        }
    }
}
