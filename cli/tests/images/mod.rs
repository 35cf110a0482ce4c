//! Images in the store, in archives and in the hands of other tools: the commands that deal with them, and how a build writes them.
//!
//! ```text
//! lists.rs     images, history, inspect: columns, formats and filters, compared with docker's own
//! archives.rs  save, load, import; archives and layouts looked at where they are
//! exports.rs   attributes of --output, annotations, --squash, --metadata-file, --load
//! compare.rs   layers and diff
//! indexes.rs   index create and inspect
//! ```

mod archives;
mod compare;
mod exports;
mod indexes;
mod lists;

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

/// A store with busybox, and a directory to work in.
struct Scene {
    store: Store,
    work: TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { store: Store::with(&[Base::Busybox]), work: TempDir::with_prefix("images-").unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.work.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs bld in the directory.
    fn run(&self, arguments: &[&str]) -> Run {
        support::run(self.store.bld().args(arguments).env("BLD_LOAD", "none").current_dir(self.work.path()))
    }

    /// What bld prints when it succeeds.
    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        self.run(arguments).succeeded().stdout
    }

    /// Builds a Dockerfile with these arguments; answers the digest.
    #[track_caller]
    fn build(&self, dockerfile: &str, arguments: &[&str]) -> String {
        self.write("Dockerfile", dockerfile);
        let arguments = [&["build", "-q"], arguments, &["."]].concat();
        self.say(&arguments).trim().to_owned()
    }
}

#[track_caller]
fn refused(run: &Run, code: i32, wanted: &str) {
    assert!(run.code == Some(code) && run.stderr.contains(wanted), "not {code} with {wanted:?}: {}", run.failure());
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// Runs a line of bash in `directory`, where it must succeed.
#[track_caller]
fn bash(directory: &Path, script: &str) -> Run {
    let mut command = std::process::Command::new("bash");
    support::run(command.args(["-euo", "pipefail", "-c", script]).current_dir(directory)).succeeded()
}
