//! Secrets: what a step gets, and where their bytes must never be.

use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::Context;
use super::builds;
use super::fails;
use super::shared;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::host;
use crate::support::run;

/// Two lines, so that one of them alone counts too.
const SECRET: &str = "xq-Tr0ub4dor-9f3c1d77aa\nsecond-line-of-it-5e81b0";
const LINES: [&str; 2] = ["xq-Tr0ub4dor-9f3c1d77aa", "second-line-of-it-5e81b0"];

/// Every file below `directory` that holds a line of the secret, decompressed if it is a gzip.
fn holders(directory: &Path) -> Vec<PathBuf> {
    let [first, second] = LINES;
    let grep = ["-rlaF", "-e", first, "-e", second];
    let found = run(Command::new("grep").args(grep).arg(directory)).stdout;
    let mut found: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    let blobs = directory.join("oci/blobs/sha256");
    for name in host::names(&blobs) {
        let file = std::fs::File::open(blobs.join(&name)).unwrap();
        let unpacked = Command::new("gzip").arg("-dcf").stdin(file).output().unwrap().stdout;
        let text = String::from_utf8_lossy(&unpacked);
        if LINES.iter().any(|line| text.contains(line)) {
            found.push(blobs.join(name));
        }
    }
    found
}

/// A store, and a secret in a file outside of it and of the context.
struct Scene {
    store: Store,
    context: Context,
    secret: tempfile::NamedTempFile,
}

impl Scene {
    fn new(lines: &str) -> Self {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), format!("{SECRET}\n")).unwrap();
        let context = Context::new(&format!("FROM busybox:1\n{lines}\n"));
        Self { store: Store::with(&[Base::Busybox]), context, secret }
    }

    fn flag(&self) -> String {
        format!("id=s,src={}", self.secret.path().display())
    }

    fn build(&self, args: &[&str]) -> Run {
        let flag = self.flag();
        let args: Vec<&str> = ["--secret", &flag].into_iter().chain(args.iter().copied()).collect();
        self.context.build(&self.store, &args)
    }

    /// Nothing that is kept or shown holds a byte of it.
    #[track_caller]
    fn is_clean(&self, run: &Run) {
        // What was stopped half-way is cleared away by whoever comes next.
        crate::support::run(self.store.bld().arg("images")).succeeded();
        assert_eq!(holders(self.store.root()), Vec::<PathBuf>::new(), "{}", run.failure());
        for line in LINES {
            assert!(!run.stderr.contains(line) && !run.stdout.contains(line), "{}", run.failure());
        }
    }
}

