//! What can go wrong before, during and after a step; the part that crosses the helper's socket is serialisable.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::spec::path_bytes;

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(formatter)
    }
}

impl std::error::Error for Errno {}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

/// Why a step could not be started; the command itself never ran.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum StepError {
    /// The command is nowhere in `PATH`, or its path does not exist. Shells call this 127.
    #[error("executable `{name}` not found")]
    NotFound {
        /// The command as it was given.
        name: String,
    },
    /// The command exists and may not be executed. Shells call this 126.
    #[error("executable `{name}`: permission denied")]
    PermissionDenied {
        /// The command as it was given.
        name: String,
    },
    /// The kernel refused to execute the file (wrong format or architecture).
    #[error("cannot execute `{name}`")]
    CannotExecute {
        /// The command as it was given.
        name: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// `/proc`, `/sys` or `/dev` of the image is a symbolic link or a file.
    #[error("`{}` of the image must be an ordinary directory", path.display())]
    NotOrdinaryDirectory {
        /// The path inside the image.
        #[serde(with = "path_bytes")]
        path: PathBuf,
    },
    /// A path goes through a link that leaves the root file system.
    #[error("`{}` leads outside of the root file system", path.display())]
    OutsideRoot {
        /// The path inside the image.
        #[serde(with = "path_bytes")]
        path: PathBuf,
    },
    /// More layers than an overlay can stack.
    #[error("too many layers: {count}, the kernel stacks at most {limit}")]
    TooManyLayers {
        /// Layers asked for.
        count: usize,
        /// Layers the kernel takes.
        limit: usize,
    },
    /// The specification asks for something that has no meaning.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which part of the specification.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused the overlay.
    #[error("cannot mount the overlay{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Overlay {
        /// What the kernel logged about it.
        detail: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// A fresh procfs is refused because the surrounding container hides parts of its own.
    #[error(
        "cannot mount a fresh /proc: the surrounding container masks parts of its own /proc; \
         start it with an unmasked one (docker: `--security-opt systempaths=unconfined`, \
         Kubernetes: `procMount: Unmasked`)"
    )]
    ProcMasked,
    /// The set-up ended without a word.
    #[error("the sandbox ended before the command was started ({status})")]
    Vanished {
        /// How it ended.
        status: String,
    },
    /// A system call of the set-up failed.
    #[error("cannot {action} `{}`", path.display())]
    System {
        /// The verb.
        action: String,
        /// What it was done to.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

/// Adds the verb and the path to the answer of a system call.
pub(super) trait Context<T> {
    fn context(self, action: &str, path: impl AsRef<Path>) -> Result<T, StepError>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, action: &str, path: impl AsRef<Path>) -> Result<T, StepError> {
        self.map_err(|errno| StepError::System {
            action: action.to_owned(),
            path: path.as_ref().to_owned(),
            source: errno.into(),
        })
    }
}

/// Everything the sandbox reports to its caller.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The step could not be started.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The helper must be forked before the first thread.
    #[error("the sandbox helper must be started before any thread, {count} are running")]
    Threads {
        /// Threads found.
        count: usize,
    },
    /// The helper process could not be set up.
    #[error("sandbox helper: cannot {action}")]
    Start {
        /// The verb.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The helper process is gone, and with it every step.
    #[error("the sandbox helper process died; every running step was ended")]
    HelperDied,
    /// A specification could not be written down.
    #[error("cannot encode the step's specification")]
    Encode {
        /// The encoder's answer.
        source: serde_json::Error,
    },
    /// A user namespace is needed and not to be had.
    #[error("cannot create a user namespace: {blocker}; {fix}")]
    UserNamespace {
        /// What stands in the way.
        blocker: String,
        /// How to get it out of the way.
        fix: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The id maps of the user namespace could not be written.
    #[error("cannot map user ids: {blocker}; {fix}")]
    IdMap {
        /// What stands in the way.
        blocker: String,
        /// How to get it out of the way.
        fix: String,
    },
    /// A file of the host could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Host {
        /// The verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A private network is not to be had.
    #[error("no private network: {reason}")]
    Network {
        /// What stands in the way.
        reason: String,
        /// The kernel's answer, where there is one.
        source: Option<io::Error>,
    },
}
