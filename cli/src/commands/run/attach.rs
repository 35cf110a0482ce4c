//! Between the user and the process: streams, signals, and the end.
//!
//! ```text
//! stdin  --> thread --> pipe or terminal --> process        with -i
//! stdout <-- thread <-- pipe or terminal <-- process
//! stderr <-- thread <-- pipe            <-- process         without -t
//! signals --> thread -+
//! the end --> thread -+--> this loop --> signals to the process
//! ```
//! *Signals.* The process is the first of its PID namespace, and the kernel keeps from it every signal that it has no handler for: `sleep` could
//! not be interrupted. bld therefore looks first. With a handler (or the signal held back, or ignored on purpose) the signal is passed on; INT and TERM then
//! leave the process 10 seconds, which another one cuts short. Without a handler INT and TERM become the image's STOPSIGNAL if there is a handler for that;
//! else they do, as HUP and QUIT, what they do to every other process: it ends, and the exit code is 128+N. USR1 and USR2 are passed on and no more.
//! With a terminal, Ctrl-C is a byte for the process's own terminal, and the kernel makes the signal of it, under the same rule (`copy_typed`).

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::time::Instant;

use bld_executor::run::Container;
use bld_executor::sandbox::Disposition;
use bld_executor::sandbox::Exit;
use bld_executor::sandbox::ExitStatus;
use bld_executor::sandbox::Helper;
use bld_executor::sandbox::Running;
use bld_executor::sandbox::SandboxError;
use bld_executor::sandbox::Streams;
use bld_executor::sandbox::streams::resize;
use bld_executor::sandbox::streams::typed_signal;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pipe::pipe_with;
use rustix::process::Signal;

use super::signals;
use super::terminal;
use super::terminal::Raw;
use crate::commands::run::run_error;
use crate::error::CommandError;
use crate::ui::plain::write_line;

/// How long a process may take that was asked to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long what it has written may take to be read after that.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How soon a terminal is looked at again that nobody has open at the moment.
const PAUSE: Duration = Duration::from_millis(10);

/// What the loop waits for.
#[derive(Debug)]
pub(super) enum Happening {
    /// bld got a signal.
    Signal(Signal),
    /// The process has ended.
    Ended(Result<Exit, SandboxError>),
    /// One output is at its end; what could not be passed on is lost.
    Drained(Result<(), Lost>),
}

/// How the process is attached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attachment {
    pub(super) interactive: bool,
    pub(super) terminal: bool,
    pub(super) stop_signal: Option<Signal>,
}

/// The end of a process.
#[derive(Debug)]
pub(super) struct End {
    pub(super) exit: Exit,
    /// For bld to return.
    pub(super) code: u8,
    /// Output that the process wrote and nobody got.
    pub(super) lost: Option<Lost>,
}

/// Why output was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot write to standard {name}: {errno}")]
pub(super) struct Lost {
    name: &'static str,
    errno: Errno,
}

impl Lost {
    /// A closed pipe is no failure: whoever read it has enough.
    fn of(name: &'static str, written: Result<(), Errno>) -> Result<(), Lost> {
        match written {
            Ok(()) | Err(Errno::PIPE) => Ok(()),
            Err(errno) => Err(Lost { name, errno }),
        }
    }
}

/// Starts the process and stays with it until it has ended.
pub(super) fn run(container: &Container, helper: &Helper, attachment: Attachment) -> Result<End, CommandError> {
    let (sender, happenings) = channel();
    let failed = |error: std::io::Error| CommandError::failed(format!("cannot listen for signals: {error}"));
    signals::listen(&sender).map_err(failed)?;
    if attachment.terminal {
        return with_terminal(container, helper, attachment, sender, &happenings);
    }
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let mut stdin = None;
    let streams = if attachment.interactive {
        let (reader, writer) = pipe()?;
        stdin = Some(writer);
        Streams::Pipes { stdin: reader, stdout: stdout_writer, stderr: stderr_writer }
    } else {
        Streams::Output { stdout: stdout_writer, stderr: stderr_writer }
    };
    let running = Arc::new(container.start(helper, streams).map_err(|error| run_error(&error))?);
    spawn_output(sender.clone(), move || Lost::of("output", copy(&stdout, rustix::stdio::stdout())))?;
    spawn_output(sender.clone(), move || Lost::of("error", copy(&stderr, rustix::stdio::stderr())))?;
    if let Some(writer) = stdin {
        // Not waited for: it may sit in a read of the terminal for ever.
        spawn(move || {
            copy(rustix::stdio::stdin(), &writer).ok();
        })?;
    }
    wait(&running, sender)?;
    Loop { running: &running, attachment, outputs: 2, master: None }.run(&happenings)
}

