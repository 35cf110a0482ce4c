//! The record of a build: what each step did, why, how long, and what it cost. This is what `bld build --report` writes; docs/report.md
//! describes the schema.
//!
//! Times are microseconds. Those of steps and phases count from the beginning of the build.

pub mod arguments;
pub mod critical_path;
pub mod exec;

use serde::Deserialize;
use serde::Serialize;

use self::exec::ExecFacts;
use crate::explain::Cause;

/// The version of the schema. A field more does not change it; another meaning of a field does.
pub const SCHEMA: u32 = 1;

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of bld.
    pub bld: String,
    /// Names the build. Ids sort by time.
    pub id: String,
    /// Where the main build context was: a directory, `-` or a URL without credentials.
    pub context: String,
    /// The Dockerfile as messages call it.
    pub dockerfile: String,
    /// `--target`.
    pub target: Option<String>,
    /// The platforms that were built for.
    pub platforms: Vec<String>,
    /// When it began, in microseconds since 1970.
    pub started_us: i64,
    /// How long it took.
    pub wall_us: u64,
    /// How much of that went into this record and into explaining misses; what is stored lacks the time it took to store it.
    #[serde(default)]
    pub record_us: u64,
    /// How it ended.
    pub status: Status,
    /// The message it failed with.
    pub error: Option<String>,
    /// The images it made.
    pub images: Vec<ImageRecord>,
    /// What was done beside the steps, in order.
    pub phases: Vec<Phase>,
    /// The steps, in the order they were shown.
    pub steps: Vec<StepRecord>,
    /// What the build waited for, from its beginning to its end without a gap.
    pub critical_path: Vec<critical_path::Segment>,
    /// The ARGs of the Dockerfile: [`arguments::arguments`]. Advice is made of them.
    #[serde(default)]
    pub arguments: Vec<arguments::Argument>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It runs, or was killed.
    Unfinished,
    /// It went well.
    Succeeded,
    /// A step or an output failed.
    Failed,
    /// A signal ended it.
    Canceled,
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its manifest.
    pub digest: String,
    /// Its platform; `None` for an index.
    pub platform: Option<String>,
    /// The names it was given.
    pub names: Vec<String>,
    /// The bytes of its manifest, configuration and layers.
    pub size: u64,
}

/// Something that is no step: reading the Dockerfile, looking at the context, writing an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What: `read the context`.
    pub name: String,
    /// When it began.
    pub start_us: u64,
    /// When it ended.
    pub end_us: u64,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its number in the graph of this build. `inputs` and logs name it so.
    pub vertex: u32,
    /// The number it was shown with (`#4`); `None` if it was not shown.
    pub number: Option<u32>,
    /// How it was shown: `[build 2/4] RUN make`.
    pub name: String,
    /// Its stage: the name, or the number.
    pub stage: String,
    /// Its place in the stage: the 2 of `[build 2/4]`.
    pub step: Option<u32>,
    /// The instruction, variables expanded: `RUN make`.
    pub instruction: String,
    /// The first line of the instruction in the Dockerfile, from 1.
    pub line: Option<u32>,
    /// The vertices it is made of.
    pub inputs: Vec<u32>,
    /// Whether it counts as a step: FROM only says where to begin.
    pub counts: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not cached; `None` if it was.
    pub cause: Option<Cause>,
    /// The same as a line of text.
    pub cause_text: Option<String>,
    /// It ran again and made the same files: what is below it was found.
    pub same_result: bool,
    /// When it began; 0 if it did not.
    pub start_us: u64,
    /// When it ended; 0 if it did not.
    pub end_us: u64,
    /// What its processes used, if it ran any.
    pub usage: Option<Usage>,
    /// The bytes of the files in its layer, if that is here.
    pub layer_bytes: Option<u64>,
    /// How many files, directories and links its layer has.
    pub layer_entries: Option<u64>,
    /// What it printed, if anything: `logs/<build>/<vertex>`, of the build that ran it.
    pub log: Option<LogReference>,
    /// What it took when it last ran: what a hit saved, and what to expect of the next miss.
    pub took_us: Option<u64>,
    /// Its definition key, in hex.
    pub key: String,
    /// What it ran with, if it is a RUN and the store knows it: for `bld shell`. No part of the record as others see it.
    #[serde(skip)]
    pub exec: Option<ExecFacts>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its result was known, or nobody needed it because what is made of it was.
    Cached,
    /// It ran.
    Ran,
    /// It failed.
    Failed,
    /// It was stopped because something else failed.
    Canceled,
    /// The build ended before it could begin.
    NotReached,
}

/// What the processes of a step used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user mode.
    pub user_us: u64,
    /// Processor time in the kernel.
    pub system_us: u64,
    /// The peak of resident memory of the largest process, in bytes.
    pub peak_memory: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
}

/// Where a log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReference {
    /// The build that ran the step.
    pub build: String,
    /// The vertex in that build.
    pub vertex: u32,
}

impl StepRecord {
    /// How long it ran in this build.
    pub fn wall_us(&self) -> u64 {
        self.end_us.saturating_sub(self.start_us)
    }

    /// How people name it: `build:2`, or `#4` where it has no place in a stage.
    pub fn address(&self) -> String {
        match (self.step, self.number) {
            (Some(step), _) => format!("{}:{step}", self.stage),
            (None, Some(number)) => format!("#{number}"),
            (None, None) => self.name.clone(),
        }
    }
}

impl BuildRecord {
    /// The steps that ran, and those that were known.
    pub fn counts(&self) -> (usize, usize) {
        let count =
            |wanted: fn(Outcome) -> bool| self.steps.iter().filter(|step| step.counts && wanted(step.outcome)).count();
        (count(|outcome| outcome == Outcome::Ran), count(|outcome| outcome == Outcome::Cached))
    }

    /// The step whose own change is why `step` was not found: itself, or one that it is made of.
    pub fn root<'a>(&'a self, step: &'a StepRecord) -> &'a StepRecord {
        let mut root = step;
        // A record from elsewhere may go round in a circle.
        for _ in 0..self.steps.len() {
            let Some(Cause::Parent { vertex, .. }) = &root.cause else { break };
            let Some(parent) = self.vertex(*vertex).filter(|parent| parent.outcome != Outcome::Cached) else { break };
            root = parent;
        }
        root
    }

    /// The steps that were not found only because this one was not.
    pub fn dragged_by(&self, root: &StepRecord) -> Vec<&StepRecord> {
        let others = self.steps.iter().filter(|step| step.vertex != root.vertex);
        others.filter(|step| step.outcome != Outcome::Cached && self.root(step).vertex == root.vertex).collect()
    }

    /// How people name a step in this build: by its number where a stage was built for several platforms.
    pub fn address(&self, step: &StepRecord) -> String {
        let is_double = |other: &StepRecord| {
            other.vertex != step.vertex && other.step == step.step && other.stage == step.stage && step.step.is_some()
        };
        match step.number {
            Some(number) if self.steps.iter().any(is_double) => format!("#{number}"),
            _ => step.address(),
        }
    }

    /// A step by its vertex.
    pub fn vertex(&self, vertex: u32) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.vertex == vertex)
    }
}
