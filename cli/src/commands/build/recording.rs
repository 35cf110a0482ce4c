//! The record of a build: made of what was seen, and stored whatever came of the build.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Instant;

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_cache::record::Origin;
use bld_cache::store::Build;
use bld_cache::store::Facts;
use bld_executor::secrets::Secrets;
use bld_parser::ast::Dockerfile;
use bld_solver::explain::Cause;
use bld_solver::explain::Explainer;
use bld_solver::explain::facts;
use bld_solver::explain::facts::BuildFacts;
use bld_solver::explain::facts::IgnoreFile;
use bld_solver::explain::facts::StepFacts;
use bld_solver::explain::facts::instruction;
use bld_solver::explain::facts::number;
use bld_solver::graph::VertexId;
use bld_solver::lower::Plan;
use bld_solver::op::Op;
use bld_solver::record::BuildRecord;
use bld_solver::record::ImageRecord;
use bld_solver::record::LogReference;
use bld_solver::record::Outcome;
use bld_solver::record::SCHEMA;
use bld_solver::record::Status;
use bld_solver::record::StepIndex;
use bld_solver::record::StepRecord;
use bld_solver::record::arguments::Argument;
use bld_solver::record::arguments::arguments;
use bld_solver::record::critical_path::critical_path;
use bld_solver::solve::Prepared;

use super::archive::StoreArchive;
use super::dockerfile::Source;
use super::recorder::Recorder;
use super::recorder::Watched;
use super::request::BuildRequest;
use super::request::ContextSource;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::write_line;

/// So many builds are remembered.
const KEPT: usize = 200;

/// What a build is, before anything is done.
#[derive(Debug)]
pub(super) struct Subject {
    id: String,
    /// Builds of one project are compared with each other.
    project: String,
    context: String,
    dockerfile: String,
    target: Option<String>,
    platforms: Vec<String>,
    arguments: Vec<Argument>,
    targets: Vec<VertexId>,
    /// Where the instructions of vertices begin, by vertex.
    lines: HashMap<VertexId, u32>,
}

/// Sees to it that a build is recorded, even if it is stopped.
#[derive(Debug)]
pub(super) struct Recording<'a> {
    store: &'a Store,
    request: &'a BuildRequest,
    secrets: &'a Secrets,
    recorder: Arc<Recorder>,
    subject: Subject,
    plan: Arc<Plan>,
    /// There once the contexts have been looked at.
    known: Option<Arc<Known>>,
    stored: Cell<bool>,
}

/// What there is to explain misses with.
#[derive(Debug)]
struct Known {
    plan: Arc<Plan>,
    prepared: Prepared,
    ignore_files: BTreeMap<String, IgnoreFile>,
    secrets: Secrets,
    /// Made when somebody asks: a build that finds everything needs none.
    facts: OnceLock<Arc<BuildFacts>>,
}

impl Known {
    fn facts(&self) -> &Arc<BuildFacts> {
        let make = || {
            let mut facts = BuildFacts::of(&self.plan.graph, &self.prepared, self.ignore_files.clone());
            // What is compared is what was stored: without secrets on both sides.
            if !self.secrets.is_empty() {
                facts.steps.iter_mut().for_each(|step| mask(step, &self.secrets));
            }
            Arc::new(facts)
        };
        self.facts.get_or_init(make)
    }

    fn explainer(&self, archive: StoreArchive) -> Explainer<StoreArchive> {
        let graph = &self.plan.graph;
        let reachable = self.prepared.reachable().iter();
        let forced = reachable.clone().filter(|id| graph.vertex(**id).no_cache).map(|id| number(*id)).collect();
        let names = reachable.map(|id| (number(*id), self.secrets.masked(&graph.vertex(*id).name))).collect();
        Explainer::new(Arc::clone(self.facts()), archive, forced, names)
    }
}

impl Subject {
    pub(super) fn new(
        id: String,
        request: &BuildRequest,
        source: &Source,
        quoted: &Quoted<'_>,
        dockerfile: &Dockerfile,
        plan: &Plan,
        targets: &[VertexId],
    ) -> Subject {
        let lines = plan.graph.iter().filter_map(|(id, vertex)| Some((id, quoted.line(vertex.span?)?)));
        Subject {
            id,
            project: project(request),
            context: context(request),
            dockerfile: source.name.clone(),
            target: request.lower.target.clone(),
            platforms: request.platforms.iter().map(ToString::to_string).collect(),
            arguments: arguments(dockerfile, &source.bytes),
            targets: targets.to_vec(),
            lines: lines.collect(),
        }
    }
}

/// Where the main build context is, for people.
fn context(request: &BuildRequest) -> String {
    match &request.context {
        ContextSource::Directory(path) => one_name(path).display().to_string(),
        ContextSource::Stdin => "-".to_owned(),
        ContextSource::Remote(remote) => remote.shown(),
    }
}

