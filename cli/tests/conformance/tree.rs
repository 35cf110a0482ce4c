//! A root file system in memory: layers applied in order, by the rules of the OCI image specification.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::DefaultHasher;
use std::hash::Hasher;
use std::io::Read;

use super::differences::Difference;

/// Path to file; the root is the empty path, all others are relative, their components joined by `/`.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: BTreeMap<Vec<u8>, Node>,
    /// The number of the next file that is no hard link.
    next: usize,
}

#[derive(Clone, Debug)]
struct Node {
    /// Equal in the names of one file.
    inode: usize,
    kind: Kind,
    mode: u32,
    uid: u64,
    gid: u64,
    xattrs: BTreeMap<String, Vec<u8>>,
    /// The layer that brought this name: a whiteout hides only what is older.
    layer: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File(Content),
    Symlink(String),
    Fifo,
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
}

/// Enough of a file to see that two differ, and to show it when they are short.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    size: u64,
    hash: u64,
    start: Vec<u8>,
}

/// Names that buildah's sandbox leaves in the layer of a RUN; they are mount points, not part of the image.
const MOUNT_POINTS: [&str; 8] = [
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/lock",
    "/run/secrets",
];

impl Tree {
    /// Applies one layer.
    pub(super) fn apply(&mut self, layer: &mut dyn Read) {
        let number = self.next + 1;
        self.next = number;
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = clean(&entry.path_bytes());
            if path.is_empty() {
                // The root itself: there from the beginning, and not compared.
                continue;
            }
            let (parent, name) = split(&path);
            if name == b".wh..wh..opq" {
                let parent = parent.to_vec();
                self.remove_below(&parent, number);
            } else if let Some(hidden) = name.strip_prefix(b".wh.") {
                let hidden = join(parent, hidden);
                self.remove_older(&hidden, number);
            } else {
                self.add_parents(&path, number);
                self.add(path, &mut entry, number);
            }
        }
    }

    fn add<R: Read>(&mut self, path: Vec<u8>, entry: &mut tar::Entry<'_, R>, layer: usize) {
        let kind = entry.header().entry_type();
        if kind.is_hard_link() {
            let target = clean(&entry.link_name_bytes().unwrap());
            let shown = String::from_utf8_lossy(&target).into_owned();
            let linked = self.files.get(&target).unwrap_or_else(|| panic!("hard link to {shown}, which is not there"));
            let node = Node { layer, ..linked.clone() };
            self.remove(&path);
            self.files.insert(path, node);
            return;
        }
        let header = entry.header();
        let mode = header.mode().unwrap() & 0o7777;
        let (mut uid, mut gid) = (header.uid().unwrap(), header.gid().unwrap());
        let device = |header: &tar::Header| {
            (header.device_major().unwrap().unwrap_or(0), header.device_minor().unwrap().unwrap_or(0))
        };
        let (major, minor) =
            if kind.is_character_special() || kind.is_block_special() { device(header) } else { (0, 0) };
        let mut xattrs = BTreeMap::new();
        if let Some(extensions) = entry.pax_extensions().unwrap() {
            for extension in extensions {
                let extension = extension.unwrap();
                let key = extension.key().unwrap();
                match (key, key.strip_prefix("SCHILY.xattr.")) {
                    ("uid", _) => uid = extension.value().unwrap().parse().unwrap(),
                    ("gid", _) => gid = extension.value().unwrap().parse().unwrap(),
                    (_, Some(name)) => drop(xattrs.insert(name.to_owned(), extension.value_bytes().to_vec())),
                    _ => {}
                }
            }
        }
        let kind = match kind {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => {
                Kind::Symlink(String::from_utf8_lossy(&entry.link_name_bytes().unwrap()).into_owned())
            }
            tar::EntryType::Fifo => Kind::Fifo,
            tar::EntryType::Char => Kind::CharacterDevice(major, minor),
            tar::EntryType::Block => Kind::BlockDevice(major, minor),
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                Kind::File(Content::read(entry))
            }
            other => panic!("{}: no file type {other:?} is known in a layer", String::from_utf8_lossy(&path)),
        };
        let both_directories =
            kind == Kind::Directory && self.files.get(&path).is_some_and(|node| node.kind == Kind::Directory);
        if !both_directories {
            self.remove(&path);
        }
        self.next += 1;
        self.files.insert(path, Node { inode: self.next, kind, mode, uid, gid, xattrs, layer });
    }

    /// Directories a layer does not name are as a fresh `mkdir -p` makes them.
    fn add_parents(&mut self, path: &[u8], layer: usize) {
        let mut parent = split(path).0;
        while !parent.is_empty() && !self.files.contains_key(parent) {
            self.next += 1;
            let node = Node {
                inode: self.next,
                kind: Kind::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
                xattrs: BTreeMap::new(),
                layer,
            };
            self.files.insert(parent.to_vec(), node);
            parent = split(parent).0;
        }
    }

    fn remove(&mut self, path: &[u8]) {
        self.files.remove(path);
        self.files.retain(|other, _| !is_below(other, path));
    }

    fn remove_below(&mut self, path: &[u8], layer: usize) {
        self.files.retain(|other, node| !is_below(other, path) || node.layer >= layer);
    }

    fn remove_older(&mut self, path: &[u8], layer: usize) {
        self.files.retain(|other, node| !(other == path || is_below(other, path)) || node.layer >= layer);
    }

    /// Adds to `found` in what `self` (ours) differs from `other`.
    pub(super) fn compare(&self, other: &Self, found: &mut Vec<Difference>) {
        let paths: BTreeSet<&Vec<u8>> = self.files.keys().chain(other.files.keys()).filter(|p| !p.is_empty()).collect();
        let (our_groups, their_groups) = (self.hard_links(), other.hard_links());
        for path in paths {
            let shown = shown(path);
            match (self.files.get(path), other.files.get(path)) {
                (Some(ours), Some(theirs)) => {
                    compare_nodes(&shown, ours, theirs, found);
                    let (ours, theirs) = (our_groups.get(&ours.inode), their_groups.get(&theirs.inode));
                    push(found, &shown, "hardlinks", &ours, &theirs);
                }
                (Some(_), None) => push(found, &shown, "exists", &true, &false),
                (None, Some(_)) if MOUNT_POINTS.contains(&shown.as_str()) => {}
                (None, _) => push(found, &shown, "exists", &false, &true),
            }
        }
    }

    /// The names of every file that has more than one.
    fn hard_links(&self) -> BTreeMap<usize, Vec<String>> {
        let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (path, node) in &self.files {
            groups.entry(node.inode).or_default().push(shown(path));
        }
        groups.retain(|_, names| names.len() > 1);
        groups
    }
}

