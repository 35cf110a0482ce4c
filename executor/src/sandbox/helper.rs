//! The builder's side of the helper: starts it, asks it for steps, hands its answers to whoever waits.

use std::collections::HashMap;
use std::future::Future;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use super::error::{SandboxError, StepError};
use super::server::serve;
use super::spec::{Network, Spec};
use super::streams::Streams;
use super::sys;
use super::wire::{Event, Exit, Reply, Request, SpecError, receive, send, write_spec};

/// The process that spawns all sandboxes. Dropping it ends every step.
#[derive(Debug)]
pub struct Helper {
    shared: Arc<Shared>,
    /// Ends after the helper has.
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    next: AtomicU64,
    /// `None` once the helper is gone.
    steps: Mutex<Option<HashMap<u64, Arc<Slot>>>>,
}

/// Where the reader thread leaves what it heard about a step.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    start: Option<Result<Started, StepError>>,
    exit: Option<Exit>,
    lost: bool,
    /// Also kept here, so that the step can be killed when the helper dies.
    pidfd: Option<Arc<OwnedFd>>,
    wakers: Vec<Waker>,
}

#[derive(Debug)]
struct Started {
    made: Vec<PathBuf>,
    pidfd: Arc<OwnedFd>,
}

impl Helper {
    /// Forks the helper. Must be called before any thread exists, and after [`super::userns::enter`].
    pub fn start() -> Result<Self, SandboxError> {
        let path = "/proc/self/task";
        let tasks = std::fs::read_dir(path).map_err(|source| SandboxError::Host {
            action: "read",
            path: path.into(),
            source,
        })?;
        match tasks.count() {
            1 => Self::fork(),
            count => Err(SandboxError::Threads { count }),
        }
    }

    pub(super) fn fork() -> Result<Self, SandboxError> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| SandboxError::Start { action: "make a socket", source: errno.into() })?;
        let pid = sys::fork(|| serve(&theirs)).map_err(|source| SandboxError::Start { action: "fork", source })?;
        drop(theirs);
        let shared =
            Arc::new(Shared { socket: ours, next: AtomicU64::new(0), steps: Mutex::new(Some(HashMap::new())) });
        let listening = Arc::clone(&shared);
        let reader = std::thread::Builder::new()
            .name("bld-sandbox".to_owned())
            .spawn(move || listening.read(pid))
            .map_err(|source| SandboxError::Start { action: "start a thread", source })?;
        Ok(Self { shared, reader: Some(reader) })
    }

    /// Starts a step and returns once its command runs. Blocks for the set-up, about two milliseconds; any number of
    /// threads may call it at once.
    pub fn spawn(&self, spec: &Spec, stdout: OwnedFd, stderr: OwnedFd) -> Result<Running, SandboxError> {
        self.spawn_with(spec, Streams::Output { stdout, stderr })
    }

    /// [`Self::spawn`] for a command that reads, or wants a terminal.
    pub fn spawn_with(&self, spec: &Spec, streams: Streams) -> Result<Running, SandboxError> {
        spec.validate()?;
        let memory = write_spec(spec).map_err(|error| match error {
            SpecError::Encode(source) => SandboxError::Encode { source },
            SpecError::Memory(source) => SandboxError::Host { action: "write", path: "memfd:bld-step".into(), source },
        })?;
        let mut fds = vec![memory.as_fd()];
        fds.extend(streams.descriptors());
        if let Network::Namespace(namespace) = &spec.network {
            let missing = || StepError::Invalid { field: "network".into(), reason: "the namespace is not open".into() };
            fds.push(namespace.as_fd().ok_or_else(missing)?);
        }
        let step = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        match lock(&self.shared.steps).as_mut() {
            Some(steps) => steps.insert(step, Arc::clone(&slot)),
            None => return Err(SandboxError::HelperDied),
        };
        if send(&self.shared.socket, &Request { step, streams: streams.kind() }, &fds).is_err() {
            if let Some(steps) = lock(&self.shared.steps).as_mut() {
                steps.remove(&step);
            }
            return Err(SandboxError::HelperDied);
        }
        drop((memory, streams));
        let mut state = lock(&slot.state);
        loop {
            if let Some(start) = state.start.take() {
                drop(state);
                let Started { made, pidfd } = start?;
                return Ok(Running { slot, pidfd, made });
            }
            if state.lost {
                return Err(SandboxError::HelperDied);
            }
            state = slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The helper sees the end of the socket, kills what runs and goes; its own end then stops the reader.
        let _ = shutdown(&self.shared.socket, Shutdown::Write);
        // When bld is gone, nothing of it may be there any more.
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

impl Shared {
    /// Hands replies to their steps until the helper is gone.
    fn read(&self, helper: Pid) {
        while let Ok(Some((Reply { step, event }, fds))) = receive::<Reply>(&self.socket) {
            let finished = !matches!(event, Event::Started { .. });
            let slot = lock(&self.steps)
                .as_mut()
                .and_then(|steps| if finished { steps.remove(&step) } else { steps.get(&step).cloned() });
            if let Some(slot) = slot {
                slot.hear(event, fds);
            }
        }
        let left = lock(&self.steps).take().unwrap_or_default();
        for slot in left.into_values() {
            slot.lose();
        }
        let _ = waitpid(Some(helper), WaitOptions::empty());
    }
}

impl Slot {
    fn hear(&self, event: Event, fds: Vec<OwnedFd>) {
        let mut state = lock(&self.state);
        match event {
            Event::Started { made } => match fds.into_iter().next() {
                Some(pidfd) => {
                    let pidfd = Arc::new(pidfd);
                    state.pidfd = Some(Arc::clone(&pidfd));
                    state.start = Some(Ok(Started { made, pidfd }));
                }
                None => state.lost = true,
            },
            Event::Failed(error) => state.start = Some(Err(error)),
            Event::Exited(exit) => state.exit = Some(exit),
        }
        self.announce(state);
    }

    /// The helper died. Its steps asked the kernel to die with it, but one that changed its ids by itself lost that wish.
    fn lose(&self) {
        let mut state = lock(&self.state);
        state.lost = true;
        if let Some(pidfd) = &state.pidfd {
            let _ = pidfd_send_signal(pidfd.as_ref(), Signal::KILL);
        }
        self.announce(state);
    }

    fn announce(&self, mut state: MutexGuard<'_, State>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }
}

/// What a process does with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It has a handler, or holds the signal back to ask for it.
    Handled,
    /// It ignores the signal on purpose.
    Ignored,
    /// Whatever the kernel does: nothing at all to the first process of a namespace.
    Default,
}

fn disposition_in(status: &str, signal: Signal) -> Disposition {
    let bit = 1_u64 << (signal.as_raw() - 1);
    let has = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & bit != 0)
    };
    if has("SigCgt:") || has("SigBlk:") {
        Disposition::Handled
    } else if has("SigIgn:") {
        Disposition::Ignored
    } else {
        Disposition::Default
    }
}

