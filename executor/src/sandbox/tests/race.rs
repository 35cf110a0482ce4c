//! Row M7: mount targets that turn into symbolic links while a step is set up.
//!
//! Somebody exchanges directories and symbolic links as fast as the machine can, in a cache that steps share and in the root of
//! the step, and steps start on top of that. `BLD_RACE_STARTS` says how many (200 if it is not set; `scripts/race-campaign` has
//! more patience).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::fixture::{Canary, Fixture};
use crate::sandbox::{ExitStatus, FileMount, Mount, MountSource, SandboxError};

/// A thread that exchanges `x`, a directory, and each of the links beside it, until it is dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(directory: PathBuf, links: usize) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            let exchange = |link: &Path| {
                renameat_with(CWD, directory.join("x"), CWD, link, RenameFlags::EXCHANGE).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            };
            while !stopped.load(Ordering::Relaxed) {
                for number in 0..links {
                    let link = directory.join(format!("link{number}"));
                    exchange(&link);
                    exchange(&link);
                }
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.swaps.load(Ordering::Relaxed)
    }
}

/// A directory with what is looked for in it, and links of the same use that lead out.
fn bait(directory: &Path, canary: &Path) -> usize {
    fs::create_dir_all(directory.join("x/emptydir")).unwrap();
    fs::write(directory.join("x/empty"), "").unwrap();
    let up = Path::new("../../../../../../../..").join(canary.strip_prefix("/").unwrap());
    let targets = [canary.to_owned(), up, PathBuf::from("/"), PathBuf::from("/proc/self/root"), PathBuf::from("link0")];
    for (number, target) in targets.iter().enumerate() {
        symlink(target, directory.join(format!("link{number}"))).unwrap();
    }
    targets.len()
}

/// A size nobody else gives a tmpfs: so many bytes, and as the kernel shows it.
const SIZE: (u64, &str) = (1208 << 10, "size=1208k");

/// Mounts of the host that are of a step. Others come and go on a busy machine.
fn strays(fixture: &Fixture) -> Vec<String> {
    let directory = fixture.directory.path().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_ours = |line: &&str| line.contains(SIZE.1) || line.contains(&directory);
    mounts.lines().filter(is_ours).map(str::to_owned).collect()
}

#[test]
fn m7_targets_that_change_while_they_are_mounted() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let starts: u32 = std::env::var("BLD_RACE_STARTS").map_or(200, |text| text.parse().unwrap());
    let canary = Canary::new(&fixture);
    let cache = fixture.path("cache");
    let links = bait(&cache, &canary.path);
    let own = fixture.upper().join("w");
    bait(&own, &canary.path);

    let mount = |target: &str, source| Mount { target: target.into(), source };
    let tmpfs = || MountSource::Tmpfs { size: Some(SIZE.0), mode: 0o755, executable: true };
    let whole = MountSource::Bind { source: cache.clone(), subpath: PathBuf::new(), read_only: false };
    fixture.spec.mounts.push(mount("/c", whole));
    for target in ["/c/x/emptydir", "/w/x/emptydir", "/c/x/made/deep", "/w/x/made"] {
        fixture.spec.mounts.push(mount(target, tmpfs()));
    }
    for target in ["/c/x/empty", "/w/x/file"] {
        let (body, target) = (b"of the step".to_vec(), target.into());
        fixture.spec.files.push(FileMount { target, body, mode: 0o600, uid: 0, gid: 0 });
    }
    // A mount that landed outside of the root would be missing among those that the step sees.
    let seen = "wc -l < /proc/self/mountinfo; grep -c size=1208k /proc/self/mountinfo";
    let all = fixture.shell(seen).success();
    assert!(all.ends_with("\n4\n"), "{all}");
    canary.check();

    let swappers = [cache, own].map(|directory| Swapper::start(directory, links));
    let (start, mut ran, mut refused) = (Instant::now(), 0, 0);
    for number in 0..starts {
        let work = fixture.spec.root.upper.as_ref().unwrap().work.clone();
        match fixture.try_shell(seen) {
            Ok(outcome) => {
                assert_eq!((outcome.exit.status, outcome.output), (ExitStatus::Code(0), all.clone()), "start {number}");
                ran += 1;
            }
            Err(SandboxError::Step(_)) => {
                fixture.renew_work();
                refused += 1;
            }
            Err(error) => panic!("start {number}: {error}"),
        }
        fs::remove_dir_all(work).unwrap();
        if number % 100 == 0 {
            canary.check();
            assert_eq!(strays(&fixture), [""; 0], "start {number}");
        }
    }
    let swaps: u64 = swappers.into_iter().map(Swapper::finish).sum();
    eprintln!("{starts} starts in {:?}: {ran} ran, {refused} were refused, {swaps} exchanges", start.elapsed());
    canary.check();
    assert_eq!(strays(&fixture), [""; 0]);
    assert!(ran > 0 && swaps > u64::from(starts), "{ran} of {starts} ran, {swaps} exchanges: this is no race");
}
