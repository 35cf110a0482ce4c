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
use bld_oci::image::Image;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageIndex;
use bld_oci::image::ImageLayer;
use bld_oci::image::Manifest;
use bld_oci::image::Step;
use bld_oci::platform::Platform;
use bld_solver::lower::ImagePlan;
use bld_solver::worker::Reporter;
use serde_json::Map;
use serde_json::Value;

use super::ImagesError;
use super::options::Annotated;
use super::options::ImageOptions;
use super::squash;
use crate::error::ExecuteError;
use crate::worker::LocalWorker;

/// What a build made: one image, or one for each of several platforms and the index of them.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The images, each with its platform; there is at least one.
    pub images: Vec<(Image, Platform)>,
    /// The index, if several platforms were asked for.
    pub index: Option<ImageIndex>,
    /// Annotations of what refers to the whole in a layout.
    pub annotations: BTreeMap<String, String>,
}

impl Assembled {
    /// Images of a build, with an index if there are several. The index is stored.
    pub fn new(
        store: &Store,
        images: Vec<(Image, Platform)>,
        options: &ImageOptions,
    ) -> Result<Assembled, ImagesError> {
        let of_manifest = |platform: &Platform| options.annotations_of(Annotated::ManifestDescriptor, Some(platform));
        let (mut index, mut annotations) = (None, BTreeMap::new());
        if let [(_, platform)] = images.as_slice() {
            annotations = of_manifest(platform);
        }
        if images.len() > 1 {
            let entry = |(image, platform): &(Image, Platform)| {
                (image.manifest.clone(), Some(platform.clone()), of_manifest(platform))
            };
            let entries: Vec<_> = images.iter().map(entry).collect();
            let of_index = options.annotations_of(Annotated::Index, None);
            let of_index = AssembleOptions { format: options.format, annotations: of_index };
            let made = bld_oci::image::assemble_annotated_index(&entries, &of_index);
            store.blobs().keep(&made.descriptor, &made.bytes)?;
            annotations = options.annotations_of(Annotated::IndexDescriptor, None);
            index = Some(made);
        }
        Ok(Assembled { images, index, annotations })
    }

    /// What names the result.
    pub fn descriptor(&self) -> Option<&Descriptor> {
        let only = self.images.first().map(|(image, _)| &image.manifest);
        self.index.as_ref().map(|index| &index.descriptor).or(only)
    }

    /// All blobs: layers, configurations, manifests and the index.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let images = self.images.iter();
        let of_images = images.flat_map(|(image, _)| image.layers.iter().chain([&image.config, &image.manifest]));
        of_images.chain(self.index.as_ref().map(|index| &index.descriptor))
    }
}

/// Makes an image of the target's layers and stores its documents. Its layers' blobs are waited for.
pub async fn assemble<R: Reporter + 'static>(
    worker: &LocalWorker<R>,
    plan: &ImagePlan,
    target: &Record,
    options: &ImageOptions,
    now: Timestamp,
) -> Result<Image, ImagesError> {
    let below = plan.base_layers.len();
    let built = target.state.layers.get(below..).unwrap_or_default();
    let compression = options.compression;
    let epoch = options.epoch.or(plan.source_date_epoch.map(Timestamp::from_seconds));
    let clamp = epoch.filter(|_| options.rewrite_times);
    let blobs = if options.squash && !built.is_empty() {
        let all = target.state.layers.clone();
        vec![worker.blocking_on(move |worker| squashed(worker, &all, below, compression, clamp)).await?]
    } else {
        layer_blobs(worker, built, compression, clamp).await?
    };
    let mut base = plan.base_layers.clone();
    if options.force_compression {
        let layers = plan.base_layers.clone();
        let again = move |worker: &LocalWorker<R>| {
            let layers = layers.iter().map(|layer| squash::recompress(worker.store(), layer, compression));
            layers.collect::<Result<Vec<_>, _>>()
        };
        base = worker.blocking_on(again).await?;
    }
    let times = Times { store: worker.store(), epoch, now };
    let image = documents(plan, &base, built, &blobs, &times, options)?;
    store_documents(worker.store(), &image)?;
    Ok(image)
}

