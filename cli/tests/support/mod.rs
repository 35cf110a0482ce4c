//! What the tests of the binary share: the binary itself in a clean environment, private stores, and the base images.
//!
//! ```text
//! $CARGO_TARGET_TMPDIR/bases/lock          held while the two below are made
//!                           /busybox.tar   root file systems, made once by scripts/base-images
//!                           /debian.tar
//! ```

pub(crate) mod host;
pub(crate) mod layout;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod sshd;

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The root of the source tree.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `testdata/NAME`.
pub(crate) fn testdata(name: &str) -> PathBuf {
    project().join("testdata").join(name)
}

/// A directory under the target directory that outlives the test run.
pub(crate) fn cache_directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The binary with the store `root` and nothing of the caller's environment but `PATH`.
pub(crate) fn bld(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bld"));
    command.env_clear().env("PATH", search_path()).env("HOME", root).env("BLD_ROOT", root);
    // No test asks a registry of the outside world; those that have one of their own take this away.
    command.env("BLD_OFFLINE", "1");
    command
}

fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
}

/// A root file system the tests build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// One static busybox with all its applets: `busybox:1`.
    Busybox,
    /// The Debian release of this machine with a working apt: `debian:12`.
    Debian,
}

impl Base {
    /// The file name without `.tar`, as `scripts/base-images --only` takes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Debian => "debian",
        }
    }

    /// The image name the test Dockerfiles use.
    pub(crate) const fn image(self) -> &'static str {
        match self {
            Self::Busybox => "busybox:1",
            Self::Debian => "debian:12",
        }
    }

    /// The tar archive of the root file system, made now if no earlier test run made it.
    pub(crate) fn tar(self) -> PathBuf {
        let directory = bases();
        let tar = directory.join(format!("{}.tar", self.name()));
        // Tests run as many threads and processes: one makes the archive, the others wait for it.
        let lock = File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        if !tar.exists() {
            let mut script = Command::new(project().join("scripts/base-images"));
            run(script.arg("--only").arg(self.name()).arg(&directory)).succeeded();
        }
        tar
    }
}

/// The directory of the base root file systems.
pub(crate) fn bases() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| cache_directory("bases")).clone()
}

/// A store that is removed with its last user.
#[derive(Debug)]
pub(crate) struct Store {
    directory: TempDir,
}

impl Store {
    /// A store with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { directory: TempDir::with_prefix_in("store-", cache_directory("stores")).unwrap() }
    }

    /// A store with `bases` imported under the names the test Dockerfiles use.
    pub(crate) fn with(bases: &[Base]) -> Self {
        let store = Self::empty();
        for base in bases {
            run(store.bld().arg("import").arg(base.tar()).arg(base.image())).succeeded();
        }
        store
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The binary, working on this store.
    pub(crate) fn bld(&self) -> Command {
        bld(self.directory.path())
    }
}

/// A finished command.
#[derive(Debug)]
pub(crate) struct Run {
    /// The command as it could be typed, for messages.
    pub(crate) command: String,
    /// The exit code, none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs `command` to its end with nothing on its standard input.
pub(crate) fn run(command: &mut Command) -> Run {
    let shown = format!("{command:?}");
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = match command.stdin(std::process::Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            panic!("`{program}` is missing ({error}): run scripts/setup")
        }
        Err(error) => panic!("cannot start {shown}: {error}"),
    };
    Run {
        command: shown,
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Run {
    /// Itself, if the command succeeded; otherwise the test ends with all it printed.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.code == Some(0), "{}", self.failure());
        self
    }

    /// What to print when the command did not do what it should.
    pub(crate) fn failure(&self) -> String {
        format!("{} ended with {:?}\n{}{}", self.command, self.code, self.stdout, self.stderr)
    }
}

/// Compares with the file `expected`, or writes it if `UPDATE` is set; answers with what differs.
pub(crate) fn golden(expected: &Path, actual: &str) -> Vec<String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(expected, actual).unwrap();
        return Vec::new();
    }
    let known = std::fs::read_to_string(expected).unwrap_or_default();
    if known == actual {
        return Vec::new();
    }
    vec![format!("{} differs\n--- expected\n{known}--- actual\n{actual}", expected.display())]
}

/// Copies the tree `source` to `target`, which must not be there, with modes, links and times kept.
pub(crate) fn copy_tree(source: &Path, target: &Path) {
    run(Command::new("cp").arg("-a").arg("--").arg(source).arg(target)).succeeded();
}

/// Runs the bash script `script`, if there is one, inside `directory`.
pub(crate) fn prepare(script: &Path, directory: &Path) {
    if script.exists() {
        run(Command::new("bash").arg(script).current_dir(directory)).succeeded();
    }
}

/// The names of the folders in `directory`, sorted; only those in the comma-separated variable `BLD_CASE` if that is set.
pub(crate) fn cases(directory: &Path) -> Vec<String> {
    let wanted = std::env::var("BLD_CASE").ok();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let selected = wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == name));
        if selected && entry.file_type().unwrap().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Calls `work` for every name on a few threads and gives back what each found wrong, in the order of the names.
pub(crate) fn for_each<F>(names: &[String], work: F) -> Vec<String>
where
    F: Fn(&str) -> Vec<String> + Sync,
{
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut found: Vec<(usize, Vec<String>)> = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(name) = names.get(index) else { return mine };
                        // One broken case must not hide what the others have to say.
                        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(name)));
                        mine.push((index, outcome.unwrap_or_else(|panic| vec![panic_text(name, panic.as_ref())])));
                    }
                })
            })
            .collect();
        for worker in workers {
            found.extend(worker.join().unwrap());
        }
    });
    found.sort();
    found.into_iter().flat_map(|(_, problems)| problems).collect()
}

fn panic_text(name: &str, panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("stopped for an unknown reason");
    format!("{name}: {text}")
}
