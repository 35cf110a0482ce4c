//! `bld plan`: what a build would find in the cache, what it would run, why, and how long that would take.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bld_cache::Store;
use bld_solver::explain::Cause;
use bld_solver::explain::facts::instruction;
use bld_solver::explain::facts::number;
use bld_solver::graph::Vertex;
use bld_solver::graph::VertexId;
use bld_solver::lower::Plan;
use bld_solver::op::Op;
use bld_solver::op::Source;
use bld_solver::record::BuildRecord;
use bld_solver::solve::Prediction;
use serde::Serialize;

use super::recorder::Recorder;
use super::recording::Recording;
use crate::commands::print;
use crate::error::CommandError;
use crate::error::WOULD_BUILD;
use crate::ui::one_line;
use crate::ui::sanitize;
use crate::ui::table::columns;

/// So many earlier builds are asked how long a step took.
const SEARCHED: usize = 8;

/// What a build would do, as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// The version of this form.
    schema: u32,
    steps: Vec<ShownStep>,
    hits: usize,
    misses: usize,
    depends: usize,
    /// How long the steps would take, as far as that is known, each as soon as it can.
    expected_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ShownStep {
    /// Its number in the graph: the one that the report of the build has.
    vertex: u32,
    stage: String,
    step: Option<u32>,
    name: String,
    instruction: String,
    line: Option<u32>,
    platform: String,
    /// `hit`, `miss`, or `depends`: a miss unless the steps above make the same files as once before.
    prediction: &'static str,
    cause: Option<Cause>,
    cause_text: Option<String>,
    expected_seconds: Option<f64>,
}

/// Demands that the steps of a stage, or of all, are cached.
pub(super) fn require(plan: &mut Plan, stage: Option<&str>) -> Result<(), CommandError> {
    if plan.graph.require_cached(stage) {
        return Ok(());
    }
    let mut stages: Vec<&str> = plan.graph.iter().map(|(_, vertex)| vertex.stage.as_str()).collect();
    stages.retain(|stage| !stage.is_empty());
    stages.dedup();
    let wanted = stage.unwrap_or_default();
    let known = stages.join(", ");
    Err(CommandError::usage(format!("`--fail-on-miss={wanted}`: the build has no such stage"))
        .hint(format!("its stages are {known}")))
}

impl Shown {
    pub(super) fn new(
        store: &Store,
        recording: &Recording<'_>,
        plan: &Plan,
        recorder: &Recorder,
        predictions: &BTreeMap<VertexId, Prediction>,
    ) -> Result<Shown, CommandError> {
        let took = took(store, recording.project())?;
        let mut shown = Shown { schema: 1, steps: Vec::new(), hits: 0, misses: 0, depends: 0, expected_seconds: None };
        let mut ends: HashMap<VertexId, f64> = HashMap::new();
        for (id, prediction) in predictions {
            let vertex = plan.graph.vertex(*id);
            let runs = *prediction != Prediction::Known;
            let cause = if runs { recorder.foresee(*id) } else { None };
            let expected = recorder.earlier(*id).and_then(|key| took.get(&key)).filter(|_| runs).copied();
            let begin =
                plan.graph.inputs(*id).iter().filter_map(|input| ends.get(input)).fold(0.0, |a: f64, b| a.max(*b));
            ends.insert(*id, begin + expected.unwrap_or(0.0));
            if !is_step(vertex) {
                continue;
            }
            match prediction {
                Prediction::Known => shown.hits += 1,
                Prediction::Runs => shown.misses += 1,
                Prediction::Depends => shown.depends += 1,
            }
            shown.steps.push(ShownStep {
                vertex: number(*id),
                stage: vertex.stage.clone(),
                step: vertex.step,
                name: recording.masked(&vertex.name),
                instruction: recording.masked(instruction(&vertex.name)),
                line: recording.line(*id),
                platform: vertex.platform.clone(),
                prediction: match prediction {
                    Prediction::Known => "hit",
                    Prediction::Runs => "miss",
                    Prediction::Depends => "depends",
                },
                cause_text: cause.as_ref().map(|cause| recording.masked(&cause.to_string())),
                cause: cause.and_then(|cause| recording.masked_cause(cause)),
                expected_seconds: expected,
            });
        }
        let total = ends.values().fold(0.0, |a: f64, b| a.max(*b));
        shown.expected_seconds = (total > 0.0).then_some(total);
        Ok(shown)
    }

    /// Prints it; an error with a code of its own if something would run that matters.
    pub(super) fn print(&self, json: bool, cached_only: Option<&Option<String>>) -> Result<(), CommandError> {
        print(&if json { serde_json::to_string_pretty(self)? + "\n" } else { self.text() })?;
        let matters = |step: &&ShownStep| match cached_only {
            Some(Some(stage)) => step.stage.eq_ignore_ascii_case(stage),
            Some(None) | None => true,
        };
        let would_run = self.steps.iter().filter(|step| step.prediction != "hit").any(|step| matters(&step));
        if would_run { Err(CommandError::exit(WOULD_BUILD)) } else { Ok(()) }
    }

    fn text(&self) -> String {
        let mut rows = vec![["", "STEP", "EXPECTED", "CAUSE"].map(str::to_owned).to_vec()];
        for step in &self.steps {
            let word = match step.prediction {
                "hit" => "HIT",
                "miss" => "MISS",
                _ => "MISS?",
            };
            let expected = step.expected_seconds.map(|seconds| format!("{seconds:.1}s")).unwrap_or_default();
            let cause = step.cause_text.clone().unwrap_or_default();
            let text = |text: &str| sanitize(&one_line(text));
            rows.push(vec![word.to_owned(), shortened(&text(&step.name)), expected, text(&cause)]);
        }
        let mut out = columns(&rows, 2);
        let mut parts = vec![format!("{} cached", self.hits), format!("{} to run", self.misses)];
        if self.depends > 0 {
            parts.push(format!("{} to run unless what is above makes the same files as once before", self.depends));
        }
        if let Some(seconds) = self.expected_seconds {
            parts.push(format!("about {seconds:.1}s"));
        }
        out.push_str(&parts.join(", "));
        out.push('\n');
        out
    }
}

/// How long steps took, by their definition keys.
fn took(store: &Store, project: &str) -> Result<HashMap<String, f64>, CommandError> {
    let mut took = HashMap::new();
    for build in store.builds().newest(Some(project), SEARCHED)? {
        // One of another version says nothing.
        let Ok(record) = serde_json::from_slice::<BuildRecord>(&build.record) else { continue };
        for step in record.steps {
            if let Some(us) = step.took_us {
                #[expect(clippy::cast_precision_loss, reason = "shown with a digit")]
                took.entry(step.key).or_insert(us as f64 / 1e6);
            }
        }
    }
    Ok(took)
}

/// FROM only says where to begin, and a merge is nobody's.
fn is_step(vertex: &Vertex) -> bool {
    !matches!(&vertex.op, Op::Merge | Op::Source(Source::Image { .. } | Source::Local { .. }))
}

fn shortened(text: &str) -> String {
    const ROOM: usize = 60;
    if text.chars().count() <= ROOM { text.to_owned() } else { text.chars().take(ROOM - 1).chain(['…']).collect() }
}
