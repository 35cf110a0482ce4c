//! Stopping what runs when the solver loses interest: the solver drops a future, the thread behind it must end soon.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::sandbox::Running;

/// Given to the thread that does the work.
#[derive(Debug, Clone, Default)]
pub(super) struct Canceler {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    canceled: bool,
    running: Option<Arc<Running>>,
}

impl Canceler {
    /// Whether the work is not wanted any more.
    pub(super) fn is_canceled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).canceled
    }

    /// Has `running` killed when the work is cancelled, now if it already is.
    pub(super) fn watch(&self, running: &Arc<Running>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.canceled {
            running.kill();
        }
        state.running = Some(Arc::clone(running));
    }
}

/// Cancels when it is dropped before the work is done. (Afterwards there is nothing left to kill.)
#[derive(Debug, Default)]
pub(super) struct CancelOnDrop {
    canceler: Canceler,
}

impl CancelOnDrop {
    pub(super) fn new() -> CancelOnDrop {
        CancelOnDrop::default()
    }

    pub(super) fn canceler(&self) -> Canceler {
        self.canceler.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let mut state = self.canceler.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.canceled = true;
        if let Some(running) = state.running.take() {
            running.kill();
        }
    }
}
