//! Advice on builds of a few lines.

use super::*;
use crate::explain::Change;
use crate::explain::files::FileChange;
use crate::explain::files::FileChanges;
use crate::explain::files::FileDifference;
use crate::record::SCHEMA;
use crate::record::Status;
use crate::record::arguments::arguments;

/// What is made of the step on top of: the step above it, unless that is said.
struct Step {
    line: u32,
    seconds: u64,
    cause: Option<Cause>,
    inputs: Vec<u32>,
}

/// The record of a build of `dockerfile`: each instruction with a cause or a time is a step.
fn record(dockerfile: &str, steps: &[Step]) -> BuildRecord {
    let parsed = bld_parser::parse(dockerfile.as_bytes()).dockerfile.unwrap();
    let lines: Vec<&str> = dockerfile.lines().collect();
    let stage_of = |line: u32| {
        let stage = parsed.stages.iter().enumerate().rev().find(|(_, stage)| {
            let start = usize::try_from(stage.from.span.start).unwrap();
            dockerfile[..start].lines().count() < usize::try_from(line).unwrap()
        });
        let (number, stage) = stage.unwrap();
        stage.from.name.as_ref().map_or_else(|| number.to_string(), |name| name.value.clone())
    };
    let steps = steps.iter().zip(0_u32..).map(|(step, vertex)| {
        let instruction = lines[usize::try_from(step.line - 1).unwrap()].to_owned();
        let ran = step.cause.is_some();
        StepRecord {
            vertex,
            number: Some(vertex + 1),
            name: instruction.clone(),
            stage: stage_of(step.line),
            step: Some(vertex + 1),
            platform: String::new(),
            instruction,
            line: Some(step.line),
            inputs: step.inputs.clone(),
            counts: true,
            outcome: if ran { Outcome::Ran } else { Outcome::Cached },
            cause_text: step.cause.as_ref().map(ToString::to_string),
            cause: step.cause.clone(),
            same_result: false,
            start_us: u64::from(ran),
            end_us: if ran { 1 + step.seconds * 1_000_000 } else { 0 },
            usage: None,
            layer_bytes: None,
            layer_entries: None,
            log: None,
            took_us: None,
            key: String::new(),
            exec: None,
        }
    });
    BuildRecord {
        schema: SCHEMA,
        bld: String::new(),
        id: "1-a".to_owned(),
        context: "/x".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        platforms: Vec::new(),
        started_us: 0,
        wall_us: 0,
        record_us: 0,
        status: Status::Succeeded,
        error: None,
        images: Vec::new(),
        phases: Vec::new(),
        steps: steps.collect(),
        critical_path: Vec::new(),
        arguments: arguments(&parsed, dockerfile.as_bytes()),
        index: crate::record::StepIndex::default(),
    }
}

fn step(line: u32, seconds: u64, cause: impl Into<Option<Cause>>, inputs: &[u32]) -> Step {
    Step { line, seconds, cause: cause.into(), inputs: inputs.to_vec() }
}

fn after(vertex: u32) -> Cause {
    Cause::Parent { vertex, name: String::new() }
}

fn arg(name: &str) -> Cause {
    let (was, is) = (Some("a".to_owned()), Some("b".to_owned()));
    let name = name.to_owned();
    Cause::Variable { source: VariableSource::Arg, name, was, is, change: Change::Changed }
}

fn files(taken: &str, paths: &[&str], how: &FileDifference, only_modes: bool) -> Cause {
    let first: Vec<FileChange> =
        paths.iter().map(|path| FileChange { path: (*path).to_owned(), how: how.clone() }).collect();
    let changes = FileChanges { total: 9, changed: first.len(), removed: 0, first, ignore_file: None, only_modes };
    Cause::Files { taken: taken.to_owned(), changes }
}

fn said(record: &BuildRecord) -> Vec<String> {
    advice(record).into_iter().map(|advice| advice.text).collect()
}

#[test]
fn an_argument_goes_where_it_is_named() {
    for (dockerfile, steps, expected) in [
        // Nobody names it: to the end of the stage.
        (
            "FROM x\nARG SHA\nRUN a\nRUN b\n",
            vec![step(3, 200, arg("SHA"), &[]), step(4, 52, after(0), &[0])],
            "ARG SHA (line 2) changed; 2 later RUNs do not name it; it cost 252 s; move it below line 4",
        ),
        // The step that names it runs anyway, and what is made of it.
        (
            "FROM x\nARG SHA\nRUN a\nRUN b\n\nRUN echo $SHA\nRUN c\n",
            vec![
                step(3, 1, arg("SHA"), &[]),
                step(4, 2, after(0), &[0]),
                step(6, 4, after(1), &[1]),
                step(7, 8, after(2), &[2]),
            ],
            "ARG SHA (line 2) changed; 2 later RUNs do not name it; it cost 3.0 s; move it below line 5",
        ),
        // A label that names it further down stays where it is.
        (
            "FROM x\nARG SHA\nRUN a\nLABEL sha=$SHA\n",
            vec![step(3, 12, arg("SHA"), &[])],
            "ARG SHA (line 2) changed; 1 later RUN does not name it; it cost 12 s; move it below line 3",
        ),
        // One further up moves with it.
        (
            "FROM x\nARG SHA\nLABEL sha=$SHA\nRUN a\nCOPY b /\n",
            vec![step(4, 12, arg("SHA"), &[]), step(5, 0, after(0), &[0])],
            "ARG SHA (line 2) changed; 1 later RUN does not name it; it cost 12 s; \
             move it and the LABEL of line 3 below line 5",
        ),
        // A step in between made the same files, so that the next had a cause of its own.
        (
            "FROM x\nARG SHA\nRUN a\nCOPY b /\nRUN c\n",
            vec![step(3, 2, arg("SHA"), &[]), step(4, 0, None, &[0]), step(5, 3, arg("SHA"), &[1])],
            "ARG SHA (line 2) changed; 2 later RUNs do not name it; it cost 5.0 s; move it below line 5",
        ),
        // What another stage makes of the stage would have been found too.
        (
            "FROM x AS one\nARG SHA\nRUN a\nFROM y\nCOPY --from=one / /\nRUN b\n",
            vec![step(3, 1, arg("SHA"), &[]), step(5, 2, after(0), &[0]), step(6, 4, after(1), &[1])],
            "ARG SHA (line 2) changed; 2 later RUNs do not name it; it cost 7.0 s; move it below line 3",
        ),
    ] {
        assert_eq!(said(&record(dockerfile, &steps)), [expected], "{dockerfile}");
    }
}

