//! ADD of URLs.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::Scene;
use super::server::Page;
use super::server::Server;
use super::tar;
use crate::support::progress::Progress;
use crate::support::run;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

#[test]
fn a_file_has_the_mode_and_time_of_its_url() {
    let (scene, server) = (Scene::new(), Server::start());
    server.page("/dir/a%20b.txt?x=1", Page::new("hello\n").with("Last-Modified", DATE));
    server.page("/", Page::new("root\n"));
    let (named, unnamed) = (server.url("/dir/a%20b.txt?x=1"), server.url("/"));
    scene
        .build(&format!(
            "FROM scratch\nADD {named} /in/\nADD {named} /as\nADD --chmod=644 --chown=7:8 {unnamed} /in/\n"
        ))
        .succeeded();
    assert_eq!(scene.read("in/a b.txt"), "hello\n");
    assert_eq!(scene.read("as"), "hello\n");
    let status = std::fs::metadata(scene.out("as")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime()), (0o600, 784_111_777));
    assert_eq!(scene.read("in/__unnamed__"), "root\n");
    let status = std::fs::metadata(scene.out("in/__unnamed__")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.mtime()), (0o644, 315_532_800));
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let (scene, server) = (Scene::new(), Server::start());
    for page in [Page::new("one").with("ETag", "\"1\""), Page::new("one").with("Last-Modified", DATE)] {
        server.page("/a", page);
        let dockerfile = format!("FROM scratch\nADD {} /\n", server.url("/a"));
        server.asked();
        let first = scene.build(&dockerfile).succeeded();
        assert_eq!(server.statuses(), [200], "{}", first.failure());
        let second = scene.build(&dockerfile).succeeded();
        assert_eq!(server.statuses(), [304]);
        assert!(Progress::parse(&second.stderr).executed().is_empty(), "{}", second.failure());
        assert_eq!(second.stdout, first.stdout);
    }
    // The ETag is new, the bytes are not: nothing has to be done again but the download.
    server.page("/a", Page::new("one").with("ETag", "\"2\""));
    scene.build(&format!("FROM scratch\nADD {} /\n", server.url("/a"))).succeeded();
    assert_eq!(server.statuses(), [200]);
    server.page("/a", Page::new("two").with("ETag", "\"3\""));
    let changed = scene.build(&format!("FROM scratch\nADD {} /\n", server.url("/a"))).succeeded();
    assert_eq!(server.statuses(), [200]);
    assert_eq!(Progress::parse(&changed.stderr).executed().len(), 2, "{}", changed.failure());
    assert_eq!(scene.read("a"), "two");
}

#[test]
fn a_server_that_sends_the_same_etag_again_is_not_listened_to() {
    let (scene, server) = (Scene::new(), Server::start());
    let page = Page { forgetful: true, ..Page::new("one").with("ETag", "\"1\"") };
    server.page("/a", page.clone());
    let dockerfile = format!("FROM scratch\nADD {} /\n", server.url("/a"));
    scene.build(&dockerfile).succeeded();
    server.page("/a", Page { body: b"other".to_vec(), ..page });
    let second = scene.build(&dockerfile).succeeded();
    assert!(Progress::parse(&second.stderr).executed().is_empty(), "{}", second.failure());
}

#[test]
fn a_checksum_is_verified_and_then_nobody_is_asked_again() {
    let (scene, server) = (Scene::new(), Server::start());
    server.page("/a", Page::new("hello\n"));
    let wrong = HELLO.replace("58", "59");
    let failed = scene.build(&format!("FROM scratch\nADD --checksum={wrong} {} /\n", server.url("/a")));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    assert!(failed.stderr.contains("wrong checksum"), "{}", failed.failure());
    let blobs = std::fs::read_dir(scene.store.root().join("oci/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 0, "a body with the wrong checksum leaves nothing");
    server.asked();
    let right = format!("FROM scratch\nARG SUM={HELLO}\nADD --checksum=$SUM {} /\n", server.url("/a"));
    scene.build(&right).succeeded();
    assert_eq!(server.statuses(), [200]);
    scene.build(&right).succeeded();
    assert_eq!(server.statuses(), [0_u16; 0]);
}

#[test]
fn archives_are_unpacked_only_when_asked() {
    let (scene, server) = (Scene::new(), Server::start());
    scene.write("files/x/y", "z");
    server.page("/a.tgz", Page::new(tar(&scene.path("files"), "-z")));
    let url = server.url("/a.tgz");
    scene.build(&format!("FROM scratch\nADD {url} /as/\nADD --unpack=true {url} /in/\n")).succeeded();
    assert!(scene.out("as/a.tgz").is_file());
    assert_eq!(scene.read("in/x/y"), "z");
}

#[test]
fn redirections_are_followed_to_http_only() {
    let (scene, server, other) = (Scene::new(), Server::start(), Server::start());
    other.page("/real", Page::new("there"));
    server.page("/moved", Page::redirect(other.url("/real")));
    server.page("/file", Page::redirect("file:///etc/passwd"));
    server.page("/circle", Page::redirect("/circle"));
    scene.build(&format!("FROM scratch\nADD {} /dir/\n", server.url("/moved"))).succeeded();
    assert_eq!(scene.read("dir/moved"), "there");
    for (path, reason) in [("/file", "neither http nor https"), ("/circle", "more than 10 times"), ("/missing", "404")]
    {
        let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url(path)));
        assert_eq!(failed.code, Some(1), "{}", failed.failure());
        assert!(failed.stderr.contains(reason), "{}", failed.failure());
    }
}

