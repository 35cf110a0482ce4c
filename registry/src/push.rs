//! Putting blobs there: what the registry has is not sent, what it has in another repository is mounted, the rest is uploaded.
//!
//! ```text
//! HEAD blob            200 there
//! POST ?mount=&from=   201 mounted   202 not mounted, but an upload has begun
//! POST                 202 an upload has begun
//! PUT ?digest=         201 there, by this digest                (the whole in one piece)
//! PATCH ... PUT        the same in pieces, if settings say so or the registry finds one piece too large
//! ```
//! Whatever fails begins again with HEAD: what seemed to fail may have succeeded. Nothing counts as there unless the registry says
//! so with the right digest.

use std::future::Future;
use std::io;
use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bld_oci::hashing::ContentError;
use bld_oci::image::Descriptor;
use bytes::Bytes;
use futures_util::stream;
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
use crate::manifests::said_digest;
use crate::registry::Direction;
use crate::registry::Progress;
use crate::registry::Registry;
use crate::registry::Shared;
use crate::registry::place;
use crate::route::Route;
use crate::tokens::Access;

/// Size of the pieces when a registry finds the whole too large.
const DEFAULT_CHUNK: u64 = 16 << 20;
/// What is read from a source at once.
const PIECE: u64 = 256 << 10;
/// Repositories tried for a mount.
const MAX_MOUNTS: usize = 3;
const PROGRESS_PERIOD: Duration = Duration::from_millis(100);

/// Where the bytes of a blob come from. It is opened only if they have to be sent, and again for each try.
pub trait BlobSource: Send + Sync {
    /// A reader from the first byte on.
    fn open(&self) -> impl Future<Output = io::Result<Box<dyn Read + Send>>> + Send;
}

impl<F, R> BlobSource for F
where
    F: Fn() -> io::Result<R> + Send + Sync,
    R: Read + Send + 'static,
{
    async fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self()?))
    }
}

/// How a blob has come to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry had it in this repository.
    Mounted(Repository),
    /// It was sent.
    Uploaded,
}

/// An upload that has begun.
struct Session {
    url: Url,
}

type Reader = Arc<Mutex<Box<dyn Read + Send>>>;

impl Registry {
    /// Has the registry hold a blob in `repository`. `others` are repositories that may have it, the likeliest first; those of other
    /// registries are passed over.
    pub async fn push_blob<S: BlobSource>(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        others: &[Repository],
        source: &S,
        progress: &Progress,
    ) -> Result<Pushed, RegistryError> {
        let slots = self.shared.slots(repository.domain(), Direction::Push);
        let _place = place(&slots).await;
        let is_candidate = |other: &&Repository| other.domain() == repository.domain() && *other != repository;
        let mut push = Push {
            shared: &self.shared,
            repository,
            descriptor,
            others: others.iter().filter(is_candidate).take(MAX_MOUNTS).collect(),
            doing: format!("push blob {} to {repository}", descriptor.digest),
            chunk: self.shared.settings.registry(repository.domain()).and_then(|entry| entry.chunk_size),
        };
        let mut route = Route::to_write(&self.shared, repository);
        loop {
            match push.once(route.endpoint(), source, progress).await {
                Ok(pushed) => {
                    progress(descriptor.size);
                    return Ok(pushed);
                }
                Err(RegistryError::Status { status: 413, .. }) if push.chunk.is_none() => {
                    push.chunk = Some(DEFAULT_CHUNK.min(descriptor.size.div_ceil(2)).max(1));
                }
                Err(error) => route.failed(error).await?,
            }
        }
    }
}

struct Push<'a> {
    shared: &'a Shared,
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    others: Vec<&'a Repository>,
    doing: String,
    chunk: Option<u64>,
}

