//! The kernel's own file systems inside the root: `/dev`, `/proc`, `/sys`, and what of them is hidden or read-only.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::error::{Context as _, StepError};
use super::resolve::{Kind, Root, open_name};
use super::rootfs::{Assembled, attach, clone_tree, filesystem, open_directory, tmpfs};
use super::spec::{Identity, Network, ResolvConf, Spec};

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Device nodes every step has: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Nodes of the host that a privileged step has too, where the host has them; and every `loop` with a number.
const PRIVILEGED_DEVICES: [&str; 6] = ["kmsg", "cuse", "fuse", "kvm", "net/tun", "loop-control"];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Hidden in `/proc`: what tells about, or reaches into, the whole machine.
const PROC_MASKED: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

/// Visible in `/proc` and not writable.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Hidden in `/sys`, besides each processor's `thermal_throttle`.
const SYS_MASKED: [&str; 3] = ["firmware", "fs/selinux", "devices/virtual/powercap"];

/// Mounts `/dev`, `/proc`, `/sys` and the step's own files; returns the root of `/dev`.
pub(super) fn mount_system(spec: &Spec, assembled: &Assembled, made: &mut Vec<PathBuf>) -> Result<OwnedFd, StepError> {
    let root = &assembled.root;
    let dev = mount_dev(spec, root, made)?;
    let mut mask = Mask { null: clone_null(&dev)?, empty: None };
    mount_proc(spec, root, &mut mask, made)?;
    mount_sys(spec, root, &mut mask, made)?;
    mount_files(spec, assembled, made)?;
    Ok(dev)
}

fn mount_dev(spec: &Spec, root: &OwnedFd, made: &mut Vec<PathBuf>) -> Result<OwnedFd, StepError> {
    let target = ordinary_directory(root, "dev", made)?;
    let dev = tmpfs("/dev", "0755", Some(64 << 20), NOSUID)?;
    attach(&dev, target.as_fd(), "/dev")?;
    for (name, major, minor) in DEVICES {
        device(&dev, name, major, minor)?;
    }
    for (name, target) in DEVICE_LINKS {
        rustix::fs::symlinkat(target, &dev, name).context("create the link", name)?;
    }
    let directory = |name: &str| -> Result<OwnedFd, StepError> {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).context("create", name)?;
        open_directory(&dev, name).context("open", name)
    };

    let mut options = vec![("ptmxmode", "0666".to_owned()), ("mode", "0620".to_owned())];
    // Group 5, `tty`, does not exist where only one id is mapped.
    if spec.identity != Identity::SingleId {
        options.push(("gid", "5".to_owned()));
    }
    let pts = filesystem("devpts", &options, NOSUID | NOEXEC).context("mount", "/dev/pts")?;
    attach(&pts, directory("pts")?.as_fd(), "/dev/pts")?;

    let shm = tmpfs("/dev/shm", "1777", Some(spec.shm_size), NOSUID | NOEXEC | NODEV)?;
    attach(&shm, directory("shm")?.as_fd(), "/dev/shm")?;

    let place = directory("mqueue")?;
    match filesystem("mqueue", &[], NOSUID | NOEXEC | NODEV) {
        Ok(queue) => attach(&queue, place.as_fd(), "/dev/mqueue")?,
        // The kernel has no message queues.
        Err(Errno::NODEV) => {}
        Err(errno) => return Err(errno).context("mount", "/dev/mqueue"),
    }
    if spec.privileged {
        directory("net")?;
        let loops = names_in(CWD, "/dev").into_iter().filter(|name| is_numbered(name, "loop"));
        for name in PRIVILEGED_DEVICES.into_iter().map(str::to_owned).chain(loops) {
            host_device(&dev, &name)?;
        }
    }
    Ok(dev)
}

/// The same node as the host's, if it has one: made anew, or bound where none may be made.
fn host_device(dev: &OwnedFd, name: &str) -> Result<(), StepError> {
    let path = format!("/dev/{name}");
    let Ok(host) = rustix::fs::lstat(&path) else { return Ok(()) };
    let kind = FileType::from_raw_mode(host.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(host.st_mode & 0o777);
    match rustix::fs::mknodat(dev, name, kind, mode, host.st_rdev) {
        // The umask has had its say.
        Ok(()) => return rustix::fs::chmodat(dev, name, mode, AtFlags::empty()).context("change the mode of", &path),
        Err(Errno::PERM) => {}
        Err(errno) => return Err(errno).context("create", &path),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, name, flags, mode).context("create", &path)?;
    let target = open_name(dev, name).context("open", &path)?;
    let bound = clone_tree(CWD, &path, NOSUID | NOEXEC).context("bind", &path)?;
    attach(&bound, target.as_fd(), &path)
}

/// A node of our own, or where none may be made (user namespaces, device rules) the host's, verified.
fn device(dev: &OwnedFd, name: &str, major: u32, minor: u32) -> Result<(), StepError> {
    let mode = Mode::from_raw_mode(0o666);
    let number = makedev(major, minor);
    if rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number).is_err() {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(dev, name, flags, mode).context("create", name)?;
        let target = open_name(dev, name).context("open", name)?;
        let path = format!("/dev/{name}");
        let host = clone_tree(CWD, &path, NOSUID | NOEXEC).context("bind", &path)?;
        attach(&host, target.as_fd(), &path)?;
    }
    let node = open_name(dev, name).context("open", name)?;
    let stat = rustix::fs::fstat(&node).context("stat", name)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number {
        return Err(StepError::Invalid {
            field: format!("/dev/{name}"),
            reason: format!("the host's node is not character device {major}:{minor}"),
        });
    }
    Ok(())
}

