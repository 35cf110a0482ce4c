//! `--no-cache=STAGE[:STEP]`.

use super::COPY;
use super::COUNT;
use super::MAKE;
use super::Scene;
use super::TAKE;

#[test]
fn a_stage_or_a_step_runs_again() {
    let scene = Scene::built();
    // What it makes is the same: nothing else runs.
    scene.runs(&["--no-cache=make:3"], &[MAKE]);
    scene.runs(&["--no-cache=MAKE:2"], &[COPY]);
    scene.runs(&["--no-cache=0:2"], &[COPY]);
    scene.runs(&["--no-cache=make"], &[COPY, MAKE]);
    scene.runs(&["--no-cache=1"], &[TAKE, COUNT]);
    scene.runs(&["--no-cache=stage-1:3"], &[COUNT]);
    scene.runs(&["--no-cache=make:3,1:3"], &[MAKE, COUNT]);
    scene.runs(&["--no-cache=make:3", "--no-cache=1:2"], &[MAKE, TAKE]);
    scene.runs(&["--no-cache-filter", "make", "--no-cache=1:3"], &[COPY, MAKE, COUNT]);
    for all in ["--no-cache", "--no-cache=true"] {
        scene.runs(&[all], &[COPY, MAKE, TAKE, COUNT]);
    }
    scene.runs(&["--no-cache=false"], &[]);
    let run = scene.run(&["build", "--network", "none", "--no-cache=make:3", "."]).succeeded();
    assert!(run.stderr.contains("MISS --no-cache"), "{}", run.stderr);
}

#[test]
fn one_stage_needs_no_name() {
    let scene = Scene::new("FROM busybox:1\nRUN echo one\nRUN echo two > /two\n");
    scene.build(&[]);
    scene.runs(&["--no-cache=3"], &["RUN echo two > /two"]);
    scene.runs(&["--no-cache=0:2"], &["RUN echo one"]);
    scene.runs(&["--no-cache=0"], &["RUN echo one", "RUN echo two > /two"]);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let scene = Scene::built();
    for (value, expected) in [
        ("made", "`--no-cache=made`: there is no such stage"),
        ("make:4", "`--no-cache=make:4`: there is no such step"),
        ("make:4", "hint: stage `make` has the steps 2 to 3"),
        ("make:1", "`--no-cache=make:1`: that step is FROM"),
        ("make:x", "`--no-cache=make:x`: the step is not a number"),
        ("7:1", "`--no-cache=7:1`: there is no such stage"),
        ("", "`--no-cache=` needs a stage, or STAGE:N for a step"),
    ] {
        let run = scene.run(&["build", &format!("--no-cache={value}"), "."]);
        assert_eq!(run.code, Some(2), "{}", run.failure());
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
    scene.runs(&[], &[]);
}
