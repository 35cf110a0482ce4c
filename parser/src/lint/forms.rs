//! Old and doubtful forms: JSONArgsRecommended, MaintainerDeprecated, LegacyKeyValueFormat, JsonLookingShellForm.

use crate::ast::CommandLine;
use crate::ast::Instruction;
use crate::ast::KeyValues;
use crate::joined::Slice;
use crate::json;
use crate::json::Json;
use crate::sink::Sink;

/// Forms the language only keeps for old files.
pub(super) fn deprecated(instruction: &Instruction, keyword: Slice<'_>, sink: &mut Sink) {
    match instruction {
        Instruction::Maintainer(name) => {
            let hint =
                format!("write `LABEL org.opencontainers.image.authors=\"{}\"`", name.value.replace('"', "\\\""));
            sink.warning("MaintainerDeprecated", keyword.span(), "MAINTAINER is deprecated", hint);
        }
        Instruction::Env(pairs) | Instruction::Label(pairs) => legacy(pairs, keyword, sink),
        _ => {}
    }
}

/// A command in shell form never gets the signals its container gets.
pub(super) fn json_recommended(instruction: &Instruction, keyword: Slice<'_>, sink: &mut Sink) {
    let (Instruction::Cmd(CommandLine::Shell(text)) | Instruction::Entrypoint(CommandLine::Shell(text))) = instruction
    else {
        return;
    };
    if text.trim_start().starts_with('[') && looks_like_json(text) {
        // Already said, and better, by `JsonLookingShellForm`.
        return;
    }
    let name = keyword.text().to_ascii_uppercase();
    let message = format!("{name} in shell form: the shell keeps signals from the command");
    let hint = format!("write `{name} [\"PROGRAM\", \"ARGUMENT\"]`, or set SHELL to say that the shell is meant");
    sink.warning("JSONArgsRecommended", keyword.span(), message, hint);
}

/// Says so if a command that fell back to shell form was most likely meant as a JSON array.
///
/// `array_end` is where a valid array ends that something else follows.
pub(crate) fn json_looking(arguments: Slice<'_>, array_end: Option<usize>, sink: &mut Sink) {
    let text = arguments.text();
    if array_end.is_none() && !looks_like_json(text) {
        return;
    }
    let array = array_end.and_then(|end| text.get(..end));
    let behind = array_end.and_then(|end| text.get(end..)).map_or("", str::trim);
    // `[ "$x" ] && y` is a valid array with something behind it, and a test of the shell.
    if array.is_some() && !behind.starts_with('#') && !looks_like_json(text) {
        return;
    }
    let hint = match array {
        Some(array) if behind.starts_with('#') => format!("write `{array}` and give the comment a line of its own"),
        Some(array) => format!("nothing may follow the array: write `{array}`"),
        None => match repaired(text) {
            Some(array) => format!("write `{array}`: strings in double quotes, commas between them"),
            None => "write `[\"PROGRAM\", \"ARGUMENT\"]`: strings in double quotes, commas between them".to_owned(),
        },
    };
    let message = "looks like a JSON array but is none, so it runs in the shell";
    sink.warning("JsonLookingShellForm", arguments.span(), message, hint);
}

/// The array that was most likely meant.
fn repaired(text: &str) -> Option<String> {
    let inside = text.trim().strip_prefix('[')?;
    let inside = inside.strip_suffix(']').unwrap_or(inside);
    let inside =
        &inside.replace(['\u{201c}', '\u{201d}', '\u{201e}'], "\"").replace(['\u{2018}', '\u{2019}', '\u{201a}'], "'");
    let separator = |letter: char| if inside.contains(',') { letter == ',' } else { letter.is_whitespace() };
    let mut quote = None;
    let mut items = vec![String::new()];
    for letter in inside.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, _) if separator(letter) => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(letter);
        }
    }
    let strings = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).map(|item| {
        let bare = item.trim_matches(['\'', '"']);
        if item.starts_with('"') { format!("\"{bare}\"") } else { format!("\"{}\"", bare.replace('"', "\\\"")) }
    });
    let array = format!("[{}]", strings.collect::<Vec<_>>().join(", "));
    matches!(json::parse(&array), Json::Strings(strings) if !strings.is_empty()).then_some(array)
}

fn legacy(pairs: &KeyValues, keyword: Slice<'_>, sink: &mut Sink) {
    let Some((key, value)) = pairs.pairs.first().filter(|_| pairs.legacy) else { return };
    let name = keyword.text().to_ascii_uppercase();
    let Some(modern) = modern(&name, pairs) else { return };
    let mut message = format!("`{name} KEY VALUE` is an old form");
    let mut hint = format!("write `{modern}`");
    if value.raw.starts_with('=') {
        message = format!("{message}: the value of `{}` is `{}`", key.raw, value.raw);
        hint = format!("{hint} without blanks around `=`");
    }
    sink.warning("LegacyKeyValueFormat", key.span, message, hint);
}

/// The old form `KEY value with blanks` as it is written today.
pub(super) fn modern(name: &str, pairs: &KeyValues) -> Option<String> {
    let (key, value) = pairs.pairs.first()?;
    // A comment at the end is not meant to become a value for good, nor is a `=` between blanks.
    let written = value.raw.split(" #").next().unwrap_or_default().trim_end();
    let written = written.strip_prefix('=').map_or(written, str::trim_start);
    if written.contains(char::is_whitespace) && !written.starts_with(['"', '\'']) {
        return Some(format!("{name} {}=\"{}\"", key.raw, written.replace('"', "\\\"")));
    }
    Some(format!("{name} {}={written}", key.raw))
}

/// Tells a broken array from the shell's own `[ -f x ]` and `[[ ... ]]`: those need a blank or a bracket behind the first one,
/// and no comma behind a string.
fn looks_like_json(text: &str) -> bool {
    let Some(inside) = text.trim_start().strip_prefix('[') else { return false };
    let content = inside.trim_start();
    if content.len() == inside.len() {
        return !inside.is_empty() && !inside.starts_with('[');
    }
    let Some(quote) = content.chars().next().filter(|letter| matches!(letter, '"' | '\'')) else { return false };
    let Some((_, behind)) = content[1..].split_once(quote) else { return false };
    behind.trim_start().starts_with(',')
}
