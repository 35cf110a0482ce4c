//! What the image says, and each flag that says otherwise.

use super::Site;
use super::refused;
use crate::support;

#[test]
fn the_image_says_what_runs() {
    let site = Site::new();
    site.build(
        "app",
        "RUN echo me:x:1234:1234::/home/me:/bin/sh >> /etc/passwd\nENV A=1 B=2\nWORKDIR /srv\nUSER me\nENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"command\"]\n",
    );
    assert_eq!(site.output(&["app"]), "entry command\n");
    assert_eq!(site.output(&["--rm", "app", "-n", "--", "--rm", "x"]), "entry -n -- --rm x\n");
    assert_eq!(site.output(&["--entrypoint", "pwd", "app"]), "/srv\n");
    assert_eq!(site.output(&["--entrypoint", "[\"echo\", \"-n\"]", "app", "x"]), "x");
    assert_eq!(site.output(&["--entrypoint", "", "app", "id", "-un"]), "me\n");
    assert_eq!(
        site.output(&[
            "--entrypoint",
            "sh",
            "app",
            "-c",
            "echo $A$B $HOME $USER; id -u; cat /proc/self/status | grep CapEff"
        ]),
        "12 /home/me\n1234\nCapEff:\t0000000000000000\n"
    );
    refused(&site.run(&["--entrypoint", "", "app"]), 125, "there is nothing to run\nhint: name one behind the image");
    site.check_nothing_is_left();
}

#[test]
fn environment() {
    let site = Site::new();
    site.build("app", "ENV KEPT=image GONE=image CHANGED=image\n");
    site.write("file", "# comment\nFROM_FILE=a b\nCHANGED=file\nOUTSIDE\nUNSET\n");
    let mut command = site.command(&["--env-file", "file", "-e", "CHANGED=flag", "-eNEW=x=y", "-e", "GONE"]);
    command.args(["-e", "PASSED", "app", "env"]).env("PASSED", "on").env("OUTSIDE", "out").env("NOT_PASSED", "secret");
    let printed = support::run(&mut command).succeeded().stdout;
    for line in ["KEPT=image", "FROM_FILE=a b", "CHANGED=flag", "OUTSIDE=out", "NEW=x=y", "PASSED=on", "HOME=/root"] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing:\n{printed}");
    }
    for name in ["GONE", "UNSET", "NOT_PASSED", "BLD_ROOT", "TERM"] {
        assert!(!printed.contains(&format!("{name}=")), "{name}:\n{printed}");
    }
    site.write("bad", "A=1\nA B=1\n");
    refused(&site.run(&["--env-file", "bad", "app", "env"]), 125, "bad:2: `A B` is not the name of a variable");
    refused(&site.run(&["--env-file", "none", "app", "env"]), 125, "cannot read `--env-file none`");
    refused(&site.run(&["-e", "=x", "app", "env"]), 2, "`--env =x` has no name");
}

#[test]
fn users_and_directories() {
    let site = Site::new();
    assert_eq!(site.shell(&["-u", "1234:567"], "id -u; id -g; id -G"), "1234\n567\n567\n");
    assert_eq!(site.shell(&["-u", "nobody"], "id -un"), "nobody\n");
    refused(&site.run(&["-u", "whoever", "busybox:1", "id"]), 125, "no user `whoever` in the image's /etc/passwd");
    assert_eq!(site.shell(&["-w", "/not/there"], "pwd; touch x && ls"), "/not/there\nx\n");
    refused(&site.run(&["-w", "here", "busybox:1", "pwd"]), 2, "`--workdir here` is not an absolute path");
}

