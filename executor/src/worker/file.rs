//! COPY, ADD and WORKDIR: files written into a fresh layer directory. Nothing is mounted and no privilege is needed.

use std::os::fd::AsFd as _;

use bld_cache::record::Record;
use bld_cache::record::State;
use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_oci::Timestamp;
use bld_solver::graph::VertexId;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::Selector;
use bld_solver::worker::Reporter;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use super::LocalWorker;
use super::SourceView;
use crate::copy;
use crate::copy::ApplyOptions;
use crate::copy::CopySource;
use crate::error::ExecuteError;

impl<R: Reporter + 'static> LocalWorker<R> {
    /// Does the actions, in order, into one layer.
    pub(super) fn run_file(&self, id: VertexId, operation: &FileOp, inputs: &[State]) -> Result<Record, ExecuteError> {
        let scratch = State { id: StateId::scratch(), layers: Vec::new() };
        let input = inputs.first().unwrap_or(&scratch);
        let views = operation.actions.iter().map(|action| match action {
            FileAction::Copy(copy) => self.copy_view(&copy.from, inputs).map(Some),
            FileAction::Mkfile(_) | FileAction::Mkdir(_) => Ok(None),
        });
        let views: Vec<Option<SourceView>> = views.collect::<Result<_, _>>()?;
        let sources: Vec<Option<CopySource<'_>>> =
            views.iter().map(|view| view.as_ref().map(SourceView::as_source)).collect();
        self.write_files(id, operation, &sources, input)
    }

    fn write_files(
        &self,
        id: VertexId,
        operation: &FileOp,
        sources: &[Option<CopySource<'_>>],
        input: &State,
    ) -> Result<Record, ExecuteError> {
        let lower = self.view(input)?;
        let active = self.shared.store.layers().create()?;
        let directory =
            rustix::fs::open(active.directory(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| ExecuteError::Io {
                verb: "open",
                path: active.directory().to_owned(),
                source: errno.into(),
            })?;
        let options = ApplyOptions { mode: self.shared.layers.mode(), time: Timestamp::FIXED };
        let applied = copy::apply(operation, sources, lower.as_ref(), directory.as_fd(), &options)?;
        self.tell_copy(id, &applied.notes)?;
        self.commit(input, active, &applied.tree)
    }

    /// A whole build context as a root file system.
    pub(super) fn local_source(&self, id: VertexId, context: &str) -> Result<Record, ExecuteError> {
        let view = self.copy_view(&CopyFrom::Context(context.to_owned()), &[])?;
        self.whole(id, view.as_source())
    }

    /// Everything in a tree as a layer of its own.
    pub(super) fn whole(&self, id: VertexId, source: CopySource<'_>) -> Result<Record, ExecuteError> {
        let all = CopyAction {
            // Which context is of no interest where its tree is given.
            from: CopyFrom::Context(String::new()),
            selector: Selector {
                sources: vec![".".to_owned()],
                exclude: Vec::new(),
                parents: false,
                tree: String::new(),
            },
            destination: Destination { path: ImagePath::root(), is_directory: true },
            owner: None,
            mode: None,
            unpack: Some(false),
        };
        let scratch = State { id: StateId::scratch(), layers: Vec::new() };
        self.write_files(id, &FileOp { actions: vec![FileAction::Copy(all)] }, &[Some(source)], &scratch)
    }
}
