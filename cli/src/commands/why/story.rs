//! Everything that is known of one step of one build.

use bld_cache::CacheKey;
use bld_cache::Store;
use bld_solver::explain::Cause;
use bld_solver::explain::files::FileDifference;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;
use bld_solver::record::StepRecord;
use serde_json::Value as Json;
use serde_json::json;

use super::advice;
use super::cause;
use super::cost;
use super::counted;
use super::in_a_sentence;
use super::platform;
use super::step_json;
use crate::commands::recorded::Log;
use crate::commands::recorded::Recorded;
use crate::commands::steps;
use crate::environment;
use crate::error::CommandError;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::human_time;
use crate::ui::one_line;
use crate::ui::table;

/// An earlier time at which a step ran.
struct Earlier {
    build: String,
    took_us: Option<u64>,
}

impl Earlier {
    fn text(&self) -> String {
        let took = self.took_us.map_or_else(String::new, |took| format!("; it took {}", human_time(took)));
        let seconds = seconds(&self.build);
        let age = seconds.map_or_else(String::new, |then| {
            format!(", {}", in_a_sentence(&human_age(environment::now().seconds - then)))
        });
        format!("build {}{age}{took}", steps::short_id(&self.build))
    }

    fn json(&self) -> Json {
        json!({ "build": self.build, "started": seconds(&self.build), "took_us": self.took_us })
    }
}

/// When a build began: an id says it, even of a build that is forgotten.
fn seconds(build: &str) -> Option<i64> {
    build.split_once('-')?.0.parse().ok()
}

/// So many of the steps that were dragged along are named.
const NAMED: usize = 12;

pub(super) fn text(recorded: &Recorded, step: &StepRecord) -> Result<String, CommandError> {
    let record = &recorded.record;
    let mut lines: Vec<(&str, String)> = vec![("Step", record.address(step))];
    lines.push(("Instruction", one_line(&step.instruction)));
    let place = step.line.map(|line| format!("line {line} of {}", one_line(&record.dockerfile)));
    let number = step.number.map(|number| format!("shown as #{number} {}", one_line(place_of(&step.name))));
    lines.push(("Where", place.into_iter().chain(number).collect::<Vec<_>>().join(", ")));
    lines.extend(platform(record, step).map(|platform| ("Platform", platform.to_owned())));
    lines.push(("Outcome", outcome(record, step)));
    if step.outcome == Outcome::Cached {
        let made = made_by(recorded, step)?;
        lines.push(("Made by", made.as_ref().map_or_else(|| "not known".to_owned(), Earlier::text)));
        let saved = step.took_us.or_else(|| made.and_then(|made| made.took_us));
        lines.extend(saved.filter(|saved| *saved >= 500).map(|saved| ("Saved", human_time(saved))));
    } else {
        let why = cause(record, step).unwrap_or_else(|| "not known".to_owned());
        lines.push(("Why", one_line(&why)));
        lines.extend(details(step).into_iter().map(|detail| ("", detail)));
        let root = record.root(step);
        if root.vertex != step.vertex {
            let of_root = cause(record, root).unwrap_or_else(|| "not known".to_owned());
            lines.push(("", format!("{}: {}", record.address(root), one_line(&of_root))));
        }
        if step.same_result {
            lines.push(("", "it made the same files as before: what is below it was found".to_owned()));
        }
        let dragged: Vec<&StepRecord> = record.dragged_by(step).into_iter().filter(|step| step.counts).collect();
        if !dragged.is_empty() {
            let named: Vec<String> = dragged.iter().take(NAMED).map(|step| record.address(step)).collect();
            let more = if dragged.len() > NAMED { " ..." } else { "" };
            let (count, took) = (counted(dragged.len()), human_time(cost(dragged.iter())));
            lines.push(("Dragged", format!("{count}, {took}: {}{more}", named.join(", "))));
        }
        if let Some((store, project)) = recorded.stored() {
            let last = last_run(store, project, record, step)?;
            lines.push((
                "Ran before",
                last.map_or_else(|| "not in a build that is recorded".to_owned(), |last| last.text()),
            ));
        }
    }
    lines.extend(layer(step).map(|layer| ("Layer", layer)));
    lines.push(("Output", output(recorded, step)?));
    lines.push(("Key", step.key.clone()));
    let mut out: String = String::new();
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        out.push_str(&format!("{name:<13}{value}\n"));
    }
    for advice in advice(record).iter().filter(|advice| advice.vertex == step.vertex) {
        out.push_str(&format!("note: {}\n", one_line(&advice.text)));
    }
    Ok(out)
}

