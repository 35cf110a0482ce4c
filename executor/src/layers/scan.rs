//! The index of a finished upper directory: what changed on top of the lower layers, and nothing that did not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bld_cache::tree::{ContentHash, Node, NodeKind, Tree};
use bld_oci::layer::Metadata;
use bld_oci::{ImagePath, Timestamp};
use rayon::Scope;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::attributes::{self, Attributes, Interpreted};
use super::content::{BLOCK, hash};
use super::directory::{Directory, locate, look, open_file};
use super::{LayerError, LayerMode, Note, Ownership};
use crate::view::{TreeView, ViewKind, ViewNode};

/// What a scan found.
#[derive(Debug)]
pub struct Scanned {
    /// The change set.
    pub tree: Tree,
    /// What was left out, in tree order.
    pub notes: Vec<Note>,
}

/// Reads the layer directory `directory`, to which nobody writes any more, as a change set on top of `lower`.
///
/// Files are hashed on all threads of rayon's pool. What overlayfs copied up without a change is left out, and so are whiteouts and
/// opaque markers that hide nothing.
pub fn scan(directory: &Path, lower: &dyn TreeView, mode: LayerMode) -> Result<Scanned, LayerError> {
    let scanner = Scanner {
        base: directory,
        lower,
        mode,
        found: Mutex::default(),
        first_error: Mutex::default(),
        inodes: Mutex::default(),
    };
    let root = Directory::open(directory).map_err(scanner.failed("open", &ImagePath::root()))?;
    rayon::scope(|scope| scanner.directory(scope, &Arc::new(root), &ImagePath::root(), false));
    if let Some(error) = into_inner(scanner.first_error) {
        return Err(error);
    }
    let (mut found, mut notes) = into_inner(scanner.found);
    found.sort_unstable_by(|left: &Found, right: &Found| left.path.cmp(&right.path));
    notes.sort_by(|left: &(ImagePath, Note), right| left.0.cmp(&right.0));
    let tree = Tree::from_sorted(assemble(found, &into_inner(scanner.inodes)))
        .map_err(|source| LayerError::Tree { source })?;
    Ok(Scanned { tree, notes: notes.into_iter().map(|(_, note)| note).collect() })
}

/// Files of a directory that are looked at in one go: enough that handing them to another thread costs nothing in comparison.
const BATCH: usize = 64;

type Collected = (Vec<Found>, Vec<(ImagePath, Note)>);

struct Scanner<'scan> {
    base: &'scan Path,
    lower: &'scan dyn TreeView,
    mode: LayerMode,
    found: Mutex<Collected>,
    first_error: Mutex<Option<LayerError>>,
    /// Hashes of files with several names, by inode number; `None` while another thread hashes.
    inodes: Mutex<HashMap<u64, Option<ContentHash>>>,
}

struct Found {
    path: ImagePath,
    node: Node,
    /// For a file with several names.
    inode: Option<u64>,
    /// For what is the same in the lower layers.
    unchanged: bool,
}

