//! Sources that mean harm. The numbers are those of the attack tables.

use std::os::unix::fs::symlink;
use std::time::Duration;
use std::time::Instant;

use super::Scene;
use super::repository::Daemon;
use super::repository::Repository;
use super::run_with;
use super::server::Page;
use super::server::Server;
use crate::support::run;

/// One entry of a tar archive.
fn entry(name: &str, kind: tar::EntryType, link: &str, body: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn c4_a_context_is_never_written_through_its_links() {
    let (scene, server) = (Scene::new(), Server::start());
    let target = scene.write("target", "precious");
    let link = entry("Dockerfile", tar::EntryType::Symlink, &target.display().to_string(), b"");
    let file = entry("Dockerfile", tar::EntryType::Regular, "", b"FROM scratch\nCOPY Dockerfile /\n");
    let out = entry("../../../escaped", tar::EntryType::Regular, "", b"x");
    let hard = entry("hard", tar::EntryType::Link, &target.display().to_string(), b"");
    let garbage = vec![b'g'; 2048];
    let end = vec![0; 1024];
    for (name, parts, may_work) in [
        ("garbage", vec![&link, &garbage], false),
        ("link only", vec![&link, &end], false),
        ("link, then file", vec![&link, &file, &end], true),
        ("hard link", vec![&hard, &end], false),
        ("escape", vec![&file, &out, &end], true),
        ("cut", vec![&file], true),
    ] {
        let bytes: Vec<u8> = parts.into_iter().flatten().copied().collect();
        server.page("/c.tar", Page::new(bytes.clone()));
        for outcome in [run_with(scene.command().arg("-"), &bytes), run(scene.command().arg(server.url("/c.tar")))] {
            assert!(outcome.code == Some(1) || (may_work && outcome.code == Some(0)), "{name}: {}", outcome.failure());
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious", "{name}");
            assert!(!outcome.stderr.contains("precious"), "{name}: {}", outcome.failure());
        }
    }
    // The archive that is none the second time is not taken for what the first one made.
    server.page("/c.tar", Page::new("FROM scratch\nCOPY Dockerfile /\n"));
    let failed = run(scene.command().arg(server.url("/c.tar")));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
}

#[test]
fn c8_a_subdirectory_is_a_real_directory_of_the_repository() {
    let scene = Scene::new();
    scene.write("outside/f", "canary");
    let repository = Repository::create(scene.path("git/x.git"));
    symlink("/", repository.path.join("proj")).unwrap();
    symlink("real", repository.path.join("inner")).unwrap();
    repository.commit(&[("real/f", "fine"), ("real/Dockerfile", "FROM scratch\nCOPY . /\n")]);
    let daemon = Daemon::start(&scene.path("git"));
    let outside = scene.path("outside");
    let through = format!("#main:proj{}", outside.display());
    for suffix in [
        "#main:../../outside",
        &through,
        "#main:inner",
        "#main:real/../../x",
        "#main:.git",
        "?subdir=../x",
        "?subdir=%2e%2e/x",
    ] {
        let url = format!("{}{suffix}", daemon.url("x.git"));
        let failed = run(scene.command().arg(&url));
        assert!(matches!(failed.code, Some(1 | 2)), "{suffix}: {}", failed.failure());
        let failed = scene.build(&format!("FROM scratch\nADD {url} /\n"));
        assert_eq!(failed.code, Some(1), "{suffix}: {}", failed.failure());
        assert!(!scene.out("f").exists());
    }
    run(scene.command().arg(format!("{}#main:real", daemon.url("x.git")))).succeeded();
}

#[test]
fn c9_nothing_a_repository_says_becomes_an_option_or_a_path_of_this_machine() {
    let scene = Scene::new();
    let secret = Repository::create(scene.path("secret"));
    secret.commit(&[("canary", "canary")]);
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "f")]);
    let daemon = Daemon::start(&scene.path("git"));
    let mark = scene.path("mark");
    let touch = format!("touch {}", mark.display());
    for url in [
        format!("{}#-x", daemon.url("x.git")),
        format!("{}#--upload-pack={touch}", daemon.url("x.git")),
        format!("{}?ref=--upload-pack=x", daemon.url("x.git")),
        format!("ext::sh -c '{touch}' x.git"),
        format!("file://{}", secret.path.display()),
        format!("ssh://-oProxyCommand={touch}/x.git"),
        format!("git@-oProxyCommand={touch}:x.git"),
    ] {
        let failed = run(scene.command().arg(&url));
        assert!(matches!(failed.code, Some(1 | 2)), "{url}: {}", failed.failure());
        let failed = scene.build(&format!("FROM scratch\nADD [\"{url}\", \"/x\"]\n"));
        assert_eq!(failed.code, Some(1), "{url}: {}", failed.failure());
        assert!(!mark.exists(), "{url}");
    }
    // A submodule that names files of this machine, or a command.
    for url in [
        secret.path.display().to_string(),
        format!("file://{}", secret.path.display()),
        format!("ext::sh -c {}", touch.replace(' ', "%20")),
    ] {
        let outer = Repository::create(scene.path("git/outer.git"));
        outer.commit(&[("o", "o")]);
        let commit = secret.head();
        outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},mod")]);
        std::fs::write(outer.path.join(".gitmodules"), format!("[submodule \"mod\"]\n\tpath = mod\n\turl = {url}\n"))
            .unwrap();
        outer.git(&["add", ".gitmodules"]);
        outer.git(&["commit", "-q", "-m", "submodule"]);
        let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", daemon.url("outer.git")));
        assert_eq!(failed.code, Some(1), "{url}: {}", failed.failure());
        assert!(!scene.out("x/mod/canary").exists() && !mark.exists(), "{url}");
    }
    // The remote's own HEAD may be called anything.
    std::fs::write(repository.path.join(".git/HEAD"), "ref: refs/heads/--upload-pack=x\n").unwrap();
    let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", daemon.url("x.git")));
    assert_eq!(failed.code, Some(1), "{}", failed.failure());
}

