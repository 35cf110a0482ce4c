//! Images of the local store: found by name, by ID (the digest of the configuration) or by manifest digest.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bld_cache::Store;
use bld_cache::tree::Tree;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageError;
use bld_oci::image::ImageLayer;
use bld_oci::image::Index;
use bld_oci::image::Manifest;
use bld_oci::image::read_document;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::ImagesError;
use super::MAX_DOCUMENT;
use super::archive::image_of;
use super::image_layers;
use super::layout;
use super::layout::Wanted;
use crate::worker::Layers;

/// An image with its documents.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// What names it: the manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
}

impl LocalImage {
    /// Its layers, bottom to top.
    pub fn layers(&self) -> Result<Vec<ImageLayer>, ImagesError> {
        image_layers(&self.manifest, &self.config)
            .map_err(|source| ImagesError::Broken { what: self.descriptor.digest.to_string(), source })
    }
}

/// The full form of a name: `alpine` is `docker.io/library/alpine:latest`.
pub fn full_name(name: &str) -> Result<String, ImagesError> {
    let reference = name
        .parse::<Reference>()
        .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.reason() })?;
    Ok(reference.to_string())
}

/// The image called `name`.
pub fn find(store: &Store, name: &str, platform: &Platform) -> Result<LocalImage, ImagesError> {
    let reference = name
        .parse::<Reference>()
        .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.reason() })?;
    match named(store, name, &reference)? {
        Some(descriptor) => open(store, &descriptor, platform),
        None => Err(ImagesError::NotFound { name: name.to_owned(), similar: similar(store, name)? }),
    }
}

/// What `name`, which reads as `reference`, stands for.
pub(super) fn named(store: &Store, name: &str, reference: &Reference) -> Result<Option<Descriptor>, ImagesError> {
    Ok(match reference.digest() {
        Some(digest) => store.images().find(&digest.to_string())?,
        None => match store.images().get(&reference.to_string())? {
            None if is_id(name) => store.images().find(name)?,
            found => found,
        },
    })
}

