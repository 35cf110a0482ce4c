//! `bld inspect`: an image's configuration in the form of `docker image inspect`.

use bld_cache::Store;
use bld_executor::image::local;
use serde_json::Value;
use serde_json::json;

use super::Session;
use super::image_error;
use super::print;
use crate::args::InspectArgs;
use crate::environment;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &InspectArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let images = args.images.iter().map(|text| inspect(&store, text)).collect::<Result<Vec<_>, _>>()?;
    let text = serde_json::to_string_pretty(&images)?;
    print(&format!("{text}\n"))
}

fn inspect(store: &Store, text: &str) -> Result<Value, CommandError> {
    let platform = environment::host_platform();
    let (image, _) = local::find_any(store, text, &platform).map_err(|error| image_error(&error))?;
    let names: Vec<String> = store
        .images()
        .list()?
        .into_iter()
        .filter(|(_, descriptor)| descriptor.digest == image.descriptor.digest)
        .filter_map(|(name, _)| name)
        .collect();
    let digests = names.iter().map(|name| {
        let (repository, _) = crate::reference::split(name);
        format!("{repository}@{}", image.descriptor.digest)
    });
    let config = &image.config;
    let size = local::size(store, &image.descriptor, &platform).map_err(|error| image_error(&error))?;
    Ok(json!({
        "Id": image.manifest.config.digest,
        "RepoTags": names.iter().map(|name| crate::reference::familiar(name)).collect::<Vec<_>>(),
        "RepoDigests": digests.collect::<Vec<_>>(),
        "Comment": config.history.last().and_then(|entry| entry.get("comment")).cloned().unwrap_or_else(|| json!("")),
        "Created": config.created,
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config.container.to_map(),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": size,
        "RootFS": {
            "Type": "layers",
            "Layers": config.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "Descriptor": image.descriptor,
    }))
}
