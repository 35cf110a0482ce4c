//! Getting blobs: streamed into a sink, hashed on the way, resumed where the connection broke.
//!
//! ```text
//! nothing yet       GET                     200  all of it
//! N bytes are there GET Range: bytes=N-     206  the rest, from exactly N
//!                                           200  all of it: the first N bytes are compared with those that are there
//! ```
//! A digest says what the bytes must be, so it does not matter who sends which part: after a break any mirror can go on.

use std::future::Future;
use std::io;
use std::time::Instant;

use bld_oci::Digest;
use bld_oci::hashing::ContentError;
use bld_oci::image::Descriptor;
use reqwest::Method;
use reqwest::header;
use reqwest::header::HeaderValue;
use sha2::Digest as _;
use sha2::Sha256;

use crate::endpoint::Endpoint;
use crate::endpoint::Repository;
use crate::error::RegistryError;
use crate::exchange;
use crate::exchange::Answer;
use crate::exchange::Call;
use crate::registry::Direction;
use crate::registry::Progress;
use crate::registry::Registry;
use crate::registry::Shared;
use crate::registry::place;
use crate::route::Route;
use crate::tokens::Access;

/// Fewer bytes in a second than this, for the whole idle time, are as good as none.
const SLOWEST: u64 = 256;

/// Takes the bytes of a blob, in their order. They are verified only when [`Registry::blob`] has returned.
pub trait BlobSink: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Forgets all bytes taken so far: they were wrong, and right ones may follow. A sink that has passed them on fails.
    fn restart(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl BlobSink for Vec<u8> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl BlobSink for std::fs::File {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    async fn restart(&mut self) -> io::Result<()> {
        io::Seek::rewind(self)?;
        self.set_len(0)
    }
}

/// How far a blob is.
struct Transfer<'a> {
    descriptor: &'a Descriptor,
    doing: String,
    hasher: Sha256,
    done: u64,
    /// Whether parts came in several answers.
    resumed: bool,
    /// Whether ranges are not to be asked for: the registry answers them wrongly.
    whole: bool,
    /// Whether what the sink has is known to be wrong.
    wrong: bool,
}

impl Registry {
    /// Gets a blob. When this returns, `sink` has taken exactly the bytes that the descriptor names; when it fails, it may have taken
    /// anything. No URL of a descriptor is ever followed: only the registry and its mirrors are asked.
    pub async fn blob<S: BlobSink>(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        sink: &mut S,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let slots = self.shared.slots(repository.domain(), Direction::Pull);
        let _place = place(&slots).await;
        let mut transfer = Transfer {
            descriptor,
            doing: format!("pull blob {} of {repository}", descriptor.digest),
            hasher: Sha256::new(),
            done: 0,
            resumed: false,
            whole: false,
            wrong: false,
        };
        let mut route = Route::to_read(&self.shared, repository);
        loop {
            if transfer.wrong {
                transfer.restart(sink).await?;
                progress(0);
            }
            match self.shared.get_blob(route.endpoint(), repository, &mut transfer, sink, progress).await {
                Ok(()) => return Ok(()),
                Err(RegistryError::Content { .. }) if transfer.wrong && transfer.resumed && !transfer.whole => {
                    // Parts of two different files, perhaps. One file in one piece shows whose fault it is.
                    transfer.whole = true;
                }
                Err(error) => {
                    route.progressed(transfer.done);
                    route.failed(error).await?;
                }
            }
        }
    }
}

impl Transfer<'_> {
    async fn restart<S: BlobSink>(&mut self, sink: &mut S) -> Result<(), RegistryError> {
        sink.restart().await.map_err(|source| self.sink_error(source))?;
        self.hasher = Sha256::new();
        (self.done, self.wrong, self.resumed) = (0, false, false);
        Ok(())
    }

    fn sink_error(&self, source: io::Error) -> RegistryError {
        RegistryError::Sink { doing: self.doing.clone(), source }
    }

    fn size_error(&self, host: &str, found: u64) -> RegistryError {
        let Descriptor { digest, size, .. } = *self.descriptor;
        let source = ContentError::Size { digest, expected: size, found: found.min(size.saturating_add(1)) };
        RegistryError::Content { doing: self.doing.clone(), host: host.to_owned(), source: source.into() }
    }

    /// All bytes are there: are they the right ones?
    fn check(&mut self, host: &str) -> Result<(), RegistryError> {
        let expected = self.descriptor.digest;
        let found = Digest::from_hash(self.hasher.clone().finalize().into());
        if found == expected {
            return Ok(());
        }
        self.wrong = true;
        let source = ContentError::Digest { expected, found };
        Err(RegistryError::Content { doing: self.doing.clone(), host: host.to_owned(), source: source.into() })
    }
}

