//! The Merkle root of a tree.
//!
//! ```text
//! node      = BLAKE3(tag kind-fields mode uid gid xattrs children)      integers little-endian, byte strings length-prefixed
//! children  = count, then (name, node) of each, in order
//! hard link = the path of the first name; a directory that is not in the tree itself has a tag of its own and no metadata
//! ```
//! Times do not count. Whiteouts have no metadata.

use bld_oci::ImagePath;
use bld_oci::layer::Metadata;

use super::Node;
use super::NodeKind;
use super::Tree;
use super::TreeDigest;

const DOMAIN: &str = "bld.tree.v1";

impl Tree {
    /// The Merkle root.
    pub fn digest(&self) -> TreeDigest {
        self.digest_at(&ImagePath::root(), 0..self.len())
    }

    /// The Merkle root of what is at `path`, its own name left out; `None` if nothing is there.
    pub fn digest_of(&self, path: &ImagePath) -> Option<TreeDigest> {
        let range = self.range(path);
        (!range.is_empty()).then(|| self.digest_at(path, range))
    }

    fn digest_at(&self, path: &ImagePath, range: std::ops::Range<usize>) -> TreeDigest {
        let depth = path.components().count();
        let mut next = range.start;
        TreeDigest(self.node(depth, &mut next, range.end))
    }

    /// The digest of the directory or file of `depth` components whose paths begin at `next`, up to `end` at most; `next` is moved
    /// behind them.
    fn node(&self, depth: usize, next: &mut usize, end: usize) -> [u8; 32] {
        struct Level {
            depth: usize,
            end: usize,
            hasher: blake3::Hasher,
            children: Vec<u8>,
            count: u64,
        }
        let enter = |next: &mut usize, depth: usize, end: usize| -> Level {
            let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
            let own = self.nodes.get(*next).filter(|(path, _)| *next < end && component_count(path) == depth);
            match own {
                Some((_, node)) => {
                    put_node(&mut hasher, node);
                    *next += 1;
                }
                None => {
                    hasher.update(b"implicit");
                }
            }
            Level { depth, end, hasher, children: Vec::new(), count: 0 }
        };
        // A stack of our own: names in a hostile tree may nest deeper than a thread's.
        let mut names: Vec<&[u8]> = Vec::new();
        let mut levels = vec![enter(next, depth, end)];
        loop {
            let Some(level) = levels.last_mut() else { return [0; 32] };
            if *next < level.end {
                let (path, _) = &self.nodes[*next];
                let name = path.components().nth(level.depth).unwrap_or_default();
                let skipped: usize = path.components().take(level.depth).map(|component| component.len() + 1).sum();
                let direct = skipped + name.len() == path.relative().len();
                let child_end =
                    if direct { self.end(*next) } else { self.end_of_name(*next..level.end, skipped, name) };
                let depth = level.depth + 1;
                names.push(name);
                levels.push(enter(next, depth, child_end));
                continue;
            }
            let Some(mut done) = levels.pop() else { return [0; 32] };
            done.hasher.update(&done.count.to_le_bytes());
            done.hasher.update(&done.children);
            let hash = *done.hasher.finalize().as_bytes();
            let (Some(name), Some(parent)) = (names.pop(), levels.last_mut()) else { return hash };
            parent.count += 1;
            parent.children.extend_from_slice(&(name.len() as u64).to_le_bytes());
            parent.children.extend_from_slice(name);
            parent.children.extend_from_slice(&hash);
        }
    }
}

fn component_count(path: &ImagePath) -> usize {
    path.components().count()
}

fn put_node(hasher: &mut blake3::Hasher, node: &Node) {
    // One buffer: the hasher is slow on small pieces.
    let mut out = Vec::with_capacity(128);
    match &node.kind {
        NodeKind::Directory { opaque } => out.extend_from_slice(&[1, u8::from(*opaque)]),
        NodeKind::File { size, content, hardlink } => {
            out.push(2);
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(&content.0);
            match hardlink {
                Some(first) => {
                    out.push(1);
                    put_bytes(&mut out, first.as_bytes());
                }
                None => out.push(0),
            }
        }
        NodeKind::Symlink { target } => {
            out.push(3);
            put_bytes(&mut out, target);
        }
        NodeKind::CharDevice { major, minor } => put_device(&mut out, 4, *major, *minor),
        NodeKind::BlockDevice { major, minor } => put_device(&mut out, 5, *major, *minor),
        NodeKind::Fifo => out.push(6),
        NodeKind::Whiteout => out.push(7),
    }
    if node.kind != NodeKind::Whiteout {
        put_metadata(&mut out, &node.metadata);
    }
    hasher.update(&out);
}

fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    for number in [metadata.mode, metadata.uid, metadata.gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&(metadata.xattrs.len() as u64).to_le_bytes());
    for (name, value) in &metadata.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_device(out: &mut Vec<u8>, tag: u8, major: u32, minor: u32) {
    out.push(tag);
    out.extend_from_slice(&major.to_le_bytes());
    out.extend_from_slice(&minor.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
