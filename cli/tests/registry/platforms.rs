//! Images for several platforms.

use std::process::Command;

use super::Host;
use super::context;
use crate::support;
use crate::support::Store;

const PLATFORMS: &str = "linux/amd64,linux/arm64,linux/arm/v7";

#[test]
fn one_index_for_all_platforms() {
    let host = Host::open();
    let store = Store::empty();
    let context = context("FROM scratch\nARG TARGETPLATFORM\nCOPY f /f\nLABEL for=$TARGETPLATFORM\n");
    let name = host.image("multi:1");
    let mut build = host.bld(&store);
    build.args(["build", "--push", "--platform", PLATFORMS, "-t", &name]).arg(context.path());
    let digest = support::run(&mut build).succeeded().stdout.trim().to_owned();
    for platform in PLATFORMS.split(',') {
        let [os, architecture] = platform.split('/').take(2).collect::<Vec<_>>()[..] else { panic!("{platform}") };
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "inspect",
            "--tls-verify=false",
            "--config",
            "--override-os",
            os,
            "--override-arch",
            architecture,
        ]);
        if platform.ends_with("v7") {
            skopeo.args(["--override-variant", "v7"]);
        }
        let config = support::run(skopeo.arg(format!("docker://{name}"))).succeeded().stdout;
        assert!(config.contains(&format!("\"for\": \"{platform}\"")), "{platform}: {config}");
        assert!(config.contains(&format!("\"architecture\": \"{architecture}\"")), "{platform}: {config}");
    }

    // FROM takes the image for the platform that is built, and brings no other.
    let other = Store::empty();
    let context = super::context(&format!("FROM {name}\nCOPY --link f /g\n"));
    let build = |platform: &str, flags: &[&str]| {
        let mut build = host.bld(&other);
        build.args(["build", "--platform", platform, "-t", "app"]).args(flags).arg(context.path());
        support::run(&mut build)
    };
    let label = |run: support::Run| {
        run.succeeded();
        let shown = support::run(other.bld().args(["inspect", "app"])).succeeded().stdout;
        PLATFORMS.split(',').find(|platform| shown.contains(&format!("\"for\": \"{platform}\""))).unwrap().to_owned()
    };
    assert_eq!(label(build("linux/arm64", &[])), "linux/arm64");
    assert_eq!(label(build("linux/arm/v7", &[])), "linux/arm/v7", "the index was here, this image not");
    let missing = build("linux/s390x", &[]);
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.contains("linux/s390x") && missing.stderr.contains("linux/arm64"), "{}", missing.stderr);

    // The same index by its digest.
    let by_digest = format!("{}@{digest}", host.image("multi"));
    let pulled = support::run(host.bld(&Store::empty()).args(["pull", &by_digest])).succeeded();
    assert_eq!(pulled.stdout.trim(), by_digest);
}

/// A stage for the machine that builds runs once, whatever is built for.
#[test]
fn stages_for_the_build_platform_are_shared() {
    let store = Store::with(&[support::Base::Busybox]);
    let context = context(
        "FROM --platform=$BUILDPLATFORM busybox:1 AS build\nRUN echo compiled > /out\n\
         FROM scratch\nARG TARGETARCH\nCOPY --from=build /out /out-$TARGETARCH\n",
    );
    let out = context.path().join("out");
    let mut build = store.bld();
    build.args(["build", "--progress", "plain", "--platform", "linux/amd64,linux/arm64", "-o"]).arg(&out);
    let outcome = support::run(build.arg(context.path())).succeeded();
    assert_eq!(outcome.stderr.matches("RUN echo compiled").count(), 1, "{}", outcome.stderr);
    for (directory, file) in [("linux_amd64", "out-amd64"), ("linux_arm64", "out-arm64")] {
        assert_eq!(std::fs::read_to_string(out.join(directory).join(file)).unwrap(), "compiled\n");
    }
}

#[test]
fn a_program_nobody_can_run_is_explained() {
    let store = Store::empty();
    let context = context("FROM scratch\nCOPY program /program\nRUN [\"/program\"]\n");
    // An ELF header for s390x and nothing more.
    let mut program = vec![0x7f, b'E', b'L', b'F', 2, 2, 1];
    program.resize(16, 0);
    program.extend([0, 2, 0, 22, 0, 0, 0, 1]);
    program.resize(64, 0);
    std::fs::write(context.path().join("program"), program).unwrap();
    support::run(Command::new("chmod").arg("755").arg(context.path().join("program"))).succeeded();
    let failed = support::run(store.bld().args(["build", "--platform", "linux/s390x"]).arg(context.path()));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
    assert!(failed.stderr.contains("it is a program for s390x"), "{}", failed.stderr);
    assert!(failed.stderr.contains("qemu-user-static"), "{}", failed.stderr);
}
