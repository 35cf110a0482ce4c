//! What goes when there is too much, what stays, and what is remembered of it.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bld_cache::LayerId;
use bld_cache::Store;
use bld_cache::store::Evicted;
use bld_cache::store::Eviction;
use bld_cache::store::Holder;
use bld_cache::store::mount_claim;
use bld_cache::store::mount_hash;
use bld_oci::DiffId;
use bld_oci::Timestamp;

use crate::support;
use crate::support::descriptor;
use crate::support::key;

const ROLE: &str = "BLD_EVICTION_TEST_ROLE";
const ROOT: &str = "BLD_EVICTION_TEST_ROOT";

/// The bytes of a layer of these tests, without its file index: a file and its directory.
const LAYER: u64 = 104_448;

/// A store whose clock is set by hand.
struct Timed {
    root: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    store: Store,
}

impl Timed {
    fn new() -> Timed {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&clock);
        let store = Store::open(root.path(), move || Timestamp::from_seconds(told.load(Ordering::SeqCst))).unwrap();
        Timed { root, clock, store }
    }

    /// Remembers a result: a new layer on others.
    fn step(&self, name: &str, below: &[LayerId], hours: i64) -> Vec<LayerId> {
        self.clock.store(hours * 3600, Ordering::SeqCst);
        let mut layers = below.to_vec();
        layers.push(support::layer(&self.store, &name.repeat(99_999 / name.len())));
        self.store.records().put(&[key(name)], &support::record(layers.clone(), name)).unwrap();
        layers
    }

    /// The names that are known, of these.
    fn known(&self, names: &str) -> String {
        let is_known = |name: &char| self.store.records().get(key(&name.to_string())).unwrap().is_some();
        names.chars().filter(is_known).collect()
    }

    /// Evicts `count` layers' worth.
    fn shrink(&self, count: u64) -> Evicted {
        let limit = self.store.garbage().cache_size().unwrap() - (count - 1) * LAYER - 1;
        self.evict(Some(limit), None)
    }

    fn evict(&self, limit: Option<u64>, unused_for: Option<i64>) -> Evicted {
        self.store.garbage().evict(&Eviction { limit, unused_for, reason: "to stay under 20GB" }).unwrap()
    }
}

