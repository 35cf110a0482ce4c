//! `bld why`: what a build's steps were not cached for, and what that cost.

mod story;

use bld_solver::explain::Cause;
use bld_solver::explain::advice::Advice;
use bld_solver::explain::advice::advice;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;
use bld_solver::record::StepRecord;
use serde_json::Value as Json;
use serde_json::json;

use super::Session;
use super::builds::age;
use super::print;
use super::recorded::Recorded;
use super::steps;
use crate::args::builds::WhyArgs;
use crate::error::CommandError;
use crate::template::Template;
use crate::template::Value;
use crate::ui::human_time;
use crate::ui::one_line;
use crate::ui::table;

/// How long a line is where no terminal says it.
const WIDTH: usize = 120;

/// How much of an instruction is shown in a list.
const SHOWN: usize = 40;

pub(super) fn run(session: &Session, args: &WhyArgs) -> Result<(), CommandError> {
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let (recorded, step) = match (args.build.as_deref(), names.as_slice()) {
        (None, []) => (Recorded::find(session, None)?, None),
        (None, [only]) => Recorded::find_with_step(session, Some(only), None)?,
        (None, [build, step, ..]) => Recorded::find_with_step(session, Some(build), Some(step))?,
        (Some(build), names @ ([] | [_])) => {
            (Recorded::find(session, Some(build))?, names.first().map(|step| (*step).to_owned()))
        }
        (Some(_), [build, ..]) => {
            return Err(CommandError::usage(format!("`{build}` and `--build` both name a build")));
        }
    };
    let format = if args.json { "json" } else { args.format.as_str() };
    if let Some(text) = &step {
        let step = steps::find_step(&recorded.record, Some(text))?;
        return match format {
            "text" => print(&story::text(&recorded, step)?),
            format => print(&rendered(format, &story::json(&recorded, step)?)?),
        };
    }
    match format {
        "text" => print(&all(&recorded.record, args.no_trunc)),
        format => print(&rendered(format, &all_json(&recorded.record))?),
    }
}

/// `--format`: json, or a template.
pub(super) fn rendered(format: &str, document: &Json) -> Result<String, CommandError> {
    if format == "json" {
        return Ok(serde_json::to_string_pretty(document)? + "\n");
    }
    let refused = |error| CommandError::usage(format!("`--format {format}`: {error}"));
    let template = Template::parse(format).map_err(refused)?;
    Ok(template.render(&Value::record_of_json(document)).map_err(refused)? + "\n")
}

/// Text on one line, cut.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text = one_line(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Why a step was not cached, in a line. What missed because of another says which, and nothing more.
pub(super) fn cause(record: &BuildRecord, step: &StepRecord) -> Option<String> {
    let Some(Cause::Parent { vertex, name }) = &step.cause else {
        return step.cause.as_ref().map(ToString::to_string).or_else(|| step.cause_text.clone());
    };
    let root = record.root(step);
    if root.vertex != step.vertex {
        return Some(format!("because of {}", record.address(root)));
    }
    // What is above it was found, but is not what was there before.
    let parent = record.vertex(*vertex).map_or_else(|| name.clone(), |parent| record.address(parent));
    Some(format!("{parent} is another than before"))
}

/// The platform of a step where there are several.
pub(super) fn platform<'a>(record: &BuildRecord, step: &'a StepRecord) -> Option<&'a str> {
    let shown = if step.platform.is_empty() { "any" } else { step.platform.as_str() };
    (record.platforms.len() > 1).then_some(shown)
}

/// What stopped a step.
pub(super) fn stopped(record: &BuildRecord) -> &'static str {
    if record.status == Status::Canceled { "interrupted" } else { "stopped" }
}

/// The steps that were not cached: those with a cause of their own first.
fn missed(record: &BuildRecord) -> (Vec<&StepRecord>, Vec<&StepRecord>) {
    let is_miss =
        |step: &&StepRecord| step.counts && matches!(step.outcome, Outcome::Ran | Outcome::Failed | Outcome::Canceled);
    record.steps.iter().filter(is_miss).partition(|step| record.root(step).vertex == step.vertex)
}

fn all(record: &BuildRecord, no_trunc: bool) -> String {
    let (roots, dragged) = missed(record);
    let (_, cached) = record.counts();
    let saved: u64 = saved(record);
    let head = format!("build {}, {}", steps::short_id(&record.id), in_a_sentence(&age(record)));
    let and_saved = if saved == 0 { String::new() } else { format!(", which saved {}", human_time(saved)) };
    let not_reached = record.steps.iter().filter(|step| step.counts && step.outcome == Outcome::NotReached).count();
    let missing = match not_reached {
        0 => String::new(),
        1 => "1 step was not reached\n".to_owned(),
        count => format!("{count} steps were not reached\n"),
    };
    let ended = match (record.status, &record.error) {
        (Status::Failed, Some(error)) => format!("it failed: {}\n", one_line(error)),
        (Status::Canceled, _) => "it was interrupted\n".to_owned(),
        (Status::Unfinished, _) => "it runs, or was killed\n".to_owned(),
        _ => String::new(),
    };
    if roots.is_empty() && dragged.is_empty() {
        let said = match cached {
            _ if not_reached > 0 => format!("nothing ran; {cached} cached{and_saved}"),
            0 => "nothing ran, and nothing was cached".to_owned(),
            1 => format!("its only step was cached{and_saved}"),
            count => format!("all {count} steps were cached{and_saved}"),
        };
        return format!("{head}: {said}\n{missing}{ended}");
    }
    let mut out = format!(
        "{head}: {} not cached, {}; {cached} cached{and_saved}\n\n",
        counted(roots.len() + dragged.len()),
        human_time(cost(roots.iter().chain(&dragged)))
    );
    let steps: Vec<&StepRecord> = roots.iter().chain(&dragged).copied().collect();
    out.push_str(&rows(record, &steps, no_trunc));
    let mut notes = same(record, &steps);
    for root in &roots {
        let followers =
            record.dragged_by(root).into_iter().filter(|step| step.end_us > 0 && step.counts).collect::<Vec<_>>();
        if !followers.is_empty() {
            let together = human_time(cost(followers.iter()) + root.wall_us());
            notes.push_str(&format!(
                "{} and {} because of it: {together}\n",
                record.address(root),
                counted(followers.len())
            ));
        }
    }
    notes.push_str(&missing);
    notes.push_str(&ended);
    for advice in advice(record) {
        notes.push_str(&format!("note: {}\n", one_line(&advice.text)));
    }
    if !notes.is_empty() {
        out.push('\n');
        out.push_str(&notes);
    }
    out
}

