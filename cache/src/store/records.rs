//! What is known for cache keys, and for states (early cutoff).

use std::collections::HashSet;
use std::sync::Mutex;

use bld_oci::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension as _;
use rusqlite::params;

use crate::error::StoreError;
use crate::key::CacheKey;
use crate::key::KeyPart;
use crate::record::LayerId;
use crate::record::Origin;
use crate::record::Record;
use crate::record::State;
use crate::record::StateId;
use crate::store::Store;
use crate::store::database::Database;
use crate::store::database::fixed;
use crate::store::guard;

/// When a record was last used is noted no finer than this, in seconds: a build that hits everything writes nothing.
const GRAIN: i64 = 3600;

/// The records of a store.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    pub(super) store: &'a Store,
}

/// What is known for a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// Its layers, bottom to top.
    pub layers: Vec<LayerId>,
    /// When it was first made.
    pub created: Timestamp,
}

/// Results used since the last note of it.
#[derive(Debug, Default)]
pub(crate) struct Touched(Mutex<(HashSet<i64>, i64)>);

/// A row of `results`.
struct Row {
    id: i64,
    state: [u8; 32],
    layers: Vec<u8>,
    created: Timestamp,
    parts: Vec<u8>,
    operation: Option<[u8; 32]>,
    origin: Option<Vec<u8>>,
    last_used: i64,
}

/// When and why a result was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// When, in seconds since 1970.
    pub seconds: i64,
    /// Why: `to stay under 20GB`, `by bld prune`.
    pub reason: String,
}

/// So many removals are remembered.
const TOMBSTONES: i64 = 100_000;

impl<'a> Records<'a> {
    pub(crate) fn new(store: &'a Store) -> Records<'a> {
        Records { store }
    }

    /// The record of a key, if all its layers can be used.
    pub fn get(self, key: CacheKey) -> Result<Option<Record>, StoreError> {
        let row = self.store.database().read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, state, layers, seconds, nanoseconds, parts, last_used, operation, origin
                     FROM keys JOIN results ON results.id = keys.result WHERE key = ?1",
                )?
                .query_row([key.as_bytes()], |row| {
                    Ok(Row {
                        id: row.get(0)?,
                        state: fixed(row, 1)?,
                        layers: row.get(2)?,
                        created: Timestamp { seconds: row.get(3)?, nanoseconds: row.get(4)? },
                        parts: row.get(5).unwrap_or_default(),
                        last_used: row.get(6)?,
                        // What only explains costs no hit, whatever it is.
                        operation: row.get(7).unwrap_or_default(),
                        origin: row.get(8).unwrap_or_default(),
                    })
                })
                .optional()
        })?;
        let Some(row) = row else { return Ok(None) };
        let layers = layers_from(&row.layers);
        // Parts that cannot be read cost the explanation of a miss, not the hit.
        let parts: Vec<KeyPart> = serde_json::from_slice(&row.parts).unwrap_or_default();
        let origin: Option<Origin> = row.origin.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if !self.store.layers().exists(&layers)? {
            return Ok(None);
        }
        let now = self.store.now().seconds;
        if now.abs_diff(row.last_used) > GRAIN.unsigned_abs() {
            self.store.shared.touched.add(row.id, now);
        }
        let state = State { id: StateId::from_stored(row.state), layers };
        Ok(Some(Record { state, created: row.created, parts, operation: row.operation, origin }))
    }

    /// Remembers a record under all `keys`, and its state.
    pub fn put(self, keys: &[CacheKey], record: &Record) -> Result<(), StoreError> {
        // Parts are pairs of strings: they always have a JSON form.
        let parts = serde_json::to_vec(&record.parts).unwrap_or_default();
        let origin = record.origin.as_ref().and_then(|origin| serde_json::to_vec(origin).ok());
        let layers = layers_to(&record.state.layers);
        let keep_state = self.state(record.state.id)?.is_some();
        let now = self.store.now().seconds;
        self.store.database().write(|connection| {
            // Found by its content: one more key leads to what is there.
            let known: Option<i64> = connection
                .prepare_cached(
                    "SELECT id FROM results WHERE operation = ?1 AND state = ?2 AND layers = ?3 AND origin IS ?4
                     AND seconds = ?5 AND nanoseconds = ?6",
                )?
                .query_row(
                    params![
                        record.operation,
                        record.state.id.as_bytes(),
                        layers,
                        origin,
                        record.created.seconds,
                        record.created.nanoseconds
                    ],
                    |row| row.get(0),
                )
                .optional()?;
            let result = if let Some(known) = known {
                connection.prepare_cached("UPDATE results SET last_used = ?2 WHERE id = ?1")?.execute([known, now])?;
                known
            } else {
                connection
                    .prepare_cached(
                        "INSERT INTO results (state, layers, seconds, nanoseconds, parts, last_used, operation, origin)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )?
                    .execute(params![
                        record.state.id.as_bytes(),
                        layers,
                        record.created.seconds,
                        record.created.nanoseconds,
                        parts,
                        now,
                        record.operation,
                        origin
                    ])?;
                connection.last_insert_rowid()
            };
            for key in keys {
                put_key(connection, *key, result)?;
            }
            if !keep_state {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO states (id, layers, seconds, nanoseconds) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![
                        record.state.id.as_bytes(),
                        layers,
                        record.created.seconds,
                        record.created.nanoseconds
                    ])?;
            }
            Ok(())
        })
    }

    /// What is known for a state, if all its layers can be used. The first that made it stays.
    pub fn state(self, id: StateId) -> Result<Option<StateRecord>, StoreError> {
        let found = self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT layers, seconds, nanoseconds FROM states WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, Timestamp { seconds: row.get(1)?, nanoseconds: row.get(2)? }))
                })
                .optional()
        })?;
        let Some((layers, created)) = found else { return Ok(None) };
        let layers = layers_from(&layers);
        Ok(self.store.layers().exists(&layers)?.then_some(StateRecord { layers, created }))
    }

    /// Who made the results of keys, as far as that is known.
    pub fn origins(self, keys: &[CacheKey]) -> Result<Vec<Option<Origin>>, StoreError> {
        self.store.database().read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT origin FROM keys JOIN results ON results.id = keys.result WHERE key = ?1")?;
            let mut origins = Vec::with_capacity(keys.len());
            for key in keys {
                let bytes: Option<Option<Vec<u8>>> =
                    statement.query_row([key.as_bytes()], |row| Ok(row.get(0).unwrap_or_default())).optional()?;
                origins.push(bytes.flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok()));
            }
            Ok(origins)
        })
    }

    /// The state that a key stands for, and who made it; whether its layers can be used is another question.
    pub fn made(self, key: CacheKey) -> Result<Option<(StateId, Option<Origin>)>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached(
                    "SELECT state, origin FROM keys JOIN results ON results.id = keys.result WHERE key = ?1",
                )?
                .query_row([key.as_bytes()], |row| {
                    let origin: Option<Vec<u8>> = row.get(1).unwrap_or_default();
                    let origin = origin.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    Ok((StateId::from_stored(fixed(row, 0)?), origin))
                })
                .optional()
        })
    }

    /// Whether anything is known that this operation made, on whatever it was done.
    pub fn knows_operation(self, operation: &[u8; 32]) -> Result<bool, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM results WHERE operation = ?1)")?
                .query_row([operation], |row| row.get(0))
        })
    }

    /// Forgets what is known for a key: the next look-up misses, and [`Records::tombstone`] says why.
    pub fn remove(self, key: CacheKey, reason: &str) -> Result<(), StoreError> {
        let now = self.store.now().seconds;
        self.store.database().write(|connection| {
            bury(connection, "key = ?3", &[key.as_bytes()], now, reason)?;
            connection.prepare_cached("DELETE FROM keys WHERE key = ?1")?.execute([key.as_bytes()]).map(|_| ())
        })
    }

    /// When and why what was known for a key was removed.
    pub fn tombstone(self, key: CacheKey) -> Result<Option<Tombstone>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT seconds, reason FROM tombstones WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok(Tombstone { seconds: row.get(0)?, reason: row.get(1)? }))
                .optional()
        })
    }
}

