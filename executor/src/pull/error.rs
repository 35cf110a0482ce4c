//! What can go wrong while an image is pulled.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::StoreError;
use bld_oci::Digest;
use bld_oci::image::ImageError;
use bld_registry::RegistryError;

/// An image, or a blob of one, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A registry failed, or does not have it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// Nobody knows whom to ask.
    #[error("blob {digest} is not in the store, and no registry is known to have it")]
    NoOrigin {
        /// The blob.
        digest: Digest,
    },
    /// A document is not what it should be.
    #[error("{digest} is not a usable image")]
    Broken {
        /// The document.
        digest: Digest,
        /// What is wrong with it.
        source: Box<ImageError>,
    },
    /// No index leads to so many images.
    #[error("{digest} leads to more than {limit} images and indexes")]
    TooMany {
        /// The index.
        digest: Digest,
        /// How many are read.
        limit: usize,
    },
    /// The disk does not take it.
    #[error("cannot write blob {digest} into the store {root}")]
    Write {
        /// The blob.
        digest: Digest,
        /// The store.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// bld is ending.
    #[error("the download was stopped")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A download that others wait for failed.
    #[error(transparent)]
    Shared(#[from] Arc<PullError>),
}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> PullError {
        PullError::Registry(Box::new(error))
    }
}

impl PullError {
    /// Whether the registry answered that there is no such image.
    pub fn is_not_found(&self) -> bool {
        match self {
            PullError::Registry(error) => error.is_not_found(),
            PullError::Shared(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// Whether a registry sent something else than was asked for.
    pub fn is_wrong_content(&self) -> bool {
        match self {
            PullError::Registry(error) => matches!(**error, RegistryError::Content { .. }),
            PullError::Shared(error) => error.is_wrong_content(),
            _ => false,
        }
    }

    /// Whether no registry could be reached: what is here may be used instead.
    pub fn is_unreachable(&self) -> bool {
        match self {
            PullError::Registry(error) => error.is_unreachable(),
            PullError::Shared(error) => error.is_unreachable(),
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PullError::Registry(error) => error.hint(),
            PullError::Shared(error) => error.hint(),
            PullError::Write { root, source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!("`bld prune` frees space on the disk of {}", root.display()))
            }
            PullError::NoOrigin { .. } => Some("`bld pull` the image again".to_owned()),
            _ => None,
        }
    }
}
