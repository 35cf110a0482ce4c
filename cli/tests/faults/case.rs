//! One case: a project, a change, and what is said of it.
//!
//! ```text
//! # what is special about it
//! cause: COPY src: 1 of 2 files changed: src/a (content)      the first cause that both commands print; `none` if nothing runs
//! first: fails                                                the first build does; `none` if there is none
//! second: fails                                               the second build does
//! -- Dockerfile --
//! -- src/a --                 the files of the context; @HTTP@ and @GIT@ in them are the addresses of servers
//! -- prepare.sh --            run in the context before the first build
//! -- args --                  further arguments of all builds, as a shell reads them
//! -- change.sh --             run in the context after it
//! -- changed args --          instead of args, after the change
//! -- plan --                  what `bld plan` prints then
//! -- build --                 what `bld build` says then of the steps
//! ```
//!
//! Scripts and arguments see `$BLD`, `$WORK` (the directory above the context) and `$WORK/www`, which is what the HTTP server serves;
//! the git server serves the repositories of `$WORK`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::prediction;
use super::shown;
use crate::sources::repository::Daemon;
use crate::sources::server::Page;
use crate::sources::server::Server;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;

/// The parts that are no files of the context.
const PARTS: [&str; 6] = ["prepare.sh", "args", "change.sh", "changed args", "plan", "build"];

/// The names of all cases; only those in `BLD_CASE` if that is set.
pub(super) fn names() -> Vec<String> {
    let wanted = std::env::var("BLD_CASE").ok();
    let mut names: Vec<String> = fs::read_dir(super::directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == name)))
        .collect();
    names.sort();
    names
}

/// A case as it was written.
#[derive(Debug)]
pub(super) struct Case {
    path: PathBuf,
    name: String,
    /// The lines before the first part.
    head: Vec<String>,
    /// In their order.
    parts: Vec<(String, String)>,
}

impl Case {
    pub(super) fn read(name: &str) -> Case {
        let path = super::directory().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let (mut head, mut parts): (Vec<String>, Vec<(String, String)>) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let part = line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" --"));
            match (part, parts.last_mut()) {
                (Some(part), _) => parts.push((part.to_owned(), String::new())),
                (None, None) => head.push(line.to_owned()),
                (None, Some((_, text))) => *text += &format!("{line}\n"),
            }
        }
        Case { path, name: name.to_owned(), head, parts }
    }

    fn part(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|(part, _)| part == name).map(|(_, text)| text.as_str())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Runs it; what is wrong.
    pub(super) fn check(&self) -> Vec<String> {
        let scene = Scene::new(self);
        let args = self.part("args").unwrap_or_default();
        if self.field("first") != Some("none") {
            let first = scene.build(args);
            assert_eq!(first.code == Some(0), self.field("first") != Some("fails"), "{}", first.failure());
        }
        scene.script(self.part("change.sh").unwrap_or_default());
        let args = self.part("changed args").unwrap_or(args);
        let (plan, json) = (scene.bld("plan", args), scene.bld("plan --json", args));
        let built = scene.build(args);
        assert_eq!(built.code == Some(0), self.field("second") != Some("fails"), "{}", built.failure());
        let report: Value = serde_json::from_slice(&fs::read(scene.work.path().join("report.json")).unwrap()).unwrap();
        let planned: Value =
            serde_json::from_str(&json.stdout).unwrap_or_else(|error| panic!("{error}: {}", json.failure()));

        let mut problems = prediction::compare(&planned, &report);
        let cause = self.field("cause").unwrap_or_else(|| panic!("no cause is given"));
        let runs = cause != "none";
        let expected = Some(if runs { 10 } else { 0 });
        if plan.code != expected || json.code != expected {
            problems.push(format!("bld plan ended with {:?} and {:?}, not {expected:?}", plan.code, json.code));
        }
        let plan_text = scene.normalised(&shown::plan(&plan.stdout));
        let build_text = scene.normalised(&shown::build(&built.stderr, &report));
        for (command, text, first) in [
            ("plan", &plan_text, shown::first_planned(&plan_text)),
            ("build", &build_text, shown::first_missed(&build_text)),
        ] {
            if first.unwrap_or("none") != cause {
                problems.push(format!("the first cause of `bld {command}` is not the change:\n{text}"));
            }
        }
        problems.extend(self.golden(&plan_text, &build_text));
        if problems.is_empty() { problems } else { vec![format!("{}: {}", self.name, problems.join("; "))] }
    }

    /// Compares with what is in the file, or writes it there.
    fn golden(&self, plan: &str, build: &str) -> Vec<String> {
        let mut text = self.head.join("\n") + "\n";
        let written = self.parts.iter().filter(|(part, _)| !matches!(part.as_str(), "plan" | "build"));
        let golden = [("plan".to_owned(), plan.to_owned()), ("build".to_owned(), build.to_owned())];
        for (part, content) in written.chain(&golden) {
            text += &format!("-- {part} --\n{content}");
        }
        support::golden(&self.path, &text)
    }
}

