//! Random layers: views against real overlay mounts, and scan, pack, unpack against each other.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use rustix::fs::XattrFlags;

use super::super::scan::scan;
use super::disk::{Mount, list, list_view};
use super::tar::{Archive, Header};
use super::{is_privileged, merged, mode, pack_bytes, unpack_bytes};

#[derive(Debug, Clone)]
enum Change {
    Directory(String, u32),
    File(String, String, u32),
    Symlink(String, String),
    Link(String, String),
    Fifo(String),
    Device(String),
    Attribute(String, String),
    Remove(String),
    Opaque(String),
}

fn a_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "a.b", "d-"]), 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn a_change() -> impl Strategy<Value = Change> {
    let mode = prop::sample::select(vec![0o755_u32, 0o700, 0o1777, 0o2750]);
    let file_mode = prop::sample::select(vec![0o644_u32, 0o600, 0o4755, 0o000]);
    prop_oneof![
        3 => (a_path(), mode).prop_map(|(path, mode)| Change::Directory(path, mode)),
        5 => (a_path(), "[a-z]{0,6}", file_mode).prop_map(|(path, body, mode)| Change::File(path, body, mode)),
        1 => (a_path(), a_path()).prop_map(|(path, target)| Change::Symlink(path, target)),
        2 => (a_path(), a_path()).prop_map(|(path, target)| Change::Link(path, target)),
        1 => a_path().prop_map(Change::Fifo),
        1 => a_path().prop_map(Change::Device),
        1 => (a_path(), "[a-z]{1,3}").prop_map(|(path, name)| Change::Attribute(path, name)),
        3 => a_path().prop_map(Change::Remove),
        1 => a_path().prop_map(Change::Opaque),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(a_change(), 0..25)
}

/// The changes as an archive. Links to nothing are left out when it is read back: their errors are tested elsewhere.
fn archive(changes: &[Change]) -> Vec<u8> {
    let mut archive = Archive::default().dir("./", 0o755);
    let mut files: Vec<&str> = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        let mtime = 1_000_000_000 + number as u64;
        let header = |name: &'static [u8]| Header { name, mtime, ..Header::default() };
        archive = match change {
            Change::Directory(path, mode) => {
                files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                archive.add(&Header { name: path.as_bytes(), kind: b'5', mode: *mode, ..header(b"") })
            }
            Change::File(path, body, mode) => {
                files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                files.push(path);
                let owner = (1000, 7);
                archive.add(&Header { name: path.as_bytes(), body: body.as_bytes(), mode: *mode, owner, ..header(b"") })
            }
            Change::Symlink(..) | Change::Opaque(..) if number % 3 != 0 => archive,
            Change::Symlink(path, target) => {
                files.clear();
                archive.symlink(&format!("links/{}", path.replace('/', "_")), target)
            }
            Change::Link(path, target) => {
                if files.contains(&target.as_str()) && !target.starts_with(path.as_str()) && !path.starts_with(target) {
                    files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                    archive.link(path, target)
                } else {
                    archive
                }
            }
            Change::Fifo(path) => {
                files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                archive.add(&Header { name: path.as_bytes(), kind: b'6', ..header(b"") })
            }
            Change::Device(path) => {
                files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                archive.device(path, b'3', (1, 3))
            }
            Change::Attribute(path, name) => {
                files.retain(|file| !file.starts_with(path.as_str()) && !path.starts_with(file));
                let key = format!("SCHILY.xattr.user.{name}");
                archive.add(&Header { name: path.as_bytes(), records: vec![(&key, b"value")], ..header(b"") })
            }
            Change::Remove(path) => {
                let (parent, name) = path.rsplit_once('/').map_or(("", path.as_str()), |(parent, name)| (parent, name));
                archive.file(&format!("{parent}/.wh.{name}"), "")
            }
            Change::Opaque(path) => archive.file(&format!("{path}/.wh..wh..opq"), ""),
        };
    }
    archive.end()
}

