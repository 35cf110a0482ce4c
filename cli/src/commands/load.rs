//! `bld load`: images out of an archive.

use std::fs::File;
use std::io::IsTerminal as _;
use std::io::Read;
use std::path::Path;

use bld_executor::image::STDIN;
use bld_executor::image::archive;
use bld_executor::image::local;
use bld_oci::platform::Platform;

use super::Session;
use super::image_error;
use super::print;
use crate::args::images::LoadArgs;
use crate::environment;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &LoadArgs) -> Result<(), CommandError> {
    let (reader, path): (Box<dyn Read>, &Path) = match args.input.as_deref() {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path)
                .map_err(|error| CommandError::failed(format!("cannot open {}: {error}", path.display())))?;
            (Box::new(file), path)
        }
        None if args.name.as_deref().is_some_and(is_file_name) => {
            let file = args.name.as_deref().unwrap_or_default();
            return Err(
                CommandError::usage(format!("`{file}` is a file: use `-i {file}`")).hint(format!("bld load -i {file}"))
            );
        }
        None if std::io::stdin().is_terminal() => {
            return Err(CommandError::usage("standard input is a terminal: name the archive with `-i FILE`"));
        }
        _ => (Box::new(std::io::stdin().lock()), Path::new(STDIN)),
    };
    let name = args.name.as_deref().map(crate::reference::parse).transpose()?;
    let platform = args.platform.as_deref().map(|text| Platform::parse(text, &environment::host_platform()));
    let platform = platform.transpose().map_err(|error| CommandError::usage(error.to_string()))?;
    let store = session.open_store()?;
    let _lease = store.lease()?;
    let mut images = archive::load(&store, reader, path).map_err(|error| image_error(&error))?;
    if images.is_empty() {
        return Err(CommandError::failed(format!("{} holds no image", path.display())));
    }
    if let Some(name) = name {
        let [image] = images.as_mut_slice() else {
            return Err(CommandError::failed(format!(
                "{} holds {} images, not one to be named",
                path.display(),
                images.len()
            ))
            .hint("load it without a name and use `bld tag`"));
        };
        image.names = vec![name.to_string()];
    }
    if let Some(platform) = &platform {
        for image in &mut images {
            let chosen = local::open(&store, &image.descriptor, platform).map_err(|error| image_error(&error))?;
            let is = chosen.config.platform();
            if !platform.accepts(&is) {
                return Err(CommandError::failed(format!("{} is for {is}, not for {platform}", path.display())));
            }
            image.descriptor = chosen.descriptor;
        }
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

/// Whether what stands where a name should is an archive: one that is there, or called like one.
fn is_file_name(text: &str) -> bool {
    let endings = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".oci"];
    Path::new(text).is_file() || endings.iter().any(|ending| text.ends_with(ending))
}
