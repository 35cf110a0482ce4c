//! One image with everything that a layer can hold, as other tools see it.

use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::Podman;
use super::as_root;
use super::bash;
use super::docker::Docker;
use super::json;
use super::listing::Listing;
use super::listing::Look;
use super::listing::differences;
use super::listing::listing;
use super::listing::part;
use super::tool;
use super::unpack_tar;
use crate::support;
use crate::support::Base;
use crate::support::Store;

/// Files that no Dockerfile could make on every host: `tree.tar`.
const MAKE_TREE: &str = r#"
mkdir tree; cd tree
echo hard > a; ln a b; ln a c; setfattr -n user.note -v hello a
ln -s a link; ln -s /nowhere dangling; ln -s "$(printf 'L%.0s' {1..180})" long-link
cp /bin/true capable; setcap cap_net_bind_service+ep capable
mkfifo fifo; mknod null c 1 3; mknod block b 7 200
truncate -s 8M sparse; echo data | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none
touch 'ünïcödé-日本' $'new\nline' 'sp ace' $'latin\351' "$(printf 'n%.0s' {1..200})"
deep=$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})/$(printf 'f%.0s' {1..120})
mkdir -p "$deep"; echo deep > "$deep/file"; ln "$deep/file" "$deep/again"
echo big > big; chown 3000000:4000000 big
mkdir sticky; chmod 1777 sticky; mkdir group; chown 5:6 group; chmod 2750 group
touch -d @-2 old; touch -d @4294967297 new
cd ..; tar -c --format=posix --xattrs --xattrs-include='*' -S --numeric-owner -C tree -f tree.tar .
"#;

const DOCKERFILE: &str = r#"
FROM busybox:1 AS lower
RUN mkdir -p /t/opaque /t/gone /t/dir && echo lower > /t/opaque/lower && echo gone > /t/gone/file && echo w > /t/white && \
    echo keep > /t/keep && echo f > /t/dir/f && echo was > /t/file
FROM lower AS upper
ADD tree.tar /add/
RUN rm -r /t/opaque /t/white /t/gone /t/dir /t/file && mkdir /t/opaque /t/file && echo upper > /t/opaque/upper && echo now > /t/dir
RUN mkdir /run1 && cd /run1 && echo hard > a && ln a b && ln -s a link && cp /bin/busybox suid && chmod 4755 suid && \
    mkfifo fifo && mknod null c 1 3 && mknod block b 7 200 && truncate -s 8M sparse && chown 3000000:4000000 b && \
    touch 'ünïcödé-日本' "$(printf 'new\nline')" && ln /t/keep /t/keep2 && touch -d @4000000000 new && \
    mkdir group && chown 5:6 group && chmod 2750 group
FROM lower AS copied
COPY --from=upper /add /add
COPY --from=upper /run1 /run1
"#;

/// The beginnings of the descriptions that some of the files must have, times apart.
const EXPECTED: [(&str, &str); 21] = [
    ("/add/b", "file of 5 bytes (HASH) 0644 0:0 = /add/a user.note=68656c6c6f"),
    ("/add/link", "link to a 0777 0:0"),
    ("/add/dangling", "link to /nowhere 0777 0:0"),
    ("/add/capable", "file of SIZE bytes (HASH) 0755 0:0 security.capability=0100000200040000000000000000000000000000"),
    ("/add/fifo", "fifo 0644 0:0"),
    ("/add/null", "character device 1,3 0644 0:0"),
    ("/add/block", "block device 7,200 0644 0:0"),
    ("/add/sparse", "file of 8388608 bytes (HASH) 0644 0:0"),
    ("/add/big", "file of 4 bytes (HASH) 0644 3000000:4000000"),
    ("/add/sticky", "directory 1777 0:0"),
    ("/add/group", "directory 2750 5:6"),
    ("/add/latin\\xe9", "file of 0 bytes (HASH) 0644 0:0"),
    ("/add/new\\nline", "file of 0 bytes (HASH) 0644 0:0"),
    ("/run1/b", "file of 5 bytes (HASH) 0644 3000000:4000000 = /run1/a"),
    ("/run1/suid", "file of SIZE bytes (HASH) 4755 0:0"),
    ("/run1/block", "block device 7,200 0644 0:0"),
    ("/run1/group", "directory 2750 5:6"),
    ("/t/keep2", "file of 5 bytes (HASH) 0644 0:0 = /t/keep"),
    ("/t/opaque/upper", "file of 6 bytes (HASH) 0644 0:0"),
    ("/t/file", "directory 0755 0:0"),
    ("/t/dir", "file of 4 bytes (HASH) 0644 0:0"),
];

