//! Durations in Go's syntax, as HEALTHCHECK takes them: `1h2m3.5s`, `500ms`, `0`.
//!
//! ```text
//! duration = [ "+" ] ( "0" | term { term } )
//! term     = ( digits [ "." [ digits ] ] | "." digits ) ( "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" )
//! ```

use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::digit0;
use nom::combinator::opt;
use nom::combinator::value;
use thiserror::Error;

/// Why a duration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not of the syntax above.
    #[error("not a duration")]
    Malformed,
    /// A number and nothing else.
    #[error("without a unit")]
    NoUnit,
    /// Longer than 292 years.
    #[error("too long a duration")]
    TooLong,
    /// Less than nothing.
    #[error("a negative duration")]
    Negative,
}

/// Nanoseconds.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(DurationError::Malformed);
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::NoUnit);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (next, (whole, fraction, unit)) = term(rest).map_err(|_| DurationError::Malformed)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::Malformed);
        }
        total = nanoseconds(whole, fraction, unit)
            .and_then(|nanoseconds| total.checked_add(nanoseconds))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or(DurationError::TooLong)?;
        rest = next;
    }
    Ok(total)
}

fn term(text: &str) -> IResult<&str, (&str, &str, u64)> {
    let (rest, whole) = digit0.parse(text)?;
    let (rest, fraction) = opt((tag("."), digit0)).parse(rest)?;
    let (rest, unit) = alt((
        value(1, tag("ns")),
        value(1_000, alt((tag("us"), tag("\u{b5}s"), tag("\u{3bc}s")))),
        value(1_000_000, tag("ms")),
        value(1_000_000_000, tag("s")),
        value(60_000_000_000, tag("m")),
        value(3_600_000_000_000, tag("h")),
    ))
    .parse(rest)?;
    Ok((rest, (whole, fraction.map_or("", |(_, digits)| digits), unit)))
}

fn nanoseconds(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut weight = unit;
    for digit in fraction.bytes() {
        // Digits past the nanosecond are dropped, as Go does.
        weight /= 10;
        total = total.checked_add(weight.checked_mul(u64::from(digit - b'0'))?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::DurationError;
    use super::parse;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("0s", Ok(0)),
            ("30s", Ok(30_000_000_000)),
            ("1m30s", Ok(90_000_000_000)),
            ("1.5h", Ok(5_400_000_000_000)),
            (".5s", Ok(500_000_000)),
            ("5.s", Ok(5_000_000_000)),
            ("500ms", Ok(500_000_000)),
            ("1us", Ok(1_000)),
            ("1\u{b5}s", Ok(1_000)),
            ("+7ns", Ok(7)),
            ("-1s", Err(DurationError::Negative)),
            ("", Err(DurationError::Malformed)),
            ("+", Err(DurationError::Malformed)),
            ("3", Err(DurationError::NoUnit)),
            ("s", Err(DurationError::Malformed)),
            (".s", Err(DurationError::Malformed)),
            ("1 s", Err(DurationError::Malformed)),
            ("1d", Err(DurationError::Malformed)),
            ("9999999h", Err(DurationError::TooLong)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
