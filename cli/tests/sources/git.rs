//! ADD of git repositories.

use std::os::unix::fs::MetadataExt as _;

use super::Scene;
use super::repository::Daemon;
use super::repository::Repository;
use super::repository::git;
use crate::support::progress::Progress;

#[test]
fn every_spelling_of_a_reference() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    let one = repository.commit(&[("f", "one"), ("sub/dir/g", "g1")]);
    repository.git(&["tag", "-a", "-m", "tag", "v1"]);
    repository.git(&["checkout", "-q", "-b", "side/branch"]);
    repository.commit(&[("f", "side")]);
    repository.git(&["checkout", "-q", "main"]);
    repository.commit(&[("f", "two")]);
    let daemon = Daemon::start(&scene.path("git"));
    let url = daemon.url("x.git");
    let prefix = &one[..10];
    for (suffix, file, content) in [
        ("", "f", "two"),
        ("#main", "f", "two"),
        ("#v1", "f", "one"),
        ("#refs/tags/v1", "f", "one"),
        ("#side/branch", "f", "side"),
        (&format!("#{one}"), "f", "one"),
        ("#v1:sub/dir", "g", "g1"),
        ("#:sub", "dir/g", "g1"),
        ("?tag=v1&subdir=sub/dir", "g", "g1"),
        ("?branch=side/branch", "f", "side"),
        ("?ref=main&submodules=false&mtime=checkout", "f", "two"),
        (&format!("?ref=v1&checksum={prefix}"), "f", "one"),
        (&format!("?ref=v1&commit={one}"), "f", "one"),
    ] {
        let built = scene.build(&format!("FROM scratch\nADD {url}{suffix} /x\n")).succeeded();
        assert_eq!(scene.read(&format!("x/{file}")), content, "{suffix}: {}", built.failure());
        assert!(!scene.out("x/.git").exists());
    }
    for (suffix, reason) in [
        ("#nowhere", "no reference `nowhere`"),
        ("?ref=main&checksum=0123456789", "wrong commit"),
        ("#main:missing", "no directory `missing`"),
        ("#main:f", "no directory `f`"),
    ] {
        let failed = scene.build(&format!("FROM scratch\nADD {url}{suffix} /x\n"));
        assert!(failed.code == Some(1) && failed.stderr.contains(reason), "{}", failed.failure());
    }
}

#[test]
fn a_commit_may_be_abbreviated() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    let one = repository.commit(&[("f", "one")]);
    let two = repository.commit(&[("f", "two")]);
    let tip = repository.commit(&[("f", "three")]);
    // A name comes before a commit that begins so.
    repository.git(&["branch", &one[..9], &two]);
    repository.git(&["tag", "-a", "-m", "tag", "v3", &tip]);
    let daemon = Daemon::start(&scene.path("git"));
    let url = daemon.url("x.git");
    let upper = two[..12].to_uppercase();
    for (reference, content) in
        [(&tip[..7], "three"), (&one[..7], "one"), (&two[..39], "two"), (&upper, "two"), (&one[..9], "two")]
    {
        scene.build(&format!("FROM scratch\nADD {url}#{reference} /x\n")).succeeded();
        assert_eq!(scene.read("x/f"), content, "{reference}");
        // Once more in a store that has nothing of it.
        let fresh = Scene::new();
        fresh.build(&format!("FROM scratch\nADD {url}#{reference} /x\n")).succeeded();
        assert_eq!(fresh.read("x/f"), content, "{reference}");
    }
    for reference in ["0000000", &tip[..6]] {
        let failed = scene.build(&format!("FROM scratch\nADD {url}#{reference} /x\n"));
        assert!(failed.code == Some(1) && failed.stderr.contains("no reference"), "{}", failed.failure());
    }
}

#[test]
fn a_commit_is_known_again_until_the_branch_moves() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "one"), ("run", "#!/bin/sh\n")]);
    run_mode(&repository, "run");
    let daemon = Daemon::start(&scene.path("git"));
    let dockerfile = format!("FROM scratch\nADD --keep-git-dir=true {0} /k\nADD {0} /x\n", daemon.url("x.git"));
    let first = scene.build(&dockerfile).succeeded();
    let status = |name: &str| {
        let status = std::fs::symlink_metadata(scene.out(name)).unwrap();
        (status.mode() & 0o7777, status.mtime())
    };
    assert_eq!((status("x/f"), status("x/run")), ((0o644, 1_000_000_000), (0o755, 1_000_000_000)));
    assert_eq!(git(&scene.out("k"), &["-c", "safe.directory=*", "rev-parse", "HEAD"]).trim(), repository.head());
    assert_eq!(git(&scene.out("k"), &["-c", "safe.directory=*", "status", "--porcelain"]), "");
    assert!(!scene.out("k/.git/FETCH_HEAD").exists());
    let second = scene.build(&dockerfile).succeeded();
    assert_eq!(second.stdout, first.stdout);
    assert!(Progress::parse(&second.stderr).executed().is_empty(), "{}", second.failure());
    repository.commit(&[("f", "two")]);
    scene.build(&dockerfile).succeeded();
    assert_eq!(scene.read("x/f"), "two");
}

fn run_mode(repository: &Repository, name: &str) {
    repository.git(&["update-index", "--chmod=+x", name]);
    repository.git(&["commit", "-q", "-m", "mode"]);
    repository.git(&["checkout", "-q", "-f", "HEAD"]);
}

#[test]
fn submodules_come_along_unless_they_are_not_wanted() {
    let scene = Scene::new();
    let inner = Repository::create(scene.path("git/inner.git"));
    inner.commit(&[("i", "inner")]);
    let daemon = Daemon::start(&scene.path("git"));
    let outer = Repository::create(scene.path("git/outer.git"));
    outer.commit(&[("o", "outer")]);
    outer.git(&["submodule", "--quiet", "add", &daemon.url("inner.git"), "mod"]);
    // A relative address is looked for beside the outer repository.
    outer.git(&["config", "-f", ".gitmodules", "submodule.mod.url", "../inner.git"]);
    outer.commit(&[]);
    let url = daemon.url("outer.git");
    scene.build(&format!("FROM scratch\nADD {url} /with\nADD {url}?submodules=false /without\n")).succeeded();
    assert_eq!((scene.read("with/o"), scene.read("with/mod/i")), ("outer".to_owned(), "inner".to_owned()));
    assert!(!scene.out("with/mod/.git").exists());
    assert!(scene.out("without/o").exists() && !scene.out("without/mod/i").exists());
}
