//! Leases: what running builds rely on.
//!
//! `leases/<random>` is locked while its build lives and lists what must not be removed, one item a line: `l<layer>`, `b<digest>`.
//! Appending takes `locks/gc` shared, removal takes it exclusive: whoever finds an object after having leased it, keeps it.

use std::collections::HashSet;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;

use bld_oci::Digest;
use rustix::fs::FlockOperation;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::record::LayerId;
use crate::store::Store;
use crate::store::file;
use crate::store::guard;

/// Something a lease can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Layer(LayerId),
    Blob(Digest),
}

/// Keeps what it lists from being removed, by this and by other processes. While it lives, every blob and every layer made through
/// the same store, and the layers of every record found, are added to it by themselves.
#[derive(Debug)]
pub struct Lease {
    _list: Arc<List>,
}

/// The leases of this process.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<List>>>);

#[derive(Debug)]
struct List {
    path: PathBuf,
    file: File,
    items: Mutex<HashSet<Item>>,
}

impl Store {
    /// Begins a lease. A build holds one from before its first look-up until its last reference is written.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let path = self.path("leases").join(file::random_name()?);
        let _shared = self.gc_lock(FlockOperation::LockShared)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).context("create", &path)?;
        file::lock(&file, &path, FlockOperation::LockExclusive)?;
        let list = Arc::new(List { path, file, items: Mutex::default() });
        let mut registry = guard(&self.shared.leases.0);
        registry.retain(|list| list.strong_count() > 0);
        registry.push(Arc::downgrade(&list));
        drop(registry);
        Ok(Lease { _list: list })
    }

    /// Adds something about to be made or used to every lease of this process.
    pub(crate) fn hold(&self, items: &[Item]) -> Result<(), StoreError> {
        let lists: Vec<Arc<List>> = guard(&self.shared.leases.0).iter().filter_map(Weak::upgrade).collect();
        lists.iter().try_for_each(|list| list.add(self, items))
    }

    /// The lock between leases and removal.
    pub(crate) fn gc_lock(&self, operation: FlockOperation) -> Result<File, StoreError> {
        let path = self.path("locks/gc");
        let file = file::open_lock(&path)?;
        file::lock(&file, &path, operation)?;
        Ok(file)
    }

    /// Removes the leases of dead processes. They hold nothing any more, so there is no hurry: if somebody else uses the leases just
    /// now, the next process does it.
    pub(crate) fn bury_leases(&self) -> Result<(), StoreError> {
        let directory = self.path("leases");
        let mut is_any_dead = false;
        for name in file::names(&directory)? {
            let path = directory.join(name);
            let Some(file) = file::gone(File::open(&path)).context("open", &path)? else { continue };
            // One that was just created and is not locked yet looks dead as well: this only says where to look twice.
            is_any_dead |= file::try_lock(&file, &path)?;
        }
        if is_any_dead {
            let path = self.path("locks/gc");
            let file = file::open_lock(&path)?;
            if file::try_lock(&file, &path)? {
                self.leased()?;
            }
        }
        Ok(())
    }

    /// What live leases hold, and how many there are; dead ones are removed. To be called under the exclusive [`Store::gc_lock`].
    pub(crate) fn leased(&self) -> Result<(Vec<Item>, usize), StoreError> {
        let directory = self.path("leases");
        let (mut items, mut live) = (Vec::new(), 0);
        for name in file::names(&directory)? {
            let path = directory.join(name);
            let Some(file) = file::gone(File::open(&path)).context("open", &path)? else { continue };
            if file::try_lock(&file, &path)? {
                file::remove_file(&path)?;
                continue;
            }
            live += 1;
            // Not by its path: its holder may be done with it by now.
            let mut text = String::new();
            (&file).read_to_string(&mut text).context("read", &path)?;
            items.extend(text.lines().filter_map(Item::parse));
        }
        Ok((items, live))
    }
}

impl List {
    /// Adds what is not on the list yet. Nothing is held before it is written: another thread must not take it for held.
    fn add(&self, store: &Store, items: &[Item]) -> Result<(), StoreError> {
        let mut held = guard(&self.items);
        let new: Vec<Item> = items.iter().copied().filter(|item| !held.contains(item)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let _shared = store.gc_lock(FlockOperation::LockShared)?;
        let text: String = new.iter().map(Item::line).collect();
        (&self.file).write_all(text.as_bytes()).context("write", &self.path)?;
        held.extend(new);
        Ok(())
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // If it fails, the next removal finds it dead.
        file::remove_file(&self.path).ok();
    }
}

impl Item {
    fn line(&self) -> String {
        match self {
            Item::Layer(layer) => format!("l{}\n", layer.hex()),
            Item::Blob(digest) => format!("b{}\n", digest.hex()),
        }
    }

    fn parse(line: &str) -> Option<Item> {
        if let Some(digits) = line.strip_prefix('l') {
            let mut bytes = [0; 16];
            hex::decode_to_slice(digits, &mut bytes).ok()?;
            return Some(Item::Layer(LayerId::from_bytes(bytes)));
        }
        format!("sha256:{}", line.strip_prefix('b')?).parse().ok().map(Item::Blob)
    }
}
