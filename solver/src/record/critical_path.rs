//! What a build waited for, from its beginning to its end.

use serde::Deserialize;
use serde::Serialize;

use super::BuildRecord;
use super::Outcome;
use super::StepRecord;

/// A part of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// What went on.
    pub what: Activity,
    /// When it began, in microseconds since the beginning of the build.
    pub start_us: u64,
    /// When it ended.
    pub end_us: u64,
}

/// What went on in a part of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// A step ran: its vertex.
    Step(u32),
    /// Something that is no step: its name.
    Phase(String),
    /// A step could have begun and did not yet: it was looked up, another build had its key, or too much else was running.
    Waiting(u32),
    /// Nothing that was recorded.
    Other,
}

/// The chain of steps and phases that ends last, walked from its end to its beginning. The parts follow each other without a gap.
pub fn critical_path(record: &BuildRecord) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let steps_end = record.steps.iter().map(|step| step.end_us).max().unwrap_or(0);
    let steps_begin = record.steps.iter().filter(|step| step.end_us > 0).map(|step| step.start_us).min();
    let phase = |phase: &super::Phase| Segment {
        what: Activity::Phase(phase.name.clone()),
        start_us: phase.start_us,
        end_us: phase.end_us,
    };
    let (before, after): (Vec<_>, Vec<_>) =
        record.phases.iter().partition(|phase| steps_begin.is_none_or(|begin| phase.start_us < begin));
    segments.extend(before.into_iter().map(phase));
    segments.extend(chain(record));
    segments.extend(after.into_iter().filter(|phase| phase.end_us > steps_end).map(phase));
    without_gaps(segments, record.wall_us)
}

/// The steps that ran one because of the other, the last to end being the last.
fn chain(record: &BuildRecord) -> Vec<Segment> {
    let ran = |step: &&StepRecord| step.end_us > 0 && step.outcome != Outcome::Cached;
    let mut chain = Vec::new();
    let mut current = record.steps.iter().filter(ran).max_by_key(|step| step.end_us);
    while let Some(step) = current {
        // What it waited for: of all it is made of, directly or through what was known, what ended last.
        let before = last_input(record, step).filter(|before| before.end_us <= step.start_us);
        chain.push(Segment { what: Activity::Step(step.vertex), start_us: step.start_us, end_us: step.end_us });
        if let Some(before) = before
            && before.end_us < step.start_us
        {
            let what = Activity::Waiting(step.vertex);
            chain.push(Segment { what, start_us: before.end_us, end_us: step.start_us });
        }
        current = before;
    }
    chain.reverse();
    chain
}

fn last_input<'a>(record: &'a BuildRecord, step: &StepRecord) -> Option<&'a StepRecord> {
    let mut open = step.inputs.clone();
    let mut seen = std::collections::BTreeSet::new();
    let mut last: Option<&StepRecord> = None;
    while let Some(vertex) = open.pop() {
        if !seen.insert(vertex) {
            continue;
        }
        let Some(input) = record.vertex(vertex) else { continue };
        if input.outcome == Outcome::Ran && input.end_us > 0 {
            if last.is_none_or(|last| last.end_us < input.end_us) {
                last = Some(input);
            }
        } else {
            open.extend(&input.inputs);
        }
    }
    last
}

/// In order, overlaps cut off, and what is between two of them named as such.
fn without_gaps(segments: Vec<Segment>, wall_us: u64) -> Vec<Segment> {
    let mut path: Vec<Segment> = Vec::with_capacity(segments.len() + 2);
    let mut reached = 0;
    for mut segment in segments {
        segment.start_us = segment.start_us.max(reached);
        segment.end_us = segment.end_us.min(wall_us);
        if segment.end_us <= segment.start_us {
            continue;
        }
        if segment.start_us > reached {
            path.push(Segment { what: Activity::Other, start_us: reached, end_us: segment.start_us });
        }
        reached = segment.end_us;
        path.push(segment);
    }
    if wall_us > reached {
        path.push(Segment { what: Activity::Other, start_us: reached, end_us: wall_us });
    }
    path
}