/// Whether a name may be an image's ID, or as much of one as lists show.
pub fn is_id(name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    (12..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The image that `text` means to a person at a terminal: a name, an ID or the beginning of one, a digest, `NAME@DIGEST`.
pub fn find_any(store: &Store, text: &str, platform: &Platform) -> Result<(LocalImage, Option<String>), ImagesError> {
    let (descriptor, name) = locate(store, text)?;
    Ok((open(store, &descriptor, platform)?, name))
}

/// What `text` means to a person at a terminal: a manifest or an index of several platforms, and its full name if it was named.
pub fn locate(store: &Store, text: &str) -> Result<(Descriptor, Option<String>), ImagesError> {
    if let Ok(name) = full_name(text)
        && let Some(descriptor) = store.images().get(&name)?
    {
        return Ok((descriptor, Some(name)));
    }
    let digest =
        text.parse::<Reference>().ok().and_then(|reference| reference.digest()).map(|digest| digest.to_string());
    match store.images().find(digest.as_deref().unwrap_or(text))? {
        Some(descriptor) => Ok((descriptor, None)),
        None => Err(ImagesError::NotFound { name: text.to_owned(), similar: similar(store, text)? }),
    }
}

/// The bytes of each layer's files, bottom to top, where it is unpacked.
pub fn layer_sizes(store: &Store, config: &ImageConfig) -> Result<Vec<Option<u64>>, ImagesError> {
    let sizes = config.diff_ids.iter().map(|diff_id| {
        let Some(layer) = store.layers().find_by_diff_id(*diff_id)? else { return Ok(None) };
        let facets = store.layers().facets(layer)?.filter(|facets| facets.directory.is_some());
        Ok(facets.map(|facets| facets.size))
    });
    sizes.collect()
}

/// The bytes of an image's files; as long as it was never unpacked, those of what is stored of it. What is found out is kept for
/// when the layers are gone.
pub fn size(store: &Store, descriptor: &Descriptor, platform: &Platform) -> Result<u64, ImagesError> {
    let details = store.images().details(descriptor)?;
    // An index may have no image for this machine.
    let Ok(image) = open(store, descriptor, platform) else { return Ok(details.size) };
    let Some(size) = layer_sizes(store, &image.config)?.into_iter().sum::<Option<u64>>() else {
        return Ok(details.size);
    };
    if size != details.size {
        // A full disk must not hinder a look at the list.
        store.images().note_size(descriptor, size).ok();
    }
    Ok(size)
}

/// The only image of the archive or layout directory at `path`, taken into the store without a name. An archive always comes whole.
pub fn take(store: &Store, path: &Path, wanted: Wanted<'_>) -> Result<Descriptor, ImagesError> {
    if path.is_dir() { layout::ingest(store, path, None, wanted) } else { image_of(store, path, None) }
}

/// The files of an image as layers: index and directory of each, bottom to top. While a lease of the store lives, they stay.
pub fn stack(store: &Store, layers: &Layers, image: &LocalImage) -> Result<Vec<(Arc<Tree>, PathBuf)>, ImagesError> {
    let found = image.layers()?;
    let ids = found.iter().map(|layer| store.layers().adopt_image_layer(layer)).collect::<Result<Vec<_>, _>>()?;
    Ok(layers.stack(&ids)?)
}

/// Reads the documents a descriptor leads to; of an index, those of `platform`.
pub fn open(store: &Store, descriptor: &Descriptor, platform: &Platform) -> Result<LocalImage, ImagesError> {
    let choose = |index: &Index| select_platform(index, platform).map(|entry| entry.descriptor.clone());
    open_from(descriptor, &choose, &|descriptor| Ok(store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?))
}

/// The same, but of an index that has nothing for `platform` the first image that is here.
pub fn open_any(store: &Store, descriptor: &Descriptor, platform: &Platform) -> Result<LocalImage, ImagesError> {
    let is_here = |descriptor: &Descriptor| store.blobs().contains(&descriptor.digest).is_ok_and(|size| size.is_some());
    let choose = |index: &Index| {
        let error = match select_platform(index, platform) {
            Ok(entry) if is_here(&entry.descriptor) => return Ok(entry.descriptor.clone()),
            Ok(entry) => Ok(entry.descriptor.clone()),
            Err(error) => Err(error),
        };
        let images = index.manifests.iter().filter(|entry| !entry.is_attestation());
        images.map(|entry| &entry.descriptor).find(|descriptor| is_here(descriptor)).cloned().map_or(error, Ok)
    };
    open_from(descriptor, &choose, &|descriptor| Ok(store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?))
}

/// Reads the documents a descriptor leads to, of which `choose` takes one of an index.
pub(super) fn open_from(
    descriptor: &Descriptor,
    choose: &dyn Fn(&Index) -> Result<Descriptor, ImageError>,
    read: &dyn Fn(&Descriptor) -> Result<Vec<u8>, ImagesError>,
) -> Result<LocalImage, ImagesError> {
    let mut descriptor = descriptor.clone();
    let broken = |digest: &bld_oci::Digest| {
        let what = digest.to_string();
        move |source| ImagesError::Broken { what, source }
    };
    // An index may list an index; nobody nests deeper.
    for _ in 0..3 {
        let bytes = read(&descriptor)?;
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken(&descriptor.digest))? {
            Document::Manifest(manifest) => {
                let config = read(&manifest.config)?;
                let config = ImageConfig::parse(&config).map_err(broken(&manifest.config.digest))?;
                return Ok(LocalImage { descriptor, manifest, config });
            }
            Document::Index(index) => descriptor = choose(&index).map_err(broken(&descriptor.digest))?,
        }
    }
    Err(ImagesError::BlobMissing { what: "an index of indexes of indexes".to_owned(), digest: descriptor.digest })
}

/// A name of the store with the same repository, or one that differs by a slip.
pub fn similar(store: &Store, wanted: &str) -> Result<Option<String>, ImagesError> {
    let Ok(wanted) = wanted.parse::<Reference>() else { return Ok(None) };
    let names: Vec<String> = store.images().list()?.into_iter().filter_map(|(name, _)| name).collect();
    let known: Vec<Reference> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let same = known.iter().find(|reference| reference.repository() == wanted.repository());
    let near = || {
        let familiar = without_tag(wanted.familiar());
        // One letter or two are near to everything.
        let near = |reference: &&Reference| bld_parser::suggest::is_near(&familiar, &without_tag(reference.familiar()));
        known.iter().find(|reference| familiar.chars().count() > 2 && near(reference))
    };
    Ok(same.or_else(near).map(Reference::familiar))
}

fn without_tag(familiar: String) -> String {
    match familiar.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => familiar,
    }
}
