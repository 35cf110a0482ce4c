//! What `bld` says about the classic mistakes.
//!
//! ```text
//! testdata/mistakes/MISTAKE/              the context
//!                          /args          one extra command-line argument per line
//!                          /expect.txt
//!                          /expect.stderr the whole of standard error, times and paths made the same everywhere
//! ```
//!
//! The lines of `expect.txt`: `exit N`, `+ TEXT` that standard error must have, `- TEXT` that it must not have.
//! `UPDATE=1` rewrites `expect.stderr`.

use crate::support;
use crate::support::Base;
use crate::support::Store;

/// What no message may ever show.
const NEVER: [&str; 3] = ["panic", "RUST_BACKTRACE", "unwrap"];

/// Ids of this many hexadecimal digits and more help nobody to find a mistake.
const LONGEST_ID: usize = 31;

#[test]
fn mistakes_are_explained() {
    let mistakes = support::testdata("mistakes");
    let names = support::cases(&mistakes);
    assert!(names.len() >= 40 || std::env::var_os("BLD_CASE").is_some(), "only {} mistakes", names.len());
    // What one of them leaves in the cache would change what another one says.
    let problems = support::for_each(&names, |name| check(&Store::with(&[Base::Busybox]), name));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn check(store: &Store, name: &str) -> Vec<String> {
    let source = support::testdata("mistakes").join(name);
    let work = tempfile::TempDir::new().unwrap();
    let context = work.path().join("context");
    support::copy_tree(&source, &context);
    let mut command = store.bld();
    command.args(["build", "--progress", "plain"]).current_dir(&context);
    for side in ["args", "expect.txt", "expect.stderr"] {
        let path = context.join(side);
        if side == "args" && path.exists() {
            command.args(std::fs::read_to_string(&path).unwrap().lines());
        }
        // The files of the test are no part of the mistake.
        drop(std::fs::remove_file(&path));
    }
    let done = support::run(command.arg("."));
    let mut problems = Vec::new();
    for line in std::fs::read_to_string(source.join("expect.txt")).unwrap().lines() {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "exit" if done.code == text.parse().ok() => {}
            "exit" => problems.push(format!("exit code {:?}, not {text}", done.code)),
            "+" if done.stderr.contains(text) => {}
            "+" => problems.push(format!("no {text:?}")),
            "-" if done.stderr.contains(text) => problems.push(format!("has {text:?}")),
            "-" => {}
            _ => problems.push(format!("expect.txt: {line:?} is no rule")),
        }
    }
    problems.extend(NEVER.iter().filter(|text| done.stderr.contains(**text)).map(|text| format!("has {text:?}")));
    problems.extend(long_id(&done.stderr).map(|id| format!("has the id {id}")));
    if !done.stdout.is_empty() {
        problems.push(format!("standard output must be empty after a failure, it has {:?}", done.stdout));
    }
    problems.extend(support::golden(&source.join("expect.stderr"), &normalised(&done.stderr, work.path(), store)));
    if !problems.is_empty() {
        let said = done.stderr.replace('\n', "\n    ");
        return vec![format!("{name}: {}\n    {}", problems.join("; "), said.trim_end())];
    }
    Vec::new()
}

/// Without what differs from run to run: directories, times, the order in which independent steps are counted.
fn normalised(text: &str, work: &std::path::Path, store: &Store) -> String {
    let text = text.replace(&work.display().to_string(), "WORK").replace(&store.root().display().to_string(), "STORE");
    let time = |word: &str| {
        let digits = word.strip_suffix('s').unwrap_or(word);
        digits.contains('.')
            && digits.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut out = String::new();
    for line in text.lines() {
        // Names of steps hold dots and digits too: only progress lines have times.
        if line.starts_with('#') {
            let words = line.split(' ').enumerate();
            let words = words.map(|(index, word)| if index > 0 && index < 3 && time(word) { "TIME" } else { word });
            out.push_str(&words.collect::<Vec<_>>().join(" "));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn long_id(text: &str) -> Option<&str> {
    text.split(|letter: char| !letter.is_ascii_hexdigit()).find(|word| word.len() > LONGEST_ID)
}
