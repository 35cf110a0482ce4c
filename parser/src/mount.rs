//! The value of `RUN --mount=`: options separated by commas, as in a line of CSV.
//!
//! ```text
//! mount  = option { "," option }
//! option = plain | '"' { any but '"' | '""' } '"'
//! plain  = { any but "," and '"' }
//! key    = the part before "=", or all of it; letters of any case, aliases allowed
//! ```
//! The quotes are those that the flag's own quoting left: in a Dockerfile they are written `\"`.

use crate::ast::Word;
use crate::source::Span;
use crate::suggest::nearest;

/// What an option is about. Aliases mean the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountKey {
    /// `type`.
    Type,
    /// `from`.
    From,
    /// `source`, `src`.
    Source,
    /// `target`, `dst`, `destination`.
    Target,
    /// `readonly`, `ro`.
    ReadOnly,
    /// `readwrite`, `rw`.
    ReadWrite,
    /// `id`.
    Id,
    /// `sharing`.
    Sharing,
    /// `size`.
    Size,
    /// `env`.
    Env,
    /// `required`.
    Required,
    /// `mode`.
    Mode,
    /// `uid`.
    Uid,
    /// `gid`.
    Gid,
}

const KEYS: [(&str, MountKey); 19] = [
    ("type", MountKey::Type),
    ("from", MountKey::From),
    ("source", MountKey::Source),
    ("src", MountKey::Source),
    ("target", MountKey::Target),
    ("dst", MountKey::Target),
    ("destination", MountKey::Target),
    ("readonly", MountKey::ReadOnly),
    ("ro", MountKey::ReadOnly),
    ("readwrite", MountKey::ReadWrite),
    ("rw", MountKey::ReadWrite),
    ("id", MountKey::Id),
    ("sharing", MountKey::Sharing),
    ("size", MountKey::Size),
    ("env", MountKey::Env),
    ("required", MountKey::Required),
    ("mode", MountKey::Mode),
    ("uid", MountKey::Uid),
    ("gid", MountKey::Gid),
];

/// One option of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOption {
    /// What it is about.
    pub key: MountKey,
    /// The key as written.
    pub name: String,
    /// What stands behind `=`, unexpanded; `None` for a bare key.
    pub value: Option<Word>,
    /// All of it.
    pub span: Span,
}

/// A mount whose options cannot be told apart, or that has an unknown one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountMistake {
    /// A code for the finding.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The option.
    pub span: Span,
}

/// The options of a mount in order, and everything that is wrong with how they are written.
pub fn options(word: &Word) -> (Vec<MountOption>, Vec<MountMistake>) {
    let (mut options, mut mistakes): (Vec<MountOption>, Vec<MountMistake>) = (Vec::new(), Vec::new());
    let mut rest = 0;
    loop {
        let field = match field(&word.raw, rest) {
            Ok(field) => field,
            Err(Malformed { at, reason }) => {
                mistakes.push(MountMistake {
                    code: "InvalidMount",
                    message: format!("mount options `{}` cannot be read: {reason}", word.raw),
                    hint: Some("an option with commas is written `\\\"key=value\\\"`".to_owned()),
                    span: part(word, at, word.raw.len()),
                });
                return (options, mistakes);
            }
        };
        let span = part(word, field.start, field.end);
        match option(word, &field, span) {
            Ok(option) => match options.iter().find(|known| known.key == option.key) {
                Some(known) => mistakes.push(MountMistake {
                    code: "DuplicateMountOption",
                    message: if known.name == option.name {
                        format!("mount option `{}` is given twice", option.name)
                    } else {
                        format!("mount option `{}` is given twice, before as `{}`", option.name, known.name)
                    },
                    hint: Some("remove all but one".to_owned()),
                    span,
                }),
                None => options.push(option),
            },
            Err(mistake) => mistakes.push(mistake),
        }
        match field.next {
            Some(next) => rest = next,
            None => return (options, mistakes),
        }
    }
}

struct Field {
    text: String,
    /// Its place in the raw text, quotes included.
    start: usize,
    end: usize,
    /// Whether offsets in `text` are offsets in the raw text.
    exact: bool,
    next: Option<usize>,
}

struct Malformed {
    at: usize,
    reason: &'static str,
}

