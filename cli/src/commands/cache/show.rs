//! `bld cache show`.

use bld_cache::Store;
use bld_cache::key::KeyPart;
use bld_cache::store::Tombstone;

use super::list::at;
use super::rows;
use super::rows::Row;
use crate::args::cache::CacheShowArgs;
use crate::commands::print;
use crate::commands::steps;
use crate::environment;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::human_time;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;
use crate::ui::plain::write_line;

const FIELDS: [&str; 16] = [
    "ID",
    "Step",
    "Stage",
    "Instruction",
    "Project",
    "Build",
    "Vertex",
    "CostUs",
    "CreatedAt",
    "LastUsedAt",
    "Size",
    "State",
    "Keys",
    "Layers",
    "Parts",
    "LogBytes",
];

/// Instead of a value that nobody else should see.
const HIDDEN: &str = "***";

/// A layer of a result.
struct Layer {
    id: String,
    size: u64,
    place: &'static str,
}

pub(super) fn run(store: &Store, args: &CacheShowArgs) -> Result<(), CommandError> {
    let rows = rows::rows(store)?;
    let found = rows::named(store, &rows, &rows::numbers_here(store)?, &args.result)?;
    let Some(row) = found.first() else { return gone(store, &args.result) };
    if found.len() > 1 {
        write_line(&format!(
            "note: `{}` has {} results, this is the one used last: `bld cache ls --step {}` lists them",
            args.result,
            found.len(),
            args.result
        ));
    }
    let log = match &row.result.record.origin {
        Some(origin) if !origin.build.is_empty() => match store.logs().open(&origin.build, &origin.step.to_string()) {
            Ok(log) => Some(log.size()?),
            Err(error) if error.is_miss() => None,
            Err(error) => return Err(error.into()),
        },
        _ => None,
    };
    let parts: Vec<KeyPart> = store.records().parts(row.result.number)?.into_iter().map(hide).collect();
    let layers = layers(store, row)?;
    match args.format.as_deref() {
        None | Some("text") => print(&text(row, &layers, &parts, log)),
        Some(format) => {
            let headings = FIELDS.map(|field| (field, field));
            print(&ListFormat::parse(Some(format), "")?.render(&headings, &[value(row, &layers, parts, log)])?)
        }
    }
}

/// Says when and why something went.
fn gone(store: &Store, text: &str) -> Result<(), CommandError> {
    let unknown = || {
        CommandError::failed(format!("there is no result `{text}`"))
            .hint("`bld cache ls --all` lists the results; a step is written build:2 for `[build 2/4]`")
    };
    let id = if text.contains(':') || rows::is_number(text) {
        // The key that the last build looked for.
        let record = steps::find_build(store, None).map_err(|_| unknown())?;
        steps::find_step(&record, Some(text))?.key.clone()
    } else {
        text.to_ascii_lowercase()
    };
    let found = if id.is_empty() { Vec::new() } else { store.records().tombstones(&id)? };
    if found.is_empty() {
        return Err(unknown());
    }
    let now = environment::now().seconds;
    let line = |key: &str, tombstone: &Tombstone| {
        let age = human_age(now - tombstone.seconds);
        format!(
            "{}   removed {age} {} ({})\n",
            &key[..rows::SHORT],
            one_line(&tombstone.reason),
            date(tombstone.seconds)
        )
    };
    print(&found.iter().map(|(key, tombstone)| line(&key.to_string(), tombstone)).collect::<String>())
}

/// Variables are in keys with their values.
fn hide(part: KeyPart) -> KeyPart {
    let Some((name, value)) = part.value.split_once('=').filter(|_| part.name == "env") else { return part };
    if value.is_empty() || !is_secret(name) {
        return part;
    }
    KeyPart { value: format!("{name}={HIDDEN}"), name: part.name }
}

/// Rather one too many.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["PASSWORD", "PASSWD", "TOKEN", "SECRET", "KEY", "CREDENTIAL", "AUTH"];
    let upper = name.to_ascii_uppercase();
    WORDS.iter().any(|word| upper.contains(word)) || bld_parser::is_secret(name)
}

fn layers(store: &Store, row: &Row) -> Result<Vec<Layer>, CommandError> {
    let state = &row.result.record.state;
    let mut layers = Vec::with_capacity(state.layers.len());
    for (id, size) in state.layers.iter().zip(&row.result.layer_sizes) {
        let facets = store.layers().facets(*id)?;
        let place = match facets {
            None => "gone",
            Some(facets) if facets.directory.is_some() => "unpacked",
            Some(_) => "packed",
        };
        layers.push(Layer { id: id.hex(), size: *size, place });
    }
    Ok(layers)
}

