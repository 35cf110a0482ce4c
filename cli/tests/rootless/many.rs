//! A user with subordinate ids builds what root builds.

use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

use super::as_root;
use super::files;
use super::refused;
use super::user::FIRST_SUBORDINATE;
use super::user::User;
use crate::outputs::Podman;
use crate::support;
use crate::support::Base;
use crate::support::Store;

const OWNERS: &str = "FROM busybox:1\n\
    RUN mkdir /data && echo a > /data/a && chown 33:44 /data/a && cp /bin/busybox /data/su && chown 5:6 /data/su && chmod 6755 /data/su \\\n\
    && mkdir -m 700 /data/closed && touch /data/closed/file && chown -R 1000:1000 /data/closed && chmod 0 /data/closed \\\n\
    && ln /data/a /data/b && ln -s a /data/link && mkfifo /data/fifo\n\
    COPY --chown=33:44 --chmod=4750 Dockerfile /data/copied\n\
    COPY --chown=app Dockerfile /data/of-app\n\
    RUN rm /data/b && echo more >> /data/of-app\n\
    USER app\n\
    RUN id -u > /tmp/mine && id -G >> /tmp/mine\n";

#[test]
fn an_ordinary_user_makes_the_image_root_makes() {
    if !as_root() {
        return;
    }
    let (user, store, work) = (User::new(true), Store::with(&[Base::Busybox]), TempDir::with_prefix("many-").unwrap());
    user.import(Base::Busybox);
    user.write("context/Dockerfile", OWNERS);
    std::fs::write(work.path().join("Dockerfile"), OWNERS).unwrap();
    let mut build = store.bld();
    build.args(["build", "-q", "-o", "type=tar,dest=root.tar", "."]).current_dir(work.path());
    support::run(&mut build).succeeded();
    user.bld(&["build", "-q", "-t", "owners", "-o", "type=tar,dest=user.tar", "-o", "type=local,dest=out", "context"])
        .succeeded();
    let (by_root, by_user) = (files(&work.path().join("root.tar")), files(&user.home().join("user.tar")));
    assert_eq!(by_user, by_root);
    for wanted in [
        "-rw-r--r-- 33/44 2 data/a",
        "drwxr-xr-x 0/0 0 data/",
        "d--------- 1000/1000 0 data/closed/",
        "-rwsr-x--- 33/44",
        "-rw-r--r-- 1000/1000",
    ] {
        assert!(by_user.iter().any(|file| file.starts_with(wanted)), "no {wanted}: {by_user:#?}");
    }
    assert!(by_user.iter().any(|file| file.starts_with("-rwsr-sr-x 5/6") && file.ends_with("data/su")), "{by_user:#?}");
    // What the user gets in a directory is the user's own.
    let copied = std::fs::metadata(user.home().join("out/data/copied")).unwrap();
    assert_eq!(copied.uid(), std::fs::metadata(user.home()).unwrap().uid());
    // On the disk the files have lent ids.
    let closed = user.shell("ls -ldn store/layers/*/data/closed").succeeded().stdout;
    assert!(closed.contains(&(FIRST_SUBORDINATE + 999).to_string()), "{closed}");

    user.bld(&["rmi", "owners", "busybox:1"]).succeeded();
    assert_eq!(user.bld(&["images", "-q"]).succeeded().stdout, "");
    // `rm -rf` alone may not look into `closed`; in a user namespace with the same ids it may.
    user.run(&["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "store"]).succeeded();
    assert!(!user.home().join("store").exists());
}

#[test]
fn an_ordinary_user_installs_a_web_server() {
    if !as_root() {
        return;
    }
    let user = User::new(true);
    user.import(Base::Debian);
    user.write(
        "context/Dockerfile",
        "FROM debian:12\nRUN apt-get update && apt-get install -y nginx\nUSER www-data\nRUN nginx -v && touch /tmp/of-www-data\n",
    );
    user.bld(&[
        "build",
        "--progress",
        "plain",
        "-t",
        "web",
        "-o",
        "type=oci,dest=web.tar",
        "-o",
        "type=tar,dest=root.tar",
        "context",
    ])
    .succeeded();
    let listed = files(&user.home().join("root.tar"));
    for wanted in [
        "-rw-r----- 33/4 0 var/log/nginx/access.log",
        "-rw-r--r-- 33/33 0 tmp/of-www-data",
        "drwxrwsr-x 0/8 0 var/mail/",
    ] {
        assert!(listed.iter().any(|file| file == wanted), "no {wanted}");
    }
    let podman = Podman::new();
    podman.run(&["load", "-q", "-i", user.home().join("web.tar").to_str().unwrap()]);
    let said = podman.container("web", &["sh", "-c", "nginx -v 2>&1; id -un; stat -c %U:%G /var/log/nginx/error.log"]);
    assert!(said.starts_with("nginx version: ") && said.ends_with("\nwww-data\nwww-data:adm\n"), "{said}");
}

#[test]
fn the_demo_works_for_an_ordinary_user() {
    if !as_root() {
        return;
    }
    let user = User::new(true);
    user.import(Base::Busybox);
    support::copy_tree(&support::project().join("examples/demo"), &user.home().join("demo"));
    User::own(&user.home().join("demo"));
    let built = user.bld(&["build", "--progress", "plain", "-t", "demo", "demo"]).succeeded();
    let again = user.bld(&["build", "--progress", "plain", "-t", "demo", "demo"]).succeeded();
    assert_eq!(again.stdout, built.stdout);
    assert!(again.stderr.contains("0 steps ran"), "{}", again.stderr);
    user.run(&["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "store"]).succeeded();
}

#[test]
fn where_there_are_no_user_namespaces_the_message_says_so() {
    if !as_root() {
        return;
    }
    let user = User::new(true);
    user.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    // The limit is set in a user namespace around bld; inside it bld is neither root nor able to make another.
    let inside = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all --inh-caps -all \
                  --no-new-privs -- ./bld --root store build context";
    let run = user.run(&["unshare", "--user", "--map-root-user", "sh", "-c", inside]);
    refused(&run, "user.max_user_namespaces");
    assert!(run.stderr.contains("sysctl -w user.max_user_namespaces="), "{}", run.failure());
}
