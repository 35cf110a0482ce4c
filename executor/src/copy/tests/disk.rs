//! Copies between real directories, with something beside them that nobody may touch.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::tree::NodeKind;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::compression::Encoder;
use bld_solver::op::CopyAction;
use bld_solver::op::FileAction;
use bld_solver::op::Mkdir;

use super::super::Applied;
use super::super::CopyError;
use super::super::Note;
use super::super::apply;
use super::super::apply::ApplyOptions;
use super::super::memory::MemoryTree;
use super::super::select::CopySource;
use super::copy;
use super::operation;
use crate::context::ContextTree;
use crate::context::NoMemo;
use crate::layers::LayerMode;
use crate::layers::OverlayFlavor;
use crate::layers::Ownership;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;

/// A context, a layer directory, and a canary outside of both.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory };
        for name in ["context", "layer", "canary/dir700"] {
            fs::create_dir_all(place.path(name)).unwrap();
        }
        fs::write(place.path("canary/secret"), "secret").unwrap();
        fs::set_permissions(place.path("canary/secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(place.path("canary/dir700"), fs::Permissions::from_mode(0o700)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn context(&self, name: &str, bytes: &[u8]) {
        let path = self.path("context").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn canary(&self) -> String {
        self.path("canary").to_string_lossy().into_owned()
    }

    /// Applies actions to a fresh layer directory, and sees that the canary lives.
    fn apply(&self, lower: &MemoryTree, actions: Vec<FileAction>) -> Result<Applied, CopyError> {
        self.apply_with(lower, actions, &options())
    }

    fn apply_with(
        &self,
        lower: &MemoryTree,
        actions: Vec<FileAction>,
        options: &ApplyOptions,
    ) -> Result<Applied, CopyError> {
        let before = snapshot(&self.path("canary"));
        fs::remove_dir_all(self.path("layer")).unwrap();
        fs::create_dir(self.path("layer")).unwrap();
        let layer = fs::File::open(self.path("layer")).unwrap();
        let context = ContextTree::open(&self.path("context"), None, Arc::new(NoMemo)).unwrap();
        let source = CopySource { view: &context, exclusions: Some(&context) };
        let sources = vec![Some(source); actions.len()];
        let applied = apply(&operation(actions), &sources, lower, layer.as_fd(), options);
        assert_eq!(snapshot(&self.path("canary")), before);
        if let Ok(applied) = &applied {
            self.agrees(applied);
        }
        applied
    }

    /// The layer directory holds exactly what the tree says.
    fn agrees(&self, applied: &Applied) {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut pending = vec![self.path("layer")];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                found.push(entry.path().strip_prefix(self.path("layer")).unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    pending.push(entry.path());
                }
            }
        }
        let mut found: Vec<String> = found.iter().map(|path| format!("/{}", path.display())).collect();
        let mut told: Vec<String> =
            applied.tree.iter().filter(|(path, _)| !path.is_root()).map(|(path, _)| path.to_string()).collect();
        found.sort();
        told.sort();
        assert_eq!(found, told);
        for (path, node) in &applied.tree {
            let NodeKind::File { size, content, hardlink } = &node.kind else { continue };
            let bytes = fs::read(self.layer(&path.to_string())).unwrap();
            assert_eq!((bytes.len() as u64, *blake3::hash(&bytes).as_bytes()), (*size, content.0), "{path}");
            if let Some(first) = hardlink {
                assert_eq!(self.meta(&first.to_string()).ino(), self.meta(&path.to_string()).ino());
            }
        }
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.path("layer").join(name.trim_start_matches('/'))
    }

    fn meta(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.layer(name)).unwrap()
    }
}

/// Everything about a tree that a stray system call could change.
fn snapshot(path: &Path) -> Vec<String> {
    let meta = fs::symlink_metadata(path).unwrap();
    let shown = format!(
        "{} {:o} {} {} {} {} {}",
        path.display(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.nlink(),
        meta.mtime_nsec(),
        meta.ctime_nsec()
    );
    let mut lines = vec![shown];
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        lines.extend(names.iter().flat_map(|path| snapshot(path)));
    }
    lines
}

fn copies(lines: &[&str]) -> Vec<FileAction> {
    lines.iter().map(|line| FileAction::Copy(copy(line))).collect()
}

