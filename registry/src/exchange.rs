//! One request and its answer: authorization, redirections, time-outs, and what a status means.
//!
//! ```text
//! request --401--> challenge -> token -> request again, once
//!         --3xx--> judged by `endpoint::refuse_hop` -> request there, without Authorization if it is another host
//!         --2xx--> Answer
//!         --else-> RegistryError with what the registry says, at most 64 KiB of which is read
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;

use crate::challenge;
use crate::endpoint;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::registry::Shared;
use crate::secret::presentable;
use crate::tokens::Access;

const MAX_REDIRECTS: usize = 5;
const MAX_ERROR: u64 = 64 << 10;
/// An error's text is not worth more waiting than this.
const ERROR_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);
/// How many idle times a registry has to store what it was sent.
const PATIENCE: u32 = 5;

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Body,
    pub(crate) access: &'a Access,
    pub(crate) doing: &'a str,
}

/// What is sent along.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// Can be sent once only: neither redirections nor 401 are followed.
    Stream {
        body: reqwest::Body,
        length: u64,
        sent: Arc<AtomicU64>,
    },
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Who gave it.
    pub(crate) host: String,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, url: Url, access: &'a Access, doing: &'a str) -> Call<'a> {
        Call { method, url, headers: Vec::new(), body: Body::Empty, access, doing }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Call<'a> {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    pub(crate) fn body(mut self, body: Body) -> Call<'a> {
        self.body = body;
        self
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The whole body; more than `limit` bytes are an error.
    pub(crate) async fn body(
        self,
        shared: &Shared,
        doing: &str,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let Answer { mut response, host } = self;
        let too_large = || RegistryError::TooLarge { doing: doing.to_owned(), host: host.clone(), what, limit };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = next_chunk(shared, &mut response, doing, &host).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(crate) fn protocol(&self, doing: &str, reason: String) -> RegistryError {
        RegistryError::Protocol { doing: doing.to_owned(), host: self.host.clone(), reason }
    }

    /// The answer as it is not wanted.
    pub(crate) fn unexpected(&self, doing: &str) -> RegistryError {
        self.protocol(doing, format!("answers with status {}, which means nothing here", self.status()))
    }
}

/// The next bytes of a body, within the idle time.
pub(crate) async fn next_chunk(
    shared: &Shared,
    response: &mut Response,
    doing: &str,
    host: &str,
) -> Result<Option<Bytes>, RegistryError> {
    match tokio::time::timeout(shared.settings.idle_timeout(), response.chunk()).await {
        Err(_) => Err(stalled(shared, doing, host)),
        Ok(chunk) => chunk.map_err(|error| crate::client::failure(error, doing, host)),
    }
}

pub(crate) fn stalled(shared: &Shared, doing: &str, host: &str) -> RegistryError {
    let seconds = shared.settings.idle_timeout().as_secs();
    RegistryError::Stalled { doing: doing.to_owned(), host: host.to_owned(), seconds }
}

impl Shared {
    /// Sends a request to a registry; what comes back has a status of success.
    pub(crate) async fn exchange(&self, endpoint: &Endpoint, call: Call<'_>) -> Result<Answer, RegistryError> {
        let Call { method, mut url, headers, mut body, access, doing } = call;
        // Who gets the credentials: this origin, and only it.
        let home = self.base(endpoint, doing).await?;
        let can_repeat = !matches!(body, Body::Stream { .. });
        let mut refreshed = false;
        let mut hops = 0;
        let mut at_home = url.origin() == home.origin();
        let mut authorization =
            if at_home { self.authorization(endpoint, &home, access, doing, None).await? } else { None };
        loop {
            let host = endpoint::authority_of(&url);
            let mut request = reqwest::Request::new(method.clone(), url.clone());
            for (name, value) in &headers {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            let mut sent = None;
            match &mut body {
                Body::Empty => {
                    if matches!(method, Method::POST | Method::PUT | Method::PATCH) {
                        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                    }
                }
                Body::Bytes(bytes) => *request.body_mut() = Some(bytes.clone().into()),
                Body::Stream { body, length, sent: counter } => {
                    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(*length));
                    *request.body_mut() = Some(std::mem::take(body));
                    sent = Some((Arc::clone(counter), *length));
                }
            }
            if at_home && let Some(value) = &authorization {
                request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            }
            let response = self.send(request, &endpoint.name, sent, doing).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && at_home && !refreshed {
                refreshed = true;
                let asked = challenge::read(response.headers()).map_err(|reason| RegistryError::Protocol {
                    doing: doing.to_owned(),
                    host: host.clone(),
                    reason,
                })?;
                let was_sent = authorization.take();
                self.host(&endpoint.authority).ask(asked);
                if !can_repeat {
                    self.host(&endpoint.authority).forget(was_sent.as_ref()).await;
                    return Err(status_error(response, doing, &host, false).await.into_restart());
                }
                authorization = self.authorization(endpoint, &home, access, doing, was_sent.as_ref()).await?;
                if authorization.is_some() && authorization != was_sent {
                    drain(response).await;
                    continue;
                }
                authorization = was_sent;
            }
            if is_redirect(status) && can_repeat {
                hops += 1;
                let next = self.next_hop(&method, &url, &response, hops);
                url = next.map_err(|reason| RegistryError::Redirect { doing: doing.to_owned(), host, reason })?;
                at_home = url.origin() == home.origin();
                drain(response).await;
                continue;
            }
            if status.is_success() {
                return Ok(Answer { response, host });
            }
            if !at_home && matches!(status.as_u16(), 401 | 403 | 404) {
                // Not the registry's word: there is nobody to log in to.
                let reason = format!("sends to {host}, which answers with status {}", status.as_u16());
                return Err(RegistryError::Protocol { doing: doing.to_owned(), host: endpoint.name.clone(), reason });
            }
            let tried = authorization.is_some() && self.has_credential(endpoint, access).await;
            let name = if at_home { &endpoint.name } else { &host };
            return Err(status_error(response, doing, name, tried).await);
        }
    }

    fn next_hop(&self, method: &Method, from: &Url, response: &Response, hops: usize) -> Result<Url, String> {
        if hops > MAX_REDIRECTS {
            return Err(format!("more than {MAX_REDIRECTS} times"));
        }
        if !matches!(*method, Method::GET | Method::HEAD)
            && !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
        {
            return Err(format!("with status {} of a request that changes something", response.status().as_u16()));
        }
        self.location(from, response.headers())
    }

    /// Where `Location` leads, if that is a place we go to.
    pub(crate) fn location(&self, from: &Url, headers: &HeaderMap) -> Result<Url, String> {
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| "it does not say where".to_owned())?;
        let to = from.join(location).map_err(|_| "the address is not a URL".to_owned())?;
        endpoint::refuse_hop(from, &to, &self.settings).map_or(Ok(to), Err)
    }

    /// Sends one request and waits for the head of its answer. `sent` counts the bytes of a large body, of which so many are to go.
    pub(crate) async fn send(
        &self,
        request: reqwest::Request,
        origin: &str,
        sent: Option<(Arc<AtomicU64>, u64)>,
        doing: &str,
    ) -> Result<Response, RegistryError> {
        let host = endpoint::authority_of(request.url());
        let client = self.clients.get(request.url(), origin, &self.settings, doing)?;
        let mut response = std::pin::pin!(client.execute(request));
        let (mut last, mut silent) = (0, 0);
        loop {
            let outcome = tokio::time::timeout(self.settings.idle_timeout(), response.as_mut()).await;
            if let Ok(outcome) = outcome {
                return outcome.map_err(|error| crate::client::failure(error, doing, &host));
            }
            let Some((counter, length)) = &sent else { return Err(stalled(self, doing, &host)) };
            let now = counter.load(Ordering::Relaxed);
            silent = if now == last { silent + 1 } else { 0 };
            last = now;
            if silent >= if now == *length { PATIENCE } else { 1 } {
                return Err(stalled(self, doing, &host));
            }
        }
    }
}

