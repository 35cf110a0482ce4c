//! Build contexts: a local directory as a [`TreeView`].
//!
//! What an ignore file excludes does not exist here, except that a directory comes back when a `!` pattern brings back something in
//! it. Owners are 0:0. Nothing is read before somebody asks for it, and nothing is read twice: listings, statuses and content hashes
//! are remembered for the life of the tree, so that key and copy see one and the same context. No symbolic link is ever followed by
//! the kernel; [`crate::view::resolve`] follows them inside the root.

pub(crate) mod beneath;
mod ignore_file;
mod memo;
mod permissions;
mod rules;
pub mod store_memo;
mod watch;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

use bld_cache::store::KnownFile;
use bld_cache::tree::ContentHash;
use bld_oci::ImagePath;
use rayon::prelude::*;
use rustix::fs::FileType;
use rustix::fs::Statx;

pub use beneath::FileStat;
pub use ignore_file::IgnoreFile;
pub use ignore_file::IgnoreFileError;
pub use ignore_file::ignore_file;
pub use memo::HashMemo;
pub use memo::NoMemo;
pub use permissions::ContextPermissions;
pub use rules::Exclusion;
pub use rules::Exclusions;
pub(crate) use rules::Rules;

use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::Wanted;

/// A local directory, seen as a build context.
pub struct ContextTree {
    root: OwnedFd,
    path: PathBuf,
    rules: Rules,
    permissions: ContextPermissions,
    memo: Arc<dyn HashMemo>,
    listings: RwLock<HashMap<ImagePath, Arc<Listing>>>,
    nodes: RwLock<HashMap<ImagePath, Option<Found>>>,
    contents: RwLock<HashMap<ImagePath, Content>>,
    links: Mutex<HashMap<(u64, u64), u64>>,
}

/// A directory with so many names is looked at by several threads.
const MANY_NAMES: usize = 512;

/// What a directory holds, sorted by name.
type Listing = Vec<(Vec<u8>, Found)>;

/// A file of the context.
#[derive(Debug, Clone)]
struct Found {
    node: ViewNode,
    stat: FileStat,
    /// What it holds, if that was known already.
    hash: Option<ContentHash>,
}

/// What a file held.
#[derive(Debug, Clone, Copy)]
struct Content {
    hash: ContentHash,
    /// As long as it has this status, it holds this.
    is_settled: bool,
}

