//! Equal input gives equal bytes, wherever and whenever it is built.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Store;

const EPOCH: &str = "1700000000";

const FILES_ONLY: &str = "\
# syntax=docker/dockerfile:1
FROM busybox:1
WORKDIR /srv/deep/down
COPY a.txt dir /made/up/
ADD --chown=1000:1000 dir.tar /unpacked/
COPY --chmod=0640 <<END /etc/made-up
a heredoc
END
WORKDIR relative
ENV A=b
LABEL c=d
";

const WITH_RUN: &str = "\
FROM busybox:1 AS first
COPY dir /dir
RUN mkdir -p /out/x && cp /dir/* /out/x && ln -s x /out/link && ln /out/x/one /out/hard
FROM busybox:1
COPY --from=first /out /out
RUN rm /etc/issue && echo $SOURCE_DATE_EPOCH > /epoch
";

/// Builds in a store of its own; answers the digest and the archive's bytes.
fn build(directory: &Path, dockerfile: &str, environment: &[(&str, &str)], umask: &str) -> (String, Vec<u8>) {
    let context = directory.join("context");
    fs::create_dir_all(context.join("dir")).unwrap();
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    fs::write(context.join("a.txt"), "a\n").unwrap();
    fs::write(context.join("dir/one"), "one\n").unwrap();
    fs::write(context.join("dir/two"), vec![7; 300_000]).unwrap();
    let tar = "tar --sort=name --mtime=@1600000000 --owner=5 --group=5 -cf dir.tar dir
        find . -exec touch -h -d @1650000000 {} +";
    support::run(Command::new("sh").args(["-e", "-c", tar]).current_dir(&context)).succeeded();

    build_in(&Store::empty(), directory, environment, umask)
}

/// The same with the context that is there, in `store`.
fn build_in(store: &Store, directory: &Path, environment: &[(&str, &str)], umask: &str) -> (String, Vec<u8>) {
    let context = directory.join("context");
    let epoch = |mut command: Command| {
        command.env("SOURCE_DATE_EPOCH", EPOCH);
        command
    };
    let mut import = epoch(store.bld());
    support::run(import.arg("import").arg(Base::Busybox.tar()).arg(Base::Busybox.image())).succeeded();
    let archive: PathBuf = directory.join("image.tar");
    let inner = epoch(store.bld());
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask]).arg(inner.get_program());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command.envs(environment.iter().copied());
    command.args(["build", "--progress", "plain", "--network", "none", "-t", "reproducible"]);
    command.arg("-o").arg(format!("type=oci,dest={}", archive.display())).arg(&context);
    let digest = support::run(&mut command).succeeded().stdout;
    (digest, fs::read(archive).unwrap())
}

fn twice(dockerfile: &str) {
    let (here, there) = (TempDir::new().unwrap(), TempDir::with_prefix("another path ").unwrap());
    let (digest, bytes) = build(here.path(), dockerfile, &[], "022");
    // Times of files made meanwhile would differ by now.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let environment = [("TZ", "America/St_Johns"), ("LC_ALL", "C.UTF-8"), ("HOME", "/nonexistent"), ("BUILDER", "x")];
    let (other_digest, other_bytes) = build(&there.path().join("deeper"), dockerfile, &environment, "077");
    assert_eq!(digest, other_digest);
    assert!(bytes == other_bytes, "equal digests, but the archives differ");
}

#[test]
fn files_in_two_stores() {
    twice(FILES_ONLY);
}

#[test]
fn a_deterministic_command_in_two_stores() {
    twice(WITH_RUN);
}

#[test]
fn a_store_warm_from_a_build_without_epoch() {
    const ALL: &str = "\
FROM busybox:1 AS first
WORKDIR /made/by/workdir
COPY a.txt dir /made/by/copy/
COPY <<END /made/by/heredoc
a heredoc
END
RUN mkdir -p /ran/x && echo x > /ran/x/y && ln -s x /ran/link
FROM first
COPY --from=first /ran /copied
RUN rm -r /made/by/copy
";
    for epoch in ["1700000000", "100000000"] {
        let directory = TempDir::new().unwrap();
        let environment = [("SOURCE_DATE_EPOCH", epoch)];
        let (digest, bytes) = build(directory.path(), ALL, &environment, "022");
        let warm = Store::empty();
        let (other, without) = build_in(&warm, directory.path(), &[("SOURCE_DATE_EPOCH", "")], "022");
        assert_ne!(digest, other, "the epoch changes nothing");
        assert!(bytes != without);
        let (again, warm_bytes) = build_in(&warm, directory.path(), &environment, "022");
        assert_eq!(digest, again);
        assert!(bytes == warm_bytes, "equal digests, but the archives differ");
    }
}
