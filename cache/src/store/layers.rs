//! Layers: an id given at creation, and facets that come when somebody asks: unpacked directory, file index, DiffID, blobs.
//!
//! A directory is made in `tmp/` and renamed to `layers/<id>`, then its row is written: a row never speaks of what is not there.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use bld_oci::DiffId;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageLayer;
use rusqlite::Connection;
use rusqlite::OptionalExtension as _;
use rusqlite::params;
use rustix::fs::FlockOperation;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::record::LayerId;
use crate::store::Store;
use crate::store::database::fixed;
use crate::store::database::signed;
use crate::store::database::unsigned;
use crate::store::file;
use crate::store::guard;
use crate::store::lease::Item;
use crate::store::objects;
use crate::store::objects::Kind;
use crate::store::trees::TreeObject;
use crate::tree::NodeKind;
use crate::tree::Tree;
use crate::tree::TreeDigest;

/// The label of a blob known from a base image's manifest.
const ORIGINAL: &str = "original";

/// The layers of a store.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    store: &'a Store,
}

/// A directory in the making. Dropped, it is gone.
#[derive(Debug)]
pub struct ActiveLayer {
    store: Store,
    id: LayerId,
    place: PathBuf,
    directory: PathBuf,
    work: PathBuf,
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFacets {
    /// Its unpacked change set.
    pub directory: Option<PathBuf>,
    /// The digest of its file index; there whenever the directory is.
    pub tree: Option<TreeDigest>,
    /// The digest of its tar.
    pub diff_id: Option<DiffId>,
    /// Its blobs by compression label (`gzip:6`). Those of base images are known before they are downloaded.
    pub blobs: Vec<(String, Descriptor)>,
    /// The bytes of its files, if it was ever unpacked.
    pub size: u64,
}

/// Layers found usable while the database did not change.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<KnownLayers>);

#[derive(Debug, Default)]
struct KnownLayers {
    version: i64,
    usable: HashSet<LayerId>,
}

/// A layer as its row says.
#[derive(Debug)]
struct Row {
    object: Option<TreeObject>,
    trusted: bool,
    remote: bool,
}

impl<'a> Layers<'a> {
    pub(crate) fn new(store: &'a Store) -> Layers<'a> {
        Layers { store }
    }

    /// Begins a layer.
    pub fn create(self) -> Result<ActiveLayer, StoreError> {
        let id = LayerId::from_bytes(file::random()?);
        self.store.hold(&[Item::Layer(id)])?;
        let place = self.store.scratch()?;
        let (directory, work) = (place.join("fs"), place.join("work"));
        let active = ActiveLayer { store: self.store.clone(), id, place, directory, work };
        file::make_directory(&active.directory)?;
        // It becomes the root directory of an image.
        fs::set_permissions(&active.directory, fs::Permissions::from_mode(0o755))
            .context("change the mode of", &active.directory)?;
        file::make_directory(&active.work)?;
        Ok(active)
    }

    /// Makes a layer of a directory and the index of what is in it.
    pub fn commit(self, active: ActiveLayer, tree: &Tree) -> Result<LayerId, StoreError> {
        let id = active.id;
        self.place(id, &active, tree)?;
        drop(active);
        Ok(id)
    }

    /// The layer of a base image: one with the same DiffID, else a new one with nothing but that and its blob's descriptor.
    pub fn adopt_image_layer(self, layer: &ImageLayer) -> Result<LayerId, StoreError> {
        let fresh = LayerId::from_bytes(file::random()?);
        let diff_id = layer.diff_id.0.as_bytes();
        // Nothing is removed between finding the layer and holding it.
        let _shared = self.store.gc_lock(FlockOperation::LockShared)?;
        let id = self.store.database().write(|connection| {
            let found = find(connection, layer.diff_id)?;
            let id = found.unwrap_or(fresh);
            if found.is_none() {
                connection
                    .prepare_cached("INSERT INTO layers (id, directory, diff_id, size) VALUES (?1, 0, ?2, 0)")?
                    .execute(params![id.as_bytes(), diff_id])?;
            }
            let known: bool = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM layer_blobs WHERE layer = ?1 AND digest = ?2)")?
                .query_row(params![id.as_bytes(), layer.blob.digest.as_bytes()], |row| row.get(0))?;
            if !known {
                let taken: bool = connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM layer_blobs WHERE layer = ?1 AND label = ?2)")?
                    .query_row(params![id.as_bytes(), ORIGINAL], |row| row.get(0))?;
                let label = if taken { format!("{ORIGINAL} {}", layer.blob.digest) } else { ORIGINAL.to_owned() };
                insert_blob(connection, id, &label, &layer.blob, false)?;
            }
            Ok(id)
        })?;
        self.store.hold(&[Item::Layer(id)])?;
        Ok(id)
    }