fn field(raw: &str, start: usize) -> Result<Field, Malformed> {
    let rest = &raw[start..];
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = start + rest.find(',').unwrap_or(rest.len());
        let text = &raw[start..end];
        if let Some(quote) = text.find('"') {
            return Err(Malformed { at: start + quote, reason: "a quote must enclose the whole option" });
        }
        let next = (end < raw.len()).then_some(end + 1);
        return Ok(Field { text: text.to_owned(), start, end, exact: true, next });
    };
    let mut text = String::new();
    let mut at = start + 1;
    let mut letters = quoted.chars().peekable();
    while let Some(letter) = letters.next() {
        at += letter.len_utf8();
        if letter != '"' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('"') => {
                text.push('"');
                at += 1;
            }
            Some(',') => return Ok(Field { text, start, end: at, exact: false, next: Some(at + 1) }),
            None => return Ok(Field { text, start, end: at, exact: false, next: None }),
            Some(_) => return Err(Malformed { at, reason: "behind a closing quote comes a comma" }),
        }
    }
    Err(Malformed { at: start, reason: "a quote is never closed" })
}

fn option(word: &Word, field: &Field, span: Span) -> Result<MountOption, MountMistake> {
    let (name, value) = match field.text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (field.text.as_str(), None),
    };
    let lower = name.to_ascii_lowercase();
    let Some((_, key)) = KEYS.into_iter().find(|(known, _)| *known == lower) else {
        let (message, hint) = if field.text.is_empty() {
            (
                "an option of the mount is empty".to_owned(),
                Some("remove the comma, or the blank behind it: all options are one word".to_owned()),
            )
        } else {
            let near = nearest(name, KEYS.iter().map(|(known, _)| *known));
            (format!("`{name}` is not an option of mounts"), near.map(|near| format!("did you mean `{near}`?")))
        };
        return Err(MountMistake { code: "UnknownMountOption", message, hint, span });
    };
    let value_start = field.start + name.len() + 1;
    let value = value.map(|value| Word {
        raw: value.to_owned(),
        span: if field.exact { part(word, value_start, field.end) } else { span },
    });
    let may_be_bare = matches!(key, MountKey::ReadOnly | MountKey::ReadWrite | MountKey::Required);
    if value.as_ref().is_none_or(|value| value.raw.is_empty()) && !(may_be_bare && value.is_none()) {
        let message = format!("mount option `{name}` needs a value");
        return Err(MountMistake {
            code: "MissingMountValue",
            message,
            hint: Some(format!("write `{lower}=VALUE`")),
            span,
        });
    }
    Ok(MountOption { key, name: name.to_owned(), value, span })
}

/// A range of the raw text as a place in the file; the whole word where quotes or continuations make that unknown.
fn part(word: &Word, start: usize, end: usize) -> Span {
    let length = word.span.end.saturating_sub(word.span.start);
    let exact = u32::try_from(word.raw.len()).is_ok_and(|raw| raw == length);
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) if exact && start <= end => {
            Span { start: word.span.start + start, end: word.span.start + end }
        }
        _ => word.span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> (Vec<(MountKey, Option<String>)>, Vec<&'static str>) {
        let word = Word { raw: raw.to_owned(), span: Span::new(100, 100 + raw.len()) };
        let (options, mistakes) = options(&word);
        for option in &options {
            let (start, end) = (option.span.start as usize - 100, option.span.end as usize - 100);
            assert!(raw[start..end].contains(&option.name), "{raw}");
        }
        let options = options.into_iter().map(|option| (option.key, option.value.map(|value| value.raw)));
        (options.collect(), mistakes.into_iter().map(|mistake| mistake.code).collect())
    }

    #[test]
    fn options_keys_and_quotes() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("type=bind,SRC=a,\"target=/x,y\"\"z\",ro"),
            (
                vec![
                    (MountKey::Type, text("bind")),
                    (MountKey::Source, text("a")),
                    (MountKey::Target, text("/x,y\"z")),
                    (MountKey::ReadOnly, None),
                ],
                vec![]
            )
        );
        assert_eq!(read("target=/a=b,required=false").0[0], (MountKey::Target, text("/a=b")));
        for (raw, code) in [
            ("", "UnknownMountOption"),
            ("target=/a,", "UnknownMountOption"),
            ("target=/a,lowerdir=/", "UnknownMountOption"),
            ("bind-propagation=suid", "UnknownMountOption"),
            ("target", "MissingMountValue"),
            ("target=", "MissingMountValue"),
            ("ro=", "MissingMountValue"),
            ("target=/a,dst=/b", "DuplicateMountOption"),
            ("\"target=/a", "InvalidMount"),
            ("\"target=/a\"x", "InvalidMount"),
            ("tar\"get=/a", "InvalidMount"),
        ] {
            assert_eq!(read(raw).1, [code], "{raw}");
        }
    }
}
