//! Base images: the solver's [`SourceResolver`] on this machine. A named context wins; else the name is an image of the local store.

use std::collections::BTreeMap;

use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_solver::remote::Remote;
use bld_solver::worker::Resolved;
use bld_solver::worker::ResolvedImage;
use bld_solver::worker::SourceResolver;

use super::ImagesError;
use super::archive;
use super::image_layers;
use super::layout;
use super::layout::Wanted;
use super::local;
use super::local::LocalImage;
use super::named::NamedContext;
use super::policy::KnownImages;
use crate::sources::Remotes;

/// Finds base images in named contexts, in the local store and in registries.
#[derive(Debug)]
pub struct ImageSources {
    images: KnownImages,
    named: BTreeMap<String, NamedContext>,
    remotes: Option<Remotes>,
}

impl ImageSources {
    /// Sources with the named contexts of a build. Nothing is fetched.
    pub fn new(images: KnownImages, named: BTreeMap<String, NamedContext>) -> ImageSources {
        ImageSources { images, named, remotes: None }
    }

    /// Sources of a build that may ask the network what time it is there.
    #[must_use]
    pub fn with_remotes(self, remotes: Remotes) -> ImageSources {
        ImageSources { remotes: Some(remotes), ..self }
    }

    /// The named context that `name` stands for on `platform`: written so, or in full as an image name.
    fn named(&self, name: &str, platform: Option<&Platform>) -> Option<(&str, &NamedContext)> {
        let full = name.parse::<Reference>().ok().map(|reference| reference.to_string());
        let matches = |key: &str| {
            let (key, wanted) = key.split_once("::").map_or((key, None), |(key, platform)| (key, Some(platform)));
            let fits = match (wanted, platform) {
                (None, _) => true,
                (Some(wanted), Some(platform)) => platform.to_string() == wanted,
                (Some(_), None) => false,
            };
            let same_image =
                || full.is_some() && key.parse::<Reference>().ok().map(|reference| reference.to_string()) == full;
            fits && (key.eq_ignore_ascii_case(name) || same_image())
        };
        self.named.iter().find(|(key, _)| matches(key)).map(|(key, context)| (key.as_str(), context))
    }

    async fn resolve_now(&self, name: &str, platform: &Platform) -> Result<Resolved, ImagesError> {
        let Some((key, context)) = self.named(name, Some(platform)) else {
            let image = self.images.find(name, platform).await?;
            return resolved(name, &image);
        };
        let image = match context {
            NamedContext::Directory(_) => return Ok(Resolved::Context(key.to_owned())),
            NamedContext::Remote(remote) => return Ok(Resolved::Remote(remote.clone())),
            NamedContext::Image(reference) => self.images.find(reference, platform).await?,
            NamedContext::OciLayout { directory, image } => {
                let descriptor =
                    layout::ingest(self.images.store(), directory, image.as_deref(), Wanted::Platform(platform))?;
                local::open(self.images.store(), &descriptor, platform)?
            }
            NamedContext::Archive { file, image } => {
                let descriptor = archive::image_of(self.images.store(), file, image.as_deref())?;
                local::open(self.images.store(), &descriptor, platform)?
            }
        };
        resolved(name, &image)
    }
}

impl SourceResolver for ImageSources {
    type Error = ImagesError;

    async fn resolve(&self, name: &str, platform: &Platform) -> Result<Resolved, ImagesError> {
        self.resolve_now(name, platform).await
    }

    fn is_named_context(&self, name: &str) -> bool {
        self.named(name, None).is_some()
    }

    fn named_contexts(&self) -> Vec<String> {
        self.named.keys().map(|key| key.split("::").next().unwrap_or(key).to_owned()).collect()
    }

    async fn time(&self, remote: &Remote) -> Result<Option<i64>, ImagesError> {
        let Some(remotes) = &self.remotes else { return Ok(None) };
        Ok(remotes.time(remote).await?.map(|time| time.seconds))
    }

    fn is_missing(&self, error: &ImagesError) -> bool {
        match error {
            ImagesError::NotFound { .. } | ImagesError::PullMissing { .. } => true,
            ImagesError::Pull { source, .. } => source.is_not_found(),
            _ => false,
        }
    }
}

fn resolved(name: &str, image: &LocalImage) -> Result<Resolved, ImagesError> {
    let layers = image_layers(&image.manifest, &image.config)
        .map_err(|source| ImagesError::Broken { what: name.to_owned(), source })?;
    let full = match name.parse::<Reference>() {
        Ok(reference) if !local::is_id(name) => reference.to_string(),
        _ => name.to_owned(),
    };
    Ok(Resolved::Image(ResolvedImage {
        name: full,
        digest: Some(image.descriptor.digest),
        config: image.config.clone(),
        layers,
    }))
}
