//! Manifests and indexes: looked up by tag or digest, kept as the bytes that came, whose digest is theirs.

use bld_oci::Digest;
use bld_oci::Platform;
use bld_oci::Reference;
use bld_oci::hashing::ContentError;
use bld_oci::image::Descriptor;
use bld_oci::image::Document;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageError;
use bld_oci::image::MAX_DOCUMENT;
use bld_oci::image::Manifest;
use bld_oci::image::read_document;
use bld_oci::image::select_platform;
use bld_oci::media_type;
use reqwest::Method;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderValue;

use crate::endpoint::Endpoint;
use crate::endpoint::Repository;
use crate::error::RegistryError;
use crate::exchange::Answer;
use crate::exchange::Body;
use crate::exchange::Call;
use crate::registry::Registry;
use crate::registry::Shared;
use crate::route::Route;
use crate::tokens::Access;

/// Indexes that list indexes are followed this far.
const MAX_DEPTH: usize = 4;
const MAX_MANIFEST: u64 = MAX_DOCUMENT as u64;
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or index as a registry sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Media type, digest and size of `bytes`, computed from them.
    pub descriptor: Descriptor,
    /// What came.
    pub bytes: Vec<u8>,
    /// What it says.
    pub document: Document,
    /// Who sent it: the registry or a mirror.
    pub host: String,
}

/// The image for one platform that a reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The indexes on the way to it, what the reference names first; empty if it names the manifest itself.
    pub indexes: Vec<FetchedManifest>,
    /// The manifest as it came.
    pub fetched: FetchedManifest,
    /// The same, read.
    pub manifest: Manifest,
}

impl ResolvedImage {
    /// What the reference itself stands for: the outermost index, or the manifest.
    pub fn root(&self) -> &FetchedManifest {
        self.indexes.first().unwrap_or(&self.fetched)
    }
}

impl Registry {
    /// What a reference stands for now, without its bytes: a HEAD request where the registry answers it well. The digest is the
    /// registry's word; getting the manifest by that digest verifies it.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        let repository = Repository::of(reference);
        let doing = format!("look up {reference}");
        let mut route = Route::to_read(&self.shared, &repository);
        loop {
            match self.shared.head_manifest(route.endpoint(), &repository, &target(reference), &doing).await {
                Ok(Some(descriptor)) => return Ok(descriptor),
                Ok(None) => break,
                Err(error) => route.failed(error).await?,
            }
        }
        Ok(self.manifest(reference).await?.descriptor)
    }

    /// The manifest or index that a reference names, by its digest if it has one.
    pub async fn manifest(&self, reference: &Reference) -> Result<FetchedManifest, RegistryError> {
        let doing = format!("pull the manifest of {reference}");
        self.shared.manifest(&Repository::of(reference), &target(reference), None, &doing).await
    }

    /// The manifest or index that a descriptor names.
    pub async fn manifest_of(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<FetchedManifest, RegistryError> {
        let doing = format!("pull the manifest of {repository}@{}", descriptor.digest);
        self.shared.manifest(repository, &Target::Digest(descriptor.digest), Some(descriptor), &doing).await
    }

    /// The image for `platform` that a reference names. The tag is looked up once; all below it is fetched by digest.
    pub async fn image(&self, reference: &Reference, platform: &Platform) -> Result<ResolvedImage, RegistryError> {
        let repository = Repository::of(reference);
        let mut fetched = self.manifest(reference).await?;
        let mut indexes = Vec::new();
        loop {
            let index = match fetched.document {
                Document::Manifest(ref manifest) => {
                    let manifest = manifest.clone();
                    return Ok(ResolvedImage { indexes, fetched, manifest });
                }
                Document::Index(ref index) => index,
            };
            let doing = || format!("pull {reference}");
            if indexes.len() == MAX_DEPTH {
                let reason = format!("has indexes in indexes more than {MAX_DEPTH} deep");
                return Err(RegistryError::Protocol { doing: doing(), host: fetched.host, reason });
            }
            let chosen = select_platform(index, platform);
            let chosen = chosen.map_err(|source: ImageError| RegistryError::Document {
                doing: doing(),
                host: fetched.host.clone(),
                source: source.into(),
            })?;
            let next = self.manifest_of(&repository, &chosen.descriptor).await?;
            indexes.push(fetched);
            fetched = next;
        }
    }

    /// The configuration of an image, as it came and read; it has as many layers as the manifest.
    pub async fn config(
        &self,
        repository: &Repository,
        manifest: &Manifest,
    ) -> Result<(Vec<u8>, ImageConfig), RegistryError> {
        let bytes = self.small_blob(repository, &manifest.config, MAX_MANIFEST).await?;
        let read = ImageConfig::parse(&bytes).and_then(|config| manifest.check_config(&config).map(|()| config));
        let config = read.map_err(|source: ImageError| RegistryError::Document {
            doing: format!("read the configuration of {repository}"),
            host: repository.domain().to_owned(),
            source: source.into(),
        })?;
        Ok((bytes, config))
    }

    /// A blob that is small enough to be kept in memory.
    pub async fn small_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > limit {
            return Err(RegistryError::TooLarge {
                doing: format!("pull blob {} of {repository}", descriptor.digest),
                host: repository.domain().to_owned(),
                what: "a document",
                limit,
            });
        }
        let mut bytes: Vec<u8> = Vec::new();
        self.blob(repository, descriptor, &mut bytes, &|_| {}).await?;
        Ok(bytes)
    }

    /// Puts a manifest or index there: by the tag of `reference`, or by digest if it has none. It is there when this returns: the
    /// registry has said so, with this digest.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Descriptor, RegistryError> {
        let repository = Repository::of(reference);
        let descriptor = Descriptor::of(media_type, bytes);
        let doing = format!("push the manifest of {reference}");
        let target = match reference.tag() {
            Some(tag) => Target::Tag(tag.to_owned()),
            None => Target::Digest(descriptor.digest),
        };
        let mut route = Route::to_write(&self.shared, &repository);
        loop {
            match self.shared.put_manifest(route.endpoint(), &repository, &target, &descriptor, bytes, &doing).await {
                Ok(()) => return Ok(descriptor),
                Err(error) => route.failed(error).await?,
            }
        }
    }

    /// Deletes the manifest that `reference` names by digest, or the one its tag stands for now.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        let repository = Repository::of(reference);
        let doing = format!("delete {reference}");
        let digest = match reference.digest() {
            Some(digest) => digest,
            None => self.resolve(reference).await?.digest,
        };
        let mut route = Route::to_write(&self.shared, &repository);
        loop {
            let endpoint = route.endpoint();
            let access = Access::to(endpoint.path(repository.path()), "delete,pull,push");
            let url = self.shared.manifest_url(endpoint, &repository, &Target::Digest(digest), &doing).await;
            let outcome = match url {
                Ok(url) => self.shared.exchange(endpoint, Call::new(Method::DELETE, url, &access, &doing)).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => return Ok(digest),
                Err(error) => route.failed(error).await?,
            }
        }
    }
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tag(String),
    Digest(Digest),
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tag(tag) => formatter.write_str(tag),
            Target::Digest(digest) => digest.fmt(formatter),
        }
    }
}

