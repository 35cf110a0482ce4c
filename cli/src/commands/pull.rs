//! `bld pull`: images of registries, unpacked, so that a later build needs no network.

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::local;
use bld_executor::image::local::LocalImage;
use bld_executor::pull::PullError;
use bld_executor::pull::Puller;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use bld_oci::image::Descriptor;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_registry::Repository;

use super::Session;
use super::image_error;
use super::print;
use crate::args::registry::PullArgs;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::plain::write_line;

pub(super) fn run(session: &Session, args: &PullArgs) -> Result<(), CommandError> {
    session.online("`bld pull`")?;
    let store = session.open_store()?;
    let host = environment::host_platform();
    let platform = match &args.platform {
        Some(text) => super::build::values::platform(text, &host)?,
        None => host,
    };
    let mut was_wrong = false;
    let pulled = super::build::interruptible(async {
        let puller = registries::puller(&store, args.quiet, &[])?;
        let _lease = store.lease()?;
        for name in &args.images {
            let reference = crate::reference::parse_any(name)?;
            for reference in wanted(&puller, reference, args.all_tags).await? {
                let outcome = pull(session, &store, &puller, &reference, &platform, args.quiet).await?;
                outcome.map_err(|error| {
                    was_wrong = error.is_wrong_content();
                    image_error(&error)
                })?;
            }
        }
        Ok(())
    });
    if was_wrong {
        // What came before it was noticed is of no use, unlike what came before a network failed.
        store.garbage().remove_unreferenced()?;
    }
    pulled
}

/// The one image, or all of its repository.
async fn wanted(puller: &Puller, named: Reference, all: bool) -> Result<Vec<Reference>, CommandError> {
    if !all {
        return Ok(vec![named]);
    }
    let tags = puller.registry().tags(&Repository::of(&named)).await;
    let tags = tags.map_err(|error| registry_error(&error))?;
    // A tag that no reference can have is nothing that could be pulled.
    Ok(tags.iter().filter_map(|tag| named.with_tag(tag).ok()).collect())
}

async fn pull(
    session: &Session,
    store: &Store,
    puller: &Puller,
    reference: &Reference,
    platform: &Platform,
    quiet: bool,
) -> Result<Result<(), ImagesError>, CommandError> {
    let before = store.images().get(&reference.to_string())?;
    let (root, image) = documents(store, puller, reference, platform).await?;
    if let Err(error) = bring(session, store, puller, &image).await {
        return Ok(Err(error));
    }
    // A layer that was unpacked long ago may have lost its blob since; an archive or a push wants it.
    if let Err(error) = puller.ensure(image.manifest.layers.iter()).await {
        return Ok(Err(ImagesError::Pull { name: reference.familiar(), source: Box::new(error) }));
    }
    store.images().set(&reference.to_string(), &root)?;
    if !quiet {
        let news = if before.as_ref() == Some(&root) { "is up to date" } else { "is new here" };
        write_line(&format!("{} {news}: {}", reference.familiar(), root.digest));
    }
    print(&format!("{reference}\n")).map(Ok)
}

/// Brings an image without its layers and its name, which it gets when it is whole; answers what that will stand for too.
pub(super) async fn documents(
    store: &Store,
    puller: &Puller,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Descriptor, LocalImage), CommandError> {
    let root = puller.documents(reference, platform).await;
    let root = root.map_err(|error| ImagesError::Pull { name: reference.familiar(), source: Box::new(error) });
    let root = root.map_err(|error| image_error(&error))?;
    let image = local::open(store, &root, platform).map_err(|error| image_error(&error))?;
    Ok((root, image))
}

/// Brings the layers of an image that are not unpacked yet, and unpacks them as they come.
pub(super) async fn unpack(
    session: &Session,
    store: &Store,
    puller: &Puller,
    image: &LocalImage,
) -> Result<(), CommandError> {
    bring(session, store, puller, image).await.map_err(|error| image_error(&error))
}

async fn bring(session: &Session, store: &Store, puller: &Puller, image: &LocalImage) -> Result<(), ImagesError> {
    puller.start(image.manifest.layers.iter());
    let layers = Layers::new(store.clone(), layer_mode(session.identity)).with_puller(Some(puller.clone()));
    let adopted = image.layers()?;
    let adopted = adopted.iter().map(|layer| store.layers().adopt_image_layer(layer)).collect::<Result<Vec<_>, _>>()?;
    let unpacked = tokio::task::spawn_blocking(move || layers.directories(&adopted).map(|_| ())).await;
    unpacked.map_err(|_| ImagesError::Execute(PullError::Stopped.into()))?.map_err(ImagesError::Execute)
}

/// Blobs of an image could not be pulled: what to do about it.
pub(super) fn pull_error(error: &PullError) -> CommandError {
    CommandError::from_error(error).maybe_hint(error.hint())
}

/// An error of a registry, with what to do about it.
pub(super) fn registry_error(error: &bld_registry::RegistryError) -> CommandError {
    CommandError::from_error(error).maybe_hint(error.hint())
}