fn add(line: &str) -> Vec<FileAction> {
    vec![FileAction::Copy(CopyAction { unpack: None, ..copy(line) })]
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Without privilege only the recorded form can be written.
fn options() -> ApplyOptions {
    let mode = if is_root() {
        LayerMode { flavor: OverlayFlavor::Trusted, ownership: Ownership::Real }
    } else {
        LayerMode { flavor: OverlayFlavor::User, ownership: Ownership::Recorded }
    };
    ApplyOptions { mode, time: Timestamp::FIXED }
}

#[test]
fn everything_about_a_file_is_preserved() {
    let place = Place::new();
    place.context("d/tool", b"tool");
    place.context("d/big", &vec![7; 3 << 20]);
    place.context("d/sub/f", b"f");
    let root = place.path("context");
    fs::set_permissions(root.join("d/tool"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("d/sub"), fs::Permissions::from_mode(0o1770)).unwrap();
    fs::hard_link(root.join("d/tool"), root.join("d/sub/other")).unwrap();
    symlink("../nowhere", root.join("d/link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("d/pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("d/socket")).unwrap();
    let time = rustix::fs::Timespec { tv_sec: 1_234_567_890, tv_nsec: 123_456_789 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, root.join("d/sub"), &times, rustix::fs::AtFlags::empty()).unwrap();
    rustix::fs::utimensat(rustix::fs::CWD, root.join("d/tool"), &times, rustix::fs::AtFlags::empty()).unwrap();
    let has_xattrs =
        rustix::fs::setxattr(root.join("d/tool"), "user.note", b"1", rustix::fs::XattrFlags::empty()).is_ok();
    let applied = place.apply_with(&MemoryTree::new(""), copies(&["d /a/x"]), &options()).unwrap();
    let meta = place.meta("a/x/tool");
    assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o4751, 2));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_234_567_890, 123_456_789));
    let meta = place.meta("a/x/sub");
    assert_eq!((meta.mode() & 0o7777, meta.mtime_nsec()), (0o1770, 123_456_789));
    assert_eq!(place.meta("a").mtime(), Timestamp::FIXED.seconds);
    assert_eq!(fs::read_link(place.layer("a/x/link")).unwrap(), Path::new("../nowhere"));
    let pipe = applied.tree.get(&ImagePath::new("/a/x/pipe")).unwrap();
    assert_eq!(pipe.kind, NodeKind::Fifo);
    assert_eq!(applied.notes, [Note::SocketSkipped { path: ImagePath::new("/a/x/socket") }]);
    if has_xattrs {
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(place.layer("a/x/tool"), "user.note", &mut value).unwrap(), 1);
    }
    let link = &applied.tree.get(&ImagePath::new("/a/x/tool")).unwrap().kind;
    assert!(matches!(link, NodeKind::File { hardlink: Some(first), .. } if *first == ImagePath::new("/a/x/sub/other")));
}

#[test]
fn links_of_the_image_lead_nowhere_outside() {
    let place = Place::new();
    place.context("f", b"f");
    place.context("t.tar", &tar(&[("x", b'0', "", b"x")]));
    let lower = MemoryTree::new(&format!("w>{} up>../../../../..{}", place.canary(), place.canary()));
    let lines = ["f /w/", "f /w", "--chmod=777 f /w/", "f /up/dir700/", "f /w/secret", "f /up/secret"];
    for line in lines {
        place.apply(&lower, copies(&[line])).unwrap();
        let inside = place.layer(&place.canary());
        assert!(fs::symlink_metadata(&inside).is_ok(), "{line}: {}", inside.display());
    }
    place.apply(&lower, add("t.tar /w")).unwrap();
    assert_eq!(fs::read(place.layer(&format!("{}/x", place.canary()))).unwrap(), b"x");
    let mkdir = FileAction::Mkdir(Mkdir { path: ImagePath::new("/w/new"), owner: None });
    place.apply(&lower, vec![mkdir]).unwrap();
    assert!(place.meta(&format!("{}/new", place.canary())).is_dir());
    // A link copied by an earlier action of the same operation is no better.
    symlink(place.canary(), place.path("context/l")).unwrap();
    place.apply(&MemoryTree::new(""), copies(&["--parents l /d/", "f /d/l/"])).unwrap();
    assert_eq!(fs::read(place.layer(&format!("{}/f", place.canary()))).unwrap(), b"f");
}

