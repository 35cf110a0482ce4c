//! Registries as the environment describes them: configuration, credentials, proxies.
//!
//! ```text
//! /etc/bld/registries.toml, $XDG_CONFIG_HOME/bld/registries.toml   mirrors, plain http, certificates; BLD_REGISTRIES names another file
//! $DOCKER_CONFIG/config.json, $XDG_RUNTIME_DIR/containers/auth.json  credentials; REGISTRY_AUTH_FILE names another file
//! ```

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::Store;
use bld_executor::pull::Download;
use bld_executor::pull::Puller;
use bld_registry::Config;
use bld_registry::Credentials;
use bld_registry::Notice;
use bld_registry::Notices;
use bld_registry::Registry;
use bld_registry::Settings;

use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::write_line;

/// The proxies by the names of their variables, each also looked for in upper case: as `given` says, else as the environment does.
pub(crate) fn proxies(given: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut proxies = BTreeMap::new();
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        let spellings = [name.to_owned(), name.to_ascii_uppercase()];
        let value = spellings.iter().find_map(|name| given(name));
        let value = value.or_else(|| spellings.iter().find_map(|name| environment::variable(name)));
        proxies.extend(value.map(|value| (name.to_owned(), value)));
    }
    proxies
}

/// The registries of this user, of which those in `insecure` speak plain http. Nothing but the settings is read before
/// the first request.
pub(crate) fn registry(quiet: bool, insecure: &[String]) -> Result<Registry, CommandError> {
    let files = setting_files()?;
    let mut settings = Settings::read(&files).map_err(|error| CommandError::from_error(&error))?;
    for host in insecure {
        settings.registry_mut(host).http = Some(true);
    }
    let search_path = environment::variable("PATH").map(std::ffi::OsString::from);
    let credentials = Credentials::new(credential_files(), search_path.as_deref());
    let notices = if quiet {
        Notices::default()
    } else {
        let said = Mutex::new(BTreeSet::new());
        Notices::to(move |notice| {
            // One word for each registry: a dead one would be mentioned for every layer, and for each try.
            let is_news = match notice {
                Notice::Retry { host, .. } => {
                    said.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned())
                }
                _ => true,
            };
            if is_news {
                write_line(&crate::ui::sanitize(&format!("note: {notice}")));
            }
        })
    };
    Ok(Registry::new(Config { settings, credentials, proxies: proxies(|_| None), notices }))
}

/// Brings images into `store`. Must be called where a runtime is entered.
pub(crate) fn puller(store: &Store, quiet: bool, insecure: &[String]) -> Result<Puller, CommandError> {
    let observer = move |download: &Download<'_>| {
        if quiet {
            return;
        }
        let hex = download.blob.digest.hex();
        let (id, size) = (hex.get(..12).unwrap_or_default(), crate::ui::human_size(download.blob.size));
        write_line(&if download.is_done {
            format!("pulled  {id} ({size})")
        } else {
            format!("pulling {id} ({size}) from {}", download.repository)
        });
    };
    Ok(Puller::new(store.clone(), registry(quiet, insecure)?, tokio::runtime::Handle::current(), Box::new(observer)))
}

fn setting_files() -> Result<Vec<PathBuf>, CommandError> {
    if let Some(given) = environment::variable("BLD_REGISTRIES").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(given);
        if !path.is_file() {
            return Err(CommandError::usage(format!("BLD_REGISTRIES names {}, which is no file", path.display())));
        }
        return Ok(vec![path]);
    }
    let home = environment::variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = environment::variable("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or(home);
    let system = PathBuf::from("/etc/bld/registries.toml");
    Ok(std::iter::once(system).chain(user.map(|directory| directory.join("bld/registries.toml"))).collect())
}

fn credential_files() -> Vec<PathBuf> {
    let variable = |name: &str| environment::variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(given) = variable("REGISTRY_AUTH_FILE") {
        return vec![given];
    }
    let docker = variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")));
    let containers = variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    docker.map(|directory| directory.join("config.json")).into_iter().chain(containers).collect()
}
