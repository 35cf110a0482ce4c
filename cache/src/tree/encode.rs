//! Trees as bytes.
//!
//! ```text
//! tree     = "bldtree1" count node*                                     numbers are LEB128
//! node     = shared length bytes kind metadata                          path: so much of the one before, then these bytes
//! kind     = 0|1 (directory, opaque) | 2 size hash | 3 size hash index (hard link to that node) | 4 length target
//!          | 5 major minor (character) | 6 major minor (block) | 7 (fifo) | 8 (whiteout)
//! metadata = mode uid gid seconds (zigzag) nanoseconds count (name value)*
//! ```
//! Reading trusts nothing: order, bounds, names and links are checked, and no more is set aside than the bytes can fill.

use std::collections::BTreeMap;

use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::Metadata;

use super::ContentHash;
use super::Node;
use super::NodeKind;
use super::Tree;
use super::TreeError;

const MAGIC: &[u8] = b"bldtree1";

impl Tree {
    /// The tree as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.len() * 96);
        out.extend_from_slice(MAGIC);
        put(&mut out, self.len() as u64);
        let mut before: &[u8] = &[];
        for (path, node) in &self.nodes {
            let path = path.relative();
            let shared = before.iter().zip(path).take_while(|(left, right)| left == right).count();
            put(&mut out, shared as u64);
            put_bytes(&mut out, &path[shared..]);
            before = path;
            self.put_kind(&mut out, &node.kind);
            put_metadata(&mut out, &node.metadata);
        }
        out
    }

    /// The tree that was made bytes of.
    pub fn decode(bytes: &[u8]) -> Result<Tree, TreeError> {
        let mut input = Input { bytes: bytes.strip_prefix(MAGIC).ok_or(TreeError::Version)? };
        let count = input.length()?;
        let mut nodes: Vec<(ImagePath, Node)> = Vec::with_capacity(count);
        let mut path: Vec<u8> = Vec::new();
        for index in 0..count {
            let shared = input.number()?;
            let shared = usize::try_from(shared).ok().filter(|shared| *shared <= path.len());
            path.truncate(shared.ok_or(TreeError::Value { what: "path" })?);
            path.extend_from_slice(input.bytes()?);
            let name = ImagePath::new(&path);
            // Anything that cleaning changed was never written by us. A leading slash is the one thing it may hide.
            if name.relative() != path || path.first() == Some(&b'/') {
                return Err(TreeError::Value { what: "path" });
            }
            let kind = input.kind(&nodes[..index])?;
            let metadata = input.metadata()?;
            nodes.push((name, Node { kind, metadata }));
        }
        if !input.bytes.is_empty() {
            return Err(TreeError::Length);
        }
        Tree::from_sorted(nodes)
    }

    fn put_kind(&self, out: &mut Vec<u8>, kind: &NodeKind) {
        match kind {
            NodeKind::Directory { opaque } => out.push(u8::from(*opaque)),
            NodeKind::File { size, content, hardlink } => {
                // A tree holds no link to what is not in it.
                let first = hardlink.as_ref().and_then(|first| self.find(first).ok());
                out.push(if first.is_some() { 3 } else { 2 });
                put(out, *size);
                out.extend_from_slice(&content.0);
                if let Some(first) = first {
                    put(out, first as u64);
                }
            }
            NodeKind::Symlink { target } => {
                out.push(4);
                put_bytes(out, target);
            }
            NodeKind::CharDevice { major, minor } => put_device(out, 5, *major, *minor),
            NodeKind::BlockDevice { major, minor } => put_device(out, 6, *major, *minor),
            NodeKind::Fifo => out.push(7),
            NodeKind::Whiteout => out.push(8),
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_device(out: &mut Vec<u8>, tag: u8, major: u32, minor: u32) {
    out.push(tag);
    put(out, u64::from(major));
    put(out, u64::from(minor));
}

fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    for number in [metadata.mode, metadata.uid, metadata.gid] {
        put(out, u64::from(number));
    }
    let seconds = metadata.mtime.seconds;
    put(out, ((seconds << 1) ^ (seconds >> 63)).cast_unsigned());
    put(out, u64::from(metadata.mtime.nanoseconds));
    put(out, metadata.xattrs.len() as u64);
    for (name, value) in &metadata.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

/// What is still to be read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, TreeError> {
        let (first, rest) = self.bytes.split_first().ok_or(TreeError::Length)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], TreeError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(TreeError::Length)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, TreeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(TreeError::Value { what: "number" })
    }

    fn small(&mut self) -> Result<u32, TreeError> {
        u32::try_from(self.number()?).map_err(|_| TreeError::Value { what: "number" })
    }

    /// A count of things that take a byte at least.
    fn length(&mut self) -> Result<usize, TreeError> {
        let length = usize::try_from(self.number()?).map_err(|_| TreeError::Length)?;
        if length > self.bytes.len() { Err(TreeError::Length) } else { Ok(length) }
    }

    fn bytes(&mut self) -> Result<&'a [u8], TreeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn content(&mut self) -> Result<ContentHash, TreeError> {
        self.take(32)?.try_into().map(ContentHash).map_err(|_| TreeError::Length)
    }

    fn kind(&mut self, before: &[(ImagePath, Node)]) -> Result<NodeKind, TreeError> {
        Ok(match self.byte()? {
            tag @ (0 | 1) => NodeKind::Directory { opaque: tag == 1 },
            2 => NodeKind::File { size: self.number()?, content: self.content()?, hardlink: None },
            3 => {
                let (size, content) = (self.number()?, self.content()?);
                let first = usize::try_from(self.number()?).ok().and_then(|index| before.get(index));
                let (first, _) = first.ok_or(TreeError::Value { what: "hard link" })?;
                NodeKind::File { size, content, hardlink: Some(first.clone()) }
            }
            4 => NodeKind::Symlink { target: self.bytes()?.to_vec() },
            5 => NodeKind::CharDevice { major: self.small()?, minor: self.small()? },
            6 => NodeKind::BlockDevice { major: self.small()?, minor: self.small()? },
            7 => NodeKind::Fifo,
            8 => NodeKind::Whiteout,
            _ => return Err(TreeError::Value { what: "kind" }),
        })
    }

    fn metadata(&mut self) -> Result<Metadata, TreeError> {
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let zigzag = self.number()?;
        let seconds = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        let nanoseconds = self.small()?;
        if mode > 0o7777 || nanoseconds >= 1_000_000_000 {
            return Err(TreeError::Value { what: "mode or time" });
        }
        let count = self.length()?;
        let mut xattrs = BTreeMap::new();
        for _ in 0..count {
            let name = self.bytes()?.to_vec();
            if xattrs.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(TreeError::Value { what: "order of attributes" });
            }
            xattrs.insert(name, self.bytes()?.to_vec());
        }
        Ok(Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanoseconds }, xattrs })
    }
}
