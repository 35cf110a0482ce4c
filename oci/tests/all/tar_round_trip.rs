//! What LayerWriter writes, read by LayerReader and by GNU tar.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerEntry;
use bld_oci::layer::LayerWriter;
use bld_oci::layer::Metadata;
use bld_oci::layer::WriteError;
use proptest::prelude::*;

use crate::raw::read;

fn metadata() -> Metadata {
    Metadata { mode: 0o644, uid: 1, gid: 2, mtime: Timestamp::from_seconds(1_600_000_000), xattrs: BTreeMap::new() }
}

fn entry(path: &str, kind: EntryKind) -> LayerEntry {
    LayerEntry { path: ImagePath::new(path), kind, metadata: metadata() }
}

fn write(entries: &[(LayerEntry, Vec<u8>)]) -> Result<Vec<u8>, WriteError> {
    let mut writer = LayerWriter::new(Vec::new());
    for (entry, content) in entries {
        let mut content = content.as_slice();
        let has_content = matches!(entry.kind, EntryKind::File { .. });
        writer.append(entry, has_content.then_some(&mut content as &mut dyn Read))?;
    }
    writer.finish()
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let name =
        proptest::collection::vec(any::<u8>().prop_filter("not in a name", |byte| !matches!(byte, 0 | b'=')), 1..8);
    let xattr = (name, proptest::collection::vec(any::<u8>(), 0..20));
    let xattrs = proptest::collection::btree_map(
        xattr.prop_map(|(name, value)| ([b"user.".as_slice(), &name].concat(), value)),
        Just(()),
        0..4,
    );
    let time = (-100_000_000_000_i64..100_000_000_000, prop_oneof![Just(0), 0..1_000_000_000_u32]);
    (0..0o10000_u32, 0..u32::MAX, 0..3_000_000_u32, time, xattrs).prop_map(
        |(mode, uid, gid, (seconds, nanoseconds), xattrs)| {
            let mtime = Timestamp { seconds, nanoseconds };
            Metadata { mode, uid, gid, mtime, xattrs: xattrs.into_keys().collect() }
        },
    )
}

fn any_path() -> impl Strategy<Value = ImagePath> {
    let byte = prop_oneof![8 => Just(b'a'), 1 => Just(b'/'), 1 => 1..=255_u8];
    let component = proptest::collection::vec(byte, 1..90);
    proptest::collection::vec(component, 1..5)
        .prop_map(|parts| ImagePath::new(parts.join(&b'/')))
        .prop_filter("reserved or root", |path| path.file_name().is_some_and(|name| !name.starts_with(b".wh.")))
}

fn any_kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        Just(EntryKind::Directory),
        (0..3000_u64).prop_map(|size| EntryKind::File { size }),
        proptest::collection::vec(1..=255_u8, 1..300).prop_map(|target| EntryKind::Symlink { target }),
        Just(EntryKind::Hardlink { target: ImagePath::new("/ ") }),
        (0..4096_u32, 1..1_048_576_u32).prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
        Just(EntryKind::Fifo),
        Just(EntryKind::Whiteout),
        Just(EntryKind::Opaque),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read(rows in proptest::collection::btree_map(any_path(), (any_kind(), any_metadata()), 0..12)) {
        let entries: Vec<(LayerEntry, Vec<u8>)> = rows
            .into_iter()
            .filter(|(path, (kind, _))| !matches!(kind, EntryKind::Hardlink { target } if target >= path))
            .map(|(path, (kind, metadata))| {
                let size = if let EntryKind::File { size } = kind { size } else { 0 };
                (LayerEntry { path, kind, metadata }, vec![7; usize::try_from(size).unwrap()])
            })
            .collect();
        let tar = write(&entries).unwrap();
        prop_assert_eq!(&tar, &write(&entries).unwrap());
        let found = read(&tar).unwrap();
        prop_assert_eq!(found.len(), entries.len());
        for ((found, found_content), (entry, content)) in found.into_iter().zip(entries) {
            let mut expected = entry;
            match expected.kind {
                EntryKind::Whiteout | EntryKind::Opaque => expected.metadata = found.metadata.clone(),
                EntryKind::Hardlink { .. } => expected.metadata.xattrs.clear(),
                _ => {}
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(found_content, content);
        }
    }

    #[test]
    fn reading_any_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ignored = read(&bytes);
    }

    #[test]
    fn reading_damaged_layers_ends(position in 0..4096_usize, value in any::<u8>()) {
        let mut long = entry(&"d/".repeat(90), EntryKind::Directory);
        long.metadata.xattrs.insert(b"user.a".to_vec(), b"b".to_vec());
        let mut tar = write(&[(long, vec![]), (entry("/z", EntryKind::File { size: 600 }), vec![1; 600])]).unwrap();
        if let Some(byte) = tar.get_mut(position) {
            *byte = value;
        }
        let _ignored = read(&tar);
    }

    #[test]
    fn paths_clean_to_themselves(bytes in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
        let path = ImagePath::new(&bytes);
        prop_assert_eq!(&ImagePath::new(path.as_bytes()), &path);
        prop_assert_eq!(&ImagePath::new(path.relative()), &path);
        prop_assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..") && !part.contains(&0)));
        prop_assert!(path.parent().is_none_or(|parent| path.starts_with(&parent) && parent < path));
    }
}

