//! Lists: the tags of a repository, and what refers to a manifest.

use std::collections::HashSet;

use bld_oci::Digest;
use bld_oci::image::ImageError;
use bld_oci::image::Index;
use bld_oci::image::read_index;
use reqwest::Method;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::endpoint::Repository;
use crate::error::RegistryError;
use crate::exchange::Answer;
use crate::exchange::Call;
use crate::manifests::Target;
use crate::registry::Registry;
use crate::registry::Shared;
use crate::route::Route;
use crate::tokens::Access;

const MAX_PAGE: u64 = 4 << 20;
const MAX_PAGES: usize = 1000;

/// What refers to a manifest: signatures, attestations and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// The list; empty if there are none.
    pub index: Index,
    /// It as it came, for the fields that `index` has no place for (`artifactType`).
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags of a repository, in the registry's order.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        let doing = format!("list the tags of {repository}");
        let mut route = Route::to_host(&self.shared, repository.domain());
        loop {
            match self.shared.all_tags(route.endpoint(), repository, &doing).await {
                Ok(tags) => return Ok(tags),
                Err(error) => route.failed(error).await?,
            }
        }
    }

    /// What refers to the manifest with this digest, where the registry keeps track of it or clients do by a tag.
    pub async fn referrers(&self, repository: &Repository, digest: Digest) -> Result<Referrers, RegistryError> {
        let doing = format!("list what refers to {repository}@{digest}");
        let mut route = Route::to_host(&self.shared, repository.domain());
        loop {
            match self.shared.all_referrers(route.endpoint(), repository, digest, &doing).await {
                Ok(Some(referrers)) => return Ok(referrers),
                Ok(None) => break,
                Err(error) => route.failed(error).await?,
            }
        }
        let tag = Target::Tag(format!("sha256-{}", digest.hex()));
        match self.shared.manifest(repository, &tag, None, &doing).await {
            Ok(fetched) => match read_index(&fetched.bytes) {
                Ok(index) => Ok(Referrers { index, bytes: fetched.bytes }),
                Err(source) => Err(RegistryError::Document { doing, host: fetched.host, source: source.into() }),
            },
            Err(error) if error.is_not_found() => {
                let bytes =
                    br#"{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#;
                let index = read_index(bytes);
                let index = index.map_err(|source: ImageError| RegistryError::Document {
                    doing,
                    host: repository.domain().to_owned(),
                    source: source.into(),
                })?;
                Ok(Referrers { index, bytes: bytes.to_vec() })
            }
            Err(error) => Err(error),
        }
    }
}

impl Shared {
    async fn all_tags(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        doing: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let access = Access::to(endpoint.path(repository.path()), "pull");
        let mut url = self.url(endpoint, &format!("{}/tags/list", endpoint.path(repository.path())), doing).await?;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        while seen.len() < MAX_PAGES && seen.insert(url.clone()) {
            let answer = self.exchange(endpoint, Call::new(Method::GET, url.clone(), &access, doing)).await?;
            let (next, host) = (next_page(&url, &answer), answer.host.clone());
            let body = answer.body(self, doing, "the list of tags", MAX_PAGE).await?;
            let page: Tags = serde_json::from_slice(&body).map_err(|_| RegistryError::Protocol {
                doing: doing.to_owned(),
                host,
                reason: "sends a list of tags that is none".to_owned(),
            })?;
            // Only what can be a tag: the names go to a terminal and into references.
            let tags = page.tags.unwrap_or_default();
            found.extend(tags.into_iter().filter(|tag| format!("a.b/c:{tag}").parse::<bld_oci::Reference>().is_ok()));
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(found)
    }

    /// `None` if the registry does not know this question.
    async fn all_referrers(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        digest: Digest,
        doing: &str,
    ) -> Result<Option<Referrers>, RegistryError> {
        let access = Access::to(endpoint.path(repository.path()), "pull");
        let url =
            self.url(endpoint, &format!("{}/referrers/{digest}", endpoint.path(repository.path())), doing).await?;
        let accept = HeaderValue::from_static(bld_oci::media_type::OCI_INDEX);
        let call = Call::new(Method::GET, url, &access, doing).header(header::ACCEPT, accept);
        let answer = match self.exchange(endpoint, call).await {
            Err(RegistryError::NotFound { .. } | RegistryError::Status { status: 400 | 405 | 501, .. }) => {
                return Ok(None);
            }
            other => other?,
        };
        let host = answer.host.clone();
        let bytes = answer.body(self, doing, "the list of referrers", MAX_PAGE).await?;
        match read_index(&bytes) {
            Ok(index) => Ok(Some(Referrers { index, bytes })),
            Err(source) => Err(RegistryError::Document { doing: doing.to_owned(), host, source: source.into() }),
        }
    }
}

/// The address in `Link: <...>; rel="next"`, if it is of the same origin.
fn next_page(url: &Url, answer: &Answer) -> Option<Url> {
    let link = answer.header("link")?;
    let (address, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
    let next = url.join(address).ok().filter(|next| next.origin() == url.origin());
    next.filter(|_| is_next)
}
