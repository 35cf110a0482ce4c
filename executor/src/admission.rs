//! When a step may begin: by number if the user gave one, else by free memory. Never by cores: a step that sleeps or downloads must not
//! hold up others.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bld_solver::graph::Vertex;
use bld_solver::op::Op;
use bld_solver::op::Source;
use bld_solver::solve::Admission;
use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// With this many steps at once nobody gains by one more.
const MOST_STEPS: usize = 256;

/// A step waits while less than this is available, unless it would be the only one.
const RESERVE_BYTES: u64 = 512 << 20;

/// How often memory is looked at while a step waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Admits steps by number and by free memory.
#[derive(Debug)]
pub struct MemoryAdmission {
    slots: Arc<Semaphore>,
    running: Arc<Running>,
    heed_memory: bool,
}

#[derive(Debug, Default)]
struct Running {
    steps: AtomicUsize,
    ended: Notify,
}

/// Held while a step runs.
#[derive(Debug)]
pub struct Permit {
    running: Option<Arc<Running>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl MemoryAdmission {
    /// At most `jobs` steps at once; `None` = as many as memory allows.
    pub fn new(jobs: Option<NonZeroUsize>) -> MemoryAdmission {
        let limit = jobs.map_or(MOST_STEPS, |jobs| jobs.get().min(Semaphore::MAX_PERMITS));
        MemoryAdmission { slots: Arc::new(Semaphore::new(limit)), running: Arc::default(), heed_memory: jobs.is_none() }
    }
}

impl Admission for MemoryAdmission {
    type Permit = Permit;

    async fn acquire(&self, vertex: &Vertex) -> Permit {
        if matches!(vertex.op, Op::Source(Source::Image { .. })) {
            return Permit { running: None, _slot: None };
        }
        // The semaphore is never closed, so it always answers with a permit.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        while self.heed_memory && self.running.steps.load(Ordering::Relaxed) > 0 && memory_is_short() {
            // Somebody else may free memory, too: look again now and then.
            tokio::select! {
                () = self.running.ended.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        self.running.steps.fetch_add(1, Ordering::Relaxed);
        Permit { running: Some(Arc::clone(&self.running)), _slot: slot }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.steps.fetch_sub(1, Ordering::Relaxed);
            running.ended.notify_one();
        }
    }
}

/// Unknown counts as enough.
fn memory_is_short() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available_bytes(&text).is_some_and(|bytes| bytes < RESERVE_BYTES)
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        assert_eq!(available_bytes("MemTotal: 5 kB\nMemAvailable:    1024 kB\n"), Some(1 << 20));
        assert_eq!(available_bytes("MemTotal: 5 kB\n"), None);
    }
}
