//! Base images: the solver's [`SourceResolver`] on this machine. A named context wins; else the name is an image of the local store.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::read_document;
use bld_oci::image::read_index;
use bld_oci::image::select_platform;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use bld_solver::remote::Remote;
use bld_solver::worker::Resolved;
use bld_solver::worker::ResolvedImage;
use bld_solver::worker::SourceResolver;

use super::ImagesError;
use super::MAX_DOCUMENT;
use super::archive;
use super::image_layers;
use super::local;
use super::local::LocalImage;
use super::named::NamedContext;
use super::policy::KnownImages;
use crate::sources::Remotes;

/// Finds base images in named contexts, in the local store and in registries.
#[derive(Debug)]
pub struct ImageSources {
    images: KnownImages,
    named: BTreeMap<String, NamedContext>,
    remotes: Option<Remotes>,
}

impl ImageSources {
    /// Sources with the named contexts of a build. Nothing is fetched.
    pub fn new(images: KnownImages, named: BTreeMap<String, NamedContext>) -> ImageSources {
        ImageSources { images, named, remotes: None }
    }

    /// Sources of a build that may ask the network what time it is there.
    #[must_use]
    pub fn with_remotes(self, remotes: Remotes) -> ImageSources {
        ImageSources { remotes: Some(remotes), ..self }
    }

    /// The named context that `name` stands for on `platform`: written so, or in full as an image name.
    fn named(&self, name: &str, platform: Option<&Platform>) -> Option<(&str, &NamedContext)> {
        let full = name.parse::<Reference>().ok().map(|reference| reference.to_string());
        let matches = |key: &str| {
            let (key, wanted) = key.split_once("::").map_or((key, None), |(key, platform)| (key, Some(platform)));
            let fits = match (wanted, platform) {
                (None, _) => true,
                (Some(wanted), Some(platform)) => platform.to_string() == wanted,
                (Some(_), None) => false,
            };
            let same_image =
                || full.is_some() && key.parse::<Reference>().ok().map(|reference| reference.to_string()) == full;
            fits && (key.eq_ignore_ascii_case(name) || same_image())
        };
        self.named.iter().find(|(key, _)| matches(key)).map(|(key, context)| (key.as_str(), context))
    }

    async fn resolve_now(&self, name: &str, platform: &Platform) -> Result<Resolved, ImagesError> {
        let Some((key, context)) = self.named(name, Some(platform)) else {
            let image = self.images.find(name, platform).await?;
            return resolved(name, &image);
        };
        let image = match context {
            NamedContext::Directory(_) => return Ok(Resolved::Context(key.to_owned())),
            NamedContext::Remote(remote) => return Ok(Resolved::Remote(remote.clone())),
            NamedContext::Image(reference) => self.images.find(reference, platform).await?,
            NamedContext::OciLayout { directory, image } => {
                let descriptor = ingest_layout(self.images.store(), directory, image.as_deref(), platform)?;
                local::open(self.images.store(), &descriptor, platform)?
            }
            NamedContext::Archive { file, image } => {
                let descriptor = archive::image_of(self.images.store(), file, image.as_deref())?;
                local::open(self.images.store(), &descriptor, platform)?
            }
        };
        resolved(name, &image)
    }
}

impl SourceResolver for ImageSources {
    type Error = ImagesError;

    async fn resolve(&self, name: &str, platform: &Platform) -> Result<Resolved, ImagesError> {
        self.resolve_now(name, platform).await
    }

    fn is_named_context(&self, name: &str) -> bool {
        self.named(name, None).is_some()
    }

    fn named_contexts(&self) -> Vec<String> {
        self.named.iter().map(|(key, _)| key.split("::").next().unwrap_or(key).to_owned()).collect()
    }

    async fn time(&self, remote: &Remote) -> Result<Option<i64>, ImagesError> {
        let Some(remotes) = &self.remotes else { return Ok(None) };
        Ok(remotes.time(remote).await?.map(|time| time.seconds))
    }

