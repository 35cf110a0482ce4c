//! Who is asked: repositories, the hosts that serve them, and the rules on where a host may send us.
//!
//! A registry is asked to send us elsewhere in three ways: redirections, the place of an upload, and the realm of a token server.
//! All are foreign input. Another host than the registry's own is contacted over https only, without credentials, and not at an
//! address of a private network, unless `registries.toml` names it.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use bld_oci::Reference;
use bld_oci::reference::DEFAULT_DOMAIN;
use reqwest::Url;

use crate::settings::Mirror;
use crate::settings::Settings;

/// Where the API of docker.io is.
pub(crate) const DOCKER_HOST: &str = "registry-1.docker.io";

/// A repository: registry and path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    domain: String,
    path: String,
}

impl Repository {
    /// The repository that a reference names.
    pub fn of(reference: &Reference) -> Repository {
        Repository { domain: reference.domain().to_owned(), path: reference.path().to_owned() }
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl From<&Reference> for Repository {
    fn from(reference: &Reference) -> Repository {
        Repository::of(reference)
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.domain, self.path)
    }
}

/// A host that serves a registry's repositories: itself or a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The name under which credentials and settings are looked up.
    pub(crate) name: String,
    /// `HOST[:PORT]` to connect to.
    pub(crate) authority: String,
    /// What stands before the repository's path.
    pub(crate) prefix: String,
    /// Plain http as the settings say; `None` if they say nothing.
    pub(crate) http: Option<bool>,
    pub(crate) is_mirror: bool,
}

impl Endpoint {
    /// The registry itself.
    pub(crate) fn of(domain: &str, settings: &Settings) -> Endpoint {
        let authority = if domain == DEFAULT_DOMAIN { DOCKER_HOST } else { domain };
        let http = settings.registry(domain).and_then(|entry| entry.http);
        Endpoint {
            name: domain.to_owned(),
            authority: authority.to_ascii_lowercase(),
            prefix: String::new(),
            http,
            is_mirror: false,
        }
    }

    /// The mirrors in their order, then the registry itself.
    pub(crate) fn all(domain: &str, settings: &Settings) -> Vec<Endpoint> {
        let mirrors = settings.registry(domain).and_then(|entry| entry.mirrors.as_deref()).unwrap_or_default();
        let mirrors = mirrors.iter().filter_map(|text| Mirror::parse(text)).map(|mirror| Endpoint {
            http: mirror.http.or_else(|| settings.registry(&mirror.authority).and_then(|entry| entry.http)),
            name: mirror.authority.clone(),
            authority: mirror.authority,
            prefix: mirror.prefix,
            is_mirror: true,
        });
        mirrors.chain([Endpoint::of(domain, settings)]).collect()
    }

    /// The repository's path at this host.
    pub(crate) fn path(&self, repository: &str) -> String {
        if self.prefix.is_empty() { repository.to_owned() } else { format!("{}/{repository}", self.prefix) }
    }

    /// Whether plain http would not leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(host_of(&self.authority))
    }
}

/// Host without port.
pub(crate) fn host_of(authority: &str) -> &str {
    let Some((host, port)) = authority.rsplit_once(':') else { return authority };
    // The colons of an address of version 6 stand in brackets.
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && (host.ends_with(']') || !host.contains(':'));
    if is_port { host } else { authority }
}

