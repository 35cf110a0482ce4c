//! Images of registries: their documents when they are named, their layers when somebody needs them.
//!
//! A pulled image is listed in the store at once, with nothing but its manifest and its configuration. Where its layers can be had is
//! noted ([`bld_cache::store::Origins`]); the first who needs one downloads it, in this build or a year later, and all who need it
//! meanwhile read along.

mod error;
mod growing;

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::io::Read;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bld_cache::Store;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::read_document;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_registry::BlobSink;
use bld_registry::Registry;
use bld_registry::RegistryError;
use bld_registry::Repository;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

pub use self::error::PullError;
use self::growing::GrowingReader;
use self::growing::Progress;
use crate::claims;
use crate::image::MAX_DOCUMENT;

/// An index may list an index; nobody nests deeper.
const MAX_DEPTH: usize = 3;
/// An image may have very many layers.
const PLACES: usize = 16;
/// How many pieces of a download may wait for the disk.
const PIECES: usize = 4;

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
    /// Downloads that may be under way. How many connections a registry is asked for, the client limits.
    places: Semaphore,
    stopped: Arc<AtomicBool>,
}

/// Lives in a task, and so ends with the runtime.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
        let stopped = Arc::new(AtomicBool::new(false));
        let guard = StopOnDrop(Arc::clone(&stopped));
        runtime.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let (running, places) = (Mutex::default(), Semaphore::new(PLACES));
        Puller { shared: Arc::new(Shared { store, registry, runtime, observer, running, places, stopped }) }
    }

    /// Whether the runtime has ended: nothing that is waited for will come.
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
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
        let root = self.documents(reference, platform).await?;
        self.shared.store.images().set(&reference.to_string(), &root)?;
        Ok(root)
    }

    /// Brings the documents of an image: a manifest, or the index that its registry has.
    pub async fn documents(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, PullError> {
        let blobs = self.shared.store.blobs();
        let repository = Repository::of(reference);
        let resolved = self.shared.registry.image(reference, platform).await?;
        for found in resolved.indexes.iter().chain([&resolved.fetched]) {
            blobs.keep(&found.descriptor, &found.bytes)?;
        }
        let (config, _) = self.shared.registry.config(&repository, &resolved.manifest).await?;
        blobs.keep(&resolved.manifest.config, &config)?;
        for found in resolved.indexes.iter().chain([&resolved.fetched]) {
            self.note_origins(&repository, &found.descriptor, &found.document)?;
        }
        Ok(resolved.indexes.first().unwrap_or(&resolved.fetched).descriptor.clone())
    }

    /// Brings the documents for one more platform of an image that is listed.
    pub async fn complete(&self, root: &Descriptor, platform: &Platform) -> Result<(), PullError> {
        let mut descriptor = root.clone();
        for _ in 0..MAX_DEPTH {
            let (_, document) = self.document(&descriptor).await?;
            match document {
                Document::Index(index) => {
                    let broken = |source| PullError::Broken { digest: descriptor.digest, source: Box::new(source) };
                    descriptor = select_platform(&index, platform).map_err(broken)?.descriptor.clone();
                }
                Document::Manifest(manifest) => {
                    let (config, _) = self.bytes(&manifest.config).await?;
                    let broken =
                        |source| PullError::Broken { digest: manifest.config.digest, source: Box::new(source) };
                    ImageConfig::parse(&config).map_err(broken)?;
                    return Ok(());
                }
            }
        }
        Err(PullError::NoOrigin { digest: descriptor.digest })
    }

    /// A manifest or index of the store, or of a registry that has it. Who has it has what it lists.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), PullError> {
        let (bytes, repository) = self.bytes(descriptor).await?;
        let document = read_document(&bytes, Some(&descriptor.media_type));
        let broken = |source| PullError::Broken { digest: descriptor.digest, source: Box::new(source) };
        let document = document.map_err(broken)?;
        if let Some(repository) = repository {
            self.note_origins(&repository, descriptor, &document)?;
        }
        Ok((bytes, document))
    }

    /// A manifest, index or configuration of the store, or of a registry that has it: its bytes, and which registry is known to have it.
    async fn bytes(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Option<Repository>), PullError> {
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
        store.blobs().keep(descriptor, &bytes)?;
        Ok((bytes, Some(repository)))
    }

    /// Notes that `repository` has what a document lists, and a manifest itself.
    fn note_origins(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        document: &Document,
    ) -> Result<(), PullError> {
        let digests: Vec<Digest> = match document {
            Document::Index(index) => index.manifests.iter().map(|entry| entry.descriptor.digest).collect(),
            Document::Manifest(manifest) => {
                manifest.layers.iter().chain([descriptor, &manifest.config]).map(|blob| blob.digest).collect()
            }
        };
        Ok(self.shared.store.origins().add(&repository.to_string(), &digests)?)
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
            // Of another size than is said: the registry is asked, and what it says is the error.
            if self.shared.store.blobs().contains(&blob.digest)? != Some(blob.size) {
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
        // A task, not a thread: when bld is told to stop, tasks are dropped wherever they wait.
        self.shared.runtime.spawn(async move {
            let outcome = this.download(&blob, &origins, &guard.0).await;
            // Whoever comes later begins anew if it failed, and finds it in the store if not.
            this.running().remove(&blob.digest);
            guard.0.end(outcome.map_err(Arc::new));
        });
        Ok(Pull { progress })
    }

    async fn download(
        &self,
        blob: &Descriptor,
        origins: &[Repository],
        progress: &Arc<Progress>,
    ) -> Result<(), PullError> {
        // Nobody closes the semaphore.
        let _place = self.shared.places.acquire().await.map_err(|_| PullError::Stopped)?;
        let (key, _) = KeyHasher::new(Domain("bld.download.v1")).bytes("digest", blob.digest.as_bytes()).finish();
        let _claim = claims::claim(&self.shared.store, key).await?;
        if self.found(blob, progress).await? {
            return Ok(());
        }
        let mut failure = PullError::NoOrigin { digest: blob.digest };
        for repository in origins {
            (self.shared.observer)(&Download { blob, repository, is_done: false });
            let (pieces, incoming) = mpsc::channel(PIECES);
            let (store, announced, readers) = (self.shared.store.clone(), blob.clone(), Arc::clone(progress));
            let writing = self.shared.runtime.spawn_blocking(move || write(&store, &announced, &readers, incoming));
            let mut sink = Sink { pieces };
            let mut fetched = self.shared.registry.blob(repository, blob, &mut sink, &|_| {}).await;
            if fetched.is_ok() {
                fetched = sink.send(Piece::End).await.map_err(|source| RegistryError::Sink {
                    doing: format!("pull blob {} of {repository}", blob.digest),
                    source,
                });
            }
            drop(sink);
            // If the disk is the reason, the client only knows that nobody takes its bytes.
            writing.await.map_err(|_| PullError::Stopped)??;
            match fetched {
                Ok(()) => {
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

    /// Whether somebody else brought the blob in the meantime; readers then get it from the store.
    async fn found(&self, blob: &Descriptor, progress: &Arc<Progress>) -> Result<bool, PullError> {
        let (store, blob, progress) = (self.shared.store.clone(), blob.clone(), Arc::clone(progress));
        // It may have to be read through.
        let looking = self.shared.runtime.spawn_blocking(move || {
            if store.blobs().contains(&blob.digest)? != Some(blob.size) {
                return Ok(false);
            }
            let (file, size) = store.blobs().open_raw(&blob.digest)?;
            progress.begin(file);
            progress.advance(size);
            Ok(true)
        });
        looking.await.map_err(|_| PullError::Stopped)?
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
    // Documents cannot go round in circles, but one may be listed a thousand times, by one that is listed a thousand times.
    let mut seen = HashSet::new();
    while let Some(descriptor) = open.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        if store.blobs().contains(&descriptor.digest)?.is_none() {
            continue;
        }
        let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
        let broken = |source| PullError::Broken { digest: descriptor.digest, source: Box::new(source) };
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
            Document::Index(index) => open.extend(index.manifests.into_iter().map(|entry| entry.descriptor)),
            Document::Manifest(manifest) => {
                for layer in manifest.layers {
                    if seen.insert(layer.digest) && store.blobs().contains(&layer.digest)?.is_none() {
                        absent.push(layer);
                    }
                }
            }
        }
    }
    Ok(absent)
}

/// A download that ends for whatever reason leaves nobody waiting.
struct EndOnDrop(Arc<Progress>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Err(Arc::new(PullError::Stopped)));
    }
}

/// What the task that receives says to the thread that writes.
enum Piece {
    Bytes(Vec<u8>),
    /// All so far was wrong.
    Restart,
    /// That was all, and it is right.
    End,
}

struct Sink {
    pieces: mpsc::Sender<Piece>,
}

impl Sink {
    async fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces.send(piece).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl BlobSink for Sink {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(Piece::Bytes(bytes.to_vec())).await
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.send(Piece::Restart).await
    }
}

/// Writes a download into the store, and tells those who read along. If the last word never comes, nothing of it stays.
fn write(
    store: &Store,
    blob: &Descriptor,
    progress: &Progress,
    mut incoming: mpsc::Receiver<Piece>,
) -> Result<(), PullError> {
    let mut ingest = store.blobs().ingest()?;
    progress.begin(ingest.reader()?);
    while let Some(piece) = incoming.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => {
                let written = ingest.write_all(&bytes);
                let root = || store.root().to_owned();
                written.map_err(|source| PullError::Write { digest: blob.digest, root: root(), source })?;
                progress.advance(ingest.size());
            }
            Piece::Restart => {
                progress.restart();
                ingest = store.blobs().ingest()?;
            }
            Piece::End => {
                ingest.commit_verified(blob)?;
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
