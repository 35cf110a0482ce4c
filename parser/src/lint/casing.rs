//! Upper and lower case: ConsistentInstructionCasing, FromAsCasing, StageNameCasing.

use crate::instruction::NAMES;
use crate::joined::Slice;
use crate::sink::Sink;
use crate::source::Span;

/// The names of all known instructions as written.
#[derive(Debug, Default)]
pub(super) struct Casing {
    keywords: Vec<(String, Span)>,
}

impl Casing {
    /// Remembers an instruction's name.
    pub(super) fn keyword(&mut self, keyword: Slice<'_>) {
        if NAMES.iter().any(|name| keyword.text().eq_ignore_ascii_case(name)) {
            self.keywords.push((keyword.text().to_owned(), keyword.span()));
        }
    }

    /// Compares each with what most of them do; upper case wins a draw.
    pub(super) fn finish(self, sink: &mut Sink) {
        let lower = self.keywords.iter().filter(|(name, _)| is_lower(name)).count();
        let upper = self.keywords.iter().filter(|(name, _)| is_upper(name)).count();
        for (name, span) in &self.keywords {
            let (wanted, case) =
                if lower > upper { (name.to_ascii_lowercase(), "lower") } else { (name.to_ascii_uppercase(), "upper") };
            if *name != wanted {
                let message = format!("`{name}` does not match the case of most instructions ({case} case)");
                sink.warning("ConsistentInstructionCasing", *span, message, format!("write `{wanted}`"));
            }
        }
    }
}

/// `AS` should be written like its `FROM`.
pub(super) fn as_keyword(from: Slice<'_>, keyword: Slice<'_>, sink: &mut Sink) {
    let wanted = if is_upper(from.text()) {
        "AS"
    } else if is_lower(from.text()) {
        "as"
    } else {
        return;
    };
    if keyword.text() != wanted {
        let message = format!("`{}` does not match the case of `{}`", keyword.text(), from.text());
        sink.warning("FromAsCasing", keyword.span(), message, format!("write `{wanted}`"));
    }
}

/// Names of stages should be in lower case.
pub(super) fn stage_name(name: Slice<'_>, sink: &mut Sink) {
    let lower = name.text().to_lowercase();
    if name.text() != lower {
        let message = format!("stage name `{}` should be in lower case", name.text());
        sink.warning("StageNameCasing", name.span(), message, format!("write `{lower}`"));
    }
}

fn is_lower(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_upper(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase())
}
