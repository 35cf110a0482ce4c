//! The results of a store as lists show them.

use std::collections::HashMap;

use bld_oci::Timestamp;
use rusqlite::OptionalExtension as _;

use crate::error::StoreError;
use crate::key::CacheKey;
use crate::key::KeyPart;
use crate::record::LayerId;
use crate::record::Origin;
use crate::record::Record;
use crate::record::State;
use crate::record::StateId;
use crate::store::database::fixed;
use crate::store::database::unsigned;
use crate::store::records::Records;
use crate::store::records::Tombstone;
use crate::store::records::layers_from;

/// A result and all keys that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedResult {
    /// Names it in this store, for [`Garbage::forget`](super::Garbage::forget).
    pub number: i64,
    /// Its keys, sorted; there is at least one.
    pub keys: Vec<CacheKey>,
    /// The record, without the parts of its key: see [`Records::parts`].
    pub record: Record,
    /// When it was last used, in seconds since 1970; no finer than an hour.
    pub last_used: i64,
    /// The bytes of the files of each of its layers, as far as they were ever unpacked.
    pub layer_sizes: Vec<u64>,
}

impl Records<'_> {
    /// All results, in the order they were made.
    pub fn list(self) -> Result<Vec<CachedResult>, StoreError> {
        self.store.database().read(|connection| {
            let mut keys: HashMap<i64, Vec<CacheKey>> = HashMap::new();
            let mut statement = connection.prepare_cached("SELECT result, key FROM keys ORDER BY key")?;
            for row in statement.query_map([], |row| Ok((row.get(0)?, CacheKey::from_stored(fixed(row, 1)?))))? {
                let (result, key) = row?;
                keys.entry(result).or_default().push(key);
            }
            let mut sizes: HashMap<LayerId, u64> = HashMap::new();
            let mut statement = connection.prepare_cached("SELECT id, size FROM layers")?;
            for row in statement
                .query_map([], |row| Ok((LayerId::from_bytes(fixed(row, 0)?), unsigned(row.get::<_, i64>(1)?))))?
            {
                sizes.extend([row?]);
            }
            let mut statement = connection.prepare_cached(
                "SELECT id, state, layers, seconds, nanoseconds, operation, origin, last_used FROM results ORDER BY id",
            )?;
            let mut found = Vec::new();
            for row in statement.query_map([], |row| {
                let number: i64 = row.get(0)?;
                let layers = layers_from(&row.get::<_, Vec<u8>>(2)?);
                let origin: Option<Origin> =
                    row.get::<_, Option<Vec<u8>>>(6)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                let layer_sizes = layers.iter().map(|layer| sizes.get(layer).copied().unwrap_or(0)).collect();
                let record = Record {
                    state: State { id: StateId::from_stored(fixed(row, 1)?), layers },
                    created: Timestamp { seconds: row.get(3)?, nanoseconds: row.get(4)? },
                    parts: Vec::new(),
                    operation: row.get(5)?,
                    origin,
                };
                let keys = keys.remove(&number).unwrap_or_default();
                Ok(CachedResult { number, keys, record, last_used: row.get(7)?, layer_sizes })
            })? {
                found.push(row?);
            }
            found.retain(|result| !result.keys.is_empty());
            Ok(found)
        })
    }

    /// What the key was made of that a result was made under.
    pub fn parts(self, result: i64) -> Result<Vec<KeyPart>, StoreError> {
        let parts: Option<Vec<u8>> = self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT parts FROM results WHERE id = ?1")?
                .query_row([result], |row| row.get(0))
                .optional()
        })?;
        Ok(parts.and_then(|parts| serde_json::from_slice(&parts).ok()).unwrap_or_default())
    }

    /// Takes keys away from results that have others: they are found by those only.
    pub fn unlink(self, keys: &[CacheKey]) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            let mut delete = connection.prepare_cached(
                "DELETE FROM keys WHERE key = ?1 AND (SELECT count(*) FROM keys AS others WHERE others.result = keys.result) > 1",
            )?;
            keys.iter().try_for_each(|key| delete.execute([key.as_bytes()]).map(|_| ()))
        })
    }

    /// What is remembered of removed results whose keys begin with these hex digits, the last removed first.
    pub fn tombstones(self, beginning: &str) -> Result<Vec<(CacheKey, Tombstone)>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached(
                    "SELECT key, seconds, reason FROM tombstones WHERE substr(lower(hex(key)), 1, length(?1)) = ?1
                     ORDER BY seconds DESC, key",
                )?
                .query_map([beginning], |row| {
                    let tombstone = Tombstone { seconds: row.get(1)?, reason: row.get(2)? };
                    Ok((CacheKey::from_stored(fixed(row, 0)?), tombstone))
                })?
                .collect()
        })
    }
}
