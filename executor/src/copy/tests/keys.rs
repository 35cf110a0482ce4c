//! What changes the digest of a selection, and what does not.

use std::collections::BTreeMap;

use bld_oci::Timestamp;

use super::super::memory::MemoryTree;
use super::super::select::CopySource;
use super::super::select::select;
use super::copy;
use crate::view::ViewKind;

fn digest(tree: &MemoryTree, line: &str) -> [u8; 32] {
    let action = copy(line);
    let source = CopySource { view: tree, exclusions: None };
    select(source, &action.selector).unwrap().digest(tree).unwrap()
}

fn base() -> MemoryTree {
    MemoryTree::new("d/a=same d/b=same d/e/ d/l>a f=same")
}

#[track_caller]
fn differs(change: impl FnOnce(&mut MemoryTree)) {
    let mut tree = base();
    change(&mut tree);
    assert_ne!(digest(&tree, "d /x"), digest(&base(), "d /x"));
}

#[track_caller]
fn is_equal(change: impl FnOnce(&mut MemoryTree)) {
    let mut tree = base();
    change(&mut tree);
    assert_eq!(digest(&tree, "d /x"), digest(&base(), "d /x"));
}

#[test]
fn what_the_result_depends_on_changes_the_digest() {
    differs(|tree| tree.change("/d/a", |node| node.metadata.mode = 0o755));
    differs(|tree| tree.change("/d/e", |node| node.metadata.mode = 0o700));
    differs(|tree| tree.change("/d", |node| node.metadata.mode = 0o700));
    differs(|tree| tree.change("/d/a", |node| node.metadata.uid = 1));
    differs(|tree| tree.change("/d/a", |node| node.metadata.gid = 1));
    differs(|tree| {
        tree.change("/d/a", |node| node.metadata.xattrs = BTreeMap::from([(b"user.x".to_vec(), b"1".to_vec())]));
    });
    differs(|tree| tree.link(1, &["/d/a", "/d/b"]));
    differs(|tree| tree.put("/d/a", ViewKind::File { size: 5, link_group: None }, b"other"));
    differs(|tree| tree.put("/d/l", ViewKind::Symlink { target: b"b".to_vec() }, b""));
    differs(|tree| tree.put("/d/new", ViewKind::Directory, b""));
    differs(|tree| tree.put("/d/e", ViewKind::Fifo, b""));
    differs(|tree| {
        let node = tree.nodes.remove(&bld_oci::ImagePath::new("/d/a")).unwrap();
        tree.nodes.insert(bld_oci::ImagePath::new("/d/c"), node);
    });
}

#[test]
fn what_it_does_not_depend_on_does_not() {
    is_equal(|tree| tree.change("/d/a", |node| node.metadata.mtime = Timestamp::from_seconds(5)));
    is_equal(|tree| tree.change("/d/e", |node| node.metadata.mtime = Timestamp::from_seconds(5)));
    is_equal(|tree| tree.change("/d/l", |node| node.metadata.mode = 0o777));
    is_equal(|tree| tree.put("/other", ViewKind::Fifo, b""));
    // Another name of the file that is not copied makes no difference.
    is_equal(|tree| tree.link(1, &["/d/a", "/f"]));
}

#[test]
fn names_count_where_they_show() {
    let tree = MemoryTree::new("d1/f=x d2/f=x f=x g=x");
    assert_eq!(digest(&tree, "d1 /x"), digest(&tree, "d2 /x"));
    assert_ne!(digest(&tree, "f /x/"), digest(&tree, "g /x/"));
    assert_ne!(digest(&tree, "d1 /x/"), digest(&tree, "f /x/"));
    assert_ne!(digest(&tree, "d1/f /x"), digest(&tree, "d1 /x"));
    assert_ne!(digest(&tree, "f g /x/"), digest(&tree, "g f /x/"));
    assert_ne!(digest(&tree, "--parents d1/f /x/"), digest(&tree, "d1/f /x/"));
}
