//! Does operations: the solver's [`Worker`] on this machine.
//!
//! | module | does |
//! |---|---|
//! | `exec` | RUN: a sandbox over an overlay mount |
//! | `file` | COPY, ADD, WORKDIR: files into a layer directory |
//! | `kept` | what a failed RUN leaves |
//! | `mounts` | what `RUN --mount` shows a step |
//! | `layers` | layers as directories, trees and views; unpacking on demand |
//! | `blobs` | layers as compressed tars, in the background |
//! | `remote` | fetched files and git repositories as layers |
//! | `emulation` | why a program of another architecture does not run |
//! | `not_found` | why a command is said not to exist |
//! | `cancel` | stopping what runs when the solver loses interest |
//!
//! What blocks runs on threads of its own, so that a sleeping step holds up nothing; hashing and compression share one thread a core.

mod blobs;
mod cancel;
mod emulation;
mod exec;
mod file;
mod kept;
mod layers;
mod mounts;
mod network;
pub(crate) mod not_found;
mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_cache::record::Origin;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_cache::store::ActiveLayer;
use bld_cache::store::Claim;
use bld_cache::tree::Tree;
use bld_oci::DiffId;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_solver::explain::facts::number;
use bld_solver::explain::files;
use bld_solver::graph::Vertex;
use bld_solver::graph::VertexId;
use bld_solver::op::CopyFrom;
use bld_solver::op::Op;
use bld_solver::op::Selector;
use bld_solver::op::Source;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Selected;
use bld_solver::worker::Stream;
use bld_solver::worker::Worker;
use tokio::sync::Semaphore;

use self::blobs::BlobJobs;
pub use self::blobs::blob_of;
use self::cancel::CancelOnDrop;
pub use self::layers::Layers;
pub(crate) use self::layers::free_space;
pub use self::network::NetworkPolicy;
use self::network::Networks;
use crate::claims;
use crate::context::ContextTree;
use crate::copy::CopyError;
use crate::copy::CopySource;
use crate::copy::Note;
use crate::error::ExecuteError;
use crate::layers::LayerMode;
use crate::layers::OverlayFlavor;
use crate::layers::Ownership;
use crate::pull::Puller;
use crate::sandbox::Helper;
use crate::sandbox::Identity;
use crate::secrets::Secrets;
use crate::sources::Remotes;
use crate::ssh::Agents;
use crate::view::merged::MergedTree;

/// What a worker needs to know of one build.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Names the build in the log directory.
    pub build_id: String,
    /// What is built: where the main build context is.
    pub project: String,
    /// The build contexts by name; the main one is `context`.
    pub contexts: BTreeMap<String, Arc<ContextTree>>,
    /// Who bld is.
    pub identity: Identity,
    /// What network RUN steps get by default.
    pub network: NetworkPolicy,
    /// Secrets that steps may ask for. What steps print is masked with all of them.
    pub secrets: Secrets,
    /// Ssh agents that steps may ask for.
    pub agents: Agents,
    /// Fetches what is on the network.
    pub remotes: Remotes,
    /// Brings layers of base images that are not in the store; `None` = nothing may be asked.
    pub puller: Option<Puller>,
    /// No file of a new layer is given a later modification time than this.
    pub clamp: Option<Timestamp>,
    /// How layers of the image asked for are compressed; `None` = no output wants blobs.
    pub compression: Option<Compression>,
    /// The machine's processors.
    pub cores: usize,
    /// A wildcard that matches nothing is an error.
    pub strict: bool,
}

/// Executes operations on this machine. Clones share everything.
#[derive(Debug)]
pub struct LocalWorker<R> {
    shared: Arc<Shared<R>>,
}

#[derive(Debug)]
struct Shared<R> {
    store: Store,
    helper: Helper,
    config: WorkerConfig,
    reporter: Arc<R>,
    layers: Layers,
    blob_jobs: BlobJobs,
    networks: Networks,
    /// One permit a core: who hashes or compresses holds one.
    processing: Arc<Semaphore>,
    now: fn() -> Timestamp,
}

impl<R> Clone for LocalWorker<R> {
    fn clone(&self) -> LocalWorker<R> {
        LocalWorker { shared: Arc::clone(&self.shared) }
    }
}

