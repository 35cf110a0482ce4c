//! Why a step was not found in the cache.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use super::files::FileChanges;

/// The root cause of a miss. Shown as one line of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// No earlier build of this project had the step's stage.
    FirstBuild,
    /// Earlier builds of this stage had no such step.
    NewStep,
    /// An earlier build had the step, and it never ended well.
    NeverFinished,
    /// The cache was not to be used.
    NoCache,
    /// What it is made on, or of, is new.
    Parent {
        /// The vertex.
        vertex: u32,
        /// How it is shown.
        name: String,
    },
    /// What the instruction does changed.
    Field {
        /// What: `command`, `user`, `--chmod`.
        what: String,
        /// Its value before; `None` if it is new.
        was: Option<String>,
        /// Its value now; `None` if it is gone.
        is: Option<String>,
    },
    /// A variable that the step sees changed.
    Variable {
        /// Where it comes from.
        source: VariableSource,
        /// Its name.
        name: String,
        /// Its value before; `None` if it is new, or better not shown.
        was: Option<String>,
        /// Its value now; `None` if it is gone, or better not shown.
        is: Option<String>,
        /// What happened to it.
        change: Change,
    },
    /// A `RUN --mount` changed.
    Mount {
        /// Which: `cache /root/.cache`.
        mount: String,
        /// How: `is new`, `is gone`, `required is new`, `source /b, was /a`.
        what: String,
    },
    /// Files of a build context changed.
    Files {
        /// What was taken, as written: `COPY src/`.
        taken: String,
        /// What changed.
        changes: FileChanges,
    },
    /// Files that are mounted or copied from a build context changed; nothing more is known.
    Content {
        /// What was taken, as written.
        taken: String,
    },
    /// The image or the stage it is made on is another one.
    Base {
        /// Its name now.
        image: String,
        /// Its digest before; its name if that was another.
        was: String,
        /// Its digest now, or its name.
        is: String,
    },
    /// The image or the stage that files are taken from is another one.
    From {
        /// Its name now.
        image: String,
        /// Its digest before; its name if that was another.
        was: String,
        /// Its digest now, or its name.
        is: String,
    },
    /// What it is made on has one step more or less, or in another order.
    Above {
        /// The instruction of that step.
        instruction: String,
        /// Whether it came or went, or stands elsewhere (`changed`).
        change: Change,
    },
    /// A step above it was found, and is not the one that it was.
    Another {
        /// The vertex.
        vertex: u32,
        /// How it is shown.
        name: String,
        /// What changed there.
        because: Option<Box<Cause>>,
    },
    /// A file or a commit on the network changed.
    Remote {
        /// Where, without credentials.
        url: String,
    },
    /// Nothing changed: the result was removed.
    Evicted {
        /// When, in seconds since 1970.
        seconds: i64,
        /// How long ago, as text: `2 d ago`.
        ago: String,
        /// Why: `to stay under 20GB`.
        reason: String,
    },
    /// Nothing changed: the result, or a layer of it, is no longer there.
    Gone,
    /// Something changed that is not recorded.
    Unknown,
}

/// What set a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableSource {
    /// ARG.
    Arg,
    /// ENV, or the base image.
    Env,
}

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

impl Cause {
    /// What changed is above the step.
    pub fn is_parent(&self) -> bool {
        matches!(self, Cause::Parent { .. })
    }
}

/// Longest value that a cause shows.
const SHOWN: usize = 60;

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::FirstBuild => formatter.write_str("first build here"),
            Cause::NewStep => formatter.write_str("new step"),
            Cause::NeverFinished => formatter.write_str("it did not finish before"),
            Cause::NoCache => formatter.write_str("--no-cache"),
            Cause::Parent { name, .. } => write!(formatter, "after {}", place(name)),
            Cause::Field { what, was, is } => changed(formatter, what, was.as_deref(), is.as_deref()),
            Cause::Variable { source, name, was, is, change } => {
                let source = match source {
                    VariableSource::Arg => "ARG",
                    VariableSource::Env => "ENV",
                };
                match change {
                    Change::Added => write!(formatter, "{source} {name} is new"),
                    Change::Removed => write!(formatter, "{source} {name} is gone"),
                    Change::Changed => changed(formatter, &format!("{source} {name}"), was.as_deref(), is.as_deref()),
                }
            }
            Cause::Mount { mount, what } => write!(formatter, "mount {mount}: {what}"),
            Cause::Files { taken, changes } => write!(formatter, "{taken}: {changes}"),
            Cause::Content { taken } => write!(formatter, "{taken}: files changed"),
            Cause::Base { image, was, is } => moved(formatter, "base", image, was, is),
            Cause::From { image, was, is } => moved(formatter, "--from", image, was, is),
            Cause::Above { instruction, change } => {
                let instruction = shortened(instruction);
                match change {
                    Change::Added => write!(formatter, "a step before it is new: {instruction}"),
                    Change::Removed => write!(formatter, "a step before it is gone: {instruction}"),
                    Change::Changed => write!(formatter, "the steps before it are in another order: {instruction}"),
                }
            }
            Cause::Another { name, because: None, .. } => write!(formatter, "{} is another than before", place(name)),
            Cause::Another { name, because: Some(cause), .. } => {
                write!(formatter, "{} is another: {cause}", place(name))
            }
            Cause::Remote { url } => write!(formatter, "{url} changed"),
            Cause::Evicted { ago, reason, .. } => write!(formatter, "evicted {ago} {reason}"),
            Cause::Gone => formatter.write_str("its result is no longer in the store"),
            Cause::Unknown => formatter.write_str("something changed that is not recorded"),
        }
    }
}

