//! The image that somebody names to look at: one of the local store, or one in an archive or a layout directory.

use std::path::Path;

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_executor::image::peek;
use bld_oci::platform::Platform;

use super::Session;
use super::image_error;
use crate::environment;
use crate::error::CommandError;
use crate::reference;

/// An image to be shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// Its documents.
    pub(super) image: LocalImage,
    /// Its names, in full or, where only a tag is known, that.
    pub(super) names: Vec<String>,
    /// The bytes of its files as far as they are known, else as stored.
    pub(super) size: u64,
    /// The bytes of each layer's files, bottom to top, where they are known.
    pub(super) layer_sizes: Vec<Option<u64>>,
}

/// The images that `text` means: one of the store, else all of the archive or layout at that path.
pub(super) fn shown(session: &Session, text: &str, platform: Option<&str>) -> Result<Vec<Shown>, CommandError> {
    let host = environment::host_platform();
    let wanted = platform.map(|text| Platform::parse(text, &host)).transpose();
    let wanted = wanted.map_err(|error| CommandError::usage(error.to_string()))?;
    let path = Path::new(text);
    let is_file = peek::is_there(path);
    let stored = if is_file && !session.root.join("format").exists() {
        None
    } else {
        let store = session.open_existing_store()?;
        match local::locate(&store, text) {
            Ok((descriptor, _)) => Some((store, descriptor)),
            Err(ImagesError::NotFound { .. }) if is_file => None,
            Err(error) => return Err(image_error(&error)),
        }
    };
    let Some((store, descriptor)) = stored else {
        let found = peek::peek(path, wanted.as_ref().unwrap_or(&host)).map_err(|error| image_error(&error))?;
        if found.is_empty() {
            return Err(CommandError::failed(format!("{} holds no image", path.display())));
        }
        return found.into_iter().map(|found| peeked(found, wanted.as_ref(), text)).collect();
    };
    let image = match &wanted {
        Some(platform) => {
            let image = local::open(&store, &descriptor, platform).map_err(|error| image_error(&error))?;
            check_platform(&image, platform, text)?;
            image
        }
        None => local::open_any(&store, &descriptor, &host).map_err(|error| image_error(&error))?,
    };
    let names = names(&store, &descriptor)?;
    let size = local::size(&store, &image.descriptor, &host).map_err(|error| image_error(&error))?;
    let layer_sizes = local::layer_sizes(&store, &image.config).map_err(|error| image_error(&error))?;
    Ok(vec![Shown { image, names, size, layer_sizes }])
}

/// The same where only one image will do.
pub(super) fn shown_one(session: &Session, text: &str, platform: Option<&str>) -> Result<Shown, CommandError> {
    let mut found = shown(session, text, platform)?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(CommandError::failed(format!("{text} holds several images"))
            .hint("`bld load` takes them into the store, where each has its name")),
    }
}

fn peeked(found: peek::PeekedImage, platform: Option<&Platform>, text: &str) -> Result<Shown, CommandError> {
    if let Some(platform) = platform {
        check_platform(&found.image, platform, text)?;
    }
    let blobs = found.image.manifest.layers.iter().map(|layer| layer.size);
    let size = blobs.fold(found.image.manifest.config.size, u64::saturating_add);
    let layer_sizes = vec![None; found.image.config.diff_ids.len()];
    Ok(Shown { image: found.image, names: found.names, size, layer_sizes })
}

/// An image that is alone has one platform, which nobody chose.
fn check_platform(image: &LocalImage, platform: &Platform, text: &str) -> Result<(), CommandError> {
    let is = image.config.platform();
    if platform.accepts(&is) {
        return Ok(());
    }
    Err(CommandError::failed(format!("`{text}` is for {is}, not for {platform}")))
}

/// All names of an image of the store.
pub(super) fn names(store: &Store, descriptor: &bld_oci::image::Descriptor) -> Result<Vec<String>, CommandError> {
    let all = store.images().list()?.into_iter().filter(|(_, other)| other.digest == descriptor.digest);
    Ok(all.filter_map(|(name, _)| name).collect())
}

impl Shown {
    /// The names as people write them.
    pub(super) fn familiar_names(&self) -> Vec<String> {
        self.names.iter().map(|name| reference::familiar(name)).collect()
    }
}
