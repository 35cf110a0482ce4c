//! Image archives into the store: OCI and docker, plain or compressed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bld_cache::Store;
use bld_oci::Digest;
use bld_oci::archive::ArchiveError;
use bld_oci::archive::ArchivedImage;
use bld_oci::archive::scan;
use bld_oci::compression::Codec;
use bld_oci::compression::detect;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageError;
use bld_oci::image::read_document;
use bld_oci::media_type;
use bld_oci::reference::Reference;
use serde_json::json;

use super::ImagesError;
use super::MAX_DOCUMENT;
use super::stream::open_tar;

/// Where it is noted what an archive file held when it was last read.
const MEMO: &str = "archive";

/// An image of an archive, now in the store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoadedImage {
    /// Its names in full.
    pub names: Vec<String>,
    /// A bare tag, where that is all the archive says.
    pub tag: Option<String>,
    /// Its manifest or index.
    pub descriptor: Descriptor,
}

/// Takes all images of an archive into the store, without naming them there.
pub fn load(store: &Store, archive: impl Read, path: &Path) -> Result<Vec<LoadedImage>, ImagesError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| ImagesError::Archive { path: path.to_owned(), source };
    let mut files: HashMap<String, Descriptor> = HashMap::new();
    let refused = |error: ArchiveError| match error {
        ArchiveError::NotAnImage => ImagesError::NotAnImage { path: path.to_owned() },
        error => failed(Box::new(error)),
    };
    let contents = scan(open_tar(archive, path)?, |name, size, content| {
        if is_bookkeeping(name) {
            return Ok(());
        }
        let descriptor = ingest(store, size, content)?;
        files.insert(name.to_owned(), descriptor);
        Ok(())
    })
    .map_err(refused)?;
    let images = contents.images().map_err(refused)?;
    let broken = |source| ImagesError::Broken { what: path.display().to_string(), source };
    let mut loaded = Vec::new();
    for image in images {
        match image {
            ArchivedImage::Oci { name, descriptor } => {
                require(store, &descriptor, path)?;
                let (names, tag) = split_name(name);
                loaded.push(LoadedImage { names, tag, descriptor });
            }
            ArchivedImage::Docker { tags, config, layers } => {
                let file = |name: &String| {
                    files.get(name).cloned().ok_or_else(|| failed(format!("`{name}` is missing").into()))
                };
                let mut config = file(&config)?;
                media_type::OCI_CONFIG.clone_into(&mut config.media_type);
                let layers = layers.iter().map(file).collect::<Result<Vec<_>, _>>()?;
                let parsed = store.blobs().read(&config.digest, MAX_DOCUMENT)?;
                let parsed = ImageConfig::parse(&parsed).map_err(broken)?;
                if parsed.diff_ids.len() != layers.len() {
                    return Err(broken(ImageError::LayerCount {
                        layers: layers.len(),
                        diff_ids: parsed.diff_ids.len(),
                    }));
                }
                let (digest, size) = store.blobs().write(&manifest_of(&config, &layers))?;
                let descriptor = Descriptor { media_type: media_type::OCI_MANIFEST.to_owned(), digest, size };
                let names = tags.iter().filter_map(|tag| tag.parse::<Reference>().ok());
                loaded.push(LoadedImage { names: names.map(|name| name.to_string()).collect(), tag: None, descriptor });
            }
        }
    }
    Ok(merged(loaded))
}

/// The manifest of an image of docker's archive, which has none. The configuration stays as it is: its digest is the image's ID.
pub(super) fn manifest_of(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers })
        .to_string()
        .into_bytes()
}

