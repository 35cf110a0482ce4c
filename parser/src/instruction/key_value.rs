//! `ENV`, `LABEL` and `ARG`.
//!
//! ```text
//! pairs  = word "=" word { blank word "=" word } | word blank rest-of-line      (the second form is old)
//! arg    = name [ "=" default ] { blank name [ "=" default ] }
//! ```

use super::Line;
use super::descriptions;
use crate::ast::ArgDeclaration;
use crate::ast::ArgInstruction;
use crate::ast::KeyValues;
use crate::head::Head;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::words::is_blank;
use crate::words::open_quote;
use crate::words::quoted_words;
use std::ops::Range;

pub(super) fn pairs(line: Line<'_>, head: &Head<'_>, name: &str, sink: &mut Sink) -> Option<KeyValues> {
    super::no_flags(head, name, sink);
    let words = words(line, head);
    let Some(first) = words.first() else {
        super::missing(head, format!("{name} needs a key and a value"), format!("write `{name} KEY=VALUE`"), sink);
        return None;
    };
    if !first.text().contains('=') {
        return legacy(head, name, sink);
    }
    closed_quotes(line, head, sink)?;
    let mut pairs = Vec::with_capacity(words.len());
    let mut complete = true;
    let mut position = 0;
    while let Some(word) = words.get(position).copied() {
        let Some(equals) = word.text().find('=') else {
            complete = false;
            if word.text().starts_with('#') {
                // What follows is of the comment too.
                trailing_comment(head, word, name, sink);
                break;
            }
            let end = words[position..]
                .iter()
                .position(|word| word.text().contains('='))
                .map_or(words.len(), |count| position + count);
            position = stray(head, &words, position..end, sink);
            continue;
        };
        let key = word.part(0..equals);
        if is_empty(key) {
            blank_name(head, &words, position, name, sink);
            complete = false;
        }
        pairs.push((key.word(), word.part(equals + 1..word.text().len()).word()));
        position += 1;
    }
    complete.then_some(KeyValues { pairs, legacy: false })
}

pub(super) fn arg(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<ArgInstruction> {
    super::no_flags(head, "ARG", sink);
    let words = words(line, head);
    if words.is_empty() {
        let message = "ARG needs a name".to_owned();
        super::missing(head, message, "write `ARG NAME` or `ARG NAME=DEFAULT`", sink);
        return None;
    }
    closed_quotes(line, head, sink)?;
    let descriptions = descriptions(line.comments);
    let mut declarations = Vec::with_capacity(words.len());
    let mut complete = true;
    for (position, word) in words.iter().copied().enumerate() {
        let equals = word.text().find('=');
        let name = word.part(0..equals.unwrap_or(word.text().len()));
        if is_empty(name) {
            blank_name(head, &words, position, "ARG", sink);
            complete = false;
        }
        declarations.push(ArgDeclaration {
            name: name.literal(),
            default: equals.map(|equals| word.part(equals + 1..word.text().len()).word()),
            doc: descriptions.get(name.text()).copied().map(str::to_owned),
        });
    }
    complete.then_some(ArgInstruction { declarations, span: line.span })
}

/// Quotes that word processors and web pages make of `"` and `'`.
const TYPOGRAPHIC: [char; 6] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}'];

/// `KEY rest of the line`.
fn legacy(head: &Head<'_>, name: &str, sink: &mut Sink) -> Option<KeyValues> {
    let text = head.arguments.text();
    let Some(key_end) = text.find(is_blank) else {
        let hint = format!("write `{name} {text}=VALUE`; `{text}=` sets it to nothing");
        sink.error("MissingArgument", head.arguments.span(), format!("{name} needs a value for `{text}`"), hint);
        return None;
    };
    let key = head.arguments.part(0..key_end);
    let value = head.arguments.part(key_end..text.len()).trimmed();
    Some(KeyValues { pairs: vec![(key.word(), value.word())], legacy: true })
}

fn words<'a>(line: Line<'a>, head: &Head<'a>) -> Vec<Slice<'a>> {
    let ranges = quoted_words(head.arguments.text(), line.escape);
    ranges.into_iter().map(|range| head.arguments.part(range)).collect()
}

