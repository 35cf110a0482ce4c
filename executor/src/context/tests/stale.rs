//! Somebody tries to make the stat cache tell of bytes that are no longer there.
//!
//! Each round plays a few tricks on a directory in which all files have one size and one modification time. Then the directory is seen as
//! a build context twice, with what is remembered and without. Both have to be the same. `BLD_STAT_ROUNDS` says how many rounds (2000 if it
//! is not set; `scripts/stat-campaign` has more patience), `BLD_STAT_SEED` which.

mod tricks;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bld_cache::Store;
use bld_cache::store::KnownFile;
use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_solver::op::Selector;
use rustix::fs::Timespec;

use self::tricks::BIG;
use self::tricks::World;
use self::tricks::overwrite_big;
use super::super::ContextTree;
use super::super::FileStat;
use super::super::HashMemo;
use super::super::NoMemo;
use super::super::beneath;
use super::super::store_memo::StoreMemo;
use super::super::watch;
use crate::copy::CopySource;
use crate::copy::select;
use crate::sandbox::sys::Mapped;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;

/// A memo from one build to the next.
trait Memory {
    fn open(&self, directory: &Path) -> Arc<dyn HashMemo>;
    fn close(&self, memo: Arc<dyn HashMemo>);
}

/// What bld has, and how often it was of use.
struct Real {
    store: Store,
    current: Mutex<Option<StoreMemo>>,
    hits: Arc<AtomicU64>,
    bare: Arc<AtomicU64>,
    remembered: Arc<AtomicU64>,
}

struct Counted {
    memo: StoreMemo,
    hits: Arc<AtomicU64>,
    bare: Arc<AtomicU64>,
    remembered: Arc<AtomicU64>,
}

impl HashMemo for Counted {
    fn lookup(&self, path: &ImagePath, stat: &FileStat) -> Option<KnownFile> {
        let found = self.memo.lookup(path, stat);
        self.hits.fetch_add(u64::from(found.is_some()), Ordering::Relaxed);
        self.bare.fetch_add(u64::from(found.is_some_and(|known| known.is_bare)), Ordering::Relaxed);
        found
    }

    fn is_settled(&self, stat: &FileStat) -> bool {
        self.memo.is_settled(stat)
    }

    fn insert(&self, path: &ImagePath, stat: &FileStat, known: KnownFile) {
        self.remembered.fetch_add(1, Ordering::Relaxed);
        self.memo.insert(path, stat, known);
    }
}

impl Real {
    fn new(directory: &Path) -> Real {
        let store = Store::open(&directory.join("store"), || Timestamp::FIXED).unwrap();
        Real {
            store,
            current: Mutex::default(),
            hits: Arc::default(),
            bare: Arc::default(),
            remembered: Arc::default(),
        }
    }
}

impl Memory for Real {
    fn open(&self, directory: &Path) -> Arc<dyn HashMemo> {
        let memo = StoreMemo::open(&self.store, directory).unwrap();
        *self.current.lock().unwrap() = Some(memo.clone());
        let [hits, bare, remembered] = [&self.hits, &self.bare, &self.remembered].map(Arc::clone);
        Arc::new(Counted { memo, hits, bare, remembered })
    }

    fn close(&self, memo: Arc<dyn HashMemo>) {
        drop(memo);
        self.current.lock().unwrap().take().unwrap().save().unwrap();
    }
}

/// What of a status somebody looks at.
type Belief = fn(&FileStat) -> FileStat;

/// A memo that believes what it should not, as others do.
struct Credulous {
    believes: Belief,
    known: Mutex<HashMap<ImagePath, (FileStat, KnownFile)>>,
}

impl HashMemo for Credulous {
    fn lookup(&self, path: &ImagePath, stat: &FileStat) -> Option<KnownFile> {
        let known = self.known.lock().unwrap();
        known.get(path).filter(|(known, _)| (self.believes)(known) == (self.believes)(stat)).map(|(_, known)| *known)
    }

    fn is_settled(&self, _stat: &FileStat) -> bool {
        true
    }

    fn insert(&self, path: &ImagePath, stat: &FileStat, known: KnownFile) {
        self.known.lock().unwrap().insert(path.clone(), (*stat, known));
    }
}

