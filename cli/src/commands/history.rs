//! `bld history`: the steps an image was made in, in docker's columns, newest first.

use bld_oci::image::steps;
use jiff::Timestamp;

use super::Session;
use super::print;
use super::shown::shown_one;
use crate::args::images::HistoryArgs;
use crate::environment;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::listing::ListFormat;
use crate::ui::sanitize;

/// How much of a command is shown, as docker does.
const SHOWN: usize = 45;

/// The fields of a row, and what docker writes above them.
const HEADINGS: [(&str, &str); 6] = [
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

const STANDARD: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const WITH_DATES: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

pub(super) fn run(session: &Session, args: &HistoryArgs) -> Result<(), CommandError> {
    let format = ListFormat::parse(args.format.as_deref(), if args.human { STANDARD } else { WITH_DATES })?;
    let found = shown_one(session, &args.image, args.platform.as_deref())?;
    let now = environment::now().seconds;
    let mut rows = Vec::new();
    let mut sizes = found.layer_sizes.iter();
    for step in steps(&found.image.config, &found.image.manifest)? {
        let text = |field: &str| step.history.get(field).and_then(|value| value.as_str()).unwrap_or_default();
        let created = text("created").parse::<Timestamp>().ok();
        let date = created.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let age = created.map_or_else(|| "N/A".to_owned(), |created| human_age(now - created.as_second()));
        let command = sanitize(&text("created_by").replace(['\n', '\t'], " "));
        let command = if args.no_trunc || command.chars().count() <= SHOWN {
            command
        } else {
            command.chars().take(SHOWN - 1).chain(['…']).collect()
        };
        let size = step.layer.as_ref().map_or(0, |layer| sizes.next().copied().flatten().unwrap_or(layer.blob.size));
        let size = if args.human { human_size(size) } else { size.to_string() };
        let since = if args.human { age } else { date.clone() };
        rows.push([sanitize(text("comment")), date, command, since, "<missing>".to_owned(), size]);
    }
    rows.reverse();
    if let Some(newest) = rows.first_mut() {
        let id = found.image.manifest.config.digest;
        newest[4] = if args.no_trunc { id.to_string() } else { id.hex().chars().take(12).collect() };
    }
    if args.quiet && !matches!(format, ListFormat::Lines(_)) {
        return print(&rows.iter().flat_map(|row| [row[4].as_str(), "\n"]).collect::<String>());
    }
    let row = |values: [String; 6]| {
        Value::Struct(HEADINGS.iter().zip(values).map(|((field, _), value)| Field::new(field, value)).collect())
    };
    print(&format.render(&HEADINGS, &rows.into_iter().map(row).collect::<Vec<_>>())?)
}
