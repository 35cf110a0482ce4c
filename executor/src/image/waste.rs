//! What each layer of an image adds, changes and deletes, and which bytes are stored that nobody sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use bld_cache::tree::ContentHash;
use bld_cache::tree::NodeKind;
use bld_cache::tree::Tree;
use bld_oci::ImagePath;

/// What one layer does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerChanges {
    /// The bytes of all files it stores.
    pub size: u64,
    /// Files that were not there.
    pub added: Count,
    /// Files in place of others.
    pub changed: Count,
    /// Of these, files whose bytes are the same: only mode, owner, times or attributes changed, and all bytes are stored again.
    pub unchanged_bytes: Count,
    /// Files of lower layers that are gone.
    pub deleted: Count,
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// A file that one layer stores and a later one hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Where it was.
    pub path: ImagePath,
    /// Its bytes.
    pub bytes: u64,
    /// The layer that stores it, counted from 0.
    pub stored_by: usize,
    /// The layer that hides it.
    pub hidden_by: usize,
    /// Whether it is deleted, and not replaced.
    pub deleted: bool,
    /// Whether the file in its place has the same bytes.
    pub same_bytes: bool,
}

/// A file that can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// Where it is.
    pub path: ImagePath,
    /// Its bytes.
    pub bytes: u64,
    /// The layer that stores it.
    pub stored_by: usize,
}

/// All layers of an image, bottom to top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waste {
    /// What each does.
    pub layers: Vec<LayerChanges>,
    /// What is stored and not seen, the largest first.
    pub hidden: Vec<Hidden>,
    /// What is seen, the largest first.
    pub visible: Vec<Visible>,
}

impl Waste {
    /// Applies the layers one after the other.
    pub fn of(trees: &[Arc<Tree>]) -> Waste {
        let mut image = Image::default();
        for (index, tree) in trees.iter().enumerate() {
            image.apply(index, tree);
        }
        let mut visible: Vec<Visible> = image
            .files
            .into_iter()
            .filter_map(|(path, file)| {
                let Kind::File { bytes, .. } = file.kind else { return None };
                Some(Visible { path, bytes, stored_by: file.layer })
            })
            .collect();
        visible.sort_by(|left, right| (right.bytes, &left.path).cmp(&(left.bytes, &right.path)));
        let mut hidden = image.hidden;
        hidden.sort_by(|left, right| (right.bytes, &left.path).cmp(&(left.bytes, &right.path)));
        Waste { layers: image.layers, hidden, visible }
    }

    /// The bytes of all files that are stored.
    pub fn stored(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Those of files that nobody sees.
    pub fn wasted(&self) -> u64 {
        self.hidden.iter().map(|hidden| hidden.bytes).sum()
    }
}

#[derive(Default)]
struct Image {
    files: BTreeMap<ImagePath, Found>,
    layers: Vec<LayerChanges>,
    hidden: Vec<Hidden>,
}

struct Found {
    layer: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    /// A further name of a file counts no bytes.
    File {
        bytes: u64,
        content: ContentHash,
    },
    Other,
}

impl Image {
    fn apply(&mut self, layer: usize, tree: &Tree) {
        let mut changes = LayerChanges { size: tree.size(), ..LayerChanges::default() };
        for (path, node) in tree {
            let kind = match &node.kind {
                NodeKind::Whiteout => {
                    self.delete(path, true, layer, &mut changes);
                    continue;
                }
                NodeKind::Directory { opaque } => {
                    if *opaque {
                        self.delete(path, false, layer, &mut changes);
                    }
                    Kind::Directory
                }
                NodeKind::File { size, content, hardlink } => {
                    Kind::File { bytes: if hardlink.is_some() { 0 } else { *size }, content: *content }
                }
                _ => Kind::Other,
            };
            let bytes = if let Kind::File { bytes, .. } = kind { bytes } else { 0 };
            let before = self.files.get(path).filter(|found| found.layer != layer).map(|found| found.kind);
            match before {
                Some(Kind::Directory) if kind == Kind::Directory => continue,
                Some(old) => {
                    // What takes the place of a directory takes that of all in it.
                    self.delete(path, false, layer, &mut changes);
                    changes.changed.add(bytes);
                    self.replace(path, old, kind, layer, &mut changes);
                }
                None if kind == Kind::Directory => {}
                None => changes.added.add(bytes),
            }
            self.files.insert(path.clone(), Found { layer, kind });
        }
        self.layers.push(changes);
    }

