//! The images of the store as lists show them, newest first, and what `--filter` leaves of them.

use std::collections::BTreeMap;

use bld_cache::Store;
use bld_executor::image::local;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use bld_parser::glob::Glob;
use jiff::Timestamp;

use super::image_error;
use crate::environment;
use crate::error::CommandError;
use crate::reference;

/// One name of one image.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its full name, if it has one.
    pub(super) name: Option<String>,
    /// Its manifest or index.
    pub(super) descriptor: Descriptor,
    /// docker's image ID.
    pub(super) id: Digest,
    /// When it was made.
    pub(super) created: Option<Timestamp>,
    /// The bytes of its files, or why it cannot be read.
    pub(super) size: Result<u64, CommandError>,
}

/// All images, newest first. Those that cannot be read come last: the others must still be seen, and they must be seen to be removed.
pub(super) fn entries(store: &Store) -> Result<Vec<Entry>, CommandError> {
    let mut entries: Vec<Entry> =
        store.images().list()?.into_iter().map(|(name, descriptor)| entry(store, name, descriptor)).collect();
    entries.sort_by(|left, right| (right.created, &left.name).cmp(&(left.created, &right.name)));
    Ok(entries)
}

fn entry(store: &Store, name: Option<String>, descriptor: Descriptor) -> Entry {
    match store.images().details(&descriptor) {
        Ok(details) => {
            let size =
                local::size(store, &descriptor, &environment::host_platform()).map_err(|error| image_error(&error));
            Entry {
                name,
                id: details.config.unwrap_or(descriptor.digest),
                created: created(store, &descriptor, details.created).filter(|_| size.is_ok()),
                descriptor,
                size,
            }
        }
        Err(error) => {
            let id = descriptor.digest;
            Entry { name, descriptor, id, created: None, size: Err(CommandError::from_error(&error)) }
        }
    }
}

/// When it was made; an index says nothing of that, but the image in it that this machine would take does.
fn created(store: &Store, descriptor: &Descriptor, noted: Option<String>) -> Option<Timestamp> {
    let of_image = || local::open_any(store, descriptor, &environment::host_platform()).ok()?.config.created;
    noted.or_else(of_image)?.parse().ok()
}

/// What `--filter` asks for. Everything must hold; of several references one is enough.
#[derive(Debug, Default)]
pub(super) struct Filters {
    dangling: Option<bool>,
    labels: Vec<LabelFilter>,
    references: Vec<Glob>,
    before: Vec<String>,
    since: Vec<String>,
    until: Vec<Timestamp>,
}

#[derive(Debug)]
struct LabelFilter {
    wanted: bool,
    name: String,
    value: Option<String>,
}

impl Filters {
    /// Reads the values of `--filter`, of which a command knows some.
    pub(super) fn parse(texts: &[String], known: &[&str]) -> Result<Filters, CommandError> {
        let mut filters = Filters::default();
        for text in texts {
            let refuse = |reason: &str| CommandError::usage(format!("`--filter {text}`: {reason}"));
            let (key, value) = text.split_once('=').ok_or_else(|| refuse("it is not of the form KEY=VALUE"))?;
            let (key, wanted) = key.strip_suffix('!').map_or((key, true), |key| (key, false));
            let key = key.trim();
            if !known.contains(&key) || (!wanted && key != "label") {
                return Err(refuse(&format!("there is no such filter{}", if wanted { "" } else { " with `!=`" }))
                    .hint(format!("the filters are {}", known.join(", "))));
            }
            match key {
                "dangling" => {
                    filters.dangling = Some(match value.to_ascii_lowercase().as_str() {
                        "true" | "1" => true,
                        "false" | "0" => false,
                        _ => return Err(refuse("it is true or false")),
                    });
                }
                "label" => {
                    let (name, value) = value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                    let (name, value) = (name.to_owned(), value.map(str::to_owned));
                    filters.labels.push(LabelFilter { wanted, name, value });
                }
                "reference" => {
                    let glob = Glob::new(value.as_bytes()).map_err(|error| refuse(&error.to_string()))?;
                    filters.references.push(glob);
                }
                "before" => filters.before.push(value.to_owned()),
                "since" => filters.since.push(value.to_owned()),
                "until" => filters.until.push(point_in_time(value).ok_or_else(|| {
                    refuse("it is not a time")
                        .hint("write a duration like 10m or 1h30m, a date like 2026-01-31 or a time like 2026-01-31T12:00:00Z")
                })?),
                _ => return Err(refuse("there is no such filter")),
            }
        }
        Ok(filters)
    }

