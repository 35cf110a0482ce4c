//! Opening and looking at files below a directory without ever following a symbolic link.
//!
//! Everything here starts from a directory descriptor. A path given to [`open`] is walked by the kernel with `openat2` (or component
//! by component where a sandbox forbids that call), so that a link planted in it, even while it is being walked, ends in an error.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use bld_oci::Timestamp;
use bld_oci::layer::Metadata;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Statx;
use rustix::fs::StatxFlags;
use rustix::io::Errno;

use crate::view::ViewKind;

/// Opens `relative` (no leading slash; empty for `root` itself) below `root`.
pub(crate) fn open(root: BorrowedFd<'_>, relative: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let path = if relative.is_empty() { b"." } else { relative };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // BENEATH answers EAGAIN when a rename happened anywhere on the system at the wrong moment.
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return open_by_component(root, path, flags),
            other => return Ok(other?),
        }
    }
    open_by_component(root, path, flags)
}

/// What [`open`] does, for sandboxes whose filter does not know `openat2`.
fn open_by_component(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut components = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        if component == b".." {
            return Err(Errno::XDEV.into());
        }
        let here = at.as_ref().map_or(root, OwnedFd::as_fd);
        let last = components.peek().is_none();
        at = Some(rustix::fs::openat(here, component, if last { flags } else { step }, Mode::empty())?);
    }
    at.ok_or_else(|| Errno::NOENT.into())
}

/// Opens the directory `relative` below `root` for listing it and for working in it.
pub(crate) fn open_directory(root: BorrowedFd<'_>, relative: &[u8]) -> io::Result<OwnedFd> {
    open(root, relative, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a regular file for reading; anything else is refused, and nothing can make it wait.
pub(crate) fn open_file(root: BorrowedFd<'_>, relative: &[u8]) -> io::Result<(std::fs::File, FileStat)> {
    let descriptor = open(root, relative, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = status(&descriptor)?;
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((std::fs::File::from(descriptor), FileStat::of(&stat)))
}

/// The status of `name` in `directory`, links not followed; `None` if there is no such file.
pub(crate) fn status_at(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Statx>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The status of an open file.
pub(crate) fn status(descriptor: impl AsFd) -> io::Result<Statx> {
    Ok(rustix::fs::statx(descriptor, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}

/// What tells whether the bytes of a file may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device it is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Status change time.
    pub ctime: Timestamp,
}

impl FileStat {
    /// Taken from the kernel's answer.
    pub(crate) fn of(stat: &Statx) -> FileStat {
        FileStat {
            device: (u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            mode: stat.stx_mode.into(),
            mtime: Timestamp { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec },
            ctime: Timestamp { seconds: stat.stx_ctime.tv_sec, nanoseconds: stat.stx_ctime.tv_nsec },
        }
    }
}

/// The kind of `name` in `directory`; `link_group` is for regular files with more than one name.
pub(crate) fn kind(
    directory: impl AsFd,
    name: &[u8],
    stat: &Statx,
    link_group: impl FnOnce() -> u64,
) -> io::Result<ViewKind> {
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    Ok(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => ViewKind::Directory,
        FileType::RegularFile => {
            ViewKind::File { size: stat.stx_size, link_group: (stat.stx_nlink > 1).then(link_group) }
        }
        FileType::Symlink => {
            ViewKind::Symlink { target: rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes() }
        }
        FileType::CharacterDevice => ViewKind::CharDevice { major, minor },
        FileType::BlockDevice => ViewKind::BlockDevice { major, minor },
        FileType::Fifo => ViewKind::Fifo,
        FileType::Socket | FileType::Unknown => ViewKind::Socket,
    })
}

/// The metadata of a file of the machine that bld runs on, as a build context shows it: the owner is nobody's business.
pub(crate) fn context_metadata(stat: &Statx, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Metadata {
    Metadata {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec },
        xattrs,
    }
}

/// The extended attributes of `name` in `directory` that mean the same on every machine: `user.*` and file capabilities. Labels of
/// the machine's own security modules, access control lists with its user numbers, and overlayfs's bookkeeping stay behind.
pub(crate) fn portable_xattrs(directory: impl AsFd, name: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let path = link_path(directory, name);
    let mut few = [0_u8; 1024];
    let mut many = Vec::new();
    let listed = match rustix::fs::llistxattr(&path, &mut few) {
        Err(Errno::RANGE) => {
            many.resize(65_536, 0_u8);
            rustix::fs::llistxattr(&path, &mut many)
        }
        other => other,
    };
    let names = if many.is_empty() { few.as_slice() } else { many.as_slice() };
    let length = match listed {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOENT | Errno::ACCESS) => return Ok(found),
        Ok(length) => length,
        Err(error) => return Err(error.into()),
    };
    for key in names[..length].split(|byte| *byte == 0).filter(|key| is_portable(key)) {
        let mut value = vec![0_u8; 65_536];
        match rustix::fs::lgetxattr(&path, key, &mut value) {
            Ok(length) => {
                value.truncate(length);
                found.insert(key.to_vec(), value);
            }
            Err(Errno::NODATA | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Whether an open file certainly has no extended attributes that [`portable_xattrs`] would find.
pub(crate) fn is_bare(file: &std::fs::File) -> bool {
    let mut names = [0_u8; 1024];
    // Whatever goes wrong may go right the next time.
    let Ok(length) = rustix::fs::flistxattr(file, &mut names) else { return false };
    !names[..length].split(|byte| *byte == 0).any(is_portable)
}

fn is_portable(key: &[u8]) -> bool {
    key == b"security.capability" || (key.starts_with(b"user.") && !key.starts_with(b"user.overlay."))
}

/// A path for the calls that know no directory descriptors: it names `name` in `directory` whatever happens to the paths above.
pub(crate) fn link_path(directory: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
