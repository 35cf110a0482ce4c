//! Sources on the network: files behind `http(s)` URLs and commits of git repositories.
//!
//! | module | does |
//! |---|---|
//! | `http` | fetches a file into the content store; asks the server first whether it changed |
//! | `client` | the HTTP client: proxies, redirections, certificates; made when the first URL is met |
//! | `git` | finds out which commit a reference stands for, fetches it, lays out its files |
//! | `command` | one run of `git`, with an environment nobody else has a say in |
//! | `archive` | build contexts that come as one file |
//! | `fetched` | a fetched file as a tree of files |
//!
//! ```text
//! <store>/git/<hash of the remote>/   a bare repository with the commits that were asked for, shallow
//! <store>/git/known_hosts             host keys of ssh servers, as first seen
//! ```
//! What a source stands for is found out once in a build and before anything is looked up: that is its pin. What is made later is
//! what was pinned. Passwords and tokens are in no key, no record, no message and no argument vector.

mod archive;
mod client;
mod command;
mod error;
mod fetched;
mod git;
mod http;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bld_cache::Store;
use bld_oci::Timestamp;
use bld_solver::op::Source;
use bld_solver::remote::GitSource;
use bld_solver::remote::HttpSource;
use bld_solver::remote::Remote;
use tokio::sync::OnceCell;

pub use self::archive::ContextFile;
pub use self::archive::Unpacked;
pub use self::archive::read_context;
pub use self::error::SourceError;
pub(crate) use self::fetched::FetchedTree;
pub use self::git::Checkout;
pub use self::http::Fetched;
use crate::secrets::Secrets;

/// What a build says about the network.
#[derive(Clone)]
pub struct RemoteConfig {
    /// Secrets by id: `HTTP_AUTH_HEADER_<host>`, `HTTP_AUTH_TOKEN_<host>`, `GIT_AUTH_HEADER[.<host>]`, `GIT_AUTH_TOKEN[.<host>]`.
    pub secrets: Secrets,
    /// `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, by lower-case name.
    pub proxies: BTreeMap<String, String>,
    /// The agent that ssh may ask, if the user allowed it.
    pub ssh_agent: Option<PathBuf>,
    /// Where `git` and `ssh` are looked for.
    pub search_path: String,
    /// The user's home directory: its `.ssh/known_hosts` is believed.
    pub home: Option<PathBuf>,
    /// A server that sends nothing for so long is given up.
    pub idle_timeout: Duration,
    /// No file may be larger.
    pub max_bytes: u64,
    /// The time of files whose source gives none.
    pub made_up_time: Timestamp,
}

impl RemoteConfig {
    /// No secret, no proxy, no agent.
    pub fn new(search_path: String) -> RemoteConfig {
        RemoteConfig {
            secrets: Secrets::default(),
            proxies: BTreeMap::new(),
            ssh_agent: None,
            search_path,
            home: None,
            idle_timeout: Duration::from_mins(1),
            max_bytes: 8 << 30,
            made_up_time: Timestamp::FIXED,
        }
    }

    fn secret(&self, name: &str) -> Result<Option<&str>, SourceError> {
        let Some(bytes) = self.secrets.get(name) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).ok().map(str::trim);
        let text = text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
        text.map(Some).ok_or_else(|| SourceError::BadSecret { name: name.to_owned() })
    }
}

impl std::fmt::Debug for RemoteConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteConfig").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// Fetches sources for one build. Clones share what was found.
#[derive(Debug, Clone)]
pub struct Remotes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    config: RemoteConfig,
    client: OnceCell<client::Client>,
    /// What was pinned, so that what is made is what was pinned.
    files: Mutex<HashMap<HttpKey, Arc<OnceCell<Fetched>>>>,
    commits: Mutex<HashMap<GitKey, Arc<OnceCell<String>>>>,
}

/// URL and expected digest.
type HttpKey = (String, Option<bld_oci::Digest>);

/// Repository, reference and expected commit.
type GitKey = (String, Option<String>, Option<String>);

impl Remotes {
    /// Sources for one build.
    pub fn new(store: Store, config: RemoteConfig) -> Remotes {
        let shared =
            Shared { store, config, client: OnceCell::new(), files: Mutex::default(), commits: Mutex::default() };
        Remotes { shared: Arc::new(shared) }
    }

    /// A digest of what `source` stands for: everything that enters the files made of it.
    pub(crate) async fn pin(&self, source: &Source) -> Result<[u8; 32], SourceError> {
        match source {
            Source::Http(http) => self.pin_http(http).await,
            Source::Git(git) => self.pin_git(git).await,
            Source::Image { .. } | Source::Local { .. } => Err(SourceError::NotRemote),
        }
    }

    /// The time of a source: of its commit, as its server says, or of the newest file of the archive it is.
    pub async fn time(&self, remote: &Remote) -> Result<Option<Timestamp>, SourceError> {
        let http = match remote {
            Remote::Git(git) => return self.commit_time(git).await.map(Some),
            Remote::Http(http) => http,
        };
        let fetched = self.fetch(http).await?;
        if fetched.modified.is_some() {
            return Ok(fetched.modified);
        }
        let body = self.shared.store.blobs().open(&fetched.digest)?;
        let found = tokio::task::spawn_blocking(move || archive::newest_file(body)).await;
        found.map_err(|_| SourceError::Canceled)
    }

    async fn pin_http(&self, source: &HttpSource) -> Result<[u8; 32], SourceError> {
        let hasher = blake3::Hasher::new();
        // With a checksum nothing can change it: nobody has to be asked.
        let (digest, time) = if let Some(checksum) = source.checksum {
            (checksum, None)
        } else {
            let fetched = self.fetch(source).await?;
            (fetched.digest, fetched.modified)
        };
        let time = time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        Ok(hash(hasher, &[digest.to_string().as_bytes(), source.name.as_bytes(), time.as_bytes(), b"0600 0:0"]))
    }

    async fn pin_git(&self, source: &GitSource) -> Result<[u8; 32], SourceError> {
        let commit = self.commit(source).await?;
        let flags = [source.submodules, source.keep_git_dir, source.commit_time].map(u8::from);
        let mut parts = vec![commit.as_bytes(), source.subdirectory.as_bytes(), &flags[..]];
        // It is written into the repository's configuration then.
        let remote = source.remote.to_string();
        if source.keep_git_dir {
            parts.push(remote.as_bytes());
        }
        Ok(hash(blake3::Hasher::new(), &parts))
    }
}

fn hash(mut hasher: blake3::Hasher, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Base64 with padding: what HTTP's basic authentication wants.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 0x3f;
            let symbol = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if position <= group.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

/// `user:password` of a URL, percent signs taken out, as the value of an Authorization header.
fn basic(user_info: &str) -> String {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let plain = |text: &str| -> Vec<u8> {
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let hidden = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
            let hidden = hidden.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
            out.push(hidden.unwrap_or(*byte));
            at += if hidden.is_some() { 3 } else { 1 };
        }
        out
    };
    let pair = [plain(user), b":".to_vec(), plain(password)].concat();
    format!("Basic {}", base64(&pair))
}

#[cfg(test)]
mod tests;
