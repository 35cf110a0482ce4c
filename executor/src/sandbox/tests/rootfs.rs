//! Rows M: root file system and mounts.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::process::{WaitOptions, waitpid};

use super::fixture::{Canary, Fixture, step_error};
use crate::sandbox::overlay::FORCE_NAMES;
use crate::sandbox::{FileMount, Helper, Mount, MountSource, ResolvConf, RootFs, StepError, Upper, sys};

#[test]
fn a_command_sees_its_world() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let script = "pwd; hostname; cat /etc/hosts /etc/resolv.conf; echo \"$$ $HOME $PATH\"; umask; echo x > /new; \
                  test -c /dev/null && test -c /dev/tty && ls /dev/fd/0 /dev/pts/ptmx /dev/shm /dev/mqueue >/dev/null && echo devices; \
                  echo in > /dev/shm/x && cat /dev/shm/x; grep -c . /proc/mounts >/dev/null; echo err >&2";
    let output = fixture.shell(script).success();
    assert_eq!(
        output,
        "/\nbuildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\nnameserver 192.0.2.1\n1 /root /bin\n0022\n\
         devices\nin\nerr\n"
    );
    // The upper directory holds the change of the step and no mount point.
    let names: Vec<_> = fs::read_dir(fixture.upper()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn scratch_needs_no_directory() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let empty = fixture.path("scratch");
    fs::create_dir(&empty).unwrap();
    fs::copy(fixture.base().join("bin/busybox"), empty.join("busybox")).unwrap();
    fixture.spec.root.lowers = vec![empty];
    fixture.spec.args = ["/busybox", "ls", "/"].map(str::to_owned).into();
    let outcome = fixture.run().unwrap();
    assert_eq!(outcome.made, Vec::<PathBuf>::new());
    assert_eq!(outcome.success(), "busybox\ndev\netc\nproc\nsys\n");
    assert_eq!(fs::read_dir(fixture.upper()).unwrap().count(), 0);
}

#[test]
fn a_root_without_upper_is_read_only() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    fixture.spec.root.upper = None;
    let output = fixture.shell("touch /x; cat /etc/hosts").success();
    assert!(output.contains("Read-only file system") && output.contains("127.0.0.1"), "{output}");
}

#[test]
fn hidden_mount_points_are_made_and_reported() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let top = fixture.layer("top");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        top.join("sys"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    fs::create_dir(top.join("etc")).unwrap();
    rustix::fs::setxattr(top.join("etc"), "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let mut outcome = fixture.shell("ls /sys/kernel >/dev/null && cat /etc/hosts");
    outcome.made.sort();
    assert_eq!(outcome.made, ["/etc/hosts", "/etc/resolv.conf", "/sys"].map(PathBuf::from));
    assert!(outcome.success().contains("localhost"));
}

#[test]
fn files_and_mounts_appear() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let source = fixture.path("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/file"), "bound\n").unwrap();
    let mount = |target: &str, source| Mount { target: target.into(), source };
    let bind =
        |subpath: &str, read_only| MountSource::Bind { source: source.clone(), subpath: subpath.into(), read_only };
    let (upper, work) = (fixture.path("mount-upper"), fixture.path("mount-work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    fixture.spec.mounts = vec![
        mount("/a/b/c", bind("sub", true)),
        mount("/a", MountSource::Tmpfs { size: Some(1 << 20), mode: 0o1777, executable: true }),
        mount("/one", bind("sub/file", true)),
        mount("/rw", bind("", false)),
        mount(
            "/other",
            MountSource::Overlay {
                lowers: vec![source.clone()],
                upper: Some(Upper { upper: upper.clone(), work }),
                subpath: PathBuf::new(),
            },
        ),
        mount("/part", MountSource::Overlay { lowers: vec![source.clone()], upper: None, subpath: "sub".into() }),
    ];
    fixture.spec.files = vec![
        FileMount {
            target: "/dev/pipes/EOF".into(),
            body: b"#!/bin/sh\necho script\n".into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
        },
        FileMount { target: "/run/secrets/key".into(), body: b"secret\n".into(), mode: 0o400, uid: 0, gid: 0 },
    ];
    let script = "cat /a/b/c/file /one /part/file; /dev/pipes/EOF; cat /run/secrets/key; touch /a/x; \
                  touch /a/b/c/x 2>/dev/null || echo ro; echo y > /rw/y; echo z > /other/z; touch /part/x 2>/dev/null || echo ro; \
                  (echo > /dev/pipes/EOF) 2>/dev/null || echo ro; stat -c %a /run/secrets/key";
    assert_eq!(fixture.shell(script).success(), "bound\nbound\nbound\nscript\nsecret\nro\nro\nro\n400\n");
    assert_eq!(fs::read_to_string(source.join("y")).unwrap(), "y\n");
    assert_eq!(fs::read_to_string(upper.join("z")).unwrap(), "z\n");
    assert!(!source.join("z").exists());
    assert_eq!(fs::read_dir(fixture.upper()).unwrap().count(), 0);
}

