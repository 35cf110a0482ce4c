//! Tars that readers have disagreed on.

use bld_oci::Timestamp;
use bld_oci::layer::EntryKind;
use bld_oci::layer::LayerReader;

use crate::raw::Raw;
use crate::raw::archive;
use crate::raw::file;
use crate::raw::names;
use crate::raw::pax;
use crate::raw::read;
use crate::raw::record;

fn fails(bytes: &[u8], message: &str) {
    let error = read(bytes).expect_err(message);
    assert!(error.contains(message), "`{error}` does not contain `{message}`");
}

#[test]
fn names_stay_below_the_root() {
    for (name, path) in [
        ("../x", "/x"),
        ("/../../x", "/x"),
        ("a/../../x", "/x"),
        ("foo/tmp/../../..x", "/..x"),
        ("/etc/shadow", "/etc/shadow"),
        ("./a", "/a"),
        ("a//b", "/a/b"),
        ("a/./b", "/a/b"),
        ("a\\b", "/a\\b"),
    ] {
        assert_eq!(names(&archive(&[file(name, b"")])).unwrap(), [path], "{name}");
    }
    for target in ["../../secret", "/secret", "a/../../secret"] {
        let link = Raw::new(b"l", b'1', 0).link(target.as_bytes()).done();
        let found = read(&archive(&[link])).unwrap();
        assert_eq!(found[0].0.kind, EntryKind::Hardlink { target: "/secret".into_path() });
    }
}

trait IntoPath {
    fn into_path(self) -> bld_oci::ImagePath;
}

impl IntoPath for &str {
    fn into_path(self) -> bld_oci::ImagePath {
        bld_oci::ImagePath::new(self)
    }
}

#[test]
fn the_root_stays_a_directory() {
    for name in [".", "/.", "./", "", "..", "/"] {
        fails(&archive(&[Raw::new(name.as_bytes(), b'2', 0).link(b"/x").done()]), "root directory");
        assert_eq!(names(&archive(&[Raw::new(name.as_bytes(), b'5', 0).done()])).unwrap(), ["/"]);
    }
    fails(&archive(&[Raw::new(b"a", b'1', 0).link(b"..").done()]), "hard link to the root");
}

#[test]
fn whiteouts() {
    for name in [".wh..", ".wh...", "etc/.wh..", "etc/.wh...", ".wh.", "some/path/.wh."] {
        fails(&archive(&[file(name, b"")]), "invalid whiteout");
    }
    let tar = archive(&[
        file("etc/.wh.x", b""),
        file("d/.wh..wh..opq", b""),
        file(".wh.etc/somefile", b""),
        file(".wh..wh.plnk/1.2", b"x"),
        file(".wh..wh.aufs", b""),
        file(".wh..wh..opq", b""),
        file("d/.wh....", b""),
    ]);
    let found: Vec<(String, bool, bool)> = read(&tar)
        .unwrap()
        .into_iter()
        .map(|(entry, _)| (entry.path.to_string(), entry.kind == EntryKind::Whiteout, entry.kind == EntryKind::Opaque))
        .collect();
    let expected = [
        ("/etc/x", true, false),
        ("/d", false, true),
        ("/.wh.etc/somefile", false, false),
        ("/", false, true),
        ("/d/...", true, false),
    ];
    assert_eq!(found, expected.map(|(path, whiteout, opaque)| (path.to_owned(), whiteout, opaque)));
    let mut plain = LayerReader::archive(tar.as_slice());
    assert_eq!(plain.next_entry().unwrap().unwrap().0.path, "/etc/.wh.x".into_path());
}

#[test]
fn devices_have_ranges() {
    let device = |major: &[u8], minor: &[u8]| {
        let mut raw = Raw::new(b"d", b'3', 0);
        raw.field(329, major).field(337, minor);
        archive(&[raw.done()])
    };
    assert!(matches!(
        read(&device(b"0000001", b"0000003")).unwrap()[0].0.kind,
        EntryKind::CharDevice { major: 1, minor: 3 }
    ));
    fails(&device(b"0000000", b"0000000"), "whiteout device");
    fails(&device(b"\x80\0\0\x01\0\0\0\x01", b"0000000"), "out of range");
    fails(&device(b"\xff\xff\xff\xff\xff\xff\xff\xff", b"0000000"), "out of range");
    fails(&device(b"0010000", b"0000000"), "out of range");
    fails(&device(b"0000001", b"4000000"), "out of range");
}