    /// Forgets the blobs that images brought for a layer, because none of them holds it. The next image that has the layer brings its own.
    pub fn forget_image_blobs(self, id: LayerId) -> Result<(), StoreError> {
        self.store.shared.layers.clear();
        self.store.database().write(|connection| {
            connection
                .prepare_cached("DELETE FROM layer_blobs WHERE layer = ?1 AND NOT local")?
                .execute([id.as_bytes()])
                .map(|_| ())
        })
    }

    /// Gives a layer its unpacked directory. If it got one meanwhile, that one stays.
    pub fn attach_directory(self, id: LayerId, active: ActiveLayer, tree: &Tree) -> Result<(), StoreError> {
        if self.row(id)?.is_none() {
            return Err(missing(id));
        }
        self.place(id, &active, tree)?;
        drop(active);
        Ok(())
    }

    /// What is known of a layer; `None` if there is none of this id.
    pub fn facets(self, id: LayerId) -> Result<Option<LayerFacets>, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let there = self.check_directory(id, &row)?;
        let facets = self.store.database().read(|connection| {
            let (tree, diff_id, size) = connection
                .prepare_cached("SELECT tree, diff_id, size FROM layers WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| {
                    Ok((row.get::<_, Option<[u8; 32]>>(0)?, row.get::<_, Option<[u8; 32]>>(1)?, row.get::<_, i64>(2)?))
                })?;
            let blobs = connection
                .prepare_cached(
                    "SELECT label, media_type, digest, size FROM layer_blobs WHERE layer = ?1 ORDER BY label",
                )?
                .query_map([id.as_bytes()], |row| {
                    let digest = Digest::from_hash(fixed(row, 2)?);
                    Ok((row.get(0)?, Descriptor { media_type: row.get(1)?, digest, size: unsigned(row.get(3)?) }))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            Ok(LayerFacets {
                directory: there.then(|| self.path(id)),
                tree: tree.filter(|_| there).map(TreeDigest),
                diff_id: diff_id.map(|hash| DiffId(Digest::from_hash(hash))),
                blobs,
                size: unsigned(size),
            })
        })?;
        Ok(Some(facets))
    }

    /// The file index of an unpacked layer.
    pub fn tree(self, id: LayerId) -> Result<Arc<Tree>, StoreError> {
        let row = self.row(id)?.ok_or_else(|| missing(id))?;
        let object = row.object.ok_or_else(|| StoreError::missing(format!("file index of layer {}", id.hex())))?;
        let tree = self.store.trees().get(object);
        if let Err(error) = &tree
            && error.is_miss()
        {
            self.lose_directory(id)?;
        }
        tree
    }

