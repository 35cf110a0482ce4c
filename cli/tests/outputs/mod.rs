//! What bld writes, in the hands of the tools it is written for, and what they write in bld's. And the commands that deal with images.
//!
//! ```text
//! features.rs   one image with everything a layer can hold: tar, skopeo, umoci, podman, docker
//! depth.rs      an image of 127 layers
//! trips.rs      archives of all kinds into bld and onwards
//! commands.rs   import, images, inspect, history, rmi
//! ```

mod commands;
mod depth;
mod docker;
mod features;
mod listing;
mod podman;
mod trips;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

pub(crate) use self::docker::Docker;
pub(crate) use self::podman::Podman;
use crate::support;
use crate::support::Run;

/// Runs a program to its end.
#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> Run {
    support::run(Command::new(program).args(arguments)).succeeded()
}

/// Runs a line of bash in `directory`, where it must succeed.
#[track_caller]
fn bash(directory: &Path, script: &str) -> Run {
    support::run(Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(directory)).succeeded()
}

/// Whether the test runs as root, which it needs; if not it says so.
fn as_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        support::host::cannot_run("owners, devices and container engines need root");
    }
    is_root
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// Unpacks a root file system with all that the tar holds.
fn unpack_tar(archive: &Path, directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    let (archive, directory) = (archive.to_str().unwrap(), directory.to_str().unwrap());
    tool("tar", &["-xpf", archive, "-C", directory, "--numeric-owner", "--xattrs", "--xattrs-include=*"]);
}
