//! Build checks and the other calls, as a user meets them.
//!
//! ```text
//! testdata/checks/RULE-fires.Dockerfile          with .txt: what `bld build --check` prints, and its exit code
//!                 RULE-silent.Dockerfile         the rule has nothing to say
//!                 RULE-skipped.Dockerfile        the file does not want to hear it
//!                 NAME.args                      further arguments, one a line
//!                 NAME.Dockerfile.dockerignore   the ignore file
//! testdata/checks/calls/NAME.Dockerfile          with .outline.txt, .outline.json, .targets.txt, .targets.json
//! ```
//! `UPDATE=1` rewrites what is expected: read the difference before believing it.

mod rules;

use std::path::Path;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

#[test]
fn findings() {
    let directory = support::testdata("checks");
    let store = Store::with(&[Base::Busybox]);
    let names = dockerfiles(&directory);
    assert!(names.len() >= 3 * 22, "only {} files", names.len());
    let problems = support::for_each(&names, |name| {
        let mut arguments = vec!["--check".to_owned()];
        if let Ok(further) = std::fs::read_to_string(directory.join(format!("{name}.args"))) {
            arguments.extend(further.lines().map(str::to_owned));
        }
        let done = call(&store, &directory, name, &arguments);
        let mut problems = support::golden(&directory.join(format!("{name}.txt")), &shown(&done));
        let (rule, case) = name.rsplit_once('-').unwrap_or((name, ""));
        if bld_parser::rules::find(rule).is_some() {
            let fires = done.stdout.contains(&format!("WARNING: {rule}\n"));
            if ["silent", "skipped", "fires"].contains(&case) && fires != (case == "fires") {
                problems.push(format!("{name}: the rule {}", if fires { "fires" } else { "does not fire" }));
            }
        }
        problems
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn outlines_and_targets() {
    let directory = support::testdata("checks/calls");
    let store = Store::with(&[Base::Busybox]);
    let problems = support::for_each(&dockerfiles(&directory), |name| {
        let calls = ["outline", "targets"].into_iter().flat_map(|call| [(call, "txt"), (call, "json")]);
        calls
            .flat_map(|(method, format)| {
                let format_argument = if format == "json" { ",format=json" } else { "" };
                let done = call(&store, &directory, name, &[format!("--call={method}{format_argument}")]);
                support::golden(&directory.join(format!("{name}.{method}.{format}")), &shown(&done))
            })
            .collect()
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A store is neither needed nor made.
#[test]
fn calls_need_no_store() {
    let nowhere = tempfile::TempDir::new().unwrap();
    let root = nowhere.path().join("store");
    let directory = support::testdata("checks/calls");
    for method in ["check", "outline", "targets", "subrequests.describe", "subrequests.describe,format=json"] {
        let mut command = support::bld(&root);
        command.args(["build", "--call", method, "-f"]).arg(directory.join("full.Dockerfile")).arg(&directory);
        let done = support::run(&mut command);
        assert!(done.code == Some(0) || method == "check", "{}", done.failure());
        assert!(!root.exists(), "{method} makes a store");
        if method.ends_with("json") {
            let parsed: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
            assert_eq!(parsed[0]["name"], "frontend.outline");
        }
    }
}

#[test]
fn a_check_as_json() {
    let store = Store::empty();
    let directory = support::testdata("checks");
    let done = call(&store, &directory, "MaintainerDeprecated-fires", &["--call=check,format=json".to_owned()]);
    assert_eq!(done.code, Some(1), "{}", done.failure());
    let parsed: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let warning = &parsed["warnings"][0];
    assert_eq!(warning["ruleName"], "MaintainerDeprecated");
    assert_eq!(warning["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(parsed["sources"][0]["language"], "Dockerfile");
}

/// Strictness, `error=true`, the list at the end, `--quiet`.
#[test]
fn warnings_of_a_build() {
    let store = Store::empty();
    let context = tempfile::TempDir::new().unwrap();
    let build = |text: &str, arguments: &[&str]| {
        std::fs::write(context.path().join("Dockerfile"), text).unwrap();
        support::run(store.bld().args(["build", "--progress=plain"]).args(arguments).arg(context.path()))
    };
    let traps = [
        ("FROM scratch\nWORKDIR /$X\n", "UndefinedVar", &[][..]),
        ("FROM scratch\nCMD ['a']\n", "JsonLookingShellForm", &[]),
        ("FROM scratch\nWORKDIR /a # b\n", "TrailingComment", &[]),
        ("FROM scratch\nCOPY *.nothing /\n", "EmptyWildcard", &[]),
        (
            "FROM scratch AS a\nWORKDIR /d\nFROM scratch\nCOPY --from=a /d/*.nothing /\nWORKDIR /e\nCOPY --from=a /d /d\n",
            "EmptyWildcard",
            &[],
        ),
        ("ARG A\nFROM scratch\nWORKDIR /a\n", "UnusedBuildArg", &["--build-arg=B=1"]),
    ];
    for (text, rule, arguments) in traps {
        for _ in ["cold", "warm"] {
            let done = build(text, arguments).succeeded();
            assert_eq!(done.stderr.matches(&format!("[{rule}]")).count(), 1, "{}", done.failure());
            assert!(done.stderr.contains("1 warning found"), "{}", done.failure());
        }
        let quiet = build(text, &[arguments, &["--quiet"]].concat()).succeeded();
        assert_eq!(quiet.stderr, "");
        let strict = build(text, &[arguments, &["--strict"]].concat());
        assert_eq!(strict.code, Some(1), "{}", strict.failure());
        let skipped = build(&format!("# check=skip={rule}\n{text}"), &[arguments, &["--strict"]].concat()).succeeded();
        assert!(!skipped.stderr.contains(rule), "{}", skipped.failure());
        let overridden = format!("--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip={rule}");
        let overridden = build(text, &[arguments, &[&overridden, "--strict"]].concat()).succeeded();
        assert!(!overridden.stderr.contains(rule), "{}", overridden.failure());
    }
    let fatal = build("# check=error=true\nFROM scratch\nMAINTAINER a\nWORKDIR /a\n", &[]);
    assert_eq!(fatal.code, Some(1), "{}", fatal.failure());
    assert!(fatal.stderr.contains("[MaintainerDeprecated]"), "{}", fatal.failure());
    let wrong = build("FROM scratch\n", &["--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.failure());
}

fn dockerfiles(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".Dockerfile").map(str::to_owned)).collect();
    names.sort();
    names
}

fn call(store: &Store, directory: &Path, name: &str, arguments: &[String]) -> Run {
    let mut command = store.bld();
    command.current_dir(directory).arg("build").args(arguments).args(["-f", &format!("{name}.Dockerfile"), "."]);
    support::run(&mut command)
}

fn shown(done: &Run) -> String {
    format!("{}{}exit {}\n", done.stdout, done.stderr, done.code.unwrap_or(-1))
}
