//! User names, passwords and tokens: where they are found, and how `login` and `logout` keep them.
//!
//! ```text
//! config.json   { "auths": { KEY: { "auth": base64(user:password), "identitytoken": .. } }, "credsStore": NAME, "credHelpers": { HOST: NAME } }
//! KEY           docker.io: "https://index.docker.io/v1/", else "HOST[:PORT]" or, more exact, "HOST[:PORT]/path/of/repository"
//! NAME          the program docker-credential-NAME
//! ```
//! In each file the helper of the host is asked first, then the store, then `auths`. The first file that knows the host decides.

mod file;
mod helper;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::secret::Secret;

const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a registry wants to know of its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged for others.
    Identity {
        /// The token.
        token: Secret,
    },
}

/// The files with credentials. Nothing is read before it is needed.
#[derive(Debug)]
pub struct Credentials {
    /// Looked into in this order; `login` writes to the first.
    files: Vec<PathBuf>,
    /// Where helper programs are looked for.
    search: Vec<PathBuf>,
    helper_timeout: Duration,
    /// Answers of helpers, by program and key.
    asked: Mutex<HashMap<(String, String), Option<Credential>>>,
}

/// Where `login` has put the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Readable by the user in this file.
    File(PathBuf),
    /// Given to this helper program.
    Helper(String),
}

/// Something the user should know, though it stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remark {
    /// Others can read secrets.
    Readable { path: PathBuf, mode: u32 },
    /// A helper that a file names is not installed.
    NoHelper { path: PathBuf, program: String },
}

/// Credentials that could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file that cannot be used.
    #[error("cannot {verb} {path}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not JSON.
    #[error("{path} is not a configuration file with credentials")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// A field of the wrong kind.
    #[error("{path}: {field} must be {expected}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A name that no helper program has.
    #[error("{path}: `{name}` is not the name of a credential helper: letters, digits, `.`, `_` and `-` only")]
    HelperName {
        /// The file.
        path: PathBuf,
        /// The name, shortened.
        name: String,
    },
    /// A helper program that is to store credentials and is not installed.
    #[error("{path} names the credential helper {program}, which is not installed")]
    NoHelper {
        /// The file.
        path: PathBuf,
        /// The program.
        program: String,
    },
    /// A helper program that failed.
    #[error("credential helper {program} cannot {verb}: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it was to do.
        verb: &'static str,
        /// What happened.
        reason: String,
    },
    /// There is no file to write to.
    #[error(
        "no place for credentials is known: neither a home directory nor DOCKER_CONFIG nor REGISTRY_AUTH_FILE is set"
    )]
    Nowhere,
    /// A user name that cannot be sent.
    #[error("a user name must not be empty or hold a colon")]
    UserName,
}

impl CredentialsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            CredentialsError::NoHelper { path, .. } => {
                Some(format!("install it, or remove `credsStore` and `credHelpers` from {}", path.display()))
            }
            CredentialsError::Helper { program, .. } => Some(format!("try the helper by itself: `{program} list`")),
            _ => None,
        }
    }
}

impl Credentials {
    /// Credentials of these files, the first of which `login` writes to; none of them has to exist. Helper programs are looked for in
    /// the directories of `path`, a list as in the variable PATH.
    pub fn new(files: Vec<PathBuf>, path: Option<&OsStr>) -> Credentials {
        // Only absolute directories: what the working directory holds is not to be run.
        let search =
            path.iter().flat_map(|list| std::env::split_paths(list)).filter(|path| path.is_absolute()).collect();
        Credentials { files, search, helper_timeout: HELPER_TIMEOUT, asked: Mutex::default() }
    }

    /// No credentials at all.
    pub fn none() -> Credentials {
        Credentials::new(Vec::new(), None)
    }

    /// The same with another limit for how long a helper may take.
    #[must_use]
    pub fn with_helper_timeout(self, helper_timeout: Duration) -> Credentials {
        Credentials { helper_timeout, ..self }
    }

    /// What is stored for a repository of a host. What the user should know of is passed to `remark`.
    pub(crate) async fn find(
        &self,
        host: &str,
        repository: Option<&str>,
        remark: &(dyn Fn(Remark) + Sync),
    ) -> Result<Option<Credential>, CredentialsError> {
        for path in &self.files {
            let Some(file) = file::File::read(path)? else { continue };
            let keys = keys(host);
            for name in [file.helper_of(&keys)?, file.store()?].into_iter().flatten() {
                match self.ask(&file, &name, &keys[0]).await {
                    Ok(Some(credential)) => return Ok(Some(credential)),
                    Ok(None) => {}
                    Err(CredentialsError::NoHelper { path, program }) => remark(Remark::NoHelper { path, program }),
                    Err(error) => return Err(error),
                }
            }
            if let Some(credential) = file.entry(&keys, repository)? {
                if let Some(mode) = file.open_mode() {
                    remark(Remark::Readable { path: path.clone(), mode });
                }
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    async fn ask(&self, file: &file::File, name: &str, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let memo = (name.to_owned(), key.to_owned());
        let known = self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&memo).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = helper::Helper::find(file.path(), name, &self.search, self.helper_timeout)?.get(key).await?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(memo, found.clone());
        Ok(found)
    }

    /// Stores a password, with the helper that the first file names for the host, or in that file.
    pub(crate) async fn store(&self, host: &str, credential: &Credential) -> Result<Stored, CredentialsError> {
        let path = self.files.first().ok_or(CredentialsError::Nowhere)?;
        let keys = keys(host);
        let file = file::File::read(path)?;
        let name = match &file {
            Some(file) => file.helper_of(&keys)?.or(file.store()?),
            None => None,
        };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(name) = name {
            let helper = helper::Helper::find(path, &name, &self.search, self.helper_timeout)?;
            helper.store(&keys[0], credential).await?;
            file::change(path, |file| file.set(&keys, None))?;
            return Ok(Stored::Helper(helper.program()));
        }
        file::change(path, |file| file.set(&keys, Some(credential)))?;
        Ok(Stored::File(path.clone()))
    }

    /// Forgets what is stored for a host; whether there was something.
    pub(crate) async fn erase(&self, host: &str) -> Result<bool, CredentialsError> {
        let mut found = false;
        let keys = keys(host);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for path in &self.files {
            let Some(file) = file::File::read(path)? else { continue };
            for name in [file.helper_of(&keys)?, file.store()?].into_iter().flatten() {
                let helper = match helper::Helper::find(path, &name, &self.search, self.helper_timeout) {
                    Ok(helper) => helper,
                    Err(CredentialsError::NoHelper { .. }) => continue,
                    Err(error) => return Err(error),
                };
                if helper.get(&keys[0]).await?.is_some() {
                    helper.erase(&keys[0]).await?;
                    found = true;
                }
            }
            if file.has(&keys) {
                file::change(path, |file| file.remove(&keys))?;
                found = true;
            }
        }
        Ok(found)
    }
}

/// The keys a host's credentials may have, the one to write first.
fn keys(host: &str) -> Vec<String> {
    if matches!(host, "docker.io" | "index.docker.io" | crate::endpoint::DOCKER_HOST) {
        return ["https://index.docker.io/v1/", "docker.io", "index.docker.io", crate::endpoint::DOCKER_HOST]
            .map(str::to_owned)
            .to_vec();
    }
    vec![host.to_owned()]
}
