//! `bld run`: an image in the foreground.
//!
//! ```text
//! flags.rs       each flag, and what the image says
//! mounts.rs      -v, --tmpfs, --read-only, VOLUME
//! endings.rs     exit codes, signals, and that nothing is left
//! ports.rs       a web server, reached through -p and -P
//! limits.rs      --memory and --cpus
//! terminal.rs    -i -t under a real terminal
//! podman.rs      the same codes and signals as podman
//! ```

mod endings;
mod flags;
mod limits;
mod mounts;
mod podman;
mod ports;
mod terminal;

use std::io::Read as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::host;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store with busybox, and a directory to work in.
struct Site {
    store: Store,
    directory: TempDir,
}

impl Site {
    fn new() -> Site {
        Site { store: Store::with(&[Base::Busybox]), directory: TempDir::new().unwrap() }
    }

    /// Builds an image on busybox.
    fn build(&self, name: &str, lines: &str) {
        let context = self.directory.path().join(format!("{name}.context"));
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), format!("FROM busybox:1\n{lines}")).unwrap();
        support::run(self.store.bld().args(["build", "-t", name]).arg(&context)).succeeded();
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// `bld run` with these words, in the directory.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.store.bld();
        command.current_dir(self.directory.path()).arg("run").args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Run {
        support::run(&mut self.command(words))
    }

    /// What a run that succeeds prints.
    #[track_caller]
    fn output(&self, words: &[&str]) -> String {
        self.run(words).succeeded().stdout
    }

    /// What a shell in a busybox prints, with these flags.
    #[track_caller]
    fn shell(&self, flags: &[&str], script: &str) -> String {
        self.output(&[flags, &["busybox:1", "sh", "-c", script]].concat())
    }

    /// Starts a run in the background of the test.
    fn start(&self, words: &[&str]) -> Started {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Started { child: command.spawn().unwrap() }
    }

    /// Fails if anything of a run is there still: processes, mounts, files, cgroups.
    #[track_caller]
    fn check_nothing_is_left(&self) {
        let root = self.store.root();
        assert!(host::eventually(PATIENCE, || host::processes(root).is_empty()), "{:?}", host::processes(root));
        assert_eq!(host::mounts(root), [""; 0]);
        assert_eq!(leftovers(root), [""; 0]);
    }
}

/// What is in the store's places for things that do not last.
fn leftovers(root: &Path) -> Vec<String> {
    host::names(&root.join("tmp"))
}

/// A run in the background; dropped, it is killed.
struct Started {
    child: Child,
}

impl Started {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, name: &str) {
        host::signal(self.pid(), name);
    }

    /// Waits until a line is printed on standard output.
    #[track_caller]
    fn wait_for(&mut self, line: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(line) {
            let length = stdout.read(&mut byte).unwrap();
            assert!(length > 0, "{line:?} is never printed, only {}", String::from_utf8_lossy(&seen));
            seen.extend(byte);
        }
    }

    /// Waits for the end: the exit code, and what was printed since.
    fn end(mut self) -> Run {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.as_mut().unwrap().read_to_string(&mut stdout).unwrap();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        Run { command: "bld run".to_owned(), code, stdout, stderr }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Checks the exit code and that standard error says this.
#[track_caller]
fn refused(run: &Run, code: i32, wanted: &str) {
    assert!(run.code == Some(code) && run.stderr.contains(wanted), "not {code} with {wanted:?}: {}", run.failure());
}
