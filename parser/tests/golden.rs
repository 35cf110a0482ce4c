//! `testdata/parser/ok/NAME.Dockerfile` with `NAME.ast`, and `testdata/parser/err/NAME.Dockerfile` with `NAME.txt`.
//!
//! `UPDATE=1 cargo test -p bld-parser` rewrites what is expected: read the difference before believing it.

use crate::dump;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

#[test]
fn good_files() {
    check("ok", "ast", |bytes| {
        let parsed = bld_parser::parse(bytes);
        let tree = parsed.dockerfile.as_ref().map_or_else(|| "no syntax tree\n".to_owned(), dump::dockerfile);
        tree + &dump::diagnostics(bytes)
    });
}

#[test]
fn bad_files() {
    check("err", "txt", |bytes| {
        let parsed = bld_parser::parse(bytes);
        assert!(parsed.dockerfile.is_none());
        dump::diagnostics(bytes)
    });
}

#[expect(clippy::disallowed_methods, reason = "the one switch that rewrites golden files")]
fn check(folder: &str, extension: &str, actual: impl Fn(&[u8]) -> String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/parser").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "Dockerfile")) {
        count += 1;
        let actual = actual(&fs::read(file).unwrap());
        let expected_file = file.with_extension(extension);
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if actual != expected {
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&expected_file, &actual).unwrap();
            } else {
                failures.push(format!("{}\n--- expected\n{expected}+++ actual\n{actual}", file.display()));
            }
        }
    }
    assert_eq!(files.len(), count * 2, "each Dockerfile in {folder} needs a .{extension} and the other way round");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
