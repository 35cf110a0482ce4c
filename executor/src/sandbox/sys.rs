//! The system calls no safe wrapper exists for: the only `unsafe` there is.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use bld_solver::record::Usage;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Exit code of a child whose code panicked; no such panic is known.
const PANICKED: i32 = 254;

/// Forks; the child runs `child` and exits with what it returns.
///
/// The caller must be single-threaded: the child goes on to allocate and lock as it pleases.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(super) fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: fork takes no pointers; with one thread no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => run_and_exit(child),
        raw => Pid::from_raw(raw).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD)),
    }
}

/// Like [`fork`], with new namespaces (`CLONE_NEW*` in `flags`) and a pidfd of the child.
#[expect(unsafe_code, reason = "clone has no safe wrapper")]
pub(super) fn clone_process(flags: i32, child: impl FnOnce() -> i32) -> io::Result<(Pid, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let all = libc::c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM and with a null stack this is a fork: the child gets a copy of all memory. The kernel
    // writes one int to `pidfd`, which outlives the call. The process is single-threaded (see `fork`). The last two
    // arguments swap places between architectures and are both zero.
    let result = unsafe { libc::syscall(libc::SYS_clone, all, none, &raw mut pidfd, none, none) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => run_and_exit(child),
        raw => {
            // SAFETY: clone succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(raw).ok().and_then(Pid::from_raw);
            pid.map(|pid| (pid, pidfd)).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
        }
    }
}

fn run_and_exit(child: impl FnOnce() -> i32) -> ! {
    // A panic must not unwind into the frames copied from the parent.
    let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
    exit_now(code)
}

/// Exits without running any handler of the process this one was copied from.
#[expect(unsafe_code, reason = "_exit has no safe wrapper")]
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Reaps a child that has ended: the status as `wait` encodes it, and what it and the children it waited for used.
#[expect(unsafe_code, reason = "no safe wrapper passes on what a child used")]
pub(super) fn reap(child: Pid) -> Result<(i32, Usage), Errno> {
    let mut status = 0;
    // SAFETY: a `rusage` is plain numbers, for which zeros are valid.
    let mut used = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: both pointers are to values that live across the call.
    let result = unsafe { libc::wait4(child.as_raw_nonzero().get(), &raw mut status, 0, &raw mut used) };
    check(result.into()).map(|()| (status, usage_of(&used)))
}

/// What this process has used so far.
#[expect(unsafe_code, reason = "getrusage has no safe wrapper")]
pub(super) fn used_so_far() -> Usage {
    // SAFETY: a `rusage` is plain numbers, for which zeros are valid.
    let mut used = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: the pointer is to a value that lives across the call. It cannot fail: the question is a known one.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut used) };
    usage_of(&used)
}

fn usage_of(used: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| count(time.tv_sec) * 1_000_000 + count(time.tv_usec);
    Usage {
        user_us: time(used.ru_utime),
        system_us: time(used.ru_stime),
        // The kernel counts in KiB, and blocks of 512 bytes whatever the file system's are.
        peak_memory: count(used.ru_maxrss) * 1024,
        read_bytes: count(used.ru_inblock) * 512,
        written_bytes: count(used.ru_oublock) * 512,
    }
}

