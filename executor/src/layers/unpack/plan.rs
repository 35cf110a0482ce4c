//! The reading half of unpacking: what each entry of the archive means, in terms of paths without links.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender};

use bld_oci::ImagePath;
use bld_oci::layer::{EntryKind, LayerEntry, LayerReader, Metadata};

use super::super::attributes::belongs_to_image;
use super::super::content::{BLOCK, fill};
use super::super::{LayerError, Note, whiteout_metadata};
use super::UnpackOptions;
use super::disk::Work;
use super::index::{Entry, Implied, Index, Kind, Resolved, implied_directory};
use crate::view::{TreeView, ViewKind};

/// Paths in one layer: the index is kept in memory.
const MAX_ENTRIES: u64 = 1_000_000;
/// No system call takes longer paths.
const MAX_PATH: u64 = 4096;
/// The kernel's limit for one value, and for the names of one file together.
const MAX_ATTRIBUTES: u64 = 64 * 1024;
/// All extended attributes of a layer.
const MAX_ATTRIBUTES_TOGETHER: u64 = 64 * 1024 * 1024;

const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

pub(super) struct Plan<'lower> {
    index: Index,
    options: UnpackOptions<'lower>,
    work: SyncSender<Work>,
    spare: Receiver<Vec<u8>>,
    notes: Vec<Note>,
    inodes: usize,
    bytes: u64,
    attribute_bytes: u64,
    /// The last directory that was resolved: archives name the files of a directory one after the other. Gone with any change that
    /// could lead elsewhere.
    last_parent: Option<(ImagePath, ImagePath)>,
}