/// Another image, or the same name for another image.
fn moved(formatter: &mut fmt::Formatter<'_>, what: &str, image: &str, was: &str, is: &str) -> fmt::Result {
    if is == image {
        return write!(formatter, "{what} is {is}, was {was}");
    }
    write!(formatter, "{what} {image} moved: {} -> {}", short_digest(was), short_digest(is))
}

/// Enough of a digest to tell it from others.
fn short_digest(digest: &str) -> &str {
    const DIGITS: usize = 12;
    match digest.find(':') {
        Some(colon) => digest.get(..colon + 1 + DIGITS).unwrap_or(digest),
        None => digest,
    }
}

fn changed(formatter: &mut fmt::Formatter<'_>, what: &str, was: Option<&str>, is: Option<&str>) -> fmt::Result {
    match (was, is) {
        (Some(was), Some(is)) => {
            if let Some((line, was, is)) = differing_lines(was, is) {
                let (was, is) = differing(&was, &is);
                return write!(formatter, "{what} changed in line {line}: {was} -> {is}");
            }
            let (before, now) = differing(was, is);
            if before == now && was != is {
                return write!(formatter, "{what} changed in white space only: {now}");
            }
            write!(formatter, "{what} changed: {before} -> {now}")
        }
        (None, Some("")) => write!(formatter, "{what} is new"),
        (Some(""), None) => write!(formatter, "{what} is gone"),
        (None, Some(is)) => write!(formatter, "{what} is new: {}", shortened(is)),
        (Some(was), None) => write!(formatter, "{what} is gone: {}", shortened(was)),
        (None, None) => write!(formatter, "{what} changed"),
    }
}

/// `[build 2/4]` of `[build 2/4] RUN make`.
fn place(name: &str) -> &str {
    match name.split_once("] ") {
        Some((place, _)) if place.starts_with('[') => &name[..=place.len()],
        _ => name,
    }
}

/// Of texts of several lines those that differ, and the number of the first.
fn differing_lines(was: &str, is: &str) -> Option<(usize, String, String)> {
    if !was.contains('\n') && !is.contains('\n') {
        return None;
    }
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let before = was.iter().zip(&is).take_while(|(a, b)| a == b).count();
    let after = was[before..].iter().rev().zip(is[before..].iter().rev()).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[&str]| lines[before..lines.len() - after].join("\n");
    Some((before + 1, rest(&was), rest(&is)))
}

/// Two texts, cut so that the place where they differ can be seen.
fn differing(was: &str, is: &str) -> (String, String) {
    let quoted = |text: &str| one_line(text);
    let (was, is) = (quoted(was), quoted(is));
    if was.chars().count() <= SHOWN && is.chars().count() <= SHOWN {
        return (shown(&was), shown(&is));
    }
    let common = was.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
    // Some of what is equal, to recognize the place.
    let skip = common.saturating_sub(SHOWN / 3);
    let cut = |text: &str| {
        let total = text.chars().count();
        let mut out: String = if skip > 0 { "…".to_owned() } else { String::new() };
        out.extend(text.chars().skip(skip).take(SHOWN));
        if total > skip + SHOWN {
            out.push('…');
        }
        out
    };
    (shown(&cut(&was)), shown(&cut(&is)))
}

fn shortened(text: &str) -> String {
    let text = one_line(text);
    if text.chars().count() <= SHOWN {
        return shown(&text);
    }
    shown(&text.chars().take(SHOWN - 1).chain(['…']).collect::<String>())
}

fn shown(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { text.to_owned() }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(was: Option<&str>, is: Option<&str>) -> String {
        Cause::Field { what: "x".to_owned(), was: was.map(str::to_owned), is: is.map(str::to_owned) }.to_string()
    }

    #[test]
    fn values_in_words() {
        for (was, is, text) in [
            (Some("a"), Some("b"), "x changed: a -> b"),
            (Some("a"), Some(""), "x changed: a -> nothing"),
            (None, Some("b"), "x is new: b"),
            (None, Some(""), "x is new"),
            (Some("a"), None, "x is gone: a"),
            (Some(""), None, "x is gone"),
            (None, None, "x changed"),
            (Some("a\nb\nc"), Some("a\nB\nc"), "x changed in line 2: b -> B"),
            (Some("a\nb"), Some("a\nb\nc\nd"), "x changed in line 3: nothing -> c d"),
            (Some("a"), Some("a\nb"), "x changed in line 2: nothing -> b"),
        ] {
            assert_eq!(field(was, is), text);
        }
        let long = "1234567890".repeat(8);
        let cut = field(Some(&format!("{long} a {long}")), Some(&format!("{long} b {long}")));
        assert!(cut.contains("34567890 a 1234") && cut.contains("34567890 b 1234") && cut.len() < 160, "{cut}");
    }

    #[test]
    fn images_in_words() {
        let base = |was: &str, is: &str| {
            Cause::Base { image: "debian:12".to_owned(), was: was.to_owned(), is: is.to_owned() }.to_string()
        };
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        assert_eq!(
            base(&digest("a"), &digest("b")),
            "base debian:12 moved: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb"
        );
        assert_eq!(base("debian:11", "debian:12"), "base is debian:12, was debian:11");
        let above = Cause::Above { instruction: "RUN make".to_owned(), change: Change::Removed };
        assert_eq!(above.to_string(), "a step before it is gone: RUN make");
    }
}
