//! From the stages of a Dockerfile to a graph and the configuration of the image.
//!
//! ```text
//! globals   ARGs before the first FROM, platform arguments
//!   epoch         the time that SOURCE_DATE_EPOCH names
//! stages    which stages the target needs; bases found (the only waiting), their triggers read; order checked
//! stage     its base, then instructions one by one, each with the variables in force before it (`scope`)
//!   run, copy     RUN, COPY, ADD -> vertices
//!   settings      everything else -> configuration (WORKDIR: and a vertex)
//! ```
//!
//! Only FROM, RUN, COPY, ADD and WORKDIR make vertices. Stages the target does not need are neither resolved nor lowered. All
//! mistakes are reported, not only the first.

mod checks;
mod copy;
mod epoch;
mod examine;
mod globals;
mod history;
mod mounts;
mod ordered;
mod outline;
mod renewed;
mod report;
mod run;
mod scope;
mod settings;
mod stage;
mod stages;
mod values;
mod words;

use std::collections::BTreeMap;
use std::error::Error;

use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Text;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::source::Span;

pub use self::checks::IgnoreRules;
pub use self::examine::Examined;
pub use self::examine::examine;
use self::globals::Globals;
pub use self::outline::Outline;
pub use self::outline::OutlineArgument;
pub use self::outline::OutlineMount;
pub use self::outline::Target;
pub use self::outline::targets;
use self::report::Report;
use self::stage::Lowering;
pub use self::stages::Extent;
use self::stages::Stages;
use crate::graph::Graph;
use crate::graph::VertexId;
use crate::op::NetworkMode;
use crate::worker::SourceResolver;

/// What is asked for besides the Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerRequest {
    /// Stage to build, by name or number; `None` = the last.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The platform of the result.
    pub platform: Platform,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<i64>,
    /// The time of the build context, if it has one: what `SOURCE_DATE_EPOCH=context` means.
    pub context_time: Option<i64>,
    /// What the main build context leaves out, for the checks.
    pub ignore: Option<IgnoreRules>,
    /// `--label`, set on the target last.
    pub labels: Vec<(String, String)>,
    /// Look nothing up.
    pub no_cache: bool,
    /// Look nothing up in these stages, by name or number.
    pub no_cache_filter: Vec<String>,
    /// Look nothing up in these stages and for these steps: `STAGE`, `STAGE:STEP`.
    pub no_cache_steps: Vec<String>,
    /// Network of a RUN that does not say.
    pub network: NetworkMode,
    /// Whether `RUN --network=host` is allowed.
    pub allow_host_network: bool,
    /// Whether `RUN --security=insecure` is allowed.
    pub allow_insecure: bool,
    /// Host name of the sandbox; the build argument `BUILDKIT_SANDBOX_HOSTNAME` wins.
    pub hostname: String,
    /// `--add-host`: name, address.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
}

/// What to solve, and what to make of the result.
#[derive(Debug)]
pub struct Plan {
    /// The vertices.
    pub graph: Graph,
    /// The images to make: one for each platform asked for.
    pub images: Vec<ImagePlan>,
    /// Findings that do not stop the build.
    pub warnings: Vec<Diagnostic>,
    /// Build arguments nothing declares.
    pub unused_build_args: Vec<String>,
    /// Stages the target does not need, by name or number.
    pub skipped_stages: Vec<String>,
}

/// An image to be.
#[derive(Debug)]
pub struct ImagePlan {
    /// The root file system of the target stage. Its layers are those of `base_layers` and then one for each step with a vertex.
    pub target: VertexId,
    /// History entries of the base image, as they were.
    pub base_history: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Layers of the base image, bottom to top.
    pub base_layers: Vec<ImageLayer>,
    /// History of what this Dockerfile adds, oldest first, stages it starts from included.
    pub steps: Vec<PlannedStep>,
    /// Configuration of the image, without `created`, `history` and `diff_ids`: those come from base and steps.
    pub config: ImageConfig,
    /// The platform of the target stage.
    pub platform: Platform,
    /// `SOURCE_DATE_EPOCH`, from the request or from a global ARG.
    pub source_date_epoch: Option<i64>,
}

