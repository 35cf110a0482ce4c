//! `registries.toml`: what is to be known of registries beside their names.
//!
//! ```toml
//! retries = 5               # how often a request is repeated
//! retry-pause-ms = 200      # the first pause before that; it doubles each time
//! idle-timeout = 60         # seconds without a byte after which a connection is given up
//! parallel = 4              # transfers at the same time, for each registry
//!
//! [registry."docker.io"]
//! mirrors = ["mirror.example.com", "https://proxy.example.com/hub"]   # asked in this order, then the registry itself
//!
//! [registry."registry.example.com:5000"]
//! http = true                           # no TLS; allowed without this for localhost, 127.0.0.0/8 and ::1 only
//! ca = ["ca.pem"]                       # authorities trusted beside those of the machine; relative to this file
//! insecure-skip-verify = true           # TLS, but any certificate
//! client-cert = "client.pem"            # shown to the registry
//! client-key = "client.key"
//! token-servers = ["auth.example.org"]  # other hosts that may be given the credentials of this registry
//! chunk-size = 33554432                 # blobs are pushed in pieces of this size
//! ```
//! Files are merged key by key, a later file before an earlier one. Unknown keys are errors.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::given;

/// The smallest piece that every registry accepts.
pub const MIN_CHUNK: u64 = 5 << 20;

/// All that the files say.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How often a request is repeated; 5 unless set.
    pub retries: Option<u32>,
    /// The first pause between two tries; 200 ms unless set.
    pub retry_pause: Option<Duration>,
    /// How long a connection may be silent; 60 s unless set.
    pub idle_timeout: Option<Duration>,
    /// Transfers at the same time for each registry; 4 unless set.
    pub parallel: Option<usize>,
    registries: BTreeMap<String, RegistrySettings>,
}

/// What is set for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Asked before the registry itself, in this order: `HOST[:PORT][/PREFIX]`, perhaps with `http://` or `https://` before it.
    pub mirrors: Option<Vec<String>>,
    /// Plain http (`Some(true)`), or TLS even for this machine (`Some(false)`).
    pub http: Option<bool>,
    /// Files with certificates of authorities.
    pub ca: Option<Vec<PathBuf>>,
    /// Any certificate is good.
    pub insecure_skip_verify: Option<bool>,
    /// The certificate to show.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// Other hosts that may be given the credentials of this registry.
    pub token_servers: Option<Vec<String>>,
    /// Push in pieces of this many bytes.
    pub chunk_size: Option<u64>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file with something in it that is not right.
    #[error("{path}:{line}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    retries: Option<u32>,
    retry_pause_ms: Option<u64>,
    idle_timeout: Option<toml::Spanned<u64>>,
    parallel: Option<toml::Spanned<usize>>,
    #[serde(default)]
    registry: BTreeMap<toml::Spanned<String>, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    mirrors: Option<Vec<toml::Spanned<String>>>,
    http: Option<bool>,
    ca: Option<Vec<PathBuf>>,
    insecure_skip_verify: Option<bool>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    token_servers: Option<Vec<String>>,
    chunk_size: Option<toml::Spanned<u64>>,
}

