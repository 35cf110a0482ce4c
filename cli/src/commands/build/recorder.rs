//! Watches a build: what happened to each step and when, and why it was not cached.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bld_executor::secrets::Secrets;
use bld_solver::explain::Cause;
use bld_solver::explain::Explainer;
use bld_solver::explain::facts::number;
use bld_solver::graph::VertexId;
use bld_solver::record::Outcome;
use bld_solver::record::Phase;
use bld_solver::record::Usage;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;

use super::archive::StoreArchive;
use crate::ui::plain::Plain;

/// Tells the user what happens, and remembers it.
pub(in crate::commands) struct Recorder {
    plain: Plain,
    clock: Clock,
    state: Mutex<State>,
}

/// Counts from the beginning of the build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    begun: Instant,
    /// In microseconds since 1970.
    pub(super) started_us: i64,
}

#[derive(Default)]
struct State {
    steps: HashMap<VertexId, Watched>,
    /// Those that were not cached.
    missed: HashSet<u32>,
    phases: Vec<Phase>,
    explainer: Option<Explaining>,
    compare: Option<Comparison>,
    /// What no cause shows.
    secrets: Secrets,
    /// Done once, when the first step begins.
    first: Option<FirstStep>,
    /// What explanations and the record took.
    took: Duration,
}

/// What explains misses: made when the first is to be explained.
enum Explaining {
    Later(Box<dyn FnOnce() -> Explainer<StoreArchive> + Send>),
    Now(Box<Explainer<StoreArchive>>),
}

/// Whether a vertex that ran made what it made under the earlier key that is asked for.
type Comparison = Box<dyn Fn(VertexId, &dyn Fn() -> Option<String>) -> bool + Send>;

/// What is to be done when the first step begins.
type FirstStep = Box<dyn FnOnce() + Send>;

