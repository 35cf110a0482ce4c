//! File system helpers: locks, names drawn at random, renames that replace nothing, removal of any tree.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::CWD;
use rustix::fs::FlockOperation;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::Context as _;
use crate::error::StoreError;

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("draw random bytes for", Path::new("a new name")),
        }
    }
    Ok(bytes)
}

/// A fresh name: 32 hex digits.
pub(crate) fn random_name() -> Result<String, StoreError> {
    Ok(hex::encode(random::<16>()?))
}

/// Creates a directory only its owner can enter. One that is there already is fine.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.context("create", path),
    }
}

/// Opens a lock file, creating it if need be.
pub(crate) fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).context("open", path)
}

/// Waits for a lock.
pub(crate) fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<(), StoreError> {
    loop {
        match rustix::fs::flock(file, operation) {
            Err(Errno::INTR) => {}
            result => return result.context("lock", path),
        }
    }
}

/// Takes an exclusive lock unless somebody else holds it.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    try_to(file, path, FlockOperation::NonBlockingLockExclusive)
}

/// Takes a shared lock unless somebody else holds an exclusive one.
pub(crate) fn try_share(file: &File, path: &Path) -> Result<bool, StoreError> {
    try_to(file, path, FlockOperation::NonBlockingLockShared)
}

fn try_to(file: &File, path: &Path, operation: FlockOperation) -> Result<bool, StoreError> {
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("lock", path),
        }
    }
}

/// Whether `path` still names this open file.
pub(crate) fn is_at(file: &File, path: &Path) -> Result<bool, StoreError> {
    let open = file.metadata().context("inspect", path)?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.ino() == open.ino() && named.dev() == open.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("inspect", path),
    }
}

/// Renames unless something is at `to` already: then nothing happens and the answer is `false`.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => rename_new_plainly(from, to),
        Err(error) => Err(error).context("rename", from),
    }
}

/// [`rename_new`] where the file system does not offer it: files by a hard link, directories because a plain rename replaces
/// none but an empty one.
fn rename_new_plainly(from: &Path, to: &Path) -> Result<bool, StoreError> {
    if fs::symlink_metadata(from).context("inspect", from)?.is_dir() {
        return match fs::rename(from, to) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {
                Ok(false)
            }
            Err(error) => Err(error).context("rename", from),
        };
    }
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).context("remove", from).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).context("link", from),
    }
}

/// Moves a directory whose own mode may forbid it: to give a directory another parent one must be able to write to it.
pub(crate) fn move_directory(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match rename_new(from, to) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(from).context("inspect", from)?.permissions();
            fs::set_permissions(from, Permissions::from_mode(0o700)).context("change the mode of", from)?;
            let moved = rename_new(from, to);
            let there = if matches!(moved, Ok(true)) { to } else { from };
            fs::set_permissions(there, mode).context("change the mode of", there)?;
            moved
        }
        result => result,
    }
}

/// Removes a file or a whole tree, whatever the modes in it. What is gone already is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let Some(metadata) = gone(fs::symlink_metadata(path)).context("inspect", path)? else { return Ok(()) };
    if !metadata.is_dir() {
        return gone(fs::remove_file(path)).context("remove", path).map(|_| ());
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            gone(fs::remove_dir_all(path)).context("remove", path).map(|_| ())
        }
        result => gone(result).context("remove", path).map(|_| ()),
    }
}

/// Removes a file; says whether it was there.
pub(crate) fn remove_file(path: &Path) -> Result<bool, StoreError> {
    gone(fs::remove_file(path)).context("remove", path).map(|removed| removed.is_some())
}

/// `None` for what does not exist.
pub(crate) fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a directory; none if there is no directory.
pub(crate) fn names(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let Some(entries) = gone(fs::read_dir(path)).context("list", path)? else { return Ok(Vec::new()) };
    entries.map(|entry| entry.map(|entry| entry.file_name()).context("list", path)).collect()
}

/// Gives the owner all rights on every directory of a tree about to be removed.
fn open_up(path: &Path) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(0o700)).context("change the mode of", path)?;
    for name in names(path)? {
        let child = path.join(name);
        if gone(fs::symlink_metadata(&child)).context("inspect", &child)?.is_some_and(|metadata| metadata.is_dir()) {
            open_up(&child)?;
        }
    }
    Ok(())
}
