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
    for word in words {
        let Some(equals) = word.text().find('=') else {
            let text = word.text();
            if text.starts_with('#') {
                // What follows is of the comment too.
                sink.error(
                    "MissingEqualsSign",
                    word.span(),
                    format!("no `=` in `{text}`"),
                    "a comment needs a line of its own",
                );
                complete = false;
                break;
            }
            let hint =
                format!("write `{text}=VALUE`, or put the whole value in quotes if it belongs to the word before");
            sink.error("MissingEqualsSign", word.span(), format!("no `=` in `{text}`"), hint);
            complete = false;
            continue;
        };
        let key = word.part(0..equals);
        if is_empty(key) {
            blank_name(word, name, sink);
            complete = false;
        }
        pairs.push((key.word(), word.part(equals + 1..word.text().len()).word()));
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
    for word in words {
        let equals = word.text().find('=');
        let name = word.part(0..equals.unwrap_or(word.text().len()));
        if is_empty(name) {
            blank_name(word, "ARG", sink);
            complete = false;
        }
        declarations.push(ArgDeclaration {
            name: name.word(),
            default: equals.map(|equals| word.part(equals + 1..word.text().len()).word()),
            doc: descriptions.get(name.text()).copied().map(str::to_owned),
        });
    }
    complete.then_some(ArgInstruction { declarations, span: line.span })
}

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

fn blank_name(word: Slice<'_>, name: &str, sink: &mut Sink) {
    let message = format!("a name of {name} is empty");
    sink.error("BlankName", word.span(), message, format!("write `{name} NAME=VALUE` without blanks around `=`"));
}
