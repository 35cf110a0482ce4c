//! Removing a directory tree for good, whatever an image put into it: directories nobody may enter, nesting deeper than a path
//! can be long, links to anywhere. Never leaves the tree and never crosses a mount.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use bld_oci::ImagePath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::LayerError;
use super::directory::{Directory, change_mode_at, locate, look};

/// Deeper directories are first moved up, so that no tree can use up all descriptors.
const MAX_DEPTH: usize = 64;

/// Removes `path` and everything below it. A path that does not exist is removed already.
pub fn remove(path: &Path) -> Result<(), LayerError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(LayerError::Io { verb: "remove", path: path.to_owned(), source: Errno::INVAL.into() });
    };
    let parent_path = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = match Directory::open(parent_path) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(LayerError::Io { verb: "open", path: parent_path.to_owned(), source: error.into() }),
    };
    remove_at(&parent, name.as_encoded_bytes(), path)
}

/// Removes `name` in `directory`, which is at `path` for messages, and everything below it.
pub(super) fn remove_at(directory: impl AsFd, name: &[u8], path: &Path) -> Result<(), LayerError> {
    let directory = directory.as_fd();
    let failures = Failures { base: path };
    match unlink(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) if is_directory(directory, name) => {}
        Err(error) => return Err(failures.io("remove", &ImagePath::root())(error)),
    }
    empty(directory, name, &failures)?;
    unlink(directory, name, AtFlags::REMOVEDIR).map_err(failures.io("remove", &ImagePath::root()))
}

struct Failures<'path> {
    base: &'path Path,
}

impl Failures<'_> {
    fn io(&self, verb: &'static str, at: &ImagePath) -> impl Fn(Errno) -> LayerError + use<> {
        let path: PathBuf = if at.is_root() { self.base.to_owned() } else { locate(self.base, at) };
        move |error| match error {
            Errno::XDEV | Errno::BUSY => LayerError::Mounted { path: path.clone() },
            _ => LayerError::Io { verb, path: path.clone(), source: error.into() },
        }
    }
}

struct Level {
    directory: Directory,
    path: ImagePath,
    subdirectories: Vec<Vec<u8>>,
}

fn empty(parent: impl AsFd, name: &[u8], failures: &Failures<'_>) -> Result<(), LayerError> {
    let top = open(parent, name).map_err(failures.io("open", &ImagePath::root()))?;
    let mut levels = vec![level(top, ImagePath::root(), failures)?];
    let mut moved: u64 = 0;
    while let Some(depth) = levels.len().checked_sub(1) {
        let Some(name) = levels[depth].subdirectories.pop() else {
            let done = levels.pop();
            if let (Some(done), Some(above)) = (done, levels.last()) {
                let name = done.path.file_name().unwrap_or_default();
                unlink(above.directory.as_fd(), name, AtFlags::REMOVEDIR).map_err(failures.io("remove", &done.path))?;
            }
            continue;
        };
        let path = levels[depth].path.join(&name);
        if levels.len() >= MAX_DEPTH {
            let new_name = move_up(&levels[depth].directory, &name, &levels[0].directory, &mut moved)
                .map_err(failures.io("move", &path))?;
            levels[0].subdirectories.push(new_name);
            continue;
        }
        let directory = open(&levels[depth].directory, &name).map_err(failures.io("open", &path))?;
        levels.push(level(directory, path, failures)?);
    }
    Ok(())
}

/// Removes everything but directories and lists those.
fn level(directory: Directory, path: ImagePath, failures: &Failures<'_>) -> Result<Level, LayerError> {
    let mut subdirectories = Vec::new();
    for name in directory.names().map_err(failures.io("read", &path))? {
        match unlink(directory.as_fd(), &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) if is_directory(&directory, &name) => subdirectories.push(name),
            Err(error) => return Err(failures.io("remove", &path.join(&name))(error)),
        }
    }
    Ok(Level { directory, path, subdirectories })
}

fn move_up(from: &Directory, name: &[u8], to: &Directory, moved: &mut u64) -> Result<Vec<u8>, Errno> {
    loop {
        let new_name = format!("deep-{moved}").into_bytes();
        *moved += 1;
        match rustix::fs::renameat_with(from, name, to, new_name.as_slice(), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(new_name),
            Err(Errno::EXIST) => {}
            // Moving a directory changes its `..`, which takes write permission on itself.
            Err(Errno::ACCESS) if !writable(from, name)? => change_mode_at(from, name, FileType::Directory, 0o700)?,
            Err(error) => return Err(error),
        }
    }
}

fn writable(directory: &Directory, name: &[u8]) -> Result<bool, Errno> {
    Ok(Mode::from_raw_mode(look(directory, name)?.st_mode).contains(Mode::RWXU))
}

/// Opens a directory that is on the same mount, whatever its mode.
fn open(parent: impl AsFd, name: &[u8]) -> Result<Directory, Errno> {
    let parent = parent.as_fd();
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
        Ok(_) => {}
        // Kernels before 5.6, and sandboxes that know no newer system call: another file system can still be told apart.
        Err(Errno::NOSYS | Errno::PERM) => {
            if look(parent, name)?.st_dev != rustix::fs::fstat(parent)?.st_dev {
                return Err(Errno::XDEV);
            }
        }
        Err(error) => return Err(error),
    }
    let directory = Directory::open_at(parent, name)?;
    let found = rustix::fs::fstat(&directory)?;
    if !rustix::process::geteuid().is_root() && !Mode::from_raw_mode(found.st_mode).contains(Mode::RWXU) {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

fn unlink(directory: impl AsFd, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    rustix::fs::unlinkat(directory, name, flags)
}

fn is_directory(directory: impl AsFd, name: &[u8]) -> bool {
    look(directory, name).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}
