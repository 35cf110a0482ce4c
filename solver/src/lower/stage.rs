//! One stage: its base, then its instructions one by one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use bld_oci::ImagePath;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Located;
use bld_parser::ast::Stage;
use bld_parser::ast::Word;
use bld_parser::source::Span;
use bld_parser::suggest::did_you_mean;

use super::COMMENT;
use super::LowerRequest;
use super::PlannedStep;
use super::globals::Globals;
use super::ordered::Ordered;
use super::report::Report;
use super::stages::Needed;
use super::stages::Reference;
use super::stages::Stages;
use super::words;
use super::words::Variables;
use crate::graph::Graph;
use crate::graph::Vertex;
use crate::graph::VertexId;
use crate::op::Op;
use crate::op::Source;
use crate::remote::Remote;
use crate::worker::Resolved;
use crate::worker::ResolvedImage;

/// PATH of an image that says nothing about it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The state of a lowering.
#[derive(Debug)]
pub(super) struct Lowering<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) request: &'a LowerRequest,
    pub(super) globals: Globals,
    pub(super) stages: &'a Stages<'a>,
    pub(super) report: Report,
    pub(super) graph: Graph,
    /// Stages that are done, by number.
    pub(super) lowered: BTreeMap<usize, Lowered>,
    /// Those of them that others will start from, and the target. A long chain of stages would take n² of memory otherwise.
    pub(super) bases: BTreeMap<usize, StageState>,
    /// How many stages will still start from a stage; the target counts as one.
    awaited: HashMap<usize, usize>,
    /// Vertices of images and contexts, by their position among the externals.
    externals: HashMap<usize, VertexId>,
    scratch: Option<VertexId>,
    /// Vertices of what is fetched, so that nothing is fetched twice.
    pub(super) remotes: Vec<(Remote, VertexId)>,
    /// Vertices of archives that were unpacked, by what fetches them.
    pub(super) unpacked: HashMap<VertexId, VertexId>,
}

/// What is left of a stage that is done.
#[derive(Debug)]
pub(super) struct Lowered {
    /// Its root file system.
    pub(super) vertex: VertexId,
    /// The ARGs it declares itself, with the values they ended with.
    pub(super) arguments: BTreeMap<String, Option<String>>,
}

/// The state of a stage between two instructions; at its end, the stage.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    pub(super) index: usize,
    /// The root file system so far.
    pub(super) vertex: VertexId,
    /// Nothing was ever put into it.
    pub(super) is_empty: bool,
    pub(super) platform: Platform,
    pub(super) base_history: Vec<serde_json::Map<String, serde_json::Value>>,
    pub(super) base_layers: Vec<ImageLayer>,
    pub(super) steps: Vec<PlannedStep>,
    /// Its `container.env` is [`Scope::env`] until the stage ends.
    pub(super) config: ImageConfig,
    pub(super) scope: Scope,
    /// CMD was met in this stage: an ENTRYPOINT behind it leaves it alone.
    pub(super) command_set: bool,
    /// The escape character of the text being lowered.
    pub(super) escape: char,
    label: String,
    no_cache: bool,
    numbering: Numbering,
}

/// Variables in force in a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// ENV, the base's included, in order.
    pub(super) env: Ordered<String>,
    /// Names of the ARGs before the first FROM: they are no variables here, but people expect them to be.
    globals: Arc<BTreeSet<String>>,
    /// What the base sets is not known, or what an instruction with a mistake would set: any name may be among it.
    base_unknown: bool,
    /// Not even what is set here is sure, because an instruction was left out.
    values_unknown: bool,
    /// What a RUN of this stage exported, which ends with it: names and values as written.
    exported: Vec<(String, String)>,
    /// WORKDIR was met in this stage or one it starts from.
    pub(super) workdir_set: bool,
    /// ARG, in order of declaration.
    pub(super) args: Ordered<Option<String>>,
    /// Names of ENV that an ARG behind it hides until the end of the stage.
    hidden: BTreeSet<String>,
}

