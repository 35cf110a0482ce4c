//! What lies on the disk, and whose it is.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use super::Garbage;
use super::parse;
use crate::error::Context as _;
use crate::error::StoreError;
use crate::record::LayerId;
use crate::store::database::fixed;
use crate::store::database::unsigned;
use crate::store::file;
use crate::store::mounts::CacheMount;
use crate::store::objects::Kind;
use crate::store::records::layers_from;

/// All bytes of a store by what they are for. The parts add up to the total.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Layers, in no order.
    pub layers: Vec<LayerUsage>,
    /// Blobs of images on the list.
    pub images: u64,
    /// Cache mounts.
    pub mounts: Vec<(CacheMount, u64)>,
    /// What steps left that failed, until the next build.
    pub kept: u64,
    /// Blobs, file indexes and layer directories that nothing speaks of: the next removal takes them.
    pub loose: u64,
    /// Everything else by its name in the store: `logs`, `git`, `index.db` ...
    pub rest: Vec<(String, u64)>,
}

/// What a layer takes up. What several layers have in common counts for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerUsage {
    /// Which layer.
    pub id: LayerId,
    /// Its unpacked files.
    pub directory: u64,
    /// Its file index.
    pub tree: u64,
    /// Its blobs, but for those of images on the list.
    pub blobs: u64,
}

impl LayerUsage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.directory + self.tree + self.blobs
    }
}

impl Census {
    /// All of it: what `du -s` says of the store.
    pub fn total(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(LayerUsage::total).sum();
        let mounts: u64 = self.mounts.iter().map(|(_, size)| size).sum();
        let rest: u64 = self.rest.iter().map(|(_, size)| size).sum();
        layers + mounts + rest + self.images + self.kept + self.loose
    }
}

