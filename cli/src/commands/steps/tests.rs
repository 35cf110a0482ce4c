//! Which builds and steps addresses mean.

use serde_json::json;

use super::*;

/// Stage, place in it, number, outcome.
type Step = (&'static str, Option<u32>, Option<u32>, &'static str);

fn record(id: &str, steps: &[Step]) -> BuildRecord {
    let step = |(vertex, (stage, step, number, outcome)): (usize, &Step)| {
        json!({
            "vertex": vertex, "number": number, "name": format!("name {vertex}"), "stage": stage, "step": step,
            "instruction": "RUN x", "line": null, "inputs": [], "counts": true, "outcome": outcome, "cause": null,
            "cause_text": null, "same_result": false, "start_us": 0, "end_us": 0, "usage": null, "layer_bytes": null,
            "layer_entries": null, "log": null, "took_us": null, "key": "",
        })
    };
    let steps: Vec<serde_json::Value> = steps.iter().enumerate().map(step).collect();
    let record = json!({
        "schema": SCHEMA, "bld": "0", "id": id, "context": "/x", "dockerfile": "Dockerfile", "target": null,
        "platforms": [], "started_us": 0, "wall_us": 0, "status": "succeeded", "error": null, "images": [], "phases": [],
        "steps": steps, "critical_path": [],
    });
    serde_json::from_value(record).unwrap()
}

fn meant(record: &BuildRecord, text: Option<&str>) -> String {
    match find_step(record, text) {
        Ok(step) => step.vertex.to_string(),
        Err(error) => error.to_text(),
    }
}

#[test]
fn steps_of_several_stages() {
    let record = record(
        "1-a",
        &[
            ("base", Some(1), Some(1), "cached"),
            ("base", Some(2), Some(2), "cached"),
            ("1", Some(1), Some(3), "cached"),
            ("1", Some(2), Some(4), "failed"),
            ("1", None, None, "cached"),
            ("1", None, Some(5), "not_reached"),
        ],
    );
    for (text, expected) in [
        ("base:2", "1"),
        ("stage-1:1", "2"),
        ("stage-1", "3"),
        ("BASE:1", "0"),
        ("#2", "1"),
        ("1:1", "2"),
        ("base", "1"),
        ("#5", "5"),
        ("5", "5"),
        ("failed", "3"),
    ] {
        assert_eq!(meant(&record, Some(text)), expected, "{text}");
    }
    // What failed is what people ask for.
    assert_eq!(meant(&record, None), "3");
    for (text, expected) in [
        (
            "base:3",
            "error: the build has no step `base:3`\n\
             hint: its steps are base:1 (#1), base:2 (#2), 1:1 (#3), 1:2 (#4), #5",
        ),
        ("x", "error: the build has no step `x`"),
        ("#x", "error: the build has no step `#x`"),
        ("", "error: the build has no step ``"),
        // Number 1, and the last step of stage 1.
        (
            "1",
            "error: `1` could be base:1 (#1) or 1:2 (#4)\n\
             hint: write `#N` for the number that progress shows, `STAGE:N` for a place in a stage",
        ),
    ] {
        assert!(meant(&record, Some(text)).starts_with(expected), "{}", meant(&record, Some(text)));
    }
}

#[test]
fn steps_of_one_stage() {
    let record = record("1-a", &[("0", Some(1), Some(2), "cached"), ("0", Some(2), Some(3), "ran")]);
    for (text, expected) in [("2", "1"), ("1", "0"), ("#2", "0"), ("3", "1"), ("0:2", "1"), ("0", "1")] {
        assert_eq!(meant(&record, Some(text)), expected, "{text}");
    }
    assert_eq!(meant(&record, None), "1");
    assert!(meant(&record, Some("failed")).contains("no step of the build failed"));
}

#[test]
fn addresses_say_what_progress_says_and_are_understood() {
    let mut several = record("1-a", &[("build", Some(2), Some(1), "ran"), ("1", Some(3), Some(11), "ran")]);
    several.steps[0].name = "[build 2/2] RUN make".to_owned();
    several.steps[1].name = "[linux/amd64 stage-1 3/4] RUN [1/2] x".to_owned();
    let mut one =
        record("1-a", &[("0", Some(2), Some(5), "ran"), ("0", Some(3), Some(6), "ran"), ("0", Some(3), None, "ran")]);
    one.steps[0].name = "[linux/amd64 2/3] RUN a".to_owned();
    one.steps[1].name = "[3/3] COPY --link b /".to_owned();
    // It puts the layer of the step above on what is below.
    one.steps[2].name = "[3/3] COPY --link b /".to_owned();
    one.steps[2].inputs = vec![0, 1];
    for (record, texts, vertex) in [
        (&several, &["build:2", "#1", "[build 2/2]"][..], 0),
        (&several, &["stage-1:3", "1:3", "#11", "11", "stage-1", "[linux/amd64 stage-1 3/4]"], 1),
        (&one, &["2", "0:2", "stage-0:2", "#5", "[linux/amd64 2/3]"], 0),
        (&one, &["3", "0:3", "#6", "6", "[3/3]"], 1),
    ] {
        assert_eq!(record.address(&record.steps[vertex]), texts[0]);
        for text in texts {
            assert_eq!(meant(record, Some(text)), vertex.to_string(), "{text}");
        }
    }
}

