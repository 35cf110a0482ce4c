//! Rows P about processes: what a step sees, what it leaves.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{WaitOptions, waitpid};

use super::fixture::{Fixture, eventually, helper, processes, step_error, unavailable};
use crate::sandbox::{ExitStatus, Helper, Running, StepError, sys};

#[test]
fn exit_codes_and_signals() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    assert_eq!(fixture.shell("exit 42").exit.status, ExitStatus::Code(42));
    // PID 1 is immune to signals it does not handle, from inside.
    assert_eq!(fixture.shell("kill -9 1; kill -TERM $$; exit 3").exit.status, ExitStatus::Code(3));
    let (_reader, writer) = std::io::pipe().unwrap();
    fixture.spec.args = ["/bin/sleep", "100"].map(str::to_owned).into();
    let running = fixture.start(writer.into()).unwrap();
    running.kill();
    assert_eq!(running.wait().unwrap().status, ExitStatus::Signal(9));
    assert!(!running.wait().unwrap().oom);
}

#[test]
fn commands_that_cannot_run() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.script("bin/plain", "no program");
    fs::write(fixture.base().join("bin/denied"), "x").unwrap();
    fs::create_dir(fixture.base().join("bin/directory")).unwrap();
    let mut run = |command: &str| {
        fixture.spec.args = vec![command.to_owned()];
        let error = step_error(fixture.run());
        fixture.renew_upper();
        error
    };
    for name in ["missing", "/bin/missing", "/bin/sh/x"] {
        assert_eq!(run(name), StepError::NotFound { name: name.to_owned() });
    }
    for name in ["denied", "/bin/denied", "/bin/directory"] {
        assert_eq!(run(name), StepError::PermissionDenied { name: name.to_owned() });
    }
    assert!(matches!(run("plain"), StepError::CannotExecute { .. }));
    assert!(matches!(run(""), StepError::Invalid { .. }));
    assert!(matches!(run("a\0b"), StepError::Invalid { .. }));
}

#[test]
fn p11_no_descriptor_leaks() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.probe("only_three_descriptors");
}

#[test]
fn p15_only_its_own_environment() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    assert!(std::env::vars_os().count() > 2);
    fixture.spec.env = vec!["PATH=/bin".to_owned(), "A=b".to_owned(), "ODD".to_owned()];
    fixture.spec.args = ["cat", "/proc/self/environ"].map(str::to_owned).into();
    let output = fixture.run().unwrap().success();
    assert_eq!(output.replace('\0', "\n"), "PATH=/bin\nA=b\nODD\n");
}

#[test]
fn p17_it_sees_and_reaches_only_itself() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let output = fixture.shell("ls -d /proc/[0-9]*; kill -9 -1; echo alive").success();
    assert!(output.starts_with("/proc/1\n"), "{output}");
    assert!(output.lines().count() <= 3 && output.ends_with("alive\n"), "{output}");
    assert_eq!(fixture.shell("echo again").success(), "again\n");
}

#[test]
fn p18_p19_nothing_is_left_and_nothing_is_waited_for() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let mark = format!("98{:05}", std::process::id());
    let outcome = fixture.shell(&format!("sleep {mark} & setsid sleep {mark} & exit 3"));
    assert_eq!(outcome.exit.status, ExitStatus::Code(3));
    assert!(outcome.time < Duration::from_secs(1), "{:?}", outcome.time);
    assert_eq!(processes(&format!("sleep {mark}")), Vec::<i32>::new());
}

#[test]
fn dropping_a_step_kills_it() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let mark = format!("97{:05}", std::process::id());
    let (_reader, writer) = std::io::pipe().unwrap();
    fixture.spec.args = vec!["/bin/sleep".to_owned(), mark.clone()];
    let running: Running = fixture.start(writer.into()).unwrap();
    assert!(eventually(Duration::from_secs(1), || !processes(&format!("sleep {mark}")).is_empty()));
    drop(running);
    assert!(eventually(Duration::from_secs(1), || processes(&format!("sleep {mark}")).is_empty()));
}

#[test]
fn p25_no_terminal() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let output = fixture.shell("readlink /proc/self/fd/0; (echo > /dev/tty) 2>&1; cut -d' ' -f4-7 /proc/1/stat").output;
    assert!(output.starts_with("/dev/null\n"), "{output}");
    assert!(output.contains("No such device or address"), "{output}");
}

#[test]
fn many_steps_at_once() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let mut specs = Vec::new();
    for number in 0..16 {
        let mut spec = fixture.spec.clone();
        let (upper, work) = (fixture.path(&format!("many{number}")), fixture.path(&format!("manywork{number}")));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        spec.root.upper = Some(crate::sandbox::Upper { upper, work });
        spec.args = ["/bin/sh", "-c", &format!("exit {number}")].map(str::to_owned).into();
        specs.push(spec);
    }
    std::thread::scope(|scope| {
        for (number, spec) in specs.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..3 {
                    let (_reader, writer) = std::io::pipe().unwrap();
                    let errors = writer.try_clone().unwrap();
                    let mut spec = spec.clone();
                    spec.root.upper = None;
                    let running = helper().spawn(&spec, writer.into(), errors.into()).unwrap();
                    let exit = running.wait().unwrap();
                    assert_eq!(exit.status, ExitStatus::Code(i32::try_from(number).unwrap()));
                }
            });
        }
    });
}

#[test]
fn the_end_can_be_awaited() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let (_reader, writer) = std::io::pipe().unwrap();
    fixture.spec.args = ["/bin/sh", "-c", "sleep 0.1; exit 5"].map(str::to_owned).into();
    let running = fixture.start(writer.into()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let exit = runtime.block_on(running.exited()).unwrap();
    assert_eq!(exit.status, ExitStatus::Code(5));
}

/// Row P22, as far as it is the sandbox's: the witness is a memory cgroup of the whole builder.
#[test]
fn p22_lack_of_memory_is_told_apart() {
    let Some(mut fixture) = Fixture::new() else { return };
    let name = format!("bld-row-p22-{}", std::process::id());
    let (group, limit) = match (fs::exists("/sys/fs/cgroup/memory"), fs::exists("/sys/fs/cgroup/cgroup.controllers")) {
        (Ok(true), _) => (Path::new("/sys/fs/cgroup/memory").join(name), "memory.limit_in_bytes"),
        (_, Ok(true)) => (Path::new("/sys/fs/cgroup").join(name), "memory.max"),
        _ => return unavailable("no memory cgroups").unwrap_or(()),
    };
    if fs::create_dir(&group).and_then(|()| fs::write(group.join(limit), "67108864")).is_err() {
        return unavailable("memory cgroups cannot be made").unwrap_or(());
    }
    let script = "head -c 1000000000 /dev/zero | tail -c 900000000 > /dev/null; exit $?";
    fixture.spec.args = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let pid = sys::fork(|| {
        fs::write(group.join("cgroup.procs"), "0").unwrap();
        let helper = Helper::fork().unwrap();
        let (_output, stdout) = std::io::pipe().unwrap();
        let stderr = stdout.try_clone().unwrap();
        let exit = helper.spawn(&fixture.spec, stdout.into(), stderr.into()).unwrap().wait();
        let told = exit.map(|exit| (exit.status, exit.oom));
        rustix::io::write(&writer, format!("{told:?}").as_bytes()).unwrap();
        0
    })
    .unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
    assert!(eventually(Duration::from_secs(5), || fs::remove_dir(&group).is_ok()));
    assert_eq!(text, "Ok((Code(137), true))");
}