fn with_terminal(
    container: &Container,
    helper: &Helper,
    attachment: Attachment,
    sender: Sender<Happening>,
    happenings: &Receiver<Happening>,
) -> Result<End, CommandError> {
    let (streams, console) = Streams::terminal(terminal::size())?;
    let running = Arc::new(container.start(helper, streams).map_err(|error| run_error(&error))?);
    let master = Arc::new(console.master()?);
    // It may have changed before anybody listened.
    resize(&master, terminal::size()).ok();
    let raw = if attachment.interactive {
        let raw = Raw::enter();
        Some(raw.map_err(|error| CommandError::failed(format!("cannot set up the terminal: {error}")))?)
    } else {
        None
    };
    let ended = Arc::new(AtomicBool::new(false));
    {
        let (master, ended) = (Arc::clone(&master), Arc::clone(&ended));
        spawn_output(sender.clone(), move || Lost::of("output", copy_terminal(&master, &ended)))?;
    }
    if attachment.interactive {
        let (master, running, sender) = (Arc::clone(&master), Arc::clone(&running), sender.clone());
        spawn(move || copy_typed(&master, &running, &sender))?;
    }
    {
        let (running, sender) = (Arc::clone(&running), sender);
        spawn(move || {
            let exit = running.wait();
            ended.store(true, Ordering::Release);
            drop(sender.send(Happening::Ended(exit)));
        })?;
    }
    let end = Loop { running: &running, attachment, outputs: 1, master: Some(&master) }.run(happenings);
    drop(raw);
    end
}

/// Waits for the end in a thread.
fn wait(running: &Arc<Running>, sender: Sender<Happening>) -> Result<(), CommandError> {
    let running = Arc::clone(running);
    spawn(move || drop(sender.send(Happening::Ended(running.wait()))))
}

/// What goes on between the start and the end.
struct Loop<'a> {
    running: &'a Running,
    attachment: Attachment,
    outputs: usize,
    master: Option<&'a OwnedFd>,
}

