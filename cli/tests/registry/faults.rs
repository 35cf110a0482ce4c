//! Registries that fail, cut, throttle and lie, and a user who has no patience.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::Host;
use super::context;
use super::proxy::Faults;
use super::proxy::Lie;
use super::proxy::Proxy;
use super::publish_busybox;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

/// What each of the two layers of [`publish`] takes.
const LAYER: u64 = 6_000_000;

/// Has the registry hold an image of incompressible layers; answers how many bytes its blobs have.
fn publish(host: &Host, name: &str) -> u64 {
    let store = Store::with(&[Base::Busybox]);
    let random = format!("head -c {LAYER} /dev/urandom");
    let context = context(&format!("FROM busybox:1\nRUN {random} > /one\nRUN {random} > /two\n"));
    let image = host.image(name);
    support::run(host.bld(&store).args(["build", "-q", "--push", "-t", &image]).arg(context.path())).succeeded();
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{image}")]);
    let manifest: serde_json::Value = serde_json::from_str(&support::run(&mut skopeo).succeeded().stdout).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let sizes = layers.iter().chain([&manifest["config"]]).map(|blob| blob["size"].as_u64().unwrap());
    sizes.sum()
}

/// Pulls, and says what the image consists of.
fn pull(proxy: &Proxy, store: &Store, name: &str) -> Run {
    support::run(proxy.bld(store).args(["pull", &proxy.image(name)]))
}

fn sizes_of_files(store: &Store, image: &str) -> String {
    let run = support::run(store.bld().args(["run", "--rm", image, "wc", "-c", "/one", "/two"]));
    run.succeeded().stdout
}

/// What is in a store: its list, its blobs, what is not finished.
fn content(store: &Store) -> (String, BTreeSet<String>, BTreeSet<String>) {
    let names = |path: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(store.root().join(path)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let list = support::run(store.bld().args(["images", "-a", "--no-trunc"])).succeeded().stdout;
    (list, names("oci/blobs/sha256"), names("tmp"))
}

#[test]
fn a_registry_that_fails_and_cuts_gets_there() {
    let host = Host::open();
    let size = publish(&host, "base:1");
    let faults = Faults { failing: 30, cutting: 40, ..Faults::default() };
    let proxy = Proxy::new(&host.name, faults);
    let store = Store::empty();
    pull(&proxy, &store, "base:1").succeeded();
    let (requests, hurt) = proxy.requests();
    assert!(hurt * 5 > requests, "{hurt} of {requests} requests were hurt");
    let fetched = proxy.blob_bytes();
    assert!(fetched * 100 <= size * 105, "{fetched} bytes were fetched for {size}");
    let files = sizes_of_files(&store, &proxy.image("base:1"));
    assert!(files.contains("6000000 /one") && files.contains("6000000 /two"), "{files}");

    // Build and push through the same; everybody else sees the digest that was printed.
    let context = context(&format!("FROM {}\nRUN head -c 3000000 /one > /three\n", proxy.image("base:1")));
    let name = proxy.image("app:1");
    let built = support::run(proxy.bld(&Store::empty()).args(["build", "--push", "-t", &name]).arg(context.path()));
    let digest = built.succeeded().stdout.trim().to_owned();
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--tls-verify=false", &format!("docker://{}", host.image("app:1"))]);
    let seen = support::run(&mut skopeo).succeeded().stdout;
    assert!(seen.contains(&format!("\"Digest\": \"{digest}\"")), "{digest}: {seen}");
}

#[test]
fn ranges_that_are_ignored_and_slow_connections() {
    let host = Host::open();
    publish(&host, "base:1");
    for faults in [
        Faults { cutting: 60, ignores_ranges: true, ..Faults::default() },
        Faults { throttle: Some(4_000_000), ..Faults::default() },
    ] {
        let proxy = Proxy::new(&host.name, faults);
        let store = Store::empty();
        pull(&proxy, &store, "base:1").succeeded();
        let files = sizes_of_files(&store, &proxy.image("base:1"));
        assert!(files.contains("6000000 /one") && files.contains("6000000 /two"), "{files}");
    }
}

#[test]
fn a_lie_is_named_and_nothing_stays() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", host.image("base:1"))]);
    let manifest: serde_json::Value = serde_json::from_str(&support::run(&mut skopeo).succeeded().stdout).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    for (lie, said) in
        [(Lie::Byte, "is damaged: its bytes have digest"), (Lie::Shorter, "bytes where"), (Lie::Longer, "bytes where")]
    {
        let proxy = Proxy::new(&host.name, Faults { lie: Some(lie), ..Faults::default() });
        let store = Store::with(&[Base::Busybox]);
        // The same layer would be known already.
        support::run(store.bld().args(["rmi", Base::Busybox.image()])).succeeded();
        support::run(store.bld().args(["prune", "-a"])).succeeded();
        let before = content(&store);
        let failed = pull(&proxy, &store, "base:1");
        assert_eq!(failed.code, Some(1), "{lie:?}: {}", failed.failure());
        assert!(failed.stderr.contains(said) && failed.stderr.contains(&layer), "{lie:?}: {}", failed.stderr);
        assert!(failed.stderr.contains(&proxy.name), "{lie:?}: who lied is not said: {}", failed.stderr);
        assert_eq!(content(&store), before, "{lie:?}");
        // A build says the same, and where.
        let context = context(&format!("FROM {}\nRUN true\n", proxy.image("base:1")));
        let failed = support::run(proxy.bld(&store).arg("build").arg(context.path()));
        assert_eq!(failed.code, Some(1), "{lie:?}: {}", failed.failure());
        assert!(failed.stderr.contains(said) && failed.stderr.contains(&layer), "{lie:?}: {}", failed.stderr);
    }
}