impl<R: Reporter + 'static> LocalWorker<R> {
    /// A worker for one build. `now` tells the time of records.
    pub fn new(
        store: Store,
        helper: Helper,
        config: WorkerConfig,
        reporter: Arc<R>,
        now: fn() -> Timestamp,
    ) -> LocalWorker<R> {
        let processing = Arc::new(Semaphore::new(config.cores.max(1)));
        let networks = Networks::new(config.network, config.cores);
        let layers = Layers::new(store.clone(), layer_mode(config.identity)).with_puller(config.puller.clone());
        let shared = Shared {
            store,
            helper,
            config,
            reporter,
            layers,
            blob_jobs: BlobJobs::default(),
            networks,
            processing,
            now,
        };
        LocalWorker { shared: Arc::new(shared) }
    }

    /// The store it works on.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The layers of the store as files.
    pub(crate) fn layers(&self) -> &Layers {
        &self.shared.layers
    }

    /// Runs `work` on a thread where it may block.
    pub(crate) async fn blocking_on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalWorker<R>) -> Result<T, ExecuteError> + Send + 'static,
    ) -> Result<T, ExecuteError> {
        self.blocking(move |this, _| work(this)).await
    }

    /// Runs `work` on a thread where it may block. If the future is dropped, what `work` registered with its canceller is killed;
    /// the thread then ends by itself.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalWorker<R>, &cancel::Canceler) -> Result<T, ExecuteError> + Send + 'static,
    ) -> Result<T, ExecuteError> {
        let guard = CancelOnDrop::new();
        let canceler = guard.canceler();
        let this = self.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&this, &canceler)).await;
        drop(guard);
        match outcome {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ExecuteError::Canceled),
        }
    }

    /// The tree a copy reads.
    fn copy_view(&self, from: &CopyFrom, inputs: &[State]) -> Result<SourceView, ExecuteError> {
        match from {
            CopyFrom::Context(name) => {
                let context = self.shared.config.contexts.get(name);
                let context = context.ok_or_else(|| ExecuteError::NoSuchContext { name: name.clone() })?;
                Ok(SourceView::Context(Arc::clone(context)))
            }
            CopyFrom::Input(index) => {
                let state = inputs.get(index.0).ok_or(ExecuteError::LayerMissing)?;
                Ok(SourceView::Layers(self.view(state)?))
            }
        }
    }

    /// Tells the user what a step left out or could not do.
    fn tell(&self, vertex: VertexId, notes: &[impl std::fmt::Display]) {
        for note in notes {
            let line = format!("note: {note}\n");
            self.shared.reporter.on_event(vertex, Event::Log { stream: Stream::Stderr, bytes: line.as_bytes() });
        }
    }

    /// The same for a copy. A pattern without a match is a trap, and said whenever the copy is looked at, cached or not.
    fn tell_copy(&self, vertex: VertexId, notes: &[Note]) -> Result<(), ExecuteError> {
        for note in notes {
            match note {
                Note::NoMatch { pattern, excluded } if self.shared.config.strict => {
                    let (pattern, excluded) = (pattern.clone(), excluded.clone());
                    return Err(CopyError::EmptyWildcard { pattern, excluded }.into());
                }
                Note::NoMatch { .. } => {
                    let event = Event::Warning { code: "EmptyWildcard", message: &note.to_string() };
                    self.shared.reporter.on_event(vertex, event);
                }
                _ => self.tell(vertex, std::slice::from_ref(note)),
            }
        }
        Ok(())
    }

    fn origin(&self, id: VertexId, vertex: &Vertex, begun: Instant, made: &Origin) -> Origin {
        Origin {
            build: self.shared.config.build_id.clone(),
            step: number(id),
            project: self.shared.config.project.clone(),
            stage: vertex.stage.clone(),
            name: vertex.name.clone(),
            took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            layer_bytes: made.layer_bytes,
            layer_entries: made.layer_entries,
            same_result: made.same_result,
        }
    }

    /// Turns a finished layer directory into the result of a step. A state that is known already keeps its old layers: early cutoff.
    fn commit(&self, input: &State, active: ActiveLayer, tree: &Tree) -> Result<Record, ExecuteError> {
        let store = &self.shared.store;
        let id = input.id.push(&tree.digest().0);
        let size = Origin { layer_bytes: tree.size(), layer_entries: tree.len() as u64, ..Origin::default() };
        if let Some(known) = store.records().state(id)? {
            let origin = Some(Origin { same_result: true, ..size });
            return Ok(Record { origin, ..Record::new(State { id, layers: known.layers }, known.created) });
        }
        let layer = store.layers().commit(active, tree)?;
        let mut layers = input.layers.clone();
        layers.push(layer);
        Ok(Record { origin: Some(size), ..Record::new(State { id, layers }, (self.shared.now)()) })
    }
}

