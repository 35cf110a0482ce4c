//! The client itself: what it was given, and what it has learned of the hosts it spoke to.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::client::Clients;
use crate::credentials::Credentials;
use crate::credentials::Remark;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::settings::Settings;
use crate::tokens::Host;

/// Called with the number of bytes of a blob that are done. It goes back when a transfer has to begin again.
pub type Progress = dyn Fn(u64) + Send + Sync;

/// What the client works with.
pub struct Config {
    /// `registries.toml`, read.
    pub settings: Settings,
    /// The files with credentials.
    pub credentials: Credentials,
    /// `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, as far as they are set. Hosts of this machine are never asked through one.
    pub proxies: BTreeMap<String, String>,
    /// Told of what does not stop the work but should be known.
    pub notices: Notices,
}

/// Who is told of notices; by default nobody.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<Listener>>);

type Listener = dyn Fn(&Notice) + Send + Sync;

/// Something that does not stop the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A request is repeated after a pause.
    Retry {
        /// Who is asked again.
        host: String,
        /// Why.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// A mirror could not help; the next host is asked.
    Mirror {
        /// The mirror.
        mirror: String,
        /// Why.
        reason: String,
    },
    /// A file with secrets can be read by others.
    ReadableCredentials {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A credential helper that a file names is not installed, so the registry is asked without credentials of it.
    NoCredentialHelper {
        /// The file.
        path: PathBuf,
        /// The program.
        program: String,
    },
}

/// The client of all registries. Cloning it is cheap and shares everything. Making it costs nothing: connections, certificates and
/// credentials wait for the first request.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) credentials: Credentials,
    pub(crate) clients: Clients,
    notices: Notices,
    told: Mutex<Vec<Notice>>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    /// Transfers that may begin, for each registry and direction: what is pushed may first have to be pulled from the same registry.
    slots: Mutex<HashMap<(String, Direction), Arc<Semaphore>>>,
}

/// Where the bytes of a transfer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Pull,
    Push,
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The addresses of proxies may hold passwords.
        let names: Vec<&String> = self.proxies.keys().collect();
        let mut shown = formatter.debug_struct("Config");
        shown.field("settings", &self.settings).field("credentials", &self.credentials).field("proxies", &names);
        shown.finish_non_exhaustive()
    }
}

impl Notices {
    /// Has this function told.
    pub fn to(function: impl Fn(&Notice) + Send + Sync + 'static) -> Notices {
        Notices(Some(Arc::new(function)))
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Notices(..)" } else { "Notices(nobody)" })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Retry { reason, pause, .. } => {
                write!(formatter, "{reason}; trying again in {:.1} s", pause.as_secs_f32())
            }
            Notice::Mirror { mirror, reason } => write!(formatter, "mirror {mirror} is passed over: {reason}"),
            Notice::ReadableCredentials { path, mode } => write!(
                formatter,
                "{} holds passwords and others can read it (mode {mode:04o}): chmod 600 {}",
                path.display(),
                path.display()
            ),
            Notice::NoCredentialHelper { path, program } => {
                write!(
                    formatter,
                    "{} names {program}, which is not installed: going on without its credentials",
                    path.display()
                )
            }
        }
    }
}

impl Registry {
    /// A client that has done nothing yet.
    pub fn new(config: Config) -> Registry {
        let shared = Shared {
            settings: config.settings,
            credentials: config.credentials,
            clients: Clients::new(config.proxies),
            notices: config.notices,
            told: Mutex::default(),
            hosts: Mutex::default(),
            slots: Mutex::default(),
        };
        Registry { shared: Arc::new(shared) }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

impl Shared {
    pub(crate) fn notice(&self, notice: &Notice) {
        let Some(function) = &self.notices.0 else { return };
        // What is wrong with a file is said once.
        if matches!(notice, Notice::ReadableCredentials { .. } | Notice::NoCredentialHelper { .. }) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.contains(notice) {
                return;
            }
            told.push(notice.clone());
        }
        function(notice);
    }

    pub(crate) fn remark(&self, remark: Remark) {
        self.notice(&match remark {
            Remark::Readable { path, mode } => Notice::ReadableCredentials { path, mode },
            Remark::NoHelper { path, program } => Notice::NoCredentialHelper { path, program },
        });
    }

    /// What is known of a host.
    pub(crate) fn host(&self, authority: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(authority.to_owned()).or_default())
    }

    pub(crate) fn slots(&self, domain: &str, direction: Direction) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.settings.parallel()));
        Arc::clone(slots.entry((domain.to_owned(), direction)).or_insert_with(new))
    }

    /// The root of a host's API: whether plain http is spoken is found out for hosts of this machine only, where it is nobody else's
    /// business.
    pub(crate) async fn base(&self, endpoint: &Endpoint, doing: &str) -> Result<Url, RegistryError> {
        let is_about_tls =
            self.settings.registry(&endpoint.name).is_some_and(crate::settings::RegistrySettings::is_about_tls);
        let http = match endpoint.http {
            Some(http) => http,
            None if is_about_tls || !endpoint.is_loopback() => false,
            None => {
                let host = self.host(&endpoint.authority);
                *host.http.get_or_try_init(async || self.speaks_http(endpoint, doing).await).await?
            }
        };
        let text = format!("{}://{}/v2/", if http { "http" } else { "https" }, endpoint.authority);
        Url::parse(&text).map_err(|_| RegistryError::Protocol {
            doing: doing.to_owned(),
            host: endpoint.authority.clone(),
            reason: "has a name that is no host name".to_owned(),
        })
    }

    /// A request without credentials over plain http. A server that speaks TLS answers nonsense or says so.
    async fn speaks_http(&self, endpoint: &Endpoint, doing: &str) -> Result<bool, RegistryError> {
        let Ok(url) = Url::parse(&format!("http://{}/v2/", endpoint.authority)) else { return Ok(false) };
        let client = self.clients.get(&url, &endpoint.name, &self.settings, doing)?;
        let request = client.get(url.clone()).send();
        match tokio::time::timeout(self.settings.idle_timeout(), request).await {
            Err(_) => Err(crate::exchange::stalled(self, doing, &endpoint.authority)),
            Ok(Err(error)) if error.is_connect() => Err(crate::client::failure(error, doing, &endpoint.authority)),
            Ok(Err(_)) => Ok(false),
            Ok(Ok(response)) => Ok(response.status() != reqwest::StatusCode::BAD_REQUEST),
        }
    }
}

/// A place among the transfers of a registry.
pub(crate) async fn place(slots: &Semaphore) -> Option<SemaphorePermit<'_>> {
    // Nobody closes the semaphore.
    slots.acquire().await.ok()
}