#[test]
fn what_a_step_gets() {
    let scene = Scene::new(
        "RUN --mount=type=secret,id=s [ \"$(stat -c %a:%u:%g /run/secrets/s)\" = 400:0:0 ] && \
             [ \"$(stat -f -c %T /run/secrets/s)\" = tmpfs ] && ! sh -c 'echo x > /run/secrets/s' 2>/dev/null && \
             [ \"$(wc -l < /run/secrets/s)\" = 2 ]\n\
         RUN --mount=type=secret,id=s,target=/x/y,mode=0440,uid=12,gid=34 [ \"$(stat -c %a:%u:%g /x/y)\" = 440:12:34 ] && [ ! -e /run/secrets ]\n\
         RUN --mount=type=secret,id=s,env=TOKEN [ ${#TOKEN} = 49 ] && [ ! -e /run/secrets ]\n\
         RUN --mount=type=secret,id=s,env=TOKEN,target=/both [ ${#TOKEN} = 49 ] && [ -e /both ]\n\
         RUN --mount=type=secret,target=/a/s [ -e /a/s ]\n\
         RUN --mount=type=secret,id=other [ ! -e /run/secrets ]\n\
         RUN [ ! -e /x ] && [ ! -e /a ] && [ ! -e /run/secrets ] && [ -z \"$TOKEN\" ]",
    );
    let run = scene.build(&[]).succeeded();
    scene.is_clean(&run);
    fails("RUN --mount=type=secret,id=s,required true", &[], "the secret `s` is required and was not given");
    fails("USER 1\nRUN --mount=type=secret,id=s true", &["--secret", "id=s,src=/nowhere"], "/nowhere");
    fails("RUN true", &["--secret", "id=s,env=NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE");
    fails("RUN true", &["--secret", "src=/x"], "`id` is missing");
}

#[test]
fn values_are_not_in_keys_but_ids_and_options_are() {
    let scene =
        Scene::new("RUN --mount=type=secret,id=s,env=T [ -n \"$T\" ] && head -c 16 /dev/urandom | md5sum > /made");
    let first = scene.build(&[]).succeeded();
    std::fs::write(scene.secret.path(), "quite another value").unwrap();
    assert_eq!(scene.build(&[]).succeeded().stdout, first.stdout);
    let other = "FROM busybox:1\nRUN --mount=type=secret,id=s,env=T,mode=0444 [ -n \"$T\" ] && head -c 16 /dev/urandom | md5sum > /made\n";
    scene.context.write("Dockerfile", other);
    assert_ne!(scene.build(&[]).succeeded().stdout, first.stdout);
}

#[test]
fn twenty_ways_to_lose_a_secret() {
    const MOUNT: &str = "RUN --mount=type=secret,id=s,env=T --mount=type=secret,id=s";
    // The command, and whether the build may succeed.
    let ways = [
        ("cat /run/secrets/s", true),
        ("cat /run/secrets/s >&2", true),
        ("echo \"$T\"", true),
        ("echo \"token=$T!\"", true),
        ("printf %s \"$T\"", true),
        ("env", true),
        ("set -x; [ -n \"$T\" ]", true),
        ("head -n 1 /run/secrets/s; tail -n 1 /run/secrets/s", true),
        ("for i in 1 2 3; do cat /run/secrets/s; done", true),
        ("while read -r line; do printf 'x%sx' \"$line\"; sleep 0.1; done < /run/secrets/s", true),
        ("dd if=/run/secrets/s bs=1 2>/dev/null", true),
        ("cat /run/secrets/s; exit 3", false),
        ("sh -c \"$T\"; false", false),
        ("cp /run/secrets/s /app", false),
        ("mkdir /d && cat /run/secrets/s > /d/.npmrc", false),
        ("echo \"$T\" > /app", false),
        (
            "(dd if=/dev/zero bs=262130 count=1; cat /run/secrets/s; dd if=/dev/zero bs=1M count=1) > /big 2>/dev/null",
            false,
        ),
        ("cp /run/secrets/s /hidden && chmod 0 /hidden", false),
        ("cp /run/secrets/s /one && ln /one /two", false),
        ("cp /run/secrets/s /gone && rm /gone && cat /run/secrets/s", true),
        ("cp /run/secrets/s /copied && exit 1", false),
    ];
    for (way, succeeds) in ways {
        let scene = Scene::new(&format!("{MOUNT} {way}"));
        let tar = scene.store.root().join("image.tar");
        let run = scene.build(&["-t", "image", "-o", &format!("type=oci,dest={}", tar.display())]);
        assert_eq!(run.code == Some(0), succeeds, "{way}\n{}", run.failure());
        if way.contains("/d/.npmrc") {
            let message = "secret \"s\" was copied into the layer: /d/.npmrc";
            assert!(run.stderr.contains(message), "{}", run.failure());
        }
        scene.is_clean(&run);
    }
}

#[test]
fn what_is_encoded_is_not_recognised() {
    // Documented: only what is there literally is found.
    let scene = Scene::new("RUN --mount=type=secret,id=s base64 /run/secrets/s > /encoded; base64 /run/secrets/s");
    scene.build(&[]).succeeded();
}

#[test]
fn a_variable_can_hold_the_secret() {
    let scene = Scene::new("RUN --mount=type=secret,id=s cat /run/secrets/s && cp /run/secrets/s /leak");
    let mut command = scene.context.command(&scene.store, &["--secret", "id=s,env=THE_TOKEN"]);
    let run = run(command.env("THE_TOKEN", SECRET));
    assert_eq!(run.code, Some(1));
    scene.is_clean(&run);
}

#[test]
fn through_a_cache_mount_into_a_later_layer() {
    let scene = Scene::new(
        "RUN --mount=type=secret,id=s --mount=type=cache,target=/c cp /run/secrets/s /c/\n\
         RUN --mount=type=cache,target=/c cp /c/s /leak",
    );
    let run = scene.build(&[]);
    assert_eq!(run.code, Some(1), "{}", run.failure());
    assert!(run.stderr.contains("was copied into the layer: /leak"), "{}", run.failure());
}

#[test]
fn a_builder_that_is_killed_leaves_nothing() {
    let scene =
        Scene::new("RUN --mount=type=secret,id=s cp /run/secrets/s /leak && cat /leak && echo copied && sleep 1000");
    let flag = scene.flag();
    let mut command = scene.context.command(&scene.store, &["--secret", &flag]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut said = Vec::new();
    // The command is shown before it runs: what counts is the line that it prints.
    while !String::from_utf8_lossy(&said).lines().any(|line| line.ends_with(" copied") && !line.contains("RUN")) {
        let mut bytes = [0; 4096];
        let length = stderr.read(&mut bytes).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&bytes[..length]);
    }
    for process in host::processes(scene.store.root()) {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let variables = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        for line in LINES {
            let holds = |bytes: &[u8]| bytes.windows(line.len()).any(|window| window == line.as_bytes());
            assert!(!holds(&arguments) && !holds(&variables), "{process:?}");
        }
    }
    host::signal(child.id(), "KILL");
    child.wait().unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(host::eventually(Duration::from_secs(10), || host::processes(scene.store.root()).is_empty()));
    let stderr = String::from_utf8_lossy(&said).into_owned() + &rest;
    let run = Run { command: "killed".to_owned(), code: None, stdout: String::new(), stderr };
    // The first one to come finds it, and it takes a moment to be deleted.
    let clean = || {
        crate::support::run(scene.store.bld().arg("images")).succeeded();
        holders(scene.store.root()).is_empty()
    };
    assert!(host::eventually(Duration::from_secs(10), clean));
    scene.is_clean(&run);
}

#[test]
fn short_values_are_masked_but_not_searched_for() {
    builds("RUN true", &[]);
    let context =
        Context::new("FROM busybox:1\nRUN --mount=type=secret,id=s,env=T echo \"pin $T\" && echo 4711 > /pin\n");
    let mut command = context.command(shared(), &["--secret", "id=s,env=PIN"]);
    let run = run(command.env("PIN", "4711")).succeeded();
    assert!(run.stderr.contains("pin ***"), "{}", run.failure());
}
