//! The machine as it is seen from outside of bld: processes and mounts. What bld says of itself proves nothing.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

/// A process found in `/proc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u32,
    /// Its command line, or its name if that is empty.
    pub(crate) command: String,
}

/// All processes whose command line or environment holds `mark`. The dead that nobody waited for do not count.
pub(crate) fn processes(mark: &Path) -> Vec<Process> {
    let mark = mark.as_os_str().as_bytes();
    let mut found: Vec<Process> =
        fs::read_dir("/proc").unwrap().filter_map(|entry| look(&entry.unwrap().path(), mark)).collect();
    found.sort();
    found
}

fn look(directory: &Path, mark: &[u8]) -> Option<Process> {
    let pid: u32 = directory.file_name()?.to_str()?.parse().ok()?;
    let read = |name: &str| fs::read(directory.join(name)).unwrap_or_default();
    let command = read("cmdline");
    let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    if pid == std::process::id() || !(holds(&command) || holds(&read("environ"))) {
        return None;
    }
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    if status.is_empty() || status.contains("State:\tZ") || status.contains("State:\tX") {
        return None;
    }
    let name = status.lines().next().unwrap_or_default().trim_start_matches("Name:\t").to_owned();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process { pid, command: format!("{name}: {command}") })
}

/// The lines of this process's mount table that hold `path`, and so the mounts that a store left behind.
pub(crate) fn mounts(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("cannot list {}: {error}", directory.display()),
    }
}

/// Waits until `done`, at most for `patience`; says whether it came to that.
pub(crate) fn eventually(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal, named as kill(1) does. A process that is gone already is fine.
pub(crate) fn signal(pid: u32, name: &str) {
    kill(&pid.to_string(), name);
}

/// [`signal`] to all processes of a group.
pub(crate) fn signal_group(leader: u32, name: &str) {
    kill(&format!("-{leader}"), name);
}

fn kill(target: &str, name: &str) {
    let sent = Command::new("kill").args(["-s", name, "--", target]).output().unwrap();
    let said = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.success() || said.contains("No such process"), "cannot send {name} to {target}: {said}");
}

/// For a test that cannot run here: says why, or fails where it has to run.
#[track_caller]
pub(crate) fn cannot_run(reason: &str) {
    assert!(std::env::var_os("BLD_REQUIRE_PRIVILEGED").is_none(), "this test must run and cannot: {reason}");
    drop(std::io::Write::write_all(&mut std::io::stderr(), format!("not run: {reason}\n").as_bytes()));
}