/// A manifest says twice how large one blob is, and once it is wrong.
#[test]
fn one_blob_of_two_sizes() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let fetch = |flag: &[&str]| -> serde_json::Value {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false"]).args(flag);
        let shown = support::run(skopeo.arg(format!("docker://{}", host.image("base:1")))).succeeded();
        serde_json::from_str(&shown.stdout).unwrap()
    };
    let (mut manifest, mut config) = (fetch(&[]), fetch(&["--config"]));
    let diff_ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
    diff_ids.push(diff_ids[0].clone());
    config.as_object_mut().unwrap().remove("history");
    let layers = manifest["layers"].as_array_mut().unwrap();
    layers.push(layers[0].clone());
    layers[1]["size"] = (layers[1]["size"].as_u64().unwrap() + 1).into();
    let config = config.to_string();
    let directory = tempfile::tempdir().unwrap();
    let curl = |flags: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sf", "-D", "-"]).args(flags).arg(path).current_dir(directory.path());
        support::run(&mut curl).succeeded().stdout
    };
    std::fs::write(directory.path().join("config"), &config).unwrap();
    let sum = support::run(Command::new("sha256sum").arg(directory.path().join("config"))).succeeded().stdout;
    let digest = format!("sha256:{}", &sum[..64]);
    let begun = curl(&["-X", "POST"], &format!("http://{}/v2/base/blobs/uploads/", host.name));
    let place = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim().to_owned();
    let octets = "Content-Type: application/octet-stream";
    curl(&["-X", "PUT", "-H", octets, "--data-binary", "@config"], &format!("{place}&digest={digest}"));
    manifest["config"]["digest"] = digest.into();
    manifest["config"]["size"] = config.len().into();
    std::fs::write(directory.path().join("manifest"), manifest.to_string()).unwrap();
    let kind = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
    let target = format!("http://{}/v2/base/manifests/2", host.name);
    curl(&["-X", "PUT", "-H", &kind, "--data-binary", "@manifest"], &target);

    let store = Store::empty();
    let failed = support::run(host.bld(&store).args(["pull", &host.image("base:2")]));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    assert!(failed.stderr.contains("bytes where"), "{}", failed.stderr);
    let (list, blobs, _) = content(&store);
    assert!(!list.contains("base") && blobs.is_empty(), "{list} {blobs:?}");
}

/// A pull that is under way: bytes of a layer have come.
fn under_way(proxy: &Proxy, store: &Store, command: &mut Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while proxy.blob_bytes() < 300_000 {
        assert!(began.elapsed() < Duration::from_mins(1), "the pull into {} does not begin", store.root().display());
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, name: &str) {
    support::run(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string())).succeeded();
}

/// Files of dead and living processes.
fn unfinished(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("tmp")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
}

