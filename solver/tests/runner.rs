//! The crate's one test binary.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fake;
mod golden;
mod keys;
mod lower;
mod solve;

#[test]
fn no_test_file_is_forgotten() {
    let own = include_str!("runner.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "runner" || own.contains(&format!("mod {module};")), "{name} is in no module");
    }
}
