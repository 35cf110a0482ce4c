//! Manifests and indexes, read through `oci-spec` and then checked for what it lets pass.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde_json::Map;
use serde_json::Value;

use super::Descriptor;
use super::ImageConfig;
use super::ImageError;
use super::MAX_LAYERS;
use crate::digest::Digest;
use crate::media_type;
use crate::platform::Platform;

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, said or deduced.
    pub media_type: String,
    /// The configuration's blob.
    pub config: Descriptor,
    /// The layers' blobs, bottom to top.
    pub layers: Vec<Descriptor>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// An index: manifests, usually one per platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its media type, said or deduced.
    pub media_type: String,
    /// What it lists.
    pub manifests: Vec<IndexEntry>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// One row of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or a nested index.
    pub descriptor: Descriptor,
    /// `platform`, if given.
    pub platform: Option<Platform>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// What a digest or tag resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A list of images.
    Index(Index),
}

impl Manifest {
    /// Whether it is of an image that can be run, and not of some other artifact.
    pub fn is_image(&self) -> bool {
        matches!(self.config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG)
    }

    /// Refuses a configuration with another number of layers.
    pub fn check_config(&self, config: &ImageConfig) -> Result<(), ImageError> {
        let (layers, diff_ids) = (self.layers.len(), config.diff_ids.len());
        if layers == diff_ids { Ok(()) } else { Err(ImageError::LayerCount { layers, diff_ids }) }
    }
}

impl IndexEntry {
    /// Whether it describes another entry (provenance, SBOM) instead of being an image.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

/// Reads a manifest or an index, whichever it is.
///
/// `media_type` is what the descriptor or server said; a document that says otherwise is refused.
pub fn read_document(bytes: &[u8], media_type: Option<&str>) -> Result<Document, ImageError> {
    let map = super::parse_object("manifest", bytes)?;
    let is_set = |name| map.get(name).is_some_and(|value: &Value| !value.is_null());
    match (is_set("layers") || is_set("config"), is_set("manifests")) {
        (true, true) => Err(ImageError::Ambiguous),
        (_, false) => manifest(map, media_type).map(Document::Manifest),
        (false, true) => index(map, media_type).map(Document::Index),
    }
}

/// Reads a manifest; an index is refused.
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, ImageError> {
    match read_document(bytes, None)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(mismatch(media_type::OCI_MANIFEST, "index")),
    }
}

/// Reads an index; a manifest is refused.
pub fn read_index(bytes: &[u8]) -> Result<Index, ImageError> {
    let map = super::parse_object("index", bytes)?;
    let is_set = |name| map.get(name).is_some_and(|value: &Value| !value.is_null());
    match (is_set("layers") || is_set("config"), is_set("manifests")) {
        (true, true) => Err(ImageError::Ambiguous),
        (true, false) => Err(mismatch(media_type::OCI_INDEX, "manifest")),
        (false, _) => index(map, None),
    }
}

/// The entry of the index that fits `platform` best; among equals the first, as everybody else chooses. An index that names no
/// platform at all and has one image in it is taken to fit.
pub fn select_platform<'index>(index: &'index Index, platform: &Platform) -> Result<&'index IndexEntry, ImageError> {
    let images: Vec<&IndexEntry> = index.manifests.iter().filter(|entry| !entry.is_attestation()).collect();
    if let [only] = images.as_slice()
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let rank = |entry: &&IndexEntry| entry.platform.as_ref().and_then(|offered| platform.rank(offered));
    let ranked = images.iter().filter_map(|entry| rank(entry).map(|rank| (rank, *entry)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry).ok_or_else(|| {
        let names: Vec<String> =
            images.iter().filter_map(|entry| entry.platform.as_ref().map(Platform::to_string)).take(40).collect();
        let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ImageError::NoPlatform { wanted: platform.clone(), available }
    })
}