#[test]
fn a_stopped_download_leaves_nothing() {
    let host = Host::open();
    publish(&host, "base:1");
    let context = context("FROM scratch\n");
    for is_build in [false, true] {
        for name in ["INT", "TERM", "KILL"] {
            let slow = Proxy::new(&host.name, Faults { throttle: Some(400_000), ..Faults::default() });
            let store = Store::empty();
            let mut command = slow.bld(&store);
            if is_build {
                let dockerfile = format!("FROM {}\nRUN true\n", slow.image("base:1"));
                std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
                command.arg("build").arg(context.path());
            } else {
                command.args(["pull", &slow.image("base:1")]);
            }
            let child = under_way(&slow, &store, &mut command);
            let stopped = Instant::now();
            signal(&child, name);
            let output = child.wait_with_output().unwrap();
            // Far less than what was left to download.
            assert!(stopped.elapsed() < Duration::from_secs(5), "{name}: it took {:?} to end", stopped.elapsed());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("panicked"), "{name}: {stderr}");
            if name == "KILL" {
                assert_eq!(output.status.signal(), Some(9));
            } else {
                assert_eq!(output.status.code(), Some(if name == "INT" { 130 } else { 143 }), "{stderr}");
                assert_eq!(unfinished(store.root()), Vec::<String>::new(), "{name}: {stderr}");
            }
            // The next one cleans up and gets it.
            let fast = host.image("base:1");
            support::run(host.bld(&store).args(["pull", &fast])).succeeded();
            assert!(sizes_of_files(&store, &fast).contains("6000000 /two"));
            assert_eq!(unfinished(store.root()), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn two_pulls_of_one_image_download_it_once_and_can_be_stopped_alone() {
    let host = Host::open();
    let size = publish(&host, "base:1");
    let proxy = Proxy::new(&host.name, Faults { throttle: Some(2_000_000), ..Faults::default() });
    let store = Store::empty();
    let image = proxy.image("base:1");
    let pull = || {
        let mut command = proxy.bld(&store);
        command.args(["pull", &image]);
        command
    };
    let first = under_way(&proxy, &store, &mut pull());
    let second = pull().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let third = pull().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that only waits for the first can be stopped all the same.
    std::thread::sleep(Duration::from_millis(500));
    signal(&third, "INT");
    let began = Instant::now();
    let third = third.wait_with_output().unwrap();
    assert_eq!(third.status.code(), Some(130), "{}", String::from_utf8_lossy(&third.stderr));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?} to end", began.elapsed());
    for child in [first, second] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // The configuration is a document, which each asks for.
    let fetched = proxy.blob_bytes();
    assert!(fetched < size + 20_000, "{fetched} bytes were fetched for {size}");
}

#[test]
fn a_full_disk_is_said() {
    let host = Host::open();
    publish(&host, "base:1");
    let store = Store::empty();
    let mount =
        support::run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"]).arg(store.root()));
    mount.succeeded();
    let failed = support::run(host.bld(&store).args(["pull", &host.image("base:1")]));
    let left = unfinished(store.root());
    support::run(Command::new("umount").arg(store.root())).succeeded();
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    let says = |text: &str| failed.stderr.to_lowercase().contains(text);
    assert!(says("no space left on device") || says("bytes are free"), "{}", failed.stderr);
    assert!(!says("no space left") || says("hint: `bld prune` frees space"), "{}", failed.stderr);
    assert_eq!(left, Vec::<String>::new(), "{}", failed.stderr);
}

#[test]
fn a_layer_whose_registry_is_gone_is_named() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let store = Store::empty();
    let name = host.image("base:1");
    let lazy = context(&format!("FROM {name}\nCOPY --link f /f\n"));
    support::run(host.bld(&store).args(["build", "-q", "-t", "app"]).arg(lazy.path())).succeeded();
    drop(host);
    let needs = context("FROM app\nRUN cat /f\n");
    let mut build = store.bld();
    build.env_remove("BLD_OFFLINE").arg("build").arg(needs.path());
    let failed = support::run(&mut build);
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    let registry = name.split('/').next().unwrap();
    for text in ["pull blob sha256:", registry, "hint: layers are fetched when they are first needed"] {
        assert!(failed.stderr.contains(text), "{text} is not said: {}", failed.stderr);
    }
}

/// A tag that moves while a build runs would otherwise be one image in one stage and another in the next.
#[test]
fn a_name_is_looked_up_once_in_a_build() {
    let host = Host::open();
    let publisher = Store::empty();
    let project = context("FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let mut build = host.bld(&publisher);
    build.args(["build", "-q", "--push", "-t", &host.image("base:1")]).args(platforms).arg(project.path());
    support::run(&mut build).succeeded();
    let proxy = Proxy::new(&host.name, Faults::default());
    let stages = context(&format!(
        "FROM {0} AS one\nFROM {0} AS two\nCOPY f /g\nFROM {0}\nCOPY --from=one /f-* /\nCOPY --from=two /g /\n\
         COPY --from={0} /f-* /h/\n",
        proxy.image("base:1")
    ));
    let store = Store::empty();
    for round in 1..=2 {
        let mut build = proxy.bld(&store);
        build.args(["build", "--pull", "-t", "app"]).args(platforms).arg(stages.path());
        support::run(&mut build).succeeded();
        let asked = proxy.requests_with("/manifests/1 ");
        assert_eq!(asked, round, "the tag was looked up {asked} times in {round} builds");
    }
}
