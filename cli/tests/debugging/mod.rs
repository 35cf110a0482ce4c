//! Into the files of a step: `bld shell`, `bld exec`, `bld cp`, `--collect`.
//!
//! ```text
//! failed.rs    what a failed step left: found, kept, gone
//! steps.rs     steps that went well, and what becomes of them
//! copies.rs    bld cp: its rules, and images that attack it
//! collect.rs   files of a build that failed
//! terminal.rs  a shell under a real terminal
//! ```

mod collect;
mod copies;
mod failed;
mod steps;
mod terminal;

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::host;

/// A store with busybox, and a directory to work in.
struct Site {
    store: Store,
    directory: TempDir,
}

impl Site {
    fn new() -> Site {
        Site { store: Store::with(&[Base::Busybox]), directory: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `bld` with these words, in the directory.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.store.bld();
        command.current_dir(self.directory.path()).args(words);
        command
    }

    fn bld(&self, words: &[&str]) -> Run {
        support::run(&mut self.command(words))
    }

    /// What a command that succeeds prints.
    #[track_caller]
    fn output(&self, words: &[&str]) -> String {
        self.bld(words).succeeded().stdout
    }

    /// Builds these lines.
    fn build(&self, lines: &str, flags: &[&str]) -> Run {
        self.write("Dockerfile", lines);
        self.bld(&[&["build", "--progress", "plain", "."], flags].concat())
    }

    /// Builds these lines, which must fail.
    #[track_caller]
    fn fails(&self, lines: &str) -> Run {
        let done = self.build(lines, &[]);
        assert_eq!(done.code, Some(1), "{}", done.failure());
        done
    }

    /// Runs it with this on its standard input.
    fn fed(&self, words: &[&str], input: &str) -> Run {
        let mut command = self.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Run {
            command: format!("{command:?}"),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The id of the build that was recorded last.
    fn last_build(&self) -> String {
        self.output(&["builds", "ls", "--all", "--quiet"]).lines().next().unwrap().to_owned()
    }

    /// How many layers lie in the store.
    fn layers(&self) -> usize {
        host::names(&self.store.root().join("layers")).len()
    }

    /// Fails if anything of a process in a step is there still.
    #[track_caller]
    fn check_nothing_is_left(&self) {
        let root = self.store.root();
        let patience = std::time::Duration::from_secs(20);
        assert!(host::eventually(patience, || host::processes(root).is_empty()), "{:?}", host::processes(root));
        assert_eq!(host::mounts(root), [""; 0]);
        assert_eq!(host::names(&root.join("tmp")), [""; 0]);
    }
}

/// Everything in and below a directory: what it is, its mode, what it holds.
fn listing(root: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut out = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let status = std::fs::symlink_metadata(&path).unwrap();
        let mode = status.permissions().mode() & 0o7777;
        if status.is_dir() {
            out.push(format!("{name}/ {mode:o}"));
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if status.is_symlink() {
            out.push(format!("{name} -> {}", std::fs::read_link(&path).unwrap().display()));
        } else if status.is_file() {
            out.push(format!("{name} {mode:o} {}", std::fs::read_to_string(&path).unwrap()));
        } else {
            out.push(format!("{name} special"));
        }
    }
    out.sort();
    out
}