/// `[stage 2/5]`, counted as BuildKit does.
#[derive(Debug, Clone, Default)]
struct Numbering {
    name: String,
    total: usize,
    last: usize,
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        let env = || self.env.get(name).map(String::as_str);
        let arg = || self.args.get(name).and_then(Option::as_deref);
        if self.hidden.contains(name) { arg() } else { env().or_else(arg) }
    }

    fn names(&self) -> Vec<&str> {
        let args = self.args.iter().map(|(name, _)| name);
        self.env.iter().map(|(name, _)| name).chain(args).map(String::as_str).collect()
    }

    fn hint(&self, name: &str) -> Option<String> {
        if self.globals.contains(name) {
            return Some(format!("it is declared before the first FROM: write `ARG {name}` in this stage to use it"));
        }
        if let Some((_, value)) = self.exported.iter().find(|(exported, _)| exported == name) {
            return Some(format!("an `export` in RUN lasts until that step ends: write `ENV {name}={value}` before"));
        }
        did_you_mean(name, self.names())
    }

    fn is_known(&self, raw: &str, undefined: bool) -> bool {
        !(self.values_unknown && raw.contains('$') || self.base_unknown && undefined)
    }

    fn is_declared(&self, name: &str) -> bool {
        self.base_unknown || self.args.contains(name)
    }
}

impl Scope {
    /// Notes what a RUN exports, for the hint of those who expect it to last.
    pub(super) fn note_exports(&mut self, command: &str) {
        for part in command.split(['\n', ';', '&', '|']) {
            let Some(text) = part.trim().strip_prefix("export ") else { continue };
            let Some((name, value)) = text.trim().split_once('=') else { continue };
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                self.exported.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// Sets a variable for the image, in place if it is there.
    pub(super) fn set_env(&mut self, name: String, value: String) {
        self.hidden.remove(&name);
        self.env.insert(name, value);
    }

    /// Declares an argument, in place if it was declared. Without a value it changes nothing that has one.
    pub(super) fn set_arg(&mut self, name: String, value: Option<String>) {
        if value.is_some() && self.env.contains(&name) {
            self.hidden.insert(name.clone());
        }
        if value.is_some() || !self.args.contains(&name) {
            self.args.insert(name, value);
        }
    }

    /// Declared arguments with the values a RUN sees.
    pub(super) fn seen_args(&self) -> Vec<(String, String)> {
        let value = |name: &str| self.get(name).unwrap_or_default().to_owned();
        self.args.iter().map(|(name, _)| (name.clone(), value(name))).collect()
    }

    /// The environment of a RUN: ENV, then arguments with a value that have no ENV of their name.
    pub(super) fn run_env(&self) -> Vec<(String, String)> {
        let args = self.args.iter().filter(|(name, value)| value.is_some() && !self.env.contains(name));
        let names = self.env.iter().map(|(name, _)| name).chain(args.map(|(name, _)| name));
        names.map(|name| (name.clone(), self.get(name).unwrap_or_default().to_owned())).collect()
    }
}

impl StageState {
    /// The working directory.
    pub(super) fn directory(&self) -> ImagePath {
        ImagePath::new(&self.config.container.working_dir)
    }

    /// A history entry.
    pub(super) fn step(&mut self, created_by: String, vertex: Option<VertexId>, span: Span) {
        self.steps.push(PlannedStep { created_by, comment: COMMENT, vertex, span });
    }

    /// Puts a vertex on top, with its history entry.
    pub(super) fn advance(&mut self, vertex: VertexId, created_by: String, span: Span) {
        self.vertex = vertex;
        self.is_empty = false;
        self.step(created_by, Some(vertex), span);
    }

    /// A vertex of this stage with the next number.
    pub(super) fn describe(&mut self, op: Op, text: &str, span: Span) -> Vertex {
        let no_cache = self.no_cache && !matches!(op, Op::Source(_));
        let name = self.numbering.next(text);
        Vertex { op, name, span: Some(span), stage: self.label.clone(), no_cache, exported: false }
    }
}

impl Numbering {
    fn next(&mut self, text: &str) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.last += 1;
        let width = self.total.to_string().len();
        let space = if self.name.is_empty() { "" } else { " " };
        format!("[{}{space}{:>width$}/{}] {text}", self.name, self.last, self.total)
    }
}

impl<'a> Lowering<'a> {
    pub(super) fn new(
        dockerfile: &'a Dockerfile,
        request: &'a LowerRequest,
        globals: Globals,
        stages: &'a Stages<'a>,
        report: Report,
    ) -> Lowering<'a> {
        let mut awaited = HashMap::from([(stages.target(), 1)]);
        for index in stages.needed() {
            if let Some((_, Needed { base: Reference::Stage(base), .. })) = stages.get(index) {
                *awaited.entry(*base).or_insert(0) += 1;
            }
        }
        Lowering {
            dockerfile,
            request,
            globals,
            stages,
            report,
            graph: Graph::new(),
            lowered: BTreeMap::new(),
            bases: BTreeMap::new(),
            awaited,
            externals: HashMap::new(),
            scratch: None,
            remotes: Vec::new(),
            unpacked: HashMap::new(),
        }
    }

