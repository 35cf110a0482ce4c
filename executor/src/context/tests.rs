//! Contexts on a real file system.

mod stale;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use bld_cache::store::KnownFile;
use bld_oci::ImagePath;

use super::ContextPermissions;
use super::ContextTree;
use super::FileStat;
use super::HashMemo;
use super::NoMemo;
use super::ignore_file;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;
use crate::view::resolve;

fn open(path: &Path) -> ContextTree {
    let ignore = ignore_file(path, None).unwrap();
    ContextTree::open(path, ignore, Arc::new(NoMemo)).unwrap()
}

fn write(root: &Path, path: &str, bytes: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn all(view: &dyn TreeView, at: &ImagePath, found: &mut Vec<String>) {
    for name in view.children(at).unwrap() {
        let path = at.join(&name);
        assert!(view.node(&path).unwrap().is_some());
        found.push(String::from_utf8_lossy(path.relative()).into_owned());
        all(view, &path, found);
    }
}

#[test]
fn ignored_files_do_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let rules = "docs\n!docs/keep.md\n*.log\n**/tmp\n# note\nempty\n!empty/none\n";
    write(root, ".dockerignore", rules);
    for path in ["docs/a.md", "docs/keep.md", "docs/deep/b.md", "x.log", "sub/x.log", "sub/tmp/f", "empty/f", "f"] {
        write(root, path, path);
    }
    let expected = [".dockerignore", "docs", "docs/keep.md", "f", "sub", "sub/x.log"];
    let mut found = Vec::new();
    all(&open(root), &ImagePath::root(), &mut found);
    assert_eq!(found, expected);
    // The same, asked one by one in a fresh tree.
    let tree = open(root);
    for path in
        ["docs/a.md", "docs/deep", "docs/deep/b.md", "x.log", "sub/tmp", "sub/tmp/f", "empty", "empty/f", "nope"]
    {
        assert_eq!(tree.node(&ImagePath::new(path)).unwrap(), None, "{path}");
        assert!(tree.content(&ImagePath::new(path)).is_err(), "{path}");
        assert!(tree.open(&ImagePath::new(path)).is_err(), "{path}");
    }
    for path in expected {
        assert!(tree.node(&ImagePath::new(path)).unwrap().is_some(), "{path}");
    }
    let rule = tree.excluded_by(&ImagePath::new("sub/tmp/f")).unwrap();
    assert_eq!(rule.to_string(), "excluded by .dockerignore:4 `**/tmp`");
    assert_eq!(tree.excluded_by(&ImagePath::new("nope")), None);
}

#[test]
fn the_dockerfile_has_its_own_ignore_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, ".dockerignore", "a");
    write(root, "docker/app.Dockerfile.dockerignore", "b");
    let name = |dockerfile: Option<&str>| {
        let dockerfile = dockerfile.map(|name| root.join(name));
        ignore_file(root, dockerfile.as_deref()).unwrap().map(|file| file.name)
    };
    assert_eq!(name(Some("docker/app.Dockerfile")).as_deref(), Some("app.Dockerfile.dockerignore"));
    assert_eq!(name(Some("Dockerfile")).as_deref(), Some(".dockerignore"));
    assert_eq!(name(None).as_deref(), Some(".dockerignore"));
    fs::remove_file(root.join(".dockerignore")).unwrap();
    assert_eq!(name(Some("Dockerfile")), None);
    // One that leads out of the directory is not read.
    symlink("/etc/passwd", root.join(".dockerignore")).unwrap();
    assert!(ignore_file(root, None).is_err());
    fs::remove_file(root.join(".dockerignore")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join(".dockerignore"), rustix::fs::Mode::RWXU).unwrap();
    assert!(ignore_file(root, None).is_err());
}

#[test]
fn links_never_lead_out() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("context");
    write(directory.path(), "secret", "secret");
    write(&root, "real/f", "f");
    symlink("/etc", root.join("out")).unwrap();
    symlink("../../secret", root.join("real/up")).unwrap();
    symlink("/real", root.join("inside")).unwrap();
    let tree = open(&root);
    let node = tree.node(&ImagePath::new("out")).unwrap().unwrap();
    assert_eq!(node.kind, ViewKind::Symlink { target: b"/etc".to_vec() });
    for path in ["out/passwd", "real/up", "inside/f", "../secret"] {
        assert!(tree.open(&ImagePath::new(path)).is_err(), "{path}");
    }
    assert_eq!(tree.node(&ImagePath::new("out/passwd")).unwrap(), None);
    assert_eq!(tree.children(&ImagePath::new("out")).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(resolve(&tree, &ImagePath::new("out/passwd"), true).unwrap().1, None);
    assert_eq!(resolve(&tree, &ImagePath::new("inside/f"), true).unwrap().0, ImagePath::new("real/f"));
}

