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

/// How much of an instruction is shown in a list.
const SHOWN: usize = 40;

pub(super) fn run(session: &Session, args: &WhyArgs) -> Result<(), CommandError> {
    let recorded = Recorded::find(session, args.build.as_deref())?;
    if let Some(text) = &args.step {
        let step = steps::find_step(&recorded.record, Some(text))?;
        return match args.format.as_str() {
            "text" => print(&story::text(&recorded, step)?),
            format => print(&rendered(format, &story::json(&recorded, step)?)?),
        };
    }
    match args.format.as_str() {
        "text" => print(&all(&recorded.record)),
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

/// The steps that were not cached: those with a cause of their own first.
fn missed(record: &BuildRecord) -> (Vec<&StepRecord>, Vec<&StepRecord>) {
    let is_miss =
        |step: &&StepRecord| step.counts && matches!(step.outcome, Outcome::Ran | Outcome::Failed | Outcome::Canceled);
    record.steps.iter().filter(is_miss).partition(|step| record.root(step).vertex == step.vertex)
}

fn all(record: &BuildRecord) -> String {
    let (roots, dragged) = missed(record);
    let (_, cached) = record.counts();
    let saved: u64 = saved(record);
    let head = format!("build {}, {}", steps::short_id(&record.id), age(record));
    let and_saved = if saved == 0 { String::new() } else { format!(", which saved {}", human_time(saved)) };
    let not_reached = record.steps.iter().filter(|step| step.counts && step.outcome == Outcome::NotReached).count();
    let missing = match not_reached {
        0 => String::new(),
        1 => "1 step was not reached\n".to_owned(),
        count => format!("{count} steps were not reached\n"),
    };
    let ended = match (record.status, &record.error) {
        (Status::Failed, Some(error)) => format!("it failed: {}\n", one_line(error)),
        (Status::Canceled, _) => "it was canceled\n".to_owned(),
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
    let mut rows = vec![["STEP", "TIME", "INSTRUCTION", "WHY"].map(str::to_owned).to_vec()];
    for step in roots.iter().chain(&dragged) {
        let mut why = cause(record, step).unwrap_or_else(|| "not known".to_owned());
        match step.outcome {
            Outcome::Failed => why.push_str(" (failed)"),
            Outcome::Canceled => why.push_str(" (stopped)"),
            _ if step.same_result => why.push_str(" (made the same files: what is below it was found)"),
            _ => {}
        }
        let time = human_time(step.wall_us());
        rows.push(vec![record.address(step), time, shortened(&step.instruction, SHOWN), one_line(&why)]);
    }
    out.push_str(&table::columns(&rows, 2));
    out.push('\n');
    for root in &roots {
        let followers =
            record.dragged_by(root).into_iter().filter(|step| step.end_us > 0 && step.counts).collect::<Vec<_>>();
        if !followers.is_empty() {
            let together = human_time(cost(followers.iter()) + root.wall_us());
            out.push_str(&format!(
                "{} and {} because of it: {together}\n",
                record.address(root),
                counted(followers.len())
            ));
        }
    }
    out.push_str(&missing);
    out.push_str(&ended);
    for advice in advice(record) {
        out.push_str(&format!("note: {}\n", one_line(&advice.text)));
    }
    out
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
