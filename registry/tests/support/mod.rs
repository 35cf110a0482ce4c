//! What the tests share: an HTTP server that misbehaves on demand, a registry made of it, and clients.

pub(crate) mod fake;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bld_oci::Reference;
use bld_registry::Config;
use bld_registry::Credentials;
use bld_registry::Notices;
use bld_registry::Registry;
use bld_registry::Repository;
use bld_registry::Settings;

/// Runs a future to its end as a task of its own, as a build does.
pub(crate) fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let task = runtime.spawn(future);
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_mins(1), task).await.expect("it takes too long") })
        .unwrap()
}

/// Settings with which failing is quick.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.retry_pause = Some(Duration::from_millis(2));
    settings.idle_timeout = Some(Duration::from_secs(1));
    settings
}

/// Says of a host that it is one of ours.
pub(crate) fn named(mut settings: Settings, host: &str) -> Settings {
    settings.registry_mut(host).http = Some(true);
    settings
}

pub(crate) fn client(settings: Settings) -> Registry {
    client_with(settings, Credentials::none())
}

pub(crate) fn client_with(settings: Settings, credentials: Credentials) -> Registry {
    Registry::new(Config { settings, credentials, proxies: BTreeMap::new(), notices: Notices::default() })
}

/// A client, and the notices it gives.
pub(crate) fn talkative(settings: Settings, credentials: Credentials) -> (Registry, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    let notices = Notices::to(move |notice| list.lock().unwrap().push(notice.to_string()));
    (Registry::new(Config { settings, credentials, proxies: BTreeMap::new(), notices }), told)
}

/// A file with the credentials of a host.
pub(crate) fn credentials(host: &str, user: &str, password: &str) -> (tempfile::TempDir, Credentials) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let json = serde_json::json!({ "auths": { host: { "username": user, "password": password } } });
    std::fs::write(&path, json.to_string()).unwrap();
    (directory, Credentials::new(vec![path], None))
}

pub(crate) fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

pub(crate) fn repository(host: &str, path: &str) -> Repository {
    Repository::of(&reference(host, path))
}

/// Bytes that compress badly and repeat nowhere.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The error and everything below it.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
