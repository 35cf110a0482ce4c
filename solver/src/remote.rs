//! Sources on the network, as they are written: `http(s)` URLs and git repositories.
//!
//! ```text
//! git    = remote [ '?' query ] [ '#' [ref] [ ':' subdir ] ]
//! remote = http(s)://…/x.git | git://… | ssh://… | user@host:path | github.com/…
//! query  = ref= | tag= | branch= | commit= | checksum= | subdir= | submodules= | keep-git-dir= | mtime=checkout|commit | fetch-by-commit=
//! http   = any other http(s) URL
//! ```
//! Everything else is no remote source. A URL may hold secrets: [`RemoteUrl`] shows them to nobody who does not ask by name.

use std::fmt;

use bld_oci::Digest;

/// The name of a fetched file whose URL gives none.
pub const UNNAMED: &str = "__unnamed__";

/// A place on the network. Shown without passwords and tokens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl(String);

/// A file behind an `http(s)` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// Where it is.
    pub url: RemoteUrl,
    /// What it must be.
    pub checksum: Option<Digest>,
    /// The name it gets: one path component.
    pub name: String,
}

/// A commit of a git repository, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// The repository.
    pub remote: RemoteUrl,
    /// Branch, tag, full reference or commit; `None` = what the repository calls HEAD.
    pub reference: Option<String>,
    /// The commit, or the beginning of its name, that the reference must stand for.
    pub checksum: Option<String>,
    /// The directory of the repository that is taken; empty = all of it.
    pub subdirectory: String,
    /// Fetch submodules too.
    pub submodules: bool,
    /// Keep `.git`.
    pub keep_git_dir: bool,
    /// Files get the time of the commit; else the time that bld gives to all it makes up.
    pub commit_time: bool,
}

/// A source on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A file.
    Http(HttpSource),
    /// A repository.
    Git(GitSource),
}

/// What is wrong with a remote source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The URL has no host.
    #[error("`{url}` names no host")]
    NoHost {
        /// The URL.
        url: RemoteUrl,
    },
    /// A character that no URL has.
    #[error("`{url}` has blanks or control characters in it")]
    Unprintable {
        /// The URL.
        url: RemoteUrl,
    },
    /// A reference that git would not take, or would take for something else.
    #[error("`{reference}` is not a git reference")]
    BadReference {
        /// The reference.
        reference: String,
    },
    /// A subdirectory that leads elsewhere.
    #[error("`{subdirectory}` is not a directory inside of a repository")]
    BadSubdirectory {
        /// The subdirectory.
        subdirectory: String,
    },
    /// A checksum that cannot be the name of a commit.
    #[error("`{checksum}` is not a commit: it must be 7 to 64 hexadecimal digits")]
    BadCommit {
        /// The checksum.
        checksum: String,
    },
    /// A query that git sources do not have.
    #[error("a git source takes no `{key}`")]
    UnknownQuery {
        /// Its name.
        key: String,
    },
    /// A value that a query does not take.
    #[error("`{key}` of a git source cannot be `{value}`")]
    BadQuery {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// The reference is given twice.
    #[error("the git reference is given twice, as `{first}` and as `{second}`")]
    TwoReferences {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
}

impl RemoteError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let queries =
            "known are ref, tag, branch, commit, checksum, subdir, submodules, keep-git-dir, mtime and fetch-by-commit";
        matches!(self, RemoteError::UnknownQuery { .. }).then(|| queries.to_owned())
    }
}

impl Remote {
    /// How it is shown among others that may come from the same place.
    pub fn title(&self) -> String {
        let mut title = self.shown();
        match self {
            Remote::Http(http) => {
                if let Some(checksum) = &http.checksum {
                    title = format!("{title} ({checksum})");
                }
            }
            Remote::Git(git) => {
                let remarks = [
                    (git.keep_git_dir, "with .git"),
                    (!git.submodules, "without submodules"),
                    (!git.commit_time, "without its time"),
                ];
                for (_, remark) in remarks.iter().filter(|(applies, _)| *applies) {
                    title = format!("{title} ({remark})");
                }
                if let Some(commit) = &git.checksum {
                    title = format!("{title} ({commit})");
                }
            }
        }
        title
    }

    /// Reads a source; `None` if it is not on the network.
    pub fn parse(text: &str) -> Result<Option<Remote>, RemoteError> {
        if is_git(text) {
            return parse_git(text).map(|git| Some(Remote::Git(git)));
        }
        if !is_http(text) {
            return Ok(None);
        }
        let url = checked(text)?;
        let name = file_name(text);
        Ok(Some(Remote::Http(HttpSource { url, checksum: None, name })))
    }

    /// How it is shown.
    pub fn shown(&self) -> String {
        match self {
            Remote::Http(http) => http.url.to_string(),
            Remote::Git(git) => git.shown(),
        }
    }
}