#[test]
fn pax_sizes_rule_the_walk() {
    let hidden = archive(&[file("hidden", b"x")]);
    let size = hidden.len() as u64;
    for stated in [0, 512] {
        let outer = Raw::new(b"outer", b'0', stated).done();
        let tar =
            archive(&[pax(&record("size", size.to_string().as_bytes())), outer, hidden.clone(), file("after", b"")]);
        assert_eq!(names(&tar).unwrap(), ["/outer", "/after"]);
    }
    // The size of a PAX header is of the entry, not of the long-name header between them.
    let long = Raw::gnu(b"././@LongLink", b'L', 13).with(b"longname.txt\0");
    let a = Raw::gnu(b"file_a", b'0', 0).with(&[b'a'; 2048]);
    let tar = archive(&[pax(&record("size", b"2048")), long, a, file("file_b", b"b")]);
    assert_eq!(names(&tar).unwrap(), ["/longname.txt", "/file_b"]);
    // Nor does it outlive its entry.
    let tar = archive(&[pax(&record("path", b"one")), file("a", b""), file("b", b"")]);
    assert_eq!(names(&tar).unwrap(), ["/one", "/b"]);
}

#[test]
fn irregular_extensions_are_errors() {
    let with = |records: &[u8]| archive(&[pax(records), file("a", b"")]);
    fails(&with(b"10 path=x"), "longer than its header");
    fails(&with(b"99 path=x\n"), "longer than its header");
    fails(&with(b"2 path=x\n"), "shorter than");
    fails(&with(b"0 path=x\n"), "shorter than");
    fails(&with(b"8 path=x\n"), "does not end");
    fails(&with(b"9 path=x\n\n"), "without a length");
    fails(&with(&record("size", b"+5")), "number");
    fails(&with(&record("size", b"0x5")), "number");
    fails(&with(&record("size", b"")), "empty value");
    fails(&with(&record("size", b"18446744073709551616")), "number");
    fails(&with(&record("path", b"")), "empty value");
    fails(&with(&record("path", b"a\0b")), "NUL");
    fails(&with(&record("uid", b"4294967295")), "owner out of range");
    fails(&with(&record("mtime", b"1e5")), "time");
    fails(&with(&record("GNU.sparse.major", b"1")), "sparse");
    fails(&with(&[record("GNU.sparse.size", b"9"), record("GNU.sparse.numblocks", b"1")].concat()), "not supported");
    fails(&archive(&[pax(&record("path", b"x"))]), "without an entry");
    fails(&pax(&record("path", b"x")), "without an entry");
    fails(&archive(&[pax(&record("path", b"x")), pax(&record("path", b"y")), file("a", b"")]), "two extension headers");
    let long = Raw::gnu(b"L", b'L', 2).with(b"l\0");
    fails(&archive(&[pax(&record("path", b"x")), long.clone(), file("a", b"")]), "both a GNU long name");
    fails(&archive(&[long.clone(), long, file("a", b"")]), "two extension headers");
    let global = Raw::new(b"g", b'g', record("path", b"x").len() as u64).with(&record("path", b"x"));
    fails(&archive(&[global, file("a", b"")]), "global");
    let comment = Raw::new(b"g", b'g', record("comment", b"x").len() as u64).with(&record("comment", b"x"));
    assert_eq!(names(&archive(&[comment, file("a", b"")])).unwrap(), ["/a"]);
    let huge = Raw::new(b"pax", b'x', (1 << 20) + 1).done();
    fails(&archive(&[huge, vec![b'x'; 2 << 20]]), "1 MiB");
}

#[test]
fn pax_on_a_gnu_header_is_read() {
    // Written by programs that use Rust's tar crate, and so by real images.
    let tar = archive(&[pax(&record("SCHILY.xattr.user.a", b"1\n2=\0\xff")), Raw::gnu(b"a", b'0', 0).done()]);
    assert_eq!(read(&tar).unwrap()[0].0.metadata.xattrs[b"user.a".as_slice()], b"1\n2=\0\xff");
}

