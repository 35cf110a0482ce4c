//! The same world for a builder that is not root.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::sync::atomic::Ordering;

use rustix::fs::{FileType, Mode};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{DumpableBehavior, Gid, Uid, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use super::fixture::{Fixture, unavailable};
use crate::sandbox::network::NetworkSlot;
use crate::sandbox::overlay::FORCE_NAMES;
use crate::sandbox::{Helper, Identity, SandboxError, Spec, sys, userns};

/// Ids of a user of this machine for which the predicate on "has a line in /etc/subuid" holds.
fn user(with_range: bool) -> Option<(u32, u32)> {
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid): (u32, u32) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        let has = ranges.lines().any(|range| range.split(':').next() == fields.first().copied());
        ((1000..60000).contains(&uid) && has == with_range).then_some((uid, gid))
    })
}

/// Runs a script as a user; what it wrote, and what the builder was.
fn run_as(
    (uid, gid): (u32, u32),
    fixture: &Fixture,
    script: &str,
    change: impl Fn(&mut Spec) -> Result<(), SandboxError>,
) -> (Identity, String) {
    for entry in walkdir::WalkDir::new(fixture.directory.path()) {
        let path = entry.unwrap().into_path();
        if !path.is_symlink() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }
    let mut spec = fixture.spec.clone();
    spec.args = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let pid = sys::fork(|| {
        open_tunnel(fixture);
        let identity = become_builder(uid, gid);
        let mut spec = spec.clone();
        spec.identity = identity;
        if let Err(error) = change(&mut spec) {
            rustix::io::write(&writer, format!("{error:?}").as_bytes()).unwrap();
            return 1;
        }
        let helper = Helper::fork().unwrap();
        let text = format!("{identity:?}\n");
        rustix::io::write(&writer, text.as_bytes()).unwrap();
        let (mut output, stdout) = std::io::pipe().unwrap();
        let stderr: OwnedFd = stdout.try_clone().unwrap().into();
        match helper.spawn(&spec, stdout.into(), stderr) {
            Ok(running) => {
                let mut text = String::new();
                output.read_to_string(&mut text).unwrap();
                let exit = running.wait().unwrap();
                // What a step used is known whoever the builder is.
                assert!(exit.usage.peak_memory > 0 && exit.usage.user_us + exit.usage.system_us > 0, "{exit:?}");
                writeln!(text, "{:?}", exit.status).unwrap();
                rustix::io::write(&writer, text.as_bytes()).unwrap();
            }
            Err(error) => {
                rustix::io::write(&writer, format!("{error:?}").as_bytes()).unwrap();
            }
        }
        0
    })
    .unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
    let identity = if text.starts_with("SubordinateIds") { Identity::SubordinateIds } else { Identity::SingleId };
    (identity, text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or(text))
}

/// Gives `/dev/net/tun` its usual mode, for this process and its children only.
fn open_tunnel(fixture: &Fixture) {
    let path = fixture.path("tun");
    let (mode, number) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(10, 200));
    sys::unshare(UnshareFlags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    drop(std::fs::remove_file(&path));
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, mode, number).unwrap();
    rustix::fs::chmod(&path, mode).unwrap();
    if std::fs::exists("/dev/net/tun").unwrap() {
        mount_bind(&path, "/dev/net/tun").unwrap();
    }
}

fn become_builder(uid: u32, gid: u32) -> Identity {
    become_builder_of(uid, gid);
    userns::enter().unwrap().identity
}

fn become_builder_of(uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[]).unwrap();
    rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
    // As after the exec that a real change of user goes with.
    set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
}

const SCRIPT: &str = "grep -E '^(CapEff|CapBnd|Seccomp:)' /proc/self/status; head -c 1 /dev/zero | wc -c; echo x > /file; \
                      chown 1:1 /file && stat -c %u:%g /file; su nobody -c 'echo user $(id -u)'; echo > /dev/null; ls /sys; \
                      rm /etc/passwd && ls /etc; mount -t tmpfs x /tmp 2>&1; ls /proc/self/fd | wc -l; echo > /dev/stdout";

#[test]
fn with_subordinate_ids() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let Some(user) = user(true) else {
        return unavailable("no user with a line in /etc/subuid").unwrap_or(());
    };
    let (identity, output) = run_as(user, &fixture, SCRIPT, |_| Ok(()));
    assert_eq!(identity, Identity::SubordinateIds, "{output}");
    assert!(output.contains("CapBnd:\t00000000a80425fb"), "{output}");
    assert!(output.contains("1:1\n") && output.contains("user 65534"), "{output}");
    assert!(output.contains("group\nhosts\nresolv.conf") && output.contains("permission denied"), "{output}");
    assert!(output.ends_with("Code(0)\n"), "{output}");
}

