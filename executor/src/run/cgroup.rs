//! Cgroups for the limits of a run: version 1 controller by controller, version 2 where the machine has that alone.
//!
//! ```text
//! version 1   <mount of memory>/<own cgroup>/bld-run-<pid>-<start>/memory.limit_in_bytes, memory.memsw.limit_in_bytes
//!             <mount of cpu>/<own cgroup>/bld-run-<pid>-<start>/cpu.cfs_period_us, cpu.cfs_quota_us
//! version 2   <an ancestor that hands the controllers on>/bld-run-<pid>-<start>/memory.max, cpu.max
//! ```
//! A cgroup that holds processes cannot hand controllers on in version 2, which is why an ancestor is needed there; root finds one, and so
//! does a user to whom systemd has delegated a part of the tree. The name says which process a directory belongs to: what a killed process
//! left is removed by the next one that makes any.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

const PREFIX: &str = "bld-run-";
/// The period of which `cpus` is a share, in microseconds.
const PERIOD: u64 = 100_000;

/// What a run may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory; as much again may be swapped out.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub milli_cpus: Option<u64>,
}

/// A limit cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no place for a cgroup.
    #[error("the {controller} controller of cgroups is not available: {reason}")]
    Unavailable {
        /// `memory` or `cpu`.
        controller: &'static str,
        /// Why not.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The cgroups of one run. Dropped, they are removed; nothing may be in them by then.
#[derive(Debug, Default)]
pub struct Cgroups {
    directories: Vec<PathBuf>,
    memory: Option<PathBuf>,
}

impl Cgroups {
    /// Makes what the limits need; nothing without limits.
    pub fn new(limits: &Limits) -> Result<Cgroups, CgroupError> {
        if *limits == Limits::default() {
            return Ok(Cgroups::default());
        }
        let tree = Tree::read()?;
        let name = format!("{PREFIX}{}", own_name());
        let mut cgroups = Cgroups::default();
        let mut wanted = Vec::new();
        if let Some(bytes) = limits.memory {
            wanted.push(("memory", bytes));
        }
        if let Some(share) = limits.milli_cpus {
            wanted.push(("cpu", share));
        }
        for (controller, amount) in &wanted {
            let directory = if let Some(parent) = tree.version_1(controller) {
                let directory = cgroups.make(&parent, &name)?;
                set_version_1(&directory, controller, *amount)?;
                directory
            } else {
                let all: Vec<&str> = wanted.iter().map(|(controller, _)| *controller).collect();
                let directory = cgroups.make(&tree.version_2(controller, &all)?, &name)?;
                set_version_2(&directory, controller, *amount)?;
                directory
            };
            if *controller == "memory" {
                cgroups.memory = Some(directory);
            }
        }
        Ok(cgroups)
    }

    /// The directories, for [`crate::sandbox::Spec::cgroups`].
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Whether the kernel killed something because of the memory limit.
    pub fn ran_out_of_memory(&self) -> bool {
        let Some(memory) = &self.memory else { return false };
        ["memory.oom_control", "memory.events"].iter().any(|file| {
            let text = fs::read_to_string(memory.join(file)).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
        })
    }

    fn make(&mut self, parent: &Path, name: &str) -> Result<PathBuf, CgroupError> {
        remove_abandoned(parent);
        let directory = parent.join(name);
        if !self.directories.contains(&directory) {
            fs::create_dir(&directory).map_err(|source| CgroupError::Io {
                verb: "create",
                path: directory.clone(),
                source,
            })?;
            self.directories.push(directory.clone());
        }
        Ok(directory)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The next run that makes one tries again.
            fs::remove_dir(directory).ok();
        }
    }
}

/// Where cgroups are mounted, and which this process is in.
#[derive(Debug)]
struct Tree {
    mounts: String,
    own: String,
}

impl Tree {
    fn read() -> Result<Tree, CgroupError> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|source| CgroupError::Io { verb: "read", path: path.into(), source })
        };
        Ok(Tree { mounts: read("/proc/self/mountinfo")?, own: read("/proc/self/cgroup")? })
    }

    /// The directory of this process in the hierarchy of a version 1 controller.
    fn version_1(&self, controller: &str) -> Option<PathBuf> {
        let own = self.own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let controllers = fields.nth(1)?;
            controllers.split(',').any(|name| name == controller).then(|| fields.next())?
        })?;
        let (root, place) = self.mount("cgroup", Some(controller))?;
        Some(below(&place, &root, own))
    }

    /// The nearest ancestor of this process's cgroup that can hand the controllers on.
    fn version_2(&self, controller: &'static str, wanted: &[&str]) -> Result<PathBuf, CgroupError> {
        let unavailable = |reason: String| CgroupError::Unavailable { controller, reason };
        let (root, place) =
            self.mount("cgroup2", None).ok_or_else(|| unavailable("it is mounted nowhere".to_owned()))?;
        let offered = fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
        if !offered.split_whitespace().any(|name| name == controller) {
            return Err(unavailable(format!("{} does not offer it", place.display())));
        }
        let own = self.own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let mut last = String::new();
        let own = below(&place, &root, own);
        for ancestor in own.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(&place)) {
            match hand_on(ancestor, wanted) {
                Ok(()) => return Ok(ancestor.to_owned()),
                Err(error) => last = format!("{}: {error}", ancestor.display()),
            }
        }
        // This process may be in the root itself, which holds processes and hands controllers on.
        match hand_on(&place, wanted) {
            Ok(()) => Ok(place),
            Err(error) if last.is_empty() => Err(unavailable(format!("{}: {error}", place.display()))),
            Err(_) => Err(unavailable(format!("no cgroup above this process hands it on ({last})"))),
        }
    }

    /// Root and place of a cgroup mount.
    fn mount(&self, kind: &str, controller: Option<&str>) -> Option<(String, PathBuf)> {
        self.mounts.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, place) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (found, options) = (right.next()?, right.nth(1)?);
            let fits = controller.is_none_or(|wanted| options.split(',').any(|name| name == wanted));
            (found == kind && fits).then(|| (root.to_owned(), PathBuf::from(place)))
        })
    }
}