#[test]
fn the_context_shows_nothing_of_the_machine() {
    let place = Place::new();
    place.context("sub/f", b"f");
    symlink(place.canary(), place.path("context/out")).unwrap();
    symlink("../../canary/secret", place.path("context/sub/up")).unwrap();
    let lower = MemoryTree::new("");
    place.apply(&lower, copies(&[". /c"])).unwrap();
    assert!(place.meta("c/out").is_symlink() && place.meta("c/sub/up").is_symlink());
    for line in ["out/secret /x", "out /x", "sub/up /x", "../canary/secret /x", "/../../etc/passwd /x", "out/* /x/"] {
        match place.apply(&lower, copies(&[line])) {
            Err(CopyError::NotFound { .. }) => {}
            Ok(applied) => assert!(matches!(applied.notes[..], [Note::NoMatch { .. }]), "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn existing_directories_come_along_with_their_metadata() {
    let place = Place::new();
    place.context("f", b"f");
    let mut lower = MemoryTree::new("usr/local/bin/tool");
    lower.change("/", |node| node.metadata.mode = 0o711);
    lower.change("/usr/local", |node| {
        node.metadata.mode = 0o2775;
        node.metadata.mtime = Timestamp { seconds: 77, nanoseconds: 8 };
        node.metadata.xattrs = BTreeMap::from([(b"user.x".to_vec(), b"1".to_vec())]);
    });
    let applied = place.apply_with(&lower, copies(&["f /usr/local/bin/"]), &options()).unwrap();
    let meta = place.meta("usr/local");
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o2775, 77, 8));
    assert_eq!(applied.tree.len(), 4);
    assert!(!place.layer("usr/local/bin/tool").exists());
    if is_root() {
        assert_eq!(place.meta("").mode() & 0o7777, 0o711);
    }
}

#[test]
fn owners_are_recorded_where_they_cannot_be_set() {
    let place = Place::new();
    place.context("f", b"f");
    fs::set_permissions(place.path("context/f"), fs::Permissions::from_mode(0o4055)).unwrap();
    let mode = LayerMode { flavor: OverlayFlavor::User, ownership: Ownership::Recorded };
    let options = ApplyOptions { mode, ..options() };
    if !is_root() {
        return;
    }
    let applied = place.apply_with(&MemoryTree::new(""), copies(&["--chown=5:6 f /d/"]), &options).unwrap();
    let metadata = &applied.tree.get(&ImagePath::new("/d/f")).unwrap().metadata;
    assert_eq!((metadata.uid, metadata.gid, metadata.mode), (5, 6, 0o4055));
    let meta = place.meta("d/f");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o4655));
}

/// Name, type, link target, content.
type Member<'a> = (&'a str, u8, &'a str, &'a [u8]);

