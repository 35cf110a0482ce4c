//! Progress as plain lines on stderr, in BuildKit's form so that eyes and scripts already know it:
//!
//! ```text
//! #3 [build 2/4] RUN make
//! #3 MISS command changed: make all -> make
//! #3 0.412 cc -c main.c
//! #3 DONE 1.2s
//! #4 CACHED
//! ```

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use bld_executor::ExecuteError;
use bld_solver::graph::Graph;
use bld_solver::graph::VertexId;
use bld_solver::op::Op;
use bld_solver::op::Source;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Stream;

/// A line that does not end is shown in pieces of this many bytes, so that memory stays bounded.
const MAX_PENDING: usize = 64 * 1024;

/// Writes progress to stderr.
pub(crate) struct Plain {
    vertices: HashMap<VertexId, Shown>,
    quiet: bool,
    state: Mutex<State>,
}

struct Shown {
    name: String,
    inputs: Vec<VertexId>,
    /// Merges and `scratch` are nobody's step.
    is_step: bool,
    /// It does something: FROM only says where to begin.
    counts: bool,
}

#[derive(Default)]
struct State {
    steps: HashMap<VertexId, Step>,
    executed: usize,
    cached: usize,
    /// What steps found, each once: where, which check, what.
    warnings: Vec<(VertexId, &'static str, String)>,
}

struct Step {
    number: usize,
    started: Instant,
    /// It was said to be known, by itself or because something below it is.
    cached: bool,
    pending: HashMap<u8, Vec<u8>>,
    tail: std::collections::VecDeque<String>,
}

/// The last lines of a failed step's output, repeated with the error.
const TAIL_LINES: usize = 20;

impl std::fmt::Debug for Plain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plain").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Plain {
    /// A reporter for the vertices of `graph`.
    pub(crate) fn new(graph: &Graph, quiet: bool) -> Plain {
        let shown = |id: VertexId| {
            let vertex = graph.vertex(id);
            let is_step = match &vertex.op {
                Op::Merge => false,
                Op::Source(Source::Image { layers }) => !layers.is_empty(),
                _ => true,
            };
            let counts = is_step && !matches!(&vertex.op, Op::Source(Source::Image { .. } | Source::Local { .. }));
            Shown { name: vertex.name.clone(), inputs: graph.inputs(id), is_step, counts }
        };
        let vertices = graph.ids().map(|id| (id, shown(id))).collect();
        Plain { vertices, quiet, state: Mutex::new(State::default()) }
    }

    /// How many steps ran, and how many were known.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.executed, state.cached)
    }

    /// What steps warned of, each once.
    pub(crate) fn warnings(&self) -> Vec<(VertexId, &'static str, String)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).warnings.clone()
    }

    /// The last lines a step printed.
    pub(crate) fn tail(&self, vertex: VertexId) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.steps.get(&vertex).map(|step| step.tail.iter().cloned().collect()).unwrap_or_default()
    }

    /// The number a step is shown with.
    pub(crate) fn number(&self, vertex: VertexId) -> Option<u32> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.steps.get(&vertex).and_then(|step| u32::try_from(step.number).ok())
    }

    /// Why a step was not cached.
    pub(crate) fn missed(&self, vertex: VertexId, cause: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.open(&mut state, vertex);
        self.say(&format!("#{number} MISS {}", super::one_line(cause)));
    }

    /// Whether a vertex is a step, and whether it counts as one.
    pub(crate) fn kind(&self, vertex: VertexId) -> (bool, bool) {
        self.vertices.get(&vertex).map_or((false, false), |shown| (shown.is_step, shown.counts))
    }

    /// A line that belongs to no step.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            write_line(text);
        }
    }

    /// 1 for what the summary counts.
    fn counts_as_step(&self, vertex: VertexId) -> usize {
        self.vertices.get(&vertex).map_or(0, |shown| usize::from(shown.counts))
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            write_line(text);
        }
    }

    fn open(&self, state: &mut State, vertex: VertexId) -> usize {
        let number = state.steps.len() + 1;
        if let Some(step) = state.steps.get(&vertex) {
            return step.number;
        }
        let step = Step {
            number,
            started: Instant::now(),
            cached: false,
            pending: HashMap::new(),
            tail: std::collections::VecDeque::with_capacity(TAIL_LINES),
        };
        state.steps.insert(vertex, step);
        let name = self.vertices.get(&vertex).map(|shown| shown.name.as_str()).unwrap_or_default();
        self.say(&format!("#{number} {}", super::sanitize(&name.replace('\n', " "))));
        number
    }

    /// A known result makes everything above it known: nobody even looked there, so nobody else reports it.
    fn cached(&self, state: &mut State, vertex: VertexId) {
        let mut above = BTreeSet::from([vertex]);
        let mut pending = vec![vertex];
        while let Some(id) = pending.pop() {
            for input in self.vertices.get(&id).into_iter().flat_map(|shown| &shown.inputs) {
                if !state.steps.contains_key(input) && above.insert(*input) {
                    pending.push(*input);
                }
            }
        }
        for id in above {
            if id == vertex || self.vertices.get(&id).is_some_and(|shown| shown.is_step) {
                let number = self.open(state, id);
                let Some(step) = state.steps.get_mut(&id) else { continue };
                // Another branch that needs it may come back to it.
                if !std::mem::replace(&mut step.cached, true) {
                    state.cached += self.counts_as_step(id);
                    self.say(&format!("#{number} CACHED"));
                }
            }
        }
    }

    /// What was taken to be known because something below it is may be needed by another branch, and run after all.
    fn begin_again(&self, state: &mut State, vertex: VertexId) {
        let Some(step) = state.steps.get_mut(&vertex).filter(|step| step.cached) else { return };
        step.cached = false;
        step.started = Instant::now();
        state.cached = state.cached.saturating_sub(self.counts_as_step(vertex));
        let name = self.vertices.get(&vertex).map(|shown| shown.name.as_str()).unwrap_or_default();
        self.say(&format!("#{} {}", step.number, super::sanitize(&name.replace('\n', " "))));
    }

    fn log(&self, state: &mut State, vertex: VertexId, stream: Stream, bytes: &[u8]) {
        self.open(state, vertex);
        let Some(step) = state.steps.get_mut(&vertex) else { return };
        let pending = step.pending.entry(stream as u8).or_default();
        pending.extend_from_slice(bytes);
        let mut rest = std::mem::take(pending);
        let mut start = 0;
        while let Some(end) = rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = rest[start..start + end].to_vec();
            self.log_line(step, &line);
            start += end + 1;
        }
        rest.drain(..start);
        if rest.len() > MAX_PENDING {
            self.log_line(step, &std::mem::take(&mut rest));
        }
        step.pending.insert(stream as u8, rest);
    }

    fn log_line(&self, step: &mut Step, line: &[u8]) {
        // A carriage return overwrites the line on a terminal: what counts is what was visible last.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let visible = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
        let text = super::sanitize(&String::from_utf8_lossy(visible));
        self.say(&format!("#{} {:.3} {text}", step.number, step.started.elapsed().as_secs_f64()));
        if step.tail.len() == TAIL_LINES {
            step.tail.pop_front();
        }
        step.tail.push_back(text);
    }

    fn flush(&self, state: &mut State, vertex: VertexId) {
        let Some(step) = state.steps.get_mut(&vertex) else { return };
        for (_, rest) in std::mem::take(&mut step.pending) {
            if !rest.is_empty() {
                self.log_line(step, &rest);
            }
        }
    }
}

