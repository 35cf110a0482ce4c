//! Where an image that is named comes from: the local store, or its registry, and which of them is asked.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_oci::platform::Platform;
use bld_oci::reference::Reference;

use super::ImagesError;
use super::local;
use super::local::LocalImage;
use crate::pull::PullError;
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
    /// Names that were asked for already: in one build, a name stands for one image.
    asked: Mutex<HashSet<String>>,
}

impl KnownImages {
    /// The images of `store` alone.
    pub fn local(store: Store) -> KnownImages {
        KnownImages { store, puller: None, policy: PullPolicy::Never, asked: Mutex::default() }
    }

    /// The images of `store`, and those that `puller` can bring.
    pub fn new(store: Store, puller: Option<Puller>, policy: PullPolicy) -> KnownImages {
        KnownImages { store, puller, policy, asked: Mutex::default() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The image called `name`; only its documents are sure to be in the store afterwards.
    pub async fn find(&self, name: &str, platform: &Platform) -> Result<LocalImage, ImagesError> {
        let Some(puller) = self.puller.as_ref().filter(|_| self.policy != PullPolicy::Never && !self.is_id(name)) else {
            return local::find(&self.store, name, platform);
        };
        let reference = name
            .parse::<Reference>()
            .map_err(|error| ImagesError::BadName { name: name.to_owned(), reason: error.reason() })?;
        let here = self.here(puller, name, platform).await;
        let was_asked = !self.asked().insert(format!("{reference} {platform}"));
        let pulled = |error: PullError| ImagesError::Pull { name: name.to_owned(), source: error };
        match here {
            // A digest stands for the same image for ever.
            Ok(Some(image)) if was_asked || reference.digest().is_some() || self.policy == PullPolicy::Missing => {
                Ok(image)
            }
            Ok(Some(image)) if self.policy == PullPolicy::Newer => match self.is_current(puller, &reference).await {
                Ok(true) => Ok(image),
                Ok(false) => self.pull(puller, name, &reference, platform).await,
                Err(error) if error.is_unreachable() => Ok(image),
                Err(error) => Err(pulled(error)),
            },
            Ok(_) => self.pull(puller, name, &reference, platform).await,
            Err(error) => Err(error),
        }
    }

    /// The image as far as it is in the store, with what its registry has to add for this platform.
    async fn here(&self, puller: &Puller, name: &str, platform: &Platform) -> Result<Option<LocalImage>, ImagesError> {
        match local::find(&self.store, name, platform) {
            Ok(image) => Ok(Some(image)),
            Err(ImagesError::NotFound { .. }) => Ok(None),
            // Listed, and pulled for another platform.
            Err(ImagesError::Store(error)) if error.is_miss() => {
                let (root, _) = local::locate(&self.store, name)?;
                let completed = puller.complete(&root, platform).await;
                completed.map_err(|source| ImagesError::Pull { name: name.to_owned(), source })?;
                local::open(&self.store, &root, platform).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    async fn is_current(&self, puller: &Puller, reference: &Reference) -> Result<bool, PullError> {
        let there = puller.resolve(reference).await?;
        let here = self.store.images().get(&reference.to_string())?;
        Ok(here.is_some_and(|here| here.digest == there.digest))
    }

    async fn pull(
        &self,
        puller: &Puller,
        name: &str,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<LocalImage, ImagesError> {
        match puller.image(reference, platform).await {
            Ok(root) => local::open(&self.store, &root, platform),
            Err(source) => {
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

    /// A panic elsewhere leaves the set consistent.
    fn asked(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
