//! What can go wrong while an operation is done.

use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::StoreError;
use bld_oci::ImagePath;

use crate::copy::CopyError;
use crate::layers::LayerError;
use crate::passwd::PasswdError;
use crate::sandbox::SandboxError;
use crate::view::ViewError;

/// An operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The command of a RUN ended with a status other than 0.
    #[error("`{command}` exited with status {code}")]
    ExitStatus {
        /// The command as written.
        command: String,
        /// Its exit status.
        code: i32,
    },
    /// The command of a RUN was killed.
    #[error("`{command}` was killed by signal {signal}{}", if *out_of_memory { " because memory ran out" } else { "" })]
    Killed {
        /// The command as written.
        command: String,
        /// The signal's number.
        signal: i32,
        /// The kernel's memory killer did it.
        out_of_memory: bool,
    },
    /// The step was stopped because the build was.
    #[error("canceled")]
    Canceled,
    /// A step asked for a network that this machine cannot give.
    #[error("no private network for RUN steps: {reason}")]
    Network {
        /// What is missing.
        reason: String,
    },
    /// A layer's stored bytes are not a tar that can be applied.
    #[error("layer {diff_id} of a base image cannot be unpacked")]
    Unpack {
        /// The layer's DiffID.
        diff_id: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer has neither files nor a blob: the store has lost it.
    #[error("a layer is missing from the store")]
    LayerMissing,
    /// A context was named that was not given.
    #[error("there is no build context named `{name}`")]
    NoSuchContext {
        /// The name.
        name: String,
    },
    /// A path of the image stands in the way.
    #[error("the working directory {path} cannot be used")]
    WorkingDirectory {
        /// The path.
        path: ImagePath,
    },
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Files could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A layer could not be read or written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// USER or --chown named somebody unknown.
    #[error(transparent)]
    Passwd(#[from] PasswdError),
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tree could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Work shared with another step failed there.
    #[error(transparent)]
    Shared(Arc<ExecuteError>),
}
