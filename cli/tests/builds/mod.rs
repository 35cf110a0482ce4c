//! What is remembered of builds: why steps ran, what they printed, what it cost, and how all of that leaves the store.

mod logs;
mod stories;

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

/// A store with busybox, and a project.
struct Scene {
    store: Store,
    project: TempDir,
}

impl Scene {
    fn new(dockerfile: &str) -> Scene {
        let scene = Scene { store: Store::with(&[Base::Busybox]), project: TempDir::with_prefix("project-").unwrap() };
        scene.write("Dockerfile", dockerfile);
        scene
    }

    fn path(&self) -> &Path {
        self.project.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.store.bld();
        command.args(arguments).current_dir(self.path());
        command
    }

    fn bld(&self, arguments: &[&str]) -> Run {
        support::run(&mut self.command(arguments))
    }

    /// Builds the project and answers the id of the build.
    #[track_caller]
    fn build(&self, arguments: &[&str]) -> String {
        self.bld(&[&["build", "-q"], arguments, &["."]].concat()).succeeded();
        self.last()
    }

    #[track_caller]
    fn last(&self) -> String {
        let ids = self.says(&["builds", "-q", "--no-trunc", "-n", "1"]);
        ids.trim().to_owned()
    }

    /// What a command that goes well prints.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        self.bld(arguments).succeeded().stdout
    }
}

#[track_caller]
fn holds(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}

#[test]
fn builds_are_listed() {
    let scene = Scene::new("FROM busybox:1\nARG HOW=true\nRUN $HOW\n");
    let first = scene.build(&["-t", "app:1"]);
    let second = scene.build(&[]);
    assert_eq!(scene.bld(&["build", "--build-arg", "HOW=false", "."]).code, Some(1));
    let third = scene.last();
    let all = [third.as_str(), second.as_str(), first.as_str()];
    let ids = |arguments: &[&str]| -> Vec<String> {
        let text = scene.says(&[&["builds", "ls", "-q", "--no-trunc"], arguments].concat());
        text.lines().map(str::to_owned).collect()
    };
    assert_eq!(ids(&[]), all);
    assert_eq!(ids(&["-n", "2"]), all[..2]);
    assert_eq!(ids(&["--filter", "status=failed"]), all[..1]);
    assert_eq!(ids(&["-f", "status=failed", "-f", "status=succeeded"]), all);
    assert_eq!(ids(&["--filter", &format!("project={}", scene.path().display())]), all);
    assert!(ids(&["--filter", "project=other"]).is_empty());
    let table = scene.says(&["builds"]);
    let lines: Vec<&str> = table.lines().collect();
    holds(lines[0], &["ID", "WHEN", "PROJECT", "TARGET", "STATUS", "STEPS", "TIME", "IMAGE"]);
    holds(lines[1], &[&third[third.len() - 8..], "failed", "0 ran, 0 cached, 1 failed"]);
    holds(lines[2], &["succeeded", "0 ran, 1 cached", "sha256:"]);
    holds(lines[3], &["succeeded", "1 ran, 0 cached", "app:1"]);
    assert_eq!(scene.says(&["builds", "--format", "{{.Status}} {{.Ran}}/{{.Cached}}", "-n1"]), "failed 0/0\n");
    let json: serde_json::Value = serde_json::from_str(&scene.says(&["builds", "--format", "json", "-n1"])).unwrap();
    assert_eq!(json["Status"], "failed");
    for (filter, wanted) in [
        ("status=good", "they are succeeded, failed, canceled and unfinished"),
        ("x=y", "the filters are status, project"),
        ("x", "KEY=VALUE"),
    ] {
        let refused = scene.bld(&["builds", "--filter", filter]);
        assert_eq!(refused.code, Some(2), "{}", refused.failure());
        holds(&refused.stderr, &[wanted]);
    }
}

/// `last` and numbers mean the builds of the project one is in.
#[test]
fn the_working_directory_says_which_project() {
    let scene = Scene::new("FROM busybox:1\nRUN echo one\n");
    let own = scene.build(&[]);
    let other = TempDir::with_prefix("other-").unwrap();
    std::fs::write(other.path().join("Dockerfile"), "FROM busybox:1\nRUN echo two\n").unwrap();
    support::run(scene.command(&["build", "-q"]).arg(other.path())).succeeded();
    scene.write("below/file", "");
    for directory in [scene.path().to_owned(), scene.path().join("below")] {
        let run = |arguments: &[&str]| support::run(scene.command(arguments).current_dir(&directory));
        assert_eq!(run(&["logs"]).succeeded().stdout.lines().last(), Some("one"));
        let listed = run(&["builds", "--no-trunc"]).succeeded();
        assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
        holds(&listed.stdout, &[&own]);
        assert_eq!(listed.stderr, "note: 1 build of other projects: --all lists them\n");
        assert_eq!(run(&["builds", "--all", "-q"]).succeeded().stdout.lines().count(), 2);
        holds(&run(&["logs", "-2"]).stderr, &["there is no build `-2`: 1 is recorded"]);
    }
    let elsewhere = TempDir::new().unwrap();
    let run = |arguments: &[&str]| support::run(scene.command(arguments).current_dir(elsewhere.path()));
    assert_eq!(run(&["logs"]).succeeded().stdout.lines().last(), Some("two"));
    assert_eq!(run(&["logs", "-2"]).succeeded().stdout.lines().last(), Some("one"));
}