impl Plan {
    /// One plan for all platforms. What several of them need alike - stages for the platform of this machine - is there once; other
    /// vertices get their platform into their names.
    pub fn join(plans: impl IntoIterator<Item = Plan>) -> Option<Plan> {
        let mut plans = plans.into_iter();
        let mut joined = plans.next()?;
        let mut others = plans.peekable();
        if others.peek().is_some() {
            joined.graph.prefix_names(&platform_of(&joined.images));
        }
        for mut other in others {
            other.graph.prefix_names(&platform_of(&other.images));
            let place = joined.graph.append(&other.graph);
            for mut image in other.images {
                image.target = place(image.target);
                for vertex in image.steps.iter_mut().filter_map(|step| step.vertex.as_mut()) {
                    *vertex = place(*vertex);
                }
                joined.images.push(image);
            }
            for warning in other.warnings {
                if !joined.warnings.contains(&warning) {
                    joined.warnings.push(warning);
                }
            }
            joined.unused_build_args.retain(|name| other.unused_build_args.contains(name));
            joined.skipped_stages.retain(|name| other.skipped_stages.contains(name));
        }
        Some(joined)
    }
}

fn platform_of(images: &[ImagePlan]) -> String {
    images.first().map(|image| image.platform.to_string()).unwrap_or_default()
}

/// A history entry to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// `created_by`.
    pub created_by: String,
    /// `comment`.
    pub comment: &'static str,
    /// The vertex whose result has this step's layer on top; `None` if the step made none.
    pub vertex: Option<VertexId>,
    /// The instruction.
    pub span: Span,
}

/// `comment` of every history entry.
pub const COMMENT: &str = "buildkit.dockerfile.v0";

/// Why a Dockerfile cannot be lowered.
#[derive(Debug, thiserror::Error)]
pub enum LowerError<E: Error + 'static> {
    /// A mistake in the Dockerfile or the request.
    #[error("{}", diagnostic.message)]
    Invalid {
        /// What and where.
        diagnostic: Diagnostic,
    },
    /// An image or a named context cannot be used.
    #[error("cannot resolve `{name}`")]
    Source {
        /// Its name.
        name: String,
        /// Where it is asked for.
        span: Span,
        /// Nothing has this name, and a stage could stand where it is named.
        unknown: bool,
        /// A stage the user may have meant.
        hint: Option<String>,
        /// Why.
        source: E,
    },
}

impl<E: Error + 'static> LowerError<E> {
    /// The place in the Dockerfile; an empty range at its start for a mistake of the request.
    pub fn span(&self) -> Span {
        match self {
            LowerError::Invalid { diagnostic } => diagnostic.span,
            LowerError::Source { span, .. } => *span,
        }
    }

    /// As a finding of the same shape as the parser's, the causes in its message.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            LowerError::Invalid { diagnostic } => diagnostic.clone(),
            LowerError::Source { name, span, unknown, hint, source } => {
                let said = source.to_string();
                let mut message = match *unknown {
                    true => {
                        format!("`{name}` is no stage of this Dockerfile, no --build-context and no image in the store")
                    }
                    false if said.contains(&format!("`{name}`")) => said,
                    false => format!("cannot resolve `{name}`: {said}"),
                };
                let mut cause = source.source();
                while let Some(error) = cause {
                    message = format!("{message}: {error}");
                    cause = error.source();
                }
                let hint = hint.clone();
                Diagnostic { severity: Severity::Error, code: "UnresolvedSource", message, span: *span, hint }
            }
        }
    }
}

/// Lowers the target stage and what it needs.
pub async fn lower<S: SourceResolver>(
    dockerfile: &Dockerfile,
    request: &LowerRequest,
    resolver: &S,
) -> Result<Plan, Vec<LowerError<S::Error>>> {
    let Survey { report, unresolved, globals, stages } = survey(dockerfile, request, Extent::Target, resolver).await;
    let Some(stages) = stages else { return Err(all_errors(report, unresolved)) };
    let plan = lower_stages(dockerfile, request, globals, &stages, report, unresolved.is_empty());
    plan.map_err(|report| all_errors(report, unresolved))
}

/// What is known before a stage is looked into.
struct Survey<'a, E: Error + 'static> {
    report: Report,
    unresolved: Vec<LowerError<E>>,
    globals: Globals,
    /// `None` if there is no such target, or no order to build in.
    stages: Option<Stages<'a>>,
}

