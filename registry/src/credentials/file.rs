//! One file with credentials.

use std::fs::File as OpenFile;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize as _;
use serde_json::Map;
use serde_json::Value;

use super::Credential;
use super::CredentialsError;
use crate::given;
use crate::secret::Secret;

const MAX_LINKS: usize = 8;

/// A file that was read.
pub(super) struct File {
    path: PathBuf,
    mode: u32,
    content: Map<String, Value>,
}

impl File {
    /// Reads it; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<File>, CredentialsError> {
        let error = |source| CredentialsError::File { verb: "read", path: path.to_owned(), source };
        let (text, metadata) = match given::read(path) {
            Err(source) if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            other => other.map_err(error)?,
        };
        let mode = metadata.permissions().mode() & 0o777;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(File { path: path.to_owned(), mode, content: Map::new() }));
        }
        let content =
            serde_json::from_slice(&text).map_err(|source| CredentialsError::Json { path: path.to_owned(), source })?;
        Ok(Some(File { path: path.to_owned(), mode, content }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's mode if others than its owner can read it.
    pub(super) fn open_mode(&self) -> Option<u32> {
        Some(self.mode).filter(|mode| mode & 0o077 != 0)
    }

    /// The helper that is named for exactly this host.
    pub(super) fn helper_of(&self, keys: &[String]) -> Result<Option<String>, CredentialsError> {
        let Some(helpers) = self.object("credHelpers")? else { return Ok(None) };
        match keys.iter().find_map(|key| Some((key, helpers.get(key)?))) {
            None => Ok(None),
            Some((_, Value::String(name))) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
            Some((key, _)) => Err(self.field(format!("credHelpers.{key}"), "a string")),
        }
    }

    /// The helper for all hosts.
    pub(super) fn store(&self) -> Result<Option<String>, CredentialsError> {
        match self.content.get("credsStore") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
            Some(_) => Err(self.field("credsStore".to_owned(), "a string")),
        }
    }

    /// What `auths` says of a repository, or of the host if it says nothing of that.
    pub(super) fn entry(
        &self,
        keys: &[String],
        repository: Option<&str>,
    ) -> Result<Option<Credential>, CredentialsError> {
        let Some(auths) = self.object("auths")? else { return Ok(None) };
        let mut path = repository;
        loop {
            for key in keys.iter().filter(|key| path.is_none() || !key.contains("://")) {
                let exact = path.map_or_else(|| key.clone(), |path| format!("{key}/{path}"));
                let found = auths.get(&exact).or_else(|| {
                    // Old forms: `https://HOST/v1/`.
                    auths.iter().find(|(name, _)| normal(name) == normal(&exact)).map(|(_, value)| value)
                });
                if let Some(credential) = found.map(|value| self.credential(&exact, value)).transpose()?.flatten() {
                    return Ok(Some(credential));
                }
            }
            // The longest key that fits is meant.
            let Some(longer) = path else { return Ok(None) };
            path = longer.rsplit_once('/').map(|(shorter, _)| shorter);
        }
    }

    /// Whether `auths` has an entry for a host.
    pub(super) fn has(&self, keys: &[String]) -> bool {
        self.content
            .get("auths")
            .and_then(Value::as_object)
            .is_some_and(|auths| auths.keys().any(|name| is_one(name, keys)))
    }

    /// Puts an entry in, an empty one if a helper has the secret.
    pub(super) fn set(&mut self, keys: &[String], credential: Option<&Credential>) {
        self.remove(keys);
        let mut entry = Map::new();
        match credential {
            None => {}
            Some(Credential::Password { username, password }) => {
                let plain = format!("{username}:{}", password.expose());
                entry.insert("auth".to_owned(), STANDARD.encode(plain).into());
            }
            Some(Credential::Identity { token }) => {
                entry.insert("identitytoken".to_owned(), token.expose().into());
            }
        }
        let auths = self.content.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        if let (Value::Object(auths), Some(key)) = (auths, keys.first()) {
            auths.insert(key.clone(), Value::Object(entry));
        }
    }

    /// Takes a host's entries out.
    pub(super) fn remove(&mut self, keys: &[String]) {
        if let Some(Value::Object(auths)) = self.content.get_mut("auths") {
            auths.retain(|name, _| !is_one(name, keys));
        }
    }

    fn object(&self, field: &str) -> Result<Option<&Map<String, Value>>, CredentialsError> {
        match self.content.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.field(field.to_owned(), "an object")),
        }
    }

    fn credential(&self, key: &str, value: &Value) -> Result<Option<Credential>, CredentialsError> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::Identity { token: Secret::new(token.to_owned()) }));
        }
        if let Some(auth) = text("auth") {
            let plain =
                decode(auth).ok_or_else(|| self.field(format!("auths.{key}.auth"), "base64 of USER:PASSWORD"))?;
            let pair = plain.split_once(':');
            let (username, password) =
                pair.ok_or_else(|| self.field(format!("auths.{key}.auth"), "base64 of USER:PASSWORD"))?;
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credential::Password {
                username: username.to_owned(),
                password: Secret::new(password.to_owned()),
            }));
        }
        let (Some(username), Some(password)) = (text("username"), text("password")) else { return Ok(None) };
        Ok(Some(Credential::Password { username: username.to_owned(), password: Secret::new(password.to_owned()) }))
    }

    fn field(&self, field: String, expected: &'static str) -> CredentialsError {
        CredentialsError::Field { path: self.path.clone(), field, expected }
    }
}

