//! A build's record in forms that others read. Pure functions: text comes out, nobody is asked anything.
//!
//! | module | form | who reads it |
//! |---|---|---|
//! | `html` | one self-contained page | people |
//! | `trace` | Chrome trace events | Perfetto, `chrome://tracing` |
//! | `otlp` | OpenTelemetry spans as JSON | collectors, which `telemetry` says how to reach |

mod html;
mod lanes;
mod otlp;
mod secrets;
mod telemetry;
mod trace;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bld_solver::record::BuildRecord;
use bld_solver::record::StepRecord;
use bld_solver::record::critical_path::Activity;

pub(crate) use html::page;
pub(crate) use otlp::spans;
pub(crate) use secrets::hide_arguments;
pub(crate) use telemetry::Telemetry;
pub(crate) use trace::trace;

/// What a page is made of.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// The build.
    pub(crate) record: &'a BuildRecord,
    /// What steps printed, by their vertex.
    pub(crate) logs: BTreeMap<u32, Log>,
    /// What is stored in the image, if it is still here.
    pub(crate) layers: Option<ImageLayers>,
}

/// What a step printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// The beginning, or all of it.
    pub(crate) head: String,
    /// The end, if something between is left out: how many bytes, and the text.
    pub(crate) tail: Option<(u64, String)>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImageLayers {
    /// Bottom to top.
    pub(crate) layers: Vec<Layer>,
    /// Bytes of files that are stored and that nobody sees.
    pub(crate) wasted: u64,
    /// The largest of those files.
    pub(crate) hidden: Vec<HiddenFile>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// What made it.
    pub(crate) command: String,
    /// The bytes of its files.
    pub(crate) size: u64,
    /// The bytes of its files that later layers hide.
    pub(crate) wasted: u64,
}

/// A file that one layer stores and a later one hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HiddenFile {
    /// Where it was.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// The layer that stores it, from 1, and the one that hides it.
    pub(crate) layers: (usize, usize),
    /// How it is hidden: `deleted`.
    pub(crate) how: &'static str,
}

/// The vertices of the critical path.
fn critical(record: &BuildRecord) -> BTreeSet<u32> {
    let vertex = |activity: &Activity| match activity {
        Activity::Step(vertex) => Some(*vertex),
        _ => None,
    };
    record.critical_path.iter().filter_map(|segment| vertex(&segment.what)).collect()
}

/// When a step that began was over: one that something interrupted was when the build was.
fn end_of(record: &BuildRecord, step: &StepRecord) -> u64 {
    if step.end_us == 0 && step.start_us > 0 { record.wall_us } else { step.end_us }
}

/// `#4 [build 2/4] RUN make` in its parts: `build 2/4` and `RUN make`.
fn parts(step: &StepRecord) -> (&str, &str) {
    match step.name.strip_prefix('[').and_then(|name| name.split_once("] ")) {
        Some((place, _)) => (place, &step.instruction),
        None => ("", if step.instruction.is_empty() { &step.name } else { &step.instruction }),
    }
}

/// The first line of an instruction, of some length.
fn short(text: &str, length: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= length {
        return line;
    }
    line.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

impl Log {
    /// All of a log.
    pub(crate) fn whole(text: impl Into<String>) -> Log {
        Log { head: text.into(), tail: None }
    }

    /// The text that is known.
    fn text(&self) -> std::borrow::Cow<'_, str> {
        match &self.tail {
            None => std::borrow::Cow::Borrowed(&self.head),
            Some((_, tail)) => std::borrow::Cow::Owned(format!("{}\n{tail}", self.head)),
        }
    }
}
