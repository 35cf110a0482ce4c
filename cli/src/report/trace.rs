//! Chrome trace events, which Perfetto and `chrome://tracing` draw.
//!
//! ```text
//! tid 1            the critical path, without gaps
//! tid 100, 101 ..  phases
//! tid 200, 201 ..  steps, in as many lanes as ran at once; arrows lead along the critical path
//! ```

use bld_solver::record::BuildRecord;
use bld_solver::record::StepRecord;
use bld_solver::record::critical_path::Activity;
use serde_json::Value;
use serde_json::json;

use super::critical;
use super::lanes;
use super::parts;
use super::short;
use super::words;

const PROCESS: u32 = 1;
const PATH: usize = 1;
const PHASES: usize = 100;
const STEPS: usize = 200;

/// The trace, as JSON.
pub(crate) fn trace(record: &BuildRecord) -> String {
    let mut events = vec![named("process_name", 0, &format!("bld build {}", record.context))];
    let mut threads: Vec<(usize, String)> = Vec::new();
    if !record.critical_path.is_empty() {
        threads.push((PATH, "critical path".to_owned()));
    }
    for segment in &record.critical_path {
        let (name, category) = match &segment.what {
            Activity::Step(vertex) => (name_of(record, *vertex), "step"),
            Activity::Waiting(vertex) => (format!("waiting: {}", name_of(record, *vertex)), "waiting"),
            Activity::Phase(name) => (name.clone(), "phase"),
            Activity::Other => ("not recorded".to_owned(), "other"),
        };
        let took = segment.end_us.saturating_sub(segment.start_us);
        let args = json!({ "share": words::share(took, record.wall_us) });
        events.push(complete(&name, category, segment.start_us, segment.end_us, PATH, &args));
    }
    let lanes_of_phases = lanes::pack(record.phases.iter().map(|phase| (phase.start_us, phase.end_us)));
    for (phase, lane) in record.phases.iter().zip(lanes_of_phases) {
        thread(&mut threads, PHASES + lane, "phases");
        events.push(complete(&phase.name, "phase", phase.start_us, phase.end_us, PHASES + lane, &json!({})));
    }
    let path = critical(record);
    let placed = lanes::steps(record);
    for step in &placed {
        thread(&mut threads, STEPS + step.lane, &format!("lane {}", step.lane + 1));
        let args = arguments(record, step.step, path.contains(&step.step.vertex));
        let name = format!("{} {}", parts(step.step).0, short(parts(step.step).1, 100));
        events.push(complete(name.trim(), "step", step.start_us, step.end_us, STEPS + step.lane, &args));
    }
    let chain: Vec<_> = placed.iter().filter(|placed| path.contains(&placed.step.vertex)).collect();
    for (number, pair) in chain.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        // An arrow belongs to the span that its time is in.
        let leaves = before.end_us.saturating_sub(1).max(before.start_us);
        let flow = |phase: &str, time: u64, lane: usize| {
            json!({ "name": "critical path", "cat": "path", "ph": phase, "id": number + 1, "ts": time, "pid": PROCESS,
                    "tid": STEPS + lane, "bp": "e" })
        };
        events.push(flow("s", leaves, before.lane));
        events.push(flow("f", after.start_us, after.lane));
    }
    for (index, (tid, name)) in threads.iter().enumerate() {
        events.push(named("thread_name", *tid, name));
        events.push(json!({ "name": "thread_sort_index", "ph": "M", "pid": PROCESS, "tid": tid, "args": { "sort_index": index } }));
    }
    let document = json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "build": record.id, "bld": record.bld, "context": record.context, "dockerfile": record.dockerfile,
            "status": words::status(record.status), "started_us": record.started_us, "wall_us": record.wall_us,
        },
        "traceEvents": events,
    });
    format!("{document}\n")
}

fn thread(threads: &mut Vec<(usize, String)>, tid: usize, name: &str) {
    if !threads.iter().any(|(known, _)| *known == tid) {
        threads.push((tid, name.to_owned()));
        threads.sort_unstable_by_key(|(tid, _)| *tid);
    }
}

fn named(what: &str, tid: usize, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": PROCESS, "tid": tid, "args": { "name": name } })
}

fn complete(name: &str, category: &str, start_us: u64, end_us: u64, tid: usize, args: &Value) -> Value {
    json!({ "name": name, "cat": category, "ph": "X", "ts": start_us, "dur": end_us.saturating_sub(start_us), "pid": PROCESS,
            "tid": tid, "args": args })
}

fn name_of(record: &BuildRecord, vertex: u32) -> String {
    match record.vertex(vertex) {
        Some(step) => format!("{} {}", parts(step).0, short(parts(step).1, 100)).trim().to_owned(),
        None => format!("vertex {vertex}"),
    }
}

fn arguments(record: &BuildRecord, step: &StepRecord, is_critical: bool) -> Value {
    let mut args = json!({
        "address": step.address(), "instruction": step.instruction, "stage": step.stage, "vertex": step.vertex,
        "outcome": words::outcome(step.outcome), "critical path": is_critical,
        "inputs": step.inputs.iter().map(|vertex| name_of(record, *vertex)).collect::<Vec<_>>(),
    });
    if let Some(cause) = &step.cause_text {
        args["cause"] = json!(cause);
    }
    if let Some(usage) = step.usage {
        args["user_us"] = json!(usage.user_us);
        args["system_us"] = json!(usage.system_us);
        args["peak_memory"] = json!(usage.peak_memory);
        args["read_bytes"] = json!(usage.read_bytes);
        args["written_bytes"] = json!(usage.written_bytes);
    }
    if let Some(bytes) = step.layer_bytes {
        args["layer_bytes"] = json!(bytes);
    }
    args
}