#[test]
fn what_is_not_finished_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), environment::now).unwrap();
    let put = |started_us: i64, id: &str, status: Status| {
        let record = serde_json::to_vec(&BuildRecord { status, ..record(id, &[]) }).unwrap();
        let build = Build { id: id.to_owned(), project: "/elsewhere".to_owned(), started_us, record };
        store.builds().put(&build, None, 100).unwrap();
    };
    let found = |text: &str| {
        let (build, passed_over) = find_silently(&store, Some(text)).unwrap();
        (build.id, passed_over)
    };
    let pair = |id: &str, passed_over: Option<&str>| (id.to_owned(), passed_over.map(str::to_owned));
    put(1, "1000-aa", Status::Unfinished);
    assert_eq!(found("last"), pair("1000-aa", None), "there is no other");
    put(2, "1001-bb", Status::Canceled);
    assert_eq!(found("last"), pair("1001-bb", None));
    put(3, "1002-cc", Status::Unfinished);
    put(4, "1003-dd", Status::Succeeded);
    put(5, "1004-ee", Status::Unfinished);
    assert_eq!(found("last"), pair("1003-dd", Some("1004-ee")));
    assert_eq!(found("-2"), pair("1001-bb", Some("1004-ee")));
    assert_eq!(found("ee"), pair("1004-ee", None));
    assert!(find_silently(&store, Some("-3")).is_err());
}

#[test]
fn a_step_of_two_platforms_has_two_numbers() {
    let record = record("1-a", &[("0", Some(2), Some(1), "ran"), ("0", Some(2), Some(2), "ran")]);
    assert!(meant(&record, Some("0:2")).starts_with("error: `0:2` could be 0:2 (#1) or 0:2 (#2)"));
    assert_eq!(meant(&record, Some("#2")), "1");
}

#[test]
fn builds_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), environment::now).unwrap();
    let found = |text: Option<&str>| match find_build(&store, text) {
        Ok(record) => record.id,
        Err(error) => error.to_text(),
    };
    assert!(found(None).contains("no build is recorded"));
    let here = environment::absolute(Path::new("")).unwrap();
    let here = here.to_str().unwrap();
    let builds = [
        ("1000-aa11", format!("{here}\0other")),
        ("1001-aa22", "/elsewhere".to_owned()),
        ("1002-bb33", here.to_owned()),
        ("1003-cc44", format!("{here}-not")),
        ("1004-dd55", "-".to_owned()),
    ];
    for (started_us, (id, project)) in (0..).zip(&builds) {
        let bytes = serde_json::to_vec(&record(id, &[])).unwrap();
        let build = Build { id: (*id).to_owned(), project: project.clone(), started_us, record: bytes };
        store.builds().put(&build, None, 100).unwrap();
    }
    for (text, expected) in [
        // Those of this directory, whatever the Dockerfile.
        (None, "1002-bb33"),
        (Some("last"), "1002-bb33"),
        (Some("-1"), "1002-bb33"),
        (Some("-2"), "1000-aa11"),
        // Those of the whole store.
        (Some("1001-aa22"), "1001-aa22"),
        (Some("1001"), "1001-aa22"),
        (Some("cc"), "1003-cc44"),
    ] {
        assert_eq!(found(text), expected, "{text:?}");
    }
    for (text, expected) in [
        ("-3", "error: there is no build `-3`: 2 are recorded\nhint: `bld builds ls --all`"),
        ("aa", "error: `aa` could be 2 builds: 1001-aa22, 1000-aa11\nhint: write more of the id"),
        ("100", "error: `100` could be 5 builds: 1004-dd55, 1003-cc44, 1002-bb33, 1001-aa22 ..."),
        ("ff", "error: there is no build `ff`"),
        ("-0", "error: there is no build `-0`"),
        ("", "error: there is no build ``"),
        ("./no.json", "error: cannot read ./no.json: No such file"),
    ] {
        assert!(found(Some(text)).starts_with(expected), "{}", found(Some(text)));
    }
    let newer =
        Build { id: "2000-ee".to_owned(), project: String::new(), started_us: 9, record: br#"{"schema":99}"#.to_vec() };
    store.builds().put(&newer, None, 100).unwrap();
    assert_eq!(
        found(Some("2000-ee")),
        "error: build 2000-ee cannot be read\n  because: it has schema 99, and this bld knows 1"
    );
}