fn compare_nodes(path: &str, ours: &Node, theirs: &Node, found: &mut Vec<Difference>) {
    match (&ours.kind, &theirs.kind) {
        (Kind::File(ours), Kind::File(theirs)) => push(found, path, "content", ours, theirs),
        (Kind::Symlink(ours), Kind::Symlink(theirs)) => push(found, path, "target", ours, theirs),
        (ours, theirs) => push(found, path, "type", ours, theirs),
    }
    // The mode of a symbolic link means nothing, and archives differ in what they write.
    if !matches!(ours.kind, Kind::Symlink(_)) {
        push(found, path, "mode", &format!("{:04o}", ours.mode), &format!("{:04o}", theirs.mode));
    }
    push(found, path, "uid", &ours.uid, &theirs.uid);
    push(found, path, "gid", &ours.gid, &theirs.gid);
    push(found, path, "xattrs", &ours.xattrs, &theirs.xattrs);
}

fn push<T: PartialEq + std::fmt::Debug>(found: &mut Vec<Difference>, path: &str, what: &str, ours: &T, theirs: &T) {
    if ours != theirs {
        let mut values = format!("bld {ours:?}, buildah {theirs:?}");
        if values.len() > 400 {
            let end = values.floor_char_boundary(400);
            values.truncate(end);
            values.push('…');
        }
        found.push(Difference { field: format!("{path} {what}"), values });
    }
}

impl Content {
    fn read(content: &mut dyn Read) -> Self {
        const SHOWN: usize = 200;
        let mut hasher = DefaultHasher::new();
        let mut start = Vec::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = read_full(content, &mut buffer);
            if count == 0 {
                return Self { size, hash: hasher.finish(), start };
            }
            hasher.write(&buffer[..count]);
            size += count as u64;
            let wanted = SHOWN.saturating_sub(start.len()).min(count);
            start.extend_from_slice(&buffer[..wanted]);
        }
    }
}

/// The hasher sees the borders of what it is given, so they must not depend on the luck of a single read.
fn read_full(content: &mut dyn Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]).unwrap() {
            0 => break,
            count => filled += count,
        }
    }
    filled
}

fn clean(path: &[u8]) -> Vec<u8> {
    let components = path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".");
    components.collect::<Vec<_>>().join(&b'/')
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

fn is_below(path: &[u8], ancestor: &[u8]) -> bool {
    if ancestor.is_empty() {
        return !path.is_empty();
    }
    path.strip_prefix(ancestor).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The path as DIFFERENCES has it: on one line, whatever is in it.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let escaped: String = text
        .chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect::<Vec<_>>() } else { vec![letter] })
        .collect();
    format!("/{escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    fn file(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }

    fn link(builder: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }

    fn tree(layers: &[Vec<u8>]) -> Tree {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(&mut layer.as_slice());
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.files.keys().map(|path| shown(path)).collect()
    }

    #[test]
    fn whiteouts_hide_what_is_older_only() {
        let lower = layer(|tar| {
            file(tar, "d/old", "old");
            file(tar, "gone/below", "x");
            file(tar, "gonelike", "x");
        });
        let upper = layer(|tar| {
            file(tar, "d/new", "new");
            file(tar, "d/.wh..wh..opq", "");
            file(tar, ".wh.gone", "");
        });
        assert_eq!(names(&tree(&[lower, upper])), ["/d", "/d/new", "/gonelike"]);
    }

    #[test]
    fn a_replaced_directory_takes_its_content_along() {
        let lower = layer(|tar| file(tar, "thing/inside", "x"));
        let upper = layer(|tar| file(tar, "thing", "now a file"));
        assert_eq!(names(&tree(&[lower, upper])), ["/thing"]);
    }

    #[test]
    fn differences_are_seen() {
        let one = layer(|tar| {
            file(tar, "a", "same");
            link(tar, "b", "a");
            file(tar, "c", "one");
        });
        let two = layer(|tar| {
            file(tar, "a", "same");
            file(tar, "b", "same");
            file(tar, "c", "two");
            file(tar, "etc/hosts", "");
            file(tar, "extra", "");
        });
        let (one, two) = (tree(&[one]), tree(&[two]));
        let mut found = Vec::new();
        one.compare(&two, &mut found);
        let fields: Vec<&str> = found.iter().map(|difference| difference.field.as_str()).collect();
        assert_eq!(fields, ["/a hardlinks", "/b hardlinks", "/c content", "/etc exists", "/extra exists"]);
        found.clear();
        one.compare(&one, &mut found);
        assert!(found.is_empty());
    }
}