/// Where a case is played.
#[derive(Debug)]
struct Scene {
    store: Store,
    work: TempDir,
    http: Option<Server>,
    git: Option<Daemon>,
}

impl Scene {
    fn new(case: &Case) -> Scene {
        let work = TempDir::with_prefix_in("faults-", support::cache_directory("faults")).unwrap();
        let names = |server: &str| case.parts.iter().any(|(_, text)| text.contains(server));
        let http = names("@HTTP@").then(Server::start);
        let git = names("@GIT@").then(|| Daemon::start(work.path()));
        let scene = Scene { store: Store::with(&[Base::Busybox]), work, http, git };
        fs::create_dir(scene.context()).unwrap();
        for (name, text) in case.parts.iter().filter(|(name, _)| !PARTS.contains(&name.as_str())) {
            let path = scene.context().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, scene.addressed(text)).unwrap();
        }
        scene.script(case.part("prepare.sh").unwrap_or_default());
        scene
    }

    fn context(&self) -> PathBuf {
        self.work.path().join("context")
    }

    fn addressed(&self, text: &str) -> String {
        let http = self.http.as_ref().map(|server| server.url("")).unwrap_or_default();
        let git = self.git.as_ref().map(|daemon| daemon.url("")).unwrap_or_default();
        text.replace("@HTTP@", &http).replace("@GIT@/", &git)
    }

    fn shell(&self, script: &str) -> Run {
        let mut command = Command::new("bash");
        let bld = self.store.bld();
        command.env_clear().envs(bld.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("BLD", bld.get_program()).env("WORK", self.work.path()).current_dir(self.context());
        for (name, value) in [("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@test")] {
            command.env(name, value).env(name.replace("AUTHOR", "COMMITTER"), value);
        }
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        support::run(command.arg("-euc").arg(format!("umask 022\n{script}")))
    }

    /// Changes the scene.
    fn script(&self, script: &str) {
        self.shell(&self.addressed(script)).succeeded();
        let (Some(server), Ok(pages)) = (&self.http, fs::read_dir(self.work.path().join("www"))) else { return };
        for page in pages {
            let page = page.unwrap();
            let name = page.file_name().into_string().unwrap();
            server.page(&format!("/{name}"), Page::new(fs::read(page.path()).unwrap()));
        }
    }

    fn bld(&self, command: &str, args: &str) -> Run {
        self.shell(&format!("exec \"$BLD\" {command} {} .", self.addressed(args).replace('\n', " ")))
    }

    fn build(&self, args: &str) -> Run {
        self.bld("build --progress plain --report \"$WORK/report.json\"", args)
    }

    /// Without what differs from run to run, or from machine to machine.
    fn normalised(&self, text: &str) -> String {
        let path = |path: &Path| path.display().to_string();
        let mut text = text.replace(&path(self.work.path()), "WORK").replace(&path(self.store.root()), "STORE");
        let addresses: BTreeMap<&str, String> =
            [("HTTP", self.addressed("@HTTP@")), ("GIT/", self.addressed("@GIT@/"))].into();
        for (name, address) in addresses.into_iter().filter(|(_, address)| !address.is_empty()) {
            text = text.replace(&address, name);
        }
        shown::without_digests(&shown::without_ages(&text))
    }
}
