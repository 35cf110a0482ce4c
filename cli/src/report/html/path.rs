//! The critical path and the phases, as lists.

use std::fmt::Write as _;

use bld_solver::record::BuildRecord;
use bld_solver::record::critical_path::Activity;

use super::text::Text;
use crate::report::parts;
use crate::report::short;
use crate::report::words;

/// Parts below this share of the wall time are summed up, if there are more than a few.
const LEAST: f64 = 0.5;
const FEW: usize = 8;

pub(super) fn critical_path(record: &BuildRecord) -> String {
    let mut out = String::from("<section id=\"path\"><h2>Critical path</h2>\n");
    if record.critical_path.is_empty() {
        return String::new();
    }
    out.push_str(
        "<p class=\"lead\">What the build waited for, from its beginning to its end. Nothing else can make it faster.</p>\n\
         <table class=\"path\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\" class=\"q\">Time</th>\
         <th scope=\"col\" class=\"q\">Share</th></tr></thead><tbody>\n",
    );
    let (mut rest, mut rest_us) = (0, 0);
    for segment in &record.critical_path {
        let took = segment.end_us.saturating_sub(segment.start_us);
        let percent = words::percent(took, record.wall_us);
        if percent < LEAST && record.critical_path.len() > FEW {
            (rest, rest_us) = (rest + 1, rest_us + took);
            continue;
        }
        let (class, what) = match &segment.what {
            Activity::Step(vertex) => ("critical", step(record, *vertex, "")),
            Activity::Waiting(vertex) => ("waiting", step(record, *vertex, "waiting to begin ")),
            Activity::Phase(name) => ("phase", format!("<span class=\"words\">{}</span>", Text(name))),
            Activity::Other => ("other", "<span class=\"words\">not recorded</span>".to_owned()),
        };
        line(&mut out, class, &what, took, record.wall_us);
    }
    if rest > 0 {
        let text = words::count(rest, "shorter part", "shorter parts");
        line(&mut out, "phase", &format!("<span class=\"words\">{text}</span>"), rest_us, record.wall_us);
    }
    out.push_str("</tbody></table>\n</section>\n");
    out
}

fn line(out: &mut String, class: &str, what: &str, took: u64, wall: u64) {
    let percent = words::percent(took, wall);
    let part = if percent < 1.0 {
        String::new()
    } else {
        format!("<i class=\"part {class}\" style=\"--part:{percent:.1}%\"></i>")
    };
    writeln!(
        out,
        "<tr class=\"{class}\"><td><i class=\"swatch {class}\"></i>{what}</td><td class=\"q\">{}</td>\
         <td class=\"q share\">{}{part}</td></tr>",
        Text(&words::duration(took)),
        Text(&words::share(took, wall))
    )
    .ok();
}

fn step(record: &BuildRecord, vertex: u32, before: &str) -> String {
    let Some(step) = record.vertex(vertex) else { return format!("{before}vertex {vertex}") };
    let (place, instruction) = parts(step);
    format!(
        "<a href=\"#v{vertex}\"><span class=\"place\">{before}{}</span> <code>{}</code></a>",
        Text(place),
        Text(&short(instruction, 110))
    )
}

pub(super) fn phases(record: &BuildRecord) -> String {
    if record.phases.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section id=\"phases\"><h2>Phases</h2>\n<table class=\"path\"><thead><tr><th scope=\"col\">What</th>\
         <th scope=\"col\" class=\"q\">Began at</th><th scope=\"col\" class=\"q\">Time</th></tr></thead><tbody>\n",
    );
    for phase in &record.phases {
        writeln!(
            out,
            "<tr><td><span class=\"words\">{}</span></td><td class=\"q\">{}</td><td class=\"q\">{}</td></tr>",
            Text(&phase.name),
            Text(&words::duration(phase.start_us)),
            Text(&words::duration(phase.end_us.saturating_sub(phase.start_us)))
        )
        .ok();
    }
    out.push_str("</tbody></table>\n</section>\n");
    out
}
