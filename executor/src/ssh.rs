//! Ssh agents: the caller's, or one of bld's own for keys given as files, and the sockets steps reach them through.
//!
//! ```text
//! step --- socket of the step --- bld (one thread a socket, copies bytes) --- agent
//! ```
//! A step never sees the agent's own socket: when the step ends, so does its way to the agent.
#![expect(clippy::disallowed_methods, reason = "ssh-agent and ssh-add are programs")]

use std::collections::BTreeMap;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use bld_cache::Store;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;

/// Connections of one step at once; further ones wait.
const MAX_CONNECTIONS: usize = 128;

/// How long somebody who does not read may hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `--ssh` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSource {
    /// The socket of an agent.
    Socket(PathBuf),
    /// Private keys.
    Keys(Vec<PathBuf>),
}

/// An agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// `ssh-agent` or `ssh-add` is not there.
    #[error("keys given as files need `{program}`, and it cannot be run")]
    Program {
        /// Which one.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// `ssh-agent` does not answer.
    #[error("`ssh-agent` did not come up")]
    NotUp,
    /// `ssh-add` refused a key.
    #[error("the ssh key {} cannot be used: {said}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// What `ssh-add` said.
        said: String,
    },
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The agents of a build, by name.
#[derive(Debug, Default)]
pub struct Agents {
    agents: BTreeMap<String, Agent>,
}

#[derive(Debug)]
struct Agent {
    socket: PathBuf,
    /// Ends the agent when it is dropped.
    _own: Option<OwnAgent>,
}

impl Agents {
    /// Starts an agent for every set of keys; those of the caller are only noted.
    pub fn start(sources: &BTreeMap<String, AgentSource>, store: &Store) -> Result<Agents, crate::ExecuteError> {
        let mut agents = BTreeMap::new();
        for (id, source) in sources {
            let agent = match source {
                AgentSource::Socket(socket) => Agent { socket: socket.clone(), _own: None },
                AgentSource::Keys(keys) => {
                    let directory = store.scratch()?;
                    let own = OwnAgent::start(&directory, keys)?;
                    Agent { socket: directory.join(SOCKET), _own: Some(own) }
                }
            };
            agents.insert(id.clone(), agent);
        }
        Ok(Agents { agents })
    }

    /// The socket of an agent.
    pub fn socket(&self, id: &str) -> Option<&Path> {
        self.agents.get(id).map(|agent| agent.socket.as_path())
    }
}

const SOCKET: &str = "agent";

/// An `ssh-agent` that ends with bld, however that ends: the shell around it waits for the end of a pipe.
#[derive(Debug)]
struct OwnAgent {
    process: Child,
}

