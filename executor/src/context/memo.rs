//! Hashes of files that are known without reading them.

use bld_cache::store::KnownFile;
use bld_oci::ImagePath;

use super::FileStat;

/// Remembers content hashes by file status, across builds. The rule for files changed too recently to be told apart by their
/// times is the implementation's.
pub trait HashMemo: Send + Sync {
    /// What is known of `path` if its status is what it was when it was looked into.
    fn lookup(&self, path: &ImagePath, stat: &FileStat) -> Option<KnownFile>;

    /// Whether a file with this status has not changed for so long that the next change will have another time.
    fn is_settled(&self, stat: &FileStat) -> bool;

    /// This was found out about `path` while it had this status, which was settled.
    fn insert(&self, path: &ImagePath, stat: &FileStat, known: KnownFile);
}

/// Remembers nothing. For directories that nobody but bld writes to.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemo;

impl HashMemo for NoMemo {
    fn lookup(&self, _path: &ImagePath, _stat: &FileStat) -> Option<KnownFile> {
        None
    }

    fn is_settled(&self, _stat: &FileStat) -> bool {
        true
    }

    fn insert(&self, _path: &ImagePath, _stat: &FileStat, _known: KnownFile) {}
}