/// One image of the archive `file`: the one called `wanted`, else the only one. A file that did not change is not read again.
pub fn image_of(store: &Store, file: &Path, wanted: Option<&str>) -> Result<Descriptor, ImagesError> {
    let io = |verb| move |source| ImagesError::Io { verb, path: file.to_owned(), source };
    let opened = File::open(file).map_err(io("open"))?;
    let status = opened.metadata().map_err(io("inspect"))?;
    if !status.is_file() {
        return Err(io("read")(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let key = format!(
        "{} {} {} {}.{} {}.{}",
        status.dev(),
        status.ino(),
        status.size(),
        status.mtime(),
        status.mtime_nsec(),
        status.ctime(),
        status.ctime_nsec()
    );
    let noted = store.memo().get(MEMO, key.as_bytes())?;
    let noted = noted.and_then(|bytes| serde_json::from_slice::<Vec<LoadedImage>>(&bytes).ok());
    let noted = noted.filter(|images| images.iter().all(|image| require(store, &image.descriptor, file).is_ok()));
    let images = if let Some(images) = noted {
        images
    } else {
        let images = load(store, opened, file)?;
        let value = serde_json::to_vec(&images).map_err(|error| io("note what is in")(error.into()))?;
        store.memo().put(MEMO, key.as_bytes(), &value)?;
        images
    };
    choose(&images, file, wanted)
}

fn choose(images: &[LoadedImage], file: &Path, wanted: Option<&str>) -> Result<Descriptor, ImagesError> {
    let labels = |image: &LoadedImage| {
        let names = image.names.iter().chain(&image.tag).cloned();
        names.chain([image.descriptor.digest.to_string()]).collect::<Vec<_>>()
    };
    let choices = || images.iter().filter_map(|image| labels(image).into_iter().next()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        return match images {
            [only] => Ok(only.descriptor.clone()),
            [] => Err(ImagesError::NoSuchImage {
                path: file.to_owned(),
                wanted: "latest".to_owned(),
                choices: String::new(),
            }),
            _ => Err(ImagesError::SeveralImages { path: file.to_owned(), choices: choices() }),
        };
    };
    let full = wanted.parse::<Reference>().ok().map(|reference| reference.to_string());
    let is_wanted = |label: &String| {
        let tag = label.rsplit_once(':').map(|(_, tag)| tag);
        label == wanted || Some(label) == full.as_ref() || tag == Some(wanted)
    };
    let found = images.iter().find(|image| labels(image).iter().any(is_wanted));
    found.map(|image| image.descriptor.clone()).ok_or_else(|| ImagesError::NoSuchImage {
        path: file.to_owned(),
        wanted: wanted.to_owned(),
        choices: choices(),
    })
}

/// Files of docker archives that no image needs.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    name == "repositories" || name.ends_with("/json") || name.ends_with("/VERSION")
}

/// Stores one file of an archive. Its media type matters for layers only.
fn ingest(store: &Store, size: u64, content: &mut dyn Read) -> std::io::Result<Descriptor> {
    let mut head = Vec::with_capacity(16);
    content.take(16).read_to_end(&mut head)?;
    let media_type = layer_type(&head);
    let mut ingest = store.blobs().ingest().map_err(std::io::Error::other)?;
    std::io::copy(&mut head.as_slice().chain(content), &mut ingest)?;
    let (digest, stored) = ingest.commit().map_err(std::io::Error::other)?;
    if stored != size {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size })
}

/// The media type of a layer that begins so.
pub(super) fn layer_type(head: &[u8]) -> &'static str {
    match detect(head) {
        Codec::Gzip => media_type::OCI_LAYER_GZIP,
        Codec::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// Fails unless everything that `descriptor` leads to is in the store. Of an index, what is there must be whole; the rest may be missing.
fn require(store: &Store, descriptor: &Descriptor, path: &Path) -> Result<(), ImagesError> {
    let missing = |digest: Digest| ImagesError::BlobMissing { what: path.display().to_string(), digest };
    let there = |descriptor: &Descriptor| -> Result<bool, ImagesError> {
        Ok(store.blobs().contains(&descriptor.digest)? == Some(descriptor.size))
    };
    if !there(descriptor)? {
        return Err(missing(descriptor.digest));
    }
    let bytes = store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?;
    let document = read_document(&bytes, Some(&descriptor.media_type))
        .map_err(|source| ImagesError::Broken { what: path.display().to_string(), source })?;
    match document {
        Document::Manifest(manifest) => {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                if !there(blob)? {
                    return Err(missing(blob.digest));
                }
            }
            // What is named in the store must not break those who list it.
            let config = store.blobs().read(&manifest.config.digest, MAX_DOCUMENT)?;
            ImageConfig::parse(&config)
                .and_then(|config| manifest.check_config(&config))
                .map_err(|source| ImagesError::Broken { what: path.display().to_string(), source })?;
        }
        Document::Index(index) => {
            let mut whole = 0;
            for entry in &index.manifests {
                if !entry.is_attestation() && there(&entry.descriptor)? {
                    require(store, &entry.descriptor, path)?;
                    whole += 1;
                }
            }
            if whole == 0 {
                return Err(missing(descriptor.digest));
            }
        }
    }
    Ok(())
}

/// An annotation is a full name or only a tag.
pub(super) fn split_name(name: Option<String>) -> (Vec<String>, Option<String>) {
    match name {
        Some(name) if name.contains(['/', ':']) => match name.parse::<Reference>() {
            Ok(reference) => (vec![reference.to_string()], None),
            Err(_) => (Vec::new(), Some(name)),
        },
        other => (Vec::new(), other),
    }
}

/// An image with several names is one image.
fn merged(images: Vec<LoadedImage>) -> Vec<LoadedImage> {
    let mut out: Vec<LoadedImage> = Vec::new();
    for image in images {
        match out.iter_mut().find(|known| known.descriptor.digest == image.descriptor.digest) {
            Some(known) => {
                known.names.extend(image.names);
                known.tag = known.tag.take().or(image.tag);
            }
            None => out.push(image),
        }
    }
    out
}
