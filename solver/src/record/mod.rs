//! The record of a build: what each step did, why, how long, and what it cost. This is what `bld build --report` writes; docs/report.md
//! describes the schema.
//!
//! Times are microseconds. Those of steps and phases count from the beginning of the build.

pub mod arguments;
pub mod critical_path;
pub mod exec;

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::OnceLock;

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
    /// No part of what is written.
    #[serde(skip)]
    pub index: StepIndex,
}

/// Finds steps by their vertices. Made when it is first asked for: the steps of a record that was asked stay what they are.
#[derive(Debug, Clone, Default)]
pub struct StepIndex(OnceLock<Index>);

/// It says nothing that the steps do not say.
impl PartialEq for StepIndex {
    fn eq(&self, _other: &StepIndex) -> bool {
        true
    }
}

/// Places of steps by vertex, the root of each step that was not cached, and whom roots dragged along.
#[derive(Debug, Clone, Default)]
struct Index {
    places: HashMap<u32, usize>,
    roots: HashMap<u32, u32>,
    dragged: HashMap<u32, Vec<usize>>,
}

impl Index {
    fn of(steps: &[StepRecord]) -> Index {
        let mut index = Index::default();
        for (place, step) in steps.iter().enumerate() {
            // Only a record from elsewhere has two of a number.
            index.places.entry(step.vertex).or_insert(place);
        }
        for step in steps.iter().filter(|step| step.outcome != Outcome::Cached) {
            index.find_root(steps, step);
        }
        for (place, step) in steps.iter().enumerate().filter(|(_, step)| step.outcome != Outcome::Cached) {
            if let Some(root) = index.roots.get(&step.vertex).filter(|root| **root != step.vertex) {
                index.dragged.entry(*root).or_default().push(place);
            }
        }
        index
    }

    fn find_root(&mut self, steps: &[StepRecord], step: &StepRecord) {
        let mut chain: Vec<u32> = Vec::new();
        let mut seen: HashSet<u32> = HashSet::from([step.vertex]);
        let mut current = step;
        let root = loop {
            if let Some(known) = self.roots.get(&current.vertex) {
                break *known;
            }
            chain.push(current.vertex);
            let parent = match &current.cause {
                Some(Cause::Parent { vertex, .. }) => self.places.get(vertex).and_then(|place| steps.get(*place)),
                _ => None,
            };
            // A record from elsewhere may go round in a circle.
            let parent = parent.filter(|parent| parent.outcome != Outcome::Cached && seen.insert(parent.vertex));
            match parent {
                Some(parent) => current = parent,
                None => break current.vertex,
            }
        };
        self.roots.extend(chain.into_iter().map(|vertex| (vertex, root)));
    }
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
    /// The platform it was for; empty if it was for any.
    #[serde(default)]
    pub platform: String,
    /// The instruction as it is written: `RUN make`.
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
    /// It ran again and made the same files, and a step made of it was found because of that.
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
    /// It was stopped because something else failed, or by a signal.
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

    /// How people name it: `build:2` for what is shown as `[build 2/4]`, `2` for `[2/4]`, or `#4` where it has no place in a stage.
    pub fn address(&self) -> String {
        match (self.step, self.number) {
            (Some(step), _) => match self.shown_stage() {
                Some("") => step.to_string(),
                Some(stage) => format!("{stage}:{step}"),
                None => format!("{}:{step}", self.stage),
            },
            (None, Some(number)) => format!("#{number}"),
            (None, None) => self.name.clone(),
        }
    }

    /// The stage as the name shows it: empty if the Dockerfile has one stage without a name.
    fn shown_stage(&self) -> Option<&str> {
        let place = self.name.strip_prefix('[')?.split_once(']')?.0;
        let mut words = place.split(' ').rev();
        let (number, _) = words.next()?.split_once('/')?;
        // Before it stands the stage, or a platform: no stage has a slash in its name.
        let is_number = number.parse().ok() == self.step;
        is_number.then(|| words.next().filter(|word| !word.contains('/')).unwrap_or_default())
    }
}

impl BuildRecord {
    /// Whether its numbers can be added up: one that comes from elsewhere may say anything.
    pub fn is_plausible(&self) -> bool {
        // 35 years, or a petabyte.
        const MOST: u64 = 1 << 50;
        let of_steps = self.steps.iter().flat_map(|step| {
            let Usage { user_us, system_us, peak_memory, read_bytes, written_bytes } = step.usage.unwrap_or_default();
            let layer = [step.layer_bytes, step.layer_entries, step.took_us].map(Option::unwrap_or_default);
            let usage = [user_us, system_us, peak_memory, read_bytes, written_bytes];
            layer.into_iter().chain(usage).chain([step.start_us, step.end_us])
        });
        let of_phases = self.phases.iter().flat_map(|phase| [phase.start_us, phase.end_us]);
        let of_path = self.critical_path.iter().flat_map(|segment| [segment.start_us, segment.end_us]);
        let own = [self.wall_us, self.record_us].into_iter().chain(self.images.iter().map(|image| image.size));
        own.chain(of_steps).chain(of_phases).chain(of_path).all(|number| number <= MOST)
    }

    /// The steps that ran, and those that were known.
    pub fn counts(&self) -> (usize, usize) {
        let count =
            |wanted: fn(Outcome) -> bool| self.steps.iter().filter(|step| step.counts && wanted(step.outcome)).count();
        (count(|outcome| outcome == Outcome::Ran), count(|outcome| outcome == Outcome::Cached))
    }

    /// How many steps came to what end: `2 ran, 5 cached, 1 failed, 3 not reached`.
    pub fn tally(&self) -> String {
        let (ran, cached) = self.counts();
        let mut text = format!("{ran} ran, {cached} cached");
        let stopped = if self.status == Status::Canceled { "interrupted" } else { "stopped" };
        let others = [(Outcome::Failed, "failed"), (Outcome::Canceled, stopped), (Outcome::NotReached, "not reached")];
        for (wanted, word) in others {
            let count = self.steps.iter().filter(|step| step.counts && step.outcome == wanted).count();
            if count > 0 {
                text.push_str(&format!(", {count} {word}"));
            }
        }
        text
    }

    /// The step whose own change is why `step` was not found: itself, or one that it is made of.
    pub fn root<'a>(&'a self, step: &'a StepRecord) -> &'a StepRecord {
        let root = self.index().roots.get(&step.vertex);
        root.and_then(|root| self.vertex(*root)).unwrap_or(step)
    }

    /// The steps that were not found only because this one was not.
    pub fn dragged_by(&self, root: &StepRecord) -> Vec<&StepRecord> {
        let places = self.index().dragged.get(&root.vertex);
        places.into_iter().flatten().filter_map(|place| self.steps.get(*place)).collect()
    }

    /// How people name a step in this build: by its number where a stage was built for several platforms.
    pub fn address(&self, step: &StepRecord) -> String {
        // What merges the layer of a COPY --link is the same step, and not shown.
        let is_double = |other: &StepRecord| {
            (other.vertex != step.vertex && other.step == step.step && other.stage == step.stage && step.step.is_some())
                && (other.number.is_some() || other.name != step.name)
        };
        match step.number {
            Some(number) if self.steps.iter().any(is_double) => format!("#{number}"),
            _ => step.address(),
        }
    }

    /// A step by its vertex.
    pub fn vertex(&self, vertex: u32) -> Option<&StepRecord> {
        self.steps.get(*self.index().places.get(&vertex)?)
    }

    fn index(&self) -> &Index {
        self.index.0.get_or_init(|| Index::of(&self.steps))
    }
}
