//! `bld cache rm`.

use std::collections::BTreeSet;
use std::collections::HashSet;

use bld_cache::CacheKey;
use bld_cache::Store;

use super::list::cut;
use super::rows;
use super::rows::Row;
use crate::args::cache::CacheRemoveArgs;
use crate::commands::print;
use crate::commands::steps;
use crate::error::CommandError;
use crate::ui::human_size;
use crate::ui::one_line;
use crate::ui::plain::write_line;

/// Longer instructions are cut off.
const WIDTH: usize = 60;

/// What tombstones say.
const REASON: &str = "by bld cache rm";

pub(super) fn run(store: &Store, args: &CacheRemoveArgs) -> Result<(), CommandError> {
    let selection = &args.selection;
    let selects = args.all || selection.project.is_some() || selection.stage.is_some() || selection.step.is_some();
    if args.results.is_empty() != selects {
        let error = CommandError::usage("`bld cache rm` takes either IDs or --stage, --step, --project and --all");
        return Err(error.hint("`bld cache ls` with the same flags shows what would go; --all alone is everything"));
    }
    let rows = rows::rows(store)?;
    let rows = if selects { rows::select(rows, selection, args.all)? } else { one_by_one(store, rows, &args.results)? };
    if rows.is_empty() && !args.all {
        return Err(CommandError::failed("there is no such result")
            .hint("`bld cache ls --all` lists them, with the project, stage and step that each is of"));
    }
    let numbers: Vec<i64> = rows.iter().map(|row| row.result.number).collect();
    let removed = store.garbage().forget(&numbers, REASON)?;
    look_again(store, &rows)?;
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.push(format!("Total reclaimed space: {}\n", human_size(removed.bytes)));
    print(&lines.join("\n"))?;
    let again: BTreeSet<&str> = rows
        .iter()
        .filter(|row| !row.is_base())
        .map(|row| row.place.as_str())
        .filter(|place| !place.is_empty())
        .collect();
    if !again.is_empty() {
        let (those, make) = if again.len() == 1 { ("it", "it makes") } else { ("them", "they make") };
        let again: Vec<String> = again.into_iter().map(one_line).collect();
        write_line(&format!(
            "note: the next build makes {} again; steps after {those} stay cached if {make} the same files",
            again.join(", ")
        ));
    }
    Ok(())
}

/// Whoever finds what was made of a result does not look for it. The builds that are recorded tell what that is: it loses the keys that
/// need no look at what it was made of, and keeps those by content.
fn look_again(store: &Store, removed: &[Row]) -> Result<(), CommandError> {
    let removed: HashSet<String> =
        removed.iter().flat_map(|row| row.result.keys.iter().map(ToString::to_string)).collect();
    let mut above: BTreeSet<CacheKey> = BTreeSet::new();
    for build in store.builds().newest(None, usize::MAX)? {
        // One of another version says nothing.
        let Ok(record) = steps::read_record(&build) else { continue };
        let mut affected: HashSet<u32> =
            record.steps.iter().filter(|step| removed.contains(&step.key)).map(|step| step.vertex).collect();
        let mut known = 0;
        while known < affected.len() {
            known = affected.len();
            for step in &record.steps {
                if step.inputs.iter().any(|input| affected.contains(input)) && affected.insert(step.vertex) {
                    let mut key = [0; 32];
                    if hex::decode_to_slice(&step.key, &mut key).is_ok() {
                        above.insert(CacheKey::from_stored(key));
                    }
                }
            }
        }
    }
    Ok(store.records().unlink(&above.into_iter().collect::<Vec<_>>())?)
}

fn one_by_one(store: &Store, rows: Vec<Row>, texts: &[String]) -> Result<Vec<Row>, CommandError> {
    let here = rows::numbers_here(store)?;
    let mut wanted = BTreeSet::new();
    for text in texts {
        let found = rows::named(store, &rows, &here, text)?;
        if found.is_empty() {
            return Err(CommandError::failed(format!("there is no result `{text}`: nothing was removed"))
                .hint("`bld cache ls --all` lists the results"));
        }
        wanted.extend(found.iter().map(|row| row.result.number));
    }
    Ok(rows.into_iter().filter(|row| wanted.contains(&row.result.number)).collect())
}

fn line(row: &Row) -> String {
    let shown = match (row.place.as_str(), row.instruction.as_str()) {
        ("", "") => "<none>".to_owned(),
        ("", instruction) => cut(&one_line(instruction), WIDTH),
        (place, instruction) => format!("[{}] {}", one_line(place), cut(&one_line(instruction), WIDTH)),
    };
    format!("Removed: {}   {shown}", row.short_id())
}
