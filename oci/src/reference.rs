//! Image references, as docker reads and completes them.
//!
//! ```text
//! reference = name [ ":" tag ] [ "@" digest ]
//! name      = [ domain "/" ] component { "/" component }
//! domain    = ( label { "." label } | "[" ipv6 "]" ) [ ":" port ]
//! component = run { separator run }      run = [a-z0-9]+      separator = "." | "_" | "__" | "-"+
//! tag       = [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! ```
//!
//! What comes before the first slash is a domain if it holds a dot, a colon or an upper-case letter, or is `localhost`. Without a
//! domain the name is of `docker.io`, there in `library/` if it is a single component. Without tag and digest the tag is `latest`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::digest::DigestError;

/// The registry that names without a domain are of.
pub const DEFAULT_DOMAIN: &str = "docker.io";

const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;
const MAX_TEXT: usize = 4096;

/// A complete reference: domain, path, and a tag or digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A string that is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("an image reference must not be empty")]
    Empty,
    /// Longer than any reference.
    #[error("image name `{text}` is too long: the limit is {limit} characters")]
    TooLong {
        /// The name, shortened.
        text: String,
        /// The limit passed.
        limit: usize,
    },
    /// Upper-case letters in the path.
    #[error("image name `{text}` must be lower case")]
    UpperCase {
        /// The name, shortened.
        text: String,
    },
    /// 64 hex digits, which docker takes for an image id.
    #[error("`{text}` is not an image name: 64 hex digits are an image id")]
    Identifier {
        /// The name.
        text: String,
    },
    /// A registry's name that cannot be.
    #[error("`{domain}` in image reference `{text}` is not a registry's host name with an optional port")]
    Domain {
        /// The reference, shortened.
        text: String,
        /// The part in question, shortened.
        domain: String,
    },
    /// A path that cannot be.
    #[error(
        "image name `{text}` is not valid: components are lower-case letters and digits, separated by `.`, `_`, `__` or `-`"
    )]
    Path {
        /// The reference, shortened.
        text: String,
    },
    /// A tag that cannot be.
    #[error(
        "`{tag}` is not a tag: it must be letters, digits, `_`, `.` and `-`, not begin with `.` or `-`, and have at most 128 characters"
    )]
    Tag {
        /// The tag, shortened.
        tag: String,
    },
    /// A digest that cannot be.
    #[error("image reference `{text}`: {source}")]
    Digest {
        /// The reference, shortened.
        text: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

impl ReferenceError {
    /// What is wrong, for a message that has named the reference already.
    pub fn reason(&self) -> String {
        match self {
            ReferenceError::Empty => "it is empty".to_owned(),
            ReferenceError::TooLong { limit, .. } => format!("it is too long, the limit is {limit} characters"),
            ReferenceError::UpperCase { .. } => "it must be lower case".to_owned(),
            ReferenceError::Identifier { .. } => "64 hex digits are an image id".to_owned(),
            ReferenceError::Domain { domain, .. } => {
                format!("`{domain}` is not a registry's host name with an optional port")
            }
            ReferenceError::Path { .. } => {
                "components are lower-case letters and digits, separated by `.`, `_`, `__` or `-`".to_owned()
            }
            ReferenceError::Tag { tag } if tag.is_empty() => "the tag behind `:` is missing".to_owned(),
            ReferenceError::Tag { .. } => self.to_string(),
            ReferenceError::Digest { source, .. } => source.to_string(),
        }
    }
}

impl Reference {
    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository in the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Domain and path: `docker.io/library/alpine`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// This reference with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        check_tag(tag)?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// This repository by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The form people write, which reads back as the same reference: `alpine:latest`.
    pub fn familiar(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.to_string();
        }
        let alone = self.path.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        let short = format!("{}{}", alone.unwrap_or(&self.path), self.suffix());
        if short.parse().as_ref() == Ok(self) { short } else { self.to_string() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(ReferenceError::TooLong { text: shorten(text), limit: MAX_TEXT });
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let error = |source| ReferenceError::Digest { text: shorten(text), source };
                (rest, Some(digest.parse().map_err(error)?))
            }
        };
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier { text: shorten(text) });
        }
        let (domain, rest) = split_domain(rest);
        let (path, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((path, tag)) => (path, Some(tag)),
        };
        if let Some(domain) = domain.filter(|domain| !is_domain(domain)) {
            return Err(ReferenceError::Domain { text: shorten(text), domain: shorten(domain) });
        }
        check_path(text, path)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let domain = domain.filter(|domain| *domain != "index.docker.io").unwrap_or(DEFAULT_DOMAIN).to_owned();
        let is_official = domain == DEFAULT_DOMAIN && !path.contains('/');
        let path = if is_official { format!("library/{path}") } else { path.to_owned() };
        if path.len() > MAX_PATH {
            return Err(ReferenceError::TooLong { text: shorten(text), limit: MAX_PATH });
        }
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None }).map(str::to_owned);
        Ok(Reference { domain, path, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        (Some(bracketed), _) => {
            let Some((address, port)) = bracketed.split_once(']') else { return false };
            let is_address =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (text, None),
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_path(text: &str, path: &str) -> Result<(), ReferenceError> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase { text: shorten(path) });
    }
    if path.split('/').all(is_component) { Ok(()) } else { Err(ReferenceError::Path { text: shorten(text) }) }
}

fn is_component(text: &str) -> bool {
    let is_run = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    // Between two runs lies everything that is not one: exactly one separator must.
    let mut gaps = bytes.split(is_run).filter(|gap| !gap.is_empty());
    ends.into_iter().all(|end| end.is_some_and(is_run))
        && gaps.all(|gap| matches!(gap, b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-'))
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    if is_valid { Ok(()) } else { Err(ReferenceError::Tag { tag: shorten(tag) }) }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a{3}` in a table is `aaa`.
    fn repeat(text: &str) -> String {
        let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
        let (count, after) = rest.split_once('}').unwrap();
        let (before, repeated) = before.split_at(before.len() - 1);
        format!("{before}{}{}", repeated.repeat(count.parse().unwrap()), repeat(after))
    }

    #[test]
    fn table() {
        let table = include_str!("../../testdata/reference.table");
        let mut rows = 0;
        for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let columns: Vec<String> = line.split('|').map(|column| repeat(column.trim())).collect();
            let result: Result<Reference, _> = columns[0].parse();
            rows += 1;
            if let Some(part) = columns[1].strip_prefix("error: ") {
                let message = result.expect_err(line).to_string();
                assert!(message.contains(part), "{line}: {message}");
                continue;
            }
            let reference = result.expect(line);
            assert_eq!(reference.to_string(), columns[1], "{line}");
            assert_eq!(reference.familiar(), columns[2], "{line}");
            assert_eq!(columns[1].parse(), Ok(reference.clone()), "{line}");
            assert_eq!(columns[2].parse(), Ok(reference), "{line}");
        }
        assert!(rows >= 60, "{rows} rows");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_reads_back(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                prop_assert_eq!(reference.familiar().parse(), Ok(reference));
            }
        }

        #[test]
        fn any_text(text in "\\PC{0,20}") {
            let _ignored = text.parse::<Reference>();
        }
    }
}