    /// Notes a layer's tar digest and a blob of it that is in the content store.
    pub fn set_blob(self, id: LayerId, label: &str, diff_id: DiffId, blob: &Descriptor) -> Result<(), StoreError> {
        let found = self.store.database().write(|connection| {
            let before: Option<Option<[u8; 32]>> = connection
                .prepare_cached("SELECT diff_id FROM layers WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()?;
            let Some(before) = before else { return Ok(false) };
            if before != Some(*diff_id.0.as_bytes()) {
                connection.prepare_cached("DELETE FROM layer_blobs WHERE layer = ?1")?.execute([id.as_bytes()])?;
                connection
                    .prepare_cached("UPDATE layers SET diff_id = ?2 WHERE id = ?1")?
                    .execute(params![id.as_bytes(), diff_id.0.as_bytes()])?;
            }
            insert_blob(connection, id, label, blob, true)?;
            Ok(true)
        })?;
        if found { Ok(()) } else { Err(missing(id)) }
    }

    /// The layer of a tar digest.
    pub fn find_by_diff_id(self, diff_id: DiffId) -> Result<Option<LayerId>, StoreError> {
        self.store.database().read(|connection| find(connection, diff_id))
    }

    /// Whether all these layers can be used: each has its directory, or a blob it can be unpacked from. While a lease of this store
    /// lives, they stay usable.
    pub fn exists(self, layers: &[LayerId]) -> Result<bool, StoreError> {
        // Held first: what is found afterwards cannot be removed any more.
        self.store.hold(&layers.iter().copied().map(Item::Layer).collect::<Vec<_>>())?;
        let known = &self.store.shared.layers;
        let boot = self.store.shared.objects.boot();
        let unknown = self.store.database().read(|connection| {
            // A counter that moves whenever another connection changes the database.
            let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            let mut rows = Vec::new();
            for id in known.missing(version, layers) {
                rows.push((id, row(connection, id, boot)?));
            }
            Ok(rows)
        })?;
        for (id, row) in unknown {
            let Some(row) = row else { return Ok(false) };
            if !self.check_directory(id, &row)? && !row.remote && !self.has_local_blob(id)? {
                return Ok(false);
            }
            known.add(id);
        }
        Ok(true)
    }

    /// Where the directory of a layer is or would be.
    pub(crate) fn path(self, id: LayerId) -> PathBuf {
        self.store.path("layers").join(id.hex())
    }

    fn row(self, id: LayerId) -> Result<Option<Row>, StoreError> {
        self.store.database().read(|connection| row(connection, id, self.store.shared.objects.boot()))
    }

    /// Moves a directory into place, then writes its row.
    fn place(self, id: LayerId, active: &ActiveLayer, tree: &Tree) -> Result<(), StoreError> {
        // Until the row is written nothing speaks of the tree.
        let _shared = self.store.gc_lock(FlockOperation::LockShared)?;
        let object = self.store.trees().put(tree)?;
        let to = self.path(id);
        while !file::move_directory(&active.directory, &to)? {
            if let Some(row) = self.row(id)?
                && self.check_directory(id, &row)?
            {
                return Ok(());
            }
            // No row speaks of it: left by a process that died in between.
            self.store.discard(&to)?;
        }
        let size = tree.size();
        let noted = self.store.database().write(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO layers (id, directory, tree, tree_object, size) VALUES (?1, 1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET directory = 1, tree = ?2, tree_object = ?3, size = ?4",
                )?
                .execute(params![id.as_bytes(), tree.digest().0, object.as_bytes(), signed(size)])?;
            objects::note(
                connection,
                Kind::Directory,
                id.as_bytes(),
                tree.disk_size(),
                self.store.shared.objects.boot(),
            )
        });
        if noted.is_err() {
            // On a full disk a directory nobody speaks of would stand in the way of trying again.
            self.store.discard(&to).ok();
        }
        noted
    }

