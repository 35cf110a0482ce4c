//! The fields of a tar header: numbers, owners, devices, times. Strict: a field that is no number is not 0.

use super::pax;
use crate::time::Timestamp;

pub(super) fn check_sum(block: &[u8; 512]) -> Result<(), &'static str> {
    let field = 148..156;
    let stored = number(&block[field.clone()]).map_err(|_| "not a tar header: bad checksum field")?;
    let bytes = || block.iter().enumerate().map(|(index, byte)| if field.contains(&index) { b' ' } else { *byte });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    if stored == unsigned || stored == signed { Ok(()) } else { Err("not a tar header: wrong checksum") }
}

/// A number field: octal digits between blanks, or big-endian two's complement if the first bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64, &'static str> {
    const BAD: &str = "bad number in a header";
    let (Some(first), Some(rest)) = (field.first(), field.get(1..)) else { return Err(BAD) };
    if first & 0x80 != 0 {
        // The first bit is the marker, the second the sign.
        let top = (i64::from(first & 0x7f) << 57) >> 57;
        return rest.iter().try_fold(top, |value, byte| {
            value.checked_mul(256).map(|value| value | i64::from(*byte)).ok_or("number out of range in a header")
        });
    }
    let digits = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = if matches!(digit, b'0'..=b'7') { i64::from(digit - b'0') } else { return Err(BAD) };
        value.checked_mul(8).and_then(|value| value.checked_add(digit)).ok_or(BAD)
    })
}

pub(super) fn id(value: u64) -> Result<u32, &'static str> {
    // The highest value means "leave as it is" to chown.
    u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or("owner out of range")
}

pub(super) fn device(header: &tar::Header, block: &[u8; 512]) -> Result<(u32, u32), &'static str> {
    if header.as_ustar().is_none() && header.as_gnu().is_none() {
        return Err("device in a header without device numbers");
    }
    let part = |field: &[u8], limit: u32| {
        let value = number(field)?;
        u32::try_from(value).ok().filter(|value| *value < limit).ok_or("device number out of range")
    };
    Ok((part(&block[329..337], 1 << 12)?, part(&block[337..345], 1 << 20)?))
}

/// `[-]seconds[.fraction]`; a fraction beyond nanoseconds is cut off.
pub(super) fn time(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(pax::decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (seconds, nanoseconds) = match (is_negative, nanoseconds) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    };
    Some(Timestamp { seconds, nanoseconds })
}