impl Touched {
    fn add(&self, result: i64, now: i64) {
        let mut touched = guard(&self.0);
        touched.0.insert(result);
        touched.1 = now;
    }

    pub(crate) fn flush(&self, database: &Database) -> Result<(), StoreError> {
        let (results, now) = std::mem::take(&mut *guard(&self.0));
        if results.is_empty() {
            return Ok(());
        }
        database.write(|connection| {
            let mut statement = connection.prepare_cached("UPDATE results SET last_used = ?2 WHERE id = ?1")?;
            for result in &results {
                statement.execute([*result, now])?;
            }
            Ok(())
        })
    }
}

/// Points a key at a result; a result no key points at any more goes.
fn put_key(connection: &Connection, key: CacheKey, result: i64) -> rusqlite::Result<()> {
    let before: Option<i64> = connection
        .prepare_cached("SELECT result FROM keys WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO keys (key, result) VALUES (?1, ?2)")?
        .execute(params![key.as_bytes(), result])?;
    if let Some(before) = before {
        connection
            .prepare_cached("DELETE FROM results WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM keys WHERE result = ?1)")?
            .execute([before])?;
    }
    Ok(())
}

/// Notes why keys that meet `condition` are about to go. Its parameters begin with `?3`.
pub(crate) fn bury(
    connection: &Connection,
    condition: &str,
    parameters: &[&dyn rusqlite::ToSql],
    now: i64,
    reason: &str,
) -> rusqlite::Result<()> {
    let mut all: Vec<&dyn rusqlite::ToSql> = vec![&now, &reason];
    all.extend(parameters);
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO tombstones (key, seconds, reason) SELECT key, ?1, ?2 FROM keys WHERE {condition}"
        ))?
        .execute(all.as_slice())?;
    trim_tombstones(connection)
}

/// [`bury`] for all keys of a result, without looking whether there are too many tombstones.
pub(crate) fn bury_result(connection: &Connection, result: i64, now: i64, reason: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tombstones (key, seconds, reason) SELECT key, ?2, ?3 FROM keys WHERE result = ?1",
        )?
        .execute(params![result, now, reason])
        .map(|_| ())
}

/// Forgets the oldest removals if there are too many.
pub(crate) fn trim_tombstones(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM tombstones WHERE seconds < (SELECT seconds FROM tombstones ORDER BY seconds DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([TOMBSTONES])
        .map(|_| ())
}

/// Ids one after the other.
pub(crate) fn layers_to(layers: &[LayerId]) -> Vec<u8> {
    layers.iter().flat_map(|layer| *layer.as_bytes()).collect()
}

pub(crate) fn layers_from(bytes: &[u8]) -> Vec<LayerId> {
    bytes.as_chunks::<16>().0.iter().map(|chunk| LayerId::from_bytes(*chunk)).collect()
}
