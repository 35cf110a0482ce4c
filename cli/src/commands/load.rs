//! `bld load`: images out of an archive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bld_executor::image::archive;

use super::Session;
use super::image_error;
use super::print;
use crate::args::LoadArgs;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &LoadArgs) -> Result<(), CommandError> {
    let (reader, path): (Box<dyn Read>, &Path) = match args.input.as_deref() {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path)
                .map_err(|error| CommandError::failed(format!("cannot open {}: {error}", path.display())))?;
            (Box::new(file), path)
        }
        _ => (Box::new(std::io::stdin().lock()), Path::new("on standard input")),
    };
    let store = session.open_store()?;
    let _lease = store.lease()?;
    let images = archive::load(&store, reader, path).map_err(|error| image_error(&error))?;
    if images.is_empty() {
        return Err(CommandError::failed(format!("{} holds no image", path.display())));
    }
    let mut out = String::new();
    for image in &images {
        if image.names.is_empty() {
            store.images().add_untagged(&image.descriptor)?;
        }
        for name in &image.names {
            store.images().set(name, &image.descriptor)?;
        }
        if args.quiet {
            out.push_str(&format!("{}\n", image.descriptor.digest));
            continue;
        }
        if image.names.is_empty() {
            // As everywhere, the ID is that of the configuration; only an index of several platforms has none.
            let id = store.images().details(&image.descriptor)?.config.unwrap_or(image.descriptor.digest);
            out.push_str(&format!("Loaded image ID: {id}\n"));
        }
        for name in &image.names {
            out.push_str(&format!("Loaded image: {}\n", crate::reference::familiar(name)));
        }
    }
    print(&out)
}
