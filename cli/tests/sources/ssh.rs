//! Git over ssh with the caller's agent, against a server of this machine's own.

use super::Scene;
use super::repository::Repository;
use crate::support::host::cannot_run;
use crate::support::run;
use crate::support::sshd::Sshd;

#[test]
fn the_agent_is_asked_only_if_the_user_says_so() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "by ssh")]);
    let Some(server) = Sshd::start(&scene.path("ssh")) else {
        cannot_run("there is no sshd");
        return;
    };
    let url = format!("{}{}", server.url(), repository.path.display());
    scene.write("context/Dockerfile", format!("FROM scratch\nADD {url} /x\n"));
    let refused = run(scene.command().env("SSH_AUTH_SOCK", server.agent()).arg(scene.context()));
    assert!(refused.code == Some(1) && refused.stderr.contains("--ssh default"), "{}", refused.failure());
    run(scene.command().env("SSH_AUTH_SOCK", server.agent()).args(["--ssh", "default"]).arg(scene.context()))
        .succeeded();
    assert_eq!(scene.read("x/f"), "by ssh");
    // As a context, too.
    repository.commit(&[("Dockerfile", "FROM scratch\nCOPY f /\n")]);
    run(scene.command().env("SSH_AUTH_SOCK", server.agent()).args(["--ssh", "default"]).arg(&url)).succeeded();
    assert_eq!(scene.read("f"), "by ssh");
}

#[test]
fn a_host_whose_key_changed_is_not_believed() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "f")]);
    let Some(server) = Sshd::start(&scene.path("ssh")) else {
        cannot_run("there is no sshd");
        return;
    };
    let url = format!("{}{}", server.url(), repository.path.display());
    scene.write("context/Dockerfile", format!("FROM scratch\nADD {url} /x\n"));
    let command = || {
        let mut command = scene.command();
        command.env("SSH_AUTH_SOCK", server.agent()).args(["--ssh", "default"]).arg(scene.context());
        command
    };
    run(&mut command()).succeeded();
    let known = scene.store.root().join("git/known_hosts");
    let text = std::fs::read_to_string(&known).unwrap();
    let other = server.other_key();
    let lines = text.lines().map(|line| format!("{} {other}\n", line.split(' ').next().unwrap()));
    std::fs::write(&known, lines.collect::<String>()).unwrap();
    let refused = run(&mut command());
    assert!(refused.code == Some(1) && refused.stderr.contains("ost key"), "{}", refused.failure());
}
