//! The steps: a table with a row for each, and what it printed below it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bld_solver::record::Outcome;
use bld_solver::record::StepRecord;

use super::text::Text;
use super::text::terminal;
use crate::report::Log;
use crate::report::Report;
use crate::report::critical;
use crate::report::end_of;
use crate::report::parts;
use crate::report::short;
use crate::report::words;
use crate::ui::human_size;

/// Longest instruction that is shown whole in its row.
const SHOWN: usize = 220;
/// Logs are shown open up to here, if they are of steps that failed.
const COLUMNS: usize = 6;

pub(super) fn steps(report: &Report<'_>) -> String {
    let record = report.record;
    let path = critical(record);
    let longest = record.steps.iter().map(|step| wall(report, step)).max().unwrap_or(0);
    let mut out = String::from("<section id=\"steps\"><h2>Steps</h2>\n");
    filters(&mut out, report);
    out.push_str(
        "<table class=\"steps\"><thead><tr><th scope=\"col\" class=\"n\">#</th><th scope=\"col\">Step</th>\
         <th scope=\"col\" class=\"result\">Result</th><th scope=\"col\" class=\"q\" data-sort=\"wall\">Time</th>\
         <th scope=\"col\" class=\"q cpu\" data-sort=\"cpu\"><abbr title=\"processor time\">CPU</abbr></th>\
         <th scope=\"col\" class=\"q\" data-sort=\"memory\"><abbr title=\"peak of resident memory of the largest process\">Memory</abbr></th>\
         <th scope=\"col\" class=\"q\" data-sort=\"layer\"><abbr title=\"bytes of the files in its layer\">Layer</abbr></th></tr></thead>\n",
    );
    for step in &record.steps {
        row(&mut out, report, step, &path, longest);
    }
    out.push_str("</table>\n</section>\n");
    out
}

fn wall(report: &Report<'_>, step: &StepRecord) -> u64 {
    if step.outcome == Outcome::Cached { 0 } else { end_of(report.record, step).saturating_sub(step.start_us) }
}

/// Buttons for who has JavaScript.
fn filters(out: &mut String, report: &Report<'_>) {
    out.push_str("<div class=\"tools\" hidden><span class=\"filters\" role=\"group\" aria-label=\"show\">");
    let steps = &report.record.steps;
    out.push_str("<button type=\"button\" data-show=\"\" aria-pressed=\"true\">All</button>");
    for outcome in [Outcome::Failed, Outcome::Ran, Outcome::Cached, Outcome::Canceled, Outcome::NotReached] {
        let count = steps.iter().filter(|step| step.outcome == outcome && !is_base(step)).count();
        if count > 0 {
            let (class, word) = (class(outcome), words::outcome(outcome));
            write!(
                out,
                "<button type=\"button\" data-show=\"{class}\" aria-pressed=\"false\"><i class=\"dot {class}\"></i>{word} {count}</button>"
            )
            .ok();
        }
    }
    out.push_str("</span>");
    if !report.logs.is_empty() {
        out.push_str("<button type=\"button\" data-open aria-pressed=\"false\">Open all output</button>");
    }
    out.push_str("</div>\n");
}

/// An outcome as a word of the style sheet.
pub(super) fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotReached => "unreached",
        other => words::outcome(other),
    }
}

/// Whether it is a FROM that went well: it counts neither as cached nor as one that ran.
fn is_base(step: &StepRecord) -> bool {
    !step.counts && matches!(step.outcome, Outcome::Cached | Outcome::Ran)
}

