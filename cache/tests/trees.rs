//! Trees: order, look-ups, digests, bytes.

use std::collections::BTreeMap;

use bld_cache::Tree;
use bld_cache::tree::Node;
use bld_cache::tree::NodeKind;
use bld_cache::tree::TreeBuilder;
use bld_cache::tree::TreeError;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use proptest::prelude::*;

use crate::support::directory;
use crate::support::file;
use crate::support::metadata;

fn build(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> Tree {
    let mut builder = TreeBuilder::new();
    for (path, node) in nodes {
        builder.insert(ImagePath::new(path), node);
    }
    builder.finish().unwrap()
}

fn sample() -> Tree {
    build([
        ("/", directory()),
        ("a", directory()),
        ("a/b", directory()),
        ("a/b/c", file("c")),
        ("a/d", file("d")),
        ("a.txt", file("txt")),
        ("z/deep/er", file("no parents")),
        ("z/deeper", file("neighbour")),
    ])
}

fn names(tree: &Tree, path: &str) -> Vec<String> {
    tree.children(&ImagePath::new(path))
        .map(|(name, node)| format!("{}{}", String::from_utf8_lossy(name), if node.is_some() { "" } else { "?" }))
        .collect()
}

#[test]
fn children_and_subtrees() {
    let tree = sample();
    assert_eq!(names(&tree, "/"), ["a", "a.txt", "z?"]);
    assert_eq!(names(&tree, "/a"), ["b", "d"]);
    assert_eq!(names(&tree, "/z"), ["deep?", "deeper"]);
    assert_eq!(names(&tree, "/z/deep"), ["er"]);
    assert_eq!(names(&tree, "/a/d"), [""; 0]);
    assert_eq!(names(&tree, "/nothing"), [""; 0]);
    let below: Vec<String> = tree.subtree(&ImagePath::new("a")).iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(below, ["/a", "/a/b", "/a/b/c", "/a/d"]);
    assert_eq!(tree.subtree(&ImagePath::root()).len(), tree.len());
    assert!(tree.get(&ImagePath::new("a/b/c")).is_some() && tree.get(&ImagePath::new("z")).is_none());
}

#[test]
fn digest_ignores_times_and_nothing_else() {
    let tree = sample();
    let change = |change: &dyn Fn(&mut Node)| {
        let mut nodes = tree.clone().into_nodes();
        change(&mut nodes[3].1);
        Tree::from_sorted(nodes).unwrap().digest()
    };
    assert_eq!(change(&|node| node.metadata.mtime = Timestamp::from_seconds(99)), tree.digest());
    assert_ne!(change(&|node| node.metadata.mode = 0o600), tree.digest());
    assert_ne!(change(&|node| node.metadata.uid = 7), tree.digest());
    assert_ne!(change(&|node| drop(node.metadata.xattrs.insert(b"user.x".to_vec(), b"y".to_vec()))), tree.digest());
    assert_ne!(change(&|node| node.kind = file("other").kind), tree.digest());
    let part = build([("/b", directory()), ("/b/c", file("c"))]);
    assert_eq!(tree.digest_of(&ImagePath::new("a/b")), part.digest_of(&ImagePath::new("b")));
    assert_eq!(tree.digest_of(&ImagePath::new("nothing")), None);
}

#[test]
fn hardlinks_have_one_first_name() {
    let link = |target: &str| {
        let mut node = file("same");
        if let NodeKind::File { hardlink, .. } = &mut node.kind {
            *hardlink = Some(ImagePath::new(target));
        }
        node
    };
    let one = build([("a", link("b")), ("b", file("same")), ("c", link("b"))]);
    let other = build([("a", file("same")), ("b", link("a")), ("c", link("a"))]);
    assert_eq!(one, other);
    assert_ne!(one.digest(), build([("a", file("same")), ("b", file("same")), ("c", file("same"))]).digest());
    assert_eq!(one.size(), 4);
    assert_eq!(Tree::decode(&one.encode()).unwrap(), one);
    let lost = Tree::from_sorted(vec![(ImagePath::new("a"), link("b"))]);
    assert!(matches!(lost, Err(TreeError::Hardlink { .. })));
}

#[test]
fn what_is_no_tree() {
    let path = ImagePath::new;
    let twice = Tree::from_sorted(vec![(path("a"), file("")), (path("a"), file(""))]);
    assert!(matches!(twice, Err(TreeError::Order { .. })));
    let inside = Tree::from_sorted(vec![(path("a"), file("")), (path("a/b"), file(""))]);
    assert!(matches!(inside, Err(TreeError::NotInDirectory { .. })));
    assert!(matches!(Tree::decode(b"bldtree2"), Err(TreeError::Version)));
    let mut long = sample().encode();
    long.push(0);
    assert!(matches!(Tree::decode(&long), Err(TreeError::Length)));
}

#[test]
fn no_name_leaves_the_tree() {
    let honest = build([("xx", file("")), ("xy", file(""))]).encode();
    let at = honest.windows(2).position(|pair| pair == b"xx").unwrap();
    for name in [b"..", b"./", b"/x", b"x/", b"x\0", b"//"] {
        let mut hostile = honest.clone();
        hostile[at..at + 2].copy_from_slice(name);
        assert!(Tree::decode(&hostile).is_err(), "{name:?}");
    }
}

#[test]
fn deep_trees_do_not_exhaust_the_stack() {
    let path = ImagePath::new("d/".repeat(20_000));
    let tree = Tree::from_sorted(vec![(path, directory())]).unwrap();
    assert_ne!(tree.digest(), Tree::default().digest());
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        any::<bool>().prop_map(|opaque| NodeKind::Directory { opaque }),
        ".{0,4}".prop_map(|text| file(&text).kind),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|target| NodeKind::Symlink { target }),
        any::<(u32, u32)>().prop_map(|(major, minor)| NodeKind::CharDevice { major, minor }),
        any::<(u32, u32)>().prop_map(|(major, minor)| NodeKind::BlockDevice { major, minor }),
        Just(NodeKind::Fifo),
        Just(NodeKind::Whiteout),
    ];
    let xattrs = prop::collection::btree_map(
        prop::collection::vec(any::<u8>(), 0..5),
        prop::collection::vec(any::<u8>(), 0..5),
        0..3,
    );
    (kind, 0_u32..0o10000, any::<(u32, u32, i64)>(), 0_u32..1_000_000_000, xattrs).prop_map(
        |(kind, mode, (uid, gid, seconds), nanoseconds, xattrs)| {
            let mut node = Node { kind, metadata: metadata(mode) };
            node.metadata.uid = uid;
            node.metadata.gid = gid;
            node.metadata.mtime = Timestamp { seconds, nanoseconds };
            node.metadata.xattrs = xattrs;
            node
        },
    )
}

