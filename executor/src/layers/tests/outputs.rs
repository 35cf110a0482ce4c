//! Exports and removal.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bld_oci::layer::{LayerReader, LayerWriter};

use super::super::export::{ExportOptions, export_directory, export_tar};
use super::super::remove::remove;
use super::super::scan::scan;
use super::disk::list;
use super::tar::{Archive, Header};
use super::{merged, path, unpack_bytes};
use crate::view::merged::MergedTree;
use crate::view::{TreeView, ViewKind, resolve};

fn view(directory: &Path) -> MergedTree {
    let base = Archive::default().dir("etc", 0o700).file("etc/gone", "").file("etc/kept", "kept").symlink("ln", "etc");
    let base = base.file("data/a", "same").link("data/b", "data/a").dir("closed", 0o000);
    let base = unpack_bytes(&base.end(), &directory.join("0"), None).unwrap();
    let mode = Header { name: b"etc/tool", body: b"tool", mode: 0o4755, mtime: 5, ..Header::default() };
    let top = Archive::default().dir("etc", 0o711).file("etc/.wh.gone", "").add(&mode).file("data/c", "");
    let top = unpack_bytes(&top.end(), &directory.join("1"), None).unwrap();
    merged(&[(&base.tree, &directory.join("0")), (&top.tree, &directory.join("1"))])
}

#[test]
fn views_show_layers_on_top_of_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let view = view(directory.path());
    assert_eq!(view.children(&path("/")).unwrap(), [b"closed".to_vec(), b"data".into(), b"etc".into(), b"ln".into()]);
    assert_eq!(view.children(&path("etc")).unwrap(), [b"kept".to_vec(), b"tool".into()]);
    assert_eq!(view.node(&path("etc")).unwrap().unwrap().metadata.mode, 0o711);
    assert!(view.node(&path("etc/gone")).unwrap().is_none() && view.node(&path("ln/kept")).unwrap().is_none());
    assert_eq!(resolve(&view, &path("ln/kept"), true).unwrap().0, path("etc/kept"));
    let group = |name: &str| match view.node(&path(name)).unwrap().unwrap().kind {
        ViewKind::File { link_group, .. } => link_group,
        kind => panic!("{kind:?}"),
    };
    assert!(group("data/a").is_some() && group("data/a") == group("data/b") && group("data/c").is_none());
    assert!(view.open(&path("etc")).is_err() && view.open(&path("ln")).is_err());
}

#[test]
fn an_exported_archive_is_the_whole_root() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    export_tar(&view(directory.path()), &mut writer, Some(bld_oci::Timestamp::from_seconds(9))).unwrap();
    let bytes = writer.finish().unwrap();
    let mut reader = LayerReader::archive(bytes.as_slice());
    let mut names = Vec::new();
    while let Some((entry, _)) = reader.next_entry().unwrap() {
        assert!(entry.metadata.mtime.seconds <= 9);
        names.push(entry.path.to_string());
    }
    let expected = ["/closed", "/data", "/data/a", "/data/b", "/data/c", "/etc", "/etc/kept", "/etc/tool", "/ln"];
    assert_eq!(names, expected);
}

#[test]
fn an_exported_directory_replaces_and_keeps_but_follows_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let view = view(&directory.path().join("layers"));
    let canary = directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("kept"), "canary").unwrap();
    let before = list(&canary, true);
    let out = directory.path().join("out");
    fs::create_dir_all(out.join("data")).unwrap();
    symlink(&canary, out.join("etc")).unwrap();
    symlink(canary.join("kept"), out.join("data/a")).unwrap();
    fs::write(out.join("data/mine"), "mine").unwrap();
    for _ in 0..2 {
        assert!(export_directory(&view, &out, ExportOptions::default()).unwrap().is_empty());
        assert_eq!(list(&canary, true), before);
        assert_eq!(fs::read_to_string(out.join("etc/kept")).unwrap(), "kept");
        assert_eq!(fs::read_to_string(out.join("data/mine")).unwrap(), "mine");
        assert_eq!(fs::metadata(out.join("data/a")).unwrap().nlink(), 2);
        let tool = fs::metadata(out.join("etc/tool")).unwrap();
        assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o4755, 5));
        assert_eq!(fs::metadata(out.join("etc")).unwrap().mode() & 0o7777, 0o711);
        assert_eq!(fs::read_link(out.join("ln")).unwrap(), Path::new("etc"));
    }
    fs::remove_file(out.join("ln")).unwrap();
    fs::create_dir(out.join("ln")).unwrap();
    let error = export_directory(&view, &out, ExportOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot replace the directory {} by a file", out.join("ln").display()));
    fs::set_permissions(out.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_nobody_may_read_is_packed_and_scanned_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let header = Header { name: b"closed/shadow", body: b"x", mode: 0o000, ..Header::default() };
    let archive = Archive::default().dir("closed", 0o000).add(&header).end();
    let layer = directory.path().join("layer");
    let unpacked = unpack_bytes(&archive, &layer, None).unwrap();
    let bytes = super::pack_bytes(&unpacked.tree, &layer);
    assert_eq!(scan(&layer, &merged(&[]), super::mode()).unwrap().tree.digest(), unpacked.tree.digest());
    let again = unpack_bytes(&bytes, &directory.path().join("again"), None).unwrap();
    assert_eq!(again.tree, unpacked.tree);
    assert_eq!(fs::metadata(layer.join("closed")).unwrap().mode() & 0o7777, 0o000);
    remove(&layer).unwrap();
    remove(&directory.path().join("again")).unwrap();
}

#[test]
fn removal_takes_everything_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "").unwrap();
    let before = list(&canary, true);
    let tree = directory.path().join("tree");
    let mut deep = tree.clone();
    for _ in 0..200 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    fs::create_dir(tree.join("deep-0")).unwrap();
    symlink(&canary, tree.join("link")).unwrap();
    fs::hard_link(canary.join("file"), tree.join("hard")).unwrap();
    fs::create_dir(tree.join("closed")).unwrap();
    fs::write(tree.join("closed/file"), "").unwrap();
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    remove(&tree).unwrap();
    assert!(!tree.exists());
    assert_eq!(list(&canary, true), before);
    remove(&tree).unwrap();
    symlink(&canary, &tree).unwrap();
    remove(&tree).unwrap();
    assert_eq!(list(&canary, true), before);
}

#[test]
fn removal_stops_at_mounts() {
    if !super::is_privileged("mounting") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "").unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("a/mounted")).unwrap();
    rustix::mount::mount_bind(&canary, tree.join("a/mounted")).unwrap();
    let error = remove(&tree);
    rustix::mount::unmount(tree.join("a/mounted"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(error.unwrap_err().to_string().contains("something is mounted there"));
    assert!(canary.join("file").exists());
}
