//! A failed build in the user's words: the place in the Dockerfile, the cause, what to do.

use bld_cache::Store;
use bld_executor::ExecuteError;
use bld_executor::context::IgnoreFileError;
use bld_executor::image::ImagesError;
use bld_parser::diagnostic::Diagnostic;
use bld_solver::explain::facts::number;
use bld_solver::graph::VertexId;
use bld_solver::lower::LowerError;
use bld_solver::lower::Plan;
use bld_solver::op::Op;
use bld_solver::solve::SolveError;

use super::advice::Failure;
use super::advice::advice;
use super::recorder::Recorder;
use crate::error::CommandError;
use crate::error::WOULD_BUILD;
use crate::error::causes;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::write_line;

/// Shows where a step failed and why.
pub(super) fn explain(
    error: &SolveError<ExecuteError>,
    plan: &Plan,
    quoted: &Quoted<'_>,
    recorder: &Recorder,
    no_context: bool,
) -> CommandError {
    let vertex = error.vertex();
    let cause = match error {
        SolveError::Step { source, .. } | SolveError::Digest { source, .. } | SolveError::Cache { source, .. } => {
            source
        }
        SolveError::NotCached { .. } => return not_cached(plan, vertex, quoted, recorder),
    };
    let tail = recorder.plain().tail(vertex);
    if !tail.is_empty() {
        write_line(&format!("------\n > {}", heading(&plan.graph.vertex(vertex).name)));
        for line in &tail {
            write_line(line);
        }
        write_line("------");
    }
    let span = plan.graph.vertex(vertex).span;
    let place = span.map(|span| {
        write_line(quoted.excerpt(span, false).trim_end());
        format!("{}: ", quoted.place(span))
    });
    let mut message = format!("{}{cause}", place.unwrap_or_default());
    for further in causes(cause) {
        message = format!("{message}: {further}");
    }
    let failed = CommandError::failed(message);
    failed.maybe_hint(advised(cause, vertex, plan, &tail, no_context).or_else(|| hint(cause)))
}

/// The same, and how to look at what the step left, if that was kept and there is nothing better to say.
pub(super) fn with_shell(failed: CommandError, store: &Store, build: &str, vertex: VertexId) -> CommandError {
    match store.kept().get(build, number(vertex)) {
        Ok(Some(_)) => failed.or_hint("`bld shell` opens a shell in what the step left"),
        // Only a hint.
        Ok(None) | Err(_) => failed,
    }
}

/// What `--fail-on-miss` has to say.
fn not_cached(plan: &Plan, id: VertexId, quoted: &Quoted<'_>, recorder: &Recorder) -> CommandError {
    let vertex = plan.graph.vertex(id);
    let place = vertex.span.map(|span| {
        write_line(quoted.excerpt(span, false).trim_end());
        format!("{}: ", quoted.place(span))
    });
    let cause = recorder.cause(id).map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = format!("{}`{}` is not cached{cause}", place.unwrap_or_default(), heading(&vertex.name));
    CommandError::failed(message).with_code(WOULD_BUILD)
}

fn advised(cause: &ExecuteError, id: VertexId, plan: &Plan, tail: &[String], no_context: bool) -> Option<String> {
    let vertex = plan.graph.vertex(id);
    let earlier = plan.graph.iter().filter(|(other, found)| other.index() < id.index() && found.stage == vertex.stage);
    let earlier: Vec<&str> = earlier.map(|(_, found)| instruction(&found.name)).collect();
    let failure = Failure {
        instruction: instruction(&vertex.name),
        exec: match &vertex.op {
            Op::Exec(exec) => Some(exec),
            _ => None,
        },
        tail,
        earlier: &earlier,
        undeclared: &plan.unused_build_args,
        no_context,
    };
    advice(cause, failure)
}

/// A step's name without its place.
fn instruction(name: &str) -> &str {
    name.split_once("] ").filter(|(place, _)| place.starts_with('[')).map_or(name, |(_, rest)| rest)
}

/// `[2/4] RUN` of a step's name: the excerpt and the error show the command.
fn heading(name: &str) -> String {
    let (place, rest) = match name.split_once("] ") {
        Some((place, rest)) if place.starts_with('[') => (format!("{place}] "), rest),
        _ => (String::new(), name),
    };
    crate::ui::sanitize(&format!("{place}{}", rest.split_whitespace().next().unwrap_or_default()))
}

fn hint(error: &ExecuteError) -> Option<String> {
    match error {
        ExecuteError::Copy(error) => error.hint(),
        ExecuteError::Passwd(error) => error.hint(),
        ExecuteError::Source(error) => error.hint(),
        ExecuteError::Shared(error) => hint(error),
        ExecuteError::ExitStatus { code: 127, .. } => {
            Some("status 127 mostly means that a command was not found in the image".to_owned())
        }
        ExecuteError::ExitStatus { code: 126, .. } => {
            Some("status 126 mostly means that a file is not executable".to_owned())
        }
        ExecuteError::Io { source, .. } if is_full(source) => Some(FULL.to_owned()),
        ExecuteError::Store(error) if error.is_no_space() => Some(FULL.to_owned()),
        ExecuteError::Network { .. } => Some("`--network host` uses the host's network".to_owned()),
        _ => error.hint(),
    }
}

/// What helps against a full disk.
const FULL: &str = "make room on the disk of the store: the next build goes on where this one stopped";

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// A mistake in an ignore file, with what can be done about it.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn ignore_mistake(error: IgnoreFileError) -> CommandError {
    let failed = CommandError::from_error(&error);
    match error {
        IgnoreFileError::Syntax { .. } => {
            failed.hint("close every `[` with `]`; write `\\[` for a bracket that stands for itself")
        }
        _ => failed,
    }
}

/// A lowering error as a finding, with what can be done about a missing image.
pub(super) fn with_image_hint(error: &LowerError<ImagesError>) -> Diagnostic {
    let mut diagnostic = error.diagnostic();
    if let LowerError::Source { source, .. } = error
        && diagnostic.hint.is_none()
    {
        diagnostic.hint = source.hint();
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_says_where_and_what() {
        assert_eq!(heading("[build 2/4] RUN make [all] x"), "[build 2/4] RUN");
        assert_eq!(heading("RUN make"), "RUN");
    }
}
