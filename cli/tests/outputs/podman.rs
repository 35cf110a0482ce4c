//! podman with a storage of its own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Run;

/// Removed with its containers and images in the end.
#[derive(Debug)]
pub(crate) struct Podman {
    directory: TempDir,
}

impl Podman {
    /// One with nothing in it.
    pub(crate) fn new() -> Podman {
        Podman { directory: TempDir::with_prefix("podman-").unwrap() }
    }

    /// Runs podman, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        support::run(self.command().args(arguments)).succeeded()
    }

    /// Runs `arguments` in a container of the image, without network, and answers what it prints.
    #[track_caller]
    pub(crate) fn container(&self, image: &str, arguments: &[&str]) -> String {
        let flags = ["run", "--rm", "--runtime", "runc", "--network", "none"];
        // Its own defaults ask for more than this process may have.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
        support::run(self.command().args(flags).args(limits).arg(image).args(arguments)).succeeded().stdout
    }

    /// podman with this storage, without arguments.
    pub(crate) fn command(&self) -> Command {
        let path = |name: &str| self.path().join(name);
        let mut command = Command::new("podman");
        command.arg("--root").arg(path("root")).arg("--runroot").arg(path("run")).arg("--tmpdir").arg(path("tmp"));
        command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command
    }

    /// A script that is podman with this storage, to stand first in `PATH`.
    pub(crate) fn wrapper(&self) -> String {
        let arguments: Vec<_> =
            self.command().get_args().map(|argument| format!("'{}'", argument.to_string_lossy())).collect();
        format!("#!/bin/sh\nPATH=\"${{PATH#*:}}\" exec podman {} \"$@\"\n", arguments.join(" "))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Mounts under the directory would keep it from being removed.
        drop(self.command().args(["image", "unmount", "--all", "--force"]).output());
        drop(self.command().args(["rmi", "--all", "--force"]).output());
        drop(Command::new("umount").arg(self.path().join("root/overlay")).output());
    }
}
