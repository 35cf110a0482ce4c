//! An image of the store, or of wherever its layers are, to a registry.
//!
//! Order: blobs, then manifests, then the index: a registry never shows a name whose parts are missing. Nothing is sent that the registry
//! has; a layer that it has in another repository is mounted from there; one that is not here is fetched only if it has to be sent.

use std::collections::HashSet;
use std::io;
use std::io::Read;

use bld_cache::Store;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::reference::Reference;
use bld_registry::BlobSource;
use bld_registry::Pushed;
use bld_registry::Repository;
use tokio::task::JoinSet;

use crate::pull::PullError;
use crate::pull::Puller;

/// No index lists so many images.
const MAX_DOCUMENTS: usize = 1000;

/// What became of a blob.
#[derive(Debug)]
pub struct PushedBlob {
    /// The blob.
    pub blob: Descriptor,
    /// Whether it was there, mounted or sent.
    pub outcome: Pushed,
}

/// Pushes the image or index `root` as `target`, tag or digest; `observer` is told of each blob that is there.
pub async fn push(
    puller: &Puller,
    root: &Descriptor,
    target: &Reference,
    observer: impl Fn(&PushedBlob),
) -> Result<(), PullError> {
    let repository = Repository::of(target);
    let (documents, blobs) = parts(puller, root).await?;
    let mut sending = JoinSet::new();
    for blob in &blobs {
        let (puller, repository, blob) = (puller.clone(), repository.clone(), blob.clone());
        sending.spawn(async move {
            let others: Vec<Repository> = puller.origins(&blob.digest)?;
            let others: Vec<Repository> = others
                .into_iter()
                .filter(|other| other.domain() == repository.domain() && *other != repository)
                .collect();
            let source = StoredBlob { puller: puller.clone(), blob: blob.clone() };
            let outcome = puller.registry().push_blob(&repository, &blob, &others, &source, &|_| {}).await?;
            Ok::<PushedBlob, PullError>(PushedBlob { blob, outcome })
        });
    }
    while let Some(ended) = sending.join_next().await {
        observer(&ended.map_err(|_| PullError::Stopped)??);
    }
    for (descriptor, bytes) in &documents {
        let is_root = descriptor.digest == root.digest;
        let name = if is_root { target.clone() } else { target.with_digest(descriptor.digest) };
        puller.registry().push_manifest(&name, &descriptor.media_type, bytes).await?;
    }
    let everything = blobs.iter().chain(documents.iter().map(|(descriptor, _)| descriptor));
    let digests: Vec<_> = everything.map(|blob| blob.digest).collect();
    Ok(puller.store().origins().add(&repository.to_string(), &digests)?)
}

type Parts = (Vec<(Descriptor, Vec<u8>)>, Vec<Descriptor>);

/// A document on the way of [`parts`] through an image.
enum Step {
    Read(Descriptor),
    /// All that it lists is in order already.
    Done(Descriptor, Vec<u8>),
}

/// The manifests below and including `root`, each after all that it lists, and all blobs they name, each once.
async fn parts(puller: &Puller, root: &Descriptor) -> Result<Parts, PullError> {
    let mut documents: Vec<(Descriptor, Vec<u8>)> = Vec::new();
    let mut blobs: Vec<Descriptor> = Vec::new();
    let (mut seen, mut seen_blobs) = (HashSet::new(), HashSet::new());
    let mut open = vec![Step::Read(root.clone())];
    while let Some(step) = open.pop() {
        let descriptor = match step {
            Step::Read(descriptor) if seen.insert(descriptor.digest) => descriptor,
            Step::Read(_) => continue,
            Step::Done(descriptor, bytes) => {
                documents.push((descriptor, bytes));
                continue;
            }
        };
        if seen.len() > MAX_DOCUMENTS {
            return Err(PullError::TooMany { digest: root.digest, limit: MAX_DOCUMENTS });
        }
        let (bytes, document) = puller.document(&descriptor).await?;
        match document {
            Document::Index(index) => {
                open.push(Step::Done(descriptor, bytes));
                open.extend(index.manifests.into_iter().rev().map(|entry| Step::Read(entry.descriptor)));
            }
            Document::Manifest(manifest) => {
                for blob in manifest.layers.into_iter().chain([manifest.config]) {
                    if seen_blobs.insert(blob.digest) {
                        blobs.push(blob);
                    }
                }
                documents.push((descriptor, bytes));
            }
        }
    }
    Ok((documents, blobs))
}

/// A blob of the store, fetched first if it is not there.
struct StoredBlob {
    puller: Puller,
    blob: Descriptor,
}

impl BlobSource for StoredBlob {
    async fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let store: &Store = self.puller.store();
        self.puller.ensure([&self.blob]).await.map_err(io::Error::other)?;
        let (file, _) = store.blobs().open_raw(&self.blob.digest).map_err(io::Error::other)?;
        Ok(Box::new(file))
    }
}
