//! HTTP clients: one for each way of speaking TLS, made when the first request needs it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::error::Error as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use bld_oci::reference::DEFAULT_DOMAIN;
use reqwest::Certificate;
use reqwest::Identity;
use reqwest::NoProxy;
use reqwest::Proxy;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::endpoint;
use crate::error::RegistryError;
use crate::given;
use crate::settings::Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What makes clients different.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Profile {
    /// The registry whose settings these are, for messages.
    host: String,
    tls: bool,
    proxied: bool,
    ca: Vec<PathBuf>,
    skip_verify: bool,
    client: Option<(PathBuf, PathBuf)>,
}

/// A client, and whether it knows any certificate authority.
#[derive(Debug, Clone)]
struct Made {
    http: reqwest::Client,
    has_certificates: bool,
}

/// The clients made so far.
#[derive(Debug)]
pub(crate) struct Clients {
    proxies: Proxies,
    made: Mutex<HashMap<Profile, Made>>,
}

type MakeProxy = fn(String) -> reqwest::Result<Proxy>;

/// The addresses of proxies may hold passwords.
struct Proxies(BTreeMap<String, String>);

impl std::fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Clients {
    pub(crate) fn new(proxies: BTreeMap<String, String>) -> Clients {
        Clients { proxies: Proxies(proxies), made: Mutex::default() }
    }

