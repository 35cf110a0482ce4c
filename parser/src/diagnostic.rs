//! What the parser and the checks have to say about a place in a Dockerfile.

use crate::source::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build cannot start.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name in Pascal case: BuildKit's rule name for checks (`NoEmptyContinuation`), our own for errors
    /// (`UnknownInstruction`).
    pub code: &'static str,
    /// The cause: lower case, no full stop.
    pub message: String,
    /// The offending part: as small as it can be, never a whole instruction if one word is wrong.
    pub span: Span,
    /// What to do about it, as a sentence fragment in lower case (`did you mean \`COPY\`?`).
    pub hint: Option<String>,
}
