//! Warnings of a build: which of them the Dockerfile wants to hear, which stop the build, and the list at its end.
//!
//! ```text
//! 2 warnings found (`bld build --check` explains them):
//!  - MAINTAINER is deprecated (line 2) [MaintainerDeprecated]
//!  - no ARG declares the build argument `VERSON` [UnusedBuildArg]
//! ```

use std::fmt::Write as _;

use bld_parser::ast::Dockerfile;
use bld_parser::check;
use bld_parser::check::CheckOptions;
use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::rules;
use bld_parser::rules::Kind;

use super::request::BuildRequest;
use crate::error::CommandError;
use crate::ui::excerpt::Quoted;
use crate::ui::plain::write_line;

/// The build argument that stands in for `# check=`.
pub(super) const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// More than this many lines are no list any more.
const LISTED: usize = 20;

/// What one build does with its warnings.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    dockerfile: &'a Dockerfile,
    options: Option<&'a CheckOptions>,
    strict: bool,
}

impl<'a> Checks<'a> {
    pub(super) fn new(dockerfile: &'a Dockerfile, request: &'a BuildRequest) -> Checks<'a> {
        Checks { dockerfile, options: request.checks.as_ref(), strict: request.strict }
    }

    /// The findings the Dockerfile wants to hear, in the order of the text.
    pub(super) fn wanted(&self, findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut wanted = check::wanted(findings, self.dockerfile, self.options);
        wanted.sort_by_key(|finding| finding.span);
        wanted.dedup();
        wanted
    }

    /// Whether the Dockerfile wants to hear of a check.
    pub(super) fn wants(&self, code: &'static str) -> bool {
        let span = bld_parser::source::Span::new(0, 0);
        let message = String::new();
        let finding = Diagnostic { severity: Severity::Warning, code, message, span, hint: None };
        !check::wanted(vec![finding], self.dockerfile, self.options).is_empty()
    }

    /// Ends the build before it begins if `--strict` or `error=true` make a mistake of a warning.
    pub(super) fn stop(&self, warnings: &[Diagnostic], quoted: &Quoted<'_>) -> Result<(), CommandError> {
        let is_trap = |code: &str| rules::find(code).is_some_and(|rule| rule.kind == Kind::Trap);
        let all = check::is_fatal(self.dockerfile, self.options);
        let fatal: Vec<&Diagnostic> =
            warnings.iter().filter(|warning| all || (self.strict && is_trap(warning.code))).collect();
        if fatal.is_empty() {
            return Ok(());
        }
        for warning in &fatal {
            let error = Diagnostic { severity: Severity::Error, ..(*warning).clone() };
            write_line(quoted.diagnostic(&error).trim_end());
        }
        let count = match fatal.len() {
            1 => "a warning that counts".to_owned(),
            several => format!("{several} warnings that count"),
        };
        let plural = if fatal.len() == 1 { "an error" } else { "errors" };
        let reason = if all { "`# check=error=true`" } else { "`--strict`" };
        Err(CommandError::failed(format!("{} has {count} as {plural} because of {reason}", quoted.name())))
    }
}

/// The list at the end of a build.
pub(super) fn list(warnings: &[Diagnostic], quoted: &Quoted<'_>) {
    if warnings.is_empty() {
        return;
    }
    let count = match warnings.len() {
        1 => "1 warning".to_owned(),
        several => format!("{several} warnings"),
    };
    let mut text = format!("{count} found (`bld build --check` explains what it can):");
    for warning in warnings.iter().take(LISTED) {
        let place = quoted.line(warning.span).map(|line| format!(" (line {line})")).unwrap_or_default();
        let message = warning.message.replace('\n', " ");
        let _ = write!(text, "\n - {message}{place} [{}]", warning.code);
    }
    if warnings.len() > LISTED {
        let _ = write!(text, "\n - and {} more", warnings.len() - LISTED);
    }
    write_line(&text);
}
