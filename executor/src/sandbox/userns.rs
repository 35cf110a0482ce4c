//! Becoming root of a user namespace, for a builder that is not root.
#![expect(clippy::disallowed_methods, reason = "newuidmap and newgidmap are programs")]

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, getegid, geteuid, waitpid};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::error::SandboxError;
use super::spec::Identity;
use super::sys;

/// Where the builder stands after [`enter`].
#[derive(Debug)]
pub struct Entered {
    /// To be put into every [`super::Spec`].
    pub identity: Identity,
    /// Why there is only a single id, when there is: worth one printed line.
    pub shortfall: Option<SandboxError>,
}

/// Makes the calling process root of a new user and mount namespace unless it is root already.
///
/// To be called first thing in `main`: before any thread exists, and before [`super::Helper::start`]. Ids are mapped
/// 0 to the user's own, 1 and up to the ranges of `/etc/subuid` and `/etc/subgid`; without these, 0 alone.
pub fn enter() -> Result<Entered, SandboxError> {
    if geteuid().is_root() && has_admin() {
        return Ok(Entered { identity: present(), shortfall: None });
    }
    let ranges = Ranges::of_user();
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let mapper = match ranges {
        Ok(ranges) => Mapper::start(&ranges)?,
        Err(shortfall) => {
            create()?;
            map_single(uid, gid)?;
            slave_mounts()?;
            return Ok(Entered { identity: Identity::SingleId, shortfall: Some(shortfall) });
        }
    };
    create()?;
    let entered = match mapper.map() {
        Ok(()) => Entered { identity: Identity::SubordinateIds, shortfall: None },
        Err(shortfall) => {
            map_single(uid, gid)?;
            Entered { identity: Identity::SingleId, shortfall: Some(shortfall) }
        }
    };
    slave_mounts()?;
    Ok(entered)
}

/// What being root means here: there may be a user namespace around already.
fn present() -> Identity {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let lines: Vec<Vec<u32>> =
        map.lines().map(|line| line.split_whitespace().filter_map(|number| number.parse().ok()).collect()).collect();
    match lines.as_slice() {
        [line] if line.as_slice() == [0, 0, u32::MAX] => Identity::Root,
        [line] if line.get(2) == Some(&1) => Identity::SingleId,
        _ => Identity::SubordinateIds,
    }
}

fn has_admin() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn create() -> Result<(), SandboxError> {
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|errno| {
        let (blocker, fix) = diagnose(errno);
        SandboxError::UserNamespace { blocker, fix, source: errno.into() }
    })
}

/// Keeps what is mounted here away from the host. The first thing that needs the new capabilities, so that a security
/// module which grants the namespace without them is found out here.
fn slave_mounts() -> Result<(), SandboxError> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(|errno| {
        let (blocker, fix) = diagnose(errno);
        SandboxError::UserNamespace { blocker, fix, source: errno.into() }
    })
}

fn diagnose(errno: rustix::io::Errno) -> (String, String) {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).is_some_and(|text| text == value);
    let (blocker, fix) = if is("/proc/sys/user/max_user_namespaces", "0") {
        ("the sysctl user.max_user_namespaces is 0", "set it: sysctl -w user.max_user_namespaces=15000")
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        ("the sysctl kernel.unprivileged_userns_clone is 0", "set it: sysctl -w kernel.unprivileged_userns_clone=1")
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        (
            "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "install an AppArmor profile for bld with `userns,`, or set the sysctl to 0",
        )
    } else if errno == rustix::io::Errno::NOSPC || errno == rustix::io::Errno::USERS {
        (
            "the limit of user namespaces or of their nesting is reached",
            "raise the sysctl user.max_user_namespaces, or run bld less deep inside other namespaces",
        )
    } else if errno == rustix::io::Errno::INVAL {
        ("the process has threads already, or the kernel has no user namespaces", "enable CONFIG_USER_NS in the kernel")
    } else {
        (
            "the kernel refuses (a container's seccomp filter, a chroot, or a security module)",
            "let the surrounding container use unshare (docker: --security-opt seccomp=unconfined), or run bld as root",
        )
    };
    (blocker.to_owned(), fix.to_owned())
}

/// Maps id 0 to the user's own, which needs nobody's permission.
fn map_single(uid: u32, gid: u32) -> Result<(), SandboxError> {
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|source| SandboxError::Host { action: "write", path: path.into(), source })
    };
    // Otherwise a user could shed a group that is there to deny something.
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// The ids lent to this user.
#[derive(Debug)]
struct Ranges {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl Ranges {
    fn of_user() -> Result<Self, SandboxError> {
        let uid = geteuid().as_raw();
        let name = user_name(uid);
        let texts = ["/etc/subuid", "/etc/subgid"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let [users, groups] = [0, 1].map(|file: usize| parse_ranges(&texts[file], name.as_deref(), uid));
        let who = name.unwrap_or_else(|| uid.to_string());
        match advice([users.is_empty(), groups.is_empty()], &texts, &who) {
            Some((blocker, fix)) => Err(SandboxError::IdMap { blocker, fix }),
            None => Ok(Self { users, groups }),
        }
    }
}

/// What is missing and how to get it, if there is no line for `who` in `/etc/subuid`, in `/etc/subgid`, or in both.
fn advice([users, groups]: [bool; 2], texts: &[String; 2], who: &str) -> Option<(String, String)> {
    let (files, flags): (&str, &[&str]) = match (users, groups) {
        (false, false) => return None,
        (true, false) => ("/etc/subuid has", &["--add-subuids"]),
        (false, true) => ("/etc/subgid has", &["--add-subgids"]),
        (true, true) => ("/etc/subuid and /etc/subgid have", &["--add-subuids", "--add-subgids"]),
    };
    let first = free_range(texts);
    let last = first.saturating_add(RANGE - 1);
    let flags: Vec<String> = flags.iter().map(|flag| format!("{flag} {first}-{last}")).collect();
    Some((format!("{files} no line for {who}"), format!("as root: usermod {} {who}", flags.join(" "))))
}

/// As many ids as one user is usually lent: what images expect.
const RANGE: u32 = 65536;

/// The first of [`RANGE`] ids that are lent to nobody yet, neither as users nor as groups.
fn free_range(texts: &[String; 2]) -> u32 {
    let ends = texts.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1);
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        first.checked_add(count)
    });
    // Where the tools that lend ids begin by themselves.
    ends.fold(100_000, u32::max)
}

