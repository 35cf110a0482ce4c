//! How a build writes images: attributes of `--output`, annotations, `--squash`, `--metadata-file`, `--load`.

use serde_json::Value;

use super::Scene;
use super::bash;
use super::json;
use super::refused;
use crate::outputs::Docker;
use crate::outputs::Podman;
use crate::support;
use crate::support::host;

const DOCKERFILE: &str = "FROM busybox:1\nRUN echo hi > /hi\nCOPY Dockerfile /\nCMD [\"cat\", \"/hi\"]\n";

impl Scene {
    /// The manifest of an archive or layout, as skopeo reads it.
    #[track_caller]
    fn manifest(&self, image: &str) -> Value {
        json(&bash(self.work.path(), &format!("skopeo inspect --raw {image}")).stdout)
    }
}

fn types(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect()
}

#[test]
fn layers_are_compressed_as_the_output_says() {
    let scene = Scene::new();
    let outputs = [
        "type=oci,dest=zstd.tar,compression=zstd,compression-level=7",
        "type=oci,dest=forced.tar,compression=zstd,force-compression=true",
        "type=oci,dest=plain,tar=false,compression=uncompressed,force-compression=true",
        "type=oci,dest=docker,tar=false,oci-mediatypes=false",
        "type=docker,dest=gzip.tar,compression=gzip,compression-level=9",
    ];
    let arguments: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).chain(["-t", "app:1"]).collect();
    let digest = scene.build(DOCKERFILE, &arguments);
    assert_eq!(types(&scene.manifest("oci-archive:zstd.tar:1")), ["tar+gzip", "tar+zstd", "tar+zstd"]);
    assert_eq!(types(&scene.manifest("oci-archive:forced.tar:1")), ["tar+zstd"; 3]);
    assert_eq!(types(&scene.manifest("oci:plain:1")), ["tar"; 3]);
    let docker = scene.manifest("oci:docker");
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(types(&docker), ["gzip"; 3]);
    assert_eq!(types(&scene.manifest("oci-archive:gzip.tar:1")), ["tar+gzip"; 3]);
    // What it is made of is the same everywhere, and other tools unpack it.
    bash(scene.work.path(), "umoci unpack --image plain:1 bundle && test \"$(cat bundle/rootfs/hi)\" = hi");
    for archive in ["zstd.tar", "forced.tar", "docker", "gzip.tar"] {
        scene.say(&["diff", "plain", archive]);
    }
    // The one in the store is the ordinary one; again, nothing changes.
    assert_eq!(scene.say(&["images", "--format", "{{.Digest}}", "app"]).trim(), digest);
    let before = bash(scene.work.path(), "sha256sum *.tar").stdout;
    assert_eq!(scene.build(DOCKERFILE, &arguments), digest);
    assert_eq!(bash(scene.work.path(), "sha256sum *.tar").stdout, before);
}

#[test]
fn a_layout_directory_grows() {
    let scene = Scene::new();
    let output = "type=oci,dest=layout,tar=false";
    scene.build(DOCKERFILE, &["-o", output, "-t", "app:one"]);
    let blobs = "ls -i layout/blobs/sha256 | sort";
    let before = bash(scene.work.path(), blobs).stdout;
    scene.build("FROM busybox:1\nLABEL a=b\n", &["-o", output, "-t", "app:two"]);
    let after = bash(scene.work.path(), blobs).stdout;
    // Blobs that were there were not written again.
    assert!(before.lines().all(|line| after.contains(line)), "{before}{after}");
    assert_eq!(types(&scene.manifest("oci:layout:one")).len(), 3);
    assert_eq!(types(&scene.manifest("oci:layout:two")).len(), 1);
    bash(scene.work.path(), "umoci list --layout layout | sort | tr '\\n' ' ' | grep -q '^one two $'");
}

