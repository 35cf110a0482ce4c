//! Eviction: results and cache mounts go until the rest fits, those first that nobody used for longest.
//!
//! The last use of a layer is the newest last use of all results that hold it; that of a result is the oldest of its layers. So a result
//! is never older than one that stands upon it, and with the deeper one first among equals leaves go before what carries them. What
//! a running build holds stays.
//!
//! The order on disk: tombstones, keys, results and states in one transaction, then layers and blobs as in every sweep. A process that
//! dies in between leaves layers that nothing speaks of; they still count, and the next eviction begins with them.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fs;

use rusqlite::Connection;
use rusqlite::params;
use rustix::fs::FlockOperation;

use super::Garbage;
use super::measure::on_disk;
use crate::error::StoreError;
use crate::record::LayerId;
use crate::record::Origin;
use crate::store::database::fixed;
use crate::store::database::unsigned;
use crate::store::lease::Item;
use crate::store::mounts::CacheMount;
use crate::store::mounts::Holder;
use crate::store::objects::Kind;
use crate::store::records;
use crate::store::records::layers_from;
use crate::store::trees::TreeObject;

/// What several layers have in common is only gone with the last of them: so often it is looked whether enough went.
const ROUNDS: usize = 8;

/// What may go, and why.
#[derive(Debug, Clone, Copy)]
pub struct Eviction<'a> {
    /// No more goes once [`Garbage::cache_size`] is this; `None` = everything that may.
    pub limit: Option<u64>,
    /// Only what was not used for so many seconds.
    pub unused_for: Option<i64>,
    /// What tombstones say: `to stay under 20GB`.
    pub reason: &'a str,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// How many results.
    pub results: u64,
    /// How many cache mounts.
    pub mounts: u64,
    /// The bytes they took up, and those of whatever else nothing needed.
    pub bytes: u64,
}

/// Something that goes as a whole.
struct Candidate {
    last_used: Use,
    depth: usize,
    what: What,
}

/// When, and which result: those of one second are told apart by their order.
type Use = (i64, i64);

enum What {
    /// Results of the same layers.
    Results {
        ids: Vec<i64>,
        layers: Vec<LayerId>,
    },
    Mount(CacheMount),
}

/// What the index says of results and layers.
struct Survey {
    results: Vec<(i64, Vec<LayerId>, i64)>,
    /// Bytes of a layer's directory and blobs, and its index.
    layers: HashMap<LayerId, (u64, Option<TreeObject>)>,
}

