//! ADD of URLs.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::Scene;
use super::server::Page;
use super::server::Server;
use super::tar;
use crate::support::host::eventually;
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
fn a_download_that_is_cut_goes_on_where_it_was() {
    let (scene, server) = (Scene::new(), Server::start());
    let body = (0..100_000).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
    let page = |cuts: &[usize]| Page { cuts: cuts.iter().copied().collect(), ..Page::new(body.as_str()) };
    let cuts = [100_000, 1, 200_000, 3, 50_000];
    server.page("/etag", page(&cuts).with("ETag", "\"1\""));
    server.page("/date", page(&cuts).with("Last-Modified", DATE));
    for path in ["/etag", "/date"] {
        scene.build(&format!("FROM scratch\nADD {} /x\n", server.url(path))).succeeded();
        assert_eq!(scene.read("x"), body);
        let asked = server.asked();
        assert_eq!(asked.iter().map(|asked| asked.status).collect::<Vec<_>>(), [200, 206, 206, 206, 206, 206]);
        let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.headers.get("range")).collect();
        assert_eq!(ranges, ["bytes=100000-", "bytes=100001-", "bytes=300001-", "bytes=300004-", "bytes=350004-"]);
    }
}

#[test]
fn a_download_that_cannot_go_on_begins_again() {
    let (scene, server) = (Scene::new(), Server::start());
    let cut = |cuts: &[usize]| Page { cuts: cuts.iter().copied().collect(), ..Page::new("a body in two parts") };
    server.page("/weak", cut(&[5]).with("ETag", "W/\"1\""));
    server.page("/nothing", cut(&[5]));
    server.page("/whole", Page { no_ranges: true, ..cut(&[5]).with("ETag", "\"1\"") });
    server.page("/wrong", Page { wrong_range: true, ..cut(&[5]).with("ETag", "\"1\"") });
    for (path, statuses) in
        [("/weak", &[200, 200][..]), ("/nothing", &[200, 200]), ("/whole", &[200, 200]), ("/wrong", &[200, 206, 200])]
    {
        scene.build(&format!("FROM scratch\nADD {} /x\n", server.url(path))).succeeded();
        assert_eq!((scene.read("x").as_str(), server.statuses().as_slice()), ("a body in two parts", statuses));
    }
    // The file becomes another one between two tries: what came of the first is of no use.
    server.page("/changes", cut(&[5, 5, 5, 5]).with("ETag", "\"1\""));
    let (changing, url) = (server.clone(), server.url("/changes"));
    let changer = std::thread::spawn(move || {
        while changing.count("/changes") < 2 {
            std::thread::sleep(Duration::from_millis(2));
        }
        changing.page("/changes", Page::new("something else").with("ETag", "\"2\""));
    });
    scene.build(&format!("FROM scratch\nADD {url} /x\n")).succeeded();
    changer.join().unwrap();
    assert_eq!(scene.read("x"), "something else");
    // A checksum is of the whole, however many parts it came in.
    server.page("/sum", Page { cuts: [2, 2].into(), ..Page::new("hello\n") }.with("ETag", "\"1\""));
    scene.build(&format!("FROM scratch\nADD --checksum={HELLO} {} /x\n", server.url("/sum"))).succeeded();
    // It is not tried for ever.
    server.page("/drops", Page { cuts: vec![0; 100].into(), ..Page::new("never") }.with("ETag", "\"1\""));
    server.asked();
    let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/drops")));
    assert_eq!((failed.code, server.statuses().as_slice()), (Some(1), &[200, 200, 200][..]), "{}", failed.failure());
}

#[test]
fn a_server_says_when_to_come_back() {
    let (scene, server) = (Scene::new(), Server::start());
    server.page("/soon", Page { failures: 1, ..Page::new("soon") }.with("Retry-After", "1"));
    server.page("/later", Page { failures: 1, ..Page::new("later") }.with("Retry-After", "3600"));
    let start = std::time::Instant::now();
    scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/soon"))).succeeded();
    assert!(start.elapsed() >= Duration::from_secs(1));
    server.asked();
    let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/later")));
    assert_eq!((failed.code, server.statuses().as_slice()), (Some(1), &[503][..]), "{}", failed.failure());
}

#[test]
fn https_needs_a_certificate_that_is_believed() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("site")).unwrap();
    scene.write("site/a.txt", "by https");
    let site = scene.path("site");
    let openssl = |arguments: &str| {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(&site)).succeeded();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("req -x509 {key} -subj /CN=test-ca -keyout ca.key -out ca.pem"));
    openssl(&format!("req {key} -subj /CN=localhost -keyout site.key -out site.csr"));
    scene.write("site/names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    openssl("x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out site.pem");
    let port = super::repository::free_port();
    let accept = format!("127.0.0.1:{port}");
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-WWW", "-cert", "site.pem", "-key", "site.key", "-accept", &accept])
        .current_dir(&site)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(eventually(Duration::from_secs(20), || std::net::TcpStream::connect(&accept).is_ok()));
    scene.write("context/Dockerfile", format!("FROM scratch\nADD https://{accept}/a.txt /\n"));
    let build = |bundle: Option<&str>| {
        let mut command = scene.command();
        command.arg(scene.context());
        if let Some(bundle) = bundle {
            command.env("SSL_CERT_FILE", site.join(bundle));
        }
        run(&mut command)
    };
    // Its maker is unknown; then known; then the certificate is for another name.
    let unknown = build(None);
    assert_eq!(unknown.code, Some(1), "{}", unknown.failure());
    assert!(unknown.stderr.contains("certificate") || unknown.stderr.contains("issuer"), "{}", unknown.failure());
    assert!(unknown.stderr.contains("SSL_CERT_FILE"), "{}", unknown.failure());
    build(Some("ca.pem")).succeeded();
    assert_eq!(scene.read("a.txt"), "by https");
    scene.write("context/Dockerfile", format!("FROM scratch\nADD https://127.0.0.2:{port}/a.txt /\n"));
    let elsewhere = build(Some("ca.pem"));
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.failure());
    server.kill().unwrap();
    server.wait().unwrap();
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
