//! Ssh agents: a real one, and a real sshd to log in to.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::Context;
use super::fails;
use crate::support::Base;
use crate::support::Store;
use crate::support::host;
use crate::support::run;

const PATIENCE: Duration = Duration::from_secs(20);

/// A key and an agent that has it.
struct Agent {
    directory: TempDir,
    process: Child,
}

impl Agent {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let key = directory.path().join("key");
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "key-of-the-test", "-f"])
            .arg(&key))
        .succeeded();
        let socket = directory.path().join("agent");
        let process = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { directory, process };
        assert!(host::eventually(PATIENCE, || agent.socket().exists()));
        run(Command::new("ssh-add").arg("-q").arg(agent.key()).env("SSH_AUTH_SOCK", agent.socket())).succeeded();
        agent
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A root file system with the host's ssh client: `ssh`, `ssh-add` and the libraries they want.
fn with_client() -> Store {
    let store = Store::empty();
    let root = TempDir::new().unwrap();
    let programs = ["/usr/bin/ssh", "/usr/bin/ssh-add"];
    let libraries = run(Command::new("ldd").args(programs)).succeeded().stdout;
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    for path in programs.into_iter().chain(libraries).chain(["/usr/sbin/nologin"]) {
        let to = root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, &to).unwrap();
    }
    let extra = root.path().join("client.tar");
    let names = host::names(root.path());
    run(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&extra).args(names)).succeeded();
    run(store.bld().arg("import").arg(Base::Busybox.tar()).arg("busybox:1")).succeeded();
    let context = Context::new(
        "FROM busybox:1\nADD client.tar /\nRUN echo root:x:0:0::/root:/bin/sh > /etc/passwd && mkdir -p /root\n",
    );
    std::fs::copy(&extra, context.path().join("client.tar")).unwrap();
    context.build(&store, &["-t", "client"]).succeeded();
    store
}

fn flag(id: &str, path: &Path) -> String {
    format!("{id}={}", path.display())
}

#[test]
fn a_step_talks_to_the_agent_of_the_caller() {
    let (agent, store) = (Agent::start(), with_client());
    let context = Context::new(
        "FROM client\n\
         RUN --mount=type=ssh [ \"$SSH_AUTH_SOCK\" = /run/buildkit/ssh_agent.0 ] && ssh-add -l | grep -q key-of-the-test\n\
         RUN --mount=type=ssh,target=/sock,mode=0660,uid=12,gid=34 [ \"$(stat -c %a:%u:%g:%F /sock)\" = 660:12:34:socket ] && [ \"$SSH_AUTH_SOCK\" = /sock ]\n\
         RUN --mount=type=ssh,uid=1000,gid=1000 [ \"$(stat -c %a:%u:%g $SSH_AUTH_SOCK)\" = 600:1000:1000 ]\n\
         RUN --mount=type=ssh,id=other [ -z \"$SSH_AUTH_SOCK\" ] && [ ! -e /run/buildkit ]\n\
         RUN [ -z \"$SSH_AUTH_SOCK\" ] && [ ! -e /run/buildkit ] && [ ! -e /sock ]\n\
         RUN --mount=type=ssh for i in $(seq 100); do ssh-add -l > /dev/null || exit 1; done\n",
    );
    context.build(&store, &["--ssh", &flag("default", &agent.socket())]).succeeded();
    // The variable of the caller.
    let mut command = context.command(&store, &["--no-cache", "--ssh", "default"]);
    run(command.env("SSH_AUTH_SOCK", agent.socket())).succeeded();
    // A key, and an agent of bld's own that is gone afterwards.
    context.build(&store, &["--no-cache", "--ssh", &flag("default", &agent.key())]).succeeded();
    assert_eq!(host::processes(store.root()), []);
}

#[test]
fn what_is_wrong_with_an_agent() {
    fails("RUN --mount=type=ssh,required true", &[], "the ssh agent `default` is required and was not given");
    fails("RUN true", &["--ssh", "default"], "SSH_AUTH_SOCK is not set");
    fails("RUN true", &["--ssh", "default=/nowhere"], "/nowhere");
    fails("RUN true", &["--ssh", "default=/etc/passwd"], "/etc/passwd");
}

/// An sshd on the loopback interface, for the key of an agent.
struct Server {
    process: Child,
    _directory: TempDir,
    port: u16,
}

impl Server {
    fn start(agent: &Agent) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("host"))).succeeded();
        std::fs::copy(agent.key().with_extension("pub"), path("keys")).unwrap();
        // Whoever listens next to it may be faster; nobody does.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n",
            path("host").display(),
            path("keys").display(),
        );
        std::fs::write(path("config"), config).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let process = Command::new("/usr/sbin/sshd")
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(path("config"))
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { process, _directory: directory, port };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(host::eventually(PATIENCE, listens), "sshd does not listen");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn a_step_logs_in_to_an_sshd_with_the_forwarded_agent() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return host::cannot_run("only root can log in to an sshd of its own");
    }
    let (agent, store) = (Agent::start(), with_client());
    let server = Server::start(&agent);
    let context = Context::new(&format!(
        "FROM client\n\
         RUN --mount=type=ssh ssh -o StrictHostKeyChecking=no -o BatchMode=yes -p {0} root@127.0.0.1 echo logged-in-there > /said && \
             grep -q logged-in-there /said\n\
         RUN ! ssh -o StrictHostKeyChecking=no -o BatchMode=yes -p {0} root@127.0.0.1 true 2>/dev/null\n",
        server.port
    ));
    context.build(&store, &["--ssh", &flag("default", &agent.socket())]).succeeded();
}
