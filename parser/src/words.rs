//! The two ways in which a line is split into words.
//!
//! ```text
//! blank words    FROM EXPOSE COPY ADD VOLUME   runs of anything but blanks; quotes mean nothing
//! quoted words   ENV LABEL ARG                 'single' and "double" quotes and the escape character hold blanks;
//!                                              all of them stay in the word, for the expansion to read
//! ```

use nom::IResult;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::take_while;
use nom::bytes::complete::take_while1;
use nom::character::complete::anychar;
use nom::character::complete::char;
use nom::combinator::eof;
use nom::combinator::recognize;
use nom::combinator::value;
use nom::multi::fold_many0;
use nom::multi::fold_many1;
use std::ops::Range;

/// Whether a character separates words where quotes mean nothing.
pub(crate) fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Words between blanks.
pub(crate) fn blank_words(text: &str) -> Vec<Range<usize>> {
    collect(text, is_blank, |rest| recognize(take_while1(|letter| !is_blank(letter))).parse(rest))
}

/// Words between blanks that are neither quoted nor escaped. A quote left open runs to the end.
pub(crate) fn quoted_words(text: &str, escape: char) -> Vec<Range<usize>> {
    collect(text, char::is_whitespace, |rest| quoted_word(rest, escape))
}

/// The offset of the quote that is never closed, if any.
pub(crate) fn open_quote(text: &str, escape: char) -> Option<usize> {
    let mut quote: Option<(char, usize)> = None;
    let mut letters = text.char_indices();
    while let Some((offset, letter)) = letters.next() {
        match quote {
            None if letter == '\'' || letter == '"' => quote = Some((letter, offset)),
            Some((open, _)) if letter == open => quote = None,
            Some(('\'', _)) => {}
            _ if letter == escape => {
                letters.next();
            }
            _ => {}
        }
    }
    quote.map(|(_, offset)| offset)
}

fn collect<'a>(
    text: &'a str,
    separates: impl Fn(char) -> bool,
    word: impl Fn(&'a str) -> IResult<&'a str, &'a str>,
) -> Vec<Range<usize>> {
    let mut rest = text;
    let mut words = Vec::new();
    loop {
        rest = rest.trim_start_matches(&separates);
        let start = text.len() - rest.len();
        let Ok((behind, found)) = word(rest) else { return words };
        if found.is_empty() {
            return words;
        }
        words.push(start..start + found.len());
        rest = behind;
    }
}

fn quoted_word(text: &str, escape: char) -> IResult<&str, &str> {
    let plain =
        take_while1(move |letter: char| !letter.is_whitespace() && letter != '\'' && letter != '"' && letter != escape);
    let single = (char('\''), take_while(|letter| letter != '\''), closing('\''));
    let inside = alt((
        value((), (char(escape), end_or_any)),
        value((), take_while1(move |letter| letter != '"' && letter != escape)),
    ));
    let double = (char('"'), fold_many0(inside, || (), |(), ()| ()), closing('"'));
    recognize(fold_many1(
        alt((value((), plain), value((), (char(escape), end_or_any)), value((), single), value((), double))),
        || (),
        |(), ()| (),
    ))
    .parse(text)
}

fn closing<'a>(quote: char) -> impl Parser<&'a str, Output = (), Error = nom::error::Error<&'a str>> {
    alt((value((), char(quote)), value((), eof)))
}

fn end_or_any(text: &str) -> IResult<&str, ()> {
    alt((value((), anychar), value((), eof))).parse(text)
}

#[cfg(test)]
mod tests {
    use super::blank_words;
    use super::open_quote;
    use super::quoted_words;

    #[track_caller]
    fn check(text: &str, blank: &[&str], quoted: &[&str]) {
        let cut =
            |ranges: Vec<std::ops::Range<usize>>| ranges.into_iter().map(|range| &text[range]).collect::<Vec<_>>();
        assert_eq!(cut(blank_words(text)), blank, "blank words of {text}");
        assert_eq!(cut(quoted_words(text, '\\')), quoted, "quoted words of {text}");
    }

    #[test]
    fn splitting() {
        check("", &[], &[]);
        check("  a\tb  ", &["a", "b"], &["a", "b"]);
        check("a='b c' d", &["a='b", "c'", "d"], &["a='b c'", "d"]);
        check(r#"a="b \" c" d"#, &["a=\"b", "\\\"", "c\"", "d"], &[r#"a="b \" c""#, "d"]);
        check(r"a=b\ c d", &["a=b\\", "c", "d"], &[r"a=b\ c", "d"]);
        check(r"a='b\' c", &[r"a='b\'", "c"], &[r"a='b\'", "c"]);
        check("a='b c", &["a='b", "c"], &["a='b c"]);
        check("a\\", &["a\\"], &["a\\"]);
    }

    #[test]
    fn quotes_left_open() {
        assert_eq!(open_quote(r#"a "b\" c"#, '\\'), Some(2));
        assert_eq!(open_quote(r#"a "b\\" c"#, '\\'), None);
        assert_eq!(open_quote(r"it\'s", '\\'), None);
        assert_eq!(open_quote("it's", '\\'), Some(2));
    }
}
