//! A small image, a helper, and a step whose output is collected.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sandbox::{
    Exit, ExitStatus, Helper, Identity, Mount, MountSource, Network, ResolvConf, RootFs, Running, SandboxError, Spec,
    StepError, Upper,
};

/// An image of one busybox layer, with room for changes.
pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) spec: Spec,
    steps: std::cell::Cell<u32>,
}

/// Output and exit of a step.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) exit: Exit,
    pub(super) output: String,
    pub(super) made: Vec<PathBuf>,
    pub(super) time: Duration,
}

impl Fixture {
    /// `None`, after saying so, when the row cannot run here.
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return unavailable("not root");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let Some(busybox) = busybox else {
            return unavailable("no busybox");
        };
        let directory = tempfile::Builder::new().prefix("bld-sandbox").tempdir().unwrap();
        let base = directory.path().join("base");
        for name in ["bin", "etc", "tmp", "root"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::copy(busybox, base.join("bin/busybox")).unwrap();
        for name in APPLETS {
            symlink("busybox", base.join("bin").join(name)).unwrap();
        }
        fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n").unwrap();
        fs::write(base.join("etc/group"), "root:x:0:\nnobody:x:65534:\n").unwrap();
        let spec = Spec {
            root: RootFs { lowers: vec![base], upper: None },
            args: vec![],
            env: vec!["PATH=/bin".to_owned(), "HOME=/root".to_owned()],
            cwd: "/".into(),
            uid: 0,
            gid: 0,
            groups: vec![0],
            hostname: "buildkitsandbox".to_owned(),
            hosts: Some("127.0.0.1\tlocalhost buildkitsandbox\n".to_owned()),
            resolv_conf: ResolvConf::Text("nameserver 192.0.2.1\n".to_owned()),
            network: Network::Host,
            shm_size: 64 << 20,
            files: vec![],
            mounts: vec![],
            limits: vec![],
            privileged: false,
            no_new_privileges: false,
            capabilities: None,
            read_only: false,
            cgroups: vec![],
            identity: Identity::Root,
        };
        let fixture = Self { directory, spec, steps: std::cell::Cell::new(0) };
        Some(fixture.with_upper())
    }

    fn with_upper(mut self) -> Self {
        self.renew_upper();
        self
    }

    /// Runs a test of `probe.rs` inside the sandbox: the test program is static.
    pub(super) fn probe(&mut self, name: &str) -> Outcome {
        let program = std::env::current_exe().unwrap();
        let source = MountSource::Bind { source: program, subpath: PathBuf::new(), read_only: true };
        self.spec.mounts.push(Mount { target: "/probe".into(), source });
        let module = module_path!().split_once("::").unwrap().1.replace("fixture", "probe");
        self.spec.args = ["/probe", "--ignored", "--nocapture", "--exact"].map(str::to_owned).into();
        self.spec.args.push(format!("{module}::{name}"));
        let outcome = self.run().unwrap();
        assert!(outcome.output.contains("1 passed"), "{}", outcome.output);
        outcome
    }