#[test]
fn what_nobody_used_goes_first_and_leaves_before_what_carries_them() {
    let timed = Timed::new();
    // a <- b <- c, d <- e, and f, which is older than c but younger than a and b.
    let a = timed.step("a", &[], 10);
    let b = timed.step("b", &a, 20);
    timed.step("f", &[], 25);
    timed.step("c", &b, 30);
    let d = timed.step("d", &[], 5);
    timed.step("e", &d, 6);
    assert_eq!(timed.evict(Some(u64::MAX), None), Evicted::default());
    timed.clock.store(100 * 3600, Ordering::SeqCst);
    let mut left: Vec<String> = Vec::new();
    for _ in 0..6 {
        let evicted = timed.shrink(1);
        assert_eq!(evicted.results, 1, "{left:?}");
        assert!(evicted.bytes >= LAYER, "{evicted:?}");
        // Not asked for by key: that would be a use.
        let names = timed.store.records().list().unwrap();
        left.push(
            "abcdef".chars().filter(|name| names.iter().any(|row| row.keys == [key(&name.to_string())])).collect(),
        );
    }
    let expected: Vec<String> = ["abcdf", "abcf", "abc", "ab", "a", ""].map(str::to_owned).to_vec();
    assert_eq!(left, expected);
    for name in ["a", "b", "c", "d", "e", "f"] {
        let tombstone = timed.store.records().tombstone(key(name)).unwrap().unwrap();
        assert_eq!((tombstone.seconds, tombstone.reason.as_str()), (360_000, "to stay under 20GB"));
    }
    assert_eq!(fs::read_dir(timed.root.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_hit_is_a_use() {
    let timed = Timed::new();
    timed.step("a", &[], 1);
    timed.step("b", &[], 2);
    timed.clock.store(50 * 3600, Ordering::SeqCst);
    assert_eq!(timed.known("a"), "a");
    assert_eq!(timed.shrink(1).results, 1);
    assert_eq!(timed.known("ab"), "a");
}

#[test]
fn results_of_the_same_layers_go_together() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    timed.clock.store(9 * 3600, Ordering::SeqCst);
    timed.store.records().put(&[key("twin"), key("other")], &support::record(a, "a")).unwrap();
    timed.step("b", &[], 5);
    // The twin was used after b.
    timed.shrink(1);
    assert_eq!(timed.known("ab"), "a");
    assert_eq!(timed.shrink(1).results, 2);
    for name in ["a", "twin", "other"] {
        assert!(timed.store.records().tombstone(key(name)).unwrap().is_some(), "{name}");
    }
}

#[test]
fn age_alone_can_be_the_reason() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    timed.step("b", &a, 40);
    timed.step("c", &[], 2);
    timed.step("d", &[], 30);
    timed.clock.store(50 * 3600, Ordering::SeqCst);
    assert_eq!(timed.evict(None, Some(20 * 3600)).results, 2);
    // a carries b.
    assert_eq!(timed.known("abcd"), "ab");
    // Both together: what is old goes, but no more than is needed.
    let timed = Timed::new();
    for (name, hours) in [("a", 1), ("b", 2), ("c", 45)] {
        timed.step(name, &[], hours);
    }
    timed.clock.store(50 * 3600, Ordering::SeqCst);
    let size = timed.store.garbage().cache_size().unwrap();
    assert_eq!(timed.evict(Some(size - 1), Some(20 * 3600)).results, 1);
    assert_eq!(timed.evict(Some(0), Some(20 * 3600)).results, 1);
    assert_eq!(timed.known("abc"), "c");
}

#[test]
fn states_go_with_the_last_result_that_holds_them() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    timed.step("b", &a, 2);
    let state = |name: &str| timed.store.records().state(support::record(Vec::new(), name).state.id).unwrap();
    let number = |name: &str| {
        let list = timed.store.records().list().unwrap();
        list.iter().find(|row| row.keys == [key(name)]).unwrap().number
    };
    let forgotten = timed.store.garbage().forget(&[number("a")], "by bld cache rm").unwrap();
    assert_eq!(forgotten.results, 1);
    assert_eq!(timed.known("ab"), "b");
    // b stands upon its layer: what makes it again finds it.
    assert_eq!(state("a").unwrap().layers, a);
    assert_eq!(timed.store.records().tombstone(key("a")).unwrap().unwrap().reason, "by bld cache rm");
    assert!(timed.store.garbage().forget(&[number("b")], "by bld cache rm").unwrap().bytes >= 2 * LAYER);
    assert_eq!((state("a"), state("b")), (None, None));
    assert!(!timed.store.layers().exists(&a).unwrap());
}

#[test]
fn what_is_held_and_what_is_listed_stays() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    timed.step("b", &a, 2);
    timed.step("c", &[], 3);
    let (config, size) = timed.store.blobs().write(b"{}").unwrap();
    let (blob, length) = timed.store.blobs().write(&[7; 5000]).unwrap();
    let c = timed.store.records().get(key("c")).unwrap().unwrap().state.layers[0];
    timed.store.layers().set_blob(c, "gzip:6", DiffId(blob), &descriptor(blob, length)).unwrap();
    let manifest = serde_json::json!({
        "config": { "digest": config, "size": size },
        "layers": [{ "digest": blob, "size": length }],
    });
    let (manifest, size) = timed.store.blobs().write(manifest.to_string().as_bytes()).unwrap();
    timed.store.images().set("docker.io/library/app:1", &descriptor(manifest, size)).unwrap();

    let lease = timed.store.lease().unwrap();
    assert!(timed.store.records().get(key("b")).unwrap().is_some());
    let evicted = timed.evict(Some(0), None);
    assert_eq!(evicted.results, 1, "only c is neither held nor below what is");
    for digest in [config, blob, manifest] {
        assert!(timed.store.blobs().contains(&digest).unwrap().is_some());
    }
    assert!(timed.store.layers().exists(&a).unwrap());
    drop(lease);
    assert_eq!(timed.evict(Some(0), None).results, 2);
    assert_eq!(timed.store.garbage().cache_size().unwrap() / 8192, 0, "only empty directories");
    assert!(timed.store.blobs().contains(&blob).unwrap().is_some());
}