/// The image's own directories: engines put files of theirs elsewhere.
const OWN: [&str; 3] = ["add", "run1", "t"];

/// What is wrong with the image in one tool's eyes.
type Check = fn(&Built) -> Vec<String>;

/// The built image.
struct Built {
    store: Store,
    work: TempDir,
    /// What `bld build` printed.
    digest: String,
    /// The files as GNU tar unpacks `type=tar`.
    files: Listing,
}

impl Built {
    fn new() -> Built {
        let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("features-").unwrap());
        bash(work.path(), MAKE_TREE);
        std::fs::write(work.path().join("Dockerfile"), DOCKERFILE).unwrap();
        let mut build = store.bld();
        build
            .args(["build", "--progress", "plain", "--target", "upper", "-t", "all:1", "-o", "local"])
            .current_dir(work.path());
        for output in ["type=oci,dest=oci.tar", "type=docker,dest=docker.tar", "type=tar,dest=root.tar"] {
            build.args(["-o", output]);
        }
        let digest = support::run(build.arg(".")).succeeded().stdout.trim().to_owned();
        let root = work.path().join("root");
        unpack_tar(&work.path().join("root.tar"), &root);
        let files = listing(&root, Look::ALL);
        Built { store, work, digest, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn transport(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    /// The image ID that `bld inspect` tells.
    fn id(&self) -> String {
        let inspected = support::run(self.store.bld().args(["inspect", "all:1"])).succeeded();
        json(&inspected.stdout)[0]["Id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn everything_a_layer_can_hold_arrives_in_other_tools() {
    if !as_root() {
        return;
    }
    let built = Built::new();
    let checks: [(&str, Check); 9] = [
        ("tar", files_are_as_written),
        ("names", no_file_too_many),
        ("local", a_directory_holds_the_same),
        ("copied", copies_are_complete),
        ("stdout", standard_output_gets_the_same_bytes),
        ("skopeo", skopeo_sees_the_same_digests),
        ("umoci", umoci_unpacks_the_same),
        ("podman", podman_runs_it),
        ("docker", docker_runs_it),
    ];
    let names: Vec<String> = checks.iter().map(|(name, _)| (*name).to_owned()).collect();
    let problems = support::for_each(&names, |name| {
        checks.iter().find(|(other, _)| *other == name).map_or_else(Vec::new, |(_, check)| check(&built))
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn files_are_as_written(built: &Built) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, wanted) in EXPECTED {
        let found = built.files.get(path).map_or("missing", String::as_str);
        if !matches(found, wanted) {
            problems.push(format!("{path} is\n   {found}, not\n   {wanted}"));
        }
    }
    let times = [("/add/old", -2), ("/add/new", 4_294_967_297_i64), ("/run1/new", 4_000_000_000)];
    for (path, time) in times {
        if !built.files.get(path).is_some_and(|file| file.ends_with(&format!(" at {time}"))) {
            problems.push(format!("{path} is not of {time}: {:?}", built.files.get(path)));
        }
    }
    let deep = format!("/add/{}/{}/{}", "d".repeat(120), "e".repeat(120), "f".repeat(120));
    for path in [format!("{deep}/again"), format!("{deep}/file"), format!("/add/{}", "n".repeat(200))] {
        if !built.files.contains_key(&path) {
            problems.push(format!("{path} is missing"));
        }
    }
    for path in ["/t/opaque/lower", "/t/gone", "/t/white", "/t/dir/f"] {
        if built.files.contains_key(path) {
            problems.push(format!("{path} is still there"));
        }
    }
    problems
}

/// Words that stand for something else in [`EXPECTED`], and the rest of the description after them.
fn matches(found: &str, wanted: &str) -> bool {
    let (found, wanted): (Vec<_>, Vec<_>) = (found.split(' ').collect(), wanted.split(' ').collect());
    let upto = found.iter().position(|word| *word == "at").unwrap_or(found.len());
    upto == wanted.len()
        && found.iter().zip(&wanted).all(|(found, wanted)| {
            *wanted == "SIZE" && found.parse::<u64>().is_ok()
                || *wanted == "(HASH)" && found.starts_with('(')
                || found == wanted
        })
}

fn no_file_too_many(built: &Built) -> Vec<String> {
    let listed = tool("tar", &["-tf", built.path("root.tar").to_str().unwrap()]).stdout.lines().count();
    // The archive may have an entry for the root itself.
    if listed == built.files.len() || listed == built.files.len() + 1 {
        return Vec::new();
    }
    vec![format!("tar -t lists {listed} names, {} are unpacked", built.files.len())]
}

fn a_directory_holds_the_same(built: &Built) -> Vec<String> {
    let look = Look { owners: false, times: true, attributes: false };
    let (wanted, found) = (listing(&built.path("root"), look), listing(&built.path("local"), look));
    differences("type=local", &wanted, &found)
}

fn copies_are_complete(built: &Built) -> Vec<String> {
    let mut command = built.store.bld();
    command.args(["build", "--target", "copied", "-o", "type=tar,dest=copied.tar", "."]).current_dir(built.work.path());
    support::run(&mut command).succeeded();
    let root = built.path("copied");
    unpack_tar(&built.path("copied.tar"), &root);
    let found = part(&listing(&root, Look::ALL), &["add", "run1"]);
    differences("COPY --from", &part(&built.files, &["add", "run1"]), &found)
}

fn standard_output_gets_the_same_bytes(built: &Built) -> Vec<String> {
    let mut problems = Vec::new();
    for (output, file) in [("type=oci,dest=-", "oci.tar"), ("type=docker,dest=-", "docker.tar"), ("-", "root.tar")] {
        let command = built.store.bld();
        let mut piped = std::process::Command::new("bash");
        piped.args(["-c", "\"$0\" build -q --target upper -t all:1 -o \"$1\" . | cmp - \"$2\""]);
        piped.arg(command.get_program()).args([output, file]).current_dir(built.work.path());
        piped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let compared = support::run(&mut piped);
        if compared.code != Some(0) {
            problems.push(compared.failure());
        }
    }
    problems
}

fn skopeo_sees_the_same_digests(built: &Built) -> Vec<String> {
    let mut problems = Vec::new();
    let inspect = |arguments: &[&str]| tool("skopeo", &[&["inspect"], arguments].concat()).stdout;
    let directory = built.store.root().join("oci");
    let id = built.id();
    let in_store = format!("oci:{}:docker.io/library/all:1", directory.display());
    let in_archive = built.transport("oci-archive", "oci.tar");
    for image in [&in_archive, &in_store] {
        let seen = json(&inspect(&[image]))["Digest"].as_str().unwrap().to_owned();
        if seen != built.digest {
            problems.push(format!("{image} has the digest {seen}, not {}", built.digest));
        }
    }
    for image in [&in_archive, &in_store, &built.transport("docker-archive", "docker.tar")] {
        let config = inspect(&["--raw", "--config", image]);
        let file = TempDir::new().unwrap();
        std::fs::write(file.path().join("config"), config).unwrap();
        let sum = tool("sha256sum", &[file.path().join("config").to_str().unwrap()]).stdout;
        if format!("sha256:{}", &sum[..64]) != id {
            problems.push(format!("the configuration of {image} has the digest {}, not {id}", &sum[..64]));
        }
    }
    let index = json(&std::fs::read_to_string(directory.join("index.json")).unwrap());
    let named = |entry: &&Value| entry["annotations"]["io.containerd.image.name"] == "docker.io/library/all:1";
    let entry = index["manifests"].as_array().unwrap().iter().find(named).cloned().unwrap_or_default();
    if entry["digest"].as_str() != Some(&built.digest) {
        problems.push(format!("index.json of the store says {entry}"));
    }
    // Every blob of both archives is what its name says.
    for (from, name) in [("oci.tar", "oci-archive"), ("docker.tar", "docker-archive")] {
        let copy = built.path(&format!("copy-{name}"));
        tool("skopeo", &["copy", "-q", &built.transport(name, from), &format!("dir:{}", copy.display())]);
    }
    problems
}

fn umoci_unpacks_the_same(built: &Built) -> Vec<String> {
    let (layout, bundle) = (built.path("layout"), built.path("bundle"));
    let image = format!("{}:all", layout.display());
    tool("skopeo", &["copy", "-q", &built.transport("oci-archive", "oci.tar"), &format!("oci:{image}")]);
    tool("umoci", &["unpack", "--image", &image, bundle.to_str().unwrap()]);
    differences("umoci", &built.files, &listing(&bundle.join("rootfs"), Look::ALL))
}

fn podman_runs_it(built: &Built) -> Vec<String> {
    let mut problems = Vec::new();
    for archive in ["oci.tar", "docker.tar"] {
        let podman = Podman::new();
        let loaded = podman.run(&["load", "-i", built.path(archive).to_str().unwrap()]);
        if !loaded.stdout.contains("docker.io/library/all:1") {
            problems.push(loaded.failure());
        }
        let id = podman.run(&["image", "inspect", "--format", "{{.Id}} {{.Digest}}", "all:1"]).stdout;
        if archive == "oci.tar" && id.trim() != format!("{} {}", &built.id()[7..], built.digest) {
            problems.push(format!("podman's image is {id}"));
        }
        let root = podman.run(&["image", "mount", "all:1"]).stdout;
        let found = listing(Path::new(root.trim()), Look::ALL);
        problems.extend(differences("podman", &engines(&built.files), &engines(&found)));
        let said = podman.container("all:1", &["sh", "-c", "cat /t/dir /t/opaque/*; readlink /add/link; id -u"]);
        if said != "now\nupper\na\n0\n" {
            problems.push(format!("podman run prints {said:?}"));
        }
    }
    problems
}

fn docker_runs_it(built: &Built) -> Vec<String> {
    let mut problems = Vec::new();
    let docker = Docker::start();
    for archive in ["docker.tar", "oci.tar"] {
        let loaded = docker.run(&["load", "-i", built.path(archive).to_str().unwrap()]).stdout;
        if loaded.trim() != "Loaded image: all:1" {
            problems.push(format!("docker load prints {loaded:?}"));
        }
    }
    let id = docker.run(&["image", "inspect", "--format", "{{.Id}}", "all:1"]).stdout;
    if id.trim() != built.id() {
        problems.push(format!("docker's image is {id}"));
    }
    let said =
        docker.run(&["run", "--name", "one", "--network", "none", "all:1", "sh", "-c", "cat /t/dir; id -u"]).stdout;
    if said != "now\n0\n" {
        problems.push(format!("docker run prints {said:?}"));
    }
    let (archive, root) = (built.path("export.tar"), built.path("export"));
    docker.run(&["export", "-o", archive.to_str().unwrap(), "one"]);
    docker.run(&["rm", "one"]);
    unpack_tar(&archive, &root);
    let mut wanted = engines(&part(&built.files, &OWN));
    // Of attributes docker exports capabilities only.
    for file in wanted.values_mut() {
        *file = file.replace(" user.note=68656c6c6f", "");
    }
    problems.extend(differences("docker", &wanted, &engines(&part(&listing(&root, Look::ALL), &OWN))));
    problems
}

/// The listing without what container engines change: a time before 1970.
fn engines(files: &Listing) -> Listing {
    let mut files = files.clone();
    files.remove("/add/old");
    files
}
