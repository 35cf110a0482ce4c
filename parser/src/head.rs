//! The head of an instruction: its name and its flags.
//!
//! ```text
//! head   = name { blank flag } [ blank "--" ] blank arguments
//! flag   = "--" name [ "=" value ]      quotes and the escape character are honoured and removed
//! ```

use crate::joined::Slice;
use crate::sink::Sink;
use crate::words::is_blank;
use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::anychar;
use nom::character::complete::char;
use nom::combinator::opt;
use nom::combinator::verify;
use nom::multi::fold_many0;
use nom::multi::fold_many1;
use nom::sequence::preceded;

/// Name, flags and arguments of an instruction.
#[derive(Debug, Clone)]
pub(crate) struct Head<'a> {
    /// The instruction's name as written.
    pub(crate) keyword: Slice<'a>,
    /// The flags in the order written.
    pub(crate) flags: Vec<RawFlag<'a>>,
    /// Everything behind the flags, without blanks around it.
    pub(crate) arguments: Slice<'a>,
}

/// A flag as written.
#[derive(Debug, Clone)]
pub(crate) struct RawFlag<'a> {
    /// The name without `--`.
    pub(crate) name: String,
    /// `--name`.
    pub(crate) name_slice: Slice<'a>,
    /// What stands behind `=`, quotes removed, and where.
    pub(crate) value: Option<(String, Slice<'a>)>,
    /// All of it.
    pub(crate) slice: Slice<'a>,
}

/// Splits a line. `None` if a flag cannot be read at all; that is reported.
pub(crate) fn parse<'a>(line: Slice<'a>, escape: char, sink: &mut Sink) -> Option<Head<'a>> {
    let line = line.trimmed();
    let text = line.text();
    let keyword_end = text.find(is_blank).unwrap_or(text.len());
    let keyword = line.part(0..keyword_end);
    let mut flags = Vec::new();
    let mut rest = &text[keyword_end..];
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            break;
        }
        let start = text.len() - rest.len();
        let Ok((behind, value)) = flag_word(rest, escape) else {
            // Only a quote left open stops a flag word.
            let quote = start + crate::words::open_quote(rest, escape).unwrap_or(0);
            sink.error(
                "UnterminatedQuote",
                line.part(quote..quote + 1).span(),
                "quote is never closed",
                "close the quote, or put the escape character in front of it",
            );
            return None;
        };
        let slice = line.part(start..text.len() - behind.len());
        rest = behind;
        if value == "--" {
            break;
        }
        flags.push(flag(&value, slice));
    }
    let arguments = line.part(text.len() - rest.len()..text.len()).trimmed();
    Some(Head { keyword, flags, arguments })
}

fn flag<'a>(text: &str, slice: Slice<'a>) -> RawFlag<'a> {
    let written = slice.text();
    let equals = written.find('=').unwrap_or(written.len());
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => {
            (name, Some((value.to_owned(), slice.part((equals + 1).min(written.len())..written.len()))))
        }
        None => (text, None),
    };
    let name = name.strip_prefix("--").unwrap_or(name).to_owned();
    RawFlag { name, name_slice: slice.part(0..equals), value, slice }
}

fn flag_word(text: &str, escape: char) -> IResult<&str, String> {
    let plain =
        take_while1(move |letter: char| !letter.is_whitespace() && letter != '\'' && letter != '"' && letter != escape);
    fold_many1(
        alt((plain.map(str::to_owned), escaped(escape), quoted('\'', escape), quoted('"', escape))),
        String::new,
        append,
    )
    .parse(text)
}

type Failure<'a> = nom::error::Error<&'a str>;

/// An escaped character stands for itself; a lone escape at the end is dropped.
fn escaped<'a>(escape: char) -> impl Parser<&'a str, Output = String, Error = Failure<'a>> {
    preceded(char(escape), opt(anychar)).map(|letter| letter.map(String::from).unwrap_or_default())
}

fn quoted<'a>(quote: char, escape: char) -> impl Parser<&'a str, Output = String, Error = Failure<'a>> {
    let plain = take_while1(move |letter| letter != quote && letter != escape).map(str::to_owned);
    let body = fold_many0(alt((plain, escaped(escape))), String::new, append);
    // A quote left open must fail the whole word, not only this piece of it.
    let close = nom::combinator::cut(verify(anychar, move |letter| *letter == quote));
    (char(quote), body, close).map(|(_, body, _)| body)
}

/// Owned pieces because escapes and plain text meet here.
fn append(all: String, more: String) -> String {
    if all.is_empty() { more } else { all + &more }
}
