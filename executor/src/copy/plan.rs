//! The change set while it is being thought out: paths and where their bytes will come from, and the lower state below it.
//!
//! The plan is itself a [`TreeView`] of the lower state with the changes applied, so that destinations, user names and later
//! actions are looked up in what earlier actions made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::layer::Metadata;

use super::error::CopyError;
use super::error::Note;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;

/// What will be in the layer directory.
pub(super) struct Plan<'a> {
    pub(super) lower: &'a dyn TreeView,
    pub(super) nodes: BTreeMap<ImagePath, Planned>,
    pub(super) inodes: Vec<Inode<'a>>,
    pub(super) notes: Vec<Note>,
    /// Opens a spooled body by its number.
    pub(super) spool: Option<super::archive::Spool>,
}

/// What will be at a path. All directories on the way to a planned path are planned.
#[derive(Debug, Clone)]
pub(super) enum Planned {
    /// A directory.
    Directory {
        metadata: Metadata,
        /// A lower directory of this name is hidden, and this must be said on disk.
        opaque: bool,
        /// Nothing of the lower state shows through at or below this path.
        hides_lower: bool,
    },
    /// One name of a regular file.
    File(usize),
    /// Anything else, by its kind in views; never a directory or a file.
    Other { kind: ViewKind, metadata: Metadata },
}

impl Planned {
    /// What it is called in a sentence.
    fn article(&self) -> &'static str {
        match self {
            Planned::Directory { .. } => ViewKind::Directory.article(),
            Planned::File(_) => "a file",
            Planned::Other { kind, .. } => kind.article(),
        }
    }
}

/// A regular file, whatever its names.
pub(super) struct Inode<'a> {
    pub(super) metadata: Metadata,
    pub(super) size: u64,
    pub(super) bytes: Bytes<'a>,
}

/// Where the bytes of a file come from.
pub(super) enum Bytes<'a> {
    /// A file of a source, or of the lower state.
    View(&'a dyn TreeView, ImagePath),
    /// Here they are.
    Memory(Vec<u8>),
    /// Spooled from an archive under this number.
    Spooled(u64, ContentHash),
}

/// Marks the link groups of planned files off from those of the lower state.
const PLANNED_GROUP: u64 = 1 << 63;

impl<'a> Plan<'a> {
    pub(super) fn new(lower: &'a dyn TreeView) -> Plan<'a> {
        Plan { lower, nodes: BTreeMap::new(), inodes: Vec::new(), notes: Vec::new(), spool: None }
    }

    /// Makes sure that `path` is a directory of the layer. Missing ones are made as `made_up` says; existing ones stay as they are.
    pub(super) fn ensure_directory(&mut self, path: &ImagePath, made_up: &Metadata) -> Result<(), CopyError> {
        let mut missing = Vec::new();
        let mut at = path.clone();
        loop {
            match self.nodes.get(&at) {
                Some(Planned::Directory { .. }) => break,
                Some(planned) => {
                    let kind = planned.article();
                    return Err(CopyError::NotADirectory { destination: at, kind });
                }
                None => {
                    let parent = at.parent();
                    missing.push(at);
                    match parent {
                        Some(parent) => at = parent,
                        None => break,
                    }
                }
            }
        }
        for path in missing.into_iter().rev() {
            let metadata = match self.node(&path)? {
                Some(ViewNode { kind: ViewKind::Directory, metadata }) => metadata,
                Some(node) => {
                    return Err(CopyError::NotADirectory { destination: path, kind: node.kind.article() });
                }
                None if path.is_root() => Metadata { mode: 0o755, uid: 0, gid: 0, ..made_up.clone() },
                None => made_up.clone(),
            };
            self.insert_directory(path, metadata)?;
        }
        Ok(())
    }

    /// Puts a directory with this metadata at `path`, in a planned directory, over nothing or over a directory (which keeps what it
    /// holds).
    pub(super) fn insert_directory(&mut self, path: ImagePath, metadata: Metadata) -> Result<(), CopyError> {
        check_name(&path)?;
        let planned = match self.nodes.get(&path) {
            Some(Planned::Directory { opaque, hides_lower, .. }) => {
                Planned::Directory { metadata, opaque: *opaque, hides_lower: *hides_lower }
            }
            was => {
                // What a file hid all along a directory in its place must hide by itself.
                let replaced = was.is_some();
                let inherited = self.parent_hides_lower(&path);
                let lower = if inherited { None } else { self.lower.node(&path)? };
                let over_directory = lower.is_some_and(|node| node.kind == ViewKind::Directory);
                let opaque = replaced && over_directory;
                // Below a directory that the lower state lacks there is nothing to be asked for.
                let hides_lower = opaque || !(over_directory || path.is_root());
                Planned::Directory { metadata, opaque, hides_lower }
            }
        };
        self.nodes.insert(path, planned);
        Ok(())
    }

    /// Puts something that is no directory at `path`, in a planned directory, in place of whatever is there.
    pub(super) fn insert(&mut self, path: ImagePath, planned: Planned) -> Result<(), CopyError> {
        check_name(&path)?;
        if let Planned::Other { kind: ViewKind::CharDevice { major: 0, minor: 0 }, .. } = planned {
            return Err(CopyError::WhiteoutDevice { path });
        }
        if matches!(self.nodes.get(&path), Some(Planned::Directory { .. })) {
            let below: Vec<ImagePath> = self
                .nodes
                .range(path.clone()..)
                .take_while(|(other, _)| other.starts_with(&path))
                .map(|(other, _)| other.clone())
                .collect();
            for other in below {
                self.nodes.remove(&other);
            }
        }
        self.nodes.insert(path, planned);
        Ok(())
    }

    /// A new regular file without a name yet.
    pub(super) fn add_inode(&mut self, inode: Inode<'a>) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    fn parent_hides_lower(&self, path: &ImagePath) -> bool {
        let parent = path.parent().and_then(|parent| self.nodes.get(&parent));
        matches!(parent, Some(Planned::Directory { hides_lower: true, .. }))
    }

    /// The planned node at `path`, or `Err(true)` if the lower state shows through there, `Err(false)` if nothing is there.
    fn look(&self, path: &ImagePath) -> Result<&Planned, bool> {
        if let Some(planned) = self.nodes.get(path) {
            return Ok(planned);
        }
        let mut at = path.parent();
        while let Some(ancestor) = at {
            match self.nodes.get(&ancestor) {
                Some(Planned::Directory { hides_lower, .. }) => return Err(!hides_lower),
                Some(_) => return Err(false),
                None => at = ancestor.parent(),
            }
        }
        Err(true)
    }

    fn file(&self, path: &ImagePath) -> Result<Option<&Inode<'a>>, ViewError> {
        match self.look(path) {
            Ok(Planned::File(inode)) => Ok(self.inodes.get(*inode)),
            Err(true) => Ok(None),
            _ => Err(not_a_file(path)),
        }
    }
}

