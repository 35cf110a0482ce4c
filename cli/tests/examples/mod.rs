//! The Dockerfiles of introductory courses, built and run as their readers would.
//!
//! ```text
//! testdata/examples/bases/ORDER       stand-ins for the public base images: FOLDER NAME...
//!                  /bases/FOLDER/
//!                  /EXAMPLE/          the context
//!                  /EXAMPLE/prepare.sh    run inside a copy of it first
//!                  /EXAMPLE/expect.json
//! ```
//!
//! The members of `expect.json`, all but `build` and `image` optional:
//!
//! ```text
//! build            the arguments of bld
//! image            the name the result must have
//! config           members of the image's config; null: missing or empty
//! env              variables that must be among the config's
//! layers           number of layers
//! history          texts of the rows of `bld history`, newest first
//! steps            texts the output of the build must have
//! rebuild_cached   whether a second build must take every step from the cache
//! stderr_contains  texts of the first build's standard error
//! files            path: {type: file|directory|symlink|absent, mode, content}
//! runs             in order, in one root file system: {args (replace Cmd), env, status, stdout, stdout_contains, stderr_contains}
//! ```

mod container;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use self::container::Container;
use crate::support;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::layout::Layout;

#[test]
fn examples_build_and_run_as_their_readers_expect() {
    let examples = support::testdata("examples");
    let mut names = support::cases(&examples);
    names.retain(|name| name != "bases");
    assert!(!names.is_empty(), "no such example");
    let store = Store::with(&[Base::Busybox]);
    build_bases(&store, &examples.join("bases"));
    let problems = support::for_each(&names, |name| {
        let mut example = Example { name: name.to_owned(), problems: Vec::new() };
        example.check(&store, &examples.join(name));
        example.problems
    });
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn build_bases(store: &Store, bases: &Path) {
    let order = std::fs::read_to_string(bases.join("ORDER")).unwrap();
    for line in order.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(folder) = words.next() else { continue };
        let mut command = store.bld();
        command.args(["build", "--progress", "plain"]);
        for name in words {
            command.args(["-t", name]);
        }
        support::run(command.arg(bases.join(folder))).succeeded();
    }
}

struct Example {
    name: String,
    problems: Vec<String>,
}

impl Example {
    fn check(&mut self, store: &Store, source: &Path) {
        let expected: Value = serde_json::from_slice(&std::fs::read(source.join("expect.json")).unwrap()).unwrap();
        let work = TempDir::new().unwrap();
        let context = work.path().join("context");
        support::copy_tree(source, &context);
        support::prepare(&context.join("prepare.sh"), &context);

        let built = build(store, &context, &expected, &[]).succeeded();
        self.contains("standard error of the build", &built.stderr, &expected["stderr_contains"]);
        self.contains("output of the build", &built.stderr, &expected["steps"]);
        let image = expected["image"].as_str().unwrap();
        support::run(store.bld().args(["inspect", image])).succeeded();
        let history = support::run(store.bld().args(["history", image])).succeeded();
        self.in_order(&history.stdout, &expected["history"]);

        let (archive, root) = (work.path().join("image.tar"), work.path().join("root"));
        let outputs = [format!("type=oci,dest={}", archive.display()), format!("type=local,dest={}", root.display())];
        let rebuilt = build(store, &context, &expected, &outputs).succeeded();
        if expected["rebuild_cached"] == Value::Bool(true) {
            let cached = rebuilt.stderr.lines().filter(|line| line.contains("CACHED")).count();
            let steps = list(&expected["steps"]).len();
            self.require(cached >= steps, || format!("{cached} steps of {steps} cached:\n{}", rebuilt.stderr));
        }
        let layout = Layout::unpack(&archive, &work.path().join("layout"));
        self.config(&layout, &expected);
        for (path, file) in members(&expected["files"]) {
            self.file(&root, path, file);
        }
        let container = Container::new(root, &layout.document["config"]);
        for run in list(&expected["runs"]) {
            self.run(&container, run);
        }
    }

