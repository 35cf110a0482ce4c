//! Who is asked next: the mirrors in their order, then the registry; each again after a pause while there is hope.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::endpoint::Repository;
use crate::error::Nature;
use crate::error::RegistryError;
use crate::registry::Notice;
use crate::registry::Shared;

const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A registry that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A mirror is tried again this often at most: somebody else can be asked.
const MIRROR_RETRIES: u32 = 1;
/// And so often a host that cannot be reached at all: without a network nobody wants to wait for long.
const UNREACHABLE_RETRIES: u32 = 3;
/// A transfer that came so much further has earned new tries.
const PROGRESS: u64 = 1 << 20;

/// The hosts of a repository, and how often the present one has failed.
pub(crate) struct Route<'a> {
    shared: &'a Shared,
    endpoints: Vec<Endpoint>,
    at: usize,
    failures: u32,
    reached: u64,
}

impl<'a> Route<'a> {
    /// To read: mirrors too.
    pub(crate) fn to_read(shared: &'a Shared, repository: &Repository) -> Route<'a> {
        let mut endpoints = Endpoint::all(repository.domain(), &shared.settings);
        // A mirror that could not be reached is not asked again in the same run.
        endpoints.retain(|endpoint| !endpoint.is_mirror || !shared.host(&endpoint.authority).is_down());
        Route { shared, endpoints, at: 0, failures: 0, reached: 0 }
    }

    /// To change something: the registry itself.
    pub(crate) fn to_write(shared: &'a Shared, repository: &Repository) -> Route<'a> {
        Route::to_host(shared, repository.domain())
    }

    pub(crate) fn to_host(shared: &'a Shared, domain: &str) -> Route<'a> {
        Route { shared, endpoints: vec![Endpoint::of(domain, &shared.settings)], at: 0, failures: 0, reached: 0 }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        // `at` only grows while there is a next one, and the registry itself is always there.
        &self.endpoints[self.at]
    }

    /// A transfer has come so far.
    pub(crate) fn progressed(&mut self, position: u64) {
        if position >= self.reached + PROGRESS {
            self.reached = position;
            self.failures = 0;
        }
    }

    /// Waits before the next try, or moves on to the next host; the error comes back if there is no hope.
    pub(crate) async fn failed(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let nature = error.nature();
        let endpoint = self.endpoint();
        let retries = self.shared.settings.retries();
        let retries = if endpoint.is_mirror { retries.min(MIRROR_RETRIES) } else { retries };
        let retries = if error.is_unreachable() { retries.min(UNREACHABLE_RETRIES) } else { retries };
        let is_down = endpoint.is_mirror && error.is_unreachable();
        if let Nature::Transient(wait) = nature
            && self.failures < retries
            && !is_down
            && wait.is_none_or(|wait| wait <= LONGEST_WAIT)
        {
            let pause = self.pause().max(wait.unwrap_or_default());
            let host = endpoint.authority.clone();
            self.failures += 1;
            self.shared.notice(&Notice::Retry { host, reason: error.to_string(), pause });
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        if nature == Nature::Local || self.at + 1 == self.endpoints.len() {
            return Err(error);
        }
        if is_down {
            self.shared.host(&endpoint.authority).set_down();
        }
        self.shared.notice(&Notice::Mirror { mirror: endpoint.authority.clone(), reason: error.to_string() });
        self.at += 1;
        self.failures = 0;
        Ok(())
    }

    /// Doubles each time, and is never the same twice: between half of it and all.
    fn pause(&self) -> Duration {
        let whole = self.shared.settings.retry_pause().saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        let mut random = [0; 1];
        // Without randomness the pauses are merely the same.
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).ok();
        whole / 2 + whole / 2 * u32::from(random[0]) / 255
    }
}
