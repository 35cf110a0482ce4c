//! `bld cache ls`.

use bld_cache::Store;

use super::limit;
use super::rows;
use super::rows::Row;
use crate::args::cache::CacheListArgs;
use crate::commands::print;
use crate::environment;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::human_time;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;

const HEADINGS: [(&str, &str); 13] = [
    ("Build", "BUILD"),
    ("Cost", "COST"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("ID", "ID"),
    ("Instruction", "INSTRUCTION"),
    ("Keys", "KEYS"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("Project", "PROJECT"),
    ("Size", "SIZE"),
    ("Stage", "STAGE"),
    ("Step", "STEP"),
];

const STANDARD: &str =
    "{{.ID}}\t{{.Step}}\t{{.Instruction}}\t{{.Size}}\t{{.Cost}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.Project}}";

/// Longer instructions are cut off in tables.
const WIDTH: usize = 40;

pub(super) fn run(store: &Store, args: &CacheListArgs) -> Result<(), CommandError> {
    let format = ListFormat::parse(args.format.as_deref(), STANDARD)?;
    let filters = args.filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let is_elsewhere = filters.iter().any(|filter| matches!(filter, Filter::Project(_)));
    let mut found = rows::select(rows::rows(store)?, &args.selection, args.all || is_elsewhere)?;
    for filter in &filters {
        found = filter.apply(found)?;
    }
    if args.quiet && !matches!(format, ListFormat::Lines(_)) {
        let mut ids: Vec<String> = found.iter().map(|row| shown_id(args, row)).collect();
        ids.push(String::new());
        return print(&ids.join("\n"));
    }
    let is_cut = !args.no_trunc && matches!(format, ListFormat::Table(_));
    let shown: Vec<Value> = found.iter().map(|row| value(args, row, is_cut)).collect();
    print(&format.render(&HEADINGS, &shown)?)
}

fn shown_id(args: &CacheListArgs, row: &Row) -> String {
    if args.no_trunc { row.id() } else { row.short_id() }
}

fn value(args: &CacheListArgs, row: &Row, is_cut: bool) -> Value {
    let now = environment::now().seconds;
    let record = &row.result.record;
    let origin = record.origin.as_ref();
    let instruction = one_line(&row.instruction).replace('\t', " ");
    let instruction = if is_cut { cut(&instruction, WIDTH) } else { instruction };
    let step = if row.place.is_empty() { "<none>".to_owned() } else { one_line(&row.place) };
    let values = [
        origin.map(|origin| origin.build.clone()).unwrap_or_default(),
        origin.map_or_else(|| "N/A".to_owned(), |origin| human_time(origin.took_us)),
        at(record.created.seconds),
        human_age(now - record.created.seconds),
        shown_id(args, row),
        if instruction.is_empty() { "<none>".to_owned() } else { instruction },
        row.result.keys.len().to_string(),
        at(row.result.last_used),
        human_age(now - row.result.last_used),
        one_line(&row.shown_project()),
        human_size(row.size),
        one_line(&row.stage),
        step,
    ];
    Value::Struct(HEADINGS.iter().zip(values).map(|((field, _), value)| Field::new(field, value)).collect())
}

/// The beginning of a text that is too long.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    format!("{}...", text.chars().take(width.saturating_sub(3)).collect::<String>())
}

/// A time as docker writes it.
pub(super) fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "N/A".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
}

/// `--filter`.
enum Filter {
    UnusedFor(i64),
    Stage(String),
    Project(String),
    Instruction(String),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, CommandError> {
        let refuse = |reason: &str| CommandError::usage(format!("`--filter {text}`: {reason}"));
        let (key, value) = text.split_once('=').ok_or_else(|| refuse("it is not of the form KEY=VALUE"))?;
        match key {
            "unused-for" | "until" => Ok(Filter::UnusedFor(limit::duration(value).ok_or_else(|| {
                refuse("it is not a duration").hint("write a number with s, m, h, d or w, like 36h or 14d")
            })?)),
            "stage" => Ok(Filter::Stage(value.to_owned())),
            "project" => Ok(Filter::Project(value.to_owned())),
            "instruction" => Ok(Filter::Instruction(value.to_owned())),
            _ => Err(refuse("there is no such filter")
                .hint("the filters are unused-for, until, stage, project, instruction")),
        }
    }

    fn apply(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, CommandError> {
        match self {
            Filter::UnusedFor(seconds) => {
                let oldest = environment::now().seconds.saturating_sub(*seconds);
                rows.retain(|row| row.result.last_used <= oldest);
            }
            Filter::Stage(stage) => rows.retain(|row| rows::is_stage(&row.stage, stage)),
            Filter::Project(directory) => rows = rows::of_project(rows, std::path::Path::new(directory))?,
            Filter::Instruction(text) => rows.retain(|row| row.instruction.contains(text)),
        }
        Ok(rows)
    }
}