/// The table of steps. The instruction gives way to the cause where both do not fit.
fn rows(record: &BuildRecord, steps: &[&StepRecord], no_trunc: bool) -> String {
    let cells = |step: &str, platform: Option<&str>, rest: [String; 3]| {
        let first = std::iter::once(step.to_owned()).chain(platform.map(str::to_owned));
        first.chain(rest).collect::<Vec<String>>()
    };
    let several = (record.platforms.len() > 1).then_some("PLATFORM");
    let mut rows = vec![cells("STEP", several, ["TIME", "INSTRUCTION", "WHY"].map(str::to_owned))];
    for step in steps {
        let mut why = cause(record, step).unwrap_or_else(|| "not known".to_owned());
        match step.outcome {
            Outcome::Failed => why.push_str(" (failed)"),
            Outcome::Canceled => why.push_str(&format!(" ({})", stopped(record))),
            _ => {}
        }
        let most = if no_trunc { usize::MAX } else { SHOWN };
        let rest = [human_time(step.wall_us()), shortened(&step.instruction, most), one_line(&why)];
        rows.push(cells(&record.address(step), platform(record, step), rest));
    }
    if !no_trunc {
        let why = rows.first().map_or(0, Vec::len).saturating_sub(1);
        table::fit(&mut rows, 2, table::width(WIDTH), &[(why.saturating_sub(1), 16), (why, 24)]);
    }
    table::columns(&rows, 2)
}

/// Which steps ran for nothing.
fn same(record: &BuildRecord, steps: &[&StepRecord]) -> String {
    let same: Vec<String> = steps.iter().filter(|step| step.same_result).map(|step| record.address(step)).collect();
    match same.as_slice() {
        [] => String::new(),
        [only] => format!("{only} made the same files as before: what is below it was found\n"),
        [several @ .., last] => {
            format!("{} and {last} made the same files as before: what is below them was found\n", several.join(", "))
        }
    }
}

/// `About a minute ago` after something else.
pub(super) fn in_a_sentence(age: &str) -> String {
    let mut letters = age.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn counted(count: usize) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}

fn cost<'a, 'b: 'a>(steps: impl Iterator<Item = &'a &'b StepRecord>) -> u64 {
    steps.map(|step| step.wall_us()).sum()
}

/// What the steps that were cached took when they ran.
fn saved(record: &BuildRecord) -> u64 {
    let cached = record.steps.iter().filter(|step| step.counts && step.outcome == Outcome::Cached);
    cached.filter_map(|step| step.took_us).sum()
}

fn all_json(record: &BuildRecord) -> Json {
    let (roots, dragged) = missed(record);
    let (ran, cached) = record.counts();
    let steps: Vec<Json> = roots.iter().chain(&dragged).map(|step| step_json(record, step)).collect();
    json!({
        "build": record.id,
        "started_us": record.started_us,
        "wall_us": record.wall_us,
        "status": record.status,
        "ran": ran,
        "cached": cached,
        "cost_us": cost(roots.iter().chain(&dragged)),
        "saved_us": saved(record),
        "steps": steps,
        "advice": advice(record).iter().map(|advice| advice_json(record, advice)).collect::<Vec<_>>(),
    })
}

fn step_json(record: &BuildRecord, step: &StepRecord) -> Json {
    let root = record.root(step);
    let dragged: Vec<&StepRecord> = record.dragged_by(step).into_iter().filter(|step| step.counts).collect();
    json!({
        "step": record.address(step),
        "number": step.number,
        "vertex": step.vertex,
        "instruction": step.instruction,
        "line": step.line,
        "outcome": step.outcome,
        "cause": step.cause,
        "cause_text": cause(record, step),
        "because_of": (root.vertex != step.vertex).then(|| record.address(root)),
        "same_result": step.same_result,
        "cost_us": step.wall_us(),
        "dragged": dragged.iter().map(|step| record.address(step)).collect::<Vec<_>>(),
        "dragged_us": cost(dragged.iter()),
        "key": step.key,
        "platform": step.platform,
    })
}

fn advice_json(record: &BuildRecord, advice: &Advice) -> Json {
    let address = |vertex: u32| record.vertex(vertex).map_or_else(|| vertex.to_string(), |step| record.address(step));
    json!({
        "kind": advice.kind,
        "step": address(advice.vertex),
        "steps": advice.steps.iter().map(|vertex| address(*vertex)).collect::<Vec<_>>(),
        "cost_us": advice.cost_us,
        "text": advice.text,
    })
}