/// `[build 2/4]` of `[build 2/4] RUN make`.
fn place_of(name: &str) -> &str {
    name.find("] ").filter(|_| name.starts_with('[')).map_or(name, |end| &name[..=end])
}

fn outcome(record: &BuildRecord, step: &StepRecord) -> String {
    let took = human_time(step.wall_us());
    let said = match step.outcome {
        Outcome::Cached => return "cached".to_owned(),
        Outcome::NotReached => return "not reached: the build ended before it could begin".to_owned(),
        Outcome::Ran => format!("ran for {took}"),
        Outcome::Failed => format!("failed after {took}"),
        Outcome::Canceled if record.status == Status::Canceled => format!("interrupted after {took}"),
        Outcome::Canceled => format!("stopped after {took}, because something else failed"),
    };
    let Some(usage) = &step.usage else { return said };
    format!(
        "{said} (CPU {}, memory {}, read {}, written {})",
        human_time(usage.user_us.saturating_add(usage.system_us)),
        human_size(usage.peak_memory),
        human_size(usage.read_bytes),
        human_size(usage.written_bytes)
    )
}

fn layer(step: &StepRecord) -> Option<String> {
    if step.layer_entries == Some(0) {
        return Some("empty".to_owned());
    }
    let bytes = human_size(step.layer_bytes?);
    Some(match step.layer_entries {
        None => bytes,
        Some(1) => format!("{bytes} in 1 file, directory or link"),
        Some(count) => format!("{bytes} in {count} files, directories and links"),
    })
}

fn output(recorded: &Recorded, step: &StepRecord) -> Result<String, CommandError> {
    let build = steps::short_id(&recorded.record.id);
    Ok(match recorded.log(step)? {
        Log::Nothing => "none".to_owned(),
        Log::Gone => "gone".to_owned(),
        Log::Here(_, size) if recorded.stored().is_some() => {
            let address = recorded.record.address(step);
            // A `#` would begin a comment in a shell.
            let address = if address.contains('#') { format!("'{address}'") } else { address };
            format!("{}: `bld logs {build} {address}`", human_size(size))
        }
        Log::Here(_, size) => human_size(size),
    })
}

/// What a cause says beyond its line: all files, whole values.
fn details(step: &StepRecord) -> Vec<String> {
    let pair = |was: Option<&str>, is: Option<&str>| {
        let side = |name: &str, value: Option<&str>| {
            let lines = value.unwrap_or("(not set, or not shown)").lines().map(one_line).collect::<Vec<_>>();
            let indent = format!("\n{:19}", "");
            format!("  {name:<4}{}", if lines.is_empty() { "(empty)".to_owned() } else { lines.join(&indent) })
        };
        vec![side("was", was), side("is", is)]
    };
    match &step.cause {
        Some(Cause::Field { was, is, .. } | Cause::Variable { was, is, .. }) if was.is_some() || is.is_some() => {
            pair(was.as_deref(), is.as_deref())
        }
        Some(Cause::Base { was, is, .. } | Cause::From { was, is, .. }) => pair(Some(was), Some(is)),
        Some(Cause::Files { changes, .. }) => {
            let rows = changes.first.iter().map(|change| vec![one_line(&change.path), difference(&change.how)]);
            let rows = table::columns(&rows.collect::<Vec<_>>(), 2);
            let mut lines: Vec<String> = rows.lines().map(|line| format!("  {line}")).collect();
            if changes.changed > changes.first.len() {
                lines.push(format!("  and {} more", changes.changed - changes.first.len()));
            }
            lines
        }
        Some(Cause::Evicted { seconds, reason, .. }) => {
            let time =
                jiff::Timestamp::from_second(*seconds).map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
            vec![format!("  removed {}, {reason}", time.unwrap_or_default())]
        }
        _ => Vec::new(),
    }
}

