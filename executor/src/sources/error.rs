//! What can go wrong with a source on the network. No message shows a password or a token.

use std::path::PathBuf;

use bld_cache::StoreError;
use bld_oci::Digest;
use bld_solver::remote::RemoteUrl;

use crate::layers::LayerError;

/// A source cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server could not be asked.
    #[error("cannot fetch {url}: {reason}")]
    Transport {
        /// What was asked for.
        url: RemoteUrl,
        /// Why it failed.
        reason: String,
        /// Worth another try.
        transient: bool,
    },
    /// The server said no.
    #[error("cannot fetch {url}: the server answered {status}")]
    Status {
        /// What was asked for.
        url: RemoteUrl,
        /// Its status.
        status: u16,
        /// How long the server wants to be left alone, in seconds.
        retry_after: Option<u64>,
    },
    /// It is not what was announced.
    #[error("{url} has the wrong checksum: expected {expected}, got {actual}")]
    Checksum {
        /// What was asked for.
        url: RemoteUrl,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// It is too large.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: RemoteUrl,
        /// The limit.
        limit: u64,
    },
    /// Certificates are needed and there are none.
    #[error("cannot fetch {url}: this machine has no CA certificates")]
    NoCertificates {
        /// What was asked for.
        url: RemoteUrl,
    },
    /// The client cannot be made.
    #[error("cannot set up an HTTP client: {reason}")]
    Client {
        /// What is wrong.
        reason: String,
    },
    /// A secret that cannot be sent.
    #[error("the secret `{name}` is empty or not printable text")]
    BadSecret {
        /// Its id.
        name: String,
    },
    /// There is no git.
    #[error("`git` was not found, and {remote} is a git repository")]
    NoGit {
        /// The repository.
        remote: RemoteUrl,
    },
    /// Git failed.
    #[error("git cannot {verb} {remote}: {reason}")]
    Git {
        /// What it was to do.
        verb: &'static str,
        /// The repository.
        remote: RemoteUrl,
        /// What it said.
        reason: String,
    },
    /// The reference does not exist.
    #[error("{remote} has no reference `{reference}`")]
    NoReference {
        /// The repository.
        remote: RemoteUrl,
        /// The reference.
        reference: String,
    },
    /// The reference stands for another commit.
    #[error("{remote} has the wrong commit: expected {expected}, got {actual}")]
    Commit {
        /// The repository.
        remote: RemoteUrl,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The subdirectory is missing, or something else is in its place.
    #[error("{remote} has no directory `{subdirectory}`: each part of it must be a real directory, not a link")]
    NoSubdirectory {
        /// The repository.
        remote: RemoteUrl,
        /// The subdirectory.
        subdirectory: String,
    },
    /// A context is neither an archive nor a Dockerfile.
    #[error("{what} is neither an archive nor a Dockerfile: it is longer than {limit} bytes and no archive")]
    NotAContext {
        /// Which.
        what: String,
        /// How long a Dockerfile may be.
        limit: u64,
    },
    /// A context cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// Which.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A context's archive cannot be unpacked.
    #[error("cannot unpack {what}")]
    Unpack {
        /// Which.
        what: String,
        /// What is wrong with it.
        source: LayerError,
    },
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Asked for the pin of something that is not on the network.
    #[error("this source is not on the network")]
    NotRemote,
    /// The build was stopped.
    #[error("canceled")]
    Canceled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SourceError::Status { url, status: 401 | 403, .. } => Some(format!(
                "a secret named HTTP_AUTH_TOKEN_{host} or HTTP_AUTH_HEADER_{host} is sent to this host",
                host = url.host()
            )),
            SourceError::Git { remote, reason, .. } if remote.scheme().starts_with("http") && asks_for_user(reason) => {
                Some("a secret named GIT_AUTH_TOKEN is sent to the server".to_owned())
            }
            SourceError::Git { remote, reason, .. }
                if matches!(remote.scheme(), "ssh" | "") && reason.contains("Permission denied") =>
            {
                Some("`--ssh default` lets ssh use the agent that SSH_AUTH_SOCK names".to_owned())
            }
            SourceError::NoCertificates { .. } => {
                Some("install the package ca-certificates, or name a bundle with SSL_CERT_FILE".to_owned())
            }
            SourceError::Transport { reason, .. } if reason.contains("UnknownIssuer") => Some(
                "if the authority that signed its certificate is yours, name a bundle with it in SSL_CERT_FILE"
                    .to_owned(),
            ),
            SourceError::NoGit { .. } => Some("install git".to_owned()),
            _ => None,
        }
    }

    pub(super) fn is_transient(&self) -> bool {
        match self {
            SourceError::Transport { transient, .. } => *transient,
            SourceError::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

fn asks_for_user(reason: &str) -> bool {
    ["could not read Username", "Authentication failed", "terminal prompts disabled"]
        .iter()
        .any(|text| reason.contains(text))
}
