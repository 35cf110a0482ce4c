//! The helper process: one thread that clones steps, waits for them, and ends with whoever it serves.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use bld_solver::record::Usage;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::child::{self, Descriptors, Report};
use super::error::{Errno as Code, StepError};
use super::seccomp::Filter;
use super::spec::{Identity, Network, Spec};
use super::streams::StreamKind;
use super::sys;
use super::wire::{Event, Exit, ExitStatus, Reply, Request, read_spec, receive, send};

/// Serves `socket` until the other end is closed, then kills what still runs. Returns the helper's exit code.
pub(super) fn serve(socket: &OwnedFd) -> i32 {
    if detach(socket).is_err() {
        return 1;
    }
    let mut server = Server { socket, steps: Vec::new(), filters: Vec::new() };
    while server.turn().is_ok() {}
    server.end_all();
    0
}

/// Lets go of everything that belongs to `bld` alone.
fn detach(socket: &OwnedFd) -> std::io::Result<()> {
    // A terminal's Ctrl-C reaches the whole process group: `bld` decides what it means, the helper only follows.
    sys::ignore_signals(&[
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGTSTP,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ]);
    // Out of the builder's process group as well: a SIGKILL for the group must leave somebody to clean up.
    rustix::process::setsid()?;
    let _ = rustix::thread::set_name(c"bld-helper");
    sys::close_all_but(&[socket.as_fd()])?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::chdir("/")?;
    // Many layers are many descriptors.
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

struct Server<'fd> {
    socket: &'fd OwnedFd,
    steps: Vec<Step>,
    filters: Vec<(Identity, Filter)>,
}

/// A step between clone and the report of its exit.
struct Step {
    number: u64,
    /// Nobody else's as long as it is not reaped.
    pid: Pid,
    pidfd: OwnedFd,
    /// Open until the command runs or has failed to.
    status: Option<OwnedFd>,
    reports: Vec<u8>,
    /// Times the kernel had killed for memory when the step began.
    out_of_memory: u64,
    /// What its set-up used.
    set_up: Usage,
    phase: Phase,
    /// Removed here when the builder is not there to do it.
    cgroups: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    SetUp,
    Running,
    Failed,
    Gone,
}

/// The other end is closed.
struct Closed;

