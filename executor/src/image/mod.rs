//! Images: where base images come from, and how the result of a build becomes one.

pub mod archive;
pub mod assemble;
pub mod import;
pub mod local;
pub mod named;
pub mod sources;

use std::path::PathBuf;

use bld_cache::StoreError;
use bld_oci::Digest;
use bld_oci::image::ImageError;
use bld_oci::image::ImageLayer;

use crate::error::ExecuteError;

/// No configuration, manifest or index is larger: what the big registries accept.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// An image cannot be found, read or made.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// No image of that name is in the store.
    #[error("image `{name}` is not in the local store")]
    NotFound {
        /// As the user wrote it.
        name: String,
        /// A name that is there and looks alike.
        similar: Option<String>,
    },
    /// A name that is no image reference.
    #[error("`{name}` is not an image name: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A layout or archive has several images and none was chosen.
    #[error("{} holds several images ({choices}): say which one by `:tag`", path.display())]
    SeveralImages {
        /// The layout or archive.
        path: PathBuf,
        /// What there is.
        choices: String,
    },
    /// A layout or archive has no such image.
    #[error("{} holds no image `{wanted}`{}", path.display(), if choices.is_empty() { String::new() } else { format!(", only {choices}") })]
    NoSuchImage {
        /// The layout or archive.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What there is.
        choices: String,
    },
    /// A named context's value cannot be understood.
    #[error("`{value}` is not a build context: {reason}")]
    BadContext {
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The documents of an image are broken.
    #[error("{what} is not a usable image")]
    Broken {
        /// Which image.
        what: String,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The archive is broken.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A blob that the manifest names is missing.
    #[error("{what} lacks blob {digest}")]
    BlobMissing {
        /// Which image.
        what: String,
        /// The blob.
        digest: Digest,
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
    /// A layer could not be unpacked or packed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImagesError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ImagesError::NotFound { similar: Some(similar), .. } => Some(format!("did you mean `{similar}`?")),
            ImagesError::NotFound { name, similar: None } => Some(format!(
                "registries are not supported yet: `bld load -i FILE` takes an image from an archive, `bld import FILE {name}` makes one \
                 of a root file system, `--build-context {name}=oci-layout://DIR` uses one where it is"
            )),
            _ => None,
        }
    }
}

/// The layers of a manifest with the DiffIDs of its configuration.
pub(crate) fn image_layers(
    manifest: &bld_oci::image::Manifest,
    config: &bld_oci::image::ImageConfig,
) -> Result<Vec<ImageLayer>, ImageError> {
    manifest.check_config(config)?;
    let pairs = config.diff_ids.iter().zip(&manifest.layers);
    Ok(pairs.map(|(diff_id, blob)| ImageLayer { diff_id: *diff_id, blob: blob.clone() }).collect())
}
