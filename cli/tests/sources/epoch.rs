//! `SOURCE_DATE_EPOCH` by the name of a source.

use super::Scene;
use super::repository::Daemon;
use super::repository::Repository;
use super::server::Page;
use super::server::Server;
use super::tar;
use crate::support::run;

/// When the image says it was made.
fn made(scene: &Scene, dockerfile: &str, arguments: &[&str]) -> String {
    scene.write("context/Dockerfile", dockerfile);
    let mut command = scene.store.bld();
    command.args(["build", "-t", "dated"]).args(arguments).arg(scene.context());
    run(&mut command).succeeded();
    let shown = run(scene.store.bld().args(["inspect", "dated"])).succeeded().stdout;
    let (_, created) = shown.split_once("\"Created\": \"").unwrap_or_else(|| panic!("{shown}"));
    created.split('"').next().unwrap().to_owned()
}

#[test]
fn the_time_of_a_named_context_or_a_stage() {
    let (scene, server) = (Scene::new(), Server::start());
    let repository = Repository::create(scene.path("git/x.git"));
    let commit = repository.commit(&[("f", "of git")]);
    let daemon = Daemon::start(&scene.path("git"));
    let url = daemon.url("x.git");
    server.page("/dated", Page::new("x").with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    server.page("/undated", Page::new("x"));
    let file = scene.write("tree/f", "of tar");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
    server.page("/c.tgz", Page::new(tar(&scene.path("tree"), "-z")));

    let plain = "ARG SOURCE_DATE_EPOCH=sources\nFROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL time=$SOURCE_DATE_EPOCH\n";
    for (context, time) in [
        (url.clone(), "2001-09-09T01:46:40Z"),
        (server.url("/dated"), "1994-11-06T08:49:37Z"),
        (server.url("/c.tgz"), "2009-02-13T23:31:30Z"),
    ] {
        assert_eq!(made(&scene, plain, &["--build-context", &format!("sources={context}")]), time);
        let stage = format!("FROM scratch AS Sources\nADD {context} /\nFROM scratch\n");
        assert_eq!(made(&scene, &stage, &["--build-arg", "SOURCE_DATE_EPOCH=sources"]), time);
    }
    // With a checksum, and a name made of arguments.
    let stage = format!(
        "ARG SOURCE_DATE_EPOCH=sources\nFROM scratch AS sources\nARG NAME=x\n\
         ADD --checksum={commit} {} /\nFROM scratch\nCOPY --from=sources f /\n",
        url.replace("x.git", "$NAME.git")
    );
    assert_eq!(made(&scene, &stage, &[]), "2001-09-09T01:46:40Z");
    // What has no time sets none, and a directory has none.
    for context in [server.url("/undated"), scene.path("tree").display().to_string()] {
        let now = made(&scene, plain, &["--build-context", &format!("sources={context}")]);
        assert!(now.as_str() > "2020", "{now}");
    }
    server.asked();
    // A look at it asks nobody.
    let looked = run(scene.store.bld().args(["build", "--check"]).arg(scene.context()));
    assert_eq!((looked.code, server.asked().len()), (Some(1), 0), "{}", looked.failure());
    assert!(looked.stdout.contains("InvalidEpoch"), "{}", looked.failure());
    let stage = format!("ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nADD {} /\nFROM scratch\n", server.url("/gone"));
    let failed = scene.build(&stage);
    assert!(failed.code == Some(1) && failed.stderr.contains("404"), "{}", failed.failure());
}
