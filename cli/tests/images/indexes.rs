//! `index create` and `index inspect`.

use super::Scene;
use super::bash;
use super::json;
use super::refused;

#[test]
fn images_built_one_by_one_are_joined() {
    let scene = Scene::new();
    let text = "FROM scratch\nCOPY Dockerfile /\n";
    let build = |platform: &str, name: &str| scene.build(text, &["--platform", platform, "-t", name]);
    let (amd, arm) = (build("linux/amd64", "amd:1"), build("linux/arm64", "arm:1"));
    build("linux/arm/v7", "old:1");
    scene.say(&["save", "old:1", "-o", "old.tar"]);
    scene.say(&["save", "arm:1", "-o", "layout", "--format", "oci-dir"]);
    let digest = scene.say(&["index", "create", "multi:1", "amd:1", "layout", "old.tar", "--annotation", "a=b"]);
    let raw = scene.say(&["index", "inspect", "--raw", "multi:1"]);
    let index = json(&raw);
    assert_eq!((&index["annotations"]["a"], index["manifests"].as_array().map(Vec::len)), (&"b".into(), Some(3)));
    assert_eq!(
        (&index["manifests"][0]["digest"], &index["manifests"][1]["digest"]),
        (&amd.as_str().into(), &arm.as_str().into())
    );
    assert_eq!(index["manifests"][2]["platform"]["variant"], "v7");
    let shown = scene.say(&["index", "inspect", "multi:1"]);
    for wanted in
        ["Name:      docker.io/library/multi:1", digest.trim(), "linux/arm/v7", "linux/arm64", &arm, "Annotation a: b"]
    {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    // Every part can be asked for; other tools read the whole.
    assert_eq!(scene.say(&["inspect", "--platform", "linux/arm64", "-f", "{{.Architecture}}", "multi:1"]), "arm64\n");
    scene.say(&["save", "multi:1", "-o", "multi.tar"]);
    bash(scene.work.path(), "skopeo copy -q --all oci-archive:multi.tar:1 oci:copied:1");
    bash(scene.work.path(), "skopeo inspect --override-arch arm64 oci:copied:1 | grep -q '\"arm64\"'");
    // A layout of several platforms is taken with all of them, also where the store has none of it yet.
    let empty = crate::support::Store::empty();
    let create =
        empty.bld().args(["index", "create", "--dry-run", "all:1"]).arg(scene.path("copied")).output().unwrap();
    assert_eq!(json(&String::from_utf8(create.stdout).unwrap())["manifests"].as_array().map(Vec::len), Some(3));
    scene.say(&["save", "--platform", "linux/arm64", "multi:1", "-o", "one.tar"]);
    assert_eq!(scene.say(&["inspect", "-f", "{{.Architecture}}", "one.tar"]), "arm64\n");
    let other = crate::support::Store::empty();
    let load = crate::support::run(other.bld().args(["load", "-i"]).arg(scene.path("multi.tar"))).succeeded();
    assert_eq!(load.stdout, "Loaded image: multi:1\n");

    // A newer image takes the place of the one for its platform.
    let newer = scene.build("FROM scratch\nCOPY Dockerfile /new\n", &["--platform", "linux/arm64", "-t", "newer:1"]);
    scene.say(&["index", "create", "--append", "multi:1", "newer:1"]);
    let index = json(&scene.say(&["index", "inspect", "--raw", "multi:1"]));
    assert_eq!(
        (&index["manifests"][1]["digest"], index["manifests"].as_array().map(Vec::len)),
        (&newer.as_str().into(), Some(3))
    );
    // An index stands for its images.
    scene.say(&["index", "create", "again:1", "multi:1"]);
    assert_eq!(json(&scene.say(&["index", "inspect", "--raw", "again:1"]))["manifests"], index["manifests"]);
    let dry = scene.say(&["index", "create", "--dry-run", "dry:1", "amd:1"]);
    assert_eq!(json(&dry)["manifests"][0]["digest"], amd.as_str());
    refused(&scene.run(&["index", "inspect", "dry:1"]), 1, "dry:1");
    refused(&scene.run(&["index", "create", "x:1", "arm:1", "newer:1"]), 1, "two of the images are for linux/arm64");
    refused(&scene.run(&["index", "create", "x:1", "amd:1", "--annotation", "manifest:a=b"]), 2, "do not change");
    refused(&scene.run(&["index", "create", "x:1"]), 2, "IMAGE");
    assert!(scene.say(&["index", "inspect", "amd:1"]).contains("It is one image and no index."));
}
