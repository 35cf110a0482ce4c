//! Which things that took time are drawn below each other.

use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::StepRecord;

use super::critical;
use super::end_of;

/// A step that took time, and where it is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) step: &'a StepRecord,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    pub(super) lane: usize,
}

/// When a lane is taken, and by which step.
type Taken = (u64, u64, u32);

/// The steps that ran, by their beginning; none overlaps another one of its lane. Those of the critical path are in the first, and others
/// follow one they are made of, if its lane is free.
pub(super) fn steps(record: &BuildRecord) -> Vec<Placed<'_>> {
    let path = critical(record);
    let ran = |step: &&StepRecord| step.outcome != Outcome::Cached && (step.start_us > 0 || step.end_us > 0);
    let mut ran: Vec<&StepRecord> = record.steps.iter().filter(ran).collect();
    ran.sort_by_key(|step| (!path.contains(&step.vertex), step.start_us, step.vertex));
    // What is in each lane so far: when, and which step.
    let mut lanes: Vec<Vec<Taken>> = Vec::new();
    let mut placed = Vec::with_capacity(ran.len());
    for step in ran {
        let (start_us, end_us) = (step.start_us, end_of(record, step).max(step.start_us));
        let is_free = |lane: &[Taken]| !lane.iter().any(|(start, end, _)| *start < end_us && start_us < *end);
        let follows = |lane: &[Taken]| {
            let before = lane.iter().filter(|(_, end, _)| *end <= start_us).max_by_key(|(_, end, _)| *end);
            before.is_some_and(|(_, _, vertex)| step.inputs.contains(vertex))
        };
        let free = |wanted: &dyn Fn(&[Taken]) -> bool| lanes.iter().position(|lane| is_free(lane) && wanted(lane));
        let lane = free(&follows).or_else(|| free(&|_| true)).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        lanes[lane].push((start_us, end_us, step.vertex));
        placed.push(Placed { step, start_us, end_us, lane });
    }
    placed.sort_by_key(|placed| (placed.start_us, placed.step.vertex));
    placed
}

/// A lane for each span of time: the first that is free.
pub(super) fn pack(spans: impl Iterator<Item = (u64, u64)>) -> Vec<usize> {
    let mut free_at: Vec<u64> = Vec::new();
    spans
        .map(|(start, end)| {
            let lane = free_at.iter().position(|free| *free <= start).unwrap_or(free_at.len());
            match free_at.get_mut(lane) {
                Some(free) => *free = end,
                None => free_at.push(end),
            }
            lane
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::record;

    #[test]
    fn steps_of_a_lane_do_not_overlap() {
        let record = record();
        let placed = steps(&record);
        assert_eq!(placed.len(), record.steps.iter().filter(|step| step.start_us > 0).count());
        for (index, one) in placed.iter().enumerate() {
            for other in placed.iter().skip(index + 1).filter(|other| other.lane == one.lane) {
                assert!(one.end_us <= other.start_us, "{} and {}", one.step.name, other.step.name);
            }
        }
        // A chain stays on its lane.
        let lane = |name: &str| placed.iter().find(|placed| placed.step.name.contains(name)).unwrap().lane;
        assert_eq!((lane("go build"), lane("go mod download")), (0, 0));
        assert_eq!(lane("npm run build"), lane("npm ci"));
        assert_ne!(lane("npm ci"), lane("go mod download"));
    }

    #[test]
    fn spans_get_the_first_free_lane() {
        assert_eq!(pack([(0, 5), (5, 9), (6, 7), (7, 8)].into_iter()), [0, 0, 1, 1]);
    }
}
