//! What a failed step left.

use std::process::Stdio;
use std::time::Duration;

use super::Site;
use crate::support::host;

const BROKEN: &str = "FROM busybox:1\n\
    RUN echo ann:x:1007:7::/home/ann:/bin/sh >> /etc/passwd && mkdir /work && chown 1007 /work\n\
    ENV COLOUR=green\n\
    USER ann\n\
    WORKDIR /work\n\
    RUN echo half > result && rm -r /work/none; exit 9\n\
    RUN echo never\n";

#[test]
fn a_shell_sees_what_the_step_saw() {
    let site = Site::new();
    let failed = site.fails(BROKEN);
    assert!(failed.stderr.contains("hint: `bld shell` opens a shell in what the step left\n"), "{}", failed.stderr);
    let shell = site.fed(&["shell"], "id -un; pwd; cat result; echo $COLOUR; hostname; exit 4\n");
    assert_eq!(shell.code, Some(4), "{}", shell.failure());
    assert_eq!(shell.stdout, "ann\n/work\nhalf\ngreen\nbuildkitsandbox\n");
    let note = "note: [4/5] RUN echo half > result && rm -r /work/none; exit 9 failed: these are the files it left\n";
    assert_eq!(shell.stderr, note);
    // Nothing that is done there stays.
    assert_eq!(site.output(&["exec", "failed", "--", "sh", "-c", "echo more >> result; cat result"]), "half\nmore\n");
    assert_eq!(site.output(&["exec", "failed", "--", "cat", "result"]), "half\n");
    assert_eq!(site.output(&["exec", "4", "--before", "--", "ls", "-A", "/work"]), "");
    assert_eq!(site.output(&["exec", "0:4", "--", "ls"]), "result\n");
    // Flags stand in for what the step had.
    let words =
        ["exec", "-u", "root", "-w", "/", "-e", "COLOUR=red", "failed", "--", "sh", "-c", "id -un; pwd; echo $COLOUR"];
    assert_eq!(site.output(&words), "root\n/\nred\n");
    // The same record, whoever asks for it by name.
    let id = site.last_build();
    assert_eq!(site.output(&["exec", "--build", &id, "failed", "--", "cat", "result"]), "half\n");
    site.check_nothing_is_left();
}

#[test]
fn the_environment_is_the_steps_and_no_more() {
    let site = Site::new();
    site.fails("FROM busybox:1\nARG GIVEN=arg\nENV A=1\nRUN --network=none env | sort > /env; ls /sys/class/net > /net; exit 1\n");
    let inside = site.output(&["exec", "failed", "--", "sh", "-c", "env | sort; echo; ls /sys/class/net"]);
    let step = site.output(&["exec", "failed", "--", "sh", "-c", "cat /env; echo; cat /net"]);
    assert_eq!(inside, step);
    assert!(step.contains("GIVEN=arg\n"), "{step}");
    // The store has it, and nobody gets it with a record.
    let shown = site.output(&["builds", "show", "--format", "json"]);
    assert!(shown.contains("\"steps\"") && !shown.contains("\"exec\""), "{shown}");
}

#[test]
fn exit_codes_signals_and_input_are_the_commands() {
    let site = Site::new();
    site.fails("FROM busybox:1\nRUN exit 1\n");
    assert_eq!(site.bld(&["exec", "failed", "--", "sh", "-c", "exit 42"]).code, Some(42));
    assert_eq!(site.bld(&["exec", "failed", "--", "/no/such"]).code, Some(127));
    assert_eq!(site.bld(&["exec", "failed", "--", "/etc/passwd"]).code, Some(126));
    assert_eq!(site.bld(&["exec", "7", "--", "true"]).code, Some(125));
    assert_eq!(site.fed(&["exec", "failed", "--", "wc", "-c"], "12345").stdout, "5\n");
    let missing = site.bld(&["shell", "--shell", "/bin/fish"]);
    assert_eq!(missing.code, Some(127), "{}", missing.failure());
    // Ctrl-C.
    let words = [
        "exec",
        "failed",
        "--",
        "sh",
        "-c",
        "trap 'echo stopped; exit 5' INT; echo ready; while :; do sleep 0.05; done",
    ];
    let mut command = site.command(&words);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    host::signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("stopped\n"));
    site.check_nothing_is_left();
}

