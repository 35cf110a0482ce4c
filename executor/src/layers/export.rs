//! Root file systems, or parts of them, as outputs: one archive, or files in a directory of the user.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use bld_oci::layer::{EntryKind, LayerEntry, LayerWriter, Metadata};
use bld_oci::{ImagePath, Timestamp};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes;
use super::content::{BLOCK, SparseWriter, fill};
use super::directory::{Directories, change_mode_at, look, owner, times};
use super::pack::{Expected, QUEUE, append, append_file, clamped, send_ahead};
use super::{LayerError, Note, implied_metadata};
use crate::view::merged::MergedTree;
use crate::view::{TreeView, ViewKind, ViewNode};

/// A part of a tree and the name it gets. Its way is the real one, without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// A file or directory of the tree.
    pub from: ImagePath,
    /// Where it is in what is written: `/` if it is a directory of which only the content is wanted.
    pub to: ImagePath,
}

impl Part {
    /// All of a tree.
    pub fn whole() -> Part {
        Part { from: ImagePath::root(), to: ImagePath::root() }
    }

    fn place(&self, path: &ImagePath) -> ImagePath {
        self.to.join(path.strip_prefix(&self.from).unwrap_or_default())
    }
}

/// Writes everything in `view` as one archive, which holds no deletions. Times after `clamp` become `clamp`. `/` itself is only in
/// it if it is not an ordinary directory of root.
pub fn export_tar<W: Write>(
    view: &MergedTree,
    writer: &mut LayerWriter<W>,
    clamp: Option<Timestamp>,
) -> Result<(), LayerError> {
    export_part_tar(view, &Part::whole(), writer, clamp)
}

/// The same for a part of `view`.
pub fn export_part_tar<W: Write>(
    view: &MergedTree,
    part: &Part,
    writer: &mut LayerWriter<W>,
    clamp: Option<Timestamp>,
) -> Result<(), LayerError> {
    std::thread::scope(|scope| {
        let (ahead, contents) = sync_channel(QUEUE);
        scope.spawn(move || {
            let mut groups = Groups::default();
            // An error that stops this walk stops the other one too, which reports it.
            let walked: Result<(), Stop> = view.walk_from(&part.from, &mut |path, node| match node.kind {
                ViewKind::File { size, link_group } if groups.first(link_group, path).is_none() => {
                    let opened = view.open(path).map_err(LayerError::from);
                    let expected = Expected { path: view.locate(path)?, size, content: view.content(path)? };
                    if send_ahead(&ahead, opened, expected) { Ok(()) } else { Err(Stop) }
                }
                _ => Ok(()),
            });
            drop(walked);
        });
        let mut groups = Groups::default();
        view.walk_from(&part.from, &mut |path, node| {
            let place = part.place(path);
            let entry = |kind| LayerEntry { path: place.clone(), kind, metadata: clamped(&node.metadata, clamp) };
            match &node.kind {
                ViewKind::Directory if place.is_root() && is_ordinary(&node.metadata) => Ok(()),
                ViewKind::Directory => append(writer, &entry(EntryKind::Directory)),
                ViewKind::File { size, link_group } => match groups.first(*link_group, &place) {
                    Some(target) => append(writer, &entry(EntryKind::Hardlink { target })),
                    None => append_file(writer, &entry(EntryKind::File { size: *size }), &contents),
                },
                ViewKind::Symlink { target } => append(writer, &entry(EntryKind::Symlink { target: target.clone() })),
                ViewKind::CharDevice { major, minor } => {
                    append(writer, &entry(EntryKind::CharDevice { major: *major, minor: *minor }))
                }
                ViewKind::BlockDevice { major, minor } => {
                    append(writer, &entry(EntryKind::BlockDevice { major: *major, minor: *minor }))
                }
                ViewKind::Fifo => append(writer, &entry(EntryKind::Fifo)),
                ViewKind::Socket => Ok(()),
            }
        })
    })
}

/// The set-user-id and set-group-id bits.
const SET_ID: u32 = 0o6000;

/// How to write into a directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// Give files the owners that they have in the image; takes root. Otherwise they belong to the user.
    pub ownership: bool,
    /// Times after this become this.
    pub clamp: Option<Timestamp>,
}

/// Writes everything in `view` into the directory `destination`, which is created if it is missing. Files and links that are there
/// are replaced, never written through; what the image does not have stays. Access to `destination` itself stays as it is.
pub fn export_directory(
    view: &MergedTree,
    destination: &Path,
    options: ExportOptions,
) -> Result<Vec<Note>, LayerError> {
    export(view, &Part::whole(), destination, options, false)
}