#[test]
fn annotations_names_and_metadata() {
    let scene = Scene::new();
    let output = "type=oci,dest=a.tar,annotation.one=1,annotation-manifest-descriptor.two=2,\"name=x:1,y/z:2\"";
    let files = ["--iidfile", "id", "--metadata-file", "metadata"];
    let arguments = [&["-t", "app:1", "-o", output, "--annotation", "three=3", "--annotation", "three=4"][..], &files];
    let digest = scene.build(DOCKERFILE, &arguments.concat());
    let manifest = scene.manifest("oci-archive:a.tar:2");
    assert_eq!(manifest["annotations"], serde_json::json!({"one": "1", "three": "4"}));
    let index = json(&bash(scene.work.path(), "tar xOf a.tar index.json").stdout);
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/x:1", "docker.io/y/z:2"]);
    assert_eq!(index["manifests"][0]["annotations"]["two"], "2");
    let id = std::fs::read_to_string(scene.path("id")).unwrap();
    assert_eq!(scene.say(&["inspect", "-f", "{{.Id}}", "app:1"]).trim(), id);
    let metadata = json(&std::fs::read_to_string(scene.path("metadata")).unwrap());
    assert_eq!(
        (&metadata["containerimage.digest"], &metadata["containerimage.config.digest"]),
        (&digest.into(), &id.into())
    );
    assert_eq!(metadata["containerimage.descriptor"]["platform"]["os"], "linux");
    assert_eq!(metadata["image.name"], "docker.io/library/app:1,docker.io/library/x:1,docker.io/y/z:2");
    // Of several platforms: the index, what it lists, and each image.
    let text = "FROM scratch\nCOPY Dockerfile /\n";
    let arguments = ["--platform", "linux/amd64,linux/arm64", "-o", "type=oci,dest=multi.tar", "-t", "multi:1"];
    let annotations = [
        "--annotation",
        "index:a=1",
        "--annotation",
        "manifest[linux/arm64]:b=2",
        "--annotation",
        "manifest-descriptor:c=3",
    ];
    scene.build(text, &[&arguments[..], &annotations].concat());
    let index = scene.manifest("oci-archive:multi.tar:1");
    assert_eq!((&index["annotations"]["a"], &index["manifests"][1]["annotations"]["c"]), (&"1".into(), &"3".into()));
    let annotated =
        |platform| scene.say(&["inspect", "--platform", platform, "-f", "{{json .Annotations}}", "multi:1"]);
    assert_eq!((annotated("linux/amd64"), annotated("linux/arm64")), ("{}\n".to_owned(), "{\"b\":\"2\"}\n".to_owned()));
}

#[test]
fn times_end_where_the_output_says() {
    let scene = Scene::new();
    scene.write("Dockerfile", DOCKERFILE);
    let outputs = [
        "type=oci,dest=early.tar,source-date-epoch=1000",
        "type=oci,dest=kept.tar,source-date-epoch=1000,rewrite-timestamp=false",
        "type=tar,dest=root.tar,source-date-epoch=1000",
    ];
    let arguments: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    scene.say(&[&["build", "-q", "-t", "app:1"], &arguments[..], &["."]].concat());
    let created = |archive| scene.say(&["inspect", "-f", "{{.Created}}", archive]);
    assert_eq!(created("early.tar"), "1970-01-01T00:16:40Z\n");
    assert_eq!(created("kept.tar"), created("early.tar"));
    assert_ne!(created("app:1"), created("early.tar"));
    let time = |archive: &str| {
        let copy = format!("skopeo copy -q oci-archive:{archive}.tar:1 oci:{archive}:1");
        bash(
            scene.work.path(),
            &format!("{copy} && umoci unpack --image {archive}:1 {archive}-b && stat -c %Y {archive}-b/rootfs/hi"),
        )
        .stdout
        .trim()
        .parse::<u64>()
        .unwrap()
    };
    assert_eq!(time("early"), 1000);
    assert!(time("kept") > 1_000_000_000);
    bash(scene.work.path(), "mkdir root && tar xf root.tar -C root && test $(stat -c %Y root/hi) = 1000");
    refused(&scene.run(&["build", "-o", "type=oci,dest=x,rewrite-timestamp=true", "."]), 2, "needs a time");
}

