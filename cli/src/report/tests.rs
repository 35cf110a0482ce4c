//! A record made by hand, and what all forms make of records of all kinds.

use std::collections::BTreeMap;

use bld_solver::explain::Cause;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;
use serde_json::Value;

use super::HiddenFile;
use super::ImageLayers;
use super::Layer;
use super::Log;
use super::Report;
use super::Telemetry;
use super::page;
use super::spans;
use super::trace;

const HOSTILE: &str = "</script></style></title>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[31m&amp;";

/// A build of a service with a web front: some steps cached, some not, some at once.
pub(super) fn record() -> BuildRecord {
    serde_json::from_str(include_str!("../../../testdata/report/record.json")).unwrap()
}

/// The same with hostile text wherever text comes from outside.
fn hostile() -> (BuildRecord, BTreeMap<u32, Log>, ImageLayers) {
    let mut record = record();
    for text in [&mut record.context, &mut record.dockerfile, &mut record.id, &mut record.bld] {
        HOSTILE.clone_into(text);
    }
    (record.target, record.error, record.status) = (Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()), Status::Failed);
    record.platforms = vec![HOSTILE.to_owned()];
    for image in &mut record.images {
        (image.platform, image.names) = (Some(HOSTILE.to_owned()), vec![HOSTILE.to_owned()]);
        HOSTILE.clone_into(&mut image.digest);
    }
    for phase in &mut record.phases {
        HOSTILE.clone_into(&mut phase.name);
    }
    let mut logs = BTreeMap::new();
    for step in &mut record.steps {
        step.name = format!("[{HOSTILE} 1/2] {HOSTILE}");
        step.instruction = HOSTILE.repeat(9);
        (step.cause_text, step.stage) = (Some(HOSTILE.to_owned()), HOSTILE.to_owned());
        if let Some(log) = &mut step.log {
            HOSTILE.clone_into(&mut log.build);
        }
        logs.insert(step.vertex, Log { head: HOSTILE.to_owned(), tail: Some((9, HOSTILE.to_owned())) });
    }
    if let Some(step) = record.steps.last_mut() {
        step.outcome = Outcome::Failed;
    }
    let hidden = HiddenFile { path: HOSTILE.to_owned(), bytes: 5, layers: (1, 2), how: "deleted" };
    let layer = Layer { command: HOSTILE.to_owned(), size: 9, wasted: 5 };
    (record, logs, ImageLayers { layers: vec![layer], wasted: 5, hidden: vec![hidden] })
}

fn plain(record: &BuildRecord) -> String {
    page(&Report { record, logs: BTreeMap::new(), layers: None })
}

