//! What is kept of a build to explain the misses of the next one.

use std::collections::BTreeMap;

use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::key::KeyPart;
use serde::Deserialize;
use serde::Serialize;

use crate::graph::Graph;
use crate::graph::ImageName;
use crate::graph::Variable;
use crate::graph::VertexId;
use crate::keys;
use crate::op::CopyFrom;
use crate::op::ExecMount;
use crate::op::Op;
use crate::op::Source;
use crate::record::exec::ExecFacts;
use crate::solve::Prepared;

/// The facts of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BuildFacts {
    /// The ignore files by context.
    pub ignore_files: BTreeMap<String, IgnoreFile>,
    /// The steps, inputs first.
    pub steps: Vec<StepFacts>,
}

/// An ignore file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoreFile {
    /// Its name.
    pub name: String,
    /// Its patterns, a line each.
    pub patterns: Vec<String>,
}

/// The facts of a step: what entered its keys, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepFacts {
    /// Its number in the graph.
    pub vertex: u32,
    /// Its stage.
    pub stage: String,
    /// The platform it is for.
    pub platform: String,
    /// The instruction as written.
    pub instruction: String,
    /// What is done, field by field; but for a RUN's arguments and environment, which are in `exec`.
    pub parts: Vec<KeyPart>,
    /// What a RUN runs with.
    pub exec: Option<ExecFacts>,
    /// The variables it names or sees.
    pub variables: Vec<Variable>,
    /// What it takes from contexts.
    pub taken: Vec<Taken>,
    /// The source on the network that it is, without credentials, and the digest of what that stood for.
    pub remote: Option<(String, String)>,
    /// The image it is.
    pub image: Option<ImageName>,
    /// It only puts its inputs together.
    pub is_merge: bool,
    /// What it is made of.
    pub inputs: Vec<u32>,
    /// Its definition key.
    pub definition: String,
    /// It was known, or ended well.
    pub finished: bool,
}

/// What a step takes from a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The context's name.
    pub context: String,
    /// What, as written: `COPY src/`.
    pub shown: String,
    /// Where a RUN sees it: `bind /src`.
    pub mount: Option<String>,
    /// The digest that enters the key, in hex.
    pub digest: String,
}

impl BuildFacts {
    /// The facts of what is about to be built; nothing is finished yet.
    pub fn of(graph: &Graph, prepared: &Prepared, ignore_files: BTreeMap<String, IgnoreFile>) -> BuildFacts {
        let steps = prepared.reachable().iter().map(|id| StepFacts::of(graph, prepared, *id)).collect();
        BuildFacts { ignore_files, steps }
    }

    /// The stage of a vertex.
    pub(super) fn stage_of(&self, vertex: Option<u32>) -> Option<&str> {
        Some(self.step(vertex?)?.stage.as_str())
    }

    /// A step by its vertex.
    pub fn step(&self, vertex: u32) -> Option<&StepFacts> {
        let found = self.steps.binary_search_by_key(&vertex, |step| step.vertex).ok()?;
        self.steps.get(found)
    }
}

/// A name for the facts of a build that is the same for facts that say the same. It costs less than the facts do.
pub fn name(
    graph: &Graph,
    prepared: &Prepared,
    ignore_files: &BTreeMap<String, IgnoreFile>,
    is_finished: &dyn Fn(u32) -> bool,
) -> [u8; 32] {
    let mut hasher = KeyHasher::new(Domain("bld.facts.v1"));
    for (context, file) in ignore_files {
        hasher = hasher.text("context", context).list("pattern", file.patterns.iter());
    }
    for id in prepared.reachable() {
        let vertex = graph.vertex(*id);
        let finished = if is_finished(number(*id)) { "yes" } else { "no" };
        hasher = hasher.text("name", &vertex.name).text("stage", &vertex.stage).text("finished", finished);
        hasher = hasher.bytes("key", prepared.keys(*id).definition.as_bytes());
    }
    *hasher.finish().0.as_bytes()
}

impl StepFacts {
    /// Nobody's step: a merge, which stands for what is merged.
    pub(super) fn is_hidden(&self) -> bool {
        self.is_merge
    }

    fn of(graph: &Graph, prepared: &Prepared, id: VertexId) -> StepFacts {
        let vertex = graph.vertex(id);
        let keys = prepared.keys(id);
        let (_, mut parts) = keys::operation(&vertex.op, &keys.digests);
        let exec = match &vertex.op {
            Op::Exec(exec) => Some(ExecFacts::of(exec)),
            _ => None,
        };
        if exec.is_some() {
            parts.retain(|part| !matches!(part.name.as_str(), "args" | "env"));
        }
        let instruction = instruction(&vertex.name).to_owned();
        let remote = keys::pinned(&vertex.op).map(|source| {
            let pin = keys.digests.first().copied().flatten().unwrap_or_default();
            (shown_remote(source), hex::encode(pin))
        });
        let mut mounts = mounts(&vertex.op).into_iter();
        let taken = keys::selections(&vertex.op).into_iter().zip(&keys.digests).filter_map(|(selection, digest)| {
            let mount = mounts.next();
            let CopyFrom::Context(context) = selection.from else { return None };
            let keyword = instruction.split_whitespace().next().unwrap_or_default();
            let sources: Vec<&str> = selection.selector.sources.iter().map(|source| without_root(source)).collect();
            let option = if mount.is_some() { "--mount source=" } else { "" };
            // The main context has no name.
            let from = if context == "context" { String::new() } else { format!("--from={context} ") };
            let shown = format!("{keyword} {from}{option}{}", sources.join(" "));
            Some(Taken { context, shown, mount, digest: hex::encode((*digest)?) })
        });
        StepFacts {
            vertex: number(id),
            stage: vertex.stage.clone(),
            platform: vertex.platform.clone(),
            parts,
            exec,
            variables: vertex.variables.clone(),
            taken: taken.collect(),
            remote,
            image: vertex.image.clone(),
            is_merge: vertex.op == Op::Merge,
            inputs: graph.inputs(id).into_iter().map(number).collect(),
            definition: keys.definition.to_string(),
            finished: false,
            instruction,
        }
    }
}

/// What shows trees to a RUN, in the order of its selections.
fn mounts(op: &Op) -> Vec<String> {
    let Op::Exec(exec) = op else { return Vec::new() };
    let shown = |mount: &ExecMount| match mount {
        ExecMount::Bind(bind) => Some(format!("bind {}", bind.target)),
        ExecMount::Cache(cache) => cache.initial.is_some().then(|| format!("cache {}", cache.target)),
        ExecMount::Tmpfs(_) | ExecMount::Secret(_) | ExecMount::Ssh(_) => None,
    };
    exec.mounts.iter().filter_map(shown).collect()
}

/// A vertex's number as records have it.
pub fn number(id: VertexId) -> u32 {
    u32::try_from(id.index()).unwrap_or(u32::MAX)
}

/// An instruction without its place in front.
pub fn instruction(name: &str) -> &str {
    name.split_once("] ").filter(|(place, _)| place.starts_with('[')).map_or(name, |(_, rest)| rest)
}

fn shown_remote(source: &Source) -> String {
    match source {
        Source::Http(http) => http.url.to_string(),
        Source::Git(git) => git.shown(),
        Source::Image { .. } | Source::Local { .. } => String::new(),
    }
}

fn without_root(source: &str) -> &str {
    match source.strip_prefix('/') {
        Some("") | None => source,
        Some(rest) => rest,
    }
}
