//! File trees as bld remembers them: every path of a change set or a directory, with metadata and content hashes.
//!
//! A tree answers look-ups, selectors and comparisons without touching the files it describes.

mod digest;
mod encode;

use std::collections::BTreeMap;
use std::ops::Range;

use bld_oci::ImagePath;
use bld_oci::layer::Metadata;

/// BLAKE3 of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

/// Merkle root of a tree: names, kinds, modes, owners, extended attributes, link targets, bytes, hard-link topology; no times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeDigest(pub [u8; 32]);

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its metadata; meaningless for whiteouts.
    pub metadata: Metadata,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory {
        /// In a change set: what lower layers hold below it does not show through.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its bytes.
        content: ContentHash,
        /// The first name (in tree order) of the same inode within this tree, if this is a later one.
        hardlink: Option<ImagePath>,
    },
    /// A symbolic link.
    Symlink {
        /// Its target, any bytes.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// In a change set: what lower layers hold here is gone.
    Whiteout,
}

/// All paths of a change set or a directory, in tree order: a directory right before what is in it. The root is `/` and may be
/// absent if nothing changed; so may any other directory, if only what is below it is of interest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: Vec<(ImagePath, Node)>,
    /// For each node, where the nodes below it end: a directory is passed over without looking into it.
    ends: Vec<u32>,
}

/// Collects paths in any order.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    nodes: BTreeMap<ImagePath, Node>,
}

/// Paths that do not make a tree, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A path comes before or twice after another.
    #[error("`{path}` is out of order")]
    Order {
        /// The path.
        path: ImagePath,
    },
    /// A path is below something that is no directory.
    #[error("`{path}` is below something that is no directory")]
    NotInDirectory {
        /// The path.
        path: ImagePath,
    },
    /// A hard link to something that is not an earlier file, or is a link itself.
    #[error("`{path}` is a hard link to `{target}`, which is not the first name of a file")]
    Hardlink {
        /// The link.
        path: ImagePath,
        /// What it names.
        target: ImagePath,
    },
    /// More paths than can be counted.
    #[error("a tree of {count} paths is too large")]
    TooLarge {
        /// How many.
        count: usize,
    },
    /// Bytes of another format.
    #[error("not a file index of a known version")]
    Version,
    /// Bytes that end early or go on after the end.
    #[error("the file index has the wrong length")]
    Length,
    /// Bytes with a value that cannot be.
    #[error("the file index has an impossible {what}")]
    Value {
        /// Which.
        what: &'static str,
    },
}

