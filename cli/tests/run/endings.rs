//! How runs end, and that they leave nothing: no process, mount, file.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::PATIENCE;
use super::Site;
use super::Started;
use super::refused;
use crate::support::host;

/// A shell that tells when it is ready, and then does this.
fn ready(site: &Site, flags: &[&str], script: &str) -> Started {
    let script = format!("echo ready; {script}");
    let mut run = site.start(&[flags, &["busybox:1", "sh", "-c", &script]].concat());
    run.wait_for("ready\n");
    run
}

/// Who has handlers, and sleeps in pieces so that they are called soon.
fn trapping(action: &str) -> String {
    format!("{action}; echo trapped; while :; do sleep 0.05; done")
}

#[test]
fn exit_codes() {
    let site = Site::new();
    for code in [0, 1, 2, 3, 42, 125, 126, 127, 255] {
        let run = site.run(&["busybox:1", "sh", "-c", &format!("exit {code}")]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(code), ""), "{code}");
    }
    refused(&site.run(&["busybox:1", "nosuch"]), 127, "error: executable `nosuch` not found");
    refused(&site.run(&["busybox:1", "/no/such"]), 127, "error: executable `/no/such` not found");
    refused(&site.run(&["busybox:1", "/etc"]), 126, "error: executable `/etc`: permission denied");
    refused(&site.run(&["busybox:1", "/etc/passwd"]), 126, "error: executable `/etc/passwd`: permission denied");
    site.build(
        "broken",
        "RUN printf what > /broken && printf '#!/bin/bash\\n' > /usr/script && chmod +x /broken /usr/script\n",
    );
    let script = site.run(&["-w", "/usr", "broken", "./script"]);
    refused(&script, 127, "`/usr/script` exists, but its interpreter `/bin/bash` does not");
    refused(&site.run(&["broken", "/broken"]), 126, "cannot execute `/broken`");
    let inner = site.run(&["busybox:1", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]);
    assert_eq!(inner.code, Some(137), "{}", inner.failure());
    // Killed from outside, by whoever may do that.
    let mark = format!("99{}", std::process::id());
    let run = ready(&site, &[], &format!("exec sleep {mark}"));
    let inside = || {
        let found = host::processes(Path::new(&mark));
        found.into_iter().find(|process| process.command.starts_with("sleep:")).map(|process| process.pid)
    };
    assert!(host::eventually(PATIENCE, || inside().is_some()));
    host::signal(inside().unwrap(), "KILL");
    assert_eq!(run.end().code, Some(137));
    site.check_nothing_is_left();
}

/// What the process wrote and nobody got must not look like success; a reader that has enough is no failure.
#[test]
fn output_that_cannot_be_written() {
    let site = Site::new();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let ended = |command: &mut Command| {
        let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let lost = "error: cannot write to standard output: No space left on device (os error 28)\n";
    for (script, code) in [("echo a", 125), ("echo a; exit 3", 3)] {
        let words = ["busybox:1", "sh", "-c", script];
        assert_eq!(ended(site.command(&words).stdout(full())), (Some(code), lost.to_owned()), "{script}");
    }
    let (code, said) = ended(site.command(&["-t", "busybox:1", "sh", "-c", "echo a"]).stdout(full()));
    assert_eq!((code, said.as_str()), (Some(125), lost));
    let status = site.command(&["busybox:1", "sh", "-c", "echo a >&2"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(125));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(ended(site.command(&["busybox:1", "sh", "-c", "echo a"]).stdout(writer)), (Some(0), String::new()));
    site.check_nothing_is_left();
}

/// The kernel keeps these from a first process without handlers; for who types Ctrl-C they end it.
#[test]
fn signals_end_what_does_not_handle_them() {
    let site = Site::new();
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let run = ready(&site, &[], "exec sleep 100");
        let start = Instant::now();
        run.signal(name);
        let run = run.end();
        assert_eq!(run.code, Some(code), "{name}: {}", run.failure());
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
    }
    site.check_nothing_is_left();
}

#[test]
fn signals_are_passed_on() {
    let site = Site::new();
    for name in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"] {
        let script = trapping(&format!("trap 'echo got {name}; exit 7' {name}"));
        let mut run = ready(&site, &[], &script);
        run.wait_for("trapped\n");
        run.signal(name);
        let run = run.end();
        assert_eq!((run.code, run.stdout.as_str()), (Some(7), format!("got {name}\n").as_str()), "{name}");
    }
    // Without a handler these mean nothing to a first process, here as with others.
    for name in ["USR1", "USR2"] {
        let run = ready(&site, &[], "sleep 0.5; echo alive");
        run.signal(name);
        let run = run.end();
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), "alive\n"), "{name}");
    }
}

