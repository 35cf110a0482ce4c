//! A worker that runs nothing and counts everything, a reporter that remembers, a resolver with a few images.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bld_cache::key::CacheKey;
use bld_cache::record::LayerId;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_oci::ChainId;
use bld_oci::DiffId;
use bld_oci::Digest;
use bld_oci::Timestamp;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;
use bld_solver::graph::Vertex;
use bld_solver::graph::VertexId;
use bld_solver::op::CopyFrom;
use bld_solver::op::Op;
use bld_solver::op::Selector;
use bld_solver::op::Source;
use bld_solver::remote::Remote;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Resolved;
use bld_solver::worker::ResolvedImage;
use bld_solver::worker::Selected;
use bld_solver::worker::SourceResolver;
use bld_solver::worker::Worker;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FakeError(pub(crate) String);

/// What a step does, by the vertex's name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    pub(crate) delay: Duration,
    pub(crate) fails: bool,
    /// What it writes; its name by default.
    pub(crate) output: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeWorker {
    pub(crate) behaviours: Mutex<HashMap<String, Behaviour>>,
    /// Files of contexts, by path.
    pub(crate) context: Mutex<HashMap<String, String>>,
    /// What remote sources stand for, by how they are shown; how they are shown by default.
    pub(crate) remotes: Mutex<HashMap<String, String>>,
    pins: Mutex<Vec<String>>,
    cache: Mutex<HashMap<CacheKey, Record>>,
    outputs: Mutex<HashMap<StateId, [u8; 32]>>,
    claims: Mutex<HashMap<CacheKey, Arc<tokio::sync::Mutex<()>>>>,
    executed: Mutex<Vec<String>>,
    pub(crate) lookups: Mutex<usize>,
    running: Mutex<(usize, usize)>,
    /// Every path is there.
    pub(crate) has_everything: bool,
    /// Keep states to one layer, for graphs no overlay could hold.
    pub(crate) flat: bool,
}

impl FakeWorker {
    pub(crate) fn behave(&self, name: &str, behaviour: Behaviour) {
        self.behaviours.lock().unwrap().insert(name.to_owned(), behaviour);
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        self.context.lock().unwrap().insert(path.to_owned(), content.to_owned());
    }

    /// Names of what was executed since the last call, sorted.
    pub(crate) fn executed(&self) -> Vec<String> {
        let mut names = std::mem::take(&mut *self.executed.lock().unwrap());
        names.sort();
        names
    }

    /// What was pinned since the last call, sorted.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let mut names = std::mem::take(&mut *self.pins.lock().unwrap());
        names.sort();
        names
    }

    /// The most that ever ran at once.
    pub(crate) fn peak(&self) -> usize {
        self.running.lock().unwrap().1
    }
}

impl Worker for FakeWorker {
    type Error = FakeError;
    type Claim = tokio::sync::OwnedMutexGuard<()>;

    fn lookup(&self, key: CacheKey) -> Result<Option<Record>, FakeError> {
        *self.lookups.lock().unwrap() += 1;
        Ok(self.cache.lock().unwrap().get(&key).cloned())
    }

    fn knows_operation(&self, operation: CacheKey) -> Result<bool, FakeError> {
        let cache = self.cache.lock().unwrap();
        Ok(cache.values().any(|record| record.operation.as_ref() == Some(operation.as_bytes())))
    }

    fn record(&self, keys: &[CacheKey], record: &Record) -> Result<(), FakeError> {
        self.cache.lock().unwrap().extend(keys.iter().map(|key| (*key, record.clone())));
        Ok(())
    }

    async fn claim(&self, key: CacheKey) -> Result<Self::Claim, FakeError> {
        let lock = Arc::clone(self.claims.lock().unwrap().entry(key).or_default());
        Ok(lock.lock_owned().await)
    }

    async fn digest(
        &self,
        from: &CopyFrom,
        selector: &Selector,
        inputs: &[State],
        _vertex: VertexId,
    ) -> Result<Selected, FakeError> {
        let digest = match from {
            CopyFrom::Context(_) => {
                let files = self.context.lock().unwrap();
                let (any, mut text) = (String::new(), String::new());
                for source in &selector.sources {
                    let any = self.has_everything.then_some(&any);
                    let content =
                        files.get(source).or(any).ok_or_else(|| FakeError(format!("`{source}`: not found")))?;
                    for part in [source, content] {
                        text.push_str(part);
                        text.push('\0');
                    }
                }
                *Digest::of(text.as_bytes()).as_bytes()
            }
            CopyFrom::Input(index) => {
                let state = inputs[index.0].id;
                self.outputs.lock().unwrap().get(&state).copied().unwrap_or(*state.as_bytes())
            }
        };
        let all_matched = !selector.sources.iter().any(|source| source.contains("nothing*"));
        Ok(Selected { digest, all_matched })
    }

    async fn pin(&self, _id: VertexId, source: &Source) -> Result<[u8; 32], FakeError> {
        let name = match source {
            Source::Http(http) => http.url.to_string(),
            Source::Git(git) => git.shown(),
            other => return Err(FakeError(format!("{other:?} is not remote"))),
        };
        self.pins.lock().unwrap().push(name.clone());
        let content = self.remotes.lock().unwrap().get(&name).cloned();
        Ok(*Digest::of(content.unwrap_or(name).as_bytes()).as_bytes())
    }