/// What is built: the main build context, and the Dockerfile if it is not the default one.
pub(super) fn project(request: &BuildRequest) -> String {
    use super::request::DockerfilePath;
    let context = context(request);
    match &request.dockerfile {
        DockerfilePath::Default => context,
        DockerfilePath::Given(_, path) => match one_name(path) {
            path if path == Path::new(&context).join("Dockerfile") => context,
            path => format!("{context}\0{}", path.display()),
        },
        DockerfilePath::Stdin => format!("{context}\0-"),
        DockerfilePath::Remote(http) => format!("{context}\0{}", http.url),
    }
}

/// A path as everybody else would write it.
#[expect(clippy::disallowed_methods, reason = "it names a project: nothing is opened by it")]
fn one_name(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl<'a> Recording<'a> {
    pub(super) fn new(
        store: &'a Store,
        request: &'a BuildRequest,
        secrets: &'a Secrets,
        recorder: Arc<Recorder>,
        subject: Subject,
        plan: Arc<Plan>,
    ) -> Recording<'a> {
        Recording { store, request, secrets, recorder, subject, plan, known: None, stored: Cell::new(false) }
    }

    /// The keys are known: from now on misses can be explained.
    pub(super) fn prepared(&mut self, prepared: Prepared, ignore_files: BTreeMap<String, IgnoreFile>) {
        let begun = Instant::now();
        let known = Arc::new(Known {
            plan: Arc::clone(&self.plan),
            prepared,
            ignore_files,
            secrets: self.secrets.clone(),
            facts: OnceLock::new(),
        });
        let (later, store, project) = (Arc::clone(&known), self.store.clone(), self.subject.project.clone());
        self.recorder.hide(self.secrets.clone());
        self.recorder.explain_with(Box::new(move || {
            let archive = StoreArchive::new(store, project, later.facts());
            later.explainer(archive)
        }));
        let (later, store) = (Arc::clone(&known), self.store.clone());
        self.recorder.compare_with(Box::new(move |vertex, earlier| {
            is_as_before(&store, later.prepared.keys(vertex).definition, earlier)
        }));
        self.known = Some(known);
        if !self.stored.get() {
            self.announce();
        }
        self.recorder.took_since(begun);
    }

    /// The keys, once they are known.
    pub(super) fn keys(&self) -> Option<&Prepared> {
        self.known.as_ref().map(|known| &known.prepared)
    }

    /// Sees to it that the build is known from its first step on: it may be killed.
    fn announce(&self) {
        let record = self.header(Status::Unfinished);
        let (store, project) = (self.store.clone(), self.subject.project.clone());
        self.recorder.on_first_step(Box::new(move || {
            let bytes = serde_json::to_vec(&record).unwrap_or_default();
            let build = Build { id: record.id, project, started_us: record.started_us, record: bytes };
            // Whatever is wrong with the store is said at the end.
            drop(store.builds().put(&build, None, KEPT));
        }));
    }

    /// What earlier builds of the project were.
    pub(super) fn project(&self) -> &str {
        &self.subject.project
    }

    /// The line of a vertex's instruction.
    pub(super) fn line(&self, vertex: VertexId) -> Option<u32> {
        self.subject.lines.get(&vertex).copied()
    }

    /// Nothing is built, so there is nothing to record.
    pub(super) fn forget(&self) {
        self.stored.set(true);
    }

    /// The build has ended: its record, which is stored now.
    pub(super) fn end(&self, outcome: &Result<Vec<ImageRecord>, CommandError>) -> BuildRecord {
        let begun = Instant::now();
        let mut record = match outcome {
            Ok(images) => self.record(Status::Succeeded, None, images.clone()),
            Err(error) => self.record(Status::Failed, Some(error), Vec::new()),
        };
        self.store(&record);
        self.recorder.took_since(begun);
        record.record_us = self.recorder.took_us();
        record
    }

    /// The record as it is now.
    fn record(&self, status: Status, error: Option<&CommandError>, images: Vec<ImageRecord>) -> BuildRecord {
        let (seen, phases) = self.recorder.seen();
        let mut record = BuildRecord {
            error: error.map(|error| self.secrets.masked(error.message())),
            images,
            phases,
            steps: self.steps(&seen, status),
            ..self.header(status)
        };
        record.critical_path = critical_path(&record);
        record
    }

    /// The record of a build that has not done anything.
    fn header(&self, status: Status) -> BuildRecord {
        let clock = self.recorder.clock();
        BuildRecord {
            schema: SCHEMA,
            bld: env!("CARGO_PKG_VERSION").to_owned(),
            id: self.subject.id.clone(),
            context: self.subject.context.clone(),
            dockerfile: self.subject.dockerfile.clone(),
            target: self.subject.target.clone(),
            platforms: self.subject.platforms.clone(),
            started_us: clock.started_us,
            wall_us: clock.us(),
            record_us: self.recorder.took_us(),
            status,
            error: None,
            images: Vec::new(),
            phases: Vec::new(),
            steps: Vec::new(),
            critical_path: Vec::new(),
            arguments: self.subject.arguments.clone(),
            index: StepIndex::default(),
        }
    }

    fn steps(&self, seen: &HashMap<VertexId, Watched>, status: Status) -> Vec<StepRecord> {
        let reachable = self.plan.graph.reachable(&self.subject.targets);
        let reached = self.reached(&reachable, seen, status);
        let key = |id: &VertexId| Some(self.keys()?.keys(*id).definition);
        let keys: Vec<Option<CacheKey>> = reachable.iter().map(key).collect();
        let known: Vec<CacheKey> = keys.iter().copied().flatten().collect();
        // Without them the record says less, and that is all.
        let origins = self.store.records().origins(&known).unwrap_or_default();
        let mut steps = Vec::with_capacity(reachable.len());
        for ((id, key), origin) in reachable.iter().zip(keys).zip(origins.into_iter().chain(std::iter::repeat(None))) {
            let seen = seen.get(id).cloned().unwrap_or_default();
            let outcome =
                seen.outcome.unwrap_or(if reached.contains(id) { Outcome::Cached } else { Outcome::NotReached });
            steps.push(self.step(*id, key, seen, outcome, origin));
        }
        keep_cutoffs(&mut steps);
        steps.sort_by_key(|step| (step.number.is_none(), step.number, step.vertex));
        steps
    }

    fn step(
        &self,
        id: VertexId,
        key: Option<CacheKey>,
        seen: Watched,
        outcome: Outcome,
        origin: Option<Origin>,
    ) -> StepRecord {
        let vertex = self.plan.graph.vertex(id);
        let ran = matches!(outcome, Outcome::Ran | Outcome::Failed | Outcome::Canceled);
        let is_exec = matches!(vertex.op, Op::Exec(_));
        let origin = origin.filter(|_| matches!(outcome, Outcome::Cached | Outcome::Ran));
        let log = match &origin {
            _ if !is_exec => None,
            _ if ran => Some(LogReference { build: self.subject.id.clone(), vertex: number(id) }),
            Some(origin) => Some(LogReference { build: origin.build.clone(), vertex: origin.step }),
            None => None,
        };
        StepRecord {
            vertex: number(id),
            number: self.recorder.plain().number(id),
            name: self.secrets.masked(&vertex.name),
            stage: vertex.stage.clone(),
            step: vertex.step,
            platform: vertex.platform.clone(),
            instruction: self.secrets.masked(instruction(&vertex.name)),
            line: self.subject.lines.get(&id).copied(),
            inputs: self.plan.graph.inputs(id).into_iter().map(number).collect(),
            counts: self.recorder.plain().kind(id).1,
            outcome,
            cause_text: seen.cause.as_ref().map(|cause| self.secrets.masked(&cause.to_string())),
            cause: seen.cause.and_then(|cause| self.masked_cause(cause)),
            // What is made of it is not known yet: `keep_cutoffs`.
            same_result: outcome == Outcome::Ran && origin.as_ref().is_some_and(|origin| origin.same_result),
            start_us: seen.start_us,
            end_us: seen.end_us,
            usage: seen.usage,
            layer_bytes: origin.as_ref().map(|origin| origin.layer_bytes),
            layer_entries: origin.as_ref().map(|origin| origin.layer_entries),
            log,
            took_us: origin.as_ref().map(|origin| origin.took_us),
            key: key.map(|key| key.to_string()).unwrap_or_default(),
            // It is among the facts, which builds share.
            exec: None,
        }
    }

    /// A text without secrets.
    pub(super) fn masked(&self, text: &str) -> String {
        self.secrets.masked(text)
    }

    /// A cause without secrets.
    pub(super) fn masked_cause(&self, cause: Cause) -> Option<Cause> {
        if self.secrets.is_empty() {
            return Some(cause);
        }
        let mut value = serde_json::to_value(&cause).ok()?;
        mask_values(&mut value, &|text| self.secrets.masked(text));
        serde_json::from_value(value).ok()
    }

    /// The vertices whose results were known, or that nobody needed because what is made of them was.
    fn reached(&self, reachable: &[VertexId], seen: &HashMap<VertexId, Watched>, status: Status) -> HashSet<VertexId> {
        let mut reached: HashSet<VertexId> = HashSet::new();
        for id in reachable.iter().rev() {
            let outcome = seen.get(id).and_then(|seen| seen.outcome);
            let is_known = status == Status::Succeeded || reached.contains(id) || outcome.is_some();
            if is_known {
                reached.insert(*id);
                reached.extend(self.plan.graph.inputs(*id));
            }
        }
        reached
    }

    /// Stores the record. A build does not fail because of it.
    fn store(&self, record: &BuildRecord) {
        self.stored.set(true);
        if let Err(error) = self.try_store(record) {
            write_line(&format!("note: the build is not recorded: {}", error.message()));
        }
    }

    fn try_store(&self, record: &BuildRecord) -> Result<(), CommandError> {
        let build = Build {
            id: record.id.clone(),
            project: self.subject.project.clone(),
            started_us: record.started_us,
            record: serde_json::to_vec(record)?,
        };
        let finished: HashMap<u32, bool> = record
            .steps
            .iter()
            .map(|step| (step.vertex, matches!(step.outcome, Outcome::Cached | Outcome::Ran)))
            .collect();
        let is_finished = |vertex: u32| finished.get(&vertex).copied().unwrap_or_default();
        let Some(known) = &self.known else { return Ok(self.store.builds().put(&build, None, KEPT)?) };
        let bytes = || {
            let mut facts = BuildFacts::clone(known.facts());
            for step in &mut facts.steps {
                step.finished = is_finished(step.vertex);
            }
            // Text and numbers always have a JSON form.
            serde_json::to_vec(&facts).unwrap_or_default()
        };
        let name = facts::name(&known.plan.graph, &known.prepared, &known.ignore_files, &is_finished);
        Ok(self.store.builds().put(&build, Some(&Facts { name, bytes: &bytes }), KEPT)?)
    }
}