impl std::fmt::Debug for ContextTree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ContextTree").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ContextTree {
    /// Opens the directory `path`; the links in the path itself are the user's and are followed.
    pub fn open(path: &Path, ignore: Option<IgnoreFile>, memo: Arc<dyn HashMemo>) -> Result<ContextTree, ViewError> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|error| ViewError::Io {
            verb: "open the build context",
            path: path.to_owned(),
            source: error.into(),
        })?;
        Ok(ContextTree {
            root,
            path: path.to_owned(),
            rules: Rules::new(ignore),
            permissions: ContextPermissions::Keep,
            memo,
            listings: RwLock::default(),
            nodes: RwLock::default(),
            contents: RwLock::default(),
            links: Mutex::default(),
        })
    }

    /// The same directory with permissions as asked for. What was remembered of its files stays true: that goes by what is on disk.
    #[must_use]
    pub fn with_permissions(self, permissions: ContextPermissions) -> ContextTree {
        ContextTree { permissions, ..self }
    }

    /// The line of the ignore file because of which `path` does not exist here.
    pub fn excluded_by(&self, path: &ImagePath) -> Option<Exclusion> {
        self.rules.excluded_by(path)
    }

    fn failed(&self, verb: &'static str, path: &ImagePath, source: io::Error) -> ViewError {
        ViewError::Io { verb, path: self.path.join(Path::new(std::ffi::OsStr::from_bytes(path.relative()))), source }
    }

    fn link_group(&self, stat: &Statx) -> u64 {
        let stat = FileStat::of(stat);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let next = links.len() as u64;
        *links.entry((stat.device, stat.inode)).or_insert(next)
    }

    /// Looks at one name of an open directory, which is `path`, whatever the rules say.
    fn inspect(&self, directory: BorrowedFd<'_>, name: &[u8], path: &ImagePath) -> io::Result<Option<Found>> {
        let Some(stat) = beneath::status_at(directory, name)? else { return Ok(None) };
        let file_stat = FileStat::of(&stat);
        let mut kind = beneath::kind(directory, name, &stat, || self.link_group(&stat))?;
        let known = match kind {
            ViewKind::File { .. } => self.memo.lookup(path, &file_stat),
            _ => None,
        };
        let may_have_xattrs = self.permissions == ContextPermissions::Keep && !known.is_some_and(|known| known.is_bare);
        let xattrs = match kind {
            ViewKind::Directory | ViewKind::File { .. } if may_have_xattrs => {
                beneath::portable_xattrs(directory, name)?
            }
            _ => std::collections::BTreeMap::new(),
        };
        let mut metadata = beneath::context_metadata(&stat, xattrs);
        self.permissions.apply(&mut kind, &mut metadata);
        Ok(Some(Found { node: ViewNode { kind, metadata }, stat: file_stat, hash: known.map(|known| known.hash) }))
    }

    /// Whether the directory `path`, excluded by itself, exists because something in it does.
    fn holds_included(&self, path: &ImagePath) -> Result<bool, ViewError> {
        if !self.rules.may_include_below(path) {
            return Ok(false);
        }
        Ok(!self.listing(path)?.is_empty())
    }

    fn find(&self, path: &ImagePath) -> Result<Option<Found>, ViewError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let found = self.inspect(self.root.as_fd(), b".", path);
            return found.map_err(|error| self.failed("look at", path, error));
        };
        if let Some(listing) = self.known_listing(&parent) {
            let found = listing.binary_search_by(|(other, _)| other.as_slice().cmp(name));
            return Ok(found.ok().map(|index| listing[index].1.clone()));
        }
        if let Some(known) = self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(known.clone());
        }
        let found = self.find_on_disk(path, &parent, name)?;
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), found.clone());
        Ok(found)
    }

    fn find_on_disk(&self, path: &ImagePath, parent: &ImagePath, name: &[u8]) -> Result<Option<Found>, ViewError> {
        let excluded = self.rules.excludes(path);
        if excluded && !self.rules.may_include_below(path) {
            return Ok(None);
        }
        let directory = match beneath::open_directory(self.root.as_fd(), parent.relative()) {
            Ok(directory) => directory,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(self.failed("open", parent, error)),
        };
        let found = self.inspect(directory.as_fd(), name, path).map_err(|error| self.failed("look at", path, error))?;
        match found {
            Some(found) if excluded => {
                let kept = found.node.kind == ViewKind::Directory && self.holds_included(path)?;
                Ok(kept.then_some(found))
            }
            found => Ok(found),
        }
    }

    fn known_listing(&self, path: &ImagePath) -> Option<Arc<Listing>> {
        self.listings.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn listing(&self, path: &ImagePath) -> Result<Arc<Listing>, ViewError> {
        if let Some(known) = self.known_listing(path) {
            return Ok(known);
        }
        let listing = Arc::new(self.read_listing(path)?);
        self.listings.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), Arc::clone(&listing));
        Ok(listing)
    }

    fn read_listing(&self, path: &ImagePath) -> Result<Listing, ViewError> {
        let directory = match beneath::open_directory(self.root.as_fd(), path.relative()) {
            Ok(directory) => directory,
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("open", path, error)),
        };
        let mut names = list_names(&directory).map_err(|error| self.failed("list", path, error))?;
        names.sort_unstable();
        let look = |(name, file_type): (Vec<u8>, FileTypeHint)| {
            let found = self.listed(directory.as_fd(), &path.join(&name), &name, file_type);
            found.map(|found| Some((name, found?))).transpose()
        };
        if names.len() < MANY_NAMES {
            return names.into_iter().filter_map(look).collect();
        }
        names.into_par_iter().with_min_len(MANY_NAMES / 4).filter_map(look).collect()
    }

    /// What is at `path`, found in the listing of its open directory under `name`; `None` if the rules take it away.
    fn listed(
        &self,
        directory: BorrowedFd<'_>,
        path: &ImagePath,
        name: &[u8],
        file_type: FileTypeHint,
    ) -> Result<Option<Found>, ViewError> {
        let excluded = self.rules.excludes(path);
        let could_hold = matches!(file_type, FileTypeHint::Directory | FileTypeHint::Unknown);
        if excluded && !(could_hold && self.rules.may_include_below(path)) {
            return Ok(None);
        }
        let found = self.inspect(directory, name, path).map_err(|error| self.failed("look at", path, error))?;
        // A file may vanish between the listing and the look: then it never was there.
        let Some(found) = found else { return Ok(None) };
        if excluded && !(found.node.kind == ViewKind::Directory && self.holds_included(path)?) {
            return Ok(None);
        }
        Ok(Some(found))
    }

    fn open_unchanged(&self, path: &ImagePath) -> Result<(File, FileStat), ViewError> {
        let found = self.find(path)?.ok_or_else(|| self.failed("open", path, io::ErrorKind::NotFound.into()))?;
        if !matches!(found.node.kind, ViewKind::File { .. }) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(self.failed("open", path, error));
        }
        let (file, stat) = match beneath::open_file(self.root.as_fd(), path.relative()) {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Err(ViewError::Changed { path: path.clone() }),
            Err(error) => return Err(self.failed("open", path, error)),
        };
        if stat != found.stat {
            return Err(ViewError::Changed { path: path.clone() });
        }
        Ok((file, stat))
    }

    fn look_into(&self, path: &ImagePath) -> Result<Content, ViewError> {
        if let Some(hash) = self.find(path)?.and_then(|found| found.hash) {
            return Ok(Content { hash, is_settled: true });
        }
        if let Some(known) = self.contents.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(*known);
        }
        let (mut file, stat) = self.open_unchanged(path)?;
        // Asked before the first byte is read: who writes later without opening the file anew has it open now.
        let is_settled = self.memo.is_settled(&stat) && watch::shows_changes(&file, &stat);
        let is_bare = is_settled && watch::shows_attribute_changes(&file) && beneath::is_bare(&file);
        let hash = hash_exactly(&mut file, stat.size).map_err(|error| self.failed("read", path, error))?;
        let after = beneath::status(&file).map_err(|error| self.failed("look at", path, error))?;
        let Some(hash) = hash.filter(|_| FileStat::of(&after) == stat) else {
            return Err(ViewError::Changed { path: path.clone() });
        };
        if is_settled {
            self.memo.insert(path, &stat, KnownFile { hash, is_bare });
        }
        let content = Content { hash, is_settled };
        self.contents.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), content);
        Ok(content)
    }
}

