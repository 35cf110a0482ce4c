//! Removal of what nothing needs, and what the store takes up.
//!
//! Marking and unlinking happen under `locks/gc`, which every lease takes shared to grow; deleting happens afterwards, out of the
//! trash. Roots are images on the list, records, states, what failed steps left, and leases.

mod evict;
mod measure;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use bld_oci::Digest;
use rusqlite::Connection;
use rusqlite::params;
use rustix::fs::FlockOperation;
use serde_json::Value;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::record::LayerId;
use crate::store::Store;
use crate::store::database::CACHE_TABLES;
use crate::store::database::fixed;
use crate::store::database::unsigned;
use crate::store::file;
use crate::store::images;
use crate::store::lease::Item;
use crate::store::objects::Kind;
use crate::store::origins;
use crate::store::records;
use crate::store::records::layers_from;

pub use self::evict::Evicted;
pub use self::evict::Eviction;
pub use self::measure::Census;
pub use self::measure::LayerUsage;
pub(crate) use self::measure::disk_usage;

/// Where it is noted that a removal is under way.
const SWEEPING: (&str, &[u8]) = ("gc", b"sweeping");

/// Removal from a store.
#[derive(Debug, Clone, Copy)]
pub struct Garbage<'a> {
    store: &'a Store,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// How many blobs.
    pub blobs: u64,
    /// How many layers.
    pub layers: u64,
    /// Bytes, as far as they were counted when the objects were made.
    pub bytes: u64,
}

/// What a store holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Blobs.
    pub blobs: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// File indexes.
    pub trees: u64,
    /// Cache mounts.
    pub mounts: u64,
    /// Logs, stat caches, the index, quarantine, trash and what is being made.
    pub other: u64,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.blobs + self.layers + self.trees + self.mounts + self.other
    }
}

impl<'a> Garbage<'a> {
    pub(crate) fn new(store: &'a Store) -> Garbage<'a> {
        Garbage { store }
    }

    /// Removes layers that no record, no state and no lease needs, and blobs that no image, no layer and no lease needs.
    pub fn remove_unreferenced(self) -> Result<Freed, StoreError> {
        let exclusive = self.store.gc_lock(FlockOperation::LockExclusive)?;
        let (leased, _) = self.store.leased()?;
        let freed = self.sweep(&leased)?;
        drop(exclusive);
        self.store.shared.process.empty_trash()?;
        Ok(freed)
    }

    /// Removes everything but images that have a name and what running builds hold. Without either the store is empty afterwards.
    pub fn prune_all(self) -> Result<Freed, StoreError> {
        self.store.kept().clear()?;
        let exclusive = self.store.gc_lock(FlockOperation::LockExclusive)?;
        let (leased, live) = self.store.leased()?;
        self.store.images().remove_all_untagged()?;
        let now = self.store.now().seconds;
        self.store.database().write(|connection| {
            records::bury(connection, "true", &[], now, "by bld prune")?;
            CACHE_TABLES
                .iter()
                .try_for_each(|table| connection.execute(&format!("DELETE FROM {table}"), []).map(|_| ()))
        })?;
        let freed = self.sweep(&leased)?;
        // These have no leases of their own: they go when no build is running.
        let directories: &[&str] =
            if live == 0 { &["stat", "logs", "selections", "mounts", "git", "quarantine"] } else { &["quarantine"] };
        for directory in directories {
            let directory = self.store.path(directory);
            for name in file::names(&directory)? {
                self.store.discard(&directory.join(name))?;
            }
        }
        self.release_claims()?;
        drop(exclusive);
        self.store.shared.process.empty_trash()?;
        self.store.database().checkpoint()?;
        Ok(freed)
    }

    /// What the store holds.
    pub fn usage(self) -> Result<Usage, StoreError> {
        let size = |name: &str| disk_size(&self.store.path(name));
        let (blobs, trees, mounts) = (size("oci")?, size("trees")?, size("mounts")?);
        let layers = self.store.database().read(|connection| {
            connection.query_row("SELECT coalesce(sum(size), 0) FROM layers WHERE directory", [], |row| row.get(0))
        })?;
        let mut other = 0;
        for name in ["stat", "logs", "selections", "git", "quarantine", "trash", "tmp", "index.db", "index.db-wal"] {
            other += size(name)?;
        }
        Ok(Usage { blobs, layers: unsigned(layers), trees, mounts, other })
    }

    fn sweep(self, leased: &[Item]) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        let blobs = self.mark_images(leased)?;
        self.store.shared.layers.clear();
        let swept = self.store.database().write(|connection| {
            // Until the directories are gone too: nothing else tells that they are left over.
            connection
                .prepare_cached("INSERT OR REPLACE INTO memo (namespace, key, value) VALUES (?1, ?2, x'')")?
                .execute(params![SWEEPING.0, SWEEPING.1])?;
            sweep_rows(connection, leased, blobs.clone())
        })?;
        for (size, kind) in swept.removed {
            freed.bytes += size;
            match kind {
                Kind::Blob => freed.blobs += 1,
                Kind::Directory => freed.layers += 1,
            }
        }
        self.unlink("layers", |name| parse::<16>(name).is_none_or(|id| !swept.layers.contains(&id)))?;
        self.unlink("oci/blobs/sha256", |name| parse::<32>(name).is_none_or(|id| !swept.blobs.contains(&id)))?;
        let trees = self.store.path("trees");
        for shard in file::names(&trees)? {
            let directory = format!("trees/{}", shard.to_string_lossy());
            self.unlink(&directory, |name| {
                let mut whole = shard.clone();
                whole.push(name);
                parse::<32>(&whole).is_none_or(|id| !swept.trees.contains(&id))
            })?;
            // Goes if it is empty; a tree being added meanwhile finds the next one.
            fs::remove_dir(trees.join(&shard)).ok();
        }
        self.store.database().write(|connection| {
            connection
                .prepare_cached("DELETE FROM memo WHERE namespace = ?1 AND key = ?2")?
                .execute(params![SWEEPING.0, SWEEPING.1])
                .map(|_| ())
        })?;
        Ok(freed)
    }

