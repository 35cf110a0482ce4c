//! Layers as compressed tars. Made while later steps already run, once for each layer and compression, one thread a core.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_cache::key::Domain;
use bld_cache::key::KeyHasher;
use bld_cache::record::LayerId;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::image::Descriptor;
use bld_oci::layer::LayerSink;
use bld_oci::layer::LayerWriter;
use bld_solver::worker::Reporter;
use tokio::sync::OnceCell;

use super::LayerBlob;
use super::LocalWorker;
use super::layers::Layers;
use crate::error::ExecuteError;
use crate::layers;

/// Blobs being made, or made, in this build.
#[derive(Debug, Default)]
pub(super) struct BlobJobs {
    jobs: Mutex<HashMap<JobKey, Job>>,
}

/// Layer, compression, and where times of files end.
type JobKey = (LayerId, String, Option<Timestamp>);

type Job = Arc<OnceCell<Result<LayerBlob, Arc<ExecuteError>>>>;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// Begins to make a blob, in the background.
    pub(super) fn start_blob(&self, layer: LayerId, compression: Compression) {
        let this = self.clone();
        // Who needs the blob waits for the same job in `blob`; if nobody does, nobody misses it.
        drop(tokio::spawn(async move { this.blob(layer, compression, this.shared.config.clamp).await }));
    }

    /// The blob of a layer, with times of files after `clamp` at `clamp`.
    pub async fn blob(
        &self,
        layer: LayerId,
        compression: Compression,
        clamp: Option<Timestamp>,
    ) -> Result<LayerBlob, ExecuteError> {
        let job = {
            let mut jobs = self.shared.blob_jobs.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(jobs.entry((layer, compression.identity(), clamp)).or_default())
        };
        let result = job.get_or_init(|| async {
            let permit = Arc::clone(&self.shared.processing).acquire_owned().await;
            let made = self
                .blocking(move |this, _| blob_of(&this.shared.store, &this.shared.layers, layer, compression, clamp))
                .await;
            drop(permit);
            made.map_err(Arc::new)
        });
        result.await.clone().map_err(ExecuteError::Shared)
    }
}

/// The blob of a layer, made now if it is not there yet. Done once on this machine: whoever comes second waits. Times of files after
/// `clamp` become `clamp`.
pub fn blob_of(
    store: &Store,
    layers: &Layers,
    layer: LayerId,
    compression: Compression,
    clamp: Option<Timestamp>,
) -> Result<LayerBlob, ExecuteError> {
    let label = compression.identity();
    let clamped = clamp.map(|time| format!("{label} {} {}", layer.hex(), time.seconds));
    if let Some(known) = known_blob(store, layer, &label, clamped.as_deref())? {
        return Ok(known);
    }
    let (key, _) = KeyHasher::new(Domain("bld.blob.v1"))
        .bytes("layer", layer.as_bytes())
        .text("as", clamped.as_deref().unwrap_or(&label))
        .finish();
    let _claim = store.claim(key)?;
    if let Some(known) = known_blob(store, layer, &label, clamped.as_deref())? {
        return Ok(known);
    }
    let (tree, directory) = layers.files(layer)?;
    let failed = |source| ExecuteError::Io { verb: "pack the layer", path: directory.clone(), source };
    let sink = LayerSink::new(store.blobs().ingest()?, compression).map_err(failed)?;
    let mut writer = LayerWriter::new(sink);
    layers::pack::pack(&tree, &directory, &mut writer, clamp)?;
    let sink = writer.finish().map_err(|error| failed(std::io::Error::other(error)))?;
    let (made, ingest) = sink.complete().map_err(failed)?;
    ingest.commit_verified(&made.blob)?;
    match &clamped {
        None => store.layers().set_blob(layer, &label, made.diff_id, &made.blob)?,
        Some(key) => {
            let value = serde_json::json!({ "diff_id": made.diff_id.0, "blob": made.blob });
            store.memo().put(CLAMPED, key.as_bytes(), value.to_string().as_bytes())?;
        }
    }
    Ok(LayerBlob { diff_id: made.diff_id, blob: made.blob })
}

/// Where the blobs of layers with clamped times are noted: a layer itself has one DiffID.
const CLAMPED: &str = "clamped-blob";

/// A blob that was made before and is still there.
fn known_blob(
    store: &Store,
    layer: LayerId,
    label: &str,
    clamped: Option<&str>,
) -> Result<Option<LayerBlob>, ExecuteError> {
    let there = |blob: &Descriptor| store.blobs().contains(&blob.digest).is_ok_and(|size| size == Some(blob.size));
    let found = match clamped {
        None => {
            let facets = store.layers().facets(layer)?.ok_or(ExecuteError::LayerMissing)?;
            let blob = facets.blobs.into_iter().find(|(known, _)| known == label).map(|(_, blob)| blob);
            facets.diff_id.zip(blob).map(|(diff_id, blob)| LayerBlob { diff_id, blob })
        }
        Some(key) => {
            #[derive(serde::Deserialize)]
            struct Noted {
                diff_id: bld_oci::Digest,
                blob: Descriptor,
            }
            let noted = store.memo().get(CLAMPED, key.as_bytes())?;
            let noted = noted.and_then(|bytes| serde_json::from_slice::<Noted>(&bytes).ok());
            noted.map(|noted| LayerBlob { diff_id: bld_oci::DiffId(noted.diff_id), blob: noted.blob })
        }
    };
    Ok(found.filter(|found| there(&found.blob)))
}
