//! The set-up of one step, run by the process that becomes its command.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bld_solver::record::Usage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use serde::{Deserialize, Serialize};

use super::error::{Context as _, StepError};
use super::mounts::mount_system;
use super::network::loopback_up;
use super::privileges::{Program, drop_privileges, limit, own_output};
use super::resolve::{Kind, Root};
use super::rootfs::{READ_ONLY, assemble};
use super::seccomp::Filter;
use super::spec::{Network, Spec, normal_components};
use super::streams::{Streams, connect};
use super::sys;

/// What the set-up tells the helper through the status pipe, in this order, one JSON line each.
///
/// A pipe that ends after `Ready` means that the command runs: exec closed it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// All is set up and exec is next. The paths were made in the root and are no change of the step.
    Ready {
        #[serde(with = "super::spec::paths_bytes")]
        made: Vec<PathBuf>,
        /// What the set-up used, which is no doing of the command.
        used: Usage,
    },
    /// The command will not run.
    Failed(StepError),
}

/// The descriptors a step is born with.
#[derive(Debug)]
pub(super) struct Descriptors<'fd> {
    pub(super) streams: &'fd Streams,
    pub(super) network: Option<BorrowedFd<'fd>>,
    pub(super) status: BorrowedFd<'fd>,
}

/// Runs in PID 1 of the new namespaces. Returns, with an exit code, only when the command could not be executed.
pub(super) fn run(spec: &Spec, descriptors: &Descriptors<'_>, filter: &Filter) -> i32 {
    let Err(error) = set_up(spec, descriptors, filter);
    report(descriptors.status, &Report::Failed(error));
    127
}

fn set_up(spec: &Spec, descriptors: &Descriptors<'_>, filter: &Filter) -> Result<std::convert::Infallible, StepError> {
    // First of all: as long as this process has a copy of the pipe's other end, it cannot see the pipe break.
    let mut keep = descriptors.streams.descriptors();
    keep.push(descriptors.status);
    keep.extend(descriptors.network);
    sys::close_all_but(&keep).map_err(|error| errno_of(&error)).context("close", "inherited descriptors")?;
    die_with_helper(descriptors.status)?;
    sys::reset_signals();
    rustix::process::setsid().context("start", "a session")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).context("set the host name", &spec.hostname)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    enter_network(spec, descriptors.network)?;
    enter_cgroups(spec)?;

    // Nothing that is mounted from here on may reach the host.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("make private", "/")?;
    let mut made = Vec::new();
    let assembled = assemble(spec, &mut made)?;
    let dev = mount_system(spec, &assembled, &mut made)?;
    pivot(&assembled.root)?;
    enter_directory(&spec.cwd, &assembled.root)?;

    if spec.read_only {
        sys::mount_setattr_alone(assembled.root.as_fd(), READ_ONLY.bits().into()).context("protect", "/")?;
    }

    connect(descriptors.streams, dev.as_fd())?;
    own_output(spec);
    limit(spec)?;
    // The filter forbids the step every use of keyrings; a full quota or a kernel without them is no reason to fail.
    let _ = sys::new_session_keyring();
    let program = Program::new(spec)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));

    // Without no_new_privs a filter can only be installed by CAP_SYS_ADMIN: before the capabilities go. It allows
    // every call that follows.
    if !spec.privileged {
        sys::install_filter(filter.program()).context("install", "the system call filter")?;
    }
    drop_privileges(spec)?;
    // A change of ids clears the death signal.
    die_with_helper(descriptors.status)?;
    sys::close_on_exec_from_3().map_err(|error| errno_of(&error)).context("close", "descriptors")?;
    report(descriptors.status, &Report::Ready { made, used: sys::used_so_far() });
    Err(program.execute())
}

/// Asks for SIGKILL when the helper dies, and makes sure that it has not died already.
///
/// `getppid` is of no use here: seen from a new PID namespace the parent is 0, dead or alive. But only the helper
/// reads the status pipe, so that the pipe is broken when the helper is gone.
fn die_with_helper(status: BorrowedFd<'_>) -> Result<(), StepError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("set", "the death signal")?;
    let mut pipe = [PollFd::new(&status, PollFlags::empty())];
    poll(&mut pipe, Some(&Timespec::default())).context("poll", "the status pipe")?;
    if pipe.iter().any(|pipe| pipe.revents().intersects(PollFlags::ERR | PollFlags::HUP)) {
        sys::exit_now(1);
    }
    Ok(())
}

fn enter_network(spec: &Spec, namespace: Option<BorrowedFd<'_>>) -> Result<(), StepError> {
    match (&spec.network, namespace) {
        (Network::Host, _) => Ok(()),
        (Network::None, _) => loopback_up().context("start", "the loopback interface"),
        (Network::Namespace(_), Some(namespace)) => {
            rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
                .context("enter", "the network namespace")
        }
        (Network::Namespace(_), None) => {
            Err(StepError::Invalid { field: "network".into(), reason: "the namespace was not passed on".into() })
        }
    }
}

/// Joins the cgroups of the step, which then are the roots of what it sees of them.
fn enter_cgroups(spec: &Spec) -> Result<(), StepError> {
    for cgroup in &spec.cgroups {
        let path = cgroup.join("cgroup.procs");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).context("open", &path)?;
        rustix::io::write(&file, b"0").context("join", cgroup)?;
    }
    if spec.cgroups.is_empty() {
        Ok(())
    } else {
        sys::unshare(UnshareFlags::NEWCGROUP).context("hide", "other cgroups")
    }
}

/// Makes the overlay `/` and lets go of everything else.
fn pivot(root: &OwnedFd) -> Result<(), StepError> {
    rustix::process::fchdir(root).context("enter", "the new root")?;
    // The old root comes to lie over the new one, and is taken off it.
    rustix::process::pivot_root(".", ".").context("pivot to", "the new root")?;
    unmount(".", UnmountFlags::DETACH).context("detach", "the old root")?;
    rustix::process::chdir("/").context("enter", "/")
}

/// Enters the working directory as root: the user of the step need not be allowed to reach it.
fn enter_directory(cwd: &Path, root: &OwnedFd) -> Result<(), StepError> {
    let path: PathBuf = normal_components("cwd", cwd)?.into_iter().collect();
    let mut made = Vec::new();
    let directory = match Root::new(root).ensure(&path, Kind::Directory, &mut made) {
        Err(StepError::OutsideRoot { .. }) => {
            return Err(StepError::OutsideRoot { path: cwd.to_owned() });
        }
        other => other?,
    };
    rustix::process::fchdir(&directory).context("enter", cwd)?;
    let now = rustix::process::getcwd(Vec::new()).context("read", "the working directory")?;
    if now.as_bytes().first() == Some(&b'/') { Ok(()) } else { Err(StepError::OutsideRoot { path: cwd.to_owned() }) }
}

fn report(status: BorrowedFd<'_>, report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else {
        return;
    };
    line.push(b'\n');
    let mut rest = line.as_slice();
    while let Ok(written @ 1..) = rustix::io::write(status, rest) {
        rest = rest.get(written..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
    }
}

fn errno_of(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO)
}
