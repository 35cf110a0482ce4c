//! `**` with the meaning it has in ignore files, where it need not be a component of its own.
//!
//! ```text
//! a/**/b     any number of components between              by components, see `glob`
//! **b        anything that ends with b                     (only if no wildcard follows)
//! a**        anything that begins with a, at any depth
//! a**b       "ab", or "a", anything, "/b"                  character by character
//! **\/b      as a**b: a slash behind a backslash stays a slash of its own
//! ```

use crate::glob::BadPattern;
use crate::glob::Glob;
use crate::glob::Token;
use crate::glob::has_wildcard;
use crate::glob::matches_token;
use crate::glob::split_at_slashes;

/// A pattern.
#[derive(Debug, Clone)]
pub(crate) enum DoubleStar {
    /// Every `**` is a component of its own.
    Components(Glob),
    /// Any pattern at all.
    Flat(Flat),
}

impl DoubleStar {
    /// Reads a cleaned pattern.
    pub(crate) fn new(pattern: &[u8]) -> Result<DoubleStar, BadPattern> {
        let (mut components, escaped_slashes) = split_at_slashes(pattern)?;
        if let [b'*', b'*', rest @ ..] = pattern
            && !rest.is_empty()
            && !rest.starts_with(b"/")
            && !has_wildcard(rest)
        {
            return Ok(DoubleStar::Components(Glob::with_double_star(&[b"**/*", rest].concat())?));
        }
        let pair = |tokens: &Vec<Token>| tokens.windows(2).any(|pair| pair == [Token::Star, Token::Star]);
        let is_escaped = |index: usize| escaped_slashes.get(index).copied().unwrap_or(false);
        let mut indexed = components.iter().enumerate();
        if indexed.all(|(index, tokens)| !pair(tokens) || tokens.len() == 2 && !is_escaped(index)) {
            return Ok(DoubleStar::Components(Glob::with_double_star(pattern)?));
        }
        Ok(DoubleStar::Flat(Flat::new(&mut components, &escaped_slashes)))
    }

    /// Whether it matches the path or a directory it is in.
    pub(crate) fn matches_or_parent(&self, path: &[u8]) -> bool {
        match self {
            DoubleStar::Components(glob) => glob.matches_or_parent(path),
            DoubleStar::Flat(flat) => flat.matches_or_parent(path),
        }
    }

    /// Whether it can match something below a directory.
    pub(crate) fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            DoubleStar::Components(glob) => glob.may_match_below(directory),
            DoubleStar::Flat(flat) => flat.may_match_below(directory),
        }
    }
}

/// A pattern as one row of steps, run like an automaton.
#[derive(Debug, Clone)]
pub(crate) struct Flat {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// One character, never a slash.
    Token(Token),
    /// A slash.
    Slash,
    /// Any number of characters but slashes.
    Star,
    /// Nothing, or anything that ends with a slash.
    Directories,
    /// Anything.
    Rest,
}

impl Flat {
    fn new(components: &mut Vec<Vec<Token>>, escaped_slashes: &[bool]) -> Flat {
        let mut steps = Vec::new();
        let count = components.len();
        for (index, tokens) in components.drain(..).enumerate() {
            let last_component = index + 1 == count;
            let mut tokens = tokens.into_iter().peekable();
            let mut ends_with_pair = false;
            while let Some(token) = tokens.next() {
                ends_with_pair = false;
                if token != Token::Star {
                    steps.push(Step::Token(token));
                } else if tokens.next_if_eq(&Token::Star).is_some() {
                    ends_with_pair = true;
                    let at_end = last_component && tokens.peek().is_none();
                    steps.push(if at_end { Step::Rest } else { Step::Directories });
                } else {
                    steps.push(Step::Star);
                }
            }
            // The slash behind `**` belongs to it, unless a backslash makes it one of its own.
            let is_escaped = escaped_slashes.get(index).copied().unwrap_or(false);
            if !last_component && (!ends_with_pair || is_escaped) {
                steps.push(Step::Slash);
            }
        }
        Flat { steps }
    }