#[test]
fn c9_the_users_own_git_configuration_is_not_read() {
    let scene = Scene::new();
    let repository = Repository::create(scene.path("git/x.git"));
    repository.commit(&[("f", "f"), (".gitattributes", "f filter=evil\n")]);
    let daemon = Daemon::start(&scene.path("git"));
    let mark = scene.path("mark");
    let config = format!("[filter \"evil\"]\n\tsmudge = touch {}\n[core]\n\tsshCommand = false\n", mark.display());
    scene.write("home/.gitconfig", config);
    scene.write("context/Dockerfile", format!("FROM scratch\nADD {} /x\n", daemon.url("x.git")));
    run(scene.command().env("HOME", scene.path("home")).arg(scene.context())).succeeded();
    assert!(scene.read("x/f") == "f" && !mark.exists());
}

#[test]
fn c10_a_url_cannot_choose_where_its_file_goes() {
    let (scene, server) = (Scene::new(), Server::start());
    let page = || Page::new("x").with("Content-Disposition", "attachment; filename=\"../../escaped\"");
    for (path, name) in [
        ("/plain", "plain"),
        ("/%2e%2e", "__unnamed__"),
        ("/a/..%2f..%2fup", "up"),
        ("/nul%00byte", "__unnamed__"),
        ("/line%0abreak", "__unnamed__"),
        ("/what%5B1%5D%2A.txt", "what[1]*.txt"),
        ("/dir/", "dir"),
    ] {
        server.page(path, page());
        // The client resolves dots in a path before it asks.
        server.page("/", page());
        scene.build(&format!("FROM scratch\nADD {} /in/\n", server.url(path))).succeeded();
        let names: Vec<_> =
            std::fs::read_dir(scene.out("in")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [name], "{path}");
    }
    let endless = Page { missing: usize::MAX / 4, ..Page::new("x") };
    server.page("/endless", endless);
    let start = Instant::now();
    let failed = scene.build(&format!("FROM scratch\nADD {} /x\n", server.url("/endless")));
    assert!(failed.code == Some(1) && failed.stderr.contains("larger than"), "{}", failed.failure());
    assert!(start.elapsed() < Duration::from_secs(20));
}