impl<R: Reporter + 'static> Worker for LocalWorker<R> {
    type Error = ExecuteError;
    type Claim = Claim;

    fn lookup(&self, key: CacheKey) -> Result<Option<Record>, ExecuteError> {
        Ok(self.shared.store.records().get(key)?)
    }

    fn knows_operation(&self, operation: CacheKey) -> Result<bool, ExecuteError> {
        Ok(self.shared.store.records().knows_operation(operation.as_bytes())?)
    }

    fn record(&self, keys: &[CacheKey], record: &Record) -> Result<(), ExecuteError> {
        let secrets = &self.shared.config.secrets;
        if secrets.is_empty() {
            return Ok(self.shared.store.records().put(keys, record)?);
        }
        // What only explains is kept without secrets; the keys were made with them.
        let mut record = record.clone();
        record.parts.iter_mut().for_each(|part| part.value = secrets.masked(&part.value));
        if let Some(origin) = &mut record.origin {
            origin.name = secrets.masked(&origin.name);
        }
        Ok(self.shared.store.records().put(keys, &record)?)
    }

    async fn claim(&self, key: CacheKey) -> Result<Claim, ExecuteError> {
        Ok(claims::claim(&self.shared.store, key).await?)
    }

    async fn digest(
        &self,
        from: &CopyFrom,
        selector: &Selector,
        inputs: &[State],
        vertex: VertexId,
    ) -> Result<Selected, ExecuteError> {
        let (from, selector, inputs) = (from.clone(), selector.clone(), inputs.to_vec());
        self.blocking(move |this, _| {
            let view = this.copy_view(&from, &inputs)?;
            let source = view.as_source();
            let selection = crate::copy::select(source, &selector)?;
            this.tell_copy(vertex, &selection.notes)?;
            let all_matched = !selection.notes.iter().any(|note| matches!(note, Note::NoMatch { .. }));
            let SourceView::Context(_) = &view else {
                return Ok(Selected { digest: selection.digest(source.view)?, all_matched });
            };
            // What is above a step says why the files of an input changed; for a context only a list of them does.
            let lists = this.shared.store.selections();
            let (digest, files) = selection.digest_and_files(source.view, |digest| !lists.contains(digest))?;
            if let Some(files) = files {
                lists.put(&digest, &files::encode(&files))?;
            }
            Ok(Selected { digest, all_matched })
        })
        .await
    }

    async fn pin(&self, _id: VertexId, source: &Source) -> Result<[u8; 32], ExecuteError> {
        Ok(self.shared.config.remotes.pin(source).await?)
    }

    async fn execute(&self, id: VertexId, vertex: &Vertex, inputs: &[State]) -> Result<Record, ExecuteError> {
        let inputs = inputs.to_vec();
        let begun = Instant::now();
        let mut record = match vertex.op.clone() {
            Op::Source(Source::Image { layers }) => {
                self.blocking(move |this, _| {
                    let ids = layers.iter().map(|layer| this.shared.store.layers().adopt_image_layer(layer));
                    let ids = ids.collect::<Result<Vec<_>, _>>()?;
                    let chain =
                        bld_oci::ChainId::of(layers.iter().map(|layer: &bld_oci::image::ImageLayer| layer.diff_id));
                    let state = State { id: StateId::image(chain), layers: ids };
                    Ok(Record::new(state, (this.shared.now)()))
                })
                .await?
            }
            Op::Source(Source::Local { context }) => {
                self.blocking(move |this, _| this.local_source(id, &context)).await?
            }
            Op::Source(Source::Http(source)) => self.http_source(id, &source).await?,
            Op::Source(Source::Git(source)) => self.git_source(id, &source).await?,
            Op::Exec(exec) => {
                let vertex = vertex.clone();
                self.blocking(move |this, canceler| this.run_exec(id, &vertex, &exec, &inputs, canceler)).await?
            }
            Op::File(file) => self.blocking(move |this, _| this.run_file(id, &file, &inputs)).await?,
            // The solver computes it from its inputs alone.
            Op::Merge => {
                let [lower, upper] = inputs.as_slice() else { return Err(ExecuteError::LayerMissing) };
                let layers = lower.layers.iter().chain(&upper.layers).copied().collect();
                let state = State { id: lower.id.merge(upper.id), layers };
                Record::new(state, (self.shared.now)())
            }
        };
        if !matches!(vertex.op, Op::Source(Source::Image { .. })) {
            let made = record.origin.take().unwrap_or_default();
            record.origin = Some(self.origin(id, vertex, begun, &made));
        }
        if vertex.exported
            && let (Some(compression), Some(layer)) = (self.shared.config.compression, record.state.layers.last())
        {
            self.start_blob(*layer, compression);
        }
        Ok(record)
    }
}

/// What layer directories can hold, given who bld is.
pub fn layer_mode(identity: Identity) -> LayerMode {
    let (flavor, ownership) = match identity {
        Identity::Root => (OverlayFlavor::Trusted, Ownership::Real),
        Identity::SubordinateIds => (OverlayFlavor::User, Ownership::Real),
        Identity::SingleId => (OverlayFlavor::User, Ownership::Recorded),
    };
    LayerMode { flavor, ownership }
}

/// The tree a copy reads.
#[derive(Debug)]
enum SourceView {
    Context(Arc<ContextTree>),
    Layers(Arc<MergedTree>),
}

impl SourceView {
    fn as_source(&self) -> CopySource<'_> {
        match self {
            SourceView::Context(context) => CopySource { view: context.as_ref(), exclusions: Some(context.as_ref()) },
            SourceView::Layers(layers) => CopySource { view: layers.as_ref(), exclusions: None },
        }
    }
}

/// A layer's two identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The stored bytes.
    pub blob: bld_oci::image::Descriptor,
}