#[test]
fn overlay_attributes_are_dropped() {
    let names = ["trusted.overlay.redirect", "user.overlay.opaque", "trusted.overlay.metacopy", "user.kept"];
    let records: Vec<u8> = names.iter().flat_map(|name| record(&format!("SCHILY.xattr.{name}"), b"y")).collect();
    let found = read(&archive(&[pax(&records), file("a", b"")])).unwrap();
    assert_eq!(found[0].0.metadata.xattrs.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"user.kept"]);
}

#[test]
fn garbage_and_truncation() {
    fails(b"NAME=\"Some Linux\"\n", "ends within a block");
    fails(&[0x55; 40], "ends within a block");
    fails(&[0x55; 1024], "not a tar header");
    fails(&[b'7'; 2048], "checksum");
    let tar = archive(&[file("a", &[1; 1000]), file("b", &[2; 512])]);
    for cut in 1..tar.len() {
        let whole = matches!(cut, 1536 | 2560 | 3072);
        assert_eq!(read(&tar[..cut]).is_ok(), whole, "cut at {cut}");
    }
    assert!(read(&[]).unwrap().is_empty());
    // Whatever is behind the end is read, for its digest, and means nothing.
    assert_eq!(names(&[tar.clone(), file("hidden", b"")].concat()).unwrap(), ["/a", "/b"]);
    fails(&[file("a", b""), vec![0; 512], file("b", b"")].concat(), "lone block");
}

#[test]
fn content_only_where_it_belongs() {
    for kind in *b"2456" {
        fails(&archive(&[Raw::new(b"a", kind, 512).link(b"x").done(), vec![0; 512]]), "content");
    }
    // A hard link may repeat the size of its file; nobody takes content from that.
    let tar = archive(&[Raw::new(b"a", b'1', 512).link(b"x").done(), file("b", b"")]);
    assert_eq!(names(&tar).unwrap(), ["/a", "/b"]);
    fails(&archive(&[Raw::new(b"a", b'V', 0).done()]), "not supported");
    fails(&archive(&[Raw::new(b"a/", b'0', 0).done()]), "slash");
    assert!(matches!(read(&archive(&[Raw::new(b"a/", 0, 0).done()])).unwrap()[0].0.kind, EntryKind::Directory));
    let mut negative = Raw::new(b"a", b'0', 0);
    negative.field(124, &[0xff; 12]);
    fails(&archive(&[negative.done()]), "negative size");
}

#[test]
fn names_have_limits() {
    let named = |name: &[u8]| archive(&[pax(&record("path", name)), file("a", b"")]);
    assert!(read(&named(&b"d/".repeat(2000))).is_err(), "a file cannot end in a slash");
    assert!(read(&named(&[b"d/".repeat(2000), b"x".to_vec()].concat())).is_ok());
    fails(&named(&b"d/".repeat(2049)), "4096");
    fails(&named(&[b'x'; 256]), "255");
    assert_eq!(read(&named(b"\xff\xfe/\x01")).unwrap()[0].0.path.as_bytes(), b"/\xff\xfe/\x01");
}

#[test]
fn sparse_files_are_filled() {
    let part = |offset: u64, size: u64| format!("{offset:011o}\0{size:011o}\0").into_bytes();
    let sparse = |parts: &[(u64, u64)], stored: u64, real: u64| {
        let mut raw = Raw::gnu(b"s", b'S', stored);
        for (index, (offset, size)) in parts.iter().enumerate() {
            raw.field(386 + index * 24, &part(*offset, *size));
        }
        raw.field(483, format!("{real:011o}").as_bytes());
        archive(&[raw.with(&vec![b'x'; usize::try_from(stored).unwrap()]), file("after", b"")])
    };
    let found = read(&sparse(&[(512, 512), (2048, 10)], 522, 3000)).unwrap();
    assert_eq!(found[0].0.kind, EntryKind::File { size: 3000 });
    let expected = [vec![0; 512], vec![b'x'; 512], vec![0; 1024], vec![b'x'; 10], vec![0; 942]].concat();
    assert!(found[0].1 == expected);
    assert_eq!(found[1].0.path, "/after".into_path());
    let huge = sparse(&[(1 << 32, 0)], 0, 1 << 32);
    assert_eq!(read(&huge).unwrap()[0].0.kind, EntryKind::File { size: 1 << 32 });
    fails(&sparse(&[(512, 512), (0, 512)], 1024, 2048), "not in order");
    fails(&sparse(&[(0, 512), (256, 512)], 1024, 2048), "not in order");
    fails(&sparse(&[(0, 512)], 1024, 2048), "does not cover");
    fails(&sparse(&[(0, 1024)], 512, 2048), "more bytes than are stored");
    fails(&sparse(&[(0, 512)], 512, 100), "beyond the end");
}

