//! Looking at real directories the plain way: the judge of what the layers' code says.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::view::merged::MergedTree;
use crate::view::{TreeView, ViewError, ViewKind};

/// A path as text that can be compared: what it is, mode, owner, time, attributes, bytes, first name of the same inode.
pub(super) type Listing = BTreeMap<String, String>;

/// Everything below a directory. Times of directories are left out if `directory_times` is not set.
pub(super) fn list(base: &Path, directory_times: bool) -> Listing {
    let mut listing = Listing::new();
    let mut inodes = BTreeMap::new();
    let mut pending = vec![base.to_owned()];
    while let Some(at) = pending.pop() {
        visit(base, &at, directory_times, &mut inodes, &mut listing);
        if fs::symlink_metadata(&at).unwrap().is_dir() {
            let mut names: Vec<PathBuf> = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            pending.extend(names.into_iter().rev());
        }
    }
    listing
}

fn visit(
    base: &Path,
    at: &Path,
    directory_times: bool,
    inodes: &mut BTreeMap<(u64, u64), String>,
    listing: &mut Listing,
) {
    let found = fs::symlink_metadata(at).unwrap();
    let name = String::from_utf8_lossy(at.strip_prefix(base).unwrap().as_os_str().as_bytes()).into_owned();
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("symlink {}", fs::read_link(at).unwrap().display())
    } else if kind.is_file() {
        let first = inodes.entry((found.dev(), found.ino())).or_insert_with(|| name.clone());
        let first = if *first == name { String::new() } else { format!(" = {first}") };
        format!("file {} {}{first}", found.len(), blake3::hash(&fs::read(at).unwrap()))
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else {
        let kind = if kind.is_block_device() { 'b' } else { 'c' };
        format!("{kind} {} {}", rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()))
    };
    let time = if kind.is_dir() && !directory_times { 0 } else { found.mtime() };
    let attributes = attributes(at);
    let mode = found.mode() & 0o7777;
    listing.insert(name, format!("{what} {mode:o} {}:{} {time} {attributes:?}", found.uid(), found.gid()));
}

fn attributes(at: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = [0; 4096];
    let length = rustix::fs::llistxattr(at, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = [0; 4096];
            let length = rustix::fs::lgetxattr(at, name, &mut value).unwrap();
            (String::from_utf8_lossy(name).into_owned(), value[..length].to_vec())
        })
        .collect()
}

/// The same listing of a view.
pub(super) fn list_view(view: &MergedTree) -> Listing {
    let mut listing = Listing::new();
    let mut groups: BTreeMap<u64, String> = BTreeMap::new();
    view.walk::<ViewError>(&mut |path, node| {
        let mut time = node.metadata.mtime.seconds;
        let what = match &node.kind {
            ViewKind::Directory => {
                time = 0;
                "directory".to_owned()
            }
            ViewKind::Symlink { target } => format!("symlink {}", String::from_utf8_lossy(target)),
            ViewKind::File { size, link_group } => {
                let name = String::from_utf8_lossy(path.relative()).into_owned();
                let first = match link_group {
                    Some(group) => groups.entry(*group).or_insert_with(|| name.clone()).clone(),
                    None => name.clone(),
                };
                let first = if first == name { String::new() } else { format!(" = {first}") };
                let mut file = view.open(path)?;
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
                assert_eq!(blake3::hash(&bytes).as_bytes(), &view.content(path)?.0);
                format!("file {size} {}{first}", blake3::hash(&bytes))
            }
            ViewKind::CharDevice { major, minor } => format!("c {major} {minor}"),
            ViewKind::BlockDevice { major, minor } => format!("b {major} {minor}"),
            ViewKind::Fifo | ViewKind::Socket => "fifo".to_owned(),
        };
        assert_eq!(view.node(path)?.as_ref(), Some(&node));
        let metadata = &node.metadata;
        let attributes: BTreeMap<String, Vec<u8>> = metadata
            .xattrs
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.clone()))
            .collect();
        let (mode, uid, gid) = (metadata.mode, metadata.uid, metadata.gid);
        listing.insert(
            String::from_utf8_lossy(path.relative()).into_owned(),
            format!("{what} {mode:o} {uid}:{gid} {time} {attributes:?}"),
        );
        Ok(())
    })
    .unwrap();
    listing
}

/// An overlay mount that goes away with its test.
pub(super) struct Mount(PathBuf);

impl Mount {
    /// Layers bottom to top; with an upper and a work directory it can be written to.
    pub(super) fn new(at: &Path, layers: &[&Path], upper: Option<(&Path, &Path)>) -> Mount {
        fs::create_dir_all(at).unwrap();
        let lower: Vec<String> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
        let mut options = format!("lowerdir={},redirect_dir=off,index=off,metacopy=off", lower.join(":"));
        if let Some((upper, work)) = upper {
            options = format!("{options},upperdir={},workdir={}", upper.display(), work.display());
        }
        let options = CString::new(options).unwrap();
        rustix::mount::mount("overlay", at, "overlay", MountFlags::empty(), options.as_c_str())
            .expect("overlay can be mounted by root");
        Mount(at.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}