#[test]
fn a_build_is_shown_whole() {
    let scene = Scene::new(
        "FROM busybox:1 AS work\nRUN head -c 100000 /dev/zero > /zeros; echo made\nFROM scratch\nCOPY --from=work /zeros /\n",
    );
    let id = scene.build(&["-t", "app:1"]);
    let shown = scene.says(&["builds", "show"]);
    holds(
        &shown,
        &[
            &format!("Build:      {id}\n"),
            "Status:     succeeded after ",
            "Steps:      2 ran, 0 cached\n",
            "Image:      app:1 sha256:",
            "INSTRUCTION",
            "first build here",
            "because of work:2",
            "100kB",
            "Critical path: ",
            "work:2 RUN head -c",
        ],
    );
    let line = shown.lines().find(|line| line.starts_with("2  work:2 ")).unwrap();
    assert!(line.ends_with(" 5B"), "the log of {line}");
    let json: serde_json::Value =
        serde_json::from_str(&scene.says(&["builds", "show", &id, "--format", "json"])).unwrap();
    assert_eq!(json["id"], id.as_str());
    assert_eq!(json["schema"], 1);
    assert_eq!(scene.says(&["builds", "show", "--format", "{{.status}} {{len .steps}}"]), "succeeded 4\n");
    // What the path says the build waited for is the time it took.
    let wall = json["wall_us"].as_u64().unwrap();
    let length =
        |segment: &serde_json::Value| segment["end_us"].as_u64().unwrap() - segment["start_us"].as_u64().unwrap();
    let path: u64 = json["critical_path"].as_array().unwrap().iter().map(length).sum();
    assert_eq!(path, wall);
}

#[test]
fn builds_are_forgotten_by_name() {
    let scene = Scene::new("FROM busybox:1\nARG A\nRUN echo $A\n");
    let ids: Vec<String> =
        ["1", "2", "3", "4"].map(|value| scene.build(&["--build-arg", &format!("A={value}")])).to_vec();
    // Both are looked up before the first goes.
    let removed = scene.says(&["builds", "rm", "-1", "-3"]);
    assert_eq!(removed, format!("Deleted: {}\nDeleted: {}\n", ids[3], ids[1]));
    let left = scene.says(&["builds", "-q", "--no-trunc"]);
    assert_eq!(left, format!("{}\n{}\n", ids[2], ids[0]));
    let unknown = scene.bld(&["builds", "rm", &ids[3]]);
    assert_eq!(unknown.code, Some(1));
    holds(&unknown.stderr, &["there is no build"]);
    assert_eq!(scene.bld(&["builds", "rm"]).code, Some(2));
    assert_eq!(scene.bld(&["builds", "rm", "--all", "-1"]).code, Some(2));
    assert_eq!(scene.says(&["builds", "rm", "--all"]).lines().count(), 2);
    holds(&scene.bld(&["why"]).stderr, &["no build is recorded in this store", "`bld build` records every build"]);
}

