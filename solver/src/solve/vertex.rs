//! The work on one vertex whose inputs are known.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use bld_cache::key::CacheKey;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;

use super::Admission;
use super::SolveError;
use crate::graph::Graph;
use crate::graph::VertexId;
use crate::keys;
use crate::worker::Event;
use crate::worker::Reporter;
use crate::worker::Worker;

/// What every vertex works with.
#[derive(Debug)]
pub(super) struct Ports<'a, W, R, A> {
    pub(super) graph: &'a Graph,
    pub(super) worker: &'a W,
    pub(super) reporter: &'a R,
    pub(super) admission: &'a A,
}

/// A vertex to find a result for.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) id: VertexId,
    pub(super) definition: CacheKey,
    pub(super) operation: CacheKey,
    /// For each selection; `None` if it is of an input.
    pub(super) digests: Vec<Option<[u8; 32]>>,
    pub(super) inputs: Vec<State>,
    /// See [`Outcome::is_settled`].
    pub(super) is_settled: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) record: Record,
    /// The definition says all there is to say. If not, this and what is made of it is remembered under content keys only.
    pub(super) is_settled: bool,
}

/// Results of this solve by content key: a twin of a vertex that had to run uses its result even with `no_cache`.
pub(super) type Made = Mutex<HashMap<CacheKey, Record>>;

impl<W: Worker, R: Reporter, A> Ports<'_, W, R, A> {
    /// All digests that a content key needs: `known` and those of what is taken from inputs. And whether every pattern matched.
    pub(super) async fn complete(
        &self,
        id: VertexId,
        known: Vec<Option<[u8; 32]>>,
        inputs: &[State],
    ) -> Result<(Vec<[u8; 32]>, bool), SolveError<W::Error>> {
        let op = &self.graph.vertex(id).op;
        let mut complete = Vec::with_capacity(known.len());
        let mut all_matched = true;
        let mut known = known.into_iter();
        if keys::pinned(op).is_some() {
            complete.extend(known.next().flatten());
        }
        for (selection, digest) in keys::selections(op).into_iter().zip(known) {
            if let Some(digest) = digest {
                complete.push(digest);
                continue;
            }
            let selected = self.worker.digest(&selection.from, &selection.selector, inputs, id).await;
            let selected = selected.map_err(|source| self.digest_error(id, source))?;
            all_matched &= selected.all_matched;
            complete.push(selected.digest);
        }
        Ok((complete, all_matched))
    }

    pub(super) fn look_up(&self, id: VertexId, key: CacheKey) -> Result<Option<Record>, SolveError<W::Error>> {
        self.worker.lookup(key).map_err(|source| self.cache_error(id, source))
    }

    pub(super) fn knows_operation(&self, id: VertexId, operation: CacheKey) -> Result<bool, SolveError<W::Error>> {
        self.worker.knows_operation(operation).map_err(|source| self.cache_error(id, source))
    }

    fn remember(&self, id: VertexId, keys: &[CacheKey], record: &Record) -> Result<(), SolveError<W::Error>> {
        self.worker.record(keys, record).map_err(|source| self.cache_error(id, source))
    }

    fn name(&self, id: VertexId) -> String {
        self.graph.vertex(id).name.clone()
    }

    fn cache_error(&self, id: VertexId, source: W::Error) -> SolveError<W::Error> {
        SolveError::Cache { vertex: id, name: self.name(id), source }
    }

    /// Reading what a step copies is the first thing it does: a failure is reported as the step's.
    pub(super) fn digest_error(&self, id: VertexId, source: W::Error) -> SolveError<W::Error> {
        self.reporter.on_event(id, Event::Started);
        self.reporter.on_event(id, Event::Failed { error: &source });
        SolveError::Digest { vertex: id, name: self.name(id), source }
    }
}

/// Finds the result by content key, or executes.
pub(super) async fn run<W: Worker, R: Reporter, A: Admission>(
    ports: &Ports<'_, W, R, A>,
    work: Work,
    made: &Made,
) -> Result<Outcome, SolveError<W::Error>> {
    let Work { id, definition, operation, digests, inputs, mut is_settled } = work;
    let vertex = ports.graph.vertex(id);
    let (complete, all_matched) = ports.complete(id, digests, &inputs).await?;
    is_settled &= all_matched;
    let by_definition = is_settled.then_some(definition);
    let states: Vec<StateId> = inputs.iter().map(|state| state.id).collect();
    let (content, key_parts) = keys::content_key(&vertex.op, &states, &complete);

    if !vertex.no_cache
        && let Some(record) = ports.look_up(id, content)?
    {
        return found(ports, id, by_definition, record);
    }
    let claim = ports.worker.claim(content).await.map_err(|source| ports.cache_error(id, source))?;
    let known = match made.lock().unwrap_or_else(PoisonError::into_inner).get(&content) {
        Some(record) => Some(record.clone()),
        None if vertex.no_cache => None,
        // Whoever held the claim before may have left a result.
        None => ports.look_up(id, content)?,
    };
    if let Some(record) = known {
        return found(ports, id, by_definition, record);
    }

    if vertex.cached_only {
        return Err(SolveError::NotCached { vertex: id, name: vertex.name.clone() });
    }
    let permit = ports.admission.acquire(vertex).await;
    let started = Started::new(ports.reporter, id);
    let mut record = match ports.worker.execute(id, vertex, &inputs).await {
        Ok(record) => record,
        Err(source) => {
            started.end(Event::Failed { error: &source });
            return Err(SolveError::Step { vertex: id, name: vertex.name.clone(), source });
        }
    };
    drop(permit);
    record.parts = key_parts;
    record.operation = Some(*operation.as_bytes());
    let keys: Vec<CacheKey> = std::iter::once(content).chain(by_definition).collect();
    if let Err(error) = ports.remember(id, &keys, &record) {
        started.end(Event::Failed { error: &error });
        return Err(error);
    }
    if vertex.no_cache {
        made.lock().unwrap_or_else(PoisonError::into_inner).insert(content, record.clone());
    }
    drop(claim);
    started.end(Event::Done);
    Ok(Outcome { record, is_settled })
}

fn found<W: Worker, R: Reporter, A>(
    ports: &Ports<'_, W, R, A>,
    id: VertexId,
    by_definition: Option<CacheKey>,
    record: Record,
) -> Result<Outcome, SolveError<W::Error>> {
    if let Some(definition) = by_definition {
        ports.remember(id, &[definition], &record)?;
    }
    ports.reporter.on_event(id, Event::Cached);
    Ok(Outcome { record, is_settled: by_definition.is_some() })
}

/// A vertex that was reported as started: it ends exactly once, as cancelled if it is merely dropped.
struct Started<'a, R: Reporter> {
    reporter: &'a R,
    id: VertexId,
    ended: bool,
}

impl<'a, R: Reporter> Started<'a, R> {
    fn new(reporter: &'a R, id: VertexId) -> Started<'a, R> {
        reporter.on_event(id, Event::Started);
        Started { reporter, id, ended: false }
    }

    fn end(mut self, event: Event<'_>) {
        self.ended = true;
        self.reporter.on_event(self.id, event);
    }
}

impl<R: Reporter> Drop for Started<'_, R> {
    fn drop(&mut self) {
        if !self.ended {
            self.reporter.on_event(self.id, Event::Canceled);
        }
    }
}
