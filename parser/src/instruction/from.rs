//! `FROM [--platform=P] IMAGE [AS NAME]`.

use super::Line;
use super::descriptions;
use super::flags;
use crate::ast::From;
use crate::ast::Text;
use crate::head::Head;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::words::blank_words;

/// A FROM and the parts of it only the casing checks look at.
#[derive(Debug)]
pub(super) struct FromLine<'a> {
    pub(super) from: Option<From>,
    pub(super) as_keyword: Option<Slice<'a>>,
    pub(super) name: Option<Slice<'a>>,
}

pub(super) fn parse<'a>(line: Line<'a>, head: &Head<'a>, sink: &mut Sink) -> FromLine<'a> {
    let mut result = FromLine { from: None, as_keyword: None, name: None };
    let flags = super::flags(head, "FROM", flags::FROM, sink);
    let words: Vec<Slice<'a>> =
        blank_words(head.arguments.text()).into_iter().map(|range| head.arguments.part(range)).collect();
    let (base, alias) = match words.as_slice() {
        [] => {
            let message = "FROM needs an image".to_owned();
            super::missing(head, message, "write `FROM IMAGE` or `FROM scratch`", sink);
            return result;
        }
        [base] => (*base, None),
        [base, keyword, name] if keyword.text().eq_ignore_ascii_case("as") => (*base, Some((*keyword, *name))),
        [_, keyword] if keyword.text().eq_ignore_ascii_case("as") => {
            let message = "a stage name is missing behind `AS`";
            sink.error("MissingArgument", keyword.span(), message, "write `FROM IMAGE AS NAME`");
            return result;
        }
        [_, keyword, _, surplus, ..] if keyword.text().eq_ignore_ascii_case("as") => {
            excess(head, *surplus, None, sink);
            return result;
        }
        [base, surplus, rest @ ..] => {
            excess(head, *surplus, Some(*base).filter(|_| rest.is_empty()), sink);
            return result;
        }
    };
    let name = alias.map(|(keyword, name)| {
        result.as_keyword = Some(keyword);
        result.name = Some(name);
        Text { value: name.text().to_lowercase(), span: name.span() }
    });
    if let Some(name) = name.as_ref().filter(|name| !is_stage_name(&name.value)) {
        sink.error(
            "InvalidStageName",
            name.span,
            format!("`{}` cannot be the name of a stage", name.value),
            "begin with a letter; go on with letters, digits, `-`, `_` and `.`",
        );
    }
    result.from = Some(From {
        platform: flags.word("platform"),
        base: base.word(),
        doc: result.name.and_then(|name| descriptions(line.comments).get(name.text()).copied().map(str::to_owned)),
        name,
        span: line.span,
        text: line.slice.text().to_owned(),
        check: super::check_comment(line.comments_directly_above),
    });
    result
}

/// A word too many. `base` is the image if there are two words in all.
fn excess(head: &Head<'_>, surplus: Slice<'_>, base: Option<Slice<'_>>, sink: &mut Sink) {
    let text = surplus.text();
    if text.starts_with('#') {
        let before = head.arguments.part(0..surplus.range().start - head.arguments.range().start).trimmed();
        let hint = format!("write `FROM {}` and give the comment a line of its own", before.text());
        sink.error("UnexpectedArgument", surplus.span(), "`#` does not begin a comment here", hint);
        return;
    }
    let hint = match base.map(Slice::text) {
        Some(base) if text.starts_with("--") => format!("flags stand before the image: write `FROM {text} {base}`"),
        Some(base) if is_stage_name(&text.to_lowercase()) => {
            let named = format!("write `FROM {base} AS {text}` to name the stage");
            if is_untagged(base) { format!("{named}, or `FROM {base}:{text}` for a tag") } else { named }
        }
        Some(base) if text.starts_with(|letter: char| letter.is_ascii_digit()) && is_untagged(base) => {
            format!("write `FROM {base}:{text}` for a tag")
        }
        _ => "write `FROM IMAGE` or `FROM IMAGE AS NAME`".to_owned(),
    };
    sink.error("UnexpectedArgument", surplus.span(), format!("unexpected `{text}`"), hint);
}

fn is_untagged(base: &str) -> bool {
    !base.contains(['@', '$']) && !base.rsplit('/').next().unwrap_or_default().contains(':')
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.'))
}