/// Reads, changes and replaces a file, which is made if there is none; of two processes one waits.
pub(super) fn change(path: &Path, edit: impl FnOnce(&mut File)) -> Result<(), CredentialsError> {
    let path = &followed(path)?;
    let error = |verb| move |source| CredentialsError::File { verb, path: path.clone(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(error("make the directory of"))?;
    let lock = OpenFile::open(directory).and_then(|directory| directory.lock().map(|()| directory));
    let lock = lock.map_err(error("lock the directory of"))?;
    let mut file = File::read(path)?.unwrap_or_else(|| File { path: path.clone(), mode: 0o600, content: Map::new() });
    edit(&mut file);
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    let json = file.content.serialize(&mut writer);
    json.map_err(|source| CredentialsError::Json { path: path.clone(), source })?;
    text.push(b'\n');
    // Such files have mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(error("write"))?;
    temporary.write_all(&text).and_then(|()| temporary.as_file().sync_all()).map_err(error("write"))?;
    temporary.persist(path).map_err(|failed| error("replace")(failed.error))?;
    drop(lock);
    Ok(())
}

/// Where the file really is: a symbolic link stays one.
fn followed(path: &Path) -> Result<PathBuf, CredentialsError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = std::fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    let source = io::Error::other("too many symbolic links");
    Err(CredentialsError::File { verb: "follow", path, source })
}

fn is_one(name: &str, keys: &[String]) -> bool {
    keys.iter().any(|key| name == key || normal(name) == normal(key))
}

/// A key without what old versions wrote around the host.
fn normal(key: &str) -> &str {
    let Some((_, rest)) = key.split_once("://") else { return key };
    let rest = rest.trim_end_matches('/');
    rest.strip_suffix("/v1").or(rest.strip_suffix("/v2")).unwrap_or(rest)
}

fn decode(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text.trim_end_matches('='))).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_key_is_meant() {
        let entry = |user: &str| serde_json::json!({ "username": user, "password": "x" });
        let content = serde_json::json!({ "auths": {
            "https://index.docker.io/v1/": entry("hub"), "docker.io/team": entry("team"), "docker.io/team/app": entry("app"),
        } });
        let Value::Object(content) = content else { panic!("an object") };
        let file = File { path: PathBuf::new(), mode: 0o600, content };
        let keys = super::super::keys("docker.io");
        for (repository, user) in [
            (None, "hub"),
            (Some("library/alpine"), "hub"),
            (Some("team/other"), "team"),
            (Some("team/app"), "app"),
            (Some("team/app/more"), "app"),
            (Some("teamwork"), "hub"),
        ] {
            let found = file.entry(&keys, repository).unwrap();
            assert!(matches!(found, Some(Credential::Password { username, .. }) if username == user), "{repository:?}");
        }
    }
}
