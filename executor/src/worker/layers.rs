//! Layers as directories, trees and views. A layer of a base image is a blob until somebody needs its files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::record::LayerId;
use bld_cache::record::State;
use bld_cache::store::ActiveLayer;
use bld_cache::store::LayerFacets;
use bld_cache::tree::Tree;
use bld_oci::DiffId;
use bld_oci::compression::Decoder;
use bld_oci::hashing::DigestReader;
use bld_oci::image::Descriptor;
use bld_oci::layer::LayerReader;
use bld_solver::worker::Reporter;

use super::LocalWorker;
use crate::error::ExecuteError;
use crate::layers;
use crate::layers::LayerError;
use crate::layers::LayerMode;
use crate::layers::unpack::UnpackOptions;
use crate::view::merged::MergedTree;

/// Where image layers are noted that mean something else on other layers: see [`Layers::unpacked`].
const UNPACKED_ON: &str = "unpacked-on";

/// Kept free when layers are unpacked, because a full disk breaks more than a build: this much of the disk, or this part of it if that
/// is less.
const RESERVE: u64 = 128 << 20;
const RESERVE_PART: u64 = 32;

/// The layers of a store as files. Remembers what it found: a chain of a hundred steps looks at every layer a hundred times.
#[derive(Debug)]
pub struct Layers {
    store: Store,
    mode: LayerMode,
    directories: Mutex<HashMap<LayerId, Unpacked>>,
    views: Mutex<HashMap<Vec<LayerId>, Arc<MergedTree>>>,
}

/// A layer's index and its directory.
pub(super) type Unpacked = (Arc<Tree>, PathBuf);

impl Layers {
    /// The layers of `store`.
    pub fn new(store: Store, mode: LayerMode) -> Layers {
        Layers { store, mode, directories: Mutex::default(), views: Mutex::default() }
    }

    /// What layer directories can hold here.
    pub fn mode(&self) -> LayerMode {
        self.mode
    }

    /// The files of a stack of layers, without a mount.
    pub fn view(&self, layers: &[LayerId]) -> Result<Arc<MergedTree>, ExecuteError> {
        if let Some(view) = guard(&self.views).get(layers) {
            return Ok(Arc::clone(view));
        }
        let view = Arc::new(MergedTree::new(self.stack(layers)?));
        guard(&self.views).insert(layers.to_vec(), Arc::clone(&view));
        Ok(view)
    }

    /// The directories of a stack of layers, bottom to top.
    pub fn directories(&self, layers: &[LayerId]) -> Result<Vec<PathBuf>, ExecuteError> {
        Ok(self.stack(layers)?.into_iter().map(|(_, directory)| directory).collect())
    }

    /// The files of a layer that was made here.
    pub(super) fn files(&self, layer: LayerId) -> Result<Unpacked, ExecuteError> {
        self.stack(&[layer])?.pop().ok_or(ExecuteError::LayerMissing)
    }