    /// Lowers a stage; those it uses are done.
    pub(super) fn stage(&mut self, index: usize) {
        let Some((written, needed)) = self.stages.get(index) else { return };
        let mut state = self.base(index, written, needed);
        for trigger in &needed.triggers {
            self.report.enter_trigger(written.from.base.span, &trigger.text);
            // A trigger has no directives of its own.
            state.escape = '\\';
            let located = Located { span: written.from.base.span, ..trigger.instruction.clone() };
            self.instruction(&mut state, &located);
            self.report.leave_trigger();
        }
        state.escape = self.dockerfile.directives.escape;
        if !needed.replaced {
            for located in &written.instructions {
                if written.values_unknown_from.is_some_and(|from| from <= located.span.start) {
                    state.scope.base_unknown = true;
                    state.scope.values_unknown = true;
                }
                self.instruction(&mut state, located);
            }
            // The mistake may be in the last instruction, and other stages may begin here.
            state.scope.base_unknown |= written.values_unknown_from.is_some();
            state.scope.values_unknown |= written.values_unknown_from.is_some();
        }
        state.config.container.env = state.scope.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let own = written.instructions.iter().filter_map(|located| match &located.instruction {
            Instruction::Arg(arg) => Some(&arg.declarations),
            _ => None,
        });
        let arguments = own.flatten().filter_map(|declaration| {
            let name = &declaration.name.raw;
            Some((name.clone(), state.scope.args.get(name)?.clone()))
        });
        self.lowered.insert(index, Lowered { vertex: state.vertex, arguments: arguments.collect() });
        if self.awaited.contains_key(&index) {
            self.bases.insert(index, state);
        }
    }

    /// The state that a stage which starts from another begins with.
    fn continued(&mut self, base: usize) -> Option<StageState> {
        let awaited = self.awaited.get_mut(&base)?;
        *awaited = awaited.saturating_sub(1);
        if *awaited > 0 { self.bases.get(&base).cloned() } else { self.bases.remove(&base) }
    }

    fn instruction(&mut self, state: &mut StageState, located: &Located) {
        match &located.instruction {
            Instruction::Run(run) => self.run(state, run, located),
            Instruction::Copy(copy) => {
                if copy.from.is_none() {
                    self.check_ignored(state, "COPY", &copy.paths);
                }
                self.copy(state, copy, located);
            }
            Instruction::Add(add) => {
                self.check_ignored(state, "ADD", &add.paths);
                self.add(state, add, located);
            }
            Instruction::Workdir(word) => {
                self.check_workdir(state, word);
                self.workdir(state, word, located);
            }
            settings => self.setting(state, settings, located.span),
        }
    }

    /// Expands a word with what is in force in a stage.
    pub(super) fn expand(&mut self, state: &StageState, word: &Word) -> Option<String> {
        words::expand(&mut self.report, word, state.escape, &state.scope)
    }

