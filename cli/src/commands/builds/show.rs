//! `bld builds show`: the record of a build for people.

use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Status;
use bld_solver::record::StepRecord;
use bld_solver::record::critical_path;
use bld_solver::record::critical_path::Activity;
use bld_solver::record::critical_path::Segment;

use super::age;
use super::status;
use crate::args::builds::BuildsShowArgs;
use crate::commands::Session;
use crate::commands::print;
use crate::commands::recorded::Log;
use crate::commands::recorded::Recorded;
use crate::commands::why;
use crate::error::CommandError;
use crate::reference;
use crate::ui::human_size;
use crate::ui::human_time;
use crate::ui::one_line;
use crate::ui::table;

/// How much of an instruction and of a cause is shown.
const SHOWN: usize = 50;

pub(super) fn run(session: &Session, args: &BuildsShowArgs) -> Result<(), CommandError> {
    let recorded = Recorded::find(session, args.build.as_deref())?;
    match args.format.as_str() {
        "text" => print(&text(&recorded, args.no_trunc)?),
        "json" => print(&(String::from_utf8_lossy(&recorded.bytes).trim_end().to_owned() + "\n")),
        format => print(&why::rendered(format, &serde_json::from_slice(&recorded.bytes)?)?),
    }
}

fn text(recorded: &Recorded, no_trunc: bool) -> Result<String, CommandError> {
    let record = &recorded.record;
    let mut out = header(record);
    let cut = |text: &str| if no_trunc { one_line(text) } else { why::shortened(text, SHOWN) };
    out.push('\n');
    out.push_str(&table::columns(&steps(recorded, &cut)?, 2));
    let path = if record.critical_path.is_empty() {
        critical_path::critical_path(record)
    } else {
        record.critical_path.clone()
    };
    out.push_str(&waited(record, &path, &cut));
    if !record.phases.is_empty() {
        out.push_str("\nBeside the steps:\n");
        let rows = record.phases.iter().map(|phase| {
            let took = phase.end_us.saturating_sub(phase.start_us);
            vec![format!("at {}", human_time(phase.start_us)), human_time(took), one_line(&phase.name)]
        });
        out.push_str(&table::columns(&rows.collect::<Vec<_>>(), 2));
    }
    Ok(out)
}

fn header(record: &BuildRecord) -> String {
    let (ran, cached) = record.counts();
    let started = jiff::Timestamp::from_microsecond(record.started_us).ok();
    let started = started.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let took = match record.status {
        Status::Unfinished => "unfinished: it runs, or was killed".to_owned(),
        other => format!("{} after {}", status(other), human_time(record.wall_us)),
    };
    let mut lines = vec![
        ("Build", record.id.clone()),
        ("Context", record.context.clone()),
        ("Dockerfile", record.dockerfile.clone()),
    ];
    lines.extend(record.target.clone().map(|target| ("Target", target)));
    lines.push(("Platforms", record.platforms.join(", ")));
    lines.push(("Started", format!("{started} ({})", age(record))));
    lines.push(("Status", took));
    lines.extend(record.error.clone().map(|error| ("Error", error)));
    lines.push(("Steps", format!("{ran} ran, {cached} cached")));
    for image in &record.images {
        let mut words: Vec<String> = image.names.iter().map(|name| reference::familiar(name)).collect();
        words.push(image.digest.clone());
        words.extend(image.platform.clone());
        words.push(human_size(image.size));
        lines.push(("Image", words.join(" ")));
    }
    lines.push(("bld", record.bld.clone()));
    let rows = lines.into_iter().map(|(name, value)| vec![format!("{name}:"), one_line(&value)]);
    table::columns(&rows.collect::<Vec<_>>(), 1)
}

fn steps(recorded: &Recorded, cut: &dyn Fn(&str) -> String) -> Result<Vec<Vec<String>>, CommandError> {
    let record = &recorded.record;
    let head =
        ["#", "STEP", "INSTRUCTION", "OUTCOME", "TIME", "CPU", "MEMORY", "READ", "WRITTEN", "LAYER", "FILES", "LOG"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let none = || "-".to_owned();
    for step in record.steps.iter().filter(|step| step.number.is_some() || step.step.is_some()) {
        let log = match recorded.log(step)? {
            Log::Nothing => none(),
            Log::Gone => "gone".to_owned(),
            Log::Here(_, size) => human_size(size),
        };
        let usage = step.usage.as_ref();
        let size = |bytes: Option<u64>| bytes.map_or_else(none, human_size);
        rows.push(vec![
            step.number.map_or_else(none, |number| number.to_string()),
            record.address(step),
            cut(&step.instruction),
            cut(&outcome(record, step)),
            if step.end_us > 0 { human_time(step.wall_us()) } else { none() },
            usage.map_or_else(none, |usage| human_time(usage.user_us.saturating_add(usage.system_us))),
            size(usage.map(|usage| usage.peak_memory)),
            size(usage.map(|usage| usage.read_bytes)),
            size(usage.map(|usage| usage.written_bytes)),
            size(step.layer_bytes),
            step.layer_entries.map_or_else(none, |count| count.to_string()),
            log,
        ]);
    }
    Ok(rows)
}

/// What became of a step: why it ran, if it did.
fn outcome(record: &BuildRecord, step: &StepRecord) -> String {
    let cause = why::cause(record, step);
    match step.outcome {
        Outcome::Cached => "cached".to_owned(),
        Outcome::NotReached => "not reached".to_owned(),
        Outcome::Ran => cause.unwrap_or_else(|| "ran".to_owned()),
        Outcome::Failed => cause.map_or_else(|| "failed".to_owned(), |cause| format!("failed; {cause}")),
        Outcome::Canceled => cause.map_or_else(|| "stopped".to_owned(), |cause| format!("stopped; {cause}")),
    }
}

/// What the build waited for, and how much of its time that explains.
fn waited(record: &BuildRecord, path: &[Segment], cut: &dyn Fn(&str) -> String) -> String {
    let length = |segment: &Segment| segment.end_us.saturating_sub(segment.start_us);
    let named: u64 = path.iter().filter(|segment| segment.what != Activity::Other).map(length).sum();
    if path.is_empty() || record.wall_us == 0 {
        return String::new();
    }
    let per_mille = named.saturating_mul(1000) / record.wall_us;
    let mut out = format!(
        "\nCritical path: {} of {} ({}.{}%)\n",
        human_time(named),
        human_time(record.wall_us),
        per_mille / 10,
        per_mille % 10
    );
    let step = |vertex: u32| record.vertex(vertex);
    let rows = path.iter().map(|segment| {
        let what = match &segment.what {
            Activity::Step(vertex) => step(*vertex).map_or_else(
                || format!("step {vertex}"),
                |step| format!("{} {}", record.address(step), cut(&step.instruction)),
            ),
            Activity::Phase(name) => one_line(name),
            Activity::Waiting(vertex) => {
                format!("before {}", step(*vertex).map_or_else(|| vertex.to_string(), |step| record.address(step)))
            }
            Activity::Other => "(not recorded)".to_owned(),
        };
        vec![format!("at {}", human_time(segment.start_us)), human_time(length(segment)), what]
    });
    out.push_str(&table::columns(&rows.collect::<Vec<_>>(), 2));
    out
}
