//! Credential helpers: programs that keep credentials, spoken to over standard input and output.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Credential;
use super::CredentialsError;
use crate::secret::Secret;
use crate::secret::presentable;

const MAX_OUTPUT: u64 = 64 << 10;
/// The user name that stands for an identity token.
const TOKEN_USER: &str = "<token>";

/// A program that is there.
pub(super) struct Helper {
    program: PathBuf,
    timeout: Duration,
}

/// A program and what it has started, ended when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// Looks for `docker-credential-NAME`.
    pub(super) fn find(
        file: &Path,
        name: &str,
        search: &[PathBuf],
        timeout: Duration,
    ) -> Result<Helper, CredentialsError> {
        let is_known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_known) {
            let name = presentable(name).chars().take(60).collect();
            return Err(CredentialsError::HelperName { path: file.to_owned(), name });
        }
        let program = format!("docker-credential-{name}");
        let found = search.iter().map(|directory| directory.join(&program)).find(|path| is_executable(path));
        let program = found.ok_or(CredentialsError::NoHelper { path: file.to_owned(), program })?;
        Ok(Helper { program, timeout })
    }

    /// What it has for a key.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let answer = match self.run("get", key.as_bytes()).await? {
            Ok(answer) => answer,
            Err(message) if message.contains("credentials not found") => return Ok(None),
            Err(message) => return Err(self.error("get", message)),
        };
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| self.error("get", "its answer is not JSON of a user name and a secret".to_owned()))?;
        if answer.secret.is_empty() {
            return Ok(None);
        }
        let secret = Secret::new(answer.secret);
        if answer.username == TOKEN_USER {
            return Ok(Some(Credential::Identity { token: secret }));
        }
        Ok(Some(Credential::Password { username: answer.username, password: secret }))
    }

    /// Has it keep a credential.
    pub(super) async fn store(&self, key: &str, credential: &Credential) -> Result<(), CredentialsError> {
        let (username, secret) = match credential {
            Credential::Password { username, password } => (username.as_str(), password),
            Credential::Identity { token } => (TOKEN_USER, token),
        };
        let input = serde_json::json!({ "ServerURL": key, "Username": username, "Secret": secret.expose() });
        let outcome = self.run("store", input.to_string().as_bytes()).await?;
        outcome.map(|_| ()).map_err(|message| self.error("store", message))
    }

    /// Has it forget a credential.
    pub(super) async fn erase(&self, key: &str) -> Result<(), CredentialsError> {
        let outcome = self.run("erase", key.as_bytes()).await?;
        outcome.map(|_| ()).map_err(|message| self.error("erase", message))
    }

    /// Its name.
    pub(super) fn program(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What it printed; the inner error is its message when it failed.
    async fn run(&self, verb: &'static str, input: &[u8]) -> Result<Result<Vec<u8>, String>, CredentialsError> {
        let limit = self.timeout.as_secs_f32();
        let run = tokio::time::timeout(self.timeout, self.talk(verb, input)).await;
        run.unwrap_or_else(|_| Err(self.error(verb, format!("it has not ended after {limit} s"))))
    }

    async fn talk(&self, verb: &'static str, input: &[u8]) -> Result<Result<Vec<u8>, String>, CredentialsError> {
        let failed = |error: std::io::Error| self.error(verb, error.to_string());
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What a helper complains of may hold what it keeps; its answer tells enough.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            // What it starts is to end with it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input may still answer.
                stdin.write_all(input).await.ok();
                stdin.write_all(b"\n").await.ok();
            }
        };
        let listen = async {
            let mut out = Vec::new();
            let Some(stdout) = stdout else { return Ok(out) };
            stdout.take(MAX_OUTPUT + 1).read_to_end(&mut out).await.map(|_| out)
        };
        let ((), out) = tokio::join!(feed, listen);
        let out = out.map_err(failed)?;
        if out.len() as u64 > MAX_OUTPUT {
            return Err(self.error(verb, format!("it prints more than {MAX_OUTPUT} bytes")));
        }
        let status = child.wait().await.map_err(failed)?;
        // Waited for, its number may soon be another's; what it left on purpose may go on.
        group.0 = None;
        if status.success() {
            return Ok(Ok(out));
        }
        let message = presentable(&String::from_utf8_lossy(&out));
        Ok(Err(if message.is_empty() { format!("it failed with {status}") } else { message }))
    }

    fn error(&self, verb: &'static str, reason: String) -> CredentialsError {
        CredentialsError::Helper { program: self.program(), verb, reason }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
