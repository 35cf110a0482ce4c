//! Images into archives and out of them, and archives looked at where they are.

use std::io::BufRead as _;
use std::io::Write as _;
use std::net::TcpListener;

use super::Scene;
use super::bash;
use super::json;
use super::refused;
use crate::outputs::Docker;
use crate::outputs::Podman;
use crate::support::Store;
use crate::support::host;

#[test]
fn what_is_saved_docker_and_podman_load() {
    if !rustix::process::geteuid().is_root() {
        host::cannot_run("a docker daemon needs root");
        return;
    }
    let scene = Scene::new();
    scene.build(
        "FROM busybox:1\nRUN echo hi > /hi\nHEALTHCHECK CMD true\nCMD [\"cat\", \"/hi\"]\n",
        &["-t", "a:1", "-t", "b:2"],
    );
    scene.say(&["save", "a:1", "b:2", "busybox:1", "-o", "saved.tar"]);
    let names = bash(scene.work.path(), "tar xOf saved.tar manifest.json | jq -c 'map(.RepoTags)'").stdout;
    assert_eq!(names, "[[\"a:1\",\"b:2\"],[\"busybox:1\"]]\n");
    let id = scene.say(&["inspect", "-f", "{{.Id}}", "a:1"]);

    let docker = Docker::start();
    let loaded = docker.run(&["load", "-i", scene.path("saved.tar").to_str().unwrap()]).stdout;
    assert_eq!(loaded.lines().count(), 3, "{loaded}");
    assert_eq!(docker.run(&["inspect", "-f", "{{.Id}}", "b:2"]).stdout, id);
    // docker's own archive, of the old kind, and back.
    docker.run(&["save", "-o", scene.path("docker.tar").to_str().unwrap(), "a:1", "busybox:1"]);
    let listed = bash(scene.work.path(), "tar tf docker.tar").stdout;
    assert!(listed.contains("/layer.tar") && !listed.contains("oci-layout"), "{listed}");
    let other = Store::empty();
    let mut load = other.bld();
    let said = crate::support::run(load.args(["load", "-i"]).arg(scene.path("docker.tar"))).succeeded().stdout;
    assert!(said.contains("Loaded image: a:1\n") && said.contains("Loaded image: busybox:1\n"), "{said}");
    let mut inspect = other.bld();
    assert_eq!(crate::support::run(inspect.args(["inspect", "-f", "{{.Id}}", "a:1"])).succeeded().stdout, id);

    let podman = Podman::new();
    scene.say(&["save", "-o", "one.tar", "a:1"]);
    podman.run(&["load", "-q", "-i", scene.path("one.tar").to_str().unwrap()]);
    assert_eq!(podman.container("a:1", &["cat", "/hi"]), "hi\n");
}

#[test]
fn images_of_every_kind_are_read() {
    let scene = Scene::new();
    scene.build("FROM busybox:1\nRUN echo hi > /hi\nRUN true\n", &["-t", "a:1"]);
    let files = |name: &str, store: &Store| {
        let mut diff = store.bld();
        crate::support::run(diff.args(["diff", name]).arg(scene.path("reference.tar"))).succeeded();
    };
    scene.say(&["save", "a:1", "-o", "reference.tar"]);
    bash(
        scene.work.path(),
        "
        skopeo copy -q oci-archive:reference.tar:1 docker-archive:skopeo.tar:a:1
        skopeo copy -q --dest-compress-format zstd --dest-compress oci-archive:reference.tar:1 oci:zstd:1
        skopeo copy -q --format v2s2 oci-archive:reference.tar:1 dir:v2s2
        tar cf zstd.tar -C zstd .
        for tool in gzip bzip2 xz zstd; do $tool -k -c reference.tar > reference.tar.$tool; done
        ",
    );
    // docker's media types in a layout.
    scene.say(&["build", "-q", "-t", "a:1", "-o", "type=oci,dest=docker-types.tar,oci-mediatypes=false", "."]);
    for archive in [
        "skopeo.tar",
        "zstd.tar",
        "docker-types.tar",
        "reference.tar.gzip",
        "reference.tar.bzip2",
        "reference.tar.xz",
        "reference.tar.zstd",
    ] {
        let store = Store::empty();
        crate::support::run(store.bld().args(["load", "-q", "-i"]).arg(scene.path(archive)).arg("x:1")).succeeded();
        files("x:1", &store);
    }
    // An image for one other platform only.
    scene.build(
        "FROM scratch\nCOPY Dockerfile /\n",
        &["--platform", "linux/s390x", "-t", "z:1", "-o", "type=oci,dest=z.tar"],
    );
    let store = Store::empty();
    let load = |arguments: &[&str]| {
        crate::support::run(store.bld().args(["load", "-i"]).arg(scene.path("z.tar")).args(arguments))
    };
    refused(&load(&["--platform", "linux/arm64"]), 1, "is for linux/s390x, not for linux/arm64");
    load(&["--platform", "linux/s390x"]).succeeded();
    let mut inspect = store.bld();
    let said = crate::support::run(inspect.args(["inspect", "-f", "{{.Architecture}}", "z:1"])).succeeded().stdout;
    assert_eq!(said, "s390x\n");
}