impl Garbage<'_> {
    /// Removes results and cache mounts, those first that were not used for longest. Does nothing, and costs little, if the store is within
    /// the limit already.
    pub fn evict(self, eviction: &Eviction<'_>) -> Result<Evicted, StoreError> {
        let fits = |size: u64| eviction.limit.is_some_and(|limit| size <= limit);
        let before = self.cache_size()?;
        if fits(before) && !self.is_interrupted()? {
            return Ok(Evicted::default());
        }
        let store = self.store;
        store.shared.touched.flush(store.database())?;
        let exclusive = store.gc_lock(FlockOperation::LockExclusive)?;
        let (leased, _) = store.leased()?;
        let mut evicted = Evicted::default();
        self.sweep(&leased)?;
        let mut size = self.cache_size()?;
        for _ in 0..ROUNDS {
            if fits(size) {
                break;
            }
            let wanted = eviction.limit.map(|limit| size.saturating_sub(limit));
            let round = self.evict_once(eviction, wanted, &leased)?;
            if round.results + round.mounts == 0 {
                break;
            }
            evicted.results += round.results;
            evicted.mounts += round.mounts;
            size = self.cache_size()?;
        }
        drop(exclusive);
        store.shared.process.empty_trash()?;
        evicted.bytes = before.saturating_sub(size);
        Ok(evicted)
    }

    /// Forgets results, and removes what only they needed. What stands upon them stays.
    pub fn forget(self, results: &[i64], reason: &str) -> Result<Evicted, StoreError> {
        let before = self.cache_size()?;
        let exclusive = self.store.gc_lock(FlockOperation::LockExclusive)?;
        let (leased, _) = self.store.leased()?;
        let count = self.remove_results(results, reason, &leased)?;
        self.sweep(&leased)?;
        drop(exclusive);
        self.store.shared.process.empty_trash()?;
        Ok(Evicted { results: count, mounts: 0, bytes: before.saturating_sub(self.cache_size()?) })
    }

    fn evict_once(self, eviction: &Eviction<'_>, wanted: Option<u64>, leased: &[Item]) -> Result<Evicted, StoreError> {
        let held = self.held(leased)?;
        let survey = self.survey(leased)?;
        let oldest_kept = eviction.unused_for.map(|seconds| self.store.now().seconds.saturating_sub(seconds));
        let mut holders: HashMap<LayerId, usize> = HashMap::new();
        let mut candidates = candidates(&survey.results, &mut holders);
        for mount in self.store.cache_mounts().list()? {
            if mount.holder == Holder::Nobody {
                let last_used = (mount.last_used_ns / 1_000_000_000, i64::MAX);
                candidates.push(Candidate { last_used, depth: 0, what: What::Mount(mount) });
            }
        }
        candidates.sort_by_key(|candidate| (candidate.last_used, Reverse(candidate.depth)));
        let mut freed = 0;
        let (mut gone, mut mounts) = (Vec::new(), 0);
        for candidate in candidates {
            let is_enough = wanted.is_some_and(|wanted| freed >= wanted);
            if is_enough || oldest_kept.is_some_and(|oldest| candidate.last_used.0 > oldest) {
                break;
            }
            match candidate.what {
                What::Mount(mount) => {
                    let size = self.store.cache_mounts().size(&mount)?;
                    if self.store.cache_mounts().remove(&mount)? {
                        freed += size;
                        mounts += 1;
                    }
                }
                What::Results { ids, layers } => {
                    // Of no use to remove: a result without layers takes up nothing, and what is held stays.
                    let is_held = layers.last().is_some_and(|top| held.contains(top));
                    if is_held || (layers.is_empty() && wanted.is_some()) {
                        continue;
                    }
                    gone.extend(ids);
                    for layer in layers {
                        let left = holders.entry(layer).or_default();
                        *left = left.saturating_sub(1);
                        if *left == 0 && !held.contains(&layer) {
                            freed += self.size_of(&survey, layer);
                        }
                    }
                }
            }
        }
        let results = self.remove_results(&gone, eviction.reason, leased)?;
        if results > 0 {
            self.sweep(leased)?;
        }
        Ok(Evicted { results, mounts, bytes: freed })
    }

    /// Removes results, their keys, and the states that nothing holds any more. Logs of forgotten builds go with their last result.
    fn remove_results(self, results: &[i64], reason: &str, leased: &[Item]) -> Result<u64, StoreError> {
        if results.is_empty() {
            return Ok(0);
        }
        let now = self.store.now().seconds;
        let held = self.held(leased)?;
        let (count, builds) = self.store.database().write(|connection| {
            let mut builds = BTreeSet::new();
            let mut count = 0;
            let mut origin = connection.prepare_cached("SELECT origin FROM results WHERE id = ?1")?;
            for result in results {
                let bytes: Vec<Option<Vec<u8>>> =
                    origin.query_map([result], |row| row.get(0))?.collect::<Result<_, _>>()?;
                let origin =
                    bytes.into_iter().flatten().find_map(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
                builds.extend(origin.map(|origin| origin.build));
                records::bury_result(connection, *result, now, reason)?;
                connection.prepare_cached("DELETE FROM keys WHERE result = ?1")?.execute([result])?;
                count += connection.prepare_cached("DELETE FROM results WHERE id = ?1")?.execute([result])?;
            }
            records::trim_tombstones(connection)?;
            remove_states(connection, &held)?;
            Ok((count as u64, builds))
        })?;
        for build in builds {
            if self.store.builds().get(&build)?.is_none() {
                self.store.builds().drop_logs(&[build])?;
            }
        }
        Ok(count)
    }

    /// The layers that stay whatever becomes of the results: those of running builds, and what a failed step left.
    fn held(self, leased: &[Item]) -> Result<HashSet<LayerId>, StoreError> {
        let layer = |item: &Item| match item {
            Item::Layer(layer) => Some(*layer),
            Item::Blob(_) => None,
        };
        let mut held: HashSet<LayerId> = leased.iter().filter_map(layer).collect();
        for layers in self.kept()? {
            held.extend(layers);
        }
        Ok(held)
    }

    fn survey(self, leased: &[Item]) -> Result<Survey, StoreError> {
        let images = self.mark_images(leased)?;
        self.store.database().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, layers, last_used FROM results")?;
            let results = statement
                .query_map([], |row| Ok((row.get(0)?, layers_from(&row.get::<_, Vec<u8>>(1)?), row.get(2)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            let mut layers = HashMap::new();
            let mut statement = connection.prepare_cached(
                "SELECT layers.id, tree_object, coalesce(objects.size, 0) FROM layers
                 LEFT JOIN objects ON objects.kind = ?1 AND objects.id = layers.id",
            )?;
            let rows = statement.query_map([Kind::Directory as i64], |row| {
                let tree = row.get::<_, Option<[u8; 32]>>(1)?.map(TreeObject::from_stored);
                Ok((LayerId::from_bytes(fixed(row, 0)?), (unsigned(row.get(2)?), tree)))
            })?;
            for row in rows {
                let (id, layer) = row?;
                layers.insert(id, layer);
            }
            let mut statement = connection.prepare_cached(
                "SELECT layer, digest, objects.size FROM layer_blobs JOIN objects ON objects.kind = ?1 AND objects.id = digest",
            )?;
            let rows = statement.query_map([Kind::Blob as i64], |row| {
                Ok((LayerId::from_bytes(fixed(row, 0)?), fixed::<32>(row, 1)?, row.get::<_, i64>(2)?))
            })?;
            for row in rows {
                let (id, digest, size) = row?;
                if !images.contains(&digest)
                    && let Some(layer) = layers.get_mut(&id)
                {
                    layer.0 += on_disk(unsigned(size));
                }
            }
            Ok(Survey { results, layers })
        })
    }

    fn size_of(self, survey: &Survey, layer: LayerId) -> u64 {
        let Some((size, tree)) = survey.layers.get(&layer) else { return 0 };
        let tree = tree.and_then(|tree| fs::symlink_metadata(self.store.trees().path(tree)).ok());
        size + tree.map_or(0, |metadata| on_disk(metadata.len()))
    }
}

/// Results of the same layers together; `holders` learns how many candidates hold a layer.
fn candidates(results: &[(i64, Vec<LayerId>, i64)], holders: &mut HashMap<LayerId, usize>) -> Vec<Candidate> {
    let mut used: HashMap<LayerId, Use> = HashMap::new();
    let mut groups: HashMap<&[LayerId], (Vec<i64>, Use)> = HashMap::new();
    for (id, layers, last_used) in results {
        let this = (*last_used, *id);
        for layer in layers {
            let newest = used.entry(*layer).or_insert(this);
            *newest = this.max(*newest);
        }
        let group = groups.entry(layers).or_insert((Vec::new(), this));
        group.0.push(*id);
        group.1 = this.max(group.1);
    }
    let mut candidates = Vec::with_capacity(groups.len());
    for (layers, (ids, own)) in groups {
        for layer in layers {
            *holders.entry(*layer).or_default() += 1;
        }
        let last_used = layers.iter().filter_map(|layer| used.get(layer)).min().copied().unwrap_or(own);
        let what = What::Results { ids, layers: layers.to_vec() };
        candidates.push(Candidate { last_used, depth: layers.len(), what });
    }
    candidates
}

/// States keep their layers: those go that neither a result nor a running build holds.
fn remove_states(connection: &Connection, held: &HashSet<LayerId>) -> rusqlite::Result<()> {
    let mut kept = held.clone();
    let mut statement = connection.prepare_cached("SELECT layers FROM results")?;
    for row in statement.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        kept.extend(layers_from(&row?));
    }
    let mut statement = connection.prepare_cached("SELECT id, layers FROM states")?;
    let states = statement
        .query_map([], |row| Ok((fixed::<32>(row, 0)?, row.get::<_, Vec<u8>>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM states WHERE id = ?1")?;
    for (id, layers) in states {
        if !layers_from(&layers).iter().all(|layer| kept.contains(layer)) {
            delete.execute(params![id])?;
        }
    }
    Ok(())
}
