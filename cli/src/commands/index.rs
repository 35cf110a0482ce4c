//! `bld index`: images for several platforms under one name.

use bld_cache::Store;
use bld_executor::image::MAX_DOCUMENT;
use bld_executor::image::layout::Wanted;
use bld_executor::image::local;
use bld_executor::image::options::Annotated;
use bld_executor::image::options::ImageOptions;
use bld_oci::compression::Compression;
use bld_oci::image::AssembleOptions;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::Format;
use bld_oci::image::assemble_annotated_index;
use bld_oci::image::read_document;
use bld_oci::platform::Platform;

use super::Session;
use super::image_error;
use super::outputs::annotation;
use super::print;
use super::taken::taken;
use crate::args::images::IndexCommand;
use crate::args::images::IndexCreateArgs;
use crate::args::images::IndexInspectArgs;
use crate::environment;
use crate::error::CommandError;
use crate::reference;
use crate::ui::human_size;
use crate::ui::table;

pub(super) fn run(session: &Session, command: &IndexCommand) -> Result<(), CommandError> {
    match command {
        IndexCommand::Create(args) => create(session, args),
        IndexCommand::Inspect(args) => inspect(session, args),
    }
}

fn create(session: &Session, args: &IndexCreateArgs) -> Result<(), CommandError> {
    let name = reference::parse(&args.name)?;
    let mut options = ImageOptions::new(Compression::GZIP);
    for text in &args.annotations {
        // What is annotated is the index, unless something else is said.
        let text = if text.split('=').next().is_some_and(|before| before.contains(':')) {
            text.clone()
        } else {
            format!("index:{text}")
        };
        let read = annotation::flag(&text);
        let read = read.map_err(|reason| CommandError::usage(format!("`--annotation {text}`: {reason}")))?;
        if read.iter().any(|found| matches!(found.of, Annotated::Manifest | Annotated::IndexDescriptor)) {
            return Err(CommandError::usage(format!("`--annotation {text}`: manifests that are there do not change"))
                .hint("write index:KEY=VALUE or manifest-descriptor:KEY=VALUE"));
        }
        options.annotations.extend(read);
    }
    let store = session.open_store()?;
    let _lease = store.lease()?;
    let mut images: Vec<(Descriptor, Option<Platform>)> = Vec::new();
    if args.append {
        let (descriptor, _) = local::locate(&store, &args.name).map_err(|error| image_error(&error))?;
        images = members(&store, &descriptor)?;
    }
    let before = images.len();
    for text in &args.images {
        let descriptor = taken(&store, text, Wanted::AllPlatforms)?;
        for (image, platform) in members(&store, &descriptor)? {
            let shown = platform.as_ref().map_or_else(|| "an unknown platform".to_owned(), ToString::to_string);
            match images.iter().position(|(_, known)| *known == platform) {
                Some(at) if images[at].0.digest == image.digest => {}
                Some(at) if at < before => images[at].0 = image,
                Some(_) => {
                    return Err(CommandError::failed(format!("two of the images are for {shown}; `{text}` is one"))
                        .hint("an index has one image for each platform"));
                }
                None => images.push((image, platform)),
            }
        }
    }
    let entries: Vec<_> = images
        .into_iter()
        .map(|(image, platform)| {
            let annotations = options.annotations_of(Annotated::ManifestDescriptor, platform.as_ref());
            (image, platform, annotations)
        })
        .collect();
    let annotations = options.annotations_of(Annotated::Index, None);
    let index = assemble_annotated_index(&entries, &AssembleOptions { format: Format::Oci, annotations });
    if args.dry_run {
        return print(&(String::from_utf8_lossy(&index.bytes).into_owned() + "\n"));
    }
    store.blobs().write(&index.bytes)?;
    store.images().set(&name.to_string(), &index.descriptor)?;
    print(&format!("{}\n", index.descriptor.digest))
}

/// The images that a descriptor leads to, each with its platform: of an index those that are here, or else the one.
fn members(store: &Store, descriptor: &Descriptor) -> Result<Vec<(Descriptor, Option<Platform>)>, CommandError> {
    let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
    match read_document(&bytes, Some(&descriptor.media_type))? {
        Document::Manifest(_) => {
            let host = environment::host_platform();
            let image = local::open(store, descriptor, &host).map_err(|error| image_error(&error))?;
            Ok(vec![(descriptor.clone(), Some(image.config.platform()))])
        }
        Document::Index(index) => {
            let here = |digest: &bld_oci::Digest| store.blobs().contains(digest).is_ok_and(|size| size.is_some());
            let images = index.manifests.into_iter().filter(|entry| !entry.is_attestation());
            let images = images.filter(|entry| here(&entry.descriptor.digest));
            Ok(images.map(|entry| (entry.descriptor, entry.platform)).collect())
        }
    }
}

fn inspect(session: &Session, args: &IndexInspectArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let (descriptor, name) = local::locate(&store, &args.index).map_err(|error| image_error(&error))?;
    let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
    if args.raw {
        return print(&(String::from_utf8_lossy(&bytes).into_owned() + "\n"));
    }
    let mut out = String::new();
    if let Some(name) = name {
        out.push_str(&format!("Name:      {name}\n"));
    }
    out.push_str(&format!("MediaType: {}\nDigest:    {}\n", descriptor.media_type, descriptor.digest));
    let Document::Index(index) = read_document(&bytes, Some(&descriptor.media_type))? else {
        out.push_str("It is one image and no index.\n");
        return print(&out);
    };
    for (key, value) in &index.annotations {
        out.push_str(&format!("Annotation {key}: {value}\n"));
    }
    let head = ["PLATFORM", "DIGEST", "STORED"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    for entry in &index.manifests {
        let platform = entry.platform.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let platform = if entry.is_attestation() { "attestation".to_owned() } else { platform };
        let stored = match local::open(&store, &entry.descriptor, &environment::host_platform()) {
            Ok(image) => human_size(image.manifest.layers.iter().map(|layer| layer.size).sum()),
            Err(_) => "not here".to_owned(),
        };
        rows.push(vec![platform, entry.descriptor.digest.to_string(), stored]);
    }
    out.push('\n');
    out.push_str(&table::docker(&rows));
    print(&out)
}
