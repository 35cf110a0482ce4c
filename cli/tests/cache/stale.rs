//! The builds of somebody who hides changes: sizes and modification times stay as they are. The tricks themselves, and thousands of
//! rounds of them, are in the tests of build contexts; here the whole command is asked.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support;
use crate::support::Store;

const ROUNDS: usize = 30;

/// What is done to the context between builds, in turn; `$round` makes the bytes other ones.
const TRICKS: [&str; 15] = [
    "new=$(printf '%016d' $round); printf $new > a/f0; back a/f0",
    "printf '%016d' $round | dd of=a/f1 conv=notrunc status=none; back a/f1",
    "printf '%016d' $round > new; back new; mv new a/f2",
    "printf '%016d' $round > a/f3; touch -r b/f3 a/f3",
    "mv a/f4 x; mv b/f4 a/f4; mv x b/f4",
    "mv a x; mv b a; mv x b; back a b",
    "ln -f a/f5 b/f5; printf '%016d' $round > b/f5; back a/f5",
    "printf '%016d' $round > one; printf '%016d' $((round * 7)) > two; back one two; ln -f one a/f6; ln -f two b/f6; rm one two",
    "ln -sfn f$((round % 7)) a/link; touch -h -d @1000000000 a/link",
    "chmod $((600 + (round % 2) * 44)) a/f7",
    "truncate -s 0 a/f8; printf '%016d' $round > a/f8; back a/f8",
    "rm a/f9; printf '%016d' $round > a/f9; back a/f9",
    "if [ -d b/f10 ]; then rm -r b/f10; printf '%016d' $round > b/f10; else rm b/f10; mkdir b/f10; echo > b/f10/in; fi; back b/f10",
    "head -c 300000 /dev/zero | tr '\\0' \"\\\\$((101 + round % 7))\" > big; back big",
    "printf '%016d' $round > a/f11; touch -d @$((4000000000 - round % 2)) a/f11",
];

/// All of a directory: kinds, modes, link targets, bytes.
fn listed(directory: &Path) -> String {
    let script = "find . -mindepth 1 -printf '%y %m %p %l\\n' | sort; find . -type f | sort | xargs sha256sum";
    support::run(Command::new("sh").args(["-euc", script]).current_dir(directory)).succeeded().stdout
}

#[test]
fn a_hidden_change_is_built() {
    let (store, work) = (Store::empty(), TempDir::new().unwrap());
    let context = work.path().join("context");
    fs::create_dir(&context).unwrap();
    let shell = |script: &str, round: usize| {
        let functions = "umask 022; back() { touch -d @1000000000 \"$@\"; }";
        let script = format!("round={round}; {functions}; {script}");
        support::run(Command::new("bash").args(["-euc", &script]).current_dir(&context)).succeeded();
    };
    let files = "mkdir a b; for f in {a,b}/f{0..11}; do printf '%016d' 0 > $f; done; ln -s f0 a/link; \
        head -c 300000 /dev/zero > big; back a/f* b/f* big a b";
    shell(files, 0);
    fs::write(work.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    for round in 1..=ROUNDS {
        for number in 0..5 {
            shell(TRICKS[(round * 5 + number) % TRICKS.len()], round);
        }
        // Every other build may remember what it reads.
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(150));
        }
        let out = work.path().join(format!("out-{round}"));
        let mut command = store.bld();
        command.args(["build", "-q", "--network", "none", "-o"]).arg(format!("type=local,dest={}", out.display()));
        command.arg("-f").arg(work.path().join("Dockerfile")).arg(&context);
        support::run(&mut command).succeeded();
        assert_eq!(listed(&out), listed(&context), "round {round}");
    }
}