/// Writes a part of `view` into the directory `destination` for the user to look at: the files are theirs, and nothing that could be
/// dangerous in their hands comes along - no set-id bits, no devices, no attributes but those of users.
pub fn export_part(view: &MergedTree, part: &Part, destination: &Path) -> Result<Vec<Note>, LayerError> {
    export(view, part, destination, ExportOptions::default(), true)
}

fn export(
    view: &MergedTree,
    part: &Part,
    destination: &Path,
    options: ExportOptions,
    tame: bool,
) -> Result<Vec<Note>, LayerError> {
    std::fs::create_dir_all(destination).map_err(|source| LayerError::Io {
        verb: "create",
        path: destination.to_owned(),
        source,
    })?;
    let mut export = Export {
        view,
        destination: Directories::new(destination)?,
        options,
        tame,
        groups: Groups::default(),
        directories: Vec::new(),
        notes: Vec::new(),
        buffer: vec![0; BLOCK],
    };
    view.walk_from(&part.from, &mut |source, node| {
        let path = part.place(source);
        if path.is_root() { Ok(()) } else { export.node(source, &path, &node) }
    })?;
    while let Some((path, metadata)) = export.directories.pop() {
        export.dress_directory(&path, &metadata)?;
    }
    Ok(export.notes)
}

struct Export<'view> {
    view: &'view MergedTree,
    destination: Directories,
    options: ExportOptions,
    /// Whether what could be dangerous is left out.
    tame: bool,
    groups: Groups,
    directories: Vec<(ImagePath, Metadata)>,
    notes: Vec<Note>,
    buffer: Vec<u8>,
}

