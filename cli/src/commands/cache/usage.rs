//! `bld cache du`: every byte of the store, once.

use std::collections::HashMap;
use std::collections::HashSet;

use bld_cache::LayerId;
use bld_cache::Store;
use bld_cache::store::Census;

use super::list::cut;
use super::rows;
use super::rows::Row;
use crate::args::cache::CacheUsageArgs;
use crate::args::cache::UsageBy;
use crate::commands::print;
use crate::error::CommandError;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_size;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;

const HEADINGS: [(&str, &str); 5] =
    [("Bytes", "BYTES"), ("Count", "COUNT"), ("Name", "NAME"), ("Project", "PROJECT"), ("Size", "SIZE")];

const STANDARD: &str = "{{.Name}}\t{{.Count}}\t{{.Size}}";
const WITH_PROJECT: &str = "{{.Name}}\t{{.Count}}\t{{.Size}}\t{{.Project}}";

/// Longer names are cut off in tables.
const WIDTH: usize = 60;

/// Something that takes up space.
#[derive(Debug, Default)]
struct Part {
    name: String,
    project: String,
    count: u64,
    bytes: u64,
}

/// The layers of steps with the rows that made them, and what is left.
struct Shares<'a> {
    steps: Vec<(&'a Row, u64)>,
    /// What the results of several rows have in common counts for the first.
    results: u64,
    bases: Part,
    unneeded: Part,
}

pub(super) fn run(store: &Store, args: &CacheUsageArgs) -> Result<(), CommandError> {
    let has_project = matches!(args.by, Some(UsageBy::Stage | UsageBy::Step));
    let format = ListFormat::parse(args.format.as_deref(), if has_project { WITH_PROJECT } else { STANDARD })?;
    let rows = rows::rows(store)?;
    let census = store.garbage().census()?;
    let mut parts = parts(&rows, &census, args);
    parts.push(Part { name: "Total".to_owned(), bytes: census.total(), ..Part::default() });
    if matches!(format, ListFormat::Table(_)) && !args.verbose {
        for part in &mut parts {
            part.name = cut(&part.name, WIDTH);
        }
    }
    let shown: Vec<Value> = parts.iter().map(value).collect();
    print(&format.render(&HEADINGS, &shown)?)
}

fn parts(rows: &[Row], census: &Census, args: &CacheUsageArgs) -> Vec<Part> {
    let shares = share(rows, census);
    let mounts: u64 = census.mounts.iter().map(|(_, size)| size).sum();
    let all_mounts =
        Part { name: "Cache mounts".to_owned(), count: census.mounts.len() as u64, bytes: mounts, ..Part::default() };
    let all_steps = Part {
        name: "Results of steps".to_owned(),
        count: shares.results,
        bytes: shares.steps.iter().map(|(_, bytes)| bytes).sum(),
        ..Part::default()
    };
    let mut parts = match args.by {
        None => vec![all_steps, all_mounts],
        Some(UsageBy::Mount) => {
            let mut parts: Vec<Part> = census
                .mounts
                .iter()
                .map(|(mount, bytes)| Part {
                    name: one_line(&mount.id),
                    count: mount.copies.len() as u64,
                    bytes: *bytes,
                    ..Part::default()
                })
                .collect();
            parts.sort_by(|left, right| (right.bytes, &left.name).cmp(&(left.bytes, &right.name)));
            parts.push(all_steps);
            parts
        }
        Some(by) => {
            let mut parts = grouped(&shares.steps, by);
            parts.push(all_mounts);
            parts
        }
    };
    parts.push(shares.bases);
    parts.push(Part { name: "Images".to_owned(), bytes: census.images, ..Part::default() });
    if census.kept > 0 {
        parts.push(Part { name: "Files of a failed step".to_owned(), bytes: census.kept, ..Part::default() });
    }
    if shares.unneeded.bytes > 0 {
        parts.push(shares.unneeded);
    }
    if args.verbose {
        let rest = census.rest.iter().filter(|(_, bytes)| *bytes > 0);
        parts.extend(rest.map(|(name, bytes)| Part { name: one_line(name), bytes: *bytes, ..Part::default() }));
    } else {
        let bytes = census.rest.iter().map(|(_, bytes)| bytes).sum();
        parts.push(Part { name: "Records, logs and the rest".to_owned(), bytes, ..Part::default() });
    }
    parts
}

/// Finds out whose each layer is: it belongs to the first result that has it on top.
fn share<'a>(rows: &'a [Row], census: &Census) -> Shares<'a> {
    let mut owners: HashMap<LayerId, usize> = HashMap::new();
    let mut needed: HashSet<LayerId> = HashSet::new();
    let mut results = 0;
    for (index, row) in rows.iter().enumerate() {
        let layers = &row.result.record.state.layers;
        needed.extend(layers);
        results += u64::from(!row.is_base());
        if let Some(top) = layers.last().filter(|_| !row.is_base()) {
            let owner = owners.entry(*top).or_insert(index);
            if rows.get(*owner).is_some_and(|other| other.result.number > row.result.number) {
                *owner = index;
            }
        }
    }
    let mut bytes = vec![0; rows.len()];
    let mut bases = Part { name: "Base images, unpacked".to_owned(), ..Part::default() };
    let mut unneeded = Part { name: "Nothing needs it".to_owned(), bytes: census.loose, ..Part::default() };
    for layer in &census.layers {
        match owners.get(&layer.id).and_then(|owner| bytes.get_mut(*owner)) {
            Some(bytes) => *bytes += layer.total(),
            None if needed.contains(&layer.id) => {
                bases.bytes += layer.total();
                bases.count += 1;
            }
            None => {
                unneeded.bytes += layer.total();
                unneeded.count += 1;
            }
        }
    }
    let steps = rows.iter().zip(bytes).filter(|(row, _)| !row.is_base()).collect();
    Shares { steps, results, bases, unneeded }
}

/// The largest first.
fn grouped(steps: &[(&Row, u64)], by: UsageBy) -> Vec<Part> {
    let mut groups: HashMap<(String, String), Part> = HashMap::new();
    for (row, bytes) in steps {
        let project = one_line(&row.shown_project());
        let (name, project) = match by {
            UsageBy::Project => (if project.is_empty() { "<none>".to_owned() } else { project }, String::new()),
            UsageBy::Stage | UsageBy::Mount => (one_line(&row.stage), project),
            UsageBy::Step => (format!("[{}] {}", one_line(&row.place), one_line(&row.instruction)), project),
        };
        let part = groups.entry((name.clone(), project.clone())).or_default();
        part.name = name;
        part.project = project;
        part.count += 1;
        part.bytes += bytes;
    }
    let mut parts: Vec<Part> = groups.into_values().collect();
    parts.sort_by(|left, right| {
        (right.bytes, &left.name, &left.project).cmp(&(left.bytes, &right.name, &right.project))
    });
    parts
}

fn value(part: &Part) -> Value {
    let count = if part.count == 0 { String::new() } else { part.count.to_string() };
    Value::Struct(vec![
        Field::new("Bytes", part.bytes),
        Field::new("Count", count),
        Field::new("Name", part.name.replace('\t', " ")),
        Field::new("Project", part.project.clone()),
        Field::new("Size", human_size(part.bytes)),
    ])
}
