//! The port that decides when a step may begin.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::graph::Vertex;
use crate::op::Op;
use crate::op::Source;

/// Holds steps back: by number, by free memory, by whatever the caller knows.
pub trait Admission: Send + Sync {
    /// Held while the step runs.
    type Permit: Send;

    /// Waits until `vertex` may run.
    fn acquire(&self, vertex: &Vertex) -> impl Future<Output = Self::Permit> + Send;
}

/// A number of steps at once. Registering the layers of an image is not a step.
#[derive(Debug, Clone)]
pub struct Jobs(Option<Arc<Semaphore>>);

impl Jobs {
    /// At most `limit` steps at once; `None` = as many as are ready.
    pub fn new(limit: Option<NonZeroUsize>) -> Jobs {
        Jobs(limit.map(|limit| Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS)))))
    }
}

impl Admission for Jobs {
    type Permit = Option<OwnedSemaphorePermit>;

    async fn acquire(&self, vertex: &Vertex) -> Option<OwnedSemaphorePermit> {
        if matches!(vertex.op, Op::Source(Source::Image { .. })) {
            return None;
        }
        // The semaphore is never closed, so it always answers with a permit.
        Arc::clone(self.0.as_ref()?).acquire_owned().await.ok()
    }
}
