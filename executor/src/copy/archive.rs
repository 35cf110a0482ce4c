//! ADD of an archive: what it holds, merged into a directory.
//!
//! Names and links are looked up in the plan, never on disk: an entry behind a symbolic link goes where the link leads inside the
//! image. A later entry replaces an earlier one and what was there before; directories merge, and take the archive's metadata.
//! Bodies are written once, to a staging directory inside the layer directory, and renamed into place by the writer.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use bld_oci::compression::Decoder;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerReader;
use bld_oci::layer::Metadata;
use bld_oci::layer::ReadError;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::CopyError;
use super::plan::Bytes;
use super::plan::Inode;
use super::plan::Plan;
use super::plan::Planned;
use crate::context::beneath;
use crate::view::TreeView;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::resolve;

type Archive = LayerReader<Box<dyn Read + Send>>;

/// The archive at `path`, or `None` if the file is none: no tar header at its beginning, whatever it may be compressed with.
pub(super) fn recognise(view: &dyn TreeView, path: &ImagePath) -> Result<Option<Archive>, CopyError> {
    let Some(mut archive) = open(view, path)? else { return Ok(None) };
    match archive.next_entry() {
        Ok(None) | Err(ReadError::Read { .. } | ReadError::Malformed { .. }) => Ok(None),
        // A tar whose first entry is refused is a tar: unpacking it says what is wrong.
        Ok(Some(_)) | Err(_) => open(view, path),
    }
}

fn open(view: &dyn TreeView, path: &ImagePath) -> Result<Option<Archive>, CopyError> {
    let decoder = Decoder::new(view.open(path)?);
    Ok(decoder.ok().map(|decoder| LayerReader::archive(Box::new(decoder) as Box<dyn Read + Send>)))
}

/// Plans everything in `archive` below `target`, a planned directory.
pub(super) fn unpack(
    plan: &mut Plan<'_>,
    layer: BorrowedFd<'_>,
    mut archive: Archive,
    written: &str,
    target: &ImagePath,
    owner: Option<(u32, u32)>,
    made_up: &Metadata,
) -> Result<(), CopyError> {
    let broken = |source: ReadError| CopyError::Archive { archive: written.to_owned(), source: Box::new(source) };
    while let Some((mut entry, mut content)) = archive.next_entry().map_err(broken)? {
        if let Some((uid, gid)) = owner {
            (entry.metadata.uid, entry.metadata.gid) = (uid, gid);
        }
        let Some(path) = place(plan, target, &entry.path, made_up)? else { continue };
        plan_entry(plan, layer, &mut content, entry, path, target).map_err(|error| named(error, written))?;
    }
    archive.finish().map_err(broken)?;
    Ok(())
}

/// Where `name` of an archive goes, with its parents planned. `None` for the root of the archive, which is the destination and
/// stays as it is.
fn place(
    plan: &mut Plan<'_>,
    target: &ImagePath,
    name: &ImagePath,
    made_up: &Metadata,
) -> Result<Option<ImagePath>, CopyError> {
    let path = target.join(name.relative());
    let (Some(parent), Some(name), false) = (path.parent(), path.file_name(), name.is_root()) else { return Ok(None) };
    let (parent, node) = resolve(plan, &parent, true)?;
    match node {
        Some(ViewNode { kind: ViewKind::Directory, .. }) => plan.ensure_directory(&parent, made_up)?,
        Some(_) => replace_by_directory(plan, &parent, made_up)?,
        None => {
            if let Some(blocked) = first_non_directory(plan, &parent)? {
                replace_by_directory(plan, &blocked, made_up)?;
            }
            plan.ensure_directory(&parent, made_up)?;
        }
    }
    Ok(Some(parent.join(name)))
}

