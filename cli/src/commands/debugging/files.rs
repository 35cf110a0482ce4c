//! The files of a step.
//!
//! | step | after it | before it |
//! |---|---|---|
//! | a RUN that failed | what was kept of it | the same without its own layer |
//! | any other that failed | nothing: what it began with, and a note | what the cache knows for the step it stands on |
//! | one that went well | what the cache knows for its key | the same |

use bld_cache::Store;
use bld_cache::key::CacheKey;
use bld_cache::record::LayerId;
use bld_cache::store::Kept;
use bld_executor::worker::Layers;
use bld_executor::worker::layer_mode;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::StepRecord;
use bld_solver::record::exec::ExecFacts;

use crate::commands::Session;
use crate::commands::build::interruptible;
use crate::commands::steps;
use crate::environment;
use crate::error::CommandError;
use crate::registries;
use crate::ui::human_age;

/// Which files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) build: Option<&'a str>,
    /// `None`: of the step that failed last.
    pub(super) step: Option<&'a str>,
    pub(super) before: bool,
}

/// The files of a step, and what it ran with.
#[derive(Debug)]
pub(super) struct StepFiles {
    /// Bottom to top.
    pub(super) layers: Vec<LayerId>,
    /// Of a RUN; of another step those of the last RUN before it.
    pub(super) facts: Option<ExecFacts>,
    /// What the user should know of the files.
    pub(super) notes: Vec<String>,
    /// And of `facts`, if they are not the step's.
    pub(super) borrowed: Option<String>,
}

/// Finds them. The caller holds a lease: what is found stays.
pub(super) fn find(store: &Store, wanted: Wanted<'_>) -> Result<StepFiles, CommandError> {
    if wanted.build.is_none() && wanted.step.is_none_or(|step| step == "failed") {
        // Whatever project it was: nothing else has been built since.
        if let Some(kept) = store.kept().newest()? {
            let record = store.builds().get(&kept.build)?.and_then(|build| steps::read_record(&build).ok());
            let name = record.as_ref().and_then(|record| record.vertex(kept.vertex)).map(|step| step.name.clone());
            // Who names it knows.
            return Ok(of_kept(kept, wanted.before, name.as_deref().filter(|_| wanted.step.is_none())));
        }
    }
    let record = steps::find_build(store, wanted.build)?;
    let step = match wanted.step {
        Some(text) => match steps::find_step(&record, Some(text)) {
            Ok(step) => step,
            Err(error) if wanted.build.is_none() => return Err(error.maybe_hint(elsewhere(store, text)?)),
            Err(error) => return Err(error),
        },
        None => record.steps.iter().find(|step| step.outcome == Outcome::Failed).ok_or_else(|| {
            CommandError::failed("no step of the last build failed")
                .hint("name a step that went well: `bld shell STAGE:N`, or a stage for its last step")
        })?,
    };
    let whole = steps::whole(&record, step);
    if let Some(kept) = store.kept().get(&record.id, step.vertex)? {
        return Ok(of_kept(kept, wanted.before, None));
    }
    let mut notes = Vec::new();
    let layers = match step.outcome {
        _ if wanted.before => before(store, &record, whole)?,
        Outcome::Cached | Outcome::Ran => after(store, &record, whole)?,
        Outcome::Failed => {
            let layers = before(store, &record, whole)?;
            notes.push(format!("nothing is kept of {}: these are the files it began with", short(&step.name)));
            layers
        }
        Outcome::Canceled | Outcome::NotReached => {
            let address = step.address();
            return Err(CommandError::failed(format!("the build did not get to the end of {}", short(&step.name)))
                .hint(format!("`--before {address}` is what it would have begun with, if that was made")));
        }
    };
    let run = below(&record, whole).find(|step| step.exec.is_some());
    let borrowed = match run {
        Some(run) if run.vertex == step.vertex => None,
        Some(run) => Some(format!("environment, user and working directory are those of {}", short(&run.name))),
        None => Some("no RUN came before: the environment is empty, the user is root".to_owned()),
    };
    Ok(StepFiles { layers, facts: run.and_then(|run| run.exec.clone()), notes, borrowed })
}

