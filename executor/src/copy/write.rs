//! A finished plan, written into a layer directory.
//!
//! Order: directories (no link exists yet that could be in the way), then files in parallel, links, devices, further names of files,
//! and last the metadata of directories from the bottom up, because making files changes their times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::tree::ContentHash;
use bld_cache::tree::Node;
use bld_cache::tree::NodeKind;
use bld_cache::tree::Tree;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::Metadata;
use rayon::prelude::*;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::apply::Applied;
use super::apply::ApplyOptions;
use super::error::CopyError;
use super::error::Note;
use super::plan::Bytes;
use super::plan::Inode;
use super::plan::Plan;
use super::plan::Planned;
use super::transfer::Outcome;
use super::transfer::transfer;
use crate::context::beneath;
use crate::layers::OverlayFlavor;
use crate::layers::Ownership;
use crate::view::ViewError;
use crate::view::ViewKind;

/// Files written by one task.
const CHUNK: usize = 64;

/// Writes `plan` into the empty directory `layer`.
pub(super) fn write(mut plan: Plan<'_>, layer: BorrowedFd<'_>, options: &ApplyOptions) -> Result<Applied, CopyError> {
    let mut spool = plan.spool.take();
    if let Some(spool) = &mut spool {
        let is_taken = |name: &str| plan.nodes.contains_key(&ImagePath::root().join(name));
        spool.evade(layer, is_taken).map_err(failed("write", &ImagePath::root()))?;
    }
    plan.spool = spool;
    let writer = Writer { layer, options, plan: &plan, notes: Mutex::default() };
    let contents = writer.write()?;
    let notes = writer.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(spool) = plan.spool.take() {
        spool.remove(layer).map_err(failed("finish", &ImagePath::root()))?;
    }
    plan.notes.extend(notes.values().cloned());
    let skipped = |path: &ImagePath| {
        plan.notes.iter().any(|note| matches!(note, Note::DeviceSkipped { path: other } if other == path))
    };
    let tree = tree(&plan, &contents, skipped)?;
    Ok(Applied { tree, notes: plan.notes })
}

struct Writer<'a> {
    layer: BorrowedFd<'a>,
    options: &'a ApplyOptions,
    plan: &'a Plan<'a>,
    /// By what they are about, so that they come out in an order of their own.
    notes: Mutex<BTreeMap<Vec<u8>, Note>>,
}

