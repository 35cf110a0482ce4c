//! What can go wrong when an image is run.

use std::io;
use std::net::SocketAddrV4;

use bld_cache::StoreError;
use bld_oci::image::ImageError;

use super::cgroup::CgroupError;
use crate::error::ExecuteError;
use crate::sandbox::SandboxError;

/// An image cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Neither the image nor the user names a command.
    #[error("the image has neither CMD nor ENTRYPOINT: there is nothing to run")]
    NoCommand,
    /// A port cannot be published.
    #[error("cannot publish port {address}/{protocol}")]
    Port {
        /// Where.
        address: SocketAddrV4,
        /// Which kind.
        protocol: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A range of ports is empty.
    #[error("there is no port to publish")]
    NoPort,
    /// Ports are to be published, and there is no network to publish them from.
    #[error("ports can only be published from a private network, which cannot be had")]
    Unpublished {
        /// What stands in the way.
        source: SandboxError,
    },
    /// What the image exposes is no port.
    #[error("the image exposes `{text}`, which is no port")]
    Exposed {
        /// As the image has it.
        text: String,
    },
    /// A path of the image or of a flag names nothing that can be mounted over.
    #[error("`{path}` is not an absolute path without `..`")]
    BadPath {
        /// The path.
        path: String,
    },
    /// A limit cannot be set.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The documents of the image contradict each other.
    #[error("image {digest} is not usable")]
    Broken {
        /// Which image.
        digest: String,
        /// What is wrong with it.
        source: ImageError,
    },
    /// A layer, the user or the sandbox made trouble.
    #[error(transparent)]
    Execute(Box<ExecuteError>),
}

impl RunError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RunError::NoCommand => Some("name one behind the image: `bld run IMAGE COMMAND`".to_owned()),
            RunError::Port { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("another program uses it: choose another one, or `-p PORT` for any that is free".to_owned())
                }
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 are for root: choose a higher one".to_owned())
                }
                io::ErrorKind::AddrNotAvailable => Some("the address must be one of this machine's".to_owned()),
                _ => None,
            },
            RunError::Unpublished { .. } => {
                Some("with `--network host` the ports of the process are the host's".to_owned())
            }
            RunError::Cgroup(_) => Some("leave `--memory` and `--cpus` out to run it without limits".to_owned()),
            RunError::Execute(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<ExecuteError> for RunError {
    fn from(error: ExecuteError) -> RunError {
        RunError::Execute(Box::new(error))
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> RunError {
        ExecuteError::from(error).into()
    }
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> RunError {
        ExecuteError::from(error).into()
    }
}