impl Reporter for Plain {
    fn on_event(&self, vertex: VertexId, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(event, Event::Cached) {
            return self.cached(&mut state, vertex);
        }
        if let Event::Warning { code, message } = event {
            // Shown at the end of the build; it is no step that begins.
            let warning = (vertex, code, message.to_owned());
            if !state.warnings.contains(&warning) {
                state.warnings.push(warning);
            }
            return;
        }
        let number = self.open(&mut state, vertex);
        self.begin_again(&mut state, vertex);
        match event {
            Event::Started | Event::Cached | Event::Warning { .. } | Event::Used(_) => {}
            Event::Log { stream, bytes } => self.log(&mut state, vertex, stream, bytes),
            Event::Done => {
                self.flush(&mut state, vertex);
                state.executed += self.counts_as_step(vertex);
                let seconds = state.steps.get(&vertex).map_or(0.0, |step| step.started.elapsed().as_secs_f64());
                self.say(&format!("#{number} DONE {seconds:.1}s"));
            }
            Event::Failed { error } => {
                self.flush(&mut state, vertex);
                let message = error.downcast_ref::<ExecuteError>().map(ExecuteError::without_command);
                let message = message.unwrap_or_else(|| error.to_string());
                self.say(&format!("#{number} ERROR: {}", super::sanitize(&message)));
            }
            Event::Canceled => {
                self.flush(&mut state, vertex);
                self.say(&format!("#{number} CANCELED"));
            }
        }
    }
}

/// Writes lines to stderr. Names of files, images and instructions come from anywhere, so nothing reaches the terminal unsanitized.
/// A closed stderr must not end a build, so failure to write is not one.
pub(crate) fn write_line(text: &str) {
    let mut lines = super::sanitize_lines(text);
    lines.push('\n');
    let written = std::io::stderr().lock().write_all(lines.as_bytes());
    drop(written);
}

#[cfg(test)]
mod tests {
    use bld_solver::graph::Vertex;
    use bld_solver::op::FileOp;

    use super::*;

    #[test]
    fn a_step_that_runs_after_all_counts_once() {
        let mut graph = Graph::default();
        let vertex = |name: &str| Vertex::new(Op::File(FileOp { actions: Vec::new() }), name.to_owned());
        let upper = graph.add(vertex("upper"), []);
        let lower = graph.add(vertex("lower"), [upper]);
        let plain = Plain::new(&graph, true);
        plain.on_event(lower, Event::Cached);
        assert_eq!(plain.counts(), (0, 2));
        plain.on_event(upper, Event::Started);
        plain.on_event(upper, Event::Done);
        plain.on_event(lower, Event::Cached);
        assert_eq!(plain.counts(), (1, 1));
    }
}