fn mount_proc(spec: &Spec, root: &OwnedFd, mask: &mut Mask, made: &mut Vec<PathBuf>) -> Result<(), StepError> {
    let target = ordinary_directory(root, "proc", made)?;
    let proc = match filesystem("proc", &[], NOSUID | NODEV | NOEXEC) {
        Err(Errno::PERM) => return Err(StepError::ProcMasked),
        other => other.context("mount", "/proc")?,
    };
    attach(&proc, target.as_fd(), "/proc")?;
    if spec.privileged {
        return Ok(());
    }
    for name in PROC_READ_ONLY {
        read_only(&proc, name)?;
    }
    for name in PROC_MASKED {
        mask.hide(&proc, name)?;
    }
    Ok(())
}

fn mount_sys(spec: &Spec, root: &OwnedFd, mask: &mut Mask, made: &mut Vec<PathBuf>) -> Result<(), StepError> {
    let target = ordinary_directory(root, "sys", made)?;
    let attributes = NOSUID | NODEV | NOEXEC;
    let attributes = if spec.privileged { attributes } else { attributes | RDONLY };
    let own_network = !matches!(spec.network, Network::Host);
    let sys = match filesystem("sysfs", &[], attributes) {
        // sysfs shows a network namespace; the host's is not ours to show from inside a user namespace.
        Err(Errno::PERM) if !own_network || spec.identity.in_user_namespace() => {
            let empty = tmpfs("/sys", "0755", Some(4096), attributes)?;
            return attach(&empty, target.as_fd(), "/sys");
        }
        other => other.context("mount", "/sys")?,
    };
    attach(&sys, target.as_fd(), "/sys")?;
    if !spec.privileged {
        for path in SYS_MASKED {
            mask.hide(&sys, path)?;
        }
        for processor in processors(&sys) {
            mask.hide(&sys, &format!("devices/system/cpu/{processor}/thermal_throttle"))?;
        }
    }
    mount_cgroup(&sys, attributes)
}

/// The step's own part of the cgroup tree where the host has the unified one; with version 1 an empty directory.
fn mount_cgroup(sys: &OwnedFd, attributes: MountAttrFlags) -> Result<(), StepError> {
    let target = match open_directory(sys, "fs/cgroup") {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context("open", "/sys/fs/cgroup")?,
    };
    let unified = rustix::fs::statfs("/sys/fs/cgroup")
        .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == u64::from(CGROUP2_MAGIC)));
    let own = if unified { filesystem("cgroup2", &[], attributes).ok() } else { None };
    let mount = match own {
        Some(mount) => mount,
        None => tmpfs("/sys/fs/cgroup", "0755", Some(4096), attributes)?,
    };
    attach(&mount, target.as_fd(), "/sys/fs/cgroup")
}

const CGROUP2_MAGIC: u32 = 0x6367_7270;

fn processors(sys: &OwnedFd) -> Vec<String> {
    let mut names = names_in(sys.as_fd(), "devices/system/cpu");
    names.retain(|name| is_numbered(name, "cpu"));
    names
}

