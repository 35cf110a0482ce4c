//! Template text into tokens: text as it is, and what stands between `{{` and `}}`.

use super::TemplateError;

/// A token, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    /// Blanks stand before it: `(x).A` is not `(x) .A`.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Text outside of actions.
    Literal(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `if`, `join`, `true`
    Word(String),
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$name`, without the sign
    Variable(String),
    /// A quoted text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
}

/// Cuts a template into tokens.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < text.len() {
        let rest = &text[at..];
        let open = rest.find("{{");
        let literal = &rest[..open.unwrap_or(rest.len())];
        let inside = open.map(|open| &rest[open + 2..]);
        let trims =
            inside.is_some_and(|inside| inside.starts_with('-') && inside[1..].starts_with([' ', '\t', '\n', '\r']));
        let mut shown = literal;
        if trim {
            shown = shown.trim_start_matches([' ', '\t', '\n', '\r']);
        }
        if trims {
            shown = shown.trim_end_matches([' ', '\t', '\n', '\r']);
        }
        if !shown.is_empty() {
            tokens.push(Token { kind: Kind::Literal(shown.to_owned()), at, spaced: false });
        }
        let Some(open) = open else { break };
        let start = at + open;
        at = start + 2 + usize::from(trims);
        let body = &text[at..];
        let comment = body.trim_start_matches([' ', '\t', '\n', '\r']);
        if comment.starts_with("/*") {
            let end = comment.find("*/").ok_or_else(|| unclosed(start, "comment"))?;
            let after = &comment[end + 2..];
            let close = after.find("}}").ok_or_else(|| unclosed(start, "action"))?;
            trim = after[..close].trim_start().starts_with('-');
            at = text.len() - after.len() + close + 2;
            continue;
        }
        tokens.push(Token { kind: Kind::Open, at: start, spaced: false });
        (at, trim) = action(text, at, start, &mut tokens)?;
    }
    Ok(tokens)
}

fn unclosed(at: usize, what: &'static str) -> TemplateError {
    TemplateError::Syntax { at, reason: format!("the {what} is not closed") }
}

/// The tokens up to the end of an action; answers where the text goes on, and whether its blanks go.
fn action(text: &str, mut at: usize, start: usize, tokens: &mut Vec<Token>) -> Result<(usize, bool), TemplateError> {
    let mut spaced = false;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(unclosed(start, "action")) };
        if spaced && rest.starts_with("-}}") {
            tokens.push(Token { kind: Kind::Close, at, spaced });
            return Ok((at + 3, true));
        }
        if rest.starts_with("}}") {
            tokens.push(Token { kind: Kind::Close, at, spaced });
            return Ok((at + 2, false));
        }
        if first.is_whitespace() {
            spaced = true;
            at += first.len_utf8();
            continue;
        }
        let word = |from: usize| {
            let end = rest[from..].find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            &rest[from..end.map_or(rest.len(), |end| from + end)]
        };
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::Left, 1),
            ')' => (Kind::Right, 1),
            ',' => (Kind::Comma, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            '.' if word(1).is_empty() => (Kind::Dot, 1),
            '.' => (Kind::Field(word(1).to_owned()), 1 + word(1).len()),
            '$' => (Kind::Variable(word(1).to_owned()), 1 + word(1).len()),
            '"' => quoted(rest, at)?,
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| unclosed(at, "quoted text"))?;
                (Kind::Text(rest[1..=end].to_owned()), end + 2)
            }
            '0'..='9' | '+' | '-' => number(rest, at)?,
            letter if letter.is_alphabetic() || letter == '_' => (Kind::Word(word(0).to_owned()), word(0).len()),
            other => {
                return Err(TemplateError::Syntax { at, reason: format!("`{other}` is not expected in an action") });
            }
        };
        tokens.push(Token { kind, at, spaced });
        spaced = false;
        at += length;
    }
}

fn quoted(rest: &str, at: usize) -> Result<(Kind, usize), TemplateError> {
    let mut out = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return Ok((Kind::Text(out), index + 1)),
            '\n' => break,
            '\\' => match letters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, other @ ('"' | '\\' | '\''))) => out.push(other),
                Some((_, other)) => {
                    return Err(TemplateError::Syntax {
                        at,
                        reason: format!("`\\{other}` is no escape of a quoted text"),
                    });
                }
                None => break,
            },
            other => out.push(other),
        }
    }
    Err(unclosed(at, "quoted text"))
}

fn number(rest: &str, at: usize) -> Result<(Kind, usize), TemplateError> {
    let end = rest[1..]
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')
        .map_or(rest.len(), |end| end + 1);
    let text = &rest[..end];
    let kind = text.parse().map(Kind::Int).or_else(|_| text.parse().map(Kind::Float));
    kind.map(|kind| (kind, end)).map_err(|_| TemplateError::Syntax { at, reason: format!("`{text}` is not a number") })
}
