//! What can be known of a graph before anything is looked up: digests of contexts and pins, and with them the definition keys.

use std::collections::HashMap;

use bld_cache::key::CacheKey;

use super::SolveError;
use super::Tasks;
use super::vertex::Ports;
use crate::graph::Graph;
use crate::graph::VertexId;
use crate::keys;
use crate::op::CopyFrom;
use crate::worker::Reporter;
use crate::worker::Worker;

/// The keys of everything that the targets of a graph need.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) targets: Vec<VertexId>,
    /// In order of addition: inputs come before what needs them.
    pub(super) reachable: Vec<VertexId>,
    keys: HashMap<VertexId, Keys>,
}

/// What is known of a vertex.
#[derive(Debug, Clone)]
pub struct Keys {
    /// For each selection, `None` if it is of an input; or the pin.
    pub digests: Vec<Option<[u8; 32]>>,
    /// Names its result.
    pub definition: CacheKey,
    /// Names what is done, whatever it is done on.
    pub operation: CacheKey,
    /// It or something above it must run again.
    pub renewed: bool,
}

impl Prepared {
    /// Everything that the targets need, inputs first.
    pub fn reachable(&self) -> &[VertexId] {
        &self.reachable
    }

    /// What is known of a vertex.
    ///
    /// # Panics
    ///
    /// If no target needs the vertex.
    pub fn keys(&self, id: VertexId) -> &Keys {
        &self.keys[&id]
    }
}

/// Looks at what `targets` and all they need take from contexts and from the network.
pub async fn prepare<W: Worker, R: Reporter>(
    graph: &Graph,
    targets: &[VertexId],
    worker: &W,
    reporter: &R,
) -> Result<Prepared, SolveError<W::Error>> {
    let ports = Ports { graph, worker, reporter, admission: &() };
    let reachable = graph.reachable(targets);
    let mut tasks = Tasks::new();
    for id in &reachable {
        tasks.push(id.index(), context_digests(&ports, *id));
    }
    let mut digests = HashMap::with_capacity(reachable.len());
    while let Some((_, outcome)) = tasks.next().await {
        let (id, found) = outcome?;
        digests.insert(id, found);
    }
    let mut keys: HashMap<VertexId, Keys> = HashMap::with_capacity(reachable.len());
    for id in &reachable {
        let vertex = graph.vertex(*id);
        let above: Vec<&Keys> = graph.inputs(*id).iter().filter_map(|input| keys.get(input)).collect();
        let digests = digests.remove(id).unwrap_or_default();
        let definitions: Vec<CacheKey> = above.iter().map(|keys| keys.definition).collect();
        let (definition, _) = keys::definition_key(&vertex.op, &definitions, &digests);
        let (operation, _) = keys::operation(&vertex.op, &digests);
        let renewed = vertex.no_cache || above.iter().any(|keys| keys.renewed);
        keys.insert(*id, Keys { digests, definition, operation, renewed });
    }
    Ok(Prepared { targets: targets.to_vec(), reachable, keys })
}

/// Digests of what a vertex takes from contexts and from the network: they need no input.
async fn context_digests<W: Worker, R: Reporter>(
    ports: &Ports<'_, W, R, ()>,
    id: VertexId,
) -> Result<(VertexId, Vec<Option<[u8; 32]>>), SolveError<W::Error>> {
    let mut digests = Vec::new();
    if let Some(source) = keys::pinned(&ports.graph.vertex(id).op) {
        let pin = ports.worker.pin(id, source).await.map_err(|error| ports.digest_error(id, error))?;
        digests.push(Some(pin));
    }
    for selection in keys::selections(&ports.graph.vertex(id).op) {
        digests.push(match selection.from {
            CopyFrom::Input(_) => None,
            CopyFrom::Context(_) => Some(
                ports
                    .worker
                    .digest(&selection.from, &selection.selector, &[], id)
                    .await
                    .map_err(|source| ports.digest_error(id, source))?
                    .digest,
            ),
        });
    }
    Ok((id, digests))
}
