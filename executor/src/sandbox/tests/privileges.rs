//! Rows P about what a step may do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{Fixture, step_error, unavailable};
use crate::sandbox::{ExitStatus, Network, Resource, ResourceLimit, SandboxError, StepError};

#[test]
fn p01_capabilities() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let seen = |output: String| output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        seen(fixture.shell(script).success()),
        "CapInh: 0000000000000000 CapPrm: 00000000a80425fb CapEff: 00000000a80425fb CapBnd: 00000000a80425fb \
         CapAmb: 0000000000000000 NoNewPrivs: 0 Seccomp: 2"
    );
    fixture.spec.uid = 1000;
    fixture.spec.gid = 1000;
    assert_eq!(
        seen(fixture.shell(script).success()),
        "CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 CapBnd: 00000000a80425fb \
         CapAmb: 0000000000000000 NoNewPrivs: 0 Seccomp: 2"
    );
}

#[test]
fn p04_p05_p06_system_calls() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.probe("filtered_calls");
}

#[test]
fn p07_masked_and_read_only_paths() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let script = "for file in kcore keys timer_list interrupts sched_debug latency_stats; do \
                  if [ -e /proc/$file ]; then echo $(head -c 10 /proc/$file | wc -c); fi; done; \
                  for directory in acpi asound scsi; do if [ -e /proc/$directory ]; then ls /proc/$directory | wc -l; fi; done; \
                  ls /sys/firmware | wc -l";
    let output = fixture.shell(script).success();
    assert!(!output.is_empty() && output.lines().all(|line| line.trim() == "0"), "{output}");
    let paths = ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity"];
    for path in paths.into_iter().filter(|path| fs::exists(path).unwrap()) {
        let outcome = fixture.shell(&format!("(echo 0 > {path}) 2>&1; (umount {path}) 2>&1; (echo 0 > {path}) 2>&1"));
        assert!(outcome.output.matches("Read-only file system").count() == 2, "{}", outcome.output);
    }
    let output = fixture.shell("umount /proc/keys; umount -l /proc/keys; mount -t proc p /tmp; mount -o remount,rw /proc/sys; wc -c < /proc/keys").output;
    assert!(
        output.ends_with("0\n")
            && output.matches("not permitted").count() + output.matches("permission denied").count() == 4,
        "{output}"
    );
}

#[test]
fn p08_p26_cgroups_and_sysfs() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let script = "cat /proc/self/cgroup; find /sys/fs/cgroup -name release_agent -o -name cgroup.procs; \
                  touch /sys/fs/cgroup/x; echo 1 > /sys/kernel/profiling; mkdir /sys/fs/cgroup/new; ls -d /sys/kernel; \
                  ls /sys/devices/virtual/powercap; grep ' /sys' /proc/mounts";
    let output = fixture.shell(script).output;
    assert!(
        output.lines().filter(|line| line.split(':').count() == 3 && line.ends_with(":/")).count() >= 1,
        "{output}"
    );
    assert!(output.matches("Read-only file system").count() >= 2, "{output}");
    let sys = output.lines().find(|line| line.contains(" /sys sysfs ")).unwrap();
    assert!(sys.contains("ro,nosuid,nodev,noexec"), "{sys}");
}

#[test]
fn p09_no_device_opens() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.script("bin/unused", "");
    // A node shipped in a layer, and one made by the step.
    let number = rustix::fs::makedev(1, 1);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.base().join("node"),
        rustix::fs::FileType::BlockDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        number,
    )
    .unwrap();
    let script = "head -c 1 /node 2>&1; mknod /mine c 1 5; head -c 1 /mine 2>&1; mknod /tmp/m c 1 5; head -c 1 /tmp/m 2>&1; true";
    let output = fixture.shell(script).success();
    assert_eq!(output.matches("Permission denied").count(), 3, "{output}");
}

#[test]
fn p13_p14_users_and_groups() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.args = ["/bin/id"].map(str::to_owned).into();
    for (uid, gid, groups) in [(0, 0, vec![0]), (1000, 1000, vec![5, 7]), (2_147_483_648, 4_294_967_294, vec![])] {
        (fixture.spec.uid, fixture.spec.gid, fixture.spec.groups) = (uid, gid, groups.clone());
        let output = fixture.shell("grep -E '^(Uid|Gid|Groups):' /proc/self/status").success();
        let list: Vec<String> = groups.iter().map(u32::to_string).collect();
        let words: Vec<&str> = output.split_whitespace().collect();
        let expected = format!("Uid: {uid} {uid} {uid} {uid} Gid: {gid} {gid} {gid} {gid} Groups: {}", list.join(" "));
        assert_eq!(words.join(" "), expected.trim());
    }
    fixture.spec.uid = u32::MAX;
    assert!(matches!(step_error(fixture.try_shell("true")), StepError::Invalid { .. }));
}