/// Looks at a page as a parser would: tags are closed in order, attributes are those that bld writes.
#[track_caller]
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {}", rest.chars().take(200).collect::<String>());
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{tag}>");
        // Values stand between quotation marks, names before them.
        let pieces: Vec<&str> = attributes.split('"').collect();
        assert!(pieces.len() % 2 == 1 || attributes.is_empty(), "<{tag}>");
        for (attribute, value) in pieces.iter().step_by(2).zip(pieces.iter().skip(1).step_by(2)) {
            let attribute = attribute.trim().trim_end_matches('=').split(' ').next_back().unwrap_or_default();
            assert!(!attribute.starts_with("on") && attribute != "src", "<{tag}>");
            assert!(attribute != "href" || value.starts_with('#') || *value == "data:,", "<{tag}>");
            assert!(attribute != "style" || !value.contains("url"), "<{tag}>");
        }
        match name {
            "meta" | "link" | "img" => assert_ne!(name, "img", "<{tag}>"),
            // What is in them is no markup, and ends with the first of these.
            "style" | "script" => rest = &rest[rest.find(&format!("</{name}>")).unwrap() + name.len() + 3..],
            _ => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn a_page_is_whole_and_asks_for_nothing() {
    let record = record();
    let logs = BTreeMap::from([(4, Log::whole("go: downloading x\n\u{1b}[32mok\u{1b}[0m\n"))]);
    let page = page(&Report { record: &record, logs, layers: None });
    well_formed(&page);
    for expected in [
        "<h1>shop-api <span class=\"status succeeded\">",
        "ARG GIT_SHA changed: 4f2a9c1 -&gt; 9be07d3",
        "evicted 2 d ago to stay under 20GB",
        "1 min 13 s",
        "<dt>The cache saved</dt><dd>38.7 s",
        "<span class=\"c2\">ok</span>",
        "target runtime",
        "sha256:",
        "registry.example.com/shop/api:1.42",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    for request in ["http://", "https://", "@import", "url(", "<img", "<iframe", "fetch(", "XMLHttp"] {
        assert!(!page.contains(request), "{request}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let (record, logs, layers) = hostile();
    let page = page(&Report { record: &record, logs, layers: Some(layers) });
    well_formed(&page);
    assert!(!page.contains("<img") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
    // Other forms are JSON.
    serde_json::from_str::<Value>(&trace(&record)).unwrap();
    let telemetry = telemetry(&[]);
    serde_json::from_str::<Value>(&spans(&record, &telemetry)).unwrap();
}

#[test]
fn builds_of_all_kinds_have_a_page() {
    let whole = record();
    let empty = BuildRecord {
        steps: Vec::new(),
        phases: Vec::new(),
        critical_path: Vec::new(),
        images: Vec::new(),
        wall_us: 0,
        record_us: 0,
        context: "-".to_owned(),
        status: Status::Unfinished,
        ..whole.clone()
    };
    let one = BuildRecord { steps: vec![whole.steps[4].clone()], ..empty.clone() };
    let mut canceled = BuildRecord { status: Status::Canceled, error: Some("interrupted".to_owned()), ..whole.clone() };
    for (index, step) in canceled.steps.iter_mut().enumerate().skip(9) {
        (step.outcome, step.end_us) = if index < 14 { (Outcome::Canceled, 0) } else { (Outcome::NotReached, 0) };
        step.start_us *= u64::from(index < 14);
    }
    let mut many = whole.clone();
    many.steps = (0..1000)
        .map(|vertex| {
            let mut step = whole.steps[usize::try_from(vertex % 20).unwrap()].clone();
            step.vertex = vertex;
            step
        })
        .collect();
    for record in [&empty, &one, &canceled, &many] {
        let page = plain(record);
        well_formed(&page);
        assert_eq!(page.matches("<tbody id=\"v").count(), record.steps.len());
        assert!(page.len() < 4_000_000, "{}", page.len());
        serde_json::from_str::<Value>(&trace(record)).unwrap();
        serde_json::from_str::<Value>(&spans(record, &telemetry(&[]))).unwrap();
    }
    assert!(plain(&canceled).contains("<h2>Canceled</h2>"));
    assert!(plain(&empty).contains("<h1>Standard input"));
}

#[test]
fn a_failed_build_begins_with_what_failed() {
    let mut record = record();
    (record.status, record.error) = (Status::Failed, Some("`RUN npm ci` exited with status 1".to_owned()));
    record.steps[6].outcome = Outcome::Failed;
    let log = (0..40).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
    let page = page(&Report { record: &record, logs: BTreeMap::from([(6, Log::whole(log))]), layers: None });
    well_formed(&page);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(at("What failed") < at("exited with status 1") && at("exited with status 1") < at("<h2>Timeline"));
    // The end of the log, and all of it, open, in the table.
    assert!(at("…\nline 28\n") < at("<h2>Timeline"));
    assert!(at("<details class=\"log\" open>") < at("\nline 0\n"));
}

#[test]
fn a_page_says_what_would_have_helped() {
    let mut record = record();
    assert!(!plain(&record).contains("<h2>Advice"));
    // `go generate` does not name the ARG that it missed the cache for.
    record.steps[10].cause = record.steps[11].cause.clone();
    record.steps[11].cause = Some(Cause::Parent { vertex: 10, name: record.steps[10].name.clone() });
    let page = plain(&record);
    well_formed(&page);
    let (_, advice) = page.split_once("<h2>Advice").unwrap();
    assert!(advice.split_once("</section>").unwrap().0.contains("ARG GIT_SHA"), "{advice}");
}

#[test]
fn a_trace_is_what_perfetto_reads() {
    let record = record();
    let trace: Value = serde_json::from_str(&trace(&record)).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
    let steps: Vec<_> = of("X").into_iter().filter(|event| event["tid"].as_u64() >= Some(200)).collect();
    let ran = record.steps.iter().filter(|step| step.end_us > 0).count();
    assert_eq!(steps.len(), ran);
    for (index, one) in steps.iter().enumerate() {
        let (start, end) = (one["ts"].as_u64().unwrap(), one["ts"].as_u64().unwrap() + one["dur"].as_u64().unwrap());
        let overlaps = |other: &Value| {
            other["ts"].as_u64().unwrap() < end
                && start < other["ts"].as_u64().unwrap() + other["dur"].as_u64().unwrap()
        };
        let others = steps.iter().skip(index + 1).filter(|other| other["tid"] == one["tid"]);
        assert_eq!(others.filter(|other| overlaps(other)).count(), 0, "{one}");
    }
    let path: u64 = of("X").iter().filter(|event| event["tid"] == 1).map(|event| event["dur"].as_u64().unwrap()).sum();
    assert_eq!(path, record.wall_us);
    // Each arrow begins within a step and ends at the beginning of the next.
    assert_eq!((of("s").len(), of("f").len()), (8, 8));
    for arrow in of("s") {
        let at = arrow["ts"].as_u64().unwrap();
        let holds = |step: &&&Value| step["tid"] == arrow["tid"] && (step["ts"].as_u64().unwrap()..).contains(&at);
        assert!(steps.iter().any(|step| holds(&step)), "{arrow}");
    }
    let build = steps.iter().find(|step| step["name"].as_str().unwrap().contains("go build")).unwrap();
    assert_eq!(build["args"]["cause"], "ARG GIT_SHA changed: 4f2a9c1 -> 9be07d3");
    assert_eq!((&build["args"]["outcome"], &build["args"]["critical path"]), (&"ran".into(), &true.into()));
}

fn telemetry(more: &[(&str, &str)]) -> Telemetry {
    let variable = |name: &str| {
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")];
        more.iter().chain(&endpoint).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    Telemetry::from_variables(&variable).unwrap()
}

#[test]
fn spans_are_what_collectors_take() {
    let mut record = record();
    (record.status, record.error) = (Status::Failed, Some("it failed".to_owned()));
    record.steps[19].outcome = Outcome::Failed;
    record.steps[18].outcome = Outcome::NotReached;
    let parent = ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let telemetry = telemetry(&[parent, ("OTEL_SERVICE_NAME", "ci"), ("OTEL_RESOURCE_ATTRIBUTES", "team=shop")]);
    let document: Value = serde_json::from_str(&spans(&record, &telemetry)).unwrap();
    let resource = &document["resourceSpans"][0]["resource"]["attributes"];
    assert_eq!(resource[0], serde_json::json!({ "key": "service.name", "value": { "stringValue": "ci" } }));
    assert_eq!(resource[2]["key"], "team");
    let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 1 + record.phases.len() + record.steps.len() - 1);
    let mut ids: Vec<&str> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 16));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());
    let (build, rest) = spans.split_first().unwrap();
    assert_eq!((build["parentSpanId"].as_str(), build["status"]["code"].as_u64()), (Some("b7ad6b7169203331"), Some(2)));
    assert_eq!(build["startTimeUnixNano"], "1795243071000000000");
    assert_eq!(build["endTimeUnixNano"], "1795243144050000000");
    for span in rest {
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span["parentSpanId"], build["spanId"]);
        for link in span["links"].as_array().into_iter().flatten() {
            assert!(ids.contains(&link["spanId"].as_str().unwrap()), "{link}");
        }
    }
    let attribute = |span: &Value, key: &str| {
        let all = span["attributes"].as_array().unwrap();
        all.iter().find(|attribute| attribute["key"] == key).map(|attribute| attribute["value"].clone())
    };
    let compiled = rest.iter().find(|span| span["name"].as_str().unwrap().contains("go build")).unwrap();
    assert_eq!(attribute(compiled, "bld.step.outcome").unwrap()["stringValue"], "ran");
    assert_eq!(attribute(compiled, "bld.step.cause.kind").unwrap()["stringValue"], "variable");
    assert_eq!(
        attribute(compiled, "bld.step.cause").unwrap()["stringValue"],
        "ARG GIT_SHA changed: 4f2a9c1 -> 9be07d3"
    );
    assert_eq!(attribute(compiled, "bld.step.critical_path").unwrap()["boolValue"], true);
    let failed = rest.iter().find(|span| span["status"]["code"] == 2).unwrap();
    assert_eq!(
        (&failed["status"]["message"], &attribute(failed, "bld.step.outcome").unwrap()["stringValue"]),
        (&"it failed".into(), &"failed".into())
    );
    // Without a parent the build is the root of its trace.
    let alone: Value = serde_json::from_str(&super::spans(&record, &self::telemetry(&[]))).unwrap();
    let root = &alone["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert!(root.get("parentSpanId").is_none() && root["traceId"].as_str().unwrap().len() == 32);
}