    fn replace(&mut self, path: &ImagePath, old: Kind, new: Kind, layer: usize, changes: &mut LayerChanges) {
        let Some(found) = self.files.remove(path) else { return };
        let Kind::File { bytes, content } = old else { return };
        let same_bytes = matches!(new, Kind::File { content: other, .. } if other == content);
        if same_bytes {
            changes.unchanged_bytes.add(bytes);
        }
        let (stored_by, hidden_by) = (found.layer, layer);
        self.hidden.push(Hidden { path: path.clone(), bytes, stored_by, hidden_by, deleted: false, same_bytes });
    }

    /// Takes away what lower layers have below `path`, and at it if `itself`.
    fn delete(&mut self, path: &ImagePath, itself: bool, layer: usize, changes: &mut LayerChanges) {
        let below = self.files.range(path.clone()..).take_while(|(found, _)| found.starts_with(path));
        let gone: Vec<ImagePath> = below
            .filter(|(found, file)| file.layer != layer && (itself || *found != path))
            .map(|(found, _)| found.clone())
            .collect();
        for path in gone {
            let Some(found) = self.files.remove(&path) else { continue };
            let Kind::File { bytes, .. } = found.kind else { continue };
            changes.deleted.add(bytes);
            let (stored_by, hidden_by) = (found.layer, layer);
            self.hidden.push(Hidden { path, bytes, stored_by, hidden_by, deleted: true, same_bytes: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use bld_cache::tree::Node;
    use bld_cache::tree::TreeBuilder;

    use super::*;
    use crate::layers::implied_metadata;

    fn tree(nodes: &[(&str, NodeKind)]) -> Arc<Tree> {
        let mut builder = TreeBuilder::new();
        for (path, kind) in nodes {
            builder.insert(ImagePath::new(path), Node { kind: kind.clone(), metadata: implied_metadata() });
        }
        Arc::new(builder.finish().unwrap())
    }

    fn file(size: u64, content: u8) -> NodeKind {
        NodeKind::File { size, content: ContentHash([content; 32]), hardlink: None }
    }

    #[test]
    fn hidden_bytes_are_found() {
        let directory = |opaque| NodeKind::Directory { opaque };
        let waste = Waste::of(&[
            tree(&[("a", file(10, 1)), ("d", directory(false)), ("d/x", file(100, 2)), ("d/y", file(1000, 3))]),
            tree(&[("a", file(10, 1)), ("b", file(5, 4)), ("d", directory(false)), ("d/x", NodeKind::Whiteout)]),
            tree(&[("b", file(6, 5)), ("d", directory(true)), ("d/z", file(1, 6))]),
        ]);
        let [first, second, third] = waste.layers.as_slice() else { panic!("{waste:?}") };
        assert_eq!((first.size, first.added), (1110, Count { files: 3, bytes: 1110 }));
        assert_eq!(
            (second.changed, second.unchanged_bytes),
            (Count { files: 1, bytes: 10 }, Count { files: 1, bytes: 10 })
        );
        assert_eq!((second.added, second.deleted), (Count { files: 1, bytes: 5 }, Count { files: 1, bytes: 100 }));
        assert_eq!((third.changed, third.deleted), (Count { files: 1, bytes: 6 }, Count { files: 1, bytes: 1000 }));
        assert_eq!((waste.stored(), waste.wasted()), (1132, 1115));
        let seen: u64 = waste.visible.iter().map(|file| file.bytes).sum();
        assert_eq!(waste.stored(), waste.wasted() + seen);
        let largest = &waste.hidden[0];
        assert_eq!(
            (largest.path.relative(), largest.stored_by, largest.hidden_by, largest.deleted),
            (&b"d/y"[..], 0, 2, true)
        );
    }

    #[test]
    fn a_file_takes_the_place_of_a_directory() {
        let waste = Waste::of(&[
            tree(&[("d", NodeKind::Directory { opaque: false }), ("d/x", file(7, 1))]),
            tree(&[("d", file(3, 2))]),
        ]);
        assert_eq!((waste.wasted(), waste.layers[1].deleted), (7, Count { files: 1, bytes: 7 }));
        assert_eq!(waste.visible.len(), 1);
    }
}