impl Settings {
    /// Reads the files that exist, each before the ones before it.
    pub fn read(paths: &[PathBuf]) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        for path in paths {
            match given::read_text(path) {
                Ok(text) => settings.merge(path, &text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SettingsError::Read { path: path.clone(), source }),
            }
        }
        Ok(settings)
    }

    /// Takes over what `text`, the content of `path`, says.
    pub fn merge(&mut self, path: &Path, text: &str) -> Result<(), SettingsError> {
        let invalid = |at: usize, reason: String| {
            let before = text.get(..at.min(text.len())).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            SettingsError::Invalid { path: path.to_owned(), line, reason }
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            invalid(at, error.message().lines().collect::<Vec<_>>().join(", "))
        })?;
        if let Some(zero) = file.idle_timeout.as_ref().filter(|value| *value.get_ref() == 0) {
            return Err(invalid(zero.span().start, "idle-timeout must be at least 1 second".to_owned()));
        }
        if let Some(bad) = file.parallel.as_ref().filter(|value| !(1..=64).contains(value.get_ref())) {
            return Err(invalid(bad.span().start, "parallel must be from 1 to 64".to_owned()));
        }
        self.retries = file.retries.or(self.retries);
        self.retry_pause = file.retry_pause_ms.map(Duration::from_millis).or(self.retry_pause);
        self.idle_timeout =
            file.idle_timeout.map(|seconds| Duration::from_secs(seconds.into_inner())).or(self.idle_timeout);
        self.parallel = file.parallel.map(toml::Spanned::into_inner).or(self.parallel);
        let directory = path.parent().unwrap_or(Path::new(""));
        for (name, table) in file.registry {
            let at = name.span().start;
            if !is_authority(name.get_ref()) {
                let reason = format!("`{}` is not a registry's host name with an optional port", name.get_ref());
                return Err(invalid(at, reason));
            }
            for mirror in table.mirrors.iter().flatten() {
                if Mirror::parse(mirror.get_ref()).is_none() {
                    let reason = format!(
                        "`{}` is not a mirror: it must be HOST[:PORT][/PREFIX], perhaps after http:// or https://",
                        mirror.get_ref()
                    );
                    return Err(invalid(mirror.span().start, reason));
                }
            }
            if let Some(size) = table.chunk_size.as_ref().filter(|size| *size.get_ref() < MIN_CHUNK) {
                return Err(invalid(size.span().start, format!("chunk-size must be at least {MIN_CHUNK}")));
            }
            if table.client_cert.is_some() != table.client_key.is_some() {
                return Err(invalid(at, "client-cert and client-key must be given together".to_owned()));
            }
            let absolute = |path: PathBuf| directory.join(path);
            let entry = self.registry_mut(name.get_ref());
            entry.take(RegistrySettings {
                mirrors: table.mirrors.map(|list| list.into_iter().map(toml::Spanned::into_inner).collect()),
                http: table.http,
                ca: table.ca.map(|list| list.into_iter().map(absolute).collect()),
                insecure_skip_verify: table.insecure_skip_verify,
                client_cert: table.client_cert.map(absolute),
                client_key: table.client_key.map(absolute),
                token_servers: table.token_servers,
                chunk_size: table.chunk_size.map(toml::Spanned::into_inner),
            });
        }
        Ok(())
    }

    /// What is set for a registry, to be changed: for what a command line says of it.
    pub fn registry_mut(&mut self, host: &str) -> &mut RegistrySettings {
        self.registries.entry(canonical(host)).or_default()
    }

    /// What is set for a registry.
    pub fn registry(&self, host: &str) -> Option<&RegistrySettings> {
        self.registries.get(&canonical(host))
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries.unwrap_or(5)
    }

    pub(crate) fn retry_pause(&self) -> Duration {
        self.retry_pause.unwrap_or(Duration::from_millis(200))
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout.unwrap_or(Duration::from_mins(1))
    }

    pub(crate) fn parallel(&self) -> usize {
        self.parallel.unwrap_or(4).max(1)
    }
}

impl RegistrySettings {
    fn take(&mut self, other: RegistrySettings) {
        self.mirrors = other.mirrors.or(self.mirrors.take());
        self.http = other.http.or(self.http);
        self.ca = other.ca.or(self.ca.take());
        self.insecure_skip_verify = other.insecure_skip_verify.or(self.insecure_skip_verify);
        self.client_cert = other.client_cert.or(self.client_cert.take());
        self.client_key = other.client_key.or(self.client_key.take());
        self.token_servers = other.token_servers.or(self.token_servers.take());
        self.chunk_size = other.chunk_size.or(self.chunk_size);
    }

    /// Whether anything is said about how TLS is to be done.
    pub(crate) fn is_about_tls(&self) -> bool {
        self.ca.is_some() || self.insecure_skip_verify.is_some() || self.client_cert.is_some()
    }
}

/// A mirror, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) http: Option<bool>,
    pub(crate) authority: String,
    /// What stands before the repository's path; empty, or without slashes at its ends.
    pub(crate) prefix: String,
}