impl Writer<'_> {
    /// Writes everything. Answers the hashes of the inodes.
    fn write(&self) -> Result<Vec<Option<ContentHash>>, CopyError> {
        let mut first_names: Vec<Option<&ImagePath>> = vec![None; self.plan.inodes.len()];
        let mut later_names = Vec::new();
        let mut others = Vec::new();
        let mut directories = Vec::new();
        for (path, planned) in &self.plan.nodes {
            match planned {
                Planned::Directory { metadata, opaque, .. } => directories.push((path, metadata, *opaque)),
                Planned::Other { kind, metadata } => others.push((path, kind, metadata)),
                Planned::File(inode) => match first_names.get_mut(*inode) {
                    Some(first @ None) => *first = Some(path),
                    Some(Some(first)) => later_names.push((*first, path)),
                    None => {}
                },
            }
        }
        for (path, ..) in directories.iter().filter(|(path, ..)| !path.is_root()) {
            let made = rustix::fs::mkdirat(self.layer, path.relative(), Mode::RWXU);
            made.map_err(|error| failed("create", path)(error.into()))?;
        }
        let contents = self.write_files(&first_names)?;
        for (path, kind, metadata) in others {
            self.write_other(path, kind, metadata)?;
        }
        for (first, later) in later_names {
            let linked = rustix::fs::linkat(
                self.parent(first)?,
                first.file_name().unwrap_or_default(),
                self.parent(later)?,
                later.file_name().unwrap_or_default(),
                AtFlags::empty(),
            );
            linked.map_err(|error| failed("link", later)(error.into()))?;
        }
        for (path, metadata, opaque) in directories.into_iter().rev() {
            self.finish_directory(path, metadata, opaque)?;
        }
        Ok(contents)
    }

    fn write_files(&self, first_names: &[Option<&ImagePath>]) -> Result<Vec<Option<ContentHash>>, CopyError> {
        let mut files: Vec<(&ImagePath, usize)> =
            first_names.iter().enumerate().filter_map(|(inode, path)| path.map(|path| (path, inode))).collect();
        files.sort_unstable_by(|left, right| left.0.cmp(right.0));
        let by_parent =
            |left: &(&ImagePath, usize), right: &(&ImagePath, usize)| parent_bytes(left.0) == parent_bytes(right.0);
        let tasks: Vec<&[(&ImagePath, usize)]> =
            files.chunk_by(by_parent).flat_map(|files| files.chunks(CHUNK)).collect();
        let written: Vec<Vec<(usize, ContentHash)>> = tasks
            .par_iter()
            .map(|task| {
                let Some((first, _)) = task.first() else { return Ok(Vec::new()) };
                let directory = self.parent(first)?;
                let write = |(path, inode): &(&ImagePath, usize)| {
                    let content = self.write_file(directory.as_fd(), path, &self.plan.inodes[*inode])?;
                    Ok((*inode, content))
                };
                task.iter().map(write).collect::<Result<_, CopyError>>()
            })
            .collect::<Result<_, CopyError>>()?;
        let mut contents = vec![None; first_names.len()];
        for (inode, content) in written.into_iter().flatten() {
            contents[inode] = Some(content);
        }
        Ok(contents)
    }

    fn write_file(
        &self,
        directory: BorrowedFd<'_>,
        path: &ImagePath,
        inode: &Inode<'_>,
    ) -> Result<ContentHash, CopyError> {
        let name = path.file_name().unwrap_or_default();
        let io_failed = |verb| move |error: io::Error| failed(verb, path)(error);
        let create = || -> Result<File, CopyError> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
            Ok(File::from(opened.map_err(|error| failed("create", path)(error.into()))?))
        };
        let (file, content) = match &inode.bytes {
            Bytes::View(view, from) => {
                let content = view.content(from)?;
                let mut source = view.open(from)?;
                let mut file = create()?;
                let is_settled = view.is_settled(from)?;
                match transfer(&mut source, &mut file, inode.size, content, is_settled) {
                    Outcome::Done => {}
                    Outcome::Changed => return Err(ViewError::Changed { path: from.clone() }.into()),
                    Outcome::Unreadable(source) => return Err(CopyError::Read { path: from.clone(), source }),
                    Outcome::Unwritable(error) => return Err(failed("write", path)(error)),
                }
                (file, content)
            }
            Bytes::Memory(bytes) => {
                let mut file = create()?;
                io::Write::write_all(&mut file, bytes).map_err(io_failed("write"))?;
                (file, ContentHash(*blake3::hash(bytes).as_bytes()))
            }
            Bytes::Spooled(number, content) => {
                if let Some(spool) = &self.plan.spool {
                    spool.take(*number, directory, name).map_err(io_failed("write"))?;
                }
                (beneath::open_file(directory, name).map_err(io_failed("open"))?.0, *content)
            }
        };
        self.set_metadata(file.as_fd(), path, &inode.metadata, 0o600)?;
        Ok(content)
    }

    /// Owner first, because the kernel takes set-id bits and capabilities away from a file that changes hands; times last.
    fn set_metadata(
        &self,
        file: BorrowedFd<'_>,
        path: &ImagePath,
        metadata: &Metadata,
        accessible: u32,
    ) -> Result<(), CopyError> {
        let mut mode = metadata.mode & 0o7777;
        match self.options.mode.ownership {
            Ownership::Real => {
                let owned = rustix::fs::fchown(file, Some(uid(metadata)), Some(gid(metadata)));
                owned.map_err(|error| failed("set the owner of", path)(error.into()))?;
            }
            Ownership::Recorded => mode |= accessible,
        }
        let changed = rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
        changed.map_err(|error| failed("set the mode of", path)(error.into()))?;
        for (name, value) in &metadata.xattrs {
            let stored = self.stored_name(name);
            let set = rustix::fs::fsetxattr(file, stored.as_slice(), value, XattrFlags::empty());
            self.check_xattr(set, path, name)?;
        }
        let timed = rustix::fs::futimens(file, &timestamps(metadata.mtime));
        timed.map_err(|error| failed("set the time of", path)(error.into()))
    }

    fn write_other(&self, path: &ImagePath, kind: &ViewKind, metadata: &Metadata) -> Result<(), CopyError> {
        let directory = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        let result = match kind {
            ViewKind::Symlink { target } => rustix::fs::symlinkat(target.as_slice(), &directory, name),
            ViewKind::Fifo => make_node(&directory, name, FileType::Fifo, 0, 0),
            ViewKind::CharDevice { major, minor } => {
                make_node(&directory, name, FileType::CharacterDevice, *major, *minor)
            }
            ViewKind::BlockDevice { major, minor } => {
                make_node(&directory, name, FileType::BlockDevice, *major, *minor)
            }
            ViewKind::Directory | ViewKind::File { .. } | ViewKind::Socket => Err(Errno::INVAL),
        };
        let is_device = matches!(kind, ViewKind::CharDevice { .. } | ViewKind::BlockDevice { .. });
        match result {
            Err(Errno::PERM) if is_device => {
                self.note(path.as_bytes(), Note::DeviceSkipped { path: path.clone() });
                return Ok(());
            }
            other => other.map_err(|error| failed("create", path)(error.into()))?,
        }
        let is_link = matches!(kind, ViewKind::Symlink { .. });
        if self.options.mode.ownership == Ownership::Real {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let owned = rustix::fs::chownat(&directory, name, Some(uid(metadata)), Some(gid(metadata)), flags);
            owned.map_err(|error| failed("set the owner of", path)(error.into()))?;
        }
        if !is_link {
            // Nobody else knows this directory yet, and what was just made is no link: nothing can be followed.
            let mode = Mode::from_raw_mode(metadata.mode & 0o7777);
            let changed = rustix::fs::chmodat(&directory, name, mode, AtFlags::empty());
            changed.map_err(|error| failed("set the mode of", path)(error.into()))?;
        }
        for (key, value) in &metadata.xattrs {
            let link = beneath::link_path(&directory, name);
            let stored = self.stored_name(key);
            let set = rustix::fs::lsetxattr(link, stored.as_slice(), value, XattrFlags::empty());
            self.check_xattr(set, path, key)?;
        }
        let timed = rustix::fs::utimensat(&directory, name, &timestamps(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW);
        timed.map_err(|error| failed("set the time of", path)(error.into()))
    }

    fn finish_directory(&self, path: &ImagePath, metadata: &Metadata, opaque: bool) -> Result<(), CopyError> {
        let directory = beneath::open_directory(self.layer, path.relative()).map_err(failed("open", path))?;
        if opaque {
            let name: &[u8] = match self.options.mode.flavor {
                OverlayFlavor::Trusted => b"trusted.overlay.opaque",
                OverlayFlavor::User => b"user.overlay.opaque",
            };
            let set = rustix::fs::fsetxattr(&directory, name, b"y", XattrFlags::empty());
            set.map_err(|error| failed("mark as opaque", path)(error.into()))?;
        }
        self.set_metadata(directory.as_fd(), path, metadata, 0o700)
    }

    /// The directory that `path` is in.
    fn parent(&self, path: &ImagePath) -> Result<OwnedFd, CopyError> {
        let parent = path.parent().unwrap_or_else(ImagePath::root);
        beneath::open_directory(self.layer, parent.relative()).map_err(failed("open", &parent))
    }

    /// The name under which an attribute of the image is kept on disk: overlayfs's own are escaped the way overlayfs does it.
    fn stored_name(&self, name: &[u8]) -> Vec<u8> {
        let prefix: &[u8] = match self.options.mode.flavor {
            OverlayFlavor::Trusted => b"trusted.overlay.",
            OverlayFlavor::User => b"user.overlay.",
        };
        match name.strip_prefix(prefix) {
            Some(rest) => [prefix, b"overlay.", rest].concat(),
            None => name.to_vec(),
        }
    }

    fn check_xattr(&self, set: Result<(), Errno>, path: &ImagePath, name: &[u8]) -> Result<(), CopyError> {
        match set {
            Ok(()) => Ok(()),
            // The tree keeps what the disk cannot.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL)
                if self.options.mode.ownership == Ownership::Recorded =>
            {
                Ok(())
            }
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                let shown = String::from_utf8_lossy(name).into_owned();
                self.note(name, Note::AttributeDropped { path: path.clone(), name: shown });
                Ok(())
            }
            Err(error) => Err(failed("set an attribute of", path)(error.into())),
        }
    }

    fn note(&self, about: &[u8], note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).entry(about.to_vec()).or_insert(note);
    }
}

