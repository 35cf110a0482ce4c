//! What failed steps left: found while it is there, gone with the next build, whatever happens in between.

use std::fs;
use std::path::Path;

use bld_cache::Store;
use bld_cache::record::LayerId;
use bld_cache::store::Kept;

use crate::support;
use crate::support::key;
use crate::support::open;

/// A step that failed on one layer and left another.
fn keep(store: &Store, build: &str, below: LayerId, text: &str) -> Kept {
    let (active, tree) = support::active(store, text);
    let layers = vec![below, active.id()];
    let kept = Kept { build: build.to_owned(), vertex: 3, layers, facts: b"facts".to_vec() };
    store.kept().put(&kept).unwrap();
    store.layers().commit(active, &tree).unwrap();
    kept
}

fn layers(root: &Path) -> usize {
    fs::read_dir(root.join("layers")).unwrap().count()
}

fn trees(root: &Path) -> usize {
    let shards = fs::read_dir(root.join("trees")).unwrap();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn kept_until_the_next_build() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let below = support::layer(&store, "below");
    store.records().put(&[key("k")], &support::record(vec![below], "s")).unwrap();
    let first = keep(&store, "1", below, "first");
    let second = keep(&store, "2", below, "second");
    assert_eq!(store.kept().newest().unwrap().as_ref(), Some(&second));
    assert_eq!(store.kept().get("1", 3).unwrap().as_ref(), Some(&first));
    assert_eq!(store.kept().get("1", 4).unwrap(), None);
    // Somebody else makes room meanwhile.
    open(root.path()).garbage().remove_unreferenced().unwrap();
    assert_eq!(store.kept().get("2", 3).unwrap().as_ref(), Some(&second));
    assert_eq!((layers(root.path()), trees(root.path())), (3, 3));
    store.kept().clear().unwrap();
    assert_eq!(store.kept().newest().unwrap(), None);
    assert_eq!((layers(root.path()), trees(root.path())), (1, 1));
    assert!(store.records().get(key("k")).unwrap().is_some());
    store.kept().clear().unwrap();
}

#[test]
fn what_somebody_looks_at_stays() {
    let root = tempfile::tempdir().unwrap();
    let (store, other) = (open(root.path()), open(root.path()));
    let below = support::layer(&store, "below");
    let kept = keep(&store, "1", below, "left");
    let lease = store.lease().unwrap();
    assert_eq!(store.kept().newest().unwrap().as_ref(), Some(&kept));
    other.kept().clear().unwrap();
    other.garbage().prune_all().unwrap();
    assert!(store.layers().facets(kept.layers[1]).unwrap().unwrap().directory.unwrap().join("file").exists());
    drop(lease);
    other.kept().clear().unwrap();
    assert_eq!(store.kept().newest().unwrap(), None);
    // What it began with is another's business.
    assert_eq!(layers(root.path()), 1);
}

#[test]
fn the_same_index_is_not_taken_from_another_layer() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let below = support::layer(&store, "same");
    store.records().put(&[key("k")], &support::record(vec![below], "s")).unwrap();
    keep(&store, "1", below, "same");
    assert_eq!((layers(root.path()), trees(root.path())), (2, 1));
    store.kept().clear().unwrap();
    assert_eq!((layers(root.path()), trees(root.path())), (1, 1));
    assert_eq!(open(root.path()).layers().tree(below).unwrap().len(), 2);
}

/// As after a SIGKILL at each point between the row, the directory and the rest.
#[test]
fn a_death_in_between_leaves_nothing_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let below = support::layer(&store, "below");
    store.records().put(&[key("k")], &support::record(vec![below], "s")).unwrap();
    let row_only = || {
        let (active, _tree) = support::active(&store, "never committed");
        let kept = Kept { build: "1".to_owned(), vertex: 1, layers: vec![below, active.id()], facts: Vec::new() };
        store.kept().put(&kept).unwrap();
        kept
    };
    let kept = row_only();
    assert_eq!(store.kept().newest().unwrap(), None);
    // The directory has its name, and nothing speaks of it.
    let directory = root.path().join("layers").join(hex::encode(kept.layers[1].as_bytes()));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("file"), "x").unwrap();
    assert_eq!(open(root.path()).kept().newest().unwrap(), None);
    open(root.path()).kept().clear().unwrap();
    assert_eq!(layers(root.path()), 1);
    // The files went, the rows did not.
    let kept = keep(&store, "2", below, "left");
    fs::remove_dir_all(root.path().join("layers").join(hex::encode(kept.layers[1].as_bytes()))).unwrap();
    let later = open(root.path());
    assert_eq!(later.kept().newest().unwrap(), None);
    later.kept().clear().unwrap();
    assert_eq!(later.garbage().remove_unreferenced().unwrap().layers, 0);
    assert_eq!(layers(root.path()), 1);
}
