//! What is built again and what is not.
//!
//! The project of these tests has three stages and six steps:
//!
//! ```text
//! tools:  COPY tool.sh -> RUN tool ---> COPY --from=tools  -+
//! assets: COPY assets  -> RUN cat  ---> COPY --from=assets -+-> image
//! ```

mod cutoff;
mod reproducible;
mod stale;
mod trace;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::progress::Outcome;
use crate::support::progress::Progress;

const DOCKERFILE: &str = "\
FROM busybox:1 AS tools
COPY tool.sh /bin/tool
RUN sh /bin/tool > /tool.out
FROM busybox:1 AS assets
ARG VERSION=1
COPY assets /assets
RUN cat /assets/* > /all && echo $VERSION >> /all
FROM busybox:1
COPY --from=tools /tool.out /
COPY --from=assets /all /
";

const COPY_TOOL: &str = "COPY tool.sh /bin/tool";
const RUN_TOOL: &str = "RUN sh /bin/tool > /tool.out";
const COPY_ASSETS: &str = "COPY assets /assets";
const RUN_ASSETS: &str = "RUN cat /assets/* > /all && echo $VERSION >> /all";
const TAKE_TOOL: &str = "COPY --from=tools /tool.out /";
const TAKE_ASSETS: &str = "COPY --from=assets /all /";
const FROM: &str = "FROM docker.io/library/busybox:1";

/// The project and a store in which it was built once.
struct Project {
    store: Store,
    directory: TempDir,
    /// The digest of the first build.
    digest: String,
}

/// A finished build.
struct Built {
    digest: String,
    progress: Progress,
}

impl Project {
    fn built() -> Self {
        let directory = TempDir::new().unwrap();
        let context = directory.path().join("context");
        write_project(&context);
        let mut project = Self { store: Store::with(&[Base::Busybox]), directory, digest: String::new() };
        let first = project.build(&[]);
        let all = [FROM, COPY_TOOL, RUN_TOOL, COPY_ASSETS, RUN_ASSETS, TAKE_TOOL, TAKE_ASSETS];
        assert_eq!(first.progress.executed(), BTreeSet::from(all));
        project.digest = first.digest;
        project
    }

    fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    fn build(&self, arguments: &[&str]) -> Built {
        build(&self.store, &self.context(), arguments)
    }

    /// Builds and demands that exactly these steps run; the others are known.
    #[track_caller]
    fn runs(&self, arguments: &[&str], steps: &[&str]) -> Built {
        let built = self.build(arguments);
        assert_eq!(built.progress.executed(), steps.iter().copied().collect(), "the steps that run");
        let cached = built.progress.which(Outcome::Cached);
        assert_eq!(cached.len() + steps.len(), built.progress.names().len(), "every step runs or is known");
        built
    }

    /// Builds and demands that nothing runs and nothing is different.
    #[track_caller]
    fn is_known(&self) {
        assert_eq!(self.runs(&[], &[]).digest, self.digest);
    }
}

fn write_project(context: &Path) {
    fs::create_dir_all(context.join("assets")).unwrap();
    let files = [
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "*.log\nnotes\n"),
        ("tool.sh", "# one\necho tool\n"),
        ("assets/a.txt", "a\n"),
        ("assets/b.txt", "b\n"),
        ("notes", "nobody sees this\n"),
    ];
    for (name, text) in files {
        fs::write(context.join(name), text).unwrap();
    }
}

fn build(store: &Store, context: &Path, arguments: &[&str]) -> Built {
    let mut command = store.bld();
    command.args(["build", "--progress", "plain", "--network", "none"]).args(arguments).arg(context);
    of(support::run(&mut command))
}

#[track_caller]
fn of(run: Run) -> Built {
    let run = run.succeeded();
    Built { digest: run.stdout.trim().to_owned(), progress: Progress::parse(&run.stderr) }
}

#[test]
fn a_second_build_runs_nothing() {
    let project = Project::built();
    project.is_known();
    project.is_known();
}

#[test]
fn times_do_not_count() {
    let project = Project::built();
    let file = project.context().join("assets/a.txt");
    support::run(Command::new("touch").arg(&file)).succeeded();
    project.is_known();
    fs::write(&file, "a\n").unwrap();
    project.is_known();
    fs::set_permissions(&file, fs::metadata(&file).unwrap().permissions()).unwrap();
    project.is_known();
    // Another file with the same name and content.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "a\n").unwrap();
    project.is_known();
}

#[test]
fn a_mode_counts() {
    let project = Project::built();
    let file = project.context().join("assets/a.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    // What is made of the file is still the same.
    let built = project.runs(&[], &[COPY_ASSETS, RUN_ASSETS]);
    assert_eq!(built.digest, project.digest);
}

#[test]
fn a_change_runs_what_sees_it() {
    let project = Project::built();
    fs::write(project.context().join("assets/b.txt"), "c\n").unwrap();
    let built = project.runs(&[], &[COPY_ASSETS, RUN_ASSETS, TAKE_ASSETS]);
    assert_ne!(built.digest, project.digest);
    // Back to what was known before.
    fs::write(project.context().join("assets/b.txt"), "b\n").unwrap();
    project.is_known();
    // Of the same size, and at once: the time of change alone would not tell.
    for text in ["d\n", "e\n", "f\n"] {
        fs::write(project.context().join("assets/b.txt"), text).unwrap();
        project.runs(&[], &[COPY_ASSETS, RUN_ASSETS, TAKE_ASSETS]);
    }
}

#[test]
fn a_new_and_a_removed_file_count() {
    let project = Project::built();
    let file = project.context().join("assets/c.txt");
    fs::write(&file, "").unwrap();
    // An empty file changes nothing of what cat prints.
    project.runs(&[], &[COPY_ASSETS, RUN_ASSETS]);
    fs::remove_file(&file).unwrap();
    project.is_known();
}

#[test]
fn an_ignored_file_does_not_count() {
    let project = Project::built();
    fs::write(project.context().join("notes"), "other\n").unwrap();
    fs::write(project.context().join("new.log"), "new\n").unwrap();
    project.is_known();
    // No instruction sees this one either.
    fs::write(project.context().join("unused"), "new\n").unwrap();
    project.is_known();
}

#[test]
fn the_same_result_ends_the_work() {
    let project = Project::built();
    fs::write(project.context().join("tool.sh"), "# another comment\necho tool\n").unwrap();
    let built = project.runs(&[], &[COPY_TOOL, RUN_TOOL]);
    assert_eq!(built.digest, project.digest);
    project.is_known();
}

/// The same for a RUN that what follows stands upon, and not beside.
#[test]
fn the_same_result_ends_the_work_below() {
    let project = Project::built();
    let dockerfile = "FROM busybox:1\nARG NOTE=1\nRUN echo same > /same\nCOPY tool.sh /\nRUN cat /same > /copy\n";
    let file = project.context().join("other.Dockerfile");
    fs::write(&file, dockerfile).unwrap();
    let name = file.to_str().unwrap();
    let first = project.build(&["-f", name]);
    let second = project.build(&["-f", name, "--build-arg", "NOTE=2"]);
    // An ARG is in the environment of every RUN that comes after it.
    assert_eq!(second.progress.executed(), BTreeSet::from(["RUN echo same > /same", "RUN cat /same > /copy"]));
    assert_ne!(first.digest, second.digest, "the history tells the argument");
    assert_eq!(layers(&project.store, &first.digest), layers(&project.store, &second.digest));
}

#[test]
fn no_cache_runs_everything() {
    let project = Project::built();
    let all = [COPY_TOOL, RUN_TOOL, COPY_ASSETS, RUN_ASSETS, TAKE_TOOL, TAKE_ASSETS];
    let built = project.build(&["--no-cache"]);
    let executed = built.progress.executed();
    assert!(all.iter().all(|step| executed.contains(step)), "{executed:?}");
    assert_eq!(built.digest, project.digest, "equal results keep their layers");
    project.is_known();
}

#[test]
fn no_cache_filter_runs_the_stages_it_names() {
    let project = Project::built();
    let built = project.build(&["--no-cache-filter", "tools"]);
    let mut executed = built.progress.executed();
    executed.remove(FROM);
    assert_eq!(executed, BTreeSet::from([COPY_TOOL, RUN_TOOL]));
    assert_eq!(built.digest, project.digest);
    let built = project.build(&["--no-cache-filter", "tools,assets"]);
    let mut executed = built.progress.executed();
    executed.remove(FROM);
    assert_eq!(executed, BTreeSet::from([COPY_TOOL, RUN_TOOL, COPY_ASSETS, RUN_ASSETS]));
    project.is_known();
}

#[test]
fn a_build_argument_runs_what_sees_it() {
    let project = Project::built();
    project.runs(&["--build-arg", "VERSION=2"], &[RUN_ASSETS, TAKE_ASSETS]);
    project.runs(&["--build-arg", "VERSION=2"], &[]);
    // The default, said aloud.
    assert_eq!(project.runs(&["--build-arg", "VERSION=1"], &[]).digest, project.digest);
    project.is_known();
}

#[test]
fn a_copy_of_the_project_elsewhere_is_known() {
    let project = Project::built();
    let elsewhere = TempDir::new().unwrap();
    let context = elsewhere.path().join("a b").join("checkout");
    write_project(&context);
    let old = "find . -exec touch -h -d '2001-02-03 04:05:06' {} +";
    support::run(Command::new("sh").args(["-c", old]).current_dir(&context)).succeeded();
    if is_root() {
        support::run(Command::new("chown").args(["-R", "1234:4321"]).arg(&context)).succeeded();
    }
    let built = build(&project.store, &context, &[]);
    assert_eq!(built.progress.executed(), BTreeSet::new());
    assert_eq!(built.digest, project.digest);
    // What bld was started with does not count either.
    let mut command = Command::new("sh");
    let inner = project.store.bld();
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(inner.get_program());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command.env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").env("HOME", "/nonexistent");
    command.args(["build", "--progress", "plain", "--network", "none", "."]).current_dir(&context);
    let built = of(support::run(&mut command));
    assert_eq!(built.progress.executed(), BTreeSet::new());
    assert_eq!(built.digest, project.digest);
}

/// A failed step leaves nothing that could be taken for its result.
#[test]
fn a_failed_step_is_not_remembered() {
    let project = Project::built();
    fs::write(project.context().join("tool.sh"), "echo half\nexit 7\n").unwrap();
    for _ in 0..2 {
        let mut command = project.store.bld();
        command.args(["build", "--progress", "plain", "--network", "none"]).arg(project.context());
        let run = support::run(&mut command);
        assert_eq!(run.code, Some(1), "{}", run.failure());
        assert!(Progress::parse(&run.stderr).which(Outcome::Failed).contains(RUN_TOOL), "{}", run.failure());
    }
    fs::write(project.context().join("tool.sh"), "# one\necho tool\n").unwrap();
    project.is_known();
}

fn is_root() -> bool {
    support::run(Command::new("id").arg("-u")).succeeded().stdout.trim() == "0"
}

/// The digests of an image's layers.
fn layers(store: &Store, manifest: &str) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(blob(store, manifest)).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

fn blob(store: &Store, digest: &str) -> PathBuf {
    store.root().join("oci/blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}
