//! The recursive part of the expansion: reads raw text from left to right.

use super::ExpandError;
use super::ExpandErrorKind;
use super::Splitter;
use super::Undefined;
use super::pattern::Pattern;
use super::pattern::PatternError;
use crate::limits::MAX_EXPANSION_DEPTH;
use crate::limits::MAX_FILE_BYTES;

/// Whether quotes mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// As in a shell.
    Shell,
    /// They are ordinary characters.
    Literal,
}

/// What becomes of escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// The escape character is removed.
    Removed,
    /// It stays, for the pattern to read.
    Kept,
}

/// Reads raw text.
pub(super) struct Scanner<'a> {
    raw: &'a str,
    position: usize,
    escape: char,
    quoting: Quoting,
    limit: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    undefined: Vec<Undefined>,
    depth: usize,
    /// False inside a default that is not used.
    live: bool,
    /// Bytes patterns were held against.
    work: usize,
}

type Result<T> = std::result::Result<T, ExpandError>;

impl<'a> Scanner<'a> {
    pub(super) fn new(
        raw: &'a str,
        escape: char,
        quoting: Quoting,
        limit: usize,
        lookup: &'a dyn Fn(&str) -> Option<String>,
    ) -> Scanner<'a> {
        Scanner {
            raw,
            position: 0,
            escape,
            quoting,
            limit,
            lookup,
            undefined: Vec::new(),
            depth: 0,
            live: true,
            work: 0,
        }
    }

    /// The whole text; `splitter` is told which parts were quoted.
    pub(super) fn whole(&mut self, splitter: Option<&mut Splitter>) -> Result<String> {
        self.until(None, Escapes::Removed, splitter)
    }

    pub(super) fn into_undefined(self) -> Vec<Undefined> {
        self.undefined
    }

    /// Up to `stop`, which is swallowed, or to the end if there is none.
    fn until(&mut self, stop: Option<char>, escapes: Escapes, mut splitter: Option<&mut Splitter>) -> Result<String> {
        let mut result = String::new();
        while let Some(letter) = self.peek() {
            if Some(letter) == stop {
                self.next();
                return Ok(result);
            }
            let from = result.len();
            let mut solid = true;
            if letter == '$' {
                result.push_str(&self.variable()?);
                solid = false;
            } else if letter == '\'' && self.quoting == Quoting::Shell {
                self.single_quoted(&mut result)?;
            } else if letter == '"' && self.quoting == Quoting::Shell {
                self.double_quoted(escapes, &mut result)?;
            } else if letter == self.escape {
                self.next();
                if escapes == Escapes::Kept {
                    result.push(letter);
                }
                result.extend(self.next());
            } else {
                self.next();
                result.push(letter);
                solid = false;
            }
            if let Some(splitter) = splitter.as_deref_mut() {
                let added = result.get(from..).unwrap_or_default();
                if solid { splitter.solid(added) } else { splitter.splitting(added) }
            }
            self.check_length(&result)?;
        }
        match stop {
            None => Ok(result),
            Some('/') => Err(self.error(self.position, ExpandErrorKind::MissingSlash)),
            Some(_) => Err(self.error(self.position, ExpandErrorKind::MissingBrace)),
        }
    }

    fn single_quoted(&mut self, result: &mut String) -> Result<()> {
        let start = self.position;
        self.next();
        let rest = self.rest();
        let Some(length) = rest.find('\'') else {
            return Err(self.error(start, ExpandErrorKind::UnterminatedQuote { quote: '\'' }));
        };
        result.push_str(rest.get(..length).unwrap_or_default());
        self.position += length + 1;
        Ok(())
    }

    fn double_quoted(&mut self, escapes: Escapes, result: &mut String) -> Result<()> {
        let start = self.position;
        self.next();
        while let Some(letter) = self.peek() {
            match letter {
                '"' => {
                    self.next();
                    return Ok(());
                }
                '$' => {
                    let value = self.variable()?;
                    result.push_str(&value);
                }
                _ if letter == self.escape => {
                    self.next();
                    let special = self.peek().filter(|next| matches!(next, '"' | '$') || *next == self.escape);
                    if escapes == Escapes::Kept || special.is_none() {
                        result.push(letter);
                    }
                    if let Some(special) = special {
                        self.next();
                        result.push(special);
                    }
                }
                _ => {
                    self.next();
                    result.push(letter);
                }
            }
            self.check_length(result)?;
        }
        Err(self.error(start, ExpandErrorKind::UnterminatedQuote { quote: '"' }))
    }

    /// `$...`, the dollar included.
    fn variable(&mut self) -> Result<String> {
        let dollar = self.position;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value_or_note(&name, dollar) });
        }
        self.next();
        match self.peek() {
            None => return Err(self.error(dollar, ExpandErrorKind::MissingBrace)),
            Some('{' | '}' | ':') => return Err(self.error(dollar, ExpandErrorKind::BadSubstitution)),
            Some(_) => {}
        }
        if self.depth >= MAX_EXPANSION_DEPTH {
            return Err(self.error(dollar, ExpandErrorKind::TooDeep { limit: MAX_EXPANSION_DEPTH }));
        }
        self.depth += 1;
        let value = self.braced(dollar);
        self.depth -= 1;
        value
    }

    /// What follows `${`, the brace at the end included.
    fn braced(&mut self, dollar: usize) -> Result<String> {
        let name = self.name();
        let modifier_at = self.position;
        let Some(modifier) = self.next() else { return Err(self.error(dollar, ExpandErrorKind::MissingBrace)) };
        match modifier {
            '}' => Ok(self.value_or_note(&name, dollar)),
            ':' => match self.next() {
                Some(kind @ ('-' | '+' | '?')) => self.conditional(&name, kind, true, dollar),
                Some(other) => Err(self.unsupported(modifier_at, format!(":{other}"))),
                None => Err(self.error(dollar, ExpandErrorKind::MissingBrace)),
            },
            '-' | '+' | '?' => self.conditional(&name, modifier, false, dollar),
            '#' | '%' => self.trimmed(&name, modifier, dollar),
            '/' => self.replaced(&name, dollar),
            other => Err(self.unsupported(modifier_at, other.to_string())),
        }
    }

    fn conditional(&mut self, name: &str, kind: char, empty_is_unset: bool, dollar: usize) -> Result<String> {
        let value = self.value(name).filter(|value| !empty_is_unset || !value.is_empty());
        let word_used = (kind == '+') == value.is_some();
        let live = self.live;
        self.live = live && word_used;
        let word = self.until(Some('}'), Escapes::Removed, None);
        self.live = live;
        let word = word?;
        match (kind, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            // Nothing is required of a default that is not used.
            (_, None) if !self.live => Ok(String::new()),
            (_, None) => {
                let state = if self.value(name).is_some() { "empty" } else { "unset" };
                let message = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                Err(self.error(dollar, ExpandErrorKind::Required { name: name.to_owned(), message }))
            }
        }
    }

    fn trimmed(&mut self, name: &str, kind: char, dollar: usize) -> Result<String> {
        let longest = self.peek() == Some(kind);
        if longest {
            self.next();
        }
        let start = self.position;
        let pattern = self.until(Some('}'), Escapes::Kept, None)?;
        let value = self.value_or_note(name, dollar);
        let pattern = self.pattern(&pattern, &value, start)?;
        let trimmed =
            if kind == '#' { pattern.without_prefix(&value, longest) } else { pattern.without_suffix(&value, longest) };
        trimmed.map_err(|error| self.pattern_error(error, start))
    }

    fn replaced(&mut self, name: &str, dollar: usize) -> Result<String> {
        let every = self.peek() == Some('/');
        if every {
            self.next();
        }
        let start = self.position;
        let pattern = self.until(Some('/'), Escapes::Kept, None)?;
        let replacement = self.until(Some('}'), Escapes::Kept, None)?;
        let value = self.value_or_note(name, dollar);
        let pattern = self.pattern(&pattern, &value, start)?;
        pattern.replace(&value, &replacement, every, self.limit).map_err(|error| self.pattern_error(error, start))
    }

    fn pattern(&mut self, text: &str, value: &str, start: usize) -> Result<Pattern> {
        // A value may be used again and again by a short text.
        self.work += value.len();
        if self.work > MAX_FILE_BYTES {
            return Err(self.error(start, ExpandErrorKind::TooComplex));
        }
        Pattern::parse(text, self.escape).map_err(|error| self.pattern_error(error, start))
    }

    fn pattern_error(&self, error: PatternError, start: usize) -> ExpandError {
        let kind = match error {
            PatternError::InvalidEscape(letter) => ExpandErrorKind::InvalidEscape { letter },
            PatternError::TooComplex => ExpandErrorKind::TooComplex,
            PatternError::TooLong => ExpandErrorKind::TooLong { limit: self.limit },
        };
        self.error(start, kind)
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = match rest.chars().next() {
            Some(first) if first.is_numeric() => rest.find(|letter: char| !letter.is_numeric()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => Some(1),
            _ => rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_'),
        };
        let name = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default().to_owned();
        self.position += name.len();
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        if self.live { (self.lookup)(name) } else { None }
    }

    fn value_or_note(&mut self, name: &str, dollar: usize) -> String {
        let value = self.value(name);
        if value.is_none() && self.live {
            self.undefined.push(Undefined { name: name.to_owned(), offset: dollar });
        }
        value.unwrap_or_default()
    }

    fn check_length(&self, result: &str) -> Result<()> {
        if result.len() > self.limit {
            return Err(self.error(self.position, ExpandErrorKind::TooLong { limit: self.limit }));
        }
        Ok(())
    }

    fn unsupported(&self, offset: usize, modifier: String) -> ExpandError {
        self.error(offset, ExpandErrorKind::UnsupportedModifier { modifier })
    }

    fn error(&self, offset: usize, kind: ExpandErrorKind) -> ExpandError {
        ExpandError { offset: offset.min(self.raw.len()), kind }
    }

    fn rest(&self) -> &'a str {
        self.raw.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.position += letter.len_utf8();
        Some(letter)
    }
}