#[test]
fn nodes_of_all_kinds_are_seen_and_only_files_opened() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "f", "f");
    fs::hard_link(root.join("f"), root.join("g")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let tree = open(root);
    let kind = |path: &str| tree.node(&ImagePath::new(path)).unwrap().unwrap().kind;
    assert_eq!(kind("pipe"), ViewKind::Fifo);
    assert_eq!(kind("socket"), ViewKind::Socket);
    assert_eq!(kind("f"), kind("g"));
    assert!(matches!(kind("f"), ViewKind::File { size: 1, link_group: Some(_) }));
    for path in ["pipe", "socket"] {
        assert!(tree.open(&ImagePath::new(path)).is_err());
        assert!(tree.content(&ImagePath::new(path)).is_err());
    }
    drop(socket);
}

#[test]
fn a_change_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "f", "before");
    let tree = open(root);
    tree.content(&ImagePath::new("f")).unwrap();
    write(root, "f", "after it");
    assert!(matches!(tree.open(&ImagePath::new("f")), Err(ViewError::Changed { .. })));
    fs::remove_file(root.join("f")).unwrap();
    assert!(matches!(tree.open(&ImagePath::new("f")), Err(ViewError::Changed { .. })));
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(ImagePath, FileStat, KnownFile)>>);

impl HashMemo for Recorder {
    fn lookup(&self, path: &ImagePath, stat: &FileStat) -> Option<KnownFile> {
        let known = self.0.lock().unwrap();
        known.iter().find(|entry| entry.0 == *path && entry.1 == *stat).map(|entry| entry.2)
    }

    fn is_settled(&self, _stat: &FileStat) -> bool {
        true
    }

    fn insert(&self, path: &ImagePath, stat: &FileStat, known: KnownFile) {
        self.0.lock().unwrap().push((path.clone(), *stat, known));
    }
}

#[test]
fn a_hash_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for number in 0..50 {
        write(root, &format!("d/{number}"), &number.to_string());
    }
    let memo = Arc::new(Recorder::default());
    let paths: Vec<ImagePath> = (0..50).map(|number| ImagePath::new(format!("d/{number}"))).collect();
    for _ in 0..2 {
        let tree = ContextTree::open(root, None, Arc::clone(&memo) as Arc<dyn HashMemo>).unwrap();
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(tree.content(path).unwrap().0, *blake3::hash(number.to_string().as_bytes()).as_bytes());
        }
        assert_eq!(memo.0.lock().unwrap().len(), 50);
    }
}

/// A big directory is read by several threads.
#[test]
fn a_big_directory_is_listed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, ".dockerignore", "d/*7\nother\n!other/f\n");
    write(root, "other/f", "f");
    for number in 0..2000 {
        write(root, &format!("d/{number:04}"), "");
    }
    let tree = open(root);
    let expected: Vec<Vec<u8>> =
        (0..2000).filter(|number| number % 10 != 7).map(|number| format!("{number:04}").into_bytes()).collect();
    let at = ImagePath::new("d");
    assert_eq!(tree.children(&at).unwrap(), expected);
    let wanted = tree.entries(&at, &|name| name.ends_with(b"5")).unwrap();
    assert_eq!(wanted.len(), 200);
    for (name, node) in wanted {
        assert!(name.ends_with(b"5"));
        assert_eq!(Some(node), tree.node(&at.join(&name)).unwrap());
    }
    assert_eq!(tree.entries(&ImagePath::new("other"), &|_| true).unwrap().len(), 1);
}

fn set_attribute(path: &Path, key: &str, value: &str) {
    rustix::fs::setxattr(path, key, value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

/// That a file has no extended attributes is remembered as long as its status tells that it has none; that it has some never is.
#[test]
fn attributes_are_looked_at_anew_when_the_status_changes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let path = root.join("f");
    write(root, "f", "f");
    let file = ImagePath::new("f");
    let memo = Arc::new(Recorder::default());
    let look = |permissions: ContextPermissions| {
        let tree = ContextTree::open(root, None, Arc::clone(&memo) as Arc<dyn HashMemo>).unwrap();
        let tree = tree.with_permissions(permissions);
        tree.content(&file).unwrap();
        let count = tree.node(&file).unwrap().unwrap().metadata.xattrs.len();
        let known = memo.0.lock().unwrap();
        (count, known.len(), known.last().unwrap().2.is_bare)
    };
    let tick = || std::thread::sleep(std::time::Duration::from_millis(20));
    let (keep, git) = (ContextPermissions::Keep, ContextPermissions::Git);
    let opened = fs::File::open(&path).unwrap();
    let can_be_bare = super::watch::shows_attribute_changes(&opened);
    drop(opened);
    assert_eq!(look(git), (0, 1, can_be_bare));
    assert_eq!(look(keep), (0, 1, can_be_bare));
    tick();
    set_attribute(&path, "user.note", "one");
    assert_eq!(look(git), (0, 2, false));
    assert_eq!(look(keep), (1, 2, false));
    assert_eq!(look(keep), (1, 2, false));
    tick();
    rustix::fs::removexattr(&path, "user.note").unwrap();
    assert_eq!(look(keep), (0, 3, can_be_bare));
    assert_eq!(look(git), (0, 3, can_be_bare));
    tick();
    set_attribute(&path, "user.overlay.note", "nobody's business");
    assert_eq!(look(keep), (0, 4, can_be_bare));
    tick();
    set_attribute(&path, "user.other", "two");
    assert_eq!(look(keep), (1, 5, false));
}
