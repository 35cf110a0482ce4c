//! PAX extended header records, `LENGTH KEY=VALUE\n`, where the length counts itself.

use std::collections::BTreeMap;

/// Prefix of the keys that carry extended attributes.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends one record.
pub(crate) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Reads all records; a later one of the same key wins. Everything irregular is an error, because readers that skip what they do
/// not understand see another archive than those that do not.
pub(crate) fn parse_records(mut bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(12).position(|byte| *byte == b' ').ok_or("PAX record without a length")?;
        let length = decimal(&bytes[..space]).ok_or("PAX record with a length that is not a number")?;
        let length = usize::try_from(length).map_err(|_| "PAX record too long")?;
        if length > bytes.len() {
            return Err("PAX record longer than its header");
        }
        if length <= space + 1 {
            return Err("PAX record shorter than its own length field");
        }
        let (record, rest) = bytes.split_at(length);
        let Some((b'\n', record)) = record[space + 1..].split_last() else {
            return Err("PAX record that does not end in a line feed");
        };
        let equals = record.iter().position(|byte| *byte == b'=').ok_or("PAX record without `=`")?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err("PAX record with a bad key");
        }
        if !key.starts_with(XATTR) && (value.is_empty() || value.contains(&0)) && is_understood(key) {
            return Err("PAX record with an empty value or a NUL in it");
        }
        records.insert(key.to_vec(), value.to_vec());
        bytes = rest;
    }
    Ok(records)
}

/// Whether a record changes what an entry is.
pub(crate) fn is_understood(key: &[u8]) -> bool {
    matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime")
        || key.starts_with(XATTR)
        || key.starts_with(b"GNU.sparse.")
}

/// A number of decimal digits and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for size in [0, 1, 3, 4, 5, 90, 91, 92, 93, 985, 986, 987, 988, 9_000, 9_987, 10_000] {
            let mut out = Vec::new();
            write_record(&mut out, b"key", &vec![b'\n'; size]);
            let records = parse_records(&out).unwrap();
            assert_eq!(records[b"key".as_slice()].len(), size);
        }
    }

    #[test]
    fn irregular_records_are_errors() {
        for bytes in [
            b"6 a=b".as_slice(),
            b"7 a=b\n",
            b"5 a=b\n",
            b"3 a=b\n",
            b"0 a=b\n",
            b"+6 a=b\n",
            b"0x6 a=b\n",
            b"a=b\n",
            b" 6 a=b\n",
            b"6 =ab\n",
            b"6 abc\n",
            b"7 path=\n",
            b"8 size=\n",
            b"99999999999999999999 a=b\n",
            b"6 a=b\nx",
            b"\n",
            b"6 \0=b\n",
            b"10 path=\0\n\n",
        ] {
            assert!(parse_records(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse_records(b"6 a=b\n6 a=c\n").unwrap()[b"a".as_slice()], b"c");
        assert!(parse_records(b"").unwrap().is_empty());
    }
}