/// A step whose command was started. Dropping it kills the step.
#[derive(Debug)]
pub struct Running {
    slot: Arc<Slot>,
    pidfd: Arc<OwnedFd>,
    made: Vec<PathBuf>,
}

impl Running {
    /// Waits for the end of the step. When this returns no process of it is left and its file systems are unmounted.
    pub fn wait(&self) -> Result<Exit, SandboxError> {
        let mut state = lock(&self.slot.state);
        loop {
            if let Some(exit) = state.exit {
                return Ok(exit);
            }
            if state.lost {
                return Err(SandboxError::HelperDied);
            }
            state = self.slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// [`Self::wait`] for asynchronous callers; needs no particular runtime.
    pub fn exited(&self) -> Exited {
        Exited { slot: Arc::clone(&self.slot) }
    }

    /// Kills every process of the step; [`Self::wait`] then returns soon.
    pub fn kill(&self) {
        // Killing PID 1 ends the namespace. A step that has ended already needs no killing.
        let _ = pidfd_send_signal(self.pidfd.as_ref(), Signal::KILL);
    }

    /// Sends a signal to the command. The kernel keeps from the first process of a namespace what it has no handler for.
    pub fn signal(&self, signal: Signal) {
        // A step that has ended already needs none.
        let _ = pidfd_send_signal(self.pidfd.as_ref(), signal);
    }

    /// What the command would do with a signal now; `None` when it has ended.
    pub fn disposition(&self, signal: Signal) -> Option<Disposition> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        Some(disposition_in(&status, signal))
    }

    /// The command's process as this one sees it; `None` when it has ended.
    pub fn pid(&self) -> Option<i32> {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd())).ok()?;
        let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        (pid > 0).then_some(pid)
    }

    /// Mount points that had to be made in the root because the image hides the prepared ones (a whiteout, an opaque
    /// directory, a dangling link), parents first. They are no change of the step: when they are still empty in the
    /// upper directory, they are to be left out of the layer.
    pub fn made_mount_points(&self) -> &[PathBuf] {
        &self.made
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let exited = lock(&self.slot.state).exit.is_some();
        if !exited {
            self.kill();
        }
    }
}

/// Resolves to the exit of a step.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Exited {
    slot: Arc<Slot>,
}

impl Future for Exited {
    type Output = Result<Exit, SandboxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.slot.state);
        if let Some(exit) = state.exit {
            return Poll::Ready(Ok(exit));
        }
        if state.lost {
            return Poll::Ready(Err(SandboxError::HelperDied));
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// A panic elsewhere leaves these plain values consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
