//! Values of `--chmod` against a bit-by-bit reading of the manual of chmod(1).
//!
//! ```text
//! input = mode before (2 bytes) value
//! ```

#![no_main]

use bld_parser::mode::Chmod;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [high, low, value @ ..] = input else { return };
    let Ok(value) = std::str::from_utf8(value) else { return };
    let before = u32::from(u16::from_be_bytes([*high, *low])) & 0o7777;
    let Ok(mode) = Chmod::parse(value) else { return };
    for is_directory in [false, true] {
        let after = mode.apply(before, is_directory);
        assert!(after <= 0o7777);
        let expected = match u32::from_str_radix(value, 8) {
            Ok(number) if !value.starts_with('+') => {
                assert_eq!(mode.octal(), Some(number));
                number
            }
            _ => {
                assert_eq!(mode.octal(), None);
                value.split(',').fold(before, |mode, clause| clause_applied(clause, mode, is_directory))
            }
        };
        assert_eq!(after, expected, "{value} of {before:o}, directory: {is_directory}");
    }
});

fn clause_applied(clause: &str, mut mode: u32, is_directory: bool) -> u32 {
    let start = clause.find(['+', '-', '=']).expect("an operator");
    let who = match &clause[..start] {
        "" => "ugo".to_owned(),
        who => who.replace('a', "ugo"),
    };
    let mut rest = &clause[start..];
    while !rest.is_empty() {
        let operator = &rest[..1];
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        let letters = &rest[1..end];
        rest = &rest[end..];
        let mut bits = 0;
        let mut affected = 0;
        for (class, shift, special) in [('u', 6, 0o4000), ('g', 3, 0o2000), ('o', 0, 0o1000)] {
            if !who.contains(class) {
                continue;
            }
            affected |= 0o7 << shift;
            // An `=` that does not name them leaves the set-id bits of a directory.
            if class == 'o' || !is_directory || letters.contains('s') {
                affected |= special;
            }
            for letter in letters.chars() {
                bits |= match letter {
                    'r' => 4 << shift,
                    'w' => 2 << shift,
                    'x' => 1 << shift,
                    'X' if is_directory || mode & 0o111 != 0 => 1 << shift,
                    's' if class != 'o' => special,
                    't' if class == 'o' => special,
                    'u' => (mode >> 6 & 7) << shift,
                    'g' => (mode >> 3 & 7) << shift,
                    'o' => (mode & 7) << shift,
                    _ => 0,
                };
            }
        }
        mode = match operator {
            "+" => mode | bits,
            "-" => mode & !bits,
            _ => mode & !affected | bits,
        };
    }
    mode
}