#[test]
fn the_next_build_takes_it_away() {
    let site = Site::new();
    site.build("FROM busybox:1\nRUN echo base > /base\n", &[]).succeeded();
    let before = site.layers();
    site.fails("FROM busybox:1\nRUN echo base > /base\nRUN echo left > /left; exit 1\n");
    assert_eq!(site.layers(), before + 1);
    let id = site.last_build();
    // Whoever makes room for others leaves it alone.
    for _ in 0..2 {
        site.bld(&["rmi", "nothing:1"]);
        assert_eq!(site.output(&["exec", "failed", "--", "cat", "/left"]), "left\n");
    }
    // A Dockerfile that cannot be read begins nothing.
    assert_eq!(site.build("FROM busybox:1\nRUNN x\n", &[]).code, Some(1));
    assert_eq!(site.layers(), before + 1);
    site.build("FROM busybox:1\nRUN echo base > /base\n", &[]).succeeded();
    assert_eq!(site.layers(), before);
    let gone = site.bld(&["shell"]);
    assert_eq!(gone.code, Some(125), "{}", gone.failure());
    assert!(gone.stderr.starts_with("error: no step of the last build failed\nhint: name a step"), "{}", gone.stderr);
    // The build that failed is still on record: there its beginning is.
    let earlier = site.bld(&["exec", "--build", &id, "failed", "--", "ls", "/base"]);
    assert_eq!(earlier.stdout, "/base\n", "{}", earlier.failure());
    assert!(earlier.stderr.contains("note: nothing is kept of [3/3] RUN"), "{}", earlier.stderr);
}

#[test]
fn pruning_takes_it_away() {
    for flags in [&["prune"][..], &["prune", "--all"]] {
        let site = Site::new();
        let before = site.layers();
        site.fails("FROM busybox:1\nRUN echo left > /left; exit 1\n");
        assert_eq!(site.layers(), before + 1);
        site.bld(flags).succeeded();
        assert!(site.layers() <= before, "{}", site.layers());
        assert_ne!(site.bld(&["exec", "failed", "--", "cat", "/left"]).code, Some(0));
    }
}

