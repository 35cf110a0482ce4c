//! An image whose files are looked at: of the local store, or taken into it from an archive or a layout directory for a while.

use std::path::Path;

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::layout::Wanted;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_executor::image::peek;
use bld_oci::image::Descriptor;
use bld_oci::platform::Platform;

use super::Session;
use super::image_error;
use crate::environment;
use crate::error::CommandError;

/// The manifest or index that `text` means. The store's lease must live as long as it is used.
pub(super) fn taken(store: &Store, text: &str, wanted: Wanted<'_>) -> Result<Descriptor, CommandError> {
    let path = Path::new(text);
    match local::locate(store, text) {
        Ok((descriptor, _)) => Ok(descriptor),
        Err(ImagesError::NotFound { .. }) if peek::is_there(path) => {
            local::take(store, path, wanted).map_err(|error| image_error(&error))
        }
        Err(error) => Err(image_error(&error)),
    }
}

/// The image that `text` means, for `platform` if it has one for that, else whichever it has. One that was demanded must be it.
pub(super) fn taken_image(store: &Store, text: &str, demanded: Option<&str>) -> Result<LocalImage, CommandError> {
    let host = environment::host_platform();
    let platform = match demanded {
        Some(text) => Platform::parse(text, &host).map_err(|error| CommandError::usage(error.to_string()))?,
        None => host,
    };
    let descriptor = taken(store, text, Wanted::Platform(&platform))?;
    let image = local::open_any(store, &descriptor, &platform).map_err(|error| image_error(&error))?;
    let is = image.config.platform();
    if demanded.is_some() && !platform.accepts(&is) {
        return Err(CommandError::failed(format!("`{text}` is for {is}, not for {platform}")));
    }
    Ok(image)
}

/// The store that images are taken into: a new one if only archives are named.
pub(super) fn store_for(session: &Session, texts: &[&str]) -> Result<Store, CommandError> {
    let all_files = texts.iter().all(|text| peek::is_there(Path::new(text)));
    if all_files { session.open_store() } else { session.open_existing_store() }
}
