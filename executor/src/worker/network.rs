//! Networks of RUN steps. A private network is set up once and then lent to one step at a time, so that two steps at once never share
//! ports.
//!
//! Setting one up costs a processor some 25 ms. No more of them are set up at a time than there are processors: a step that waits for
//! its turn takes what another has done with, if that is sooner, and short steps share a few networks.

use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_solver::graph::VertexId;
use bld_solver::op::NetworkMode;
use bld_solver::worker::Event;
use bld_solver::worker::Reporter;
use bld_solver::worker::Stream;

use crate::error::ExecuteError;
use crate::sandbox::Network;
use crate::sandbox::ResolvConf;
use crate::sandbox::SandboxError;
use crate::sandbox::network::NetworkSlot;

/// What network RUN steps get that do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPolicy {
    /// A private network if the machine can give one, else the host's, and a line that says so.
    PrivateOrHost,
    /// A private network, or an error.
    Private,
    /// The host's network.
    Host,
}

/// The private networks of one build.
#[derive(Debug)]
pub(super) struct Networks {
    policy: NetworkPolicy,
    /// How many may be set up at a time.
    at_once: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<NetworkSlot>,
    /// How many are being set up.
    starting: usize,
    /// Why there are none; found out once.
    unavailable: Option<String>,
}

/// A network lent to a step.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    networks: &'a Networks,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Host,
    None,
    Private(Option<NetworkSlot>),
}

impl Networks {
    pub(super) fn new(policy: NetworkPolicy, cores: usize) -> Networks {
        Networks { policy, at_once: cores.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// The network for a step, and its `/etc/resolv.conf`.
    pub(super) fn get<'a>(
        &'a self,
        mode: NetworkMode,
        reporter: &dyn Reporter,
        vertex: VertexId,
    ) -> Result<(Lent<'a>, ResolvConf), ExecuteError> {
        let host = || (Lent { networks: self, kind: Kind::Host }, ResolvConf::Host);
        match (mode, self.policy) {
            (NetworkMode::None, _) => Ok((Lent { networks: self, kind: Kind::None }, ResolvConf::Image)),
            (NetworkMode::Host, _) | (NetworkMode::Default, NetworkPolicy::Host) => Ok(host()),
            (NetworkMode::Default, policy) => match (self.private(), policy) {
                (Ok(slot), _) => {
                    let resolv_conf = slot.resolv_conf();
                    Ok((Lent { networks: self, kind: Kind::Private(Some(slot)) }, resolv_conf))
                }
                (Err((reason, _)), NetworkPolicy::Private) => Err(ExecuteError::Network { reason }),
                (Err((reason, first)), _) => {
                    if first {
                        let note = format!("note: RUN steps use the host's network: {reason}\n");
                        reporter.on_event(vertex, Event::Log { stream: Stream::Stderr, bytes: note.as_bytes() });
                    }
                    Ok(host())
                }
            },
        }
    }

    /// A private network; else why not, and whether that was found out just now.
    fn private(&self) -> Result<NetworkSlot, (String, bool)> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.unavailable {
                return Err((reason.clone(), false));
            }
            if let Some(slot) = state.idle.pop() {
                return Ok(slot);
            }
            if state.starting < self.at_once {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.starting += 1;
        drop(state);
        let made = NetworkSlot::private();
        let mut state = self.lock();
        state.starting -= 1;
        let outcome = made.map_err(|error| {
            let reason = match error {
                SandboxError::Network { reason, .. } => reason,
                error => error.to_string(),
            };
            let first = state.unavailable.replace(reason.clone()).is_none();
            (reason, first)
        });
        drop(state);
        self.changed.notify_all();
        outcome
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// In the words of the sandbox.
    pub(super) fn for_spec(&self) -> Network {
        match &self.kind {
            Kind::Host | Kind::Private(None) => Network::Host,
            Kind::None => Network::None,
            Kind::Private(Some(slot)) => slot.network(),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Kind::Private(slot) = &mut self.kind
            && let Some(slot) = slot.take()
        {
            self.networks.lock().idle.push(slot);
            self.networks.changed.notify_all();
        }
    }
}