impl Garbage<'_> {
    /// Counts every byte of the store, by walking through it.
    pub fn census(self) -> Result<Census, StoreError> {
        let store = self.store;
        let images = self.mark_images(&[])?;
        let (rows, owners) = store.database().read(|connection| {
            let mut rows = Vec::new();
            let mut statement = connection.prepare_cached("SELECT id, tree_object FROM layers ORDER BY rowid")?;
            for row in statement.query_map([], |row| Ok((fixed::<16>(row, 0)?, row.get::<_, Option<[u8; 32]>>(1)?)))? {
                rows.push(row?);
            }
            let mut statement = connection.prepare_cached("SELECT digest, layer FROM layer_blobs")?;
            let owners = statement
                .query_map([], |row| Ok((fixed::<32>(row, 0)?, fixed::<16>(row, 1)?)))?
                .collect::<Result<HashMap<_, _>, _>>()?;
            Ok((rows, owners))
        })?;
        let mut census = Census::default();
        let mut seen = HashSet::new();
        let mut layers: HashMap<[u8; 16], LayerUsage> = HashMap::with_capacity(rows.len());
        let mut trees = HashMap::with_capacity(rows.len());
        for (id, tree) in rows {
            let usage = LayerUsage { id: LayerId::from_bytes(id), directory: 0, tree: 0, blobs: 0 };
            layers.insert(id, usage);
            if let Some(tree) = tree {
                trees.entry(tree).or_insert(id);
            }
        }
        // The directories in between, and whatever else is there.
        let mut rest: HashMap<String, u64> = HashMap::new();
        for name in file::names(store.root())? {
            let shown = name.to_string_lossy().into_owned();
            let path = store.root().join(&name);
            let size = match shown.as_str() {
                "layers" => {
                    for name in file::names(&path)? {
                        let size = walk(&path.join(&name), &mut seen)?;
                        match parse::<16>(&name).and_then(|id| layers.get_mut(&id)) {
                            Some(layer) => layer.directory += size,
                            None => census.loose += size,
                        }
                    }
                    alone(&path)?
                }
                "trees" => {
                    let mut own = alone(&path)?;
                    for shard in file::names(&path)? {
                        let directory = path.join(&shard);
                        own += alone(&directory)?;
                        for name in file::names(&directory)? {
                            let size = alone(&directory.join(&name))?;
                            let mut whole = shard.clone();
                            whole.push(&name);
                            let owner = parse::<32>(&whole).and_then(|tree| trees.get(&tree));
                            match owner.and_then(|id| layers.get_mut(id)) {
                                Some(layer) => layer.tree += size,
                                None => census.loose += size,
                            }
                        }
                    }
                    own
                }
                "oci" => {
                    let blobs = path.join("blobs/sha256");
                    for name in file::names(&blobs)? {
                        let size = alone(&blobs.join(&name))?;
                        let digest = parse::<32>(&name);
                        let owner = digest.and_then(|digest| owners.get(&digest));
                        if digest.is_some_and(|digest| images.contains(&digest)) {
                            census.images += size;
                        } else if let Some(layer) = owner.and_then(|id| layers.get_mut(id)) {
                            layer.blobs += size;
                        } else {
                            census.loose += size;
                        }
                    }
                    let directories = alone(&path)? + alone(&path.join("blobs"))? + alone(&blobs)?;
                    directories
                        + walk(&path.join("index.json"), &mut seen)?
                        + walk(&path.join("oci-layout"), &mut seen)?
                }
                "mounts" => {
                    let mut own = alone(&path)?;
                    let mounts = store.cache_mounts().list()?;
                    for name in file::names(&path)? {
                        let size = walk(&path.join(&name), &mut seen)?;
                        match mounts.iter().find(|mount| *name == *mount.hash) {
                            Some(mount) => census.mounts.push((mount.clone(), size)),
                            None => own += size,
                        }
                    }
                    own
                }
                _ => walk(&path, &mut seen)?,
            };
            *rest.entry(shown).or_default() += size;
        }
        *rest.entry(".".to_owned()).or_default() += alone(store.root())?;
        for top in self.kept()?.iter().filter_map(|kept| kept.last()) {
            census.kept += layers.remove(top.as_bytes()).map_or(0, |layer| layer.total());
        }
        census.layers = layers.into_values().collect();
        census.rest = rest.into_iter().collect();
        census.rest.sort();
        Ok(census)
    }

    /// The layers of steps that failed, the one it left last.
    pub(super) fn kept(self) -> Result<Vec<Vec<LayerId>>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT layers FROM kept")?
                .query_map([], |row| Ok(layers_from(&row.get::<_, Vec<u8>>(0)?)))?
                .collect()
        })
    }

    /// The bytes of what [`Garbage::evict`] may remove: layers, file indexes, blobs of no listed image, cache mounts. Much cheaper than
    /// [`Garbage::census`]: files of layers are counted as when they were made.
    pub fn cache_size(self) -> Result<u64, StoreError> {
        let images = self.mark_images(&[])?;
        let (directories, blobs) = self.store.database().read(|connection| {
            let directories: i64 = connection
                .prepare_cached("SELECT coalesce(sum(size), 0) FROM objects WHERE kind = ?1")?
                .query_row([Kind::Directory as i64], |row| row.get(0))?;
            let mut statement = connection.prepare_cached("SELECT id, size FROM objects WHERE kind = ?1")?;
            let blobs = statement
                .query_map([Kind::Blob as i64], |row| Ok((fixed::<32>(row, 0)?, row.get::<_, i64>(1)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            Ok((unsigned(directories), blobs))
        })?;
        let loose =
            blobs.into_iter().filter(|(digest, _)| !images.contains(digest)).map(|(_, size)| on_disk(unsigned(size)));
        let mut size = directories + loose.sum::<u64>() + disk_usage(&self.store.path("trees"))?;
        for mount in self.store.cache_mounts().list()? {
            size += self.store.cache_mounts().size(&mount)?;
        }
        Ok(size)
    }
}

/// The bytes on disk of a file of this length, on nearly every file system.
pub(crate) fn on_disk(size: u64) -> u64 {
    const BLOCK: u64 = 4096;
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// The bytes on disk of a file or of a directory and all that is in it.
pub(crate) fn disk_usage(path: &Path) -> Result<u64, StoreError> {
    walk(path, &mut HashSet::new())
}

/// What vanishes meanwhile does not count, nor what may not be looked into. A file with several names counts once.
fn walk(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64, StoreError> {
    let mut open: Vec<PathBuf> = vec![path.to_owned()];
    let mut size = 0;
    while let Some(path) = open.pop() {
        let Some(metadata) = visible(fs::symlink_metadata(&path)).context("inspect", &path)? else { continue };
        if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        size += metadata.blocks() * 512;
        if metadata.is_dir() {
            let Some(entries) = visible(fs::read_dir(&path)).context("list", &path)? else { continue };
            for entry in entries {
                open.push(entry.context("list", &path)?.path());
            }
        }
    }
    Ok(size)
}

/// The bytes of a file, or of a directory without what is in it.
fn alone(path: &Path) -> Result<u64, StoreError> {
    Ok(visible(fs::symlink_metadata(path)).context("inspect", path)?.map_or(0, |metadata| metadata.blocks() * 512))
}

fn visible<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match file::gone(result) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        result => result,
    }
}