#[test]
fn names() {
    let site = Site::new();
    assert_eq!(
        site.shell(&["--hostname", "box.test"], "hostname; cat /etc/hostname; echo $HOSTNAME"),
        "box.test\n".repeat(3)
    );
    assert_eq!(site.shell(&["-h", "short"], "hostname"), "short\n");
    assert_eq!(site.shell(&["--name", "box_1"], "hostname"), "box_1\n");
    let random = site.shell(&[], "hostname");
    assert!(random.len() == 13 && random.trim().bytes().all(|byte| byte.is_ascii_hexdigit()), "{random}");
    let hosts =
        site.shell(&["--add-host", "db:10.1.2.3", "--add-host=six=[fd00::1]", "--name", "me"], "cat /etc/hosts");
    assert!(
        hosts.contains("10.1.2.3\tdb\n") && hosts.contains("fd00::1\tsix\n") && hosts.ends_with("\tme\n"),
        "{hosts}"
    );
    refused(&site.run(&["--name", "a b", "busybox:1", "true"]), 2, "`--name a b`: a name is letters");
    refused(&site.run(&["--hostname", "a/b", "busybox:1", "true"]), 2, "`a/b` is not a host name");
    refused(&site.run(&["--add-host", "db", "busybox:1", "true"]), 2, "is not of the form NAME:IP");
}

#[test]
fn networks() {
    let site = Site::new();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned();
    let script = "readlink /proc/self/ns/net; ls /sys/class/net 2>/dev/null | xargs; hostname";
    let private = site.shell(&[], script);
    assert!(!private.contains(&own) && private.contains("tap0"), "{private}");
    assert_eq!(site.shell(&["--network", "private"], "cat /etc/resolv.conf | head -n 1"), "nameserver 10.0.2.3\n");
    let none = site.shell(&["--net=none"], script);
    assert!(!none.contains(&own) && !none.contains("tap0"), "{none}");
    let host = site.shell(&["--network=host"], script);
    assert!(host.contains(&own), "{host}");
    assert!(host.trim().ends_with(rustix::system::uname().nodename().to_str().unwrap()), "{host}");
    refused(
        &site.run(&["--network", "mynet", "busybox:1", "true"]),
        2,
        "`--network mynet` is not supported: there are no networks",
    );
    refused(&site.run(&["--network", "bridge", "busybox:1", "true"]), 2, "hint: leave it out");
    refused(&site.run(&["--network", "none", "-p", "80", "busybox:1", "true"]), 2, "ports cannot be published");
}

