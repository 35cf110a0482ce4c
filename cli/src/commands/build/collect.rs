//! `--collect STAGE:/PATH=DIR`: files of a stage, brought to the host after the build, also when it failed: test reports, logs, core dumps.
//!
//! What is copied is the last state of the stage that was reached: its end, or what the step that failed left, or what was there before it.

use std::collections::HashMap;
use std::path::PathBuf;

use bld_cache::Store;
use bld_cache::StoreError;
use bld_cache::record::LayerId;
use bld_cache::record::Record;
use bld_executor::output::copy_out::collect;
use bld_executor::worker::LocalWorker;
use bld_parser::ast::Dockerfile;
use bld_solver::explain::facts::number;
use bld_solver::graph::VertexId;
use bld_solver::lower::Plan;
use bld_solver::op::Op;
use bld_solver::op::Source;
use bld_solver::record::Outcome;
use bld_solver::solve::Prepared;

use super::recorder::Recorder;
use super::recorder::Watched;
use crate::commands::debugging::files::short;
use crate::environment;
use crate::error::CommandError;
use crate::error::causes;
use crate::ui::one_line;
use crate::ui::plain::write_line;
use crate::ui::sanitize;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    /// As typed.
    stage: String,
    path: String,
    directory: PathBuf,
    /// The directory as typed.
    shown: String,
}

/// One of them, and the last step of its stage.
#[derive(Debug)]
pub(super) struct Collected<'a> {
    collection: &'a Collection,
    /// The stage as the graph calls it.
    stage: String,
    pub(super) end: VertexId,
}

impl Collection {
    /// Reads `STAGE:/PATH=DIR`.
    pub(super) fn parse(text: &str) -> Result<Collection, CommandError> {
        let refuse = || {
            CommandError::usage(format!("`--collect {text}` is not of the form STAGE:/PATH=DIR"))
                .hint("`--collect test:/src/reports=out` copies what is in /src/reports of stage `test` to the directory `out`")
        };
        let colon = text.find(":/").filter(|colon| *colon > 0).ok_or_else(refuse)?;
        let (path, directory) = text[colon + 1..].split_once('=').ok_or_else(refuse)?;
        if directory.is_empty() {
            return Err(refuse());
        }
        Ok(Collection {
            stage: text[..colon].to_owned(),
            path: path.to_owned(),
            directory: environment::absolute(directory.as_ref())?,
            shown: directory.to_owned(),
        })
    }
}

/// Finds the stages. What the build does not make cannot be collected.
pub(super) fn find<'a>(
    collections: &'a [Collection],
    plan: &Plan,
    dockerfile: &Dockerfile,
) -> Result<Vec<Collected<'a>>, CommandError> {
    if collections.is_empty() {
        return Ok(Vec::new());
    }
    if plan.images.len() > 1 {
        return Err(CommandError::usage("`--collect` takes one platform"));
    }
    collections.iter().map(|collection| locate(collection, plan, dockerfile)).collect()
}

fn locate<'a>(collection: &'a Collection, plan: &Plan, dockerfile: &Dockerfile) -> Result<Collected<'a>, CommandError> {
    let wanted = collection.stage.to_ascii_lowercase();
    let name_of = |index: usize| {
        let name = dockerfile.stages.get(index).and_then(|stage| stage.from.name.as_ref());
        name.map_or_else(|| index.to_string(), |name| name.value.clone())
    };
    let names: Vec<String> = (0..dockerfile.stages.len()).map(name_of).collect();
    let by_number = wanted.parse::<usize>().ok().and_then(|index| names.get(index));
    let Some(mut stage) = names.iter().find(|name| **name == wanted).or(by_number).cloned() else {
        return Err(CommandError::usage(format!("`--collect`: there is no stage `{}`", collection.stage))
            .hint(format!("the stages are {}", names.join(", "))));
    };
    if plan.skipped_stages.contains(&stage) {
        return Err(CommandError::usage(format!("`--collect`: the target does not need stage `{}`", collection.stage))
            .hint("only what is built can be collected: `--target` chooses another stage"));
    }
    // A stage without a step of its own is the one it begins with.
    for _ in &names {
        let steps = plan.graph.iter().filter(|(_, vertex)| vertex.stage == stage);
        if let Some((end, _)) = steps.last() {
            return Ok(Collected { collection, stage, end });
        }
        let written = names.iter().position(|name| *name == stage).and_then(|index| dockerfile.stages.get(index));
        let Some(base) = written.map(|stage| stage.from.base.raw.to_ascii_lowercase()) else { break };
        stage = base;
    }
    Err(CommandError::usage(format!("`--collect`: stage `{}` has no files of its own", collection.stage)))
}

