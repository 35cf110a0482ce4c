//! From the result of a build to an image in the store.
//!
//! Times: with `SOURCE_DATE_EPOCH` everything this build adds carries it. Without, a layer carries the time it first went into an image
//! here, and the image the time this very image was first assembled here; both are remembered, so that an unchanged rebuild has an
//! unchanged digest.

use std::collections::BTreeMap;

use bld_cache::Store;
use bld_cache::record::LayerId;
use bld_cache::record::Record;
use bld_oci::DiffId;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::image::AssembleOptions;
use bld_oci::image::Descriptor;
use bld_oci::image::Format;
use bld_oci::image::Image;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::image::Manifest;
use bld_oci::image::Step;
use bld_solver::lower::Plan;
use bld_solver::worker::Reporter;
use serde_json::Map;
use serde_json::Value;

use super::ImagesError;
use crate::error::ExecuteError;
use crate::worker::LocalWorker;

/// Makes an image of the target's layers and stores its documents. Its layers' blobs are waited for.
pub async fn assemble<R: Reporter + 'static>(
    worker: &LocalWorker<R>,
    plan: &Plan,
    target: &Record,
    compression: Compression,
    now: Timestamp,
) -> Result<Image, ImagesError> {
    let built = target.state.layers.get(plan.base_layers.len()..).unwrap_or_default();
    let mut blobs = Vec::with_capacity(built.len());
    // All at once: they are made side by side.
    let jobs: Vec<_> = built
        .iter()
        .map(|layer| {
            let (worker, layer) = (worker.clone(), *layer);
            tokio::spawn(async move { worker.blob(layer, compression).await })
        })
        .collect();
    for job in jobs {
        let blob = job.await.map_err(|_| ExecuteError::Canceled)??;
        blobs.push(ImageLayer { diff_id: blob.diff_id, blob: blob.blob });
    }
    let times = Times { store: worker.store(), epoch: plan.source_date_epoch.map(Timestamp::from_seconds), now };
    let image = documents(plan, built, &blobs, &times)?;
    store_documents(worker.store(), &image)?;
    Ok(image)
}

/// Stores the configuration and the manifest of an image.
pub(crate) fn store_documents(store: &Store, image: &Image) -> Result<(), ImagesError> {
    for (bytes, descriptor) in [(&image.config_bytes, &image.config), (&image.manifest_bytes, &image.manifest)] {
        if store.blobs().contains(&descriptor.digest)? != Some(descriptor.size) {
            store.blobs().write(bytes)?;
        }
    }
    Ok(())
}

fn documents(plan: &Plan, built: &[LayerId], blobs: &[ImageLayer], times: &Times<'_>) -> Result<Image, ImagesError> {
    let broken = |source| ImagesError::Broken { what: "the image just built".to_owned(), source };
    let mut steps = base_steps(plan).map_err(broken)?;
    let image_time = times.image(&plan.config, plan, blobs)?;
    let mut layers = built.iter().zip(blobs);
    let mut latest = image_time;
    for planned in &plan.steps {
        let layer = planned.vertex.and_then(|_| layers.next());
        if let Some((id, _)) = layer {
            latest = times.layer(*id)?;
        }
        let mut history = Map::new();
        history.insert("created".to_owned(), Value::String(latest.to_string()));
        history.insert("created_by".to_owned(), Value::String(planned.created_by.clone()));
        history.insert("comment".to_owned(), Value::String(planned.comment.to_owned()));
        steps.push(Step { history, layer: layer.map(|(_, blob)| blob.clone()) });
    }
    let mut config = plan.config.clone();
    config.created = Some(image_time.to_string());
    let options = AssembleOptions { format: Format::Oci, annotations: BTreeMap::new() };
    bld_oci::image::assemble(&config, &steps, &options).map_err(broken)
}

/// The base image's steps, as they were.
fn base_steps(plan: &Plan) -> Result<Vec<Step>, bld_oci::image::ImageError> {
    let config = ImageConfig {
        history: plan.base_history.clone(),
        diff_ids: plan.base_layers.iter().map(|layer| layer.diff_id).collect(),
        ..ImageConfig::default()
    };
    let manifest = Manifest {
        media_type: bld_oci::media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor {
            media_type: bld_oci::media_type::OCI_CONFIG.to_owned(),
            digest: bld_oci::Digest::of(b""),
            size: 0,
        },
        layers: plan.base_layers.iter().map(|layer| layer.blob.clone()).collect(),
        annotations: BTreeMap::new(),
    };
    bld_oci::image::steps(&config, &manifest)
}

/// When things were first made.
struct Times<'a> {
    store: &'a Store,
    epoch: Option<Timestamp>,
    now: Timestamp,
}

impl Times<'_> {
    fn layer(&self, layer: LayerId) -> Result<Timestamp, ImagesError> {
        self.first("layer-created", layer.as_bytes())
    }

    /// The time of the image with this configuration, these steps and these layers.
    fn image(&self, config: &ImageConfig, plan: &Plan, blobs: &[ImageLayer]) -> Result<Timestamp, ImagesError> {
        let diff_ids = plan.base_layers.iter().chain(blobs).map(|layer| layer.diff_id);
        let timeless = ImageConfig { created: None, diff_ids: diff_ids.collect::<Vec<DiffId>>(), ..config.clone() };
        let mut identity = timeless.to_json();
        for step in &plan.steps {
            identity.push(0);
            identity.extend_from_slice(step.created_by.as_bytes());
        }
        self.first("image-created", bld_oci::Digest::of(&identity).as_bytes())
    }

    fn first(&self, namespace: &str, key: &[u8]) -> Result<Timestamp, ImagesError> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let mut value = self.now.seconds.to_le_bytes().to_vec();
        value.extend_from_slice(&self.now.nanoseconds.to_le_bytes());
        let stored = self.store.memo().get_or_put(namespace, key, &value)?;
        let (seconds, nanoseconds) = stored.split_at_checked(8).unwrap_or_default();
        Ok(match (seconds.try_into(), nanoseconds.try_into()) {
            (Ok(seconds), Ok(nanoseconds)) => {
                Timestamp { seconds: i64::from_le_bytes(seconds), nanoseconds: u32::from_le_bytes(nanoseconds) }
            }
            // The memo is a cache: a value of another version counts as none.
            _ => self.now,
        })
    }
}
