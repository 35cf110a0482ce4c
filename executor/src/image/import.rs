//! `bld import`: an image of a root file system tar.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use bld_cache::Store;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::image::AssembleOptions;
use bld_oci::image::Format;
use bld_oci::image::Image;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::image::Step;
use bld_oci::layer::LayerReader;
use serde_json::Map;
use serde_json::Value;

use super::ImagesError;
use super::assemble::store_documents;
use super::stream::open_tar;
use crate::layers::unpack::UnpackOptions;
use crate::layers::unpack::unpack;
use crate::worker::Layers;
use crate::worker::blob_of;

/// What an import makes besides the layer.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The configuration: platform and `config` object.
    pub config: ImageConfig,
    /// `comment` of the history entry.
    pub comment: String,
    /// `created`, unless the same tree was imported before.
    pub now: Timestamp,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<Timestamp>,
    /// How the user would write the archive's path.
    pub path: PathBuf,
}

/// Reads a tar, compressed or not, into one layer, and makes an image of it. The same tree gives the same image.
pub fn import(
    store: &Store,
    tar: impl Read + Send,
    layers: &Layers,
    options: &ImportOptions,
) -> Result<Image, ImagesError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| ImagesError::Archive { path: options.path.clone(), source };
    let tar = open_tar(tar, &options.path)?;
    let active = store.layers().create()?;
    let unpack_options =
        UnpackOptions { mode: layers.mode(), lower: None, max_bytes: crate::worker::free_space(active.directory()) };
    let unpacked = unpack(&mut LayerReader::archive(tar), active.directory(), unpack_options)
        .map_err(|error| failed(Box::new(error)))?;
    if is_image(active.directory()) {
        return Err(ImagesError::IsImage { path: options.path.clone() });
    }
    let id = StateId::scratch().push(&unpacked.tree.digest().0);
    let (layer, created) = match store.records().state(id)? {
        Some(known) if known.layers.len() == 1 => (known.layers[0], known.created),
        _ => (store.layers().commit(active, &unpacked.tree)?, options.now),
    };
    let state = State { id, layers: vec![layer] };
    // Remembered under a key of its own, so that the state is found when the same tree comes again.
    let (key, parts) = bld_cache::key::KeyHasher::new(bld_cache::key::Domain("bld.import.v1"))
        .bytes("tree", &unpacked.tree.digest().0)
        .finish();
    store.records().put(&[key], &Record { parts, ..Record::new(state, created) })?;
    let blob = blob_of(store, layers, layer, Compression::GZIP, options.epoch)?;
    let created = options.epoch.unwrap_or(created);

    let mut history = Map::new();
    history.insert("created".to_owned(), Value::String(created.to_string()));
    history.insert("comment".to_owned(), Value::String(options.comment.clone()));
    let step = Step { history, layer: Some(ImageLayer { diff_id: blob.diff_id, blob: blob.blob }) };
    let mut config = options.config.clone();
    config.created = Some(created.to_string());
    let assemble = AssembleOptions { format: Format::Oci, annotations: BTreeMap::new() };
    let image = bld_oci::image::assemble(&config, &[step], &assemble)
        .map_err(|source| ImagesError::Broken { what: "the imported image".to_owned(), source })?;
    store_documents(store, &image)?;
    Ok(image)
}

/// Whether what was unpacked is an OCI layout, or what `docker save` writes, and no root file system.
fn is_image(directory: &Path) -> bool {
    let is_file = |name: &str| directory.join(name).symlink_metadata().is_ok_and(|status| status.is_file());
    let is_layout = is_file("oci-layout") && is_file("index.json");
    let is_directory = |name: &str| directory.join(name).is_dir();
    let has_system = ["bin", "etc", "usr", "sbin", "lib"].into_iter().any(is_directory);
    (is_layout || is_file("manifest.json")) && !has_system
}
