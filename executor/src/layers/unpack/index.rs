//! What a layer has made so far, in memory: the tree that becomes its index, and the way through the layer's own symbolic links.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bld_cache::tree::{ContentHash, Node, NodeKind};
use bld_oci::ImagePath;
use bld_oci::layer::Metadata;

use super::super::{LayerError, implied_metadata, whiteout_metadata};
use crate::view::{TreeView, ViewKind, ViewNode};

/// One path of the layer.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) metadata: Metadata,
}

/// What the path is; like [`NodeKind`], before hashes and first names are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory { opaque: bool },
    File { size: u64, inode: usize },
    Symlink { target: Vec<u8> },
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
    Whiteout,
}

/// What the layer leaves to the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Implied {
    /// A directory that something is put into, without an entry of its own.
    Directory,
    /// The same, of which only deletions need that it is there.
    Place,
    /// Something that is deleted.
    Whiteout,
    /// All of it is deleted.
    OpaqueRoot,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) path: ImagePath,
    /// Whether the layer itself covers what lower layers have there.
    pub(super) hidden: bool,
    /// Whether something on the way is there and is not a directory.
    pub(super) blocked: bool,
}

/// All paths of the layer.
#[derive(Debug)]
pub(super) struct Index {
    entries: BTreeMap<ImagePath, Entry>,
    implied: BTreeMap<ImagePath, Implied>,
}

const MAX_LINKS: usize = 40;

