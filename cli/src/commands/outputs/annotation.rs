//! Annotations as flags and attributes write them.
//!
//! ```text
//! --annotation      = [ type { "," type } ":" ] KEY "=" VALUE
//! attribute of -o   = "annotation" [ "-" type ] [ "[" PLATFORM "]" ] "." KEY "=" VALUE
//! type              = ( "manifest" | "index" | "manifest-descriptor" | "index-descriptor" ) [ "[" PLATFORM "]" ]
//! ```

use bld_executor::image::options::Annotated;
use bld_executor::image::options::Annotation;
use bld_oci::platform::Platform;

use crate::environment;

const TYPES: &str = "the types are manifest, index, manifest-descriptor and index-descriptor";

/// Reads a value of `--annotation`; an error says what is wrong.
pub(crate) fn flag(text: &str) -> Result<Vec<Annotation>, String> {
    let (before, value) = text.split_once('=').ok_or("it is not of the form KEY=VALUE")?;
    let (types, key) = match before.split_once(':') {
        // A key may hold a colon; what stands before it is then no list of types.
        Some((types, key)) if types.split(',').all(is_type) => (types, key),
        Some((types, _)) if types.contains('[') => return Err(format!("`{types}` is not known: {TYPES}")),
        _ => ("manifest", before),
    };
    types.split(',').map(|text| annotation(text, key, value)).collect()
}

/// Reads an attribute, if its key is one of an annotation.
pub(crate) fn attribute(key: &str, value: &str) -> Option<Result<Annotation, String>> {
    let rest = key.strip_prefix("annotation")?;
    let (head, name) = match rest.find(['.', '[']) {
        Some(at) if rest[at..].starts_with('[') => {
            let end = rest.find("].")?;
            (&rest[..=end], &rest[end + 2..])
        }
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => return None,
    };
    let of = match head.strip_prefix('-') {
        Some(of) => of.to_owned(),
        None if head.is_empty() || head.starts_with('[') => format!("manifest{head}"),
        None => return None,
    };
    Some(annotation(&of, name, value))
}

fn is_type(text: &str) -> bool {
    kind(text.split('[').next().unwrap_or(text)).is_some()
}

fn kind(text: &str) -> Option<Annotated> {
    match text {
        "manifest" => Some(Annotated::Manifest),
        "index" => Some(Annotated::Index),
        "manifest-descriptor" => Some(Annotated::ManifestDescriptor),
        "index-descriptor" => Some(Annotated::IndexDescriptor),
        _ => None,
    }
}

fn annotation(of: &str, key: &str, value: &str) -> Result<Annotation, String> {
    let (name, platform) = match of.split_once('[') {
        None => (of, None),
        Some((name, rest)) => {
            let platform = rest.strip_suffix(']').ok_or("a bracket is not closed")?;
            let platform =
                Platform::parse(platform, &environment::host_platform()).map_err(|error| error.to_string())?;
            (name, Some(platform))
        }
    };
    let of = kind(name).ok_or_else(|| format!("`{name}` is not known: {TYPES}"))?;
    if platform.is_some() && matches!(of, Annotated::Index | Annotated::IndexDescriptor) {
        return Err("an index has no platform".to_owned());
    }
    if key.is_empty() {
        return Err("it has no key".to_owned());
    }
    Ok(Annotation { of, platform, key: key.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(annotation: &Annotation) -> String {
        let platform = annotation.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{:?}[{platform}] {}={}", annotation.of, annotation.key, annotation.value)
    }

    #[test]
    fn annotations() {
        for (text, expected) in [
            ("a.b=c", vec!["Manifest[] a.b=c"]),
            ("a=b=c", vec!["Manifest[] a=b=c"]),
            ("index:a=b", vec!["Index[] a=b"]),
            ("index,manifest:a=b", vec!["Index[] a=b", "Manifest[] a=b"]),
            ("manifest[linux/arm64]:a=b", vec!["Manifest[linux/arm64] a=b"]),
            ("manifest-descriptor[linux/amd64]:a=", vec!["ManifestDescriptor[linux/amd64] a="]),
            ("urn:a=b", vec!["Manifest[] urn:a=b"]),
        ] {
            let found: Vec<String> = flag(text).unwrap().iter().map(shown).collect();
            assert_eq!(found, expected, "{text}");
        }
        for (key, expected) in [
            ("annotation.a.b", "Manifest[] a.b=v"),
            ("annotation-index.a", "Index[] a=v"),
            ("annotation[linux/arm64].a.b", "Manifest[linux/arm64] a.b=v"),
            ("annotation-manifest-descriptor[linux/amd64].a", "ManifestDescriptor[linux/amd64] a=v"),
        ] {
            assert_eq!(shown(&attribute(key, "v").unwrap().unwrap()), expected, "{key}");
        }
        for text in ["a", "=b", "manifest:=b", "index[linux/amd64]:a=b", "x[linux/amd64]:a=b", "manifest[beos]:a=b"] {
            assert!(flag(text).is_err(), "{text}");
        }
        assert!(attribute("annotations.a", "v").is_none() && attribute("annotation", "v").is_none());
        assert!(attribute("annotation-other.a", "v").unwrap().is_err());
    }
}
