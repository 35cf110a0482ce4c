//! Layers that try to reach out of their directory. Each row is an archive, or several on top of each other; afterwards the canary
//! beside the layer directory is as before, and the layer either failed for the right reason or holds what it should.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use bld_cache::tree::NodeKind;

use super::super::Note;
use super::disk::{Listing, Mount, list};
use super::tar::{Archive, Header};
use super::{is_privileged, merged, pack_bytes, path, unpack_bytes};

struct Case {
    canary: tempfile::TempDir,
    work: tempfile::TempDir,
    before: Listing,
}

impl Case {
    fn new() -> Case {
        let canary = tempfile::Builder::new().prefix("canary").tempdir().unwrap();
        let at = canary.path();
        fs::write(at.join("secret"), "the canary's secret").unwrap();
        fs::set_permissions(at.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(at.join("perm400"), "").unwrap();
        fs::set_permissions(at.join("perm400"), fs::Permissions::from_mode(0o400)).unwrap();
        fs::create_dir(at.join("dir700")).unwrap();
        fs::set_permissions(at.join("dir700"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(at.join("empty"), "").unwrap();
        fs::create_dir(at.join("emptydir")).unwrap();
        fs::write(at.join("ptmx"), "").unwrap();
        let before = list(at, true);
        Case { work: tempfile::tempdir().unwrap(), before, canary }
    }

    fn canary(&self) -> &str {
        self.canary.path().to_str().unwrap()
    }

    /// Unpacks and checks that nothing outside changed; the error as text with its causes.
    fn unpack(&self, archive: Archive, lower: Option<&dyn crate::view::TreeView>) -> Result<super::Unpacked, String> {
        let layer = self.layer();
        drop(fs::remove_dir_all(&layer));
        let result = unpack_bytes(&archive.end(), &layer, lower);
        assert_eq!(list(self.canary.path(), true), self.before, "the canary changed");
        assert_eq!(fs::metadata(self.canary.path().join("secret")).unwrap().nlink(), 1);
        for entry in fs::read_dir(self.work.path()).unwrap() {
            assert_eq!(entry.unwrap().file_name(), "layer", "something was made beside the layer");
        }
        for (name, what) in list(&layer, true) {
            assert!(!what.contains(&blake3::hash(b"the canary's secret").to_string()), "{name:?} has the secret");
        }
        result.map_err(|error| {
            let mut text = error.to_string();
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                text = format!("{text}: {next}");
                cause = next;
            }
            text
        })
    }

    fn layer(&self) -> std::path::PathBuf {
        self.work.path().join("layer")
    }

    fn holds(&self, archive: Archive, files: &[(&str, &str)]) {
        self.unpack(archive, None).unwrap();
        for (path, body) in files {
            let path = self.layer().join(path);
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{}", path.display());
            assert_eq!(fs::read_to_string(&path).unwrap(), *body);
        }
    }

    fn fails(&self, archive: Archive, message: &str) {
        let error = self.unpack(archive, None).expect_err(message);
        assert!(error.contains(message), "{error:?} does not contain {message:?}");
    }
}

fn tar() -> Archive {
    Archive::default()
}

#[test]
fn l1_files_through_links_stay_inside() {
    for target in ["/etc", "/dummy/../etc", "etc", "../../../etc"] {
        let case = Case::new();
        let archive = tar().dir("etc/", 0o755).symlink("localetc", target).file("localetc/unbroken", "x");
        case.holds(archive, &[("etc/unbroken", "x")]);
    }
    let case = Case::new();
    let chain = tar().dir("etc/", 0o755).symlink("one", "two").symlink("two", "/etc").file("one/unbroken", "x");
    case.holds(chain, &[("etc/unbroken", "x")]);
    case.fails(tar().symlink("a", "b").symlink("b", "a").file("a/x", ""), "too many levels of symbolic links");
}

#[test]
fn l2_l3_names_are_inside_the_image() {
    let case = Case::new();
    let outside = case.canary().to_owned();
    for name in [format!("..{outside}/pwn"), format!("/../..{outside}/pwn"), format!("a/../../..{outside}/pwn")] {
        let inside = format!("{}/pwn", outside.trim_start_matches('/'));
        case.holds(tar().file(&name, "x"), &[(&inside, "x")]);
    }
    case.holds(tar().file("/etc/shadow", "x"), &[("etc/shadow", "x")]);
    case.fails(tar().dir("foo", 0o755).file("foo/tmp/../..", ""), "root directory");
}

#[test]
fn l4_hard_links_are_to_files_of_the_layer() {
    let case = Case::new();
    let secret = format!("{}/secret", case.canary());
    case.fails(tar().link("x", &secret), "which is not in this layer");
    case.fails(tar().link("x", &format!("../../../..{secret}")), "which is not in this layer");
    let archive = tar().dir("breakouts", 0o755).symlink("breakouts/d1", "../../etc").file("etc/file", "inside");
    case.holds(archive.link("breakouts/x", "breakouts/d1/file"), &[("breakouts/x", "inside")]);
    let found = case.unpack(tar().file("b", "x").link("a", "b").link("c", "a").link("c", "c"), None).unwrap();
    let first = |name: &str| match &found.tree.get(&path(name)).unwrap().kind {
        NodeKind::File { hardlink, .. } => hardlink.clone(),
        kind => panic!("{kind:?}"),
    };
    assert_eq!([first("a"), first("b"), first("c")], [None, Some(path("a")), Some(path("a"))]);
    assert_eq!(fs::metadata(case.layer().join("c")).unwrap().nlink(), 3);
    case.fails(tar().file("d/x", "").link("d", "d/x"), "cannot be a hard link");
    case.fails(tar().dir("d", 0o755).link("x", "d"), "cannot be a hard link");
}

#[test]
fn l5_l6_modes_do_not_follow_links() {
    let case = Case::new();
    let archive = tar().symlink("ep", &format!("{}/perm400", case.canary())).link("sketchy", "ep");
    case.unpack(archive, None).unwrap();
    assert!(fs::symlink_metadata(case.layer().join("sketchy")).unwrap().is_symlink());
    for name in ["foo/.", "foo", "foo/"] {
        let archive = tar().symlink("foo", &format!("{}/dir700", case.canary())).dir(name, 0o777);
        case.unpack(archive, None).unwrap();
        let found = fs::symlink_metadata(case.layer().join("foo")).unwrap();
        assert!(found.is_dir() && found.mode() & 0o7777 == 0o777);
    }
}

#[test]
fn l7_directories_turned_into_links_are_noticed() {
    let case = Case::new();
    let archive = tar().dir("foo", 0o755).dir("foo/tmp", 0o755).file("foo/tmp/a", "1").symlink("foo", "/");
    let archive = archive.file("foo/tmp/b", "2").dir("foo", 0o755).dir("foo/tmp", 0o755).file("foo/tmp/c", "3");
    case.holds(archive, &[("tmp/b", "2"), ("foo/tmp/c", "3")]);
    assert!(!case.layer().join("foo/tmp/a").exists());
}

#[test]
fn l8_the_root_stays_a_directory() {
    let case = Case::new();
    for name in [".", "/.", "./", "", "..", "/"] {
        case.fails(tar().symlink(name, case.canary()).file("pwn", "x"), "root directory");
        case.fails(tar().file(name, "x"), "root directory");
    }
}

#[test]
fn l9_links_of_lower_layers_are_not_followed_outside() {
    let case = Case::new();
    let lower_directory = tempfile::tempdir().unwrap();
    let lower = unpack_bytes(&tar().symlink("a", case.canary()).end(), lower_directory.path(), None).unwrap();
    let lower = merged(&[(&lower.tree, lower_directory.path())]);
    for view in [None, Some(&lower as &dyn crate::view::TreeView)] {
        case.unpack(tar().file("a/.wh.secret", ""), view).unwrap();
        case.unpack(tar().file("a/.wh..wh..opq", ""), view).unwrap();
        case.unpack(tar().dir("a", 0o777), view).unwrap();
        assert_eq!(fs::symlink_metadata(case.layer().join("a")).unwrap().mode() & 0o7777, 0o777);
        let error = case.unpack(tar().link("a/x", "a/secret"), view).unwrap_err();
        assert!(error.contains("which is not in this layer"), "{error}");
        case.unpack(tar().file("a/pwn", "x"), view).unwrap();
    }
    // With the lower layers known, the file is where the link leads inside of the image.
    let inside = format!("{}/pwn", case.canary().trim_start_matches('/'));
    assert!(case.layer().join(inside).is_file());
    assert!(!case.unpack(tar().file("a/pwn", "x"), None).unwrap().fits(&lower).unwrap());
}

#[test]
fn l10_whiteouts_of_nothing_or_parents_fail() {
    let case = Case::new();
    for name in [".wh..", ".wh...", "etc/.wh..", "etc/.wh...", ".wh.", "some/path/.wh."] {
        case.fails(tar().dir("etc", 0o755).file(name, ""), "invalid whiteout");
    }
}

#[test]
fn l11_whiteouts() {
    let case = Case::new();
    let kind = |found: &super::Unpacked, name: &str| found.tree.get(&path(name)).map(|node| node.kind.clone());
    let opaque = |opaque| Some(NodeKind::Directory { opaque });

    let found =
        case.unpack(tar().dir("etc", 0o755).symlink("localetc", "etc").file("localetc/.wh.x", ""), None).unwrap();
    assert_eq!(kind(&found, "etc/x"), Some(NodeKind::Whiteout));
    assert!(fs::symlink_metadata(case.layer().join("etc/x")).unwrap().file_type().is_char_device());

    let found = case.unpack(tar().file(".wh.etc/somefile", "x"), None);
    assert!(found.is_ok_and(|found| matches!(kind(&found, ".wh.etc/somefile"), Some(NodeKind::File { .. }))));

    let archive = tar().dir("d", 0o755).file("d/kept", "").file("d/.wh..wh..opq", "").file("d/.wh.gone", "");
    let found = case.unpack(archive, None).unwrap();
    assert_eq!((kind(&found, "d"), kind(&found, "d/gone")), (opaque(true), None));
    assert!(kind(&found, "d/kept").is_some() && !case.layer().join("d/gone").exists());

    // A deletion is about lower layers, whichever of the two comes first.
    for archive in [tar().file(".wh.d", "").dir("d", 0o755), tar().dir("d", 0o755).file(".wh.d", "")] {
        assert_eq!(kind(&case.unpack(archive, None).unwrap(), "d"), opaque(true));
    }
    let found = case.unpack(tar().file("f", "x").file(".wh.f", ""), None).unwrap();
    assert!(matches!(kind(&found, "f"), Some(NodeKind::File { .. })));
    let found = case.unpack(tar().file("f", "x").file("f/.wh.g", ""), None).unwrap();
    assert!(matches!(kind(&found, "f"), Some(NodeKind::File { .. })) && found.tree.len() == 1);

    let header = Header { name: b"t/", kind: b'5', mode: 0o755, mtime: 1234, ..Header::default() };
    case.unpack(tar().add(&header).file("t/.wh.x", ""), None).unwrap();
    assert_eq!(fs::metadata(case.layer().join("t")).unwrap().mtime(), 1234);

    // Where the lower layers are known, deletions of nothing do nothing.
    let lower_directory = tempfile::tempdir().unwrap();
    let archive = tar().file("etc/x", "").symlink("dead", "/nowhere").end();
    let lower = unpack_bytes(&archive, lower_directory.path(), None).unwrap();
    let lower = merged(&[(&lower.tree, lower_directory.path())]);
    let archive = tar().file("etc/.wh.x", "").file("etc/.wh.y", "").file("dead/.wh.z", "").file("new/.wh.z", "");
    let found = case.unpack(archive, Some(&lower)).unwrap();
    let names: Vec<_> = found.tree.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["/etc", "/etc/x"]);
    assert!(found.fits(&lower).unwrap());

    // overlayfs does not look at the marker on the root.
    let found = case.unpack(tar().file(".wh..wh..opq", "").file("etc/new", ""), Some(&lower)).unwrap();
    assert_eq!((kind(&found, "dead"), kind(&found, "etc")), (Some(NodeKind::Whiteout), opaque(true)));
    assert!(!case.unpack(tar().file(".wh..wh..opq", ""), None).unwrap().fits(&lower).unwrap());
}

type Make = fn(Archive) -> Archive;

#[test]
fn l12_l13_the_last_entry_wins() {
    let case = Case::new();
    case.holds(tar().file("nondir", "").file("nondir/foo/bar/baz", "x"), &[("nondir/foo/bar/baz", "x")]);
    let makes: [(&str, Make); 4] = [
        ("file", |archive| archive.file("p", "body")),
        ("directory", |archive| archive.dir("p", 0o711).file("p/child", "")),
        ("symlink", |archive| archive.symlink("p", "other")),
        ("fifo", |archive| archive.device("p", b'6', (0, 0))),
    ];
    for (_, first) in makes {
        for (_, second) in makes {
            for (name, last) in makes {
                let found = case.unpack(last(second(first(tar()))), None).unwrap();
                let on_disk = fs::symlink_metadata(case.layer().join("p")).unwrap();
                let kind = match &found.tree.get(&path("p")).unwrap().kind {
                    NodeKind::File { .. } => ("file", on_disk.is_file()),
                    NodeKind::Directory { .. } => ("directory", on_disk.is_dir()),
                    NodeKind::Symlink { .. } => ("symlink", on_disk.is_symlink()),
                    NodeKind::Fifo => ("fifo", on_disk.file_type().is_fifo()),
                    kind => panic!("{kind:?}"),
                };
                assert_eq!(kind, (name, true));
                assert_eq!(found.tree.len(), list(&case.layer(), true).len() - 1, "index and disk differ");
            }
        }
    }
    case.holds(tar().file("d", "one").link("e", "d").file("d", "two"), &[("d", "two"), ("e", "one")]);
}

#[test]
fn l14_l16_devices_that_cannot_be() {
    let case = Case::new();
    case.fails(tar().device("victim", b'3', (0, 0)), "whiteout device in");
    case.fails(tar().device("d", b'3', (4096, 0)), "out of range");
    case.fails(tar().device("d", b'4', (0, 1 << 20)), "out of range");
}

#[test]
fn l15_attributes_of_overlayfs_are_never_obeyed() {
    if !is_privileged("trusted attributes") {
        return;
    }
    let case = Case::new();
    let mut records: Vec<(String, &[u8])> = Vec::new();
    for name in ["redirect", "opaque", "metacopy", "origin", "whiteout"] {
        for kind in ["trusted", "user"] {
            records
                .push((format!("SCHILY.xattr.{kind}.overlay.{name}"), if name == "redirect" { b"/etc" } else { b"y" }));
        }
    }
    records.push(("SCHILY.xattr.user.kept".to_owned(), b"1"));
    records.push(("SCHILY.xattr.security.selinux".to_owned(), b"label"));
    let records = records.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let header = Header { name: b"d/", kind: b'5', mode: 0o755, records, ..Header::default() };
    let found = case.unpack(tar().add(&header).file("d/own", ""), None).unwrap();
    assert!(found.notes.contains(&Note::AttributeDropped { path: path("d"), name: b"security.selinux".to_vec() }));
    let lower = tempfile::tempdir().unwrap();
    let archive = tar().file("etc/passwd", "").file("d/below", "").end();
    unpack_bytes(&archive, lower.path(), None).unwrap();
    let top = case.work.path().join("mount");
    let mount = Mount::new(&top, &[lower.path(), &case.layer()], None);
    let mut names: Vec<_> = fs::read_dir(top.join("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["below", "own"]);
    drop(mount);
    let again = pack_bytes(&found.tree, &case.layer());
    let other = tempfile::tempdir().unwrap();
    let again = unpack_bytes(&again, &other.path().join("again"), None).unwrap();
    assert_eq!(again.tree.get(&path("d")).unwrap().metadata.xattrs[b"user.kept".as_slice()], b"1");
}

#[test]
fn l17_devices_are_made_by_root_alone() {
    if !is_privileged("making devices") {
        return;
    }
    let case = Case::new();
    case.unpack(tar().device("sda", b'4', (8, 0)), None).unwrap();
    let found = fs::symlink_metadata(case.layer().join("sda")).unwrap();
    assert!(found.file_type().is_block_device() && found.rdev() == rustix::fs::makedev(8, 0));
}

#[test]
fn l25_names_of_any_kind_and_length() {
    let case = Case::new();
    let long = vec!["d"; 3000].join("/");
    case.fails(tar().file(&long, ""), "4096 bytes");
    let deep = vec!["d"; 1500].join("/");
    case.unpack(tar().file(&deep, "x").file(&format!("{deep}x"), "y"), None).unwrap();
    super::super::remove::remove(&case.layer()).unwrap();
    let name = [b'a', 0xff, b'\\', b'\n'];
    let found = case.unpack(tar().add(&Header { name: &name, ..Header::default() }), None).unwrap();
    assert_eq!(found.tree.iter().next().unwrap().0.relative(), name);
    case.fails(tar().file(&"n".repeat(256), ""), "255");
    case.unpack(tar().symlink("l", &"t".repeat(4000)), None).unwrap();
}

#[test]
fn l26_too_much_is_refused() {
    let case = Case::new();
    let value = vec![b'v'; 70_000];
    let records = vec![("SCHILY.xattr.user.big", value.as_slice())];
    case.fails(tar().add(&Header { name: b"f", records, ..Header::default() }), "65536 bytes");
    let value = vec![b'v'; 60_000];
    let records = vec![("SCHILY.xattr.user.big", value.as_slice())];
    let mut archive = tar().add(&Header { name: b"f", records, ..Header::default() });
    for number in 0..1200 {
        archive = archive.link(&format!("l{number}"), "f");
    }
    case.fails(archive, "bytes of extended attributes");
    fs::remove_dir_all(case.layer()).unwrap();
    fs::create_dir(case.layer()).unwrap();
    let options = super::UnpackOptions { mode: super::mode(), lower: None, max_bytes: 3 };
    let archive = tar().file("a", "ab").file("b", "cd").end();
    let mut reader = bld_oci::layer::LayerReader::new(archive.as_slice());
    let error = super::unpack(&mut reader, &case.layer(), options).unwrap_err();
    let expected = "no space left on device: the layer has more than the 3 bytes that may be used (at /b)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn l31_neither_umask_nor_the_user_shows() {
    let case = Case::new();
    let header = Header { name: b"f", mode: 0o6777, owner: (1000, 1001), ..Header::default() };
    case.unpack(tar().add(&header).file("i/f", "").dir("d", 0o777).device("p", b'6', (0, 0)), None).unwrap();
    let look = |name: &str| fs::symlink_metadata(case.layer().join(name)).unwrap();
    assert_eq!(look("").mode() & 0o7777, 0o755);
    assert_eq!(look("i").mode() & 0o7777, 0o755);
    assert_eq!(look("d").mode() & 0o7777, 0o777);
    assert_eq!(look("p").mode() & 0o7777, 0o644);
    if is_privileged("giving files away") {
        assert_eq!((look("f").mode() & 0o7777, look("f").uid(), look("f").gid()), (0o6777, 1000, 1001));
    }
}

#[test]
fn truncated_layers_fail() {
    let case = Case::new();
    let whole = tar().dir("d", 0o755).file("d/f", &"x".repeat(3000)).file("g", "").end();
    let layer = case.layer();
    for length in (512..whole.len() - 1024).step_by(512) {
        drop(fs::remove_dir_all(&layer));
        let cut = length != 512 && length != 512 * 8;
        let result = unpack_bytes(&whole[..length], &layer, None);
        assert!(result.is_err() || !cut, "cut at {length}");
    }
}

#[test]
fn holes_stay_holes() {
    let case = Case::new();
    let body = format!("{}{}", "\0".repeat(1 << 20), "end");
    case.unpack(tar().file("f", &body).file("g", &"\0".repeat(300_000)), None).unwrap();
    let found = fs::metadata(case.layer().join("f")).unwrap();
    assert_eq!(found.len(), body.len() as u64);
    assert!(found.blocks() * 512 < 200_000);
    assert_eq!(fs::read_to_string(case.layer().join("f")).unwrap(), body);
    assert_eq!(fs::read(case.layer().join("g")).unwrap(), vec![0; 300_000]);
}

#[test]
fn links_to_files_of_lower_layers_are_copies() {
    let case = Case::new();
    let lower_directory = tempfile::tempdir().unwrap();
    let lower = unpack_bytes(&tar().file("low", "lower bytes").end(), lower_directory.path(), None).unwrap();
    let lower = merged(&[(&lower.tree, lower_directory.path())]);
    case.unpack(tar().link("x", "low"), Some(&lower)).unwrap();
    assert_eq!(fs::read_to_string(case.layer().join("x")).unwrap(), "lower bytes");
}

#[test]
fn directories_that_the_archive_leaves_out_are_the_lower_ones() {
    let case = Case::new();
    let lower_directory = tempfile::tempdir().unwrap();
    let archive = tar().dir("tmp", 0o1777).dir("usr/bin", 0o755).symlink("bin", "usr/bin").end();
    let lower = unpack_bytes(&archive, lower_directory.path(), None).unwrap();
    let lower = merged(&[(&lower.tree, lower_directory.path())]);
    let fits = |archive: Archive| case.unpack(archive, None).unwrap().fits(&lower).unwrap();
    assert!(!fits(tar().file("tmp/x", "")) && !fits(tar().file("bin/x", "")) && !fits(tar().file(".wh.none", "")));
    assert!(fits(tar().file("new/x", "")) && fits(tar().dir("tmp", 0o755).file("tmp/x", "")));
    case.unpack(tar().file("tmp/x", "").file("bin/x", ""), Some(&lower)).unwrap();
    assert_eq!(fs::metadata(case.layer().join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert!(case.layer().join("usr/bin/x").is_file() && !case.layer().join("bin").exists());
    assert!(Path::new(case.canary()).exists());
}
