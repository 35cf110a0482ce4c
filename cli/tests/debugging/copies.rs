//! `bld cp`: its rules are those of `docker cp`, and nothing in an image leads out of it or out of where it is copied to.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::Site;
use super::listing;
use crate::support;

const FILES: &str = "FROM busybox:1\n\
    RUN mkdir -p /d/sub && echo a > /d/a && echo b > /d/sub/b && ln -s a /d/link && ln -s /d /to && chmod 640 /d/a && \
        cp /bin/busybox /d/tool && chmod 4755 /d/tool && chmod 3775 /d/sub && chown 7:8 /d/a && ln /d/a /d/twin && \
        echo own > /file && mkfifo /d/pipe; exit 1\n";

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let site = Site::new();
    site.fails("FROM busybox:1\nRUN mkdir -p /d/sub && echo a > /d/a && echo b > /d/sub/b && chmod 640 /d/a; exit 1\n");
    let cp = |source: &str, destination: &str| site.bld(&["cp", &format!("failed:{source}"), destination]);
    let dir = ["d/ 755", "d/a 640 a\n", "d/sub/ 755", "d/sub/b 644 b\n"];
    let inside = ["/ 755", "a 640 a\n", "sub/ 755", "sub/b 644 b\n"];
    std::fs::create_dir(site.path("there")).unwrap();
    // A file: into a directory, to a name, over a file.
    cp("/d/a", "there").succeeded();
    cp("/d/a", "there/").succeeded();
    cp("d/a", "name");
    cp("/d/a", "name").succeeded();
    cp("/d/sub/b", "name").succeeded();
    assert_eq!((site.read("there/a"), site.read("name")), ("a\n".to_owned(), "b\n".to_owned()));
    // A directory: into one, as a new one, only what is in it.
    cp("/d", "there").succeeded();
    assert_eq!(listing(&site.path("there"))[1..], [&["a 640 a\n"], &dir[..]].concat());
    for (source, destination) in [("/d", "new"), ("/d/", "newer"), ("/d/.", "newest"), ("/d/sub/..", "other")] {
        cp(source, destination).succeeded();
        assert_eq!(listing(&site.path(destination)), inside, "{source}");
    }
    std::fs::create_dir(site.path("flat")).unwrap();
    cp("/d/.", "flat").succeeded();
    assert_eq!(listing(&site.path("flat")), inside);
    // What is there is added to and replaced.
    site.write("flat/a", "old");
    site.write("flat/mine", "mine");
    cp("/d/.", "flat/").succeeded();
    assert_eq!((site.read("flat/a"), site.read("flat/mine")), ("a\n".to_owned(), "mine".to_owned()));
    for (source, destination, said) in [
        ("/d/a", "none/", "there is no directory"),
        ("/d/a", "none/x", "there is no directory"),
        ("/d", "name", "cannot copy the directory /d over"),
        ("/d/a/", "x", "/d/a/ is not a directory: it is a file"),
        ("/none", "x", "nothing is at /none"),
        ("/d/a/b", "x", "nothing is at /d/a/b"),
        ("/d/a", "/dev/null", "/dev/null is neither a file nor a directory"),
    ] {
        let done = cp(source, destination);
        assert_eq!(done.code, Some(1), "{}", done.failure());
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains(said), "{}", done.stderr);
    }
    assert!(!site.path("x").exists() && std::fs::metadata("/dev/null").unwrap().rdev() != 0);
    for text in ["/d/a", "failed", "failed:d/a", ":/d"] {
        assert_eq!(site.bld(&["cp", text, "."]).code, Some(2), "{text}");
    }
}

#[test]
fn what_could_be_dangerous_stays_behind() {
    let site = Site::new();
    site.fails(FILES);
    site.output(&["cp", "failed:/d", "."]);
    let mode = |name: &str| std::fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("d/tool"), mode("d/sub"), mode("d/a")), (0o755, 0o1775, 0o640));
    let status = std::fs::metadata(site.path("d/a")).unwrap();
    assert_eq!((status.uid(), status.nlink()), (rustix::process::geteuid().as_raw(), 2));
    assert!(site.path("d/link").is_symlink());
    // Links are copied as links, unless they are to be followed.
    site.output(&["cp", "failed:/to", "link"]);
    assert_eq!(std::fs::read_link(site.path("link")).unwrap().to_str(), Some("/d"));
    site.output(&["cp", "-L", "failed:/to", "followed"]);
    site.output(&["cp", "failed:/to/.", "followed too"]);
    assert_eq!((site.read("followed/a"), site.read("followed too/a")), ("a\n".to_owned(), "a\n".to_owned()));
}

