//! `.dockerignore` files and the patterns of `COPY --exclude`.
//!
//! ```text
//! file    = { "#" anything | blank line | [ "!" ] pattern }      "#" in the first column only
//! pattern = as in `glob`, and "**" for any number of components
//! ```
//! Patterns are anchored at the root (this is not gitignore). One that matches a directory also holds for all below it. The
//! last line that matches decides; a line with `!` takes back in.

use crate::double_star::DoubleStar;
use crate::glob::literal;
use std::collections::HashMap;
use thiserror::Error;

/// The file's own name.
pub const FILE_NAME: &str = ".dockerignore";

/// One line of an ignore file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The line it stands on, from 1 (or its number among `--exclude` flags).
    pub line: u32,
    /// The pattern as written, blanks around it removed.
    pub text: String,
    /// Whether it begins with `!`.
    pub negated: bool,
}

/// What the patterns say about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// No line matches: the path is part of the context.
    Unmatched,
    /// This line excludes it.
    Excluded(&'a Pattern),
    /// This line takes it back in.
    Included(&'a Pattern),
}

impl Decision<'_> {
    /// Whether the path is left out.
    pub fn is_excluded(&self) -> bool {
        matches!(self, Decision::Excluded(_))
    }
}

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IgnoreError {
    /// `!` with nothing behind it.
    #[error("line {line}: `!` without a pattern")]
    EmptyException {
        /// The line from 1.
        line: u32,
    },
    /// Not well formed.
    #[error("line {line}: malformed pattern `{text}`")]
    BadPattern {
        /// The line from 1.
        line: u32,
        /// The line as written, blanks around it removed.
        text: String,
    },
}

impl IgnoreError {
    /// The line from 1.
    pub fn line(&self) -> u32 {
        match self {
            IgnoreError::EmptyException { line } | IgnoreError::BadPattern { line, .. } => *line,
        }
    }

    /// What is wrong, without the line.
    pub fn problem(&self) -> String {
        match self {
            IgnoreError::EmptyException { .. } => "`!` without a pattern".to_owned(),
            IgnoreError::BadPattern { text, .. } => format!("malformed pattern `{text}`"),
        }
    }
}

/// The patterns of an ignore file.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    lines: Vec<Pattern>,
    /// Patterns without wildcards: the last of each name.
    literals: HashMap<Vec<u8>, usize>,
    /// All others, in order.
    globs: Vec<(usize, DoubleStar)>,
    /// The exceptions, in order, wildcards or not.
    exceptions: Vec<(usize, DoubleStar)>,
}

impl Patterns {
    /// Reads an ignore file.
    pub fn parse(text: &[u8]) -> Result<Patterns, IgnoreError> {
        let text = text.strip_prefix(crate::source::BYTE_ORDER_MARK).unwrap_or(text);
        let mut patterns = Patterns::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if !line.starts_with(b"#") {
                patterns.add(number(index), line, LeadingSlash::IsRoot)?;
            }
        }
        Ok(patterns)
    }

    /// Patterns given one by one, as `--exclude` does: `#` is an ordinary character, and so is a slash in front.
    pub fn from_list<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Patterns, IgnoreError> {
        let mut patterns = Patterns::default();
        for (index, pattern) in list.into_iter().enumerate() {
            patterns.add(number(index), pattern.as_bytes(), LeadingSlash::IsLiteral)?;
        }
        Ok(patterns)
    }

    /// Whether nothing is ever excluded.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines in force, in order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.lines
    }

    /// What becomes of a path: relative, `/` between components, nothing to clean.
    pub fn matches(&self, path: &[u8]) -> Decision<'_> {
        match self.deciding(path).map(|index| &self.lines[index]) {
            None => Decision::Unmatched,
            Some(pattern) if pattern.negated => Decision::Included(pattern),
            Some(pattern) => Decision::Excluded(pattern),
        }
    }

    /// Whether a walker has to look into a directory: false if it is excluded and no later `!` can take back in anything below.
    /// An empty path is the root.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        if directory.is_empty() {
            return true;
        }
        match self.deciding(directory) {
            Some(index) if !self.lines[index].negated => {
                let later = self.exceptions.partition_point(|(exception, _)| *exception < index);
                self.exceptions[later..].iter().any(|(_, exception)| exception.may_match_below(directory))
            }
            _ => true,
        }
    }

    /// The line that leaves nothing of a path and what is below it; an empty path is the root.
    pub fn hidden_by(&self, path: &[u8]) -> Option<&Pattern> {
        if path.is_empty() {
            let everything = |pattern: &&Pattern| matches!(pattern.text.trim_matches('/'), "*" | "**");
            let all = self.lines.iter().rfind(everything)?;
            return (!self.lines.iter().any(|pattern| pattern.negated)).then_some(all);
        }
        match self.matches(path) {
            Decision::Excluded(pattern) if !self.may_match_below(path) => Some(pattern),
            _ => None,
        }
    }

    /// The last pattern that matches the path or a directory it is in.
    fn deciding(&self, path: &[u8]) -> Option<usize> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let by_name = ends.chain([path.len()]).filter_map(|end| self.literals.get(&path[..end]).copied()).max();
        let later = self.globs.iter().rev().take_while(|(index, _)| by_name.is_none_or(|by_name| *index > by_name));
        let by_glob = later.into_iter().find(|(_, glob)| glob.matches_or_parent(path)).map(|(index, _)| *index);
        by_glob.or(by_name)
    }

    fn add(&mut self, line: u32, written: &[u8], slash: LeadingSlash) -> Result<(), IgnoreError> {
        let written = written.trim_ascii();
        if written.is_empty() {
            return Ok(());
        }
        let (negated, pattern) = match written {
            [b'!', pattern @ ..] => (true, pattern.trim_ascii()),
            _ => (false, written),
        };
        if pattern.is_empty() {
            return Err(IgnoreError::EmptyException { line });
        }
        let matches_nothing = slash == LeadingSlash::IsLiteral && pattern.starts_with(b"/");
        let pattern = clean(pattern);
        let text = String::from_utf8_lossy(written).into_owned();
        let Ok(glob) = DoubleStar::new(&pattern) else { return Err(IgnoreError::BadPattern { line, text }) };
        if matches_nothing {
            return Ok(());
        }
        let index = self.lines.len();
        self.lines.push(Pattern { line, text, negated });
        if negated {
            self.exceptions.push((index, glob.clone()));
        }
        match literal(&pattern) {
            Some(name) => {
                self.literals.insert(name, index);
            }
            None => self.globs.push((index, glob)),
        }
        Ok(())
    }
}

/// What a slash in front of a pattern means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeadingSlash {
    /// The root of the tree, where every pattern begins anyway.
    IsRoot,
    /// A slash, and no path begins with one: paths are relative.
    IsLiteral,
}

/// Like Go's `filepath.Clean`, without a slash in front.
fn clean(pattern: &[u8]) -> Vec<u8> {
    let rooted = pattern.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in pattern.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match components.last() {
                Some(last) if *last != b".." => {
                    components.pop();
                }
                _ if rooted => {}
                _ => components.push(component),
            },
            _ => components.push(component),
        }
    }
    // What is nothing but dots stands for the root, which no path is.
    if components.is_empty() { b".".to_vec() } else { components.join(&b'/') }
}

fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
