//! The rules of ARCHITECTURE.md that a compiler does not check.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use crate::support;

/// Which of our crates a crate may use.
const ARROWS: [(&str, &[&str]); 7] = [
    ("parser", &[]),
    ("oci", &[]),
    ("cache", &["oci"]),
    ("solver", &["parser", "oci", "cache"]),
    ("registry", &["oci"]),
    ("executor", &["parser", "oci", "cache", "solver", "registry"]),
    ("cli", &["parser", "oci", "cache", "solver", "registry", "executor"]),
];

/// Dependencies with one home.
const HOMES: [(&str, &str); 9] = [
    ("nom", "parser"),
    ("petgraph", "solver"),
    ("oci-spec", "oci"),
    ("tar", "oci"),
    ("flate2", "oci"),
    ("zstd", "oci"),
    ("rusqlite", "cache"),
    ("libc", "executor"),
    ("clap", "cli"),
];

/// What these crates do not touch.
const FENCES: [(&str, &[&str]); 3] = [
    ("parser/src", &["std::fs", "std::process", "std::net", "std::env"]),
    ("solver/src", &["std::fs", "std::process", "std::net", "std::env", "SystemTime"]),
    ("oci/src", &["std::fs", "std::path", "std::process", "std::net", "std::env"]),
];

const MAX_LINES: usize = 600;

#[test]
fn crates_know_only_what_is_right_of_their_arrow() {
    for (name, allowed) in ARROWS {
        let used: Vec<String> = dependencies(name, "[dependencies]")
            .into_iter()
            .filter_map(|dependency| dependency.strip_prefix("bld-").map(str::to_owned))
            .collect();
        for other in used {
            assert!(allowed.contains(&other.as_str()), "{name} uses {other}");
        }
    }
}

#[test]
fn dependencies_have_one_home() {
    for (dependency, home) in HOMES {
        let users: Vec<&str> = ARROWS
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| dependencies(name, "[dependencies]").iter().any(|used| used == dependency))
            .collect();
        assert_eq!(users, [home], "{dependency}");
    }
}

#[test]
fn pure_crates_touch_nothing() {
    for (folder, fenced) in FENCES {
        for (path, text) in sources(folder) {
            for word in fenced {
                let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word));
                assert!(!used, "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_has_one_home() {
    for (path, text) in ARROWS.iter().flat_map(|(name, _)| sources(&format!("{name}/src"))) {
        let is_home = path.ends_with("executor/src/sandbox/sys.rs");
        let uses = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(is_home || !uses, "{}", path.display());
    }
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "executor") {
        let root = if *name == "cli" { "main.rs" } else { "lib.rs" };
        let text = std::fs::read_to_string(support::project().join(name).join("src").join(root)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name}");
    }
}

#[test]
fn modules_say_what_they_are_and_stay_short() {
    let folders = ARROWS.iter().flat_map(|(name, _)| [format!("{name}/src"), format!("{name}/tests")]);
    for (path, text) in folders.flat_map(|folder| sources(&folder)) {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: it is probably two modules", path.display());
    }
}

/// The names in a section of a crate's manifest.
fn dependencies(name: &str, section: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(support::project().join(name).join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The Rust files below a folder.
fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    collect(&support::project().join(folder), &mut found);
    found
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
        }
    }
}