impl TreeView for Plan<'_> {
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError> {
        Ok(match self.look(path) {
            Err(true) => return self.lower.node(path),
            Err(false) => None,
            Ok(Planned::Directory { metadata, .. }) => {
                Some(ViewNode { kind: ViewKind::Directory, metadata: metadata.clone() })
            }
            Ok(Planned::Other { kind, metadata }) => Some(ViewNode { kind: kind.clone(), metadata: metadata.clone() }),
            Ok(Planned::File(index)) => self.inodes.get(*index).map(|inode| ViewNode {
                kind: ViewKind::File { size: inode.size, link_group: Some(PLANNED_GROUP | *index as u64) },
                metadata: inode.metadata.clone(),
            }),
        })
    }

    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        let hides_lower = match self.look(path) {
            Err(true) => return self.lower.children(path),
            Ok(Planned::Directory { hides_lower, .. }) => *hides_lower,
            Err(false) | Ok(_) => return Ok(Vec::new()),
        };
        let mut names = if hides_lower { Vec::new() } else { self.lower.children(path)? };
        let below = self.nodes.range(path.clone()..).skip(1).take_while(|(other, _)| other.starts_with(path));
        let own = below.filter(|(other, _)| other.parent().as_ref() == Some(path));
        names.extend(own.filter_map(|(other, _)| other.file_name().map(<[u8]>::to_vec)));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError> {
        match self.file(path)?.map(|inode| &inode.bytes) {
            None => self.lower.content(path),
            Some(Bytes::View(view, from)) => view.content(from),
            Some(Bytes::Memory(bytes)) => Ok(ContentHash(*blake3::hash(bytes).as_bytes())),
            Some(Bytes::Spooled(_, hash)) => Ok(*hash),
        }
    }

    fn open(&self, path: &ImagePath) -> Result<File, ViewError> {
        match self.file(path)?.map(|inode| &inode.bytes) {
            None => self.lower.open(path),
            Some(Bytes::View(view, from)) => view.open(from),
            Some(Bytes::Memory(bytes)) => in_memory(bytes).map_err(|error| cannot_open(path, error)),
            Some(Bytes::Spooled(number, _)) => match &self.spool {
                Some(spool) => spool.open(*number).map_err(|error| cannot_open(path, error)),
                None => Err(not_a_file(path)),
            },
        }
    }
}

/// A file nobody else sees, holding `bytes`.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let descriptor = rustix::fs::memfd_create("bld", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(descriptor);
    io::Write::write_all(&mut file, bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn not_a_file(path: &ImagePath) -> ViewError {
    cannot_open(path, io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

fn cannot_open(path: &ImagePath, source: io::Error) -> ViewError {
    ViewError::Io { verb: "open", path: PathBuf::from(path.to_string()), source }
}

fn check_name(path: &ImagePath) -> Result<(), CopyError> {
    if path.file_name().is_some_and(|name| name.starts_with(b".wh.")) {
        return Err(CopyError::ReservedName { path: path.clone() });
    }
    Ok(())
}
