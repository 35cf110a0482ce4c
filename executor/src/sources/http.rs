//! Fetching a file behind a URL into the content store.
//!
//! ```text
//! known with its body in the store:  GET If-None-Match   304 or the same ETag -> nothing is transferred
//! else, or changed:                  GET                 -> content store, size and checksum verified, remembered
//! cut in the middle:                 GET Range If-Range  206 -> the rest; 200 -> all of it once more
//! ```
//! What a server says about a file is remembered under a hash of its URL: the URL may hold a password.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use bld_cache::StoreError;
use bld_cache::store::Ingest;
use bld_oci::Digest;
use bld_oci::Timestamp;
use bld_oci::image::Descriptor;
use bld_solver::remote::HttpSource;
use reqwest::StatusCode;
use reqwest::header;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde::Serialize;

use super::Remotes;
use super::basic;
use super::client;
use super::error::SourceError;

const MEMO: &str = "http";
/// How often in a row nothing new may come.
const ATTEMPTS: u32 = 3;
/// How often a file may be cut although something comes each time.
const MOST_ATTEMPTS: u32 = 20;
/// A server that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A file that is in the content store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// When the server says it was changed.
    pub modified: Option<Timestamp>,
}

/// What is remembered of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    digest: String,
    size: u64,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Known {
    fn fetched(&self) -> Option<Fetched> {
        let modified = self.last_modified.as_deref().and_then(http_date);
        Some(Fetched { digest: self.digest.parse().ok()?, size: self.size, modified })
    }
}

/// What came of a file before its connection was cut.
#[derive(Debug)]
struct Partial {
    ingest: Ingest,
    /// What the server must still say of the file for the rest of it to fit.
    validator: String,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Partial {
    /// `None` if nothing came, or if nobody could tell whether a rest belongs to it.
    fn new(ingest: Ingest, etag: Option<String>, last_modified: Option<String>) -> Option<Partial> {
        // A weak ETag says that two files mean the same, not that they are the same bytes.
        let strong = etag.clone().filter(|etag| !etag.starts_with("W/"));
        let validator = strong.or_else(|| last_modified.clone())?;
        (ingest.size() > 0).then_some(Partial { ingest, validator, etag, last_modified })
    }

    fn size(&self) -> u64 {
        self.ingest.size()
    }
}

impl Remotes {
    /// The file as it is now, in the content store. Asked for once in a build.
    pub async fn fetch(&self, source: &HttpSource) -> Result<Fetched, SourceError> {
        let key = (source.url.secret().to_owned(), source.checksum);
        let cell = {
            let mut files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(files.entry(key).or_default())
        };
        cell.get_or_try_init(|| self.fetch_now(source)).await.cloned()
    }

