//! The sandbox of a `RUN` step: a process tree, a file system and a set of permissions that end with the step.
//!
//! # Processes
//!
//! ```text
//! bld                      many threads; sends specifications, receives exits and a pidfd of every step
//!  └─ bld-helper           one thread, forked before the first thread of bld, in a session of its own
//!      ├─ PID 1 of step a  the command itself, no code of bld is left in it
//!      │   └─ ...          whatever it starts: same PID namespace, dies with PID 1
//!      └─ PID 1 of step b
//! ```
//!
//! *Why a helper.* The child of a clone may only do as it pleases (allocate, take locks) when its parent had one
//! thread. `PR_SET_PDEATHSIG` fires when the *thread* that cloned ends, and threads of a runtime come and go; the
//! helper's only thread does not. And a small process is cheap to copy.
//!
//! *Who dies with whom.* The end of PID 1 ends its namespace, and the kernel reports it only after all others in it
//! are gone and the mounts with them: after [`Running::wait`] nothing can write any more. Nobody waits for the end of
//! the output: a process in the background that keeps the pipe delays nothing. When `bld` dies, the helper sees its
//! socket close, kills every PID 1 and goes. When the helper dies, the death signal kills the steps, and `bld` kills
//! them through their pidfds too, since a command that executes a setuid file loses the signal. The helper ignores
//! the signals of a terminal and is in no process group with `bld`: what they mean is for `bld` to say. No cgroup is
//! needed for any of this; a step is put into those that are made for its limits.
//!
//! # The set-up of a step, in order
//!
//! All of it runs in the new PID 1 (`child`); what fails is reported through a pipe that exec closes.
//!
//! 1. Clone with new mount, PID, IPC, UTS and cgroup namespaces (and network: `none`). Close every inherited
//!    descriptor, ask to die with the helper, and check that the helper is still there. Before anything else: what
//!    dies half-way leaves nothing.
//! 2. Default signals, `setsid`, host name, network namespace, `/` made private: no mount reaches the host.
//! 3. Open all that comes from the host: layers, upper directory, mount sources. From here on host paths are not
//!    needed, and paths of the image are only ever walked on descriptors (`resolve`).
//! 4. A tmpfs as workshop (`rootfs`): a layer of empty mount points goes to the bottom of the overlay, so that none
//!    appears in the upper directory. Where the image hides one it is made and reported.
//! 5. The overlay, `nodev` (no device cgroup is needed: the only device nodes that open are those of `/dev`), then
//!    the mounts of the step, then `/dev`, `/proc` and `/sys` over whatever those left there, then masks, then
//!    `/etc/hosts`, `/etc/resolv.conf` and the step's files (`mounts`).
//! 6. `pivot_root`, and the old root is detached.
//! 7. The working directory, made when missing; a path through a door of procfs is refused.
//! 8. The root made read-only if that is asked for; standard input from our `/dev/null`, or a terminal (`streams`); limits, a new session keyring, umask 022.
//! 9. The system call filter (`seccomp`). It forbids mounts and namespaces, so it comes after those; without
//!    `no_new_privs` it needs privilege, so it comes before those go.
//! 10. Bounding set, groups, ids, capabilities; then the death signal again, which a change of ids clears.
//! 11. Every descriptor from 3 up is marked to be closed, and the command is executed: looked up in `PATH` inside the
//!     root, as the user of the step.
//!
//! # Without root
//!
//! [`userns::enter`] makes the whole builder root of a user namespace, before the helper is forked; everything above
//! is then the same but for: `userxattr` overlays, device nodes bound from the host and verified, an empty `/sys`
//! where the network is the host's. With a single id, system calls that change owners or ids are answered with
//! success and not made (so are device nodes); what owner was meant is not kept. `security.*` attributes are left to
//! the kernel: a filter cannot read names, and file capabilities work in a user namespace.
//!
//! # Limits
//!
//! Linux 5.12 is needed (`mount_setattr`), 5.11 within that for overlays without root; before 6.5 the overlay's
//! layers are passed by short names (`overlay`). At most 500 layers; with all 500 taken the mount points are made
//! in the upper directory and reported. 32-bit x86 programs have a filter of their own, x32 and 32-bit Arm ones get
//! `ENOSYS`.

mod child;
mod error;
mod helper;
mod mounts;
pub mod network;
mod overlay;
mod privileges;
mod resolve;
mod rootfs;
mod seccomp;
mod server;
mod spec;
pub mod streams;
pub(crate) mod sys;
mod syscalls;
pub mod userns;
mod wire;

pub use error::{Errno, SandboxError, StepError};
pub use helper::{Disposition, Exited, Helper, Running};
pub use spec::{
    Capabilities, FileMount, Identity, Mount, MountSource, NamespaceFd, Network, ResolvConf, Resource, ResourceLimit,
    RootFs, Spec, Upper,
};
pub use streams::{Streams, TerminalSize};
pub use userns::Entered;
pub use wire::{Exit, ExitStatus};

#[cfg(test)]
mod tests;