#[test]
fn privileges() {
    let site = Site::new();
    let capabilities = |flags: &[&str]| site.shell(flags, "grep CapEff /proc/self/status | cut -f 2").trim().to_owned();
    assert_eq!(capabilities(&[]), "00000000a80425fb");
    assert_eq!(capabilities(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(capabilities(&["--cap-drop", "all", "--cap-add", "CAP_CHOWN"]), "0000000000000001");
    assert_eq!(capabilities(&["--cap-add=NET_ADMIN"]), "00000000a80435fb");
    assert_eq!(capabilities(&["--cap-drop=chown,kill"]), "00000000a80425da");
    // More capabilities are no more system calls.
    refused(
        &site.run(&["--cap-add=SYS_ADMIN", "busybox:1", "mount", "-t", "tmpfs", "x", "/tmp"]),
        1,
        "permission denied",
    );
    refused(&site.run(&["--cap-add=SYS_WHAT", "busybox:1", "true"]), 2, "`--cap-add SYS_WHAT` is not a capability");
    let privileges = "grep NoNewPrivs /proc/self/status";
    assert_eq!(site.shell(&[], privileges), "NoNewPrivs:\t0\n");
    assert_eq!(site.shell(&["--security-opt", "no-new-privileges"], privileges), "NoNewPrivs:\t1\n");
    refused(
        &site.run(&["--security-opt", "seccomp=unconfined", "busybox:1", "true"]),
        2,
        "the sandbox is always the same",
    );
}

#[test]
fn input() {
    use std::io::Write as _;
    use std::process::Stdio;
    let site = Site::new();
    let cat = |words: &[&str], input: &[u8]| -> Vec<u8> {
        let mut command = site.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    // Every byte, and more of them than a pipe holds.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number ^ (number >> 8)).to_le_bytes()[0]).collect();
    assert!(cat(&["-i", "busybox:1", "cat"], &bytes) == bytes);
    assert_eq!(cat(&["busybox:1", "cat"], b"not passed on"), b"");
    // Who reads no more of it does not hang.
    assert_eq!(cat(&["-i", "busybox:1", "head", "-c", "3"], &bytes), &bytes[..3]);
    // The streams are the process's own, to open again as well.
    let both = site.run(&["-u", "nobody", "busybox:1", "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]);
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
}

/// Whoever reads the output goes away: the process is told, and bld ends with it.
#[test]
fn closed_output() {
    use std::process::Stdio;
    let site = Site::new();
    let mut child = site.command(&["busybox:1", "yes"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(crate::support::host::eventually(super::PATIENCE, || child.try_wait().unwrap().is_some()));
    site.check_nothing_is_left();
}

#[test]
fn images_and_platforms() {
    let site = Site::new();
    refused(&site.run(&["nosuch", "true"]), 125, "image `nosuch` is not in the local store");
    refused(&site.run(&["--pull", "never", "nosuch", "true"]), 125, "image `nosuch` is not in the local store");
    assert_eq!(site.output(&["--pull=missing", "--platform", "linux/amd64", "busybox:1", "echo", "x"]), "x\n");
    refused(
        &site.run(&["--platform", "linux/s390x", "busybox:1", "true"]),
        125,
        "is for linux/amd64, not for linux/s390x",
    );
    refused(&site.run(&["--platform", "what", "busybox:1", "true"]), 2, "`what` is not a platform");
    // By its ID as well.
    let id = support::run(site.store.bld().args(["images", "-q"])).succeeded().stdout;
    assert_eq!(site.output(&[id.trim(), "echo", "x"]), "x\n");
    let mut elsewhere = support::bld(&site.directory.path().join("nowhere"));
    refused(&support::run(elsewhere.args(["run", "busybox:1"])), 125, "image `busybox:1` is not in the local store");
}

#[test]
fn what_bld_has_not_is_refused_by_name() {
    let site = Site::new();
    for (flag, wanted) in [
        ("-d", "`-d` is not supported: bld runs images in the foreground only\nhint: load the image into podman"),
        ("--detach", "`--detach` is not supported: bld runs images in the foreground only"),
        ("-itd", "`-d` is not supported"),
        (
            "--privileged",
            "`--privileged` is not supported: the process would be root on this machine\nhint: `--cap-add",
        ),
        ("--init", "`--init` is not supported: the command itself is the first process"),
        ("--restart=always", "`--restart` is not supported"),
        ("--link=db", "hint: `--add-host NAME:IP` adds a name"),
        ("--mount=type=bind", "hint: write `-v PATH:PATH[:ro]`"),
        ("--device=/dev/kvm", "`--device` is not supported"),
        ("--pids-limit=3", "the limits of a run are `--memory` and `--cpus`"),
        ("--rm=false", "`--rm=false` is not supported: nothing of a run is kept"),
        ("--hostnam", "hint: did you mean `--hostname`?"),
        ("--stop-signal=WHAT", "`--stop-signal WHAT` is not a signal"),
        ("--wibble", "hint: `bld run --help` lists the flags"),
    ] {
        refused(&site.run(&[flag, "busybox:1", "true"]), 2, wanted);
    }
    refused(&site.run(&[]), 2, "IMAGE");
    refused(&site.run(&["-it", "busybox:1", "sh"]), 2, "`-i -t` needs a terminal, and standard input is none");
}

#[test]
fn help_tells_the_exit_codes() {
    let site = Site::new();
    let help = site.run(&["--help"]).succeeded().stdout;
    for wanted in
        ["bld run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]...", "--publish-all", "125 if bld failed", "--rm is accepted"]
    {
        assert!(help.contains(wanted), "{wanted:?} is missing:\n{help}");
    }
}
