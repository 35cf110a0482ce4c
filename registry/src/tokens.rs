//! Who we are to a registry: basic authentication, and bearer tokens of its token server.
//!
//! A token is kept for each set of scopes of a host and user until shortly before it expires.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::challenge::Challenge;
use crate::credentials::Credential;
use crate::endpoint;
use crate::endpoint::Endpoint;
use crate::error::Nature;
use crate::error::RegistryError;
use crate::exchange;
use crate::exchange::Answer;
use crate::registry::Shared;
use crate::secret::presentable;

const MAX_ANSWER: u64 = 64 << 10;
/// What a token lives for if its server does not say.
const DEFAULT_LIFE: u64 = 60;
/// A token is not used in its last seconds.
const MARGIN: Duration = Duration::from_secs(10);
/// The name under which token servers know this program.
const CLIENT_ID: &str = "bld";

/// What is to be done in which repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Access {
    /// Pairs of a repository's path and what is done there, the most important first.
    pub(crate) scopes: Vec<(String, &'static str)>,
    /// Used instead of what is stored.
    pub(crate) credential: Option<Credential>,
}

/// What is known of a host.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Whether it speaks plain http.
    pub(crate) http: OnceCell<bool>,
    down: AtomicBool,
    challenge: Mutex<Option<Challenge>>,
    credentials: tokio::sync::Mutex<HashMap<Option<String>, Option<Credential>>>,
    /// Held while a token is fetched, so that it is fetched once.
    tokens: tokio::sync::Mutex<HashMap<Key, Token>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    scopes: Vec<String>,
    credential: Option<Credential>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The realm is an address that a stranger made.
        formatter.debug_list().entries(&self.scopes).finish()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token([redacted])")
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Number>,
}

impl Access {
    pub(crate) fn to(path: String, actions: &'static str) -> Access {
        Access { scopes: vec![(path, actions)], credential: None }
    }

    fn repository(&self) -> Option<&str> {
        self.scopes.first().map(|(path, _)| path.as_str())
    }

    fn texts(&self, extra: &[String]) -> Vec<String> {
        let own = self.scopes.iter().map(|(path, actions)| format!("repository:{path}:{actions}"));
        // A registry may need something beside repositories; which repositories we know ourselves.
        let extra = extra.iter().filter(|scope| !scope.starts_with("repository:")).cloned();
        let mut texts: Vec<String> = own.chain(extra).collect();
        texts.sort();
        texts.dedup();
        texts
    }
}

impl Host {
    /// Remembers how the host wants to be asked.
    pub(crate) fn ask(&self, challenge: Option<Challenge>) {
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = challenge;
    }

    /// Whether it could not be reached before.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn set_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    /// Drops a token that is not accepted any more.
    pub(crate) async fn forget(&self, header: Option<&HeaderValue>) {
        self.tokens.lock().await.retain(|_, token| Some(&token.header) != header);
    }
}

impl Shared {
    /// The Authorization header for a host, as far as it is known to want one; never the one that was `rejected`, unless there is no
    /// other.
    pub(crate) async fn authorization(
        &self,
        endpoint: &Endpoint,
        home: &Url,
        access: &Access,
        doing: &str,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let host = self.host(&endpoint.authority);
        let challenge = host.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge) = challenge else { return Ok(None) };
        let credential = self.credential(endpoint, access).await?;
        let (realm, service, extra) = match challenge {
            Challenge::Basic => {
                return Ok(credential.as_ref().and_then(basic));
            }
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        let key = Key { realm: realm.to_string(), scopes: access.texts(&extra), credential };
        let mut tokens = host.tokens.lock().await;
        if let Some(token) = tokens.get(&key)
            && token.until > Instant::now()
            && Some(&token.header) != rejected
        {
            return Ok(Some(token.header.clone()));
        }
        let token = self.fetch_token(endpoint, home, &realm, service.as_deref(), &key, doing).await?;
        let header = token.header.clone();
        tokens.insert(key, token);
        Ok(Some(header))
    }

    /// Whether there is a credential for what was tried.
    pub(crate) async fn has_credential(&self, endpoint: &Endpoint, access: &Access) -> bool {
        self.credential(endpoint, access).await.is_ok_and(|credential| credential.is_some())
    }

    async fn credential(&self, endpoint: &Endpoint, access: &Access) -> Result<Option<Credential>, RegistryError> {
        if access.credential.is_some() {
            return Ok(access.credential.clone());
        }
        let host = self.host(&endpoint.authority);
        let mut known = host.credentials.lock().await;
        let repository = access.repository().map(str::to_owned);
        if let Some(credential) = known.get(&repository) {
            return Ok(credential.clone());
        }
        let remark = |remark| self.remark(remark);
        let found = self.credentials.find(&endpoint.name, repository.as_deref(), &remark).await?;
        known.insert(repository, found.clone());
        Ok(found)
    }

    /// Forgets all that was learned of who we are to a host: it has changed.
    pub(crate) async fn forget_user(&self, authority: &str) {
        let host = self.host(authority);
        host.credentials.lock().await.clear();
        host.tokens.lock().await.clear();
    }

