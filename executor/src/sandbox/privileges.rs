//! Limits, ids, capabilities and the final exec: what the command may do.

use std::ffi::CString;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Gid, Resource as Limit, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Context as _, StepError};
use super::spec::{Identity, Resource, Spec};
use super::sys;

/// The capabilities of a step that runs as root: `0xa80425fb`, what Dockerfiles are written for.
pub(super) const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Soft limit of open files beyond which old programs, which close every possible descriptor, take minutes.
const MAX_OPEN_FILES: u64 = 1 << 20;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sets the resource limits.
pub(super) fn limit(spec: &Spec) -> Result<(), StepError> {
    let hard = rustix::process::getrlimit(Limit::Nofile).maximum;
    let soft = hard.map_or(MAX_OPEN_FILES, |hard| hard.min(MAX_OPEN_FILES));
    set_limit(Limit::Nofile, Some(soft), hard)?;
    set_limit(Limit::Core, Some(0), Some(0))?;
    for limit in &spec.limits {
        set_limit(limit_of(limit.resource), limit.soft, limit.hard)?;
    }
    Ok(())
}

fn set_limit(resource: Limit, current: Option<u64>, maximum: Option<u64>) -> Result<(), StepError> {
    rustix::process::setrlimit(resource, Rlimit { current, maximum }).context("set the limit", format!("{resource:?}"))
}

fn limit_of(resource: Resource) -> Limit {
    match resource {
        Resource::As => Limit::As,
        Resource::Core => Limit::Core,
        Resource::Cpu => Limit::Cpu,
        Resource::Data => Limit::Data,
        Resource::Fsize => Limit::Fsize,
        Resource::Locks => Limit::Locks,
        Resource::Memlock => Limit::Memlock,
        Resource::Msgqueue => Limit::Msgqueue,
        Resource::Nice => Limit::Nice,
        Resource::Nofile => Limit::Nofile,
        Resource::Nproc => Limit::Nproc,
        Resource::Rss => Limit::Rss,
        Resource::Rtprio => Limit::Rtprio,
        Resource::Rttime => Limit::Rttime,
        Resource::Sigpending => Limit::Sigpending,
        Resource::Stack => Limit::Stack,
    }
}

/// Lets the step's user reopen its own streams through `/dev/stdout` and its kin: a pipe belongs to who made it.
pub(super) fn own_output(spec: &Spec) {
    if spec.uid == 0 || spec.identity == Identity::SingleId {
        return;
    }
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        // A terminal is one of the step's own devpts.
        if is_pipe || rustix::termios::isatty(fd) {
            // Only a convenience: where the id is not mapped the command still has the open descriptor.
            let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(spec.uid)), None);
        }
    }
}

/// Becomes the step's user with the step's capabilities. The filter is installed by now.
pub(super) fn drop_privileges(spec: &Spec) -> Result<(), StepError> {
    // Those of bld itself: inside a user namespace, and inside a container, that may be less than all there are.
    let allowed = if spec.privileged {
        rustix::thread::capabilities(None).context("read", "capabilities")?.permitted
    } else {
        spec.capabilities.map_or(CAPABILITIES, |wanted| CapabilitySet::from_bits_retain(wanted.0))
    };
    // All there are: of those bld itself has.
    let allowed = if spec.capabilities.is_some() {
        allowed & rustix::thread::capabilities(None).context("read", "capabilities")?.permitted
    } else {
        allowed
    };
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if allowed.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).context("drop the capability", bit.to_string()),
        }
    }
    rustix::thread::clear_ambient_capability_set().context("clear", "ambient capabilities")?;

    // With a single id nothing else can be set, and the filter answers the command's own attempts.
    if spec.identity != Identity::SingleId {
        let groups: Vec<Gid> = spec.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
        rustix::thread::set_thread_groups(&groups).context("set the groups", format!("{:?}", spec.groups))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).context("become the group", spec.gid.to_string())?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("become the user", spec.uid.to_string())?;
    }
    let keep = spec.uid == 0 || spec.identity == Identity::SingleId;
    let own = if keep { allowed } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: own, permitted: own, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context("set", "capabilities")?;
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).context("set", "no_new_privs")?;
    }
    Ok(())
}

/// The command with everything exec needs, allocated beforehand.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Lists where the command may be, in the order of `PATH`.
    pub(super) fn new(spec: &Spec) -> Result<Self, StepError> {
        let strings =
            |texts: &[String]| -> Result<Vec<CString>, StepError> { texts.iter().map(|it| c_string(it)).collect() };
        let name = spec.args.first().cloned().unwrap_or_default();
        let candidates = if name.contains('/') {
            vec![c_string(&name)?]
        } else {
            // The last one counts, as in every shell.
            let path = spec.env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
            let directories = path.unwrap_or(DEFAULT_PATH).split(':');
            let join = |directory: &str| match directory {
                "" => c_string(&format!("./{name}")),
                _ => c_string(&format!("{directory}/{name}")),
            };
            directories.map(join).collect::<Result<_, _>>()?
        };
        Ok(Self { name, candidates, args: strings(&spec.args)?, env: strings(&spec.env)? })
    }

    /// Becomes the command; returns why not.
    pub(super) fn execute(&self) -> StepError {
        let mut denied = false;
        for candidate in &self.candidates {
            match sys::execute(candidate, &self.args, &self.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS | Errno::PERM => denied = true,
                errno => {
                    return StepError::CannotExecute { name: self.name.clone(), source: errno.into() };
                }
            }
        }
        if denied {
            StepError::PermissionDenied { name: self.name.clone() }
        } else {
            StepError::NotFound { name: self.name.clone() }
        }
    }
}

fn c_string(text: &str) -> Result<CString, StepError> {
    CString::new(text)
        .map_err(|_| StepError::Invalid { field: "args and env".into(), reason: "a NUL byte is in it".into() })
}