    async fn execute(&self, _id: VertexId, vertex: &Vertex, inputs: &[State]) -> Result<Record, FakeError> {
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        self.executed.lock().unwrap().push(vertex.name.clone());
        let behaviour = self.behaviours.lock().unwrap().get(&vertex.name).cloned().unwrap_or_default();
        if behaviour.delay > Duration::ZERO {
            tokio::time::sleep(behaviour.delay).await;
        }
        self.running.lock().unwrap().0 -= 1;
        if behaviour.fails {
            return Err(FakeError(format!("{} went wrong", vertex.name)));
        }
        let output = behaviour.output.unwrap_or_else(|| vertex.name.clone());
        let changes = *Digest::of(output.as_bytes()).as_bytes();
        let state = if let Op::Source(Source::Image { layers }) = &vertex.op {
            let id = StateId::image(ChainId::of(layers.iter().map(|layer| layer.diff_id)));
            State { id, layers: layers.iter().map(|layer| layer_id(layer.diff_id.0.as_bytes())).collect() }
        } else {
            let below = inputs.first().map_or_else(StateId::scratch, |state| state.id);
            let id = below.push(&changes);
            let below = inputs.first().filter(|_| !self.flat).map_or(&[][..], |state| &state.layers);
            let layers = below.iter().copied().chain([layer_id(id.as_bytes())]).collect();
            State { id, layers }
        };
        self.outputs.lock().unwrap().insert(state.id, changes);
        Ok(Record::new(state, Timestamp::FIXED))
    }
}

fn layer_id(hash: &[u8; 32]) -> LayerId {
    LayerId::from_bytes(hash[..16].try_into().unwrap())
}

#[derive(Debug, Default)]
pub(crate) struct FakeReporter {
    events: Mutex<Vec<(usize, &'static str)>>,
}

impl FakeReporter {
    /// Events since the last call: number of the vertex, kind.
    pub(crate) fn events(&self) -> Vec<(usize, &'static str)> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

impl Reporter for FakeReporter {
    fn on_event(&self, vertex: VertexId, event: Event<'_>) {
        let kind = match event {
            Event::Started => "started",
            Event::Cached => "cached",
            Event::Log { .. } => "log",
            Event::Warning { .. } => "warning",
            Event::Used(_) => "used",
            Event::Done => "done",
            Event::Failed { .. } => "failed",
            Event::Canceled => "canceled",
        };
        self.events.lock().unwrap().push((vertex.index(), kind));
    }
}

/// Knows the images it was given; everything else does not exist.
#[derive(Debug, Default)]
pub(crate) struct FakeResolver {
    pub(crate) images: BTreeMap<String, ImageConfig>,
    pub(crate) contexts: BTreeSet<String>,
    /// Named contexts that stand for an image of the same name.
    pub(crate) pinned: BTreeSet<String>,
    /// Names asked for, in order.
    pub(crate) asked: Mutex<Vec<String>>,
}

impl SourceResolver for FakeResolver {
    type Error = FakeError;

    async fn resolve(&self, name: &str, platform: &Platform) -> Result<Resolved, FakeError> {
        self.asked.lock().unwrap().push(name.to_owned());
        if self.contexts.contains(name) {
            let remote = name.strip_prefix("remote-").map(|kind| format!("https://host.test/{name}.{kind}"));
            let remote = remote.and_then(|url| Remote::parse(&url).ok().flatten());
            return Ok(remote.map_or_else(|| Resolved::Context(name.to_owned()), Resolved::Remote));
        }
        let config = self.images.get(name).ok_or_else(|| FakeError("no such image".to_owned()))?;
        let mut config = config.clone();
        if config.architecture.is_empty() {
            config.architecture.clone_from(&platform.architecture);
            config.os.clone_from(&platform.os);
            config.variant.clone_from(&platform.variant);
        }
        let full = format!("docker.io/library/{name}");
        Ok(Resolved::Image(ResolvedImage {
            name: full,
            digest: None,
            config,
            layers: vec![layer(&format!("{name} {platform}"))],
        }))
    }

    fn is_named_context(&self, name: &str) -> bool {
        self.contexts.contains(name) || self.pinned.contains(name)
    }

    fn named_contexts(&self) -> Vec<String> {
        self.contexts.iter().map(ToString::to_string).collect()
    }

    async fn time(&self, remote: &Remote) -> Result<Option<i64>, FakeError> {
        let shown = remote.shown();
        if shown.contains("gone") {
            return Err(FakeError(format!("`{shown}`: not found")));
        }
        Ok((!shown.contains("undated")).then_some(1_400_000_000))
    }

    fn is_missing(&self, error: &FakeError) -> bool {
        error.0 == "no such image"
    }
}

/// A layer that is told apart by its name.
pub(crate) fn layer(name: &str) -> ImageLayer {
    let digest = Digest::of(name.as_bytes());
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
    ImageLayer { diff_id: DiffId(digest), blob: Descriptor { media_type, digest, size: 1 } }
}
