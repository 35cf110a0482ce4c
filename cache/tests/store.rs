//! One process at a store: content, layers, records, images, logs, removal.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bld_cache::StateId;
use bld_cache::StoreError;
use bld_cache::store::Usage;
use bld_oci::DiffId;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageLayer;

use crate::support;
use crate::support::descriptor;
use crate::support::key;
use crate::support::open;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn try_open(root: &Path) -> Result<bld_cache::Store, StoreError> {
    bld_cache::Store::open(root, || bld_oci::Timestamp::from_seconds(0))
}

/// All files below a directory.
fn files(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
        found.push(entry.path().display().to_string());
    }
    found
}

fn blob_path(root: &Path, digest: &Digest) -> std::path::PathBuf {
    root.join("oci/blobs/sha256").join(digest.hex())
}

/// Changes a byte behind the store's back.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_store_is_private() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/store");
    drop(open(&path));
    assert_eq!(mode(&path), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&path));
    assert_eq!(mode(&path), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o720)).unwrap();
    assert!(matches!(try_open(&path), Err(StoreError::Exposed { mode: 0o720, .. })));
}

#[test]
fn what_is_no_store_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis"), "").unwrap();
    assert!(matches!(try_open(root.path()), Err(StoreError::NotAStore { .. })));
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    fs::write(root.path().join("format"), "bld-store 2\n").unwrap();
    assert!(matches!(try_open(root.path()), Err(StoreError::Newer { .. })));
}

#[test]
fn a_store_of_another_user_is_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    if std::os::unix::fs::chown(root.path(), Some(12345), None).is_err() {
        eprintln!("skipped: changing owners needs root");
        return;
    }
    assert!(matches!(try_open(root.path()), Err(StoreError::Foreign { owner: 12345, .. })));
}

#[test]
fn blobs_come_back() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (digest, size) = store.blobs().write(b"hello").unwrap();
    assert_eq!((digest, size), (Digest::of(b"hello"), 5));
    assert_eq!(store.blobs().write(b"hello").unwrap(), (digest, 5));
    assert_eq!(store.blobs().contains(&digest).unwrap(), Some(5));
    assert_eq!(store.blobs().read(&digest, 5).unwrap(), b"hello");
    assert!(matches!(store.blobs().read(&digest, 4), Err(StoreError::TooLarge { size: 5, .. })));
    let mut bytes = [0; 5];
    store.blobs().open(&digest).unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(mode(&blob_path(root.path(), &digest)), 0o444);
    assert_eq!(store.blobs().read(&store.blobs().write(b"").unwrap().0, 0).unwrap(), b"");
    assert!(store.blobs().remove(&digest).unwrap() && !store.blobs().remove(&digest).unwrap());
    assert!(store.blobs().read(&digest, 5).unwrap_err().is_miss());
}

#[test]
fn an_ingest_that_fails_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let before = files(root.path());
    let mut ingest = store.blobs().ingest().unwrap();
    ingest.write_all(b"half").unwrap();
    drop(ingest);
    let mut ingest = store.blobs().ingest().unwrap();
    ingest.write_all(b"wrong").unwrap();
    let result = ingest.commit_verified(&descriptor(Digest::of(b"right"), 5));
    assert!(matches!(result, Err(StoreError::Mismatch { actual_size: 5, .. })));
    assert_eq!(files(root.path()), before);
}

#[test]
fn damage_is_found_and_put_aside() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (digest, _) = store.blobs().write(b"precious").unwrap();
    damage(&blob_path(root.path(), &digest));
    let error = store.blobs().read(&digest, 100).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains(&digest.to_string()), "{error}");
    assert_eq!(store.blobs().contains(&digest).unwrap(), None);
    assert_eq!(files(&root.path().join("quarantine")).len(), 1);
    // It heals by being written again.
    store.blobs().write(b"precious").unwrap();
    assert_eq!(store.blobs().read(&digest, 100).unwrap(), b"precious");
    // Another size is seen without reading.
    let path = blob_path(root.path(), &digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "").unwrap();
    assert_eq!(store.blobs().contains(&digest).unwrap(), None);
    // And so is a directory in its place, or a file nobody noted.
    fs::create_dir(&path).unwrap();
    assert_eq!(store.blobs().contains(&digest).unwrap(), None);
    fs::write(&path, "impostor").unwrap();
    assert_eq!(store.blobs().contains(&digest).unwrap(), None);
    fs::write(&path, "precious").unwrap();
    assert_eq!(store.blobs().contains(&digest).unwrap(), Some(8));
}

