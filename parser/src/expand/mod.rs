//! Expansion of `$variables`, quotes and escapes: pure functions from raw text and a lookup to a value.
//!
//! ```text
//! word     = { single | double | escape any | variable | char }
//! single   = "'" { any but "'" } "'"                              taken as it is
//! double   = '"' { escape ( '"' | "$" | escape ) | variable | char } '"'
//! variable = "$" name | "${" name [ modifier ] "}"
//! name     = letter or "_" { letter | digit | "_" } | digit { digit } | one of @ * # ? - $ !
//! modifier = [ ":" ] ( "-" | "+" | "?" ) word                     default, alternative, error
//!          | ( "#" | "##" | "%" | "%%" ) pattern                  shortest, longest prefix or suffix removed
//!          | ( "/" | "//" ) pattern "/" word                      first, every match replaced
//! pattern  = { "*" | "?" | "\" ( "*" | "?" | "\" | "}" | "/" ) | char }
//! ```
//! All words of one instruction are expanded with the variables as they were before it: the caller sees to that.
//! An unused `word` (the default of a variable that is set) is read for its syntax, but its variables count neither as
//! undefined nor as required.

mod pattern;
mod scanner;

use crate::limits::MAX_EXPANDED_BYTES;
use crate::limits::MAX_FILE_BYTES;
use scanner::Quoting;
use scanner::Scanner;
use thiserror::Error;

/// A variable that was used and has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undefined {
    /// Its name.
    pub name: String,
    /// Where the `$` stands in the raw text.
    pub offset: usize,
}

/// The value of a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The value.
    pub value: String,
    /// Variables without a value and without a modifier that would provide for that, in the order met.
    pub undefined: Vec<Undefined>,
}

/// The values of a text that is split after its expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpandedWords {
    /// The words: blanks out of variables separate, quoted ones do not.
    pub words: Vec<String>,
    /// As in [`Expanded::undefined`].
    pub undefined: Vec<Undefined>,
}

/// Why a word has no value, and where in the raw text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ExpandError {
    /// Byte offset in the raw text.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ExpandErrorKind,
}

/// What can be wrong with a word.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandErrorKind {
    /// A quote is not closed.
    #[error("{quote} is never closed")]
    UnterminatedQuote {
        /// The quote.
        quote: char,
    },
    /// `${` without its end.
    #[error("`}}` is missing behind `${{`")]
    MissingBrace,
    /// `${v/pattern` without the second slash.
    #[error("`/` is missing between pattern and replacement")]
    MissingSlash,
    /// `${}`, `${:...}`, `${{...}`.
    #[error("bad substitution: a name must follow `${{`")]
    BadSubstitution,
    /// A modifier that does not exist.
    #[error("unsupported modifier `{modifier}` in `${{}}`")]
    UnsupportedModifier {
        /// What stands behind the name.
        modifier: String,
    },
    /// `${v:?message}` of a variable without a value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text behind `?`, or what is wrong.
        message: String,
    },
    /// A backslash in a pattern before something that needs none.
    #[error("invalid escape `\\{letter}` in a pattern")]
    InvalidEscape {
        /// The letter behind the backslash.
        letter: char,
    },
    /// The value is too long.
    #[error("expands to more than {limit} bytes")]
    TooLong {
        /// The most that is allowed.
        limit: usize,
    },
    /// Too many `${a:-${b:-...}}` in each other.
    #[error("variables are nested deeper than {limit}")]
    TooDeep {
        /// The most that is allowed.
        limit: usize,
    },
    /// A pattern that takes too long to match.
    #[error("the pattern takes too long to match")]
    TooComplex,
}

/// Expands one word.
pub fn expand(raw: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ExpandError> {
    let mut scanner = Scanner::new(raw, escape, Quoting::Shell, MAX_EXPANDED_BYTES, lookup);
    let value = scanner.whole(None)?;
    Ok(Expanded { value, undefined: scanner.into_undefined() })
}

/// Expands a text and splits the result into words, as EXPOSE does.
pub fn expand_words(
    raw: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<ExpandedWords, ExpandError> {
    let mut scanner = Scanner::new(raw, escape, Quoting::Shell, MAX_EXPANDED_BYTES, lookup);
    let mut splitter = Splitter::default();
    scanner.whole(Some(&mut splitter))?;
    Ok(ExpandedWords { words: splitter.finish(), undefined: scanner.into_undefined() })
}

/// Expands the body of a here-document of COPY or ADD: quotes are ordinary characters and the escape character is `\`.
pub fn expand_heredoc(body: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ExpandError> {
    let mut scanner = Scanner::new(body, '\\', Quoting::Literal, MAX_FILE_BYTES, lookup);
    let value = scanner.whole(None)?;
    Ok(Expanded { value, undefined: scanner.into_undefined() })
}

/// Gathers words while a text is expanded.
#[derive(Debug, Default)]
struct Splitter {
    words: Vec<String>,
    word: String,
}

impl Splitter {
    /// Text in which blanks separate.
    fn splitting(&mut self, text: &str) {
        for letter in text.chars() {
            if letter.is_whitespace() {
                self.flush();
            } else {
                self.word.push(letter);
            }
        }
    }

    /// Text in which they do not.
    fn solid(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn flush(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.flush();
        self.words
    }
}
