//! What a build that finds everything does to the machine, seen from outside by strace.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Project;
use super::layers;
use super::of;
use crate::support;

/// The system calls of one build, one a line.
struct Trace {
    lines: Vec<String>,
}

impl Trace {
    /// Builds `project` under strace; nothing may run.
    fn of(project: &Project, arguments: &[&str]) -> Self {
        let file = project.directory.path().join("trace");
        let inner = project.store.bld();
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            "trace=openat,openat2,open,execve,mount,fsmount,clone3,clone,unshare",
        ]);
        command.arg("-o").arg(&file).arg(inner.get_program()).env_clear();
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        command.args(["build", "--progress", "plain", "--network", "none"]).args(arguments).arg(project.context());
        let built = of(support::run(&mut command));
        assert!(built.progress.executed().is_empty(), "{:?}", built.progress);
        assert_eq!(built.digest, project.digest);
        let text = fs::read_to_string(&file).unwrap();
        // Without the process number.
        let lines = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim_start().to_owned());
        let lines: Vec<String> = lines.collect();
        assert!(lines.iter().any(|line| line.starts_with("execve(")), "strace saw nothing:\n{text}");
        Self { lines }
    }

    /// The calls that begin with one of these and hold `text`.
    fn calls(&self, names: &[&str], text: &str) -> Vec<&str> {
        let is_one = |line: &str| names.iter().any(|name| line.starts_with(&format!("{name}(")));
        self.lines.iter().map(String::as_str).filter(|line| is_one(line) && line.contains(text)).collect()
    }

    fn opened(&self, text: &str) -> Vec<&str> {
        self.calls(&["open", "openat", "openat2"], text)
    }

    fn is_quiet(&self, root: &Path) {
        let none: [&str; 0] = [];
        assert_eq!(self.opened(&format!("{}/layers/", root.display())), none, "no layer directory is opened");
        assert_eq!(self.calls(&["mount", "fsmount", "unshare"], ""), none, "nothing is mounted");
        assert_eq!(self.calls(&["clone", "clone3"], "CLONE_NEW"), none, "no sandbox is made");
        assert_eq!(self.calls(&["execve"], "").len(), 1, "no program is run but bld");
        let processes = self.calls(&["clone", "clone3"], "").into_iter().filter(|call| !call.contains("CLONE_THREAD"));
        // The helper is forked before it is known whether anybody needs it: afterwards it could not be.
        assert!(processes.count() <= 1, "no process is made but the helper");
    }
}

#[test]
fn a_known_build_opens_no_layer() {
    let project = Project::built();
    let layers = layers(&project.store, &project.digest);
    let trace = Trace::of(&project, &[]);
    trace.is_quiet(project.store.root());
    for layer in &layers {
        let digits = layer.strip_prefix("sha256:").unwrap();
        assert!(trace.opened(digits).is_empty(), "the blob of {layer} is opened");
    }
    // An archive holds the blobs: now they are read, and still no directory is.
    let archive = project.directory.path().join("image.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let trace = Trace::of(&project, &["-o", &output]);
    trace.is_quiet(project.store.root());
    for layer in &layers {
        let digits = layer.strip_prefix("sha256:").unwrap();
        assert_eq!(trace.opened(digits).len(), 1, "the blob of {layer} is read once");
    }
}