#[test]
fn m01_m02_system_directories_must_be_directories() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let canary = Canary::new(&fixture);
    for name in ["proc", "sys", "dev"] {
        for (number, target) in [Path::new("/bad"), &canary.path].into_iter().enumerate() {
            let top = fixture.layer(&format!("top-{name}-{number}"));
            fs::create_dir(top.join("bad")).unwrap();
            symlink(target, top.join(name)).unwrap();
            let error = step_error(fixture.try_shell("true"));
            assert_eq!(error, StepError::NotOrdinaryDirectory { path: Path::new("/").join(name) });
            fixture.spec.root.lowers.pop();
            fixture.renew_upper();
        }
    }
    canary.check();
}

#[test]
fn m03_masks_do_not_trust_the_image() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let core_pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = core_pattern();
    fs::create_dir(fixture.base().join("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", fixture.base().join("dev/null")).unwrap();
    let script = "wc -c < /proc/keys; wc -c < /proc/timer_list; echo pwned > /dev/null; stat -c %F,%t,%T /dev/null; \
                  (echo '|/x' > /proc/sys/kernel/core_pattern) 2>&1";
    let output = fixture.shell(script).output;
    assert!(output.starts_with("0\n0\ncharacter special file,1,3\n"), "{output}");
    assert!(output.contains("Read-only file system"), "{output}");
    assert_eq!(core_pattern(), before);
}

#[test]
fn m06_links_of_hosts_and_resolv_conf_stay_inside() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let canary = Canary::new(&fixture);
    let etc = fixture.base().join("etc");
    symlink(canary.path.join("newfile"), etc.join("resolv.conf")).unwrap();
    symlink(Path::new("../../../..").join(canary.path.strip_prefix("/").unwrap()).join("secret"), etc.join("hosts"))
        .unwrap();
    let output = fixture.shell("cat /etc/hosts /etc/resolv.conf").success();
    assert_eq!(output, "127.0.0.1\tlocalhost buildkitsandbox\nnameserver 192.0.2.1\n");
    canary.check();

    let top = fixture.layer("top");
    symlink(&canary.path, top.join("etc")).unwrap();
    fixture.renew_upper();
    let output = fixture.shell("cat /etc/hosts").success();
    assert!(output.contains("localhost"), "{output}");
    canary.check();
}

#[test]
fn m13_working_directories_through_proc_are_refused() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let canary = Canary::new(&fixture);
    let paths = (0..64).map(|number| format!("/proc/self/fd/{number}"));
    let others = ["/proc/1/cwd", "/proc/self/cwd/../../..", "/proc/1/root", "/proc/thread-self/fd/3"];
    for path in paths.chain(others.map(str::to_owned)) {
        for uid in [0, 1000] {
            fixture.spec.cwd = PathBuf::from(&path);
            fixture.spec.uid = uid;
            match fixture.try_shell("cat ../../../../etc/shadow") {
                Err(error) => assert!(format!("{error}").contains("outside"), "{path}: {error}"),
                // `..` is resolved on the text.
                Ok(_) => assert!(path.contains(".."), "{path}"),
            }
            fixture.renew_upper();
        }
    }
    symlink("/proc/self/fd", fixture.base().join("fds")).unwrap();
    fixture.spec.cwd = "/fds/7".into();
    assert!(matches!(step_error(fixture.try_shell("true")), StepError::OutsideRoot { .. }));
    canary.check();
}

#[test]
fn m14_m17_working_directories_are_made_inside() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let canary = Canary::new(&fixture);
    symlink(&canary.path, fixture.base().join("w")).unwrap();
    for (cwd, seen) in [("/../../..", "/"), ("/a/../b", "/b"), ("/deep/er", "/deep/er")] {
        fixture.spec.cwd = cwd.into();
        let outcome = fixture.shell("pwd; stat -c %a,%u .");
        assert_eq!(outcome.made, Vec::<PathBuf>::new());
        assert_eq!(outcome.success().lines().next(), Some(seen));
    }
    fixture.spec.cwd = "/w/new".into();
    let output = fixture.shell("pwd; stat -c %a,%u .").success();
    assert_eq!(output, format!("{}\n755,0\n", canary.path.join("new").display()));
    canary.check();
    fixture.spec.cwd = "relative".into();
    assert!(matches!(step_error(fixture.try_shell("true")), StepError::Invalid { .. }));
}

#[test]
fn m05_mount_targets_in_system_directories_are_refused() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    for target in ["/", "/proc", "/proc/self/attr", "/sys", "/dev", "/dev/shm", "/x/../proc", "/x/.."] {
        let source = MountSource::Tmpfs { size: None, mode: 0o1777, executable: true };
        fixture.spec.mounts = vec![Mount { target: target.into(), source }];
        assert!(matches!(step_error(fixture.try_shell("true")), StepError::Invalid { .. }), "{target}");
    }
}