    fn is_missing(&self, error: &ImagesError) -> bool {
        match error {
            ImagesError::NotFound { .. } | ImagesError::PullMissing { .. } => true,
            ImagesError::Pull { source, .. } => source.is_not_found(),
            _ => false,
        }
    }
}

fn resolved(name: &str, image: &LocalImage) -> Result<Resolved, ImagesError> {
    let layers = image_layers(&image.manifest, &image.config)
        .map_err(|source| ImagesError::Broken { what: name.to_owned(), source })?;
    let full = match name.parse::<Reference>() {
        Ok(reference) if !local::is_id(name) => reference.to_string(),
        _ => name.to_owned(),
    };
    Ok(Resolved::Image(ResolvedImage { name: full, config: image.config.clone(), layers }))
}

/// The images that `wanted` means: those of this very name or digest, else those whose name is a reference that is equal, or has it as tag.
fn find_named<'a>(named: &[(Option<&str>, &'a Descriptor)], wanted: &str) -> Vec<&'a Descriptor> {
    let full = wanted.parse::<Reference>().ok().map(|reference| reference.to_string());
    let exactly =
        |name: Option<&str>, descriptor: &Descriptor| name == Some(wanted) || descriptor.digest.to_string() == wanted;
    let roughly = |name: Option<&str>, _: &Descriptor| {
        let Some(Ok(reference)) = name.filter(|name| name.contains(['/', ':'])).map(str::parse::<Reference>) else {
            return false;
        };
        Some(reference.to_string()) == full || reference.tag() == Some(wanted)
    };
    let select = |matches: &dyn Fn(Option<&str>, &Descriptor) -> bool| {
        named.iter().filter(|(name, image)| matches(*name, image)).map(|(_, image)| *image).collect::<Vec<_>>()
    };
    let found = select(&exactly);
    if found.is_empty() { select(&roughly) } else { found }
}

/// Takes the image of an archive, or of an OCI layout directory with all its platforms, into the store, and answers what names it. It is
/// not listed.
pub fn take_in(store: &Store, path: &Path) -> Result<Descriptor, ImagesError> {
    if !path.is_dir() {
        return archive::image_of(store, path, None);
    }
    let what = path.display().to_string();
    let broken = |source| ImagesError::Broken { what: what.clone(), source };
    let index = read_index(&read_small(&path.join("index.json"))?).map_err(broken)?;
    let images = index.manifests.iter().filter(|entry| !entry.is_attestation());
    let mut roots: Vec<&Descriptor> = images.map(|entry| &entry.descriptor).collect();
    roots.dedup_by_key(|root| root.digest);
    let [root] = roots.as_slice() else {
        let choices = roots.iter().map(|root| root.digest.to_string()).collect::<Vec<_>>().join(", ");
        return Err(ImagesError::SeveralImages { path: path.to_owned(), choices });
    };
    let mut open = vec![(*root).clone()];
    while let Some(descriptor) = open.pop() {
        let bytes = ingest_document(store, path, &descriptor)?;
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
            Document::Index(index) => open.extend(index.manifests.into_iter().map(|entry| entry.descriptor)),
            Document::Manifest(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    ingest_blob(store, path, blob)?;
                }
            }
        }
    }
    Ok((*root).clone())
}

