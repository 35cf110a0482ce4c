//! What a stage begins with: an earlier stage, an image, a context, something fetched, or nothing.

use bld_oci::image::ImageConfig;
use bld_oci::platform::Platform;
use bld_parser::ast::Instruction;
use bld_parser::ast::Located;
use bld_parser::ast::Stage;
use bld_parser::source::Span;

use super::super::renewed;
use super::super::renewed::Renewed;
use super::super::renewed::is_stage;
use super::super::scope::Scope;
use super::super::stages::Needed;
use super::super::stages::Reference;
use super::super::words::Variables as _;
use super::Lowering;
use super::Numbering;
use super::StageState;
use super::image_name;
use crate::graph::Vertex;
use crate::graph::VertexId;
use crate::op::Op;
use crate::op::Source;
use crate::worker::Resolved;
use crate::worker::ResolvedImage;

/// PATH of an image that says nothing about it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Lowering<'_> {
    /// The state before the first instruction of a stage.
    pub(super) fn base(&mut self, index: usize, written: &Stage, needed: &Needed) -> StageState {
        let label = self.stages.label(index);
        let count = self.dockerfile.stages.len();
        let steps = &self.request.no_cache_steps;
        let whole =
            steps.iter().filter_map(|text| Renewed::parse(text, count)).filter(|renewed| renewed.step.is_none());
        let is_filtered = self.request.no_cache_filter.iter().any(|name| is_stage(name, index, &label))
            || whole.into_iter().any(|renewed| renewed.is_in(index, &label));
        let mut numbering = self.number(index, written, needed);
        let renewed = renewed::steps(
            steps,
            count,
            (index, &label),
            (numbering.total, self.counts_from(needed)),
            &mut self.report,
        );
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
        state.renewed = renewed;
        state.numbering = numbering;
        state.label = label;
        state.command_set = false;
        state.scope.enter_stage(self.globals.global_names());
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
                state.scope.lose_base();
                return state;
            }
        };
        let image = match resolved {
            Some(Resolved::Image(image)) => Some(image_name(image)),
            _ => None,
        };
        let vertex = Vertex::new(op, numbering.next(&text));
        let (step, span) = (numbering.step(), Some(written.from.span));
        let platform = needed.platform.to_string();
        let vertex = Vertex { span, stage: label.to_owned(), step, platform, image, ..vertex };
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
    pub(super) fn external_vertex(&mut self, id: usize, vertex: Vertex) -> VertexId {
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
        let from = usize::from(self.counts_from(needed));
        let triggers = needed.triggers.iter().map(|trigger| &trigger.instruction).filter(has_vertex).count();
        let total = from + triggers + own.iter().filter(has_vertex).count();
        let name = match &written.from.name {
            Some(name) => name.value.clone(),
            None if self.dockerfile.stages.len() > 1 => format!("stage-{index}"),
            None => String::new(),
        };
        Numbering { name, total, last: 0 }
    }

    /// Whether the first step of a stage is its FROM.
    fn counts_from(&self, needed: &Needed) -> bool {
        let Reference::External(id) = needed.base else { return false };
        let resolved = self.stages.external(id).and_then(|external| external.resolved.as_ref());
        !matches!(resolved, Some(Resolved::Remote(_)))
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
    let mut scope = Scope::default();
    scope.set_env("PATH".to_owned(), DEFAULT_PATH.to_owned());
    StageState {
        index: 0,
        vertex,
        is_empty: true,
        platform,
        base_history: Vec::new(),
        base_layers: Vec::new(),
        steps: Vec::new(),
        config,
        scope,
        command_set: false,
        escape: '\\',
        label: String::new(),
        renewed: Vec::new(),
        no_cache: false,
        numbering: Numbering::default(),
    }
}
