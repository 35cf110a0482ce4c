//! `--memory` and `--cpus`.

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use super::Site;
use super::refused;
use crate::support::host;

/// Cgroups of runs that are there, empty or not.
fn cgroups() -> Vec<PathBuf> {
    fn look(directory: PathBuf, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with("bld-run-") {
                found.push(entry.path());
            } else {
                look(entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    look("/sys/fs/cgroup".into(), &mut found);
    found
}

/// Those of one process.
fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let name = format!("bld-run-{pid}-");
    cgroups().into_iter().filter(|path| path.to_string_lossy().contains(&name)).collect()
}

#[test]
fn memory() {
    let site = Site::new();
    // The shell itself, so that the exit code is known: 137 as everywhere.
    let hungry = "exec awk 'BEGIN { for (i = 0; ; i++) a[i] = i \"................................\" }'";
    let run = site.run(&["--memory", "32m", "--name", "hungry", "busybox:1", "sh", "-c", hungry]);
    refused(&run, 137, "note: hungry ran out of memory (--memory 32m): something in it was killed");
    let modest = site.run(&["-m32m", "busybox:1", "sh", "-c", "head -c 5000000 /dev/zero | tail -c 4000000 | wc -c"]);
    assert_eq!((modest.code, modest.stdout.as_str(), modest.stderr.as_str()), (Some(0), "4000000\n", ""));
    refused(&site.run(&["-m", "1m", "busybox:1", "true"]), 2, "nothing runs in less than 6m");
    refused(&site.run(&["-m", "much", "busybox:1", "true"]), 2, "`much` is not a size");
}

#[test]
fn processors() {
    let site = Site::new();
    let mut run = site.start(&["--cpus", "0.2", "busybox:1", "sh", "-c", "echo on; exec sleep 100"]);
    run.wait_for("on\n");
    let found = cgroups_of(run.pid());
    assert_eq!(found.len(), 1, "{found:?}");
    let read = |name: &str| std::fs::read_to_string(found[0].join(name)).unwrap_or_default();
    let set = [read("cpu.cfs_quota_us"), read("cpu.max")];
    assert!(set[0] == "20000\n" || set[1] == "20000 100000\n", "{set:?}");
    // The process sees its own cgroup as the root.
    run.signal("TERM");
    run.end();
    assert_eq!(
        site.shell(&["--cpus=.5", "-m", "64m"], "grep -v ':/$' /proc/self/cgroup | grep -c bld-run; true"),
        "0\n"
    );
    refused(&site.run(&["--cpus", "0", "busybox:1", "true"]), 2, "`--cpus 0` is not a number of processors");
}

#[test]
fn cgroups_do_not_stay() {
    let site = Site::new();
    let limits = ["-m", "64m", "--cpus", "1"];
    let start = || {
        let mut run = site.start(&[&limits[..], &["busybox:1", "sh", "-c", "echo on; exec sleep 100"]].concat());
        run.wait_for("on\n");
        assert!(!cgroups_of(run.pid()).is_empty());
        run
    };
    let run = start();
    let pid = run.pid();
    run.signal("TERM");
    assert_eq!(run.end().code, Some(143));
    assert!(cgroups_of(pid).is_empty(), "{:?}", cgroups_of(pid));
    // When bld is killed the helper takes them away.
    let run = start();
    let pid = run.pid();
    let killed = Instant::now();
    run.signal("KILL");
    run.end();
    assert!(host::eventually(Duration::from_secs(10), || cgroups_of(pid).is_empty()), "{:?}", cgroups_of(pid));
    assert!(killed.elapsed() < Duration::from_secs(10));
}
