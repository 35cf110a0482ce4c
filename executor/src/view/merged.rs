//! A chain of layers seen as one tree, without building it: every look-up asks the layers' own indexes, from the top down.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bld_cache::tree::{ContentHash, Node, NodeKind, Tree};
use bld_oci::ImagePath;

use super::{TreeView, ViewError, ViewKind, ViewNode};
use crate::layers::{FileOpener, implied_metadata};

/// Layers bottom to top, each an index and the directory that has its files.
#[derive(Debug)]
pub struct MergedTree {
    layers: Vec<Layer>,
    /// Directories that were looked up: which layers have a part in them, the top first.
    directories: RwLock<HashMap<ImagePath, Arc<[usize]>>>,
}

#[derive(Debug)]
struct Layer {
    tree: Arc<Tree>,
    files: PathBuf,
    opener: Mutex<Option<FileOpener>>,
    links: OnceLock<Links>,
}

/// Files of a layer that have several names there.
#[derive(Debug)]
struct Links {
    groups: HashMap<ImagePath, usize>,
    names: Vec<Vec<ImagePath>>,
    /// Whether more than one of the names can be seen.
    visible: Vec<OnceLock<bool>>,
}

/// What a path is, in which layer, and which layers have a part in it if it is a directory.
struct Step<'tree> {
    found: Option<(usize, &'tree Node)>,
    parts: Vec<usize>,
}

impl MergedTree {
    /// The view of `layers`, bottom to top. No layer at all is an empty root.
    pub fn new(layers: Vec<(Arc<Tree>, PathBuf)>) -> MergedTree {
        let layers = layers
            .into_iter()
            .map(|(tree, files)| Layer { tree, files, opener: Mutex::new(None), links: OnceLock::new() })
            .collect();
        MergedTree { layers, directories: RwLock::default() }
    }

    /// Where the bytes of `path` are: below one layer directory. For messages, and for copying within the kernel.
    pub fn locate(&self, path: &ImagePath) -> Result<PathBuf, ViewError> {
        match self.find(path) {
            Some((layer, _)) => Ok(below(&self.layers[layer].files, path)),
            None => Err(missing(path)),
        }
    }

    /// Visits everything in tree order, `/` first.
    pub fn walk<E: From<ViewError>>(
        &self,
        visit: &mut dyn FnMut(&ImagePath, ViewNode) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk_from(&ImagePath::root(), visit)
    }

    /// Visits `start` and what is below it in tree order. Links on the way to `start` are not followed.
    pub fn walk_from<E: From<ViewError>>(
        &self,
        start: &ImagePath,
        visit: &mut dyn FnMut(&ImagePath, ViewNode) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(node) = self.node(start)? else { return Ok(()) };
        let is_directory = node.kind == ViewKind::Directory;
        visit(start, node)?;
        if !is_directory {
            return Ok(());
        }
        let parts = self.parts(start).to_vec();
        let names = self.names(&parts, start);
        let mut open = vec![(start.clone(), parts, names.into_iter())];
        while let Some((directory, parts, names)) = open.last_mut() {
            let Some(name) = names.next() else {
                open.pop();
                continue;
            };
            let path = directory.join(&name);
            let step = self.step(parts, &path);
            let Some(node) = self.seen(&path, &step) else { continue };
            let is_directory = node.kind == ViewKind::Directory;
            visit(&path, node)?;
            if is_directory {
                let names = self.names(&step.parts, &path);
                open.push((path, step.parts, names.into_iter()));
            }
        }
        Ok(())
    }

    fn root(&self) -> ViewNode {
        let root = ImagePath::root();
        let metadata =
            self.layers.iter().rev().find_map(|layer| layer.tree.get(&root)).map(|node| node.metadata.clone());
        ViewNode { kind: ViewKind::Directory, metadata: metadata.unwrap_or_else(implied_metadata) }
    }

    fn parts_of_root(&self) -> Vec<usize> {
        let root = ImagePath::root();
        let opaque = |layer: &Layer| {
            matches!(layer.tree.get(&root), Some(Node { kind: NodeKind::Directory { opaque: true }, .. }))
        };
        let bottom = self.layers.iter().rposition(opaque).unwrap_or(0);
        (bottom..self.layers.len()).rev().collect()
    }

