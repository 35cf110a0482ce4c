//! The report: one page that needs nothing but itself.
//!
//! It asks nobody for anything, and its policy forbids it to: no script but the one of its own, no picture, no font, no request.
//! Without JavaScript all of it can be read; with it, steps can be filtered and sorted.

mod layers;
mod path;
mod steps;
mod text;
mod timeline;

use std::fmt::Write as _;

use bld_oci::Digest;
use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;

use self::text::Text;
use self::text::terminal;
use super::Report;
use super::parts;
use super::short;
use super::words;
use crate::ui::human_size;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// So many lines of a failed step are shown at the top.
const LAST_LINES: usize = 12;

/// The page.
pub(crate) fn page(report: &Report<'_>) -> String {
    let record = report.record;
    let project = project(record);
    let mut out = String::with_capacity(64 * 1024);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{} – build {} in {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>",
        base64(Digest::of(SCRIPT.as_bytes()).as_bytes()),
        Text(&project),
        words::status(record.status),
        Text(&words::duration(record.wall_us))
    )
    .ok();
    header(&mut out, report, &project);
    out.push_str("<main>\n");
    failure(&mut out, report);
    out.push_str(&timeline::timeline(record));
    advice(&mut out, record);
    out.push_str(&steps::steps(report));
    out.push_str("<div class=\"pair\">\n");
    out.push_str(&path::critical_path(record));
    out.push_str(&path::phases(record));
    out.push_str("</div>\n");
    if let Some(found) = &report.layers {
        out.push_str(&layers::layers(found));
    }
    out.push_str("</main>\n");
    footer(&mut out, record);
    writeln!(out, "<script>{SCRIPT}</script>\n</body>\n</html>").ok();
    out
}

/// What people call it: the name of the directory.
fn project(record: &BuildRecord) -> String {
    let context = record.context.trim_end_matches('/');
    match context {
        "-" => "Standard input".to_owned(),
        "" => "/".to_owned(),
        _ => context.rsplit('/').next().unwrap_or(context).to_owned(),
    }
}

fn header(out: &mut String, report: &Report<'_>, project: &str) {
    let record = report.record;
    let status = words::status(record.status);
    write!(
        out,
        "<header>\n<p class=\"kind\">Build report</p>\n<h1>{} <span class=\"status {status}\"><i></i>{status}</span></h1>\n<p class=\"facts\">",
        Text(project)
    )
    .ok();
    let mut facts = vec![words::time(record.started_us), record.context.clone(), record.dockerfile.clone()];
    facts.extend(record.target.as_ref().map(|target| format!("target {target}")));
    if !record.platforms.is_empty() {
        facts.push(record.platforms.join(", "));
    }
    for fact in facts.iter().filter(|fact| !fact.is_empty()) {
        write!(out, "<span>{}</span> ", Text(fact)).ok();
    }
    out.push_str("</p>\n");
    figures(out, record);
    blocks(out, record);
    images(out, record);
    out.push_str("</header>\n");
}

/// The numbers people look for first.
fn figures(out: &mut String, record: &BuildRecord) {
    let (ran, cached) = record.counts();
    let steps = record.steps.iter().filter(|step| step.counts).count();
    let saved: u64 = record
        .steps
        .iter()
        .filter(|step| step.counts && step.outcome == Outcome::Cached)
        .filter_map(|step| step.took_us)
        .sum();
    let usages = || record.steps.iter().filter_map(|step| step.usage);
    let cpu: u64 = usages().map(|usage| usage.user_us + usage.system_us).sum();
    let memory = usages().map(|usage| usage.peak_memory).max().unwrap_or(0);
    let mut figures = vec![("Wall time", words::duration(record.wall_us), String::new())];
    figures.push(("Steps ran", ran.to_string(), format!("of {steps}")));
    figures.push(("Cached", cached.to_string(), words::share(cached as u64, steps as u64)));
    if saved > 0 {
        figures.push(("The cache saved", words::duration(saved), "of step time".to_owned()));
    }
    if cpu > 0 {
        figures.push(("CPU time", words::duration(cpu), String::new()));
    }
    if memory > 0 {
        figures.push(("Peak memory", human_size(memory), "of one process".to_owned()));
    }
    if let Some(image) = record.images.iter().find(|image| image.size > 0) {
        figures.push(("Image", human_size(image.size), String::new()));
    }
    out.push_str("<dl class=\"figures\">");
    for (name, value, aside) in figures {
        write!(out, "<div><dt>{name}</dt><dd>{}", Text(&value)).ok();
        if !aside.is_empty() {
            write!(out, " <small>{}</small>", Text(&aside)).ok();
        }
        out.push_str("</dd></div>");
    }
    out.push_str("</dl>\n");
}

