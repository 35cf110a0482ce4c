//! What a command reads and writes: nothing and two pipes, three pipes, or a terminal.
//!
//! A terminal is made by the step in its own `/dev/pts`, which is no mount of the host: its name means the same inside
//! as anywhere, and what the command does to it ends with it. The step sends the master's descriptor back through a
//! socket, the *console*, before the command runs. No descriptor of the user's own terminal, files or directories ever
//! enters a step: it could be opened again for more than was meant, or typed into.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex, Winsize};
use serde::{Deserialize, Serialize};

use super::error::{Context as _, SandboxError, StepError};
use super::rootfs::{attach, clone_tree};
use super::wire::{receive, send};

/// The streams of a step, to be given to [`super::Helper::spawn_with`].
#[derive(Debug)]
pub enum Streams {
    /// Nothing to read; two writing ends.
    Output {
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A reading end and two writing ends.
    Pipes {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A terminal of the step's own; see [`Streams::terminal`].
    Terminal {
        /// Its size at first.
        size: TerminalSize,
        /// The step's end of the console.
        console: OwnedFd,
    },
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

/// Where the master of a step's terminal arrives.
#[derive(Debug)]
pub struct Console(OwnedFd);

impl Streams {
    /// A terminal, and where its master arrives once the step was started.
    pub fn terminal(size: TerminalSize) -> Result<(Streams, Console), SandboxError> {
        let (ours, console) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(|errno| {
                SandboxError::Host { action: "make", path: "a socket for the terminal".into(), source: errno.into() }
            })?;
        Ok((Streams::Terminal { size, console }, Console(ours)))
    }

    pub(super) fn kind(&self) -> StreamKind {
        match self {
            Self::Output { .. } => StreamKind::Output,
            Self::Pipes { .. } => StreamKind::Pipes,
            Self::Terminal { size, .. } => StreamKind::Terminal(*size),
        }
    }

    /// The descriptors in the order in which they travel.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Output { stdout, stderr } => vec![stdout.as_fd(), stderr.as_fd()],
            Self::Pipes { stdin, stdout, stderr } => vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            Self::Terminal { console, .. } => vec![console.as_fd()],
        }
    }
}

impl Console {
    /// The master; for a step that was started.
    pub fn master(self) -> Result<OwnedFd, SandboxError> {
        let lost = |errno: rustix::io::Errno| SandboxError::Host {
            action: "receive",
            path: "the terminal of the sandbox".into(),
            source: errno.into(),
        };
        let received = receive::<()>(&self.0).map_err(lost)?;
        received.and_then(|((), fds)| fds.into_iter().next()).ok_or_else(|| lost(rustix::io::Errno::BADMSG))
    }
}

/// Changes the size of the terminal that `master` belongs to; whoever uses it is told.
pub fn resize(master: impl AsFd, size: TerminalSize) -> std::io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(master, window(size))?)
}

/// What a byte that is typed into the terminal of `master` would be for `pid`: the signal, if it is one and `pid` alone is who would
/// get it, or is the leader of those who would.
pub fn typed_signal(master: impl AsFd, byte: u8, pid: i32) -> Option<Signal> {
    let settings = rustix::termios::tcgetattr(master.as_fd()).ok()?;
    if !settings.local_modes.contains(LocalModes::ISIG) {
        return None;
    }
    let codes = &settings.special_codes;
    let signal = if byte == codes[SpecialCodeIndex::VINTR] {
        Signal::INT
    } else if byte == codes[SpecialCodeIndex::VQUIT] {
        Signal::QUIT
    } else {
        return None;
    };
    let foreground = rustix::termios::tcgetpgrp(master).ok()?;
    (foreground.as_raw_nonzero().get() == pid).then_some(signal)
}

/// [`Streams`] without their descriptors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum StreamKind {
    Output,
    Pipes,
    Terminal(TerminalSize),
}

impl StreamKind {
    /// Takes the descriptors back, in the order in which they travel.
    pub(super) fn with(self, mut fds: impl Iterator<Item = OwnedFd>) -> Option<Streams> {
        Some(match self {
            Self::Output => Streams::Output { stdout: fds.next()?, stderr: fds.next()? },
            Self::Pipes => Streams::Pipes { stdin: fds.next()?, stdout: fds.next()?, stderr: fds.next()? },
            Self::Terminal(size) => Streams::Terminal { size, console: fds.next()? },
        })
    }
}

/// Makes them the streams 0, 1 and 2 of this process, the leader of a session. `dev` is the root of its `/dev`.
pub(super) fn connect(streams: &Streams, dev: BorrowedFd<'_>) -> Result<(), StepError> {
    match streams {
        Streams::Output { stdout, stderr } => become_streams(&open_null(dev)?, stdout, stderr),
        Streams::Pipes { stdin, stdout, stderr } => become_streams(stdin, stdout, stderr),
        Streams::Terminal { size, console } => {
            let terminal = open_terminal(*size, console, dev)?;
            rustix::process::ioctl_tiocsctty(&terminal).context("take control of", "the terminal")?;
            become_streams(&terminal, &terminal, &terminal)
        }
    }
}

fn become_streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), StepError> {
    rustix::stdio::dup2_stdin(stdin).context("open", "stdin")?;
    rustix::stdio::dup2_stdout(stdout).context("open", "stdout")?;
    rustix::stdio::dup2_stderr(stderr).context("open", "stderr")
}

/// The step's own `/dev/null`.
fn open_null(dev: BorrowedFd<'_>) -> Result<OwnedFd, StepError> {
    rustix::fs::openat(dev, "null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).context("open", "/dev/null")
}

/// Makes a terminal, also known as `/dev/console`, and sends its master away.
fn open_terminal(size: TerminalSize, console: &OwnedFd, dev: BorrowedFd<'_>) -> Result<OwnedFd, StepError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(dev, "pts/ptmx", flags, Mode::empty()).context("open", "/dev/pts/ptmx")?;
    rustix::pty::unlockpt(&master).context("unlock", "the terminal")?;
    // By descriptor: no name that the image could have had a hand in.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).context("open", "the terminal")?;
    rustix::termios::tcsetwinsize(&terminal, window(size)).context("set the size of", "the terminal")?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let place = rustix::fs::openat(dev, "console", flags, Mode::from_raw_mode(0o600));
    let place = place.context("create", "/dev/console")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let view = clone_tree(terminal.as_fd(), "", attributes).context("bind", path)?;
    attach(&view, place.as_fd(), "/dev/console")?;
    send(console, &(), &[master.as_fd()]).context("send", "the terminal")?;
    Ok(terminal)
}

fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}
