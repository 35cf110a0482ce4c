//! TrailingComment: `#` begins a comment only where a line begins; elsewhere it is a part of the value.

use crate::ast::CopySource;
use crate::ast::Instruction;
use crate::ast::Word;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::source::Span;

/// Looks for a comment that has become a value.
pub(super) fn trailing(instruction: &Instruction, line: Slice<'_>, sink: &mut Sink) {
    let found = match instruction {
        Instruction::Workdir(word) | Instruction::User(word) => inside(word),
        Instruction::Env(pairs) | Instruction::Label(pairs) if pairs.legacy => {
            pairs.pairs.first().and_then(|(_, value)| inside(value))
        }
        Instruction::Arg(arg) => {
            let mut names = arg.declarations.iter().map(|declaration| &declaration.name);
            names.find(|name| name.value.starts_with('#')).map(|name| name.span.start)
        }
        Instruction::Volume(words) => words.iter().find(|word| word.raw.starts_with('#')).map(|word| word.span.start),
        Instruction::Copy(copy) => lone(&copy.paths.sources),
        Instruction::Add(add) => lone(&add.paths.sources),
        _ => None,
    };
    let Some(start) = found else { return };
    let text = line.text();
    let end = line.span().end;
    // Continuations make offsets meaningless; a line with a comment at its end has none.
    let written = usize::try_from(start.saturating_sub(line.span().start)).unwrap_or(usize::MAX);
    let corrected = text.get(..written).filter(|_| text.len() == length(line.span())).map(str::trim_end);
    let hint = match (corrected, instruction) {
        // The old form has a warning of its own: both ask for the same.
        (Some(corrected), Instruction::Env(pairs) | Instruction::Label(pairs)) if pairs.legacy => {
            let name = corrected.split_whitespace().next().unwrap_or_default();
            let modern = super::forms::modern(name, pairs).unwrap_or_else(|| corrected.to_owned());
            format!("write `{modern}` and give the comment a line of its own")
        }
        (Some(corrected), _) => format!("write `{corrected}` and give the comment a line of its own"),
        (None, _) => "give the comment a line of its own".to_owned(),
    };
    let message = "`#` does not begin a comment here: this text is part of the value";
    sink.warning("TrailingComment", Span { start, end: end.max(start) }, message, hint);
}

/// A file may be called `#x`, but hardly `#`.
fn lone(sources: &[CopySource]) -> Option<u32> {
    sources.iter().find_map(|source| match source {
        CopySource::Path(word) if word.raw == "#" => Some(word.span.start),
        CopySource::Path(_) | CopySource::Heredoc(_) => None,
    })
}

/// A `#` behind a blank, outside of quotes.
fn inside(word: &Word) -> Option<u32> {
    let mut quote = None;
    let mut before = 'x';
    for (offset, letter) in word.raw.char_indices() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, '#') if before.is_whitespace() => {
                let exact = word.raw.len() == length(word.span);
                return Some(word.span.start + u32::try_from(offset).ok().filter(|_| exact).unwrap_or(0));
            }
            _ => {}
        }
        before = letter;
    }
    None
}

fn length(span: Span) -> usize {
    usize::try_from(span.end.saturating_sub(span.start)).unwrap_or(0)
}