#[test]
fn another_boot_verifies_before_use() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (kept, _) = store.blobs().write(b"kept").unwrap();
    let (safe, _) = store.blobs().write(b"safe").unwrap();
    let whole = support::layer(&store, "whole");
    store.sync().unwrap();
    let (lost, _) = store.blobs().write(b"lost").unwrap();
    let torn = support::layer(&store, "torn");
    let sound = support::layer(&store, "sound");
    store.records().put(&[key("torn")], &support::record(vec![torn], "torn")).unwrap();
    store.records().put(&[key("sound")], &support::record(vec![whole, sound], "sound")).unwrap();
    drop(store);
    // Provisional objects of this boot become those of another one; then the power cut.
    let database = rusqlite::Connection::open(root.path().join("index.db")).unwrap();
    database.execute("UPDATE objects SET boot = 'earlier' WHERE boot IS NOT NULL", []).unwrap();
    drop(database);
    damage(&blob_path(root.path(), &lost));
    damage(&root.path().join("layers").join(torn.hex()).join("file"));
    let store = open(root.path());
    for (digest, there) in [(kept, true), (safe, true), (lost, false)] {
        assert_eq!(store.blobs().contains(&digest).unwrap().is_some(), there);
    }
    assert!(store.records().get(key("torn")).unwrap().is_none());
    assert!(store.records().get(key("sound")).unwrap().is_some());
    assert_eq!(store.layers().facets(torn).unwrap().unwrap().directory, None);
    assert_eq!(files(&root.path().join("quarantine")).len(), 3);
}

#[test]
fn layers_have_facets() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (active, tree) = support::active(&store, "text");
    assert_eq!(mode(active.directory()), 0o755);
    assert!(active.work().is_dir());
    let id = store.layers().commit(active, &tree).unwrap();
    let facets = store.layers().facets(id).unwrap().unwrap();
    let directory = facets.directory.clone().unwrap();
    assert_eq!(fs::read(directory.join("file")).unwrap(), b"text");
    assert_eq!((facets.tree, facets.diff_id, facets.size), (Some(tree.digest()), None, 4));
    assert_eq!(*store.layers().tree(id).unwrap(), tree);
    let (digest, size) = store.blobs().write(b"gzip").unwrap();
    let diff_id = DiffId(Digest::of(b"tar"));
    let blob = Descriptor { media_type: "m".to_owned(), digest, size };
    store.layers().set_blob(id, "gzip:6", diff_id, &blob).unwrap();
    let facets = store.layers().facets(id).unwrap().unwrap();
    assert_eq!((facets.diff_id, facets.blobs), (Some(diff_id), vec![("gzip:6".to_owned(), blob)]));
    assert_eq!(store.layers().find_by_diff_id(diff_id).unwrap(), Some(id));
    // Without its directory the blob is enough, without both nothing is.
    fs::remove_dir_all(&directory).unwrap();
    drop(store);
    let store = open(root.path());
    assert!(store.layers().exists(&[id]).unwrap());
    assert_eq!(store.layers().facets(id).unwrap().unwrap().directory, None);
    store.blobs().remove(&digest).unwrap();
    assert!(!store.layers().exists(&[id]).unwrap());
    drop(store.layers().create().unwrap());
    drop(store);
    assert_eq!(files(&root.path().join("tmp")).len() + files(&root.path().join("trash")).len(), 0);
}

#[test]
fn image_layers_are_adopted_once_and_unpacked_later() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let blob = Descriptor { media_type: "m".to_owned(), digest: Digest::of(b"far away"), size: 8 };
    let layer = ImageLayer { diff_id: DiffId(Digest::of(b"tar")), blob };
    let id = store.layers().adopt_image_layer(&layer).unwrap();
    assert_eq!(store.layers().adopt_image_layer(&layer).unwrap(), id);
    let other = ImageLayer { blob: Descriptor { digest: Digest::of(b"zstd"), ..layer.blob.clone() }, ..layer.clone() };
    assert_eq!(store.layers().adopt_image_layer(&other).unwrap(), id);
    assert_eq!(store.layers().facets(id).unwrap().unwrap().blobs.len(), 2);
    // It can always be fetched.
    assert!(store.layers().exists(&[id]).unwrap());
    for text in ["once", "twice"] {
        let (active, tree) = support::active(&store, text);
        store.layers().attach_directory(id, active, &tree).unwrap();
    }
    let directory = store.layers().facets(id).unwrap().unwrap().directory.unwrap();
    assert_eq!(fs::read(directory.join("file")).unwrap(), b"once");
}

