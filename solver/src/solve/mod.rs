//! From a graph to results: looks up what is known, executes what is not, at most once each.
//!
//! ```text
//! prepare:        digests of contexts -> definition keys of everything reachable (no result needed)
//! demand(target): look up the definition key         hit: done, nothing above is touched
//!                 else demand the inputs, all at once
//!   inputs known: content key -> look it up          hit: early cutoff, remembered under the definition key too
//!                 else claim it, look again, wait for admission, execute, remember under both keys
//! ```
//!
//! - The graph is walked with explicit stacks, never by recursion: ten thousand steps in a row are fine.
//! - A vertex downstream of one with `no_cache` is not looked up by definition key: that key cannot know what the step that is
//!   forced to run will make.
//! - `scratch` and [`Op::Merge`] are computed here: no worker call, no record, no event. The layers of any other image are an
//!   ordinary vertex: [`Event::Cached`] if the store knows them, else the worker registers them.
//! - Everything runs in the task that polls [`solve`]: a worker must move what blocks to threads of its own.

mod admission;
mod predict;
mod prepare;
mod tasks;
mod vertex;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::Mutex;

use bld_cache::key::CacheKey;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_oci::Timestamp;

pub use self::admission::Admission;
pub use self::admission::Jobs;
pub use self::predict::Prediction;
pub use self::predict::predict;
use self::prepare::Keys;
pub use self::prepare::Prepared;
pub use self::prepare::prepare;
pub(crate) use self::tasks::Tasks;
use self::vertex::Ports;
use self::vertex::Work;
use crate::graph::Graph;
use crate::graph::VertexId;
use crate::op::Op;
use crate::op::Source;
use crate::worker::Event;
use crate::worker::Reporter;
use crate::worker::Worker;

/// Why there is no result. The first failure ends the build; what ran beside it is cancelled.
#[derive(Debug, thiserror::Error)]
pub enum SolveError<E: Error + 'static> {
    /// A step failed.
    #[error("`{name}` failed")]
    Step {
        /// Which.
        vertex: VertexId,
        /// Its name.
        name: String,
        /// Why.
        source: E,
    },
    /// What a step copies could not be read.
    #[error("cannot read what `{name}` copies")]
    Digest {
        /// Which.
        vertex: VertexId,
        /// Its name.
        name: String,
        /// Why.
        source: E,
    },
    /// What had to be known is not, and was not to be made.
    #[error("`{name}` is not cached")]
    NotCached {
        /// Which.
        vertex: VertexId,
        /// Its name.
        name: String,
    },
    /// The cache could not be read, locked or written.
    #[error("cannot use the cache for `{name}`")]
    Cache {
        /// For which vertex.
        vertex: VertexId,
        /// Its name.
        name: String,
        /// Why.
        source: E,
    },
}

impl<E: Error + 'static> SolveError<E> {
    /// The vertex it happened to.
    pub fn vertex(&self) -> VertexId {
        match self {
            SolveError::Step { vertex, .. }
            | SolveError::Digest { vertex, .. }
            | SolveError::NotCached { vertex, .. }
            | SolveError::Cache { vertex, .. } => *vertex,
        }
    }
}

/// Finds a result for each target of `prepared`, in their order. Dropping the future stops everything: what ran is reported as
/// cancelled, what had finished stays remembered.
pub async fn solve<W: Worker, R: Reporter, A: Admission>(
    graph: &Graph,
    prepared: &Prepared,
    worker: &W,
    reporter: &R,
    admission: &A,
) -> Result<Vec<Record>, SolveError<W::Error>> {
    let ports = Ports { graph, worker, reporter, admission };
    let targets = prepared.targets.as_slice();
    let mut run = Run::new(&ports, prepared);
    let made = Mutex::new(HashMap::new());
    let mut tasks = Tasks::new();

    run.demand(targets)?;
    loop {
        while let Some(work) = run.next_work() {
            tasks.push(work.id.index(), vertex::run(&ports, work, &made));
        }
        let Some((index, outcome)) = tasks.next().await else { break };
        let outcome = outcome?;
        run.complete(index, outcome.record, outcome.is_settled);
    }
    Ok(targets.iter().filter_map(|target| run.take(*target)).collect())
}

/// The state of one solve. Vertices are addressed by their number.
struct Run<'a, W, R, A> {
    ports: &'a Ports<'a, W, R, A>,
    slots: Vec<Slot>,
    /// Vertices whose inputs are all known.
    ready: Vec<VertexId>,
}

#[derive(Default)]
struct Slot {
    id: Option<VertexId>,
    inputs: Vec<VertexId>,
    /// Wait for this vertex, once it is demanded by them.
    dependents: Vec<VertexId>,
    /// How often the result will still be asked for. At zero it is dropped: a chain of n states takes n² of memory.
    uses: usize,
    definition: Option<CacheKey>,
    operation: Option<CacheKey>,
    digests: Vec<Option<[u8; 32]>>,
    /// It or something above it must run again.
    renewed: bool,
    /// A pattern in it or above it matched nothing.
    unsettled: bool,
    progress: Progress,
}

#[derive(Default)]
enum Progress {
    /// Nobody needs it so far.
    #[default]
    Idle,
    /// Needed; so many inputs are missing.
    Waiting(usize),
    /// It is being looked up or executed.
    Working,
    Known(Arc<Record>),
    /// Known once, and everybody who needed it has it.
    Dropped,
}

