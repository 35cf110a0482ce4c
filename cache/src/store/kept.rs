//! What failed steps left: a layer each that no cache key points at, and what somebody needs to know who looks into it.
//!
//! It is there until the next build begins, or until `bld prune`. The row comes before the layer and goes after it: whatever kills bld, a
//! layer of a failed step is never without a row that leads to it.

use std::collections::HashSet;

use rusqlite::Connection;
use rusqlite::OptionalExtension as _;
use rusqlite::params;
use rustix::fs::FlockOperation;

use crate::error::StoreError;
use crate::record::LayerId;
use crate::store::Store;
use crate::store::lease::Item;
use crate::store::objects::Kind;
use crate::store::records::layers_from;
use crate::store::records::layers_to;
use crate::store::trees::TreeObject;

/// What failed steps of a store left.
#[derive(Debug, Clone, Copy)]
pub struct KeptSteps<'a> {
    store: &'a Store,
}

/// What a failed step left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The build.
    pub build: String,
    /// The vertex in that build.
    pub vertex: u32,
    /// The layers the step began with, bottom to top, and the one it left.
    pub layers: Vec<LayerId>,
    /// What it ran with. Bytes to the store.
    pub facts: Vec<u8>,
}

impl<'a> KeptSteps<'a> {
    pub(crate) fn new(store: &'a Store) -> KeptSteps<'a> {
        KeptSteps { store }
    }

    /// Announces what a step leaves, before its layer is committed.
    pub fn put(self, kept: &Kept) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO kept (build, vertex, layers, facts) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![kept.build, kept.vertex, layers_to(&kept.layers), kept.facts])
                .map(|_| ())
        })
    }

    /// What a step left, if it can be used.
    pub fn get(self, build: &str, vertex: u32) -> Result<Option<Kept>, StoreError> {
        self.usable(self.select("WHERE build = ?1 AND vertex = ?2", &[&build, &vertex])?)
    }

    /// What the step left that failed last, if it can be used.
    pub fn newest(self) -> Result<Option<Kept>, StoreError> {
        self.usable(self.select("ORDER BY seq DESC LIMIT 1", &[])?)
    }

    /// Removes all of it, but for what a lease holds: somebody is looking at that.
    pub fn clear(self) -> Result<(), StoreError> {
        let is_any = self.store.database().read(|connection| {
            connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM kept)")?.query_row([], |row| row.get::<_, bool>(0))
        })?;
        if !is_any {
            return Ok(());
        }
        let _exclusive = self.store.gc_lock(FlockOperation::LockExclusive)?;
        let (leased, _) = self.store.leased()?;
        let leased: HashSet<LayerId> = leased
            .into_iter()
            .filter_map(|item| match item {
                Item::Layer(layer) => Some(layer),
                Item::Blob(_) => None,
            })
            .collect();
        let rows = self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT seq, layers FROM kept")?
                .query_map([], |row| Ok((row.get::<_, i64>(0)?, layers_from(&row.get::<_, Vec<u8>>(1)?))))?
                .collect::<Result<Vec<_>, _>>()
        })?;
        self.store.shared.layers.clear();
        for (row, layers) in rows {
            match layers.last() {
                Some(layer) if leased.contains(layer) => {}
                Some(layer) => self.remove(row, *layer)?,
                None => self.store.database().write(|connection| forget(connection, row))?,
            }
        }
        Ok(())
    }

    /// Removes one: its files first, so that the row finds them again if this stops half way.
    fn remove(self, row: i64, layer: LayerId) -> Result<(), StoreError> {
        let tree = self.store.database().read(|connection| {
            connection
                .prepare_cached(
                    "SELECT tree_object FROM layers WHERE id = ?1 AND NOT EXISTS
                        (SELECT 1 FROM layers AS others WHERE others.tree_object = layers.tree_object AND others.id != ?1)",
                )?
                .query_row([layer.as_bytes()], |row| row.get::<_, Option<[u8; 32]>>(0))
                .optional()
        })?;
        self.store.discard(&self.store.layers().path(layer))?;
        if let Some(tree) = tree.flatten() {
            self.store.discard(&self.store.trees().path(TreeObject::from_stored(tree)))?;
        }
        self.store.database().write(|connection| {
            connection.prepare_cached("DELETE FROM layers WHERE id = ?1")?.execute([layer.as_bytes()])?;
            connection.prepare_cached("DELETE FROM layer_blobs WHERE layer = ?1")?.execute([layer.as_bytes()])?;
            connection
                .prepare_cached("DELETE FROM objects WHERE kind = ?1 AND id = ?2")?
                .execute(params![Kind::Directory as i64, layer.as_bytes()])?;
            forget(connection, row)
        })
    }

    fn usable(self, found: Option<Kept>) -> Result<Option<Kept>, StoreError> {
        let Some(kept) = found else { return Ok(None) };
        Ok(self.store.layers().exists(&kept.layers)?.then_some(kept))
    }

    fn select(self, condition: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Option<Kept>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached(&format!("SELECT build, vertex, layers, facts FROM kept {condition}"))?
                .query_row(parameters, |row| {
                    let layers = layers_from(&row.get::<_, Vec<u8>>(2)?);
                    Ok(Kept { build: row.get(0)?, vertex: row.get(1)?, layers, facts: row.get(3)? })
                })
                .optional()
        })
    }
}

fn forget(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM kept WHERE seq = ?1")?.execute([row]).map(|_| ())
}