#[test]
fn sparse_files_of_pax_are_filled() {
    let one = |map: &[u8], real: &str| {
        let records = [
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
            record("GNU.sparse.name", b"real"),
            record("GNU.sparse.realsize", real.as_bytes()),
        ];
        let mut content = map.to_vec();
        content.resize(512, 0);
        content.extend_from_slice(b"xxxx");
        archive(&[pax(&records.concat()), file("GNUSparseFile.0/real", &content), file("after", b"")])
    };
    let found = read(&one(b"2\n3\n4\n10\n0\n", "10")).unwrap();
    assert_eq!(
        (found[0].0.path.to_string().as_str(), found[0].1.as_slice()),
        ("/real", b"\0\0\0xxxx\0\0\0".as_slice())
    );
    assert_eq!(found[1].0.path, "/after".into_path());
    fails(&one(b"1\n3\n4\n", "6"), "beyond the end");
    fails(&one(b"1\n3\n5\n", "10"), "more bytes than are stored");
    fails(&one(b"0\n", "10"), "does not cover");
    fails(&one(b"x\n", "10"), "a number that is none");
    fails(&one(b"9999999999\n", "10"), "too many parts");
    fails(&one(b"9\n1\n", "10"), "sparse map");
    let records = [record("GNU.sparse.size", b"10"), record("GNU.sparse.map", b"3,4")].concat();
    assert_eq!(read(&archive(&[pax(&records), file("a", b"xxxx")])).unwrap()[0].1, b"\0\0\0xxxx\0\0\0");
    let records = [record("GNU.sparse.size", b"10"), record("GNU.sparse.map", b"3,4,5")].concat();
    fails(&archive(&[pax(&records), file("a", b"xxxx")]), "odd number");
    let records = [record("GNU.sparse.size", b"0"), record("GNU.sparse.map", b"0,0")].concat();
    fails(&archive(&[pax(&records), Raw::new(b"a", b'5', 0).done()]), "not a file");
}

#[test]
fn times() {
    let mtime = |text: &str| {
        let found = read(&archive(&[pax(&record("mtime", text.as_bytes())), file("a", b"")])).unwrap();
        let Timestamp { seconds, nanoseconds } = found[0].0.metadata.mtime;
        (seconds, nanoseconds)
    };
    assert_eq!(mtime("1.5"), (1, 500_000_000));
    assert_eq!(mtime("-1.5"), (-2, 500_000_000));
    assert_eq!(mtime("-3"), (-3, 0));
    assert_eq!(mtime("7.1234567899"), (7, 123_456_789));
    assert_eq!(mtime("7."), (7, 0));
    let mut before = Raw::new(b"a", b'0', 0);
    before.field(136, &[0xff; 12]);
    assert_eq!(read(&archive(&[before.done()])).unwrap()[0].0.metadata.mtime.seconds, -1);
}

#[test]
fn a_sparse_map_without_line_ends_is_not_gathered() {
    let records =
        [record("GNU.sparse.major", b"1"), record("GNU.sparse.minor", b"0"), record("GNU.sparse.realsize", b"10")];
    let endless = Raw::new(b"x", b'0', 1 << 32).done();
    let layer = [pax(&records.concat()), endless, vec![b'1'; 1 << 20]].concat();
    fails(&layer, "sparse map with a number that is none");
}
