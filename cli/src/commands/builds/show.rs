//! `bld builds show`: the record of a build for people.

use bld_solver::record::BuildRecord;
use bld_solver::record::Outcome;
use bld_solver::record::Phase;
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

/// How long a line is where no terminal says it.
const WIDTH: usize = 150;

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
    let mut rows = steps(recorded, &cut)?;
    if !no_trunc {
        let instruction = if record.platforms.len() > 1 { 3 } else { 2 };
        table::fit(&mut rows, 2, table::width(WIDTH), &[(instruction, 24), (instruction + 1, 24)]);
    }
    out.push_str(&table::columns(&rows, 2));
    let path = if record.critical_path.is_empty() {
        critical_path::critical_path(record)
    } else {
        record.critical_path.clone()
    };
    out.push_str(&waited(record, &path, &cut));
    let is_on_path = |name: &str| path.iter().any(|segment| segment.what == Activity::Phase(name.to_owned()));
    let beside: Vec<&Phase> = record.phases.iter().filter(|phase| !is_on_path(&phase.name)).collect();
    if !beside.is_empty() {
        out.push_str("\nBeside the steps:\n");
        let rows = beside.into_iter().map(|phase| {
            let took = phase.end_us.saturating_sub(phase.start_us);
            vec![format!("at {}", exact(phase.start_us)), exact(took), one_line(&phase.name)]
        });
        out.push_str(&table::columns(&rows.collect::<Vec<_>>(), 2));
    }
    Ok(out)
}

/// Milliseconds where they matter: below ten seconds.
fn exact(us: u64) -> String {
    match us.saturating_add(500) / 1000 {
        milliseconds @ 0..1000 => format!("{milliseconds}ms"),
        milliseconds @ 1000..10_000 => format!("{}.{:03}s", milliseconds / 1000, milliseconds % 1000),
        _ => human_time(us),
    }
}

fn header(record: &BuildRecord) -> String {
    let started = jiff::Timestamp::from_microsecond(record.started_us).ok();
    let started = started.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    let took = match record.status {
        Status::Unfinished => "unfinished: it runs, or was killed".to_owned(),
        other => format!("{} after {}", status(other), exact(record.wall_us)),
    };
    let mut lines = vec![
        ("Build", record.id.clone()),
        ("Context", record.context.clone()),
        ("Dockerfile", record.dockerfile.clone()),
    ];
    lines.extend(record.target.clone().map(|target| ("Target", target)));
    lines.push(("Platforms", record.platforms.join(", ")));
    lines.push(("Started", format!("{started} ({})", why::in_a_sentence(&age(record)))));
    lines.push(("Status", took));
    lines.extend(record.error.clone().map(|error| ("Error", error)));
    lines.push(("Steps", record.tally()));
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
    let several = record.platforms.len() > 1;
    let head = ["INSTRUCTION", "OUTCOME", "TIME", "CPU", "MEMORY", "READ", "WRITTEN", "LAYER", "FILES", "LOG"];
    let first = ["#", "STEP"].into_iter().chain(several.then_some("PLATFORM"));
    let mut rows = vec![first.chain(head).map(str::to_owned).collect::<Vec<String>>()];
    let none = || "-".to_owned();
    for step in record.steps.iter().filter(|step| step.number.is_some() || step.step.is_some()) {
        let log = match recorded.log(step)? {
            Log::Nothing => none(),
            Log::Gone => "gone".to_owned(),
            Log::Here(_, size) => human_size(size),
        };
        let usage = step.usage.as_ref();
        let size = |bytes: Option<u64>| bytes.map_or_else(none, human_size);
        let mut row = vec![step.number.map_or_else(none, |number| number.to_string()), record.address(step)];
        row.extend(why::platform(record, step).map(str::to_owned));
        row.extend([
            cut(&step.instruction),
            cut(&outcome(record, step)),
            if step.end_us > 0 { exact(step.wall_us()) } else { none() },
            usage.map_or_else(none, |usage| exact(usage.user_us.saturating_add(usage.system_us))),
            size(usage.map(|usage| usage.peak_memory)),
            size(usage.map(|usage| usage.read_bytes)),
            size(usage.map(|usage| usage.written_bytes)),
            size(step.layer_bytes),
            step.layer_entries.map_or_else(none, |count| count.to_string()),
            log,
        ]);
        rows.push(row);
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
        Outcome::Canceled => {
            let stopped = why::stopped(record);
            cause.map_or_else(|| stopped.to_owned(), |cause| format!("{stopped}; {cause}"))
        }
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
        exact(named),
        exact(record.wall_us),
        per_mille / 10,
        per_mille % 10
    );
    let step = |vertex: u32| record.vertex(vertex);
    // The parts are whole: what is folded is counted, and comes last.
    let is_short = |segment: &&Segment| length(segment).saturating_mul(100) < record.wall_us;
    let (short, long): (Vec<&Segment>, Vec<&Segment>) = path.iter().partition(is_short);
    let mut rows: Vec<Vec<String>> = long
        .into_iter()
        .map(|segment| {
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
            vec![format!("at {}", exact(segment.start_us)), exact(length(segment)), what]
        })
        .collect();
    if !short.is_empty() {
        let together = short.iter().map(|segment| length(segment)).sum();
        let parts =
            if short.len() == 1 { "1 shorter part".to_owned() } else { format!("{} shorter parts", short.len()) };
        rows.push(vec![String::new(), exact(together), parts]);
    }
    out.push_str(&table::columns(&rows, 2));
    out
}
