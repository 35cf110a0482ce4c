//! Images of the local store: found by name, by ID (the digest of the configuration) or by manifest digest.

use bld_cache::Store;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::Manifest;
use bld_oci::image::read_document;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::ImagesError;
use super::MAX_DOCUMENT;

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

/// The full form of a name: `alpine` is `docker.io/library/alpine:latest`.
pub fn full_name(name: &str) -> Result<String, ImagesError> {
    let reference = name
        .parse::<Reference>()
        .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.to_string() })?;
    Ok(reference.to_string())
}

/// The image called `name`.
pub fn find(store: &Store, name: &str, platform: &Platform) -> Result<LocalImage, ImagesError> {
    let reference = name
        .parse::<Reference>()
        .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.to_string() })?;
    let descriptor = match reference.digest() {
        Some(digest) => store.images().find(&digest.to_string())?,
        None => store.images().get(&reference.to_string())?,
    };
    match descriptor {
        Some(descriptor) => open(store, &descriptor, platform),
        None => Err(ImagesError::NotFound { name: name.to_owned(), similar: similar(store, &reference)? }),
    }
}

/// The image that `text` means to a person at a terminal: a name, an ID or the beginning of one, a digest, `NAME@DIGEST`.
pub fn find_any(store: &Store, text: &str, platform: &Platform) -> Result<(LocalImage, Option<String>), ImagesError> {
    if let Ok(name) = full_name(text)
        && let Some(descriptor) = store.images().get(&name)?
    {
        return Ok((open(store, &descriptor, platform)?, Some(name)));
    }
    let Some(descriptor) = store.images().find(text)? else {
        let similar = text.parse().ok().map(|reference| similar(store, &reference)).transpose()?.flatten();
        return Err(ImagesError::NotFound { name: text.to_owned(), similar });
    };
    Ok((open(store, &descriptor, platform)?, None))
}

/// Reads the documents a descriptor leads to; of an index, those of `platform`.
pub fn open(store: &Store, descriptor: &Descriptor, platform: &Platform) -> Result<LocalImage, ImagesError> {
    let mut descriptor = descriptor.clone();
    let broken = |digest: &bld_oci::Digest| {
        let what = digest.to_string();
        move |source| ImagesError::Broken { what, source }
    };
    // An index may list an index; nobody nests deeper.
    for _ in 0..3 {
        let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken(&descriptor.digest))? {
            Document::Manifest(manifest) => {
                let config = store.blobs().read(&manifest.config.digest, MAX_DOCUMENT)?;
                let config = ImageConfig::parse(&config).map_err(broken(&manifest.config.digest))?;
                return Ok(LocalImage { descriptor, manifest, config });
            }
            Document::Index(index) => {
                let entry = select_platform(&index, platform).map_err(broken(&descriptor.digest))?;
                descriptor = entry.descriptor.clone();
            }
        }
    }
    Err(ImagesError::BlobMissing { what: "an index of indexes of indexes".to_owned(), digest: descriptor.digest })
}

/// A name of the store with the same repository, or one that differs by a slip.
fn similar(store: &Store, wanted: &Reference) -> Result<Option<String>, ImagesError> {
    let names: Vec<String> = store.images().list()?.into_iter().filter_map(|(name, _)| name).collect();
    let known: Vec<Reference> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let same = known.iter().find(|reference| reference.repository() == wanted.repository());
    let near = || {
        let familiar = wanted.familiar();
        known.iter().find(|reference| bld_parser::suggest::is_near(&familiar, &reference.familiar()))
    };
    Ok(same.or_else(near).map(Reference::familiar))
}
