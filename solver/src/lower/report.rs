//! Findings of the lowering, gathered until it is over.

use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::source::Span;

/// Gathers findings. While a trigger is lowered its text has no place in this Dockerfile: findings point at what fired it.
#[derive(Debug, Default)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    trigger: Option<(Span, String)>,
}

impl Report {
    pub(super) fn error(&mut self, code: &'static str, span: Span, message: String, hint: Option<String>) {
        self.push(Severity::Error, code, span, message, hint);
    }

    pub(super) fn warning(&mut self, code: &'static str, span: Span, message: String, hint: Option<String>) {
        self.push(Severity::Warning, code, span, message, hint);
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
        let mut sorted: Vec<Diagnostic> = Vec::with_capacity(self.diagnostics.len());
        let mut found = self.diagnostics;
        found.sort_by_key(|diagnostic| diagnostic.span);
        for diagnostic in found {
            if sorted.iter().rev().take_while(|known| known.span == diagnostic.span).all(|known| *known != diagnostic) {
                sorted.push(diagnostic);
            }
        }
        sorted
    }

    fn push(&mut self, severity: Severity, code: &'static str, span: Span, message: String, hint: Option<String>) {
        let (span, message) = match &self.trigger {
            None => (span, message),
            Some((place, text)) => (*place, format!("in the trigger `{text}`: {message}")),
        };
        self.diagnostics.push(Diagnostic { severity, code, message, span, hint });
    }
}
