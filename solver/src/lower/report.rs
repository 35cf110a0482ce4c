//! Findings of the lowering, gathered until it is over.

use std::collections::HashSet;

use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::source::Span;
use bld_parser::suggest::did_you_mean;

/// How many names all slips of a Dockerfile together are compared with. Each of a hundred thousand unknown names may have a
/// hundred thousand known ones to be compared with; who has that many of them is no longer helped by hints.
const MAX_COMPARISONS: usize = 1 << 20;

/// Gathers findings. While a trigger is lowered its text has no place in this Dockerfile: findings point at what fired it.
#[derive(Debug, Default)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    trigger: Option<(Span, String)>,
    /// Names that were compared so far.
    comparisons: usize,
}

impl Report {
    pub(super) fn error(&mut self, code: &'static str, span: Span, message: String, hint: Option<String>) {
        self.push(Severity::Error, code, span, message, hint);
    }

    pub(super) fn warning(&mut self, code: &'static str, span: Span, message: String, hint: Option<String>) {
        self.push(Severity::Warning, code, span, message, hint);
    }

    /// A hint that names the nearest candidate, if one is near enough and there were not too many to compare already.
    pub(super) fn did_you_mean<'a>(&mut self, name: &str, candidates: impl FnOnce() -> Vec<&'a str>) -> Option<String> {
        if self.comparisons >= MAX_COMPARISONS {
            return None;
        }
        let candidates = candidates();
        self.comparisons += candidates.len();
        did_you_mean(name, candidates)
    }

    /// What is found from now on is of a trigger with this text, fired at `span`.
    pub(super) fn enter_trigger(&mut self, span: Span, text: &str) {
        self.trigger = Some((span, text.lines().next().unwrap_or_default().to_owned()));
    }

    pub(super) fn leave_trigger(&mut self) {
        self.trigger = None;
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// Findings in the order of the text, each once.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.diagnostics;
        found.sort_by_key(|diagnostic| diagnostic.span);
        // Everything found in one trigger has one place.
        let mut seen = HashSet::new();
        found.retain(|diagnostic| {
            let Diagnostic { severity, code, message, span, hint } = diagnostic;
            let is_warning = *severity == Severity::Warning;
            seen.insert((is_warning, *code, message.clone(), *span, hint.clone()))
        });
        found
    }

    fn push(&mut self, severity: Severity, code: &'static str, span: Span, message: String, hint: Option<String>) {
        let (span, message) = match &self.trigger {
            None => (span, message),
            Some((place, text)) => (*place, format!("in the trigger `{text}`: {message}")),
        };
        self.diagnostics.push(Diagnostic { severity, code, message, span, hint });
    }
}
