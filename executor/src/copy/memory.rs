//! A tree in memory, for tests of the rules.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::io::Write;

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::Metadata;

use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;

/// Nodes with their bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryTree {
    pub(crate) nodes: BTreeMap<ImagePath, (ViewNode, Vec<u8>)>,
}

impl MemoryTree {
    /// Words: `path/` is a directory, `path>target` a link, `path=bytes` a file, `path` a file that holds its own name, `path|` a
    /// pipe, `path@` a socket. Parents are made.
    pub(crate) fn new(words: &str) -> MemoryTree {
        let mut tree = MemoryTree::default();
        tree.put("/", ViewKind::Directory, b"");
        for word in words.split_whitespace() {
            if let Some(path) = word.strip_suffix('/') {
                tree.put(path, ViewKind::Directory, b"");
            } else if let Some((path, target)) = word.split_once('>') {
                tree.put(path, ViewKind::Symlink { target: target.as_bytes().to_vec() }, b"");
            } else if let Some(path) = word.strip_suffix('|') {
                tree.put(path, ViewKind::Fifo, b"");
            } else if let Some(path) = word.strip_suffix('@') {
                tree.put(path, ViewKind::Socket, b"");
            } else {
                let (path, bytes) = word.split_once('=').unwrap_or((word, word));
                tree.put(path, ViewKind::File { size: bytes.len() as u64, link_group: None }, bytes.as_bytes());
            }
        }
        tree
    }

    pub(crate) fn put(&mut self, path: &str, kind: ViewKind, bytes: &[u8]) {
        let path = ImagePath::new(path);
        if let Some(parent) = path.parent()
            && !self.nodes.contains_key(&parent)
        {
            self.put(&parent.to_string(), ViewKind::Directory, b"");
        }
        let mode = if kind == ViewKind::Directory { 0o755 } else { 0o644 };
        let metadata = Metadata { mode, uid: 0, gid: 0, mtime: Timestamp::from_seconds(1000), xattrs: BTreeMap::new() };
        self.nodes.insert(path, (ViewNode { kind, metadata }, bytes.to_vec()));
    }

    pub(crate) fn change(&mut self, path: &str, change: impl FnOnce(&mut ViewNode)) {
        change(&mut self.nodes.get_mut(&ImagePath::new(path)).unwrap().0);
    }

    /// Makes two files one.
    pub(crate) fn link(&mut self, group: u64, paths: &[&str]) {
        for path in paths {
            self.change(path, |node| {
                if let ViewKind::File { link_group, .. } = &mut node.kind {
                    *link_group = Some(group);
                }
            });
        }
    }

    fn bytes(&self, path: &ImagePath) -> Result<&[u8], ViewError> {
        match self.nodes.get(path) {
            Some((ViewNode { kind: ViewKind::File { .. }, .. }, bytes)) => Ok(bytes),
            _ => Err(ViewError::Changed { path: path.clone() }),
        }
    }
}

impl TreeView for MemoryTree {
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError> {
        Ok(self.nodes.get(path).map(|(node, _)| node.clone()))
    }

    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        let children = self.nodes.keys().filter(|other| other.parent().as_ref() == Some(path));
        Ok(children.filter_map(|other| other.file_name().map(<[u8]>::to_vec)).collect())
    }

    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError> {
        Ok(ContentHash(*blake3::hash(self.bytes(path)?).as_bytes()))
    }

    fn open(&self, path: &ImagePath) -> Result<File, ViewError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(self.bytes(path)?).unwrap();
        file.rewind().unwrap();
        Ok(file)
    }
}