/// `HOST[:PORT]` of a URL, as registries are named.
pub(crate) fn authority_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// Whether it names, by an address or as `localhost`, something that only our own network reaches.
fn is_private(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") {
        return true;
    }
    match address(host) {
        None => false,
        Some(IpAddr::V4(address)) => is_private_v4(address),
        Some(IpAddr::V6(address)) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || octets[0] == 0
        || octets[0] >= 240
        || (octets[0] == 100 && (64..128).contains(&octets[1]))
        || (octets[0] == 192 && octets[1] == 0 && octets[2] == 0)
        || (octets[0] == 198 && (18..20).contains(&octets[1]))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let inner = Ipv4Addr::from(u32::from(segments[6]) << 16 | u32::from(segments[7]));
    // Addresses that hold one of version 4: mapped, compatible, translated.
    let holds_v4 = matches!(segments, [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || (holds_v4 && is_private_v4(inner))
}

/// Domains below which every host may be somebody else's.
const SHARED: &[&str] = &[
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudfront.net",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "pages.dev",
    "pkg.dev",
    "run.app",
    "vercel.app",
    "web.app",
    "windows.net",
    "workers.dev",
    "nip.io",
    "sslip.io",
];

/// Second-level names that countries register domains below.
const SECOND_LEVEL: &[&str] =
    &["ac", "co", "com", "edu", "go", "gob", "gov", "gv", "mil", "ne", "net", "nom", "or", "org"];

/// Whether two hosts have the same owner: the same domain, as far as a name can tell.
pub(crate) fn is_same_site(left: &str, right: &str) -> bool {
    if left.eq_ignore_ascii_case(right) {
        return true;
    }
    match (registrable(left), registrable(right)) {
        (Some(left), Some(right)) => left == right,
        _ => false,
    }
}

fn registrable(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    if address(&host).is_some() || SHARED.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
    {
        return None;
    }
    let labels: Vec<&str> = host.split('.').collect();
    let is_deep = matches!(labels.as_slice(), [.., second, top] if top.len() == 2 && SECOND_LEVEL.contains(second));
    let count = if is_deep { 3 } else { 2 };
    (labels.len() >= count).then(|| labels[labels.len() - count..].join("."))
}

/// Why a redirection or upload location is not followed; `None` if it is.
pub(crate) fn refuse_hop(from: &Url, to: &Url, settings: &Settings) -> Option<String> {
    let host = to.host_str().unwrap_or_default();
    if !matches!(to.scheme(), "http" | "https") {
        return Some("the address is neither http nor https".to_owned());
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Some(format!("the address at {host} holds a user name"));
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Some(format!("from https to plain http at {}", authority_of(to)));
    }
    if from.host_str() == to.host_str() {
        return None;
    }
    let settings = settings.registry(&authority_of(to));
    if settings.is_none() && is_private(host) {
        return Some(format!("{} is an address of a private network", authority_of(to)));
    }
    let may_be_plain = is_loopback(host) || settings.is_some_and(|entry| entry.http == Some(true));
    if to.scheme() == "http" && !may_be_plain {
        return Some(format!("plain http at {}", authority_of(to)));
    }
    None
}

/// Why a token server is not asked; `None` if it is.
pub(crate) fn refuse_realm(
    registry: &Url,
    name: &str,
    realm: &Url,
    settings: &Settings,
    with_secrets: bool,
) -> Option<String> {
    let host = realm.host_str().unwrap_or_default();
    let authority = authority_of(realm);
    if !matches!(realm.scheme(), "http" | "https") {
        return Some("the address is neither http nor https".to_owned());
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Some("the address holds a user name".to_owned());
    }
    let is_own = registry.host_str() == Some(host);
    let own = settings.registry(name);
    let is_named = own
        .and_then(|entry| entry.token_servers.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|server| server.eq_ignore_ascii_case(&authority) || server.eq_ignore_ascii_case(host));
    let other = settings.registry(&authority);
    if !is_own && !is_named && other.is_none() && is_private(host) {
        return Some(format!("{authority} is an address of a private network"));
    }
    let is_plain_registry = is_own && registry.scheme() == "http";
    let may_be_plain = (is_own || is_named || other.is_some())
        && (is_plain_registry || is_loopback(host) || other.is_some_and(|entry| entry.http == Some(true)));
    if realm.scheme() == "http" && !may_be_plain {
        return Some("it is asked for credentials over plain http".to_owned())
            .filter(|_| with_secrets)
            .or_else(|| Some("it speaks plain http, and a token would be as open as a password".to_owned()));
    }
    if with_secrets && !is_named && !is_same_site(registry.host_str().unwrap_or_default(), host) {
        return Some(format!("credentials for {name} are not given to {authority}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]",
            "[::]",
            "[fc00::1]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.1.1.1]",
            "[64:ff9b::a00:1]",
            "localhost",
            "LOCALHOST",
            "x.localhost",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2606:4700::1]",
            "example.com",
            "localhost.example.com",
            "10.example.com",
        ] {
            assert!(!is_private(host), "{host}");
        }
        // The reader of URLs knows the odd spellings.
        for odd in ["http://0x7f.1/", "http://2130706433/", "http://0177.0.0.1/", "http://127.1/"] {
            assert!(is_private(url(odd).host_str().unwrap()), "{odd}");
        }
    }

    #[test]
    fn sites() {
        for (left, right, same) in [
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("ghcr.io", "ghcr.io", true),
            ("registry.example.co.uk", "auth.example.co.uk", true),
            ("registry.example.co.uk", "evil.co.uk", false),
            ("a.azurecr.io", "b.azurecr.io", false),
            ("docker.io", "docker.io.evil.com", false),
            ("quay.io", "evil.io", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("registry", "auth", false),
        ] {
            assert_eq!(is_same_site(left, right), same, "{left} {right}");
        }
    }

    #[test]
    fn realms() {
        let mut settings = Settings::default();
        settings.registry_mut("named.example.com").token_servers = Some(vec!["auth.other.org".to_owned()]);
        settings.registry_mut("plain.example.com").http = Some(true);
        let (own, local) = ("https://r.example.com/v2/", "http://127.0.0.1:5000/v2/");
        for (registry, realm, anonymous, secret) in [
            (own, "https://r.example.com/token", true, true),
            (own, "https://r.example.com:8443/token", true, true),
            (own, "https://auth.example.com/token", true, true),
            (own, "https://auth.evil.org/token", true, false),
            (own, "http://r.example.com/token", false, false),
            (own, "http://auth.example.com/token", false, false),
            (own, "file:///etc/passwd", false, false),
            (own, "https://0.0.0.0/token", false, false),
            (own, "https://127.0.0.1/token", false, false),
            (own, "https://[::1]/token", false, false),
            (own, "https://169.254.169.254/latest", false, false),
            (own, "https://192.168.0.1/token", false, false),
            (own, "https://localhost/token", false, false),
            (own, "https://x:y@r.example.com/token", false, false),
            (local, "http://127.0.0.1:6000/token", true, true),
            (local, "http://127.0.0.2:6000/token", false, false),
            (local, "https://10.0.0.1/token", false, false),
            (local, "http://localhost:6000/token", false, false),
            ("https://named.example.com/v2/", "https://auth.other.org/token", true, true),
            ("https://named.example.com/v2/", "http://auth.other.org/token", false, false),
            ("http://plain.example.com/v2/", "http://plain.example.com/token", true, true),
        ] {
            let (registry, realm) = (url(registry), url(realm));
            let name = authority_of(&registry);
            let allowed = |with_secrets| refuse_realm(&registry, &name, &realm, &settings, with_secrets).is_none();
            assert_eq!((allowed(false), allowed(true)), (anonymous, secret), "{registry} {realm}");
        }
    }

    #[test]
    fn hops() {
        let mut settings = Settings::default();
        settings.registry_mut("10.0.0.9:9000").http = Some(true);
        for (from, to, allowed) in [
            ("https://r.example.com/a", "https://cdn.example.net/b?sig=1", true),
            ("https://r.example.com/a", "https://r.example.com:444/b", true),
            ("https://r.example.com/a", "http://r.example.com/b", false),
            ("https://r.example.com/a", "https://10.0.0.1/b", false),
            ("https://r.example.com/a", "https://169.254.169.254/b", false),
            ("https://r.example.com/a", "ftp://r.example.com/b", false),
            ("https://r.example.com/a", "https://u:p@cdn.example.net/b", false),
            ("http://127.0.0.1:5000/a", "http://127.0.0.1:6000/b", true),
            ("http://127.0.0.1:5000/a", "http://127.0.0.2:6000/b", false),
            ("http://127.0.0.1:5000/a", "http://localhost:6000/b", false),
            ("http://127.0.0.1:5000/a", "http://10.0.0.9:9000/b", true),
            ("http://127.0.0.1:5000/a", "http://example.com/b", false),
            ("http://127.0.0.1:5000/a", "https://example.com/b", true),
        ] {
            assert_eq!(refuse_hop(&url(from), &url(to), &settings).is_none(), allowed, "{from} {to}");
        }
    }

    /// A short name is of docker.io and of nothing else: there is no list of registries to search, so nobody can be there first.
    #[test]
    fn r15_short_names() {
        for name in ["foo", "foo/bar", "docker.io/foo", "index.docker.io/foo"] {
            let reference: Reference = name.parse().unwrap();
            let all = Endpoint::all(Repository::of(&reference).domain(), &Settings::default());
            assert_eq!(
                all.iter().map(|endpoint| endpoint.authority.as_str()).collect::<Vec<_>>(),
                [DOCKER_HOST],
                "{name}"
            );
        }
    }

    #[test]
    fn endpoints() {
        let mut settings = Settings::default();
        settings.registry_mut("docker.io").mirrors = Some(vec!["http://m:5000/hub".to_owned()]);
        let all = Endpoint::all("docker.io", &settings);
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].authority.as_str(), all[0].path("library/x"), all[0].http),
            ("m:5000", "hub/library/x".to_owned(), Some(true))
        );
        assert_eq!(
            (all[1].authority.as_str(), all[1].path("library/x"), all[1].http),
            (DOCKER_HOST, "library/x".to_owned(), None)
        );
        for (authority, host) in [("a.b", "a.b"), ("a.b:1", "a.b"), ("[::1]:5", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(host_of(authority), host);
        }
    }
}