impl Memory for Arc<Credulous> {
    fn open(&self, _directory: &Path) -> Arc<dyn HashMemo> {
        Arc::clone(self) as Arc<dyn HashMemo>
    }

    fn close(&self, _memo: Arc<dyn HashMemo>) {}
}

fn digest(tree: &ContextTree) -> [u8; 32] {
    let selector = Selector { sources: vec![".".to_owned()], exclude: Vec::new(), parents: false, tree: String::new() };
    select(CopySource::context(tree), &selector).unwrap().digest(tree).unwrap()
}

/// What a file holds, and its extended attributes.
type Seen = (ContentHash, BTreeMap<Vec<u8>, Vec<u8>>);

/// Every file.
fn contents(tree: &ContextTree) -> BTreeMap<ImagePath, Seen> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![ImagePath::root()]);
    while let Some(path) = pending.pop() {
        let node = tree.node(&path).unwrap().unwrap();
        match node.kind {
            ViewKind::Directory => pending.extend(tree.children(&path).unwrap().iter().map(|name| path.join(name))),
            ViewKind::File { .. } => {
                found.insert(path.clone(), (tree.content(&path).unwrap(), node.metadata.xattrs));
            }
            _ => {}
        }
    }
    found
}

fn open(directory: &Path, memo: Arc<dyn HashMemo>) -> ContextTree {
    ContextTree::open(directory, None, memo).unwrap()
}

/// Builds once with the memory and compares with what is there. Answers the files that are not what is remembered of them.
fn stale(directory: &Path, memory: &dyn Memory) -> Vec<String> {
    let memo = memory.open(directory);
    let remembering = open(directory, Arc::clone(&memo));
    let fresh = open(directory, Arc::new(NoMemo));
    let mut wrong = Vec::new();
    if digest(&remembering) != digest(&fresh) {
        let (believed, real) = (contents(&remembering), contents(&fresh));
        wrong.extend(
            real.iter().filter(|(path, hash)| believed.get(*path) != Some(hash)).map(|(path, _)| path.to_string()),
        );
        assert!(!wrong.is_empty(), "the digests differ and no file does");
    }
    drop(remembering);
    memory.close(memo);
    wrong
}

