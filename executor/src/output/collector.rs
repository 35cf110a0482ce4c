//! Handing a document to somebody who collects them, over HTTP and within a time limit.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::NoProxy;
use reqwest::Proxy;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;

/// A document, and where it goes.
pub struct Posting<'a> {
    /// Where.
    pub url: &'a str,
    /// What is said beside it. Values are secrets.
    pub headers: &'a [(String, String)],
    /// The document, JSON.
    pub body: String,
    /// All of it takes no longer.
    pub timeout: Duration,
    /// Proxies by the names of their variables, in lower case. Nobody on this machine is asked through one.
    pub proxies: &'a BTreeMap<String, String>,
}

impl fmt::Debug for Posting<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Posting").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A document was not handed over. No message shows a URL, for that may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The address is none.
    #[error("the endpoint is no http or https URL")]
    Url,
    /// A header cannot be sent.
    #[error("the header `{name}` has no valid name or value")]
    Header {
        /// Its name.
        name: String,
    },
    /// There can be no client.
    #[error("{reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {} ms", timeout.as_millis())]
    Timeout {
        /// Who.
        host: String,
        /// The limit.
        timeout: Duration,
    },
    /// There was no exchange.
    #[error("{host}: {reason}")]
    Transport {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// It was not taken.
    #[error("{host} answered {status}")]
    Status {
        /// Who.
        host: String,
        /// What it said.
        status: StatusCode,
    },
}

/// Hands a document over. Ends within its time limit, whatever the other side does.
pub async fn post(posting: Posting<'_>) -> Result<(), CollectorError> {
    let url = Url::parse(posting.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or(CollectorError::Url)?;
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in posting.headers {
        let bad = || CollectorError::Header { name: name.clone() };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    let timeout = posting.timeout;
    let exchange = async {
        let sent = client(&url, posting.proxies)?.post(url.clone()).headers(headers).body(posting.body).send().await;
        let answer = sent.map_err(|error| transport(error, &host, timeout))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(CollectorError::Status { host: host.clone(), status: answer.status() })
    };
    let late = || CollectorError::Timeout { host: host.clone(), timeout };
    tokio::time::timeout(timeout, exchange).await.map_err(|_| late())?
}

type Make = fn(String) -> reqwest::Result<Proxy>;

fn client(url: &Url, proxies: &BTreeMap<String, String>) -> Result<reqwest::Client, CollectorError> {
    // Fails if it was done before, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    // Headers with tokens go nowhere but where they were meant to.
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("bld/", env!("CARGO_PKG_VERSION")))
        .referer(false)
        .redirect(Policy::none())
        .no_proxy();
    if url.scheme() == "http" {
        // Reading the authorities of the machine takes longer than the request.
        builder = builder.tls_certs_only([]);
    }
    let failed = |reason: String| CollectorError::Client { reason };
    if !is_loopback(url) {
        let exceptions = proxies.get("no_proxy").and_then(|list| NoProxy::from_string(list));
        let kinds: [(&str, Make); 3] =
            [("http_proxy", Proxy::http), ("https_proxy", Proxy::https), ("all_proxy", Proxy::all)];
        for (name, make) in kinds {
            let Some(proxy) = proxies.get(name).filter(|proxy| !proxy.is_empty()) else { continue };
            let proxy = make(proxy.clone()).map_err(|_| failed(format!("{name} is not a URL")))?;
            builder = builder.proxy(proxy.no_proxy(exceptions.clone()));
        }
    }
    builder.build().map_err(|error| failed(reason(error)))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn transport(error: reqwest::Error, host: &str, timeout: Duration) -> CollectorError {
    let host = host.to_owned();
    if error.is_timeout() {
        return CollectorError::Timeout { host, timeout };
    }
    CollectorError::Transport { host, reason: reason(error) }
}

/// The innermost reason, which names no URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &(dyn Error + 'static) = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