    fn stack(&self, layers: &[LayerId]) -> Result<Vec<Unpacked>, ExecuteError> {
        let mut stack: Vec<Unpacked> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let known = guard(&self.directories).get(layer).cloned();
            let unpacked = match known {
                Some(known) => known,
                None => self.unpacked(*layer, &layers[..index], &stack)?,
            };
            stack.push(unpacked);
        }
        Ok(stack)
    }

    /// A layer's files, unpacked now if they are not yet. Done once on this machine: whoever comes second waits.
    ///
    /// Layers of images may leave out directories that lower layers have, or name files through links of lower layers. Such a layer is
    /// unpacked once for every stack it is found on, and is then not the layer itself but one that stands for it there.
    fn unpacked(&self, layer: LayerId, below: &[LayerId], stack: &[Unpacked]) -> Result<Unpacked, ExecuteError> {
        let on: Vec<&[u8]> = below.iter().map(|below| &below.as_bytes()[..]).collect();
        let (key, _) = KeyHasher::new(Domain("bld.unpack.v1"))
            .bytes("layer", layer.as_bytes())
            .list("on", on.into_iter())
            .finish();
        if let Some(found) = self.known(layer, key)? {
            return Ok(found);
        }
        let _claim = self.store.claim(key)?;
        if let Some(found) = self.known(layer, key)? {
            return Ok(found);
        }
        let facets = self.store.layers().facets(layer)?.ok_or(ExecuteError::LayerMissing)?;
        let lower = MergedTree::new(stack.to_vec());
        let alone = match self.unpack_any(&facets, None) {
            Err(ExecuteError::Layer(LayerError::HardlinkOutside { .. })) if !below.is_empty() => None,
            Err(error) => {
                self.store.layers().forget_image_blobs(layer)?;
                return Err(error);
            }
            Ok(unpacked) => Some(unpacked),
        };
        match alone {
            Some((active, alone)) if alone.is_self_contained() || below.is_empty() => {
                self.store.layers().attach_directory(layer, active, &alone.tree)?;
            }
            alone => {
                let (active, unpacked) = match alone {
                    Some((active, alone)) if alone.fits(&lower)? => (active, alone),
                    _ => self.unpack_any(&facets, Some(&lower))?,
                };
                let stand_in = self.store.layers().commit(active, &unpacked.tree)?;
                self.store.memo().put(UNPACKED_ON, key.as_bytes(), stand_in.as_bytes())?;
            }
        }
        self.known(layer, key)?.ok_or(ExecuteError::LayerMissing)
    }

    /// A layer that is unpacked already, by itself or for the stack that `key` names.
    fn known(&self, layer: LayerId, key: CacheKey) -> Result<Option<Unpacked>, ExecuteError> {
        let open = |layer: LayerId| -> Result<Option<Unpacked>, ExecuteError> {
            let directory = self.store.layers().facets(layer)?.and_then(|facets| facets.directory);
            Ok(match directory {
                Some(directory) => Some((self.store.layers().tree(layer)?, directory)),
                None => None,
            })
        };
        if let Some(found) = open(layer)? {
            guard(&self.directories).insert(layer, found.clone());
            return Ok(Some(found));
        }
        let stand_in = self.store.memo().get(UNPACKED_ON, key.as_bytes())?;
        match stand_in.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
            Some(bytes) => {
                let stand_in = LayerId::from_bytes(bytes);
                // No record speaks of it: without this a removal might take it away while it is in use.
                if self.store.layers().exists(&[stand_in])? { open(stand_in) } else { Ok(None) }
            }
            None => Ok(None),
        }
    }

    /// The layer's files in a new directory. Any image may have claimed the layer's DiffID for a blob of its own, which is a lie or not only
    /// once it is unpacked: a blob that fails is no reason not to try the others.
    fn unpack_any(
        &self,
        facets: &LayerFacets,
        lower: Option<&MergedTree>,
    ) -> Result<(ActiveLayer, layers::unpack::Unpacked), ExecuteError> {
        let mut failure = ExecuteError::LayerMissing;
        for (_, blob) in &facets.blobs {
            let active = self.store.layers().create()?;
            match self.unpack_blob(facets, blob, active.directory(), lower) {
                Ok(unpacked) => return Ok((active, unpacked)),
                // The caller can help with this one.
                Err(error @ ExecuteError::Layer(LayerError::HardlinkOutside { .. })) => failure = error,
                Err(error) if matches!(failure, ExecuteError::LayerMissing) => failure = error,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn unpack_blob(
        &self,
        facets: &LayerFacets,
        blob: &Descriptor,
        directory: &std::path::Path,
        lower: Option<&MergedTree>,
    ) -> Result<layers::unpack::Unpacked, ExecuteError> {
        let diff_id = facets.diff_id.ok_or(ExecuteError::LayerMissing)?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ExecuteError::Unpack {
            diff_id: diff_id.to_string(),
            source,
        };
        let decoder = Decoder::new(self.store.blobs().open(&blob.digest)?).map_err(|error| failed(Box::new(error)))?;
        let mut reader = LayerReader::new(DigestReader::new(decoder));
        let options = UnpackOptions {
            mode: self.mode,
            lower: lower.map(|lower| lower as &dyn crate::view::TreeView),
            max_bytes: free_space(directory),
        };
        let unpacked = match layers::unpack::unpack(&mut reader, directory, options) {
            Err(error @ LayerError::HardlinkOutside { .. }) => return Err(error.into()),
            unpacked => unpacked.map_err(|error| failed(Box::new(error)))?,
        };
        // The DiffID covers every byte, also what stands behind the end of the archive.
        let (digest, _, _) = reader.finish().map_err(|error| failed(Box::new(error)))?.complete();
        let actual = DiffId(digest);
        if actual != diff_id {
            return Err(failed(format!("its uncompressed bytes have digest {actual}").into()));
        }
        Ok(unpacked)
    }
}

impl<R: Reporter + 'static> LocalWorker<R> {
    /// The files of a state, without a mount.
    pub fn view(&self, state: &State) -> Result<Arc<MergedTree>, ExecuteError> {
        self.shared.layers.view(&state.layers)
    }
}

/// What may be written below `path`.
pub(crate) fn free_space(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |status| {
        let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
        bytes(status.f_bavail).saturating_sub(RESERVE.min(bytes(status.f_blocks) / RESERVE_PART))
    })
}

/// A panic elsewhere leaves these maps consistent.
fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
