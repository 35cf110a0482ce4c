//! RUN: a sandbox over an overlay mount whose upper directory becomes the new layer.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::store::LogWriter;
use bld_solver::graph::Vertex;
use bld_solver::graph::VertexId;
use bld_solver::op::Exec;
use bld_solver::op::SecurityMode;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Stream;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use super::LocalWorker;
use super::cancel::Canceler;
use crate::error::ExecuteError;
use crate::layers;
use crate::passwd;
use crate::passwd::User;
use crate::sandbox::Exit;
use crate::sandbox::ExitStatus;
use crate::sandbox::FileMount;
use crate::sandbox::RootFs;
use crate::sandbox::Spec;
use crate::sandbox::Upper;
use crate::secrets::Mask;

/// docker's size of /dev/shm.
const DEFAULT_SHM_SIZE: u64 = 64 << 20;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// Runs the command and answers the state it leaves.
    pub(super) fn run_exec(
        &self,
        id: VertexId,
        vertex: &Vertex,
        exec: &Exec,
        inputs: &[State],
        canceler: &Canceler,
    ) -> Result<Record, ExecuteError> {
        let input = inputs.first().ok_or(ExecuteError::LayerMissing)?;
        let view = self.view(input)?;
        let user = passwd::resolve_user(&exec.user, view.as_ref())?;
        let mounted = self.mount(id, exec, inputs, canceler)?;
        let lowers = self.shared.layers.directories(&input.layers)?;
        let active = self.shared.store.layers().create()?;
        let mode = self.shared.layers.mode();
        layers::prepare::prepare(active.directory(), view.as_ref(), mode)?;

        let (network, resolv_conf) = self.shared.networks.get(exec.network, &*self.shared.reporter, id)?;
        let spec = Spec {
            root: RootFs {
                lowers,
                upper: Some(Upper { upper: active.directory().to_owned(), work: active.work().to_owned() }),
            },
            args: exec.args.clone(),
            env: environment(exec, &user, &mounted.env),
            cwd: path_of(exec.cwd.as_bytes()),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
            hostname: exec.hostname.clone(),
            hosts: Some(hosts_file(exec)),
            resolv_conf,
            network: network.for_spec(),
            shm_size: exec.shm_size.unwrap_or(DEFAULT_SHM_SIZE),
            files: exec.script.iter().map(script_mount).chain(mounted.files.iter().cloned()).collect(),
            mounts: mounted.mounts.clone(),
            limits: Vec::new(),
            privileged: match exec.security {
                SecurityMode::Sandbox => false,
                SecurityMode::Insecure => true,
            },
            no_new_privileges: false,
            capabilities: None,
            read_only: false,
            cgroups: Vec::new(),
            identity: self.shared.config.identity,
        };
        let mut log = self.shared.store.logs().create(&self.shared.config.build_id, &id.index().to_string())?;
        if canceler.is_canceled() {
            return Err(ExecuteError::Canceled);
        }
        let ran = self.run_step(id, &spec, canceler, &mut log);
        let (exit, mount_points) = ran.map_err(|error| super::not_found::explain(error, exec, view.as_ref()))?;
        self.shared.reporter.on_event(id, Event::Used(exit.usage));
        drop(network);
        let command = shorten(&command_of(vertex));
        remove_mount_points(active.directory(), &mount_points);
        let failure = match exit.status {
            _ if canceler.is_canceled() => return Err(ExecuteError::Canceled),
            ExitStatus::Code(0) => None,
            ExitStatus::Code(code) => Some(ExecuteError::ExitStatus { command, code }),
            ExitStatus::Signal(signal) => Some(ExecuteError::Killed { command, signal, out_of_memory: exit.oom }),
        };
        if let Some(failure) = failure {
            self.keep(id, exec, input, view.as_ref(), active, mounted.sees_secrets);
            return Err(failure);
        }
        let scanned = layers::scan::scan(active.directory(), view.as_ref(), mode)?;
        self.tell(id, &scanned.notes);
        if mounted.sees_secrets {
            self.shared.config.secrets.search(&scanned.tree, active.directory())?;
        }
        drop(mounted);
        self.commit(input, active, &scanned.tree)
    }

    /// Starts the step and passes its output on until it has ended.
    fn run_step(
        &self,
        id: VertexId,
        spec: &Spec,
        canceler: &Canceler,
        log: &mut LogWriter,
    ) -> Result<(Exit, Vec<PathBuf>), ExecuteError> {
        let (stdout, stdout_writer) = pipe()?;
        let (stderr, stderr_writer) = pipe()?;
        let running = Arc::new(self.shared.helper.spawn(spec, stdout_writer, stderr_writer)?);
        canceler.watch(&running);
        let (ended, ended_writer) = pipe()?;
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let exit = running.wait();
                // Closing it wakes the reader below.
                drop(ended_writer);
                exit
            });
            let copied = self.copy_output(id, &stdout, &stderr, &ended, log);
            if copied.is_err() {
                running.kill();
            }
            let exit = waiter.join().map_err(|_| ExecuteError::Canceled)?;
            copied?;
            Ok((exit?, running.made_mount_points().to_vec()))
        })
    }

    /// Reads both streams until the step has ended; what is in the pipes then is still read, but nobody's end of file is waited for.
    fn copy_output(
        &self,
        id: VertexId,
        stdout: &OwnedFd,
        stderr: &OwnedFd,
        ended: &OwnedFd,
        log: &mut LogWriter,
    ) -> Result<(), ExecuteError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut open = [true, true];
        let secrets = &self.shared.config.secrets;
        let mut masks = [Mask::new(secrets), Mask::new(secrets)];
        let mut show = |stream: Stream, bytes: &[u8]| -> Result<(), ExecuteError> {
            if bytes.is_empty() {
                return Ok(());
            }
            log.write_all(bytes).map_err(|source| ExecuteError::Io {
                verb: "write",
                path: log.path().to_owned(),
                source,
            })?;
            self.shared.reporter.on_event(id, Event::Log { stream, bytes });
            Ok(())
        };
        loop {
            let watched = |open: bool| if open { PollFlags::IN } else { PollFlags::empty() };
            let mut polled = [
                PollFd::new(stdout, watched(open[0])),
                PollFd::new(stderr, watched(open[1])),
                PollFd::new(ended, PollFlags::IN),
            ];
            match rustix::event::poll(&mut polled, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(io_error("wait for", "the output of a step", errno)),
            }
            let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
            for (index, (source, stream)) in
                [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].into_iter().enumerate()
            {
                if !open[index] || !(ready[index] || ready[2]) {
                    continue;
                }
                // Everything there is: after the end this is the last look.
                loop {
                    match rustix::io::read(source, &mut buffer) {
                        Ok(0) => {
                            open[index] = false;
                            break;
                        }
                        Ok(length) => {
                            show(stream, &masks[index].push(&buffer[..length]))?;
                            if !ready[2] {
                                break;
                            }
                        }
                        Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::AGAIN) => break,
                        Err(errno) => return Err(io_error("read", "the output of a step", errno)),
                    }
                }
            }
            if ready[2] {
                show(Stream::Stdout, &masks[0].finish())?;
                return show(Stream::Stderr, &masks[1].finish());
            }
        }
    }
}