impl Push<'_> {
    async fn once<S: BlobSource>(
        &mut self,
        endpoint: &Endpoint,
        source: &S,
        progress: &Progress,
    ) -> Result<Pushed, RegistryError> {
        let access = Access::to(self.repository.path().to_owned(), "pull,push");
        if self.is_there(endpoint, &access).await? {
            return Ok(Pushed::Existed);
        }
        let mut session = None;
        while let Some(other) = self.others.first().copied() {
            let (mounted, begun) = self.mount(endpoint, other).await?;
            if mounted {
                return Ok(Pushed::Mounted(other.clone()));
            }
            // What was tried once is not tried again after a failure.
            self.others.remove(0);
            if let Some(unused) = session.replace(begun).flatten() {
                self.cancel(endpoint, &access, unused).await;
            }
        }
        let session = match session.flatten() {
            Some(session) => session,
            None => self.begin(endpoint, &access).await?,
        };
        let url = session.url.clone();
        let outcome = self.upload(endpoint, &access, session, source, progress).await;
        if let Err(error) = outcome {
            self.cancel(endpoint, &access, Session { url }).await;
            return Err(error);
        }
        Ok(Pushed::Uploaded)
    }

    async fn is_there(&self, endpoint: &Endpoint, access: &Access) -> Result<bool, RegistryError> {
        self.shared.head_blob(endpoint, self.repository, self.descriptor, access, &self.doing).await
    }

    fn uploads(&self) -> String {
        format!("{}/blobs/uploads/", self.repository.path())
    }

    /// Whether it was mounted, and the upload that was begun instead.
    async fn mount(&self, endpoint: &Endpoint, other: &Repository) -> Result<(bool, Option<Session>), RegistryError> {
        // The token must be good for both repositories, which some servers refuse altogether.
        let mut access = Access::to(self.repository.path().to_owned(), "pull,push");
        access.scopes.push((other.path().to_owned(), "pull"));
        let mut url = self.shared.url(endpoint, &self.uploads(), &self.doing).await?;
        url.query_pairs_mut()
            .append_pair("mount", &self.descriptor.digest.to_string())
            .append_pair("from", other.path());
        let from = url.clone();
        let call = Call::new(Method::POST, url, &access, &self.doing);
        let answer = match self.shared.exchange(endpoint, call).await {
            // Not to be had this way; it can still be uploaded.
            Err(error) if !matches!(error.nature(), crate::error::Nature::Local) => match error {
                RegistryError::Unauthorized { .. }
                | RegistryError::Denied { .. }
                | RegistryError::NotFound { .. }
                | RegistryError::TokenServer { .. }
                | RegistryError::Status { status: 400..=499, .. } => return Ok((false, None)),
                other => return Err(other),
            },
            other => other?,
        };
        match answer.status() {
            201 => {
                let plain = Access::to(self.repository.path().to_owned(), "pull,push");
                Ok((self.is_there(endpoint, &plain).await?, None))
            }
            202 => Ok((false, Some(self.session(&from, &answer)?))),
            _ => Err(answer.unexpected(&self.doing)),
        }
    }

    async fn begin(&self, endpoint: &Endpoint, access: &Access) -> Result<Session, RegistryError> {
        let url = self.shared.url(endpoint, &self.uploads(), &self.doing).await?;
        let from = url.clone();
        let answer = self.shared.exchange(endpoint, Call::new(Method::POST, url, access, &self.doing)).await?;
        if answer.status() != 202 {
            return Err(answer.unexpected(&self.doing));
        }
        self.session(&from, &answer)
    }

    /// Where the registry wants the next bytes.
    fn session(&self, from: &Url, answer: &Answer) -> Result<Session, RegistryError> {
        if answer.header("location").is_none() {
            return Err(answer.protocol(&self.doing, "does not say where to upload to".to_owned()));
        }
        let url = self.shared.location(from, answer.response.headers()).map_err(|reason| RegistryError::Redirect {
            doing: self.doing.clone(),
            host: answer.host.clone(),
            reason,
        })?;
        Ok(Session { url })
    }

    /// Tells the registry that no more will come. That it hears it is not needed.
    async fn cancel(&self, endpoint: &Endpoint, access: &Access, session: Session) {
        let call = Call::new(Method::DELETE, session.url, access, &self.doing);
        tokio::time::timeout(Duration::from_secs(5), self.shared.exchange(endpoint, call)).await.map(|_| ()).ok();
    }

    async fn upload<S: BlobSource>(
        &self,
        endpoint: &Endpoint,
        access: &Access,
        session: Session,
        source: &S,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        progress(0);
        let size = self.descriptor.size;
        let reader = source.open().await.map_err(|source| self.source_error(source))?;
        let reader: Reader = Arc::new(Mutex::new(reader));
        let mut url = session.url;
        let mut done = 0;
        if let Some(chunk) = self.chunk.filter(|chunk| *chunk < size) {
            while done < size {
                let length = chunk.min(size - done);
                let range = format!("{done}-{}", done + length - 1);
                let feed = Feed::new(&reader, length);
                let mut call = Call::new(Method::PATCH, url.clone(), access, &self.doing);
                if let Ok(range) = HeaderValue::from_str(&range) {
                    call = call.header(header::CONTENT_RANGE, range);
                }
                let answer = self.send(endpoint, call, feed, done, progress).await?;
                if answer.status() != 202 {
                    return Err(answer.unexpected(&self.doing));
                }
                done += length;
                let has = answer.header("range").and_then(|text| text.rsplit_once('-')?.1.parse::<u64>().ok());
                if has.is_some_and(|last| last + 1 != done) {
                    let reason = format!("has not stored all of the {done} bytes sent");
                    return Err(RegistryError::Transport { doing: self.doing.clone(), host: answer.host, reason });
                }
                url = self.session(&url, &answer)?.url;
            }
        }
        url.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        let call = Call::new(Method::PUT, url, access, &self.doing);
        let answer = self.send(endpoint, call, Feed::new(&reader, size - done), done, progress).await?;
        if answer.status() != 201 {
            return Err(answer.unexpected(&self.doing));
        }
        match said_digest(&answer, &self.doing)? {
            Some(found) if found == self.descriptor.digest => Ok(()),
            Some(found) => {
                let source = ContentError::Digest { expected: self.descriptor.digest, found };
                Err(RegistryError::Content { doing: self.doing.clone(), host: answer.host, source: source.into() })
            }
            None if self.is_there(endpoint, access).await? => Ok(()),
            None => Err(answer.protocol(&self.doing, "says that it has the blob, and then that it has not".to_owned())),
        }
    }

    /// Sends bytes and tells how many are gone while it waits for the answer.
    async fn send(
        &self,
        endpoint: &Endpoint,
        call: Call<'_>,
        feed: Feed,
        before: u64,
        progress: &Progress,
    ) -> Result<Answer, RegistryError> {
        let (sent, failure) = (Arc::clone(&feed.sent), Arc::clone(&feed.failure));
        let call = call
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .body(if feed.length == 0 { Body::Empty } else { feed.body() });
        let mut exchange = std::pin::pin!(self.shared.exchange(endpoint, call));
        loop {
            let outcome = tokio::time::timeout(PROGRESS_PERIOD, exchange.as_mut()).await;
            progress(before + sent.load(Ordering::Relaxed));
            let Ok(outcome) = outcome else { continue };
            // What was wrong with the source is worse than what the connection says about it.
            let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            return match failed {
                Some(source) if outcome.is_err() => Err(self.source_error(source)),
                _ => outcome,
            };
        }
    }

    fn source_error(&self, source: io::Error) -> RegistryError {
        RegistryError::Source { doing: self.doing.clone(), source }
    }
}