impl<'lower> Plan<'lower> {
    pub(super) fn new(
        options: UnpackOptions<'lower>,
        work: SyncSender<Work>,
        spare: Receiver<Vec<u8>>,
    ) -> Plan<'lower> {
        Plan {
            index: Index::new(),
            options,
            work,
            spare,
            notes: Vec::new(),
            inodes: 0,
            bytes: 0,
            attribute_bytes: 0,
            last_parent: None,
        }
    }

    pub(super) fn read<R: Read>(&mut self, reader: &mut LayerReader<R>) -> Result<(), LayerError> {
        while let Some((entry, mut content)) = reader.next_entry().map_err(|source| LayerError::Read { source })? {
            self.entry(entry, &mut content)?;
        }
        Ok(())
    }

    pub(super) fn into_parts(self) -> (Index, Vec<Note>) {
        (self.index, self.notes)
    }

    fn entry(&mut self, entry: LayerEntry, content: &mut dyn Read) -> Result<(), LayerError> {
        let LayerEntry { path, kind, mut metadata } = entry;
        self.limits(&path)?;
        if !matches!(kind, EntryKind::Whiteout | EntryKind::Opaque | EntryKind::Hardlink { .. }) {
            self.attributes(&path, &mut metadata)?;
        }
        match kind {
            EntryKind::Directory => self.directory(&path, metadata),
            EntryKind::File { size } => {
                let path = self.place(&path)?;
                self.file(path, size, metadata, content)
            }
            EntryKind::Symlink { target } => {
                // Linux has no other; archives have what their makers liked.
                metadata.mode = 0o777;
                self.special(&path, Kind::Symlink { target }, metadata)
            }
            EntryKind::Fifo => self.special(&path, Kind::Fifo, metadata),
            EntryKind::CharDevice { major: 0, minor: 0 } => Err(LayerError::WhiteoutDevice { path }),
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor }
                if major > MAX_MAJOR || minor > MAX_MINOR =>
            {
                Err(LayerError::DeviceNumber { path, major, minor })
            }
            EntryKind::CharDevice { major, minor } => self.special(&path, Kind::CharDevice { major, minor }, metadata),
            EntryKind::BlockDevice { major, minor } => {
                self.special(&path, Kind::BlockDevice { major, minor }, metadata)
            }
            EntryKind::Hardlink { target } => self.hardlink(&path, &target),
            EntryKind::Whiteout => self.whiteout(&path),
            EntryKind::Opaque => self.opaque(&path),
        }
    }

    fn limits(&self, path: &ImagePath) -> Result<(), LayerError> {
        if self.index.len() as u64 >= MAX_ENTRIES {
            return Err(LayerError::Limit { what: "paths", limit: MAX_ENTRIES, path: path.clone() });
        }
        if path.as_bytes().len() as u64 > MAX_PATH {
            return Err(LayerError::Limit { what: "bytes in one path", limit: MAX_PATH, path: path.clone() });
        }
        Ok(())
    }

    fn attributes(&mut self, path: &ImagePath, metadata: &mut Metadata) -> Result<(), LayerError> {
        if metadata.xattrs.is_empty() {
            return Ok(());
        }
        metadata.xattrs.retain(|name, _| {
            let kept = belongs_to_image(name);
            if !kept {
                self.notes.push(Note::AttributeDropped { path: path.clone(), name: name.clone() });
            }
            kept
        });
        self.count_attributes(path, metadata)
    }

    fn count_attributes(&mut self, path: &ImagePath, metadata: &Metadata) -> Result<(), LayerError> {
        let bytes = metadata.xattrs.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
        self.attribute_bytes += bytes;
        if bytes > MAX_ATTRIBUTES {
            let what = "bytes of extended attributes on one file";
            return Err(LayerError::Limit { what, limit: MAX_ATTRIBUTES, path: path.clone() });
        }
        if self.attribute_bytes > MAX_ATTRIBUTES_TOGETHER {
            let what = "bytes of extended attributes";
            return Err(LayerError::Limit { what, limit: MAX_ATTRIBUTES_TOGETHER, path: path.clone() });
        }
        Ok(())
    }

    fn directory(&mut self, path: &ImagePath, metadata: Metadata) -> Result<(), LayerError> {
        let path = self.parent_made(path)?;
        let opaque = match self.index.get(&path).map(|entry| &entry.kind) {
            Some(Kind::Directory { opaque }) => *opaque,
            // The earlier entry took away whatever lower layers have here.
            Some(_) => {
                self.remove(&path)?;
                self.send(Work::Directory { path: path.clone() })?;
                true
            }
            None => {
                if !path.is_root() {
                    self.send(Work::Directory { path: path.clone() })?;
                }
                false
            }
        };
        self.index.insert(path, Entry { kind: Kind::Directory { opaque }, metadata });
        Ok(())
    }

    fn special(&mut self, path: &ImagePath, kind: Kind, metadata: Metadata) -> Result<(), LayerError> {
        let path = self.place(path)?;
        self.make_special(path, kind, metadata)
    }

    fn make_special(&mut self, path: ImagePath, kind: Kind, metadata: Metadata) -> Result<(), LayerError> {
        self.last_parent = None;
        self.send(Work::Special { path: path.clone(), kind: kind.clone(), metadata: metadata.clone() })?;
        self.index.insert(path, Entry { kind, metadata });
        Ok(())
    }

    /// A regular file at `path`, where nothing is now, with the bytes of `content`.
    fn file(
        &mut self,
        path: ImagePath,
        size: u64,
        metadata: Metadata,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.options.max_bytes {
            return Err(LayerError::NoSpace { free: self.options.max_bytes, path });
        }
        let inode = self.inodes;
        self.inodes += 1;
        let mut left = size;
        let mut begun = false;
        loop {
            let mut block = self.spare.try_recv().unwrap_or_default();
            block.resize(BLOCK.min(usize::try_from(left).unwrap_or(BLOCK)), 0);
            let failed = |source| LayerError::Content { path: path.clone(), source };
            if fill(content, &mut block).map_err(failed)? < block.len() {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
            left -= block.len() as u64;
            let last = left == 0;
            if begun {
                self.send(Work::Bytes { block, last })?;
            } else {
                begun = true;
                self.send(Work::File { path: path.clone(), inode, metadata: metadata.clone(), block, last })?;
            }
            if last {
                break;
            }
        }
        self.index.insert(path, Entry { kind: Kind::File { size, inode }, metadata });
        Ok(())
    }

    fn hardlink(&mut self, path: &ImagePath, target: &ImagePath) -> Result<(), LayerError> {
        let (Some(target_parent), Some(target_name)) = (target.parent(), target.file_name()) else {
            return Err(LayerError::HardlinkTarget { path: path.clone(), target: target.clone() });
        };
        let Resolved { path: directory, hidden, blocked } = self.index.resolve(&target_parent, self.options.lower)?;
        let source = directory.join(target_name);
        let found = match self.index.get(&source) {
            Some(entry) => entry.clone(),
            None if hidden || blocked => {
                return Err(LayerError::HardlinkOutside { path: path.clone(), target: target.clone() });
            }
            None => return self.copy_of_lower(path, &source),
        };
        let resolved = self.parent_made(path)?;
        if resolved == source {
            return Ok(());
        }
        if source.starts_with(&resolved) || matches!(found.kind, Kind::Directory { .. } | Kind::Whiteout) {
            return Err(LayerError::HardlinkTarget { path: path.clone(), target: target.clone() });
        }
        self.count_attributes(path, &found.metadata)?;
        self.clear(&resolved)?;
        match found.kind {
            Kind::File { .. } => {
                self.send(Work::Link { path: resolved.clone(), target: source })?;
                self.index.insert(resolved, found);
                Ok(())
            }
            kind => self.make_special(resolved, kind, found.metadata),
        }
    }

    /// The file `source` of a lower layer under another name: what one layer directory holds cannot be linked into another, so that
    /// it is a copy.
    fn copy_of_lower(&mut self, path: &ImagePath, source: &ImagePath) -> Result<(), LayerError> {
        let outside = || LayerError::HardlinkOutside { path: path.clone(), target: source.clone() };
        let lower = self.options.lower.ok_or_else(outside)?;
        let node = lower.node(source)?.ok_or_else(outside)?;
        let mut file = match node.kind {
            ViewKind::File { .. } => lower.open(source)?,
            _ => return Err(LayerError::HardlinkTarget { path: path.clone(), target: source.clone() }),
        };
        let ViewKind::File { size, .. } = node.kind else { return Err(outside()) };
        let place = self.place(path)?;
        self.count_attributes(path, &node.metadata)?;
        self.file(place, size, node.metadata, &mut file)
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(LayerError::RootReplaced);
        };
        let Resolved { path: directory, hidden, blocked } = self.index.resolve(&parent, self.options.lower)?;
        let resolved = directory.join(name);
        match self.index.get(&resolved).map(|entry| &entry.kind) {
            // A deletion is about lower layers: what this layer puts here stays, without what was there before.
            Some(Kind::Directory { .. }) => {
                self.index.set_opaque(&resolved);
                return Ok(());
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if hidden || blocked || self.options.lower.is_some_and(|lower| matches!(lower.node(&resolved), Ok(None))) {
            return Ok(());
        }
        self.make_directories(&directory, Implied::Place)?;
        self.send(Work::Whiteout { path: resolved.clone() })?;
        let entry = Entry { kind: Kind::Whiteout, metadata: whiteout_metadata() };
        self.index.insert_implied(resolved, entry, Implied::Whiteout);
        Ok(())
    }

    fn opaque(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let resolved = self.index.resolve(path, self.options.lower)?;
        let whiteout = matches!(self.index.get(&resolved.path), Some(Entry { kind: Kind::Whiteout, .. }));
        if resolved.blocked && !whiteout {
            return Ok(());
        }
        self.make_directories(&resolved.path, Implied::Directory)?;
        if resolved.path.is_root() && self.index.get(&resolved.path).is_none() {
            self.index.insert(ImagePath::root(), implied_directory(self.lower_node(&ImagePath::root())?, false));
        }
        self.index.set_opaque(&resolved.path);
        Ok(())
    }

    /// Where a new entry that is no directory goes: its directories are there, and nothing else is.
    fn place(&mut self, path: &ImagePath) -> Result<ImagePath, LayerError> {
        let resolved = self.parent_made(path)?;
        self.clear(&resolved)?;
        Ok(resolved)
    }

    fn clear(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        if path.is_root() {
            return Err(LayerError::RootReplaced);
        }
        if self.index.get(path).is_some() { self.remove(path) } else { Ok(()) }
    }

    /// `path` with its directory resolved and made.
    fn parent_made(&mut self, path: &ImagePath) -> Result<ImagePath, LayerError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(ImagePath::root());
        };
        if let Some((last, resolved)) = &self.last_parent
            && *last == parent
        {
            return Ok(resolved.join(name));
        }
        let directory = self.index.resolve(&parent, self.options.lower)?.path;
        self.make_directories(&directory, Implied::Directory)?;
        let resolved = directory.join(name);
        self.limits(&resolved)?;
        self.last_parent = Some((parent, directory));
        Ok(resolved)
    }

    /// Makes sure that `path` and all above it are directories of the layer.
    fn make_directories(&mut self, path: &ImagePath, implied: Implied) -> Result<(), LayerError> {
        let mut at = ImagePath::root();
        let mut hidden = false;
        for component in path.components() {
            at = at.join(component);
            let opaque = match self.index.get(&at).map(|entry| &entry.kind) {
                Some(Kind::Directory { opaque }) => {
                    hidden |= *opaque;
                    if implied == Implied::Directory {
                        self.index.use_place(&at);
                    }
                    continue;
                }
                Some(_) => {
                    self.remove(&at)?;
                    true
                }
                None => false,
            };
            hidden |= opaque;
            let lower = if hidden { None } else { self.lower_node(&at)? };
            self.send(Work::Directory { path: at.clone() })?;
            self.index.insert_implied(at.clone(), implied_directory(lower, opaque), implied);
        }
        Ok(())
    }

    fn lower_node(&self, path: &ImagePath) -> Result<Option<crate::view::ViewNode>, LayerError> {
        match self.options.lower {
            Some(lower) => Ok(TreeView::node(lower, path)?),
            None => Ok(None),
        }
    }

    fn remove(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        self.last_parent = None;
        self.send(Work::Remove { path: path.clone() })?;
        self.index.remove(path);
        Ok(())
    }

    fn send(&self, work: Work) -> Result<(), LayerError> {
        // The other thread stops at an error, which is then reported in place of this one.
        self.work
            .send(work)
            .map_err(|_| LayerError::Content { path: ImagePath::root(), source: std::io::ErrorKind::BrokenPipe.into() })
    }
}