#[test]
fn m08_m09_subpaths_stay_inside_their_source() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let canary = Canary::new(&fixture);
    let cache = fixture.path("cache");
    fs::create_dir_all(cache.join(canary.path.strip_prefix("/").unwrap())).unwrap();
    symlink(&canary.path, cache.join("sel")).unwrap();
    symlink("/proc/self/root", cache.join("root")).unwrap();
    for read_only in [true, false] {
        let source = MountSource::Bind { source: cache.clone(), subpath: "sel".into(), read_only };
        fixture.spec.mounts = vec![Mount { target: "/e".into(), source }];
        let output = fixture.shell("ls /e; cat /e/secret; echo > /e/BREAKOUT; true").success();
        assert!(!output.contains("the secret"), "{output}");
        let source = MountSource::Overlay { lowers: vec![cache.clone()], upper: None, subpath: "sel".into() };
        fixture.spec.mounts = vec![Mount { target: "/e".into(), source }];
        let output = fixture.shell("ls /e; cat /e/secret; echo > /e/BREAKOUT; true").success();
        assert!(!output.contains("the secret"), "{output}");
    }
    for subpath in ["root", "../canary/x", "missing"] {
        let source = MountSource::Bind { source: cache.clone(), subpath: subpath.into(), read_only: true };
        fixture.spec.mounts = vec![Mount { target: "/e".into(), source }];
        assert!(matches!(step_error(fixture.try_shell("true")), StepError::System { .. }), "{subpath}");
    }
    canary.check();
}

#[test]
fn m18_five_hundred_layers() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    for count in [130, 499, 500, 501] {
        let base = fixture.base();
        let mut lowers = vec![base];
        for number in 1..count {
            let layer = fixture.path(&format!("layer{number}"));
            fs::create_dir_all(&layer).unwrap();
            fs::write(layer.join(format!("file{number}")), "").unwrap();
            lowers.push(layer);
        }
        fixture.spec.root.lowers = lowers;
        fixture.renew_upper();
        let result = fixture.try_shell("ls / | grep -c ^file; cat /etc/hosts >/dev/null");
        if count == 501 {
            assert_eq!(step_error(result), StepError::TooManyLayers { count: 501, limit: 500 });
        } else {
            assert_eq!(result.unwrap().success(), format!("{}\n", count - 1));
        }
    }
}

#[test]
fn m19_no_mount_reaches_the_host() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let (reader, writer) = std::io::pipe().unwrap();
    fixture.spec.args = ["/bin/sh", "-c", "mount -t tmpfs x /tmp; sleep 5"].map(str::to_owned).into();
    let running = fixture.start(writer.into()).unwrap();
    assert_eq!(mounts(), before);
    running.kill();
    running.wait().unwrap();
    assert_eq!(mounts(), before);
    drop(reader);
}

#[test]
fn odd_paths_work() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    for name in ["with:colon", "with,comma", "back\\slash", "sp ace", &"long".repeat(60)] {
        let layer = fixture.layer(name);
        fs::write(layer.join("marker"), name).unwrap();
        let (upper, work) = (fixture.path(&format!("{name}-u")), fixture.path(&format!("{name}-w")));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        fixture.spec.root.upper = Some(Upper { upper, work });
        assert_eq!(fixture.shell("cat /marker").success(), name);
    }
    let RootFs { lowers, .. } = &fixture.spec.root;
    assert_eq!(lowers.len(), 6);
    fixture.spec.resolv_conf = ResolvConf::Host;
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(fixture.shell("cat /etc/resolv.conf").success(), host);
}

/// The way of kernels before 6.5, in a helper of its own.
#[test]
fn layers_by_name() {
    let Some(mut fixture) = Fixture::new() else {
        return;
    };
    for number in 1..500 {
        let layer = fixture.layer(&format!("layer{number}"));
        fs::write(layer.join(format!("file{number}")), "").unwrap();
    }
    let source = MountSource::Overlay { lowers: vec![fixture.base()], upper: None, subpath: "bin".into() };
    fixture.spec.mounts = vec![Mount { target: "/part".into(), source }];
    let script = "ls / | grep -c ^file; ls /part/busybox; echo x > /new; mknod /n c 1 3; (head -c1 /n) 2>&1";
    fixture.spec.args = ["/bin/sh", "-c", script].map(str::to_owned).into();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let pid = sys::fork(|| {
        FORCE_NAMES.store(true, Ordering::Relaxed);
        let helper = Helper::fork().unwrap();
        let (stdout, stderr) = (writer.try_clone().unwrap(), writer.try_clone().unwrap());
        let running = helper.spawn(&fixture.spec, stdout.into(), stderr.into());
        match running {
            Ok(running) => drop(running.wait()),
            Err(error) => drop(rustix::io::write(&writer, format!("{error:?}").as_bytes())),
        }
        0
    })
    .unwrap();
    drop(writer);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
    assert_eq!(output, "499\n/part/busybox\nhead: /n: Permission denied\n");
    assert_eq!(fs::read_to_string(fixture.upper().join("new")).unwrap(), "x\n");
}