/// What there is to look at after a build.
pub(super) struct Built<'a> {
    pub(super) store: &'a Store,
    pub(super) worker: &'a LocalWorker<Recorder>,
    pub(super) plan: &'a Plan,
    pub(super) recorder: &'a Recorder,
    pub(super) build: &'a str,
    /// The results of [`Collected::end`] in their order, if the build went well.
    pub(super) made: Option<&'a [Record]>,
    /// The keys, if the build came as far.
    pub(super) prepared: Option<&'a Prepared>,
}

/// Copies all of it. What cannot be copied is said and changes nothing about how the build ended.
pub(super) fn run(built: &Built<'_>, all: &[Collected<'_>]) {
    let seen = Seen { built, outcomes: built.recorder.seen().0 };
    for (index, one) in all.iter().enumerate() {
        let result = built.made.and_then(|made| made.get(index));
        if let Err(problem) = seen.copy(one, result) {
            let Collection { stage, path, .. } = one.collection;
            write_line(&format!("warning: --collect {stage}:{path}: {}", one_line(&problem)));
        }
    }
}

/// The same with what happened to the steps.
struct Seen<'a> {
    built: &'a Built<'a>,
    outcomes: HashMap<VertexId, Watched>,
}

impl Seen<'_> {
    fn copy(&self, one: &Collected<'_>, result: Option<&Record>) -> Result<(), String> {
        let Collection { path, directory, shown, .. } = one.collection;
        let (layers, id) = match result {
            Some(record) => (record.state.layers.clone(), one.end),
            None => self.last_state(one)?,
        };
        let step = sanitize(&short(&self.built.plan.graph.vertex(id).name));
        let view = self.built.worker.layers_view(&layers).map_err(|error| text(&error))?;
        let notes = collect(&view, path, directory).map_err(|error| format!("{} after {step}", text(&error)))?;
        let plain = self.built.recorder.plain();
        for note in notes {
            plain.note(&format!("note: {note}"));
        }
        let how = if self.outcome(id) == Some(Outcome::Failed) { "left by" } else { "after" };
        plain.note(&format!("collected {path} into {shown}, {how} {step}"));
        Ok(())
    }

    fn outcome(&self, id: VertexId) -> Option<Outcome> {
        self.outcomes.get(&id).and_then(|seen| seen.outcome)
    }

    /// The last state of the stage that was reached, and which step left it.
    fn last_state(&self, one: &Collected<'_>) -> Result<(Vec<LayerId>, VertexId), String> {
        let graph = &self.built.plan.graph;
        let is_begun =
            graph.iter().any(|(id, vertex)| vertex.stage == one.stage && self.outcome(id) == Some(Outcome::Failed));
        let mut at = Some(one.end);
        while let Some(id) = at.filter(|id| is_begun || graph.vertex(*id).stage == one.stage) {
            if let Some(layers) = self.layers(id).map_err(|error| text(&error))? {
                return Ok((layers, id));
            }
            at = graph.inputs(id).first().copied();
        }
        Err(format!("the build did not reach stage `{}`", one.collection.stage))
    }

    /// The files a vertex left in this build.
    fn layers(&self, id: VertexId) -> Result<Option<Vec<LayerId>>, StoreError> {
        let graph = &self.built.plan.graph;
        match &graph.vertex(id).op {
            Op::Merge => {
                let parts = graph.inputs(id).into_iter().map(|input| self.layers(input));
                let parts = parts.collect::<Result<Option<Vec<_>>, _>>()?;
                return Ok(parts.map(|parts| parts.concat()));
            }
            Op::Source(Source::Image { layers }) if layers.is_empty() => return Ok(Some(Vec::new())),
            _ => {}
        }
        match self.outcome(id) {
            Some(Outcome::Failed) => {
                Ok(self.built.store.kept().get(self.built.build, number(id))?.map(|kept| kept.layers))
            }
            // What an earlier build made under this key was not made in this one, unless this one found it.
            Some(Outcome::Ran | Outcome::Cached) => {
                let Some(prepared) = self.built.prepared else { return Ok(None) };
                let record = self.built.store.records().get(prepared.keys(id).definition)?;
                Ok(record.map(|record| record.state.layers))
            }
            _ => Ok(None),
        }
    }
}

fn text(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::once(error.to_string()).chain(causes(error)).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::Collection;

    #[test]
    fn what_is_to_be_collected() {
        let parse = |text: &str| Collection::parse(text).map(|one| (one.stage, one.path, one.directory));
        let parts = |stage: &str, path: &str, directory: &str| (stage.into(), path.into(), directory.into());
        assert_eq!(parse("test:/a/b=/out").unwrap(), parts("test", "/a/b", "/out"));
        assert_eq!(parse("0:/a:/b=/out=x").unwrap(), parts("0", "/a:/b", "/out=x"));
        for text in ["test", "test:/a", "test:/a=", ":/a=b", "test:a=b", "/a=b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
