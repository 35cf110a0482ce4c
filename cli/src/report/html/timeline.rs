//! The time line: what the build waited for, its phases, and its steps in as many lanes as ran at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::critical_path::Activity;

use super::text::Text;
use crate::report::critical;
use crate::report::lanes;
use crate::report::parts;
use crate::report::short;
use crate::report::words;

/// About so many places are marked on the axis.
const MARKS: u64 = 6;

/// Something that is drawn.
struct Bar {
    start_us: u64,
    end_us: u64,
    class: String,
    /// The row of the step, if it is one.
    vertex: Option<u32>,
    number: String,
    label: String,
    title: String,
}

pub(super) fn timeline(record: &BuildRecord) -> String {
    let steps = lanes::steps(record);
    let span = steps.iter().map(|placed| placed.end_us).chain([record.wall_us, 1]).max().unwrap_or(1);
    let path = critical(record);
    let mut out = String::from("<section id=\"timeline\"><h2>Timeline</h2>\n");
    legend(&mut out, record);
    out.push_str("<div class=\"timeline\">\n");
    axis(&mut out, span);
    if !record.critical_path.is_empty() {
        let bars: Vec<Bar> = record.critical_path.iter().map(|segment| segment_bar(record, segment)).collect();
        row(&mut out, "Critical path", "path", span, &bars);
    }
    let phases: Vec<Bar> = record.phases.iter().map(phase_bar).collect();
    for (index, lane) in rows(&phases, lanes::pack(phases.iter().map(|bar| (bar.start_us, bar.end_us)))).enumerate() {
        row(&mut out, if index == 0 { "Phases" } else { "" }, "phases", span, lane);
    }
    let numbers = steps.iter().map(|placed| placed.lane).collect();
    let bars: Vec<Bar> = steps.iter().map(|placed| step_bar(placed, &path)).collect();
    let count = steps.iter().map(|placed| placed.lane + 1).max().unwrap_or(0);
    for (index, lane) in rows(&bars, numbers).enumerate() {
        let name = match (index, count) {
            (0, 1) => "Steps".to_owned(),
            _ => format!("Lane {}", index + 1),
        };
        row(&mut out, &name, "steps", span, lane);
    }
    out.push_str("</div>\n</section>\n");
    out
}

/// The bars of each lane.
fn rows(bars: &[Bar], lanes: Vec<usize>) -> impl Iterator<Item = Vec<&Bar>> {
    let count = lanes.iter().max().map_or(0, |last| last + 1);
    let mut rows: Vec<Vec<&Bar>> = (0..count).map(|_| Vec::new()).collect();
    for (bar, lane) in bars.iter().zip(lanes) {
        rows[lane].push(bar);
    }
    rows.into_iter()
}

fn legend(out: &mut String, record: &BuildRecord) {
    let any = |wanted: Outcome| record.steps.iter().any(|step| step.outcome == wanted);
    let waits = record.critical_path.iter().any(|segment| matches!(segment.what, Activity::Waiting(_)));
    let path = critical(record);
    let mut entries = Vec::new();
    if !path.is_empty() {
        entries.push(("critical", "on the critical path"));
    }
    if record.steps.iter().any(|step| step.outcome == Outcome::Ran && !path.contains(&step.vertex)) {
        entries.push(("ran", if path.is_empty() { "ran" } else { "ran beside it" }));
    }
    if any(Outcome::Failed) {
        entries.push(("failed", "failed"));
    }
    if any(Outcome::Canceled) {
        entries.push(("canceled", "canceled"));
    }
    if !record.phases.is_empty() {
        entries.push(("phase", "phase"));
    }
    if waits {
        entries.push(("waiting", "waiting"));
    }
    out.push_str("<ul class=\"legend\">");
    for (class, text) in entries {
        write!(out, "<li><i class=\"swatch {class}\"></i>{text}</li>").ok();
    }
    let cached = record.steps.iter().filter(|step| step.counts && step.outcome == Outcome::Cached).count();
    if cached > 0 {
        write!(out, "<li class=\"aside\">{} not drawn</li>", words::count(cached, "cached step", "cached steps")).ok();
    }
    out.push_str("</ul>\n");
}

