//! What a solve would find, and what it would have to run: nothing is run to know.
//!
//! ```text
//! known by definition key, or by content key of inputs that are known      Known
//! not known, on inputs that are known                                      Runs
//! on an input that runs: the operation was never done on anything          Runs
//!                        it was                                            Depends: it is known if the inputs come out as once before
//! ```

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_oci::ChainId;
use bld_oci::Timestamp;

use super::Prepared;
use super::SolveError;
use super::merge;
use super::scratch;
use super::vertex::Ports;
use crate::graph::Graph;
use crate::graph::VertexId;
use crate::keys;
use crate::op::CopyFrom;
use crate::op::Op;
use crate::op::Source;
use crate::worker::Reporter;
use crate::worker::Worker;

/// What a solve would do about a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// Its result is known, or nobody needs it.
    Known,
    /// It runs.
    Runs,
    /// It runs, unless what runs above it makes the same files as once before.
    Depends,
}

/// Says for everything that the targets need what a solve would do about it.
pub async fn predict<W: Worker, R: Reporter>(
    graph: &Graph,
    prepared: &Prepared,
    worker: &W,
    reporter: &R,
) -> Result<BTreeMap<VertexId, Prediction>, SolveError<W::Error>> {
    let ports = Ports { graph, worker, reporter, admission: &() };
    let (needed, mut known) = needed(&ports, prepared)?;
    let mut untold = BTreeSet::new();
    let mut promised = BTreeSet::new();
    let mut predictions: BTreeMap<VertexId, Prediction> =
        prepared.reachable.iter().map(|id| (*id, Prediction::Known)).collect();
    for id in prepared.reachable.iter().filter(|id| needed.contains(id)) {
        if known.contains_key(id) {
            continue;
        }
        let inputs: Option<Vec<&Record>> = graph.inputs(*id).iter().map(|input| known.get(input)).collect();
        let keys = prepared.keys(*id);
        let vertex = graph.vertex(*id);
        // A twin of it runs: it need not.
        let can_be_shared = !matches!(vertex.op, Op::Merge | Op::Source(Source::Image { .. })) && !vertex.no_cache;
        if can_be_shared && !promised.insert(keys.definition) {
            continue;
        }
        let found = match inputs {
            Some(inputs) if vertex.op == Op::Merge => Some(merge(inputs.into_iter())),
            _ if vertex.no_cache => None,
            _ if let Op::Source(Source::Image { layers }) = &vertex.op => {
                // The store only has to be told of it: what it is can be said now.
                let chain = ChainId::of(layers.iter().map(|layer| layer.diff_id));
                let state = State { id: StateId::image(chain), layers: Vec::new() };
                predictions.insert(*id, Prediction::Runs);
                known.insert(*id, Record::new(state, Timestamp::FIXED));
                untold.insert(*id);
                continue;
            }
            // Whatever it is done on, it was never done: not even the files of its inputs need to be looked at.
            _ if vertex.op != Op::Merge && !ports.knows_operation(*id, keys.operation)? => None,
            Some(_) if copies_from(graph, *id).any(|input| untold.contains(&input)) => {
                predictions.insert(*id, Prediction::Depends);
                continue;
            }
            Some(inputs) => {
                let inputs: Vec<_> = inputs.into_iter().map(|record| record.state.clone()).collect();
                let (digests, _) = ports.complete(*id, keys.digests.clone(), &inputs).await?;
                let states: Vec<_> = inputs.iter().map(|state| state.id).collect();
                let (content, _) = keys::content_key(&vertex.op, &states, &digests);
                ports.look_up(*id, content)?
            }
            None => {
                predictions.insert(*id, Prediction::Depends);
                continue;
            }
        };
        match found {
            Some(record) => drop(known.insert(*id, record)),
            None => drop(predictions.insert(*id, Prediction::Runs)),
        }
    }
    Ok(predictions)
}

/// The inputs whose files enter the content key.
fn copies_from(graph: &Graph, id: VertexId) -> impl Iterator<Item = VertexId> {
    let inputs = graph.inputs(id);
    let selections = keys::selections(&graph.vertex(id).op).into_iter();
    selections.filter_map(move |selection| match selection.from {
        CopyFrom::Input(index) => inputs.get(index.0).copied(),
        CopyFrom::Context(_) => None,
    })
}

type Needed = (BTreeSet<VertexId>, BTreeMap<VertexId, Record>);

/// What has to be known, from the targets up to what is known by its definition; and that.
fn needed<W: Worker, R: Reporter>(
    ports: &Ports<'_, W, R, ()>,
    prepared: &Prepared,
) -> Result<Needed, SolveError<W::Error>> {
    let (mut needed, mut known) = Needed::default();
    let mut open = prepared.targets.clone();
    while let Some(id) = open.pop() {
        if !needed.insert(id) {
            continue;
        }
        let keys = prepared.keys(id);
        let found = match &ports.graph.vertex(id).op {
            Op::Source(Source::Image { layers }) if layers.is_empty() => Some(scratch()),
            Op::Merge => None,
            _ if keys.renewed => None,
            _ => ports.look_up(id, keys.definition)?,
        };
        match found {
            Some(record) => drop(known.insert(id, record)),
            None => open.extend(ports.graph.inputs(id)),
        }
    }
    Ok((needed, known))
}
