//! Without a network: nothing is even asked.

use std::process::Command;

use super::Host;
use super::context;
use super::publish_busybox;
use crate::support;
use crate::support::Base;
use crate::support::Store;

/// Runs the binary in a network namespace without an interface; the system calls about networks that it and its children made.
fn traced(bld: &Command, log: &std::path::Path) -> (support::Run, String) {
    let mut command = Command::new("unshare");
    command.args(["--net", "strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o"]).arg(log);
    command.arg(bld.get_program()).args(bld.get_args()).env_clear();
    for (name, value) in bld.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let run = support::run(&mut command);
    let calls = std::fs::read_to_string(log).unwrap();
    let outward = calls.lines().filter(|line| line.contains("AF_INET") || line.contains("nscd"));
    (run, outward.collect::<Vec<_>>().join("\n"))
}

#[test]
fn rebuilds_and_archives_need_no_network() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nCOPY f /f\nRUN --network=none cat /f\n", host.image("base:1")));
    let log = context.path().join("strace.log");
    let mut build = host.bld(&store);
    build.args(["build", "-t", "app"]).arg(context.path());
    // The negative control: the first build does ask.
    let (failed, calls) = traced(&build, &log);
    assert_ne!(failed.code, Some(0), "{}", failed.failure());
    assert!(calls.contains("AF_INET"), "the trace sees nothing");
    support::run(&mut build).succeeded();
    std::fs::remove_file(&log).unwrap();

    let (rebuilt, calls) = traced(&build, &log);
    rebuilt.succeeded();
    assert_eq!(calls, "");

    let tar = context.path().join("base.tar");
    let base = Store::with(&[Base::Busybox]);
    support::run(base.bld().args(["save", Base::Busybox.image(), "-o"]).arg(&tar)).succeeded();
    let fresh = Store::empty();
    let mut build = host.bld(&fresh);
    build.args(["build", "--build-context"]).arg(format!("{}=oci-archive:{}", host.image("base:1"), tar.display()));
    build.arg(context.path());
    let (outcome, calls) = traced(&build, &log);
    outcome.succeeded();
    assert_eq!(calls, "");
}
