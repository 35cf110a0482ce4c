//! What a large layer costs in memory, which no machine's load changes.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::Host;
use super::context;
use crate::support::Base;
use crate::support::Store;

/// In kB.
const LIMIT: u64 = 150_000;

/// Runs a command; the most memory that it had at once. What it had in its very last moments is not seen.
fn peak(command: &mut Command) -> u64 {
    let shown = format!("{command:?}");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{shown} ended with {status}");
    assert!(peak > 0, "{shown}: no memory was seen");
    peak
}

#[test]
fn large_layers_take_little_memory() {
    let host = Host::open();
    let source = Store::with(&[Base::Busybox]);
    let project = context("FROM busybox:1\nRUN head -c 600000000 /dev/zero > /large\n");
    let name = host.image("large:1");
    let tar = project.path().join("large.tar");
    let built = peak(host.bld(&source).args(["build", "-q", "-t", &name]).arg(project.path()));
    let pushed = peak(host.bld(&source).args(["push", "-q", &name]));
    let saved = peak(host.bld(&source).args(["save", &name, "-o"]).arg(&tar));
    let store = Store::empty();
    let pulled = peak(host.bld(&store).args(["pull", "-q", &name]));
    let needs = context(&format!("FROM {name}\nRUN test -s /large\n"));
    let used = peak(host.bld(&Store::empty()).args(["build", "-q"]).arg(needs.path()));
    for (what, peak) in [("build", built), ("push", pushed), ("save", saved), ("pull", pulled), ("build on it", used)] {
        assert!(peak < LIMIT, "{what}: {peak} kB");
    }
}