#[test]
fn records_come_back() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let first = support::layer(&store, "first");
    let record = support::record(vec![first], "state");
    store.records().put(&[key("definition"), key("content")], &record).unwrap();
    assert_eq!(store.records().get(key("content")).unwrap(), Some(record.clone()));
    assert_eq!(store.records().get(key("other")).unwrap(), None);
    // The first layers that made a state stay.
    let again = support::record(vec![support::layer(&store, "again")], "state");
    store.records().put(&[key("rerun")], &again).unwrap();
    assert_eq!(store.records().state(record.state.id).unwrap().unwrap().layers, [first]);
    fs::remove_dir_all(store.layers().facets(first).unwrap().unwrap().directory.unwrap()).unwrap();
    drop(store);
    let store = open(root.path());
    assert_eq!(store.records().get(key("definition")).unwrap(), None);
    assert_eq!(store.records().state(record.state.id).unwrap(), None);
    store.records().put(&[key("rerun")], &again).unwrap();
    assert_eq!(store.records().state(record.state.id).unwrap().unwrap().layers, again.state.layers);
    let empty = support::record(Vec::new(), "no layers");
    store.records().put(&[key("empty")], &empty).unwrap();
    assert_eq!(store.records().get(key("empty")).unwrap(), Some(empty));
    assert_eq!(store.records().state(StateId::scratch()).unwrap(), None);
}

#[test]
fn memo_and_logs() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    assert_eq!(store.memo().get("a", b"k").unwrap(), None);
    store.memo().put("a", b"k", b"v").unwrap();
    assert_eq!(store.memo().get("a", b"k").unwrap().unwrap(), b"v");
    assert_eq!(store.memo().get("b", b"k").unwrap(), None);
    assert_eq!(store.memo().get_or_put("a", b"k", b"w").unwrap(), b"v");
    let mut log = store.logs().create("build", "1").unwrap();
    log.write_all(b"one\n").unwrap();
    log.write_all(b"two\n").unwrap();
    let mut text = String::new();
    store.logs().open("build", "1").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n");
    assert_eq!(store.logs().steps("build").unwrap(), ["1"]);
    assert!(matches!(store.logs().create("..", "1"), Err(StoreError::InvalidName { .. })));
    assert!(store.logs().open("build", "2").unwrap_err().is_miss());
}

#[test]
fn a_broken_index_is_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (image, _) = support::image(&store, "x");
    store.images().set("docker.io/library/x:1", &image).unwrap();
    store.memo().put("a", b"k", b"v").unwrap();
    drop(store);
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        fs::write(root.path().join(name), "this is not a database, and it is long enough to be sure of it".repeat(99))
            .unwrap();
    }
    let store = open(root.path());
    assert_eq!(store.memo().get("a", b"k").unwrap(), None);
    store.memo().put("a", b"k", b"v").unwrap();
    assert_eq!(store.images().get("docker.io/library/x:1").unwrap(), Some(image.clone()));
    assert_eq!(store.blobs().contains(&image.digest).unwrap(), Some(image.size));
}

#[test]
fn images_have_names() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let ((one, one_config), (two, _)) = (support::image(&store, "one"), support::image(&store, "two"));
    let (name, other) = ("docker.io/library/app:1", "localhost:5000/app:2");
    store.images().set(name, &one).unwrap();
    store.images().set(other, &one).unwrap();
    let text: serde_json::Value =
        serde_json::from_slice(&fs::read(root.path().join("oci/index.json")).unwrap()).unwrap();
    assert_eq!(text["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], name);
    assert_eq!(text["manifests"][0]["annotations"]["io.containerd.image.name"], name);
    assert_eq!(text["schemaVersion"], 2);
    store.images().set(name, &two).unwrap();
    // Still named by the other tag: nothing dangles.
    assert_eq!(store.images().list().unwrap().len(), 2);
    store.images().set(other, &two).unwrap();
    let list = store.images().list().unwrap();
    assert_eq!(list.iter().filter(|(name, found)| name.is_none() && *found == one).count(), 1);
    assert_eq!(list.len(), 3);
    assert_eq!(store.images().find(name).unwrap(), Some(two.clone()));
    assert_eq!(store.images().find(&one.digest.to_string()).unwrap(), Some(one.clone()));
    assert_eq!(store.images().find(&one_config.hex()[..12]).unwrap(), Some(one.clone()));
    assert_eq!(store.images().find("nothing").unwrap(), None);
    let details = store.images().details(&one).unwrap();
    assert_eq!((details.config, details.created.as_deref()), (Some(one_config), Some("2020-01-01T00:00:00Z")));
    // A dangling image that gets a name dangles no more.
    store.images().set("docker.io/library/back:1", &one).unwrap();
    assert!(store.images().list().unwrap().iter().all(|(name, _)| name.is_some()));
    assert_eq!(store.images().remove(name).unwrap(), Some(two.clone()));
    assert_eq!(store.images().remove(name).unwrap(), None);
    store.images().add_untagged(&two).unwrap();
    assert!(!store.images().remove_untagged(&two.digest).unwrap());
}

#[test]
fn an_emptied_image_list_is_replaced_by_the_one_last_synced() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let (image, _) = support::image(&store, "x");
    store.images().set("docker.io/library/x:1", &image).unwrap();
    store.sync().unwrap();
    fs::write(root.path().join("oci/index.json"), "").unwrap();
    assert_eq!(store.images().get("docker.io/library/x:1").unwrap(), Some(image));
}

