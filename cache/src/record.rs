//! What the index remembers for a key.

use bld_oci::ChainId;
use bld_oci::Timestamp;

use crate::key::KeyPart;

/// Names a file system state by its content: the same files, however they came about, have the same id. Times do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId([u8; 32]);

/// Names a layer in this store. Given at creation and never derived: its change set's digest, its DiffID and its blobs are facets
/// that come later, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId([u8; 16]);

/// A file system state: layers, bottom to top. Empty for `scratch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its identity.
    pub id: StateId,
    /// Its layers, bottom to top.
    pub layers: Vec<LayerId>,
}

/// The result of a vertex, as remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The state. For every operation but a source the last layer is the one the vertex made.
    pub state: State,
    /// When it was first made.
    pub created: Timestamp,
    /// The parts of the key it was made under.
    pub parts: Vec<KeyPart>,
    /// A digest of what was done, whatever it was done on: tells that something was never done at all.
    pub operation: Option<[u8; 32]>,
    /// Who made it, and at what cost; `None` for what only names layers that are there.
    pub origin: Option<Origin>,
}

/// Who made a result, and at what cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The build that made it.
    pub build: String,
    /// The vertex's number in that build: `logs/<build>/<step>` is what it printed, if anything.
    pub step: u32,
    /// What was built: where the main build context was.
    pub project: String,
    /// The stage: its name, or its number.
    pub stage: String,
    /// How the step was shown: `[build 2/4] RUN make`.
    pub name: String,
    /// What it took, in microseconds.
    pub took_us: u64,
    /// The bytes of the files in the layer it made.
    pub layer_bytes: u64,
    /// How many files, directories and links are in that.
    pub layer_entries: u64,
    /// The same files had been made before: the layer is the one that was there.
    pub same_result: bool,
}

impl Record {
    /// A result nothing more is known of.
    pub fn new(state: State, created: Timestamp) -> Record {
        Record { state, created, parts: Vec::new(), operation: None, origin: None }
    }
}

impl StateId {
    /// `scratch`: no file at all.
    pub fn scratch() -> StateId {
        StateId::derive("bld.state.scratch.v1", &[])
    }

    /// The state of an image's layers.
    pub fn image(chain: Option<ChainId>) -> StateId {
        chain.map_or_else(StateId::scratch, |chain| StateId::derive("bld.state.image.v1", &[chain.digest().as_bytes()]))
    }

    /// This state with a change set on top; `changes` is the change set's Merkle root.
    #[must_use]
    pub fn push(self, changes: &[u8; 32]) -> StateId {
        StateId::derive("bld.state.push.v1", &[&self.0, changes])
    }

    /// This state with all layers of another on top.
    #[must_use]
    pub fn merge(self, upper: StateId) -> StateId {
        StateId::derive("bld.state.merge.v1", &[&self.0, &upper.0])
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// An id read back from an index.
    pub(crate) fn from_stored(bytes: [u8; 32]) -> StateId {
        StateId(bytes)
    }

    fn derive(domain: &str, parts: &[&[u8; 32]]) -> StateId {
        let mut hasher = blake3::Hasher::new_derive_key(domain);
        for part in parts {
            hasher.update(*part);
        }
        StateId(*hasher.finalize().as_bytes())
    }
}

impl LayerId {
    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// An id from its bytes: freshly drawn, or read back from an index.
    pub fn from_bytes(bytes: [u8; 16]) -> LayerId {
        LayerId(bytes)
    }

    /// The name of its directory: 32 hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}