    /// The empty file system.
    pub(super) fn scratch(&mut self) -> VertexId {
        if let Some(vertex) = self.scratch {
            return vertex;
        }
        let vertex = self.graph.add(
            Vertex {
                op: Op::Source(Source::Image { layers: Vec::new() }),
                name: "FROM scratch".to_owned(),
                span: None,
                stage: String::new(),
                no_cache: false,
                exported: false,
            },
            [],
        );
        self.scratch = Some(vertex);
        vertex
    }

    /// The layers of an image that is only copied from.
    pub(super) fn image(&mut self, id: usize, image: &ResolvedImage, span: Span) -> VertexId {
        let vertex = Vertex {
            op: Op::Source(Source::Image { layers: image.layers.clone() }),
            name: format!("FROM {}", image.name),
            span: Some(span),
            stage: String::new(),
            no_cache: false,
            exported: false,
        };
        self.external_vertex(id, vertex)
    }

    fn base(&mut self, index: usize, written: &Stage, needed: &Needed) -> StageState {
        let label = self.stages.label(index);
        let filter = &self.request.no_cache_filter;
        let is_filtered = filter.iter().any(|name| name.eq_ignore_ascii_case(&label) || *name == index.to_string());
        let mut numbering = self.number(index, written, needed);
        let mut state = match needed.base {
            Reference::Stage(base) => match self.continued(base) {
                Some(state) => state,
                None => empty(needed.platform.clone(), self.scratch()),
            },
            Reference::External(id) => self.external_base(id, written, needed, &label, &mut numbering),
            Reference::Scratch => empty(needed.platform.clone(), self.scratch()),
        };
        state.index = index;
        state.no_cache = self.request.no_cache || is_filtered;
        state.numbering = numbering;
        state.label = label;
        state.command_set = false;
        state.scope.globals = self.globals.global_names();
        // What the base sets is set once more here.
        state.scope.hidden.clear();
        // They fire here, once.
        state.config.container.on_build.clear();
        state
    }

    fn external_base(
        &mut self,
        id: usize,
        written: &Stage,
        needed: &Needed,
        label: &str,
        numbering: &mut Numbering,
    ) -> StageState {
        let resolved = self.stages.external(id).and_then(|external| external.resolved.as_ref());
        let (op, text) = match resolved {
            Some(Resolved::Image(image)) => {
                (Op::Source(Source::Image { layers: image.layers.clone() }), format!("FROM {}", image.name))
            }
            Some(Resolved::Context(context)) => {
                (Op::Source(Source::Local { context: context.clone() }), format!("FROM {context}"))
            }
            Some(Resolved::Remote(remote)) => {
                let text = format!("FROM {}", remote.shown());
                let vertex = self.remote_tree(remote, written.from.span);
                let mut state = empty(needed.platform.clone(), vertex);
                state.advance(vertex, text, written.from.span);
                return state;
            }
            // That it could not be resolved is reported; going on finds what else is wrong.
            None => {
                let mut state = empty(needed.platform.clone(), self.scratch());
                state.scope.base_unknown = true;
                return state;
            }
        };
        let vertex = Vertex {
            op,
            name: numbering.next(&text),
            span: Some(written.from.span),
            stage: label.to_owned(),
            no_cache: false,
            exported: false,
        };
        let vertex = self.external_vertex(id, vertex);
        let mut state = empty(needed.platform.clone(), vertex);
        match resolved {
            Some(Resolved::Image(image)) => {
                self.check_platform(&state, image, written.from.base.span);
                state.is_empty = image.layers.is_empty();
                state.base_history.clone_from(&image.config.history);
                state.base_layers.clone_from(&image.layers);
                inherit(&mut state, &image.config);
            }
            Some(Resolved::Context(_) | Resolved::Remote(_)) | None => state.advance(vertex, text, written.from.span),
        }
        state
    }

