//! Flags against the table of what an instruction knows.

use crate::ast::Text;
use crate::ast::Word;
use crate::head::RawFlag;
use crate::sink::Sink;
use crate::source::Span;
use crate::suggest::nearest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--name=value`, once.
    Value,
    /// `--name=value`, any number of times.
    List,
    /// `--name` or `--name=true|false`, once.
    Boolean,
}

/// The flags of one instruction.
pub(crate) type Table = &'static [(&'static str, Kind)];

/// No flags at all.
pub(crate) const NONE: Table = &[];
/// FROM.
pub(crate) const FROM: Table = &[("platform", Kind::Value)];
/// RUN.
pub(crate) const RUN: Table =
    &[("mount", Kind::List), ("network", Kind::Value), ("security", Kind::Value), ("device", Kind::List)];
/// COPY.
pub(crate) const COPY: Table = &[
    ("from", Kind::Value),
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Boolean),
    ("parents", Kind::Boolean),
    ("exclude", Kind::List),
];
/// ADD.
pub(crate) const ADD: Table = &[
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Boolean),
    ("exclude", Kind::List),
    ("keep-git-dir", Kind::Boolean),
    ("checksum", Kind::Value),
    ("unpack", Kind::Boolean),
];
/// HEALTHCHECK.
pub(crate) const HEALTHCHECK: Table = &[
    ("interval", Kind::Value),
    ("timeout", Kind::Value),
    ("start-period", Kind::Value),
    ("start-interval", Kind::Value),
    ("retries", Kind::Value),
];

/// Flags whose empty value is the same as no flag.
const HAVE_DEFAULT: [&str; 11] = [
    "platform",
    "from",
    "chown",
    "chmod",
    "exclude",
    "checksum",
    "interval",
    "timeout",
    "start-period",
    "start-interval",
    "retries",
];

const ALL: [(&str, Table); 5] =
    [("FROM", FROM), ("RUN", RUN), ("COPY", COPY), ("ADD", ADD), ("HEALTHCHECK", HEALTHCHECK)];

/// Flags that passed the table. An instruction takes out what it knows.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    values: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
struct Value {
    text: String,
    span: Span,
}

impl Flags {
    /// Checks flags; every mistake is reported.
    pub(crate) fn check(instruction: &str, raw: &[RawFlag<'_>], table: Table, sink: &mut Sink) -> Flags {
        let mut flags = Flags::default();
        // Holds each name of the table once at most, however many flags there are.
        let mut seen: Vec<&str> = Vec::new();
        for flag in raw {
            let Some((name, kind)) = table.iter().find(|(name, _)| *name == flag.name).copied() else {
                let hint = unknown_hint(instruction, &flag.name, table);
                sink.error("UnknownFlag", flag.name_slice.span(), format!("unknown flag `--{}`", flag.name), hint);
                continue;
            };
            if kind != Kind::List && seen.contains(&name) {
                let message = format!("flag `--{name}` is given twice");
                sink.error("DuplicateFlag", flag.slice.span(), message, "remove all but one");
                continue;
            }
            if kind != Kind::List {
                seen.push(name);
            }
            if let Some(value) = value(flag, name, kind, sink) {
                flags.values.push((name, value));
            }
        }
        flags
    }

    /// A flag that is given at most once.
    pub(crate) fn word(&self, name: &str) -> Option<Word> {
        self.text(name).map(|text| Word { raw: text.value, span: text.span })
    }

    /// The same, taken literally.
    pub(crate) fn text(&self, name: &str) -> Option<Text> {
        self.all(name).next().map(|value| Text { value: value.text.clone(), span: value.span })
    }

    /// A flag that may be repeated.
    pub(crate) fn words(&self, name: &str) -> Vec<Word> {
        self.all(name).map(|value| Word { raw: value.text.clone(), span: value.span }).collect()
    }

    /// The same, taken literally.
    pub(crate) fn texts(&self, name: &str) -> Vec<Text> {
        self.all(name).map(|value| Text { value: value.text.clone(), span: value.span }).collect()
    }

    /// A yes or no, if given.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.all(name).next().map(|value| value.text == "true")
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }
}

fn value(flag: &RawFlag<'_>, name: &str, kind: Kind, sink: &mut Sink) -> Option<Value> {
    match (&flag.value, kind) {
        (None, Kind::Boolean) => Some(Value { text: "true".to_owned(), span: flag.slice.span() }),
        (None, Kind::Value | Kind::List) => {
            let message = format!("flag `--{name}` needs a value");
            sink.error("MissingFlagValue", flag.slice.span(), message, format!("write `--{name}=VALUE`"));
            None
        }
        // As docker's own builder has it: an empty value is none at all, where the flag has a default.
        (Some((text, _)), Kind::Value | Kind::List) if text.is_empty() && HAVE_DEFAULT.contains(&name) => None,
        (Some((text, _)), _) if text.is_empty() => {
            let message = format!("flag `--{name}` has an empty value");
            let hint = format!("write a value behind `--{name}=` or remove the flag");
            sink.error("MissingFlagValue", flag.slice.span(), message, hint);
            None
        }
        (Some((text, slice)), Kind::Boolean) => {
            let lower = text.to_ascii_lowercase();
            if lower == "true" || lower == "false" {
                return Some(Value { text: lower, span: slice.span() });
            }
            let message = format!("flag `--{name}` is true or false, not `{text}`");
            sink.error("InvalidFlagValue", slice.span(), message, format!("write `--{name}` or `--{name}=false`"));
            None
        }
        (Some((text, slice)), Kind::Value | Kind::List) => Some(Value { text: text.clone(), span: slice.span() }),
    }
}

fn unknown_hint(instruction: &str, name: &str, table: Table) -> String {
    if let Some(near) = nearest(name, table.iter().map(|(known, _)| *known)) {
        return format!("did you mean `--{near}`?");
    }
    let owners: Vec<&str> = ALL
        .into_iter()
        .filter(|(_, table)| table.iter().any(|(known, _)| *known == name))
        .map(|(owner, _)| owner)
        .collect();
    if !owners.is_empty() {
        return format!("`--{name}` is a flag of {}", owners.join(" and "));
    }
    if table.is_empty() {
        return format!("{instruction} has no flags; `--` ends the flags if the argument itself begins with `--`");
    }
    let known: Vec<String> = table.iter().map(|(known, _)| format!("`--{known}`")).collect();
    format!("{instruction} knows {}", known.join(", "))
}