/// What was seen of a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    pub(super) outcome: Option<Outcome>,
    pub(super) cause: Option<Cause>,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    pub(super) usage: Option<Usage>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recorder").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Clock {
    /// Starts it; `now` is the time of day.
    pub(super) fn start(now: bld_oci::Timestamp) -> Clock {
        let started_us = now.seconds.saturating_mul(1_000_000).saturating_add(i64::from(now.nanoseconds / 1000));
        Clock { begun: Instant::now(), started_us }
    }

    /// Microseconds since the beginning.
    pub(super) fn us(self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Recorder {
    /// A recorder that has seen `phases` already.
    pub(super) fn new(plain: Plain, clock: Clock, phases: Vec<Phase>) -> Recorder {
        Recorder { plain, clock, state: Mutex::new(State { phases, ..State::default() }) }
    }

    /// What the user sees.
    pub(super) fn plain(&self) -> &Plain {
        &self.plain
    }

    /// From now on misses are explained, by what `make` makes.
    pub(super) fn explain_with(&self, make: Box<dyn FnOnce() -> Explainer<StoreArchive> + Send>) {
        self.state().explainer = Some(Explaining::Later(make));
    }

    /// From now on what a step made is compared, by `compare`, with what it made before.
    pub(super) fn compare_with(&self, compare: Comparison) {
        self.state().compare = Some(compare);
    }

    /// From now on these are not shown.
    pub(super) fn hide(&self, secrets: Secrets) {
        self.state().secrets = secrets;
    }

    /// Why a vertex was not found, in words; `None` if that cannot be said yet.
    pub(super) fn cause(&self, vertex: VertexId) -> Option<String> {
        let mut state = self.state();
        let cause = state.explain(vertex)?;
        Some(state.shown(&cause))
    }

    /// Why a vertex would not be found; from now on it counts as one that was not.
    pub(super) fn foresee(&self, vertex: VertexId) -> Option<Cause> {
        let mut state = self.state();
        let cause = state.explain(vertex);
        state.missed.insert(number(vertex));
        cause
    }

    /// The definition key of what a vertex was in an earlier build.
    pub(super) fn earlier(&self, vertex: VertexId) -> Option<String> {
        self.state().explainer()?.earlier_key(number(vertex))
    }

    /// Notes what is done beside the steps, from `start_us` until now.
    pub(super) fn phase(&self, name: &str, start_us: u64) {
        let phase = Phase { name: name.to_owned(), start_us, end_us: self.clock.us() };
        self.state().phases.push(phase);
    }

    /// Does something when the first step begins, if one does.
    pub(super) fn on_first_step(&self, work: FirstStep) {
        self.state().first = Some(work);
    }

    /// Notes that something about the record took until now.
    pub(super) fn took_since(&self, begun: Instant) {
        self.state().took += begun.elapsed();
    }

    /// What explanations and the record took so far, in microseconds.
    pub(super) fn took_us(&self) -> u64 {
        u64::try_from(self.state().took.as_micros()).unwrap_or(u64::MAX)
    }

    /// All that was seen: the steps, and the phases.
    pub(super) fn seen(&self) -> (HashMap<VertexId, Watched>, Vec<Phase>) {
        let state = self.state();
        (state.steps.clone(), state.phases.clone())
    }

    /// Whether any step ran, to its end or not.
    pub(super) fn has_run(&self) -> bool {
        let ran = |step: &Watched| matches!(step.outcome, Some(Outcome::Ran | Outcome::Failed));
        self.state().steps.values().any(ran)
    }

    /// The clock of the build.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    fn first_step(&self, vertex: VertexId) -> Option<FirstStep> {
        if self.plain.kind(vertex).1 { self.state().first.take() } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shown(&self, cause: &Cause) -> String {
        self.secrets.masked(&cause.to_string())
    }

    fn explainer(&mut self) -> Option<&Explainer<StoreArchive>> {
        let explainer = match self.explainer.take()? {
            Explaining::Later(make) => Box::new(make()),
            Explaining::Now(explainer) => explainer,
        };
        match self.explainer.insert(Explaining::Now(explainer)) {
            Explaining::Now(explainer) => Some(explainer),
            Explaining::Later(_) => None,
        }
    }

    /// A step that made the same as before is no reason for another to miss.
    fn forgive(&mut self, vertex: VertexId) {
        let Some(compare) = self.compare.take() else { return };
        let begun = Instant::now();
        let explainer = self.explainer();
        let earlier = || explainer?.earlier_key(number(vertex));
        if compare(vertex, &earlier) {
            self.missed.remove(&number(vertex));
        }
        self.compare = Some(compare);
        self.took += begun.elapsed();
    }

    fn explain(&mut self, vertex: VertexId) -> Option<Cause> {
        let begun = Instant::now();
        let missed = std::mem::take(&mut self.missed);
        let cause = self.explainer().map(|known| known.explain(number(vertex), &|above| missed.contains(&above)));
        self.missed = missed;
        self.took += begun.elapsed();
        cause
    }
}

impl Reporter for Recorder {
    fn on_event(&self, vertex: VertexId, event: Event<'_>) {
        match &event {
            Event::Log { .. } | Event::Warning { .. } => {}
            Event::Started => {
                let now = self.clock.us();
                if let Some(work) = self.first_step(vertex) {
                    let begun = Instant::now();
                    work();
                    self.took_since(begun);
                }
                let shown = {
                    let mut state = self.state();
                    let cause = self.plain.kind(vertex).0.then(|| state.explain(vertex)).flatten();
                    let started = Watched {
                        outcome: Some(Outcome::Canceled),
                        cause: cause.clone(),
                        start_us: now,
                        ..Watched::default()
                    };
                    state.steps.insert(vertex, started);
                    state.missed.insert(number(vertex));
                    cause.map(|cause| state.shown(&cause))
                };
                self.plain.on_event(vertex, event);
                if let Some(shown) = shown.filter(|_| self.plain.kind(vertex).1) {
                    self.plain.missed(vertex, &shown);
                }
                return;
            }
            Event::Cached => {
                let seen = Watched { outcome: Some(Outcome::Cached), ..Watched::default() };
                let mut state = self.state();
                // It may have come out of the cache after another had begun to make it.
                state.missed.remove(&number(vertex));
                state.steps.insert(vertex, seen);
            }
            Event::Used(usage) => {
                self.state().steps.entry(vertex).or_default().usage = Some(*usage);
            }
            Event::Done | Event::Failed { .. } | Event::Canceled => {
                let mut state = self.state();
                let seen = state.steps.entry(vertex).or_default();
                seen.end_us = self.clock.us();
                seen.outcome = Some(match &event {
                    Event::Done => Outcome::Ran,
                    Event::Failed { .. } => Outcome::Failed,
                    _ => Outcome::Canceled,
                });
                if matches!(event, Event::Done) {
                    state.forgive(vertex);
                }
            }
        }
        self.plain.on_event(vertex, event);
    }
}