/// `own`, a path in the hierarchy of which `root` is mounted at `place`.
fn below(place: &Path, root: &str, own: &str) -> PathBuf {
    let relative = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own);
    place.join(relative.trim_start_matches('/'))
}

/// Makes sure that children of a cgroup can have limits, and that there can be children.
fn hand_on(cgroup: &Path, wanted: &[&str]) -> io::Result<()> {
    let file = cgroup.join("cgroup.subtree_control");
    let handed = fs::read_to_string(&file)?;
    for controller in wanted {
        if !handed.split_whitespace().any(|name| name == *controller) {
            fs::write(&file, format!("+{controller}"))?;
        }
    }
    Ok(rustix::fs::access(cgroup, rustix::fs::Access::WRITE_OK)?)
}

fn set_version_1(directory: &Path, controller: &str, amount: u64) -> Result<(), CgroupError> {
    if controller == "memory" {
        write(directory, "memory.limit_in_bytes", &amount.to_string())?;
        // Where swap is not accounted for the file is missing.
        if directory.join("memory.memsw.limit_in_bytes").exists() {
            write(directory, "memory.memsw.limit_in_bytes", &amount.saturating_mul(2).to_string())?;
        }
        return Ok(());
    }
    write(directory, "cpu.cfs_period_us", &PERIOD.to_string())?;
    write(directory, "cpu.cfs_quota_us", &quota(amount).to_string())
}

fn set_version_2(directory: &Path, controller: &str, amount: u64) -> Result<(), CgroupError> {
    if controller == "memory" {
        write(directory, "memory.max", &amount.to_string())?;
        if directory.join("memory.swap.max").exists() {
            write(directory, "memory.swap.max", &amount.to_string())?;
        }
        return Ok(());
    }
    write(directory, "cpu.max", &format!("{} {PERIOD}", quota(amount)))
}

/// Microseconds of a period; the kernel takes no less than a thousand.
fn quota(milli_cpus: u64) -> u64 {
    (milli_cpus.saturating_mul(PERIOD) / 1000).max(1000)
}

fn write(directory: &Path, file: &str, text: &str) -> Result<(), CgroupError> {
    let path = directory.join(file);
    fs::write(&path, text).map_err(|source| CgroupError::Io { verb: "write", path, source })
}

/// Removes what processes left that are gone: a directory with processes in it stays.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split_once('-'));
        if let Some((pid, start)) = owner
            && start_time(pid).as_deref() != Some(start)
        {
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// This process, as no other one is called before the next boot.
fn own_name() -> String {
    let pid = std::process::id().to_string();
    let start = start_time(&pid).unwrap_or_default();
    format!("{pid}-{start}")
}

/// When a process started, in ticks since the machine did.
fn start_time(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(mounts: &str, own: &str) -> Tree {
        Tree { mounts: mounts.to_owned(), own: own.to_owned() }
    }

    #[test]
    fn controllers_of_version_1_are_found() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /inner /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        let tree = tree(mounts, "4:memory:/inner/job\n1:cpu,cpuacct:/\n0::/\n");
        assert_eq!(tree.version_1("memory"), Some("/sys/fs/cgroup/memory/job".into()));
        assert_eq!(tree.version_1("cpu"), Some("/sys/fs/cgroup/cpu,cpuacct/".into()));
        assert_eq!(tree.version_1("pids"), None);
    }

    #[test]
    fn an_ancestor_hands_controllers_on() {
        let place = tempfile::tempdir().unwrap();
        let user = place.path().join("user");
        fs::create_dir_all(user.join("shell")).unwrap();
        let mounts = format!("26 22 0:23 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n", place.path().display());
        let tree = tree(&mounts, "0::/user/shell\n");
        let error = tree.version_2("memory", &["memory"]).unwrap_err().to_string();
        assert!(error.contains("does not offer it"), "{error}");
        fs::write(place.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let error = tree.version_2("memory", &["memory"]).unwrap_err().to_string();
        assert!(error.contains("no cgroup above this process hands it on"), "{error}");
        fs::write(user.join("cgroup.subtree_control"), "memory\n").unwrap();
        assert_eq!(tree.version_2("memory", &["memory"]).unwrap(), user);
        let share = user.join("limits");
        fs::create_dir(&share).unwrap();
        set_version_2(&share, "cpu", 1500).unwrap();
        assert_eq!(fs::read_to_string(share.join("cpu.max")).unwrap(), "150000 100000");
    }
}