/// Reads the global scope and finds the stages that are needed and what they start from.
async fn survey<'a, S: SourceResolver>(
    dockerfile: &'a Dockerfile,
    request: &LowerRequest,
    extent: Extent,
    resolver: &S,
) -> Survey<'a, S::Error> {
    let mut report = Report::default();
    check_syntax(dockerfile, request, &mut report);
    let mut unresolved = Vec::new();
    let mut globals = epoch::globals(dockerfile, request, resolver, &mut report, &mut unresolved).await;
    for stage in &dockerfile.stages {
        stages::declare_arguments(stage, &mut globals);
    }
    let stages = stages::find(dockerfile, request, extent, &globals, resolver, &mut report, &mut unresolved).await;
    checks::default_arguments(dockerfile, request, &mut report);
    Survey { report, unresolved, globals, stages }
}

fn lower_stages(
    dockerfile: &Dockerfile,
    request: &LowerRequest,
    globals: Globals,
    stages: &Stages<'_>,
    report: Report,
    resolved: bool,
) -> Result<Plan, Report> {
    let mut lowering = Lowering::new(dockerfile, request, globals, stages, report);
    for index in stages.needed() {
        lowering.stage(index);
    }
    checks::unused_arguments(&lowering.globals, &mut lowering.report);
    if let Some(target) = lowering.bases.get(&stages.target()) {
        checks::config_size(target, &mut lowering.report);
    }
    let fine = resolved && !lowering.report.has_errors();
    let Some(target) = lowering.bases.remove(&stages.target()).filter(|_| fine) else {
        return Err(lowering.report);
    };
    let Lowering { mut graph, report, globals, .. } = lowering;
    for vertex in target.steps.iter().filter_map(|step| step.vertex) {
        graph.mark_exported(vertex);
        if matches!(graph.vertex(vertex).op, crate::op::Op::Merge)
            && let Some(upper) = graph.inputs(vertex).get(1)
        {
            graph.mark_exported(*upper);
        }
    }
    let mut config = target.config;
    config.container.labels.extend(request.labels.iter().cloned());
    let image = ImagePlan {
        target: target.vertex,
        base_history: target.base_history,
        base_layers: target.base_layers,
        steps: target.steps,
        config,
        platform: target.platform,
        source_date_epoch: globals.epoch(),
    };
    Ok(Plan {
        graph,
        images: vec![image],
        warnings: report.into_sorted(),
        unused_build_args: globals.unused(),
        skipped_stages: stages.skipped(),
    })
}

fn all_errors<E: Error + 'static>(report: Report, unresolved: Vec<LowerError<E>>) -> Vec<LowerError<E>> {
    let mut errors = unresolved;
    let findings = report.into_sorted();
    for error in &mut errors {
        let LowerError::Source { span, hint, .. } = error else { continue };
        // A name that lacks a part most likely lacks the value of a variable: that says more than the name does.
        let inside = |found: &&Diagnostic| span.start <= found.span.start && found.span.end <= span.end;
        let first = findings.partition_point(|found| found.span.start < span.start);
        let behind = findings.partition_point(|found| found.span.start <= span.start.max(span.end));
        let mut causes = findings
            .get(first..behind)
            .unwrap_or_default()
            .iter()
            .filter(|found| matches!(found.code, "UndefinedArgInFrom" | "InvalidDefaultArgInFrom"));
        if let Some(Diagnostic { message, hint: Some(remedy), .. }) = causes.rfind(inside) {
            *hint = Some(format!("{message}: {remedy}"));
        }
    }
    let found = findings.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.extend(found.map(|diagnostic| LowerError::Invalid { diagnostic }));
    errors.sort_by_key(LowerError::span);
    errors
}

/// There is one front end: the built-in one. Any docker/dockerfile image asks for the language it reads.
fn check_syntax(dockerfile: &Dockerfile, request: &LowerRequest, report: &mut Report) {
    let given = request.build_args.get("BUILDKIT_SYNTAX");
    let given = given.map(|value| Text { value: value.clone(), span: Span::new(0, 0) });
    let Some(syntax) = given.as_ref().or(dockerfile.directives.syntax.as_ref()) else { return };
    let image = syntax.value.split_whitespace().next().unwrap_or_default();
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    if !matches!(name, "" | "docker/dockerfile" | "docker/dockerfile-upstream" | "dockerfile.v0") {
        let message = format!("`{image}` is not a syntax bld can read");
        let place = if given.is_some() { "`--build-arg BUILDKIT_SYNTAX`" } else { "the directive" };
        let hint = format!("bld reads Dockerfiles only: remove {place} or name `docker/dockerfile`");
        report.error("UnsupportedSyntax", syntax.span, message, Some(hint));
    }
}
