//! bld as an ordinary user: with subordinate ids, with a single id, and where there are no user namespaces. And the walls around a step.
//!
//! ```text
//! user.rs        the users
//! many.rs        subordinate ids: the same images as root's
//! single.rs      one id: owners are noted, not applied
//! running.rs     `bld run`
//! debugging.rs   what a failed step left
//! walls.rs       what a step must not see or do, what a context must not reach
//! ```

mod debugging;
mod many;
mod running;
mod single;
pub(crate) mod user;
mod walls;

use std::path::Path;

use crate::support;
use crate::support::Run;

/// Whether the test runs as root, which it needs to become somebody else; if not it says so.
fn as_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        support::host::cannot_run("only root can become the users of these tests");
    }
    is_root
}

/// The files of a tar with types, modes, owners and sizes, without times: sorted.
fn files(archive: &Path) -> Vec<String> {
    let mut command = std::process::Command::new("tar");
    let listed =
        support::run(command.args(["--numeric-owner", "--quoting-style=escape", "-tvf"]).arg(archive)).succeeded();
    let mut files: Vec<String> = listed
        .stdout
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // mode owner size day time name...
            [&words[..3], &words[5..]].concat().join(" ")
        })
        .collect();
    files.sort();
    files
}

#[track_caller]
fn refused(run: &Run, wanted: &str) {
    assert!(run.code == Some(1) && run.stderr.contains(wanted), "not 1 with {wanted:?}: {}", run.failure());
}
