//! The ports of the solver: what it needs done by somebody who may touch files, processes and the network.

use std::error::Error;
use std::future::Future;

use bld_cache::key::CacheKey;
use bld_cache::record::Record;
use bld_cache::record::State;
use bld_oci::Digest;
use bld_oci::image::ImageConfig;
use bld_oci::image::ImageLayer;
use bld_oci::platform::Platform;

use crate::graph::Vertex;
use crate::graph::VertexId;
use crate::op::CopyFrom;
use crate::op::Selector;
use crate::op::Source;
use crate::record::Usage;
use crate::remote::Remote;

/// Executes operations and remembers results. One per build; implemented by `executor`, and by a counting fake in the tests.
pub trait Worker: Send + Sync {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;
    /// Held while a key is being computed, so that no other process computes it; dropping it gives it up.
    type Claim: Send;

    /// What an earlier build left under `key`, if its layers are still there.
    fn lookup(&self, key: CacheKey) -> Result<Option<Record>, Self::Error>;

    /// Whether anything is known that was made by this operation ([`crate::keys::operation`]), on whatever inputs.
    fn knows_operation(&self, operation: CacheKey) -> Result<bool, Self::Error>;

    /// Remembers `record` under each key.
    fn record(&self, keys: &[CacheKey], record: &Record) -> Result<(), Self::Error>;

    /// Waits until nobody else on this machine is computing `key`. The caller looks it up again before it executes.
    fn claim(&self, key: CacheKey) -> impl Future<Output = Result<Self::Claim, Self::Error>> + Send;

    /// A digest of everything `selector` picks from a tree: names, kinds, modes, owners, extended attributes, link targets,
    /// bytes; never times. `inputs` are the states that [`CopyFrom::Input`] indexes.
    fn digest(
        &self,
        from: &CopyFrom,
        selector: &Selector,
        inputs: &[State],
        vertex: VertexId,
    ) -> impl Future<Output = Result<Selected, Self::Error>> + Send;

    /// Finds out what a source on the network ([`Source::is_remote`]) stands for now: a digest of everything about it that
    /// enters the result. Asked once for each such vertex and before anything is looked up; the operation then makes exactly
    /// what was found here.
    fn pin(&self, id: VertexId, source: &Source) -> impl Future<Output = Result<[u8; 32], Self::Error>> + Send;

    /// Does the operation. `inputs` are in the vertex's order.
    fn execute(
        &self,
        id: VertexId,
        vertex: &Vertex,
        inputs: &[State],
    ) -> impl Future<Output = Result<Record, Self::Error>> + Send;
}

/// What a selector picks from a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// A digest of all of it.
    pub digest: [u8; 32],
    /// Every pattern matched something. Where one did not the user was told so, and is told again by every build: results made of
    /// it are not found without looking at it.
    pub all_matched: bool,
}

/// Finds base images.
pub trait SourceResolver: Send + Sync {
    /// What can go wrong.
    type Error: Error + Send + Sync + 'static;

    /// Finds what `name` stands for, as written in FROM or `--from` after expansion: a named context first, then an image.
    /// Names that stand for a local directory answer [`Resolved::Context`].
    fn resolve(&self, name: &str, platform: &Platform) -> impl Future<Output = Result<Resolved, Self::Error>> + Send;

    /// Whether a named context of that name was given (it then wins over a stage of that name).
    fn is_named_context(&self, name: &str) -> bool;

    /// Names of all of them, for suggestions.
    fn named_contexts(&self) -> Vec<String> {
        Vec::new()
    }

    /// The time of a source on the network, in seconds since 1970: of the commit, as the server says, or of the newest entry of
    /// the archive. `None` if it has none, or if nothing is to be fetched.
    fn time(&self, _remote: &Remote) -> impl Future<Output = Result<Option<i64>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Whether an error says that nothing of that name exists.
    fn is_missing(&self, _error: &Self::Error) -> bool {
        false
    }
}

/// What a name stands for.
#[expect(clippy::large_enum_variant, reason = "a build has a handful of them")]
#[derive(Debug, Clone)]
pub enum Resolved {
    /// An image.
    Image(ResolvedImage),
    /// A directory given as a named context.
    Context(String),
    /// Something on the network given as a named context. An archive stands for what is in it.
    Remote(Remote),
}

/// A base image: its configuration and where its layers are.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The name in full (`docker.io/library/debian:12`), for messages.
    pub name: String,
    /// Digest of its manifest, for messages.
    pub digest: Option<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, bottom to top.
    pub layers: Vec<ImageLayer>,
}

/// Is told what happens; draws it, or does not.
pub trait Reporter: Send + Sync {
    /// Something happened to a vertex.
    fn on_event(&self, vertex: VertexId, event: Event<'_>);
}

/// What can happen to a vertex.
#[derive(Debug)]
pub enum Event<'a> {
    /// It runs.
    Started,
    /// Its result was known; nothing ran.
    Cached,
    /// The step printed something.
    Log {
        /// Which stream.
        stream: Stream,
        /// Bytes as they came, not necessarily whole lines.
        bytes: &'a [u8],
    },
    /// Something about it is likely a mistake. It may be said more than once.
    Warning {
        /// The check that found it.
        code: &'static str,
        /// What.
        message: &'a str,
    },
    /// What its processes used; comes before its end.
    Used(Usage),
    /// It ran to its end.
    Done,
    /// It failed.
    Failed {
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// It was stopped because something else failed.
    Canceled,
}

/// An output stream of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
