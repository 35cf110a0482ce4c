//! The store's stat cache as the memo of a build context.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bld_cache::Store;
use bld_cache::StoreError;
use bld_cache::store::KnownFile;
use bld_cache::store::StatCache;
use bld_cache::store::StatKey;
use bld_oci::ImagePath;
use bld_oci::Timestamp;

use super::FileStat;
use super::HashMemo;

/// Remembers content hashes in the store, by the context's path.
#[derive(Clone)]
pub struct StoreMemo {
    cache: Arc<StatCache>,
}

impl StoreMemo {
    /// The memo of the context at `directory`.
    #[expect(
        clippy::disallowed_methods,
        reason = "links in the path of a context are the user's, and nothing is opened by the answer"
    )]
    pub fn open(store: &Store, directory: &Path) -> Result<StoreMemo, StoreError> {
        // `.` is another directory tomorrow. One that has no name any more is opened by whoever reads it, who says so.
        let directory = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let id = blake3::hash(directory.as_os_str().as_encoded_bytes());
        Ok(StoreMemo { cache: Arc::new(store.stat_cache(&id.to_hex())?) })
    }

    /// Writes what is new. To be called when nobody else holds the memo any more; else nothing is written.
    pub fn save(self) -> Result<(), StoreError> {
        Arc::into_inner(self.cache).map_or(Ok(()), StatCache::save)
    }
}

impl HashMemo for StoreMemo {
    fn lookup(&self, path: &ImagePath, stat: &FileStat) -> Option<KnownFile> {
        self.cache.lookup(path.relative(), &key(stat))
    }

    fn is_settled(&self, stat: &FileStat) -> bool {
        self.cache.is_settled(&key(stat))
    }

    fn insert(&self, path: &ImagePath, stat: &FileStat, known: KnownFile) {
        self.cache.insert(path.relative(), key(stat), known);
    }
}

fn key(stat: &FileStat) -> StatKey {
    StatKey {
        dev: stat.device,
        ino: stat.inode,
        size: stat.size,
        mtime_ns: nanoseconds(stat.mtime),
        ctime_ns: nanoseconds(stat.ctime),
        mode: stat.mode,
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanoseconds))
}

impl fmt::Debug for StoreMemo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoreMemo").finish_non_exhaustive()
    }
}
