//! Images of registries: their documents when they are named, their layers when somebody needs them.
//!
//! A pulled image is listed in the store at once, with nothing but its manifest and its configuration. Where its layers can be had is
//! noted ([`bld_cache::store::Origins`]); the first who needs one downloads it, in this build or a year later, and all who need it
//! meanwhile read along.

mod error;
mod growing;

use std::collections::HashMap;
use std::io;
use std::io::Read;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::store::Ingest;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::Manifest;
use bld_oci::image::read_document;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_registry::BlobSink;
use bld_registry::Registry;
use bld_registry::Repository;
use tokio::runtime::Handle;

pub use self::error::PullError;
use self::growing::GrowingReader;
use self::growing::Progress;
use crate::image::MAX_DOCUMENT;

/// An index may list an index; nobody nests deeper.
const MAX_DEPTH: usize = 3;

/// Is told of downloads.
pub type Observer = dyn Fn(&Download<'_>) + Send + Sync;

/// A download began or ended.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// What is downloaded.
    pub blob: &'a Descriptor,
    /// From where.
    pub repository: &'a Repository,
    /// It is here.
    pub is_done: bool,
}

/// Brings images and blobs of registries into a store. Clones share everything.
#[derive(Clone)]
pub struct Puller {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    registry: Registry,
    /// Where downloads run.
    runtime: Handle,
    observer: Box<Observer>,
    running: Mutex<HashMap<Digest, Arc<Progress>>>,
}

/// A blob that is being downloaded, or has just been.
#[derive(Debug)]
pub struct Pull {
    progress: Arc<Progress>,
}

impl std::fmt::Debug for Puller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Puller").field("store", &self.shared.store).finish_non_exhaustive()
    }
}

impl Puller {
    /// A puller into `store`. Downloads run on `runtime`; `observer` is told of them.
    pub fn new(store: Store, registry: Registry, runtime: Handle, observer: Box<Observer>) -> Puller {
        Puller { shared: Arc::new(Shared { store, registry, runtime, observer, running: Mutex::default() }) }
    }