/// Builds while somebody writes to the big file; whatever comes out must not be remembered if it is wrong.
fn build_while_written(root: &Path, memory: &dyn Memory) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut byte = 0_u8;
            while !is_over.load(Ordering::Relaxed) {
                byte = byte.wrapping_add(1);
                overwrite_big(root, byte);
            }
        });
        for _ in 0..3 {
            let memo = memory.open(root);
            let tree = open(root, Arc::clone(&memo));
            match tree.content(&ImagePath::new(BIG)) {
                Ok(_) | Err(ViewError::Changed { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            drop(tree);
            memory.close(memo);
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

/// Plays tricks for so many rounds. Answers how it was deceived, if it was.
fn campaign(directory: &Path, memory: &dyn Memory, rounds: u64, seed: u64) -> Result<(), String> {
    let mut world = World::new(&directory.join("context"), seed);
    let mut last = Vec::new();
    for round in 0..rounds {
        let count = 1 + world.below(3);
        last = (0..count).map(|_| world.play()).collect();
        let wrong = stale(world.root(), memory);
        if !wrong.is_empty() {
            return Err(format!("round {round}, after {last:?}: stale are {wrong:?} (BLD_STAT_SEED={seed})"));
        }
        if world.below(25) == 0 {
            build_while_written(world.root(), memory);
        }
    }
    // What is still untold of must not come out later either.
    world.let_go();
    let wrong = stale(world.root(), memory);
    if wrong.is_empty() { Ok(()) } else { Err(format!("at the end, after {last:?}: {wrong:?} (BLD_STAT_SEED={seed})")) }
}

#[expect(clippy::disallowed_methods, reason = "how much to do is said to the test, not to bld")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn now() -> Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime)
}

fn seed() -> u64 {
    number("BLD_STAT_SEED").unwrap_or_else(|| (now().tv_sec ^ (now().tv_nsec << 20)).cast_unsigned())
}

#[test]
fn no_trick_makes_it_stale() {
    let rounds = number("BLD_STAT_ROUNDS").unwrap_or(2000);
    // On a disk and in memory: their clocks and their mapped pages are not alike.
    for (place, rounds) in [(std::env::temp_dir(), rounds.div_ceil(2)), ("/dev/shm".into(), rounds / 2)] {
        let directory = tempfile::tempdir_in(&place).unwrap();
        let (memory, seed, begun) = (Real::new(directory.path()), seed(), Instant::now());
        if let Err(deceived) = campaign(directory.path(), &memory, rounds, seed) {
            panic!("{}: {deceived}", place.display());
        }
        let (hits, remembered) = (memory.hits.load(Ordering::Relaxed), memory.remembered.load(Ordering::Relaxed));
        let bare = memory.bare.load(Ordering::Relaxed);
        drop(std::io::Write::write_all(
            &mut std::io::stderr(),
            format!(
                "{}: {rounds} rounds in {:.1} s, none stale; {hits} hashes were known, with {bare} no attributes, {remembered} became known (seed {seed})\n",
                place.display(),
                begun.elapsed().as_secs_f64()
            )
            .as_bytes(),
        ));
        // Who remembers nothing is never wrong.
        assert!(hits > rounds * 20 && remembered > rounds / 2, "{hits} {remembered}");
        // In memory they are not known to change the change time.
        let expected = if shows_attribute_changes(directory.path()) { rounds * 10..hits } else { 0..1 };
        assert!(expected.contains(&bare), "{bare}");
    }
}

fn shows_attribute_changes(directory: &Path) -> bool {
    let path = directory.join("probe");
    std::fs::write(&path, "").unwrap();
    watch::shows_attribute_changes(&std::fs::File::open(path).unwrap())
}

/// The tricks are good: they deceive who believes less than the whole status.
#[test]
fn the_credulous_are_deceived() {
    let believers: [(&str, Belief); 4] = [
        ("size and modification time", |stat| FileStat {
            device: 0,
            inode: 0,
            mode: 0,
            ctime: Timestamp::FIXED,
            ..*stat
        }),
        ("all but the change time", |stat| FileStat { ctime: Timestamp::FIXED, ..*stat }),
        ("all but the change time's fraction", |stat| FileStat {
            ctime: Timestamp { nanoseconds: 0, ..stat.ctime },
            ..*stat
        }),
        ("all but the inode and the change time", |stat| FileStat { inode: 0, ctime: Timestamp::FIXED, ..*stat }),
    ];
    for (what, believes) in believers {
        let directory = tempfile::tempdir().unwrap();
        let memory = Arc::new(Credulous { believes, known: Mutex::default() });
        let outcome = campaign(directory.path(), &memory, 500, seed());
        assert!(outcome.is_err(), "who believes {what} was not deceived");
    }
}

/// An attribute changes nothing of a status but the change time.
#[test]
fn an_attribute_shows_in_the_change_time() {
    let directory = tempfile::tempdir().unwrap();
    let (context, real) = (directory.path().join("context"), Real::new(directory.path()));
    std::fs::create_dir(&context).unwrap();
    let path = context.join("f");
    std::fs::write(&path, "f").unwrap();
    let believes: Belief = |stat| FileStat { ctime: Timestamp::FIXED, ..*stat };
    let credulous = Arc::new(Credulous { believes, known: Mutex::default() });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let both = || [stale(&context, &real), stale(&context, &credulous)];
    assert_eq!(both(), [Vec::<String>::new(), Vec::new()]);
    rustix::fs::setxattr(&path, "user.note", b"one", rustix::fs::XattrFlags::empty()).unwrap();
    let is_told = shows_attribute_changes(directory.path());
    let deceived = if is_told { vec!["/f".to_owned()] } else { Vec::new() };
    assert_eq!(both(), [Vec::new(), deceived]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(stale(&context, &real), Vec::<String>::new());
    rustix::fs::removexattr(&path, "user.note").unwrap();
    assert_eq!(stale(&context, &real), Vec::<String>::new());
}

/// What is remembered of `.` must not be of some other directory that was called so.
#[test]
fn a_context_is_known_by_its_real_path() {
    let directory = tempfile::tempdir().unwrap();
    let (context, link, real) =
        (directory.path().join("context"), directory.path().join("link"), Real::new(directory.path()));
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("f"), "f").unwrap();
    std::os::unix::fs::symlink("context", &link).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for (path, hits) in [(context.clone(), 0), (link, 1), (context.join("../context/."), 2)] {
        assert_eq!(stale(&path, &real), Vec::<String>::new());
        assert_eq!(real.hits.load(Ordering::Relaxed), hits, "{}", path.display());
    }
}

/// A store to a page that is dirty already changes no time. So it must matter that there is somebody who could make one.
#[test]
fn a_file_mapped_for_writing_is_not_believed() {
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        let directory = tempfile::tempdir_in(&place).unwrap();
        let (context, memory) = (directory.path().join("context"), Real::new(directory.path()));
        std::fs::create_dir(&context).unwrap();
        let path = context.join("f");
        std::fs::write(&path, vec![b'a'; 300_000]).unwrap();
        let mapped = Mapped::new(&std::fs::File::options().read(true).write(true).open(&path).unwrap()).unwrap();
        mapped.store(0, b'b');
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(stale(&context, &memory), Vec::<String>::new());
        mapped.store(0, b'c');
        assert_eq!(stale(&context, &memory), Vec::<String>::new(), "{}", place.display());
        let tree = open(&context, memory.open(&context));
        assert!(!tree.is_settled(&ImagePath::new("f")).unwrap());
        drop(mapped);
        // Now whoever writes has to say so.
        let memo = memory.open(&context);
        let tree = open(&context, Arc::clone(&memo));
        assert!(tree.is_settled(&ImagePath::new("f")).unwrap());
        drop(tree);
        memory.close(memo);
        assert_eq!(stale(&context, &memory), Vec::<String>::new());
        assert_eq!(memory.hits.load(Ordering::Relaxed), 1, "what nobody can write to is remembered");
    }
}

#[test]
fn whoever_can_write_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("f"), directory.path().join("g"));
    std::fs::write(&path, "f").unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    let shows = |path: &Path, seconds: i64| {
        let file = std::fs::File::open(path).unwrap();
        let stat = FileStat::of(&beneath::status(&file).unwrap());
        let time = Timestamp { seconds, nanoseconds: 1 };
        watch::shows_changes(&file, &FileStat { mtime: time, ctime: time, ..stat })
    };
    let now = now().tv_sec;
    let reader = std::fs::File::open(&path).unwrap();
    assert!(shows(&path, now));
    let writer = std::fs::File::options().append(true).open(&other).unwrap();
    // Long ago or not: the next write shows, the one after a look at the times need not.
    assert!(!shows(&path, now) && !shows(&path, 5) && !shows(&other, 5));
    drop(writer);
    assert!(shows(&path, now) && shows(&other, now));
    drop(reader);
    // Files of others do not tell, so only time can.
    let foreign = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        path
    } else {
        "/etc/passwd".into()
    };
    let without_privilege = move || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::LEASE);
        rustix::thread::set_capabilities(None, sets).unwrap();
        !shows(&foreign, now) && !shows(&foreign, now - 30) && shows(&foreign, now - 100)
    };
    // Capabilities are a thread's own.
    assert!(std::thread::spawn(without_privilege).join().unwrap());
}

/// Between the hash for the key and the copy, a mapped file may change without a trace.
#[test]
fn what_is_copied_is_what_was_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    std::fs::write(&path, vec![b'a'; 300_000]).unwrap();
    let mapped = Mapped::new(&std::fs::File::options().read(true).write(true).open(&path).unwrap()).unwrap();
    mapped.store(0, b'b');
    std::thread::sleep(std::time::Duration::from_millis(300));
    let tree = open(directory.path(), Arc::new(NoMemo));
    let file = ImagePath::new("f");
    let hash = tree.content(&file).unwrap();
    mapped.store(0, b'c');
    assert_eq!(tree.content(&file).unwrap(), hash);
    // The status tells nothing, so the file opens; it must be the copy that looks at the bytes.
    tree.open(&file).unwrap();
    assert!(!tree.is_settled(&file).unwrap());
}
