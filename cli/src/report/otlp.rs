//! A build as OpenTelemetry spans, in the JSON of OTLP/HTTP: one for the build, one for each phase, one for each step that was reached.
//!
//! Ids are digests of the build's id: the same record makes the same spans.

use bld_oci::Digest;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;
use bld_solver::record::StepRecord;
use serde_json::Value;
use serde_json::json;

use super::critical;
use super::end_of;
use super::short;
use super::telemetry::Telemetry;
use super::words;

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;
/// `STATUS_CODE_OK`, `STATUS_CODE_ERROR`.
const OK: u8 = 1;
const ERROR: u8 = 2;

/// The body of a request that exports a build.
pub(crate) fn spans(record: &BuildRecord, telemetry: &Telemetry) -> String {
    let ids = Ids::new(record, telemetry);
    let mut spans = vec![build(record, &ids, telemetry)];
    for (index, phase) in record.phases.iter().enumerate() {
        let id = ids.span(&format!("phase {index}"));
        spans.push(span(
            record,
            &ids,
            &id,
            &phase.name,
            (phase.start_us, phase.end_us),
            &[("bld.kind", json!("phase"))],
        ));
    }
    let path = critical(record);
    for step in record.steps.iter().filter(|step| step.outcome != Outcome::NotReached) {
        spans.push(self::step(record, &ids, step, path.contains(&step.vertex)));
    }
    let mut resource = vec![("service.name", json!(telemetry.service)), ("service.version", json!(record.bld))];
    resource.extend(telemetry.resource.iter().map(|(key, value)| (key.as_str(), json!(value))));
    let document = json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&resource) },
            "scopeSpans": [{ "scope": { "name": "bld", "version": record.bld }, "spans": spans }],
        }],
    });
    document.to_string()
}

/// Ids of a trace and its spans, in hex.
struct Ids {
    trace: String,
    build: String,
    seed: String,
}

impl Ids {
    fn new(record: &BuildRecord, telemetry: &Telemetry) -> Ids {
        let seed = format!("{} {}", record.id, record.started_us);
        let own = Digest::of(format!("trace {seed}").as_bytes()).hex().chars().take(32).collect();
        let trace = telemetry.parent.as_ref().map_or(own, |parent| parent.trace.clone());
        let mut ids = Ids { trace, build: String::new(), seed };
        ids.build = ids.span("build");
        ids
    }

    fn span(&self, what: &str) -> String {
        Digest::of(format!("span {} {what}", self.seed).as_bytes()).hex().chars().take(16).collect()
    }
}

fn build(record: &BuildRecord, ids: &Ids, telemetry: &Telemetry) -> Value {
    let (ran, cached) = record.counts();
    let mut facts = vec![
        ("bld.kind", json!("build")),
        ("bld.build.id", json!(record.id)),
        ("bld.build.status", json!(words::status(record.status))),
        ("bld.build.context", json!(record.context)),
        ("bld.build.dockerfile", json!(record.dockerfile)),
        ("bld.build.platforms", json!(record.platforms)),
        ("bld.build.steps.ran", json!(ran)),
        ("bld.build.steps.cached", json!(cached)),
    ];
    facts.extend(record.target.as_ref().map(|target| ("bld.build.target", json!(target))));
    facts.extend(record.images.first().map(|image| ("bld.build.image.digest", json!(image.digest))));
    let name = match &record.target {
        Some(target) => format!("bld build {target}"),
        None => "bld build".to_owned(),
    };
    let mut out = span(record, ids, &ids.build, &name, (0, record.wall_us), &facts);
    match &telemetry.parent {
        Some(parent) => out["parentSpanId"] = json!(parent.span),
        None => drop(out.as_object_mut().and_then(|span| span.remove("parentSpanId"))),
    }
    out["status"] = match record.status {
        Status::Succeeded => json!({ "code": OK }),
        other => {
            json!({ "code": ERROR, "message": record.error.clone().unwrap_or_else(|| words::status(other).to_owned()) })
        }
    };
    out
}

fn step(record: &BuildRecord, ids: &Ids, step: &StepRecord, is_critical: bool) -> Value {
    let mut facts = vec![
        ("bld.kind", json!("step")),
        ("bld.step.address", json!(step.address())),
        ("bld.step.stage", json!(step.stage)),
        ("bld.step.instruction", json!(step.instruction)),
        ("bld.step.outcome", json!(words::outcome(step.outcome))),
        ("bld.step.cached", json!(step.outcome == Outcome::Cached)),
        ("bld.step.critical_path", json!(is_critical)),
    ];
    if let Some(cause) = &step.cause {
        let kind = serde_json::to_value(cause).ok().and_then(|cause| cause.get("kind").cloned());
        facts.extend(kind.map(|kind| ("bld.step.cause.kind", kind)));
    }
    facts.extend(step.cause_text.as_ref().map(|cause| ("bld.step.cause", json!(cause))));
    facts.extend(step.layer_bytes.map(|bytes| ("bld.step.layer_bytes", json!(bytes))));
    if let Some(usage) = step.usage {
        facts.push(("bld.step.user_us", json!(usage.user_us)));
        facts.push(("bld.step.system_us", json!(usage.system_us)));
        facts.push(("bld.step.peak_memory", json!(usage.peak_memory)));
        facts.push(("bld.step.read_bytes", json!(usage.read_bytes)));
        facts.push(("bld.step.written_bytes", json!(usage.written_bytes)));
    }
    let id = |vertex: u32| ids.span(&format!("step {vertex}"));
    let times = (step.start_us, end_of(record, step));
    let mut out = span(record, ids, &id(step.vertex), &short(&step.name, 100), times, &facts);
    if !step.inputs.is_empty() {
        let reached = |vertex: &&u32| record.vertex(**vertex).is_some_and(|step| step.outcome != Outcome::NotReached);
        let links =
            step.inputs.iter().filter(reached).map(|vertex| json!({ "traceId": ids.trace, "spanId": id(*vertex) }));
        out["links"] = links.collect();
    }
    match step.outcome {
        Outcome::Failed => {
            let message = record.error.clone().unwrap_or_default();
            out["status"] = json!({ "code": ERROR, "message": message });
        }
        Outcome::Canceled => out["status"] = json!({ "code": ERROR, "message": "canceled" }),
        Outcome::Cached | Outcome::Ran | Outcome::NotReached => {}
    }
    out
}

/// A span below that of the build.
fn span(
    record: &BuildRecord,
    ids: &Ids,
    id: &str,
    name: &str,
    (start_us, end_us): (u64, u64),
    facts: &[(&str, Value)],
) -> Value {
    let nanoseconds = |us: u64| {
        let time = i128::from(record.started_us) + i128::from(us);
        // 64 bits are text in the JSON of protocol buffers.
        (time.max(0) * 1000).to_string()
    };
    json!({
        "traceId": ids.trace, "spanId": id, "parentSpanId": ids.build, "name": name, "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(start_us), "endTimeUnixNano": nanoseconds(end_us.max(start_us)),
        "attributes": attributes(facts),
    })
}

fn attributes(facts: &[(&str, Value)]) -> Vec<Value> {
    facts.iter().map(|(key, value)| json!({ "key": key, "value": any(value) })).collect()
}

/// A value, with its type by name.
fn any(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Array(values) => json!({ "arrayValue": { "values": values.iter().map(any).collect::<Vec<_>>() } }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    }
}