impl Export<'_> {
    fn node(&mut self, source: &ImagePath, path: &ImagePath, node: &ViewNode) -> Result<(), LayerError> {
        let mut metadata = clamped(&node.metadata, self.options.clamp);
        if self.tame {
            metadata.mode &= !SET_ID;
            metadata.xattrs.retain(|name, _| name.starts_with(b"user."));
        }
        match &node.kind {
            ViewKind::Directory => {
                self.make_directory(path)?;
                self.directories.push((path.clone(), metadata));
                Ok(())
            }
            ViewKind::File { link_group, .. } => {
                self.clear(path)?;
                match self.groups.first(*link_group, path) {
                    Some(target) => self.link(path, &target),
                    None => self.file(source, path, &metadata),
                }
            }
            ViewKind::Symlink { target } => {
                self.clear(path)?;
                let failed = self.destination.failed("create", path);
                let (parent, name) = self.destination.parent(path)?;
                rustix::fs::symlinkat(target.as_slice(), parent, name).map_err(failed)?;
                self.dress_special(path, FileType::Symlink, &metadata)
            }
            ViewKind::CharDevice { .. } | ViewKind::BlockDevice { .. } if self.tame => {
                self.notes.push(Note::DeviceLeftOut { path: source.clone() });
                Ok(())
            }
            ViewKind::CharDevice { major, minor } => {
                self.special(path, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor), &metadata)
            }
            ViewKind::BlockDevice { major, minor } => {
                self.special(path, FileType::BlockDevice, rustix::fs::makedev(*major, *minor), &metadata)
            }
            ViewKind::Fifo => self.special(path, FileType::Fifo, 0, &metadata),
            ViewKind::Socket => {
                self.notes.push(Note::SocketSkipped { path: source.clone() });
                Ok(())
            }
        }
    }

    /// A real directory at `path`: a link there would lead somewhere else.
    fn make_directory(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let failed = self.destination.failed("create", path);
        let (parent, name) = self.destination.parent(path)?;
        match look(parent, name) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => return Ok(()),
            Ok(_) => rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(&failed)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed)
    }

    fn clear(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        let failed = self.destination.failed("replace", path);
        let place = self.destination.locate(path);
        let (parent, name) = self.destination.parent(path)?;
        match look(parent, name) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Err(LayerError::DirectoryInTheWay { path: place })
            }
            Ok(_) => rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(failed),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn link(&mut self, path: &ImagePath, target: &ImagePath) -> Result<(), LayerError> {
        let failed = self.destination.failed("link", path);
        let (from, from_name) = self.destination.parent(target)?;
        let from = from.try_clone().map_err(&failed)?;
        let (parent, name) = self.destination.parent(path)?;
        rustix::fs::linkat(from, from_name, parent, name, AtFlags::empty()).map_err(failed)
    }

    fn file(&mut self, source: &ImagePath, path: &ImagePath, metadata: &Metadata) -> Result<(), LayerError> {
        let mut content = self.view.open(source)?;
        let failed = self.destination.failed("write", path);
        let io_failed = |error: io::Error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let (parent, name) = self.destination.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(&failed)?);
        let mut hasher = blake3::Hasher::new();
        let mut writer = SparseWriter::new(&file);
        loop {
            let filled = fill(&mut content, &mut self.buffer).map_err(&io_failed)?;
            hasher.update(&self.buffer[..filled]);
            writer.write(&self.buffer[..filled]).map_err(&io_failed)?;
            if filled < self.buffer.len() {
                break;
            }
        }
        writer.finish().map_err(&io_failed)?;
        if super::content::finish(&hasher) != self.view.content(source)? {
            return Err(LayerError::Changed { path: self.view.locate(source)? });
        }
        self.dress(&file, path, metadata)
    }

    fn dress_directory(&mut self, path: &ImagePath, metadata: &Metadata) -> Result<(), LayerError> {
        let failed = self.destination.failed("open", path);
        let directory = self.destination.enter(path)?.try_clone().map_err(failed)?;
        self.dress(directory, path, metadata)
    }

    fn dress(&mut self, file: impl AsFd, path: &ImagePath, metadata: &Metadata) -> Result<(), LayerError> {
        let file = file.as_fd();
        let failed = self.destination.failed("change the metadata of", path);
        if self.options.ownership {
            let (uid, gid) = owner(metadata.uid, metadata.gid);
            rustix::fs::fchown(file, uid, gid).map_err(&failed)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode)).map_err(&failed)?;
        self.set_attributes(path, metadata, |name, value| attributes::write(file, name, value));
        rustix::fs::futimens(file, &times(metadata.mtime)).map_err(failed)
    }

    /// Attributes are for whoever runs the files: what cannot be set here is noted.
    fn set_attributes(
        &mut self,
        path: &ImagePath,
        metadata: &Metadata,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) {
        for (name, value) in &metadata.xattrs {
            if set(name, value).is_err() {
                self.notes.push(Note::AttributeRefused { path: path.clone(), name: name.clone() });
            }
        }
    }

    fn special(
        &mut self,
        path: &ImagePath,
        kind: FileType,
        device: u64,
        metadata: &Metadata,
    ) -> Result<(), LayerError> {
        self.clear(path)?;
        let failed = self.destination.failed("create", path);
        let (parent, name) = self.destination.parent(path)?;
        match rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device) {
            Ok(()) => self.dress_special(path, kind, metadata),
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.notes.push(Note::DeviceSkipped { path: path.clone() });
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn dress_special(&mut self, path: &ImagePath, kind: FileType, metadata: &Metadata) -> Result<(), LayerError> {
        let failed = self.destination.failed("change the metadata of", path);
        let (parent, name) = self.destination.parent(path)?;
        let parent = parent.try_clone().map_err(&failed)?;
        if self.options.ownership {
            let (uid, gid) = owner(metadata.uid, metadata.gid);
            rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?;
        }
        if kind != FileType::Symlink {
            change_mode_at(&parent, name, kind, metadata.mode).map_err(&failed)?;
        }
        self.set_attributes(path, metadata, |attribute, value| attributes::write_at(&parent, name, attribute, value));
        rustix::fs::utimensat(&parent, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }
}

/// The first names of the files that have several.
#[derive(Debug, Default)]
struct Groups(HashMap<u64, ImagePath>);

impl Groups {
    /// The first name of the group, if `path` is a later one.
    fn first(&mut self, group: Option<u64>, path: &ImagePath) -> Option<ImagePath> {
        let group = group?;
        if let Some(first) = self.0.get(&group) {
            return Some(first.clone());
        }
        self.0.insert(group, path.clone());
        None
    }
}

/// The archive's thread has gone away.
struct Stop;

impl From<crate::view::ViewError> for Stop {
    fn from(_: crate::view::ViewError) -> Stop {
        Stop
    }
}

fn is_ordinary(metadata: &Metadata) -> bool {
    let ordinary = implied_metadata();
    Metadata { mtime: ordinary.mtime, ..metadata.clone() } == ordinary
}
