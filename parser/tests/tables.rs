//! `testdata/expand.table`, `testdata/dockerignore.table` and `testdata/glob.table`: rows anybody can add to.

use bld_parser::expand;
use bld_parser::glob::Glob;
use bld_parser::ignorefile::Patterns;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Rows of cells between bars, comments and blank lines left out.
fn rows(name: &str, width: usize, least: usize) -> Vec<(usize, Vec<String>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name);
    let text = fs::read_to_string(file).unwrap();
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cells: Vec<String> = line.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), width, "{name}:{} has {} cells", index + 1, cells.len());
        rows.push((index + 1, cells));
    }
    assert!(rows.len() >= least, "{name} has only {} rows", rows.len());
    rows
}

/// `<>` is nothing, `\n` a newline, `\s` a blank.
fn cell(text: &str) -> String {
    if text == "<>" { String::new() } else { text.replace("<nl>", "\n").replace("<sp>", " ") }
}

#[test]
fn expansion() {
    let mut failures = Vec::new();
    for (line, cells) in rows("expand.table", 3, 150) {
        let (mode, form) = match cells[0].split_once(": ") {
            Some((mode @ ("words" | "heredoc" | "backquote"), form)) => (mode, cell(form)),
            _ => ("word", cell(&cells[0])),
        };
        let environment: HashMap<String, String> = cells[1]
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), cell(value)))
            .collect();
        let lookup = |name: &str| environment.get(name).cloned();
        let actual = match mode {
            "words" => expand::expand_words(&form, '\\', &lookup)
                .map(|words| words.words.iter().map(|word| format!("[{word}]")).collect::<String>()),
            "heredoc" => expand::expand_heredoc(&form, &lookup).map(|expanded| expanded.value),
            "backquote" => expand::expand(&form, '`', &lookup).map(|expanded| expanded.value),
            _ => expand::expand(&form, '\\', &lookup).map(|expanded| expanded.value),
        };
        let actual = actual.unwrap_or_else(|error| format!("error at {}: {error}", error.offset));
        if actual != cell(&cells[2]) {
            failures.push(format!("expand.table:{line} {} gives {actual:?}, not {:?}", cells[0], cells[2]));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn undefined_variables() {
    let lookup = |name: &str| (name == "set").then(|| "value".to_owned());
    let expanded = expand::expand("$a ${set} ${b:-x$c} ${set:-$d} ${e#x} ${f+y$g} '$h' $i", '\\', &lookup).unwrap();
    let names: Vec<&str> = expanded.undefined.iter().map(|undefined| undefined.name.as_str()).collect();
    // `b` and `f` are provided for, `d` and `g` not needed, `h` quoted.
    assert_eq!(names, ["a", "c", "e", "i"]);
    assert_eq!(expanded.undefined[1].offset, 16);
}

#[test]
fn ignore_files() {
    let mut failures = Vec::new();
    for (line, cells) in rows("dockerignore.table", 3, 60) {
        let patterns = match Patterns::parse(cell(&cells[0]).replace(" / ", "\n").as_bytes()) {
            Ok(patterns) => patterns,
            Err(error) => {
                if cells[2] != format!("error {error}") {
                    failures.push(format!("dockerignore.table:{line} {error}"));
                }
                continue;
            }
        };
        let decision = match patterns.matches(cells[1].as_bytes()) {
            bld_parser::ignorefile::Decision::Unmatched => "kept".to_owned(),
            bld_parser::ignorefile::Decision::Included(pattern) => format!("kept by {}", pattern.line),
            bld_parser::ignorefile::Decision::Excluded(pattern) => {
                let descend = if patterns.may_match_below(cells[1].as_bytes()) { " descend" } else { "" };
                format!("out by {}{descend}", pattern.line)
            }
        };
        if decision != cells[2] {
            let (text, path) = (&cells[0], &cells[1]);
            failures.push(format!("dockerignore.table:{line} {text} on {path} is {decision}, not {}", cells[2]));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn globs() {
    let mut failures = Vec::new();
    for (line, cells) in rows("glob.table", 3, 40) {
        let glob = match cells[0].strip_prefix("parents: ") {
            Some(pattern) => Glob::with_double_star(cell(pattern).as_bytes()),
            None => Glob::new(cell(&cells[0]).as_bytes()),
        };
        let actual = match glob {
            Err(_) => "bad",
            Ok(glob) if glob.matches(cell(&cells[1]).as_bytes()) => "yes",
            Ok(_) => "no",
        };
        if actual != cells[2] {
            failures.push(format!("glob.table:{line} {} on {} is {actual}, not {}", cells[0], cells[1], cells[2]));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