fn axis(out: &mut String, span: u64) {
    let tick = words::tick(span, MARKS);
    out.push_str("<div class=\"axis\" aria-hidden=\"true\"><div class=\"marks\">");
    let mut at = 0;
    while at <= span {
        let left = words::percent(at, span);
        // What does not fit at the right edge is written to its left.
        let class = if left > 94.0 { " class=\"last\"" } else { "" };
        write!(out, "<i{class} style=\"left:{left:.3}%\"><b>{}</b></i>", Text(&words::mark(at, tick))).ok();
        at += tick;
    }
    out.push_str("</div></div>\n");
}

fn row<'a>(out: &mut String, name: &str, class: &str, span: u64, bars: impl IntoIterator<Item = &'a Bar>) {
    let hidden = if name.is_empty() { " aria-hidden=\"true\"" } else { "" };
    write!(out, "<div class=\"lane {class}\"><span class=\"name\"{hidden}>{name}</span><div class=\"track\">").ok();
    for bar in bars {
        draw(out, bar, span);
    }
    out.push_str("</div></div>\n");
}

fn draw(out: &mut String, bar: &Bar, span: u64) {
    let (left, width) = (words::percent(bar.start_us, span), words::percent(bar.end_us - bar.start_us, span));
    let style = format!("left:{left:.3}%;width:{width:.3}%");
    let (class, title) = (&bar.class, Text(&bar.title));
    let inner = format!("<span><b>{}</b> <em>{}</em></span>", Text(&bar.number), Text(&bar.label));
    match bar.vertex {
        Some(vertex) => write!(
            out,
            "<a class=\"bar {class}\" href=\"#v{vertex}\" style=\"{style}\" title=\"{title}\" aria-label=\"{title}\">{inner}</a>"
        ),
        None => write!(out, "<span class=\"bar {class}\" style=\"{style}\" title=\"{title}\">{inner}</span>"),
    }
    .ok();
}

fn step_bar(placed: &lanes::Placed<'_>, path: &BTreeSet<u32>) -> Bar {
    let step = placed.step;
    let (place, instruction) = parts(step);
    let is_critical = path.contains(&step.vertex);
    let class = match step.outcome {
        Outcome::Failed => "failed",
        Outcome::Canceled | Outcome::NotReached => "canceled",
        _ if is_critical => "critical",
        _ => "ran",
    };
    let mut title = format!("{place} {}", short(instruction, 120)).trim().to_owned();
    write!(
        title,
        ": {}, {} from {}",
        words::outcome(step.outcome),
        words::duration(placed.end_us - placed.start_us),
        words::duration(placed.start_us)
    )
    .ok();
    if is_critical {
        title.push_str(", on the critical path");
    }
    Bar {
        start_us: placed.start_us,
        end_us: placed.end_us,
        class: class.to_owned(),
        vertex: Some(step.vertex),
        number: step.number.map(|number| number.to_string()).unwrap_or_default(),
        label: short(instruction, 80),
        title,
    }
}

fn phase_bar(phase: &bld_solver::record::Phase) -> Bar {
    let took = phase.end_us.saturating_sub(phase.start_us);
    Bar {
        start_us: phase.start_us,
        end_us: phase.end_us.max(phase.start_us),
        class: "phase".to_owned(),
        vertex: None,
        number: String::new(),
        label: phase.name.clone(),
        title: format!("{}: {} from {}", phase.name, words::duration(took), words::duration(phase.start_us)),
    }
}

/// A part of the critical path.
fn segment_bar(record: &BuildRecord, segment: &bld_solver::record::critical_path::Segment) -> Bar {
    let took = segment.end_us.saturating_sub(segment.start_us);
    let share = words::share(took, record.wall_us);
    let (class, vertex, number, label) = match &segment.what {
        Activity::Step(vertex) => {
            let step = record.vertex(*vertex);
            let class = if step.is_some_and(|step| step.outcome == Outcome::Failed) { "failed" } else { "critical" };
            let number = step.and_then(|step| step.number).map(|number| number.to_string()).unwrap_or_default();
            (class, Some(*vertex), number, step.map(|step| short(parts(step).1, 80)).unwrap_or_default())
        }
        Activity::Phase(name) => ("phase", None, String::new(), name.clone()),
        Activity::Waiting(_) => ("waiting", None, String::new(), "waiting".to_owned()),
        Activity::Other => ("other", None, String::new(), "not recorded".to_owned()),
    };
    let title = format!("{label}: {}, {share} of the build", words::duration(took));
    Bar {
        start_us: segment.start_us,
        end_us: segment.end_us.max(segment.start_us),
        class: class.to_owned(),
        vertex,
        number,
        label,
        title,
    }
}
