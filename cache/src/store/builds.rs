//! What is remembered of builds: a record each, for people, and facts, to compare the next build with.
//!
//! Both are bytes to the store. Builds that are alike share their facts.

use bld_oci::compression::compress_bytes;
use bld_oci::compression::decompress_bytes;
use rusqlite::OptionalExtension as _;
use rusqlite::params;

use crate::error::StoreError;
use crate::store::Store;

/// The builds of a store.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'a> {
    store: &'a Store,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its id. Ids sort by time.
    pub id: String,
    /// What was built: builds of the same project are compared with each other.
    pub project: String,
    /// When it began, in microseconds since 1970.
    pub started_us: i64,
    /// Its record.
    pub record: Vec<u8>,
}

/// The facts of a build.
#[expect(missing_debug_implementations, reason = "a function has nothing to show")]
pub struct Facts<'a> {
    /// Says the same whenever the facts are the same.
    pub name: [u8; 32],
    /// Makes them.
    pub bytes: &'a dyn Fn() -> Vec<u8>,
}

impl<'a> Builds<'a> {
    pub(crate) fn new(store: &'a Store) -> Builds<'a> {
        Builds { store }
    }

    /// Remembers a build, or what became of it. `facts` are named by something that says the same whenever they are the same: they are only
    /// asked for if none of that name are here. All but about the newest `keep` builds are forgotten, with their logs.
    pub fn put(self, build: &Build, facts: Option<&Facts<'_>>, keep: usize) -> Result<(), StoreError> {
        let name = facts.map(|facts| facts.name);
        let record = compress(&build.record);
        let keep = i64::try_from(keep).unwrap_or(i64::MAX / 2);
        let forgotten: Vec<String> = self.store.database().write(|connection| {
            if let Some(Facts { name, bytes }) = facts {
                let known: bool = connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM facts WHERE name = ?1)")?
                    .query_row([name], |row| row.get(0))?;
                if !known {
                    connection
                        .prepare_cached("INSERT INTO facts (name, bytes) VALUES (?1, ?2)")?
                        .execute(params![name, compress(&bytes())])?;
                }
            }
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO builds (id, project, started, record, facts) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![build.id, build.project, build.started_us, record, name])?;
            let count: i64 =
                connection.prepare_cached("SELECT count(*) FROM builds")?.query_row([], |row| row.get(0))?;
            // Many at a time: to find out whose logs are still needed is work.
            if count <= keep + keep / 4 {
                return Ok(Vec::new());
            }
            let old = connection
                .prepare_cached("SELECT id FROM builds ORDER BY started DESC, id DESC LIMIT -1 OFFSET ?1")?
                .query_map([keep], |row| row.get(0))?
                .collect::<Result<Vec<String>, _>>()?;
            for id in &old {
                forget(connection, id)?;
            }
            Ok(old)
        })?;
        self.drop_logs(&forgotten)
    }

    /// A build by its id.
    pub fn get(self, id: &str) -> Result<Option<Build>, StoreError> {
        let found = self.select("WHERE id = ?1", &[&id])?;
        Ok(found.into_iter().next())
    }

    /// Builds, newest first: of a project, or of all of them; no more than `limit`.
    pub fn newest(self, project: Option<&str>, limit: usize) -> Result<Vec<Build>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        match project {
            Some(project) => {
                self.select("WHERE project = ?1 ORDER BY started DESC, id DESC LIMIT ?2", &[&project, &limit])
            }
            None => self.select("ORDER BY started DESC, id DESC LIMIT ?1", &[&limit]),
        }
    }

    /// The facts of the builds of a project, or of all projects but that, newest first, each once; no more than `limit`.
    pub fn facts(self, project: &str, others: bool, limit: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store.database().read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, bytes FROM (SELECT id, facts, max(started) AS last FROM builds
                        WHERE (project = ?1) <> ?3 AND facts IS NOT NULL GROUP BY facts ORDER BY last DESC LIMIT ?2)
                     JOIN facts ON facts.name = facts ORDER BY last DESC",
                )?
                .query_map(params![project, limit, others], |row| {
                    Ok((row.get(0)?, decompress(&row.get::<_, Vec<u8>>(1).unwrap_or_default())))
                })?
                .collect()
        })
    }

    /// The facts of a build.
    pub fn facts_of(self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT bytes FROM builds JOIN facts ON facts.name = builds.facts WHERE id = ?1")?
                .query_row([id], |row| Ok(decompress(&row.get::<_, Vec<u8>>(0).unwrap_or_default())))
                .optional()
        })
    }

    /// Forgets a build and its logs; whether it was known.
    pub fn remove(self, id: &str) -> Result<bool, StoreError> {
        let known = self.store.database().write(|connection| forget(connection, id))?;
        self.drop_logs(&[id.to_owned()])?;
        Ok(known)
    }

    fn select(self, condition: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Build>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached(&format!("SELECT id, project, started, record FROM builds {condition}"))?
                .query_map(parameters, |row| {
                    let record = decompress(&row.get::<_, Vec<u8>>(3).unwrap_or_default());
                    Ok(Build { id: row.get(0)?, project: row.get(1)?, started_us: row.get(2)?, record })
                })?
                .collect()
        })
    }

    /// Removes the logs of forgotten builds, but for those of results that are still known: they can be replayed.
    pub(super) fn drop_logs(self, builds: &[String]) -> Result<(), StoreError> {
        for build in builds {
            let known = self.store.database().read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM results WHERE json_extract(CAST(origin AS TEXT), '$.build') = ?1)",
                    )?
                    .query_row([build], |row| row.get::<_, bool>(0).map(Some))
                    .optional()
            })?;
            if known.flatten() != Some(true) {
                self.store.logs().remove(build)?;
            }
        }
        Ok(())
    }
}

fn forget(connection: &rusqlite::Connection, id: &str) -> rusqlite::Result<bool> {
    let gone = connection.prepare_cached("DELETE FROM builds WHERE id = ?1")?.execute([id])?;
    connection
        .prepare_cached("DELETE FROM facts WHERE NOT EXISTS (SELECT 1 FROM builds WHERE builds.facts = facts.name)")?
        .execute([])?;
    Ok(gone > 0)
}

/// The most that a record or the facts of a build take.
const LIMIT: usize = 1 << 30;

/// It fails for want of memory only, and then the build is remembered without.
fn compress(bytes: &[u8]) -> Vec<u8> {
    compress_bytes(bytes).unwrap_or_default()
}

/// What cannot be read is empty: whoever reads it says so.
fn decompress(bytes: &[u8]) -> Vec<u8> {
    decompress_bytes(bytes, LIMIT).unwrap_or_default()
}
