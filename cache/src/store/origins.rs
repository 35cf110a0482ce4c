//! Where blobs can be had: the repositories of registries that were seen to hold them. An image may be listed, and built upon, without
//! its layers being here; whoever needs one finds here whom to ask.
//!
//! Kept as long as anything speaks of the blob. They are in the index and nowhere else: with a lost index, an image whose layers never
//! came has to be pulled again.

use bld_oci::Digest;
use rusqlite::Connection;
use rusqlite::params;

use crate::error::StoreError;
use crate::store::Store;

/// The repositories that hold blobs.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    store: &'a Store,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(store: &'a Store) -> Origins<'a> {
        Origins { store }
    }

    /// Notes that `repository` (`docker.io/library/debian`) holds these blobs.
    pub fn add(self, repository: &str, digests: &[Digest]) -> Result<(), StoreError> {
        self.store.database().write(|connection| {
            let mut insert =
                connection.prepare_cached("INSERT OR REPLACE INTO origins (digest, repository) VALUES (?1, ?2)")?;
            digests.iter().try_for_each(|digest| insert.execute(params![digest.as_bytes(), repository]).map(|_| ()))
        })
    }

    /// The repositories that hold a blob, the one noted last first: it is the one the user just named.
    pub fn of(self, digest: &Digest) -> Result<Vec<String>, StoreError> {
        self.store.database().read(|connection| {
            connection
                .prepare_cached("SELECT repository FROM origins WHERE digest = ?1 ORDER BY seq DESC")?
                .query_map([digest.as_bytes()], |row| row.get(0))?
                .collect()
        })
    }
}

/// Forgets the origins of blobs that nothing speaks of any more.
pub(super) fn sweep(connection: &Connection, spoken_of: impl Fn(&[u8; 32]) -> bool) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT DISTINCT digest FROM origins")?;
    let digests = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut delete = connection.prepare_cached("DELETE FROM origins WHERE digest = ?1")?;
    digests.iter().filter(|digest| !spoken_of(digest)).try_for_each(|digest| delete.execute([digest]).map(|_| ()))
}
