//! Lists and their differences.

use super::*;

fn file(path: &str, content: u8) -> FileFacts {
    FileFacts { path: path.into(), kind: FileKind::File([content; 16]), mode: 0o644, xattrs: 0, same_as: None }
}

fn directory(path: &str) -> FileFacts {
    FileFacts { kind: FileKind::Directory, mode: 0o755, ..file(path, 0) }
}

fn link(path: &str, target: &str) -> FileFacts {
    FileFacts { kind: FileKind::Link(target.into()), mode: 0o777, ..file(path, 0) }
}

#[test]
fn what_is_written_is_read() {
    let long = "a/".repeat(300);
    let files = [
        directory("a"),
        file("a/b", 1),
        FileFacts { same_as: Some(b"a/b".to_vec()), ..file("a/bc", 1) },
        link(&long, "../x"),
        FileFacts { kind: FileKind::Other, mode: 0o7777, xattrs: u64::MAX, ..file("z", 0) },
    ];
    let bytes = encode(&files);
    let all = |list: &[u8]| Apart::of(&encode(&[]), list).map(|apart| apart.added);
    assert_eq!(all(&bytes).unwrap(), files);
    for end in 0..bytes.len() {
        // What was cut off is noticed, or is a whole list by itself.
        assert!(all(&bytes[..end]).is_none_or(|read| files.starts_with(&read)));
    }
    assert!(all(b"something else").is_none());
}

#[test]
fn changes_in_words() {
    let mode = |file: FileFacts, mode| FileFacts { mode, ..file };
    let old = [directory("d"), file("d/a", 1), file("d/b", 2), link("l", "x")];
    for (new, text) in [
        (vec![directory("d"), file("d/a", 9), file("d/b", 2), link("l", "x")], "1 of 3 files changed: d/a (content)"),
        (
            vec![directory("d"), file("d/a", 1), file("d/c", 2), link("l", "x")],
            "1 of 3 files changed: d/c (renamed from d/b)",
        ),
        (vec![directory("d"), file("d/a", 1), link("l", "x")], "1 file gone: d/b"),
        (
            vec![directory("d"), file("d/a", 1), file("d/b", 2), link("l", "y")],
            "1 of 3 files changed: l (link to y, was x)",
        ),
        (
            vec![directory("d"), mode(file("d/a", 1), 0o664), file("d/b", 2), link("l", "x")],
            "1 of 3 files changed: d/a (mode 0664, was 0644); --context-perms=git levels modes",
        ),
        (
            vec![directory("d"), mode(file("d/a", 1), 0o755), file("d/b", 2), link("l", "x")],
            "1 of 3 files changed: d/a (mode 0755, was 0644)",
        ),
        (
            vec![directory("d"), FileFacts { xattrs: 7, ..file("d/a", 1) }, file("d/b", 2), link("l", "x")],
            "1 of 3 files changed: d/a (extended attributes)",
        ),
        (
            vec![directory("d"), file("d/a", 1), file("d/b", 2), directory("e"), file("e/f", 5), link("l", "x")],
            "1 of 4 files changed: e/f (new)",
        ),
        (vec![], "3 files gone: d/a, d/b, l"),
        (vec![file("d", 1), link("l", "x")], "1 of 2 files changed: d (a file, was a directory)"),
        (
            vec![directory("d"), file("d/a", 1), directory("d/b"), file("d/b/x", 1), link("l", "x")],
            "1 of 3 files changed: d/b/ (a directory, was a file)",
        ),
        (
            vec![mode(directory("d"), 0o700), file("d/a", 1), file("d/b", 2), link("l", "x")],
            "1 of 3 files changed: d/ (mode 0700, was 0755); --context-perms=git levels modes",
        ),
        (
            vec![
                directory("d"),
                file("d/a", 1),
                FileFacts { same_as: Some(b"d/a".to_vec()), ..file("d/b", 2) },
                link("l", "x"),
            ],
            "1 of 3 files changed: d/b (hard link to d/a)",
        ),
        (
            vec![directory("d"), file("d/c", 3), link("l", "x")],
            "3 of 4 files changed: d/c (new), d/a (gone), d/b (gone)",
        ),
    ] {
        let shown = FileChanges::between(&encode(&old), &encode(&new)).unwrap().to_string();
        assert_eq!(shown, text);
    }
    assert_eq!(FileChanges::between(&encode(&old), &encode(&old)), None);
}
