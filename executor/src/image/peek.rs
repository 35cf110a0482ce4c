//! A look at the images of an archive or a layout directory where they are: nothing is taken into a store.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bld_oci::Digest;
use bld_oci::archive::ArchiveError;
use bld_oci::archive::ArchivedImage;
use bld_oci::archive::scan;
use bld_oci::hashing::DigestReader;
use bld_oci::image::Descriptor;
use bld_oci::image::ImageError;
use bld_oci::image::Index;
use bld_oci::image::select_platform;
use bld_oci::layout::INDEX_FILE;
use bld_oci::layout::LAYOUT_FILE;
use bld_oci::layout::LayoutIndex;
use bld_oci::media_type;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::ImagesError;
use super::MAX_DOCUMENT;
use super::archive::is_bookkeeping;
use super::archive::layer_type;
use super::archive::manifest_of;
use super::archive::split_name;
use super::layout::blob_path;
use super::layout::read_small;
use super::local::LocalImage;
use super::local::open_from;
use super::stream::open_tar;

/// Documents of one archive take no more memory than this.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// An image that was looked at.
#[derive(Debug, Clone)]
pub struct PeekedImage {
    /// Its names, in full or, where only a tag is known, that.
    pub names: Vec<String>,
    /// Its documents.
    pub image: LocalImage,
}

/// Whether there is something at `path` that can be looked at.
pub fn is_there(path: &Path) -> bool {
    path.is_file() || path.join(LAYOUT_FILE).is_file()
}

/// The images at `path`, each once. Of an index for several platforms the one for `platform` is looked at, else its first.
pub fn peek(path: &Path, platform: &Platform) -> Result<Vec<PeekedImage>, ImagesError> {
    let choose = |index: &Index| match select_platform(index, platform) {
        Ok(entry) => Ok(entry.descriptor.clone()),
        Err(error) => {
            let first = index.manifests.iter().find(|entry| !entry.is_attestation());
            first.map(|entry| entry.descriptor.clone()).ok_or(error)
        }
    };
    if path.is_dir() { layout(path, &choose) } else { archive(path, &choose) }
}

type Choose<'a> = &'a dyn Fn(&Index) -> Result<Descriptor, ImageError>;

fn layout(directory: &Path, choose: Choose<'_>) -> Result<Vec<PeekedImage>, ImagesError> {
    let broken = |source| ImagesError::Broken { what: directory.display().to_string(), source };
    let index = LayoutIndex::parse(&read_small(&directory.join(INDEX_FILE))?).map_err(broken)?;
    let read = |descriptor: &Descriptor| {
        let bytes = read_small(&blob_path(directory, &descriptor.digest))?;
        if Digest::of(&bytes) == descriptor.digest {
            Ok(bytes)
        } else {
            Err(ImagesError::BlobMissing { what: directory.display().to_string(), digest: descriptor.digest })
        }
    };
    let mut found = Vec::new();
    for entry in index.entries {
        let (names, tag) = split_name(entry.name().map(str::to_owned));
        add(&mut found, names.into_iter().chain(tag).collect(), open_from(&entry.descriptor, choose, &read)?);
    }
    Ok(found)
}

fn archive(path: &Path, choose: Choose<'_>) -> Result<Vec<PeekedImage>, ImagesError> {
    let io = |verb| move |source| ImagesError::Io { verb, path: path.to_owned(), source };
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| ImagesError::Archive { path: path.to_owned(), source };
    let refused = |error: ArchiveError| match error {
        ArchiveError::NotAnImage => ImagesError::NotAnImage { path: path.to_owned() },
        error => failed(Box::new(error)),
    };
    let mut files: HashMap<String, Descriptor> = HashMap::new();
    let mut documents: HashMap<Digest, Vec<u8>> = HashMap::new();
    let mut in_memory = 0;
    let file = File::open(path).map_err(io("open"))?;
    let contents = scan(open_tar(file, path)?, |name, size, content| {
        if is_bookkeeping(name) {
            return Ok(());
        }
        let mut head = Vec::with_capacity(16);
        content.take(16).read_to_end(&mut head)?;
        let is_document = size <= MAX_DOCUMENT && head.starts_with(b"{") && in_memory + size <= MAX_DOCUMENTS;
        let media_type = layer_type(&head).to_owned();
        let mut reader = DigestReader::new(head.as_slice().chain(content));
        if is_document {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            in_memory += size;
            let digest = Digest::of(&bytes);
            documents.insert(digest, bytes);
            files.insert(name.to_owned(), Descriptor { media_type, digest, size });
        } else {
            std::io::copy(&mut reader, &mut std::io::sink())?;
            let (digest, size, _) = reader.complete();
            files.insert(name.to_owned(), Descriptor { media_type, digest, size });
        }
        Ok(())
    })
    .map_err(refused)?;
    let mut found = Vec::new();
    for image in contents.images().map_err(refused)? {
        let (names, descriptor) = match image {
            ArchivedImage::Oci { name, descriptor } => {
                let (names, tag) = split_name(name);
                (names.into_iter().chain(tag).collect(), descriptor)
            }
            ArchivedImage::Docker { tags, config, layers } => {
                let file = |name: &String| {
                    files.get(name).cloned().ok_or_else(|| failed(format!("`{name}` is missing").into()))
                };
                let config = Descriptor { media_type: media_type::OCI_CONFIG.to_owned(), ..file(&config)? };
                let layers = layers.iter().map(file).collect::<Result<Vec<_>, _>>()?;
                let manifest = manifest_of(&config, &layers);
                let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
                documents.insert(descriptor.digest, manifest);
                let names = tags.iter().filter_map(|tag| tag.parse::<Reference>().ok());
                (names.map(|name| name.to_string()).collect(), descriptor)
            }
        };
        let read = |descriptor: &Descriptor| {
            documents
                .get(&descriptor.digest)
                .cloned()
                .ok_or_else(|| ImagesError::BlobMissing { what: path.display().to_string(), digest: descriptor.digest })
        };
        let image = open_from(&descriptor, choose, &read)?;
        add(&mut found, names, image);
    }
    Ok(found)
}

/// An image with several names is one image.
fn add(found: &mut Vec<PeekedImage>, names: Vec<String>, image: LocalImage) {
    match found.iter_mut().find(|known| known.image.descriptor.digest == image.descriptor.digest) {
        Some(known) => known.names.extend(names),
        None => found.push(PeekedImage { names, image }),
    }
}