    /// What the layers `parts`, in which the directory of `path` is, have at `path`.
    fn step(&self, parts: &[usize], path: &ImagePath) -> Step<'_> {
        let mut step = Step { found: None, parts: Vec::new() };
        for layer in parts {
            let tree = &self.layers[*layer].tree;
            let Some(node) = tree.get(path) else {
                // A directory without a node of its own, if there is anything below it.
                if !tree.subtree(path).is_empty() {
                    step.parts.push(*layer);
                }
                continue;
            };
            match node.kind {
                NodeKind::Whiteout => break,
                NodeKind::Directory { opaque } => {
                    step.found.get_or_insert((*layer, node));
                    step.parts.push(*layer);
                    if opaque {
                        break;
                    }
                }
                _ => {
                    if step.parts.is_empty() {
                        step.found = Some((*layer, node));
                    }
                    break;
                }
            }
        }
        step
    }

    /// The layers that have a part in the directory `path`, the top first: none if it is not a directory.
    fn parts(&self, path: &ImagePath) -> Arc<[usize]> {
        if let Some(parts) = self.directories.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Arc::clone(parts);
        }
        let mut parts = self.parts_of_root();
        let mut at = ImagePath::root();
        for component in path.components() {
            at = at.join(component);
            parts = self.step(&parts, &at).parts;
        }
        let parts: Arc<[usize]> = parts.into();
        let mut directories = self.directories.write().unwrap_or_else(PoisonError::into_inner);
        directories.insert(path.clone(), Arc::clone(&parts));
        parts
    }

    fn find(&self, path: &ImagePath) -> Option<(usize, &Node)> {
        let parent = path.parent()?;
        self.step(&self.parts(&parent), path).found
    }

    fn seen(&self, path: &ImagePath, step: &Step<'_>) -> Option<ViewNode> {
        match step.found {
            Some((layer, node)) => Some(self.view_node(layer, path, node)),
            None if step.parts.is_empty() => None,
            None => Some(ViewNode { kind: ViewKind::Directory, metadata: implied_metadata() }),
        }
    }

    fn names(&self, parts: &[usize], directory: &ImagePath) -> Vec<Vec<u8>> {
        let mut names: BTreeMap<&[u8], bool> = BTreeMap::new();
        for layer in parts {
            for (name, node) in self.layers[*layer].tree.children(directory) {
                names.entry(name).or_insert(node.is_none_or(|node| node.kind != NodeKind::Whiteout));
            }
        }
        names.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_vec()).collect()
    }

    fn view_node(&self, layer: usize, path: &ImagePath, node: &Node) -> ViewNode {
        let kind = match &node.kind {
            // A deletion is never found; a directory is what it would be replaced by.
            NodeKind::Directory { .. } | NodeKind::Whiteout => ViewKind::Directory,
            NodeKind::File { size, .. } => ViewKind::File { size: *size, link_group: self.link_group(layer, path) },
            NodeKind::Symlink { target } => ViewKind::Symlink { target: target.clone() },
            NodeKind::CharDevice { major, minor } => ViewKind::CharDevice { major: *major, minor: *minor },
            NodeKind::BlockDevice { major, minor } => ViewKind::BlockDevice { major: *major, minor: *minor },
            NodeKind::Fifo => ViewKind::Fifo,
        };
        ViewNode { kind, metadata: node.metadata.clone() }
    }

    fn link_group(&self, layer: usize, path: &ImagePath) -> Option<u64> {
        let links = self.layers[layer].links.get_or_init(|| links(&self.layers[layer].tree));
        let group = *links.groups.get(path)?;
        let visible = links.visible[group].get_or_init(|| {
            let seen = |name: &&ImagePath| self.find(name).is_some_and(|(found, _)| found == layer);
            links.names[group].iter().filter(seen).nth(1).is_some()
        });
        visible.then_some(((layer as u64) << 32) | group as u64)
    }
}

impl TreeView for MergedTree {
    fn node(&self, path: &ImagePath) -> Result<Option<ViewNode>, ViewError> {
        match path.parent() {
            Some(parent) => Ok(self.seen(path, &self.step(&self.parts(&parent), path))),
            None => Ok(Some(self.root())),
        }
    }

    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        Ok(self.names(&self.parts(path), path))
    }

    fn content(&self, path: &ImagePath) -> Result<ContentHash, ViewError> {
        match self.find(path) {
            Some((_, Node { kind: NodeKind::File { content, .. }, .. })) => Ok(*content),
            _ => Err(missing(path)),
        }
    }

    fn open(&self, path: &ImagePath) -> Result<File, ViewError> {
        let Some((layer, Node { kind: NodeKind::File { size, .. }, .. })) = self.find(path) else {
            return Err(missing(path));
        };
        let layer = &self.layers[layer];
        let failed = |source| ViewError::Io { verb: "open", path: below(&layer.files, path), source };
        let mut opener = layer.opener.lock().unwrap_or_else(PoisonError::into_inner);
        if opener.is_none() {
            *opener = Some(FileOpener::new(&layer.files).map_err(failed)?);
        }
        let Some(opener) = opener.as_mut() else { return Err(missing(path)) };
        let (file, found) = opener.open(path).map_err(failed)?;
        if found != *size {
            return Err(ViewError::Changed { path: path.clone() });
        }
        Ok(file)
    }
}

fn links(tree: &Tree) -> Links {
    let mut links = Links { groups: HashMap::new(), names: Vec::new(), visible: Vec::new() };
    for (path, node) in tree {
        if let NodeKind::File { hardlink: Some(first), .. } = &node.kind {
            let group = *links.groups.entry(first.clone()).or_insert_with(|| {
                links.names.push(vec![first.clone()]);
                links.visible.push(OnceLock::new());
                links.names.len() - 1
            });
            links.names[group].push(path.clone());
            links.groups.insert(path.clone(), group);
        }
    }
    links
}

fn below(files: &Path, path: &ImagePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    files.join(std::ffi::OsStr::from_bytes(path.relative()))
}

fn missing(path: &ImagePath) -> ViewError {
    let path = below(Path::new("/"), path);
    ViewError::Io { verb: "open", path, source: std::io::ErrorKind::NotFound.into() }
}
