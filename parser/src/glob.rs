//! Path patterns with the meaning of Go's `filepath.Match`, on bytes.
//!
//! ```text
//! pattern = { "*" | "?" | class | "\" byte | byte }
//! class   = "[" [ "^" ] range { range } "]"
//! range   = letter [ "-" letter ]                letter: any but "-" and "]", or "\" any
//! ```
//! `*` and `?` do not cross `/`. A whole path must match. Where `**` is allowed it must be a component of its own
//! and stands for any number of components. Matching never backtracks over more than the latest star, so it takes at most
//! pattern times name.

use thiserror::Error;

/// A pattern that is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed pattern `{pattern}`")]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
}

/// Whether a text has anything in it that makes it more than a literal name.
pub fn has_wildcard(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// The literal name a text without `*`, `?` and `[` stands for: escapes removed. `None` if it is a pattern.
pub fn literal(text: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return None,
            b'\\' => name.push(*bytes.next()?),
            other => name.push(*other),
        }
    }
    Some(name)
}

/// A pattern ready to be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Component {
    /// `**`
    Any,
    /// Something within one component.
    One(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// `*`
    Star,
    /// `?`
    Question,
    /// A byte that stands for itself.
    Byte(u8),
    /// `[...]`
    Class {
        /// `[^`
        negated: bool,
        /// First and last character of each range.
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// A pattern as in `filepath.Match`: `**` is no more than `*`.
    pub fn new(pattern: &[u8]) -> Result<Glob, BadPattern> {
        let components = split(pattern)?.into_iter().map(Component::One).collect();
        Ok(Glob { components })
    }

    /// A pattern in which a component `**` is any number of components: none or more, at the end one or more.
    pub fn with_double_star(pattern: &[u8]) -> Result<Glob, BadPattern> {
        let mut components: Vec<Component> = Vec::new();
        for tokens in split(pattern)? {
            if tokens != [Token::Star, Token::Star] {
                components.push(Component::One(tokens));
            } else if components.last() != Some(&Component::Any) {
                components.push(Component::Any);
            }
        }
        if components.last() == Some(&Component::Any) {
            components.push(Component::One(vec![Token::Star]));
        }
        Ok(Glob { components })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut reached = self.start();
        for name in names(path) {
            self.step(&mut reached, name);
        }
        reached.last().copied().unwrap_or(false)
    }

    /// Whether the path or a directory it is in matches.
    pub fn matches_or_parent(&self, path: &[u8]) -> bool {
        let mut reached = self.start();
        names(path).any(|name| {
            self.step(&mut reached, name);
            reached.last().copied().unwrap_or(false)
        })
    }

    /// Whether something below this directory - not the directory itself - can match. An empty path is the root.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let mut reached = self.start();
        if !directory.is_empty() {
            for name in names(directory) {
                self.step(&mut reached, name);
            }
        }
        reached.pop();
        reached.contains(&true)
    }

    /// Which numbers of components can be done before the first name.
    fn start(&self) -> Vec<bool> {
        let mut reached = vec![false; self.components.len() + 1];
        reached[0] = true;
        self.skip(&mut reached);
        reached
    }

    /// One name further.
    fn step(&self, reached: &mut [bool], name: &[u8]) {
        // From the end to the front: what is written was read before.
        let end = self.components.len();
        reached[end] = false;
        for (index, component) in self.components.iter().enumerate().rev() {
            if let Component::One(tokens) = component
                && std::mem::replace(&mut reached[index], false)
                && matches_name(tokens, name)
            {
                reached[index + 1] = true;
            }
        }
        self.skip(reached);
    }

    /// `**` may stand for nothing.
    fn skip(&self, reached: &mut [bool]) {
        for (index, component) in self.components.iter().enumerate() {
            if reached[index] && *component == Component::Any {
                reached[index + 1] = true;
            }
        }
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Whether a path matches a pattern as in `filepath.Match`.
pub fn matches(pattern: &[u8], path: &[u8]) -> Result<bool, BadPattern> {
    Ok(Glob::new(pattern)?.matches(path))
}

/// The components of a pattern. A slash in a class separates nothing, and so matches nothing; one behind a backslash separates, as in Go.
pub(crate) fn split(pattern: &[u8]) -> Result<Vec<Vec<Token>>, BadPattern> {
    Ok(split_at_slashes(pattern)?.0)
}

/// The components of a pattern, and of each slash between them whether it stands behind a backslash.
pub(crate) fn split_at_slashes(pattern: &[u8]) -> Result<(Vec<Vec<Token>>, Vec<bool>), BadPattern> {
    let bad = || BadPattern { pattern: String::from_utf8_lossy(pattern).into_owned() };
    let mut components = vec![Vec::new()];
    let mut escaped_slashes = Vec::new();
    let mut rest = pattern;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let token = match byte {
            b'/' => {
                components.push(Vec::new());
                escaped_slashes.push(false);
                continue;
            }
            b'*' => Token::Star,
            b'?' => Token::Question,
            b'\\' => {
                let [escaped, behind @ ..] = rest else { return Err(bad()) };
                rest = behind;
                if *escaped == b'/' {
                    components.push(Vec::new());
                    escaped_slashes.push(true);
                    continue;
                }
                Token::Byte(*escaped)
            }
            b'[' => {
                let (class, behind) = class(rest).ok_or_else(bad)?;
                rest = behind;
                class
            }
            other => Token::Byte(*other),
        };
        if let Some(component) = components.last_mut() {
            component.push(token);
        }
    }
    Ok((components, escaped_slashes))
}

/// What follows `[`.
fn class(text: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, mut rest) = match text {
        [b'^', behind @ ..] => (true, behind),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let ([b']', behind @ ..], false) = (rest, ranges.is_empty()) {
            return Some((Token::Class { negated, ranges }, behind));
        }
        let (low, behind) = class_letter(rest)?;
        let (high, behind) = match behind {
            [b'-', behind @ ..] => class_letter(behind)?,
            _ => (low, behind),
        };
        ranges.push((low, high));
        rest = behind;
    }
}

