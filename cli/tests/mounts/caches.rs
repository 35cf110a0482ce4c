//! Cache mounts.

use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use super::Context;
use super::fails;
use crate::support::Base;
use crate::support::Store;
use crate::support::host;

const PATIENCE: Duration = Duration::from_secs(30);

/// Builds one RUN line that is never taken from the cache.
fn step(line: &str) -> Context {
    Context::new(&format!("FROM busybox:1\n{line}\n"))
}

#[track_caller]
fn now(store: &Store, line: &str) -> String {
    step(line).build(store, &["--no-cache"]).succeeded().stderr
}

fn start(store: &Store, context: &Context) -> Child {
    context
        .command(store, &["--no-cache"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Where a file of a cache mount appears on the host.
fn wait_for(store: &Store, name: &str) {
    let there = || {
        let mounts = store.root().join("mounts");
        let caches = host::names(&mounts);
        caches.iter().any(|cache| {
            host::names(&mounts.join(cache)).iter().any(|copy| mounts.join(cache).join(copy).join(name).exists())
        })
    };
    assert!(host::eventually(PATIENCE, there), "{name} never appeared");
}

#[test]
fn content_outlives_builds_and_is_in_no_layer() {
    let store = Store::with(&[Base::Busybox]);
    now(&store, "RUN --mount=type=cache,target=/c [ -z \"$(ls /c)\" ] && echo kept > /c/file");
    now(&store, "RUN --mount=type=cache,target=/c [ \"$(cat /c/file)\" = kept ]");
    now(&store, "RUN --mount=type=cache,target=/other,id=/c [ \"$(cat /other/file)\" = kept ]");
    now(&store, "RUN --mount=type=cache,target=/c,ro [ -e /c/file ] && ! touch /c/new 2>/dev/null");
    now(&store, "RUN --mount=type=cache,target=/c,id=empty [ -z \"$(ls /c)\" ]");
    now(&store, "RUN [ ! -e /c ]");
    let space = step("RUN --mount=type=cache,target=/c [ -z \"$(ls /c)\" ]");
    space.build(&store, &["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine"]).succeeded();
    // The name of a cache is no reason to run a step again.
    let run = |id: &str| step(&format!("RUN --mount=type=cache,target=/c,id={id} echo one step")).build(&store, &[]);
    run("a").succeeded();
    assert!(run("b").succeeded().stderr.contains("CACHED"));
}

#[test]
fn modes_owners_and_first_content() {
    let store = Store::with(&[Base::Busybox]);
    now(&store, "RUN --mount=type=cache,target=/c,mode=0711,uid=12,gid=34 [ \"$(stat -c %a:%u:%g /c)\" = 711:12:34 ]");
    now(&store, "RUN --mount=type=cache,target=/d [ \"$(stat -c %a:%u:%g /d)\" = 755:0:0 ]");
    let seeded = Context::new(
        "FROM busybox:1 AS seed\nRUN mkdir -p /s/sub && echo first > /s/sub/file && chown 5:6 /s/sub/file\n\
         FROM busybox:1\n\
         RUN --mount=type=cache,target=/c,id=seeded,from=seed,source=/s [ \"$(stat -c %u:%g /c/sub/file)\" = 5:6 ] && echo more >> /c/sub/file\n\
         RUN --mount=type=cache,target=/c,id=seeded,from=seed,source=/s [ \"$(cat /c/sub/file | wc -l)\" = 2 ]\n\
         RUN --mount=type=cache,target=/c,id=seeded,source=sub [ \"$(cat /c/file | wc -l)\" = 2 ]\n",
    );
    seeded.build(&store, &[]).succeeded();
}

#[test]
fn an_id_is_never_a_path() {
    let store = Store::with(&[Base::Busybox]);
    let victim = TempDir::new().unwrap();
    std::fs::write(victim.path().join("file"), "of the host").unwrap();
    let path = victim.path().display();
    for id in [format!("../../../../../../../..{path}"), path.to_string(), "..".to_owned(), ".".to_owned()] {
        now(&store, &format!("RUN --mount=type=cache,target=/c,id={id} [ -z \"$(ls /c)\" ] && touch /c/mine"));
    }
    assert_eq!(host::names(victim.path()), ["file"]);
    for name in host::names(&store.root().join("mounts")) {
        assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
    // Nor does a link that a step left in the cache lead out of it.
    now(&store, "RUN --mount=type=cache,target=/c,id=links ln -s /etc /c/sel && ln -s ../../.. /c/up");
    for source in ["sel", "up/etc", "../../etc"] {
        let run = step(&format!("RUN --mount=type=cache,target=/c,id=links,source={source} cat /c/shadow"));
        let run = run.build(&store, &[]);
        assert_eq!(run.code, Some(1), "{}", run.failure());
        assert!(!run.stderr.contains("root:"), "{}", run.failure());
    }
    fails("RUN --mount=type=cache,target=/c,from=busybox:1,source=/bin/busybox true", &[], "begin with a directory");
}

#[test]
fn locked_steps_take_turns_between_processes() {
    let store = Store::with(&[Base::Busybox]);
    let line = |name: &str| {
        format!(
            "RUN --mount=type=cache,target=/c,sharing=locked [ ! -e /c/busy ] && touch /c/busy && echo {name} >> /c/log \
             && touch /c/began-{name} && sleep 1 && rm /c/busy"
        )
    };
    let first = step(&line("one"));
    let mut child = start(&store, &first);
    wait_for(&store, "began-one");
    let second = step(&line("two")).build(&store, &["--no-cache"]).succeeded();
    assert_eq!(second.stderr.matches("waiting for the cache mount `/c`").count(), 1, "{}", second.failure());
    assert!(child.wait().unwrap().success());
    now(&store, "RUN --mount=type=cache,target=/c [ \"$(cat /c/log | wc -l)\" = 2 ]");
}

#[test]
fn shared_steps_meet_and_private_ones_do_not() {
    let store = Store::with(&[Base::Busybox]);
    let meet = |mine: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/c,id=shared touch /c/{mine} && \
             for i in $(seq 200); do [ -e /c/{other} ] && exit 0; sleep 0.1; done; exit 1"
        )
    };
    let (one, two) = (step(&meet("one", "two")), step(&meet("two", "one")));
    let (mut first, mut second) = (start(&store, &one), start(&store, &two));
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());

    let hold = step("RUN --mount=type=cache,target=/c,id=p,sharing=private touch /c/holder && sleep 3");
    let mut holder = start(&store, &hold);
    wait_for(&store, "holder");
    let begin = Instant::now();
    now(&store, "RUN --mount=type=cache,target=/c,id=p,sharing=private [ ! -e /c/holder ] && touch /c/second");
    assert!(begin.elapsed() < Duration::from_secs(3), "a private mount waited");
    assert!(holder.wait().unwrap().success());
    // A free copy is used again.
    now(&store, "RUN --mount=type=cache,target=/c,id=p,sharing=private [ -e /c/holder ]");
    let copies = host::names(&store.root().join("mounts"))
        .into_iter()
        .map(|cache| host::names(&store.root().join("mounts").join(cache)).iter().filter(|name| *name != "id").count());
    assert_eq!(copies.max(), Some(2));
}

#[test]
fn the_death_of_a_holder_frees_the_lock() {
    let store = Store::with(&[Base::Busybox]);
    let hold = step("RUN --mount=type=cache,target=/c,sharing=locked touch /c/held && sleep 1000");
    let mut holder = start(&store, &hold);
    wait_for(&store, "held");
    host::signal(holder.id(), "KILL");
    holder.wait().unwrap();
    let begin = Instant::now();
    now(&store, "RUN --mount=type=cache,target=/c,sharing=locked [ -e /c/held ]");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn two_locks_in_any_order_and_one_mounted_twice() {
    let store = Store::with(&[Base::Busybox]);
    let line = |first: &str, second: &str| {
        step(&format!(
            "RUN --mount=type=cache,target=/{first},sharing=locked --mount=type=cache,target=/{second},sharing=locked sleep 0.2"
        ))
    };
    let contexts = [line("a", "b"), line("b", "a"), line("a", "b"), line("b", "a")];
    let mut children: Vec<Child> = contexts.iter().map(|context| start(&store, context)).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    now(
        &store,
        "RUN --mount=type=cache,target=/x,id=same,sharing=locked --mount=type=cache,target=/y,id=same touch /x/f && [ -e /y/f ]",
    );
}
