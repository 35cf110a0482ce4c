//! `bld prune`: removes what nothing needs, and with a limit results of steps and cache mounts, those first that were used longest ago.

use bld_executor::image::local;

use super::Session;
use super::cache::limit;
use super::cache::limit::Limit;
use super::print;
use crate::args::images::PruneArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::human_size;

pub(super) fn run(session: &Session, args: &PruneArgs) -> Result<(), CommandError> {
    let max_size = args.max_size.as_deref().map(size).transpose()?;
    let unused_for = unused_for(args)?;
    let unused_for = unused_for.as_ref().map(|(seconds, text)| (*seconds, text.as_str()));
    let store = session.open_existing_store()?;
    let before = store.garbage().usage()?.total();
    let nameless: Vec<_> = store.images().list()?.into_iter().filter(|(name, _)| name.is_none()).collect();
    let is_partial = max_size.is_some() || unused_for.is_some();
    let mut lines: Vec<String> = nameless.iter().map(|(_, image)| format!("Deleted: {}", image.digest)).collect();
    let mut bytes;
    if args.all && !is_partial {
        // Their layers' directories go: what their files take up is found out now or never.
        for (_, image) in store.images().list()? {
            local::size(&store, &image, &environment::host_platform()).ok();
        }
        bytes = store.garbage().prune_all()?.bytes;
    } else {
        store.kept().clear()?;
        store.images().remove_all_untagged()?;
        bytes = store.garbage().remove_unreferenced()?.bytes;
    }
    if is_partial {
        let evicted = limit::evict(&store, max_size.as_ref(), unused_for)?;
        bytes += evicted.bytes;
        if evicted.results + evicted.mounts > 0 {
            lines.push(format!("Removed: {}", limit::counted(&evicted)));
        }
    }
    // Not everything that goes was counted when it was made: cache mounts and logs grow afterwards.
    let gone = before.saturating_sub(store.garbage().usage()?.total());
    lines.push(format!("Total reclaimed space: {}\n", human_size(gone.max(bytes))));
    print(&lines.join("\n"))
}

fn size(text: &str) -> Result<Limit, CommandError> {
    Limit::parse(text)
        .ok_or_else(|| CommandError::usage(format!("`--max-size {text}` is not a size")).hint(limit::SIZES))
}

/// Seconds, and how they were written.
fn unused_for(args: &PruneArgs) -> Result<Option<(i64, String)>, CommandError> {
    let mut found =
        args.unused_for.iter().map(|text| (format!("--unused-for {text}"), text.clone())).collect::<Vec<_>>();
    for filter in &args.filters {
        match filter.split_once('=') {
            Some(("until" | "unused-for", value)) => found.push((format!("--filter {filter}"), value.to_owned())),
            _ => {
                return Err(CommandError::usage(format!("`--filter {filter}`: there is no such filter"))
                    .hint("the filters are until=DURATION and unused-for=DURATION"));
            }
        }
    }
    let mut longest: Option<(i64, String)> = None;
    for (flag, text) in found {
        let seconds = limit::duration(&text).ok_or_else(|| {
            CommandError::usage(format!("`{flag}`: it is not a duration"))
                .hint("write a number with s, m, h, d or w, like 36h or 14d")
        })?;
        // All of them must hold.
        if longest.as_ref().is_none_or(|(other, _)| seconds > *other) {
            longest = Some((seconds, words(&text)));
        }
    }
    Ok(longest)
}

/// `14d` as people say it.
fn words(text: &str) -> String {
    let named = [('m', "minute"), ('h', "hour"), ('d', "day"), ('w', "week")];
    let found = named.iter().find_map(|(suffix, name)| Some((text.strip_suffix(*suffix)?.parse::<u32>().ok()?, name)));
    match found {
        Some((1, name)) => format!("1 {name}"),
        Some((count, name)) => format!("{count} {name}s"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_words() {
        for (text, expected) in [("14d", "14 days"), ("24h", "24 hours"), ("1w", "1 week"), ("1h30m", "1h30m")] {
            assert_eq!(words(text), expected);
        }
    }

    #[test]
    fn all_ages_must_hold() {
        let args = |unused_for: Option<&str>, filters: &[&str]| PruneArgs {
            all: false,
            force: false,
            max_size: None,
            unused_for: unused_for.map(str::to_owned),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        assert_eq!(unused_for(&args(None, &[])).unwrap(), None);
        let found = unused_for(&args(Some("1h"), &["until=2d", "unused-for=3h"])).unwrap();
        assert_eq!(found, Some((172_800, "2 days".to_owned())));
        for (filters, expected) in [
            (["until=soon"], "`--filter until=soon`: it is not a duration"),
            (["label=x"], "there is no such filter\nhint: the filters are until=DURATION"),
            (["until"], "there is no such filter"),
        ] {
            let said = unused_for(&args(None, &filters)).unwrap_err().to_text();
            assert!(said.contains(expected), "{said}");
        }
    }
}