    async fn fetch_now(&self, source: &HttpSource) -> Result<Fetched, SourceError> {
        let id = memo_key(source);
        let known =
            self.shared.store.memo().get(MEMO, &id)?.and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
        let mut known = known.and_then(|known| Some((known.fetched()?, known)));
        if let Some((fetched, _)) = &known
            && self.shared.store.blobs().contains(&fetched.digest)? != Some(fetched.size)
        {
            known = None;
        }
        if let Some(checksum) = source.checksum
            && let Some(size) = self.shared.store.blobs().contains(&checksum)?
        {
            let modified = known.and_then(|(fetched, _)| fetched.modified.filter(|_| fetched.digest == checksum));
            return Ok(Fetched { digest: checksum, size, modified });
        }
        let mut partial = None;
        let (mut tries, mut fruitless) = (0, 0);
        loop {
            let before = partial.as_ref().map_or(0, Partial::size);
            match self.attempt(source, known.as_ref(), &id, &mut partial).await {
                Err(error) if error.is_transient() => {
                    let came = partial.as_ref().map_or(0, Partial::size) > before;
                    fruitless = if came { 0 } else { fruitless + 1 };
                    tries += 1;
                    let pause = pause(&error, fruitless.max(1));
                    if fruitless >= ATTEMPTS || tries >= MOST_ATTEMPTS || pause > LONGEST_WAIT {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(
        &self,
        source: &HttpSource,
        known: Option<&(Fetched, Known)>,
        id: &[u8; 32],
        partial: &mut Option<Partial>,
    ) -> Result<Fetched, SourceError> {
        let url = || source.url.clone();
        let transport = |error: reqwest::Error| {
            let passing = !error.is_redirect() && !error.is_builder();
            let reason = client::reason(error);
            // A certificate does not get better by asking again.
            let transient = passing && !reason.contains("certificate");
            SourceError::Transport { url: url(), reason, transient }
        };
        let client = self.shared.client.get_or_try_init(async || client::make(&self.shared.config)).await?;
        if !client.has_certificates && source.url.scheme().eq_ignore_ascii_case("https") {
            return Err(SourceError::NoCertificates { url: url() });
        }
        let mut request = client.http.get(source.url.without_user_info().secret());
        if let Some(value) = self.authorization(source)? {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(partial) = partial.as_ref() {
            request = request.header(header::RANGE, format!("bytes={}-", partial.size()));
            request = request.header(header::IF_RANGE, &partial.validator);
        } else if let Some((_, known)) = known.filter(|_| source.checksum.is_none()) {
            // With a checksum that decides, not the server.
            if let Some(etag) = &known.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(date) = &known.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
        }
        let mut response = request.send().await.map_err(transport)?;
        let text =
            |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
        if let Some((fetched, known)) = known.filter(|_| partial.is_none()) {
            let same = etag.is_some() && known.etag == etag && !etag.as_deref().unwrap_or_default().starts_with("W/");
            if response.status() == StatusCode::NOT_MODIFIED || (response.status().is_success() && same) {
                return Ok(fetched.clone());
            }
        }
        if response.status().is_redirection() {
            // The client follows all others.
            let reason = client::RedirectError::Scheme.to_string();
            return Err(SourceError::Transport { url: url(), reason, transient: false });
        }
        let resumes = |partial: &Partial| {
            let range = text(header::CONTENT_RANGE);
            range.is_some_and(|range| range.starts_with(&format!("bytes {}-", partial.size())))
        };
        let rest = match (response.status(), partial.take()) {
            (StatusCode::PARTIAL_CONTENT, Some(partial)) if resumes(&partial) => Some(partial),
            // Another part than was asked for, or none any more: the next try asks for all of it.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                let reason = "it does not send the rest of the file".to_owned();
                return Err(SourceError::Transport { url: url(), reason, transient: true });
            }
            (StatusCode::OK, _) => None,
            (status, kept) => {
                *partial = kept;
                let retry_after = text(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| seconds_until(&value, text(header::DATE).as_deref()));
                return Err(SourceError::Status { url: url(), status: status.as_u16(), retry_after });
            }
        };
        let limit = self.shared.config.max_bytes.min(crate::worker::free_space(self.shared.store.root()));
        let too_large = || SourceError::TooLarge { url: url(), limit };
        let (mut ingest, etag, last_modified) = match rest {
            Some(rest) => (rest.ingest, rest.etag, rest.last_modified),
            None => (self.shared.store.blobs().ingest()?, etag, last_modified),
        };
        if response.content_length().is_some_and(|length| ingest.size().saturating_add(length) > limit) {
            return Err(too_large());
        }
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    *partial = Partial::new(ingest, etag, last_modified);
                    return Err(transport(error));
                }
            };
            if ingest.size() + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            ingest.write_all(&chunk).map_err(|error| SourceError::Io {
                verb: "write a fetched file below",
                path: self.shared.store.root().to_owned(),
                source: error,
            })?;
        }
        let (digest, size) = match source.checksum {
            Some(expected) => {
                let size = ingest.size();
                let descriptor = Descriptor { media_type: String::new(), digest: expected, size };
                ingest.commit_verified(&descriptor).map_err(|error| match error {
                    StoreError::Mismatch { actual, .. } => SourceError::Checksum { url: url(), expected, actual },
                    other => SourceError::Store(other),
                })?;
                (expected, size)
            }
            None => ingest.commit()?,
        };
        let known = Known { digest: digest.to_string(), size, etag, last_modified };
        if let Ok(bytes) = serde_json::to_vec(&known) {
            self.shared.store.memo().put(MEMO, id, &bytes)?;
        }
        let modified = known.last_modified.as_deref().and_then(http_date);
        Ok(Fetched { digest, size, modified })
    }

    /// The value of the Authorization header for this host: from a secret, else from the URL. A redirection to another host does
    /// not take it along.
    fn authorization(&self, source: &HttpSource) -> Result<Option<HeaderValue>, SourceError> {
        let host = source.url.host();
        let name = host.split(':').next().unwrap_or(host);
        let mut value = None;
        for host in [host, name] {
            let header = self.shared.config.secret(&format!("HTTP_AUTH_HEADER_{host}"))?.map(str::to_owned);
            let token = self.shared.config.secret(&format!("HTTP_AUTH_TOKEN_{host}"))?;
            value = value.or(header).or(token.map(|token| format!("Bearer {token}")));
        }
        let value = value.or_else(|| source.url.user_info().map(basic));
        let Some(value) = value else { return Ok(None) };
        let header = HeaderValue::from_str(&value);
        let mut header = header.map_err(|_| SourceError::BadSecret { name: format!("HTTP_AUTH_HEADER_{host}") })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn memo_key(source: &HttpSource) -> [u8; 32] {
    *blake3::hash(source.url.secret().as_bytes()).as_bytes()
}

/// A number of seconds, or a date by the clock of the server that sent it.
fn seconds_until(text: &str, now: Option<&str>) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(seconds);
    }
    let (then, now) = (http_date(text)?, http_date(now?)?);
    Some(u64::try_from(then.seconds - now.seconds).unwrap_or(0))
}

/// How long to wait before the next try: what the server wants, else longer each time and never twice the same.
fn pause(error: &SourceError, attempt: u32) -> Duration {
    if let SourceError::Status { retry_after: Some(seconds), .. } = error {
        return Duration::from_secs(*seconds);
    }
    let mut random = [0; 1];
    // Without randomness the pauses are merely the same.
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).ok();
    Duration::from_millis(200 * u64::from(attempt) * u64::from(attempt) + u64::from(random[0]))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the two older forms are not met any more.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=31).contains(&day) || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second)
    {
        return None;
    }
    // Days since 1970 of a civil date, years beginning in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    Some(Timestamp::from_seconds(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back() {
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(seconds_until("7", None), Some(7));
        assert_eq!(seconds_until("Sun, 06 Nov 1994 08:49:40 GMT", now), Some(3));
        assert_eq!(seconds_until("Sun, 06 Nov 1994 08:49:30 GMT", now), Some(0));
        assert_eq!(seconds_until("Sun, 06 Nov 1994 08:49:40 GMT", None), None);
        assert_eq!(seconds_until("soon", now), None);
    }

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994", None),
            ("", None),
        ] {
            assert_eq!(http_date(text), seconds.map(Timestamp::from_seconds), "{text}");
        }
    }
}