#[test]
fn with_a_single_id() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let Some(user) = user(false) else {
        return unavailable("no user without a line in /etc/subuid").unwrap_or(());
    };
    let script = format!("{SCRIPT}; mknod /node c 1 3; mkfifo /fifo; ls /node 2>/dev/null; echo done");
    let (identity, output) = run_as(user, &fixture, &script, |_| Ok(()));
    assert_eq!(identity, Identity::SingleId, "{output}");
    // The change is accepted and not made.
    assert!(output.contains("0:0\n") && output.contains("user 0"), "{output}");
    assert!(output.contains("done") && output.ends_with("Code(0)\n"), "{output}");
}

#[test]
fn a_private_network_without_root() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let Some(user) = user(true) else {
        return unavailable("no user with a line in /etc/subuid").unwrap_or(());
    };
    let (_, output) = run_as(user, &fixture, "ip -o addr show tap0; ls /sys/class/net; cat /etc/resolv.conf", |spec| {
        let slot = Box::leak(Box::new(NetworkSlot::private()?));
        spec.network = slot.network();
        spec.resolv_conf = slot.resolv_conf();
        Ok(())
    });
    assert!(output.contains("10.0.2.100/24") && output.contains("lo\ntap0\n"), "{output}");
}

/// Runs `enter` in a process of its own, after `prepare`, and returns what it said.
fn enter_after(prepare: impl Fn()) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let pid = sys::fork(|| {
        prepare();
        let text = match userns::enter() {
            Ok(entered) => {
                format!("{:?} {}", entered.identity, entered.shortfall.map_or_else(String::new, |it| it.to_string()))
            }
            Err(error) => error.to_string(),
        };
        rustix::io::write(&writer, text.as_bytes()).unwrap();
        0
    })
    .unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
    text
}

#[test]
fn blockers_are_named() {
    if Fixture::new().is_none() {
        return;
    }
    assert_eq!(enter_after(|| ()), "Root ");
    // The sysctl belongs to a user namespace: this one's is changed and no other.
    let text = enter_after(|| {
        sys::unshare(UnshareFlags::NEWUSER).unwrap();
        std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
        rustix::thread::set_capabilities(None, NO_CAPABILITIES).unwrap();
    });
    assert!(text.contains("user.max_user_namespaces is 0") && text.contains("sysctl -w"), "{text}");
    if let Some((uid, gid)) = user(false) {
        let text = enter_after(|| become_builder_of(uid, gid));
        assert!(text.starts_with("SingleId ") && text.contains("no line for"), "{text}");
        assert!(text.contains("usermod --add-subuids"), "{text}");
    }
    if let Some((uid, gid)) = user(true) {
        let text = enter_after(|| {
            // An empty directory over the tools: for this process only.
            sys::unshare(UnshareFlags::NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            for tool in ["/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
                mount_bind("/etc/passwd", tool).unwrap();
            }
            become_builder_of(uid, gid);
        });
        assert!(text.starts_with("SingleId ") && text.contains("newuidmap cannot be run"), "{text}");
    }
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// The way of kernels before 6.5, many layers, and a hidden mount point.
#[test]
fn layers_by_name_without_root() {
    let Some(mut fixture) = Fixture::new() else { return };
    let Some(user) = user(true) else { return unavailable("no user with a line in /etc/subuid").unwrap_or(()) };
    for number in 1..100 {
        std::fs::write(fixture.layer(&format!("layer{number}")).join(format!("file{number}")), "").unwrap();
    }
    let top = fixture.layer("top").join("etc");
    std::fs::create_dir(&top).unwrap();
    rustix::fs::setxattr(&top, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    for force in [false, true] {
        fixture.renew_upper();
        let (_, output) =
            run_as(user, &fixture, "ls / | grep -c ^file; ls /etc; cat /etc/hosts; echo x > /new", |_| {
                FORCE_NAMES.store(force, Ordering::Relaxed);
                Ok(())
            });
        assert_eq!(output, "99\nhosts\nresolv.conf\n127.0.0.1\tlocalhost buildkitsandbox\nCode(0)\n");
        assert_eq!(std::fs::read_to_string(fixture.upper().join("new")).unwrap(), "x\n");
    }
}
