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

    let store = Store::empty();
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
