//! What comes over the network, from servers that run here: ADD of URLs and repositories, and every kind of build context.

mod contexts;
mod epoch;
mod git;
mod hostile;
mod http;
pub(crate) mod repository;
pub(crate) mod server;
mod ssh;

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::Run;
use crate::support::Store;
use crate::support::cache_directory;
use crate::support::run;

/// A store, a context and a place for results.
#[derive(Debug)]
struct Scene {
    store: Store,
    directory: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let directory = TempDir::with_prefix_in("sources-", cache_directory("sources")).unwrap();
        std::fs::create_dir(directory.path().join("context")).unwrap();
        Scene { store: Store::empty(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// Writes a file, with its directories.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `bld build` into the directory `out`, which is emptied first.
    fn command(&self) -> Command {
        let out = self.path("out");
        drop(std::fs::remove_dir_all(&out));
        let mut command = self.store.bld();
        command.arg("build").arg("-o").arg(format!("type=local,dest={}", out.display()));
        command
    }

    /// Builds `dockerfile` with the directory context.
    fn build(&self, dockerfile: &str) -> Run {
        self.write("context/Dockerfile", dockerfile);
        run(self.command().arg(self.context()))
    }

    /// What the last build made.
    fn out(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.out(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Whether `needle` is anywhere in the store: raw, in names, in the database.
    fn store_holds(&self, needle: &str) -> bool {
        let found = run(Command::new("grep").args(["-rqaF", "--", needle]).arg(self.store.root()));
        found.code == Some(0)
    }
}

/// Runs a command with `input` on its standard input.
fn run_with(command: &mut Command, input: &[u8]) -> Run {
    let shown = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that refuses its input may close it early.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run {
        command: shown,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A tar of a directory, as the system's tar writes it.
fn tar(directory: &Path, compression: &str) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(directory).args(["-cf", "-"]);
    if !compression.is_empty() {
        command.arg(compression);
    }
    let output = command.arg(".").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