/// Which build has a step that the last one has not.
fn elsewhere(store: &Store, step: &str) -> Result<Option<String>, CommandError> {
    for build in steps::of_this_project(store.builds().newest(None, usize::MAX)?)? {
        // One of another version says nothing.
        if steps::read_record(&build).is_ok_and(|record| steps::find_step(&record, Some(step)).is_ok()) {
            return Ok(Some(format!("`--build {}` has it, the newest build that does", steps::short_id(&build.id))));
        }
    }
    Ok(None)
}

fn of_kept(kept: Kept, before: bool, name: Option<&str>) -> StepFiles {
    let mut layers = kept.layers;
    if before {
        layers.pop();
    }
    let facts = serde_json::from_slice(&kept.facts).ok();
    let what = if before { "the files it began with" } else { "the files it left" };
    let notes = name.map(|name| format!("{} failed: these are {what}", short(name))).into_iter().collect();
    StepFiles { layers, facts, notes, borrowed: None }
}

/// The step, the one it stands on, and so on.
fn below<'a>(record: &'a BuildRecord, step: &'a StepRecord) -> impl Iterator<Item = &'a StepRecord> {
    std::iter::successors(Some(step), |step| step.inputs.first().and_then(|input| record.vertex(*input)))
}

fn before(store: &Store, record: &BuildRecord, step: &StepRecord) -> Result<Vec<LayerId>, CommandError> {
    match step.inputs.first() {
        Some(input) => match record.vertex(*input) {
            Some(input) => after(store, record, input),
            None => Err(unrecorded(step)),
        },
        None => Ok(Vec::new()),
    }
}

fn unrecorded(step: &StepRecord) -> CommandError {
    CommandError::failed(format!("the record of the build does not say what {} began with", short(&step.name)))
}

/// The files a step left that went well.
fn after(store: &Store, record: &BuildRecord, step: &StepRecord) -> Result<Vec<LayerId>, CommandError> {
    let mut hash = [0; 32];
    if hex::decode_to_slice(&step.key, &mut hash).is_err() {
        return Err(CommandError::failed("the build failed before it looked for the results of its steps")
            .hint("`--build -2` looks into the build before it"));
    }
    let key = CacheKey::from_stored(hash);
    if let Some(found) = store.records().get(key)? {
        return Ok(found.state.layers);
    }
    // Nobody's step and no record: `scratch`, and the layers of COPY --link on top of others.
    if step.number.is_none() && step.inputs.len() != 1 {
        let mut layers = Vec::new();
        for input in &step.inputs {
            let input = record.vertex(*input).ok_or_else(|| unrecorded(step))?;
            layers.extend(after(store, record, input)?);
        }
        return Ok(layers);
    }
    let error = CommandError::failed(match store.records().tombstone(key)? {
        Some(tombstone) => {
            let age = human_age(environment::now().seconds.saturating_sub(tombstone.seconds)).to_lowercase();
            format!("the files of {} are gone: they were removed {age} {}", short(&step.name), tombstone.reason)
        }
        None => format!("the files of {} are not in the cache", short(&step.name)),
    });
    Err(error.hint("a build makes them again: `bld build` as before"))
}

/// As much of a step's name as a line has room for.
pub(in crate::commands) fn short(name: &str) -> String {
    const ROOM: usize = 60;
    let line = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= ROOM { line } else { line.chars().take(ROOM - 1).chain(['…']).collect() }
}

/// The layers as files: what is only known from a registry is fetched now, unless that is forbidden.
pub(super) fn unpacked(session: &Session, store: &Store, layers: &[LayerId]) -> Result<Layers, CommandError> {
    let mut is_missing = false;
    for layer in layers {
        is_missing |= store.layers().facets(*layer)?.is_none_or(|facets| facets.directory.is_none());
    }
    if is_missing {
        interruptible(async {
            let puller = if session.offline { None } else { Some(registries::puller(store, false, &[])?) };
            let files = Layers::new(store.clone(), layer_mode(session.identity)).with_puller(puller);
            let layers = layers.to_vec();
            match tokio::task::spawn_blocking(move || files.directories(&layers)).await {
                Ok(unpacked) => unpacked.map(|_| ()).map_err(|error| CommandError::from_error(&error)),
                Err(error) => Err(CommandError::failed(format!("cannot unpack layers: {error}"))),
            }
        })?;
    }
    Ok(Layers::new(store.clone(), layer_mode(session.identity)))
}