fn make_node(directory: &OwnedFd, name: &[u8], kind: FileType, major: u32, minor: u32) -> Result<(), Errno> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, device)
}

fn parent_bytes(path: &ImagePath) -> &[u8] {
    let bytes = path.as_bytes();
    &bytes[..bytes.len() - path.file_name().map_or(0, <[u8]>::len)]
}

fn uid(metadata: &Metadata) -> Uid {
    Uid::from_raw(metadata.uid)
}

fn gid(metadata: &Metadata) -> Gid {
    Gid::from_raw(metadata.gid)
}

fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn failed(verb: &'static str, path: &ImagePath) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.clone();
    move |source| CopyError::Write { verb, path, source }
}

/// The tree of what was written.
fn tree(
    plan: &Plan<'_>,
    contents: &[Option<ContentHash>],
    skipped: impl Fn(&ImagePath) -> bool,
) -> Result<Tree, CopyError> {
    let mut first_names: Vec<Option<ImagePath>> = vec![None; plan.inodes.len()];
    let mut nodes = Vec::with_capacity(plan.nodes.len());
    // The root is always there already: a layer that names it would only seem to change it.
    for (path, planned) in plan.nodes.iter().filter(|(path, _)| !path.is_root()) {
        let (kind, metadata) = match planned {
            Planned::Directory { metadata, opaque, .. } => (NodeKind::Directory { opaque: *opaque }, metadata),
            Planned::File(index) => {
                let (Some(inode), Some(Some(content))) = (plan.inodes.get(*index), contents.get(*index)) else {
                    continue;
                };
                let hardlink = first_names[*index].clone();
                if hardlink.is_none() {
                    first_names[*index] = Some(path.clone());
                }
                (NodeKind::File { size: inode.size, content: *content, hardlink }, &inode.metadata)
            }
            Planned::Other { kind, metadata } => {
                let kind = match kind {
                    ViewKind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
                    ViewKind::CharDevice { .. } | ViewKind::BlockDevice { .. } if skipped(path) => continue,
                    ViewKind::CharDevice { major, minor } => NodeKind::CharDevice { major: *major, minor: *minor },
                    ViewKind::BlockDevice { major, minor } => NodeKind::BlockDevice { major: *major, minor: *minor },
                    ViewKind::Fifo => NodeKind::Fifo,
                    ViewKind::Directory | ViewKind::File { .. } | ViewKind::Socket => continue,
                };
                (kind, metadata)
            }
        };
        nodes.push((path.clone(), Node { kind, metadata: metadata.clone() }));
    }
    Tree::from_sorted(nodes).map_err(|error| CopyError::Tree { source: Box::new(error) })
}