/// Lines are `user:first:count`; the user is a name or a number.
fn parse_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let user = fields.next()?;
            let is_ours = Some(user) == name || user.parse() == Ok(uid);
            let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (is_ours && count > 0).then_some((first, count))
        })
        .collect()
}

fn user_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A child left behind in the old namespace: only from there can ranges be mapped.
struct Mapper {
    pid: rustix::process::Pid,
    go: OwnedFd,
    answer: OwnedFd,
}

impl Mapper {
    fn start(ranges: &Ranges) -> Result<Self, SandboxError> {
        let start = |action| move |errno: rustix::io::Errno| SandboxError::Start { action, source: errno.into() };
        let (wait, go) = pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe"))?;
        let (answer, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe"))?;
        let target = rustix::process::getpid().as_raw_nonzero().to_string();
        let programs = [
            ("newuidmap", map_arguments(&target, geteuid().as_raw(), &ranges.users)),
            ("newgidmap", map_arguments(&target, getegid().as_raw(), &ranges.groups)),
        ];
        let pid = sys::fork(|| {
            let keep = [std::os::fd::AsFd::as_fd(&wait), std::os::fd::AsFd::as_fd(&tell)];
            if sys::close_all_but(&keep).is_err() {
                return 1;
            }
            let mut byte = [0_u8];
            // The end of the pipe means that there will be nothing to map.
            if rustix::io::read(&wait, &mut byte) != Ok(1) {
                return 0;
            }
            for (program, arguments) in &programs {
                if let Err(problem) = run(program, arguments) {
                    let _ = rustix::io::write(&tell, problem.as_bytes());
                    return 1;
                }
            }
            0
        })
        .map_err(|source| SandboxError::Start { action: "fork", source })?;
        Ok(Self { pid, go, answer })
    }

    /// Maps the ids of the calling process, which is in the new namespace by now.
    fn map(self) -> Result<(), SandboxError> {
        let _ = rustix::io::write(&self.go, &[1]);
        drop(self.go);
        let status = waitpid(Some(self.pid), WaitOptions::empty());
        if matches!(status, Ok(Some((_, status))) if status.exit_status() == Some(0)) {
            return Ok(());
        }
        let mut text = [0_u8; 1024];
        let length = rustix::io::read(&self.answer, &mut text).unwrap_or(0);
        let blocker = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
        Err(SandboxError::IdMap {
            blocker,
            fix: "install newuidmap and newgidmap (package uidmap or shadow-utils) with their setuid bit or file \
                  capabilities"
                .to_owned(),
        })
    }
}

fn map_arguments(target: &str, own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut arguments = vec![target.to_owned(), "0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for (first, count) in ranges {
        arguments.extend([inside.to_string(), first.to_string(), count.to_string()]);
        inside = inside.saturating_add(*count);
    }
    arguments
}

fn run(program: &str, arguments: &[String]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{program} is not installed")),
        Err(error) => Err(format!("{program} cannot be run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{advice, map_arguments, parse_ranges};

    #[test]
    fn advice_names_ids_that_are_free() {
        let empty = [String::new(), String::new()];
        let (blocker, fix) = advice([true, true], &empty, "ann").unwrap();
        assert_eq!(blocker, "/etc/subuid and /etc/subgid have no line for ann");
        assert_eq!(fix, "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann");
        let lent = ["a:100000:65536\nbad\n".to_owned(), "a:100000:65536\nb:300000:10\n".to_owned()];
        let (blocker, fix) = advice([false, true], &lent, "ann").unwrap();
        assert_eq!(blocker, "/etc/subgid has no line for ann");
        assert_eq!(fix, "as root: usermod --add-subgids 300010-365545 ann");
        assert_eq!(advice([false, false], &lent, "ann"), None);
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "a:100000:65536\nbob:1:2\n1000:300000:10\nbad\na:5:0\na:200000:5\n";
        assert_eq!(parse_ranges(text, Some("a"), 7), [(100_000, 65536), (200_000, 5)]);
        assert_eq!(parse_ranges(text, None, 1000), [(300_000, 10)]);
        assert_eq!(parse_ranges(text, Some("c"), 8), []);
    }

    #[test]
    fn ranges_follow_each_other_inside() {
        let arguments = map_arguments("42", 1000, &[(100_000, 65536), (200_000, 5)]);
        assert_eq!(arguments.join(" "), "42 0 1000 1 1 100000 65536 65537 200000 5");
    }
}
