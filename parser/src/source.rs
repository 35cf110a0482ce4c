//! The text of a Dockerfile and places in it.

use std::borrow::Cow;

/// A half-open range of byte offsets into the Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Span {
        // A Dockerfile is limited far below 4 GiB (see `limits`), so saturation cannot be met.
        Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    /// The smallest range holding both.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Where the lines of a text begin: turns offsets into what people call a place.
#[derive(Debug, Clone)]
pub struct LineIndex<'a> {
    text: &'a [u8],
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Indexes a text. It need not be UTF-8.
    pub fn new(text: &'a [u8]) -> LineIndex<'a> {
        let mut starts = vec![0];
        starts.extend(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(offset, _)| offset + 1));
        LineIndex { text, starts }
    }

    /// Line and column of an offset, both from 1; the column counts characters. An offset past the end is the end.
    pub fn line_col(&self, offset: u32) -> (u32, u32) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = without_mark(self.text.get(start..offset).unwrap_or_default(), start);
        let column = String::from_utf8_lossy(before).chars().count();
        (saturate(line + 1), saturate(column + 1))
    }

    /// The text of a line (from 1) without its line end; empty if there is no such line.
    pub fn line_text(&self, line: u32) -> Cow<'a, str> {
        let index = usize::try_from(line).unwrap_or(usize::MAX).wrapping_sub(1);
        let Some(start) = self.starts.get(index).copied() else { return Cow::Borrowed("") };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        let mut bytes = without_mark(self.text.get(start..end).unwrap_or_default(), start);
        while let [rest @ .., b'\n' | b'\r'] = bytes {
            bytes = rest;
        }
        String::from_utf8_lossy(bytes)
    }

    /// How many lines there are. A line end at the end of the text begins one more, empty line.
    pub fn line_count(&self) -> u32 {
        saturate(self.starts.len())
    }
}

/// The byte order mark some editors put in front of a file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn without_mark(bytes: &[u8], line_start: usize) -> &[u8] {
    if line_start == 0 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes }
}

fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