/// The highest part of `path` that exists and is no directory.
fn first_non_directory(plan: &Plan<'_>, path: &ImagePath) -> Result<Option<ImagePath>, CopyError> {
    let mut at = ImagePath::root();
    for component in path.components() {
        at = at.join(component);
        match plan.node(&at)? {
            Some(ViewNode { kind: ViewKind::Directory, .. }) => {}
            Some(_) => return Ok(Some(at)),
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn replace_by_directory(plan: &mut Plan<'_>, path: &ImagePath, made_up: &Metadata) -> Result<(), CopyError> {
    if let Some(parent) = path.parent() {
        plan.ensure_directory(&parent, made_up)?;
    }
    plan.insert_directory(path.clone(), made_up.clone())
}

fn plan_entry(
    plan: &mut Plan<'_>,
    layer: BorrowedFd<'_>,
    content: &mut dyn Read,
    entry: LayerEntry,
    path: ImagePath,
    target: &ImagePath,
) -> Result<(), CopyError> {
    let metadata = entry.metadata;
    let kind = match entry.kind {
        EntryKind::Directory => return plan.insert_directory(path, metadata),
        EntryKind::File { .. } => {
            let (number, size, hash) = spool(plan, layer, content, &path)?;
            let inode = plan.add_inode(Inode { metadata, size, bytes: Bytes::Spooled(number, hash) });
            return plan.insert(path, Planned::File(inode));
        }
        EntryKind::Hardlink { target: name } => {
            let planned = link_target(plan, &target.join(name.relative()), &path)?;
            return plan.insert(path, planned);
        }
        EntryKind::Symlink { target } => ViewKind::Symlink { target },
        EntryKind::CharDevice { major, minor } => ViewKind::CharDevice { major, minor },
        EntryKind::BlockDevice { major, minor } => ViewKind::BlockDevice { major, minor },
        EntryKind::Fifo => ViewKind::Fifo,
        // The reader was told that this is no layer.
        EntryKind::Whiteout | EntryKind::Opaque => return Err(CopyError::ReservedName { path }),
    };
    plan.insert(path, Planned::Other { kind, metadata })
}

/// What a hard link to `name` is a link to. A file of the lower state is copied up, so that both names stay one file.
fn link_target(plan: &mut Plan<'_>, name: &ImagePath, link: &ImagePath) -> Result<Planned, CopyError> {
    let (real, node) = resolve(plan, name, false)?;
    if let Some(planned @ (Planned::File(_) | Planned::Other { .. })) = plan.nodes.get(&real) {
        return Ok(planned.clone());
    }
    let missing = |reason| CopyError::Write {
        verb: "make the hard link",
        path: link.clone(),
        source: io::Error::new(io::ErrorKind::NotFound, format!("its target {name} {reason}")),
    };
    match node {
        None => Err(missing("does not exist")),
        Some(ViewNode { kind: ViewKind::Directory, .. }) => Err(missing("is a directory")),
        Some(ViewNode { kind: ViewKind::File { size, .. }, metadata }) => {
            if let Some(parent) = real.parent() {
                plan.ensure_directory(&parent, &metadata)?;
            }
            let lower = plan.lower;
            let inode = plan.add_inode(Inode { metadata, size, bytes: Bytes::View(lower, real.clone()) });
            plan.insert(real, Planned::File(inode))?;
            Ok(Planned::File(inode))
        }
        Some(ViewNode { kind, metadata }) => Ok(Planned::Other { kind, metadata }),
    }
}

/// Bodies of archive members, by number, in a directory of their own.
pub(super) struct Spool {
    directory: OwnedFd,
    /// The directory's name in the layer directory.
    pub(super) name: String,
    count: u64,
}

impl Spool {
    fn create(layer: BorrowedFd<'_>) -> io::Result<Spool> {
        let name = spool_name(0);
        rustix::fs::mkdirat(layer, name.as_str(), Mode::RWXU)?;
        let directory = beneath::open_directory(layer, name.as_bytes())?;
        Ok(Spool { directory, name, count: 0 })
    }

    pub(super) fn open(&self, number: u64) -> io::Result<File> {
        Ok(beneath::open_file(self.directory.as_fd(), number.to_string().as_bytes())?.0)
    }

    /// Moves a body to `name` in `directory`.
    pub(super) fn take(&self, number: u64, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, number.to_string(), directory, name)?)
    }

    /// Gets out of the way of a file that will have the spool's name.
    pub(super) fn evade(&mut self, layer: BorrowedFd<'_>, is_taken: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut number = 0_u64;
        while is_taken(&spool_name(number)) {
            number += 1;
        }
        let name = spool_name(number);
        if name != self.name {
            rustix::fs::renameat(layer, self.name.as_str(), layer, name.as_str())?;
            self.name = name;
        }
        Ok(())
    }

    /// Removes the directory and the bodies nobody took.
    pub(super) fn remove(self, layer: BorrowedFd<'_>) -> io::Result<()> {
        for number in 0..self.count {
            match rustix::fs::unlinkat(&self.directory, number.to_string(), rustix::fs::AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(rustix::fs::unlinkat(layer, self.name.as_str(), rustix::fs::AtFlags::REMOVEDIR)?)
    }
}

fn spool_name(number: u64) -> String {
    format!(".bld-unpacking-{number}")
}

/// Writes a body down. Answers its number, size and hash.
fn spool(
    plan: &mut Plan<'_>,
    layer: BorrowedFd<'_>,
    content: &mut dyn Read,
    path: &ImagePath,
) -> Result<(u64, u64, ContentHash), CopyError> {
    let failed = |source: io::Error| CopyError::Write { verb: "write", path: path.clone(), source };
    let spool = match &mut plan.spool {
        Some(spool) => spool,
        none => none.insert(Spool::create(layer).map_err(failed)?),
    };
    let number = spool.count;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&spool.directory, number.to_string(), flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(opened.map_err(|error| failed(error.into()))?);
    spool.count += 1;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; 128 * 1024];
    let mut size = 0_u64;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(CopyError::Read { path: path.clone(), source }),
        };
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(failed)?;
        size += count as u64;
    }
    Ok((number, size, ContentHash(*hasher.finalize().as_bytes())))
}

/// Says which archive an error is about, where the error itself names only paths.
fn named(error: CopyError, written: &str) -> CopyError {
    match error {
        error @ (CopyError::View(_) | CopyError::Archive { .. }) => error,
        other => CopyError::Archive { archive: written.to_owned(), source: Box::new(other) },
    }
}