impl Index {
    pub(super) fn new() -> Index {
        Index { entries: BTreeMap::new(), implied: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, path: &ImagePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(super) fn insert(&mut self, path: ImagePath, entry: Entry) {
        self.implied.remove(&path);
        self.entries.insert(path, entry);
    }

    pub(super) fn insert_implied(&mut self, path: ImagePath, entry: Entry, implied: Implied) {
        self.implied.insert(path.clone(), implied);
        self.entries.insert(path, entry);
    }

    /// Notes that more than deletions are in an implied directory.
    pub(super) fn use_place(&mut self, path: &ImagePath) {
        if let Some(implied @ Implied::Place) = self.implied.get_mut(path) {
            *implied = Implied::Directory;
        }
    }

    pub(super) fn set_opaque(&mut self, path: &ImagePath) {
        if let Some(Entry { kind: Kind::Directory { opaque }, .. }) = self.entries.get_mut(path) {
            *opaque = true;
        }
    }

    /// Forgets `path` and what is below it.
    pub(super) fn remove(&mut self, path: &ImagePath) {
        if !matches!(self.entries.remove(path), Some(Entry { kind: Kind::Directory { .. }, .. })) {
            self.implied.remove(path);
            return;
        }
        let below: Vec<ImagePath> = self
            .entries
            .range((Bound::Excluded(path), Bound::Unbounded))
            .map(|(below, _)| below)
            .take_while(|below| below.starts_with(path))
            .cloned()
            .collect();
        for below in &below {
            self.entries.remove(below);
            self.implied.remove(below);
        }
        self.implied.remove(path);
    }

    /// Follows `path` through the symbolic links of the layer, and of `lower` where the layer has nothing, never out of the root.
    pub(super) fn resolve(&self, path: &ImagePath, lower: Option<&dyn TreeView>) -> Result<Resolved, LayerError> {
        let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        // One level per component of the way so far: whether the layer hides what is below, and whether it is no directory.
        let root_hidden =
            matches!(self.get(&ImagePath::root()), Some(Entry { kind: Kind::Directory { opaque: true }, .. }));
        let mut levels = vec![(ImagePath::root(), root_hidden, false)];
        let mut links = 0;
        while let Some(component) = pending.pop() {
            let Some((at, hidden, blocked)) = levels.last().cloned() else { break };
            if component == b".." {
                if levels.len() > 1 {
                    levels.pop();
                }
                continue;
            }
            let next = at.join(&component);
            let target = match self.get(&next) {
                Some(Entry { kind: Kind::Symlink { target }, .. }) => target.clone(),
                Some(Entry { kind: Kind::Directory { opaque }, .. }) => {
                    levels.push((next, hidden || *opaque, blocked));
                    continue;
                }
                Some(_) => {
                    levels.push((next, true, true));
                    continue;
                }
                None => {
                    let below = if hidden { None } else { lower };
                    let found = below.map(|lower| lower.node(&next)).transpose()?.flatten();
                    if let Some(ViewNode { kind: ViewKind::Symlink { target }, .. }) = found {
                        target
                    } else {
                        let blocks = found.is_some_and(|node| node.kind != ViewKind::Directory);
                        levels.push((next, hidden || blocks, blocked || blocks));
                        continue;
                    }
                }
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(LayerError::SymlinkLoop { path: path.clone() });
            }
            if target.first() == Some(&b'/') {
                levels.truncate(1);
            }
            pending.extend(
                target
                    .split(|byte| *byte == b'/')
                    .filter(|part| !matches!(*part, b"" | b"."))
                    .rev()
                    .map(<[u8]>::to_vec),
            );
        }
        let (path, hidden, blocked) = levels.pop().unwrap_or((ImagePath::root(), root_hidden, false));
        Ok(Resolved { path, hidden, blocked })
    }

    /// Settles what only the whole layer tells: deletions inside of directories that hide everything anyway do nothing, and neither
    /// do those of `lower`'s missing paths. overlayfs ignores the marker on `/`, so that deletions of all that is in the lower `/` take
    /// its place, if the lower `/` is known; those are answered.
    pub(super) fn settle(&mut self, lower: Option<&dyn TreeView>) -> Result<Vec<ImagePath>, LayerError> {
        let root = ImagePath::root();
        let mut new_whiteouts = Vec::new();
        if let Some(Entry { kind: Kind::Directory { opaque: opaque @ true }, .. }) = self.entries.get_mut(&root) {
            match lower {
                Some(lower) => {
                    *opaque = false;
                    for name in lower.children(&root)? {
                        let path = root.join(&name);
                        match self.entries.get_mut(&path) {
                            Some(Entry { kind: Kind::Directory { opaque }, .. }) => *opaque = true,
                            Some(_) => {}
                            None => new_whiteouts.push(path),
                        }
                    }
                }
                None => drop(self.implied.insert(root, Implied::OpaqueRoot)),
            }
        }
        for path in &new_whiteouts {
            self.entries.insert(path.clone(), Entry { kind: Kind::Whiteout, metadata: whiteout_metadata() });
        }
        Ok(new_whiteouts)
    }

    /// Deletions that delete nothing because a directory above them in the layer hides everything.
    pub(super) fn useless_whiteouts(&self) -> Vec<ImagePath> {
        let mut covered: Option<&ImagePath> = None;
        let mut useless = Vec::new();
        for (path, entry) in &self.entries {
            if covered.is_some_and(|cover| !path.starts_with(cover)) {
                covered = None;
            }
            match entry.kind {
                Kind::Directory { opaque: true } if covered.is_none() => covered = Some(path),
                Kind::Whiteout if covered.is_some() => useless.push(path.clone()),
                _ => {}
            }
        }
        useless
    }

    /// Directories, deepest first, with whether they are opaque.
    pub(super) fn directories(&self) -> impl Iterator<Item = (&ImagePath, bool, &Metadata)> {
        self.entries.iter().rev().filter_map(|(path, entry)| match entry.kind {
            Kind::Directory { opaque } => Some((path, opaque, &entry.metadata)),
            _ => None,
        })
    }

    pub(super) fn take_implied(&mut self) -> Vec<(ImagePath, Implied)> {
        std::mem::take(&mut self.implied).into_iter().collect()
    }

    /// The finished index. `hashes` has one hash per inode.
    pub(super) fn into_nodes(mut self, hashes: &[ContentHash]) -> Vec<(ImagePath, Node)> {
        for path in self.useless_whiteouts() {
            self.entries.remove(&path);
        }
        let mut first_names: HashMap<usize, ImagePath> = HashMap::new();
        let mut several: HashMap<usize, usize> = HashMap::new();
        for entry in self.entries.values() {
            if let Kind::File { inode, .. } = entry.kind {
                *several.entry(inode).or_default() += 1;
            }
        }
        several.retain(|_, names| *names > 1);
        let mut nodes = Vec::with_capacity(self.entries.len());
        for (path, entry) in self.entries {
            let kind = match entry.kind {
                Kind::Directory { opaque } => NodeKind::Directory { opaque },
                Kind::File { size, inode } => {
                    let mut hardlink = None;
                    if several.contains_key(&inode) {
                        match first_names.get(&inode) {
                            Some(first) => hardlink = Some(first.clone()),
                            None => drop(first_names.insert(inode, path.clone())),
                        }
                    }
                    let content = hashes.get(inode).copied().unwrap_or(ContentHash([0; 32]));
                    NodeKind::File { size, content, hardlink }
                }
                Kind::Symlink { target } => NodeKind::Symlink { target },
                Kind::CharDevice { major, minor } => NodeKind::CharDevice { major, minor },
                Kind::BlockDevice { major, minor } => NodeKind::BlockDevice { major, minor },
                Kind::Fifo => NodeKind::Fifo,
                Kind::Whiteout => NodeKind::Whiteout,
            };
            nodes.push((path, Node { kind, metadata: entry.metadata }));
        }
        nodes
    }
}

/// The directory that is made where the archive names none: what `lower` has there, if it is known and shows through.
pub(super) fn implied_directory(lower: Option<ViewNode>, opaque: bool) -> Entry {
    let metadata = match lower {
        Some(ViewNode { kind: ViewKind::Directory, metadata }) => metadata,
        _ => implied_metadata(),
    };
    Entry { kind: Kind::Directory { opaque }, metadata }
}
