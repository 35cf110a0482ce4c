//! What is in a directory, file by file, to be compared with another.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What is looked at besides names, types, modes, contents and hard links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// User and group.
    pub(super) owners: bool,
    /// Times of all but directories: unpacking something into one changes it.
    pub(super) times: bool,
    /// Extended attributes.
    pub(super) attributes: bool,
}

impl Look {
    /// Everything.
    pub(super) const ALL: Look = Look { owners: true, times: true, attributes: true };
}

/// Path relative to the root of the listing, to a description of the file.
pub(super) type Listing = BTreeMap<String, String>;

/// Lists all below `root`.
pub(super) fn listing(root: &Path, look: Look) -> Listing {
    let mut files = Listing::new();
    let mut first_names = HashMap::new();
    descend(root, "", look, &mut first_names, &mut files);
    files
}

/// Only what is in the directories `names` of the root.
pub(super) fn part(listing: &Listing, names: &[&str]) -> Listing {
    let below = |path: &str| names.contains(&path.split('/').nth(1).unwrap_or_default());
    listing.iter().filter(|(path, _)| below(path)).map(|(path, file)| (path.clone(), file.clone())).collect()
}

/// The first few differences, one line each.
pub(super) fn differences(title: &str, wanted: &Listing, found: &Listing) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, file) in wanted {
        match found.get(path) {
            Some(other) if other == file => {}
            Some(other) => lines.push(format!("{title}: {path} is\n   {other}, not\n   {file}")),
            None => lines.push(format!("{title}: {path} is missing")),
        }
    }
    lines.extend(
        found.keys().filter(|path| !wanted.contains_key(*path)).map(|path| format!("{title}: {path} is too many")),
    );
    lines.truncate(12);
    lines
}

fn descend(directory: &Path, prefix: &str, look: Look, first: &mut HashMap<(u64, u64), String>, files: &mut Listing) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().as_bytes().escape_ascii().to_string();
        let (path, real) = (format!("{prefix}/{name}"), entry.path());
        let status = std::fs::symlink_metadata(&real).unwrap();
        let original = first.entry((status.dev(), status.ino())).or_insert_with(|| path.clone()).clone();
        let mut text = format!("{} {:04o}", kind(&real, &status), status.mode() & 0o7777);
        if look.owners {
            text.push_str(&format!(" {}:{}", status.uid(), status.gid()));
        }
        if !status.is_dir() && original != path {
            text.push_str(&format!(" = {original}"));
        }
        if look.attributes {
            text.push_str(&attributes(&real));
        }
        if look.times && !status.is_dir() {
            text.push_str(&format!(" at {}", status.mtime()));
        }
        files.insert(path.clone(), text);
        if status.is_dir() {
            descend(&real, &path, look, first, files);
        }
    }
}

fn kind(path: &Path, status: &std::fs::Metadata) -> String {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = status.file_type();
    let device = || format!("{},{}", rustix::fs::major(status.rdev()), rustix::fs::minor(status.rdev()));
    if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", std::fs::read_link(path).unwrap().display())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_char_device() {
        format!("character device {}", device())
    } else if kind.is_block_device() {
        format!("block device {}", device())
    } else {
        let mut hasher = DefaultHasher::new();
        hasher.write(&std::fs::read(path).unwrap());
        format!("file of {} bytes ({:x})", status.len(), hasher.finish())
    }
}

/// ` name=value` of each, sorted by name.
fn attributes(path: &Path) -> String {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let mut found: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0_u8; 4096];
            let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
            format!(" {}={}", name.escape_ascii(), hex::encode(&value[..length]))
        })
        // What a container engine notes for itself.
        .filter(|text| !text.starts_with(" trusted.overlay.") && !text.starts_with(" user.rootlesscontainers"))
        .collect();
    found.sort();
    found.concat()
}
