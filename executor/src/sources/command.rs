//! One run of `git`. Nothing of the machine's configuration is read, nothing is asked of anybody, and only protocols that reach
//! another machine are spoken: what a repository says about further repositories (submodules) cannot name files of this one.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_solver::remote::RemoteUrl;
use rustix::process::Pid;
use rustix::process::Signal;

use super::RemoteConfig;
use super::error::SourceError;

/// What git prints beyond this is thrown away.
const MAX_OUTPUT: u64 = 16 << 20;

/// Protocols of remotes.
const NETWORK: &str = "http:https:git:ssh";

/// Stops what runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Abort {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    aborted: bool,
    child: Option<Child>,
}

/// Aborts when dropped.
#[derive(Debug)]
pub(super) struct AbortOnDrop(pub(super) Abort);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.aborted = true;
        if let Some(child) = &state.child {
            // Not waited for yet, so the number is still its own. Git's helpers are in its group.
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            group.map(|group| rustix::process::kill_process_group(group, Signal::KILL).ok());
        }
    }
}

impl Abort {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs git for one remote.
#[derive(Debug)]
pub(super) struct Git<'a> {
    config: &'a RemoteConfig,
    remote: &'a RemoteUrl,
    abort: Abort,
    /// `name=value` of git's configuration.
    settings: Vec<(String, String)>,
    ssh: String,
}

impl<'a> Git<'a> {
    /// Git for `remote`. `known_hosts` is where host keys of ssh servers are kept.
    pub(super) fn new(
        config: &'a RemoteConfig,
        remote: &'a RemoteUrl,
        known_hosts: &Path,
        abort: Abort,
    ) -> Result<Git<'a>, SourceError> {
        let mut settings: Vec<(String, String)> = [
            ("advice.detachedHead", "false"),
            ("core.autocrlf", "false"),
            ("core.fsmonitor", "false"),
            ("core.hooksPath", "/dev/null"),
            ("core.logAllRefUpdates", "false"),
            ("credential.helper", ""),
            ("fetch.recurseSubmodules", "false"),
            ("gc.auto", "0"),
            ("http.lowSpeedLimit", "1"),
            ("init.defaultBranch", "main"),
            ("maintenance.auto", "false"),
            ("safe.directory", "*"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        settings.push(("http.lowSpeedTime".to_owned(), config.idle_timeout.as_secs().max(1).to_string()));
        if let Some(value) = authorization(config, remote)? {
            let (scheme, host) = (remote.scheme(), remote.host());
            settings.push((format!("http.{scheme}://{host}/.extraHeader"), format!("Authorization: {value}")));
        }
        Ok(Git { config, remote, abort, settings, ssh: ssh_command(config, known_hosts) })
    }

    /// Runs git on the network and answers what it printed.
    pub(super) fn run(&self, verb: &'static str, directory: &Path, arguments: &[&str]) -> Result<String, SourceError> {
        self.run_with(NETWORK, verb, directory, arguments)
    }

    /// Runs git with nothing but local repositories in reach.
    pub(super) fn run_locally(
        &self,
        verb: &'static str,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<String, SourceError> {
        self.run_with("file", verb, directory, arguments)
    }

    fn run_with(
        &self,
        protocols: &str,
        verb: &'static str,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<String, SourceError> {
        let failed = |reason: String| SourceError::Git { verb, remote: self.remote.clone(), reason };
        let (status, output, said) = self.spawn(protocols, directory, arguments).map_err(|error| match error {
            Failure::Canceled => SourceError::Canceled,
            Failure::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                SourceError::NoGit { remote: self.remote.clone() }
            }
            Failure::Io(error) => failed(error.to_string()),
        })?;
        if status.success() {
            return Ok(output);
        }
        Err(failed(self.explanation(&said, status)))
    }

    fn spawn(
        &self,
        protocols: &str,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<(ExitStatus, String, String), Failure> {
        #[expect(clippy::disallowed_methods, reason = "git is a program of its own")]
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", &self.config.search_path)
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TEMPLATE_DIR", "")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_SSH_COMMAND", &self.ssh)
            .env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        // Not in the argument vector, which everybody on this machine can read.
        for (index, (name, value)) in self.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), name).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.envs(&self.config.proxies);
        if let Some(agent) = &self.config.ssh_agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let (stdout, stderr) = {
            let mut state = self.abort.lock();
            if state.aborted {
                return Err(Failure::Canceled);
            }
            let child = state.child.insert(command.spawn().map_err(Failure::Io)?);
            (child.stdout.take(), child.stderr.take())
        };
        let said = std::thread::spawn(move || stderr.map(read_all).unwrap_or_default());
        let output = stdout.map(read_all).unwrap_or_default();
        let said = said.join().unwrap_or_default();
        let mut state = self.abort.lock();
        let aborted = state.aborted;
        let status = state.child.take().map(|mut child| child.wait());
        match status {
            _ if aborted => Err(Failure::Canceled),
            Some(status) => Ok((status.map_err(Failure::Io)?, output, said)),
            None => Err(Failure::Canceled),
        }
    }

    /// What git said, as one line, with what could be a secret taken out.
    fn explanation(&self, said: &str, status: ExitStatus) -> String {
        let lines = said.lines().map(|line| line.trim_start_matches("fatal: ").trim_start_matches("error: ").trim());
        let text = lines.filter(|line| !line.is_empty()).take(6).collect::<Vec<_>>().join("; ");
        let text = text.replace(self.remote.secret(), &self.remote.to_string());
        let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        if text.is_empty() { format!("it ended with {status}") } else { text }
    }
}

enum Failure {
    Canceled,
    Io(std::io::Error),
}

fn read_all(stream: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let mut limited = stream.take(MAX_OUTPUT);
    // What cannot be read is missing; the exit status says whether that matters.
    limited.read_to_end(&mut bytes).ok();
    std::io::copy(&mut limited.into_inner(), &mut std::io::sink()).ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of the Authorization header: from a secret for this host, for all hosts, or from the URL.
fn authorization(config: &RemoteConfig, remote: &RemoteUrl) -> Result<Option<String>, SourceError> {
    if !remote.scheme().starts_with("http") {
        return Ok(None);
    }
    let host = remote.host();
    let name = host.split(':').next().unwrap_or(host);
    for suffix in [format!(".{host}"), format!(".{name}"), String::new()] {
        if let Some(header) = config.secret(&format!("GIT_AUTH_HEADER{suffix}"))? {
            return Ok(Some(header.to_owned()));
        }
        if let Some(token) = config.secret(&format!("GIT_AUTH_TOKEN{suffix}"))? {
            let pair = format!("x-access-token:{token}");
            return Ok(Some(format!("Basic {}", super::base64(pair.as_bytes()))));
        }
    }
    Ok(remote.user_info().map(super::basic))
}

/// A host that is met for the first time is believed and remembered; one whose key changed is not.
fn ssh_command(config: &RemoteConfig, known_hosts: &Path) -> String {
    let mut files = format!("\\\"{}\\\"", known_hosts.display());
    if let Some(home) = &config.home {
        files.push_str(&format!(" \\\"{}\\\"", home.join(".ssh/known_hosts").display()));
    }
    format!(
        "ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o StrictHostKeyChecking=accept-new \
         -o LogLevel=ERROR -o \"UserKnownHostsFile={files}\""
    )
}
