//! What was taken from trees: lists of files, to say later which of them changed. One file per list, `selections/<64 hex>`, named by the
//! digest that stood for the same files in a cache key.
//!
//! A list is worth nothing but an explanation: it may be gone, and one that cannot be read is as good as gone.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;

/// So many lists are kept, the ones used last.
const KEPT: usize = 512;

/// The lists of a store.
#[derive(Debug, Clone, Copy)]
pub struct Selections<'a> {
    store: &'a Store,
}

impl<'a> Selections<'a> {
    pub(crate) fn new(store: &'a Store) -> Selections<'a> {
        Selections { store }
    }

    /// Whether there is a list of this digest.
    pub fn contains(self, digest: &[u8; 32]) -> bool {
        self.path(digest).exists()
    }

    /// A list.
    pub fn get(self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(digest);
        file::gone(fs::read(&path)).context("read", &path)
    }

    /// Keeps a list.
    pub fn put(self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), StoreError> {
        let from = self.store.shared.process.fresh();
        fs::write(&from, bytes).context("write", &from)?;
        let path = self.path(digest);
        fs::rename(&from, &path).context("rename", &from)?;
        self.forget_oldest()
    }

    fn forget_oldest(self) -> Result<(), StoreError> {
        let directory = self.store.path("selections");
        let names = file::names(&directory)?;
        // A quarter more, so that the rest is not looked at every time.
        if names.len() <= KEPT + KEPT / 4 {
            return Ok(());
        }
        let mut all: Vec<(SystemTime, PathBuf)> = Vec::with_capacity(names.len());
        for name in names {
            let path = directory.join(name);
            let Some(status) = file::gone(fs::metadata(&path)).context("inspect", &path)? else { continue };
            all.push((status.modified().context("inspect", &path)?, path));
        }
        all.sort();
        let surplus = all.len().saturating_sub(KEPT);
        for (_, path) in all.into_iter().take(surplus) {
            file::gone(fs::remove_file(&path)).context("remove", &path)?;
        }
        Ok(())
    }

    fn path(self, digest: &[u8; 32]) -> PathBuf {
        self.store.path("selections").join(hex::encode(digest))
    }
}