impl TreeView for ContextTree {
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError> {
        Ok(self.find(path)?.map(|found| found.node))
    }

    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        if !path.is_root() && self.rules.excludes(path) && !self.rules.may_include_below(path) {
            return Ok(Vec::new());
        }
        Ok(self.listing(path)?.iter().map(|(name, _)| name.clone()).collect())
    }

    fn entries(&self, path: &ImagePath, is_wanted: &Wanted<'_>) -> Result<Vec<(Vec<u8>, ViewNode)>, ViewError> {
        if !path.is_root() && self.rules.excludes(path) && !self.rules.may_include_below(path) {
            return Ok(Vec::new());
        }
        let listing = self.listing(path)?;
        let wanted = listing.iter().filter(|(name, _)| is_wanted(name));
        Ok(wanted.map(|(name, found)| (name.clone(), found.node.clone())).collect())
    }

    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError> {
        Ok(self.look_into(path)?.hash)
    }

    fn is_settled(&self, path: &ImagePath) -> Result<bool, ViewError> {
        Ok(self.look_into(path)?.is_settled)
    }

    fn open(&self, path: &ImagePath) -> Result<File, ViewError> {
        Ok(self.open_unchanged(path)?.0)
    }
}

impl Exclusions for ContextTree {
    fn excluded_by(&self, path: &ImagePath) -> Option<Exclusion> {
        ContextTree::excluded_by(self, path)
    }
}

/// Errors that mean "there is no such path without links in it".
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FileTypeHint {
    Directory,
    Other,
    Unknown,
}

fn list_names(directory: &OwnedFd) -> io::Result<Vec<(Vec<u8>, FileTypeHint)>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let hint = match entry.file_type() {
            FileType::Directory => FileTypeHint::Directory,
            FileType::Unknown => FileTypeHint::Unknown,
            _ => FileTypeHint::Other,
        };
        names.push((name.to_vec(), hint));
    }
    Ok(names)
}

/// The hash of all bytes of `file` if there are exactly `size` of them. Never reads further: some files do not end.
fn hash_exactly(file: &mut File, size: u64) -> io::Result<Option<ContentHash>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; usize::try_from(size.saturating_add(1)).unwrap_or(usize::MAX).min(256 * 1024)];
    let mut total = 0_u64;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
                if total > size {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((total == size).then(|| ContentHash(*hasher.finalize().as_bytes())))
}

#[cfg(test)]
mod tests;