fn target(reference: &Reference) -> Target {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Target::Digest(digest),
        (None, tag) => Target::Tag(tag.unwrap_or("latest").to_owned()),
    }
}

impl Shared {
    pub(crate) async fn manifest(
        &self,
        repository: &Repository,
        target: &Target,
        expected: Option<&Descriptor>,
        doing: &str,
    ) -> Result<FetchedManifest, RegistryError> {
        let mut route = Route::to_read(self, repository);
        loop {
            match self.get_manifest(route.endpoint(), repository, target, expected, doing).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => route.failed(error).await?,
            }
        }
    }

    pub(crate) async fn manifest_url(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        target: &Target,
        doing: &str,
    ) -> Result<Url, RegistryError> {
        self.url(endpoint, &format!("{}/manifests/{target}", endpoint.path(repository.path())), doing).await
    }

    /// An address below a host's API. What it is made of was parsed, so nothing has to be escaped.
    pub(crate) async fn url(&self, endpoint: &Endpoint, path: &str, doing: &str) -> Result<Url, RegistryError> {
        let base = self.base(endpoint, doing).await?;
        base.join(path).map_err(|_| RegistryError::Protocol {
            doing: doing.to_owned(),
            host: endpoint.authority.clone(),
            reason: format!("cannot have {path}"),
        })
    }

    async fn manifest_call(
        &self,
        method: Method,
        endpoint: &Endpoint,
        repository: &Repository,
        target: &Target,
        doing: &str,
    ) -> Result<Answer, RegistryError> {
        let access = Access::to(endpoint.path(repository.path()), "pull");
        let url = self.manifest_url(endpoint, repository, target, doing).await?;
        let accept =
            [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];
        let mut call = Call::new(method, url, &access, doing);
        if let Ok(value) = HeaderValue::from_str(&accept.join(", ")) {
            call = call.header(header::ACCEPT, value);
        }
        self.exchange(endpoint, call).await
    }

    /// `None` if the registry's answer does not tell all.
    async fn head_manifest(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        target: &Target,
        doing: &str,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let answer = match self.manifest_call(Method::HEAD, endpoint, repository, target, doing).await {
            Err(RegistryError::Status { status: 400 | 405 | 501, .. }) => return Ok(None),
            other => other?,
        };
        let (Some(digest), Some(size), Some(media_type)) =
            (said_digest(&answer, doing)?, answer.header("content-length"), known_type(&answer))
        else {
            return Ok(None);
        };
        let Ok(size) = size.parse() else { return Ok(None) };
        if let Target::Digest(expected) = target
            && *expected != digest
        {
            let source = ContentError::Digest { expected: *expected, found: digest };
            return Err(RegistryError::Content { doing: doing.to_owned(), host: answer.host, source: source.into() });
        }
        Ok(Some(Descriptor { media_type, digest, size }))
    }

    async fn get_manifest(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        target: &Target,
        expected: Option<&Descriptor>,
        doing: &str,
    ) -> Result<FetchedManifest, RegistryError> {
        let answer = self.manifest_call(Method::GET, endpoint, repository, target, doing).await?;
        let (said, kind, host) = (said_digest(&answer, doing)?, content_type(&answer), answer.host.clone());
        let bytes = answer.body(self, doing, "the manifest", MAX_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        let content = |source: ContentError| RegistryError::Content {
            doing: doing.to_owned(),
            host: host.clone(),
            source: source.into(),
        };
        let asked = match target {
            Target::Digest(digest) => Some(*digest),
            Target::Tag(_) => said,
        };
        if let Some(expected) = expected.filter(|expected| expected.size != bytes.len() as u64) {
            let (digest, found) = (expected.digest, bytes.len() as u64);
            return Err(content(ContentError::Size { digest, expected: expected.size, found }));
        }
        if let Some(expected) = asked.filter(|expected| *expected != digest) {
            return Err(content(ContentError::Digest { expected, found: digest }));
        }
        let document = |source: ImageError| RegistryError::Document {
            doing: doing.to_owned(),
            host: host.clone(),
            source: source.into(),
        };
        let read = read_document(&bytes, kind.as_deref()).map_err(document)?;
        let media_type = match &read {
            Document::Manifest(manifest) => manifest.media_type.clone(),
            Document::Index(index) => index.media_type.clone(),
        };
        if let Some(expected) = expected.filter(|expected| is_known(&expected.media_type)) {
            // What lists it and what it is must not be two things.
            read_document(&bytes, Some(&expected.media_type)).map_err(document)?;
        }
        let descriptor = Descriptor { media_type, digest, size: bytes.len() as u64 };
        Ok(FetchedManifest { descriptor, bytes, document: read, host })
    }

    async fn put_manifest(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        target: &Target,
        descriptor: &Descriptor,
        bytes: &[u8],
        doing: &str,
    ) -> Result<(), RegistryError> {
        let access = Access::to(endpoint.path(repository.path()), "pull,push");
        let url = self.manifest_url(endpoint, repository, target, doing).await?;
        let mut call = Call::new(Method::PUT, url, &access, doing).body(Body::Bytes(bytes.to_vec().into()));
        if let Ok(value) = HeaderValue::from_str(&descriptor.media_type) {
            call = call.header(header::CONTENT_TYPE, value);
        }
        let answer = self.exchange(endpoint, call).await?;
        if answer.status() != 201 {
            return Err(answer.unexpected(doing));
        }
        let found = match said_digest(&answer, doing)? {
            Some(found) => found,
            // It does not say what it has stored, so it is asked.
            None => match self.head_manifest(endpoint, repository, target, doing).await? {
                Some(found) => found.digest,
                None => self.get_manifest(endpoint, repository, target, None, doing).await?.descriptor.digest,
            },
        };
        if found != descriptor.digest {
            let source = ContentError::Digest { expected: descriptor.digest, found };
            return Err(RegistryError::Content { doing: doing.to_owned(), host: answer.host, source: source.into() });
        }
        Ok(())
    }
}

/// The digest that the registry says this is; none if it does not say, or says it with another algorithm.
pub(crate) fn said_digest(answer: &Answer, doing: &str) -> Result<Option<Digest>, RegistryError> {
    match answer.header(DIGEST_HEADER) {
        Some(text) if text.starts_with("sha256:") => {
            let digest = text.parse().map_err(|_| answer.protocol(doing, "names a digest that is none".to_owned()))?;
            Ok(Some(digest))
        }
        _ => Ok(None),
    }
}

/// The media type of an answer without parameters; none if it is one that says nothing.
fn content_type(answer: &Answer) -> Option<String> {
    let text = answer.header("content-type")?;
    let text = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let says_nothing = matches!(
        text.as_str(),
        "" | "application/json" | "text/plain" | "text/json" | "application/octet-stream" | "binary/octet-stream"
    );
    (!says_nothing).then_some(text)
}

fn known_type(answer: &Answer) -> Option<String> {
    content_type(answer).filter(|kind| is_known(kind))
}

fn is_known(kind: &str) -> bool {
    media_type::is_manifest(kind) || media_type::is_index(kind)
}
