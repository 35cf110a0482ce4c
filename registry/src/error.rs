//! What can go wrong with a registry, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bld_oci::hashing::ContentError;
use bld_oci::image::ImageError;

use crate::credentials::CredentialsError;

/// A request to a registry that failed. `doing` says what was wanted (`pull the manifest of docker.io/library/alpine:latest`),
/// `host` who was asked, `detail` what the registry says about it (empty, or beginning with a colon). No variant holds a
/// credential or a signed URL.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// 401 in the end.
    #[error("cannot {doing}: {host} {}{detail}", if *tried { "does not accept the credentials" } else { "asks for a login" })]
    Unauthorized {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Whether there were credentials.
        tried: bool,
        /// What the registry says.
        detail: String,
    },
    /// 403.
    #[error("cannot {doing}: {host} forbids it{detail}")]
    Denied {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What the registry says.
        detail: String,
    },
    /// 404.
    #[error("cannot {doing}: {host} does not have it{detail}")]
    NotFound {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What the registry says.
        detail: String,
    },
    /// 429.
    #[error("cannot {doing}: {host} limits the number of requests{}{detail}", after(*wait))]
    RateLimited {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// For how long it wants to be left alone.
        wait: Option<Duration>,
        /// Whether asking again soon can help.
        transient: bool,
        /// What the registry says.
        detail: String,
    },
    /// Any other status that is not what it should be.
    #[error("cannot {doing}: {host} answers with status {status}{}{detail}", after(*wait))]
    Status {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// The status.
        status: u16,
        /// For how long it wants to be left alone.
        wait: Option<Duration>,
        /// What the registry says.
        detail: String,
    },
    /// No connection.
    #[error("cannot {doing}: no connection to {host}: {reason}")]
    Unreachable {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Why.
        reason: String,
    },
    /// A connection that broke.
    #[error("cannot {doing}: the connection to {host} failed: {reason}")]
    Transport {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// How.
        reason: String,
    },
    /// A certificate that is not trusted.
    #[error("cannot {doing}: the certificate of {host} is not trusted: {reason}")]
    Certificate {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Why.
        reason: String,
    },
    /// Something else than TLS where TLS should be.
    #[error("cannot {doing}: {host} does not speak https")]
    NotTls {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
    },
    /// No certificate authority is known.
    #[error("cannot {doing}: no certificate authorities were found on this machine, so {host} cannot be trusted")]
    NoCertificates {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
    },
    /// No byte for too long, or too few of them.
    #[error("cannot {doing}: {host} sent nothing for {seconds} s, or next to nothing")]
    Stalled {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A redirection, or a place to upload to, that is not followed.
    #[error("cannot {doing}: {host} sends elsewhere, which is not followed: {reason}")]
    Redirect {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Why not.
        reason: String,
    },
    /// A token server that is not asked.
    #[error("cannot {doing}: {host} asks for a token of {realm}, which is not asked: {reason}")]
    ForeignRealm {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Where tokens are given, without query.
        realm: String,
        /// Why it is not asked.
        reason: String,
    },
    /// A token server that does not give a token.
    #[error("cannot {doing}: token server {realm} of {host}: {reason}")]
    TokenServer {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// Where tokens are given, without query.
        realm: String,
        /// What is wrong.
        reason: String,
        /// Whether asking again can help.
        transient: bool,
        /// For how long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// An answer that is larger than any such answer.
    #[error("cannot {doing}: {what} from {host} has more than {limit} bytes")]
    TooLarge {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What was too large.
        what: &'static str,
        /// The limit passed.
        limit: u64,
    },
    /// Bytes that are not those promised.
    #[error("cannot {doing}: {host} sends something else")]
    Content {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What is different.
        source: Box<ContentError>,
    },
    /// A manifest, index or configuration that cannot be used.
    #[error("cannot {doing} from {host}")]
    Document {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What is wrong.
        source: Box<ImageError>,
    },
    /// An answer that the protocol does not allow.
    #[error("cannot {doing}: {host} {reason}")]
    Protocol {
        /// What was wanted.
        doing: String,
        /// Who was asked.
        host: String,
        /// What it did.
        reason: String,
    },
    /// A file that the settings name.
    #[error("cannot read {path}, which the settings of registry {host} name")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// A file that the settings name and that does not hold what it should.
    #[error("{path}, which the settings of registry {host} name, has no usable {what}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
        /// What it should hold.
        what: &'static str,
    },
    /// A proxy that cannot be used.
    #[error("{name} is not the URL of a proxy")]
    Proxy {
        /// The name of the setting.
        name: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// What was received could not be put away.
    #[error("cannot {doing}: cannot write what was received")]
    Sink {
        /// What was wanted.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// What should be sent could not be read.
    #[error("cannot {doing}: cannot read what is to be sent")]
    Source {
        /// What was wanted.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// Credentials that could not be read or stored.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// What the retrying needs to know of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// May work next time, at the earliest after this time.
    Transient(Option<Duration>),
    /// Will not work with this host; another may do.
    Host,
    /// Our own side: no host can help.
    Local,
}

impl RegistryError {
    /// What the user can do, if there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            RegistryError::Unauthorized { host, tried: false, .. } => {
                Some(format!("log in with `bld login {}`", login_name(host)))
            }
            RegistryError::Unauthorized { host, tried: true, .. } => Some(format!(
                "the stored user may lack the right, or its password may have changed: `bld login {}`",
                login_name(host)
            )),
            RegistryError::Denied { host, .. } => {
                Some(format!("check the repository's name and that your user may do this: `bld login {}`", login_name(host)))
            }
            RegistryError::NotFound { host, .. } => Some(format!(
                "{host} was asked; check the spelling, or log in if the repository is private: `bld login {}`",
                login_name(host)
            )),
            RegistryError::RateLimited { host, .. } => Some(format!(
                "logging in raises the limit of most registries: `bld login {}`; or name a mirror in registries.toml",
                login_name(host)
            )),
            RegistryError::Certificate { host, .. } => Some(format!(
                "if a private authority has signed it, name its file in registries.toml: [registry.\"{host}\"] ca = [\"/path/ca.pem\"]"
            )),
            RegistryError::NotTls { host, .. } => {
                Some(format!("if it is to be used without encryption, say so in registries.toml: [registry.\"{host}\"] http = true"))
            }
            RegistryError::NoCertificates { host, .. } => Some(format!(
                "install the package ca-certificates, or name a file in registries.toml: [registry.\"{host}\"] ca = [\"/path/ca.pem\"]"
            )),
            RegistryError::Redirect { .. } => Some(
                "if this is right, name the other host in registries.toml, as a table of its own: [registry.\"HOST:PORT\"]".to_owned(),
            ),
            RegistryError::ForeignRealm { host, .. } => Some(format!(
                "if that server is to be trusted, name it in registries.toml: [registry.\"{host}\"] token-servers = [\"HOST\"]"
            )),
            RegistryError::Status { status: 405, .. } => {
                Some("the registry does not allow this; its administrator may have to enable it".to_owned())
            }
            RegistryError::Credentials(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the registry said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, RegistryError::NotFound { .. })
    }

    /// Whether nobody could be reached: the machine may be without network.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, RegistryError::Unreachable { .. })
    }

    pub(crate) fn nature(&self) -> Nature {
        match self {
            RegistryError::Transport { .. } | RegistryError::Stalled { .. } | RegistryError::Unreachable { .. } => {
                Nature::Transient(None)
            }
            RegistryError::RateLimited { transient: true, wait, .. }
            | RegistryError::TokenServer { transient: true, wait, .. }
            | RegistryError::Status { status: 401 | 408 | 425 | 500.., wait, .. } => Nature::Transient(*wait),
            RegistryError::Sink { .. }
            | RegistryError::Source { .. }
            | RegistryError::Credentials(_)
            | RegistryError::Proxy { .. }
            | RegistryError::Client { .. } => Nature::Local,
            _ => Nature::Host,
        }
    }
}

fn after(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(" and wants to be asked again in {} s", wait.as_secs()))
}

/// What to type after `bld login`.
fn login_name(host: &str) -> &str {
    if host == crate::endpoint::DOCKER_HOST { bld_oci::reference::DEFAULT_DOMAIN } else { host }
}