/// Any set of paths, with directories wherever something is below.
fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec("[a-c.]{1,3}", 1..5);
    prop::collection::vec((path, node()), 0..20).prop_map(|paths| {
        let paths: BTreeMap<ImagePath, Node> =
            paths.into_iter().map(|(names, node)| (ImagePath::new(names.join("/")), node)).collect();
        let mut builder = TreeBuilder::new();
        for (path, mut node) in paths.clone() {
            if paths.keys().any(|other| *other != path && other.starts_with(&path)) || path.is_root() {
                node.kind = NodeKind::Directory { opaque: false };
            }
            builder.insert(path, node);
        }
        builder.finish().unwrap()
    })
}

proptest! {
    #[test]
    fn bytes_and_back(tree in tree()) {
        let back = Tree::decode(&tree.encode()).unwrap();
        prop_assert_eq!(back.digest(), tree.digest());
        prop_assert_eq!(back, tree);
    }

    #[test]
    fn children_are_what_a_scan_finds(tree in tree(), names in prop::collection::vec("[a-c]{1,2}", 0..3)) {
        let path = ImagePath::new(names.join("/"));
        let mut scanned: Vec<Vec<u8>> = tree
            .iter()
            .filter_map(|(other, _)| other.strip_prefix(&path))
            .filter(|rest| !rest.is_empty())
            .map(|rest| rest.split(|byte| *byte == b'/').next().unwrap().to_vec())
            .collect();
        scanned.dedup();
        let found: Vec<Vec<u8>> = tree.children(&path).map(|(name, _)| name.to_vec()).collect();
        prop_assert_eq!(found, scanned);
        let below = tree.iter().filter(|(other, _)| other.starts_with(&path)).count();
        prop_assert_eq!(tree.subtree(&path).len(), below);
    }

    #[test]
    fn hostile_bytes_give_an_error_or_a_tree(tree in tree(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = tree.encode();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        if let Ok(tree) = Tree::decode(&bytes) {
            tree.digest();
            prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        }
        bytes.truncate(cut.index(bytes.len()));
        Tree::decode(&bytes).ok();
    }
}
