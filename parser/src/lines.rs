//! Logical lines: comments, continuations and here-document bodies.
//!
//! ```text
//! file         = { comment | blank line | logical line }
//! logical line = { text escape blanks newline { comment | blank line } } text newline { heredoc body }
//! heredoc body = { any line } terminator line
//! ```
//! Written by hand, not with nom: which lines a here-document swallows depends on words already read, and every byte must
//! keep its place in the file.

use crate::ast::Text;
use crate::head;
use crate::heredoc;
use crate::heredoc::Opener;
use crate::heredoc::ReadHeredoc;
use crate::joined::Joined;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::source::Span;

/// An instruction's text before anybody looked at its meaning.
#[derive(Debug)]
pub(crate) struct LogicalLine {
    /// The text, continuations joined, blanks at both ends removed.
    pub(crate) joined: Joined,
    /// From the first character to the last, here-document bodies included.
    pub(crate) span: Span,
    /// The comment lines above, back to the last one that is empty or to an instruction, without `#`.
    pub(crate) comments: Vec<Text>,
    /// How many of them stand above an empty line.
    parted: usize,
    /// Here-documents in the order of their openers.
    pub(crate) heredocs: Vec<ReadHeredoc>,
}

impl LogicalLine {
    /// The comment lines with nothing between them and the instruction.
    pub(crate) fn comments_directly_above(&self) -> &[Text] {
        &self.comments[self.parted..]
    }
}

/// Reads a text line by line.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    position: usize,
    escape: char,
    /// Where comments outside here-documents are.
    comment_spans: Vec<Span>,
    /// How often an unterminated here-document may still be cut short at a likely end: each time costs a look at the whole rest.
    recoveries: u32,
}

/// A physical line.
#[derive(Debug, Clone, Copy)]
struct Physical<'a> {
    start: usize,
    /// Without the line end.
    content: &'a str,
}