/// The whole environment of the step: HOME comes from the image's user unless it is set.
fn environment(exec: &Exec, user: &User, mounted: &[(String, String)]) -> Vec<String> {
    let hidden = |name: &String| mounted.iter().any(|(known, _)| known == name);
    let own = exec.env.iter().chain(&exec.unkeyed_env).filter(|(name, _)| !hidden(name));
    let mut pairs: Vec<String> = own.chain(mounted).map(|(name, value)| format!("{name}={value}")).collect();
    if !exec.env.iter().chain(mounted).any(|(name, _)| name == "HOME") {
        pairs.push(format!("HOME={}", String::from_utf8_lossy(&user.home)));
    }
    pairs
}

/// `/etc/hosts` as BuildKit writes it.
fn hosts_file(exec: &Exec) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", exec.hostname);
    for (name, address) in &exec.extra_hosts {
        text.extend([address.as_str(), "\t", name.as_str(), "\n"]);
    }
    text
}

fn script_mount(script: &bld_solver::op::Script) -> FileMount {
    FileMount {
        target: path_of(script.path.as_bytes()),
        body: script.body.clone().into_bytes(),
        mode: 0o755,
        uid: 0,
        gid: 0,
    }
}

/// Takes away mount points that had to be made in the upper directory, unless the step put something there.
fn remove_mount_points(upper: &Path, made: &[PathBuf]) {
    let Ok(root) = rustix::fs::open(upper, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return;
    };
    for path in made.iter().rev() {
        let path = path.strip_prefix("/").unwrap_or(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let Ok(parent) = rustix::fs::openat2(&root, parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
        else {
            continue;
        };
        let empty_file = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_file() && status.st_size == 0);
        let flags = if empty_file { AtFlags::empty() } else { AtFlags::REMOVEDIR };
        // A directory that is not empty stays: it is the step's then.
        rustix::fs::unlinkat(&parent, name, flags).ok();
    }
}

/// The command as the user wrote it: the vertex's name without `[stage n/m]`.
fn command_of(vertex: &Vertex) -> String {
    vertex.name.split_once("] ").map_or(vertex.name.as_str(), |(_, text)| text).to_owned()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// A pipe whose reading end does not block.
fn pipe() -> Result<(OwnedFd, OwnedFd), ExecuteError> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| io_error("make", "a pipe for the output of a step", errno))?;
    rustix::io::ioctl_fionbio(reader.as_fd(), true).map_err(|errno| io_error("set up", "a pipe", errno))?;
    Ok((reader, writer))
}

fn io_error(verb: &'static str, what: &str, errno: rustix::io::Errno) -> ExecuteError {
    ExecuteError::Io { verb, path: PathBuf::from(what), source: errno.into() }
}

/// As much of a command as a message has room for: the excerpt shows the whole.
fn shorten(command: &str) -> String {
    const ROOM: usize = 80;
    let line = command.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= ROOM { line } else { line.chars().take(ROOM - 1).chain(['…']).collect() }
}
