//! File indexes on disk: `trees/<2 hex>/<62 hex>`, named by the BLAKE3 of their bytes, which is checked on every read.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use rustix::fs::FlockOperation;

use crate::error::Context as _;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::file;
use crate::store::guard;
use crate::tree::Tree;

/// So many paths are kept in memory: some 50 MB.
const CACHED_NODES: usize = 200_000;

/// Names a stored tree, times included (a [`TreeDigest`](crate::tree::TreeDigest) is blind to them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeObject([u8; 32]);

/// The stored trees.
#[derive(Debug, Clone, Copy)]
pub struct Trees<'a> {
    store: &'a Store,
}

/// Trees read or written lately.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    trees: VecDeque<(TreeObject, Arc<Tree>)>,
    nodes: usize,
}

impl TreeObject {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_stored(bytes: [u8; 32]) -> TreeObject {
        TreeObject(bytes)
    }
}

impl<'a> Trees<'a> {
    pub(crate) fn new(store: &'a Store) -> Trees<'a> {
        Trees { store }
    }

    /// Stores a tree. Only those of layers are held by anything: any other may go with the next removal.
    pub fn put(self, tree: &Tree) -> Result<TreeObject, StoreError> {
        let bytes = tree.encode();
        let object = TreeObject(*blake3::hash(&bytes).as_bytes());
        let to = self.path(object);
        let there = file::gone(fs::symlink_metadata(&to)).context("inspect", &to)?;
        if there.is_some_and(|metadata| metadata.is_file() && metadata.len() == bytes.len() as u64) {
            return Ok(object);
        }
        let _shared = self.store.gc_lock(FlockOperation::LockShared)?;
        let from = self.store.shared.process.fresh();
        File::create_new(&from).and_then(|mut file| file.write_all(&bytes)).context("write", &from)?;
        if let Some(shard) = to.parent() {
            file::make_directory(shard)?;
        }
        // Replacing is right: whatever has this name and another size is broken.
        fs::rename(&from, &to).context("rename", &from)?;
        Ok(object)
    }

    /// Reads a tree. A corrupt one is moved to quarantine.
    pub fn get(self, object: TreeObject) -> Result<Arc<Tree>, StoreError> {
        if let Some(tree) = self.store.shared.trees.get(object) {
            return Ok(tree);
        }
        let path = self.path(object);
        let name = || format!("file index {}", hex::encode(object.0));
        let Some(bytes) = file::gone(fs::read(&path)).context("read", &path)? else {
            return Err(StoreError::missing(name()));
        };
        if blake3::hash(&bytes).as_bytes() != &object.0 {
            self.store.quarantine(&path)?;
            return Err(StoreError::Corrupt { object: name(), reason: "its bytes do not match its name" });
        }
        let tree = Arc::new(Tree::decode(&bytes).map_err(|source| StoreError::Tree { source })?);
        self.store.shared.trees.add(object, Arc::clone(&tree));
        Ok(tree)
    }

    pub(crate) fn path(self, object: TreeObject) -> PathBuf {
        let name = hex::encode(object.0);
        let (shard, rest) = name.split_at(2);
        self.store.path("trees").join(shard).join(rest)
    }
}

impl Cache {
    fn get(&self, object: TreeObject) -> Option<Arc<Tree>> {
        guard(&self.0).trees.iter().find(|(name, _)| *name == object).map(|(_, tree)| Arc::clone(tree))
    }

    fn add(&self, object: TreeObject, tree: Arc<Tree>) {
        let mut cached = guard(&self.0);
        if tree.len() > CACHED_NODES || cached.trees.iter().any(|(name, _)| *name == object) {
            return;
        }
        cached.nodes += tree.len();
        cached.trees.push_back((object, tree));
        while cached.nodes > CACHED_NODES {
            let Some((_, oldest)) = cached.trees.pop_front() else { break };
            cached.nodes -= oldest.len();
        }
    }
}
