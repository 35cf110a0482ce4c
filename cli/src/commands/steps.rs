//! The builds and steps that people name.
//!
//! ```text
//! BUILD = id | prefix of an id or of its second half | `-1`, `-2` ... | `last` | exported file
//! STEP  = STAGE `:` number | `[` STAGE number `/` number `]` | `#` number | number | STAGE | `failed`
//! ```
//!
//! `build:2` is the step that progress calls `[build 2/4]`; `#4` is the one it numbers so. In a build with one stage a bare number is the
//! place in that stage. A bare stage is its last step. A stage without a name is `stage-1`, or just `1`.

use std::path::Path;

use bld_cache::Store;
use bld_cache::store::Build;
use bld_solver::explain::facts::BuildFacts;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::SCHEMA;
use bld_solver::record::Status;
use bld_solver::record::StepRecord;
use serde::Deserialize;

use super::exported;
use super::exported::Exported;
use crate::environment;
use crate::error::CommandError;
use crate::ui::plain::write_line;

/// The build that is named; without a name the last one of this project, else of the store.
pub(super) fn find_build(store: &Store, text: Option<&str>) -> Result<BuildRecord, CommandError> {
    if let Some(path) = text.and_then(exported::path) {
        return Ok(Exported::open(path)?.record);
    }
    let mut record = read_record(&find_stored(store, text)?)?;
    add_exec(store, &mut record)?;
    Ok(record)
}

/// Adds what the steps ran with: it is among the facts of the build, which many builds share.
fn add_exec(store: &Store, record: &mut BuildRecord) -> Result<(), CommandError> {
    let Some(bytes) = store.builds().facts_of(&record.id)? else { return Ok(()) };
    // Facts of another version are none.
    let facts: BuildFacts = serde_json::from_slice(&bytes).unwrap_or_default();
    for step in &mut record.steps {
        step.exec = facts.step(step.vertex).and_then(|facts| facts.exec.clone());
    }
    Ok(())
}

/// The same, as it is stored. Says so if one that is not finished was passed over.
pub(super) fn find_stored(store: &Store, text: Option<&str>) -> Result<Build, CommandError> {
    let (build, passed_over) = find_silently(store, text)?;
    tell_passed_over(passed_over.as_deref());
    Ok(build)
}

/// Says that a newer build than the one that was taken is not finished.
pub(super) fn tell_passed_over(id: Option<&str>) {
    if let Some(id) = id {
        write_line(&format!("note: the newer build {} is unfinished: it runs, or was killed", short_id(id)));
    }
}

/// The build, and the newer one that is not finished.
pub(super) fn find_silently(store: &Store, text: Option<&str>) -> Result<(Build, Option<String>), CommandError> {
    let text = text.unwrap_or("last");
    let all = store.builds().newest(None, usize::MAX)?;
    if all.is_empty() {
        return Err(CommandError::failed("no build is recorded in this store").hint("`bld build` records every build"));
    }
    let back = if text == "last" { Some(1) } else { text.strip_prefix('-').and_then(|count| count.parse().ok()) };
    if let Some(back) = back.filter(|back| *back > 0_usize) {
        let (mut those, passed_over) = finished(of_this_project(all)?);
        if back > those.len() {
            return Err(CommandError::failed(format!("there is no build `{text}`: {} recorded", counted(those.len())))
                .hint(LIST));
        }
        return Ok((those.swap_remove(back - 1), passed_over));
    }
    if let Some(exact) = all.iter().position(|build| build.id == text) {
        return all.into_iter().nth(exact).map(|build| (build, None)).ok_or_else(|| unknown(text));
    }
    let mut fit: Vec<Build> = all.into_iter().filter(|build| begins(&build.id, text)).collect();
    match fit.len() {
        0 => Err(unknown(text)),
        1 => Ok((fit.remove(0), None)),
        count => {
            let shown: Vec<&str> = fit.iter().take(4).map(|build| build.id.as_str()).collect();
            let more = if count > shown.len() { " ..." } else { "" };
            Err(CommandError::failed(format!("`{text}` could be {count} builds: {}{more}", shown.join(", ")))
                .hint("write more of the id"))
        }
    }
}

