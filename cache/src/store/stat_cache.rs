//! What files held when they were last hashed, so that unchanged ones need not be read: one file per context, `stat/<id>`.
//!
//! ```text
//! file  = "bldstat2" count offset* entry* BLAKE3 of all before     numbers are 64 bits, little-endian; entries sorted by path
//! entry = dev ino size mtime ctime what hash age length path         what: the mode, and in bit 32 whether the file is bare
//! ```
//! The file is searched as it is: to load it is to read it. A file that changed just before it was hashed may change again within
//! the same tick of the clock and look the same afterwards, so it is not remembered (git calls such an entry racy). How long a tick is
//! the file's own times tell: whole seconds may come from a file system that knows nothing shorter.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;
use crate::store::guard;
use crate::tree::ContentHash;

const MAGIC: &[u8; 8] = b"bldstat2";
const HASH: usize = 32;
/// The part of an entry before its path.
const FIXED: usize = 8 * 8 + HASH;
/// A path not seen so many times in a row is forgotten.
const MAXIMUM_AGE: u64 = 8;
/// Set in `what` for a bare file.
const BARE: u64 = 1 << 32;
/// Directories read at the same time rarely have the same place for their hint.
const HINTS: usize = 64;
const SECOND: i64 = 1_000_000_000;
/// Longer than a tick where times have fractions of a second, in nanoseconds.
const MARGIN: i128 = 100_000_000;
/// Longer than a tick where they have none: ext4 with small inodes has one second, others have two.
const COARSE_MARGIN: i128 = 3_000_000_000;

/// What tells that a file is the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatKey {
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Type and permission bits.
    pub mode: u32,
}

/// What is remembered of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFile {
    /// The hash of its bytes.
    pub hash: ContentHash,
    /// It is known to have no extended attributes that a context shows. Of others nothing is known.
    pub is_bare: bool,
}

/// Content hashes of a context's files. Threads may share it.
#[derive(Debug)]
pub struct StatCache {
    store: Store,
    path: PathBuf,
    file: Loaded,
    fresh: Mutex<BTreeMap<Vec<u8>, (StatKey, KnownFile)>>,
    /// When hashing began, by the clock that file systems use.
    begun_ns: i128,
}

/// The file, found to be whole.
#[derive(Debug)]
struct Loaded {
    bytes: Vec<u8>,
    seen: Vec<AtomicBool>,
    /// Where the next look-up probably succeeds, by directory: a walk asks in order, but for several directories at a time.
    next: [AtomicUsize; HINTS],
}

impl Default for Loaded {
    fn default() -> Loaded {
        Loaded { bytes: Vec::new(), seen: Vec::new(), next: [const { AtomicUsize::new(0) }; HINTS] }
    }
}

/// An entry of the file.
struct Entry<'a> {
    key: StatKey,
    known: KnownFile,
    age: u64,
    path: &'a [u8],
}

impl Store {
    /// The stat cache of a context. One that cannot be read is empty.
    pub fn stat_cache(&self, context: &str) -> Result<StatCache, StoreError> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        self.stat_cache_at(context, i128::from(now.tv_sec) * i128::from(SECOND) + i128::from(now.tv_nsec))
    }

    /// The stat cache of a context at a time, in nanoseconds since 1970 by the clock that file systems use.
    pub fn stat_cache_at(&self, context: &str, begun_ns: i128) -> Result<StatCache, StoreError> {
        let path = self.path("stat").join(super::logs::checked(context)?);
        let bytes = file::gone(fs::read(&path)).context("read", &path)?.unwrap_or_default();
        Ok(StatCache {
            store: self.clone(),
            path,
            file: Loaded::new(bytes).unwrap_or_default(),
            fresh: Mutex::new(BTreeMap::new()),
            begun_ns,
        })
    }
}

impl StatCache {
    /// What is known of the file at `path` (relative to the context, any bytes), if it has not changed.
    pub fn lookup(&self, path: &[u8], key: &StatKey) -> Option<KnownFile> {
        let index = self.file.find(path)?;
        let entry = self.file.entry(index)?;
        if entry.key != *key {
            return None;
        }
        self.file.seen.get(index)?.store(true, Ordering::Relaxed);
        Some(entry.known)
    }

    /// Whether a file had not changed for so long when hashing began that a change since then has another time.
    pub fn is_settled(&self, key: &StatKey) -> bool {
        let margin = if key.ctime_ns % SECOND == 0 { COARSE_MARGIN } else { MARGIN };
        i128::from(key.mtime_ns.max(key.ctime_ns)) + margin < self.begun_ns
    }

    /// Remembers what a file holds, if it is settled; `key` must have been read before the file was.
    pub fn insert(&self, path: &[u8], key: StatKey, known: KnownFile) {
        if self.is_settled(&key) {
            guard(&self.fresh).insert(path.to_vec(), (key, known));
        }
    }

