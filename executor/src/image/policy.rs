//! Where an image that is named comes from: the local store, or its registry, and which of them is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_oci::image::Descriptor;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;
use tokio::sync::OnceCell;

use super::ImagesError;
use super::local;
use super::local::LocalImage;
use crate::pull::Puller;

/// `--pull`: when registries are asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// If it is not in the store.
    #[default]
    Missing,
    /// Always: a failure to ask is one of the build.
    Always,
    /// Always, but what is in the store will do if no registry can be reached.
    Newer,
    /// Never.
    Never,
}

/// The images that can be named: those of a store, and those of registries if there is a puller.
#[derive(Debug)]
pub struct KnownImages {
    store: Store,
    puller: Option<Puller>,
    policy: PullPolicy,
    /// What names were found to stand for: in one build, a name stands for one image, wherever its tag moves meanwhile.
    pins: Mutex<HashMap<String, Pin>>,
}

type Pin = Arc<OnceCell<Descriptor>>;

impl KnownImages {
    /// The images of `store` alone.
    pub fn local(store: Store) -> KnownImages {
        KnownImages { store, puller: None, policy: PullPolicy::Never, pins: Mutex::default() }
    }

    /// The images of `store`, and those that `puller` can bring.
    pub fn new(store: Store, puller: Option<Puller>, policy: PullPolicy) -> KnownImages {
        KnownImages { store, puller, policy, pins: Mutex::default() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The image called `name`; only its documents are sure to be in the store afterwards.
    pub async fn find(&self, name: &str, platform: &Platform) -> Result<LocalImage, ImagesError> {
        let reference = name
            .parse::<Reference>()
            .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.reason() })?;
        let pin = Arc::clone(self.pins().entry(name.to_owned()).or_default());
        let root = pin.get_or_try_init(|| self.root(name, &reference, platform)).await?;
        match (local::open(&self.store, root, platform), self.puller_for(name)) {
            // Pulled for another platform.
            (Err(ImagesError::Store(error)), Some(puller)) if error.is_miss() => {
                let completed = puller.complete(root, platform).await;
                completed.map_err(|error| ImagesError::Pull { name: name.to_owned(), source: Box::new(error) })?;
                local::open(&self.store, root, platform)
            }
            (found, _) => found,
        }
    }

    /// What a name stands for from now on.
    async fn root(&self, name: &str, reference: &Reference, platform: &Platform) -> Result<Descriptor, ImagesError> {
        let here = local::named(&self.store, name, reference)?;
        let Some(puller) = self.puller_for(name) else {
            return match here {
                Some(root) => Ok(root),
                None => {
                    Err(ImagesError::NotFound { name: name.to_owned(), similar: local::similar(&self.store, name)? })
                }
            };
        };
        match here {
            // A digest stands for the same image for ever.
            Some(root) if reference.digest().is_some() || self.policy == PullPolicy::Missing => Ok(root),
            Some(root) if self.policy == PullPolicy::Newer => match puller.resolve(reference).await {
                Ok(there) if there.digest == root.digest => Ok(root),
                Ok(_) => self.pull(puller, name, reference, platform).await,
                Err(error) if error.is_unreachable() => Ok(root),
                Err(error) => Err(ImagesError::Pull { name: name.to_owned(), source: Box::new(error) }),
            },
            _ => self.pull(puller, name, reference, platform).await,
        }
    }

    /// Who may be asked for it.
    fn puller_for(&self, name: &str) -> Option<&Puller> {
        self.puller.as_ref().filter(|_| self.policy != PullPolicy::Never && !self.is_id(name))
    }

    async fn pull(
        &self,
        puller: &Puller,
        name: &str,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Descriptor, ImagesError> {
        match puller.image(reference, platform).await {
            Ok(root) => Ok(root),
            Err(error) => {
                let source = Box::new(error);
                let similar = if source.is_not_found() { local::similar(&self.store, name)? } else { None };
                Err(match similar {
                    Some(similar) => ImagesError::PullMissing { name: name.to_owned(), similar, source },
                    None => ImagesError::Pull { name: name.to_owned(), source },
                })
            }
        }
    }

    /// Whether a name is the ID of an image here: no registry knows those.
    fn is_id(&self, name: &str) -> bool {
        local::is_id(name) && self.store.images().find(name).is_ok_and(|found| found.is_some())
    }

    /// A panic elsewhere leaves the map consistent.
    fn pins(&self) -> MutexGuard<'_, HashMap<String, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