/// Takes one image of an OCI layout directory into the store and answers its manifest. What is there already is not read again.
pub(super) fn ingest_layout(
    store: &Store,
    directory: &Path,
    image: Option<&str>,
    platform: &Platform,
) -> Result<Descriptor, ImagesError> {
    let index_path = directory.join("index.json");
    let what = directory.display().to_string();
    let broken = |source| ImagesError::Broken { what: what.clone(), source };
    let index = read_index(&read_small(&index_path)?).map_err(broken)?;
    let named: Vec<(Option<&str>, &Descriptor)> = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation())
        .map(|entry| {
            (entry.annotations.get("org.opencontainers.image.ref.name").map(String::as_str), &entry.descriptor)
        })
        .collect();
    let choices = || {
        let labels =
            named.iter().map(|(name, descriptor)| name.map_or_else(|| descriptor.digest.to_string(), str::to_owned));
        labels.collect::<Vec<_>>().join(", ")
    };
    let mut descriptor = match image {
        Some(wanted) => match find_named(&named, wanted).as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other.digest == first.digest) => (*first).clone(),
            [] => {
                return Err(ImagesError::NoSuchImage {
                    path: directory.to_owned(),
                    wanted: wanted.to_owned(),
                    choices: choices(),
                });
            }
            _ => return Err(ImagesError::SeveralImages { path: directory.to_owned(), choices: choices() }),
        },
        None => match named.as_slice() {
            [(_, descriptor)] => (*descriptor).clone(),
            [] => {
                return Err(ImagesError::NoSuchImage {
                    path: directory.to_owned(),
                    wanted: "latest".to_owned(),
                    choices: String::new(),
                });
            }
            // Several tags may name one image, and several platforms may stand side by side without an inner index.
            [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other.digest == first.digest) => (*first).clone(),
            several => match several.iter().find(|(name, _)| *name == Some("latest")) {
                Some((_, descriptor)) => (*descriptor).clone(),
                None if named.iter().all(|(name, _)| name.is_none()) => {
                    select_platform(&index, platform).map_err(broken)?.descriptor.clone()
                }
                None => {
                    return Err(ImagesError::SeveralImages { path: directory.to_owned(), choices: choices() });
                }
            },
        },
    };
    for _ in 0..3 {
        let bytes = ingest_document(store, directory, &descriptor)?;
        match read_document(&bytes, Some(&descriptor.media_type)).map_err(broken)? {
            Document::Index(index) => {
                descriptor = select_platform(&index, platform).map_err(broken)?.descriptor.clone();
            }
            Document::Manifest(manifest) => {
                let config = ingest_document(store, directory, &manifest.config)?;
                ImageConfig::parse(&config).map_err(broken)?;
                for layer in &manifest.layers {
                    ingest_blob(store, directory, layer)?;
                }
                return Ok(descriptor);
            }
        }
    }
    Err(ImagesError::BlobMissing { what, digest: descriptor.digest })
}

pub(super) fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

fn ingest_document(store: &Store, directory: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, ImagesError> {
    ingest_blob(store, directory, descriptor)?;
    Ok(store.blobs().read(&descriptor.digest, MAX_DOCUMENT)?)
}

/// Copies a blob into the store unless it is there.
fn ingest_blob(store: &Store, directory: &Path, descriptor: &Descriptor) -> Result<(), ImagesError> {
    if store.blobs().contains(&descriptor.digest)? == Some(descriptor.size) {
        return Ok(());
    }
    let path = blob_path(directory, &descriptor.digest);
    let mut file = match open_regular(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ImagesError::BlobMissing { what: directory.display().to_string(), digest: descriptor.digest });
        }
        opened => opened.map_err(|source| ImagesError::Io { verb: "open", path: path.clone(), source })?,
    };
    let mut ingest = store.blobs().ingest()?;
    std::io::copy(&mut file, &mut ingest).map_err(|source| ImagesError::Io { verb: "copy", path, source })?;
    Ok(ingest.commit_verified(descriptor)?)
}

pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, ImagesError> {
    use std::io::Read as _;
    let failed = |source| ImagesError::Io { verb: "read", path: path.to_owned(), source };
    let file = open_regular(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

/// Opens a regular file; a pipe or device in its place neither blocks nor is read.
fn open_regular(path: &Path) -> std::io::Result<File> {
    use rustix::fs::Mode;
    use rustix::fs::OFlags;
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}