    async fn fetch_token(
        &self,
        endpoint: &Endpoint,
        home: &Url,
        realm: &Url,
        service: Option<&str>,
        key: &Key,
        doing: &str,
    ) -> Result<Token, RegistryError> {
        let shown = shown(realm);
        let with_secrets = key.credential.is_some();
        if let Some(reason) = endpoint::refuse_realm(home, &endpoint.name, realm, &self.settings, with_secrets) {
            let (doing, host) = (doing.to_owned(), endpoint.name.clone());
            return Err(RegistryError::ForeignRealm { doing, host, realm: shown, reason });
        }
        let failed = |reason: String, transient: bool, wait: Option<Duration>| RegistryError::TokenServer {
            doing: doing.to_owned(),
            host: endpoint.name.clone(),
            realm: shown.clone(),
            reason,
            transient,
            wait,
        };
        let outcome = self.ask_for_token(endpoint, realm, service, key, doing).await;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(RegistryError::Unauthorized { detail, .. } | RegistryError::Denied { detail, .. }) => {
                let (doing, host) = (doing.to_owned(), endpoint.name.clone());
                return Err(RegistryError::Unauthorized { doing, host, tried: with_secrets, detail });
            }
            Err(
                error @ (RegistryError::Certificate { .. }
                | RegistryError::NotTls { .. }
                | RegistryError::NoCertificates { .. }),
            ) => {
                return Err(error);
            }
            Err(error) => {
                return Err(match error.nature() {
                    Nature::Transient(wait) => failed(short(&error), true, wait),
                    Nature::Host => failed(short(&error), false, None),
                    Nature::Local => error,
                });
            }
        };
        let body = answer.body(self, doing, "the answer of the token server", MAX_ANSWER).await;
        let body = body.map_err(|error| match error.nature() {
            Nature::Transient(wait) => failed(short(&error), true, wait),
            _ => error,
        })?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| failed("its answer is not a token".to_owned(), false, None))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| failed("its answer holds no token".to_owned(), false, None))?;
        header.set_sensitive(true);
        let life = answer.expires_in.and_then(|number| number.as_u64()).unwrap_or(DEFAULT_LIFE);
        // No life of more than a day is believed, and none is too short to be used at once.
        let life = Duration::from_secs(life.clamp(1, 86_400));
        let life = life.saturating_sub(MARGIN).max(life / 2);
        Ok(Token { header, until: Instant::now() + life })
    }

    async fn ask_for_token(
        &self,
        endpoint: &Endpoint,
        realm: &Url,
        service: Option<&str>,
        key: &Key,
        doing: &str,
    ) -> Result<Answer, RegistryError> {
        let mut url = realm.clone();
        url.set_fragment(None);
        let mut request = if let Some(Credential::Identity { token }) = &key.credential {
            // The library of URLs writes forms.
            let mut form = url.clone();
            form.set_query(None);
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", CLIENT_ID)
                .append_pair("scope", &key.scopes.join(" "))
                .append_pair("refresh_token", token.expose());
            let mut request = reqwest::Request::new(Method::POST, url);
            let form = form.query().unwrap_or_default().to_owned();
            *request.body_mut() = Some(form.into());
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
            request
        } else {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(key.scopes.iter().map(|scope| ("scope", scope)));
            }
            reqwest::Request::new(Method::GET, url)
        };
        if let Some(value) = key.credential.as_ref().and_then(basic) {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let host = endpoint::authority_of(request.url());
        let mut hops = 0;
        loop {
            let (method, url) = (request.method().clone(), request.url().clone());
            let secrets = request.headers().get(header::AUTHORIZATION).cloned();
            let response = self.send(request, &endpoint.name, None, doing).await?;
            if !response.status().is_redirection() {
                if response.status().is_success() {
                    return Ok(Answer { response, host });
                }
                return Err(exchange::status_error(response, doing, &host, key.credential.is_some()).await);
            }
            hops += 1;
            let refused = |reason| RegistryError::Redirect { doing: doing.to_owned(), host: host.clone(), reason };
            let next = self.location(&url, response.headers()).map_err(refused)?;
            if hops > 3 || (method != Method::GET && next.origin() != url.origin()) || method == Method::POST {
                return Err(refused("a token server is to answer itself".to_owned()));
            }
            let same = next.origin() == url.origin();
            request = reqwest::Request::new(Method::GET, next);
            if let Some(value) = secrets.filter(|_| same) {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
        }
    }
}

/// The header of basic authentication.
fn basic(credential: &Credential) -> Option<HeaderValue> {
    let Credential::Password { username, password } = credential else { return None };
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())));
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// An address without what may be secret in it.
fn shown(realm: &Url) -> String {
    let mut url = realm.clone();
    // These fail for addresses that hold no user.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_query(None);
    url.set_fragment(None);
    presentable(url.as_str())
}

/// The end of an error's message: what was wanted is said by the error around it.
fn short(error: &RegistryError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_are_shown_as_sent_but_for_secrets() {
        for (realm, expected) in [
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("https://u:p)x@a.b:5000/token?key=x#y", "https://a.b:5000/token"),
            ("HTTPS://A.b:443", "https://a.b/"),
            ("foo://u:p@a.b/c?d", "foo://a.b/c"),
            ("data:text/plain,x?token=y", "data:text/plain,x"),
            ("https://a.b/\u{202e}x y", "https://a.b/%E2%80%AEx%20y"),
        ] {
            assert_eq!(shown(&realm.parse().unwrap()), expected, "{realm}");
        }
    }
}
