//! JSON arrays of strings: the exec form.
//!
//! Whether a text is valid JSON decides the form of a command, so the whole grammar is read, not only strings. Elements keep
//! their range so that a wrong one can be pointed at.

use crate::limits::MAX_JSON_DEPTH;
use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::bytes::complete::take_while;
use nom::character::complete::char;
use nom::character::complete::digit0;
use nom::character::complete::digit1;
use nom::character::complete::one_of;
use nom::combinator::opt;
use nom::combinator::recognize;
use nom::error::Error;
use nom::error::ErrorKind;
use std::ops::Range;

/// What the arguments of an instruction are, seen as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    /// They do not start with `[`.
    NotArray,
    /// They start with `[` but are no JSON: shell form.
    Invalid {
        /// If a valid array is followed by something else: where the array ends.
        array_end: Option<usize>,
    },
    /// An array of strings.
    Strings(Vec<(String, Range<usize>)>),
    /// A valid array with something in it that is no string.
    NotStrings(Range<usize>),
}

/// Looks at a text as JSON. Ranges are relative to it.
pub(crate) fn parse(text: &str) -> Json {
    let start = text.trim_start();
    if !start.starts_with('[') {
        return Json::NotArray;
    }
    let Ok((rest, elements)) = array(text, start, MAX_JSON_DEPTH) else { return Json::Invalid { array_end: None } };
    if !rest.trim_start().is_empty() {
        return Json::Invalid { array_end: Some(text.len() - rest.len()) };
    }
    let mut strings = Vec::with_capacity(elements.len());
    for (element, range) in elements {
        match element {
            Element::String(string) => strings.push((string, range)),
            Element::Other => return Json::NotStrings(range),
        }
    }
    Json::Strings(strings)
}

enum Element {
    String(String),
    Other,
}

type Elements = Vec<(Element, Range<usize>)>;

fn array<'a>(whole: &str, text: &'a str, depth: usize) -> IResult<&'a str, Elements> {
    let (mut rest, _) = (char('['), blanks).parse(text)?;
    let mut elements = Vec::new();
    if let Ok((rest, _)) = bracket(rest) {
        return Ok((rest, elements));
    }
    loop {
        let start = whole.len() - rest.len();
        let (next, element) = element(whole, rest, depth)?;
        elements.push((element, start..whole.len() - next.len()));
        let (next, separator) = (blanks, one_of(",]"), blanks).parse(next)?;
        if separator.1 == ']' {
            // Blanks behind the bracket belong to whatever follows.
            let behind = text.len() - next.len() - separator.2.len();
            return Ok((&text[behind..], elements));
        }
        rest = next;
    }
}

fn bracket(text: &str) -> IResult<&str, char> {
    char(']').parse(text)
}

fn element<'a>(whole: &str, text: &'a str, depth: usize) -> IResult<&'a str, Element> {
    if depth == 0 {
        return Err(nom::Err::Error(Error::new(text, ErrorKind::TooLarge)));
    }
    match text.as_bytes().first() {
        Some(b'"') => string(text).map(|(rest, string)| (rest, Element::String(string))),
        Some(b'[') => array(whole, text, depth - 1).map(|(rest, _)| (rest, Element::Other)),
        Some(b'{') => object(whole, text, depth - 1).map(|(rest, ())| (rest, Element::Other)),
        _ => {
            let literal = alt((tag("true"), tag("false"), tag("null"), recognize(number)));
            literal.map(|_| Element::Other).parse(text)
        }
    }
}

fn object<'a>(whole: &str, text: &'a str, depth: usize) -> IResult<&'a str, ()> {
    let (mut rest, _) = (char('{'), blanks).parse(text)?;
    if let Some(behind) = rest.strip_prefix('}') {
        return Ok((behind, ()));
    }
    loop {
        let (next, _) = (string, blanks, char(':'), blanks).parse(rest)?;
        let (next, _) = element(whole, next, depth)?;
        let (next, (_, separator)) = (blanks, one_of(",}")).parse(next)?;
        if separator == '}' {
            return Ok((next, ()));
        }
        (rest, _) = blanks(next)?;
    }
}