    /// Fresh upper and work directories.
    pub(super) fn renew_upper(&mut self) {
        let number = self.steps.get();
        self.steps.set(number + 1);
        let upper = self.path(&format!("upper{number}"));
        let work = self.path(&format!("work{number}"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        self.spec.root.upper = Some(Upper { upper, work });
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn base(&self) -> PathBuf {
        self.path("base")
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.spec.root.upper.as_ref().unwrap().upper.clone()
    }

    /// A layer on top of those there are.
    pub(super) fn layer(&mut self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.spec.root.lowers.push(path.clone());
        path
    }

    /// Copies a program of ours into the image.
    pub(super) fn script(&self, name: &str, text: &str) {
        let path = self.base().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn shell(&mut self, script: &str) -> Outcome {
        self.try_shell(script).unwrap()
    }

    pub(super) fn try_shell(&mut self, script: &str) -> Result<Outcome, SandboxError> {
        self.spec.args = ["/bin/sh", "-c", script].map(str::to_owned).into();
        self.run()
    }

    pub(super) fn run(&mut self) -> Result<Outcome, SandboxError> {
        let (reader, writer) = std::io::pipe().unwrap();
        let start = Instant::now();
        let running = self.start(writer.into())?;
        let exit = running.wait()?;
        let time = start.elapsed();
        let mut output = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut output).unwrap();
        self.renew_work();
        Ok(Outcome { exit, output, made: running.made_mount_points().to_vec(), time })
    }

    pub(super) fn start(&self, output: OwnedFd) -> Result<Running, SandboxError> {
        let errors = output.try_clone().unwrap();
        helper().spawn(&self.spec, output, errors)
    }

    /// The same upper directory with another work directory: one serves once.
    pub(super) fn renew_work(&mut self) {
        let number = self.steps.get();
        self.steps.set(number + 1);
        let work = self.path(&format!("work{number}"));
        fs::create_dir_all(&work).unwrap();
        if let Some(upper) = &mut self.spec.root.upper {
            upper.work = work;
        }
    }
}

impl Outcome {
    pub(super) fn success(self) -> String {
        assert_eq!(self.exit.status, ExitStatus::Code(0), "{}", self.output);
        self.output
    }
}

const APPLETS: [&str; 41] = [
    "sh", "cat", "ls", "true", "false", "grep", "id", "mount", "umount", "mknod", "dd", "sleep", "setsid", "ps",
    "kill", "echo", "touch", "mkdir", "rm", "ln", "stat", "pwd", "head", "wc", "env", "unshare", "hostname", "su",
    "tail", "cut", "mkfifo", "chmod", "chown", "sed", "find", "readlink", "ulimit", "cp", "ip", "wget", "nslookup",
];

/// One helper for all rows. The test harness has threads; the C library makes fork from them safe enough for a test.
pub(super) fn helper() -> &'static Helper {
    static HELPER: OnceLock<Helper> = OnceLock::new();
    HELPER.get_or_init(|| Helper::fork().unwrap())
}

pub(super) fn unavailable<T>(reason: &str) -> Option<T> {
    assert!(std::env::var_os("BLD_REQUIRE_PRIVILEGED").is_none(), "this row must run and cannot: {reason}");
    eprintln!("row did not run: {reason}");
    None
}

/// The error of a step that did not start.
pub(super) fn step_error(result: Result<Outcome, SandboxError>) -> StepError {
    match result {
        Err(SandboxError::Step(error)) => error,
        other => panic!("expected a step error: {other:?}"),
    }
}

/// Processes of the host whose command line contains the text.
pub(super) fn processes(text: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).replace('\0', " ").contains(text) {
            found.push(pid);
        }
    }
    found
}

/// Waits until the condition holds, at most for the time given.
pub(super) fn eventually(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Files outside of every image, and what they were at first.
pub(super) struct Canary {
    pub(super) path: PathBuf,
    before: Vec<String>,
}

impl Canary {
    pub(super) fn new(fixture: &Fixture) -> Self {
        let path = fixture.path("canary");
        fs::create_dir_all(path.join("emptydir")).unwrap();
        fs::write(path.join("secret"), "the secret of the host\n").unwrap();
        fs::set_permissions(path.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path.join("ptmx"), "").unwrap();
        fs::write(path.join("empty"), "").unwrap();
        let before = listing(&path);
        Self { path, before }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.before, listing(&self.path));
    }
}

fn listing(path: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        let body = if data.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        lines.push(format!(
            "{} {:o} {}:{} {} {}.{} {body:?}",
            entry.path().display(),
            data.mode(),
            data.uid(),
            data.gid(),
            data.nlink(),
            data.mtime(),
            data.mtime_nsec()
        ));
    }
    lines
}