/// A tar of ustar headers.
fn tar(entries: &[Member<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, content) in entries {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let mode: &[u8] = if *kind == b'5' { b"0000750\0" } else { b"0000640\0" };
        header[100..108].copy_from_slice(mode);
        header[108..116].copy_from_slice(b"0000003\0");
        header[116..124].copy_from_slice(b"0000004\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000144\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn compressed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn archives_are_unpacked_by_content() {
    let place = Place::new();
    let bytes =
        tar(&[("./", b'5', "", b""), ("a/f", b'0', "", b"one"), ("a/g", b'1', "a/f", b""), ("l", b'2', "a", b"")]);
    place.context("plain.txt", &bytes);
    place.context("gzip", &compressed(&bytes, Compression::GZIP));
    place.context("zstd", &compressed(&bytes, Compression::ZSTD));
    place.context("text.tar", b"no archive");
    place.context("text.gz", &compressed(b"no archive", Compression::GZIP));
    place.context("empty.tar", b"");
    let lower = MemoryTree::new("");
    for name in ["plain.txt", "gzip", "zstd"] {
        let applied = place.apply(&lower, add(&format!("{name} /x"))).unwrap();
        assert_eq!(applied.tree.len(), 5, "{name}");
        assert_eq!(fs::read(place.layer("x/a/g")).unwrap(), b"one");
        assert_eq!(place.meta("x/a/f").mode() & 0o7777, 0o640);
        if is_root() {
            assert_eq!((place.meta("x/a/f").uid(), place.meta("x/a/f").gid()), (3, 4));
            assert_eq!((place.meta("x/a").uid(), place.meta("x").mode() & 0o777), (0, 0o755));
        }
        place.apply(&lower, add(&format!("--chown=8 --chmod=777 {name} /x"))).unwrap();
        assert_eq!(place.meta("x/a/f").mode() & 0o7777, 0o640);
        assert!(place.meta("x/a/f").uid() == 8 || !is_root());
        place.apply(&lower, copies(&[&format!("{name} /x")])).unwrap();
        assert!(place.meta("x").is_file());
    }
    for name in ["text.tar", "text.gz", "empty.tar"] {
        place.apply(&lower, add(&format!("{name} /x"))).unwrap();
        assert!(place.meta("x").is_file());
    }
    place.context("cut.tar", &bytes[..1500]);
    assert!(matches!(place.apply(&lower, add("cut.tar /x")), Err(CopyError::Archive { .. })));
}

#[test]
fn archives_overwrite_and_merge() {
    let place = Place::new();
    let bytes = tar(&[
        ("dir", b'0', "", b"file now"),
        ("dir", b'5', "", b""),
        ("dir/new", b'0', "", b"n"),
        ("keep/", b'5', "", b""),
        ("keep/n", b'0', "", b"n"),
        ("file/below", b'0', "", b"b"),
        ("link/x", b'0', "", b"x"),
        ("hard", b'1', "old", b""),
        (".bld-unpacking-0", b'0', "", b"mine"),
        ("gone", b'0', "", b"1"),
        ("gone", b'2', "dir", b""),
    ]);
    place.context("a.tar", &bytes);
    let lower = MemoryTree::new("dir/old keep/old file link>/real real/ old=lower");
    let applied = place.apply(&lower, add("a.tar /")).unwrap();
    let opaque = |path: &str| applied.tree.get(&ImagePath::new(path)).unwrap().kind.clone();
    assert_eq!(opaque("/dir"), NodeKind::Directory { opaque: true });
    assert_eq!(opaque("/keep"), NodeKind::Directory { opaque: false });
    assert_eq!(place.meta("keep").mode() & 0o7777, 0o750);
    assert_eq!(fs::read(place.layer("file/below")).unwrap(), b"b");
    assert_eq!(fs::read(place.layer("real/x")).unwrap(), b"x");
    assert!(!place.layer("link").exists());
    assert_eq!(place.meta("hard").ino(), place.meta("old").ino());
    assert_eq!(fs::read(place.layer("hard")).unwrap(), b"lower");
    assert_eq!(fs::read(place.layer(".bld-unpacking-0")).unwrap(), b"mine");
    assert!(place.meta("gone").is_symlink());
    if is_root() {
        let mut value = [0; 4];
        let length = rustix::fs::getxattr(place.layer("dir"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y");
    }
}

#[test]
fn archives_do_not_break_out() {
    let place = Place::new();
    let canary = place.canary();
    let hostile: &[&[Member<'_>]] = &[
        &[("l", b'2', &canary, b""), ("l/pwn", b'0', "", b"x"), ("l/dir700", b'5', "", b"")],
        &[("../../../../canary/pwn", b'0', "", b"x"), ("/canary/pwn", b'0', "", b"x")],
        &[("l", b'2', &canary, b""), ("l/secret", b'0', "", b"x"), ("k", b'1', "l/secret", b"")],
        &[("foo", b'2', &canary, b""), ("foo/.", b'5', "", b""), ("foo", b'5', "", b"")],
        &[("a", b'5', "", b""), ("a", b'2', "../../canary", b""), ("a/b", b'0', "", b"x")],
    ];
    for entries in hostile {
        place.context("a.tar", &tar(entries));
        place.apply(&MemoryTree::new(""), add("a.tar /")).unwrap();
    }
    let refused: &[&[Member<'_>]] = &[
        &[("k", b'1', "../../../canary/secret", b"")],
        &[("k", b'1', &canary, b"")],
        &[("x", b'0', "", b""), ("w", b'3', "", b"")],
        &[("x", b'0', "", b""), (".wh.x", b'0', "", b"")],
        &[("x", b'0', "", b""), (".", b'2', "/", b"")],
    ];
    for entries in refused {
        place.context("a.tar", &tar(entries));
        let result = place.apply(&MemoryTree::new(""), add("a.tar /"));
        assert!(matches!(result, Err(CopyError::Archive { .. })), "{:?}", entries.last());
    }
}

/// Says of every file that it holds what it does not.
struct Liar(ContextTree);

impl TreeView for Liar {
    fn node(&self, path: &ImagePath) -> Result<Option<crate::view::ViewNode>, ViewError> {
        self.0.node(path)
    }
    fn children(&self, path: &ImagePath) -> Result<Vec<Vec<u8>>, ViewError> {
        self.0.children(path)
    }
    fn content(&self, _path: &ImagePath) -> Result<bld_cache::tree::ContentHash, ViewError> {
        Ok(bld_cache::tree::ContentHash([0; 32]))
    }
    fn open(&self, path: &ImagePath) -> Result<fs::File, ViewError> {
        self.0.open(path)
    }
}

#[test]
fn other_bytes_than_those_of_the_key_are_not_stored() {
    let place = Place::new();
    place.context("f", b"f");
    let view = Liar(ContextTree::open(&place.path("context"), None, Arc::new(NoMemo)).unwrap());
    let layer = fs::File::open(place.path("layer")).unwrap();
    let sources = [Some(CopySource { view: &view, exclusions: None })];
    let result = apply(&operation(copies(&["f /x"])), &sources, &MemoryTree::new(""), layer.as_fd(), &options());
    assert!(matches!(result, Err(CopyError::View(ViewError::Changed { .. }))));
}

#[test]
fn a_file_that_changes_all_the_time_is_stored_as_hashed_or_not_at_all() {
    let place = Place::new();
    let path = place.path("context/f");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let layer = place.path("layer");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0_u8;
            let begun = std::time::Instant::now();
            // Not for ever: a failing assertion below must not leave this thread running.
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) && begun.elapsed().as_secs() < 30 {
                round = round.wrapping_add(1);
                fs::write(&path, vec![round; 4096 + usize::from(round) % 3]).unwrap();
            }
        });
        let (mut stored, mut refused) = (0, 0);
        for round in 0..300 {
            let directory = layer.join(round.to_string());
            fs::create_dir(&directory).unwrap();
            let layer = fs::File::open(&directory).unwrap();
            let context = ContextTree::open(&place.path("context"), None, Arc::new(NoMemo)).unwrap();
            let sources = [Some(CopySource { view: &context, exclusions: None })];
            let operation = operation(copies(&["f* /x/"]));
            match apply(&operation, &sources, &MemoryTree::new(""), layer.as_fd(), &options()) {
                Ok(applied) => {
                    stored += 1;
                    for (path, node) in &applied.tree {
                        let NodeKind::File { content, .. } = node.kind else { continue };
                        let bytes = fs::read(directory.join(path.to_string().trim_start_matches('/'))).unwrap();
                        assert_eq!(*blake3::hash(&bytes).as_bytes(), content.0);
                    }
                }
                Err(CopyError::View(ViewError::Changed { .. })) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(stored + refused, 300);
        assert!(refused > 0, "the race was never hit");
    });
}

#[test]
fn an_ignored_source_is_explained() {
    let place = Place::new();
    place.context("dist/app", b"app");
    place.context(".dockerignore", b"# built\n\ndist/*\n");
    let root = place.path("context");
    let ignore = crate::context::ignore_file(&root, None).unwrap();
    let context = ContextTree::open(&root, ignore, Arc::new(NoMemo)).unwrap();
    let source = CopySource { view: &context, exclusions: Some(&context) };
    let select = |line: &str| super::super::select(source, &copy(line).selector);
    let error = select("dist/app /x").unwrap_err();
    assert_eq!(error.to_string(), "`dist/app` not found");
    assert_eq!(error.hint().unwrap(), "it is excluded by .dockerignore:3 `dist/*`");
    let notes = select("dist/* /x/").unwrap().notes;
    assert_eq!(notes[0].to_string(), "`dist/*` matches no file: excluded by .dockerignore:3 `dist/*`");
}

#[test]
fn whiteout_devices_are_refused() {
    let mut source = MemoryTree::new("d/");
    source.put("/d/x", ViewKind::CharDevice { major: 0, minor: 0 }, b"");
    let directory = tempfile::tempdir().unwrap();
    let layer = fs::File::open(directory.path()).unwrap();
    let sources = [Some(CopySource { view: &source, exclusions: None })];
    let result = apply(&operation(copies(&["d /x"])), &sources, &MemoryTree::new(""), layer.as_fd(), &options());
    assert!(matches!(result, Err(CopyError::WhiteoutDevice { .. })));
}

#[test]
fn holes_stay_holes() {
    let place = Place::new();
    let file = fs::File::create(place.path("context/sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 32 << 20).unwrap();
    let blocks = file.metadata().unwrap().blocks();
    // As long as somebody may write to it, its bytes are looked at, and only long runs of zeros become holes.
    place.apply(&MemoryTree::new(""), copies(&["sparse /open"])).unwrap();
    assert!(place.meta("open").blocks() <= blocks + 128, "{} and {blocks}", place.meta("open").blocks());
    drop(file);
    place.apply(&MemoryTree::new(""), copies(&["sparse /s"])).unwrap();
    assert!(place.meta("s").blocks() <= blocks + 16, "{} and {blocks}", place.meta("s").blocks());
}