    /// Where it brings things.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The registries.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// What a name stands for in its registry now.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor, PullError> {
        Ok(self.shared.registry.resolve(reference).await?)
    }

    /// Brings the documents of an image and lists it under its name: a manifest, or the index that its registry has.
    pub async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, PullError> {
        let store = &self.shared.store;
        let repository = Repository::of(reference);
        let resolved = self.shared.registry.image(reference, platform).await?;
        for document in resolved.indexes.iter().chain([&resolved.fetched]) {
            self.keep(&document.descriptor, &document.bytes)?;
        }
        let (config, _) = self.shared.registry.config(&repository, &resolved.manifest).await?;
        self.keep(&resolved.manifest.config, &config)?;
        self.note_origin(&repository, &resolved.fetched.descriptor, &resolved.manifest)?;
        for index in &resolved.indexes {
            let children = match &index.document {
                Document::Index(index) => index.manifests.iter().map(|entry| entry.descriptor.digest).collect(),
                Document::Manifest(_) => Vec::new(),
            };
            store.origins().add(&repository.to_string(), children)?;
        }
        let root = resolved.indexes.first().unwrap_or(&resolved.fetched).descriptor.clone();
        store.images().set(&reference.to_string(), &root)?;
        Ok(root)
    }

    /// Brings the documents for one more platform of an image that is listed.
    pub async fn complete(&self, root: &Descriptor, platform: &Platform) -> Result<(), PullError> {
        let mut descriptor = root.clone();
        for _ in 0..MAX_DEPTH {
            let (bytes, repository) = self.document(&descriptor).await?;
            let broken = |source| PullError::Broken { digest: descriptor.digest, source };
            match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
                Document::Index(index) => {
                    let entry = select_platform(&index, platform).map_err(broken)?;
                    if let Some(repository) = &repository {
                        self.shared.store.origins().add(&repository.to_string(), [entry.descriptor.digest])?;
                    }
                    descriptor = entry.descriptor.clone();
                }
                Document::Manifest(manifest) => {
                    if let Some(repository) = &repository {
                        self.note_origin(repository, &descriptor, &manifest)?;
                    }
                    let (config, _) = self.document(&manifest.config).await?;
                    let broken = |source| PullError::Broken { digest: manifest.config.digest, source };
                    ImageConfig::parse(&config).map_err(broken)?;
                    return Ok(());
                }
            }
        }
        Err(PullError::NoOrigin { digest: descriptor.digest })
    }

    /// A document of the store, or of a registry that has it: its bytes, and which registry is known to have it.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Option<Repository>), PullError> {
        let store = &self.shared.store;
        let repository = self.origins(&descriptor.digest)?.into_iter().next();
        if store.blobs().contains(&descriptor.digest)? == Some(descriptor.size) {
            return Ok((store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?, repository));
        }
        let repository = repository.ok_or(PullError::NoOrigin { digest: descriptor.digest })?;
        let is_manifest = bld_oci::media_type::is_index(&descriptor.media_type)
            || bld_oci::media_type::is_manifest(&descriptor.media_type);
        let bytes = if is_manifest {
            self.shared.registry.manifest_of(&repository, descriptor).await?.bytes
        } else {
            self.shared.registry.small_blob(&repository, descriptor, MAX_DOCUMENT).await?
        };
        self.keep(descriptor, &bytes)?;
        Ok((bytes, Some(repository)))
    }

    fn keep(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), PullError> {
        let blobs = self.shared.store.blobs();
        if blobs.contains(&descriptor.digest)? != Some(descriptor.size) {
            blobs.write(bytes)?;
        }
        Ok(())
    }

    pub(crate) fn note_origin(&self, repository: &Repository, image: &Descriptor, manifest: &Manifest) -> Result<(), PullError> {
        let blobs = manifest.layers.iter().chain([image, &manifest.config]).map(|blob| blob.digest);
        Ok(self.shared.store.origins().add(&repository.to_string(), blobs.collect::<Vec<_>>())?)
    }

    /// The repositories known to hold a blob.
    pub(crate) fn origins(&self, digest: &Digest) -> Result<Vec<Repository>, PullError> {
        let names = self.shared.store.origins().of(digest)?;
        // A note of another version counts as none.
        Ok(names.iter().filter_map(|name| name.parse::<Reference>().ok()).map(|name| Repository::of(&name)).collect())
    }

    /// Begins to download the blobs that are not here. What goes wrong is met again by whoever needs them.
    pub fn start<'a>(&self, blobs: impl Iterator<Item = &'a Descriptor>) {
        for blob in blobs {
            if self.shared.store.blobs().contains(&blob.digest).is_ok_and(|size| size.is_none()) {
                self.pull(blob).ok();
            }
        }
    }

    /// Downloads the blobs that are not here, all at once.
    pub async fn ensure(&self, blobs: impl IntoIterator<Item = &Descriptor>) -> Result<(), PullError> {
        let mut pulls = Vec::new();
        for blob in blobs {
            if self.shared.store.blobs().contains(&blob.digest)?.is_none() {
                pulls.push(self.pull(blob)?);
            }
        }
        for pull in pulls {
            let ended = self.shared.runtime.spawn_blocking(move || pull.wait()).await;
            ended.map_err(|_| PullError::Stopped)??;
        }
        Ok(())
    }

    /// Downloads a blob, unless that has begun already.
    pub fn pull(&self, blob: &Descriptor) -> Result<Pull, PullError> {
        let mut running = self.running();
        if let Some(progress) = running.get(&blob.digest) {
            return Ok(Pull { progress: Arc::clone(progress) });
        }
        let origins = self.origins(&blob.digest)?;
        if origins.is_empty() {
            return Err(PullError::NoOrigin { digest: blob.digest });
        }
        let progress = Arc::new(Progress::default());
        running.insert(blob.digest, Arc::clone(&progress));
        drop(running);
        let (this, blob, guard) = (self.clone(), blob.clone(), EndOnDrop(Arc::clone(&progress)));
        // On a thread where it may block: it writes, and waits for other processes.
        self.shared.runtime.spawn_blocking(move || {
            let outcome = this.download(&blob, &origins, &guard.0);
            // Whoever comes later begins anew if it failed, and finds it in the store if not.
            this.running().remove(&blob.digest);
            guard.0.end(outcome.map_err(Arc::new));
        });
        Ok(Pull { progress })
    }

    fn download(&self, blob: &Descriptor, origins: &[Repository], progress: &Arc<Progress>) -> Result<(), PullError> {
        let store = &self.shared.store;
        let (key, _) =
            KeyHasher::new(Domain("bld.download.v1")).bytes("digest", blob.digest.as_bytes()).finish();
        let _claim = store.claim(key)?;
        if store.blobs().contains(&blob.digest)? == Some(blob.size) {
            let (file, size) = store.blobs().open_raw(&blob.digest)?;
            progress.begin(file);
            progress.advance(size);
            return Ok(());
        }
        let mut failure = PullError::NoOrigin { digest: blob.digest };
        for repository in origins {
            (self.shared.observer)(&Download { blob, repository, is_done: false });
            let mut sink = Sink::new(store, progress)?;
            let fetched =
                self.shared.runtime.block_on(self.shared.registry.blob(repository, blob, &mut sink, &|_| {}));
            match fetched {
                Ok(()) => {
                    sink.ingest.commit_verified(blob)?;
                    (self.shared.observer)(&Download { blob, repository, is_done: true });
                    return Ok(());
                }
                // What readers saw of it may be anything.
                Err(error) => {
                    progress.restart();
                    failure = error.into();
                }
            }
        }
        Err(failure)
    }

    /// A panic elsewhere leaves the map consistent.
    fn running(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Progress>>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pull {
    /// Reads the blob from its beginning, as it comes. The end is reached only when all bytes were verified.
    pub fn reader(&self) -> Box<dyn Read + Send> {
        Box::new(GrowingReader::new(Arc::clone(&self.progress)))
    }

    /// Waits for its end; says why it failed.
    pub fn wait(&self) -> Result<(), Arc<PullError>> {
        self.progress.wait()
    }

    /// Whether bytes that readers saw turned out to be wrong. The blob in the store is right nevertheless, if [`Pull::wait`] says so.
    pub fn was_restarted(&self) -> bool {
        self.progress.was_restarted()
    }
}

/// The layers that are not in the store, of the images that `root` leads to as far as their manifests are there.
pub fn absent_layers(store: &Store, root: &Descriptor) -> Result<Vec<Descriptor>, PullError> {
    let mut absent = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(descriptor) = open.pop() {
        if store.blobs().contains(&descriptor.digest)?.is_none() {
            continue;
        }
        let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
        let broken = |source| PullError::Broken { digest: descriptor.digest, source };
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
            // A document lists digests: none can list itself.
            Document::Index(index) => open.extend(index.manifests.into_iter().map(|entry| entry.descriptor)),
            Document::Manifest(manifest) => {
                for layer in manifest.layers {
                    if store.blobs().contains(&layer.digest)?.is_none() {
                        absent.push(layer);
                    }
                }
            }
        }
    }
    Ok(absent)
}

/// A thread that ends for whatever reason leaves nobody waiting.
struct EndOnDrop(Arc<Progress>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Err(Arc::new(PullError::Stopped)));
    }
}

/// Where a download goes: a file of the store, and who reads along.
struct Sink<'a> {
    store: &'a Store,
    ingest: Ingest,
    progress: &'a Arc<Progress>,
}

impl<'a> Sink<'a> {
    fn new(store: &'a Store, progress: &'a Arc<Progress>) -> Result<Sink<'a>, PullError> {
        let ingest = store.blobs().ingest()?;
        progress.begin(ingest.reader()?);
        Ok(Sink { store, ingest, progress })
    }
}

impl BlobSink for Sink<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.ingest.write_all(bytes)?;
        self.progress.advance(self.ingest.size());
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.progress.restart();
        self.ingest = self.store.blobs().ingest().map_err(io::Error::other)?;
        Ok(())
    }
}