impl GitSource {
    /// How it is shown.
    pub fn shown(&self) -> String {
        let mut text = self.remote.to_string();
        if self.reference.is_some() || !self.subdirectory.is_empty() {
            text.push('#');
            text.push_str(self.reference.as_deref().unwrap_or_default());
        }
        if !self.subdirectory.is_empty() {
            text.push(':');
            text.push_str(&self.subdirectory);
        }
        text
    }
}

impl RemoteUrl {
    /// A URL as written.
    pub fn new(text: impl Into<String>) -> RemoteUrl {
        RemoteUrl(text.into())
    }

    /// The URL with all its secrets: for connecting, never for showing.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What stands before `://`; empty for the form `user@host:path`.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The host, with its port if it has one.
    pub fn host(&self) -> &str {
        let authority = match self.0.split_once("://") {
            Some((_, rest)) => rest.split(['/', '?', '#']).next(),
            None => self.0.split(':').next(),
        };
        let authority = authority.unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// `user[:password]` of a URL with a scheme.
    pub fn user_info(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').map(|(user, _)| user)
    }

    /// The URL without `user[:password]@`.
    #[must_use]
    pub fn without_user_info(&self) -> RemoteUrl {
        match (self.user_info(), self.0.split_once("://")) {
            (Some(user), Some((scheme, rest))) => RemoteUrl(format!("{scheme}://{}", &rest[user.len() + 1..])),
            _ => self.clone(),
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RemoteUrl({self})")
    }
}

/// A source as written, without its secrets: what may be shown and remembered. Anything but a URL stays as it is.
pub fn redacted(text: &str) -> String {
    without_secrets(text, &|_| "xxxxx".to_owned())
}

/// The same, as long as it was: for what is shown with marks below it.
pub fn masked(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| without_secrets(word, &|secret| "x".repeat(secret.chars().count()))).collect()
}

fn without_secrets(text: &str, hide: &dyn Fn(&str) -> String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (before, fragment) = rest.split_once('#').map_or((rest, None), |(before, after)| (before, Some(after)));
    let (address, query) = before.split_once('?').map_or((before, None), |(address, query)| (address, Some(query)));
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let authority = match authority.rsplit_once('@') {
        // A bare user name is no secret for ssh, and may well be a token elsewhere.
        Some((user, host)) if scheme == "ssh" && !user.contains(':') => format!("{user}@{host}"),
        Some((user, host)) => format!("{}@{host}", hide(user)),
        None => authority.to_owned(),
    };
    let mut shown = format!("{scheme}://{authority}{path}");
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((key, value)) if is_secret(key) && !value.is_empty() => format!("{key}={}", hide(value)),
            _ => pair.to_owned(),
        });
        shown.push('?');
        shown.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(fragment);
    }
    shown
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "sig", "secret", "passw", "credential", "auth", "key", "session", "jwt"]
        .iter()
        .any(|part| key.contains(part))
        && !matches!(key.as_str(), "keep-git-dir" | "author")
}

fn is_http(text: &str) -> bool {
    let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    begins("http://") || begins("https://")
}

fn is_git(text: &str) -> bool {
    let address = text.split(['#', '?']).next().unwrap_or_default();
    text.starts_with("git://")
        || text.starts_with("ssh://")
        || text.starts_with("git@")
        || text.starts_with("github.com/")
        || (address.strip_suffix(".git").is_some() && (is_http(text) || is_scp(address)))
}

/// `user@host:path`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    is_name(user) && is_name(host) && !path.is_empty()
}

fn checked(text: &str) -> Result<RemoteUrl, RemoteError> {
    let url = RemoteUrl::new(text);
    if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(RemoteError::Unprintable { url });
    }
    // A host that begins with a dash would be an option for ssh.
    let host = url.host();
    let user_is_option = url.user_info().is_some_and(|user| user.starts_with('-'));
    if host.is_empty() || host.starts_with(['-', ':']) || user_is_option {
        return Err(RemoteError::NoHost { url });
    }
    Ok(url)
}

fn parse_git(text: &str) -> Result<GitSource, RemoteError> {
    let (before, fragment) = text.split_once('#').map_or((text, ""), |(before, fragment)| (before, fragment));
    let (address, query) = before.split_once('?').map_or((before, ""), |(address, query)| (address, query));
    let remote = match address.strip_prefix("github.com/") {
        Some(_) => checked(&format!("https://{address}"))?,
        None => checked(address)?,
    };
    let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut git = GitSource {
        remote,
        reference: (!reference.is_empty()).then(|| reference.to_owned()),
        checksum: None,
        subdirectory: subdirectory.to_owned(),
        submodules: true,
        keep_git_dir: false,
        commit_time: true,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        set(&mut git, key, &decoded(value))?;
    }
    if let Some(reference) = &git.reference
        && !is_reference(reference)
    {
        return Err(RemoteError::BadReference { reference: reference.clone() });
    }
    if let Some(checksum) = git.checksum.take() {
        git.checksum = Some(commit(&checksum)?);
    }
    git.subdirectory = clean(&git.subdirectory)?;
    Ok(git)
}

