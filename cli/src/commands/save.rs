//! `bld save`: images of the local store into an archive, or a layout directory.

use std::io::IsTerminal as _;
use std::path::Path;

use bld_cache::Store;
use bld_executor::image::local;
use bld_executor::output::Destination;
use bld_executor::output::save;
use bld_executor::output::save::SavedImage;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::Session;
use super::image_error;
use crate::args::images::SaveArgs;
use crate::environment;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &SaveArgs) -> Result<(), CommandError> {
    let host = environment::host_platform();
    let platform = args.platform.as_deref().map(|text| Platform::parse(text, &host)).transpose();
    let platform = platform.map_err(|error| CommandError::usage(error.to_string()))?;
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let is_directory = match args.format.as_str() {
        "docker-archive" | "docker" | "oci-archive" | "oci" => false,
        "oci-dir" => true,
        other => {
            return Err(CommandError::usage(format!("`--format {other}` is not supported"))
                .hint("the forms are docker-archive, oci-archive and oci-dir"));
        }
    };
    if output.is_none() {
        if is_directory {
            return Err(CommandError::usage("a directory cannot go to standard output").hint("name it with `-o DIR`"));
        }
        if std::io::stdout().is_terminal() {
            return Err(CommandError::usage(
                "standard output is a terminal: redirect it or name a file with `-o FILE`",
            ));
        }
    }
    let store = session.open_existing_store()?;
    let _lease = store.lease()?;
    let images = chosen(&store, &args.images, platform.as_ref())?;
    let roots: Vec<_> = images.iter().map(|image| image.descriptor.clone()).collect();
    session.bring_layers(&store, &roots)?;
    let docker = args.format.starts_with("docker");
    match output {
        Some(directory) if is_directory => save::layout(&store, &images, &host, &environment::absolute(directory)?)?,
        Some(file) => {
            let file = Destination::File(environment::absolute(file)?);
            save::archive(&store, &images, &host, docker, &file)?;
        }
        None => save::archive(&store, &images, &host, docker, &Destination::Stdout)?,
    }
    Ok(())
}

/// The images named, each once, with the names by which they were asked for.
fn chosen(store: &Store, texts: &[String], platform: Option<&Platform>) -> Result<Vec<SavedImage>, CommandError> {
    let mut images: Vec<SavedImage> = Vec::new();
    for text in texts {
        let (descriptor, name) = local::locate(store, text).map_err(|error| image_error(&error))?;
        let descriptor = match platform {
            None => descriptor,
            Some(platform) => {
                let image = local::open(store, &descriptor, platform).map_err(|error| image_error(&error))?;
                if !platform.accepts(&image.config.platform()) {
                    let is = image.config.platform();
                    return Err(CommandError::failed(format!("`{text}` is for {is}, not for {platform}")));
                }
                image.descriptor
            }
        };
        // What is named by ID or digest goes without a name.
        let names: Vec<Reference> = name.and_then(|name| name.parse().ok()).into_iter().collect();
        match images.iter_mut().find(|known| known.descriptor.digest == descriptor.digest) {
            Some(known) => {
                for name in names.into_iter().filter(|name| !known.names.contains(name)).collect::<Vec<_>>() {
                    known.names.push(name);
                }
            }
            None => images.push(SavedImage { names, descriptor }),
        }
    }
    Ok(images)
}