    /// Whether a process died while it removed something.
    fn is_interrupted(self) -> Result<bool, StoreError> {
        Ok(self.store.memo().get(SWEEPING.0, SWEEPING.1)?.is_some())
    }

    /// Moves what nothing speaks of to the trash.
    fn unlink(self, directory: &str, dead: impl Fn(&OsStr) -> bool) -> Result<(), StoreError> {
        let directory = self.store.path(directory);
        for name in file::names(&directory)? {
            if dead(&name) {
                self.store.discard(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// The blobs that leases and listed images hold.
    fn mark_images(self, leased: &[Item]) -> Result<HashSet<[u8; 32]>, StoreError> {
        let mut marked = HashSet::new();
        for item in leased {
            if let Item::Blob(digest) = item {
                marked.insert(*digest.as_bytes());
            }
        }
        let mut open: Vec<(Digest, bool)> =
            self.store.images().list()?.into_iter().map(|(_, descriptor)| (descriptor.digest, true)).collect();
        let mut visited = HashSet::new();
        while let Some((digest, is_manifest)) = open.pop() {
            marked.insert(*digest.as_bytes());
            if !is_manifest || !visited.insert(digest) {
                continue;
            }
            let bytes = match self.store.blobs().read(&digest, images::METADATA_LIMIT) {
                Ok(bytes) => bytes,
                // A broken image holds nothing more; the others must not suffer for it.
                Err(error) if error.is_miss() => continue,
                Err(error) => return Err(error),
            };
            let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else { continue };
            let nested = manifest.get("manifests").is_some();
            open.extend(images::children(&manifest).into_iter().map(|child| (child.digest, nested)));
        }
        Ok(marked)
    }

    /// Removes the lock files of claims whose holders died.
    fn release_claims(self) -> Result<(), StoreError> {
        for name in file::names(&self.store.path("locks"))? {
            if let Some(claim) = name.to_str().and_then(|name| name.strip_prefix("claim-")) {
                drop(self.store.try_claim_name(claim)?);
            }
        }
        Ok(())
    }
}

/// What is left, and what went.
struct Swept {
    layers: HashSet<[u8; 16]>,
    blobs: HashSet<[u8; 32]>,
    trees: HashSet<[u8; 32]>,
    removed: Vec<(u64, Kind)>,
}

fn sweep_rows(connection: &Connection, leased: &[Item], mut blobs: HashSet<[u8; 32]>) -> rusqlite::Result<Swept> {
    let mut layers: HashSet<LayerId> = HashSet::new();
    for item in leased {
        if let Item::Layer(layer) = item {
            layers.insert(*layer);
        }
    }
    for query in ["SELECT layers FROM results", "SELECT layers FROM states", "SELECT layers FROM kept"] {
        let mut statement = connection.prepare(query)?;
        for row in statement.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
            layers.extend(layers_from(&row?));
        }
    }
    let mut swept = Swept { layers: HashSet::new(), blobs: HashSet::new(), trees: HashSet::new(), removed: Vec::new() };
    let mut statement = connection.prepare("SELECT id, directory, tree_object, size FROM layers")?;
    let rows = statement.query_map([], |row| {
        Ok((fixed::<16>(row, 0)?, row.get::<_, bool>(1)?, row.get::<_, Option<[u8; 32]>>(2)?, row.get::<_, i64>(3)?))
    })?;
    let mut dead = Vec::new();
    for row in rows {
        let (id, directory, tree, size) = row?;
        if layers.contains(&LayerId::from_bytes(id)) {
            swept.layers.insert(id);
            swept.trees.extend(tree);
        } else {
            dead.push(id);
            swept.removed.push((if directory { unsigned(size) } else { 0 }, Kind::Directory));
        }
    }
    // A leased layer may have its directory already and its row not yet.
    swept.layers.extend(layers.iter().map(|id| *id.as_bytes()));
    for id in dead {
        connection.execute("DELETE FROM layers WHERE id = ?1", [id])?;
        connection.execute("DELETE FROM layer_blobs WHERE layer = ?1", [id])?;
        connection.execute("DELETE FROM objects WHERE kind = ?1 AND id = ?2", params![Kind::Directory as i64, id])?;
    }
    let mut statement = connection.prepare("SELECT digest FROM layer_blobs")?;
    for digest in statement.query_map([], |row| fixed::<32>(row, 0))? {
        blobs.insert(digest?);
    }
    let mut statement = connection.prepare("SELECT id, size FROM objects WHERE kind = ?1")?;
    let rows = statement.query_map([Kind::Blob as i64], |row| Ok((fixed::<32>(row, 0)?, row.get::<_, i64>(1)?)))?;
    let mut dead = Vec::new();
    for row in rows {
        let (id, size) = row?;
        if !blobs.contains(&id) {
            dead.push(id);
            swept.removed.push((unsigned(size), Kind::Blob));
        }
    }
    for id in dead {
        connection.execute("DELETE FROM objects WHERE kind = ?1 AND id = ?2", params![Kind::Blob as i64, id])?;
        connection.execute("DELETE FROM images WHERE manifest = ?1", [id])?;
    }
    origins::sweep(connection, |digest| blobs.contains(digest))?;
    swept.blobs = blobs;
    Ok(swept)
}

fn parse<const N: usize>(name: &OsStr) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(name.to_str()?, &mut bytes).ok()?;
    Some(bytes)
}

/// The bytes of all files in and below `path`. What vanishes meanwhile does not count.
fn disk_size(path: &Path) -> Result<u64, StoreError> {
    let mut open = vec![path.to_owned()];
    let mut size = 0;
    while let Some(path) = open.pop() {
        let Some(metadata) = file::gone(fs::symlink_metadata(&path)).context("inspect", &path)? else { continue };
        if metadata.is_dir() {
            open.extend(file::names(&path)?.into_iter().map(|name| path.join(name)));
        } else {
            size += metadata.len();
        }
    }
    Ok(size)
}