fn set(git: &mut GitSource, key: &str, value: &str) -> Result<(), RemoteError> {
    let bad = || RemoteError::BadQuery { key: key.to_owned(), value: value.to_owned() };
    let flag = || match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(bad()),
    };
    match key {
        "ref" | "tag" | "branch" => {
            let value = match key {
                "tag" => format!("refs/tags/{value}"),
                "branch" => format!("refs/heads/{value}"),
                _ => value.to_owned(),
            };
            if let Some(first) = git.reference.replace(value.clone()).filter(|first| *first != value) {
                return Err(RemoteError::TwoReferences { first, second: value });
            }
        }
        "commit" | "checksum" => {
            if let Some(first) = git.checksum.replace(value.to_owned()).filter(|first| first != value) {
                return Err(RemoteError::TwoReferences { first, second: value.to_owned() });
            }
        }
        "subdir" if git.subdirectory.is_empty() => value.clone_into(&mut git.subdirectory),
        "subdir" => return Err(bad()),
        "submodules" => git.submodules = flag()?,
        "keep-git-dir" => git.keep_git_dir = flag()?,
        "mtime" => {
            git.commit_time = match value {
                "commit" => true,
                "checkout" => false,
                _ => return Err(bad()),
            }
        }
        // Commits are fetched by their name wherever the server allows it.
        "fetch-by-commit" => drop(flag()?),
        _ => return Err(RemoteError::UnknownQuery { key: key.to_owned() }),
    }
    Ok(())
}

/// A commit's name, or its beginning, in lower case.
pub fn commit(text: &str) -> Result<String, RemoteError> {
    let is_commit = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit { Ok(text.to_ascii_lowercase()) } else { Err(RemoteError::BadCommit { checksum: text.to_owned() }) }
}

/// What git takes for a reference, and for nothing else: no option, no expression.
fn is_reference(text: &str) -> bool {
    let is_bad = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    !text.starts_with(['-', '/', '.', '+'])
        && !text.ends_with(['/', '.'])
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains("@{")
        && !text.contains(is_bad)
}

fn clean(subdirectory: &str) -> Result<String, RemoteError> {
    let parts = subdirectory.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>();
    let bad = parts.iter().any(|part| *part == ".." || part.eq_ignore_ascii_case(".git") || part.contains('\0'));
    if bad { Err(RemoteError::BadSubdirectory { subdirectory: subdirectory.to_owned() }) } else { Ok(parts.join("/")) }
}

/// The last component of the URL's path, as one that is safe to use as a file name.
fn file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = rest.split(['?', '#']).next().unwrap_or_default();
    let path = decoded(address.split_once('/').map_or("", |(_, path)| path));
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let unusable = matches!(name, "" | "." | "..") || name.len() > 255 || name.chars().any(char::is_control);
    if unusable { UNNAMED.to_owned() } else { name.to_owned() }
}

/// Percent signs taken out; what they hide need not be UTF-8.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digit = |index: usize| tail.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'_'));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remote() {
        for text in ["a.git", "dir/file", "./x@y:z", "file:///x.git", "ext::sh -c x.git", "oci-layout://x", "", "git"] {
            assert_eq!(Remote::parse(text), Ok(None), "{text}");
        }
        let is_git = |text: &str| matches!(Remote::parse(text), Ok(Some(Remote::Git(_))));
        for text in [
            "https://h/x.git",
            "HTTP://h/x.git#main",
            "https://h/x.git?ref=a#",
            "git@h:x",
            "user@h:a/b.git",
            "ssh://git@h:22/x",
            "git://h/x",
            "github.com/a/b",
        ] {
            assert!(is_git(text), "{text}");
        }
        for text in ["https://h/x.git.tgz", "http://h/x?y=.git", "https://h/"] {
            assert!(matches!(Remote::parse(text), Ok(Some(Remote::Http(_)))), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("https://u:p@h/x", "https://xxxxx@h/x"),
            ("https://token@h:8/x.git#main:p@q", "https://xxxxx@h:8/x.git#main:p@q"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:p@h/x", "ssh://xxxxx@h/x"),
            ("git@h:x", "git@h:x"),
            ("https://h/x?a=1&X-Amz-Signature=s&b=2", "https://h/x?a=1&X-Amz-Signature=xxxxx&b=2"),
            ("https://h/x.git?keep-git-dir=true", "https://h/x.git?keep-git-dir=true"),
            ("https://h/@x", "https://h/@x"),
            ("plain", "plain"),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(format!("{:?}", RemoteUrl::new(text)), format!("RemoteUrl({shown})"));
        }
        assert_eq!(masked("ADD https://u:p@h/x /y"), "ADD https://xxx@h/x /y");
    }
}