#[test]
fn a_tar_on_standard_output() {
    let site = Site::new();
    site.fails(FILES);
    let list = |words: &[&str]| {
        let bytes = site.command(words).output().unwrap();
        assert!(bytes.status.success(), "{}", String::from_utf8_lossy(&bytes.stderr));
        std::fs::write(site.path("x.tar"), bytes.stdout).unwrap();
        let tar =
            support::run(Command::new("tar").arg("tvf").arg(site.path("x.tar")).arg("--numeric-owner")).succeeded();
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5..].join(" "))
        };
        tar.stdout.lines().map(line).collect::<Vec<_>>()
    };
    let expected = [
        "drwxr-xr-x 0/0 d/",
        "-rw-r----- 7/8 d/a",
        "lrwxrwxrwx 0/0 d/link -> a",
        "prw-r--r-- 0/0 d/pipe",
        "drwxrwsr-t 0/0 d/sub/",
        "-rw-r--r-- 0/0 d/sub/b",
        "-rwsr-xr-x 0/0 d/tool",
        "hrw-r----- 7/8 d/twin link to d/a",
    ];
    assert_eq!(list(&["cp", "failed:/d", "-"]), expected);
    assert_eq!(list(&["cp", "failed:/file", "-"]), ["-rw-r--r-- 0/0 file"]);
    assert!(list(&["cp", "failed:/d/.", "-"]).contains(&"-rw-r----- 7/8 a".to_owned()));
}

/// A secret of the host's, beside what is copied to.
fn canary(site: &Site) -> std::path::PathBuf {
    let canary = site.path("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("secret"), "host").unwrap();
    canary
}

#[test]
fn links_of_an_image_never_lead_out_of_it() {
    let site = Site::new();
    let canary = canary(&site);
    let shown = canary.display();
    site.fails(&format!(
        "FROM busybox:1\nRUN ln -s {shown} /out && ln -s ../../../../../..{shown} /up && ln -s {shown}/secret /file && \
         ln -s loop /loop && mkdir /x && ln -s {shown} /x/inner && ln -s .. /x/dots; exit 1\n"
    ));
    let copy = |words: &[&str]| site.bld(&[&["cp"], words].concat());
    for source in ["/out/secret", "/up/secret", "/out/.", "/out/", "/x/inner/secret", "/../../../../..", "/loop/x"] {
        let source =
            if source.ends_with("..") { format!("failed:{source}{shown}/secret") } else { format!("failed:{source}") };
        let done = copy(&[&source, "got"]);
        assert_eq!(done.code, Some(1), "{source}: {}", done.failure());
        assert!(!site.path("got").exists() && !site.path("got").is_symlink(), "{source}");
    }
    assert_eq!(copy(&["-L", "failed:/file", "got"]).code, Some(1));
    copy(&["failed:/file", "got"]).succeeded();
    assert!(site.path("got").is_symlink());
    // Copied over a link that came out of an image: the link is replaced, not followed.
    copy(&["failed:/etc/passwd", "got"]).succeeded();
    assert!(!site.path("got").is_symlink());
    assert_eq!(listing(&canary), ["/ 755", "secret 644 host"]);
}

#[test]
fn links_where_it_is_copied_to_are_not_followed() {
    let site = Site::new();
    let canary = canary(&site);
    site.fails("FROM busybox:1\nRUN mkdir -p /d/sub && echo evil > /d/secret && echo evil > /d/sub/secret; exit 1\n");
    std::fs::create_dir_all(site.path("to/d")).unwrap();
    symlink(canary.join("secret"), site.path("to/d/secret")).unwrap();
    symlink(&canary, site.path("to/d/sub")).unwrap();
    site.output(&["cp", "failed:/d", "to"]);
    assert_eq!(listing(&canary), ["/ 755", "secret 644 host"]);
    assert_eq!(site.read("to/d/sub/secret"), "evil\n");
    // A destination that is itself a link is the user's wish.
    symlink(site.path("to"), site.path("wish")).unwrap();
    site.output(&["cp", "failed:/d/secret", "wish"]);
    assert_eq!(site.read("to/secret"), "evil\n");
    // The control: what this is about does happen where links are followed.
    support::run(Command::new("cp").arg(site.path("to/secret")).arg(canary.join("secret"))).succeeded();
    assert_eq!(listing(&canary), ["/ 755", "secret 644 evil\n"]);
}

/// Somebody who may write to the destination turns a directory into a link and back while it is copied.
#[test]
fn a_link_that_comes_and_goes_is_not_followed() {
    let site = Site::new();
    let canary = canary(&site);
    site.fails("FROM busybox:1\nRUN mkdir -p /d/sub && for i in $(seq 400); do echo evil > /d/sub/f$i; done; exit 1\n");
    let to = site.path("to");
    std::fs::create_dir_all(to.join("d")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let sub = to.join("d/sub");
                if std::fs::rename(&sub, to.join("aside")).is_ok() && symlink(&canary, &sub).is_ok() {
                    swaps += 1;
                    std::thread::sleep(std::time::Duration::from_micros(200));
                    std::fs::remove_file(&sub).ok();
                    std::fs::rename(to.join("aside"), &sub).ok();
                }
                std::fs::remove_dir_all(to.join("aside")).ok();
            }
            swaps
        });
        for _ in 0..15 {
            // It may fail; it may not write elsewhere.
            site.bld(&["cp", "failed:/d", "to"]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap()
    });
    assert!(swaps > 10, "{swaps} swaps");
    assert_eq!(listing(&canary), ["/ 755", "secret 644 host"]);
}
