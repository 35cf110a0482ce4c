//! Paths inside an image: absolute, normalised, unable to leave the root. Bytes, because layers may hold any name.

use std::fmt;

/// An absolute path without `.`, `..`, empty components, NUL or a trailing slash; the root is `/`.
///
/// Ordered by components (`/` sorts below every other byte), so that a directory comes right before what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImagePath(Vec<u8>);

impl ImagePath {
    /// `/`.
    pub fn root() -> ImagePath {
        ImagePath(vec![b'/'])
    }

    /// Reads a path as if it were written at the root: `.` and empty components vanish, `..` stops at `/`, and what follows a
    /// NUL is dropped because no file name can hold it.
    pub fn new(path: impl AsRef<[u8]>) -> ImagePath {
        ImagePath::root().join(path)
    }

    /// `path` seen from here: relative paths append, absolute ones replace; cleaned as in [`ImagePath::new`].
    #[must_use]
    pub fn join(&self, path: impl AsRef<[u8]>) -> ImagePath {
        let path = path.as_ref();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut out = Vec::with_capacity(self.0.len() + 1 + path.len());
        if path.first() != Some(&b'/') && !self.is_root() {
            out.extend_from_slice(&self.0);
        }
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
                name => {
                    out.push(b'/');
                    out.extend_from_slice(name);
                }
            }
        }
        if out.is_empty() {
            out.push(b'/');
        }
        ImagePath(out)
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The bytes, with the leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without the leading slash: empty for the root.
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// The directory it is in; `None` for the root.
    pub fn parent(&self) -> Option<ImagePath> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(ImagePath(self.0[..slash.max(1)].to_vec()))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        self.0.rsplit(|byte| *byte == b'/').next()
    }

    /// The components from the top.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.relative().split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// Whether this is `ancestor` or below it.
    pub fn starts_with(&self, ancestor: &ImagePath) -> bool {
        self.strip_prefix(ancestor).is_some()
    }

    /// The part below `ancestor` without a leading slash: empty if they are equal, `None` if this is not below it.
    pub fn strip_prefix(&self, ancestor: &ImagePath) -> Option<&[u8]> {
        if ancestor.is_root() {
            return Some(self.relative());
        }
        let rest = self.0.strip_prefix(ancestor.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &ImagePath) -> std::cmp::Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &ImagePath) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), formatter)
    }
}

impl AsRef<[u8]> for ImagePath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
