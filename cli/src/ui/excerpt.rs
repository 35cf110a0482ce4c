//! Places in a Dockerfile as people know them from docker, with the offending part underlined:
//!
//! ```text
//! Dockerfile:4
//! --------------------
//!    3 |     COPY . .
//!    4 | >>> RUM make
//!      |     ^^^
//! --------------------
//! ```

use std::fmt::Write as _;

use bld_parser::diagnostic::Diagnostic;
use bld_parser::diagnostic::Severity;
use bld_parser::source::LineIndex;
use bld_parser::source::Span;
use bld_solver::remote::masked;

use super::one_line;

/// Lines shown above and below the marked ones.
const CONTEXT_LINES: u32 = 2;

/// At most this many marked lines are shown; a long RUN is cut in the middle of nowhere otherwise.
const MAX_MARKED_LINES: u32 = 12;

/// Findings about the command line.
const FLAGS: [&str; 2] = ["UnknownTarget", "UnknownNoCacheFilter"];

/// A Dockerfile ready for quoting.
#[derive(Debug)]
pub(crate) struct Quoted<'a> {
    name: &'a str,
    index: LineIndex<'a>,
}

impl<'a> Quoted<'a> {
    /// `name` is how the user would write the file's path.
    pub(crate) fn new(name: &'a str, bytes: &'a [u8]) -> Quoted<'a> {
        Quoted { name, index: LineIndex::new(bytes) }
    }

    /// The file as the user would write its path.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    /// The line a span begins in; an empty span at the very start has no place in the file: it is about the command line.
    pub(crate) fn line(&self, span: Span) -> Option<u32> {
        (span != Span::new(0, 0)).then(|| self.index.line_col(span.start).0)
    }

    /// Line and column of an offset, both from 1.
    pub(crate) fn line_col(&self, offset: u32) -> (u32, u32) {
        self.index.line_col(offset)
    }

    /// `file:line` of where a span begins.
    pub(crate) fn place(&self, span: Span) -> String {
        match self.line(span) {
            Some(line) => format!("{}:{line}", one_line(self.name)),
            None => one_line(self.name),
        }
    }

    /// The lines of a span with their neighbours. `underline` marks the columns too, if the span is within one line.
    pub(crate) fn excerpt(&self, span: Span, underline: bool) -> String {
        let (first, first_column) = self.index.line_col(span.start);
        let (last, last_column) = self.index.line_col(span.end.max(span.start + 1) - 1);
        let total = self.index.line_count();
        let shown_last = last.min(first + MAX_MARKED_LINES - 1);
        let mut out = format!("{}\n--------------------\n", self.place(span));
        let mut is_empty = true;
        for number in first.saturating_sub(CONTEXT_LINES).max(1)..=(shown_last + CONTEXT_LINES).min(total) {
            let line = masked(&self.index.line_text(number));
            if number == total && line.is_empty() {
                break;
            }
            if number > shown_last && number <= last {
                let _ = writeln!(out, "     | ...");
                break;
            }
            let marker = if (first..=last).contains(&number) { ">>>" } else { "   " };
            let _ = writeln!(out, "{number:4} | {marker} {}", super::sanitize(&shorten(&line)));
            is_empty = false;
            if underline && first == last && number == first {
                let width = (last_column + 1).saturating_sub(first_column).max(1);
                let pad: String = line
                    .chars()
                    .take(first_column as usize - 1)
                    .map(|character| if character == '\t' { '\t' } else { ' ' })
                    .collect();
                let _ = writeln!(out, "     |     {pad}{}", "^".repeat(width as usize));
            }
        }
        if is_empty {
            return String::new();
        }
        out.push_str("--------------------\n");
        out
    }

    /// A whole finding: excerpt, `error:` or `warning:` line, hint.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = self.place(diagnostic.span);
        let excerpt = self.line(diagnostic.span).map(|_| self.excerpt(diagnostic.span, true)).unwrap_or_default();
        // A flag is wrong, not the file.
        let place = if FLAGS.contains(&diagnostic.code) { String::new() } else { format!("{place}: ") };
        let mut out = format!("{excerpt}{place}{level}: {} [{}]\n", one_line(&diagnostic.message), diagnostic.code);
        if let Some(hint) = &diagnostic.hint {
            let _ = writeln!(out, "hint: {}", one_line(hint));
        }
        out
    }
}

/// Very long lines are cut: an excerpt is to be read.
fn shorten(line: &str) -> String {
    const LIMIT: usize = 400;
    if line.chars().count() <= LIMIT {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(LIMIT).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_has_no_excerpt() {
        assert_eq!(Quoted::new("Dockerfile", b"").excerpt(Span::new(0, 0), true), "");
        let one = Quoted::new("Dockerfile", b"FROM x\n").excerpt(Span::new(0, 4), true);
        assert_eq!(
            one,
            "Dockerfile\n--------------------\n   1 | >>> FROM x\n     |     ^^^^\n--------------------\n".replacen(
                "Dockerfile\n",
                "Dockerfile:1\n",
                1
            )
        );
    }

    #[test]
    fn a_mistake_of_the_command_line_has_no_place() {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            code: "UnknownTarget",
            message: "`--target x`: there is no such stage".to_owned(),
            span: Span::new(0, 0),
            hint: None,
        };
        let text = Quoted::new("Dockerfile", b"FROM x\n").diagnostic(&diagnostic);
        assert_eq!(text, "error: `--target x`: there is no such stage [UnknownTarget]\n");
    }
}
