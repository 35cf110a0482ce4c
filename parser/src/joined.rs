//! A logical line: physical lines joined at their continuations, with a map back to the source.

use crate::ast::Text;
use crate::ast::Word;
use crate::source::Span;
use std::ops::Range;

/// Text joined from pieces of the source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    text: String,
    pieces: Vec<Piece>,
}

/// From `joined` on (up to the next piece) the text stands at `source` in the file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    joined: usize,
    source: usize,
}

impl Joined {
    /// The joined text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Appends a piece that stands at `source`.
    pub(crate) fn push(&mut self, text: &str, source: usize) {
        if !text.is_empty() {
            self.pieces.push(Piece { joined: self.text.len(), source });
            self.text.push_str(text);
        }
    }

    /// Drops blanks at the end.
    pub(crate) fn trim_end(&mut self) {
        self.text.truncate(self.text.trim_end().len());
        while self.pieces.last().is_some_and(|piece| piece.joined >= self.text.len()) {
            self.pieces.pop();
        }
    }

    /// Where a range of the joined text stands in the source. It may span continuations.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        if range.is_empty() {
            // Behind the character before, so that a place at the end stays on its own line.
            let at = if range.start == 0 { self.source(0) } else { self.source(range.start - 1) + 1 };
            return Span::new(at, at);
        }
        Span::new(self.source(range.start), self.source(range.end - 1) + 1)
    }

    fn source(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|piece| piece.joined <= offset).saturating_sub(1);
        self.pieces.get(index).map_or(0, |piece| piece.source + (offset - piece.joined))
    }
}

/// A part of a logical line: text that knows its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    joined: &'a Joined,
    start: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    /// The whole line.
    pub(crate) fn whole(joined: &'a Joined) -> Slice<'a> {
        Slice { joined, start: 0, end: joined.text.len() }
    }

    /// The text.
    pub(crate) fn text(self) -> &'a str {
        self.joined.text.get(self.start..self.end).unwrap_or_default()
    }

    /// The place.
    pub(crate) fn span(self) -> Span {
        self.joined.span(self.start..self.end)
    }

    /// A part; the range is relative to this slice.
    pub(crate) fn part(self, range: Range<usize>) -> Slice<'a> {
        let end = (self.start + range.end).min(self.end);
        Slice { joined: self.joined, start: (self.start + range.start).min(end), end }
    }

    /// Without blanks at both ends.
    pub(crate) fn trimmed(self) -> Slice<'a> {
        let text = self.text();
        let front = text.len() - text.trim_start().len();
        self.part(front..text.trim_end().len().max(front))
    }

    /// The range within the whole line.
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Unexpanded text at this place.
    pub(crate) fn word(self) -> Word {
        Word { raw: self.text().to_owned(), span: self.span() }
    }

    /// Literal text at this place.
    pub(crate) fn literal(self) -> Text {
        Text { value: self.text().to_owned(), span: self.span() }
    }
}