#[test]
fn large_numbers() {
    let mut large = entry("/a", EntryKind::Directory);
    large.metadata.uid = 4_000_000_000;
    large.metadata.gid = 2_097_152;
    let tar = write(&[(large.clone(), vec![])]).unwrap();
    assert_eq!(read(&tar).unwrap()[0].0, large);
    // More than 8 GiB: only the headers are made here.
    let mut writer = LayerWriter::new(Vec::new());
    let error = writer.append(&entry("/b", EntryKind::File { size: 9 << 30 }), Some(&mut b"".as_slice())).unwrap_err();
    assert!(matches!(error, WriteError::Size { expected: 9_663_676_416, found: 0, .. }));
}

#[test]
fn order_and_content_are_checked() {
    let file = |path: &str| (entry(path, EntryKind::File { size: 0 }), vec![]);
    let directory = |path: &str| (entry(path, EntryKind::Directory), vec![]);
    let opaque = |path: &str| (entry(path, EntryKind::Opaque), vec![]);
    assert!(write(&[directory("/"), directory("/a"), opaque("/a"), file("/a/b"), file("/a-b")]).is_ok());
    assert!(matches!(write(&[file("/b"), file("/a")]), Err(WriteError::Order { .. })));
    assert!(matches!(write(&[file("/a"), file("/a")]), Err(WriteError::Order { .. })));
    assert!(matches!(write(&[file("/a-b"), file("/a/b")]), Err(WriteError::Order { .. })));
    assert!(matches!(write(&[opaque("/a"), directory("/a")]), Err(WriteError::Order { .. })));
    let link = (entry("/a", EntryKind::Hardlink { target: ImagePath::new("/b") }), vec![]);
    assert!(matches!(write(&[link]), Err(WriteError::LinkOrder { .. })));
    assert!(matches!(write(&[file("/.wh.a")]), Err(WriteError::Reserved { .. })));
    assert!(matches!(write(&[file("/")]), Err(WriteError::Root)));
    for (size, found) in [(3, 2), (1, 2)] {
        let mut writer = LayerWriter::new(Vec::new());
        let error = writer.append(&entry("/a", EntryKind::File { size }), Some(&mut b"ab".as_slice())).unwrap_err();
        assert!(matches!(error, WriteError::Size { found: number, .. } if number == found));
        assert!(matches!(writer.append(&entry("/b", EntryKind::Fifo), None), Err(WriteError::Broken)));
        assert!(matches!(writer.finish(), Err(WriteError::Broken)));
    }
    let mut device = entry("/a", EntryKind::CharDevice { major: 1 << 30, minor: 0 });
    assert!(matches!(write(&[(device.clone(), vec![])]), Err(WriteError::Device { .. })));
    device.kind = EntryKind::Fifo;
    device.metadata.xattrs.insert(b"user.a=b".to_vec(), vec![]);
    assert!(matches!(write(&[(device, vec![])]), Err(WriteError::XattrName { .. })));
}

fn has_gnu_tar(test: &str) -> bool {
    let found = Command::new("tar").arg("--version").output().is_ok_and(|out| out.stdout.starts_with(b"tar (GNU tar)"));
    if !found {
        // Not quietly: the line appears in the test's output.
        std::io::Write::write_all(&mut std::io::stderr(), format!("{test}: skipped, there is no GNU tar\n").as_bytes())
            .unwrap();
    }
    found
}

