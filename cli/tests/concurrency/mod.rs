//! Many processes on one store at once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::host;
use crate::support::progress::Progress;

const PROCESSES: usize = 12;

/// How long the tug of war between builders and removers goes on.
const CONTENTION: Duration = Duration::from_secs(10);

const DOCKERFILE: &str = "\
FROM busybox:1 AS one
COPY one /one
RUN sleep 0.1; cat /one > /first
FROM busybox:1 AS two
COPY two /two
RUN sleep 0.1; cat /two > /second
FROM one
COPY --from=two /second /second
RUN sleep 0.1; cat /first /second > /third
";

fn write_project(context: &Path, dockerfile: &str) {
    fs::create_dir_all(context).unwrap();
    for (name, text) in [("Dockerfile", dockerfile), ("one", "one\n"), ("two", "two\n")] {
        fs::write(context.join(name), text).unwrap();
    }
}

/// Runs commands at the same time, each as a process of its own, and hands back what they did in their order.
fn at_once(mut commands: Vec<Command>) -> Vec<Run> {
    let barrier = Barrier::new(commands.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = commands
            .iter_mut()
            .map(|command| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    support::run(command)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().succeeded()).collect()
    })
}

fn build(store: &Store, context: &Path, tag: &str) -> Command {
    let mut command = store.bld();
    command.args(["build", "--progress", "plain", "--network", "none", "-t", tag]).arg(context);
    command
}

/// How often each step ran in all these builds together.
fn executions(runs: &[Run]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for run in runs {
        let progress = Progress::parse(&run.stderr);
        for name in progress.names() {
            *counts.entry(name.to_owned()).or_default() += usize::from(progress.executed().contains(name));
        }
    }
    counts
}

/// How many images have a name that begins like this.
fn named(store: &Store, name: &str) -> usize {
    let images = support::run(store.bld().arg("images")).succeeded().stdout;
    images.lines().filter(|line| line.split_whitespace().next() == Some(name)).count()
}

/// Nothing but what is meant to stay.
#[track_caller]
fn assert_clean(store: &Store) {
    for directory in ["tmp", "trash", "leases", "quarantine"] {
        assert_eq!(host::names(&store.root().join(directory)), [""; 0], "left in {directory}/");
    }
    let claims: Vec<_> =
        host::names(&store.root().join("locks")).into_iter().filter(|name| name.starts_with("claim-")).collect();
    assert_eq!(claims, [""; 0], "left in locks/");
    assert_eq!(host::mounts(store.root()), [""; 0]);
    assert_eq!(host::processes(store.root()), []);
}

#[test]
fn the_same_project_at_once() {
    let store = Store::with(&[Base::Busybox]);
    let work = TempDir::new().unwrap();
    write_project(work.path(), DOCKERFILE);
    let runs = at_once((0..PROCESSES).map(|number| build(&store, work.path(), &format!("same:{number}"))).collect());
    let counts = executions(&runs);
    assert!(counts.len() >= 7, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "each step runs once: {counts:?}");
    let digests: BTreeSet<&str> = runs.iter().map(|run| run.stdout.trim()).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert_eq!(named(&store, "same"), PROCESSES, "no name is lost");
    assert_clean(&store);
}

#[test]
fn projects_with_common_stages_at_once() {
    let store = Store::with(&[Base::Busybox]);
    let work = TempDir::new().unwrap();
    let contexts: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let context = work.path().join(number.to_string());
            write_project(&context, &format!("{DOCKERFILE}RUN sleep 0.05; echo {number} > /number\n"));
            context
        })
        .collect();
    let commands = contexts.iter().enumerate();
    let runs =
        at_once(commands.map(|(number, context)| build(&store, context, &format!("different:{number}"))).collect());
    let counts = executions(&runs);
    assert!(counts.len() >= 7 + PROCESSES, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "each step runs once: {counts:?}");
    let digests: BTreeSet<&str> = runs.iter().map(|run| run.stdout.trim()).collect();
    assert_eq!(digests.len(), PROCESSES, "{digests:?}");
    for number in 0..PROCESSES {
        check_image(&store, &format!("different:{number}"));
    }
    assert_clean(&store);
}

