//! Row P20: whoever dies, no process of a step survives.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::fixture::{Fixture, eventually, processes};
use crate::sandbox::{Helper, SandboxError, Spec, sys};

/// A builder in a process of its own, with one step that runs until it is killed.
struct Builder {
    pid: Pid,
    mark: String,
}

impl Builder {
    fn start(fixture: &Fixture, number: u32, script: &str) -> Self {
        let builder = Self::start_only(fixture, number, script);
        assert!(eventually(Duration::from_secs(5), || builder.steps() > 0), "the step did not start");
        builder
    }

    fn start_only(fixture: &Fixture, number: u32, script: &str) -> Self {
        Self::run(&fixture.spec, number, script)
    }

    fn run(spec: &Spec, number: u32, script: &str) -> Self {
        let mark = format!("96{number}{:05}", std::process::id());
        let mut spec = spec.clone();
        spec.root.upper = None;
        spec.args = ["/bin/sh", "-c", &script.replace("MARK", &mark)].map(str::to_owned).into();
        let pid = sys::fork(|| {
            let helper = Helper::fork().unwrap();
            let (_reader, writer) = std::io::pipe().unwrap();
            let errors = writer.try_clone().unwrap();
            // Outlives its helper, so that a row can see what the builder does then.
            if let Ok(running) = helper.spawn(&spec, writer.into(), errors.into()) {
                drop(running.wait());
            }
            std::thread::sleep(Duration::from_secs(20));
            0
        })
        .unwrap();
        Self { pid, mark }
    }

    fn steps(&self) -> usize {
        processes(&format!("sleep {}", self.mark)).len()
    }

    fn helper(&self) -> Pid {
        self.try_helper().unwrap()
    }

    fn try_helper(&self) -> Option<Pid> {
        let children = std::fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero())).unwrap();
        let pids: Vec<i32> = children
            .flat_map(|task| {
                let text = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
                text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
            })
            .collect();
        assert!(pids.len() <= 1);
        pids.first().and_then(|pid| Pid::from_raw(*pid))
    }

    fn end(self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

const SCRIPT: &str = "setsid sleep MARK & sleep MARK & sleep MARK";

#[test]
fn p20_kill_of_the_builder() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    for number in 0..5 {
        let builder = Builder::start(&fixture, number, SCRIPT);
        let helper = builder.helper();
        kill_process(builder.pid, Signal::KILL).unwrap();
        assert!(eventually(Duration::from_secs(1), || builder.steps() == 0));
        let pid = helper.as_raw_nonzero();
        builder.end();
        let gone = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        };
        assert!(eventually(Duration::from_secs(1), gone));
    }
}

#[test]
fn p20_kill_of_the_helper() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    for number in 5..10 {
        let builder = Builder::start(&fixture, number, SCRIPT);
        kill_process(builder.helper(), Signal::KILL).unwrap();
        assert!(eventually(Duration::from_secs(1), || builder.steps() == 0));
        builder.end();
    }
}

#[test]
fn p21_the_helper_is_deaf_to_the_terminal() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let builder = Builder::start(&fixture, 11, SCRIPT);
    let helper = builder.helper();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP] {
        kill_process(helper, signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(builder.steps() > 0);
    builder.end();
}

/// Death in the middle of the set-up, at 20 different moments.
#[test]
fn p20_kill_at_any_moment() {
    let Some(fixture) = Fixture::new() else { return };
    for round in 0..20_u32 {
        let builder = Builder::start_only(&fixture, 20 + round, SCRIPT);
        assert!(eventually(Duration::from_secs(5), || builder.try_helper().is_some()));
        let helper = builder.helper();
        std::thread::sleep(Duration::from_micros(u64::from(round / 2) * 300));
        let victim = if round % 2 == 0 { helper } else { builder.pid };
        kill_process(victim, Signal::KILL).unwrap();
        // Long enough for a forgotten step to get to its command.
        std::thread::sleep(Duration::from_millis(100));
        assert!(eventually(Duration::from_millis(900), || builder.steps() == 0), "round {round}");
        builder.end();
    }
}

#[test]
fn a_helper_is_not_forked_beside_threads() {
    std::thread::scope(|scope| {
        scope.spawn(|| std::thread::sleep(Duration::from_millis(50)));
        assert!(matches!(Helper::start(), Err(SandboxError::Threads { count: 2.. })));
    });
}

/// Both at once: only the death signal is left.
#[test]
fn p20_kill_of_builder_and_helper() {
    let Some(fixture) = Fixture::new() else { return };
    for (round, uid) in [(0, 0), (1, 1000), (2, 0), (3, 1000)] {
        let mut spec = fixture.spec.clone();
        spec.uid = uid;
        let builder = Builder::run(&spec, 50 + round, SCRIPT);
        assert!(eventually(Duration::from_secs(5), || builder.steps() > 0), "the step did not start");
        let helper = builder.helper();
        kill_process(builder.pid, Signal::STOP).unwrap();
        kill_process(helper, Signal::KILL).unwrap();
        assert!(eventually(Duration::from_secs(1), || builder.steps() == 0));
        builder.end();
    }
}
