//! What a step's processes used is told with its exit. Only lower bounds: machines are noisy, and kernels count each in its own way.

use std::fs;
use std::path::Path;

use super::fixture::Fixture;
use crate::sandbox::ExitStatus;

const MIB: u64 = 1 << 20;

/// Counts until it has used 0.3 s of processor time, by its own account.
const BURN: &str = "while read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ </proc/self/stat && [ $((user + system)) -lt 30 ]; do :; done";

#[test]
fn time_of_children_counts() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let idle = fixture.shell("true").exit.usage;
    // A child of a child, both waited for; it fails, which is counted as well.
    let outcome = fixture.shell(&format!("sh -c '({BURN}); exit 0'; exit 7"));
    assert_eq!(outcome.exit.status, ExitStatus::Code(7), "{}", outcome.output);
    let usage = outcome.exit.usage;
    assert!(usage.user_us + usage.system_us >= 280_000, "{usage:?}");
    assert!(idle.user_us + idle.system_us < usage.user_us + usage.system_us, "{idle:?} {usage:?}");
}

#[test]
fn memory_of_the_largest_process() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let idle = fixture.shell("true").exit.usage;
    let outcome = fixture.shell("dd bs=50M count=1 if=/dev/zero of=/dev/null; true");
    let usage = outcome.exit.usage;
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{}", outcome.output);
    assert!(usage.peak_memory >= 50 * MIB, "{usage:?}");
    assert!(idle.peak_memory > 0 && idle.peak_memory < 50 * MIB, "{idle:?}");
}

#[test]
fn bytes_written_and_read() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    if !has_disk(fixture.directory.path()) {
        eprintln!("row did not run: the temporary directory is no disk");
        return;
    }
    let idle = fixture.shell("true").exit.usage;
    let usage = fixture.shell("dd if=/dev/zero of=/file bs=1M count=5 2>/dev/null").exit.usage;
    assert!(usage.written_bytes >= 5 * MIB, "{usage:?}");
    assert!(idle.written_bytes < MIB, "{idle:?}");
    let file = fs::File::open(fixture.upper().join("file")).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let usage = fixture.shell("cat /file > /dev/null").exit.usage;
    assert!(usage.read_bytes >= 5 * MIB, "{usage:?}");
}

#[test]
fn steps_beside_each_other_do_not_count_for_each_other() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.args = ["/bin/sh", "-c", &format!("({BURN})")].map(str::to_owned).into();
    let (_output, writer) = std::io::pipe().unwrap();
    let busy = fixture.start(writer.into()).unwrap();
    fixture.renew_upper();
    let idle = fixture.shell("sleep 0.4").exit.usage;
    let usage = busy.wait().unwrap().usage;
    assert!(usage.user_us + usage.system_us >= 280_000, "{usage:?}");
    assert!(idle.user_us + idle.system_us < usage.user_us + usage.system_us, "{idle:?} {usage:?}");
}

/// Whether what is written there goes to a disk some day.
fn has_disk(path: &Path) -> bool {
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    let kind = i128::from(rustix::fs::statfs(path).unwrap().f_type);
    kind != TMPFS && kind != RAMFS
}