/// What GNU tar writes in each of its formats is read as it was, sparse files included.
#[test]
fn gnu_tar_is_read() {
    if !has_gnu_tar("gnu_tar_is_read") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(120);
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d").join(&long), b"content").unwrap();
    std::fs::hard_link(folder.path().join("d").join(&long), folder.path().join("e")).unwrap();
    std::os::unix::fs::symlink("t".repeat(130), folder.path().join("s")).unwrap();
    let sparse = std::fs::File::create(folder.path().join("z")).unwrap();
    for part in 0..40 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", part * 65_536).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
    let expected = std::fs::read(folder.path().join("z")).unwrap();
    for options in [
        ["--format=gnu", "--sparse"],
        ["--format=oldgnu", "--sparse"],
        ["--format=posix", "--sparse"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--no-xattrs"],
    ] {
        let mut command = Command::new("tar");
        command.args(options).args(["--sort=name", "-cf", "-", "-C"]).arg(folder.path()).arg(".");
        let out = command.env_remove("TAR_OPTIONS").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let found = read(&out.stdout).unwrap();
        let names: Vec<String> = found.iter().map(|(entry, _)| entry.path.to_string()).collect();
        assert_eq!(names, ["/", "/d", &format!("/d/{long}"), "/e", "/s", "/z"], "{options:?}");
        assert_eq!(found[2].1, b"content");
        assert_eq!(found[3].0.kind, EntryKind::Hardlink { target: ImagePath::new(format!("d/{long}")) });
        assert_eq!(found[4].0.kind, EntryKind::Symlink { target: b"t".repeat(130) });
        assert!(found[5].1 == expected, "{options:?}");
    }
}

/// GNU tar sees the same names, modes, owners, sizes, times and attributes.
#[test]
fn gnu_tar_agrees() {
    if !has_gnu_tar("gnu_tar_agrees") {
        return;
    }
    let mut rows = vec![
        (entry("/", EntryKind::Directory), vec![]),
        (entry(&format!("/{}", "long-name/".repeat(12)), EntryKind::Directory), vec![]),
        (entry(&format!("/{}", "n".repeat(200)), EntryKind::File { size: 5 }), b"hello".to_vec()),
        (entry("/s", EntryKind::Symlink { target: b"t".repeat(150) }), vec![]),
        (entry("/t", EntryKind::Hardlink { target: ImagePath::new("n".repeat(200)) }), vec![]),
        (entry("/u", EntryKind::CharDevice { major: 1, minor: 3 }), vec![]),
        (entry("/v", EntryKind::Fifo), vec![]),
        (entry("/w/gone", EntryKind::Whiteout), vec![]),
    ];
    rows[2].0.metadata.uid = 3_000_000_000;
    rows[2].0.metadata.mode = 0o4755;
    rows[2].0.metadata.mtime.nanoseconds = 123_456_789;
    rows[2].0.metadata.xattrs.insert(b"user.comment".to_vec(), b"value".to_vec());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), write(&rows).unwrap()).unwrap();
    let tar = |options: &[&str]| {
        let mut command = Command::new("tar");
        command.args(options).arg("-f").arg(file.path()).env("TZ", "UTC").env("LC_ALL", "C").env_remove("TAR_OPTIONS");
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let long = "long-name/".repeat(12);
    let n = "n".repeat(200);
    let expected = ["./", &long, &n, "s", "t", "u", "v", "w/.wh.gone"];
    assert_eq!(tar(&["-t"]).lines().collect::<Vec<_>>(), expected);
    let listing = tar(&["-tv", "--numeric-owner", "--full-time", "--xattrs"]);
    let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    let file_line = lines.iter().find(|line| line.contains(&n.as_str())).unwrap();
    assert_eq!(file_line[..5], ["-rwsr-xr-x*", "3000000000/2", "5", "2020-09-13", "12:26:40.123456789"]);
    assert!(listing.contains(&format!("s -> {}", "t".repeat(150))), "{listing}");
    assert!(listing.contains(&format!("t link to {n}")), "{listing}");
    assert!(listing.contains("1,3"), "{listing}");
    let listing = tar(&["-tvv", "--xattrs"]);
    assert!(listing.contains("user.comment"), "{listing}");
}