/// A block for each step, in order: how much was known is seen at once.
fn blocks(out: &mut String, record: &BuildRecord) {
    let steps: Vec<_> = record.steps.iter().filter(|step| step.counts).collect();
    if !(2..=400).contains(&steps.len()) {
        return;
    }
    out.push_str("<p class=\"blocks\" aria-hidden=\"true\">");
    for step in steps {
        let (place, instruction) = parts(step);
        let title = format!("{place} {}: {}", short(instruction, 80), words::outcome(step.outcome));
        let class = steps::class(step.outcome);
        write!(
            out,
            "<a tabindex=\"-1\" class=\"{class}\" href=\"#v{}\" title=\"{}\"></a>",
            step.vertex,
            Text(title.trim())
        )
        .ok();
    }
    out.push_str("</p>\n");
}

fn images(out: &mut String, record: &BuildRecord) {
    if record.images.is_empty() {
        return;
    }
    out.push_str("<dl class=\"images\">");
    for image in &record.images {
        let what = image.platform.as_deref().unwrap_or(if record.images.len() > 1 { "index" } else { "image" });
        write!(out, "<div><dt>{}</dt><dd><code>{}</code>", Text(what), Text(&image.digest)).ok();
        for name in &image.names {
            write!(out, " <span class=\"name\">{}</span>", Text(name)).ok();
        }
        out.push_str("</dd></div>");
    }
    out.push_str("</dl>\n");
}

/// What went wrong, before anything else.
fn failure(out: &mut String, report: &Report<'_>) {
    let record = report.record;
    let failed = record.steps.iter().find(|step| step.outcome == Outcome::Failed);
    let heading = match record.status {
        Status::Failed => "What failed",
        Status::Canceled => "Canceled",
        Status::Unfinished => "Unfinished",
        Status::Succeeded => return,
    };
    writeln!(out, "<section class=\"failure\"><h2>{heading}</h2>").ok();
    if let Some(error) = &record.error {
        writeln!(out, "<p class=\"error\">{}</p>", Text(error)).ok();
    } else if record.status == Status::Unfinished {
        out.push_str("<p>The build goes on, or was killed.</p>\n");
    }
    if let Some(step) = failed {
        let (place, instruction) = parts(step);
        writeln!(
            out,
            "<p><a href=\"#v{}\"><span class=\"place\">{}</span> <code>{}</code></a></p>",
            step.vertex,
            Text(place),
            Text(&short(instruction, 300))
        )
        .ok();
        if let Some(log) = report.logs.get(&step.vertex) {
            let text = log.text();
            let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            let more = if lines.len() > last.len() { "…\n" } else { "" };
            writeln!(out, "<pre tabindex=\"0\">\n{more}{}</pre>", terminal(&last.join("\n"))).ok();
        }
    }
    out.push_str("</section>\n");
}

/// What would have made it shorter.
fn advice(out: &mut String, record: &BuildRecord) {
    let found = bld_solver::explain::advice::advice(record);
    if found.is_empty() {
        return;
    }
    out.push_str("<section id=\"advice\"><h2>Advice</h2>\n<ul class=\"advice\">");
    for advice in found {
        write!(out, "<li>{}</li>", Text(&advice.text)).ok();
    }
    out.push_str("</ul>\n</section>\n");
}

fn footer(out: &mut String, record: &BuildRecord) {
    writeln!(
        out,
        "<footer><p><span>Build <code>{}</code></span> <span>bld {}</span> <span>record schema {}</span></p></footer>",
        Text(&record.id),
        Text(&record.bld),
        record.schema
    )
    .ok();
}

/// As content security policies want digests.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position) & 63) as usize;
            out.push(if position <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}