fn text(row: &Row, layers: &[Layer], parts: &[KeyPart], log: Option<u64>) -> String {
    use std::fmt::Write as _;
    let now = environment::now().seconds;
    let record = &row.result.record;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", format!("{:<13} {}", format!("{name}:"), one_line(value)).trim_end());
    };
    line("ID", &row.id());
    line("Step", if row.place.is_empty() { "<none>" } else { &row.place });
    line("Instruction", if row.instruction.is_empty() { "<none>" } else { &row.instruction });
    if let Some(origin) = &record.origin {
        line("Project", &row.shown_project());
        line("Made by", &format!("build {0}: `bld builds show {0}`", origin.build));
        line("Cost", &human_time(origin.took_us));
        let log = match log {
            None => "none, or it is gone".to_owned(),
            Some(0) => "it printed nothing".to_owned(),
            Some(size) => {
                format!("{}: `bld logs {} {}:{}`", human_size(size), origin.build, row.stage, row.step.unwrap_or(0))
            }
        };
        line("Log", &log);
    }
    line("Created", &format!("{} ({})", date(record.created.seconds), human_age(now - record.created.seconds)));
    line("Last used", &format!("{} ({})", date(row.result.last_used), human_age(now - row.result.last_used)));
    line("Size", &human_size(row.size));
    line("State", &hex::encode(record.state.id.as_bytes()));
    for key in &row.result.keys {
        line("Key", &key.to_string());
    }
    for layer in layers {
        line("Layer", &format!("{}   {}, {}", layer.id, human_size(layer.size), layer.place));
    }
    if !parts.is_empty() {
        out.push_str("Made of:\n");
        for part in parts.iter().filter(|part| says_something(part)) {
            let line = format!("  {:<14} {}", one_line(&part.name), one_line(&part.value));
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// Whether a part of a key is for people: that there is none of something, and which kind of key it is, is not.
fn says_something(part: &KeyPart) -> bool {
    !matches!((part.name.as_str(), part.value.as_str()), ("script", "none") | ("mounts", "0") | ("by", _) | (_, ""))
}

/// A time as people read it.
fn date(seconds: i64) -> String {
    at(seconds).replace(" +0000 UTC", " UTC")
}

fn value(row: &Row, layers: &[Layer], parts: Vec<KeyPart>, log: Option<u64>) -> Value {
    let record = &row.result.record;
    let origin = record.origin.clone().unwrap_or_default();
    let layer = |layer: &Layer| {
        Value::Struct(vec![
            Field::new("ID", layer.id.clone()),
            Field::new("Size", layer.size),
            Field::new("Place", layer.place),
        ])
    };
    let part = |part: KeyPart| Value::Struct(vec![Field::new("Name", part.name), Field::new("Value", part.value)]);
    let values = [
        row.id().into(),
        row.place.clone().into(),
        row.stage.clone().into(),
        row.instruction.clone().into(),
        row.shown_project().into(),
        origin.build.into(),
        u64::from(origin.step).into(),
        origin.took_us.into(),
        at(record.created.seconds).into(),
        at(row.result.last_used).into(),
        row.size.into(),
        hex::encode(record.state.id.as_bytes()).into(),
        Value::List(row.result.keys.iter().map(|key| key.to_string().into()).collect()),
        Value::List(layers.iter().map(layer).collect()),
        Value::List(parts.into_iter().map(part).collect()),
        log.map_or(Value::Nil, Value::from),
    ];
    Value::Struct(FIELDS.iter().zip(values).map(|(field, value): (_, Value)| Field::new(field, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let shown = |name: &str, value: &str| hide(KeyPart { name: name.to_owned(), value: value.to_owned() }).value;
        for (value, expected) in [
            ("NPM_TOKEN=abc", "NPM_TOKEN=***"),
            ("dbpassword=abc=d", "dbpassword=***"),
            ("AWS_ACCESS_KEY_ID=x", "AWS_ACCESS_KEY_ID=***"),
            ("PATH=/bin", "PATH=/bin"),
            ("TOKEN=", "TOKEN="),
        ] {
            assert_eq!(shown("env", value), expected);
        }
        assert_eq!(shown("args", "TOKEN=abc"), "TOKEN=abc", "that is the command");
    }
}
