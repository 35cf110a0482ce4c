//! `bld run` of what a registry has.

use super::Host;
use super::context;
use super::publish_busybox;
use crate::support;
use crate::support::Store;

#[test]
fn a_missing_image_is_pulled_once() {
    let host = Host::open();
    publish_busybox(&host, "run:1");
    let (store, name) = (Store::empty(), host.image("run:1"));
    let run = |flags: &[&str]| support::run(host.bld(&store).arg("run").args(flags).args([&name, "echo", "on"]));
    let offline = support::run(host.bld(&store).args(["--offline", "run", &name, "true"]));
    for refused in [run(&["--pull=never"]), offline] {
        assert_eq!(refused.code, Some(125), "{}", refused.failure());
        assert!(refused.stderr.contains("is not in the local store"), "{}", refused.failure());
    }
    let first = run(&[]).succeeded();
    assert_eq!(first.stdout, "on\n");
    assert!(first.stderr.contains("pulled"), "{}", first.failure());
    let (_, requests) = host.sent();
    let again = run(&[]).succeeded();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("on\n", ""));
    assert_eq!(host.sent().1, requests, "a second run asks the registry");
    assert_eq!(run(&["--pull=always"]).succeeded().stdout, "on\n");
    assert!(host.sent().1 > requests, "`--pull=always` does not ask the registry");
    let forbidden = support::run(host.bld(&store).args(["--offline", "run", "--pull=always", &name, "true"]));
    assert!(forbidden.stderr.contains("`--pull=always` needs a registry"), "{}", forbidden.failure());
    let nowhere = support::run(host.bld(&store).args(["run", &host.image("nosuch:1")]));
    assert_eq!(nowhere.code, Some(125), "{}", nowhere.failure());
    assert!(nowhere.stderr.contains("it is not in the local store either"), "{}", nowhere.failure());
}

/// A build that only copies leaves the layers of its base where they are; a run needs them.
#[test]
fn layers_that_a_build_did_not_need_are_brought() {
    let host = Host::open();
    publish_busybox(&host, "lazy:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nCOPY --link f /f\nCMD [\"cat\", \"/f\"]\n", host.image("lazy:1")));
    support::run(host.bld(&store).args(["build", "-t", "copied"]).arg(context.path())).succeeded();
    let offline = support::run(host.bld(&store).args(["--offline", "run", "copied"]));
    assert_eq!(offline.code, Some(125), "{}", offline.failure());
    assert!(offline.stderr.contains("image `copied` has layers that were never fetched"), "{}", offline.stderr);
    let run = support::run(host.bld(&store).args(["run", "copied"])).succeeded();
    assert_eq!(run.stdout, "a file\n");
    assert!(run.stderr.contains("pulled"), "the build had the layers already: {}", run.failure());
    assert_eq!(support::run(host.bld(&store).args(["--offline", "run", "copied"])).succeeded().stdout, "a file\n");
}