fn row(out: &mut String, report: &Report<'_>, step: &StepRecord, path: &BTreeSet<u32>, longest: u64) {
    let (place, instruction) = parts(step);
    let outcome = if is_base(step) { "base" } else { class(step.outcome) };
    let took = wall(report, step);
    let cpu = step.usage.map(|usage| usage.user_us + usage.system_us).filter(|cpu| *cpu > 0);
    let memory = step.usage.map(|usage| usage.peak_memory).filter(|memory| *memory > 0);
    write!(
        out,
        "<tbody id=\"v{}\" data-outcome=\"{outcome}\" data-wall=\"{took}\" data-cpu=\"{}\" data-memory=\"{}\" data-layer=\"{}\">",
        step.vertex,
        cpu.unwrap_or(0),
        memory.unwrap_or(0),
        step.layer_bytes.unwrap_or(0)
    )
    .ok();
    let number = step.number.map(|number| number.to_string()).unwrap_or_default();
    write!(out, "<tr><td class=\"n\">{number}</td><th scope=\"row\">").ok();
    let line = step.line.map(|line| format!("line {line}")).unwrap_or_default();
    let where_it_is: Vec<&str> = [place, &line].into_iter().filter(|part| !part.is_empty()).collect();
    if !where_it_is.is_empty() {
        write!(out, "<span class=\"place\">{}</span>", Text(&where_it_is.join(" · "))).ok();
    }
    write!(out, "<code>{}</code></th>", Text(&short(instruction, SHOWN))).ok();
    result(out, step, path.contains(&step.vertex));
    quantity(out, "time", (took > 0).then(|| words::duration(took)), Some(words::percent(took, longest)));
    quantity(out, "cpu", cpu.map(words::duration), None);
    quantity(out, "memory", memory.map(human_size), None);
    quantity(out, "layer", step.layer_bytes.map(human_size), None);
    out.push_str("</tr>");
    let is_long = instruction.trim().contains('\n') || instruction.chars().count() > SHOWN;
    let log = report.logs.get(&step.vertex);
    if is_long || log.is_some() {
        write!(out, "<tr class=\"more\"><td></td><td colspan=\"{COLUMNS}\">").ok();
        if is_long {
            write!(out, "<details><summary>Instruction</summary><pre>\n{}</pre></details>", Text(instruction)).ok();
        }
        if let Some(log) = log {
            output(out, report, step, log);
        }
        out.push_str("</td></tr>");
    }
    out.push_str("</tbody>\n");
}

/// What became of it, and why.
fn result(out: &mut String, step: &StepRecord, is_critical: bool) {
    let (outcome, word) =
        if is_base(step) { ("base", "base") } else { (class(step.outcome), words::outcome(step.outcome)) };
    write!(out, "<td class=\"result\"><span class=\"outcome {outcome}\"><i class=\"dot {outcome}\"></i>{word}</span>")
        .ok();
    if is_critical {
        out.push_str(" <span class=\"on-path\">critical path</span>");
    }
    let mut why = Vec::new();
    if let Some(cause) = &step.cause_text {
        why.push(cause.clone());
    }
    if step.same_result {
        why.push("made the same files: what follows was found in the cache".to_owned());
    }
    if let (Outcome::Cached, true, Some(saved)) = (step.outcome, step.counts, step.took_us.filter(|took| *took > 0)) {
        why.push(format!("saved {}", words::duration(saved)));
    }
    for line in why {
        write!(out, "<span class=\"why\">{}</span>", Text(&line)).ok();
    }
    out.push_str("</td>");
}

fn quantity(out: &mut String, name: &str, value: Option<String>, percent: Option<f64>) {
    match value {
        Some(value) => {
            write!(out, "<td class=\"q\" data-name=\"{name}\">{}", Text(&value)).ok();
            if let Some(percent) = percent.filter(|percent| *percent >= 1.0) {
                write!(out, "<i class=\"part\" style=\"--part:{percent:.1}%\"></i>").ok();
            }
            out.push_str("</td>");
        }
        None => out.push_str("<td class=\"q none\"><span aria-hidden=\"true\">–</span></td>"),
    }
}

/// What it printed.
fn output(out: &mut String, report: &Report<'_>, step: &StepRecord, log: &Log) {
    let open = if step.outcome == Outcome::Failed { " open" } else { "" };
    let text = log.text();
    let lines = text.trim_end_matches('\n').lines().count();
    let lines = words::count(lines, "line", "lines");
    write!(out, "<details class=\"log\"{open}><summary>Output <span>{lines}</span>").ok();
    if let Some(reference) = step.log.as_ref().filter(|reference| reference.build != report.record.id) {
        write!(out, " <span>of build {}</span>", Text(&reference.build)).ok();
    }
    write!(out, "</summary><pre tabindex=\"0\">\n{}", terminal(&log.head)).ok();
    if let Some((left_out, tail)) = &log.tail {
        let command = format!("bld logs {} {}", report.record.id, step.address());
        write!(
            out,
            "</pre><p class=\"left-out\">{} left out here; <code>{}</code> prints all</p><pre tabindex=\"0\">\n{}",
            human_size(*left_out),
            Text(&command),
            terminal(tail)
        )
        .ok();
    }
    out.push_str("</pre></details>");
}
