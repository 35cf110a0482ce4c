//! A user to whom no ids are lent: owners are noted in the image, not on the disk.

use super::as_root;
use super::files;
use super::user::User;
use crate::support::Base;

#[test]
fn one_id_is_enough_for_copies_and_simple_steps() {
    if !as_root() {
        return;
    }
    let user = User::new(false);
    user.import(Base::Busybox);
    user.write(
        "context/Dockerfile",
        "FROM busybox:1\nCOPY --chown=33:44 --chmod=4755 Dockerfile /copied\nCOPY --chown=app Dockerfile /d/of-app\n\
         RUN chown 5:6 /bin/sh && chown -R 33:33 /home && chgrp mail /var/spool && echo made > /made && id -u > /id\n\
         USER app\nRUN echo mine > /tmp/mine\nWORKDIR /srv\n",
    );
    let built = user
        .bld(&["build", "--progress", "plain", "-t", "single", "-o", "type=tar,dest=out.tar", "context"])
        .succeeded();
    assert!(built.stderr.contains("note: files can have one owner only"), "{}", built.stderr);
    assert!(built.stderr.contains("usermod --add-subuids"), "{}", built.stderr);
    let listed = files(&user.home().join("out.tar"));
    let has = |start: &str, end: &str| {
        assert!(
            listed.iter().any(|file| file.starts_with(start) && file.ends_with(end)),
            "no {start} {end}: {listed:#?}"
        );
    };
    has("-rwsr-xr-x 33/44 ", " copied");
    has("-rw-r--r-- 1000/1000 ", " d/of-app");
    has("-rw-r--r-- 0/0 5 ", "made");
    has("drwxrwxrwt 0/0 0 ", "tmp/");
    // Nothing is left that the user could not delete.
    user.run(&["rm", "-rf", "store"]).succeeded();
}

#[test]
fn packages_install_with_one_id() {
    if !as_root() {
        return;
    }
    let user = User::new(false);
    user.import(Base::Debian);
    // apt changes to a user of its own to download, and looks whether it has become that user; this asks it not to.
    let apt = "apt-get -o APT::Sandbox::User=root";
    user.write(
        "context/Dockerfile",
        &format!("FROM debian:12\nRUN {apt} update && {apt} install -y less && less --version\n"),
    );
    user.bld(&["build", "--progress", "plain", "-o", "type=tar,dest=out.tar", "context"]).succeeded();
    let listed = files(&user.home().join("out.tar"));
    assert!(listed.iter().any(|file| file.starts_with("-rwxr-xr-x 0/0 ") && file.ends_with(" usr/bin/less")));
}
