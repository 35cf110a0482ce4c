//! The HTTP client. Asynchronous: a build that is stopped drops the future, and the connection with it.

use std::error::Error;
use std::time::Duration;

use reqwest::NoProxy;
use reqwest::Proxy;
use reqwest::redirect::Attempt;
use reqwest::redirect::Policy;

use super::RemoteConfig;
use super::error::SourceError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// A client, and whether it knows any certificate authority.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) has_certificates: bool,
}

/// Why a redirection is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedirectError {
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooMany,
    #[error("it redirects to something that is neither http nor https")]
    Scheme,
    #[error("it redirects from https to http")]
    Downgrade,
}

/// Makes the client. This reads all certificates of the machine, so it is done only when something is fetched.
pub(super) fn make(config: &RemoteConfig) -> Result<Client, SourceError> {
    // Fails if it was done before, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    if let Ok(http) = builder(config)?.build() {
        return Ok(Client { http, has_certificates: true });
    }
    // A machine without certificates can still speak plain http.
    let http = builder(config)?.tls_certs_only([]).build();
    let http = http.map_err(|error| SourceError::Client { reason: reason(error) })?;
    Ok(Client { http, has_certificates: false })
}

type Make = fn(String) -> reqwest::Result<Proxy>;

fn builder(config: &RemoteConfig) -> Result<reqwest::ClientBuilder, SourceError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("bld/", env!("CARGO_PKG_VERSION")))
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(config.idle_timeout)
        .redirect(Policy::custom(|attempt| match refusal(&attempt) {
            Some(error) => attempt.error(error),
            None => attempt.follow(),
        }))
        // The environment was read by the caller.
        .no_proxy();
    let exceptions = config.proxies.get("no_proxy").and_then(|list| NoProxy::from_string(list));
    let kinds: [(&str, Make); 3] =
        [("http_proxy", Proxy::http), ("https_proxy", Proxy::https), ("all_proxy", Proxy::all)];
    for (name, make) in kinds {
        let Some(url) = config.proxies.get(name).filter(|url| !url.is_empty()) else { continue };
        let proxy = make(url.clone()).map_err(|_| SourceError::Client { reason: format!("{name} is not a URL") })?;
        builder = builder.proxy(proxy.no_proxy(exceptions.clone()));
    }
    Ok(builder)
}

fn refusal(attempt: &Attempt<'_>) -> Option<RedirectError> {
    let (from, to) = (attempt.previous().last().map(reqwest::Url::scheme), attempt.url().scheme());
    if attempt.previous().len() > MAX_REDIRECTS {
        Some(RedirectError::TooMany)
    } else if !matches!(to, "http" | "https") {
        Some(RedirectError::Scheme)
    } else if from == Some("https") && to == "http" {
        Some(RedirectError::Downgrade)
    } else {
        None
    }
}

/// What is wrong, without the URL.
pub(super) fn reason(error: reqwest::Error) -> String {
    let is_timeout = error.is_timeout();
    let error = error.without_url();
    let mut deepest: &(dyn Error + 'static) = &error;
    while let Some(source) = deepest.source() {
        if let Some(refused) = deepest.downcast_ref::<RedirectError>() {
            return refused.to_string();
        }
        deepest = source;
    }
    if is_timeout { "the server does not answer".to_owned() } else { deepest.to_string() }
}