fn difference(how: &FileDifference) -> String {
    match how {
        FileDifference::Added => "is new".to_owned(),
        FileDifference::Removed => "is gone".to_owned(),
        FileDifference::Renamed { from } => format!("was {}", one_line(from)),
        FileDifference::Content => "has other content".to_owned(),
        FileDifference::Mode { was, is } => format!("mode {was:04o} -> {is:04o}"),
        FileDifference::Xattrs => "has other extended attributes".to_owned(),
        FileDifference::Target { was, is } => format!("link to {} -> {}", one_line(was), one_line(is)),
        FileDifference::Kind { was, is } => format!("is {is}, was {was}"),
        FileDifference::HardLink { is: Some(name), .. } => format!("is a hard link to {}", one_line(name)),
        FileDifference::HardLink { was: Some(name), .. } => format!("is no longer a hard link to {}", one_line(name)),
        FileDifference::HardLink { .. } => "has other hard links".to_owned(),
    }
}

/// The build that made the result of a step that was cached.
fn made_by(recorded: &Recorded, step: &StepRecord) -> Result<Option<Earlier>, CommandError> {
    let Some((store, _)) = recorded.stored() else {
        return Ok(step.log.as_ref().map(|log| Earlier { build: log.build.clone(), took_us: step.took_us }));
    };
    if let Some(origin) =
        key(step).map(|key| store.records().get(key)).transpose()?.flatten().and_then(|found| found.origin)
    {
        // A result that was made again since has another origin than the one that was found then.
        let began = seconds(&recorded.record.id);
        if began.is_none() || seconds(&origin.build) <= began {
            return Ok(Some(Earlier { build: origin.build, took_us: Some(origin.took_us) }));
        }
    }
    if let Some(log) = &step.log {
        return Ok(Some(Earlier { build: log.build.clone(), took_us: step.took_us }));
    }
    earlier(store, None, &recorded.record, |other| other.key == step.key)
}

fn key(step: &StepRecord) -> Option<CacheKey> {
    let bytes = hex::decode(&step.key).ok()?;
    Some(CacheKey::from_stored(bytes.try_into().ok()?))
}

/// The build before this one in which the step ran: the same instruction of the same stage.
fn last_run(
    store: &Store,
    project: &str,
    record: &BuildRecord,
    step: &StepRecord,
) -> Result<Option<Earlier>, CommandError> {
    let same = |other: &StepRecord| {
        other.key == step.key
            || (other.stage == step.stage
                && (other.instruction == step.instruction || other.line == step.line && other.step == step.step))
    };
    earlier(store, Some(project), record, same)
}

fn earlier(
    store: &Store,
    project: Option<&str>,
    record: &BuildRecord,
    is_it: impl Fn(&StepRecord) -> bool,
) -> Result<Option<Earlier>, CommandError> {
    for build in store.builds().newest(project, usize::MAX)? {
        if (build.started_us, &build.id) >= (record.started_us, &record.id) {
            continue;
        }
        // One that cannot be read cannot tell.
        let Ok(earlier) = steps::read_record(&build) else { continue };
        if let Some(step) = earlier.steps.iter().find(|step| step.outcome == Outcome::Ran && is_it(step)) {
            return Ok(Some(Earlier { build: build.id, took_us: Some(step.wall_us()) }));
        }
    }
    Ok(None)
}

pub(super) fn json(recorded: &Recorded, step: &StepRecord) -> Result<Json, CommandError> {
    let record = &recorded.record;
    let mut document = step_json(record, step);
    let ran = match recorded.stored() {
        _ if step.outcome == Outcome::Cached => made_by(recorded, step)?,
        Some((store, project)) => last_run(store, project, record, step)?,
        None => None,
    };
    let log = match recorded.log(step)? {
        Log::Nothing => Some(0),
        Log::Gone => None,
        Log::Here(_, size) => Some(size),
    };
    if let Some(fields) = document.as_object_mut() {
        let name = if step.outcome == Outcome::Cached { "made_by" } else { "ran_before" };
        fields.insert("build".to_owned(), json!(record.id));
        fields.insert(name.to_owned(), json!(ran.map(|ran| ran.json())));
        fields.insert("took_us".to_owned(), json!(step.took_us));
        fields.insert("usage".to_owned(), json!(step.usage));
        fields.insert("log_bytes".to_owned(), json!(log));
    }
    Ok(document)
}
