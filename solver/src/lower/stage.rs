//! One stage: its base, then its instructions one by one.

mod base;

use std::collections::BTreeMap;
use std::collections::HashMap;

use bld_oci::ImagePath;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::ast::Located;
use bld_parser::ast::Word;
use bld_parser::source::Span;

use super::COMMENT;
use super::LowerRequest;
use super::PlannedStep;
use super::globals::Globals;
use super::report::Report;
use super::scope::Scope;
use super::stages::Needed;
use super::stages::Reference;
use super::stages::Stages;
use super::words;
use crate::graph::Graph;
use crate::graph::ImageName;
use crate::graph::Vertex;
use crate::graph::VertexId;
use crate::op::Op;
use crate::op::Source;
use crate::remote::Remote;
use crate::worker::ResolvedImage;

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
    /// Steps that are not taken from the cache.
    renewed: Vec<u32>,
    numbering: Numbering,
}

/// `[stage 2/5]`, counted as BuildKit does.
#[derive(Debug, Clone, Default)]
struct Numbering {
    name: String,
    total: usize,
    last: usize,
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
        let name = self.numbering.next(text);
        let is_renewed = self.numbering.step().is_some_and(|step| self.renewed.contains(&step));
        let no_cache = (self.no_cache || is_renewed) && !matches!(op, Op::Source(_));
        let variables = match &op {
            // It sees them all, whether it names them or not.
            Op::Exec(_) => self.scope.run_args(),
            _ => self.scope.named(text, self.escape),
        };
        let step = self.numbering.step();
        let stage = self.label.clone();
        let platform = self.platform.to_string();
        Vertex { span: Some(span), stage, step, platform, no_cache, variables, ..Vertex::new(op, name) }
    }
}

/// What messages call an image.
fn image_name(image: &ResolvedImage) -> ImageName {
    ImageName { name: image.name.clone(), digest: image.digest.map(|digest| digest.to_string()) }
}

impl Numbering {
    /// The number of the last text; `None` if they are not counted.
    fn step(&self) -> Option<u32> {
        u32::try_from(self.last).ok().filter(|last| *last > 0)
    }

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
            self.check_trigger(&state, trigger, written.from.base.span);
            let located = Located { span: written.from.base.span, ..trigger.instruction.clone() };
            self.instruction(&mut state, &located);
            self.report.leave_trigger();
        }
        self.check_triggers(&needed.triggers, written);
        state.escape = self.dockerfile.directives.escape;
        if !needed.replaced {
            for located in &written.instructions {
                if written.values_unknown_from.is_some_and(|from| from <= located.span.start) {
                    state.scope.trust_nothing();
                }
                self.instruction(&mut state, located);
            }
            // The mistake may be in the last instruction, and other stages may begin here.
            if written.values_unknown_from.is_some() {
                state.scope.trust_nothing();
            }
        }
        state.config.container.env = state.scope.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let own = written.instructions.iter().filter_map(|located| match &located.instruction {
            Instruction::Arg(arg) => Some(&arg.declarations),
            _ => None,
        });
        let arguments = own.flatten().filter_map(|declaration| {
            let name = &declaration.name.value;
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
        let op = Op::Source(Source::Image { layers: Vec::new() });
        let vertex = self.graph.add(Vertex::new(op, "FROM scratch".to_owned()), []);
        self.scratch = Some(vertex);
        vertex
    }

    /// The layers of an image that is only copied from.
    pub(super) fn image(&mut self, id: usize, image: &ResolvedImage, span: Span) -> VertexId {
        let op = Op::Source(Source::Image { layers: image.layers.clone() });
        let known = Some(image_name(image));
        let vertex = Vertex { span: Some(span), image: known, ..Vertex::new(op, format!("FROM {}", image.name)) };
        self.external_vertex(id, vertex)
    }
}