impl<'scan> Scanner<'scan> {
    /// Indexes the open directory `path`: itself, its files in batches, its directories each as a task. `hidden` says that the lower
    /// layers do not show through where it is.
    fn directory<'scope>(
        &'scope self,
        scope: &Scope<'scope>,
        directory: &Arc<Directory>,
        path: &ImagePath,
        hidden: bool,
    ) where
        'scan: 'scope,
    {
        if self.stopped() {
            return;
        }
        let result = self.own_node(directory, path, hidden).and_then(|hides| {
            let names = directory.names().map_err(self.failed("read", path))?;
            Ok((hides, names))
        });
        let (hides, mut names) = match result {
            Ok(result) => result,
            Err(error) => return self.fail(error),
        };
        while names.len() > BATCH {
            let batch = names.split_off(names.len() - BATCH);
            let (directory, path) = (Arc::clone(directory), path.clone());
            scope.spawn(move |scope| self.batch(scope, &directory, &path, hides, batch));
        }
        self.batch(scope, directory, path, hides, names);
    }

    /// Adds the node of a directory and answers whether the lower layers are hidden in it.
    fn own_node(&self, directory: &Directory, path: &ImagePath, hidden: bool) -> Result<bool, LayerError> {
        let failed = |verb| self.failed(verb, path);
        let stat = directory.stat().map_err(failed("look at"))?;
        let found = attributes::read(directory).map_err(|source| self.error("read the attributes of", path, source))?;
        let own = self.interpret(path, found)?;
        let lower = if hidden { None } else { self.lower.node(path)? };
        let over_directory = matches!(lower, Some(ViewNode { kind: ViewKind::Directory, .. }));
        // overlayfs marks every new directory, to save itself a look; only what hides something is a change.
        let opaque = own.opaque && over_directory && !self.lower.children(path)?.is_empty();
        let metadata = self.metadata(&stat, own.image, lower.as_ref());
        let unchanged = !opaque
            && over_directory
            && lower.is_some_and(|lower| Metadata { mtime: metadata.mtime, ..lower.metadata } == metadata);
        let node = Node { kind: NodeKind::Directory { opaque }, metadata };
        self.add(vec![Found { path: path.clone(), node, inode: None, unchanged }], Vec::new());
        Ok(own.opaque || !over_directory)
    }

    fn batch<'scope>(
        &'scope self,
        scope: &Scope<'scope>,
        directory: &Arc<Directory>,
        path: &ImagePath,
        hidden: bool,
        names: Vec<Vec<u8>>,
    ) where
        'scan: 'scope,
    {
        let mut found = Vec::with_capacity(names.len());
        let mut notes = Vec::new();
        let mut buffer = Vec::new();
        for name in names {
            if self.stopped() {
                return;
            }
            let path = path.join(&name);
            match self.entry(directory, &path, &name, hidden, &mut buffer) {
                Ok(Entry::Node(node)) => found.push(*node),
                Ok(Entry::Nothing) => {}
                Ok(Entry::Socket) => notes.push((path.clone(), Note::SocketSkipped { path })),
                Ok(Entry::Directory) => {
                    let parent = Arc::clone(directory);
                    scope.spawn(move |scope| match Directory::open_at(&*parent, &name) {
                        Ok(opened) => {
                            drop(parent);
                            self.directory(scope, &Arc::new(opened), &path, hidden);
                        }
                        Err(error) => self.fail(self.failed("open", &path)(error)),
                    });
                }
                Err(error) => return self.fail(error),
            }
        }
        self.add(found, notes);
    }

    fn entry(
        &self,
        directory: &Directory,
        path: &ImagePath,
        name: &[u8],
        hidden: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Entry, LayerError> {
        let stat = look(directory, name).map_err(self.failed("look at", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => return Ok(Entry::Directory),
            FileType::Socket => return Ok(Entry::Socket),
            _ => {}
        }
        let lower = if hidden { None } else { self.lower.node(path)? };
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if kind == FileType::CharacterDevice && (major, minor) == (0, 0) {
            if lower.is_none() {
                return Ok(Entry::Nothing);
            }
            let node = Node { kind: NodeKind::Whiteout, metadata: super::whiteout_metadata() };
            return Ok(Entry::Node(Box::new(Found { path: path.clone(), node, inode: None, unchanged: false })));
        }
        if kind == FileType::RegularFile {
            return self.file(directory, path, name, lower.as_ref(), buffer);
        }
        let found = attributes::read_at(directory, name)
            .map_err(|source| self.error("read the attributes of", path, source))?;
        let metadata = self.metadata(&stat, self.interpret(path, found)?.image, lower.as_ref());
        let kind = match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(self.failed("read", path))?;
                NodeKind::Symlink { target: target.into_bytes() }
            }
            FileType::CharacterDevice => NodeKind::CharDevice { major, minor },
            FileType::BlockDevice => NodeKind::BlockDevice { major, minor },
            _ => NodeKind::Fifo,
        };
        let unchanged = lower.is_some_and(|lower| lower.metadata == metadata && same_kind(&lower.kind, &kind));
        Ok(Entry::Node(Box::new(Found { path: path.clone(), node: Node { kind, metadata }, inode: None, unchanged })))
    }

    fn file(
        &self,
        directory: &Directory,
        path: &ImagePath,
        name: &[u8],
        lower: Option<&ViewNode>,
        buffer: &mut Vec<u8>,
    ) -> Result<Entry, LayerError> {
        let (mut file, stat) = open_file(directory, name).map_err(self.failed("open", path))?;
        let found = attributes::read(&file).map_err(|source| self.error("read the attributes of", path, source))?;
        let metadata = self.metadata(&stat, self.interpret(path, found)?.image, lower);
        let inode = (stat.st_nlink > 1).then_some(stat.st_ino);
        let first_name = inode.is_none_or(|inode| {
            let mut inodes = self.inodes.lock().unwrap_or_else(PoisonError::into_inner);
            if inodes.contains_key(&inode) {
                return false;
            }
            inodes.insert(inode, None);
            true
        });
        let size = stat.st_size.unsigned_abs();
        let mut content = ContentHash([0; 32]);
        if first_name {
            buffer.resize(BLOCK, 0);
            let (hash, read) = hash(&mut file, buffer).map_err(|source| self.error("read", path, source))?;
            if read != size {
                return Err(LayerError::Changed { path: locate(self.base, path) });
            }
            content = hash;
        }
        if let (Some(inode), true) = (inode, first_name) {
            self.inodes.lock().unwrap_or_else(PoisonError::into_inner).insert(inode, Some(content));
        }
        let unchanged = match lower {
            Some(ViewNode { kind: ViewKind::File { size: lower_size, link_group: None }, metadata: lower })
                if inode.is_none() && *lower_size == size && *lower == metadata =>
            {
                self.lower.content(path)? == content
            }
            _ => false,
        };
        let node = Node { kind: NodeKind::File { size, content, hardlink: None }, metadata };
        Ok(Entry::Node(Box::new(Found { path: path.clone(), node, inode, unchanged })))
    }

    fn metadata(&self, stat: &Stat, xattrs: Attributes, lower: Option<&ViewNode>) -> Metadata {
        let (uid, gid) = match self.mode.ownership {
            Ownership::Real => (stat.st_uid, stat.st_gid),
            Ownership::Recorded => lower.map_or((0, 0), |lower| (lower.metadata.uid, lower.metadata.gid)),
        };
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mtime = Timestamp { seconds: stat.st_mtime, nanoseconds };
        Metadata { mode: stat.st_mode & 0o7777, uid, gid, mtime, xattrs }
    }

    fn interpret(&self, path: &ImagePath, on_disk: Attributes) -> Result<Interpreted, LayerError> {
        let own = self.mode.flavor.interpret(on_disk);
        match own.feature {
            Some(feature) => Err(LayerError::OverlayFeature { path: locate(self.base, path), feature }),
            None => Ok(own),
        }
    }

    fn add(&self, mut entries: Vec<Found>, mut notes: Vec<(ImagePath, Note)>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.append(&mut entries);
        found.1.append(&mut notes);
    }

    fn fail(&self, error: LayerError) {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn stopped(&self) -> bool {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn failed(&self, verb: &'static str, path: &ImagePath) -> impl Fn(Errno) -> LayerError + use<> {
        let path = locate(self.base, path);
        move |error| LayerError::Io { verb, path: path.clone(), source: error.into() }
    }

    fn error(&self, verb: &'static str, path: &ImagePath, source: std::io::Error) -> LayerError {
        LayerError::Io { verb, path: locate(self.base, path), source }
    }
}

enum Entry {
    Node(Box<Found>),
    Directory,
    Socket,
    Nothing,
}

fn same_kind(lower: &ViewKind, upper: &NodeKind) -> bool {
    match (lower, upper) {
        (ViewKind::Symlink { target: lower }, NodeKind::Symlink { target: upper }) => lower == upper,
        (
            ViewKind::CharDevice { major: lower_major, minor: lower_minor },
            NodeKind::CharDevice { major: upper_major, minor: upper_minor },
        )
        | (
            ViewKind::BlockDevice { major: lower_major, minor: lower_minor },
            NodeKind::BlockDevice { major: upper_major, minor: upper_minor },
        ) => (lower_major, lower_minor) == (upper_major, upper_minor),
        (ViewKind::Fifo, NodeKind::Fifo) => true,
        _ => false,
    }
}

/// Joins the names of one file and leaves out what did not change. A directory without a change of its own stays if something in
/// it changed, because archives need it; that does not hold for `/`.
fn assemble(mut found: Vec<Found>, inodes: &HashMap<u64, Option<ContentHash>>) -> Vec<(ImagePath, Node)> {
    let mut first_names: HashMap<u64, (ImagePath, Metadata)> = HashMap::new();
    let mut ancestors: Vec<usize> = Vec::new();
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(found.len());
    for index in 0..found.len() {
        while ancestors.last().is_some_and(|ancestor| !found[index].path.starts_with(&found[*ancestor].path)) {
            ancestors.pop();
        }
        parents.push(ancestors.last().copied());
        let entry = &mut found[index];
        match &mut entry.node.kind {
            NodeKind::Directory { .. } => ancestors.push(index),
            NodeKind::File { content, hardlink, .. } => {
                if let Some(inode) = entry.inode {
                    if let Some(Some(hash)) = inodes.get(&inode) {
                        *content = *hash;
                    }
                    if let Some((first, metadata)) = first_names.get(&inode) {
                        *hardlink = Some(first.clone());
                        entry.node.metadata = metadata.clone();
                    } else {
                        let first = (entry.path.clone(), entry.node.metadata.clone());
                        first_names.insert(inode, first);
                    }
                }
            }
            _ => {}
        }
    }
    let mut needed = vec![false; found.len()];
    for index in (0..found.len()).rev() {
        let entry = &found[index];
        needed[index] |= !entry.unchanged;
        if needed[index]
            && let Some(parent) = parents[index]
            && !found[parent].path.is_root()
        {
            needed[parent] = true;
        }
    }
    let mut needed = needed.into_iter();
    found.retain(|_| needed.next().unwrap_or(true));
    found.into_iter().map(|entry| (entry.path, entry.node)).collect()
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
