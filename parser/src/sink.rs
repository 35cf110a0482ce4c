//! Where findings are gathered while parsing.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::limits::MAX_DIAGNOSTICS;
use crate::source::Span;
use std::cmp::Ordering;

/// Gathers diagnostics.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Sink {
    /// Records a mistake that stops the build.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, span, message.into(), hint.into());
    }

    /// Records something the build survives.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, span, message.into(), hint.into());
    }

    /// Whether anything recorded stops the build.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many mistakes were met.
    pub(crate) fn error_count(&self) -> usize {
        self.errors
    }

    /// All findings in the order of the text.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        self.diagnostics
    }

    fn push(&mut self, severity: Severity, code: &'static str, span: Span, message: String, hint: String) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        let (code, message, hint) = match (*count).cmp(&MAX_DIAGNOSTICS) {
            Ordering::Less => (code, message, hint),
            Ordering::Equal => {
                ("TooManyDiagnostics", "more is wrong than is shown".to_owned(), "mend what is shown first".to_owned())
            }
            // A file that is no Dockerfile at all must not fill the memory.
            Ordering::Greater => return,
        };
        self.diagnostics.push(Diagnostic { severity, code, message, span, hint: Some(hint) });
    }
}