    /// Writes the cache, if anything changed.
    pub fn save(self) -> Result<(), StoreError> {
        let fresh = guard(&self.fresh);
        let unseen = |index: usize| !self.file.seen[index].load(Ordering::Relaxed);
        let unchanged = fresh.is_empty() && !(0..self.file.len()).any(unseen);
        if unchanged {
            return Ok(());
        }
        let mut old = (0..self.file.len())
            .filter_map(|index| {
                let entry = self.file.entry(index)?;
                let age = if unseen(index) { entry.age + 1 } else { 0 };
                (age <= MAXIMUM_AGE).then_some(Entry { age, ..entry })
            })
            .peekable();
        let mut writer = Writer::default();
        for (path, (key, known)) in fresh.iter() {
            while let Some(entry) = old.next_if(|entry| entry.path < path.as_slice()) {
                writer.put(&entry);
            }
            old.next_if(|entry| entry.path == path.as_slice());
            writer.put(&Entry { key: *key, known: *known, age: 0, path });
        }
        old.for_each(|entry| writer.put(&entry));
        let from = self.store.shared.process.fresh();
        fs::write(&from, writer.finish()).context("write", &from)?;
        fs::rename(&from, &self.path).context("rename", &from)
    }
}

impl Loaded {
    /// `None` if the bytes are not whole.
    fn new(mut bytes: Vec<u8>) -> Option<Loaded> {
        let (content, hash) = bytes.split_last_chunk::<HASH>()?;
        if !content.starts_with(MAGIC) || blake3::hash(content).as_bytes() != hash {
            return None;
        }
        bytes.truncate(bytes.len() - HASH);
        let mut loaded = Loaded { bytes, ..Loaded::default() };
        let count = usize::try_from(loaded.number(8)?).ok()?;
        if count > loaded.bytes.len() / FIXED {
            return None;
        }
        loaded.seen.resize_with(count, AtomicBool::default);
        Some(loaded)
    }

    fn len(&self) -> usize {
        self.seen.len()
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        let hint = &self.next[hint(path)];
        let next = hint.load(Ordering::Relaxed);
        let index = if next < self.len() && self.path(next)? == path {
            next
        } else {
            let (mut low, mut high) = (0, self.len());
            while low < high {
                let middle = low.midpoint(high);
                if self.path(middle)? < path { low = middle + 1 } else { high = middle }
            }
            if low == self.len() || self.path(low)? != path {
                return None;
            }
            low
        };
        hint.store(index + 1, Ordering::Relaxed);
        Some(index)
    }

    fn path(&self, index: usize) -> Option<&[u8]> {
        let at = self.offset(index)?;
        let length = usize::try_from(self.number(at + FIXED - 8)?).ok()?;
        self.bytes.get(at + FIXED..)?.get(..length)
    }

    fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let at = self.offset(index)?;
        let number = |field: usize| self.number(at + field * 8);
        let hash = self.bytes.get(at + 48..)?.first_chunk::<HASH>()?;
        let what = number(5)?;
        Some(Entry {
            key: StatKey {
                dev: number(0)?,
                ino: number(1)?,
                size: number(2)?,
                mtime_ns: number(3)?.cast_signed(),
                ctime_ns: number(4)?.cast_signed(),
                mode: u32::try_from(what & !BARE).ok()?,
            },
            known: KnownFile { hash: ContentHash(*hash), is_bare: what & BARE != 0 },
            age: self.number(at + 48 + HASH)?,
            path: self.path(index)?,
        })
    }

    fn offset(&self, index: usize) -> Option<usize> {
        usize::try_from(self.number(16 + index * 8)?).ok()
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// Which hint is for the directory that `path` is in.
fn hint(path: &[u8]) -> usize {
    let length = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..length].iter().fold(length, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % HINTS
}

#[derive(Default)]
struct Writer {
    offsets: Vec<usize>,
    entries: Vec<u8>,
}

impl Writer {
    fn put(&mut self, entry: &Entry<'_>) {
        self.offsets.push(self.entries.len());
        let key = &entry.key;
        let numbers = [
            key.dev,
            key.ino,
            key.size,
            key.mtime_ns.cast_unsigned(),
            key.ctime_ns.cast_unsigned(),
            u64::from(key.mode) | if entry.known.is_bare { BARE } else { 0 },
        ];
        for number in numbers {
            self.entries.extend_from_slice(&number.to_le_bytes());
        }
        self.entries.extend_from_slice(&entry.known.hash.0);
        self.entries.extend_from_slice(&entry.age.to_le_bytes());
        self.entries.extend_from_slice(&(entry.path.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(entry.path);
    }

    fn finish(self) -> Vec<u8> {
        let head = 16 + self.offsets.len() * 8;
        let mut out = Vec::with_capacity(head + self.entries.len() + HASH);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.offsets.len() as u64).to_le_bytes());
        for offset in self.offsets {
            out.extend_from_slice(&((head + offset) as u64).to_le_bytes());
        }
        out.extend_from_slice(&self.entries);
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out
    }
}