    /// One vertex for each image or context, whoever asks for it first.
    fn external_vertex(&mut self, id: usize, vertex: Vertex) -> VertexId {
        if matches!(&vertex.op, Op::Source(Source::Image { layers }) if layers.is_empty()) {
            return self.scratch();
        }
        let graph = &mut self.graph;
        *self.externals.entry(id).or_insert_with(|| graph.add(vertex, []))
    }

    fn check_platform(&mut self, state: &StageState, image: &ResolvedImage, span: Span) {
        let ImageConfig { os, architecture, .. } = &image.config;
        let Platform { os: wanted_os, architecture: wanted_architecture, .. } = &state.platform;
        if (!os.is_empty() && os != wanted_os) || (!architecture.is_empty() && architecture != wanted_architecture) {
            let message = format!(
                "base image `{}` has the platform `{os}/{architecture}`, expected `{}`",
                image.name, state.platform
            );
            let hint = format!(
                "use an image for `{}`, or build for the platform of this one: `--platform {os}/{architecture}`",
                state.platform
            );
            self.report.warning("InvalidBaseImagePlatform", span, message, Some(hint));
        }
    }

    /// FROM counts if it names an image; RUN, COPY, ADD and WORKDIR do, those of triggers included.
    fn number(&self, index: usize, written: &Stage, needed: &Needed) -> Numbering {
        let has_vertex = |located: &&Located| {
            use Instruction::{Add, Copy, Run, Workdir};
            matches!(located.instruction, Add(_) | Copy(_) | Run(_) | Workdir(_))
        };
        let own = if needed.replaced { &[][..] } else { &written.instructions };
        let from = match needed.base {
            Reference::External(id) => {
                let resolved = self.stages.external(id).and_then(|external| external.resolved.as_ref());
                usize::from(!matches!(resolved, Some(Resolved::Remote(_))))
            }
            Reference::Scratch | Reference::Stage(_) => 0,
        };
        let triggers = needed.triggers.iter().map(|trigger| &trigger.instruction).filter(has_vertex).count();
        let total = from + triggers + own.iter().filter(has_vertex).count();
        let name = match &written.from.name {
            Some(name) => name.value.clone(),
            None if self.dockerfile.stages.len() > 1 => format!("stage-{index}"),
            None => String::new(),
        };
        Numbering { name, total, last: 0 }
    }
}

/// Takes over a base image's configuration: what docker's own builder takes over, nothing else.
fn inherit(state: &mut StageState, base: &ImageConfig) {
    let mut config = base.clone();
    config.created = None;
    config.history.clear();
    config.diff_ids.clear();
    config.extra.retain(|name, _| matches!(name.as_str(), "os.version" | "os.features"));
    config.container.extra.clear();
    config.container.on_build.clear();
    if config.os.is_empty() {
        config.os.clone_from(&state.config.os);
    }
    if config.architecture.is_empty() {
        config.architecture.clone_from(&state.config.architecture);
        config.variant.clone_from(&state.config.variant);
    }
    let mut scope = Scope::default();
    for entry in std::mem::take(&mut config.container.env) {
        let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
        scope.set_env(name.to_owned(), value.to_owned());
    }
    if scope.get("PATH").is_none() {
        scope.set_env("PATH".to_owned(), DEFAULT_PATH.to_owned());
    }
    state.config = config;
    state.scope = scope;
}

/// What FROM scratch begins with, on top of `vertex`.
fn empty(platform: Platform, vertex: VertexId) -> StageState {
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        ..ImageConfig::default()
    };
    "/".clone_into(&mut config.container.working_dir);
    let mut env = Ordered::default();
    env.insert("PATH".to_owned(), DEFAULT_PATH.to_owned());
    StageState {
        index: 0,
        vertex,
        is_empty: true,
        platform,
        base_history: Vec::new(),
        base_layers: Vec::new(),
        steps: Vec::new(),
        config,
        scope: Scope { env, ..Scope::default() },
        command_set: false,
        escape: '\\',
        label: String::new(),
        no_cache: false,
        numbering: Numbering::default(),
    }
}