#[test]
fn what_breaks_is_tried_again_and_then_given_up() {
    let (scene, server) = (Scene::new(), Server::start());
    server.page("/short", Page { missing: 5, ..Page::new("hello") });
    server.page("/busy", Page { failures: 2, ..Page::new("at last") });
    server.page("/drip", Page { drip: Some(Duration::from_millis(20)), ..Page::new("slow but sure") });
    server.page("/unsized", Page { unsized_body: true, ..Page::new("no length") });
    let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/short")));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    assert_eq!(server.statuses(), [200, 200, 200]);
    let urls = ["/busy", "/drip", "/unsized"].map(|path| server.url(path)).join(" ");
    scene.build(&format!("FROM scratch\nADD {urls} /\n")).succeeded();
    assert_eq!(
        (scene.read("busy"), scene.read("drip"), scene.read("unsized")),
        ("at last".into(), "slow but sure".into(), "no length".into())
    );
}

#[test]
fn a_proxy_is_asked_instead() {
    let (scene, server, proxy) = (Scene::new(), Server::start(), Server::start());
    server.page("/a", Page::new("direct"));
    proxy.page("/a", Page::new("by proxy"));
    scene.write(
        "context/Dockerfile",
        format!("FROM scratch\nADD http://host.test/a {} /\n", server.url("/a")).replace("/a http", "/a /b/\nADD http"),
    );
    let mut command = scene.command();
    command.args(["--build-arg", &format!("HTTP_PROXY={}", proxy.url(""))]);
    command.args(["--build-arg", "no_proxy=127.0.0.1"]).arg(scene.context());
    run(&mut command).succeeded();
    assert_eq!((scene.read("b/a"), scene.read("a")), ("by proxy".to_owned(), "direct".to_owned()));
    let asked = proxy.asked();
    assert_eq!(asked.iter().map(|asked| asked.target.as_str()).collect::<Vec<_>>(), ["http://host.test/a"]);
    let mut command = scene.command();
    command.env("http_proxy", proxy.url("")).env("NO_PROXY", "127.0.0.1").arg(scene.context());
    run(&mut command).succeeded();
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn credentials_go_to_their_host_and_nowhere_else() {
    let (scene, server, other) = (Scene::new(), Server::start(), Server::start());
    other.page("/real", Page::new("there"));
    server.page("/token", Page { authorization: Some("Bearer t0p-s3cret".to_owned()), ..Page::new("a") });
    server.page("/header", Page { authorization: Some("Custom t0p-s3cret".to_owned()), ..Page::new("b") });
    server.page("/user", Page { authorization: Some("Basic dXNlcjpwNHNzdzByZA==".to_owned()), ..Page::new("c") });
    server.page("/away", Page::redirect(other.url("/real")));
    let secret = |name: &str, value: &str| {
        let file = scene.write(&format!("secrets/{name}"), value);
        format!("id={name}_{},src={}", server.host(), file.display())
    };
    for (path, flag) in [
        ("/token", secret("HTTP_AUTH_TOKEN", "t0p-s3cret\n")),
        ("/header", secret("HTTP_AUTH_HEADER", "Custom t0p-s3cret")),
        ("/away", secret("HTTP_AUTH_TOKEN", "t0p-s3cret")),
    ] {
        scene.write("context/Dockerfile", format!("FROM scratch\nADD {} /x\n", server.url(path)));
        run(scene.command().args(["--secret", &flag]).arg(scene.context())).succeeded();
    }
    assert!(other.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
    let refused = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/token")));
    assert!(refused.stderr.contains("401") && refused.stderr.contains("HTTP_AUTH_TOKEN_"), "{}", refused.failure());

    // A password in the URL is sent, and is not to be found anywhere afterwards.
    let url = server.url("/user").replace("http://", "http://user:p4ssw0rd@");
    let built = scene.build(&format!("FROM scratch\nADD {url} /x\nADD {url}?access_token=s3cr3t-t0k3n /y\n"));
    assert_eq!(built.code, Some(1), "{}", built.failure());
    let fine = scene.build(&format!("FROM scratch\nADD {url} /x\n")).succeeded();
    run(scene.store.bld().args(["build", "-t", "app"]).arg(scene.context())).succeeded();
    let history = run(scene.store.bld().args(["history", "--no-trunc", "app"])).succeeded();
    for needle in ["p4ssw0rd", "s3cr3t-t0k3n", "t0p-s3cret", "dXNlcjpwNHNzdzByZA"] {
        for run in [&built, &fine, &history, &refused] {
            assert!(!run.stdout.contains(needle) && !run.stderr.contains(needle), "{}", run.failure());
        }
        assert!(!scene.store_holds(needle), "{needle} is in the store");
    }
}
