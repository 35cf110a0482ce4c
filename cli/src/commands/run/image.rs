//! Where `bld run` finds its image: in the local store, else in a registry.

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::arguments::Pull;
use crate::commands::Session;
use crate::commands::build::interruptible;
use crate::commands::image_error;
use crate::commands::pull;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::one_line;
use crate::ui::plain::write_line;

/// The image that `text` names, with all of its layers here.
pub(super) fn find(
    session: &Session,
    store: &Store,
    text: &str,
    platform: Option<&str>,
    pull: Pull,
) -> Result<LocalImage, CommandError> {
    let host = environment::host_platform();
    let wanted = match platform {
        Some(text) => text.parse::<Platform>().map_err(|error| CommandError::usage(error.to_string()))?,
        None => host.clone(),
    };
    if pull == Pull::Always {
        session.online("`--pull=always`")?;
    }
    let may_pull = pull != Pull::Never && !session.offline;
    let image = match local::find_any(store, text, &wanted) {
        // No registry knows an ID of the store.
        Ok((_, Some(name))) if pull == Pull::Always => {
            let reference: Reference = name.parse().map_err(CommandError::from)?;
            fetch(session, store, &reference, &wanted)?
        }
        Ok((image, _)) if is_complete(store, &image)? => image,
        Ok((image, _)) if may_pull => complete(session, store, image)?,
        Ok(_) => {
            return Err(CommandError::failed(format!("image `{text}` has layers that were never fetched")).hint(
                "a build takes from a registry only what it needs: run it without `--offline` and `--pull=never`",
            ));
        }
        Err(error @ ImagesError::NotFound { .. }) if may_pull && !local::is_id(text) => {
            let reference: Reference = text.parse().map_err(|_| image_error(&error))?;
            fetch(session, store, &reference, &wanted)
                .map_err(|error| error.hint("it is not in the local store either: `bld images` lists what is there"))?
        }
        Err(error) => return Err(image_error(&error)),
    };
    let found = image.config.platform();
    let same = |left: &Platform, right: &Platform| left.os == right.os && left.architecture == right.architecture;
    if platform.is_some() && !same(&found, &wanted) {
        return Err(CommandError::failed(format!("image `{text}` is for {found}, not for {wanted}")));
    }
    if !same(&found, &host) {
        let note = format!("note: image `{text}` is for {found}, this machine is {host}");
        write_line(&one_line(&note));
    }
    Ok(image)
}

/// Whether all layers are here, unpacked or as blobs: a build from a registry brings only those that it needs.
fn is_complete(store: &Store, image: &LocalImage) -> Result<bool, CommandError> {
    for (diff_id, blob) in image.config.diff_ids.iter().zip(&image.manifest.layers) {
        let layer = store.layers().find_by_diff_id(*diff_id)?;
        let facets = layer.map(|layer| store.layers().facets(layer)).transpose()?.flatten();
        let is_unpacked = facets.is_some_and(|facets| facets.directory.is_some());
        if !is_unpacked && store.blobs().contains(&blob.digest)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn complete(session: &Session, store: &Store, image: LocalImage) -> Result<LocalImage, CommandError> {
    interruptible(async {
        let puller = registries::puller(store, false, &[])?;
        pull::unpack(session, store, &puller, &image).await
    })?;
    Ok(image)
}

fn fetch(
    session: &Session,
    store: &Store,
    reference: &Reference,
    platform: &Platform,
) -> Result<LocalImage, CommandError> {
    let mut fetched = None;
    interruptible(async {
        let puller = registries::puller(store, false, &[])?;
        let (root, image) = pull::documents(store, &puller, reference, platform).await?;
        pull::unpack(session, store, &puller, &image).await?;
        store.images().set(&reference.to_string(), &root)?;
        fetched = Some(image);
        Ok(())
    })?;
    fetched.ok_or_else(|| CommandError::failed(format!("image `{}` was not fetched", reference.familiar())))
}
