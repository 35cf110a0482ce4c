//! `bld cache`, limits on its size, and `--no-cache` for a part of a build.

mod limit;
mod listing;
mod mounts;
mod renewed;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::progress::Progress;

const DOCKERFILE: &str = "\
FROM busybox:1 AS make
ARG API_TOKEN=hidden
COPY src /src
RUN cat /src/* > /made && dd if=/dev/zero of=/big bs=1000 count=900 2> /dev/null && echo made
FROM busybox:1
COPY --from=make /made /made
RUN wc -c < /made > /size
";

const COPY: &str = "COPY src /src";
const MAKE: &str = "RUN cat /src/* > /made && dd if=/dev/zero of=/big bs=1000 count=900 2> /dev/null && echo made";
const TAKE: &str = "COPY --from=make /made /made";
const COUNT: &str = "RUN wc -c < /made > /size";

/// A store with busybox, and a project.
struct Scene {
    store: Store,
    project: TempDir,
}

impl Scene {
    fn new(dockerfile: &str) -> Scene {
        let scene = Scene { store: Store::with(&[Base::Busybox]), project: TempDir::with_prefix("project-").unwrap() };
        scene.write("Dockerfile", dockerfile);
        scene.write("src/a", "one\n");
        scene.write("src/b", "two\n");
        scene
    }

    /// One that was built.
    fn built() -> Scene {
        let scene = Scene::new(DOCKERFILE);
        scene.build(&[]);
        scene
    }

    fn path(&self) -> PathBuf {
        self.project.path().canonicalize().unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The binary in the project's directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.store.bld();
        command.args(arguments).current_dir(self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        support::run(&mut self.command(arguments))
    }

    /// What a command prints.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        self.run(arguments).succeeded().stdout
    }

    /// The error and the hints of a command that must fail.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert!(matches!(run.code, Some(1 | 2)), "{}", run.failure());
        run.stderr
    }

    #[track_caller]
    fn build(&self, arguments: &[&str]) -> (String, Progress) {
        let run = self.run(&[&["build", "--network", "none"], arguments, &["."]].concat()).succeeded();
        (run.stdout.trim().to_owned(), Progress::parse(&run.stderr))
    }

    /// Builds and demands that exactly these steps run.
    #[track_caller]
    fn runs(&self, arguments: &[&str], steps: &[&str]) {
        let (_, progress) = self.build(arguments);
        let mut executed = progress.executed();
        executed.remove("FROM docker.io/library/busybox:1");
        assert_eq!(executed, steps.iter().copied().collect());
    }

    /// The bytes of everything according to `bld cache du`.
    #[track_caller]
    fn total(&self) -> u64 {
        let said = self.says(&["cache", "du", "--format", "{{.Name}}\t{{.Bytes}}"]);
        said.lines().last().unwrap().strip_prefix("Total\t").unwrap().parse().unwrap()
    }
}

/// `du -s`, in bytes.
fn du(path: &Path) -> u64 {
    let said = support::run(Command::new("du").args(["-s", "-B1"]).arg(path)).succeeded().stdout;
    said.split_whitespace().next().unwrap().parse().unwrap()
}

/// Whether a build says that it misses something that was removed for this reason.
fn is_evicted(stderr: &str, reason: &str) -> bool {
    stderr.lines().any(|line| line.contains(" MISS evicted ") && line.ends_with(reason))
}
