//! Image names as people write them.

use bld_oci::reference::Reference;
use bld_oci::reference::ReferenceError;

use crate::error::CommandError;

/// A name for an image, complete.
pub(crate) fn parse(name: &str) -> Result<Reference, CommandError> {
    let reference = parse_any(name)?;
    if reference.digest().is_some() {
        return Err(CommandError::usage(format!("`{name}` has a digest: an image is named NAME[:TAG]")));
    }
    Ok(reference)
}

/// A name of an image, complete; it may be of this very image for ever: `NAME@DIGEST`.
pub(crate) fn parse_any(name: &str) -> Result<Reference, CommandError> {
    name.parse().map_err(|error: ReferenceError| {
        let refused = CommandError::usage(format!("`{name}` is not an image name: {}", error.reason()));
        match lower_case(name) {
            Some(lower) => refused.hint(format!("did you mean `{lower}`?")),
            None => refused,
        }
    })
}

/// The same name in lower case, its tag left alone, if that is one.
fn lower_case(name: &str) -> Option<String> {
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/')).unwrap_or(name.len());
    let lower = format!("{}{}", name[..tag].to_lowercase(), &name[tag..]);
    (lower != name && lower.parse::<Reference>().is_ok()).then_some(lower)
}

/// `docker.io/library/alpine:latest` is `alpine:latest` to people.
pub(crate) fn familiar(full: &str) -> String {
    full.parse::<Reference>().map_or_else(|_| full.to_owned(), |reference| reference.familiar())
}

/// Repository and tag of a full name, as docker's lists show them.
pub(crate) fn split(full: &str) -> (String, String) {
    let familiar = familiar(full);
    let familiar = familiar.split_once('@').map_or(familiar.as_str(), |(name, _)| name);
    match familiar.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (familiar.to_owned(), "<none>".to_owned()),
    }
}
