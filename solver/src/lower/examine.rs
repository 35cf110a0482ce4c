//! Looking at a Dockerfile without building it: all checks, and the outline of a target.
//!
//! No base image is needed. What is not known of one makes no finding: where its environment is unknown, no variable counts as
//! undefined.

use bld_parser::ast::Dockerfile;
use bld_parser::diagnostic::Diagnostic;

use super::LowerRequest;
use super::Survey;
use super::checks;
use super::outline;
use super::outline::Outline;
use super::stage::Lowering;
use super::stages::Extent;
use super::survey;
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
    // What is unresolved does not count: that an image is not here is no mistake of the Dockerfile.
    let Survey { report, globals, stages, .. } = survey(dockerfile, request, extent, resolver).await;
    let Some(stages) = stages else { return Examined { findings: report.into_sorted(), outline: None } };
    let mut lowering = Lowering::new(dockerfile, request, globals, &stages, report);
    for index in stages.needed() {
        lowering.stage(index);
    }
    checks::unused_arguments(&lowering.globals, &mut lowering.report);
    let outline = outline::outline(&lowering);
    Examined { findings: lowering.report.into_sorted(), outline: Some(outline) }
}
