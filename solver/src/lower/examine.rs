//! Looking at a Dockerfile without building it: all checks, and the outline of a target.
//!
//! No base image is needed. What is not known of one makes no finding: where its environment is unknown, no variable counts as
//! undefined.

use bld_parser::ast::Dockerfile;
use bld_parser::diagnostic::Diagnostic;

use super::LowerRequest;
use super::check_syntax;
use super::checks;
use super::epoch;
use super::outline;
use super::outline::Outline;
use super::report::Report;
use super::stage::Lowering;
use super::stages;
use super::stages::Extent;
use crate::worker::SourceResolver;

/// What there is to say about a Dockerfile.
#[derive(Debug)]
pub struct Examined {
    /// Mistakes and warnings, in the order of the text.
    pub findings: Vec<Diagnostic>,
    /// What the target takes; `None` if there is no such target.
    pub outline: Option<Outline>,
}

/// Looks at the target and what it needs; at all stages if no target is given and `extent` says so.
pub async fn examine<S: SourceResolver>(
    dockerfile: &Dockerfile,
    request: &LowerRequest,
    extent: Extent,
    resolver: &S,
) -> Examined {
    let mut report = Report::default();
    check_syntax(dockerfile, request, &mut report);
    // That an image is not here is no mistake of the Dockerfile.
    let mut unresolved = Vec::new();
    let mut globals = epoch::globals(dockerfile, request, resolver, &mut report, &mut unresolved).await;
    for stage in &dockerfile.stages {
        stages::declare_arguments(stage, &mut globals);
    }
    let stages = stages::find(dockerfile, request, extent, &globals, resolver, &mut report, &mut unresolved).await;
    checks::default_arguments(dockerfile, request, &mut report);
    let Some(stages) = stages else { return Examined { findings: report.into_sorted(), outline: None } };
    let mut lowering = Lowering::new(dockerfile, request, globals, &stages, report);
    for index in stages.needed() {
        lowering.stage(index);
    }
    checks::unused_arguments(&lowering.globals, &mut lowering.report);
    let outline = outline::outline(&lowering);
    Examined { findings: lowering.report.into_sorted(), outline: Some(outline) }
}
