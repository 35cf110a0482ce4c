//! `bld image prune`: takes images off the list, and what only they needed off the disk.

use std::io::BufRead as _;

use super::Session;
use super::entries::Filters;
use super::entries::entries;
use super::print;
use crate::args::images::ImagePruneArgs;
use crate::error::CommandError;
use crate::reference;
use crate::ui::human_size;
use crate::ui::plain::write_line;

const FILTERS: [&str; 4] = ["until", "label", "reference", "dangling"];

pub(super) fn run(session: &Session, args: &ImagePruneArgs) -> Result<(), CommandError> {
    let filters = Filters::parse(&args.filters, &FILTERS)?;
    let store = session.open_existing_store()?;
    if !args.force && !confirmed(args.all)? {
        return Ok(());
    }
    let before = store.garbage().usage()?.total();
    // `dangling=false` is docker's other way to say --all.
    let all = args.all || args.filters.iter().any(|filter| filter == "dangling=false" || filter == "dangling=0");
    let asks = args.filters.iter().filter(|filter| !filter.starts_with("dangling=")).cloned().collect::<Vec<_>>();
    let filters = if all { Filters::parse(&asks, &FILTERS)? } else { filters };
    let found = filters.apply(&store, entries(&store)?)?;
    let mut lines = Vec::new();
    for entry in found.iter().filter(|entry| all || entry.name.is_none()) {
        match &entry.name {
            Some(name) => {
                store.images().remove(name)?;
                lines.push(format!("untagged: {}", reference::familiar(name)));
            }
            None => drop(store.images().remove_untagged(&entry.descriptor.digest)?),
        }
        if super::shown::names(&store, &entry.descriptor)?.is_empty() {
            lines.push(format!("deleted: {}", entry.descriptor.digest));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "Deleted Images:".to_owned());
        lines.push(String::new());
    }
    let freed = store.garbage().remove_unreferenced()?;
    let gone = before.saturating_sub(store.garbage().usage()?.total());
    lines.push(format!("Total reclaimed space: {}\n", human_size(gone.max(freed.bytes))));
    print(&lines.join("\n"))
}

fn confirmed(all: bool) -> Result<bool, CommandError> {
    let what = if all { "all images" } else { "all images without a name" };
    write_line(&format!("This will remove {what} (--force does not ask). Go on? [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CommandError::failed(format!("cannot read standard input: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