/// What is never negative.
fn count(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// Closes every descriptor from 3 up that is not in `keep`.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(super) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut first = 3_u32;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > first {
            let last = if fd == u32::MAX { u32::MAX } else { fd - 1 };
            // SAFETY: close_range takes no pointers. Callers run in a fresh child whose `OwnedFd`s outside of `keep`
            // are copies that are never dropped, since the child leaves through `_exit` or exec.
            if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        first = first.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Marks every descriptor from 3 up to be closed by exec.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(super) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: close_range takes no pointers and with CLOEXEC closes nothing now.
    match unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ignores the given signals.
#[expect(unsafe_code, reason = "signal has no safe wrapper")]
pub(super) fn ignore_signals(signals: &[i32]) {
    for signal in signals {
        // SAFETY: SIG_IGN is no function, nothing of ours runs in signal context.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Gives every signal its default action and unblocks all: ignored signals would stay ignored across exec.
#[expect(unsafe_code, reason = "signal has no safe wrapper")]
pub(super) fn reset_signals() {
    // SAFETY: SIG_DFL is no function; `set` is a plain mask that sigemptyset initialises before it is read.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Sets attributes (`MOUNT_ATTR_*`) of the mount that `mount` is the root of, and of those below it.
pub(super) fn mount_setattr(mount: BorrowedFd<'_>, set: u64) -> Result<(), Errno> {
    set_attributes(mount, set, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

/// [`mount_setattr`] of the one mount alone.
pub(super) fn mount_setattr_alone(mount: BorrowedFd<'_>, set: u64) -> Result<(), Errno> {
    set_attributes(mount, set, libc::AT_EMPTY_PATH)
}

#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
fn set_attributes(mount: BorrowedFd<'_>, set: u64, flags: i32) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a static empty C string, `attributes` lives across the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result)
}

/// Installs a filter for the calling thread and all it will execute.
#[expect(unsafe_code, reason = "seccomp has no safe wrapper")]
pub(super) fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `header` points at `length` initialised instructions; the kernel copies and does not change them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const header,
        )
    };
    check(result)
}

/// Joins a new, empty session keyring.
#[expect(unsafe_code, reason = "keyctl has no safe wrapper")]
pub(super) fn new_session_keyring() -> Result<(), Errno> {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING (1) with a null name takes no memory of ours.
    check(unsafe { libc::syscall(libc::SYS_keyctl, 1, 0_usize) })
}

/// Replaces the process; returns only on failure.
#[expect(unsafe_code, reason = "execve has no safe wrapper")]
pub(super) fn execute(path: &CString, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: all three point at NUL-terminated strings (the arrays at null-terminated lists of them) that are alive.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Leaves namespaces for new ones.
#[expect(unsafe_code, reason = "unsharing the file table would break the ownership of descriptors")]
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "descriptors must stay shared");
    // SAFETY: only namespaces are unshared (see the assertion), never the table of descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Lets the command inherit these descriptors, under their own numbers.
///
/// The caller keeps them open until the command is spawned.
#[expect(unsafe_code, reason = "pre_exec is unsafe")]
pub(super) fn inherit(command: &mut Command, descriptors: &[BorrowedFd<'_>]) {
    use std::os::unix::process::CommandExt as _;
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the closure runs between fork and exec and makes async-signal-safe calls only: fcntl on descriptors
    // that the copied table holds open, and no allocation (the vector was filled before).
    unsafe {
        command.pre_exec(move || {
            for number in &numbers {
                if libc::fcntl(*number, libc::F_SETFD, 0) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result == -1 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(())
}

/// Makes any system call, to see what the filter says: the error number, or 0.
#[cfg(test)]
#[expect(unsafe_code, reason = "rows about the filter need calls no wrapper makes")]
pub(super) fn attempt(number: i64, arguments: [i64; 3]) -> i32 {
    let [first, second, third] = arguments;
    // SAFETY: rows pass null or invalid pointers only, which the kernel answers with EFAULT.
    match unsafe { libc::syscall(number, first, second, third, 0, 0, 0) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

/// `F_SETSIG`, which libc does not know, as in Linux's `asm-generic/fcntl.h`.
const SET_SIGNAL: i32 = 10;

/// Whether anybody can write to an open regular file without opening it first: through a descriptor, or through a mapping that
/// outlived one. An error says that the kernel does not tell: the file is somebody else's, or on a file system without leases.
#[expect(unsafe_code, reason = "leases have no safe wrapper")]
pub(crate) fn has_writers(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    // A lease for reading is given only if nobody can write. Whoever opens the file for writing in the moment it is held waits for its
    // end, and the kernel would tell us with SIGIO, which kills; SIGURG does nothing.
    let command = |command: i32, argument: i32| {
        // SAFETY: these commands take a descriptor and a number, no pointers.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
            -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
            _ => Ok(()),
        }
    };
    command(SET_SIGNAL, libc::SIGURG)?;
    match command(libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => command(libc::F_SETLEASE, libc::F_UNLCK).map(|()| false),
        Err(Errno::AGAIN) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A file mapped for writing. The mapping outlives the descriptor.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Mapped {
    address: *mut libc::c_void,
    length: usize,
}

#[cfg(test)]
impl Mapped {
    /// Maps all of `file`, which must be open for reading and writing and not get shorter meanwhile.
    #[expect(unsafe_code, reason = "mapping has no safe wrapper")]
    pub(crate) fn new(file: &std::fs::File) -> io::Result<Mapped> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anybody knows.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapped { address, length }) }
    }

    /// Stores a byte.
    #[expect(unsafe_code, reason = "mapping has no safe wrapper")]
    pub(crate) fn store(&self, at: usize, byte: u8) {
        assert!(at < self.length);
        // SAFETY: `at` is inside of the mapping, which lives as long as `self`; nobody has a reference into it.
        unsafe { self.address.cast::<u8>().add(at).write_volatile(byte) }
    }
}

#[cfg(test)]
impl Drop for Mapped {
    #[expect(unsafe_code, reason = "mapping has no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length and nobody has a reference into it.
        unsafe { libc::munmap(self.address, self.length) };
    }
}