/// An exported build is read where there is no store at all.
#[test]
fn builds_travel_as_files() {
    let scene = Scene::new("FROM busybox:1\nARG TOKEN_LIKE=hush\nCOPY a /\nRUN cat a; printf 'x\\000y'\n");
    scene.write("a", "one\n");
    scene.build(&[]);
    scene.write("a", "two\n");
    let id = scene.build(&[]);
    let files = TempDir::new().unwrap();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (tar, json) = (file("build.tar"), file("build.json"));
    scene.says(&["builds", "export", "-o", &tar]);
    scene.says(&["builds", "export", &id, "-o", &json]);
    let printed = scene.says(&["builds", "export"]);
    assert_eq!(printed.trim_end(), std::fs::read_to_string(&json).unwrap().trim_end());
    assert!(!printed.contains("\"exec\""), "what only the store can use stays there");
    let names = support::run(Command::new("tar").args(["-tf", &tar])).succeeded().stdout;
    assert_eq!(names.lines().next(), Some("build.json"));
    assert!(names.lines().skip(1).all(|name| name.starts_with(&format!("logs/{id}/"))), "{names}");
    let nowhere = files.path().join("no-store");
    let elsewhere = |arguments: &[&str]| support::run(support::bld(&nowhere).args(arguments).current_dir(files.path()));
    for file in ["build.tar", &json] {
        holds(&elsewhere(&["builds", "show", &format!("./{file}").replace(".//", "/")]).succeeded().stdout, &[&id]);
        let why = elsewhere(&["why", "-b", file]).succeeded().stdout;
        holds(&why, &["COPY a: 1 of 1 file changed: a (content)", "because of 2"]);
        holds(&elsewhere(&["why", "2", "-b", file]).succeeded().stdout, &["a  has other content", "Dragged:"]);
    }
    assert_eq!(elsewhere(&["logs", "build.tar", "3"]).succeeded().stdout, "two\nx\0y");
    assert_eq!(scene.says(&["logs", "3"]), "two\nx\0y");
    let gone = elsewhere(&["logs", "build.json", "3"]);
    assert_eq!(gone.code, Some(1));
    holds(&gone.stderr, &["what 3 printed is gone"]);
    // A file is exported again like a build of the store.
    let again = elsewhere(&["builds", "export", "build.tar", "-o", "again.tar"]);
    again.succeeded();
    assert_eq!(std::fs::read(file("again.tar")).unwrap(), std::fs::read(&tar).unwrap());
    assert!(!nowhere.exists(), "reading a file makes no store");
    for (name, bytes, wanted) in [
        ("text.tar", &b"no archive"[..], "is no build that `bld builds export` wrote"),
        ("half.json", b"{\"schema\":1", "is no record of a build"),
        ("new.json", b"{\"schema\":2}", "it has schema 2, and this bld knows 1"),
        ("empty.tar", &[0; 1024], "it holds no build.json"),
    ] {
        std::fs::write(file(name), bytes).unwrap();
        let refused = elsewhere(&["builds", "show", name]);
        assert_eq!(refused.code, Some(1), "{}", refused.failure());
        holds(&refused.stderr, &[wanted]);
    }
    holds(&scene.bld(&["builds", "export", "-o", "x.zip"]).stderr, &["neither a .tar nor a .json file"]);
    holds(&scene.bld(&["builds", "rm", &tar]).stderr, &["is a file, and no build of the store"]);
}

/// What a signal stopped is called so, and a build that was killed is not the last one.
#[test]
fn builds_that_did_not_end_are_told_apart() {
    let scene = Scene::new("FROM busybox:1\nARG A=true\nRUN $A\nRUN true\n");
    let whole = scene.build(&[]);
    let stop = |signal: rustix::process::Signal, value: &str| {
        let mut command = scene.command(&["build", "-q", "--build-arg", value, "."]);
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let id = rustix::process::Pid::from_child(&build);
        let is_recorded = || scene.says(&["builds", "-n1"]).contains("unfinished");
        assert!(support::host::eventually(std::time::Duration::from_secs(20), is_recorded));
        rustix::process::kill_process(id, signal).unwrap();
        build.wait().unwrap();
        scene.last()
    };
    let interrupted = stop(rustix::process::Signal::INT, "A=sleep 1000");
    holds(&scene.says(&["builds", "-n1"]), &["canceled", "0 ran, 0 cached, 1 interrupted, 1 not reached"]);
    holds(&scene.says(&["why"]), &["(interrupted)", "it was interrupted\n", "1 step was not reached\n"]);
    holds(&scene.says(&["why", "2"]), &["Outcome:     interrupted after "]);
    let killed = stop(rustix::process::Signal::KILL, "A=sleep 1001");
    let note = format!("note: the newer build {} is unfinished: it runs, or was killed\n", &killed[killed.len() - 8..]);
    for arguments in [&["why", "--format", "{{.build}}"][..], &["builds", "show", "last", "--format", "{{.id}}"]] {
        let run = scene.bld(arguments).succeeded();
        assert_eq!((run.stdout.trim(), run.stderr.as_str()), (interrupted.as_str(), note.as_str()));
    }
    assert_eq!(scene.says(&["why", "-2", "--format", "{{.build}}"]).trim(), whole);
    assert_eq!(scene.says(&["why", &killed, "--format", "{{.build}}"]).trim(), killed);
}

#[test]
fn outside_of_projects_the_newest_builds_are_listed() {
    let scene = Scene::new("FROM busybox:1\nRUN true\n");
    for _ in 0..22 {
        scene.bld(&["build", "-q", "."]).succeeded();
    }
    let elsewhere = TempDir::new().unwrap();
    let lines = |arguments: &[&str]| {
        let run = support::run(scene.command(arguments).current_dir(elsewhere.path()));
        let run = run.succeeded();
        (run.stdout.lines().count(), run.stderr.clone())
    };
    let note = "note: these are the newest 20 of 22 builds: --all lists them, -n N the newest N\n";
    assert_eq!(lines(&["builds"]), (1 + 20, note.to_owned()));
    assert_eq!(lines(&["builds", "--all"]), (1 + 22, String::new()));
    assert_eq!(lines(&["builds", "-n", "21"]), (1 + 21, String::new()));
    assert_eq!(lines(&["builds", "-q"]), (22, String::new()));
    assert_eq!(scene.says(&["builds"]).lines().count(), 1 + 22);
}
