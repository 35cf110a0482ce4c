//! The values of `--build-context NAME=VALUE`.

use std::path::PathBuf;

use bld_solver::remote::Remote;
use bld_solver::remote::redacted;

use super::ImagesError;

/// What a named context stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// `DIR`: a directory.
    Directory(PathBuf),
    /// `oci-layout://DIR[:tag|@digest]`: an image of an OCI layout.
    OciLayout {
        /// The layout.
        directory: PathBuf,
        /// Which image; `None` = the only one.
        image: Option<String>,
    },
    /// `oci-archive:FILE[:tag]` and `docker-archive:FILE[:name]`: an image of an archive.
    Archive {
        /// The archive.
        file: PathBuf,
        /// Which image; `None` = the only one.
        image: Option<String>,
    },
    /// `docker-image://REF`: an image of the local store.
    Image(String),
    /// A git repository, or a file behind a URL: an archive stands for what is in it.
    Remote(Remote),
}

impl NamedContext {
    /// Reads a value. `exists` says whether a path exists: a file name may itself hold a colon.
    pub fn parse(value: &str, exists: &dyn Fn(&str) -> bool) -> Result<NamedContext, ImagesError> {
        let refuse = |reason: &str| ImagesError::BadContext { value: redacted(value), reason: reason.to_owned() };
        if let Some(reference) = value.strip_prefix("docker-image://") {
            return if reference.is_empty() {
                Err(refuse("no image is named"))
            } else {
                Ok(NamedContext::Image(reference.to_owned()))
            };
        }
        if let Some(rest) = value.strip_prefix("oci-layout://").or_else(|| value.strip_prefix("oci-layout:")) {
            let (directory, image) = split_image(rest, exists);
            return if directory.is_empty() {
                Err(refuse("no directory is named"))
            } else {
                Ok(NamedContext::OciLayout { directory: directory.into(), image })
            };
        }
        for prefix in ["oci-archive:", "docker-archive:"] {
            if let Some(rest) = value.strip_prefix(prefix) {
                let (file, image) = split_image(rest.strip_prefix("//").unwrap_or(rest), exists);
                return if file.is_empty() {
                    Err(refuse("no file is named"))
                } else {
                    Ok(NamedContext::Archive { file: file.into(), image })
                };
            }
        }
        for prefix in ["target:", "input:"] {
            if value.starts_with(prefix) {
                return Err(refuse(&format!("`{prefix}` contexts are not supported yet")));
            }
        }
        if let Some(remote) = Remote::parse(value).map_err(|error| refuse(&error.to_string()))? {
            return Ok(NamedContext::Remote(remote));
        }
        if value.is_empty() {
            return Err(refuse("it is empty"));
        }
        Ok(NamedContext::Directory(value.into()))
    }
}

/// `PATH[:tag]` or `PATH@sha256:...`.
fn split_image(text: &str, exists: &dyn Fn(&str) -> bool) -> (String, Option<String>) {
    if exists(text) {
        return (text.to_owned(), None);
    }
    if let Some((path, digest)) = text.split_once("@sha256:") {
        return (path.to_owned(), Some(format!("sha256:{digest}")));
    }
    // A tag never holds a slash; a name in a docker archive may, so the first colon behind which nothing is a file decides.
    let splits = text.char_indices().filter(|(_, character)| *character == ':');
    for (at, _) in splits {
        if exists(&text[..at]) {
            return (text[..at].to_owned(), Some(text[at + 1..].to_owned()));
        }
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path.to_owned(), Some(tag.to_owned())),
        _ => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let exists = |path: &str| ["/a/layout", "b.tar", "c:d.tar"].contains(&path);
        let layout = |directory: &str, image: Option<&str>| NamedContext::OciLayout {
            directory: directory.into(),
            image: image.map(str::to_owned),
        };
        let archive = |file: &str, image: Option<&str>| NamedContext::Archive {
            file: file.into(),
            image: image.map(str::to_owned),
        };
        for (value, expected) in [
            ("dir", NamedContext::Directory("dir".into())),
            ("../x:y", NamedContext::Directory("../x:y".into())),
            ("oci-layout:///a/layout", layout("/a/layout", None)),
            ("oci-layout:///a/layout:v1", layout("/a/layout", Some("v1"))),
            ("oci-layout:///a/layout@sha256:00", layout("/a/layout", Some("sha256:00"))),
            ("oci-layout://missing:v1", layout("missing", Some("v1"))),
            ("oci-archive:b.tar", archive("b.tar", None)),
            ("docker-archive:b.tar:app:2", archive("b.tar", Some("app:2"))),
            ("docker-archive:c:d.tar", archive("c:d.tar", None)),
            ("docker-image://debian:12", NamedContext::Image("debian:12".to_owned())),
        ] {
            assert_eq!(NamedContext::parse(value, &exists).unwrap(), expected, "{value}");
        }
        for value in ["", "https://example.test/x.git#-x", "docker-image://", "oci-archive:", "target:base"] {
            assert!(NamedContext::parse(value, &exists).is_err(), "{value}");
        }
    }
}