fn closed_quotes(line: Line<'_>, head: &Head<'_>, sink: &mut Sink) -> Option<()> {
    let Some(offset) = open_quote(head.arguments.text(), line.escape) else { return Some(()) };
    sink.error(
        "UnterminatedQuote",
        head.arguments.part(offset..offset + 1).span(),
        "quote is never closed",
        "close the quote, or put the escape character in front of it",
    );
    None
}

fn is_empty(key: Slice<'_>) -> bool {
    matches!(key.text(), "" | "\"\"" | "''")
}

/// Words without `=` that follow a pair, or nothing. Answers with the first word that is not dealt with.
fn stray(head: &Head<'_>, words: &[Slice<'_>], range: Range<usize>, sink: &mut Sink) -> usize {
    let (Some(first), Some(last)) = (words.get(range.start), words.get(range.end - 1)) else { return range.end };
    let next = words.get(range.end).filter(|next| next.text().starts_with('='));
    if let Some(next) = next {
        // The `=` is there, but stands alone.
        let value = words.get(range.end + 1).filter(|_| next.text() == "=").map_or("", |value| value.text());
        let written = format!("{}={}{value}", last.text(), &next.text()[1..]);
        let place = joined(head, *last, *next).span();
        let message = format!("no `=` in `{}`: blanks stand around it", last.text());
        sink.error("MissingEqualsSign", place, message, format!("write `{written}`"));
        return range.end + if value.is_empty() { 1 } else { 2 };
    }
    let surplus = joined(head, *first, *last);
    let text = surplus.text();
    let message = format!("no `=` in `{text}`");
    let before = range.start.checked_sub(1).and_then(|before| words.get(before));
    let before = before.and_then(|before| before.text().split_once('='));
    let own = match text.split_once(char::is_whitespace) {
        None => Some(format!("`{text}=VALUE`")).filter(|_| is_name(text)),
        Some((key, value)) => {
            let is_key = is_name(key) && !key.contains(|letter: char| letter.is_ascii_lowercase());
            Some(format!("`{key}={}`", value.trim())).filter(|_| is_key && range.len() == 2)
        }
    };
    let hint = match before {
        Some((key, value)) if value.contains(TYPOGRAPHIC) => {
            let value = format!("{value} {text}").replace(TYPOGRAPHIC, "");
            format!("typographic quotes do not quote: write `{key}=\"{value}\"`")
        }
        Some((key, "")) if range.len() == 1 => format!("write `{key}={text}` without a blank behind `=`"),
        Some((key, value)) => {
            let whole = format!("{value} {text}");
            let quoted = if whole.contains(['"', '\'', '\\']) {
                format!("put the whole value of `{key}` in quotes")
            } else {
                format!("write `{key}=\"{whole}\"`")
            };
            match own {
                Some(own) => format!("{quoted} if it belongs to that value, else {own}"),
                None => quoted,
            }
        }
        None => format!("write {}", own.unwrap_or_else(|| "`NAME=VALUE`".to_owned())),
    };
    sink.error("MissingEqualsSign", surplus.span(), message, hint);
    range.end
}

/// From the beginning of one word to the end of another.
fn joined<'a>(head: &Head<'a>, first: Slice<'a>, last: Slice<'a>) -> Slice<'a> {
    let start = head.arguments.range().start;
    head.arguments.part(first.range().start - start..last.range().end - start)
}

fn trailing_comment(head: &Head<'_>, word: Slice<'_>, name: &str, sink: &mut Sink) {
    let before = head.arguments.part(0..word.range().start - head.arguments.range().start).trimmed();
    let message = "`#` does not begin a comment here";
    let hint = format!("write `{name} {}` and give the comment a line of its own", before.text());
    sink.error("MissingEqualsSign", word.span(), message, hint);
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn blank_name(head: &Head<'_>, words: &[Slice<'_>], position: usize, name: &str, sink: &mut Sink) {
    let Some(word) = words.get(position) else { return };
    let before = position.checked_sub(1).and_then(|before| words.get(before));
    let hint = match before.filter(|before| is_name(before.text())) {
        Some(key) => {
            let value = words.get(position + 1).filter(|_| word.text() == "=").map_or("", |value| value.text());
            format!("write `{name} {}{}{value}` without blanks around `=`", key.text(), word.text())
        }
        None => format!("write `{name} NAME=VALUE`"),
    };
    let place = before.map_or(*word, |before| joined(head, *before, *word));
    sink.error("BlankName", place.span(), format!("a name of {name} is empty: nothing stands before `=`"), hint);
}
