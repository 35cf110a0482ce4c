//! Where `bld run` finds its image: the one place to change when there is another one than the local store.

use bld_cache::Store;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_oci::platform::Platform;

use super::arguments::Pull;
use crate::commands::image_error;
use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::write_line;

/// The image that `text` names. Only the local store is asked, so that both ways to pull mean the same.
pub(super) fn find(store: &Store, text: &str, platform: Option<&str>, pull: Pull) -> Result<LocalImage, CommandError> {
    let host = environment::host_platform();
    let wanted = match platform {
        Some(text) => text.parse::<Platform>().map_err(|error| CommandError::usage(error.to_string()))?,
        None => host.clone(),
    };
    let (image, _) = match pull {
        Pull::Missing | Pull::Never => local::find_any(store, text, &wanted).map_err(|error| image_error(&error))?,
    };
    let found = image.config.platform();
    let same = |left: &Platform, right: &Platform| left.os == right.os && left.architecture == right.architecture;
    if platform.is_some() && !same(&found, &wanted) {
        return Err(CommandError::failed(format!("image `{text}` is for {found}, not for {wanted}")));
    }
    if !same(&found, &host) {
        write_line(&format!("note: image `{text}` is for {found}, this machine is {host}"));
    }
    Ok(image)
}
