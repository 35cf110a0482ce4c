//! What `bld` says about the classic mistakes.
//!
//! ```text
//! testdata/mistakes/MISTAKE/              the context
//!                          /args          one extra command-line argument per line
//!                          /expect.txt
//! ```
//!
//! The lines of `expect.txt`: `exit N`, `+ TEXT` that standard error must have, `- TEXT` that it must not have.

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
    assert!(!names.is_empty(), "no such mistake");
    let store = Store::with(&[Base::Busybox]);
    let problems = support::for_each(&names, |name| check(&store, name));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn check(store: &Store, name: &str) -> Vec<String> {
    let source = support::testdata("mistakes").join(name);
    let work = tempfile::TempDir::new().unwrap();
    let context = work.path().join("context");
    support::copy_tree(&source, &context);
    let mut command = store.bld();
    command.args(["build", "--progress", "plain"]).current_dir(&context);
    for side in ["args", "expect.txt"] {
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
    if !problems.is_empty() {
        let said = done.stderr.replace('\n', "\n    ");
        return vec![format!("{name}: {}\n    {}", problems.join("; "), said.trim_end())];
    }
    Vec::new()
}

fn long_id(text: &str) -> Option<&str> {
    text.split(|letter: char| !letter.is_ascii_hexdigit()).find(|word| word.len() > LONGEST_ID)
}
