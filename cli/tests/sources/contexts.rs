//! Every kind of build context.

use std::os::unix::fs::symlink;

use super::Scene;
use super::repository::Daemon;
use super::repository::Repository;
use super::run_with;
use super::server::Page;
use super::server::Server;
use super::tar;
use crate::support::progress::Progress;
use crate::support::run;

const DOCKERFILE: &str = "FROM scratch\nCOPY . /all/\n";

#[test]
fn standard_input_is_an_archive_of_any_kind() {
    let scene = Scene::new();
    scene.write("tree/Dockerfile", DOCKERFILE);
    scene.write("tree/sub/other.Dockerfile", "FROM scratch\nCOPY f /other\n");
    scene.write("tree/f", "file");
    // Ignore files are for directories people work in.
    scene.write("tree/.dockerignore", "f\n");
    for compression in ["", "-z", "-j", "-J", "--zstd"] {
        let built = run_with(scene.command().arg("-"), &tar(&scene.path("tree"), compression)).succeeded();
        assert_eq!(scene.read("all/f"), "file", "{compression}: {}", built.failure());
    }
    run_with(scene.command().args(["-f", "sub/other.Dockerfile", "-"]), &tar(&scene.path("tree"), "")).succeeded();
    assert_eq!(scene.read("other"), "file");
    assert_eq!(std::fs::read_dir(scene.store.root().join("tmp")).unwrap().count(), 0, "what was unpacked is gone");
}

#[test]
fn standard_input_is_a_dockerfile() {
    let scene = Scene::new();
    run_with(scene.command().arg("-"), b"FROM scratch\nCOPY <<EOF /made\nhere\nEOF\n").succeeded();
    assert_eq!(scene.read("made"), "here\n");
    let failed = run_with(scene.command().arg("-"), b"FROM scratch\nCOPY f /\n");
    assert!(failed.code == Some(1) && failed.stderr.contains("`f` not found"), "{}", failed.failure());
    // With files of a directory.
    scene.write("context/f", "file");
    run_with(scene.command().args(["-f", "-"]).arg(scene.context()), b"FROM scratch\nCOPY f /\n").succeeded();
    assert_eq!(scene.read("f"), "file");
    for arguments in [["-f", "-", "-"], ["-f", "x", "-"]] {
        let failed = run_with(scene.command().args(arguments), b"FROM scratch\n");
        assert!(matches!(failed.code, Some(1 | 2)), "{}", failed.failure());
    }
    // Looking at it is not building it.
    let looked =
        run_with(scene.store.bld().args(["build", "--call", "targets", "-"]), b"FROM scratch AS only\n").succeeded();
    assert!(looked.stdout.contains("only"), "{}", looked.failure());
    let failed = run_with(scene.command().arg("-"), b"");
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
}

