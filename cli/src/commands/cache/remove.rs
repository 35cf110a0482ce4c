//! `bld cache rm`.

use std::collections::BTreeSet;

use bld_cache::Store;

use super::rows;
use super::rows::Row;
use crate::args::cache::CacheRemoveArgs;
use crate::commands::print;
use crate::error::CommandError;
use crate::ui::human_size;
use crate::ui::one_line;
use crate::ui::plain::write_line;

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
    if rows.is_empty() {
        return Err(CommandError::failed("there is no such result")
            .hint("`bld cache ls --all` lists them, with the project, stage and step that each is of"));
    }
    let numbers: Vec<i64> = rows.iter().map(|row| row.result.number).collect();
    let removed = store.garbage().forget(&numbers, REASON)?;
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
        let (verb, it) = if again.len() == 1 { ("runs", "it") } else { ("run", "them") };
        let again: Vec<String> = again.into_iter().map(one_line).collect();
        write_line(&format!(
            "note: {} {verb} again when a build needs {it}: not as long as what was made of {it} is cached; \
             `bld build --no-cache=STAGE:N` runs a step in any case",
            again.join(", ")
        ));
    }
    Ok(())
}

fn one_by_one(store: &Store, rows: Vec<Row>, texts: &[String]) -> Result<Vec<Row>, CommandError> {
    let here = rows::numbers_here(store)?;
    let mut wanted = BTreeSet::new();
    for text in texts {
        let found = rows::named(&rows, &here, text)?;
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
        ("", instruction) => one_line(instruction),
        (place, instruction) => format!("[{}] {}", one_line(place), one_line(instruction)),
    };
    format!("Removed: {}   {shown}", row.short_id())
}