fn mount(store: &Store, id: &str, bytes: usize) -> String {
    let hash = mount_hash(id);
    let directory = store.mounts().join(&hash);
    fs::create_dir_all(directory.join("0")).unwrap();
    fs::write(directory.join("id"), id).unwrap();
    fs::write(directory.join("0/content"), vec![b'm'; bytes]).unwrap();
    hash
}

#[test]
fn cache_mounts_count_and_go_unless_they_are_in_use() {
    let timed = Timed::new();
    let (go, apt) = (mount(&timed.store, "/go", 400_000), mount(&timed.store, "apt", 100_000));
    timed.clock.store(5000, Ordering::SeqCst);
    timed.store.cache_mounts().touch(&go).unwrap();
    timed.clock.store(1000, Ordering::SeqCst);
    timed.store.cache_mounts().touch(&apt).unwrap();
    let list = timed.store.cache_mounts().list().unwrap();
    let shown: Vec<_> = list.iter().map(|mount| (mount.id.as_str(), mount.last_used_ns, mount.holder)).collect();
    assert_eq!(shown, [("/go", 5_000_000_000_000, Holder::Nobody), ("apt", 1_000_000_000_000, Holder::Nobody)]);
    let size = timed.store.cache_mounts().size(&list[0]).unwrap();
    assert!((400_000..430_000).contains(&size), "{size}");
    // Remembered until it is used again.
    fs::write(timed.store.mounts().join(&go).join("0/more"), vec![b'm'; 400_000]).unwrap();
    assert_eq!(timed.store.cache_mounts().size(&list[0]).unwrap(), size);
    timed.clock.store(6000, Ordering::SeqCst);
    timed.store.cache_mounts().touch(&go).unwrap();
    let list = timed.store.cache_mounts().list().unwrap();
    assert!(timed.store.cache_mounts().size(&list[0]).unwrap() > 800_000);

    let claim = timed.store.try_share_name(&mount_claim(&apt, 0)).unwrap().unwrap();
    let list = timed.store.cache_mounts().list().unwrap();
    assert_eq!(list[1].holder, Holder::Shared);
    assert!(!timed.store.cache_mounts().remove(&list[1]).unwrap());
    let limit = timed.store.garbage().cache_size().unwrap() - 1;
    assert_eq!(timed.evict(Some(limit), None).mounts, 1, "the older one is in use");
    assert!(timed.store.mounts().join(&apt).join("0/content").exists());
    assert!(!timed.store.mounts().join(&go).join("0").exists());
    drop(claim);
    let alone = timed.store.try_claim_name(&mount_claim(&apt, 0)).unwrap().unwrap();
    assert_eq!(timed.store.cache_mounts().list().unwrap()[0].holder, Holder::Alone);
    drop(alone);
    assert_eq!(timed.evict(Some(0), None).mounts, 1);
    assert_eq!(timed.store.cache_mounts().list().unwrap(), []);
}

fn directory(store: &Store, layer: LayerId) -> std::path::PathBuf {
    store.layers().facets(layer).unwrap().unwrap().directory.unwrap()
}

#[test]
fn a_result_found_by_another_key_is_the_same_result() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    let mut record = support::record(a, "a");
    record.operation = Some([1; 32]);
    timed.store.records().put(&[key("content"), key("first")], &record).unwrap();
    let found = timed.store.records().get(key("content")).unwrap().unwrap();
    timed.store.records().put(&[key("second")], &found).unwrap();
    let rows = timed.store.records().list().unwrap();
    let row = rows.iter().find(|row| row.keys.contains(&key("second"))).unwrap();
    assert_eq!(row.keys.len(), 3);
    // A key less, and never the last one.
    timed.store.records().unlink(&[key("first"), key("second"), key("content"), key("a")]).unwrap();
    let left = |name: &str| timed.store.records().get(key(name)).unwrap().is_some();
    assert_eq!((left("first"), left("second"), left("content"), left("a")), (false, false, true, true));
    // Another operation that makes the same is another result.
    record.operation = Some([2; 32]);
    timed.store.records().put(&[key("other")], &record).unwrap();
    assert_eq!(timed.store.records().list().unwrap().len(), 3);
}

