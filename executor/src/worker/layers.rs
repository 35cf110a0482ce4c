//! Layers as directories, trees and views. A layer of a base image is a blob until somebody needs its files.

use std::collections::HashMap;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::record::LayerId;
use bld_cache::record::State;
use bld_cache::store::ActiveLayer;
use bld_cache::store::Claim;
use bld_cache::store::LayerFacets;
use bld_cache::tree::Tree;
use bld_oci::DiffId;
use bld_oci::compression::Decoder;
use bld_oci::hashing::DigestReader;
use bld_oci::image::Descriptor;
use bld_oci::layer::LayerReader;
use bld_solver::worker::Reporter;

use super::LocalWorker;
use crate::claims;
use crate::error::ExecuteError;
use crate::layers;
use crate::layers::LayerError;
use crate::layers::LayerMode;
use crate::layers::unpack::UnpackOptions;
use crate::pull::Pull;
use crate::pull::PullError;
use crate::pull::Puller;
use crate::view::merged::MergedTree;

/// Where image layers are noted that mean something else on other layers: see [`Layers::unpacked`].
const UNPACKED_ON: &str = "unpacked-on";

/// Kept free when layers are unpacked, because a full disk breaks more than a build: this much of the disk, or this part of it if that
/// is less.
const RESERVE: u64 = 128 << 20;
const RESERVE_PART: u64 = 32;

const READ_AHEAD: usize = 64 << 10;

/// The layers of a store as files. Remembers what it found: a chain of a hundred steps looks at every layer a hundred times.
#[derive(Debug)]
pub struct Layers {
    store: Store,
    mode: LayerMode,
    puller: Option<Puller>,
    directories: Mutex<HashMap<LayerId, Unpacked>>,
    views: Mutex<HashMap<Vec<LayerId>, Arc<MergedTree>>>,
}

/// A layer's index and its directory.
pub(crate) type Unpacked = (Arc<Tree>, PathBuf);

impl Layers {
    /// The layers of `store`.
    pub fn new(store: Store, mode: LayerMode) -> Layers {
        Layers { store, mode, puller: None, directories: Mutex::default(), views: Mutex::default() }
    }