fn class_letter(text: &[u8]) -> Option<(char, &[u8])> {
    let text = match text {
        [b'-' | b']', ..] => return None,
        [b'\\', behind @ ..] => behind,
        _ => text,
    };
    // A class that ends here was never closed.
    first_letter(text).filter(|(_, behind)| !behind.is_empty())
}

/// The first character; a byte that is no UTF-8 counts as one unknown character.
fn first_letter(text: &[u8]) -> Option<(char, &[u8])> {
    let first = *text.first()?;
    let length = match first {
        0x00..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    };
    let letter =
        text.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    match letter {
        Some(letter) => Some((letter, &text[length..])),
        None => Some((char::REPLACEMENT_CHARACTER, &text[1..])),
    }
}

fn matches_name(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut rest) = (0, name);
    // Where to go on if what follows the latest star does not fit: with the star one character longer.
    let mut retry: Option<(usize, &[u8])> = None;
    loop {
        if token == tokens.len() && rest.is_empty() {
            return true;
        }
        if tokens.get(token) == Some(&Token::Star) {
            token += 1;
            retry = Some((token, rest));
            continue;
        }
        if let Some(behind) = tokens.get(token).and_then(|token| matches_token(token, rest)) {
            token += 1;
            rest = behind;
            continue;
        }
        match retry {
            Some((behind_star, [_, longer @ ..])) => {
                retry = Some((behind_star, longer));
                (token, rest) = (behind_star, longer);
            }
            _ => return false,
        }
    }
}

/// What is left of a name behind one token. A star has no single answer and gives none.
pub(crate) fn matches_token<'a>(token: &Token, name: &'a [u8]) -> Option<&'a [u8]> {
    match token {
        Token::Star => None,
        Token::Question => first_letter(name).map(|(_, behind)| behind),
        Token::Byte(wanted) => name.split_first().filter(|(byte, _)| *byte == wanted).map(|(_, behind)| behind),
        Token::Class { negated, ranges } => {
            let (letter, behind) = first_letter(name)?;
            let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter));
            (inside != *negated).then_some(behind)
        }
    }
}
