//! Network namespaces of steps: one per parallel slot of a build, made once, entered by each of its steps.
//!
//! A private network is a namespace with a user-mode network stack (`slirp4netns`) as its only way out: no bridge, no
//! address of the host's network, nothing of the host's loopback. The stack's process ends when the slot is dropped
//! and when `bld` dies: it watches a pipe whose other end is here.
#![expect(clippy::disallowed_methods, reason = "slirp4netns is a program")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::UnshareFlags;

use super::error::SandboxError;
use super::spec::{NamespaceFd, Network, ResolvConf};
use super::sys;

/// How long a network may take to come up before the build goes on without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket in the directory given for it.
const API_SOCKET: &str = "api";

/// The resolver that slirp4netns puts into its network; it asks whom the host asks.
const SLIRP_RESOLVER: &str = "10.0.2.3";

/// A network namespace that steps enter one after the other.
#[derive(Debug)]
pub struct NetworkSlot {
    namespace: Arc<OwnedFd>,
    stack: Option<Stack>,
}

#[derive(Debug)]
struct Stack {
    process: Child,
    /// Closing it ends the process.
    _alive: OwnedFd,
}

impl NetworkSlot {
    /// A namespace with nothing but `lo`.
    pub fn isolated() -> Result<Self, SandboxError> {
        Ok(Self { namespace: Arc::new(new_namespace()?), stack: None })
    }

    /// A namespace with a way out. Takes some 20 ms, to be spent beside other work; the error says what to print
    /// when there is none to be had.
    pub fn private() -> Result<Self, SandboxError> {
        let namespace = new_namespace()?;
        let stack = Stack::start(&namespace, None)?;
        Ok(Self { namespace: Arc::new(namespace), stack: Some(stack) })
    }

    /// [`Self::private`], where ports can be published; `directory` is for the socket by which the stack is told so.
    pub fn publishing(directory: &Path) -> Result<(Self, Publisher), SandboxError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|errno| unavailable("the directory of its socket cannot be opened", Some(errno.into())))?;
        let namespace = new_namespace()?;
        let stack = Stack::start(&namespace, Some(&directory))?;
        Ok((Self { namespace: Arc::new(namespace), stack: Some(stack) }, Publisher { directory }))
    }

    /// For [`super::Spec::network`].
    pub fn network(&self) -> Network {
        Network::Namespace(NamespaceFd::new(Arc::clone(&self.namespace)))
    }

    /// For [`super::Spec::resolv_conf`]: the resolver reachable from inside, with the host's search list and options.
    pub fn resolv_conf(&self) -> ResolvConf {
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        match self.stack {
            Some(_) => ResolvConf::Text(inside_resolv_conf(&host)),
            None => ResolvConf::Text(String::new()),
        }
    }
}