#[test]
fn a_user_can_reopen_its_output() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.uid = 1000;
    assert_eq!(fixture.shell("echo out > /dev/stdout; echo err > /dev/stderr").success(), "out\nerr\n");
    // A directory only root may enter is a working directory for everybody, as in every engine.
    fs::set_permissions(fixture.base().join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    fixture.spec.cwd = "/root".into();
    assert_eq!(fixture.shell("pwd").success(), "/root\n");
}

#[test]
fn limits() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.limits = vec![ResourceLimit { resource: Resource::Nproc, soft: Some(100), hard: Some(200) }];
    let output = fixture.shell("ulimit -c; ulimit -Hc; grep processes /proc/self/limits; ulimit -n").success();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["0", "0"]);
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["Max", "processes", "100", "200", "processes"]);
    assert!(lines[3].parse::<u64>().unwrap() <= 1 << 20);
}

#[test]
fn p28_setuid_works_unless_forbidden() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let program = fixture.base().join("bin/raise");
    fs::copy(fixture.base().join("bin/busybox"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::remove_file(fixture.base().join("bin/busybox")).unwrap();
    fs::hard_link(&program, fixture.base().join("bin/busybox")).unwrap();
    assert!(fixture.shell("su nobody -c id").success().contains("uid=65534(nobody)"));
    fixture.spec.uid = 65534;
    fixture.spec.gid = 65534;
    // `id` of busybox drops its privileges; /proc tells.
    let script = "su root -c 'grep Uid /proc/self/status' < /dev/null 2>&1; grep NoNew /proc/self/status";
    assert!(fixture.shell(script).output.contains("NoNewPrivs:\t0"));
    fixture.spec.no_new_privileges = true;
    assert!(fixture.shell(script).output.contains("NoNewPrivs:\t1"));
}

#[test]
fn no_network_is_only_loopback() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.network = Network::None;
    let output =
        fixture.shell("ls /sys/class/net; cat /proc/net/dev | grep -c :; cat /sys/class/net/lo/flags").success();
    assert_eq!(output, "lo\n1\n0x9\n");
}

/// A 32-bit x86 program that makes one system call and exits with its error number.
#[cfg(target_arch = "x86_64")]
fn program_32(call: u32, arguments: [u32; 3]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let [first, second, third] = arguments;
    let mut code = Vec::new();
    // mov eax|ebx|ecx|edx, imm32; int 0x80; neg eax; mov ebx, eax; mov eax, 1; int 0x80
    for (register, value) in [(0xb8, call), (0xbb, first), (0xb9, second), (0xba, third)] {
        code.push(register);
        code.extend(value.to_le_bytes());
    }
    code.extend([0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    let size = HEADERS + u32::try_from(code.len()).unwrap();
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    let words = |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, BASE + HEADERS, 52, 0, 0]);
    halves(&mut file, &[52, 32, 1, 0, 0, 0]);
    words(&mut file, &[1, 0, BASE, BASE, size, size, 5, 0x1000]);
    file.extend(code);
    file
}

/// Row P3 for 32-bit programs: they run, and under the same rules.
#[cfg(target_arch = "x86_64")]
#[test]
fn p03_32_bit_programs() {
    let Some(mut fixture) = Fixture::new() else { return };
    for (call, arguments, expected) in [
        (20, [0; 3], None),                  // getpid
        (310, [0x1000_0000, 0, 0], Some(1)), // unshare
        (120, [0x1000_0011, 0, 0], Some(1)), // clone
        (435, [0; 3], Some(38)),             // clone3
        (21, [0; 3], Some(1)),               // mount
        (359, [38, 5, 0], Some(1)),          // socket
        (288, [0; 3], Some(1)),              // keyctl
        (999, [0; 3], Some(38)),             // none
    ] {
        let path = fixture.base().join("bin/program");
        fs::write(&path, program_32(call, arguments)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fixture.spec.args = vec!["program".to_owned()];
        match (fixture.run(), expected) {
            (Err(SandboxError::Step(StepError::CannotExecute { .. })), _) => {
                return unavailable("the kernel runs no 32-bit programs").unwrap_or(());
            }
            (outcome, Some(code)) => assert_eq!(outcome.unwrap().exit.status, ExitStatus::Code(code), "call {call}"),
            // PID 1, negated.
            (outcome, None) => assert_eq!(outcome.unwrap().exit.status, ExitStatus::Code(255)),
        }
    }
}
