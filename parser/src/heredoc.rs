//! Here-document words: `<<NAME`, `<<-NAME`, `3<<'NAME'`.
//!
//! ```text
//! opener = [ digits ] "<<" [ "-" ] delimiter      a word of its own; `cat<<EOF` and `<<<word` are none
//! ```
//! Any quote in the delimiter switches expansion of the body off; a backslash does not, as it would in a shell. The escape
//! character is `\` whatever the `escape` directive says.

use crate::ast::Heredoc;
use crate::source::Span;
use crate::words::open_quote;
use crate::words::quoted_words;
use nom::IResult;
use nom::Parser;
use nom::bytes::complete::tag;
use nom::character::complete::char;
use nom::character::complete::digit0;
use nom::combinator::opt;
use std::ops::Range;

/// A `<<NAME` word, its body not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opener {
    /// The delimiter, quotes removed.
    pub(crate) name: String,
    /// Whether the body is subject to expansion.
    pub(crate) expand: bool,
    /// Whether `-` asks for leading tabs to be removed.
    pub(crate) strip_tabs: bool,
    /// The file descriptor, if any.
    pub(crate) file_descriptor: Option<u32>,
    /// Where the word is, relative to the text searched.
    pub(crate) range: Range<usize>,
}

/// A here-document with what only the trigger text of ONBUILD needs.
#[derive(Debug, Clone)]
pub(crate) struct ReadHeredoc {
    /// The document.
    pub(crate) heredoc: Heredoc,
    /// The body with its tabs still there.
    pub(crate) raw_body: String,
    /// The opener's range in the logical line.
    pub(crate) range: Range<usize>,
}

/// All openers of a text.
///
/// `detached` also finds `<< NAME`, which only a shell command may use: there, `<<` inside `$((` is a shift.
pub(crate) fn openers(text: &str, detached: bool) -> Vec<Opener> {
    if !text.contains("<<") || open_quote(text, '\\').is_some() {
        return Vec::new();
    }
    let mut openers = Vec::new();
    let mut words = quoted_words(text, '\\').into_iter().peekable();
    let mut parentheses = 0_usize;
    while let Some(range) = words.next() {
        let word = &text[range.clone()];
        if let Some(opener) = opener(word, range.clone()) {
            openers.push(opener);
            continue;
        }
        parentheses = (parentheses + word.matches("((").count()).saturating_sub(word.matches("))").count());
        if detached
            && parentheses == 0
            && matches!(prefix(word), Ok(("", _)))
            && let Some(next) = words.next_if(|next| is_plain_delimiter(&text[next.clone()]))
        {
            let joined = format!("{word}{}", &text[next.clone()]);
            openers.extend(opener(&joined, range.start..next.end));
        }
    }
    openers
}

fn opener(word: &str, range: Range<usize>) -> Option<Opener> {
    let (delimiter, (digits, _, dash)) = prefix(word).ok()?;
    if delimiter.contains('<') {
        return None;
    }
    let name = unquoted(delimiter);
    if name.is_empty() {
        return None;
    }
    let file_descriptor = if digits.is_empty() { None } else { Some(digits.parse().ok()?) };
    Some(Opener { expand: !delimiter.contains(['\'', '"']), name, strip_tabs: dash.is_some(), file_descriptor, range })
}

fn prefix(word: &str) -> IResult<&str, (&str, &str, Option<char>)> {
    (digit0, tag("<<"), opt(char('-'))).parse(word)
}

fn is_plain_delimiter(word: &str) -> bool {
    let name = unquoted(word);
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn unquoted(word: &str) -> String {
    let mut name = String::new();
    let mut quote = None;
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if letter == open => quote = None,
            (None, '\\') => name.extend(letters.next()),
            (Some('"'), '\\') => {
                let escaped = letters.next_if(|next| matches!(next, '"' | '$' | '\\'));
                name.push(escaped.unwrap_or('\\'));
            }
            _ => name.push(letter),
        }
    }
    name
}

/// Puts opener and body together.
pub(crate) fn complete(opener: &Opener, body: &str, span: Span, body_span: Span) -> ReadHeredoc {
    let stripped = if opener.strip_tabs {
        body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    } else {
        body.to_owned()
    };
    ReadHeredoc {
        heredoc: Heredoc {
            name: opener.name.clone(),
            body: stripped,
            expand: opener.expand,
            file_descriptor: opener.file_descriptor,
            span,
            body_span,
        },
        raw_body: body.to_owned(),
        range: opener.range.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::openers;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = openers(text, true)
            .into_iter()
            .map(|opener| {
                let descriptor = opener.file_descriptor.map(|number| number.to_string()).unwrap_or_default();
                let dash = if opener.strip_tabs { "-" } else { "" };
                let raw = if opener.expand { "" } else { " raw" };
                format!("{descriptor}<<{dash}{}{raw}", opener.name)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_that_open_a_heredoc() {
        check("<<EOF", &["<<EOF"]);
        check("<<-EOF cat", &["<<-EOF"]);
        check("cat <<A - <<B", &["<<A", "<<B"]);
        check("3<<IN awk", &["3<<IN"]);
        check("<<'EOF'", &["<<EOF raw"]);
        check("<<E\"O\"F", &["<<EOF raw"]);
        check("<<\\EOF", &["<<EOF"]);
        check("<<\"E F\"", &["<<E F raw"]);
        check("cat << EOF", &["<<EOF"]);
        check("cat <<- 'EOF'", &["<<-EOF raw"]);
    }

    #[test]
    fn words_that_do_not() {
        check("cat<<EOF", &[]);
        check("cat <<<EOF", &[]);
        check("echo $((1<<2))", &[]);
        check("echo $((1 << n)) x", &[]);
        check("echo 1 << 2", &[]);
        check("<<", &[]);
        check("<<''", &[]);
        check("echo \"<<EOF\" '<<EOF'", &[]);
        check("echo it's <<EOF", &[]);
    }
}
