//! A set of futures driven by one task: each is polled only when something woke it.
//!
//! What is driven borrows from its caller, so it cannot be spawned; polling all of it at every wake would be quadratic.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

/// Futures, each under a number of its own. Dropping the set drops them in the order of their numbers.
pub(crate) struct Tasks<F> {
    running: BTreeMap<usize, Task<F>>,
    shared: Arc<Shared>,
}

struct Task<F> {
    future: Pin<Box<F>>,
    waker: Waker,
}

/// What wakers need: they may outlive the set and be called from any thread.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Numbers of the futures to poll, each at most once.
    ready: VecDeque<usize>,
    queued: std::collections::HashSet<usize>,
    /// The waker of the task that drives the set.
    driver: Option<Waker>,
}

struct WakeOne {
    number: usize,
    shared: Arc<Shared>,
}

impl<F: Future> Tasks<F> {
    pub(crate) fn new() -> Tasks<F> {
        Tasks { running: BTreeMap::new(), shared: Arc::default() }
    }

    /// Adds a future; it is polled for the first time by the next [`Tasks::next`]. Numbers are used once.
    pub(crate) fn push(&mut self, number: usize, future: F) {
        let waker = Waker::from(Arc::new(WakeOne { number, shared: Arc::clone(&self.shared) }));
        self.running.insert(number, Task { future: Box::pin(future), waker });
        self.shared.enqueue(number);
    }

    /// The next future that is done, with its number; `None` if the set is empty. Safe to drop.
    pub(crate) async fn next(&mut self) -> Option<(usize, F::Output)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.running.is_empty() {
            return Poll::Ready(None);
        }
        // One round at most, so that a future that wakes itself does not starve the thread.
        for _ in 0..self.shared.start_round(context.waker()) {
            let Some(number) = self.shared.dequeue() else { break };
            let Some(task) = self.running.get_mut(&number) else { continue };
            let outcome = task.future.as_mut().poll(&mut Context::from_waker(&task.waker));
            if let Poll::Ready(output) = outcome {
                self.running.remove(&number);
                return Poll::Ready(Some((number, output)));
            }
        }
        if self.shared.has_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for Tasks<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.running.keys()).finish()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, number: usize) -> Option<Waker> {
        let mut state = self.lock();
        if state.queued.insert(number) {
            state.ready.push_back(number);
        }
        state.driver.take()
    }

    fn dequeue(&self) -> Option<usize> {
        let mut state = self.lock();
        let number = state.ready.pop_front()?;
        state.queued.remove(&number);
        Some(number)
    }

    fn start_round(&self, driver: &Waker) -> usize {
        let mut state = self.lock();
        state.driver = Some(driver.clone());
        state.ready.len()
    }

    fn has_ready(&self) -> bool {
        !self.lock().ready.is_empty()
    }
}

impl Wake for WakeOne {
    fn wake(self: Arc<Self>) {
        if let Some(driver) = self.shared.enqueue(self.number) {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Tasks;

    #[tokio::test]
    async fn futures_finish_in_their_own_order() {
        let mut tasks = Tasks::new();
        for (number, delay) in [(0, 30), (1, 10), (2, 20)] {
            tasks.push(number, async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                delay
            });
        }
        let mut order = Vec::new();
        while let Some((number, delay)) = tasks.next().await {
            order.push((number, delay));
        }
        assert_eq!(order, [(1, 10), (2, 20), (0, 30)]);
    }

    #[tokio::test]
    async fn a_future_that_wakes_itself_does_not_starve_the_others() {
        let mut tasks = Tasks::new();
        for number in 0..3 {
            tasks.push(number, async move {
                for _ in 0..number * 100 {
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut order = Vec::new();
        while let Some((number, ())) = tasks.next().await {
            order.push(number);
        }
        assert_eq!(order, [0, 1, 2]);
    }
}
