//! Images: where base images come from, and how the result of a build becomes one.

pub mod archive;
pub mod assemble;
pub mod compare;
pub mod import;
pub mod layout;
pub mod local;
pub mod named;
pub mod options;
pub mod peek;
pub mod policy;
pub mod sources;
pub mod waste;

mod squash;
mod stream;

use std::path::Path;
use std::path::PathBuf;

use bld_cache::StoreError;
use bld_oci::Digest;
use bld_oci::image::ImageError;
use bld_oci::image::ImageLayer;

use crate::error::ExecuteError;
use crate::pull::PullError;
use crate::sources::SourceError;

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
    /// A registry does not give the image.
    #[error("cannot pull `{name}`")]
    Pull {
        /// As the user wrote it.
        name: String,
        /// Why.
        source: Box<PullError>,
    },
    /// No registry has the image, and the store has one of a similar name.
    #[error("cannot pull `{name}`")]
    PullMissing {
        /// As the user wrote it.
        name: String,
        /// A name that is in the store and looks alike.
        similar: String,
        /// Why.
        source: Box<PullError>,
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
    /// Not an archive at all.
    #[error("{} is not a tar archive (plain, gzip, bzip2, xz or zstd)", path.display())]
    NotATar {
        /// The file.
        path: PathBuf,
    },
    /// A tar, but not of images.
    #[error("{} is not an image archive: it has neither `oci-layout` with `index.json`, nor `manifest.json`", path.display())]
    NotAnImage {
        /// The archive.
        path: PathBuf,
    },
    /// An image where a root file system was wanted.
    #[error("{} is an image archive, not a root file system", path.display())]
    IsImage {
        /// The archive.
        path: PathBuf,
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
    /// A source on the network could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImagesError {
    /// Whether a registry sent something else than it promised.
    pub fn is_wrong_content(&self) -> bool {
        match self {
            ImagesError::Pull { source, .. } => source.is_wrong_content(),
            ImagesError::Execute(ExecuteError::Pull(error)) => error.is_wrong_content(),
            ImagesError::Execute(error) => matches!(error, ExecuteError::Unpack { .. } | ExecuteError::Layer(_)),
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ImagesError::Source(error) => error.hint(),
            ImagesError::NotFound { name, similar } => {
                let similar = similar.as_ref().map(|similar| format!("did you mean `{similar}`? If not: "));
                Some(format!(
                    "{}`bld pull {name}` gets it from its registry, `bld load -i FILE` takes an image from an \
                     archive, `bld import FILE {name}` makes one of a root file system, \
                     `--build-context {name}=oci-layout://DIR` uses one where it is",
                    similar.unwrap_or_default()
                ))
            }
            ImagesError::Pull { name, source } if source.is_unreachable() => Some(format!(
                "the local store has no `{name}` either: `bld load -i FILE` takes it from an archive, \
                 `--build-context {name}=oci-layout://DIR` uses it where it is; registries.toml can name a mirror"
            )),
            ImagesError::Pull { source, .. } => source.hint(),
            ImagesError::Execute(error) => error.hint(),
            ImagesError::PullMissing { similar, .. } => {
                Some(format!("did you mean `{similar}`, which is in the store?"))
            }
            ImagesError::BadName { name, .. } => lower_case(name).map(|name| format!("did you mean `{name}`?")),
            ImagesError::NotAnImage { path } => {
                Some(format!("`bld import {} NAME:TAG` makes an image of a root file system", typed(path)))
            }
            ImagesError::IsImage { path } => Some(format!("bld load -i {}", typed(path))),
            _ => None,
        }
    }
}

/// The image name that `name` is but for upper-case letters in it; those of a tag stay.
fn lower_case(name: &str) -> Option<String> {
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/')).unwrap_or(name.len());
    let lower = format!("{}{}", name[..tag].to_ascii_lowercase(), &name[tag..]);
    (lower != name && lower.parse::<bld_oci::reference::Reference>().is_ok()).then_some(lower)
}

/// How messages call what comes from standard input.
pub const STDIN: &str = "standard input";

/// A file as it is typed.
fn typed(path: &Path) -> String {
    if path == Path::new(STDIN) { "-".to_owned() } else { path.display().to_string() }
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

#[cfg(test)]
mod tests {
    use super::ImagesError;

    #[test]
    fn names_are_said_once_and_corrected() {
        for (name, text, hint) in [
            ("BusyBox:1", "`BusyBox:1` is not an image name: it must be lower case", Some("did you mean `busybox:1`?")),
            ("x/App:V2", "`x/App:V2` is not an image name: it must be lower case", Some("did you mean `x/app:V2`?")),
            ("a:!", "`a:!` is not an image name: `!` is not a tag: it must be", None),
        ] {
            let error = super::local::full_name(name).unwrap_err();
            assert!(error.to_string().starts_with(text), "{error}");
            assert_eq!(error.hint().as_deref(), hint, "{name}");
        }
    }

    #[test]
    fn a_missing_image_is_explained_even_if_there_is_one_like_it() {
        let error = ImagesError::NotFound { name: "busybox:2".to_owned(), similar: Some("busybox:1".to_owned()) };
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("did you mean `busybox:1`? If not: `bld pull busybox:2` gets it"), "{hint}");
    }
}