#[test]
fn a_shell_keeps_it_while_somebody_builds() {
    let site = Site::new();
    site.fails("FROM busybox:1\nRUN echo left > /left; exit 1\n");
    let mut command = site.command(&["exec", "failed", "--", "sh", "-c", "echo ready; read x; cat /left"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let root = site.store.root();
    assert!(host::eventually(Duration::from_secs(20), || host::processes(root).len() > 1));
    std::thread::sleep(Duration::from_millis(300));
    site.build("FROM busybox:1\nRUN true\n", &[]).succeeded();
    site.bld(&["prune"]).succeeded();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\nleft\n");
    let with_it = site.layers();
    site.build("FROM busybox:1\nRUN true\n", &[]).succeeded();
    assert_eq!(site.layers(), with_it - 1);
}

/// Killed while it runs, while it keeps, and after: the next build finds nothing to trip over and leaves nothing.
#[test]
fn a_sigkill_leaves_nothing_for_ever() {
    let site = Site::new();
    site.build("FROM busybox:1\nRUN true\n", &[]).succeeded();
    let clean = site.layers();
    let lines = "FROM busybox:1\nRUN true\nRUN for i in $(seq 300); do echo $i > /f$i; done; exit 1\n";
    site.write("Dockerfile", lines);
    for delay in (0..12).map(|step| 40 + step * 15) {
        let mut child = site.command(&["build", "."]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(site.layers() <= clean + 1, "{}", site.layers());
    }
    site.build("FROM busybox:1\nRUN true\n", &[]).succeeded();
    // A directory whose row was never written goes with the garbage.
    site.bld(&["prune"]).succeeded();
    assert_eq!(site.layers(), clean);
    assert_eq!(host::names(&site.store.root().join("tmp")), [""; 0]);
}

#[test]
fn a_step_with_a_secret_in_its_files_is_not_kept() {
    let site = Site::new();
    site.write("token", "correct-horse-battery\n");
    let build = |command: &str| {
        let lines = format!("FROM busybox:1\nRUN --mount=type=secret,id=token {command}; exit 1\n");
        site.build(&lines, &["--secret", "id=token,src=token"])
    };
    let layers = site.layers();
    let leaked = build("cp /run/secrets/token /leaked");
    assert_eq!(leaked.code, Some(1));
    assert!(
        leaked.stderr.contains("note: nothing is kept of what the step left: the secret `token` is in it"),
        "{}",
        leaked.stderr
    );
    assert!(!leaked.stderr.contains("bld shell"), "{}", leaked.stderr);
    assert_eq!(site.layers(), layers);
    assert!(!holds(site.store.root(), "correct-horse-battery"), "the store has the secret");
    // Without it the files are kept, and the secret is not there.
    let harmless = build("wc -c < /run/secrets/token > /size");
    assert!(harmless.stderr.contains("hint: `bld shell`"), "{}", harmless.stderr);
    let inside = site.bld(&["exec", "failed", "--", "sh", "-c", "cat /size; ls -A /run/secrets 2>&1"]).stdout;
    assert!(inside.starts_with("22\n") && !inside.contains("token"), "{inside}");
    assert!(!holds(site.store.root(), "correct-horse-battery"), "the store has the secret");
    // The search would have found it.
    site.write("canary", "correct-horse-battery");
    assert!(holds(site.directory.path(), "correct-horse-battery"));
}

/// Whether a file in or below a directory has these bytes.
fn holds(directory: &std::path::Path, wanted: &str) -> bool {
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(status) = std::fs::symlink_metadata(&path) else { continue };
        if status.is_dir() {
            open.extend(std::fs::read_dir(&path).into_iter().flatten().map(|entry| entry.unwrap().path()));
        } else if status.is_file() {
            let text = std::fs::read(&path).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(wanted) {
                return true;
            }
        }
    }
    false
}

#[test]
fn what_the_shell_lacks_is_said() {
    let site = Site::new();
    let lines = "FROM busybox:1\n\
        RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch echo x > /cache/x; exit 1\n";
    let failed = site.build(lines, &["--build-arg", "HTTP_PROXY=http://ann:hidden@proxy:1"]);
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    let done = site.bld(&["exec", "failed", "--", "sh", "-c", "ls /cache /scratch; echo \"[$HTTP_PROXY]\""]);
    assert!(done.stdout.ends_with("[]\n"), "{}", done.failure());
    for note in [
        "note: RUN --mount=type=cache,target=/cache is not there\n",
        "note: RUN --mount=type=tmpfs,target=/scratch is not there\n",
        "note: HTTP_PROXY is not set: `-e HTTP_PROXY` passes it on\n",
    ] {
        assert!(done.stderr.contains(note), "{}", done.stderr);
    }
    assert!(!holds(site.store.root(), "ann:hidden"), "the store has a password");
    let given = site.bld(&["exec", "-e", "HTTP_PROXY=x", "failed", "--", "sh", "-c", "echo $HTTP_PROXY"]);
    assert!(given.stdout == "x\n" && !given.stderr.contains("HTTP_PROXY"), "{}", given.failure());
}

#[test]
fn a_step_that_was_stopped_keeps_nothing() {
    let site = Site::new();
    let lines = "FROM busybox:1 AS slow\nRUN echo x > /x; sleep 100\n\
        FROM busybox:1 AS quick\nRUN sleep 0.5; echo y > /y; exit 1\n\
        FROM busybox:1\nCOPY --from=slow /x /\nCOPY --from=quick /y /\n";
    let failed = site.build(lines, &["--jobs", "4"]);
    assert!(failed.stderr.contains("CANCELED"), "{}", failed.failure());
    assert_eq!(site.output(&["exec", "failed", "--", "cat", "/y"]), "y\n");
    let stopped = site.bld(&["exec", "slow:2", "--", "true"]);
    assert!(stopped.stderr.contains("error: the build did not get to the end of [slow 2/2]"), "{}", stopped.stderr);
    // Ctrl-C is no failure either.
    site.write("Dockerfile", "FROM busybox:1\nRUN echo z > /z; sleep 100\n");
    let before = site.layers();
    let child = site.command(&["build", "."]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    host::signal(child.id(), "INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(site.layers(), before - 1, "what was kept before is gone, and nothing came");
}
