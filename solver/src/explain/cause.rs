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
    /// The image it is made on is another one.
    Base {
        /// The image's name now.
        image: String,
        /// Its name or digest before.
        was: String,
        /// Its name or digest now.
        is: String,
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
            Cause::Base { image, was, is } => write!(formatter, "base {image} moved: {was} -> {is}"),
            Cause::Remote { url } => write!(formatter, "{url} changed"),
            Cause::Evicted { ago, reason, .. } => write!(formatter, "evicted {ago} {reason}"),
            Cause::Gone => formatter.write_str("its result is no longer in the store"),
        }
    }
}

fn changed(formatter: &mut fmt::Formatter<'_>, what: &str, was: Option<&str>, is: Option<&str>) -> fmt::Result {
    match (was, is) {
        (Some(was), Some(is)) => {
            let (was, is) = differing(was, is);
            write!(formatter, "{what} changed: {was} -> {is}")
        }
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
