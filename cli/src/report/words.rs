//! Numbers as people read them.

use bld_solver::record::Outcome;
use bld_solver::record::Status;
use jiff::Timestamp;

/// How long something took: `312 ms`, `4.31 s`, `2 min 05 s`.
pub(super) fn duration(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let seconds = us as f64 / 1e6;
    match us {
        0 => "0".to_owned(),
        1..1000 => "< 1 ms".to_owned(),
        1000..999_500 => format!("{} ms", (us + 500) / 1000),
        999_500..9_995_000 => format!("{seconds:.2} s"),
        9_995_000..59_950_000 => format!("{seconds:.1} s"),
        _ => {
            let seconds = (us + 500_000) / 1_000_000;
            let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {rest:02} s") }
        }
    }
}

/// A part of a whole: `42 %`.
pub(super) fn share(part: u64, whole: u64) -> String {
    match percent(part, whole) {
        0.0 => "0 %".to_owned(),
        percent if percent < 1.0 => "< 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "drawn, or shown with three digits")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A time of day: `2026-11-21 06:37:51 UTC`.
pub(super) fn time(us: i64) -> String {
    Timestamp::from_microsecond(us).map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
}

/// `1 step`, `2 steps`.
pub(super) fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Cached => "cached",
        Outcome::Ran => "ran",
        Outcome::Failed => "failed",
        Outcome::Canceled => "canceled",
        Outcome::NotReached => "not reached",
    }
}

pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Unfinished => "unfinished",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
    }
}

/// Steps of an axis that has about `wanted` of them: 1, 2 or 5 times a power of ten, or what divides minutes and hours.
pub(super) fn tick(span_us: u64, wanted: u64) -> u64 {
    const SECOND: u64 = 1_000_000;
    let least = (span_us / wanted.max(1)).max(1);
    let mut power = 1;
    while power < 10 * SECOND {
        for factor in [1, 2, 5] {
            if power * factor >= least && power * factor <= 10 * SECOND {
                return power * factor;
            }
        }
        power *= 10;
    }
    let clock = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
    clock.into_iter().map(|seconds| seconds * SECOND).find(|tick| *tick >= least).unwrap_or(least)
}

/// A place on an axis: `0`, `1.5 s`, `2:30`.
pub(super) fn mark(us: u64, tick: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    let seconds = us as f64 / 1e6;
    match (us, tick) {
        (0, _) => "0".to_owned(),
        (_, 0..1000) => format!("{:.3} ms", seconds * 1e3),
        (_, 1000..100_000) if us < 1_000_000 => format!("{} ms", us / 1000),
        (_, 0..10_000) => format!("{seconds:.3} s"),
        (_, 10_000..100_000) => format!("{seconds:.2} s"),
        (_, 100_000..1_000_000) => format!("{seconds:.1} s"),
        (_, 1_000_000..15_000_000) => format!("{seconds:.0} s"),
        _ => {
            let seconds = us / 1_000_000;
            let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (us, text) in [
            (0, "0"),
            (999, "< 1 ms"),
            (312_400, "312 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (4_312_000, "4.31 s"),
            (12_340_000, "12.3 s"),
            (59_960_000, "1 min 00 s"),
            (125_000_000, "2 min 05 s"),
            (3_720_000_000, "1 h 02 min"),
        ] {
            assert_eq!(duration(us), text, "{us}");
        }
        assert_eq!([share(0, 9), share(1, 900), share(3, 4), share(1, 0)], ["0 %", "< 1 %", "75 %", "0 %"]);
        assert_eq!(time(1_795_243_071_000_000), "2026-11-21 06:37:51 UTC");
    }

    #[test]
    fn an_axis_has_few_round_places() {
        for (span, wanted, places) in [
            (84_000_000, 6, "0 0:15 0:30 0:45 1:00 1:15"),
            (9_300_000, 6, "0 2 s 4 s 6 s 8 s"),
            (420_000, 6, "0 0.1 s 0.2 s 0.3 s 0.4 s"),
            (1_500_000, 6, "0 0.5 s 1.0 s 1.5 s"),
            (7_200_000_000, 6, "0 30:00 1:00:00 1:30:00 2:00:00"),
        ] {
            let tick = tick(span, wanted);
            let step = usize::try_from(tick).unwrap();
            let marks: Vec<String> = (0..=span).step_by(step).map(|us| mark(us, tick)).collect();
            assert_eq!(marks.join(" "), places);
        }
        assert!(tick(0, 6) > 0 && tick(u64::MAX, 6) > 0);
    }
}
