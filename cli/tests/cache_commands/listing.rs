//! `bld cache ls`, `show`, `rm` and `du`.

use std::path::Path;

use super::COPY;
use super::COUNT;
use super::DOCKERFILE;
use super::MAKE;
use super::Scene;
use super::TAKE;
use super::du;
use super::is_evicted;
use crate::support;

/// What differs from one run to the next, as `*` of the same length where columns stand.
fn masked(scene: &Scene, text: &str) -> String {
    let path = scene.path();
    let text = text.replace(path.to_str().unwrap(), "PROJECT");
    let mut out = String::new();
    let mut is_base = true;
    for line in text.lines().filter(|line| !line.starts_with("  variant ")) {
        let mut line = line.to_owned();
        if let Some(at) = line.strip_prefix("  architecture").map(|rest| line.len() - rest.trim_start().len()) {
            line.replace_range(at.., "*");
        }
        for name in ["Made by:", "Cost:", "Log:", "Created:", "Last used:", "State:", "Key:", "Layer:", "ID:"] {
            if let Some(rest) = line.strip_prefix(name) {
                let blanks: String = rest.chars().take_while(|letter| *letter == ' ').collect();
                let tail = rest.rsplit_once("   ").filter(|_| name == "Layer:").map(|(_, tail)| format!("   {tail}"));
                // How large the base image is depends on the machine.
                let tail = tail.filter(|_| name != "Layer:" || !std::mem::take(&mut is_base));
                line = format!("{name}{blanks}*{}", tail.unwrap_or_default());
            }
        }
        let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some((start, last)) = line.rsplit_once(' ').filter(|(_, last)| is_digest(last)) {
            line = format!("{start} {}", "*".repeat(usize::from(!last.is_empty())));
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[track_caller]
fn golden(name: &str, actual: &str) {
    let expected = support::project().join("cli/tests/cache_commands").join(name);
    let failures = support::golden(&expected, actual);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn results_are_listed_with_the_step_that_made_them() {
    let scene = Scene::built();
    let row = "table {{.Step}}\t{{.Stage}}\t{{.Instruction}}\t{{.Size}}\t{{.Keys}}\t{{.Project}}";
    golden("ls.txt", &masked(&scene, &scene.says(&["cache", "ls", "--format", row])));
    let ids = scene.says(&["cache", "ls", "-q"]);
    assert_eq!(ids.lines().count(), 4);
    assert!(ids.lines().all(|id| id.len() == 12));
    assert!(scene.says(&["cache", "ls", "-q", "--no-trunc"]).lines().all(|id| id.len() == 64));
    let heading = scene.says(&["cache", "ls"]).lines().next().unwrap().to_owned();
    let words: Vec<&str> = heading.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["ID", "STEP", "INSTRUCTION", "SIZE", "COST", "CREATED", "LAST USED", "PROJECT"]);
    let json = scene.says(&["cache", "ls", "--format", "json"]);
    for line in json.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["Project"], scene.path().to_str().unwrap());
    }
    // The base image is nobody's in particular.
    assert!(scene.says(&["cache", "ls", "--all"]).lines().count() >= 5);
}

#[test]
fn lists_are_narrowed_by_project_stage_and_step() {
    let scene = Scene::built();
    let listed = |arguments: &[&str]| {
        let format = ["--format", "{{.Instruction}}"];
        let said = scene.says(&[&["cache", "ls"][..], arguments, &format].concat());
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), [COUNT, TAKE, MAKE, COPY]);
    assert_eq!(listed(&["--stage", "make"]), [MAKE, COPY]);
    assert_eq!(listed(&["--stage", "1"]), [COUNT, TAKE]);
    assert_eq!(listed(&["--stage", "stage-1"]), [COUNT, TAKE]);
    assert_eq!(listed(&["--step", "make:3"]), [MAKE]);
    assert_eq!(listed(&["--step", "2"]), [TAKE, COPY]);
    assert_eq!(listed(&["--stage", "nothing"]), [""; 0]);
    assert_eq!(listed(&["--filter", "instruction=COPY --from"]), [TAKE]);
    assert_eq!(listed(&["--filter", "instruction=RUN", "--filter", "stage=make"]).len(), 1);
    assert_eq!(listed(&["--filter", "unused-for=1h"]), [""; 0]);
    assert_eq!(listed(&["--project", "."]).len(), 4);
    assert_eq!(listed(&["--project", "src"]), [""; 0]);
    // Another project of the same store.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("Dockerfile"), "FROM busybox:1\nRUN echo other\n").unwrap();
    let directory = other.path().to_str().unwrap();
    scene.run(&["build", "--network", "none", directory]).succeeded();
    assert_eq!(listed(&[]).len(), 4);
    assert_eq!(listed(&["--project", directory]), ["RUN echo other"]);
    assert_eq!(listed(&["--filter", &format!("project={directory}")]), ["RUN echo other"]);
    assert!(listed(&["--all"]).len() > 5);
    // Nobody's directory: all of them.
    let mut elsewhere = scene.command(&["cache", "ls", "-q"]);
    assert!(support::run(elsewhere.current_dir("/")).succeeded().stdout.lines().count() >= 5);
    for (arguments, expected) in [
        (["--filter", "size=3"], "there is no such filter\nhint: the filters are unused-for, until, stage"),
        (["--filter", "until=soon"], "it is not a duration"),
        (["--step", "x"], "`--step x` is no step"),
        (["--format", "{{.Nothing}}"], "there is no field `.Nothing`"),
    ] {
        let said = scene.fails(&[&["cache", "ls"][..], &arguments].concat());
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn everything_about_a_result_but_its_secrets() {
    let scene = Scene::built();
    golden("show.txt", &masked(&scene, &scene.says(&["cache", "show", "make:3"])));
    let id = scene.says(&["cache", "ls", "-q", "--step", "make:3"]);
    let json = scene.says(&["cache", "show", id.trim(), "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((shown["Step"].as_str(), shown["LogBytes"].as_u64()), (Some("make 3/3"), Some(5)));
    assert_eq!(shown["Layers"].as_array().unwrap().len(), 3);
    assert_eq!(scene.says(&["cache", "show", "1:2", "--format", "{{.Instruction}}"]).trim(), TAKE);
    for format in [&[][..], &["--format", "json"]] {
        assert!(!scene.says(&[&["cache", "show", "make:3"][..], format].concat()).contains("hidden"));
    }
    for (text, expected) in [
        ("make:9", "the build has no step `make:9`"),
        ("0123456789", "there is no result `0123456789`"),
        ("nothing", "`nothing` is neither an ID nor a step"),
        ("", "`` is neither an ID nor a step"),
        ("99", "the build has no step `99`"),
        ("#99", "the build has no step `#99`"),
        ("ab3", "`ab3` is too short for an ID"),
    ] {
        let said = scene.fails(&["cache", "show", text]);
        assert!(said.contains(expected), "{said}");
    }
    // Every key is its own id; the beginning must be unique.
    let key = shown["Keys"][1].as_str().unwrap();
    assert_eq!(scene.says(&["cache", "show", key, "--format", "{{.Step}}"]), "make 3/3\n");
}

#[test]
fn what_is_removed_runs_again_and_nothing_else() {
    let scene = Scene::built();
    let run = scene.run(&["cache", "rm", "1:3"]).succeeded();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("Removed: ") && lines[0].ends_with(&format!("[stage-1 3/3] {COUNT}")), "{lines:?}");
    assert!(run.stderr.contains("note: the next build makes stage-1 3/3 again; steps after it"), "{}", run.stderr);
    assert!(lines[1].starts_with("Total reclaimed space: "), "{lines:?}");
    let again = scene.run(&["build", "--network", "none", "."]).succeeded();
    assert!(is_evicted(&again.stderr, "by bld cache rm"), "{}", again.stderr);
    assert!(again.stderr.contains("1 step ran, 3 were cached"), "{}", again.stderr);
    // What is made of a step that is not the last one is found again, if it makes the same.
    scene.says(&["cache", "rm", "make:3"]);
    let gone = scene.says(&["cache", "show", "make:3"]);
    assert!(gone.contains("   removed Less than a second ago by bld cache rm ("), "{gone}");
    scene.runs(&[], &[MAKE]);
    scene.runs(&[], &[]);
    scene.says(&["cache", "rm", "--stage", "make"]);
    scene.runs(&[], &[COPY, MAKE]);
    let id = scene.says(&["cache", "ls", "-q", "--step", "make:2"]);
    scene.says(&["cache", "rm", id.trim(), "1:2"]);
    scene.runs(&[], &[COPY, TAKE]);
    scene.runs(&[], &[]);
    // Everything of the project, but nothing of another.
    assert!(scene.says(&["cache", "rm", "--project", "."]).lines().count() >= 5);
    assert_eq!(scene.says(&["cache", "ls", "-q", "--project", "."]), "");
    scene.runs(&[], &[COPY, MAKE, TAKE, COUNT]);
    scene.says(&["cache", "rm", "--all"]);
    assert_eq!(scene.says(&["cache", "ls", "-q", "--all"]), "");
    assert_eq!(scene.says(&["cache", "rm", "--all"]), "Total reclaimed space: 0B\n");
    let layers = scene.store.root().join("layers");
    assert_eq!(std::fs::read_dir(layers).unwrap().count(), 0);
    scene.runs(&[], &[COPY, MAKE, TAKE, COUNT]);
    for arguments in [&[][..], &["--all", "0123"]] {
        let said = scene.fails(&[&["cache", "rm"][..], arguments].concat());
        assert!(said.contains("takes either IDs or --stage, --step, --project and --all"), "{said}");
    }
    let said = scene.fails(&["cache", "rm", "1:3", "0123456789ab"]);
    assert!(said.contains("there is no result `0123456789ab`: nothing was removed"), "{said}");
    let said = scene.fails(&["cache", "rm", "--stage", "nothing"]);
    assert!(said.contains("there is no such result"), "{said}");
    scene.runs(&[], &[]);
}

#[test]
fn the_sum_is_what_is_on_disk() {
    let dockerfile =
        format!("{DOCKERFILE}RUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/x bs=1000 count=300\n");
    let scene = Scene::new(&dockerfile);
    scene.build(&["-t", "app"]);
    scene.write("src/a", "another\n");
    scene.build(&["--squash"]);
    scene.write("Failing", "FROM busybox:1\nRUN dd if=/dev/zero of=/left bs=1000 count=800 && false\n");
    scene.fails(&["build", "--network", "none", "-f", "Failing", "."]);
    let is = du(scene.store.root());
    let said = scene.total();
    assert!(said.abs_diff(is) * 100 <= is, "{said} instead of {is}");
    let rows = |arguments: &[&str]| -> Vec<(String, u64)> {
        let format = ["--format", "{{.Name}}\t{{.Bytes}}"];
        let said = scene.says(&[&["cache", "du"][..], arguments, &format].concat());
        let row = |line: &str| line.split_once('\t').map(|(name, size)| (name.to_owned(), size.parse().unwrap()));
        said.lines().filter_map(row).collect()
    };
    for arguments in [
        &[][..],
        &["--by", "project"],
        &["--by", "stage"],
        &["--by", "step"],
        &["--by", "mount"],
        &["-v"],
        &["--by", "step", "-v"],
    ] {
        let mut parts = rows(arguments);
        let (name, total) = parts.pop().unwrap();
        assert_eq!((name.as_str(), total), ("Total", parts.iter().map(|(_, size)| size).sum()), "{arguments:?}");
    }
    let size = |arguments: &[&str], name: &str| {
        rows(arguments).iter().filter(|(found, _)| found.contains(name)).map(|(_, size)| *size).collect::<Vec<_>>()
    };
    let project = scene.path();
    let steps = size(&[], "Results of steps")[0];
    assert_eq!(size(&["--by", "project"], project.to_str().unwrap()), [steps]);
    assert!((300_000..330_000).contains(&size(&["--by", "mount"], "/c")[0]));
    // Two results of the one step, of some 900 kB each.
    assert!(size(&["--by", "step"], "] RUN cat")[0] > 1_800_000);
    assert!((800_000..830_000).contains(&size(&[], "Files of a failed step")[0]));
    let table = scene.says(&["cache", "du"]);
    let names: Vec<&str> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let known = [
        "NAME",
        "Results of steps",
        "Cache mounts",
        "Base images, unpacked",
        "Images",
        "Files of a failed step",
        "Records, logs and the rest",
        "Total",
    ];
    assert_eq!(names.iter().filter(|name| **name != "Nothing needs it").copied().collect::<Vec<_>>(), known);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let scene = Scene::new(DOCKERFILE);
    let said = scene.fails(&["--root", "/nonexistent/store", "cache", "ls"]);
    assert!(said.contains("there is no store in /nonexistent/store"), "{said}");
    assert!(!Path::new("/nonexistent").exists());
    for arguments in [["cache", "ls", "-q"], ["cache", "mount", "ls"]] {
        assert!(scene.says(&arguments).lines().count() <= 1);
    }
}