#[test]
fn squashed_layers_have_the_same_files() {
    let scene = Scene::new();
    let text = "FROM busybox:1\nCOPY Dockerfile /data/a\nRUN chmod 600 /data/a && rm /bin/ls && mkdir /opaque && echo x > /opaque/x\n\
                RUN rm -r /data /opaque && mkdir /opaque && echo y > /opaque/y && ln /opaque/y /opaque/z && rm -r /var && mkdir /var\n\
                RUN ln -s y /opaque/link && mkfifo /opaque/fifo && chown 3:4 /opaque/link\n";
    scene.build(text, &["-t", "plain:1", "-o", "type=oci,dest=plain.tar"]);
    scene.build(text, &["-t", "squashed:1", "--squash", "-o", "type=oci,dest=squashed.tar"]);
    assert_eq!(types(&scene.manifest("oci-archive:plain.tar:1")).len(), 5);
    assert_eq!(types(&scene.manifest("oci-archive:squashed.tar:1")).len(), 2);
    let compared = scene.run(&["diff", "--format", "json", "plain:1", "squashed:1"]);
    assert_eq!(compared.code, Some(1), "{}", compared.failure());
    let compared = json(&compared.stdout);
    assert_eq!((&compared["files"], &compared["config"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(compared["history"][0]["right"], "squashed 4 layers", "{compared}");
    // Other tools see the same; nothing of what was deleted is in it.
    bash(
        scene.work.path(),
        "for image in plain squashed; do
            skopeo copy -q oci-archive:$image.tar:1 oci:$image:1; umoci unpack --image $image:1 $image-b
            (cd $image-b/rootfs; find . ! -name . -printf '%p %y %m %U:%G %l\\n' | sort) > $image.list
        done; diff plain.list squashed.list; ! grep -q 'data/a' squashed.list; grep -q ./opaque/z squashed.list",
    );
    let again = scene.build(text, &["--squash"]);
    assert_eq!(scene.build(text, &["--squash"]), again);
}

#[test]
fn directories_are_mirrored_and_split() {
    let scene = Scene::new();
    bash(
        scene.work.path(),
        "mkdir -p out/etc/old/deep out/bin && touch out/stale out/etc/old/deep/x && ln -s / out/link",
    );
    scene.build(DOCKERFILE, &["-o", "type=local,dest=out,mode=delete"]);
    bash(
        scene.work.path(),
        "test ! -e out/stale -a ! -e out/etc/old -a ! -L out/link -a -e out/hi -a -e out/bin/sh -a -e /bin/sh",
    );
    scene.build(DOCKERFILE, &["-o", "type=local,dest=split,platform-split=true"]);
    assert!(scene.path("split/linux_amd64/hi").is_file() || scene.path("split/linux_arm64/hi").is_file());
    let outside = tempfile::TempDir::with_prefix("mirror-").unwrap();
    std::fs::write(outside.path().join("precious"), "").unwrap();
    let output = format!("type=local,dest={},mode=delete", outside.path().display());
    refused(&scene.run(&["build", "-o", &output, "."]), 2, "`mode=delete` would remove files");
    refused(&scene.run(&["build", "-o", "type=local,dest=.,mode=delete", "."]), 2, "would remove files");
    std::os::unix::fs::symlink(outside.path(), scene.path("door")).unwrap();
    for through in ["door", "door/", "door/.", "door/./sub"] {
        let output = format!("type=local,dest={through},mode=delete");
        refused(&scene.run(&["build", "-o", &output, "."]), 2, "would remove files");
    }
    assert!(outside.path().join("precious").exists());
    // What is refused would have done harm.
    scene.build(DOCKERFILE, &["-o", "type=local,dest=door,mode=delete", "--allow", "buildx.local.delete"]);
    assert!(!outside.path().join("precious").exists());
    std::fs::write(outside.path().join("precious"), "").unwrap();
    scene.build(DOCKERFILE, &["-o", &output, "--allow", "buildx.local.delete"]);
    assert!(!outside.path().join("precious").exists());
}

#[test]
fn what_cannot_be_written_is_said_before_the_build() {
    let scene = Scene::new();
    for (arguments, wanted) in [
        (&["-o", "type=oci,dest=x,compression=estargz"][..], "compression `estargz` is not supported"),
        (&["-o", "type=oci,dest=x,compression=zstd,oci-mediatypes=false"], "docker's media types know no zstd"),
        (
            &["-o", "type=oci,dest=x,oci-mediatypes=false", "--annotation", "a=b"],
            "docker's media types have no annotations",
        ),
        (&["--annotation", "index:a=b"], "is of an index"),
        (&["--annotation", "manifest[linux/s390x]:a=b"], "which is not built for"),
        (&["--annotation", "a"], "it is not of the form KEY=VALUE"),
        (&["-o", "type=oci,dest=x,wibble=1"], "attribute `wibble` is not supported"),
        (&["-o", "type=oci,dest=x,attestation-inline=true"], "attribute `attestation-inline` is not supported"),
        (&["-o", "type=docker", "--platform", "linux/amd64,linux/arm64"], "images for one platform"),
        (&["--metadata-file", "no/such/directory"], "there is no directory"),
        (&["--provenance=true"], "`--provenance` is not supported"),
        (&["--attest", "type=sbom"], "`--attest` is not supported"),
    ] {
        let run = scene.run(&[&["build"], arguments, &["."]].concat());
        assert!(matches!(run.code, Some(1 | 2)) && run.stderr.contains(wanted), "{arguments:?}: {}", run.failure());
    }
}

#[test]
fn images_are_handed_to_docker_and_podman() {
    if !rustix::process::geteuid().is_root() {
        host::cannot_run("a docker daemon needs root");
        return;
    }
    let scene = Scene::new();
    scene.write("Dockerfile", DOCKERFILE);
    let docker = Docker::start();
    let mut build = scene.store.bld();
    build.args(["build", "--load", "-t", "loaded:1", "."]).env("DOCKER_HOST", docker.host());
    let said = support::run(build.current_dir(scene.work.path())).succeeded();
    assert!(said.stderr.contains("loaded into docker"), "{}", said.failure());
    let id = scene.say(&["inspect", "-f", "{{.Id}}", "loaded:1"]);
    assert_eq!(docker.run(&["inspect", "-f", "{{.Id}}", "loaded:1"]).stdout, id);
    let mut build = scene.store.bld();
    build.args(["build", "-q", "-o", "type=docker,name=other:2", "."]).env("DOCKER_HOST", docker.host());
    support::run(build.current_dir(scene.work.path())).succeeded();
    assert_eq!(docker.run(&["inspect", "-f", "{{.Id}}", "other:2"]).stdout, id);
    // podman, by a wrapper that gives it a storage of its own.
    let podman = Podman::new();
    scene.write("podman", &podman.wrapper());
    bash(scene.work.path(), "mkdir bin && mv podman bin/ && chmod +x bin/podman");
    let path = format!("{}:{}", scene.path("bin").display(), std::env::var("PATH").unwrap());
    let mut build = scene.store.bld();
    build.args(["build", "--load", "-t", "loaded:3", "."]).env("BLD_LOAD", "podman").env("PATH", path);
    let said = support::run(build.current_dir(scene.work.path())).succeeded();
    assert!(said.stderr.contains("loaded into podman"), "{}", said.failure());
    assert_eq!(podman.container("loaded:3", &["cat", "/hi"]), "hi\n");
    // None: it is in the store, and whoever asked for an engine hears of it.
    let said = scene.run(&["build", "--load", "-t", "loaded:4", "."]).succeeded();
    assert!(said.stderr.contains("in bld's store only"), "{}", said.failure());
    refused(
        &scene.run(&["build", "-o", "type=docker", "."]),
        1,
        "neither a docker daemon answers, nor is podman there",
    );
}
