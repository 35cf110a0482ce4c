//! `bld cache mount`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::Scene;

const DOCKERFILE: &str = "\
FROM busybox:1
RUN --mount=type=cache,target=/cache,id=things --mount=type=cache,target=/other \\
    cd /cache && mkdir -p d/e && echo text > d/file && chmod 640 d/file && ln -s /d/file in && ln -s ../../../etc/passwd up && \\
    ln -s /etc/passwd out && ln -s loop loop && mkfifo fifo && printf 'a\\033[2Jb' > \"$(printf 'e\\033sc')\"
";

#[test]
fn a_mount_is_listed_and_looked_into() {
    let scene = Scene::new(DOCKERFILE);
    assert_eq!(scene.says(&["cache", "mount", "ls", "-q"]), "");
    scene.build(&[]);
    let row = "{{.ID}} {{.Copies}} {{.InUse}} {{.LastUsedSince}}";
    let mut listed: Vec<String> =
        scene.says(&["cache", "mount", "ls", "--format", row]).lines().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].starts_with("/other 1 no ") && listed[1].starts_with("things 1 no "), "{listed:?}");
    let top = scene.says(&["cache", "mount", "browse", "things"]);
    let shown: Vec<(&str, String)> =
        top.lines().map(|line| (&line[..10], line.split(" UTC  ").nth(1).unwrap_or_default().to_owned())).collect();
    let expected = [
        ("drwxr-xr-x", "d"),
        ("-rw-r--r--", "e\\u{1b}sc"),
        ("prw-r--r--", "fifo"),
        ("lrwxrwxrwx", "in -> /d/file"),
        ("lrwxrwxrwx", "loop -> loop"),
        ("lrwxrwxrwx", "out -> /etc/passwd"),
        ("lrwxrwxrwx", "up -> ../../../etc/passwd"),
    ];
    assert_eq!(shown, expected.map(|(mode, name)| (mode, name.to_owned())));
    assert!(scene.says(&["cache", "mount", "browse", "thi", "d"]).contains("-rw-r-----  0:0  5 "));
    // As in the mount itself: `/` is its top, and nothing lies above it.
    for path in ["/d/file", "d/file", "in", "../../d/../in"] {
        assert_eq!(scene.says(&["cache", "mount", "browse", "things", path]), "text\n", "{path}");
    }
    assert_eq!(scene.says(&["cache", "mount", "browse", "things", "../../.."]), top);
    for (path, expected) in [
        ("out", "cannot open out of cache mount `things`: it is not there"),
        ("up", "it is not there"),
        ("loop", "its links go round in circles"),
        ("fifo", "fifo is neither a directory nor a file"),
        ("d/file/x", "cannot open d/file/x"),
    ] {
        let said = scene.fails(&["cache", "mount", "browse", "things", path]);
        assert!(said.contains(expected), "{said}");
    }
    let said = scene.fails(&["cache", "mount", "browse", "nothing"]);
    assert!(said.contains("there is no cache mount `nothing`\nhint: the cache mounts are `"), "{said}");
    let said = scene.fails(&["cache", "mount", "browse", "things", "--copy", "3"]);
    assert!(said.contains("the cache mount has no copy 3\nhint: its copies are 0"), "{said}");
}

#[test]
fn a_mount_is_emptied_and_made_again() {
    let scene = Scene::new(DOCKERFILE);
    scene.build(&[]);
    let said = scene.says(&["cache", "mount", "rm", "things"]);
    assert!(said.starts_with("Removed: things\nTotal reclaimed space: "), "{said}");
    assert_eq!(scene.says(&["cache", "mount", "ls", "-q"]), "/other\n");
    let said = scene.fails(&["cache", "mount", "rm", "things"]);
    assert!(said.contains("there is no cache mount `things`"), "{said}");
    // Its content is in no key, and it is made again by whoever runs.
    scene.runs(&[], &[]);
    scene.build(&["--no-cache"]);
    assert_eq!(scene.says(&["cache", "mount", "browse", "things", "in"]), "text\n");
    assert!(scene.says(&["cache", "mount", "rm", "--all"]).starts_with("Removed: "));
    assert_eq!(scene.says(&["cache", "mount", "ls", "-q"]), "");
    assert!(scene.fails(&["cache", "mount", "rm"]).contains("<ID>"));
}

#[test]
fn a_mount_in_use_is_let_alone() {
    let text = "FROM busybox:1\nRUN --mount=type=cache,target=/c,sharing=SHARING echo used > /c/used; while [ ! -e /c/go ]; do sleep 0.05; done\n";
    for (sharing, shown) in [("shared", "shared"), ("locked", "alone"), ("private", "alone")] {
        let scene = Scene::new(&text.replace("SHARING", sharing));
        let mut build = scene.command(&["build", "--network", "none", "."]);
        let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while scene.run(&["cache", "mount", "browse", "/c", "used"]).stdout != "used\n" {
            assert!(begun.elapsed() < Duration::from_mins(1) && build.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(scene.says(&["cache", "mount", "ls", "--format", "{{.InUse}}"]).trim(), shown);
        let run = scene.run(&["cache", "mount", "rm", "/c"]);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains("the cache mount `/c` is in use by a step that runs"), "{}", run.stderr);
        // Nor does a limit take it.
        scene.says(&["prune", "--max-size", "0"]);
        assert_eq!(scene.says(&["cache", "mount", "browse", "/c", "used"]), "used\n");
        let mounts = scene.store.root().join("mounts");
        let mount = fs::read_dir(mounts).unwrap().next().unwrap().unwrap().path();
        fs::write(mount.join("0/go"), "").unwrap();
        assert!(build.wait().unwrap().success());
        scene.says(&["cache", "mount", "rm", "/c"]);
        assert_eq!(scene.says(&["cache", "mount", "ls", "-q"]), "");
    }
}