impl<'a> Lines<'a> {
    /// Starts at a byte offset.
    pub(crate) fn new(text: &'a str, position: usize, escape: char) -> Lines<'a> {
        Lines { text, position, escape, comment_spans: Vec::new(), recoveries: 16 }
    }

    /// The comments met so far.
    pub(crate) fn comment_spans(&self) -> &[Span] {
        &self.comment_spans
    }

    /// The next instruction.
    pub(crate) fn next(&mut self, sink: &mut Sink) -> Option<LogicalLine> {
        let mut comments = Vec::new();
        let mut parted = 0;
        while let Some(line) = self.physical() {
            let content = line.content.trim_start();
            if content.starts_with('#') {
                let comment = self.comment(line);
                if comment.value.is_empty() {
                    (comments, parted) = (Vec::new(), 0);
                } else {
                    comments.push(comment);
                }
                continue;
            }
            if content.is_empty() {
                parted = comments.len();
                continue;
            }
            let start = line.start + (line.content.len() - content.len());
            let joined = self.join(content, start, sink);
            if joined.text().is_empty() {
                (comments, parted) = (Vec::new(), 0);
                continue;
            }
            let mut span = joined.span(0..joined.text().len());
            let heredocs = self.heredocs(&joined, &mut span, sink);
            return Some(LogicalLine { joined, span, comments, parted, heredocs });
        }
        None
    }

    fn join(&mut self, first: &str, start: usize, sink: &mut Sink) -> Joined {
        let mut joined = Joined::default();
        let (piece, mut continues) = self.piece(first);
        joined.push(piece, start);
        let mut has_blank_line = false;
        let mut last = Span::new(start, start);
        while continues {
            let Some(line) = self.physical() else { break };
            last = Span::new(line.start, line.start + line.content.len());
            let content = line.content.trim_start();
            if content.starts_with('#') {
                self.comment(line);
                continue;
            }
            if content.is_empty() {
                has_blank_line = true;
                continue;
            }
            let (piece, more) = self.piece(line.content);
            // Blanks in front of the very first text belong to no instruction.
            let piece_start = line.start;
            if joined.text().is_empty() {
                let trimmed = piece.trim_start();
                joined.push(trimmed, piece_start + (piece.len() - trimmed.len()));
            } else {
                joined.push(piece, piece_start);
            }
            continues = more;
        }
        joined.trim_end();
        if has_blank_line {
            // docker's own builder points at the end of the instruction, too.
            sink.warning(
                "NoEmptyContinuation",
                last,
                "empty line inside the continued instruction that ends here",
                "remove the empty line; later versions of the language refuse it",
            );
        }
        joined
    }

    /// The line without its continuation mark, and whether it had one.
    fn piece<'b>(&self, content: &'b str) -> (&'b str, bool) {
        let trimmed = content.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (content, false),
        }
    }

    fn comment(&mut self, line: Physical<'_>) -> Text {
        let content = line.content.trim();
        let start = line.start + (line.content.len() - line.content.trim_start().len());
        let span = Span::new(start, start + content.len());
        self.comment_spans.push(span);
        Text { value: content.strip_prefix('#').unwrap_or(content).trim().to_owned(), span }
    }

    fn heredocs(&mut self, joined: &Joined, span: &mut Span, sink: &mut Sink) -> Vec<ReadHeredoc> {
        let openers = openers_of_line(joined, self.escape);
        let mut heredocs = Vec::with_capacity(openers.len());
        for opener in openers {
            let opener_span = joined.span(opener.range.clone());
            let Some((body, end)) = self.body(&opener, opener_span, sink) else { break };
            let body_span = Span::new(body.0, body.1);
            *span = span.to(Span::new(end, end));
            heredocs.push(heredoc::complete(&opener, &self.text[body.0..body.1], opener_span, body_span));
        }
        heredocs
    }

    /// The range of the body and the end of the terminator.
    fn body(&mut self, opener: &Opener, opener_span: Span, sink: &mut Sink) -> Option<((usize, usize), usize)> {
        let start = self.position;
        let mut near_miss = None;
        while let Some(line) = self.physical() {
            let candidate = if opener.strip_tabs { line.content.trim_start_matches('\t') } else { line.content };
            if candidate == opener.name {
                return Some(((start, line.start), line.start + line.content.len()));
            }
            if near_miss.is_none() && line.content.trim() == opener.name {
                near_miss = Some((line, self.position));
            }
        }
        let name = &opener.name;
        let hint = match near_miss {
            Some((line, behind)) => {
                // The rest of the file is most likely meant as instructions: go on there.
                if let Some(left) = self.recoveries.checked_sub(1) {
                    self.recoveries = left;
                    self.position = behind;
                }
                let number = self.text[..line.start].matches('\n').count() + 1;
                format!("line {number} has blanks around `{name}`: remove them, or use `<<-` if they are tabs in front")
            }
            None if name.contains(['|', '>', ';', '&', ')']) => {
                format!("`{name}` is taken as a whole: put a blank behind the delimiter")
            }
            None => format!("end it with a line that holds only `{name}`"),
        };
        sink.error("UnterminatedHeredoc", opener_span, format!("here-document `{name}` is never ended"), hint);
        None
    }

    fn physical(&mut self) -> Option<Physical<'a>> {
        if self.position >= self.text.len() {
            return None;
        }
        let start = self.position;
        let rest = &self.text[start..];
        let length = rest.find('\n').map_or(rest.len(), |length| length + 1);
        self.position = start + length;
        Some(Physical { start, content: rest[..length].trim_end_matches(['\r', '\n']) })
    }
}

/// Here-documents exist in RUN, COPY and ADD, and in ONBUILD of them, but not in JSON form.
fn openers_of_line(joined: &Joined, escape: char) -> Vec<Opener> {
    if !joined.text().contains("<<") {
        return Vec::new();
    }
    // Mistakes in the head are reported when the instruction is parsed.
    let mut silent = Sink::default();
    let Some(mut head) = head::parse(Slice::whole(joined), escape, &mut silent) else { return Vec::new() };
    if head.keyword.text().eq_ignore_ascii_case("ONBUILD") {
        let Some(inner) = head::parse(head.arguments, escape, &mut silent) else { return Vec::new() };
        head = inner;
    }
    let keyword = head.keyword.text();
    let is_run = keyword.eq_ignore_ascii_case("RUN");
    let is_file = keyword.eq_ignore_ascii_case("COPY") || keyword.eq_ignore_ascii_case("ADD");
    let text = head.arguments.text();
    let is_json = matches!(crate::json::parse(text), crate::json::Json::Strings(_) | crate::json::Json::NotStrings(_));
    if (!is_run && !is_file) || is_json {
        return Vec::new();
    }
    let base = head.arguments.range().start;
    let mut openers = heredoc::openers(text, is_run);
    for opener in &mut openers {
        opener.range = opener.range.start + base..opener.range.end + base;
    }
    openers
}