/// Reads the rest of an answer that is not wanted, if it is short: its connection can then be used again.
async fn drain(mut response: Response) {
    if response.content_length().is_some_and(|length| length <= MAX_ERROR) {
        let read = async { while let Ok(Some(_)) = response.chunk().await {} };
        tokio::time::timeout(DRAIN_TIMEOUT, read).await.ok();
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The error that a status stands for.
pub(crate) async fn status_error(response: Response, doing: &str, host: &str, tried: bool) -> RegistryError {
    let status = response.status().as_u16();
    let wait = retry_after(response.headers());
    let detail = detail(response).await;
    let (doing, host) = (doing.to_owned(), host.to_owned());
    match status {
        401 => RegistryError::Unauthorized { doing, host, tried, detail },
        403 => RegistryError::Denied { doing, host, detail },
        404 => RegistryError::NotFound { doing, host, detail },
        429 => {
            // A quota of pulls is not there again in a few seconds.
            let transient = wait.is_some() || !detail.contains("pull rate limit");
            RegistryError::RateLimited { doing, host, wait, transient, detail }
        }
        _ => RegistryError::Status { doing, host, status, wait, detail },
    }
}

impl RegistryError {
    /// The token was good when the transfer began: with a new one it is worth another try.
    fn into_restart(self) -> RegistryError {
        match self {
            RegistryError::Unauthorized { doing, host, detail, .. } => {
                RegistryError::Status { doing, host, status: 401, wait: None, detail }
            }
            other => other,
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A date is counted from the server's own time.
    let now = http_date(headers.get(header::DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(http_date(text)? - now).unwrap_or(0)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<i64> {
    let text = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut words = text.split(' ');
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = i64::try_from(months.iter().position(|name| *name == month)?).ok()? + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok().filter(|part| (0..=60).contains(part)));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=31).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    // Days of a civil date, years beginning in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day
        - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// What a registry says about its refusal, beginning with a colon; empty if it says nothing that can be shown.
async fn detail(mut response: Response) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = kind.starts_with("text/plain") || kind.contains("json");
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let left = usize::try_from(MAX_ERROR).unwrap_or(usize::MAX) - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(left)]);
            if chunk.len() >= left {
                break;
            }
        }
    };
    // What has come until then is enough.
    tokio::time::timeout(ERROR_TIMEOUT, read).await.ok();
    let text = match serde_json::from_slice::<Body>(&body) {
        Ok(Body { errors }) => {
            let entries =
                errors.iter().take(3).map(|Entry { code, message }| match (code.as_str(), message.as_str()) {
                    (code, "") => code.to_owned(),
                    ("", message) => message.to_owned(),
                    (code, message) => format!("{code}: {message}"),
                });
            entries.filter(|entry| !entry.is_empty()).collect::<Vec<_>>().join("; ")
        }
        Err(_) if is_text => String::from_utf8_lossy(&body).into_owned(),
        Err(_) => String::new(),
    };
    let text = presentable(&text);
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting() {
        let wait = |retry: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry));
            headers.extend(date.map(|date| (header::DATE, HeaderValue::from_static(date))));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait("7", None), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60));
        assert_eq!(wait("Sun, 06 Nov 1994 08:40:37 GMT", now), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", None), None);
        assert_eq!(wait("soon", now), None);
        assert_eq!(wait("-1", now), None);
    }
}
