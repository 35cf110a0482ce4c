//! What is not needed is not downloaded.

use super::Host;
use super::context;
use crate::support;
use crate::support::Base;
use crate::support::Store;

/// A base of some size, of two layers, in the registry.
fn publish_large_base(host: &Host, name: &str) {
    let store = Store::with(&[Base::Busybox]);
    let context = context("FROM busybox:1\nRUN head -c 30000000 /dev/urandom > /large\n");
    let mut build = host.bld(&store);
    support::run(build.args(["build", "--push", "-t", &host.image(name)]).arg(context.path())).succeeded();
}

#[test]
fn a_copy_onto_a_base_needs_no_layer_of_it() {
    let host = Host::open();
    publish_large_base(&host, "base:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nCOPY --link f /f\nENV A=b\n", host.image("base:1")));
    let (before, _) = host.sent();
    let mut build = host.bld(&store);
    support::run(build.args(["build", "--push", "-t", &host.image("app:1")]).arg(context.path())).succeeded();
    let (after, _) = host.sent();
    assert!(after - before < 100_000, "{} bytes were downloaded", after - before);

    // Whoever wants the files gets them, once.
    let other = Store::empty();
    let mut run = host.bld(&other);
    run.args(["pull", "-q", &host.image("app:1")]);
    support::run(&mut run).succeeded();
    let mut run = host.bld(&other);
    let listed = support::run(run.args(["run", "--rm", &host.image("app:1"), "ls", "-l", "/large", "/f"])).succeeded();
    assert!(listed.stdout.contains("30000000"), "{}", listed.stdout);
    let (downloaded, _) = host.sent();
    assert!(downloaded - after < 33_000_000, "{} bytes were downloaded", downloaded - after);
}

#[test]
fn what_is_cached_asks_nobody() {
    let host = Host::open();
    publish_large_base(&host, "base:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nRUN wc -c /large > /size\n", host.image("base:1")));
    let build = || support::run(host.bld(&store).args(["build", "-t", "app"]).arg(context.path())).succeeded();
    let first = build();
    let (_, before) = host.sent();
    let second = build();
    let (_, after) = host.sent();
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(before, after, "the registry was asked again");
}

/// An image whose layers never came can be written, because they are fetched then.
#[test]
fn an_archive_of_layers_that_were_never_here() {
    let host = Host::open();
    publish_large_base(&host, "base:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nCOPY --link f /f\n", host.image("base:1")));
    support::run(host.bld(&store).args(["build", "-t", "app"]).arg(context.path())).succeeded();
    let tar = context.path().join("app.tar");
    let offline = support::run(store.bld().args(["save", "app", "-o"]).arg(&tar));
    assert_ne!(offline.code, Some(0), "{}", offline.failure());
    assert!(offline.stderr.contains("offline"), "{}", offline.stderr);
    support::run(host.bld(&store).args(["save", "app", "-o"]).arg(&tar)).succeeded();
    assert!(std::fs::metadata(&tar).unwrap().len() > 30_000_000);
    let loaded = Store::empty();
    support::run(loaded.bld().arg("load").arg("-i").arg(&tar)).succeeded();
    let listed = support::run(loaded.bld().args(["run", "--rm", "app", "ls", "-l", "/large"])).succeeded();
    assert!(listed.stdout.contains("30000000"), "{}", listed.stdout);
}

#[test]
fn many_builds_at_once_download_a_layer_once() {
    let host = Host::open();
    publish_large_base(&host, "base:1");
    let store = Store::empty();
    let (before, _) = host.sent();
    let contexts: Vec<_> = (0..4)
        .map(|number| context(&format!("FROM {}\nRUN test -s /large && echo {number}\n", host.image("base:1"))))
        .collect();
    std::thread::scope(|scope| {
        for context in &contexts {
            let mut build = host.bld(&store);
            build.args(["build", "-q"]).arg(context.path());
            scope.spawn(move || support::run(&mut build).succeeded());
        }
    });
    let (after, _) = host.sent();
    assert!(after - before < 33_000_000, "{} bytes were downloaded", after - before);
}