    /// The client for a URL. `origin` is the registry it is asked for: a host that its registry sends us to and that has no settings
    /// of its own is trusted by the same authorities, but is shown no client certificate.
    pub(crate) fn get(
        &self,
        url: &Url,
        origin: &str,
        settings: &Settings,
        doing: &str,
    ) -> Result<reqwest::Client, RegistryError> {
        let authority = endpoint::authority_of(url);
        let own = if origin == DEFAULT_DOMAIN { endpoint::DOCKER_HOST } else { origin };
        // Compared as addresses: the port may be said or not.
        let own = Url::parse(&format!("{}://{own}/", url.scheme()));
        let is_own = own.is_ok_and(|own| own.origin() == url.origin());
        let name = if is_own { origin } else { authority.as_str() };
        let tls = url.scheme() == "https";
        let mut profile =
            Profile { tls, proxied: !endpoint::is_loopback(url.host_str().unwrap_or_default()), ..Profile::default() };
        if tls {
            let own = settings.registry(name);
            let ca = own.and_then(|entry| entry.ca.clone()).or_else(|| settings.registry(origin)?.ca.clone());
            profile.ca = ca.unwrap_or_default();
            profile.skip_verify = own.and_then(|entry| entry.insecure_skip_verify).unwrap_or(false);
            profile.client = own.and_then(|entry| Some((entry.client_cert.clone()?, entry.client_key.clone()?)));
            if !profile.ca.is_empty() || profile.client.is_some() {
                name.clone_into(&mut profile.host);
            }
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let client = if let Some(client) = made.get(&profile) {
            client.clone()
        } else {
            let client = self.make(&profile)?;
            made.insert(profile, client.clone());
            client
        };
        if tls && !client.has_certificates {
            return Err(RegistryError::NoCertificates { doing: doing.to_owned(), host: name.to_owned() });
        }
        Ok(client.http)
    }

    fn make(&self, profile: &Profile) -> Result<Made, RegistryError> {
        // Fails if it was done before, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let failed = |error: reqwest::Error| RegistryError::Client { reason: reason(error) };
        if !profile.tls {
            // Reading the authorities of the machine takes longer than a request.
            let http = self.builder(profile)?.tls_certs_only([]).build().map_err(failed)?;
            return Ok(Made { http, has_certificates: false });
        }
        let mut own = Vec::new();
        for path in &profile.ca {
            let found = Certificate::from_pem_bundle(&read(path, &profile.host)?).unwrap_or_default();
            if found.is_empty() {
                return Err(bad_file(path, &profile.host, "certificate"));
            }
            own.extend(found);
        }
        let mut identity = None;
        if let Some((certificate, key)) = &profile.client {
            let mut pem = read(key, &profile.host)?;
            pem.push(b'\n');
            pem.extend(read(certificate, &profile.host)?);
            let made =
                Identity::from_pem(&pem).map_err(|_| bad_file(certificate, &profile.host, "certificate with key"))?;
            identity = Some(made);
        }
        let builder = || -> Result<reqwest::ClientBuilder, RegistryError> {
            let builder = self.builder(profile)?.tls_danger_accept_invalid_certs(profile.skip_verify);
            Ok(match &identity {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            })
        };
        if let Ok(http) = builder()?.tls_certs_merge(own.clone()).build() {
            return Ok(Made { http, has_certificates: true });
        }
        // Without the authorities of the machine those of the settings are left, or none.
        let has_certificates = !own.is_empty() || profile.skip_verify;
        let http = builder()?.tls_certs_only(own).build().map_err(|error| match &profile.client {
            // The authorities were read already, so it is the certificate of our own that is not good.
            Some((certificate, _)) => bad_file(certificate, &profile.host, "certificate with key"),
            None => failed(error),
        })?;
        Ok(Made { http, has_certificates })
    }

    fn builder(&self, profile: &Profile) -> Result<reqwest::ClientBuilder, RegistryError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("bld/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            // Each hop is judged before it is taken.
            .redirect(Policy::none())
            // The environment was read by the caller.
            .no_proxy();
        if !profile.proxied {
            return Ok(builder);
        }
        let exceptions = self.proxies.0.get("no_proxy").and_then(|list| NoProxy::from_string(list));
        let kinds: [(&str, MakeProxy); 3] =
            [("http_proxy", Proxy::http), ("https_proxy", Proxy::https), ("all_proxy", Proxy::all)];
        for (name, make) in kinds {
            let Some(url) = self.proxies.0.get(name).filter(|url| !url.is_empty()) else { continue };
            let proxy = make(url.clone()).map_err(|_| RegistryError::Proxy { name: name.to_owned() })?;
            builder = builder.proxy(proxy.no_proxy(exceptions.clone()));
        }
        Ok(builder)
    }
}

fn read(path: &Path, host: &str) -> Result<Vec<u8>, RegistryError> {
    let error = |source| RegistryError::ReadFile { path: path.to_owned(), host: host.to_owned(), source };
    given::read(path).map(|(bytes, _)| bytes).map_err(error)
}

fn bad_file(path: &Path, host: &str, what: &'static str) -> RegistryError {
    RegistryError::BadFile { path: path.to_owned(), host: host.to_owned(), what }
}

/// What went wrong between us and a host.
pub(crate) fn failure(error: reqwest::Error, doing: &str, host: &str) -> RegistryError {
    let (doing, host) = (doing.to_owned(), host.to_owned());
    let is_connect = error.is_connect();
    let mut tls = None;
    let mut source = error.source();
    while let Some(inner) = source {
        tls = tls.or_else(|| tls_error(inner));
        source = inner.source();
    }
    let reason = reason(error);
    match tls {
        Some(rustls::Error::InvalidMessage(_)) if is_connect => RegistryError::NotTls { doing, host },
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            RegistryError::Certificate { doing, host, reason }
        }
        _ if is_connect => RegistryError::Unreachable { doing, host, reason },
        _ => RegistryError::Transport { doing, host, reason },
    }
}

/// The TLS error that this is, or that it wraps: I/O errors hide what they wrap from `source`, also from each other.
fn tls_error(error: &(dyn std::error::Error + 'static)) -> Option<rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found.clone());
    }
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    tls_error(inner)
}

/// The innermost reason, which names no URL.
fn reason(error: reqwest::Error) -> String {
    let is_timeout = error.is_timeout();
    let error = error.without_url();
    let mut deepest: &(dyn std::error::Error + 'static) = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = crate::secret::presentable(&deepest.to_string());
    if is_timeout { "it does not answer".to_owned() } else { text }
}
