//! A disk that is full: the build says so, leaves nothing, and works when there is room again.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::host;

/// The whole file system of the store.
const SIZE: u64 = 24 << 20;

/// The time of everything, so that the same image has the same digest.
const EPOCH: &str = "1700000000";

/// A small file system in memory. It is unmounted when this is dropped.
struct Disk {
    directory: TempDir,
}

impl Disk {
    /// `None` where this machine does not let us.
    fn mount() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(directory.path());
        let run = support::run(&mut command);
        if run.code == Some(0) {
            return Some(Self { directory });
        }
        host::cannot_run(&format!("a tmpfs cannot be mounted: {}", run.stderr.trim()));
        None
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Fills the disk up, but for this many bytes.
    fn fill(&self, spare: u64) {
        let ballast = fs::File::create(self.ballast()).unwrap();
        let free = self.free();
        let file = &ballast;
        // Page by page: the file system's own idea of what is free is not exact.
        let mut left = free.saturating_sub(spare);
        let page = [1; 4096];
        while left >= 4096 && std::io::Write::write_all(&mut { file }, &page).is_ok() {
            left -= 4096;
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.directory.path().join("ballast")
    }

    fn free(&self) -> u64 {
        let text =
            support::run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(self.directory.path())).succeeded();
        let (blocks, size) = text.stdout.trim().split_once(' ').unwrap();
        blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
    }

    fn bld(&self) -> Command {
        support::bld(&self.store())
    }

    /// Nothing of a build that failed takes up room.
    #[track_caller]
    fn assert_clean(&self) {
        for directory in ["tmp", "trash", "leases", "quarantine"] {
            assert_eq!(host::names(&self.store().join(directory)), [""; 0], "left in {directory}/");
        }
        let mounts = host::mounts(&self.store());
        assert_eq!(mounts, [""; 0]);
        assert!(host::eventually(super::MERCY, || host::processes(&self.store()).is_empty()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.directory.path()).status());
    }
}

/// Bytes that no compressor makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn import(disk: &Disk) {
    let mut command = disk.bld();
    command.env("SOURCE_DATE_EPOCH", EPOCH).arg("import").arg(Base::Busybox.tar()).arg(Base::Busybox.image());
    support::run(&mut command).succeeded();
}

fn build(disk: &Disk, context: &Path) -> Run {
    let mut command = disk.bld();
    command.env("SOURCE_DATE_EPOCH", EPOCH).args(["build", "--progress", "plain", "--network", "none"]);
    support::run(command.arg(context))
}

/// The one mistake is that there is no room, and that is said.
#[track_caller]
fn assert_is_told(run: &Run) {
    assert_eq!(run.code, Some(1), "{}", run.failure());
    let error = run.stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(!run.stderr.contains("panicked"), "{}", run.failure());
    assert!(run.stderr.contains("o space left on device") || error.contains("full"), "{}", run.failure());
    assert!(run.stdout.is_empty(), "{}", run.failure());
}

/// With every amount of room: at some point or other of the build it is too little.
#[test]
fn a_full_disk_at_any_point() {
    let Some(disk) = Disk::mount() else { return };
    let context = TempDir::new().unwrap();
    fs::write(context.path().join("noise"), noise(3 << 19)).unwrap();
    let dockerfile = "FROM busybox:1\nCOPY noise /noise\nRUN cat /noise /noise > /both && rm /noise\n";
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let prepare = || {
        drop(fs::remove_dir_all(disk.store()));
        import(&disk);
    };
    prepare();
    let expected = build(&disk, context.path()).succeeded().stdout;
    let needed = SIZE - disk.free();
    // Twice the largest layer must fit: one that failed late may still be there.
    assert!((8 << 20..18 << 20).contains(&needed), "{needed}");
    let mut failed = 0;
    for step in 0..16_u64 {
        prepare();
        // Closer together where the small things are written.
        disk.fill(step * step * (80 << 10));
        let run = build(&disk, context.path());
        if run.code == Some(0) {
            assert_eq!(run.stdout, expected);
        } else {
            failed += 1;
            assert_is_told(&run);
            // To look needs no room.
            support::run(disk.bld().arg("images")).succeeded();
        }
        disk.make_room();
        assert_eq!(build(&disk, context.path()).succeeded().stdout, expected, "when there is room again");
        disk.assert_clean();
    }
    assert!((4..16).contains(&failed), "{failed} of 16 builds had too little room");
}

/// The disk is large enough for nothing of the kind: what was there before is as it was.
#[test]
fn more_than_the_disk_holds() {
    let Some(disk) = Disk::mount() else { return };
    let context = TempDir::new().unwrap();
    import(&disk);
    for dockerfile in ["FROM busybox:1\nRUN head -c 40000000 /dev/urandom > /big\n", "FROM busybox:1\nCOPY big /big\n"]
    {
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        fs::write(context.path().join("big"), noise(30 << 20)).unwrap();
        let free = disk.free();
        assert_is_told(&build(&disk, context.path()));
        disk.assert_clean();
        // Logs and what the index remembers, and the base image's files.
        assert!(disk.free() + (6 << 20) > free, "{} of {free} bytes are left", disk.free());
        fs::write(context.path().join("big"), noise(1 << 20)).unwrap();
        let smaller = dockerfile.replace("40000000", "1000000");
        fs::write(context.path().join("Dockerfile"), smaller).unwrap();
        build(&disk, context.path()).succeeded();
        disk.assert_clean();
    }
}
