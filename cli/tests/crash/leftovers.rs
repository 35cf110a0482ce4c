//! Processes that a step leaves behind, and a build that waits for one that dies.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use super::MERCY;
use super::site::mark;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::host;

/// Far more than a step takes that is over at once, even on a busy machine, and far less than its leftovers would sleep.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Builds one RUN step; answers how it went and how long it took.
fn step(command: &str) -> (Run, Duration) {
    let store = Store::with(&[Base::Busybox]);
    let context = TempDir::new().unwrap();
    fs::write(context.path().join("Dockerfile"), format!("FROM busybox:1\nRUN {command}\nRUN ps\n")).unwrap();
    let start = Instant::now();
    let run = support::run(store.bld().args(["build", "--progress", "plain"]).arg(context.path()));
    let took = start.elapsed();
    assert_eq!(host::mounts(store.root()), [""; 0]);
    assert!(host::eventually(MERCY, || host::processes(store.root()).is_empty()), "{}", run.failure());
    (run, took)
}

#[test]
fn background_processes_end_with_the_step() {
    let mark = mark();
    let (run, took) = step(&format!("sleep {mark} & setsid sleep {mark} & exec true"));
    let run = run.succeeded();
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(host::processes(Path::new(&mark)), []);
    // The mark is in the name of the first step; what `ps` prints in the second begins with the number of the step.
    let seen: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("#3 ") && line.contains(&mark)).collect();
    assert!(seen.is_empty(), "the next step sees {seen:?}");
}

/// A process that keeps the output open and is in a session of its own is not waited for.
#[test]
fn failure_is_reported_at_once() {
    let mark = mark();
    let (run, took) = step(&format!("setsid sleep {mark} & exit 3"));
    assert_eq!(run.code, Some(1), "{}", run.failure());
    assert!(took < AT_ONCE, "{took:?}");
    let error = run.stderr.lines().find(|line| line.starts_with("error: "));
    assert!(error.is_some_and(|line| line.contains("exit code 3") || line.contains("status 3")), "{}", run.failure());
    assert_eq!(host::processes(Path::new(&mark)), []);
}

/// Who deafens itself to every signal is ended as well.
#[test]
fn deaf_processes_end_with_the_step() {
    let mark = mark();
    let (run, took) =
        step(&format!("(trap '' HUP INT TERM; setsid sleep {mark}) & (trap '' TERM; sleep {mark}) & true"));
    run.succeeded();
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(host::processes(Path::new(&mark)), []);
}

/// Two builds need the same step, the one that runs it is killed: the other runs it.
#[test]
fn death_hands_the_work_on() {
    let store = Store::with(&[Base::Busybox]);
    let context = TempDir::new().unwrap();
    let dockerfile = "FROM busybox:1\nRUN echo running; sleep 0.7; echo result > /result\n";
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let build = || {
        let mut command = store.bld();
        command.args(["build", "--progress", "plain"]).arg(context.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let is_running = || !host::processes(Path::new("sleep 0.7; echo result")).is_empty();
    // The command line's words end with a zero byte, so the text above is one of them.
    let mut first = build().spawn().unwrap();
    assert!(host::eventually(AT_ONCE, is_running), "the step does not start");
    let mut waiter = build().spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiter.try_wait().unwrap().is_none(), "the second build does not wait for the step");
    let killed = Instant::now();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(waiter.wait().unwrap().success());
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    let again = support::run(store.bld().args(["build", "--progress", "plain"]).arg(context.path())).succeeded();
    assert!(again.stderr.contains("0 steps ran"), "{}", again.failure());
}