impl<'a, W: Worker, R: Reporter, A: Admission> Run<'a, W, R, A> {
    fn new(ports: &'a Ports<'a, W, R, A>, prepared: &Prepared) -> Run<'a, W, R, A> {
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(ports.graph.len(), Slot::default);
        for id in &prepared.reachable {
            let Keys { digests, definition, operation, renewed } = prepared.keys(*id);
            slots[id.index()] = Slot {
                id: Some(*id),
                inputs: ports.graph.inputs(*id),
                definition: Some(*definition),
                operation: Some(*operation),
                digests: digests.clone(),
                renewed: *renewed,
                ..Slot::default()
            };
        }
        for target in &prepared.targets {
            slots[target.index()].uses += 1;
        }
        Run { ports, slots, ready: Vec::new() }
    }

    /// Sees to it that all of `wanted` will be known.
    fn demand(&mut self, wanted: &[VertexId]) -> Result<(), SolveError<W::Error>> {
        let mut stack: Vec<VertexId> = wanted.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            if !matches!(self.slots[id.index()].progress, Progress::Idle) {
                continue;
            }
            if let Some(record) = self.look_up(id)? {
                self.slots[id.index()].progress = Progress::Known(Arc::new(record));
                self.release_dependents(id);
                continue;
            }
            let inputs = self.slots[id.index()].inputs.clone();
            let mut missing = 0;
            for input in &inputs {
                let slot = &mut self.slots[input.index()];
                slot.uses += 1;
                if !matches!(slot.progress, Progress::Known(_)) {
                    slot.dependents.push(id);
                    missing += 1;
                }
            }
            self.slots[id.index()].progress = Progress::Waiting(missing);
            if missing == 0 {
                self.ready.push(id);
            }
            stack.extend(inputs.into_iter().rev());
        }
        Ok(())
    }

    /// What needs neither inputs nor the worker's time.
    fn look_up(&self, id: VertexId) -> Result<Option<Record>, SolveError<W::Error>> {
        let slot = &self.slots[id.index()];
        match &self.ports.graph.vertex(id).op {
            Op::Source(Source::Image { layers }) if layers.is_empty() => Ok(Some(scratch())),
            Op::Merge => Ok(None),
            _ if slot.renewed => Ok(None),
            _ => {
                let Some(key) = slot.definition else { return Ok(None) };
                let record = self.ports.look_up(id, key)?;
                if record.is_some() {
                    self.ports.reporter.on_event(id, Event::Cached);
                }
                Ok(record)
            }
        }
    }

    /// Something whose inputs are all known and that only the worker can do.
    fn next_work(&mut self) -> Option<Work> {
        while let Some(id) = self.ready.pop() {
            let inputs: Vec<Arc<Record>> =
                self.slots[id.index()].inputs.clone().into_iter().filter_map(|input| self.take_shared(input)).collect();
            let is_settled = !self.slots[id.index()].inputs.iter().any(|input| self.slots[input.index()].unsettled);
            if matches!(self.ports.graph.vertex(id).op, Op::Merge) {
                self.complete(id.index(), merge(inputs.iter().map(Arc::as_ref)), is_settled);
                continue;
            }
            let slot = &mut self.slots[id.index()];
            slot.progress = Progress::Working;
            let (definition, operation) = (slot.definition?, slot.operation?);
            let digests = std::mem::take(&mut slot.digests);
            let states = inputs.iter().map(|record| record.state.clone()).collect();
            return Some(Work { id, definition, operation, digests, inputs: states, is_settled });
        }
        None
    }

    fn complete(&mut self, index: usize, record: Record, is_settled: bool) {
        self.slots[index].progress = Progress::Known(Arc::new(record));
        self.slots[index].unsettled = !is_settled;
        if let Some(id) = self.slots[index].id {
            self.release_dependents(id);
        }
    }

    fn release_dependents(&mut self, id: VertexId) {
        for dependent in std::mem::take(&mut self.slots[id.index()].dependents) {
            if let Progress::Waiting(missing) = &mut self.slots[dependent.index()].progress {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.push(dependent);
                }
            }
        }
    }

    /// A known result, for one of those who asked for it.
    fn take_shared(&mut self, id: VertexId) -> Option<Arc<Record>> {
        let slot = &mut self.slots[id.index()];
        let Progress::Known(record) = &slot.progress else { return None };
        let record = Arc::clone(record);
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses == 0 {
            slot.progress = Progress::Dropped;
        }
        Some(record)
    }

    fn take(&mut self, id: VertexId) -> Option<Record> {
        self.take_shared(id).map(Arc::unwrap_or_clone)
    }
}

fn scratch() -> Record {
    let state = State { id: StateId::scratch(), layers: Vec::new() };
    Record::new(state, Timestamp::FIXED)
}

/// The second record's layers on top of the first's.
fn merge<'a>(inputs: impl Iterator<Item = &'a Record>) -> Record {
    inputs
        .cloned()
        .reduce(|lower, upper| {
            let id = lower.state.id.merge(upper.state.id);
            let layers = lower.state.layers.into_iter().chain(upper.state.layers).collect();
            Record::new(State { id, layers }, lower.created.max(upper.created))
        })
        .unwrap_or_else(scratch)
}
