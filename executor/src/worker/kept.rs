//! What a failed RUN leaves is kept until the next build begins: to look at it, to try again in it, to take files out of it.
//!
//! It is the layer it would have become, under no key. A step that was stopped because something else failed keeps nothing: how far it
//! came says nothing. Nor does one whose files hold a secret.

use std::error::Error as _;

use bld_cache::record::State;
use bld_cache::store::ActiveLayer;
use bld_cache::store::Kept;
use bld_solver::graph::VertexId;
use bld_solver::op::Exec;
use bld_solver::record::exec::ExecFacts;
use bld_solver::worker::Reporter;

use super::LocalWorker;
use super::free_space;
use crate::error::ExecuteError;
use crate::layers;
use crate::view::TreeView;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// Keeps what a failed step left. It failed already: what goes wrong here is only said.
    pub(super) fn keep(
        &self,
        id: VertexId,
        exec: &Exec,
        input: &State,
        view: &dyn TreeView,
        active: ActiveLayer,
        sees_secrets: bool,
    ) {
        let note = match self.try_to_keep(id, exec, input, view, active, sees_secrets) {
            Ok(true) => return,
            Ok(false) => "nothing is kept of what the step left: the disk is too full for it".to_owned(),
            // Not where: a name may be the secret.
            Err(ExecuteError::SecretInLayer { id, .. }) => {
                format!("nothing is kept of what the step left: the secret `{id}` is in it")
            }
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("what the step left cannot be kept: {error}{cause}")
            }
        };
        self.tell(id, &[note]);
    }

    /// Whether there was room for it.
    fn try_to_keep(
        &self,
        id: VertexId,
        exec: &Exec,
        input: &State,
        view: &dyn TreeView,
        active: ActiveLayer,
        sees_secrets: bool,
    ) -> Result<bool, ExecuteError> {
        let store = &self.shared.store;
        let scanned = layers::scan::scan(active.directory(), view, self.shared.layers.mode())?;
        // A full disk is most likely why it failed, and other programs want to write too.
        if free_space(active.directory()) < scanned.tree.disk_size() {
            return Ok(false);
        }
        if sees_secrets {
            self.shared.config.secrets.search(&scanned.tree, active.directory())?;
        }
        let facts = ExecFacts::of(exec).masked(&|text| self.shared.config.secrets.masked(text));
        let mut layers = input.layers.clone();
        layers.push(active.id());
        let kept = Kept {
            build: self.shared.config.build_id.clone(),
            vertex: u32::try_from(id.index()).unwrap_or(u32::MAX),
            layers,
            // Text always has a JSON form.
            facts: serde_json::to_vec(&facts).unwrap_or_default(),
        };
        store.kept().put(&kept)?;
        store.layers().commit(active, &scanned.tree)?;
        Ok(true)
    }
}