    /// What is left of `entries`.
    pub(super) fn apply(&self, store: &Store, entries: Vec<Entry>) -> Result<Vec<Entry>, CommandError> {
        let time_of = |text: &String| -> Result<Option<Timestamp>, CommandError> {
            let (descriptor, _) = local::locate(store, text).map_err(|error| image_error(&error))?;
            let details = store.images().details(&descriptor)?;
            Ok(created(store, &descriptor, details.created))
        };
        let before = self.before.iter().map(time_of).collect::<Result<Vec<_>, _>>()?;
        let since = self.since.iter().map(time_of).collect::<Result<Vec<_>, _>>()?;
        let mut kept = Vec::new();
        for entry in entries {
            let labels_fit = || -> Result<bool, CommandError> {
                if self.labels.is_empty() {
                    return Ok(true);
                }
                let labels = labels(store, &entry.descriptor)?;
                Ok(self.labels.iter().all(|filter| {
                    let found = labels.get(&filter.name);
                    let fits = found.is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value));
                    fits == filter.wanted
                }))
            };
            let fits = self.dangling.is_none_or(|dangling| dangling == entry.name.is_none())
                && self.has_name(&entry)
                && before.iter().all(|time| entry.created < *time)
                && since.iter().all(|time| entry.created > *time)
                && self.until.iter().all(|time| entry.created.is_some_and(|created| created < *time))
                && labels_fit()?;
            if fits {
                kept.push(entry);
            }
        }
        Ok(kept)
    }

    /// Whether a name is one that is wanted.
    pub(super) fn has_name(&self, entry: &Entry) -> bool {
        self.references.is_empty() || self.references.iter().any(|pattern| is_called(entry, pattern))
    }
}

/// The labels of an image; of one for several platforms those of any that is here.
fn labels(store: &Store, descriptor: &Descriptor) -> Result<BTreeMap<String, String>, CommandError> {
    match local::open_any(store, descriptor, &environment::host_platform()) {
        Ok(image) => Ok(image.config.container.labels),
        Err(error) => Err(image_error(&error)),
    }
}

/// Whether a name fits a pattern, with its tag or without.
fn is_called(entry: &Entry, pattern: &Glob) -> bool {
    let Some(name) = &entry.name else { return false };
    let (repository, _) = reference::split(name);
    pattern.matches(reference::familiar(name).as_bytes()) || pattern.matches(repository.as_bytes())
}

/// A duration back from now, a date, a time, or seconds since 1970.
fn point_in_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let utc = |time: jiff::civil::DateTime| time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp());
    if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        return utc(time);
    }
    let nanoseconds = bld_parser::duration::parse(text).ok()?;
    let now = environment::now().seconds;
    Timestamp::from_second(now.checked_sub(i64::try_from(nanoseconds / 1_000_000_000).ok()?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("0", 0),
            ("1500000000", 1_500_000_000),
            ("2026-01-31T12:00:00Z", 1_769_860_800),
            ("2026-01-31T12:00:00+01:00", 1_769_857_200),
            ("2026-01-31T12:00:00", 1_769_860_800),
            ("2026-01-31", 1_769_817_600),
        ] {
            assert_eq!(point_in_time(text).map(Timestamp::as_second), Some(seconds), "{text}");
        }
        let age = |text| environment::now().seconds - point_in_time(text).unwrap().as_second();
        assert!((5400..5402).contains(&age("1h30m")));
        for text in ["", "x", "10", "2026-13-01", "1y"] {
            assert_eq!(point_in_time(text).is_some(), text == "10", "{text}");
        }
    }

    #[test]
    fn filters_are_known_by_name() {
        let said = |text: &str| {
            Filters::parse(&[text.to_owned()], &["label", "until", "dangling", "reference"]).unwrap_err().to_text()
        };
        assert!(said("since=x").contains("there is no such filter\nhint: the filters are label, until"));
        assert!(said("until!=1h").contains("with `!=`"));
        assert!(said("label").contains("KEY=VALUE"));
        assert!(said("until=soon").contains("it is not a time"));
        assert!(said("dangling=x").contains("true or false"));
        assert!(said("reference=[").contains("--filter reference=["));
    }
}