fn names_in(directory: BorrowedFd<'_>, path: &str) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::openat(directory, path, flags, Mode::empty()) else {
        return Vec::new();
    };
    let Ok(entries) = Dir::read_from(&directory) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect()
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `/etc/hosts`, `/etc/resolv.conf` and the files of this step.
fn mount_files(spec: &Spec, assembled: &Assembled, made: &mut Vec<PathBuf>) -> Result<(), StepError> {
    let resolv_conf = match &spec.resolv_conf {
        ResolvConf::Image => None,
        ResolvConf::Text(text) => Some(text.clone()),
        // A host without the file resolves through localhost, and so does the step.
        ResolvConf::Host => Some(String::from_utf8_lossy(&read("/etc/resolv.conf")?.unwrap_or_default()).into_owned()),
    };
    let attributes = RDONLY | NOSUID | NODEV;
    let texts = [("/etc/hosts", spec.hosts.clone()), ("/etc/resolv.conf", resolv_conf)];
    for (number, (target, text)) in texts.into_iter().enumerate() {
        if let Some(text) = text {
            let name = format!("text{number}");
            let file = OwnFile { name: &name, body: text.as_bytes(), mode: 0o644, owner: (0, 0) };
            file.mount(assembled, Path::new(target), attributes | NOEXEC, made)?;
        }
    }
    for (number, file) in spec.files.iter().enumerate() {
        let name = format!("file{number}");
        let own = OwnFile { name: &name, body: &file.body, mode: file.mode, owner: (file.uid, file.gid) };
        own.mount(assembled, &file.target, attributes, made)?;
    }
    Ok(())
}

struct OwnFile<'spec> {
    name: &'spec str,
    body: &'spec [u8],
    mode: u32,
    owner: (u32, u32),
}

impl OwnFile<'_> {
    fn mount(
        &self,
        assembled: &Assembled,
        target: &Path,
        attributes: MountAttrFlags,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), StepError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let permissions = Mode::from_raw_mode(self.mode);
        let fd = rustix::fs::openat(&assembled.files, self.name, flags, permissions).context("create", target)?;
        let mut rest = self.body;
        while !rest.is_empty() {
            let written = rustix::io::write(&fd, rest).context("write", target)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        if self.owner != (0, 0) {
            let (uid, gid) =
                (rustix::process::Uid::from_raw(self.owner.0), rustix::process::Gid::from_raw(self.owner.1));
            rustix::fs::fchown(&fd, Some(uid), Some(gid)).context("change the owner of", target)?;
        }
        drop(fd);
        let mount = clone_tree(assembled.files.as_fd(), self.name, attributes).context("bind", target)?;
        let in_dev = target.starts_with("/dev");
        let mut in_memory = Vec::new();
        // What is made in /dev is in memory and gone with the step.
        let made = if in_dev { &mut in_memory } else { made };
        let place = Root::new(&assembled.root).ensure(target, Kind::File, made)?;
        attach(&mount, place.as_fd(), target)
    }
}

fn read(path: &str) -> Result<Option<Vec<u8>>, StepError> {
    let fd = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.context("open", path)?,
    };
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        match rustix::io::read(&fd, &mut buffer).context("read", path)? {
            0 => return Ok(Some(bytes)),
            length => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Opens one of `/proc`, `/sys`, `/dev`: made when missing, refused when it is anything but a directory.
fn ordinary_directory(root: &OwnedFd, name: &str, made: &mut Vec<PathBuf>) -> Result<OwnedFd, StepError> {
    let path = Path::new("/").join(name);
    let fd = match open_name(root, name) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)).context("create", &path)?;
            made.push(path.clone());
            open_name(root, name).context("open", &path)?
        }
        other => other.context("open", &path)?,
    };
    if super::resolve::is_directory(&fd).context("stat", &path)? {
        Ok(fd)
    } else {
        Err(StepError::NotOrdinaryDirectory { path })
    }
}

/// Makes what `path` names read-only, with all below it.
fn read_only(directory: &OwnedFd, path: &str) -> Result<(), StepError> {
    let target = match open_name(directory, path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context("open", path)?,
    };
    let view = clone_tree(target.as_fd(), "", RDONLY | NOSUID | NODEV | NOEXEC).context("bind", path)?;
    attach(&view, target.as_fd(), path)
}

fn clone_null(dev: &OwnedFd) -> Result<OwnedFd, StepError> {
    open_name(dev, "null").context("open", "/dev/null")
}

/// Hides files behind our own `/dev/null`, never the image's, and directories behind one empty read-only tmpfs.
struct Mask {
    null: OwnedFd,
    empty: Option<OwnedFd>,
}

impl Mask {
    fn hide(&mut self, directory: &OwnedFd, path: &str) -> Result<(), StepError> {
        let target = match open_name(directory, path) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.context("open", path)?,
        };
        if !super::resolve::is_directory(&target).context("stat", path)? {
            let view = clone_tree(self.null.as_fd(), "", RDONLY | NOSUID | NOEXEC).context("bind", path)?;
            return attach(&view, target.as_fd(), path);
        }
        if let Some(empty) = &self.empty {
            let view = clone_tree(empty.as_fd(), "", MountAttrFlags::empty()).context("bind", path)?;
            return attach(&view, target.as_fd(), path);
        }
        let empty = tmpfs(path, "0755", Some(4096), RDONLY | NOSUID | NODEV | NOEXEC)?;
        attach(&empty, target.as_fd(), path)?;
        self.empty = Some(empty);
        Ok(())
    }
}