impl Mirror {
    pub(crate) fn parse(text: &str) -> Option<Mirror> {
        let (http, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(true), rest),
            Some(("https", rest)) => (Some(false), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        // People write the path that the API has as well.
        let prefix = if prefix == "v2" { "" } else { prefix.strip_prefix("v2/").unwrap_or(prefix) };
        let is_part = |part: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(known)
        };
        if !is_authority(authority) || !(prefix.is_empty() || prefix.split('/').all(is_part)) {
            return None;
        }
        Some(Mirror { http, authority: authority.to_ascii_lowercase(), prefix: prefix.to_owned() })
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
pub(crate) fn is_authority(text: &str) -> bool {
    // The parser of references has the rule. `localhost` makes it see a domain in a lone word.
    let is_word =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !text.is_empty();
    let reference: Result<bld_oci::Reference, _> = format!("{text}/x").parse();
    is_word(text) || reference.is_ok_and(|reference| reference.domain() == text || text == "index.docker.io")
}

fn canonical(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | crate::endpoint::DOCKER_HOST => bld_oci::reference::DEFAULT_DOMAIN.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.merge(Path::new("/etc/bld/registries.toml"), text).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn files_are_merged_key_by_key() {
        let mut settings = read(
            "retries = 2\nidle-timeout = 7\n[registry.\"a.b:5000\"]\nhttp = true\nca = [\"x.pem\", \"/y.pem\"]\n\
             [registry.\"docker.io\"]\nmirrors = [\"m.example.com/hub\"]\n",
        )
        .unwrap();
        let more = "parallel = 9\n[registry.\"a.b:5000\"]\nhttp = false\n";
        settings.merge(Path::new("/home/u/registries.toml"), more).unwrap();
        assert_eq!((settings.retries(), settings.parallel()), (2, 9));
        assert_eq!(settings.idle_timeout(), Duration::from_secs(7));
        let entry = settings.registry("A.b:5000").unwrap();
        assert_eq!(entry.http, Some(false));
        assert_eq!(entry.ca, Some(vec![PathBuf::from("/etc/bld/x.pem"), PathBuf::from("/y.pem")]));
        let hub = Some(vec!["m.example.com/hub".to_owned()]);
        assert_eq!(settings.registry("index.docker.io").unwrap().mirrors, hub);
        assert!(settings.registry("other").is_none());
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, line, part) in [
            ("retries = 1\nretry = 2\n", 2, "unknown field `retry`"),
            ("\n\n[registry.\"a.b\"]\nhtpp = true\n", 4, "unknown field `htpp`"),
            ("retries = \"x\"", 1, "invalid type"),
            ("idle-timeout = 0", 1, "at least 1"),
            ("\nparallel = 0", 2, "from 1 to 64"),
            ("[registry.\"a/b\"]\n", 1, "is not a registry's host name"),
            ("[registry.\"a.b\"]\nmirrors = [\n\"ok.example.com\",\n\"ftp://x\"]", 4, "is not a mirror"),
            ("[registry.\"a.b\"]\nchunk-size = 5\n", 2, "chunk-size must be at least"),
            ("[registry.\"a.b\"]\nclient-cert = \"x\"\n", 1, "together"),
            ("[registry", 1, ""),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("/etc/bld/registries.toml:{line}: ")), "{text}: {error}");
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn mirrors() {
        let mirror = |http, authority: &str, prefix: &str| {
            Some(Mirror { http, authority: authority.to_owned(), prefix: prefix.to_owned() })
        };
        for (text, expected) in [
            ("m.example.com", mirror(None, "m.example.com", "")),
            ("http://10.0.0.1:5000/", mirror(Some(true), "10.0.0.1:5000", "")),
            ("https://h.example.com/v2/hub", mirror(Some(false), "h.example.com", "hub")),
            ("h.example.com/a/b/", mirror(None, "h.example.com", "a/b")),
            ("mirror", mirror(None, "mirror", "")),
            ("[::1]:5000", mirror(None, "[::1]:5000", "")),
            ("ftp://x.y", None),
            ("", None),
            ("a.b/../c", None),
            ("u:p@a.b", None),
            ("a.b?x", None),
        ] {
            assert_eq!(Mirror::parse(text), expected, "{text}");
        }
    }
}
