//! What a step must not see or do, and what a build context must not reach.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

const CANARY: &str = "canary-of-the-host-5f2c";

/// A build directory in a directory of its own, beside which lies a secret.
struct Scene {
    store: Store,
    directory: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let directory = TempDir::with_prefix("walls-").unwrap();
        std::fs::create_dir(directory.path().join("context")).unwrap();
        std::fs::write(directory.path().join("secret"), format!("{CANARY}\n")).unwrap();
        Scene { store: Store::with(&[Base::Busybox]), directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("context").join(name)
    }

    /// Builds `dockerfile`; root and everything around carries canaries in its environment.
    fn build(&self, dockerfile: &str) -> Run {
        std::fs::write(self.path("Dockerfile"), dockerfile).unwrap();
        self.build_there()
    }

    fn build_there(&self) -> Run {
        let mut build = self.store.bld();
        build
            .args(["build", "--progress", "plain", "--no-cache", "-o", "out", "context"])
            .current_dir(self.directory.path());
        for name in ["CANARY_ENV", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "LD_LIBRARY_PATH", "BASH_ENV"] {
            build.env(name, CANARY);
        }
        support::run(&mut build)
    }

    fn out(&self, name: &str) -> String {
        let path = self.directory.path().join("out").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }
}

/// P1: capabilities of root and of others.
#[test]
fn capabilities_are_dockers() {
    let scene = Scene::new();
    let capabilities = "grep Cap /proc/self/status";
    scene
        .build(&format!("FROM busybox:1\nRUN {capabilities} > /root1\nUSER 1000\nRUN {capabilities} > /tmp/other\n"))
        .succeeded();
    let of = |file: &str, name: &str| {
        let text = scene.out(file);
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.rsplit('\t').next().unwrap().to_owned()
    };
    let (all, none) = ("00000000a80425fb", "0000000000000000");
    for (file, name, wanted) in [
        ("root1", "CapBnd", all),
        ("root1", "CapEff", all),
        ("root1", "CapPrm", all),
        ("root1", "CapInh", none),
        ("root1", "CapAmb", none),
        ("tmp/other", "CapBnd", all),
        ("tmp/other", "CapEff", none),
        ("tmp/other", "CapPrm", none),
        ("tmp/other", "CapInh", none),
        ("tmp/other", "CapAmb", none),
    ] {
        assert_eq!(of(file, name), wanted, "{name} of {file}");
    }
}

/// P8: control groups are out of reach.
#[test]
fn control_groups_cannot_be_written() {
    let scene = Scene::new();
    scene
        .build(
            "FROM busybox:1\nRUN for name in release_agent cgroup.procs notify_on_release; do \\\n\
             find / -name $name 2>/dev/null; done > /found; while read file; do ! (echo x > $file) 2>/dev/null || exit 1; done < /found; \\\n\
             ! mkdir /sys/fs/cgroup/mine 2>/dev/null && ! (mkdir /m && mount -t cgroup none /m) 2>/dev/null && cat /proc/self/cgroup > /groups\n",
        )
        .succeeded();
    for line in scene.out("groups").lines() {
        assert!(line.ends_with(":/"), "the step sees where it is: {line}");
    }
}

/// P11: no descriptor but the three.
#[test]
fn no_descriptor_leaks_into_a_step() {
    let scene = Scene::new();
    // The directory that ls reads is the fourth.
    scene.build("FROM busybox:1\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"cd /proc/self/fd; echo * > /open; readlink 0 > /stdin\"]\n").succeeded();
    let open = scene.out("open");
    let numbers: Vec<u32> = open.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert!(numbers.len() <= 4 && numbers[..3] == [0, 1, 2], "{open}");
    assert_eq!(scene.out("stdin"), "/dev/null\n");
}

/// P13: numbers of users are never names, and never wrap round to root.
#[test]
fn no_number_becomes_root() {
    let scene = Scene::new();
    for user in ["2147483648", "4294967295", "4294967296", "-1", "1000:4294967296", "18446744073709551616", "1000:-1"] {
        let built = scene.build(&format!("FROM busybox:1\nUSER {user}\nRUN id -u > /tmp/id; id -g >> /tmp/id\n"));
        if built.code == Some(0) {
            let id = scene.out("tmp/id");
            let number = user.split(':').next().unwrap();
            assert!(id.starts_with(&format!("{number}\n")) && !id.contains("\n0\n"), "USER {user} is {id}");
        } else {
            assert!(built.code == Some(1) && built.stderr.contains(user), "{}", built.failure());
        }
    }
    // A name of digits in the image's own list is not looked up.
    let passwd = "RUN echo '1234:x:0:0::/:/bin/sh' >> /etc/passwd && echo '0x0:x:0:0::/:/bin/sh' >> /etc/passwd\n";
    scene.build(&format!("FROM busybox:1\n{passwd}USER 1234\nRUN id -u > /tmp/id\n")).succeeded();
    assert_eq!(scene.out("tmp/id"), "1234\n");
}