    /// Whether the layer has a directory that is whole. One that is not is moved to quarantine.
    fn check_directory(self, id: LayerId, row: &Row) -> Result<bool, StoreError> {
        let Some(object) = row.object else { return Ok(false) };
        let path = self.path(id);
        let there = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir())
            && fs::symlink_metadata(self.store.trees().path(object)).is_ok_and(|metadata| metadata.len() > 0);
        if there && row.trusted {
            return Ok(true);
        }
        let whole = there
            && match self.store.trees().get(object) {
                Ok(tree) => tree.iter().all(|(name, node)| is_whole(&path.join(as_path(name.relative())), &node.kind)),
                Err(error) if error.is_miss() => false,
                Err(error) => return Err(error),
            };
        if whole {
            let size = self.store.noted(Kind::Directory, id.as_bytes())?.map_or(0, |noted| noted.size);
            self.store.note(Kind::Directory, id.as_bytes(), size)?;
        } else {
            self.lose_directory(id)?;
        }
        Ok(whole)
    }

    fn lose_directory(self, id: LayerId) -> Result<(), StoreError> {
        self.store.shared.layers.clear();
        self.store.database().write(|connection| {
            connection
                .prepare_cached("UPDATE layers SET directory = 0, tree = NULL, tree_object = NULL WHERE id = ?1")?
                .execute([id.as_bytes()])
                .map(|_| ())
        })?;
        self.store.forget(Kind::Directory, id.as_bytes())?;
        self.store.quarantine(&self.path(id))
    }

    fn has_local_blob(self, id: LayerId) -> Result<bool, StoreError> {
        let blobs = self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT digest FROM layer_blobs WHERE layer = ?1")?
                .query_map([id.as_bytes()], |row| fixed(row, 0).map(Digest::from_hash))?
                .collect::<Result<Vec<_>, _>>()
        })?;
        for digest in blobs {
            if self.store.blobs().contains(&digest)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl ActiveLayer {
    /// The id the layer will have.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// Where its files go.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// An empty directory on the same file system, for overlayfs to work in.
    pub fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for ActiveLayer {
    fn drop(&mut self) {
        // After a commit nothing is left but empty directories: not worth a way through the trash.
        let empty = fs::remove_dir(&self.directory).is_ok() || !self.directory.exists();
        if !(empty && fs::remove_dir(&self.work).is_ok() && fs::remove_dir(&self.place).is_ok()) {
            self.store.discard(&self.place).ok();
        }
    }
}

impl Known {
    /// Those of `layers` of which nothing is known yet.
    fn missing(&self, version: i64, layers: &[LayerId]) -> Vec<LayerId> {
        let mut known = guard(&self.0);
        if known.version != version {
            *known = KnownLayers { version, usable: HashSet::new() };
        }
        layers.iter().copied().filter(|id| !known.usable.contains(id)).collect()
    }

    fn add(&self, id: LayerId) {
        guard(&self.0).usable.insert(id);
    }

    pub(crate) fn clear(&self) {
        guard(&self.0).usable.clear();
    }
}

fn missing(id: LayerId) -> StoreError {
    StoreError::missing(format!("layer {}", id.hex()))
}

fn row(connection: &Connection, id: LayerId, boot: &str) -> rusqlite::Result<Option<Row>> {
    connection
        .prepare_cached(
            "SELECT CASE WHEN directory THEN tree_object END,
                 EXISTS (SELECT 1 FROM objects WHERE kind = ?2 AND objects.id = layers.id AND (boot IS NULL OR boot = ?3)),
                 EXISTS (SELECT 1 FROM layer_blobs WHERE layer = layers.id AND NOT local)
             FROM layers WHERE id = ?1",
        )?
        .query_row(params![id.as_bytes(), Kind::Directory as i64, boot], |row| {
            Ok(Row {
                object: row.get::<_, Option<[u8; 32]>>(0)?.map(TreeObject::from_stored),
                trusted: row.get(1)?,
                remote: row.get(2)?,
            })
        })
        .optional()
}

fn find(connection: &Connection, diff_id: DiffId) -> rusqlite::Result<Option<LayerId>> {
    connection
        .prepare_cached("SELECT id FROM layers WHERE diff_id = ?1 ORDER BY directory DESC, rowid LIMIT 1")?
        .query_row([diff_id.0.as_bytes()], |row| fixed(row, 0).map(LayerId::from_bytes))
        .optional()
}

fn insert_blob(
    connection: &Connection,
    id: LayerId,
    label: &str,
    blob: &Descriptor,
    local: bool,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO layer_blobs (layer, label, media_type, digest, size, local)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![id.as_bytes(), label, blob.media_type, blob.digest.as_bytes(), signed(blob.size), local])
        .map(|_| ())
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Whether a path holds what its index says, as far as a power cut can have changed it: bytes, never names or modes, which a
/// journal keeps in order. How deletions and devices look on disk is not the store's business.
fn is_whole(path: &Path, kind: &NodeKind) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return matches!(
            kind,
            NodeKind::Whiteout | NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } | NodeKind::Fifo
        );
    };
    match kind {
        NodeKind::Directory { .. } => metadata.is_dir(),
        NodeKind::File { size, content, .. } => {
            metadata.is_file()
                && metadata.len() == *size
                && hash_file(path).is_ok_and(|hash| hash.as_bytes() == &content.0)
        }
        NodeKind::Symlink { target } => fs::read_link(path).is_ok_and(|found| found.as_path() == as_path(target)),
        NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } | NodeKind::Fifo | NodeKind::Whiteout => true,
    }
}

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