impl Tree {
    /// A tree of paths in tree order.
    pub fn from_sorted(nodes: Vec<(ImagePath, Node)>) -> Result<Tree, TreeError> {
        let count = nodes.len();
        let all = u32::try_from(count).map_err(|_| TreeError::TooLarge { count })?;
        let mut ends = vec![all; count];
        let mut open: Vec<usize> = Vec::new();
        for (index, (path, _)) in (0_u32..).zip(&nodes) {
            let at = index as usize;
            if at > 0 && nodes[at - 1].0 >= *path {
                return Err(TreeError::Order { path: path.clone() });
            }
            while let Some(&above) = open.last() {
                if path.starts_with(&nodes[above].0) {
                    break;
                }
                ends[above] = index;
                open.pop();
            }
            if let Some(&above) = open.last()
                && !matches!(nodes[above].1.kind, NodeKind::Directory { .. })
            {
                return Err(TreeError::NotInDirectory { path: path.clone() });
            }
            open.push(at);
        }
        let tree = Tree { nodes, ends };
        tree.check_hardlinks()?;
        Ok(tree)
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The bytes of all files, each inode once.
    pub fn size(&self) -> u64 {
        self.nodes
            .iter()
            .map(|(_, node)| match node.kind {
                NodeKind::File { size, hardlink: None, .. } => size,
                _ => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// The bytes its files and directories take up on disk, on nearly every file system.
    pub fn disk_size(&self) -> u64 {
        const BLOCK: u64 = 4096;
        self.nodes
            .iter()
            .map(|(_, node)| match node.kind {
                NodeKind::File { size, hardlink: None, .. } => size.div_ceil(BLOCK).saturating_mul(BLOCK),
                NodeKind::Directory { .. } => BLOCK,
                _ => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// What is at `path`.
    pub fn get(&self, path: &ImagePath) -> Option<&Node> {
        self.find(path).ok().map(|index| &self.nodes[index].1)
    }

    /// All paths, in tree order.
    pub fn iter(&self) -> std::slice::Iter<'_, (ImagePath, Node)> {
        self.nodes.iter()
    }

    /// `path`, if it is there, and all below it, in tree order.
    pub fn subtree(&self, path: &ImagePath) -> &[(ImagePath, Node)] {
        &self.nodes[self.range(path)]
    }

    /// What is directly in `path`: names in order, and what they are. A directory that is absent itself but has something below it
    /// has no node. What is below the children is passed over, not looked at.
    pub fn children<'a>(&'a self, path: &ImagePath) -> impl Iterator<Item = (&'a [u8], Option<&'a Node>)> + use<'a> {
        let mut range = self.range(path);
        if self.nodes.get(range.start).is_some_and(|(first, _)| first == path) {
            range.start += 1;
        }
        let prefix = if path.is_root() { 0 } else { path.relative().len() + 1 };
        std::iter::from_fn(move || {
            let (first, node) = &self.nodes[range.clone()].first()?;
            let rest = &first.relative()[prefix..];
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
            let direct = name.len() == rest.len();
            range.start = if direct { self.end(range.start) } else { self.end_of_name(range.clone(), prefix, name) };
            Some((name, direct.then_some(node)))
        })
    }

    /// Takes the tree apart.
    pub fn into_nodes(self) -> Vec<(ImagePath, Node)> {
        self.nodes
    }

    fn find(&self, path: &ImagePath) -> Result<usize, usize> {
        self.nodes.binary_search_by(|(other, _)| other.cmp(path))
    }

    fn end(&self, index: usize) -> usize {
        self.ends[index] as usize
    }

    /// Where `path` and all below it are.
    fn range(&self, path: &ImagePath) -> Range<usize> {
        match self.find(path) {
            Ok(start) => start..self.end(start),
            Err(start) => {
                let below = self.nodes[start..].partition_point(|(other, _)| other.starts_with(path));
                start..start + below
            }
        }
    }

    /// Where the paths end that have `name` after the first `prefix` bytes.
    fn end_of_name(&self, range: Range<usize>, prefix: usize, name: &[u8]) -> usize {
        let below = self.nodes[range.clone()].partition_point(|(path, _)| {
            let rest = &path.relative()[prefix..];
            rest.starts_with(name) && matches!(rest.get(name.len()), None | Some(b'/'))
        });
        range.start + below
    }

    fn check_hardlinks(&self) -> Result<(), TreeError> {
        for (index, (path, node)) in self.nodes.iter().enumerate() {
            let NodeKind::File { hardlink: Some(target), .. } = &node.kind else { continue };
            let first = self.find(target).ok().filter(|first| *first < index);
            let is_file =
                first.is_some_and(|first| matches!(self.nodes[first].1.kind, NodeKind::File { hardlink: None, .. }));
            if !is_file {
                return Err(TreeError::Hardlink { path: path.clone(), target: target.clone() });
            }
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = &'a (ImagePath, Node);
    type IntoIter = std::slice::Iter<'a, (ImagePath, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TreeBuilder {
    /// An empty builder.
    pub fn new() -> TreeBuilder {
        TreeBuilder::default()
    }

    /// Adds a path; it replaces what was added for the same path before. A hard link may name any other name of its inode.
    pub fn insert(&mut self, path: ImagePath, node: Node) {
        self.nodes.insert(path, node);
    }

    /// Whether a path was added.
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// The tree. The first name of an inode in tree order becomes the one the others link to.
    pub fn finish(mut self) -> Result<Tree, TreeError> {
        let mut groups: BTreeMap<ImagePath, Vec<ImagePath>> = BTreeMap::new();
        for (path, node) in &self.nodes {
            if let NodeKind::File { hardlink: Some(target), .. } = &node.kind {
                groups.entry(target.clone()).or_default().push(path.clone());
            }
        }
        for (target, mut names) in groups {
            if names.iter().all(|name| *name > target) {
                continue;
            }
            if !self.nodes.contains_key(&target) {
                continue;
            }
            names.push(target);
            names.sort_unstable();
            let first = names.remove(0);
            self.relink(&first, None);
            for name in names {
                self.relink(&name, Some(&first));
            }
        }
        Tree::from_sorted(self.nodes.into_iter().collect())
    }

    fn relink(&mut self, name: &ImagePath, first: Option<&ImagePath>) {
        if let Some(Node { kind: NodeKind::File { hardlink, .. }, .. }) = self.nodes.get_mut(name) {
            *hardlink = first.cloned();
        }
    }
}

impl std::fmt::Display for TreeDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}
