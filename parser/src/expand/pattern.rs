//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*` any text, `?` one character, no classes.
//!
//! A pattern is a list of segments between stars. Taking each segment as early as it fits (and the last one as late as it fits,
//! where the longest match is wanted) is exact for such patterns, so nothing is ever tried twice.

use crate::limits::MAX_PATTERN_STEPS;
use std::cell::Cell;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternError {
    /// A backslash before a letter that needs none.
    InvalidEscape(char),
    /// Too many comparisons.
    TooComplex,
    /// The replaced text is too long.
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    One,
    Letter(char),
}

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What stands between the stars; never empty.
    segments: Vec<Vec<Token>>,
    steps: Cell<usize>,
}

impl Pattern {
    /// Reads a pattern whose escapes (of the Dockerfile's escape character, or backslashes) are still in it.
    pub(super) fn parse(text: &str, escape: char) -> Result<Pattern, PatternError> {
        let mut segments = vec![Vec::new()];
        let mut push = |token: Option<Token>| match (token, segments.last_mut()) {
            (Some(token), Some(segment)) => segment.push(token),
            _ => segments.push(Vec::new()),
        };
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '*' => push(None),
                '?' => push(Some(Token::One)),
                _ if letter == '\\' || letter == escape => match letters.next() {
                    Some(next @ ('*' | '?' | '\\' | '}' | '/')) => push(Some(Token::Letter(next))),
                    Some(next) if next == escape => push(Some(Token::Letter(next))),
                    Some(next) => return Err(PatternError::InvalidEscape(next)),
                    None => return Err(PatternError::InvalidEscape(' ')),
                },
                _ => push(Some(Token::Letter(letter))),
            }
        }
        Ok(Pattern { segments, steps: Cell::new(0) })
    }

    /// The value without the shortest or longest prefix that matches.
    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        let letters: Vec<char> = value.chars().collect();
        let end = self.match_at(&letters, 0, longest)?.unwrap_or(0);
        Ok(letters[end..].iter().collect())
    }

    /// The value without the shortest or longest suffix that matches.
    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        let mirrored = Pattern {
            segments: self.segments.iter().rev().map(|segment| segment.iter().rev().copied().collect()).collect(),
            steps: Cell::new(0),
        };
        let letters: Vec<char> = value.chars().rev().collect();
        let end = mirrored.match_at(&letters, 0, longest)?.unwrap_or(0);
        Ok(letters[end..].iter().rev().collect())
    }

    /// The value with the first or every match (leftmost, then longest) replaced.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        every: bool,
        limit: usize,
    ) -> Result<String, PatternError> {
        let letters: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut position = 0;
        let mut after_match = false;
        while let Some((start, end)) = self.find(&letters, position)? {
            result.extend(&letters[position..start]);
            // Nothing right behind a match is no further match.
            if !(after_match && start == end && start == position) {
                result.push_str(replacement);
            }
            after_match = end > start;
            position = end;
            if start == end {
                let Some(letter) = letters.get(end) else { return Ok(result) };
                if every {
                    result.push(*letter);
                    position = end + 1;
                }
            }
            if result.len() > limit {
                return Err(PatternError::TooLong);
            }
            if !every {
                break;
            }
        }
        result.extend(&letters[position..]);
        Ok(result)
    }

    /// The leftmost match, as long as possible.
    fn find(&self, letters: &[char], from: usize) -> Result<Option<(usize, usize)>, PatternError> {
        let first = self.segments.first().map_or(&[][..], Vec::as_slice);
        // If what follows the first segment does not fit behind its first occurrence, it fits behind no later one.
        let Some(start) = self.earliest(first, letters, from)? else { return Ok(None) };
        Ok(self.match_at(letters, start, true)?.map(|end| (start, end)))
    }

    /// The end of the shortest or longest match that begins at `start`.
    fn match_at(&self, letters: &[char], start: usize, longest: bool) -> Result<Option<usize>, PatternError> {
        let Some((first, others)) = self.segments.split_first() else { return Ok(Some(start)) };
        if !self.fits(first, letters, start)? {
            return Ok(None);
        }
        let mut position = start + first.len();
        for (index, segment) in others.iter().enumerate() {
            let is_last = index + 1 == others.len();
            let found = if is_last && longest {
                self.latest(segment, letters, position)?
            } else {
                self.earliest(segment, letters, position)?
            };
            let Some(found) = found else { return Ok(None) };
            position = found + segment.len();
        }
        Ok(Some(position))
    }

    fn earliest(&self, segment: &[Token], letters: &[char], from: usize) -> Result<Option<usize>, PatternError> {
        let Some(last) = letters.len().checked_sub(segment.len()) else { return Ok(None) };
        for start in from..=last {
            if self.fits(segment, letters, start)? {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    fn latest(&self, segment: &[Token], letters: &[char], from: usize) -> Result<Option<usize>, PatternError> {
        let Some(last) = letters.len().checked_sub(segment.len()) else { return Ok(None) };
        for start in (from..=last).rev() {
            if self.fits(segment, letters, start)? {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    fn fits(&self, segment: &[Token], letters: &[char], start: usize) -> Result<bool, PatternError> {
        let Some(candidate) = letters.get(start..start + segment.len()) else { return Ok(false) };
        for (token, letter) in segment.iter().zip(candidate) {
            self.steps.set(self.steps.get() + 1);
            if matches!(token, Token::Letter(wanted) if wanted != letter) {
                return if self.steps.get() > MAX_PATTERN_STEPS { Err(PatternError::TooComplex) } else { Ok(false) };
            }
        }
        Ok(true)
    }
}