/// Those that are finished, all if none is; and the newest if it is not.
fn finished(builds: Vec<Build>) -> (Vec<Build>, Option<String>) {
    #[derive(Deserialize)]
    struct Ended {
        status: Status,
    }
    // One that cannot be read says so when it is read.
    let is_open = |build: &Build| {
        serde_json::from_slice::<Ended>(&build.record).is_ok_and(|ended| ended.status == Status::Unfinished)
    };
    let open: Vec<bool> = builds.iter().map(is_open).collect();
    if open.iter().all(|open| *open) {
        return (builds, None);
    }
    let newest = builds.first().filter(|_| open.first() == Some(&true)).map(|build| build.id.clone());
    let ended = builds.into_iter().zip(open).filter(|(_, open)| !open).map(|(build, _)| build);
    (ended.collect(), newest)
}

const LIST: &str = "`bld builds ls --all` lists the builds there are";

fn unknown(text: &str) -> CommandError {
    CommandError::failed(format!("there is no build `{text}`")).hint(LIST)
}

fn counted(count: usize) -> String {
    if count == 1 { "1 is".to_owned() } else { format!("{count} are") }
}

/// The first half of an id is a time, which all builds of a day begin with: the second is what people type.
fn begins(id: &str, text: &str) -> bool {
    !text.is_empty() && (id.starts_with(text) || id.split_once('-').is_some_and(|(_, random)| random.starts_with(text)))
}

/// The half of an id that tells builds apart.
pub(super) fn short_id(id: &str) -> &str {
    id.split_once('-').map_or(id, |(_, random)| random)
}

/// The builds of the project whose context the working directory is in; all of them if it is in none. Given and answered newest first.
pub(super) fn of_this_project(builds: Vec<Build>) -> Result<Vec<Build>, CommandError> {
    let here = environment::absolute(Path::new(""))?;
    let is_here = |build: &&Build| {
        let context = Path::new(directory(&build.project));
        context.is_absolute() && here.starts_with(context)
    };
    let Some(project) = builds.iter().find(is_here).map(|build| directory(&build.project).to_owned()) else {
        return Ok(builds);
    };
    let project = Path::new(&project);
    Ok(builds.into_iter().filter(|build| Path::new(directory(&build.project)) == project).collect())
}

/// The context of a project: what stands before its Dockerfile.
pub(super) fn directory(project: &str) -> &str {
    project.split('\0').next().unwrap_or_default()
}

/// Reads a record.
pub(super) fn read_record(build: &Build) -> Result<BuildRecord, CommandError> {
    parse_record(&build.record).map_err(|error| error.because_of(format!("build {} cannot be read", build.id)))
}

/// Reads a record from its JSON.
pub(super) fn parse_record(bytes: &[u8]) -> Result<BuildRecord, CommandError> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let version: Version = serde_json::from_slice(bytes)?;
    if version.schema != SCHEMA {
        return Err(CommandError::failed(format!("it has schema {}, and this bld knows {SCHEMA}", version.schema)));
    }
    let record: BuildRecord = serde_json::from_slice(bytes)?;
    if !record.is_plausible() {
        return Err(CommandError::failed("it has numbers that no build can have"));
    }
    Ok(record)
}

/// The step that is named; without a name the one that failed, else the last.
pub(super) fn find_step<'a>(record: &'a BuildRecord, text: Option<&str>) -> Result<&'a StepRecord, CommandError> {
    let failed = || record.steps.iter().find(|step| step.outcome == Outcome::Failed);
    let Some(text) = text.map(str::trim) else {
        let last = || named(record).filter(|step| step.counts).last().or_else(|| named(record).last());
        return failed().or_else(last).ok_or_else(|| CommandError::failed("the build has no steps"));
    };
    if text == "failed" {
        return failed().ok_or_else(|| refused(record, "no step of the build failed".to_owned()));
    }
    let found = candidates(record, text);
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(refused(record, format!("the build has no step `{text}`"))),
        several => {
            let shown: Vec<String> = several.iter().map(|step| both(step)).collect();
            Err(CommandError::failed(format!("`{text}` could be {}", shown.join(" or ")))
                .hint("write `#N` for the number that progress shows, `STAGE:N` for a place in a stage"))
        }
    }
}

