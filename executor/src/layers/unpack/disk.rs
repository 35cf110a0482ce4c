//! The writing half of unpacking: creates what the plan says, at paths that hold no links.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender};

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::layer::Metadata;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::attributes::{self, Attributes};
use super::super::content::{SparseWriter, finish};
use super::super::directory::{Directories, change_mode_at, owner, times};
use super::super::remove::remove_at;
use super::super::{LayerError, LayerMode, Note, Ownership, implied_metadata};
use super::index::{Index, Kind};

/// One thing to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Take away what is there.
    Remove { path: ImagePath },
    /// Make a directory where nothing is.
    Directory { path: ImagePath },
    /// Make a file where nothing is, beginning with `block`; more follows unless it is the last.
    File { path: ImagePath, inode: usize, metadata: Metadata, block: Vec<u8>, last: bool },
    /// More bytes of the file.
    Bytes { block: Vec<u8>, last: bool },
    /// Another name of a file.
    Link { path: ImagePath, target: ImagePath },
    /// Make a symbolic link, device or pipe where nothing is.
    Special { path: ImagePath, kind: Kind, metadata: Metadata },
    /// Make the mark of a deletion where nothing is.
    Whiteout { path: ImagePath },
}

pub(super) struct Disk {
    directories: Directories,
    mode: LayerMode,
    hashes: Vec<ContentHash>,
    notes: Vec<Note>,
    error: Option<LayerError>,
}

impl Disk {
    pub(super) fn new(directory: &Path, mode: LayerMode) -> Result<Disk, LayerError> {
        Ok(Disk { directories: Directories::new(directory)?, mode, hashes: Vec::new(), notes: Vec::new(), error: None })
    }

    /// Works until the queue ends or something fails. Blocks that are written go back through `used`.
    pub(super) fn run(mut self, queue: &Receiver<Work>, used: &Sender<Vec<u8>>) -> Disk {
        while let Ok(work) = queue.recv() {
            if let Err(error) = self.execute(work, queue, used) {
                self.error = Some(error);
                break;
            }
        }
        self
    }

    pub(super) fn take_error(&mut self) -> Option<LayerError> {
        self.error.take()
    }

    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn take_hashes(&mut self) -> Vec<ContentHash> {
        std::mem::take(&mut self.hashes)
    }