/// Tells the stack of a network which ports of the host lead inside.
#[derive(Debug)]
pub struct Publisher {
    directory: OwnedFd,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As it is written behind a port.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Publisher {
    /// Lets connections to `port` of `address` arrive at port `inside`. The error is what the stack said.
    pub fn publish(&self, protocol: Protocol, address: SocketAddrV4, inside: u16) -> io::Result<()> {
        let request = serde_json::json!({
            "execute": "add_hostfwd",
            "arguments": {
                "proto": protocol.as_str(),
                "host_addr": address.ip().to_string(),
                "host_port": address.port(),
                "guest_port": inside,
            },
        });
        // A path of any length would not fit into a socket's address.
        let path = format!("/proc/self/fd/{}/{API_SOCKET}", self.directory.as_raw_fd());
        let mut socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(request.to_string().as_bytes())?;
        socket.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        match answer.get("error") {
            None => Ok(()),
            Some(error) => {
                let said = error.get("desc").and_then(serde_json::Value::as_str).unwrap_or("it gave no reason");
                Err(io::Error::other(said.to_owned()))
            }
        }
    }
}

fn inside_resolv_conf(host: &str) -> String {
    let mut text = format!("nameserver {SLIRP_RESOLVER}\n");
    for line in host.lines() {
        if matches!(line.split_whitespace().next(), Some("search" | "domain" | "options")) {
            text.push_str(line.trim());
            text.push('\n');
        }
    }
    text
}

/// Makes a namespace in a thread of its own: the rest of the process stays where it is.
fn new_namespace() -> Result<OwnedFd, SandboxError> {
    let make = || -> Result<OwnedFd, Errno> {
        sys::unshare(UnshareFlags::NEWNET)?;
        loopback_up()?;
        rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let thread = std::thread::Builder::new().name("bld-network".to_owned()).spawn(make);
    let result = thread.map_err(|source| unavailable("cannot start a thread", Some(source)))?.join();
    match result {
        Ok(Ok(namespace)) => Ok(namespace),
        Ok(Err(errno)) => Err(unavailable("cannot make a network namespace", Some(errno.into()))),
        Err(_) => Err(unavailable("cannot make a network namespace", None)),
    }
}

fn unavailable(reason: impl Into<String>, source: Option<io::Error>) -> SandboxError {
    SandboxError::Network { reason: reason.into(), source }
}

impl Stack {
    /// Starts it; with a directory for its socket, ports can be published.
    fn start(namespace: &OwnedFd, api: Option<&OwnedFd>) -> Result<Self, SandboxError> {
        // The message of slirp4netns would not tell what is usual.
        let tunnel = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        drop(tunnel.map_err(|errno| unavailable("/dev/net/tun cannot be opened", Some(errno.into())))?);
        let pipe =
            || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| unavailable("cannot make a pipe", Some(errno.into())));
        let (ready, ready_writer) = pipe()?;
        let (exit_reader, alive) = pipe()?;
        let log = rustix::fs::memfd_create("slirp4netns", MemfdFlags::CLOEXEC)
            .map_err(|errno| unavailable("cannot make a log", Some(errno.into())))?;
        let log_writer = log.try_clone().map_err(|source| unavailable("cannot make a log", Some(source)))?;
        let mut command = Command::new("slirp4netns");
        command
            .args(["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"])
            .arg(format!("--ready-fd={}", ready_writer.as_raw_fd()))
            .arg(format!("--exit-fd={}", exit_reader.as_raw_fd()))
            .args(api.map(|directory| format!("--api-socket=/proc/self/fd/{}/{API_SOCKET}", directory.as_raw_fd())))
            .arg(format!("/proc/self/fd/{}", namespace.as_raw_fd()))
            .arg("tap0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_writer)
            // A terminal's Ctrl-C is not for it: who is asked to end may need the network for that.
            .process_group(0);
        let mut inherited = vec![namespace.as_fd(), ready_writer.as_fd(), exit_reader.as_fd()];
        inherited.extend(api.map(|directory| directory.as_fd()));
        sys::inherit(&mut command, &inherited);
        let process = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => unavailable("slirp4netns is not installed", None),
            _ => unavailable("slirp4netns cannot be run", Some(source)),
        })?;
        drop((ready_writer, exit_reader));
        // Owned from here on, so that every way out ends the process.
        let stack = Self { process, _alive: alive };
        if wait_ready(&ready) {
            return Ok(stack);
        }
        let mut log = File::from(log);
        let mut text = String::new();
        drop(log.rewind().and_then(|()| log.read_to_string(&mut text)));
        let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
        let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
        Err(unavailable(format!("slirp4netns was not ready within {} seconds{said}", PATIENCE.as_secs()), None))
    }
}

/// slirp4netns writes a byte when the interface is configured; it closes the pipe when it dies.
fn wait_ready(ready: &OwnedFd) -> bool {
    let start = Instant::now();
    loop {
        let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
            return false;
        };
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::new(ready, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return rustix::io::read(ready, &mut [0_u8]) == Ok(1),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Starts `lo` in the current network namespace.
pub(super) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::send(&socket, &set_link_up(1), SendFlags::empty())?;
    let mut answer = [0_u8; 512];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    // An acknowledgement is an error message (header of 16 bytes) with a negated error number, 0 for success.
    let code = answer.get(16..20).filter(|_| length >= 20).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        None => Err(Errno::BADMSG),
    }
}

/// `RTM_NEWLINK` that sets `IFF_UP` on one interface, acknowledged.
fn set_link_up(interface: u32) -> [u8; 32] {
    const NEW_LINK: u16 = 16;
    const REQUEST_ACKNOWLEDGED: u16 = 0x1 | 0x4;
    const UP: u32 = 1;
    let mut message = [0_u8; 32];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(place) = message.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &32_u32.to_ne_bytes());
    put(4, &NEW_LINK.to_ne_bytes());
    put(6, &REQUEST_ACKNOWLEDGED.to_ne_bytes());
    put(20, &interface.to_ne_bytes());
    put(24, &UP.to_ne_bytes());
    put(28, &UP.to_ne_bytes());
    message
}
