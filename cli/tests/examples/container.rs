//! Running an image the way a container runtime would, with nothing but a changed root directory.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support;
use crate::support::Run;

/// An unpacked image and the part of its config that says what to run.
#[derive(Debug)]
pub(super) struct Container {
    root: PathBuf,
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    directory: String,
}

impl Container {
    /// The image with the root file system `root` and the config `config`.
    pub(super) fn new(root: PathBuf, config: &Value) -> Self {
        let environment = strings(&config["Env"])
            .into_iter()
            .filter_map(|variable| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let directory = config["WorkingDir"].as_str().filter(|directory| !directory.is_empty()).unwrap_or("/");
        Self {
            root,
            entrypoint: strings(&config["Entrypoint"]),
            command: strings(&config["Cmd"]),
            environment,
            directory: directory.to_owned(),
        }
    }

    /// Runs ENTRYPOINT with `arguments`, or with CMD if there are none given, and `environment` on top of the image's.
    pub(super) fn run(&self, arguments: Option<&[Value]>, environment: &Value) -> Run {
        let arguments = match arguments {
            Some(arguments) => arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect(),
            None => self.command.clone(),
        };
        // The image's PATH is for what runs inside.
        let mut command = Command::new("/usr/bin/unshare");
        // Changing the root directory is a right that a user without privileges has in a name space of his own.
        if !is_root() {
            command.arg("--map-root-user");
        }
        command.arg("--root").arg(&self.root).arg("--wd").arg(&self.directory).arg("--");
        command.args(&self.entrypoint).args(arguments);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        for (name, value) in environment.as_object().into_iter().flatten() {
            command.env(name, value.as_str().unwrap());
        }
        support::run(&mut command)
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