impl OwnAgent {
    fn start(directory: &Path, keys: &[PathBuf]) -> Result<OwnAgent, AgentError> {
        const SCRIPT: &str = "ssh-agent -D -a agent >/dev/null & cat >/dev/null; kill $!; wait";
        let run = |program| move |source| AgentError::Program { program, source };
        let mut found = Command::new("ssh-agent");
        found.arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        found.status().map_err(run("ssh-agent"))?;
        let process = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(run("ssh-agent"))?;
        let own = OwnAgent { process };
        let start = Instant::now();
        while !directory.join(SOCKET).exists() {
            if start.elapsed() > PATIENCE {
                return Err(AgentError::NotUp);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for key in keys {
            // Relative, because the path of a socket is short; and nobody is there to be asked for a pass phrase.
            let output = Command::new("ssh-add")
                .arg("-q")
                .arg("--")
                .arg(key)
                .current_dir(directory)
                .env("SSH_AUTH_SOCK", SOCKET)
                .env("SSH_ASKPASS_REQUIRE", "never")
                .env_remove("SSH_ASKPASS")
                .env_remove("DISPLAY")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .output()
                .map_err(run("ssh-add"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@'));
                let said = said.take(3).collect::<Vec<_>>().join("; ");
                return Err(AgentError::Key { path: key.clone(), said });
            }
        }
        Ok(own)
    }
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// Who may use a step's socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) mode: u32,
    /// `None` where owners cannot be changed.
    pub(crate) owner: Option<(u32, u32)>,
}

/// The socket of one step. Dropped, it and its connections are gone.
#[derive(Debug)]
pub(crate) struct Forward {
    socket: PathBuf,
    /// Closing it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Forward {
    /// Makes a socket in `directory` that leads to the agent at `agent`.
    pub(crate) fn start(directory: &Path, agent: &Path, access: Access) -> Result<Forward, AgentError> {
        let socket = directory.join(SOCKET);
        let failed = |verb| {
            let path = socket.clone();
            move |source: io::Error| AgentError::Io { verb, path, source }
        };
        let listener = listen(directory).map_err(failed("listen on"))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(access.mode))
            .map_err(failed("change the mode of"))?;
        if let Some((uid, gid)) = access.owner {
            std::os::unix::fs::chown(&socket, Some(uid), Some(gid)).map_err(failed("change the owner of"))?;
        }
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| failed("make a pipe for")(errno.into()))?;
        let agent = agent.to_owned();
        let thread = std::thread::Builder::new()
            .name("bld-ssh".to_owned())
            .spawn(move || serve(&listener, &agent, &stopped))
            .map_err(failed("start a thread for"))?;
        Ok(Forward { socket, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the socket is.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        // It goes with the process's directory otherwise.
        std::fs::remove_file(&self.socket).ok();
    }
}

/// The path of a socket has 107 bytes at most, that of a store any number: it goes through a descriptor.
fn short(directory: &OwnedFd, name: &Path) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn listen(directory: &Path) -> io::Result<UnixListener> {
    let directory = open(directory)?;
    UnixListener::bind(short(&directory, Path::new(SOCKET)))
}

fn connect(agent: &Path) -> io::Result<UnixStream> {
    let directory = open(agent.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    UnixStream::connect(short(&directory, Path::new(agent.file_name().unwrap_or_default())))
}

/// A client in the step, and its connection to the agent.
struct Pair {
    client: UnixStream,
    agent: UnixStream,
    /// The client has said all it has to say.
    is_heard: bool,
}

fn serve(listener: &UnixListener, agent: &Path, stopped: &OwnedFd) {
    let mut pairs: Vec<Pair> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let watched = |wanted: bool| if wanted { PollFlags::IN } else { PollFlags::empty() };
        let mut polled =
            vec![PollFd::new(stopped, PollFlags::IN), PollFd::new(listener, watched(pairs.len() < MAX_CONNECTIONS))];
        for pair in &pairs {
            polled.push(PollFd::new(&pair.client, watched(!pair.is_heard)));
            polled.push(PollFd::new(&pair.agent, PollFlags::IN));
        }
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        drop(polled);
        if !ready[0].is_empty() {
            return;
        }
        let mut index = 0;
        pairs.retain_mut(|pair| {
            let (client, agent) = (ready[2 + 2 * index], ready[3 + 2 * index]);
            index += 1;
            pair.pass(client, agent, &mut buffer)
        });
        if ready[1].contains(PollFlags::IN)
            && let Ok((client, _)) = listener.accept()
            && let Ok(agent) = connect(agent)
            && [&client, &agent].into_iter().all(|stream| stream.set_write_timeout(Some(PATIENCE)).is_ok())
        {
            pairs.push(Pair { client, agent, is_heard: false });
        }
    }
}

impl Pair {
    /// Passes on what is there; says whether more may come.
    fn pass(&mut self, client: PollFlags, agent: PollFlags, buffer: &mut [u8]) -> bool {
        if !agent.is_empty() {
            match self.agent.read(buffer) {
                Ok(0) | Err(_) => return false,
                Ok(length) if self.client.write_all(&buffer[..length]).is_err() => return false,
                Ok(_) => {}
            }
        }
        if self.is_heard {
            // Nobody is left to hear the answer.
            return !client.intersects(PollFlags::HUP | PollFlags::ERR);
        }
        if !client.is_empty() {
            match self.client.read(buffer) {
                Ok(0) => {
                    self.is_heard = true;
                    return self.agent.shutdown(std::net::Shutdown::Write).is_ok();
                }
                Ok(length) => return self.agent.write_all(&buffer[..length]).is_ok(),
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_thousand_connections_leave_no_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("agent-of-the-caller");
        let agent = UnixListener::bind(&place).unwrap();
        let echo = std::thread::spawn(move || {
            for stream in agent.incoming() {
                let mut stream = stream.unwrap();
                let mut text = [0; 5];
                if stream.read_exact(&mut text).is_err() {
                    continue;
                }
                if &text == b"close" {
                    return;
                }
                stream.write_all(&text).unwrap();
            }
        });
        let step = directory.path().join("step".repeat(40));
        std::fs::create_dir(&step).unwrap();
        let forward = Forward::start(&step, &place, Access { mode: 0o600, owner: None }).unwrap();
        let call = |text: &[u8; 5]| {
            let mut stream = connect(forward.socket()).unwrap();
            stream.write_all(text).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        };
        assert_eq!(call(b"hello"), b"hello");
        let before = descriptors();
        for _ in 0..1000 {
            assert_eq!(call(b"hello"), b"hello");
        }
        let start = Instant::now();
        while descriptors() > before && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(descriptors() <= before, "{} descriptors, {before} before", descriptors());
        assert_eq!(call(b"close"), b"");
        drop(forward);
        echo.join().unwrap();
        assert!(!step.join(SOCKET).exists());
    }
}
