//! What a failed step left, as an ordinary user.

use super::as_root;
use super::user::User;
use crate::support::Base;

/// What works for every user.
fn looks(user: &User, identity: &str) {
    user.import(Base::Busybox);
    let lines = "FROM busybox:1\nWORKDIR /work\nRUN mkdir d && echo half > d/result && chmod 600 d/result; exit 1\n";
    user.write("context/Dockerfile", lines);
    User::own(&user.home().join("context"));
    let failed = user.run(&["./bld", "--root", "store", "build", "context", "--collect", "0:/work/d=out"]);
    assert_eq!(failed.code, Some(1), "{identity}: {}", failed.failure());
    assert!(failed.stderr.contains("hint: `bld shell`"), "{identity}: {}", failed.stderr);
    let inside = user.bld(&["exec", "failed", "--", "sh", "-c", "id -u; cat d/result; rm d/result; exit 3"]);
    assert_eq!((inside.code, inside.stdout.as_str()), (Some(3), "0\nhalf\n"), "{identity}: {}", inside.failure());
    user.bld(&["cp", "failed:/work/d", "copied"]).succeeded();
    // The user's own, to read and to delete.
    let script = "cat out/result copied/result; test -O out/result && test -O copied/result && rm -r out copied && \
                  ls store/layers | wc -l; ./bld --root store prune >&2; ls store/layers | wc -l; ls store/tmp";
    let read = user.run(&["sh", "-c", script]).succeeded();
    let lines: Vec<&str> = read.stdout.lines().collect();
    let [one, two, before, after] = lines.as_slice() else { panic!("{identity}: {}", read.failure()) };
    assert_eq!((*one, *two), ("half", "half"), "{identity}");
    let (before, after): (usize, usize) = (before.parse().unwrap(), after.parse().unwrap());
    assert_eq!(before, after + 1, "{identity}");
    user.run(&["sh", "-c", "rm -rf store"]).succeeded();
}

#[test]
fn with_subordinate_ids() {
    if as_root() {
        looks(&User::new(true), "subordinate ids");
    }
}

#[test]
fn with_one_id() {
    if as_root() {
        looks(&User::new(false), "one id");
    }
}