/// `du -s`, in bytes.
fn du(path: &Path) -> u64 {
    let output = Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_census_is_what_du_says() {
    let timed = Timed::new();
    let a = timed.step("a", &[], 1);
    let layers = timed.step("b", &a, 2);
    for count in 0..30 {
        let layer = directory(&timed.store, layers[count % 2]);
        fs::write(layer.join(format!("more-{count}")), vec![b'x'; 3000 * count]).unwrap();
    }
    fs::hard_link(directory(&timed.store, a[0]).join("file"), directory(&timed.store, a[0]).join("second name"))
        .unwrap();
    mount(&timed.store, "apt", 70_000);
    let (image, _) = support::image(&timed.store, "x");
    timed.store.images().set("docker.io/library/x:1", &image).unwrap();
    timed.store.blobs().write(&vec![1; 20_000]).unwrap();
    let census = timed.store.garbage().census().unwrap();
    let (said, is) = (census.total(), du(timed.root.path()));
    assert!(said.abs_diff(is) * 100 <= is, "{said} instead of {is}");
    assert_eq!(census.layers.len(), 2);
    assert!(census.layers.iter().all(|layer| layer.directory > LAYER && layer.tree > 0));
    assert!(census.loose >= 20_000 && census.images > 0 && census.mounts.len() == 1, "{census:?}");
}

/// What another process does; nothing when run as a test.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = support::open(Path::new(&std::env::var(ROOT).unwrap()));
    loop {
        match role.as_str() {
            "evict" => {
                store.garbage().evict(&Eviction { limit: Some(0), unused_for: None, reason: "x" }).unwrap();
            }
            "build and evict" => {
                for chain in 0..3 {
                    build(&store, chain);
                }
                let limit = Some(2 * LAYER);
                store.garbage().evict(&Eviction { limit, unused_for: None, reason: "x" }).unwrap();
            }
            other => panic!("unknown role {other}"),
        }
    }
}

/// Makes what is missing of three steps; all of it must be there as long as the lease lives.
fn build(store: &Store, chain: u32) {
    let _lease = store.lease().unwrap();
    let mut layers = Vec::new();
    for step in 0..3 {
        let name = format!("{chain} {step}");
        let _claim = store.claim(key(&name)).unwrap();
        if let Some(record) = store.records().get(key(&name)).unwrap() {
            layers = record.state.layers;
        } else {
            layers.push(support::layer(store, &name.repeat(20_000)));
            store.records().put(&[key(&name)], &support::record(layers.clone(), &name)).unwrap();
        }
    }
    assert_eq!(layers.len(), 3);
    for layer in layers {
        let directory = store.layers().facets(layer).unwrap().unwrap().directory.unwrap();
        assert!(directory.join("file").exists());
        store.layers().tree(layer).unwrap();
    }
}

fn start(role: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "eviction::role", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn builds_and_eviction_at_once() {
    let root = tempfile::tempdir().unwrap();
    let store = support::open(root.path());
    let mut others = [start("evict", root.path()), start("build and evict", root.path())];
    for round in 0..60 {
        build(&store, round % 3);
    }
    for other in &mut others {
        assert!(other.try_wait().unwrap().is_none(), "it failed");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

#[test]
fn killed_at_any_instant() {
    let root = tempfile::tempdir().unwrap();
    drop(support::open(root.path()));
    for round in 0..25_u64 {
        let mut child = start("build and evict", root.path());
        std::thread::sleep(Duration::from_millis(60 + round * 7));
        assert!(child.try_wait().unwrap().is_none(), "it failed");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = support::open(root.path());
        for row in store.records().list().unwrap() {
            for key in row.keys {
                assert!(store.records().get(key).unwrap().is_some(), "a result without its layers");
            }
        }
        build(&store, 1);
    }
    let store = support::open(root.path());
    store.garbage().evict(&Eviction { limit: Some(0), unused_for: None, reason: "x" }).unwrap();
    drop(store);
    for name in ["layers", "trees", "trash", "tmp", "leases"] {
        assert_eq!(fs::read_dir(root.path().join(name)).unwrap().count(), 0, "{name}");
    }
}