fn manifest(map: Map<String, Value>, said: Option<&str>) -> Result<Manifest, ImageError> {
    const DOCUMENT: &str = "manifest";
    let media_type = check_header(DOCUMENT, &map, said, [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST])?;
    let read: spec::ImageManifest = typed(DOCUMENT, map)?;
    check_count(DOCUMENT, read.layers().len())?;
    Ok(Manifest {
        media_type,
        config: descriptor(DOCUMENT, read.config())?,
        layers: read.layers().iter().map(|layer| descriptor(DOCUMENT, layer)).collect::<Result<_, _>>()?,
        annotations: read.annotations().clone().unwrap_or_default().into_iter().collect(),
    })
}

fn index(map: Map<String, Value>, said: Option<&str>) -> Result<Index, ImageError> {
    const DOCUMENT: &str = "index";
    let media_type = check_header(DOCUMENT, &map, said, [media_type::OCI_INDEX, media_type::DOCKER_INDEX])?;
    let read: spec::ImageIndex = typed(DOCUMENT, map)?;
    check_count(DOCUMENT, read.manifests().len())?;
    let entry = |entry: &spec::Descriptor| {
        let platform = entry.platform().as_ref();
        Ok(IndexEntry {
            descriptor: descriptor(DOCUMENT, entry)?,
            platform: platform.map(|platform| {
                let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
                Platform::new(&os, &architecture, platform.variant().as_deref())
            }),
            annotations: entry.annotations().clone().unwrap_or_default().into_iter().collect(),
        })
    };
    Ok(Index {
        media_type,
        manifests: read.manifests().iter().map(entry).collect::<Result<_, ImageError>>()?,
        annotations: read.annotations().clone().unwrap_or_default().into_iter().collect(),
    })
}

/// Checks `schemaVersion` and `mediaType`; returns the media type, by default the first of those that are right.
fn check_header(
    document: &'static str,
    map: &Map<String, Value>,
    said: Option<&str>,
    right: [&str; 2],
) -> Result<String, ImageError> {
    match map.get("schemaVersion") {
        Some(version) if version.as_u64() == Some(2) => {}
        version => {
            let version =
                version.map_or_else(|| "none".to_owned(), |version| version.to_string().chars().take(20).collect());
            return Err(ImageError::SchemaVersion { document, version });
        }
    }
    let inside = map.get("mediaType").and_then(Value::as_str).filter(|text| !text.is_empty());
    for media_type in [inside, said].into_iter().flatten() {
        if !right.contains(&media_type) {
            return Err(mismatch(media_type, document));
        }
    }
    match (inside, said) {
        (Some(inside), Some(said)) if inside != said => Err(mismatch(said, document)),
        (inside, said) => Ok(inside.or(said).unwrap_or(right[0]).to_owned()),
    }
}

fn mismatch(media_type: &str, document: &'static str) -> ImageError {
    ImageError::MediaTypeMismatch { media_type: media_type.chars().take(100).collect(), actual: document }
}

fn typed<T: serde::de::DeserializeOwned>(document: &'static str, mut map: Map<String, Value>) -> Result<T, ImageError> {
    for list in ["layers", "manifests"] {
        if let Some(value @ Value::Null) = map.get_mut(list) {
            *value = Value::Array(Vec::new());
        }
    }
    let mut value = Value::Object(map);
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|source| ImageError::Json { document, source })
}

/// Go writes `null` for what is empty. Depth is bounded by the parser's own limit of 128.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn check_count(document: &'static str, count: usize) -> Result<(), ImageError> {
    if count > MAX_LAYERS { Err(ImageError::TooMany { document, limit: MAX_LAYERS }) } else { Ok(()) }
}

fn descriptor(document: &'static str, read: &spec::Descriptor) -> Result<Descriptor, ImageError> {
    let digest: Digest = read.digest().to_string().parse().map_err(|source| ImageError::Digest { document, source })?;
    Ok(Descriptor { media_type: read.media_type().to_string(), digest, size: read.size() })
}
