//! Small values that outlive a build: when an image was first made, which remote file was fetched before ...

use rusqlite::OptionalExtension as _;
use rusqlite::params;

use crate::error::StoreError;
use crate::store::Store;

/// A durable table of bytes, by name space and key. It is a cache: any of it may be gone.
#[derive(Debug, Clone, Copy)]
pub struct Memo<'a> {
    store: &'a Store,
}

impl<'a> Memo<'a> {
    pub(crate) fn new(store: &'a Store) -> Memo<'a> {
        Memo { store }
    }

    /// The value of a key.
    pub fn get(self, namespace: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT value FROM memo WHERE namespace = ?1 AND key = ?2")?
                .query_row(params![namespace, key], |row| row.get(0))
                .optional()
        })
    }

    /// Sets the value of a key.
    pub fn put(self, namespace: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO memo (namespace, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![namespace, key, value])
                .map(|_| ())
        })
    }

    /// Sets the value of a key unless it has one; the value it has now.
    pub fn get_or_put(self, namespace: &str, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.database().write(|connection| {
            connection
                .prepare_cached("INSERT OR IGNORE INTO memo (namespace, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![namespace, key, value])?;
            connection
                .prepare_cached("SELECT value FROM memo WHERE namespace = ?1 AND key = ?2")?
                .query_row(params![namespace, key], |row| row.get(0))
        })
    }
}