    fn config(&mut self, layout: &Layout, expected: &Value) {
        let config = &layout.document["config"];
        for (field, value) in members(&expected["config"]) {
            let empty = config[field].is_null() || config[field] == serde_json::json!([]);
            let same = if value.is_null() { empty } else { config[field] == *value };
            self.require(same, || format!("config.{field} is {}, not {value}", config[field]));
        }
        for (variable, value) in members(&expected["env"]) {
            let wanted = format!("{variable}={}", value.as_str().unwrap());
            let there = list(&config["Env"]).iter().any(|one| one.as_str() == Some(&wanted));
            self.require(there, || format!("no {wanted} in Env {}", config["Env"]));
        }
        if let Some(wanted) = expected["layers"].as_u64() {
            let layers = layout.layers().len() as u64;
            self.require(layers == wanted, || format!("{layers} layers, not {wanted}"));
        }
    }

    fn file(&mut self, root: &Path, path: &str, expected: &Value) {
        let real = root.join(path.trim_start_matches('/'));
        let metadata = std::fs::symlink_metadata(&real).ok();
        let kind = match &metadata {
            None => "absent",
            Some(metadata) if metadata.is_dir() => "directory",
            Some(metadata) if metadata.is_symlink() => "symlink",
            Some(_) => "file",
        };
        let wanted = expected["type"].as_str().unwrap_or("file");
        self.require(kind == wanted, || format!("{path} is {kind}, not {wanted}"));
        let Some(metadata) = metadata else { return };
        if let Some(wanted) = expected["mode"].as_str() {
            let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
            self.require(mode == wanted, || format!("the mode of {path} is {mode}, not {wanted}"));
        }
        if let Some(wanted) = expected["content"].as_str() {
            let content = std::fs::read_to_string(&real).unwrap();
            self.require(content == wanted, || format!("{path} holds {content:?}, not {wanted:?}"));
        }
    }

    fn run(&mut self, container: &Container, expected: &Value) {
        let done = container.run(expected["args"].as_array().map(Vec::as_slice), &expected["env"]);
        let status = expected["status"].as_i64().unwrap_or(0);
        self.require(done.code.map(i64::from) == Some(status), || format!("not {status}: {}", done.failure()));
        if let Some(wanted) = expected["stdout"].as_str() {
            self.require(done.stdout == wanted, || format!("not the output {wanted:?}: {}", done.failure()));
        }
        self.contains("standard output of the run", &done.stdout, &expected["stdout_contains"]);
        self.contains("standard error of the run", &done.stderr, &expected["stderr_contains"]);
    }

    fn contains(&mut self, place: &str, text: &str, wanted: &Value) {
        for part in list(wanted) {
            let part = part.as_str().unwrap();
            self.require(text.contains(part), || format!("no {part:?} in the {place}:\n{text}"));
        }
    }

    fn in_order(&mut self, text: &str, wanted: &Value) {
        let mut rest = text;
        for part in list(wanted) {
            let part = part.as_str().unwrap();
            match rest.find(part) {
                Some(position) => rest = &rest[position + part.len()..],
                None => {
                    return self.require(false, || format!("no {part:?} where it should be in the history:\n{text}"));
                }
            }
        }
    }

    fn require(&mut self, condition: bool, problem: impl FnOnce() -> String) {
        if !condition {
            self.problems.push(format!("{}: {}", self.name, problem()));
        }
    }
}

fn build(store: &Store, context: &Path, expected: &Value, outputs: &[String]) -> Run {
    let mut command = store.bld();
    command.current_dir(context);
    for (position, argument) in list(&expected["build"]).iter().enumerate() {
        command.arg(argument.as_str().unwrap());
        if position == 0 {
            command.args(["--progress", "plain"]);
        }
    }
    for output in outputs {
        command.args(["-o", output]);
    }
    support::run(&mut command)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
