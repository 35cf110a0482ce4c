//! What can go wrong while an operation is done.

use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::StoreError;
use bld_oci::ImagePath;

use crate::copy::CopyError;
use crate::layers::LayerError;
use crate::passwd::PasswdError;
use crate::pull::PullError;
use crate::sandbox::SandboxError;
use crate::sources::SourceError;
use crate::ssh::AgentError;
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
    /// A script's first line, or a program's header, names a file that is not there.
    #[error("`{program}` exists, but its interpreter `{}` does not", interpreter.escape_debug())]
    NoInterpreter {
        /// The program.
        program: String,
        /// What should run it.
        interpreter: String,
    },
    /// A program of another architecture that nothing here emulates.
    #[error("cannot execute `{program}`: {reason}")]
    OtherMachine {
        /// The program.
        program: String,
        /// What is missing.
        reason: String,
    },
    /// A shell is needed that the image does not have.
    #[error("the image has no `{shell}`")]
    NoShell {
        /// Its path.
        shell: String,
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
    /// A step needs a secret that nobody gave.
    #[error("the secret `{id}` is required and was not given")]
    SecretMissing {
        /// Its name.
        id: String,
    },
    /// A secret asked for as a variable holds what no variable can.
    #[error("the secret `{id}` cannot be a variable: it is not text, or there is a NUL byte in it")]
    SecretNotText {
        /// Its name.
        id: String,
    },
    /// A step left a secret in its layer.
    #[error("secret \"{id}\" was copied into the layer: {path}")]
    SecretInLayer {
        /// The secret's name.
        id: String,
        /// Where it was found.
        path: ImagePath,
    },
    /// A step needs an ssh agent that nobody gave.
    #[error("the ssh agent `{id}` is required and was not given")]
    AgentMissing {
        /// Its name.
        id: String,
    },
    /// What a mount should show is not there, or of the wrong kind.
    #[error("cannot mount {path}: {reason}")]
    MountSource {
        /// The path in its tree.
        path: ImagePath,
        /// Why not.
        reason: &'static str,
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
    /// An ssh agent could not be forwarded.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A layer of a base image could not be pulled.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// A source on the network could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
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

impl ExecuteError {
    /// The message where the command is shown already.
    pub fn without_command(&self) -> String {
        let whole = self.to_string();
        match self {
            ExecuteError::ExitStatus { command, .. } | ExecuteError::Killed { command, .. } => {
                whole.strip_prefix(&format!("`{command}` ")).map_or_else(|| whole.clone(), str::to_owned)
            }
            _ => whole,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ExecuteError::NoInterpreter { interpreter, .. } if interpreter.ends_with('\r') => {
                "the file has Windows line ends: save it with Unix ones, and keep git from changing them with \
                 `*.sh text eol=lf` in .gitattributes"
            }
            ExecuteError::OtherMachine { .. } => {
                "the packages qemu-user-static and binfmt-support register emulators; or compile across: \
                 `FROM --platform=$BUILDPLATFORM` for the stage that compiles, with TARGETARCH"
            }
            ExecuteError::NoShell { .. } => "FROM scratch holds no shell: use COPY, or RUN [\"/prog\"]",
            ExecuteError::ExitStatus { code: 137, .. }
            | ExecuteError::Killed { signal: 9, out_of_memory: false, .. } => {
                "something was killed by SIGKILL (status 137), mostly because memory ran out: try fewer steps at once (`--jobs 1`)"
            }
            ExecuteError::Killed { out_of_memory: true, .. } => {
                "give the build more memory, or let fewer steps run at once (`--jobs 1`)"
            }
            ExecuteError::Copy(error) => return error.hint(),
            ExecuteError::Passwd(error) => return error.hint(),
            ExecuteError::Source(error) => return error.hint(),
            ExecuteError::Pull(error) if error.is_unreachable() => {
                "layers are fetched when they are first needed: try again when the registry can be reached; \
                 `bld pull IMAGE` brings all of them beforehand"
            }
            ExecuteError::Pull(error) => return error.hint(),
            ExecuteError::Shared(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