#[test]
fn pruning_everything_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let empty = files(root.path());
    let (image, _) = support::image(&store, "x");
    store.images().set("docker.io/library/x:1", &image).unwrap();
    let layer = support::layer(&store, "text");
    store.records().put(&[key("k")], &support::record(vec![layer], "s")).unwrap();
    store.memo().put("a", b"k", b"v").unwrap();
    store.logs().create("build", "1").unwrap().write_all(b"x").unwrap();
    fs::create_dir(store.mounts().join("cache")).unwrap();
    assert_eq!(store.garbage().remove_unreferenced().unwrap().layers, 0);
    assert!(store.records().get(key("k")).unwrap().is_some());
    let used = store.garbage().usage().unwrap();
    assert_eq!(used.layers, 4);
    assert!(used.total() > used.layers + used.trees && used.trees > 0);
    // The image has a name.
    assert_eq!(store.garbage().prune_all().unwrap().layers, 1);
    assert_eq!(store.blobs().contains(&image.digest).unwrap(), Some(image.size));
    assert!(store.records().get(key("k")).unwrap().is_none());
    store.images().remove("docker.io/library/x:1").unwrap();
    let freed = store.garbage().prune_all().unwrap();
    assert_eq!((freed.blobs, freed.layers), (2, 0));
    let mut left = files(root.path());
    left.retain(|path| {
        !path.ends_with("oci/index.json") && !path.ends_with("locks/images") && !path.ends_with("locks/gc")
    });
    assert_eq!(left, empty);
    assert_eq!(store.garbage().usage().unwrap().trees, Usage::default().trees);
}

#[test]
fn leases_hold_what_is_made_and_found() {
    let root = tempfile::tempdir().unwrap();
    let builder = open(root.path());
    let cleaner = open(root.path());
    let old = support::layer(&builder, "old");
    let (old_blob, _) = builder.blobs().write(b"old").unwrap();
    builder.records().put(&[key("k")], &support::record(vec![old], "s")).unwrap();
    let lease = builder.lease().unwrap();
    let found = builder.records().get(key("k")).unwrap().unwrap();
    assert_eq!(found.state.layers, [old]);
    let (active, tree) = support::active(&builder, "new");
    let (new_blob, _) = builder.blobs().write(b"new").unwrap();
    assert!(builder.blobs().contains(&old_blob).unwrap().is_some());
    cleaner.garbage().prune_all().unwrap();
    let new = builder.layers().commit(active, &tree).unwrap();
    cleaner.garbage().prune_all().unwrap();
    assert!(builder.layers().exists(&[old, new]).unwrap());
    assert!(builder.layers().facets(new).unwrap().unwrap().directory.is_some());
    for blob in [old_blob, new_blob] {
        assert!(builder.blobs().contains(&blob).unwrap().is_some());
    }
    drop(lease);
    cleaner.garbage().prune_all().unwrap();
    assert!(!builder.layers().exists(&[old]).unwrap() && !builder.layers().exists(&[new]).unwrap());
    assert!(builder.blobs().contains(&new_blob).unwrap().is_none());
}

#[test]
fn claims_exclude_each_other() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let claim = store.claim(key("a")).unwrap();
    assert!(store.try_claim(key("a")).unwrap().is_none());
    assert!(store.try_claim(key("b")).unwrap().is_some());
    drop(claim);
    assert!(store.try_claim(key("a")).unwrap().is_some());
    let inside = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let claim = store.claim(key("a")).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(claim);
                }
            });
        }
    });
}

#[test]
fn whoever_was_named_last_is_asked_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"a layer");
    for repository in ["one.example/base", "two.example/base", "one.example/base"] {
        store.origins().add(repository, &[digest]).unwrap();
    }
    assert_eq!(store.origins().of(&digest).unwrap(), ["one.example/base", "two.example/base"]);
    store.garbage().remove_unreferenced().unwrap();
    assert!(store.origins().of(&digest).unwrap().is_empty(), "nothing speaks of the blob");
}
