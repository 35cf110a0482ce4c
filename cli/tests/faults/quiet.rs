//! What is not said, and what is not done.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::prediction;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::progress::Progress;

const DOCKERFILE: &str = "\
FROM busybox:1 AS one
COPY a /a
RUN cat /a > /b
FROM busybox:1
COPY --from=one /b /b
RUN ls /
";

struct Scene {
    store: Store,
    context: TempDir,
}

impl Scene {
    fn new(dockerfile: &str) -> Scene {
        let context = TempDir::new().unwrap();
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        fs::write(context.path().join("a"), "one\n").unwrap();
        Scene { store: Store::with(&[Base::Busybox]), context }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.context.path().join(name), text).unwrap();
    }

    fn bld(&self, arguments: &[&str]) -> Run {
        support::run(self.store.bld().args(arguments).arg(".").current_dir(self.context.path()))
    }

    /// Everything in the store, but for its database and what only makes the next look at a context quicker.
    fn files(&self) -> BTreeSet<String> {
        let found = support::run(Command::new("find").current_dir(self.store.root())).succeeded().stdout;
        let is_cache = |path: &str| ["./index.db", "./stat/", "./selections/"].iter().any(|it| path.starts_with(it));
        found.lines().filter(|path| !is_cache(path)).map(str::to_owned).collect()
    }

    /// Demands that it is still the same.
    #[track_caller]
    fn has_only(&self, files: &BTreeSet<String>) {
        let now = self.files();
        let difference: Vec<&String> = now.symmetric_difference(files).collect();
        assert!(difference.is_empty(), "{difference:?}");
    }

    /// What the store says of itself.
    fn listings(&self) -> Vec<String> {
        let listings: [&[&str]; 3] = [&["images", "-a", "-q"], &["builds", "ls", "-q"], &["cache", "ls", "-a", "-q"]];
        let say = |arguments: &&[&str]| support::run(self.store.bld().args(*arguments)).succeeded().stdout;
        listings.iter().map(say).collect()
    }
}

#[test]
fn a_plan_does_nothing() {
    let scene = Scene::new(DOCKERFILE);
    let (files, listings) = (scene.files(), scene.listings());
    let cold = scene.bld(&["plan", "-t", "planned:1", "--json"]);
    assert_eq!((cold.code, cold.stderr.as_str()), (Some(10), ""), "{}", cold.failure());
    scene.has_only(&files);
    assert_eq!(scene.listings(), listings);
    let report = scene.context.path().join("report.json");
    scene.bld(&["build", "--report", report.to_str().unwrap()]).succeeded();
    fs::remove_file(&report).unwrap();
    let (files, listings) = (scene.files(), scene.listings());
    scene.write("a", "two\n");
    for arguments in [&["plan"][..], &["plan", "--json"], &["plan", "--no-cache"], &["plan", "-o", "out"]] {
        let planned = scene.bld(arguments);
        assert_eq!((planned.code, planned.stderr.as_str()), (Some(10), ""), "{}", planned.failure());
    }
    assert!(!scene.context.path().join("out").exists());
    scene.has_only(&files);
    assert_eq!(scene.listings(), listings);
    // It is told as if nobody had asked before.
    let built = scene.bld(&["build", "--progress", "plain"]).succeeded();
    assert!(built.stderr.contains("MISS COPY a: 1 of 1 file changed: a (content)\n"), "{}", built.failure());
}

/// The build after it need not hash the context again.
#[test]
fn a_plan_remembers_what_it_read() {
    let scene = Scene::new(DOCKERFILE);
    // What changed just now is not remembered.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let remembered = || fs::read_dir(scene.store.root().join("stat")).unwrap().count();
    assert_eq!(remembered(), 0);
    assert_eq!(scene.bld(&["plan"]).code, Some(10));
    assert_eq!(remembered(), 1);
}

#[test]
fn quiet_builds_explain_nothing() {
    let scene = Scene::new(DOCKERFILE);
    let built = scene.bld(&["build", "-q"]).succeeded();
    assert_eq!(built.stderr, "");
    scene.write("a", "two\n");
    for arguments in [&["build", "-q"][..], &["build", "--progress", "quiet"]] {
        let built = scene.bld(arguments).succeeded();
        assert!(built.stderr.is_empty() && built.stdout.lines().count() == 1, "{}", built.failure());
        scene.write("a", "three\n");
    }
}

/// One line more for each step that runs, right below its name; the rest is as ever.
#[test]
fn plain_progress_has_one_line_more() {
    let scene = Scene::new(DOCKERFILE);
    for round in ["one\n", "two\n", "two\n"] {
        scene.write("a", round);
        let built = scene.bld(&["build", "--progress", "plain"]).succeeded();
        let lines: Vec<&str> = built.stderr.lines().collect();
        let is_miss = |line: &str| line.starts_with('#') && line.split(' ').nth(1) == Some("MISS");
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_miss(line)) {
            let number = line.split(' ').next().unwrap();
            assert!(lines[at - 1].starts_with(&format!("{number} [")), "{}", built.failure());
        }
        let without: Vec<&str> = lines.iter().copied().filter(|line| !is_miss(line)).collect();
        let steps =
            Progress::parse(&without.join("\n")).executed().iter().filter(|step| !step.starts_with("FROM")).count();
        assert_eq!(lines.len() - without.len(), steps, "{}", built.failure());
    }
}

