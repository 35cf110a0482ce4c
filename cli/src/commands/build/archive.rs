//! What the store remembers of earlier builds of a project, for the explanation of misses.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_solver::explain::Archive;
use bld_solver::explain::Tombstone;
use bld_solver::explain::facts::BuildFacts;

use crate::environment;

/// So many builds back a step is looked for.
const SEARCHED: usize = 8;

/// So many builds of other projects are looked at for one like this.
const OTHERS: usize = 32;

/// The earlier builds of a project. What cannot be read is not there: it costs an explanation and nothing else.
#[derive(Debug)]
pub(in crate::commands) struct StoreArchive {
    store: Store,
    project: String,
    /// What is built now.
    instructions: HashSet<String>,
    /// Read when they are first asked for.
    earlier: RefCell<Option<Vec<Earlier>>>,
}

#[derive(Debug, Clone)]
enum Earlier {
    Bytes(Vec<u8>),
    Facts(Arc<BuildFacts>),
    Unreadable,
}

impl StoreArchive {
    pub(super) fn new(store: Store, project: String, facts: &BuildFacts) -> StoreArchive {
        StoreArchive { store, project, instructions: instructions(facts), earlier: RefCell::new(None) }
    }

    /// The builds of this project. If there are none, those of others that are most likely the same in another place: another checkout.
    fn find(&self) -> Vec<Earlier> {
        let own = self.store.builds().facts(&self.project, false, SEARCHED).unwrap_or_default();
        if !own.is_empty() {
            return own.into_iter().map(|(_, bytes)| Earlier::Bytes(bytes)).collect();
        }
        let others = self.store.builds().facts(&self.project, true, OTHERS).unwrap_or_default();
        let others = others.into_iter().filter_map(|(_, bytes)| serde_json::from_slice::<BuildFacts>(&bytes).ok());
        let alike = others.filter(|facts| self.is_like(facts)).take(SEARCHED);
        alike.map(|facts| Earlier::Facts(Arc::new(facts))).collect()
    }

    /// At least half of the instructions are the same ones.
    fn is_like(&self, facts: &BuildFacts) -> bool {
        let theirs = instructions(facts);
        let common = theirs.intersection(&self.instructions).count();
        common > 0 && common * 2 >= theirs.len().max(self.instructions.len())
    }
}

impl Archive for StoreArchive {
    fn earlier(&self, position: usize) -> Option<Arc<BuildFacts>> {
        let mut earlier = self.earlier.borrow_mut();
        let all = earlier.get_or_insert_with(|| self.find());
        let one = all.get_mut(position)?;
        if let Earlier::Bytes(bytes) = one {
            let facts = serde_json::from_slice(bytes).ok();
            *one = facts.map_or(Earlier::Unreadable, |facts| Earlier::Facts(Arc::new(facts)));
        }
        match one {
            Earlier::Facts(facts) => Some(Arc::clone(facts)),
            // One of another version says nothing, and does not end the search.
            Earlier::Bytes(_) | Earlier::Unreadable => Some(Arc::default()),
        }
    }

    fn files(&self, digest: &str) -> Option<Vec<u8>> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digest, &mut bytes).ok()?;
        self.store.selections().get(&bytes).ok().flatten()
    }

    fn tombstone(&self, definition: &str) -> Option<Tombstone> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(definition, &mut bytes).ok()?;
        let found = self.store.records().tombstone(CacheKey::from_stored(bytes)).ok().flatten()?;
        let ago = ago(environment::now().seconds.saturating_sub(found.seconds));
        Some(Tombstone { seconds: found.seconds, ago, reason: found.reason })
    }
}

/// FROM says little: every second project begins with the same.
fn instructions(facts: &BuildFacts) -> HashSet<String> {
    let own = facts.steps.iter().filter(|step| step.image.is_none() && !step.is_merge);
    own.map(|step| step.instruction.clone()).collect()
}

/// `2 d ago`.
fn ago(seconds: i64) -> String {
    match seconds {
        i64::MIN..1 => "just now".to_owned(),
        1..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