impl Loop<'_> {
    fn run(mut self, happenings: &Receiver<Happening>) -> Result<End, CommandError> {
        let mut deadline: Option<Instant> = None;
        let mut was_asked = false;
        let mut verdict = None;
        let mut exit = None;
        let mut lost = None;
        loop {
            let happening = match deadline {
                _ if exit.is_some() && self.outputs == 0 => break,
                None => happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match happening {
                Ok(Happening::Ended(ended)) => {
                    exit = Some(ended?);
                    // Whoever was told to end does not wait for a reader that may never come.
                    deadline = was_asked.then(|| Instant::now() + LAST_WORDS);
                }
                Ok(Happening::Drained(written)) => {
                    self.outputs = self.outputs.saturating_sub(1);
                    lost = lost.or(written.err());
                }
                Ok(Happening::Signal(Signal::WINCH)) => {
                    if let Some(master) = self.master {
                        resize(master, terminal::size()).ok();
                    }
                }
                // What is still to be written will not be, if nobody reads it.
                Ok(Happening::Signal(Signal::INT | Signal::TERM | Signal::HUP)) | Err(RecvTimeoutError::Timeout)
                    if exit.is_some() =>
                {
                    break;
                }
                Ok(Happening::Signal(Signal::INT | Signal::TERM)) if deadline.is_some() => {
                    deadline = None;
                    self.running.kill();
                }
                Ok(Happening::Signal(signal)) => match self.pass_on(signal) {
                    Passed::Asked => {
                        was_asked = true;
                        deadline = Some(Instant::now() + GRACE);
                        self.tell("asked it to end; it has 10 seconds, Ctrl-C again ends it now");
                    }
                    Passed::Done => {}
                    Passed::Carried => {
                        was_asked = true;
                        verdict = Some(signal);
                        self.running.kill();
                    }
                },
                Err(RecvTimeoutError::Timeout) => {
                    deadline = None;
                    self.running.kill();
                    self.tell("it did not end within 10 seconds and was killed");
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let exit = exit.ok_or_else(|| CommandError::from_error(&SandboxError::HelperDied))?;
        let signal = |number: i32| u8::try_from(128 + number).unwrap_or(u8::MAX);
        let code = match (verdict, exit.status) {
            (Some(verdict), ExitStatus::Signal(number)) if number == Signal::KILL.as_raw() => signal(verdict.as_raw()),
            (_, ExitStatus::Code(code)) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            (_, ExitStatus::Signal(number)) => signal(number),
        };
        Ok(End { exit, code, lost })
    }

    /// Gives the process a signal that bld got.
    fn pass_on(&self, signal: Signal) -> Passed {
        let asks = matches!(signal, Signal::INT | Signal::TERM);
        let ends = asks || matches!(signal, Signal::HUP | Signal::QUIT);
        match self.running.disposition(signal) {
            None => Passed::Done,
            Some(Disposition::Default) if ends => {
                let stop = self.attachment.stop_signal.filter(|_| asks);
                match stop.filter(|stop| self.running.disposition(*stop) == Some(Disposition::Handled)) {
                    Some(stop) => {
                        self.running.signal(stop);
                        Passed::Asked
                    }
                    None => Passed::Carried,
                }
            }
            Some(_) => {
                self.running.signal(signal);
                if asks { Passed::Asked } else { Passed::Done }
            }
        }
    }

    /// Says something to a person who may be waiting; never to a script, and never into the process's own screen.
    fn tell(&self, text: &str) {
        if self.master.is_none() && rustix::termios::isatty(rustix::stdio::stderr()) {
            write_line(&format!("note: {text}"));
        }
    }
}

/// What became of a signal.
enum Passed {
    /// The process has it, and is expected to end.
    Asked,
    /// The process has it, or does not care.
    Done,
    /// The kernel would keep it from the process: bld does what it means.
    Carried,
}

fn spawn_output(
    sender: Sender<Happening>,
    work: impl FnOnce() -> Result<(), Lost> + Send + 'static,
) -> Result<(), CommandError> {
    spawn(move || drop(sender.send(Happening::Drained(work()))))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), CommandError> {
    let thread = std::thread::Builder::new().name("bld-stream".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| CommandError::failed(format!("cannot start a thread: {error}")))
}

/// Copies until the end of one side; whoever holds the other sees it closed then. It fails if what was read cannot be written.
fn copy(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match read(from.as_fd(), &mut buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(length) => write_all(to.as_fd(), buffer.get(..length).unwrap_or_default())?,
        }
    }
}

/// Copies what the process writes to its terminal until it has ended. What cannot be written is read all the same: the process must not
/// hang for it.
fn copy_terminal(master: &OwnedFd, ended: &AtomicBool) -> Result<(), Errno> {
    let mut buffer = vec![0; 64 * 1024];
    let mut written = Ok(());
    loop {
        let was_over = ended.load(Ordering::Acquire);
        match read(master.as_fd(), &mut buffer) {
            Ok(length @ 1..) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                written = written.and_then(|()| write_all(rustix::stdio::stdout(), bytes));
            }
            // Nobody has the terminal open: at the end, or for the moment.
            Ok(_) | Err(_) if was_over => return written,
            Ok(_) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Passes on what is typed. The kernel makes signals of Ctrl-C and Ctrl-\ for whoever has the terminal; where that is the first process, which
/// has no handler for it, the kernel would do nothing, and bld does what it means.
fn copy_typed(master: &OwnedFd, running: &Running, sender: &Sender<Happening>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = read(rustix::stdio::stdin(), &mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        let lost = running.pid().and_then(|pid| bytes.iter().find_map(|byte| typed_signal(master, *byte, pid)));
        if write_all(master.as_fd(), bytes).is_err() {
            return;
        }
        if let Some(signal) = lost.filter(|signal| running.disposition(*signal) == Some(Disposition::Default)) {
            drop(sender.send(Happening::Signal(signal)));
        }
    }
}

fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(from, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => ready(from, PollFlags::IN)?,
            other => return other,
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => ready(to, PollFlags::OUT)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Waits for a descriptor that somebody else made non-blocking.
fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    match rustix::event::poll(&mut [PollFd::new(&fd, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), CommandError> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| CommandError::failed(format!("cannot make a pipe: {errno}")))
}