/// The changes as a step of a build would make them; what does not apply does nothing.
fn perform(root: &Path, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Directory(path, mode) => {
                if fs::create_dir_all(root.join(path)).is_ok() {
                    fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode)).unwrap();
                }
            }
            Change::File(path, body, mode) => {
                if is_plain(&root.join(path)) && fs::write(root.join(path), body).is_ok() {
                    fs::set_permissions(root.join(path), fs::Permissions::from_mode(*mode)).unwrap();
                }
            }
            Change::Symlink(path, target) => drop(symlink(target, root.join(path))),
            Change::Link(path, target) => drop(fs::hard_link(root.join(target), root.join(path))),
            Change::Fifo(path) => drop(fs::rename(root.join(path), root.join("moved"))),
            Change::Device(path) => {
                if is_plain(&root.join(path)) {
                    drop(fs::OpenOptions::new().append(true).open(root.join(path)));
                }
            }
            Change::Attribute(path, name) => {
                let name = format!("user.{name}");
                let _missing = rustix::fs::lsetxattr(root.join(path), name, b"value", XattrFlags::empty());
            }
            Change::Remove(path) | Change::Opaque(path) => {
                let path = root.join(path);
                let again = matches!(change, Change::Opaque(_)) && path.is_dir();
                drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
                if again {
                    fs::create_dir(&path).unwrap();
                }
            }
        }
    }
}

/// Whether opening it does not wait for another process, as it would for a pipe.
fn is_plain(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file())
}

fn check(layers: &[Vec<Change>], step: &[Change]) -> TestCaseResult {
    let directory = tempfile::tempdir().unwrap();
    let mut unpacked: Vec<(bld_cache::tree::Tree, PathBuf)> = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let path = directory.path().join(format!("layer{number}"));
        let lower: Vec<_> = unpacked.iter().map(|(tree, path)| (tree, path.as_path())).collect();
        let lower = merged(&lower);
        let layer = unpack_bytes(&archive(layer), &path, Some(&lower)).unwrap();
        prop_assert!(layer.fits(&lower).unwrap() || number == 0 || !layer.tree.is_empty());
        unpacked.push((layer.tree, path));
    }
    let lower_layers: Vec<_> = unpacked.iter().map(|(tree, path)| (tree, path.as_path())).collect();
    let lower = merged(&lower_layers);
    let paths: Vec<&Path> = lower_layers.iter().map(|(_, path)| *path).collect();

    let upper = directory.path().join("upper");
    let work = directory.path().join("work");
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let mount = Mount::new(&directory.path().join("mount"), &paths, Some((&upper, &work)));
    prop_assert_eq!(list_view(&lower), list(mount.path(), false));
    perform(mount.path(), step);
    let seen = list(mount.path(), false);
    drop(mount);

    let scanned = scan(&upper, &lower, mode()).unwrap();
    let mut layers = lower_layers.clone();
    layers.push((&scanned.tree, &upper));
    prop_assert_eq!(&list_view(&merged(&layers)), &seen);

    let bytes = pack_bytes(&scanned.tree, &upper);
    let again = directory.path().join("again");
    let unpacked_again = unpack_bytes(&bytes, &again, None).unwrap();
    prop_assert!(unpacked_again.fits(&lower).unwrap());
    prop_assert_eq!(scanned.tree.digest(), unpacked_again.tree.digest());
    let mut paths = paths.clone();
    paths.push(&again);
    let mount = Mount::new(&directory.path().join("mount2"), &paths, None);
    prop_assert_eq!(list(mount.path(), false), seen);
    drop(mount);
    prop_assert_eq!(&bytes, &pack_bytes(&unpacked_again.tree, &again));
    let rescanned = scan(&again, &lower, mode()).unwrap();
    prop_assert_eq!(rescanned.tree.digest(), scanned.tree.digest());
    Ok(())
}

#[test]
fn views_and_layers_mean_what_overlayfs_shows() {
    if !is_privileged("mounting an overlay") {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    proptest!(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }, |(
        layers in prop::collection::vec(changes(), 1..4),
        step in changes(),
    )| {
        check(&layers, &step)?;
    });
}
