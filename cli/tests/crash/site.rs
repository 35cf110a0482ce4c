//! A project to be disturbed, and what its undisturbed build gives.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Store;
use crate::support::host;

/// Every step has a process that would sleep for days if nobody ended it; `MARK` is to be found in its command line.
const DOCKERFILE: &str = "\
FROM busybox:1 AS one
COPY file /one
RUN setsid sleep MARK & sleep 0.04; mkdir /a && cat /one > /a/one
FROM busybox:1 AS two
RUN setsid sleep MARK & sleep MARK & sleep 0.03; head -c 300000 /dev/zero > /two
FROM busybox:1
COPY --from=one /a /a
COPY --from=two /two /two
RUN setsid sleep MARK & sleep 0.03; rm /etc/issue && echo done > /done
";

/// A project, a store it was never built in, and the bytes its build gives.
#[derive(Debug)]
pub(super) struct Site {
    /// In the command lines of its steps and nowhere else.
    pub(super) mark: String,
    /// How long an undisturbed build takes.
    pub(super) duration: Duration,
    pristine: Store,
    context: TempDir,
    archive: Vec<u8>,
}

/// An argument that no other process of this machine has: sleep(1) takes it for a number of seconds.
pub(super) fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("98765{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Site {
    pub(super) fn new() -> Self {
        let mark = mark();
        let context = TempDir::new().unwrap();
        fs::write(context.path().join("Dockerfile"), DOCKERFILE.replace("MARK", &mark)).unwrap();
        fs::write(context.path().join("file"), "one\n").unwrap();
        let pristine = Store::with(&[Base::Busybox]);
        let mut site = Self { mark, duration: Duration::ZERO, pristine, context, archive: Vec::new() };
        let store = site.store();
        let start = Instant::now();
        site.archive = site.build(&store, "undisturbed");
        site.duration = start.elapsed();
        site
    }

    /// A copy of the store as it was before the first build.
    pub(super) fn store(&self) -> Store {
        let store = Store::empty();
        let from = self.pristine.root().join(".");
        support::run(Command::new("cp").arg("-a").arg(from).arg(store.root())).succeeded();
        store
    }

    /// Starts a build in a process group of its own.
    pub(super) fn start(&self, store: &Store) -> Child {
        let mut command = self.command(store);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        command.spawn().unwrap()
    }

    /// Builds once more: everything must be as if nothing had happened, and nothing must be left of what happened.
    pub(super) fn check(&self, store: &Store, told: &str) {
        let archive = self.build(store, told);
        assert!(archive == self.archive, "{told}: the image is another one");
        for directory in ["tmp", "trash", "leases", "quarantine"] {
            assert_eq!(host::names(&store.root().join(directory)), [""; 0], "{told}: left in {directory}/");
        }
        assert_eq!(host::mounts(store.root()), [""; 0], "{told}");
        assert_eq!(host::processes(store.root()), [], "{told}");
    }

    fn build(&self, store: &Store, told: &str) -> Vec<u8> {
        let run = support::run(&mut self.command(store));
        assert!(run.code == Some(0), "{told}: the next build fails: {}", run.failure());
        let bytes = fs::read(archive(store)).unwrap();
        fs::remove_file(archive(store)).unwrap();
        bytes
    }

    fn command(&self, store: &Store) -> Command {
        let mut command = store.bld();
        command.env("SOURCE_DATE_EPOCH", "1700000000").args(["build", "--progress", "plain", "-t", "disturbed", "-o"]);
        command.arg(format!("type=oci,dest={}", archive(store).display())).arg(self.context.path());
        command
    }
}

/// Beside the store, not in it.
fn archive(store: &Store) -> PathBuf {
    store.root().with_extension("tar")
}
