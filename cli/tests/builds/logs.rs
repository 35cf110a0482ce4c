//! `bld logs`: every byte, of steps that ran and of those that did not have to.

use std::process::Command;

use super::Scene;
use super::holds;
use crate::support;

/// Prints half a megabyte with every byte there is in it, and no line end at the end.
const NOISY: &str = "FROM busybox:1 AS work\n\
    RUN for i in 0 1 2 3 4 5 6 7; do cat /noise; done; printf end\n\
    RUN true\n\
    FROM busybox:1\n\
    COPY --from=work /noise /\n\
    RUN echo last >&2\n";

fn noise() -> Vec<u8> {
    (0..=255_u8).cycle().take(65_536).collect()
}

#[test]
fn nothing_is_lost() {
    let dockerfile = NOISY.replace("AS work\n", "AS work\nCOPY noise /\n");
    let scene = Scene::new(&dockerfile);
    std::fs::write(scene.path().join("noise"), noise()).unwrap();
    let first = scene.build(&[]);
    let second = scene.build(&[]);
    let raw = |arguments: &[&str]| scene.command(arguments).output().unwrap().stdout;
    let mut expected = noise().repeat(8);
    expected.extend(b"end");
    for build in [&first, &second] {
        assert!(raw(&["logs", build, "work:3"]) == expected, "build {build}");
        assert!(raw(&["logs", build, "work:4"]).is_empty());
    }
    // All steps: those that printed nothing have no heading, and a heading begins a line.
    let all = raw(&["logs", &second]);
    let text = String::from_utf8_lossy(&all);
    let cached = format!(" (cached: ran in build {})\n", first.split_once('-').unwrap().1);
    holds(&text, &[&format!("RUN echo last >&2{cached}last\n"), "end\n#"]);
    assert!(!text.contains("RUN true") && !text.contains("COPY"), "{text}");
    assert!(all.windows(expected.len()).any(|window| window == expected));
    // The build that printed it is forgotten; the results it made still have their output.
    scene.says(&["builds", "rm", &first]);
    assert!(raw(&["logs", &second, "work:3"]) == expected);
    // With the results it goes for good, and that is said.
    scene.says(&["prune", "--all"]);
    let gone = scene.bld(&["logs", &second, "work:3"]);
    assert_eq!(gone.code, Some(1), "{}", gone.failure());
    holds(&gone.stderr, &["what work:3 printed is gone", &first]);
    let all = scene.bld(&["logs", &second]).succeeded();
    holds(&all.stderr, &["note: what work:3 printed is gone"]);
    holds(&scene.says(&["builds", "show", &second]), &[" gone\n"]);
}

#[test]
fn the_output_of_a_failure_is_there() {
    let scene = Scene::new("FROM busybox:1\nRUN echo fine\nRUN echo wrong >&2; exit 7\nRUN echo never\n");
    assert_eq!(scene.bld(&["build", "."]).code, Some(1));
    assert_eq!(scene.says(&["logs", "failed"]), "wrong\n");
    assert_eq!(scene.says(&["logs", "3"]), "wrong\n");
    assert_eq!(scene.says(&["logs", "4"]), "");
    assert_eq!(scene.says(&["logs", "last", "2"]), "fine\n");
    let all = scene.says(&["logs"]);
    holds(&all, &["RUN echo fine\nfine\n", "exit 7\nwrong\n"]);
    assert!(!all.contains("never"), "{all}");
    let why = scene.says(&["why"]);
    holds(&why, &["first build here", "because of", "(failed)", "1 step was not reached", "it failed: "]);
    holds(&scene.says(&["why", "failed"]), &["Outcome:     failed after ", "Why:  "]);
    holds(&scene.says(&["why", "4"]), &["not reached: the build ended before it could begin"]);
}

/// What a terminal would obey does not get there.
#[test]
fn terminals_are_not_told_what_to_do() {
    let scene = Scene::new("FROM busybox:1\nRUN printf '\\033[2J10%%\\r20%%\\r\\n\\033[31mred\\n'\n");
    scene.build(&[]);
    assert_eq!(scene.says(&["logs", "2"]), "\u{1b}[2J10%\r20%\r\n\u{1b}[31mred\n");
    let bld = env!("CARGO_BIN_EXE_bld");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{bld} logs 2"), "/dev/null"]).env("BLD_ROOT", scene.store.root());
    let shown = support::run(script.current_dir(scene.path())).succeeded().stdout.replace("\r\n", "\n");
    assert_eq!(shown, "10%\n20%\n\u{1b}[31mred\n");
}

#[test]
fn flags_of_docker_logs_are_refused_by_name() {
    let scene = Scene::new("FROM busybox:1\nRUN echo x\n");
    scene.build(&[]);
    for flag in ["-f", "--follow", "--tail=3", "-t"] {
        let refused = scene.bld(&["logs", flag]);
        assert_eq!(refused.code, Some(2), "{}", refused.failure());
        holds(&refused.stderr, &[&format!("error: `{}` is not supported: ", flag.split('=').next().unwrap())]);
    }
    // A reader that has enough is no failure of bld's.
    let mut shell = Command::new("sh");
    let bld = env!("CARGO_BIN_EXE_bld");
    shell.args(["-c", &format!("{bld} logs 2 | true")]).env("BLD_ROOT", scene.store.root());
    assert_eq!(support::run(shell.current_dir(scene.path())).succeeded().stderr, "");
}