#[test]
fn no_cause_shows_a_secret() {
    const TOKENS: [&str; 2] = ["tok-73915-first", "tok-73915-second"];
    const SECRETS: [&str; 2] = ["sec-24680-first", "sec-24680-second"];
    let dockerfile = "FROM busybox:1\nARG API_TOKEN\nRUN true\nARG V\nRUN --mount=type=secret,id=key true $V\nENV PASSED=$V\nCOPY a /$V/\n";
    let scene = Scene::new(dockerfile);
    let report = scene.context.path().join("report");
    fs::create_dir(&report).unwrap();
    for (round, (token, secret)) in TOKENS.iter().zip(SECRETS).enumerate() {
        scene.write("key", secret);
        // An ARG that the Dockerfile changes with it, too.
        scene.write("Dockerfile", &dockerfile.replace("true $V", &format!("true $V {round} {secret}")));
        let file = report.join(format!("{round}.json"));
        let arguments = [format!("API_TOKEN={token}"), format!("V={secret}")];
        let common = ["--build-arg", &arguments[0], "--build-arg", &arguments[1], "--secret", "id=key,src=key"];
        let said = [
            scene.bld(&[&["plan"], &common[..]].concat()),
            scene.bld(&[&["plan", "--json"], &common[..]].concat()),
            scene.bld(&[&["build", "--progress", "plain", "--report", file.to_str().unwrap()], &common[..]].concat()),
            support::run(scene.store.bld().args(["why"]).current_dir(scene.context.path())),
            support::run(scene.store.bld().args(["why", "--format", "json"]).current_dir(scene.context.path())),
        ];
        let written = fs::read_to_string(&file).unwrap();
        for run in &said {
            assert!([Some(0), Some(10)].contains(&run.code), "{}", run.failure());
            // What the Dockerfile says is shown as it stands there.
            let is_told = |line: &&str| !line.starts_with('#') || line.contains(" MISS ");
            let told: Vec<&str> = run.stderr.lines().filter(is_told).chain(run.stdout.lines()).collect();
            assert!(SECRETS.iter().all(|secret| !told.concat().contains(secret)), "{}", run.failure());
        }
        let (plan, report): (Value, Value) =
            (serde_json::from_str(&said[1].stdout).unwrap(), serde_json::from_str(&written).unwrap());
        for document in [&plan, &report] {
            let steps = document["steps"].as_array().unwrap();
            let causes: Vec<String> =
                steps.iter().map(|step| format!("{}{}", step["cause"], step["cause_text"])).collect();
            let causes = causes.join("\n");
            for value in TOKENS.iter().chain(&SECRETS) {
                assert!(!causes.contains(value), "{causes}");
            }
            assert!(round == 0 || causes.contains("ARG API_TOKEN changed"), "{causes}");
        }
        // What changed in a step is a secret here, and cannot be told: what is told instead depends on what became of the step above.
        let mut differences = prediction::compare(&plan, &report);
        differences.retain(|difference| !difference.contains("is another"));
        assert_eq!(differences, Vec::<String>::new());
        assert!(SECRETS.iter().all(|secret| !written.contains(secret)), "{written}");
    }
}

#[test]
fn builds_that_must_be_cached() {
    let scene = Scene::new(DOCKERFILE);
    let fails = |arguments: &[&str], code: u8, said: &str| {
        let (files, listings) = (scene.files(), scene.listings());
        let run = scene.bld(arguments);
        assert_eq!(run.code, Some(code.into()), "{}", run.failure());
        assert!(run.stderr.contains(said), "{}", run.failure());
        scene.has_only(&files);
        let images = |listings: Vec<String>| listings[0].clone();
        assert_eq!(images(scene.listings()), images(listings));
        run
    };
    for arguments in [&["build", "--fail-on-miss"][..], &["build", "--fail-on-miss=one", "-q"]] {
        fails(arguments, 10, "is not cached");
    }
    let both: [&[&str]; 2] = [&["plan", "--fail-on-miss"], &["plan", "--fail-on-miss=one"]];
    for arguments in both {
        fails(arguments, 10, "");
    }
    for command in ["plan", "build"] {
        fails(&[command, "--fail-on-miss=two"], 2, "the build has no such stage");
    }
    scene.bld(&["build"]).succeeded();
    for arguments in [&["build", "--fail-on-miss"][..], &["plan", "--fail-on-miss"], &["build", "--fail-on-miss=one"]] {
        scene.bld(arguments).succeeded();
    }
    // Another stage may run what it likes.
    scene.write("Dockerfile", &DOCKERFILE.replace("ls /", "ls -l /"));
    scene.bld(&["plan", "--fail-on-miss=one"]).succeeded();
    fails(&["plan", "--fail-on-miss=1"], 10, "");
    fails(&["plan", "--fail-on-miss"], 10, "");
    fails(&["build", "--fail-on-miss"], 10, "command changed: ls / -> ls -l /");
    scene.bld(&["build", "--fail-on-miss=one"]).succeeded();
    // What is not cached says why.
    scene.write("a", "two\n");
    fails(&["build", "--fail-on-miss=one"], 10, "COPY a: 1 of 1 file changed: a (content)");
}
