//! The stat cache: what is trusted, what is forgotten.

use bld_cache::store::KnownFile;
use bld_cache::store::StatKey;
use bld_cache::tree::ContentHash;

use crate::support::open;

fn key(ino: u64, time_ns: i64) -> StatKey {
    StatKey { dev: 1, ino, size: 3, mtime_ns: time_ns, ctime_ns: time_ns, mode: 0o100_644 }
}

fn hash(text: &str) -> KnownFile {
    KnownFile { hash: ContentHash(*blake3::hash(text.as_bytes()).as_bytes()), is_bare: text.len() % 2 == 1 }
}

#[test]
fn unchanged_files_are_known() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    assert_eq!(cache.lookup(b"a", &key(1, 5)), None);
    for name in ["b", "a", "c/d", "c.d"] {
        cache.insert(name.as_bytes(), key(1, 5), hash(name));
    }
    cache.save().unwrap();
    let cache = store.stat_cache("context").unwrap();
    for name in ["a", "b", "c.d", "c/d", "a"] {
        assert_eq!(cache.lookup(name.as_bytes(), &key(1, 5)), Some(hash(name)));
    }
    assert_eq!(cache.lookup(b"a", &key(2, 5)), None);
    assert_eq!(cache.lookup(b"a", &key(1, 6)), None);
    assert_eq!(cache.lookup(b"aa", &key(1, 5)), None);
    assert!(hash("a").is_bare && !hash("changed!").is_bare);
    cache.insert(b"a", key(2, 5), hash("changed!"));
    cache.insert(b"0", key(1, 5), hash("0"));
    cache.save().unwrap();
    let cache = store.stat_cache("context").unwrap();
    assert_eq!(cache.lookup(b"a", &key(2, 5)), Some(hash("changed!")));
    assert_eq!(cache.lookup(b"0", &key(1, 5)), Some(hash("0")));
    assert_eq!(cache.lookup(b"c/d", &key(1, 5)), Some(hash("c/d")));
    assert_eq!(store.stat_cache("other").unwrap().lookup(b"b", &key(1, 5)), None);
}

#[test]
fn a_file_changed_just_now_is_not_trusted() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_nanos()).unwrap();
    let second = 1_000_000_000;
    cache.insert(b"now", key(1, now), hash("x"));
    cache.insert(b"future", key(1, now + 99 * second), hash("x"));
    cache.insert(b"touched", StatKey { mtime_ns: 5, ..key(1, now) }, hash("x"));
    cache.insert(b"past", key(1, now - second), hash("x"));
    cache.save().unwrap();
    let cache = store.stat_cache("context").unwrap();
    let known: Vec<bool> =
        [("now", key(1, now)), ("future", key(1, now + 99 * second)), ("past", key(1, now - second))]
            .iter()
            .map(|(name, key)| cache.lookup(name.as_bytes(), key).is_some())
            .collect();
    assert_eq!(known, [false, false, true]);
    assert_eq!(cache.lookup(b"touched", &StatKey { mtime_ns: 5, ..key(1, now) }), None);
}

#[test]
fn what_is_not_seen_is_forgotten_in_time() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    cache.insert(b"seen", key(1, 5), hash("x"));
    cache.insert(b"unseen", key(1, 5), hash("x"));
    cache.save().unwrap();
    for _ in 0..9 {
        let cache = store.stat_cache("context").unwrap();
        assert!(cache.lookup(b"seen", &key(1, 5)).is_some());
        cache.save().unwrap();
    }
    let cache = store.stat_cache("context").unwrap();
    assert!(cache.lookup(b"seen", &key(1, 5)).is_some());
    assert!(cache.lookup(b"unseen", &key(1, 5)).is_none());
}

#[test]
fn a_damaged_cache_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    cache.insert(b"a", key(1, 5), hash("x"));
    cache.save().unwrap();
    let path = root.path().join("stat/context");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.stat_cache("context").unwrap().lookup(b"a", &key(1, 5)), None);
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(store.stat_cache("context").unwrap().lookup(b"a", &key(1, 5)), None);
    }
}

/// How long a file has to have been still depends on how exact the times of its file system are.
#[test]
fn a_file_is_trusted_once_its_clock_must_have_ticked() {
    const SECOND: i64 = 1_000_000_000;
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let begun = 1_700_000_000 * SECOND;
    let cache =
        |milliseconds: i64| store.stat_cache_at("context", i128::from(begun + milliseconds * 1_000_000)).unwrap();
    // Changed when, in nanoseconds; looked at how many milliseconds later; believed.
    for (changed, later, is_settled) in [
        (begun + 1, 0, false),
        (begun + 1, 4, false),
        (begun + 1, 100, false),
        (begun + 1, 101, true),
        (begun + SECOND - 1, 500, false),
        // No fraction of a second: it may be that there never is one.
        (begun, 101, false),
        (begun, 1999, false),
        (begun, 3000, false),
        (begun, 3001, true),
        // The clock was set back, or the file is from another machine.
        (begun + 3600 * SECOND + 1, 101, false),
        (begun + 3600 * SECOND, 3_604_000, true),
    ] {
        let key = key(1, changed);
        assert_eq!(cache(later).is_settled(&key), is_settled, "{changed} {later}");
        // Whether it is set back is for everybody to say; the change time is not.
        assert_eq!(cache(later).is_settled(&StatKey { mtime_ns: 5, ..key }), is_settled, "{changed} {later}");
        let (path, cache) = (format!("{changed} {later}"), cache(later));
        cache.insert(path.as_bytes(), key, hash("x"));
        cache.save().unwrap();
        assert_eq!(store.stat_cache("context").unwrap().lookup(path.as_bytes(), &key).is_some(), is_settled);
    }
}

/// Every part of a status counts.
#[test]
fn another_status_is_not_known() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    let known = key(1, 5);
    cache.insert(b"a", known, hash("x"));
    cache.save().unwrap();
    let cache = store.stat_cache("context").unwrap();
    assert_eq!(cache.lookup(b"a", &known), Some(hash("x")));
    for other in [
        StatKey { dev: 2, ..known },
        StatKey { ino: 2, ..known },
        StatKey { size: 4, ..known },
        StatKey { mtime_ns: 6, ..known },
        StatKey { ctime_ns: 6, ..known },
        StatKey { mode: 0o100_755, ..known },
    ] {
        assert_eq!(cache.lookup(b"a", &other), None, "{other:?}");
    }
}

/// Several directories are asked for in turns, as threads do.
#[test]
fn every_order_of_asking_finds_all() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let cache = store.stat_cache("context").unwrap();
    let path = |directory: u32, file: u32| format!("{directory}/{file:03}");
    for (directory, file) in (0..200).flat_map(|directory| (0..10).map(move |file| (directory, file))) {
        let path = path(directory, file);
        cache.insert(path.as_bytes(), key(u64::from(directory), 5), hash(&path));
    }
    cache.save().unwrap();
    let cache = store.stat_cache("context").unwrap();
    for (file, directory) in (0..10).flat_map(|file| (0..200).map(move |directory| (file, directory))) {
        let path = path(directory, file);
        assert_eq!(cache.lookup(path.as_bytes(), &key(u64::from(directory), 5)), Some(hash(&path)));
    }
}