impl Shared {
    async fn get_blob<S: BlobSink>(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        transfer: &mut Transfer<'_>,
        sink: &mut S,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let size = transfer.descriptor.size;
        if transfer.done == size && size > 0 {
            // The connection broke after the last byte.
            return transfer.check(&endpoint.authority);
        }
        let doing = transfer.doing.clone();
        let access = Access::to(endpoint.path(repository.path()), "pull");
        let path = format!("{}/blobs/{}", endpoint.path(repository.path()), transfer.descriptor.digest);
        let mut call = Call::new(Method::GET, self.url(endpoint, &path, &doing).await?, &access, &doing);
        let offset = transfer.done;
        let asks_range = offset > 0 && !transfer.whole;
        if asks_range && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-")) {
            call = call.header(header::RANGE, range);
        }
        let answer = match self.exchange(endpoint, call).await {
            Err(RegistryError::Status { status: 416, host, .. }) if asks_range => {
                transfer.whole = true;
                let reason = "does not give the rest of the blob".to_owned();
                return Err(RegistryError::Transport { doing, host, reason });
            }
            other => other?,
        };
        // The bytes before this are compared with those that are there.
        let mut skip = offset;
        match answer.status() {
            200 => {
                if let Some(length) = answer.response.content_length().filter(|length| *length != size) {
                    return Err(transfer.size_error(&answer.host, length));
                }
            }
            206 if asks_range => {
                if answer.header("content-range").and_then(read_range) != Some((offset, size)) {
                    transfer.whole = true;
                    let reason = "it sends another part of the blob than was asked for".to_owned();
                    return Err(RegistryError::Transport { doing, host: answer.host, reason });
                }
                skip = 0;
            }
            _ => return Err(answer.unexpected(&doing)),
        }
        transfer.resumed |= offset > 0;
        self.receive(transfer, answer, skip, sink, progress).await
    }

    async fn receive<S: BlobSink>(
        &self,
        transfer: &mut Transfer<'_>,
        answer: Answer,
        mut skip: u64,
        sink: &mut S,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let Answer { mut response, host } = answer;
        let size = transfer.descriptor.size;
        let idle = self.settings.idle_timeout();
        let mut again = (skip > 0).then(Sha256::new);
        let (mut since, mut came) = (Instant::now(), 0);
        while let Some(chunk) = exchange::next_chunk(self, &mut response, &transfer.doing, &host).await? {
            let mut bytes: &[u8] = &chunk;
            came += bytes.len() as u64;
            if since.elapsed() >= idle {
                if came < SLOWEST * idle.as_secs() {
                    return Err(exchange::stalled(self, &transfer.doing, &host));
                }
                (since, came) = (Instant::now(), 0);
            }
            if let Some(hasher) = &mut again {
                let count = usize::try_from(skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
                let (known, new) = bytes.split_at(count);
                hasher.update(known);
                skip -= count as u64;
                bytes = new;
                if skip > 0 {
                    continue;
                }
                let same = hasher.clone().finalize() == transfer.hasher.clone().finalize();
                again = None;
                if !same {
                    // One of the two was not the blob; which, the next try shows.
                    transfer.wrong = true;
                    let reason = "it sends other bytes than before".to_owned();
                    return Err(RegistryError::Transport { doing: transfer.doing.clone(), host, reason });
                }
            }
            let left = size - transfer.done;
            if bytes.len() as u64 > left {
                transfer.wrong = true;
                return Err(transfer.size_error(&host, size + 1));
            }
            if bytes.is_empty() {
                continue;
            }
            sink.write(bytes).await.map_err(|source| transfer.sink_error(source))?;
            transfer.hasher.update(bytes);
            transfer.done += bytes.len() as u64;
            progress(transfer.done);
        }
        if transfer.done < size {
            let reason = format!("it ended after {} of {size} bytes", transfer.done);
            return Err(RegistryError::Transport { doing: transfer.doing.clone(), host, reason });
        }
        transfer.check(&host)
    }

    /// Whether a host has a blob.
    pub(crate) async fn head_blob(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        descriptor: &Descriptor,
        access: &Access,
        doing: &str,
    ) -> Result<bool, RegistryError> {
        let path = format!("{}/blobs/{}", endpoint.path(repository.path()), descriptor.digest);
        let url = self.url(endpoint, &path, doing).await?;
        let answer = match self.exchange(endpoint, Call::new(Method::HEAD, url, access, doing)).await {
            Err(RegistryError::NotFound { .. } | RegistryError::Status { status: 405, .. }) => return Ok(false),
            other => other?,
        };
        let size = answer.header("content-length").and_then(|text| text.parse().ok());
        let said = crate::manifests::said_digest(&answer, doing)?;
        // Something else under this name is not what is wanted.
        Ok(size.is_none_or(|size: u64| size == descriptor.size) && said.is_none_or(|said| said == descriptor.digest))
    }
}

/// First byte and size of the whole of `bytes FIRST-LAST/SIZE`.
fn read_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
}