/// The steps that people can name.
fn named(record: &BuildRecord) -> impl Iterator<Item = &StepRecord> {
    let is_named = |step: &&StepRecord| step.number.is_some() || (step.step.is_some() && !is_merge(record, step));
    record.steps.iter().filter(is_named)
}

/// Whether it puts the layer of a COPY --link, which is a step of the same name, on top of what is below.
fn is_merge(record: &BuildRecord, step: &StepRecord) -> bool {
    let own = step.inputs.iter().filter_map(|input| record.vertex(*input));
    step.number.is_none() && own.into_iter().any(|own| (&own.name, own.step) == (&step.name, step.step))
}

/// What holds all files after a step: for COPY --link not the step itself, which has its own layer only.
pub(super) fn whole<'a>(record: &'a BuildRecord, step: &'a StepRecord) -> &'a StepRecord {
    let is_of = |other: &&StepRecord| other.inputs.contains(&step.vertex) && other.name == step.name;
    record.steps.iter().find(|other| is_of(other) && is_merge(record, other)).unwrap_or(step)
}

fn candidates<'a>(record: &'a BuildRecord, text: &str) -> Vec<&'a StepRecord> {
    let numbered = |number: u32| named(record).filter(|step| step.number == Some(number)).collect::<Vec<_>>();
    // As progress shows it: `[linux/amd64 build 2/4]`.
    if let Some(place) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let shown = format!("[{place}]");
        return named(record).filter(|step| step.step.is_some() && step.name.starts_with(&shown)).collect();
    }
    if let Some(number) = text.strip_prefix('#') {
        return number.parse().map(numbered).unwrap_or_default();
    }
    let in_stage = |stage: &str| {
        // A stage without a name is shown as `stage-1`.
        let number = stage.strip_prefix("stage-").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let is_it = |step: &&StepRecord| {
            step.step.is_some() && (step.stage.eq_ignore_ascii_case(stage) || Some(step.stage.as_str()) == number)
        };
        named(record).filter(is_it).collect::<Vec<_>>()
    };
    if let Some((stage, place)) = text.rsplit_once(':') {
        let Ok(place) = place.parse() else { return Vec::new() };
        return in_stage(stage).into_iter().filter(|step| step.step == Some(place)).collect();
    }
    if let Ok(number) = text.parse::<u32>() {
        if let Some(stage) = only_stage(record) {
            let found: Vec<_> = in_stage(stage).into_iter().filter(|step| step.step == Some(number)).collect();
            if !found.is_empty() {
                return found;
            }
        }
        let mut found = numbered(number);
        found.extend(lasts(&in_stage(text)).into_iter().filter(|step| step.number != Some(number)));
        return found;
    }
    lasts(&in_stage(text))
}

/// The last steps of a stage: one for each platform it was built for.
fn lasts<'a>(steps: &[&'a StepRecord]) -> Vec<&'a StepRecord> {
    let last = steps.iter().filter_map(|step| step.step).max();
    steps.iter().filter(|step| step.step == last).copied().collect()
}

fn only_stage(record: &BuildRecord) -> Option<&str> {
    let mut stages = record.steps.iter().filter(|step| step.step.is_some()).map(|step| step.stage.as_str());
    let first = stages.next()?;
    stages.all(|stage| stage == first).then_some(first)
}

fn both(step: &StepRecord) -> String {
    match (step.step, step.number) {
        (Some(_), Some(number)) => format!("{} (#{number})", step.address()),
        _ => step.address(),
    }
}

/// So many steps are listed when none fits.
const LISTED: usize = 30;

fn refused(record: &BuildRecord, message: String) -> CommandError {
    let steps: Vec<String> = named(record).take(LISTED + 1).map(both).collect();
    let shown = steps.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if steps.len() > LISTED { " ..." } else { "" };
    let hint = (!steps.is_empty()).then(|| format!("its steps are {shown}{more}"));
    CommandError::failed(message).maybe_hint(hint)
}

#[cfg(test)]
mod tests;