    /// The same; blobs that are not in the store come from `puller`.
    #[must_use]
    pub fn with_puller(self, puller: Option<Puller>) -> Layers {
        Layers { puller, ..self }
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

    /// Index and directory of each layer, bottom to top.
    pub(crate) fn stack(&self, layers: &[LayerId]) -> Result<Vec<Unpacked>, ExecuteError> {
        let unknown: Vec<LayerId> = {
            let directories = guard(&self.directories);
            layers.iter().filter(|layer| !directories.contains_key(layer)).copied().collect()
        };
        if unknown.len() > 1 {
            self.unpack_side_by_side(&unknown)?;
        }
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

    /// Unpacks the layers of images that need no others for it, several at once. Whatever goes wrong but for the network goes wrong again,
    /// and is said, when they are looked at one by one.
    fn unpack_side_by_side(&self, layers: &[LayerId]) -> Result<(), ExecuteError> {
        let mut packed = Vec::new();
        for layer in layers {
            if let Some(facets) = self.store.layers().facets(*layer)?
                && facets.directory.is_none()
            {
                packed.push((*layer, facets));
            }
        }
        if packed.len() < 2 {
            return Ok(());
        }
        if let Some(puller) = &self.puller {
            puller.start(packed.iter().filter_map(|(_, facets)| facets.blobs.first()).map(|(_, blob)| blob));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), ExecuteError> {
            while let Some((layer, facets)) = packed.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error @ ExecuteError::Pull(_)) = self.unpack_alone(*layer, facets) {
                    return Err(error);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores.min(packed.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// Waits until no other thread or process works on `key`, or bld is told to stop.
    fn claim(&self, key: CacheKey) -> Result<Claim, ExecuteError> {
        let Some(puller) = &self.puller else { return Ok(self.store.claim(key)?) };
        let claim = claims::claim_unless(&self.store, key, || puller.is_stopped())?;
        claim.ok_or_else(|| PullError::Stopped.into())
    }

    /// Gives a layer its directory if its blob alone says all about it.
    fn unpack_alone(&self, layer: LayerId, facets: &LayerFacets) -> Result<(), ExecuteError> {
        let (key, _) = KeyHasher::new(Domain("bld.unpack-alone.v1")).bytes("layer", layer.as_bytes()).finish();
        let _claim = self.claim(key)?;
        if self.store.layers().facets(layer)?.is_some_and(|facets| facets.directory.is_some()) {
            return Ok(());
        }
        let (active, alone) = self.unpack_any(facets, None)?;
        if alone.is_self_contained() {
            self.store.layers().attach_directory(layer, active, &alone.tree)?;
        }
        Ok(())
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
        let _claim = self.claim(key)?;
        if let Some(found) = self.known(layer, key)? {
            return Ok(found);
        }
        let facets = self.store.layers().facets(layer)?.ok_or(ExecuteError::LayerMissing)?;
        let lower = MergedTree::new(stack.to_vec());
        let alone = match self.unpack_any(&facets, None) {
            Err(ExecuteError::Layer(LayerError::HardlinkOutside { .. })) if !below.is_empty() => None,
            Err(error) => {
                // A network that fails says nothing about the blobs.
                if !matches!(error, ExecuteError::Pull(_)) {
                    self.store.layers().forget_image_blobs(layer)?;
                }
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
        let mut blobs = Vec::with_capacity(facets.blobs.len());
        for (_, blob) in &facets.blobs {
            blobs.push((self.store.blobs().contains(&blob.digest)?.is_none(), blob));
        }
        // What is here first.
        blobs.sort_by_key(|(is_missing, _)| *is_missing);
        for (is_missing, blob) in blobs {
            let pull = match &self.puller {
                Some(puller) if is_missing => match puller.pull(blob) {
                    Ok(pull) => Some(pull),
                    Err(error) => {
                        failure = error.into();
                        continue;
                    }
                },
                _ => None,
            };
            let mut active = self.store.layers().create()?;
            let reader = pull.as_ref().map(Pull::reader);
            let mut unpacked = self.unpack_blob(facets, blob, reader, active.directory(), lower);
            if let Some(pull) = pull {
                // What was wrong with the tar of a broken download is nobody's business.
                match pull.wait() {
                    Err(error) => unpacked = Err(PullError::from(error).into()),
                    Ok(()) if pull.was_restarted() => {
                        active = self.store.layers().create()?;
                        unpacked = self.unpack_blob(facets, blob, None, active.directory(), lower);
                    }
                    Ok(()) => {}
                }
            }
            match unpacked {
                Ok(unpacked) => return Ok((active, unpacked)),
                // The caller can help with these.
                Err(error @ (ExecuteError::Layer(LayerError::HardlinkOutside { .. }) | ExecuteError::Pull(_))) => {
                    failure = error;
                }
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
        reader: Option<Box<dyn Read + Send>>,
        directory: &std::path::Path,
        lower: Option<&MergedTree>,
    ) -> Result<layers::unpack::Unpacked, ExecuteError> {
        let diff_id = facets.diff_id.ok_or(ExecuteError::LayerMissing)?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ExecuteError::Unpack {
            diff_id: diff_id.to_string(),
            source,
        };
        let bytes = match reader {
            Some(reader) => reader,
            None => Box::new(self.store.blobs().open(&blob.digest)?),
        };
        let bytes = Stoppable { bytes, puller: self.puller.as_ref() };
        let decoder = Decoder::new(bytes).map_err(|error| failed(Box::new(error)))?;
        // Headers are read one by one, which neither a decoder nor a hasher does well.
        let mut reader = LayerReader::new(BufReader::with_capacity(READ_AHEAD, DigestReader::new(decoder)));
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
        let (digest, _, _) = reader.finish().map_err(|error| failed(Box::new(error)))?.into_inner().complete();
        let actual = DiffId(digest);
        if actual != diff_id {
            return Err(failed(format!("its uncompressed bytes have digest {actual}").into()));
        }
        Ok(unpacked)
    }
}

/// Reads until bld is told to stop: a large layer takes longer than somebody who typed Ctrl-C waits.
struct Stoppable<'a> {
    bytes: Box<dyn Read + Send>,
    puller: Option<&'a Puller>,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.puller.is_some_and(Puller::is_stopped) {
            return Err(io::Error::other(PullError::Stopped));
        }
        self.bytes.read(buffer)
    }
}

impl<R: Reporter + 'static> LocalWorker<R> {
    /// The files of a state, without a mount.
    pub fn view(&self, state: &State) -> Result<Arc<MergedTree>, ExecuteError> {
        self.layers_view(&state.layers)
    }

    /// The files of a stack of layers, without a mount.
    pub fn layers_view(&self, layers: &[LayerId]) -> Result<Arc<MergedTree>, ExecuteError> {
        self.shared.layers.view(layers)
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
