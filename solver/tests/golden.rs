//! Golden files: `UPDATE=1` rewrites them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A path below the repository's `testdata`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(path)
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests, not of bld")]
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Compares with the file, or writes it. Answers with what differs.
pub(crate) fn compare(path: &Path, actual: &str) -> Result<(), String> {
    if is_update() {
        fs::write(path, actual).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    Err(format!("{} differs\n--- expected\n{expected}\n--- actual\n{actual}", path.display()))
}
