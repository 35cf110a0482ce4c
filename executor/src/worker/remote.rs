//! Sources on the network as layers.

use std::sync::Arc;

use bld_cache::record::Record;
use bld_oci::Timestamp;
use bld_solver::graph::VertexId;
use bld_solver::remote::GitSource;
use bld_solver::remote::HttpSource;
use bld_solver::worker::Reporter;

use super::LocalWorker;
use crate::context::ContextTree;
use crate::context::NoMemo;
use crate::copy::CopySource;
use crate::error::ExecuteError;
use crate::sources::FetchedTree;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// A fetched file, alone in a layer.
    pub(super) async fn http_source(&self, id: VertexId, source: &HttpSource) -> Result<Record, ExecuteError> {
        let file = self.shared.config.remotes.fetch(source).await?;
        let time = file.modified.unwrap_or(Timestamp::FIXED);
        let tree = FetchedTree { store: self.shared.store.clone(), name: source.name.clone(), file, time };
        self.blocking(move |this, _| this.whole(id, CopySource::new(&tree))).await
    }

    /// The files of a commit, in a layer.
    pub(super) async fn git_source(&self, id: VertexId, source: &GitSource) -> Result<Record, ExecuteError> {
        let checkout = self.shared.config.remotes.checkout(source).await?;
        self.blocking(move |this, _| {
            let tree = ContextTree::open(&checkout.root, None, Arc::new(NoMemo))?;
            this.whole(id, CopySource::context(&tree))
        })
        .await
    }
}
