//! Several processes at one store. The others are this test binary again, told by the environment what to be.

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use bld_cache::Store;

use crate::support;
use crate::support::key;
use crate::support::open;

const ROLE: &str = "BLD_CACHE_TEST_ROLE";
const ROOT: &str = "BLD_CACHE_TEST_ROOT";
const NUMBER: &str = "BLD_CACHE_TEST_NUMBER";

/// What another process does; nothing when run as a test.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let root = std::env::var(ROOT).unwrap();
    let number: u32 = std::env::var(NUMBER).unwrap().parse().unwrap();
    let store = open(Path::new(&root));
    match role.as_str() {
        "hold" => hold(&store),
        "tag" => tag(&store, number),
        "ingest" => ingest(&store),
        "record" => record(&store, number),
        "build" => build(&store, number),
        other => panic!("unknown role {other}"),
    }
}

/// Takes a claim and makes a mess, then waits to be killed.
fn hold(store: &Store) {
    let _claim = store.claim(key("held")).unwrap();
    let lease = store.lease().unwrap();
    let (active, _tree) = support::active(store, "never finished");
    let mut ingest = store.blobs().ingest().unwrap();
    ingest.write_all(b"half a blob").unwrap();
    println!("\nready");
    std::thread::sleep(std::time::Duration::from_mins(1));
    drop((active, ingest, lease));
}

fn tag(store: &Store, number: u32) {
    for count in 0..25 {
        let (image, _) = support::image(store, &format!("{number} {count}"));
        store.images().set(&format!("docker.io/library/p{number}:{count}"), &image).unwrap();
    }
}

fn ingest(store: &Store) {
    for count in 0..50 {
        let text = vec![b'x'; 10_000 + count];
        let (digest, size) = store.blobs().write(&text).unwrap();
        assert_eq!(store.blobs().read(&digest, size).unwrap(), text);
    }
}

fn record(store: &Store, number: u32) {
    for count in 0..100 {
        store.records().put(&[key(&format!("{number} {count}"))], &support::record(Vec::new(), "s")).unwrap();
        store.records().get(key(&format!("{} {count}", (number + 1) % 4))).unwrap();
    }
}

/// Makes what is missing, exactly once among all processes, while somebody prunes.
fn build(store: &Store, number: u32) {
    let _lease = store.lease().unwrap();
    for step in 0..20 {
        let key = key(&format!("step {step}"));
        let _claim = store.claim(key).unwrap();
        if store.records().get(key).unwrap().is_none() {
            let layer = support::layer(store, &format!("{number} {step}"));
            store.records().put(&[key], &support::record(vec![layer], &format!("{step}"))).unwrap();
            let facets = store.layers().facets(layer).unwrap().unwrap();
            assert!(fs::exists(facets.directory.unwrap().join("file")).unwrap());
            println!("\nmade {step}");
        }
    }
}

fn start(role: &str, root: &Path, number: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::role", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, root)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs as many processes at once, and gives what they printed.
fn run(role: &str, root: &Path, count: u32) -> String {
    let children: Vec<Child> = (0..count).map(|number| start(role, root, number)).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    outputs
        .map(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{role}: {text}");
            text
        })
        .collect()
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).unwrap().next().is_none()
}

#[test]
fn a_dead_process_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let mut child = start("hold", root.path(), 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    assert!(store.try_claim(key("held")).unwrap().is_none());
    // A live one is let alone.
    drop(open(root.path()));
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 2);
    let waiting = std::thread::spawn({
        let store = store.clone();
        move || drop(store.claim(key("held")).unwrap())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    waiting.join().unwrap();
    drop(store);
    let store = open(root.path());
    store.garbage().prune_all().unwrap();
    drop(store);
    for name in ["tmp", "trash", "leases", "layers", "oci/blobs/sha256"] {
        assert!(is_empty(&root.path().join(name)), "{name}");
    }
}

#[test]
fn no_tag_is_lost() {
    let root = tempfile::tempdir().unwrap();
    run("tag", root.path(), 4);
    let names: std::collections::BTreeSet<String> =
        open(root.path()).images().list().unwrap().into_iter().filter_map(|(name, _)| name).collect();
    assert_eq!(names.len(), 100);
}

#[test]
fn the_same_blob_at_once() {
    let root = tempfile::tempdir().unwrap();
    run("ingest", root.path(), 4);
    assert_eq!(fs::read_dir(root.path().join("oci/blobs/sha256")).unwrap().count(), 50);
}

#[test]
fn records_from_everywhere() {
    let root = tempfile::tempdir().unwrap();
    run("record", root.path(), 4);
    let store = open(root.path());
    for number in 0..4 {
        for count in 0..100 {
            assert!(store.records().get(key(&format!("{number} {count}"))).unwrap().is_some());
        }
    }
}

#[test]
fn every_step_is_made_once() {
    let root = tempfile::tempdir().unwrap();
    let text = run("build", root.path(), 8);
    assert_eq!(text.lines().filter(|line| line.starts_with("made ")).count(), 20);
}

#[test]
fn builds_and_removal_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store.garbage().prune_all().unwrap();
            }
        });
        for _ in 0..3 {
            run("build", root.path(), 4);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    store.garbage().prune_all().unwrap();
    for name in ["trash", "leases", "layers", "trees"] {
        assert!(is_empty(&root.path().join(name)), "{name}");
    }
}
