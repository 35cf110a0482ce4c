//! From pull to push, against docker's own registry.

mod faults;
mod host;
mod lazy;
mod memory;
mod offline;
mod platforms;
mod proxy;
mod running;

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;

use self::host::Host;
use self::host::PASSWORD;
use self::host::USER;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

/// A build context that holds this Dockerfile and the file `f`.
fn context(dockerfile: &str) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(context.path().join("f"), "a file\n").unwrap();
    context
}

/// Has the registry hold busybox under this name.
fn publish_busybox(host: &Host, name: &str) {
    let store = Store::with(&[Base::Busybox]);
    support::run(host.bld(&store).args(["push", "-q", Base::Busybox.image(), &host.image(name)])).succeeded();
}

fn login(host: &Host, store: &Store, password: &str) -> Run {
    let mut command = host.bld(store);
    command.args(["login", "-u", USER, "--password-stdin", &host.name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The whole way of a project, as a person with docker would type it.
#[test]
fn build_run_tag_login_push_remove_pull_run() {
    let host = Host::guarded();
    let store = Store::with(&[Base::Busybox]);
    let bld = |arguments: &[&str]| support::run(host.bld(&store).args(arguments));
    let context = context("FROM busybox:1\nCOPY f /data/f\nCMD [\"cat\", \"/data/f\"]\n");
    bld(&["build", "-t", "app", context.path().to_str().unwrap()]).succeeded();
    std::fs::write(context.path().join("f"), "edited\n").unwrap();
    let built = bld(&["build", "-t", "app", context.path().to_str().unwrap()]).succeeded();
    let digest = built.stdout.trim().to_owned();
    assert_eq!(bld(&["run", "--rm", "app"]).succeeded().stdout, "edited\n");
    assert!(bld(&["inspect", "app"]).succeeded().stdout.contains("/data/f"));
    assert!(bld(&["history", "app"]).succeeded().stdout.contains("COPY f /data/f"));
    let name = host.image("team/app:1.0");
    bld(&["tag", "app", &name]).succeeded();

    let refused = bld(&["push", &name]);
    assert_ne!(refused.code, Some(0), "pushed without a password: {}", refused.failure());
    assert!(refused.stderr.contains(&format!("bld login {}", host.name)), "{}", refused.stderr);
    let wrong = login(&host, &store, "wrong");
    assert_ne!(wrong.code, Some(0), "{}", wrong.failure());
    let right = login(&host, &store, PASSWORD).succeeded();
    assert!(right.stdout.contains("Login Succeeded"), "{}", right.failure());
    assert_eq!(bld(&["push", &name]).succeeded().stdout.trim(), digest);

    bld(&["rmi", &name, "app"]).succeeded();
    bld(&["prune", "-a"]).succeeded();
    assert_ne!(bld(&["inspect", &name]).code, Some(0));
    assert_eq!(bld(&["pull", &name]).succeeded().stdout.trim(), name);
    assert_eq!(bld(&["run", "--rm", &name]).succeeded().stdout, "edited\n");

    // Everybody else gets the same bytes under the same digest.
    let credentials = store.root().join(".docker/config.json");
    let by_digest = format!("docker://{}@{digest}", host.image("team/app"));
    let certificates = host.certificate_directory();
    let mut skopeo = Command::new("skopeo");
    skopeo.arg("inspect").arg("--cert-dir").arg(&certificates).arg("--authfile").arg(&credentials).arg(&by_digest);
    assert!(support::run(&mut skopeo).succeeded().stdout.contains(&digest));
    let podman_root = tempfile::tempdir().unwrap();
    let mut podman = Command::new("podman");
    podman.arg("--root").arg(podman_root.path().join("root")).arg("--runroot").arg(podman_root.path().join("run"));
    podman.args(["--storage-driver", "vfs", "pull", "-q", "--cert-dir"]).arg(&certificates);
    podman.arg("--authfile").arg(&credentials).arg(format!("{}@{digest}", host.image("team/app")));
    support::run(&mut podman).succeeded();

    assert!(bld(&["logout", &host.name]).succeeded().stdout.contains("Removing"));
    assert_ne!(bld(&["push", &name]).code, Some(0), "still logged in");
}

#[test]
fn the_same_digest_is_printed_pushed_and_written() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let store = Store::empty();
    let context = context(&format!("FROM {}\nCOPY f /\nRUN cat /f > /g\n", host.image("base:1")));
    let tar = context.path().join("app.tar");
    let name = host.image("app:1");
    let mut build = host.bld(&store);
    build.args(["build", "--push", "-t", &name, "-o"]).arg(format!("type=oci,dest={}", tar.display()));
    build.arg(context.path());
    let digest = support::run(&mut build).succeeded().stdout.trim().to_owned();
    let inspect = |what: &str, digest: &str| {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--tls-verify=false", what]);
        let shown = support::run(&mut skopeo).succeeded().stdout;
        assert!(shown.contains(&format!("\"Digest\": \"{digest}\"")), "{what}: {shown}");
    };
    inspect(&format!("docker://{name}"), &digest);
    inspect(&format!("oci-archive:{}", tar.display()), &digest);

    // An archive goes to a registry as it is.
    let other = host.image("other/app:2");
    let pushed = support::run(host.bld(&Store::empty()).arg("push").arg(&tar).arg(&other)).succeeded();
    assert_eq!(pushed.stdout.trim(), digest);
    inspect(&format!("docker://{other}"), &digest);
}

#[test]
fn pull_policies() {
    let host = Host::open();
    publish_busybox(&host, "base:1");
    let store = Store::empty();
    let first = context(&format!("FROM {}\nRUN echo old\n", host.image("base:1")));
    let build = |flags: &[&str]| {
        let mut command = host.bld(&store);
        support::run(command.args(["build", "-t", "app"]).args(flags).arg(first.path()))
    };
    let never = build(&["--pull=never"]);
    assert_ne!(never.code, Some(0), "{}", never.failure());
    let old = build(&[]).succeeded().stdout;

    // The tag moves.
    let elsewhere = Store::empty();
    let moved = context(&format!("FROM {}\nLABEL moved=yes\n", host.image("base:1")));
    let mut command = host.bld(&elsewhere);
    command.args(["build", "--push", "-t", &host.image("base:1")]).arg(moved.path());
    support::run(&mut command).succeeded();

    for flags in [&[][..], &["--pull=missing"], &["--pull=never"], &["--offline"]] {
        assert_eq!(build(flags).succeeded().stdout, old, "{flags:?}");
    }
    let new = build(&["--pull"]).succeeded().stdout;
    assert_ne!(new, old, "--pull did not ask the registry");
    assert_eq!(build(&["--pull=newer"]).succeeded().stdout, new);

    let name = host.image("base:1");
    drop(host);
    let gone = |flag: &str| {
        let mut command = store.bld();
        support::run(command.env_remove("BLD_OFFLINE").args(["build", "-t", "app", flag]).arg(first.path()))
    };
    assert_eq!(gone("--pull=newer").succeeded().stdout, new, "what is here will do");
    let always = gone("--pull=always");
    assert_ne!(always.code, Some(0), "{}", always.failure());
    assert!(always.stderr.contains(&name), "{}", always.stderr);
}

#[test]
fn what_no_registry_has_is_said_with_who_was_asked() {
    let host = Host::open();
    let store = Store::empty();
    let context = context(&format!("FROM {}\n", host.image("nothing:here")));
    let failed = support::run(host.bld(&store).arg("build").arg(context.path()));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    let wanted = format!("Dockerfile:1: error: cannot pull `{}`", host.image("nothing:here"));
    assert!(failed.stderr.contains(&wanted), "{}", failed.stderr);
    assert!(failed.stderr.contains(&format!("{} does not have it", host.name)), "{}", failed.stderr);
}