/// The next bytes of a reader, as a body.
struct Feed {
    reader: Reader,
    length: u64,
    sent: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Feed {
    fn new(reader: &Reader, length: u64) -> Feed {
        Feed { reader: Arc::clone(reader), length, sent: Arc::default(), failure: Arc::default() }
    }

    fn body(self) -> Body {
        let (length, sent) = (self.length, Arc::clone(&self.sent));
        let body = stream::unfold((self, 0), |(feed, done)| async move {
            let left = feed.length - done;
            if left == 0 {
                return None;
            }
            let reader = Arc::clone(&feed.reader);
            let piece = tokio::task::spawn_blocking(move || read_piece(&reader, left.min(PIECE))).await;
            let piece = piece.unwrap_or_else(|error| Err(io::Error::other(error)));
            match piece {
                Ok(bytes) => {
                    let done = done + bytes.len() as u64;
                    feed.sent.store(done, Ordering::Relaxed);
                    Some((Ok(bytes), (feed, done)))
                }
                Err(error) => {
                    let told = io::Error::from(error.kind());
                    *feed.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    // The error ends the request.
                    let end = feed.length;
                    Some((Err(told), (feed, end)))
                }
            }
        });
        Body::Stream { body: reqwest::Body::wrap_stream(body), length, sent }
    }
}

fn read_piece(reader: &Reader, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut piece = vec![0; length];
    let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
    reader.read_exact(&mut piece)?;
    Ok(piece.into())
}
