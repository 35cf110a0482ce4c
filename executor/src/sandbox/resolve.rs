//! Paths below a root that an image wrote: every step of a walk is one name on a descriptor, so no link can lead out.
//!
//! Links are followed by hand, as the kernel would inside a chroot. Those of procfs (`/proc/self/fd/7`,
//! `/proc/1/cwd`) are refused: they are doors, not names.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{Context as _, StepError};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What a path must lead to, and what is made when it leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// A directory that stands for `/`.
#[derive(Debug)]
pub(super) struct Root<'fd> {
    fd: BorrowedFd<'fd>,
}

impl<'fd> Root<'fd> {
    pub(super) fn new(fd: &'fd OwnedFd) -> Self {
        Self { fd: fd.as_fd() }
    }

    /// Opens what exists, following links inside the root; the descriptor is a bare `O_PATH`.
    pub(super) fn open(&self, path: &Path) -> Result<OwnedFd, StepError> {
        match self.openat2(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::LOOP) => Err(StepError::OutsideRoot { path: path.to_owned() }),
            other => other.context("open", path),
        }
    }

    /// Opens a file or directory, making it and its parents (0755) where missing. What was made is added to `made`.
    pub(super) fn ensure(&self, path: &Path, kind: Kind, made: &mut Vec<PathBuf>) -> Result<OwnedFd, StepError> {
        let mut pending: VecDeque<OsString> = names(path);
        let mut here = PathBuf::new();
        let mut here_fd = self.open_resolved(&here).context("open", path)?;
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                here.pop();
                here_fd = self.open_resolved(&here).context("open", path)?;
                continue;
            }
            let wanted = if pending.is_empty() { kind } else { Kind::Directory };
            let next = match open_name(&here_fd, &name) {
                Err(Errno::NOENT) => {
                    match make(&here_fd, &name, wanted) {
                        // A mount shared with another step: that one was faster.
                        Err(Errno::EXIST) => {}
                        other => {
                            other.context("create", path)?;
                            made.push(Path::new("/").join(&here).join(&name));
                        }
                    }
                    open_name(&here_fd, &name).context("open", path)?
                }
                other => other.context("open", path)?,
            };
            match FileType::from_raw_mode(rustix::fs::fstat(&next).context("stat", path)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP).context("follow the links of", path);
                    }
                    if is_procfs(&next).context("stat", path)? {
                        return Err(StepError::OutsideRoot { path: path.to_owned() });
                    }
                    let target = rustix::fs::readlinkat(&next, "", Vec::new()).context("read the link", path)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        here = PathBuf::new();
                        here_fd = self.open_resolved(&here).context("open", path)?;
                    }
                    for name in names(&target).into_iter().rev() {
                        pending.push_front(name);
                    }
                }
                FileType::Directory => {
                    here.push(&name);
                    here_fd = next;
                }
                _ if pending.is_empty() && kind == Kind::File => return Ok(next),
                _ => return Err(Errno::NOTDIR).context("enter", path),
            }
        }
        match kind {
            Kind::Directory => Ok(here_fd),
            Kind::File => Err(Errno::ISDIR).context("mount a file over", path),
        }
    }

    /// A path that was walked already: nothing in it may be a link.
    fn open_resolved(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.openat2(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // The kernel gives up with EAGAIN when something is renamed during the walk.
        let mut attempts = 0;
        loop {
            match rustix::fs::openat2(self.fd, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if attempts < 100 => attempts += 1,
                other => return other,
            }
        }
    }
}

/// Opens one name without following it.
pub(super) fn open_name(directory: impl AsFd, name: impl AsRef<OsStr>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, name.as_ref(), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// True for a directory, false for a link to one.
pub(super) fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn make(directory: &OwnedFd, name: &OsStr, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Directory => rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.as_os_str()
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect()
}

fn is_procfs(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