/// Facts of a step without secrets.
fn mask(step: &mut StepFacts, secrets: &Secrets) {
    let masked = |text: &mut String| *text = secrets.masked(text);
    masked(&mut step.instruction);
    step.parts.iter_mut().for_each(|part| masked(&mut part.value));
    step.variables.iter_mut().for_each(|variable| masked(&mut variable.value));
    step.exec = step.exec.take().map(|exec| exec.masked(&|text| secrets.masked(text)));
}

/// Whether a step that ran made the files that it made under an earlier key.
fn is_as_before(store: &Store, key: CacheKey, earlier: &dyn Fn() -> Option<String>) -> bool {
    // Most steps that run were never made before: the store need not be asked.
    let mut bytes = [0; 32];
    let Some(()) = earlier().and_then(|text| hex::decode_to_slice(text, &mut bytes).ok()) else { return false };
    let found = |key: CacheKey| store.records().made(key).ok().flatten();
    let made_again = found(key).filter(|(_, origin)| origin.as_ref().is_some_and(|origin| origin.same_result));
    let before = || found(CacheKey::from_stored(bytes));
    made_again.is_some_and(|(now, _)| before().is_some_and(|(before, _)| before == now))
}

/// Of the steps whose files were known, leaves those that made again what they made before, and so let a step made of them be found.
fn keep_cutoffs(steps: &mut [StepRecord]) {
    let mut consumers: HashMap<u32, Vec<usize>> = HashMap::new();
    for (position, step) in steps.iter().enumerate() {
        for input in &step.inputs {
            consumers.entry(*input).or_default().push(position);
        }
    }
    let found_below = |step: &StepRecord| {
        let mut open = vec![step.vertex];
        let mut seen = HashSet::new();
        while let Some(vertex) = open.pop() {
            for consumer in consumers.get(&vertex).into_iter().flatten().filter_map(|at| steps.get(*at)) {
                match consumer.outcome {
                    Outcome::Cached if consumer.counts => return true,
                    // Nobody sees a merge or a stage: what is made of it is what people see.
                    _ if !consumer.counts && seen.insert(consumer.vertex) => open.push(consumer.vertex),
                    _ => {}
                }
            }
        }
        false
    };
    let is_new = |step: &StepRecord| {
        matches!(step.cause, None | Some(Cause::FirstBuild | Cause::NewStep | Cause::NeverFinished))
    };
    let kept: Vec<bool> = steps.iter().map(|step| step.same_result && !is_new(step) && found_below(step)).collect();
    for (step, kept) in steps.iter_mut().zip(kept) {
        step.same_result = kept;
    }
}

/// Masks what is not a name of a field or of a variant.
fn mask_values(value: &mut serde_json::Value, masked: &dyn Fn(&str) -> String) {
    match value {
        serde_json::Value::String(text) => *text = masked(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mask_values(item, masked)),
        serde_json::Value::Object(fields) => {
            let words = ["kind", "source", "change", "how"];
            let named =
                fields.iter_mut().filter(|(name, value)| !(words.contains(&name.as_str()) && value.is_string()));
            named.for_each(|(_, value)| mask_values(value, masked));
        }
        _ => {}
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // Nobody said how it ended: a signal did.
        if !self.stored.get() {
            let record = self.record(Status::Canceled, None, Vec::new());
            self.store(&record);
            self.request.records.keep_stopped(record);
        }
    }
}
