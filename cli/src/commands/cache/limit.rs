//! How large the cache may be: `BLD_CACHE_SIZE`, `bld prune --max-size`, `--unused-for`.

use std::path::Path;

use bld_cache::Store;
use bld_cache::store::Evicted;
use bld_cache::store::Eviction;
use bld_executor::image::local;

use crate::environment;
use crate::error::CommandError;
use crate::ui::human_size;
use crate::ui::plain::write_line;

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Limit {
    amount: Amount,
    /// As it was written: what people recognize.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Bytes(u64),
    Percent(u64),
}

impl Limit {
    /// `20GB`, `1.5GiB`, `10%`.
    pub(in crate::commands) fn parse(text: &str) -> Option<Limit> {
        let text = text.trim();
        let split = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim();
        let amount = if unit == "%" {
            Amount::Percent(number.parse().ok().filter(|percent| (1..=100).contains(percent))?)
        } else {
            Amount::Bytes(bytes(number, &unit.to_ascii_lowercase())?)
        };
        Some(Limit { amount, text: text.to_owned() })
    }

    /// What the environment says.
    pub(in crate::commands) fn of_environment() -> Result<Option<Limit>, CommandError> {
        let Some(text) = environment::cache_size() else { return Ok(None) };
        Limit::parse(&text)
            .map(Some)
            .ok_or_else(|| CommandError::usage(format!("BLD_CACHE_SIZE is `{text}`: it must be a size")).hint(SIZES))
    }

    fn bytes(&self, root: &Path) -> Result<u64, CommandError> {
        match self.amount {
            Amount::Bytes(bytes) => Ok(bytes),
            Amount::Percent(percent) => {
                let disk = rustix::fs::statvfs(root).map_err(|error| {
                    CommandError::failed(format!("cannot tell the size of the disk of {}: {error}", root.display()))
                })?;
                Ok(disk.f_blocks.saturating_mul(disk.f_frsize) / 100 * percent)
            }
        }
    }

    fn reason(&self) -> String {
        match self.amount {
            Amount::Bytes(_) if self.text.ends_with(|letter: char| letter.is_ascii_digit()) => {
                format!("to stay under {}B", self.text)
            }
            Amount::Bytes(_) => format!("to stay under {}", self.text),
            Amount::Percent(_) => format!("to stay under {} of the disk", self.text),
        }
    }
}

/// What may be written.
pub(in crate::commands) const SIZES: &str = "write a number with MB, GB, GiB ..., or a part of the disk like 10%";

fn bytes(number: &str, unit: &str) -> Option<u64> {
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut size = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if number.contains('.') {
        // Three digits are more than anybody writes.
        let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
        size = size.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)? / 1000)?;
    }
    Some(size)
}

/// Seconds of `36h`, `14d`, `2w`, `1h30m`.
pub(in crate::commands) fn duration(text: &str) -> Option<i64> {
    let whole = |suffix: char, seconds: i64| -> Option<i64> {
        text.strip_suffix(suffix)?.parse::<u32>().ok().map(|count| i64::from(count) * seconds)
    };
    let parsed = || i64::try_from(bld_parser::duration::parse(text).ok()? / 1_000_000_000).ok();
    whole('d', 86_400).or_else(|| whole('w', 604_800)).or_else(parsed).filter(|seconds| *seconds >= 0)
}

/// Removes what was used longest ago until the cache fits, or whatever was not used for so many seconds; or both: of the one no more than
/// the other needs.
pub(in crate::commands) fn evict(
    store: &Store,
    limit: Option<&Limit>,
    unused_for: Option<(i64, &str)>,
) -> Result<Evicted, CommandError> {
    let bytes = limit.map(|limit| limit.bytes(store.root())).transpose()?;
    if bytes.is_none_or(|bytes| store.garbage().cache_size().is_ok_and(|size| size > bytes)) {
        // The directories of their layers may go: what their files take up is found out now or never.
        for (_, image) in store.images().list()? {
            local::size(store, &image, &environment::host_platform()).ok();
        }
    }
    let age = unused_for.map(|(_, text)| format!("after {text} without use"));
    let reason = limit.map(Limit::reason).or(age).unwrap_or_else(|| "by bld prune".to_owned());
    let eviction = Eviction { limit: bytes, unused_for: unused_for.map(|(seconds, _)| seconds), reason: &reason };
    Ok(store.garbage().evict(&eviction)?)
}

/// Keeps to the limit after a build. That it cannot be kept is no reason for a build to fail.
pub(in crate::commands) fn enforce(store: &Store, limit: &Limit, quiet: bool) {
    match evict(store, Some(limit), None) {
        Ok(evicted) if !quiet && evicted.results + evicted.mounts > 0 => {
            let size = human_size(evicted.bytes);
            write_line(&format!("note: removed {}, {size} freed, {}", counted(&evicted), limit.reason()));
        }
        Ok(_) => {}
        Err(error) => write_line(&format!("note: the cache could not be made smaller: {}", error.message())),
    }
}

/// `3 results and 1 cache mount`.
pub(in crate::commands) fn counted(evicted: &Evicted) -> String {
    let plural = |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    match (evicted.results, evicted.mounts) {
        (results, 0) => plural(results, "result"),
        (0, mounts) => plural(mounts, "cache mount"),
        (results, mounts) => format!("{} and {}", plural(results, "result"), plural(mounts, "cache mount")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("20GB", Some(20_000_000_000)),
            ("20gb", Some(20_000_000_000)),
            ("1.5 GiB", Some(3 << 29)),
            ("0", Some(0)),
            ("512m", Some(512_000_000)),
            ("1.25kB", Some(1250)),
            ("10%", None),
        ] {
            let limit = Limit::parse(text).unwrap();
            let bytes = match limit.amount {
                Amount::Bytes(bytes) => Some(bytes),
                Amount::Percent(percent) => {
                    assert_eq!(percent, 10);
                    None
                }
            };
            assert_eq!(bytes, expected, "{text}");
        }
        for text in ["", "GB", "-1", "1x", "0%", "101%", "1.x", "99999999999TB", "1..2G", "."] {
            assert_eq!(Limit::parse(text), None, "{text}");
        }
        assert_eq!(Limit::parse("20GB").unwrap().reason(), "to stay under 20GB");
        assert_eq!(Limit::parse("0").unwrap().reason(), "to stay under 0B");
        assert_eq!(Limit::parse("10%").unwrap().reason(), "to stay under 10% of the disk");
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("24h", Some(86_400)),
            ("14d", Some(1_209_600)),
            ("2w", Some(1_209_600)),
            ("1h30m", Some(5400)),
            ("x", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
        for text in ["", "d", "-1d", "1.5d", "-5m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn counts() {
        for (results, mounts, expected) in
            [(1, 0, "1 result"), (3, 1, "3 results and 1 cache mount"), (0, 2, "2 cache mounts")]
        {
            assert_eq!(counted(&Evicted { results, mounts, bytes: 0 }), expected);
        }
    }
}