/// P15: nothing of the caller's environment.
#[test]
fn the_callers_environment_stays_outside() {
    let scene = Scene::new();
    let built = scene
        .build("FROM busybox:1\nARG GIVEN=argument\nENV SET=value\nRUN env | sort > /env; cat /proc/[0-9]*/environ > /all; set > /set\n")
        .succeeded();
    assert!(!built.stderr.contains(CANARY), "{}", built.stderr);
    for file in ["env", "all", "set"] {
        assert!(!scene.out(file).contains(CANARY), "{file}");
    }
    let env = scene.out("env");
    let names: Vec<&str> = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known = ["GIVEN", "HOME", "OLDPWD", "PATH", "PWD", "SET", "SHLVL"];
    assert!(names.iter().all(|name| known.contains(name)), "{env}");
}

/// M13: a working directory cannot lead out by way of a descriptor.
#[test]
fn no_working_directory_leads_out() {
    let scene = Scene::new();
    let secret = scene.directory.path().join("secret");
    let target = secret.strip_prefix("/").unwrap().display().to_string();
    let mut directories: Vec<String> = (3..16).map(|number| format!("/proc/self/fd/{number}")).collect();
    directories
        .extend(["/proc/1/cwd", "/proc/self/cwd/../../..", "/proc/1/root", "/proc/self/root/.."].map(str::to_owned));
    for directory in directories {
        for user in ["", "USER 1000\n"] {
            let built = scene.build(&format!(
                "FROM busybox:1\n{user}WORKDIR {directory}\nRUN pwd; cat ../../../{target} ../../../../../{target} {target}; cat .{target}; true\n"
            ));
            assert!(
                !built.stderr.contains(CANARY) && !built.stderr.contains("unreachable"),
                "{directory}: {}",
                built.failure()
            );
        }
    }
}

/// C1, C2: links and dots in contexts.
#[test]
fn a_context_is_never_left() {
    let scene = Scene::new();
    let secret = scene.directory.path().join("secret");
    symlink(&secret, scene.path("absolute")).unwrap();
    symlink("../secret", scene.path("relative")).unwrap();
    symlink("..", scene.path("up")).unwrap();
    std::fs::create_dir(scene.path("sub")).unwrap();
    symlink("../../secret", scene.path("sub/deep")).unwrap();
    std::fs::write(scene.path("sub/file"), "inside\n").unwrap();
    scene.build("FROM scratch\nCOPY . /c\n").succeeded();
    let link = |name: &str| std::fs::read_link(scene.directory.path().join("out/c").join(name)).unwrap();
    assert_eq!(link("absolute"), secret);
    assert_eq!(
        (link("relative").as_path(), link("sub/deep").as_path()),
        (Path::new("../secret"), Path::new("../../secret"))
    );
    for source in [
        "absolute",
        "relative",
        "sub/deep",
        "up/secret",
        "../secret",
        "/../secret",
        "sub/../../secret",
        "up/../secret",
        "../../../../../../etc/passwd",
        "up/context/../secret",
    ] {
        for instruction in ["COPY", "ADD"] {
            let built = scene.build(&format!("FROM busybox:1\n{instruction} {source} /taken\nRUN cat /taken; true\n"));
            assert!(
                !built.stderr.contains(CANARY) && !built.stderr.contains("root:x:0:0:root:/root:/bin/bash"),
                "{source}: {}",
                built.failure()
            );
            let taken = scene.directory.path().join("out/taken");
            assert!(!std::fs::read_to_string(&taken).is_ok_and(|text| text.contains(CANARY)), "{source}");
            drop(std::fs::remove_dir_all(scene.directory.path().join("out")));
        }
    }
    scene.build("FROM scratch\nCOPY sub/../sub/file /there\n").succeeded();
    assert_eq!(scene.out("there"), "inside\n");
}

/// C3: the Dockerfile and the ignore file do not lead out either, and no line of the host's is printed.
#[test]
fn a_dockerfile_is_not_read_from_outside() {
    let scene = Scene::new();
    for target in [scene.directory.path().join("secret"), "../secret".into()] {
        symlink(&target, scene.path("Dockerfile")).unwrap();
        let built = scene.build_there();
        assert!(built.code == Some(1) && !built.stderr.contains(CANARY), "{}", built.failure());
        std::fs::remove_file(scene.path("Dockerfile")).unwrap();
    }
    symlink("../secret", scene.path(".dockerignore")).unwrap();
    let built = scene.build("FROM scratch\nCOPY . /c\n");
    assert!(!built.stderr.contains(CANARY), "{}", built.failure());
}

/// C5: special files in a context keep nobody waiting.
#[test]
fn special_files_in_a_context_keep_nobody_waiting() {
    let scene = Scene::new();
    support::run(std::process::Command::new("mkfifo").arg(scene.path("fifo"))).succeeded();
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("socket")).unwrap();
    if rustix::process::geteuid().is_root() {
        support::run(std::process::Command::new("mknod").arg(scene.path("block")).args(["b", "7", "200"])).succeeded();
        support::run(std::process::Command::new("mknod").arg(scene.path("zero")).args(["c", "1", "5"])).succeeded();
    }
    symlink("/dev/zero", scene.path("endless")).unwrap();
    for dockerfile in [
        "FROM scratch\nCOPY . /c\n",
        "FROM scratch\nCOPY fifo /f\n",
        "FROM scratch\nCOPY endless /e\n",
        "FROM scratch\nADD zero /z\n",
    ] {
        let start = Instant::now();
        let built = scene.build(dockerfile);
        assert!(start.elapsed() < Duration::from_secs(5), "{}", built.failure());
        assert!(matches!(built.code, Some(0 | 1)), "{}", built.failure());
    }
}
