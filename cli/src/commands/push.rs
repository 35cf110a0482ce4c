//! `bld push`: an image of the store, or of an archive, to a registry.

use std::path::Path;

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::layout::Wanted;
use bld_executor::image::local;
use bld_executor::pull::Puller;
use bld_executor::push::PushedBlob;
use bld_oci::image::Descriptor;
use bld_oci::reference::Reference;
use bld_registry::Pushed;

use super::Session;
use super::image_error;
use super::print;
use super::pull::pull_error;
use crate::args::registry::PushArgs;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::human_size;
use crate::ui::plain::write_line;

pub(super) fn run(session: &Session, args: &PushArgs) -> Result<(), CommandError> {
    session.online("`bld push`")?;
    let store = session.open_store()?;
    super::build::interruptible(async {
        let puller = registries::puller(&store, args.quiet, &[])?;
        let _lease = store.lease()?;
        let mut digests = String::new();
        for (root, target) in wanted(&store, args)? {
            to_registry(&puller, &root, &target, args.quiet).await?;
            digests.push_str(&format!("{}\n", root.digest));
        }
        if let Some(path) = &args.digest_file {
            std::fs::write(path, digests.trim_end())
                .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", path.display())))?;
        }
        print(&digests)
    })
}

/// Pushes one image and says what became of its layers.
pub(super) async fn to_registry(
    puller: &Puller,
    root: &Descriptor,
    target: &Reference,
    quiet: bool,
) -> Result<(), CommandError> {
    let observer = |pushed: &PushedBlob| {
        if !quiet {
            let hex = pushed.blob.digest.hex();
            let became = match &pushed.outcome {
                Pushed::Existed => "is there already".to_owned(),
                Pushed::Mounted(from) => format!("mounted from {from}"),
                Pushed::Uploaded => format!("pushed ({})", human_size(pushed.blob.size)),
            };
            write_line(&format!("{}: {became}", hex.get(..12).unwrap_or_default()));
        }
    };
    let pushed = bld_executor::push::push(puller, root, target, observer).await;
    pushed.map_err(|error| pull_error(&error).because_of(format!("cannot push `{}`", target.familiar())))?;
    if !quiet {
        write_line(&format!("{}: digest {}", target.familiar(), root.digest));
    }
    Ok(())
}

/// What to push where.
fn wanted(store: &Store, args: &PushArgs) -> Result<Vec<(Descriptor, Reference)>, CommandError> {
    if args.all_tags {
        let named = crate::reference::parse(&args.image)?;
        let of_repository = |name: Option<String>| {
            name.and_then(|name| name.parse::<Reference>().ok())
                .filter(|name| name.tag().is_some() && name.repository() == named.repository())
        };
        let images = store.images().list()?.into_iter();
        let all: Vec<_> = images.filter_map(|(name, root)| Some((root, of_repository(name)?))).collect();
        if all.is_empty() {
            return Err(CommandError::failed(format!("no image of `{}` is in the local store", named.repository())));
        }
        return Ok(all);
    }
    let (mut root, name) = find(store, args)?;
    if let Some(text) = &args.platform {
        let platform = super::build::values::platform(text, &environment::host_platform())?;
        root = local::open(store, &root, &platform).map_err(|error| image_error(&error))?.descriptor;
    }
    let target = match (&args.target, name) {
        (Some(target), _) => crate::reference::parse(target)?,
        (None, Some(name)) => crate::reference::parse(&name)?,
        (None, None) => {
            return Err(CommandError::usage(format!("`{}` has no name that says where to push it", args.image))
                .hint(format!("bld push {} REGISTRY/NAME:TAG", args.image)));
        }
    };
    Ok(vec![(root, target)])
}

/// The image: of the store, or of a file or directory if the store has none of that name.
fn find(store: &Store, args: &PushArgs) -> Result<(Descriptor, Option<String>), CommandError> {
    match local::locate(store, &args.image) {
        Err(ImagesError::NotFound { .. } | ImagesError::BadName { .. }) if Path::new(&args.image).exists() => {
            let path = environment::absolute(Path::new(&args.image))?;
            let root = local::take(store, &path, Wanted::AllPlatforms);
            Ok((root.map_err(|error| image_error(&error))?, None))
        }
        found => found.map_err(|error| image_error(&error)),
    }
}