#[test]
fn a_url_is_an_archive_or_a_dockerfile() {
    let (scene, server) = (Scene::new(), Server::start());
    scene.write("tree/Dockerfile", "ARG SOURCE_DATE_EPOCH\nFROM scratch\nCOPY f /\n");
    scene.write("tree/f", "file");
    let page = Page::new(tar(&scene.path("tree"), "-z")).with("ETag", "\"x\"");
    server.page("/c.tgz", page.with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let build = || {
        run(scene.command().args(["--build-arg", "SOURCE_DATE_EPOCH=context"]).arg(server.url("/c.tgz"))).succeeded()
    };
    let first = build();
    assert_eq!(scene.read("f"), "file");
    let second = build();
    assert_eq!(server.statuses(), [200, 304]);
    assert!(Progress::parse(&second.stderr).executed().is_empty(), "{}", second.failure());
    assert_eq!(first.stdout, second.stdout);
    let status = std::fs::metadata(scene.out("f")).unwrap();
    assert!(std::os::unix::fs::MetadataExt::mtime(&status) <= 784_111_777, "no file is newer than its context");

    server.page("/Dockerfile", Page::new("FROM scratch\nCOPY <<EOF /made\nhere\nEOF\n"));
    run(scene.command().arg(server.url("/Dockerfile"))).succeeded();
    assert_eq!(scene.read("made"), "here\n");
    // A Dockerfile from elsewhere with the files of a directory.
    server.page("/other", Page::new("FROM scratch\nCOPY f /\n"));
    run(scene.command().arg("-f").arg(server.url("/other")).arg(scene.path("tree"))).succeeded();
    assert_eq!(scene.read("f"), "file");
    let failed = run(scene.command().arg(server.url("/missing")));
    assert!(failed.code == Some(1) && failed.stderr.contains("404"), "{}", failed.failure());
}

#[test]
fn a_repository_is_a_context() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "f\n"),
        ("f", "one"),
        ("sub/Dockerfile", "FROM scratch\nCOPY g /sub\n"),
        ("sub/g", "g"),
    ]);
    let daemon = Daemon::start(&scene.path("git"));
    let url = daemon.url("x.git");
    let first = run(scene.command().arg(&url)).succeeded();
    assert_eq!(scene.read("all/f"), "one");
    assert!(!scene.out("all/.git").exists());
    let second = run(scene.command().arg(&url)).succeeded();
    assert!(Progress::parse(&second.stderr).executed().is_empty(), "{}", second.failure());
    assert_eq!(first.stdout, second.stdout);
    run(scene.command().args(["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]).arg(&url)).succeeded();
    assert!(scene.out("all/.git/HEAD").exists());
    for spelling in [format!("{url}#main:sub"), format!("{url}?branch=main&subdir=sub")] {
        run(scene.command().arg(spelling)).succeeded();
        assert_eq!(scene.read("sub"), "g");
    }
    run(scene.command().args(["-f", "sub/Dockerfile"]).arg(format!("{url}#main"))).code.unwrap();
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=context", "-t", "dated"];
    run(scene.store.bld().arg("build").args(epoch).arg(&url)).succeeded();
    let shown = run(scene.store.bld().args(["inspect", "dated"])).succeeded();
    assert!(shown.stdout.contains("2001-09-09T01:46:40Z"), "{}", shown.failure());
}

#[test]
fn named_contexts_come_from_anywhere() {
    let (scene, server) = (Scene::new(), Server::start());
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "of git")]);
    let daemon = Daemon::start(&scene.path("git"));
    scene.write("tree/f", "of tar");
    server.page("/c.tar.xz", Page::new(tar(&scene.path("tree"), "-J")).with("ETag", "\"x\""));
    server.page("/plain.txt", Page::new("plain").with("ETag", "\"y\""));
    scene.write("context/Dockerfile", "FROM tree\nCOPY --from=repo f /g\nCOPY --from=file plain.txt /\n");
    let build = || {
        let mut command = scene.command();
        for context in [
            format!("tree={}", server.url("/c.tar.xz")),
            format!("repo={}", daemon.url("x.git")),
            format!("file={}", server.url("/plain.txt")),
        ] {
            command.args(["--build-context", &context]);
        }
        run(command.arg(scene.context())).succeeded()
    };
    build();
    let texts = ["f", "g", "plain.txt"].map(|name| scene.read(name));
    assert_eq!(texts, ["of tar", "of git", "plain"]);
    let again = build();
    assert!(Progress::parse(&again.stderr).executed().is_empty(), "{}", again.failure());
}

#[test]
fn a_dockerfile_outside_of_the_context_has_its_own_ignore_file() {
    let scene = Scene::new();
    scene.write("elsewhere/app.Dockerfile", DOCKERFILE);
    scene.write("elsewhere/app.Dockerfile.dockerignore", "hidden\n");
    scene.write("context/.dockerignore", "f\n");
    scene.write("context/f", "file");
    scene.write("context/hidden", "no");
    run(scene.command().arg("-f").arg(scene.path("elsewhere/app.Dockerfile")).arg(scene.context())).succeeded();
    assert!(scene.out("all/f").exists() && !scene.out("all/hidden").exists());
    // A link in a context that was fetched does not lead out of it.
    scene.write("tree/f", "");
    symlink(scene.path("elsewhere/app.Dockerfile"), scene.path("tree/Dockerfile")).unwrap();
    let failed = run_with(scene.command().arg("-"), &tar(&scene.path("tree"), ""));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
}
