//! A docker daemon of the test's own.

use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::support;
use crate::support::Run;
use crate::support::host;

/// Stopped and removed in the end.
#[derive(Debug)]
pub(crate) struct Docker {
    directory: TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts one without a network of its own.
    pub(crate) fn start() -> Docker {
        // Its socket's path must be short.
        let directory = TempDir::with_prefix_in("dockerd-", "/tmp").unwrap();
        let path = |name: &str| directory.path().join(name);
        let log = std::fs::File::create(path("log")).unwrap();
        let daemon = Command::new("dockerd")
            .args(["--iptables=false", "--ip-masq=false", "--bridge=none"])
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("-H")
            .arg(format!("unix://{}", path("sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd cannot be started ({error}): run scripts/setup"));
        let docker = Docker { directory, daemon };
        let up = host::eventually(Duration::from_secs(30), || {
            docker.command().arg("version").output().is_ok_and(|output| output.status.success())
        });
        assert!(up, "{}", std::fs::read_to_string(docker.directory.path().join("log")).unwrap());
        docker
    }

    /// Runs docker, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        support::run(self.command().args(arguments)).succeeded()
    }

    /// What `DOCKER_HOST` names it by.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("sock").display())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.directory.path().join("sock").display()));
        command.env("HOME", self.directory.path());
        command
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        host::signal(self.daemon.id(), "TERM");
        drop(self.daemon.wait());
    }
}
