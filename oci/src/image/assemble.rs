//! Writing an image: history, diff ids and manifest layers come from one list of steps and cannot disagree.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Descriptor;
use super::ImageConfig;
use super::ImageError;
use super::ImageLayer;
use super::Manifest;
use super::Step;
use crate::media_type;

/// Whose media types are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The Open Container Initiative's.
    #[default]
    Oci,
    /// docker's, schema 2. It has neither annotations nor zstd layers.
    Docker,
}

/// How an image is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssembleOptions {
    /// Whose media types.
    pub format: Format,
    /// Annotations of the manifest; left out in docker's format, which has none.
    pub annotations: BTreeMap<String, String>,
}

/// A configuration and manifest, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The configuration's bytes.
    pub config_bytes: Vec<u8>,
    /// Where the manifest points for it.
    pub config: Descriptor,
    /// The manifest's bytes.
    pub manifest_bytes: Vec<u8>,
    /// What names the image.
    pub manifest: Descriptor,
    /// The layers' blobs, bottom to top, with the media types of the manifest.
    pub layers: Vec<Descriptor>,
}

/// Makes the documents of an image from a configuration, whose own history and diff ids are ignored, and its steps.
pub fn assemble(config: &ImageConfig, steps: &[Step], options: &AssembleOptions) -> Result<Image, ImageError> {
    let layers = || steps.iter().filter_map(|step| step.layer.as_ref());
    let config_bytes = ImageConfig {
        diff_ids: layers().map(|layer| layer.diff_id).collect(),
        history: steps.iter().map(history_entry).collect(),
        ..config.clone()
    }
    .to_json();
    let layers: Vec<Descriptor> = layers().map(|layer| layer.blob.clone()).collect();
    package(config_bytes, &layers, options)
}

/// Makes the manifest of a configuration that is there already, byte for byte, and its layers' blobs.
pub fn package(config_bytes: Vec<u8>, layers: &[Descriptor], options: &AssembleOptions) -> Result<Image, ImageError> {
    let (config_type, manifest_type) = match options.format {
        Format::Oci => (media_type::OCI_CONFIG, media_type::OCI_MANIFEST),
        Format::Docker => (media_type::DOCKER_CONFIG, media_type::DOCKER_MANIFEST),
    };
    let config = Descriptor::of(config_type, &config_bytes);
    let layers = layers.iter().map(|layer| layer_descriptor(layer, options.format)).collect::<Result<Vec<_>, _>>()?;
    let mut manifest = json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers});
    if options.format == Format::Oci && !options.annotations.is_empty() {
        manifest["annotations"] = json!(options.annotations);
    }
    let manifest_bytes = manifest.to_string().into_bytes();
    let manifest = Descriptor::of(manifest_type, &manifest_bytes);
    Ok(Image { config_bytes, config, manifest_bytes, manifest, layers })
}

/// The steps of an image that was read.
///
/// Where history and layers disagree, which other tools' images do, the layers win: rows without a layer become empty ones, and
/// layers without a row get a row that says so.
pub fn steps(config: &ImageConfig, manifest: &Manifest) -> Result<Vec<Step>, ImageError> {
    manifest.check_config(config)?;
    let blobs = manifest.layers.iter().cloned();
    let mut layers = config.diff_ids.iter().zip(blobs).map(|(diff_id, blob)| ImageLayer { diff_id: *diff_id, blob });
    let mut found: Vec<Step> = Vec::with_capacity(config.history.len());
    for entry in &config.history {
        let mut history = entry.clone();
        let is_empty = history.remove("empty_layer").is_some_and(|value| value == Value::Bool(true));
        let layer = if is_empty { None } else { layers.next() };
        found.push(Step { history, layer });
    }
    found.extend(layers.map(|layer| {
        let comment = json!("layer without history");
        Step { history: Map::from_iter([("comment".to_owned(), comment)]), layer: Some(layer) }
    }));
    Ok(found)
}

fn history_entry(step: &Step) -> Map<String, Value> {
    let mut entry = step.history.clone();
    if step.layer.is_some() {
        entry.remove("empty_layer");
    } else {
        entry.insert("empty_layer".to_owned(), Value::Bool(true));
    }
    entry
}

fn layer_descriptor(blob: &Descriptor, format: Format) -> Result<Descriptor, ImageError> {
    let media_type = match format {
        Format::Oci => media_type::oci_layer(&blob.media_type),
        Format::Docker => media_type::docker_layer(&blob.media_type)
            .ok_or_else(|| ImageError::NoDockerType { media_type: blob.media_type.clone() })?,
    };
    Ok(Descriptor { media_type: media_type.to_owned(), ..blob.clone() })
}