#[test]
fn archives_and_layouts_are_looked_at_where_they_are() {
    let scene = Scene::new();
    scene.build("FROM busybox:1\nRUN echo hi > /hi\nCMD [\"cat\"]\n", &["-t", "a:1"]);
    let id = scene.say(&["inspect", "-f", "{{.Id}} {{json .Config}}", "a:1"]);
    scene.say(&["save", "a:1", "-o", "a.tar"]);
    scene.say(&["save", "a:1", "-o", "layout", "--format", "oci-dir"]);
    scene.say(&["save", "busybox:1", "-o", "layout", "--format", "oci-dir"]);
    bash(
        scene.work.path(),
        "gzip -k a.tar && umoci list --layout layout && skopeo inspect oci:layout:docker.io/library/a:1 || skopeo inspect oci:layout:1",
    );
    // Another store, which is not even made.
    let nowhere = scene.path("nowhere");
    let look = |arguments: &[&str]| {
        let mut command = crate::support::bld(&nowhere);
        let home = scene.work.path();
        crate::support::run(command.env("BLD_ROOT", &nowhere).env("HOME", home).args(arguments).current_dir(home))
    };
    for file in ["a.tar", "a.tar.gz"] {
        assert_eq!(look(&["inspect", "-f", "{{.Id}} {{json .Config}}", file]).succeeded().stdout, id, "{file}");
        let history = look(&["history", "--format", "{{.CreatedBy}}", file]).succeeded().stdout;
        assert!(history.starts_with("CMD [\"cat\"]\nRUN /bin/sh -c echo hi"), "{history}");
    }
    let both = json(&look(&["inspect", "layout"]).succeeded().stdout);
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    refused(&look(&["history", "layout"]), 1, "holds several images");
    assert!(!nowhere.exists());
    scene.write("text", "not an archive");
    refused(&look(&["inspect", "text"]), 1, "is not a tar archive");
    refused(&scene.run(&["save", "a:1", "nothing:1", "-o", "x.tar"]), 1, "nothing:1");
    refused(&scene.run(&["save", "a:1", "--format", "oci-dir"]), 2, "a directory cannot go to standard output");
    assert!(!scene.path("x.tar").exists());
}

#[test]
fn a_root_file_system_comes_from_a_url() {
    let scene = Scene::new();
    bash(scene.work.path(), "mkdir -p root/etc && echo hi > root/etc/hi && tar czf root.tar.gz -C root .");
    let url = serve(std::fs::read(scene.path("root.tar.gz")).unwrap());
    scene.say(&[
        "import",
        "-c",
        "CMD [\"x\"]",
        "-c",
        "HEALTHCHECK CMD true",
        "-m",
        "from afar",
        &format!("{url}/root.tar.gz"),
        "far:1",
    ]);
    let said = scene.say(&["inspect", "-f", "{{.Comment}} {{.Config.Cmd}} {{.Config.Healthcheck.Test}}", "far:1"]);
    assert_eq!(said, "from afar [x] [CMD-SHELL true]\n");
    refused(&scene.run(&["import", &format!("{url}/missing"), "far:2"]), 1, "404");
}

/// A server that has one file, `/root.tar.gz`; answers where it is.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let (status, body) =
                if head.starts_with("GET /root.tar.gz ") { ("200 OK", &body[..]) } else { ("404 Not Found", &b""[..]) };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
            stream.write_all(body).unwrap();
        }
    });
    url
}
