//! Directories by descriptor: the way to any path of a layer directory, one component at a time and never through a link.

use std::ffi::OsStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bld_oci::ImagePath;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::LayerError;

/// How many directories of one path are kept open: deeper ones are looked up again, so that no path can use up all descriptors.
const OPEN_LEVELS: usize = 64;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// An open directory. One that its owner may not enter was opened for them and gets its mode back in the end.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    mode_to_restore: Option<Mode>,
}

impl Directory {
    /// Opens a directory whose path belongs to bld, so that links on it are the user's wish.
    pub(super) fn open(path: &Path) -> Result<Directory, Errno> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(Directory { fd: rustix::fs::openat(CWD, path, flags, Mode::empty())?, mode_to_restore: None })
    }

    /// Opens `name` in `parent`.
    pub(super) fn open_at(parent: impl AsFd, name: &[u8]) -> Result<Directory, Errno> {
        let parent = parent.as_fd();
        match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(fd) if rustix::process::geteuid().is_root() => Ok(Directory { fd, mode_to_restore: None }),
            Ok(fd) => {
                // Opened is not entered: looking up names in it takes another permission.
                let before = Mode::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
                if before.contains(Mode::RUSR | Mode::XUSR) {
                    return Ok(Directory { fd, mode_to_restore: None });
                }
                rustix::fs::fchmod(&fd, before | Mode::RWXU)?;
                Ok(Directory { fd, mode_to_restore: Some(before) })
            }
            Err(Errno::ACCESS) => {
                let (closed, found) = closed(parent, name, FileType::Directory)?;
                let before = Mode::from_raw_mode(found.st_mode);
                change_mode(&closed, before | Mode::RWXU)?;
                let opened = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty());
                match opened {
                    Ok(fd) => Ok(Directory { fd, mode_to_restore: Some(before) }),
                    Err(error) => {
                        change_mode(&closed, before)?;
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The same directory once more, for use beside this one.
    pub(super) fn try_clone(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)
    }

    /// What it is, with the mode that it has when nobody looks.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        let mut found = rustix::fs::fstat(&self.fd)?;
        if let Some(mode) = self.mode_to_restore {
            found.st_mode = (found.st_mode & !0o7777) | mode.as_raw_mode();
        }
        Ok(found)
    }

    /// The names in it, unsorted.
    pub(super) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
        let mut directory = RawDir::new(&self.fd, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = directory.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(mode) = self.mode_to_restore {
            // The directory may be gone by now; nobody is left to tell.
            let _gone = rustix::fs::fchmod(&self.fd, mode);
        }
    }
}

/// What `name` in `directory` is; links are not followed.
pub(super) fn look(directory: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens the regular file `name` in `directory` for reading: anything else fails with `EINVAL`, and nothing blocks. A file that its
/// owner may not read is opened all the same.
pub(super) fn open_file(directory: impl AsFd, name: &[u8]) -> Result<(File, Stat), Errno> {
    let directory = directory.as_fd();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let (closed, found) = closed(directory, name, FileType::RegularFile)?;
            let before = Mode::from_raw_mode(found.st_mode);
            change_mode(&closed, before | Mode::RUSR)?;
            let opened = rustix::fs::openat(directory, name, flags, Mode::empty());
            change_mode(&closed, before)?;
            opened?
        }
        opened => opened?,
    };
    let found = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok((File::from(fd), found))
}

/// Changes the mode of something that is not a symbolic link, without opening it for use.
pub(super) fn change_mode_at(directory: impl AsFd, name: &[u8], kind: FileType, mode: u32) -> Result<(), Errno> {
    let (closed, _) = closed(directory, name, kind)?;
    change_mode(&closed, Mode::from_raw_mode(mode))
}

fn closed(directory: impl AsFd, name: &[u8], kind: FileType) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(found.st_mode) != kind {
        return Err(Errno::INVAL);
    }
    Ok((fd, found))
}

fn change_mode(closed: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", closed.as_raw_fd()), mode)
}

