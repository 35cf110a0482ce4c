//! An ssh server of this machine's own on the loopback interface, and an agent with the one key it lets in.
//!
//! ```text
//! <directory>/host_key user_key   the server's key; the user's
//!            /agent               the agent's socket
//! ```

use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::host::eventually;
use super::run;

/// The server and the agent; both end with this.
#[derive(Debug)]
pub(crate) struct Sshd {
    directory: PathBuf,
    port: u16,
    user: String,
    children: Vec<Child>,
}

impl Sshd {
    /// Starts both; `None` if there is no sshd on this machine.
    pub(crate) fn start(directory: &Path) -> Option<Sshd> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists())?;
        std::fs::create_dir_all(directory).unwrap();
        for name in ["host_key", "user_key", "other_key"] {
            let mut command = Command::new("ssh-keygen");
            run(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(name))).succeeded();
        }
        // Where the server, as root, wants to put itself.
        drop(std::fs::create_dir_all("/run/sshd"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = directory.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/user_key.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        std::fs::write(directory.join("config"), config).unwrap();
        let quiet = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let agent = directory.join("agent");
        let children = vec![
            quiet(Command::new(program).arg("-D").arg("-f").arg(directory.join("config"))),
            quiet(Command::new("ssh-agent").arg("-D").arg("-a").arg(&agent)),
        ];
        let user = run(Command::new("id").arg("-un")).succeeded().stdout.trim().to_owned();
        let server = Sshd { directory: directory.to_owned(), port, user, children };
        let up = || TcpStream::connect(("127.0.0.1", port)).is_ok() && agent.exists();
        assert!(eventually(Duration::from_secs(10), up), "sshd or ssh-agent does not come up");
        let mut add = Command::new("ssh-add");
        run(add.arg("-q").arg(directory.join("user_key")).env("SSH_AUTH_SOCK", &agent)).succeeded();
        Some(server)
    }

    /// `ssh://user@host:port`.
    pub(crate) fn url(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", self.user, self.port)
    }

    /// The agent's socket.
    pub(crate) fn agent(&self) -> PathBuf {
        self.directory.join("agent")
    }

    /// A public key that is not the server's, as in `known_hosts`.
    pub(crate) fn other_key(&self) -> String {
        let text = std::fs::read_to_string(self.directory.join("other_key.pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