#[test]
fn an_argument_that_is_needed_there_stays() {
    for (dockerfile, name, line) in [
        ("FROM x\nARG SHA\nRUN echo $SHA\n", "SHA", 3),
        ("FROM x\nARG SHA\nRUN printenv SHA\n", "SHA", 3),
        ("FROM x\nARG SHA\nENV V=$SHA\nRUN a\n", "SHA", 4),
        ("FROM x\nARG CFLAGS\nRUN make\n", "CFLAGS", 3),
        ("FROM x\nARG http_proxy\nRUN make\n", "http_proxy", 3),
        ("FROM x\nARG PIP_INDEX_URL\nRUN a\n", "PIP_INDEX_URL", 3),
        ("FROM x AS a\nARG SHA\nFROM a\nRUN a\n", "SHA", 4),
    ] {
        assert_eq!(said(&record(dockerfile, &[step(line, 9, arg(name), &[])])), [""; 0], "{dockerfile}");
    }
}

#[test]
fn lists_of_packages_are_copied_first() {
    let all = |install: &str, changed: &[&str]| {
        let dockerfile = format!("FROM x\nCOPY . .\nRUN {install}\nRUN build\n");
        let cause = files("COPY .", changed, &FileDifference::Content, false);
        let steps = [step(2, 1, cause, &[]), step(3, 30, after(0), &[0]), step(4, 5, after(1), &[1])];
        said(&record(&dockerfile, &steps))
    };
    assert_eq!(
        all("npm ci", &["src/a.js"]),
        [
            "`COPY . .` (line 2) comes before `RUN npm ci` (line 3), which needs package.json and package-lock.json only: \
          copy those first, and everything else below it; it cost 30 s"
        ]
    );
    assert_eq!(
        all("apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*", &["a.c"]),
        [
            "`COPY . .` (line 2) comes before `RUN apt-get update && apt-get install -y gcc && r…` (line 3), which needs \
          none of the files: move line 2 below it; it cost 30 s"
        ]
    );
    for (install, is_told) in [
        ("--mount=type=cache,target=/c pip install -r requirements-dev.txt", true),
        ("pip install --no-cache-dir flask", true),
        ("pip install .", false),
        ("pip install -e . -r requirements.txt", false),
        ("pip install -r lists/all.txt", false),
        ("go mod download", true),
        ("go mod download && go build ./...", false),
        ("cargo fetch", true),
        ("cargo build", false),
        ("apt-get install -y ./own.deb", false),
        ("npm cit", false),
        ("echo npm ci", false),
        ("cat list | xargs apt-get install", false),
    ] {
        assert_eq!(!all(install, &["src/a"]).is_empty(), is_told, "{install}");
    }
    // What changed is what the step needs.
    assert_eq!(all("npm ci", &["src/a.js", "package.json"]), [""; 0]);
}

#[test]
fn permissions_are_levelled() {
    let how = FileDifference::Mode { was: 0o644, is: 0o664 };
    let steps = [
        step(2, 1, files("COPY src/", &["src/a"], &how, true), &[]),
        step(3, 30, after(0), &[0]),
        step(4, 0, None, &[]),
    ];
    assert_eq!(
        said(&record("FROM x\nCOPY src/ /\nRUN a\nRUN b\n", &steps)),
        ["nothing but permissions of files changed; 2 steps ran for it; it cost 31 s; \
          --context-perms=git takes them as git keeps them"]
    );
}

#[test]
fn the_dearest_comes_first_and_nothing_is_said_of_what_is_cached() {
    let dockerfile = "FROM x AS one\nARG A\nRUN a\nFROM x AS two\nARG B\nRUN b\n";
    let steps = [step(3, 1, arg("A"), &[]), step(6, 2, arg("B"), &[])];
    let found = advice(&record(dockerfile, &steps));
    assert_eq!(found.iter().map(|advice| advice.cost_us).collect::<Vec<_>>(), [2_000_000, 1_000_000]);
    let steps = [step(3, 1, None, &[]), step(6, 2, None, &[])];
    assert_eq!(said(&record(dockerfile, &steps)), [""; 0]);
}

/// A record from elsewhere that makes no sense costs no time and no memory.
#[test]
fn circles_end() {
    let steps = [step(3, 1, after(1), &[1]), step(4, 2, after(0), &[0])];
    assert_eq!(said(&record("FROM x\nARG A\nRUN a\nRUN b\n", &steps)), [""; 0]);
}