    fn execute(&mut self, work: Work, queue: &Receiver<Work>, used: &Sender<Vec<u8>>) -> Result<(), LayerError> {
        match work {
            Work::Remove { path } => {
                self.directories.forget(&path);
                let place = self.directories.locate(&path);
                let (parent, name) = self.directories.parent(&path)?;
                remove_at(parent, name, &place)
            }
            Work::Directory { path } => {
                let failed = self.directories.failed("create", &path);
                let (parent, name) = self.directories.parent(&path)?;
                rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed)
            }
            Work::File { path, inode, metadata, block, last } => {
                self.file(&path, inode, &metadata, (block, last), queue, used)
            }
            // Every block after a file's first is taken in by the file.
            Work::Bytes { .. } => Ok(()),
            Work::Link { path, target } => {
                let failed = self.directories.failed("link", &path);
                let (target_parent, target_name) = self.directories.parent(&target)?;
                let target_parent = target_parent.try_clone().map_err(&failed)?;
                let (parent, name) = self.directories.parent(&path)?;
                rustix::fs::linkat(target_parent, target_name, parent, name, AtFlags::empty()).map_err(failed)
            }
            Work::Special { path, kind, metadata } => self.special(&path, &kind, &metadata),
            Work::Whiteout { path } => self.whiteout(&path),
        }
    }

    fn file(
        &mut self,
        path: &ImagePath,
        inode: usize,
        metadata: &Metadata,
        first: (Vec<u8>, bool),
        queue: &Receiver<Work>,
        used: &Sender<Vec<u8>>,
    ) -> Result<(), LayerError> {
        let failed = self.directories.failed("create", path);
        let (parent, name) = self.directories.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?);
        let failed = self.directories.failed("write", path);
        let write = |error: std::io::Error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let mut hasher = blake3::Hasher::new();
        let mut writer = SparseWriter::new(&file);
        let (mut block, mut last) = first;
        loop {
            hasher.update(&block);
            writer.write(&block).map_err(&write)?;
            // The plan may have finished already and take nothing back.
            drop(used.send(block));
            if last {
                break;
            }
            match queue.recv() {
                Ok(Work::Bytes { block: next, last: next_is_last }) => (block, last) = (next, next_is_last),
                // The archive ended inside of the file: the plan reports that.
                _ => return Ok(()),
            }
        }
        writer.finish().map_err(&write)?;
        if self.hashes.len() <= inode {
            self.hashes.resize(inode + 1, ContentHash([0; 32]));
        }
        self.hashes[inode] = finish(&hasher);
        self.dress(&file, path, metadata, None)
    }

    /// Gives an open file or directory its metadata: the owner first, because changing it takes away setuid and capabilities, and the
    /// times last.
    fn dress(
        &mut self,
        file: impl AsFd,
        path: &ImagePath,
        metadata: &Metadata,
        marker: Option<Vec<u8>>,
    ) -> Result<(), LayerError> {
        let file = file.as_fd();
        if self.mode.ownership == Ownership::Real {
            let (uid, gid) = owner(metadata.uid, metadata.gid);
            rustix::fs::fchown(file, uid, gid).map_err(self.directories.failed("change the owner of", path))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode))
            .map_err(self.directories.failed("change the mode of", path))?;
        self.set_attributes(path, &metadata.xattrs, |name, value| attributes::write(file, name, value))?;
        if let Some(marker) = marker {
            attributes::write(file, &marker, b"y").map_err(self.directories.failed("make opaque", path))?;
        }
        rustix::fs::futimens(file, &times(metadata.mtime)).map_err(self.directories.failed("change the times of", path))
    }

    fn set_attributes(
        &mut self,
        path: &ImagePath,
        xattrs: &Attributes,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) -> Result<(), LayerError> {
        for (name, value) in xattrs {
            match set(&self.mode.flavor.escape(name), value) {
                Ok(()) => {}
                // The last three: file systems have different limits, ext4 that of one block for all attributes of a file.
                Err(
                    Errno::NOTSUP
                    | Errno::PERM
                    | Errno::ACCESS
                    | Errno::INVAL
                    | Errno::NOSPC
                    | Errno::TOOBIG
                    | Errno::RANGE,
                ) => {
                    self.notes.push(Note::AttributeRefused { path: path.clone(), name: name.clone() });
                }
                Err(error) => return Err(self.directories.failed("set an attribute of", path)(error)),
            }
        }
        Ok(())
    }

    fn special(&mut self, path: &ImagePath, kind: &Kind, metadata: &Metadata) -> Result<(), LayerError> {
        let failed = self.directories.failed("create", path);
        let (parent, name) = self.directories.parent(path)?;
        let (file_type, device) = match kind {
            Kind::Symlink { target } => {
                rustix::fs::symlinkat(target.as_slice(), parent, name).map_err(failed)?;
                return self.dress_special(path, FileType::Symlink, metadata);
            }
            Kind::CharDevice { major, minor } => (FileType::CharacterDevice, rustix::fs::makedev(*major, *minor)),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, rustix::fs::makedev(*major, *minor)),
            _ => (FileType::Fifo, 0),
        };
        match rustix::fs::mknodat(parent, name, file_type, Mode::RUSR | Mode::WUSR, device) {
            Ok(()) => self.dress_special(path, file_type, metadata),
            Err(Errno::PERM) if file_type != FileType::Fifo => {
                self.notes.push(Note::DeviceSkipped { path: path.clone() });
                // What lower layers have there must not show through in its place.
                self.whiteout(path)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn dress_special(&mut self, path: &ImagePath, kind: FileType, metadata: &Metadata) -> Result<(), LayerError> {
        let failed = self.directories.failed("change the metadata of", path);
        let (parent, name) = self.directories.parent(path)?;
        let parent = parent.try_clone().map_err(&failed)?;
        if self.mode.ownership == Ownership::Real {
            let (uid, gid) = owner(metadata.uid, metadata.gid);
            rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?;
        }
        if kind != FileType::Symlink {
            change_mode_at(&parent, name, kind, metadata.mode).map_err(&failed)?;
        }
        self.set_attributes(path, &metadata.xattrs, |attribute, value| {
            attributes::write_at(&parent, name, attribute, value)
        })?;
        rustix::fs::utimensat(&parent, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    fn whiteout(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let failed = self.directories.failed("create a whiteout at", path);
        let (parent, name) = self.directories.parent(path)?;
        rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0).map_err(failed)
    }

    /// Brings the disk to the state that the whole layer has: `more_whiteouts` made, useless ones gone, directories with their
    /// metadata.
    pub(super) fn settle(&mut self, index: &Index, more_whiteouts: &[ImagePath]) -> Result<(), LayerError> {
        for path in more_whiteouts {
            self.whiteout(path)?;
        }
        for path in index.useless_whiteouts() {
            let failed = self.directories.failed("remove", &path);
            let (parent, name) = self.directories.parent(&path)?;
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(failed)?;
        }
        let root = ImagePath::root();
        let mut has_root = false;
        for (path, opaque, metadata) in index.directories() {
            has_root |= path.is_root();
            self.directory(path, metadata, opaque)?;
        }
        if has_root { Ok(()) } else { self.directory(&root, &implied_metadata(), false) }
    }

    fn directory(&mut self, path: &ImagePath, metadata: &Metadata, opaque: bool) -> Result<(), LayerError> {
        let failed = self.directories.failed("open", path);
        let directory = self.directories.enter(path)?.try_clone().map_err(failed)?;
        let marker = opaque.then(|| self.mode.flavor.opaque());
        self.dress(directory, path, metadata, marker)
    }
}