impl Server<'_> {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> Result<(), Closed> {
        let mut ready = Vec::new();
        {
            let mut fds = vec![PollFd::new(self.socket, PollFlags::IN)];
            for step in &self.steps {
                let watched = step.status.as_ref().unwrap_or(&step.pidfd);
                fds.push(PollFd::new(watched, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(Closed),
            }
            ready.extend(fds.iter().map(|fd| !fd.revents().is_empty()));
        }
        for (step, _) in self.steps.iter_mut().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready) {
            step.advance(self.socket)?;
        }
        self.steps.retain(|step| step.phase != Phase::Gone);
        if ready.first() == Some(&true) {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Closed> {
        let Ok(Some((Request { step, streams }, fds))) = receive::<Request>(self.socket) else {
            return Err(Closed);
        };
        match self.start(step, streams, fds) {
            Ok(started) => {
                self.steps.push(started);
                Ok(())
            }
            Err(error) => reply(self.socket, step, Event::Failed(error), &[]),
        }
    }

    fn start(&mut self, number: u64, streams: StreamKind, fds: Vec<OwnedFd>) -> Result<Step, StepError> {
        let mut fds = fds.into_iter();
        let (Some(memory), Some(streams)) = (fds.next(), streams.with(&mut fds)) else {
            return Err(failure("receive", Errno::BADMSG));
        };
        let network = fds.next();
        let spec = read_spec(memory).map_err(|_| failure("read the specification of", Errno::BADMSG))?;
        if !self.filters.iter().any(|(identity, _)| *identity == spec.identity) {
            self.filters.push((spec.identity, Filter::new(spec.identity)));
        }
        let filter = self.filters.iter().find(|(identity, _)| *identity == spec.identity).map(|(_, filter)| filter);
        let Some(filter) = filter else {
            return Err(failure("filter", Errno::INVAL));
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failure("make a pipe for", errno))?;
        let out_of_memory = out_of_memory_kills();
        let descriptors =
            Descriptors { streams: &streams, network: network.as_ref().map(AsFd::as_fd), status: writer.as_fd() };
        let (pid, pidfd) = sys::clone_process(namespaces(&spec), || child::run(&spec, &descriptors, filter))
            .map_err(|error| failure("clone", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(Step {
            number,
            pid,
            pidfd,
            status: Some(reader),
            reports: Vec::new(),
            out_of_memory,
            set_up: Usage::default(),
            phase: Phase::SetUp,
            cgroups: spec.cgroups,
        })
    }

    /// Kills all steps and waits until nothing of them is left.
    fn end_all(&mut self) {
        for step in &self.steps {
            let _ = pidfd_send_signal(&step.pidfd, Signal::KILL);
        }
        for step in self.steps.drain(..) {
            let _ = waitid(WaitId::PidFd(step.pidfd.as_fd()), WaitIdOptions::EXITED);
            for cgroup in &step.cgroups {
                // Gone already where the builder lives.
                let _ = rustix::fs::rmdir(cgroup);
            }
        }
    }
}

impl Step {
    fn advance(&mut self, socket: &OwnedFd) -> Result<(), Closed> {
        match &self.status {
            Some(status) => {
                let mut buffer = [0_u8; 4096];
                match rustix::io::read(status, &mut buffer) {
                    Ok(0) | Err(_) => self.status = None,
                    Ok(length) => {
                        self.reports.extend_from_slice(buffer.get(..length).unwrap_or_default());
                        return Ok(());
                    }
                }
                self.executed(socket)
            }
            None => self.exited(socket),
        }
    }

    /// The status pipe was closed: by exec, or by the end of the set-up.
    fn executed(&mut self, socket: &OwnedFd) -> Result<(), Closed> {
        let mut made = None;
        for line in self.reports.split(|byte| *byte == b'\n') {
            match serde_json::from_slice::<Report>(line) {
                Ok(Report::Ready { made: paths, used }) => {
                    made = Some(paths);
                    self.set_up = used;
                }
                Ok(Report::Failed(error)) => {
                    self.phase = Phase::Failed;
                    return reply(socket, self.number, Event::Failed(error), &[]);
                }
                Err(_) => {}
            }
        }
        if let Some(made) = made {
            self.phase = Phase::Running;
            reply(socket, self.number, Event::Started { made }, &[self.pidfd.as_fd()])?;
        }
        // Otherwise it died in the set-up: the exit status tells more.
        Ok(())
    }

    fn exited(&mut self, socket: &OwnedFd) -> Result<(), Closed> {
        let (status, used) = match sys::reap(self.pid) {
            Ok((status, used)) if libc::WIFEXITED(status) => (ExitStatus::Code(libc::WEXITSTATUS(status)), used),
            Ok((status, used)) => (ExitStatus::Signal(libc::WTERMSIG(status)), used),
            Err(Errno::INTR) => return Ok(()),
            Err(_) => (ExitStatus::Signal(libc::SIGKILL), Usage::default()),
        };
        let phase = self.phase;
        self.phase = Phase::Gone;
        match phase {
            Phase::SetUp => {
                let status = match status {
                    ExitStatus::Code(code) => format!("exit code {code}"),
                    ExitStatus::Signal(signal) => format!("signal {signal}"),
                };
                reply(socket, self.number, Event::Failed(StepError::Vanished { status }), &[])
            }
            Phase::Running => {
                let killed = matches!(status, ExitStatus::Signal(libc::SIGKILL) | ExitStatus::Code(137));
                let oom = killed && out_of_memory_kills() > self.out_of_memory;
                reply(socket, self.number, Event::Exited(Exit { status, oom, usage: without(used, &self.set_up) }), &[])
            }
            Phase::Failed | Phase::Gone => Ok(()),
        }
    }
}

fn reply(socket: &OwnedFd, step: u64, event: Event, fds: &[BorrowedFd<'_>]) -> Result<(), Closed> {
    match send(socket, &Reply { step, event }, fds) {
        Ok(()) => Ok(()),
        Err(Errno::MSGSIZE) => {
            let error = StepError::Invalid { field: "mounts".into(), reason: "too many mount points to report".into() };
            send(socket, &Reply { step, event: Event::Failed(error) }, &[]).map_err(|_| Closed)
        }
        Err(_) => Err(Closed),
    }
}

/// What was used after the set-up. A peak cannot be taken off a peak.
fn without(used: Usage, set_up: &Usage) -> Usage {
    Usage {
        user_us: used.user_us.saturating_sub(set_up.user_us),
        system_us: used.system_us.saturating_sub(set_up.system_us),
        peak_memory: used.peak_memory,
        read_bytes: used.read_bytes.saturating_sub(set_up.read_bytes),
        written_bytes: used.written_bytes.saturating_sub(set_up.written_bytes),
    }
}

fn namespaces(spec: &Spec) -> i32 {
    let always =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    match spec.network {
        Network::None => always | libc::CLONE_NEWNET,
        Network::Host | Network::Namespace(_) => always,
    }
}

fn failure(action: &str, errno: Errno) -> StepError {
    StepError::System { action: action.to_owned(), path: "the step".into(), source: Code::from(errno) }
}

/// How often the kernel has killed for lack of memory since it started.
///
/// A killed step cannot be told from a killed step by its status; without a memory cgroup of its own this is the only
/// witness.
fn out_of_memory_kills() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/vmstat") else {
        return 0;
    };
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