/// Stores that are created at the same moment are one store.
#[test]
fn the_first_use_of_a_store_at_once() {
    for _ in 0..3 {
        let store = Store::empty();
        let import = |number: usize| {
            let mut command = store.bld();
            command.arg("import").arg(Base::Busybox.tar()).arg(format!("first:{number}"));
            command
        };
        at_once((0..6).map(import).collect());
        assert_eq!(named(&store, "first"), 6, "no name is lost");
        assert_clean(&store);
    }
}

/// Reads the image in full: a file that was removed under it would be missed.
#[track_caller]
fn check_image(store: &Store, name: &str) {
    support::run(store.bld().args(["inspect", name])).succeeded();
    let work = TempDir::new().unwrap();
    let context = work.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM {name}\n")).unwrap();
    let archive = work.path().join("image.tar");
    let mut command = store.bld();
    command.args(["build", "-q", "-o"]).arg(format!("type=oci,dest={}", archive.display())).arg(&context);
    support::run(&mut command).succeeded();
}

/// Builders, and others that take their images away: no build ever misses anything.
#[test]
fn builds_against_removals() {
    let store = Store::with(&[Base::Busybox]);
    let work = TempDir::new().unwrap();
    let over = AtomicBool::new(false);
    let (builds, removals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let builder = &|number: usize| {
        let context = work.path().join(number.to_string());
        let start = Instant::now();
        for round in 0.. {
            // Every other project is the same for all builders, and every project comes back.
            let text = if round % 2 == 0 { format!("common {}", round % 6) } else { format!("{number} {}", round % 5) };
            let dockerfile =
                format!("FROM busybox:1\nCOPY one two /\nRUN echo {text} > /text\nWORKDIR /made/{round}\n");
            write_project(&context, &dockerfile);
            let mut command = build(&store, &context, &format!("builder:{number}"));
            match round % 3 {
                0 => command.args(["-t", "contended:1", "-t", "contended:2"]),
                1 => command.arg("--no-cache"),
                _ => command.env("SOURCE_DATE_EPOCH", "1700000000"),
            };
            support::run(&mut command).succeeded();
            builds.fetch_add(1, Ordering::Relaxed);
            if start.elapsed() > CONTENTION {
                break;
            }
        }
    };
    let remover = || {
        while !over.load(Ordering::Relaxed) {
            let listed = support::run(store.bld().args(["images", "-q"])).succeeded().stdout;
            let names = ["contended:1", "contended:2", "builder:0", "builder:1", "builder:2"];
            let base = support::run(store.bld().args(["images", "-q", "busybox:1"])).succeeded().stdout;
            let ids: Vec<&str> = listed.lines().filter(|id| *id != base.trim()).collect();
            for name in names.into_iter().chain(ids) {
                // There may be none of that name just now. That is all that may be wrong.
                let run = support::run(store.bld().args(["rmi", "--force", name]));
                assert!(run.code == Some(0) || run.stderr.contains("no such image"), "{}", run.failure());
                removals.fetch_add(usize::from(run.code == Some(0)), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..3).map(|number| scope.spawn(move || builder(number))).collect();
        let remover = scope.spawn(remover);
        let outcomes: Vec<_> = builders.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        remover.join().unwrap();
        for outcome in outcomes {
            outcome.unwrap();
        }
    });
    let counts = (builds.into_inner(), removals.into_inner());
    assert!(counts.0 > 10 && counts.1 > 10, "too little happened: {counts:?}");
    // What is still named is whole, and what was taken away can be made again.
    let listed = support::run(store.bld().args(["images", "-q"])).succeeded().stdout;
    for id in listed.lines() {
        support::run(store.bld().args(["inspect", id])).succeeded();
    }
    for number in 0..3 {
        let context = work.path().join(number.to_string());
        let name = format!("builder:{number}");
        support::run(&mut build(&store, &context, &name)).succeeded();
        check_image(&store, &name);
    }
    assert_clean(&store);
}