/// The owner as a pair that `fchown` takes.
pub(super) fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// The time in the form of the kernel; access times are set to the same, or they would tell when the layer was unpacked.
pub(super) fn times(time: bld_oci::Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// A directory tree in which paths are visited one after the other: the directories on the way to the last one stay open.
#[derive(Debug)]
pub(super) struct Directories {
    base: PathBuf,
    root: Directory,
    open: Vec<(Vec<u8>, Directory)>,
    deep: Option<(ImagePath, Directory)>,
}

impl Directories {
    /// Begins at `base`.
    pub(super) fn new(base: &Path) -> Result<Directories, LayerError> {
        let root = Directory::open(base).map_err(|error| LayerError::Io {
            verb: "open",
            path: base.to_owned(),
            source: error.into(),
        })?;
        Ok(Directories { base: base.to_owned(), root, open: Vec::new(), deep: None })
    }

    /// The directory `path`.
    pub(super) fn enter(&mut self, path: &ImagePath) -> Result<&Directory, LayerError> {
        let common =
            self.open.iter().zip(path.components()).take_while(|((open, _), component)| open == component).count();
        self.open.truncate(common);
        for component in path.components().skip(common).take(OPEN_LEVELS - common) {
            let parent = self.open.last().map_or(&self.root, |(_, directory)| directory);
            let directory = Directory::open_at(parent, component).map_err(self.failed("open", path))?;
            self.open.push((component.to_vec(), directory));
        }
        let mut rest = path.components().skip(OPEN_LEVELS).peekable();
        if rest.peek().is_none() {
            return Ok(self.open.last().map_or(&self.root, |(_, directory)| directory));
        }
        if self.deep.as_ref().is_none_or(|(deep, _)| deep != path) {
            let mut directory: Option<Directory> = None;
            for component in rest {
                let parent = directory.as_ref().or(self.open.last().map(|(_, open)| open)).unwrap_or(&self.root);
                directory = Some(Directory::open_at(parent, component).map_err(self.failed("open", path))?);
            }
            self.deep = directory.map(|directory| (path.clone(), directory));
        }
        Ok(self.deep.as_ref().map_or(&self.root, |(_, directory)| directory))
    }

    /// The directory that `path` is in and its name there. The root has none: callers treat it first, and get its own `.` here.
    pub(super) fn parent<'path>(&mut self, path: &'path ImagePath) -> Result<(&Directory, &'path [u8]), LayerError> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((self.enter(&parent)?, name)),
            _ => Ok((&self.root, b".")),
        }
    }

    /// Closes `path` and what is below it, because it is about to be replaced.
    pub(super) fn forget(&mut self, path: &ImagePath) {
        let common =
            self.open.iter().zip(path.components()).take_while(|((open, _), component)| open == component).count();
        if common == path.components().count() {
            self.open.truncate(common.saturating_sub(1));
        }
        self.deep = None;
    }

    /// Where `path` is, for messages.
    pub(super) fn locate(&self, path: &ImagePath) -> PathBuf {
        locate(&self.base, path)
    }

    /// Turns an error number into an error that says what failed.
    pub(super) fn failed(&self, verb: &'static str, path: &ImagePath) -> impl Fn(Errno) -> LayerError + use<> {
        let path = self.locate(path);
        move |error| LayerError::Io { verb, path: path.clone(), source: error.into() }
    }
}

/// Opens regular files below one directory.
#[derive(Debug)]
pub(crate) struct FileOpener(Directories);

impl FileOpener {
    /// Files below `base`.
    pub(crate) fn new(base: &Path) -> std::io::Result<FileOpener> {
        Directories::new(base).map(FileOpener).map_err(into_io)
    }

    /// The file `path` and its size.
    pub(crate) fn open(&mut self, path: &ImagePath) -> std::io::Result<(File, u64)> {
        let (parent, name) = self.0.parent(path).map_err(into_io)?;
        let (file, found) = open_file(parent, name)?;
        Ok((file, found.st_size.unsigned_abs()))
    }
}

fn into_io(error: LayerError) -> std::io::Error {
    match error {
        LayerError::Io { source, .. } => source,
        other => std::io::Error::other(other),
    }
}

/// Where `path` of an image is if the image's root is `base`.
pub(super) fn locate(base: &Path, path: &ImagePath) -> PathBuf {
    base.join(OsStr::from_bytes(path.relative()))
}
