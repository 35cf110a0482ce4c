//! Waiting for a claim that another thread or process holds. It is asked for again and again: who waits for the lock itself cannot be
//! stopped.

use std::time::Duration;

use bld_cache::Store;
use bld_cache::StoreError;
use bld_cache::key::CacheKey;
use bld_cache::store::Claim;

/// How soon it is asked for again: at first, and at the latest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits in a task; it ends when the task is dropped.
pub(crate) async fn claim(store: &Store, key: CacheKey) -> Result<Claim, StoreError> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(claim) = store.try_claim(key)? {
            return Ok(claim);
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

/// Waits on a thread; `None` if `is_stopped` says so first.
pub(crate) fn claim_unless(
    store: &Store,
    key: CacheKey,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<Claim>, StoreError> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(claim) = store.try_claim(key)? {
            return Ok(Some(claim));
        }
        if is_stopped() {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = longer(pause);
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}