#[test]
fn another_signal_ends_what_is_slow() {
    let site = Site::new();
    for action in ["trap 'echo busy' INT TERM", "trap '' INT TERM"] {
        let mut run = ready(&site, &[], &trapping(action));
        run.wait_for("trapped\n");
        let start = Instant::now();
        run.signal("INT");
        std::thread::sleep(Duration::from_millis(300));
        run.signal("INT");
        let run = run.end();
        assert_eq!(run.code, Some(137), "{action}: {}", run.failure());
        assert!(start.elapsed() < Duration::from_secs(5), "{action}: {:?}", start.elapsed());
    }
    site.check_nothing_is_left();
}

#[test]
fn ten_seconds_are_enough() {
    let site = Site::new();
    let mut run = ready(&site, &[], &trapping("trap 'echo busy' TERM"));
    run.wait_for("trapped\n");
    let start = Instant::now();
    run.signal("TERM");
    let run = run.end();
    assert_eq!((run.code, run.stdout.as_str()), (Some(137), "busy\n"));
    let took = start.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn stop_signals() {
    let site = Site::new();
    site.build("quits", "STOPSIGNAL SIGQUIT\n");
    let script = format!("echo ready; {}", trapping("trap 'echo stopped; exit 4' QUIT USR1"));
    // The shell has a handler of its own for INT.
    for (flags, wanted) in [(&["quits"][..], "TERM"), (&["--stop-signal=USR1", "busybox:1"], "TERM")] {
        let mut run = site.start(&[flags, &["sh", "-c", &script]].concat());
        run.wait_for("trapped\n");
        run.signal(wanted);
        let run = run.end();
        assert_eq!((run.code, run.stdout.as_str()), (Some(4), "stopped\n"), "{flags:?}");
    }
}

#[test]
fn background_processes_end_with_the_first() {
    let site = Site::new();
    let mark = format!("77{}", std::process::id());
    let start = Instant::now();
    let run =
        site.run(&["busybox:1", "sh", "-c", &format!("setsid sleep {mark} & trap '' TERM; sleep {mark} & exit 3")]);
    assert_eq!(run.code, Some(3), "{}", run.failure());
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(host::processes(Path::new(&mark)), []);
    site.check_nothing_is_left();
}

/// bld killed without a chance to clean up: the process ends at once, and the next command finds nothing.
#[test]
fn killed_runs_leave_nothing() {
    let site = Site::new();
    let mark = format!("88{}", std::process::id());
    for _ in 0..3 {
        let script = format!("echo x > /file; mkdir -p /a/b; (trap '' TERM; sleep {mark}) & exec sleep {mark}");
        let run = ready(&site, &["-p", "9", "-v", "/data"], &script);
        std::thread::sleep(Duration::from_millis(50));
        run.signal("KILL");
        run.end();
        let gone = || host::processes(Path::new(&mark)).is_empty() && host::processes(site.store.root()).is_empty();
        assert!(host::eventually(PATIENCE, gone), "{:?}", host::processes(site.store.root()));
    }
    site.output(&["busybox:1", "true"]);
    site.check_nothing_is_left();
}

/// Many at once share a store and are not in each other's way.
#[test]
fn at_once() {
    let site = Site::new();
    let runs: Vec<Started> = (0..6)
        .map(|number| site.start(&["busybox:1", "sh", "-c", &format!("echo {number} > /f; sleep 0.2; cat /f")]))
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        let run = run.end();
        assert_eq!((run.code, run.stdout), (Some(0), format!("{number}\n")));
    }
    site.check_nothing_is_left();
}

/// The image may be removed while it runs: the run keeps what it needs.
#[test]
fn removed_images_run_on() {
    let site = Site::new();
    let mut run = ready(&site, &[], "while [ ! -e /go ]; do sleep 0.05; /bin/busybox true; done");
    for words in [&["rmi", "busybox:1"][..], &["prune", "--all"]] {
        crate::support::run(site.store.bld().args(words)).succeeded();
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(run.child.try_wait().unwrap().is_none());
    run.signal("TERM");
    assert_eq!(run.end().code, Some(143));
}

/// Output that nobody reads keeps a run from ending only until it is told to.
#[test]
fn unread_output() {
    let site = Site::new();
    let mut command = site.command(&["busybox:1", "sh", "-c", "yes | head -c 1000000; echo done >&2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none(), "a pipe holds no million bytes");
    host::signal(child.id(), "INT");
    assert!(host::eventually(PATIENCE, || child.try_wait().unwrap().is_some()));
    site.check_nothing_is_left();
}