fn number(text: &str) -> IResult<&str, ()> {
    let integer = alt((recognize(char('0')), recognize((one_of("123456789"), digit0))));
    let fraction = (char('.'), digit1);
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    let (rest, _) = (opt(char('-')), integer, opt(fraction), opt(exponent)).parse(text)?;
    Ok((rest, ()))
}

fn blanks(text: &str) -> IResult<&str, &str> {
    take_while(|letter| matches!(letter, ' ' | '\t' | '\r' | '\n')).parse(text)
}

fn string(text: &str) -> IResult<&str, String> {
    let (mut rest, _) = char('"').parse(text)?;
    let mut value = String::new();
    loop {
        let mut plain = take_while(|letter| letter != '"' && letter != '\\' && letter >= ' ');
        let (next, run): (&str, &str) = plain.parse(rest)?;
        value.push_str(run);
        let (next, stop) = one_of("\"\\").parse(next)?;
        if stop == '"' {
            return Ok((next, value));
        }
        let (next, letter) = escape(next)?;
        value.push(letter);
        rest = next;
    }
}

fn escape(text: &str) -> IResult<&str, char> {
    let (rest, letter) = one_of("\"\\/bfnrtu").parse(text)?;
    Ok(match letter {
        'b' => (rest, '\u{8}'),
        'f' => (rest, '\u{c}'),
        'n' => (rest, '\n'),
        'r' => (rest, '\r'),
        't' => (rest, '\t'),
        'u' => return unicode(rest),
        other => (rest, other),
    })
}

/// `XXXX`, or a surrogate pair `XXXX\uXXXX`; half a pair becomes the replacement character, as Go does.
fn unicode(text: &str) -> IResult<&str, char> {
    let (rest, first) = four_digits(text)?;
    if let Some(letter) = char::from_u32(first) {
        return Ok((rest, letter));
    }
    if (0xD800..0xDC00).contains(&first) {
        let low: IResult<&str, u32> = (tag("\\u"), four_digits).map(|(_, code)| code).parse(rest);
        if let Ok((behind, second)) = low
            && (0xDC00..0xE000).contains(&second)
        {
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok((behind, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)));
        }
    }
    Ok((rest, char::REPLACEMENT_CHARACTER))
}

fn four_digits(text: &str) -> IResult<&str, u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(code) => Ok((&text[4..], code)),
        None => Err(nom::Err::Error(Error::new(text, ErrorKind::HexDigit))),
    }
}

#[cfg(test)]
mod tests {
    use super::Json;
    use super::parse;

    fn strings(text: &str) -> Option<Vec<String>> {
        match parse(text) {
            Json::Strings(strings) => Some(strings.into_iter().map(|(string, _)| string).collect()),
            _ => None,
        }
    }

    #[test]
    fn arrays_of_strings() {
        assert_eq!(strings("[]").unwrap(), Vec::<String>::new());
        assert_eq!(strings(r#" [ "a" , "b\n\u00e9\ud83d\ude00" ] "#).unwrap(), ["a", "b\n\u{e9}\u{1f600}"]);
        assert_eq!(strings(r#"["\ud83dx"]"#).unwrap(), ["\u{fffd}x"]);
    }

    #[test]
    fn other_values_are_valid_json_but_no_strings() {
        assert_eq!(parse(r#"["a", 1]"#), Json::NotStrings(6..7));
        assert_eq!(parse(r#"[{"a": [true, null, -1.5e+3]}]"#), Json::NotStrings(1..29));
    }

    #[test]
    fn invalid_json() {
        for text in ["[a]", "['a']", r#"["a",]"#, r#"["a" "b"]"#, "[", r#"["a"#, "[01]", "[\"\t\"]", r#"["\x"]"#, "[,]"]
        {
            assert_eq!(parse(text), Json::Invalid { array_end: None }, "{text}");
        }
        assert_eq!(parse(r#"["a"]  # why"#), Json::Invalid { array_end: Some(5) });
        assert_eq!(parse("[] x"), Json::Invalid { array_end: Some(2) });
        assert_eq!(parse("echo"), Json::NotArray);
    }

    #[test]
    fn deep_nesting_is_no_json() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep), Json::Invalid { array_end: None });
    }
}
