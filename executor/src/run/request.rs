//! What to run, and how it differs from what the image says.

use super::cgroup::Limits;
use super::ports::Publish;
use crate::sandbox::Capabilities;
use crate::sandbox::Mount;
use crate::sandbox::ResourceLimit;

/// What to run, and how it differs from what the image says.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "fields are what the flags are")]
pub struct RunRequest {
    /// Instead of the image's CMD, unless empty.
    pub command: Vec<String>,
    /// Instead of the image's ENTRYPOINT, and of its CMD.
    pub entrypoint: Option<Vec<String>>,
    /// Changes to the environment, in order.
    pub env: Vec<Variable>,
    /// Instead of USER.
    pub user: Option<String>,
    /// Instead of WORKDIR; absolute.
    pub working_directory: Option<String>,
    /// Host name inside.
    pub hostname: String,
    /// Lines of /etc/hosts: name and address.
    pub hosts: Vec<(String, String)>,
    /// The network.
    pub network: RunNetwork,
    /// Ports to publish.
    pub ports: Vec<Publish>,
    /// Publish every port the image exposes too.
    pub publish_all: bool,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Resource limits by cgroups.
    pub limits: Limits,
    /// Resource limits by the kernel's rlimits.
    pub ulimits: Vec<ResourceLimit>,
    /// What root inside may do; `None` = what it may in a `RUN` step.
    pub capabilities: Option<Capabilities>,
    /// Executing setuid files gains nothing.
    pub no_new_privileges: bool,
    /// Writes only to volumes and mounts.
    pub read_only: bool,
    /// Size of /dev/shm.
    pub shm_size: Option<u64>,
    /// The process gets a terminal.
    pub terminal: bool,
}

/// A change to the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// Set it.
    Set(String, String),
    /// Take the image's away.
    Remove(String),
}

impl Variable {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Variable::Set(name, _) | Variable::Remove(name) => name,
        }
    }
}

/// The network of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// One of its own if the machine can give one, else the host's, and a note that says so.
    PrivateOrHost,
    /// One of its own, or an error.
    Private,
    /// The host's.
    Host,
    /// Loopback only.
    None,
}
