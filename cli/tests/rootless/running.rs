//! `bld run` as an ordinary user.

use super::as_root;
use super::refused;
use super::user::FIRST_SUBORDINATE;
use super::user::User;
use crate::support::Base;

/// What works for every user.
fn runs(user: &User, identity: &str) {
    user.import(Base::Busybox);
    user.write("data/file", "of the host\n");
    User::own(&user.home().join("data"));
    let bld = |words: &[&str]| user.run_with_tunnel(&[&["./bld", "--root", "store"], words].concat());
    let script = "id -u; cat /d/file; echo new > /d/new; grep -c tap0 /proc/net/dev; cat /etc/hostname; exit 3";
    let run = bld(&["run", "-v", "./data:/d", "-v", "/own", "--name", "box", "busybox:1", "sh", "-c", script]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), "0\nof the host\n1\nbox\n"), "{identity}: {}", run.failure());
    assert_eq!(std::fs::read_to_string(user.home().join("data/new")).unwrap(), "new\n");
    let terminal =
        bld(&["run", "-t", "--read-only", "--tmpfs", "/t", "busybox:1", "sh", "-c", "tty; touch /x || touch /t/x"]);
    assert!(
        terminal.code == Some(0) && terminal.stdout.contains("/dev/pts/0\r\n"),
        "{identity}: {}",
        terminal.failure()
    );
    refused(&bld(&["run", "-v", "./data:/d:ro", "busybox:1", "touch", "/d/x"]), "Read-only file system");
    // A server that is reached from outside.
    let served = user.run_with_tunnel(&[
        "sh",
        "-ec",
        "bld() { exec ./bld --root store \"$@\"; }
         mkdir -p www; echo page > www/index.html
         bld run -p 127.0.0.1::80 -v ./www:/www:ro busybox:1 httpd -f -p 80 -h /www 2> said &
         run=$!
         for _ in $(seq 100); do grep -q ' -> ' said && break; sleep 0.1; done
         place=$(sed -n 's/.* -> //p' said)
         for _ in $(seq 50); do curl -s \"http://$place/\" && break; sleep 0.1; done
         kill -TERM $run; code=0; wait $run || code=$?; echo $code",
    ]);
    assert_eq!(served.stdout, "page\n143\n", "{identity}: {}", served.failure());
    let missing = user.bld(&["run", "busybox:1", "nosuch"]);
    assert_eq!(missing.code, Some(127), "{identity}: {}", missing.failure());
    // Nothing is left that the user could not delete.
    let left = user.run(&["sh", "-c", "ls store/tmp; rm -rf store"]).succeeded();
    assert_eq!(left.stdout, "", "{identity}");
}

#[test]
fn with_subordinate_ids() {
    if !as_root() {
        return;
    }
    let user = User::new(true);
    runs(&user, "subordinate ids");
    user.import(Base::Busybox);
    let script = "id -u; grep Uid: /proc/self/status; touch /d/mine";
    user.run(&["sh", "-c", "mkdir shared; chmod 777 shared"]).succeeded();
    let other = user.bld(&["run", "-u", "1000", "-v", "./shared:/d", "busybox:1", "sh", "-c", script]).succeeded();
    assert!(other.stdout.starts_with("1000\n"), "{}", other.stdout);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(user.home().join("shared/mine")).unwrap());
    assert_eq!(owner, FIRST_SUBORDINATE + 999);
}

#[test]
fn with_one_id() {
    if !as_root() {
        return;
    }
    let user = User::new(false);
    runs(&user, "one id");
    user.import(Base::Busybox);
    let other = user.bld(&["run", "-u", "1000", "busybox:1", "id", "-u"]).succeeded();
    assert_eq!(other.stdout, "0\n");
    assert!(
        other.stderr.contains("note: there is one user id only: the process runs as root, not as 1000"),
        "{}",
        other.stderr
    );
    // No cgroup may be made: said, not passed over.
    let limited = user.bld(&["run", "-m", "64m", "busybox:1", "true"]);
    assert_eq!(limited.code, Some(125), "{}", limited.failure());
    assert!(limited.stderr.contains("hint: leave `--memory` and `--cpus` out"), "{}", limited.stderr);
}