async fn layer_blobs<R: Reporter + 'static>(
    worker: &LocalWorker<R>,
    built: &[LayerId],
    compression: Compression,
    clamp: Option<Timestamp>,
) -> Result<Vec<ImageLayer>, ImagesError> {
    // All at once: they are made side by side.
    let jobs: Vec<_> = built
        .iter()
        .map(|layer| {
            let (worker, layer) = (worker.clone(), *layer);
            tokio::spawn(async move { worker.blob(layer, compression, clamp).await })
        })
        .collect();
    let mut blobs = Vec::with_capacity(built.len());
    for job in jobs {
        let blob = job.await.map_err(|_| ExecuteError::Canceled)??;
        blobs.push(ImageLayer { diff_id: blob.diff_id, blob: blob.blob });
    }
    Ok(blobs)
}

fn squashed<R: Reporter + 'static>(
    worker: &LocalWorker<R>,
    layers: &[LayerId],
    base: usize,
    compression: Compression,
    clamp: Option<Timestamp>,
) -> Result<ImageLayer, ExecuteError> {
    let identity = layers.iter().map(LayerId::hex).collect::<Vec<_>>().join("-");
    squash::squash(worker.store(), worker.layers().stack(layers)?, base, &identity, compression, clamp)
}

/// Stores the configuration and the manifest of an image.
pub(crate) fn store_documents(store: &Store, image: &Image) -> Result<(), ImagesError> {
    store.blobs().keep(&image.config, &image.config_bytes)?;
    Ok(store.blobs().keep(&image.manifest, &image.manifest_bytes)?)
}

fn documents(
    plan: &ImagePlan,
    base: &[ImageLayer],
    built: &[LayerId],
    blobs: &[ImageLayer],
    times: &Times<'_>,
    options: &ImageOptions,
) -> Result<Image, ImagesError> {
    let broken = |source| ImagesError::Broken { what: "the image just built".to_owned(), source };
    let mut steps = base_steps(plan, base).map_err(broken)?;
    let image_time = times.image(plan, base, blobs)?;
    let squashed = blobs.first().filter(|_| options.squash);
    let mut layers = built.iter().zip(blobs).filter(|_| squashed.is_none());
    // What comes before the first layer of a build was not made after it.
    let mut latest = match built.first().filter(|_| squashed.is_none()) {
        Some(first) => times.layer(*first)?,
        None => image_time,
    };
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
    if let Some(layer) = squashed {
        let mut history = Map::new();
        history.insert("created".to_owned(), Value::String(latest.to_string()));
        history.insert("comment".to_owned(), Value::String(format!("squashed {} layers", built.len())));
        steps.push(Step { history, layer: Some(layer.clone()) });
    }
    let mut config = plan.config.clone();
    config.created = Some(image_time.to_string());
    let annotations = options.annotations_of(Annotated::Manifest, Some(&plan.platform));
    let options = AssembleOptions { format: options.format, annotations };
    bld_oci::image::assemble(&config, &steps, &options).map_err(broken)
}

/// The base image's steps, as they were.
fn base_steps(plan: &ImagePlan, base: &[ImageLayer]) -> Result<Vec<Step>, bld_oci::image::ImageError> {
    let config = ImageConfig {
        history: plan.base_history.clone(),
        diff_ids: base.iter().map(|layer| layer.diff_id).collect(),
        ..ImageConfig::default()
    };
    let manifest = Manifest {
        media_type: bld_oci::media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor {
            media_type: bld_oci::media_type::OCI_CONFIG.to_owned(),
            digest: bld_oci::Digest::of(b""),
            size: 0,
        },
        layers: base.iter().map(|layer| layer.blob.clone()).collect(),
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
    fn image(&self, plan: &ImagePlan, base: &[ImageLayer], blobs: &[ImageLayer]) -> Result<Timestamp, ImagesError> {
        let diff_ids = base.iter().chain(blobs).map(|layer| layer.diff_id);
        let timeless =
            ImageConfig { created: None, diff_ids: diff_ids.collect::<Vec<DiffId>>(), ..plan.config.clone() };
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