    fn matches_or_parent(&self, path: &[u8]) -> bool {
        let mut run = Run::new(self);
        let mut rest = path;
        while !rest.is_empty() {
            if rest[0] == b'/' && run.accepts() {
                return true;
            }
            rest = run.advance(rest);
        }
        run.accepts()
    }

    fn may_match_below(&self, directory: &[u8]) -> bool {
        let mut run = Run::new(self);
        let mut rest = directory;
        while !rest.is_empty() {
            rest = run.advance(rest);
        }
        run.advance(b"/");
        run.live.contains(&true)
    }
}

/// Which steps come next, all at once.
struct Run<'a> {
    steps: &'a [Step],
    /// One more than there are steps: the last means a match.
    live: Vec<bool>,
    /// Inside a `Directories` that has begun: only a slash ends it.
    inside: Vec<bool>,
}

impl<'a> Run<'a> {
    fn new(flat: &'a Flat) -> Run<'a> {
        let mut live = vec![false; flat.steps.len() + 1];
        live[0] = true;
        let mut run = Run { steps: &flat.steps, live, inside: vec![false; flat.steps.len()] };
        run.skip();
        run
    }

    fn accepts(&self) -> bool {
        self.live.last().copied().unwrap_or(false)
    }

    /// Consumes one character.
    fn advance<'b>(&mut self, rest: &'b [u8]) -> &'b [u8] {
        let is_slash = rest.first() == Some(&b'/');
        let behind = matches_token(&Token::Question, rest).unwrap_or_default();
        let end = self.steps.len();
        let mut width = rest.len() - behind.len();
        // A byte of the pattern is a byte, not a character: then the text is taken byte by byte.
        if self.steps.iter().any(|step| matches!(step, Step::Token(Token::Byte(byte)) if *byte >= 0x80)) {
            width = 1;
        }
        let (letter, next) = rest.split_at(width.max(1).min(rest.len()));
        self.live[end] = false;
        for (index, step) in self.steps.iter().enumerate().rev() {
            let arrived = std::mem::replace(&mut self.live[index], false);
            match step {
                Step::Token(token) => {
                    if arrived && !is_slash && matches_token(token, letter).is_some_and(<[u8]>::is_empty) {
                        self.live[index + 1] = true;
                    }
                }
                Step::Slash => self.live[index + 1] |= arrived && is_slash,
                Step::Star => self.live[index] = arrived && !is_slash,
                Step::Rest => self.live[index] = arrived,
                Step::Directories => {
                    self.inside[index] |= arrived;
                    self.live[index + 1] |= self.inside[index] && is_slash;
                }
            }
        }
        self.skip();
        next
    }

    /// What may stand for nothing.
    fn skip(&mut self) {
        for (index, step) in self.steps.iter().enumerate() {
            if self.live[index] && matches!(step, Step::Star | Step::Rest | Step::Directories) {
                self.live[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DoubleStar;
    use super::Flat;
    use crate::glob::Glob;
    use crate::glob::split;

    /// Both ways of matching say the same wherever both can be used.
    #[test]
    fn engines_agree() {
        let parts = ["a", "b", "*", "**", "a*", "?b", "[ab]"];
        let names = ["a", "b", "ab", "\u{e9}b"];
        for first in parts {
            for second in parts {
                for third in parts {
                    let pattern = format!("{first}/{second}/{third}");
                    let components = DoubleStar::Components(Glob::with_double_star(pattern.as_bytes()).unwrap());
                    let flat = DoubleStar::Flat(Flat::new(&mut split(pattern.as_bytes()).unwrap(), &[]));
                    for path in paths(&names) {
                        let (left, right) =
                            (components.matches_or_parent(path.as_bytes()), flat.matches_or_parent(path.as_bytes()));
                        assert_eq!(left, right, "{pattern} on {path}");
                        let (left, right) =
                            (components.may_match_below(path.as_bytes()), flat.may_match_below(path.as_bytes()));
                        assert_eq!(left, right, "{pattern} below {path}");
                    }
                }
            }
        }
    }

    fn paths(names: &[&str]) -> Vec<String> {
        let mut paths: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        for length in 0..84 {
            let longer: Vec<String> = names.iter().map(|name| format!("{}/{name}", paths[length])).collect();
            paths.extend(longer);
        }
        paths.truncate(200);
        paths
    }
}
