//! Expanding words with the variables in force, and saying what is wrong with them.

use bld_parser::ast::Heredoc;
use bld_parser::ast::Word;
use bld_parser::expand;
use bld_parser::expand::ExpandError;
use bld_parser::expand::ExpandErrorKind;
use bld_parser::expand::Undefined;
use bld_parser::source::Span;

use super::report::Report;

/// Where words get their values.
pub(super) trait Variables {
    /// The value of a variable; `None` if it has none.
    fn get(&self, name: &str) -> Option<&str>;

    /// Whether it is meant to exist, if only without a value.
    fn is_declared(&self, name: &str) -> bool;

    /// Every name with a value, for suggestions.
    fn names(&self) -> Vec<&str>;

    /// What to do about a name without a value, if more is known than names like it.
    fn hint(&self, name: &str) -> Option<String>;

    /// Whether the value of a word can be told; `undefined` if a variable in it has none.
    fn is_known(&self, _raw: &str, _undefined: bool) -> bool {
        true
    }

    /// What to write to have a value.
    fn declaration(&self, name: &str) -> String {
        format!("define it first: `ARG {name}=VALUE` or `ENV {name}=VALUE`")
    }

    /// The code and the message of the finding that `name` is used without a value.
    fn undefined(&self, name: &str) -> (&'static str, String) {
        ("UndefinedVar", format!("usage of undefined variable `${name}`"))
    }
}

/// The value of a word; `None` if it has none and that was reported.
pub(super) fn expand(report: &mut Report, word: &Word, escape: char, variables: &dyn Variables) -> Option<String> {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    match expand::expand(&word.raw, escape, &lookup) {
        Ok(expanded) => {
            warn(report, &expanded.undefined, word, variables);
            Some(expanded.value).filter(|_| variables.is_known(&word.raw, !expanded.undefined.is_empty()))
        }
        Err(error) => {
            fail(report, &error, word, variables);
            None
        }
    }
}

/// The words a word turns into.
pub(super) fn expand_words(
    report: &mut Report,
    word: &Word,
    escape: char,
    variables: &dyn Variables,
) -> Option<Vec<String>> {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    match expand::expand_words(&word.raw, escape, &lookup) {
        Ok(expanded) => {
            warn(report, &expanded.undefined, word, variables);
            Some(expanded.words).filter(|_| variables.is_known(&word.raw, !expanded.undefined.is_empty()))
        }
        Err(error) => {
            fail(report, &error, word, variables);
            None
        }
    }
}

/// The file a here-document of COPY or ADD holds.
pub(super) fn expand_heredoc(report: &mut Report, heredoc: &Heredoc, variables: &dyn Variables) -> Option<String> {
    if !heredoc.expand {
        return Some(heredoc.body.clone());
    }
    let body = Word { raw: heredoc.body.clone(), span: heredoc.body_span };
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    match expand::expand_heredoc(&heredoc.body, &lookup) {
        Ok(expanded) => {
            warn(report, &expanded.undefined, &body, variables);
            Some(expanded.value)
        }
        Err(error) => {
            fail(report, &error, &body, variables);
            None
        }
    }
}

fn warn(report: &mut Report, undefined: &[Undefined], word: &Word, variables: &dyn Variables) {
    for Undefined { name, offset } in undefined.iter().filter(|found| !variables.is_declared(&found.name)) {
        let (code, message) = variables.undefined(name);
        let hint = Some(hint(report, name, variables));
        let span = part(word, *offset);
        let length = variable_length(word.raw.get(*offset..).unwrap_or_default());
        let end = u32::try_from(length).map_or(span.end, |length| span.end.min(span.start + length));
        let span = if span == word.span && *offset > 0 { span } else { Span { end, ..span } };
        report.warning(code, span, message, hint);
    }
}

fn hint(report: &mut Report, name: &str, variables: &dyn Variables) -> String {
    let hint = variables.hint(name).or_else(|| report.did_you_mean(name, || variables.names()));
    hint.unwrap_or_else(|| variables.declaration(name))
}

/// Of `$name` or `${name...}` at the beginning of a text.
fn variable_length(text: &str) -> usize {
    let mut depth = 0_usize;
    if text.starts_with("${") {
        for (offset, letter) in text.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 1 => return offset + 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
        return text.len();
    }
    let name = text.get(1..).unwrap_or_default();
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(name.len());
    1 + end.max(1)
}

fn fail(report: &mut Report, error: &ExpandError, word: &Word, variables: &dyn Variables) {
    let hint = match &error.kind {
        // It may have a value that is not known.
        ExpandErrorKind::Required { .. } if !variables.is_known(&word.raw, true) => return,
        ExpandErrorKind::Required { name, .. } => hint(report, name, variables),
        ExpandErrorKind::MissingBrace => "close it with `}`".to_owned(),
        ExpandErrorKind::UnterminatedQuote { .. } => {
            "close the quote, or put the escape character in front of it".to_owned()
        }
        ExpandErrorKind::BadSubstitution => {
            "write `${NAME}`; put the escape character in front of a `$` that stands for itself".to_owned()
        }
        ExpandErrorKind::UnsupportedModifier { .. } => {
            "there are `:-`, `-`, `:+`, `+`, `:?`, `?`, `#`, `##`, `%`, `%%`, `/` and `//`".to_owned()
        }
        ExpandErrorKind::MissingSlash => "write `${NAME/PATTERN/REPLACEMENT}`".to_owned(),
        ExpandErrorKind::InvalidEscape { .. } => "only `*`, `?`, `\\`, `}` and `/` need a `\\`".to_owned(),
        ExpandErrorKind::TooLong { .. } | ExpandErrorKind::TooDeep { .. } | ExpandErrorKind::TooComplex => {
            "use shorter values".to_owned()
        }
    };
    let message = match &error.kind {
        ExpandErrorKind::Required { name, message } if message.starts_with("is not allowed to be") => {
            format!("`{name}` {message}")
        }
        ExpandErrorKind::Required { name, message } => format!("`{name}` has no value: {message}"),
        kind => format!("cannot expand `{}`: {kind}", shorten(&word.raw)),
    };
    report.error("InvalidExpansion", part(word, error.offset), message, Some(hint));
}

/// From an offset in the raw text to the word's end; the whole word where continuations make offsets meaningless.
fn part(word: &Word, offset: usize) -> Span {
    let length = word.span.end.saturating_sub(word.span.start);
    match (u32::try_from(offset), u32::try_from(word.raw.len())) {
        (Ok(offset), Ok(raw)) if raw == length && offset < length => {
            Span { start: word.span.start + offset, end: word.span.end }
        }
        _ => word.span,
    }
}

fn shorten(raw: &str) -> String {
    match raw.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &raw[..end]),
        None => raw.to_owned(),
    }
}
