//! Attributes of `--output` beside type, destination and names: how an image or a root file system is written.

use bld_executor::image::options::Annotation;
use bld_executor::image::options::ImageOptions;
use bld_oci::Timestamp;
use bld_oci::compression::Compression;
use bld_oci::image::Format;

use super::OutputKind;
use super::annotation;
use crate::error::CommandError;

/// What is there, for messages.
const KNOWN: &str = "the attributes are type, dest, name, name-canonical, tar, context, compression, compression-level, force-compression, \
                     oci-mediatypes, push, push-by-digest, registry.insecure, annotation..., rewrite-timestamp, source-date-epoch, platform-split and mode";

/// How an output is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "fields are what the attributes are")]
pub(crate) struct Attributes {
    compression: Option<Compression>,
    level: Option<u8>,
    force_compression: bool,
    docker_types: bool,
    annotations: Vec<Annotation>,
    rewrite_times: Option<bool>,
    epoch: Option<i64>,
    /// Also under `NAME@DIGEST`.
    pub(crate) canonical: bool,
    /// A directory for each platform; without it, if there are several.
    pub(crate) split: Option<bool>,
    /// Whether what is in the directory and not in the image goes.
    pub(crate) mirror: bool,
}

impl Attributes {
    /// Takes what is said of an output of this kind.
    pub(super) fn take(fields: &mut Fields, kind: &OutputKind) -> Result<Attributes, CommandError> {
        let mut attributes = Attributes { epoch: fields.epoch()?, ..Attributes::default() };
        if matches!(kind, OutputKind::RootfsTar(_) | OutputKind::RootfsDirectory(_)) {
            attributes.split = fields.truth("platform-split")?;
            if matches!(kind, OutputKind::RootfsDirectory(_)) {
                attributes.mirror = match fields.take("mode").as_deref() {
                    None | Some("copy") => false,
                    Some("delete") => true,
                    Some(other) => return Err(fields.refuse(&format!("mode `{other}` is neither copy nor delete"))),
                };
            }
            return Ok(attributes);
        }
        if matches!(kind, OutputKind::Store | OutputKind::Registry { .. }) {
            attributes.canonical = fields.truth("name-canonical")?.unwrap_or(false);
        }
        attributes.level = match fields.take("compression-level") {
            None => None,
            Some(text) => {
                let level = text.parse().map_err(|_| fields.refuse(&format!("`{text}` is not a compression level")))?;
                Some(level)
            }
        };
        attributes.compression = match fields.take("compression").as_deref() {
            None => None,
            Some("uncompressed" | "none") => Some(Compression::None),
            Some("gzip") => Some(Compression::GZIP),
            Some("zstd") => Some(Compression::ZSTD),
            Some(other) => {
                return Err(fields
                    .refuse(&format!("compression `{other}` is not supported"))
                    .hint("the compressions are uncompressed, gzip and zstd"));
            }
        };
        attributes.force_compression = fields.truth("force-compression")?.unwrap_or(false);
        attributes.docker_types = !fields.truth("oci-mediatypes")?.unwrap_or(true);
        attributes.rewrite_times = fields.truth("rewrite-timestamp")?;
        attributes.annotations = fields.annotations()?;
        if attributes.docker_types && !attributes.annotations.is_empty() {
            return Err(fields.refuse("docker's media types have no annotations"));
        }
        // What the level is of may be said by `--compression`: then it is looked at with that.
        let is_high = !attributes.docker_types && attributes.level.is_some_and(|level| level > 9);
        let unsaid = if is_high { Compression::ZSTD } else { Compression::GZIP };
        attributes.image(&ImageOptions::new(unsaid)).map_err(|reason| fields.refuse(&reason))?;
        Ok(attributes)
    }

    /// How the image is written, where `standard` is what other flags say; an error says why it cannot be.
    pub(crate) fn image(&self, standard: &ImageOptions) -> Result<ImageOptions, String> {
        let compression = self.compression.unwrap_or(standard.compression);
        let compression = match (compression, self.level) {
            (compression, None) => compression,
            (Compression::None, Some(_)) => return Err("what is not compressed has no compression level".to_owned()),
            (Compression::Gzip { .. }, Some(level)) => Compression::Gzip { level },
            // As everywhere, 0 is the ordinary level.
            (Compression::Zstd { .. }, Some(0)) => Compression::ZSTD,
            (Compression::Zstd { .. }, Some(level)) => Compression::Zstd { level },
        };
        compression.check().map_err(|error| error.to_string())?;
        if self.docker_types && matches!(compression, Compression::Zstd { .. }) {
            return Err("docker's media types know no zstd".to_owned());
        }
        let mut options = ImageOptions { compression, ..standard.clone() };
        options.force_compression |= self.force_compression;
        if self.docker_types {
            options.format = Format::Docker;
        }
        options.annotations.extend(self.annotations.iter().cloned());
        options.epoch = self.epoch().or(options.epoch);
        options.rewrite_times = self.rewrite_times.unwrap_or(options.rewrite_times);
        Ok(options)
    }

    /// Whether times of files are to end at a time that nobody said, given the one of the environment.
    pub(crate) fn lacks_epoch(&self, of_build: Option<i64>) -> bool {
        self.rewrite_times == Some(true) && self.epoch.or(of_build).is_none()
    }

    /// `source-date-epoch`.
    pub(crate) fn epoch(&self) -> Option<Timestamp> {
        self.epoch.map(Timestamp::from_seconds)
    }
}

/// The fields of a value that nobody took yet.
#[derive(Debug)]
pub(super) struct Fields {
    text: String,
    pairs: Vec<(String, String)>,
}

impl Fields {
    /// Reads `key=value` fields.
    pub(super) fn parse(text: &str, fields: &[String]) -> Result<Fields, CommandError> {
        let mut this = Fields { text: text.to_owned(), pairs: Vec::new() };
        for field in fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(this.refuse(&format!("`{field}` is not of the form key=value")));
            };
            let key = key.trim();
            // Keys of annotations are the user's own.
            let key = if key.starts_with("annotation") { key.to_owned() } else { key.to_ascii_lowercase() };
            match this.pairs.iter_mut().find(|(known, _)| *known == key) {
                Some((_, names)) if key == "name" => {
                    names.push(',');
                    names.push_str(value);
                }
                Some(_) => return Err(this.refuse(&format!("`{key}` is given twice"))),
                None => this.pairs.push((key, value.to_owned())),
            }
        }
        Ok(this)
    }

    pub(super) fn refuse(&self, reason: &str) -> CommandError {
        CommandError::usage(format!("`--output {}`: {reason}", self.text))
    }

    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(known, _)| known == key)?;
        Some(self.pairs.remove(at).1)
    }

    pub(super) fn truth(&mut self, key: &str) -> Result<Option<bool>, CommandError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" => Ok(Some(true)),
            "false" | "0" | "f" => Ok(Some(false)),
            _ => Err(self.refuse(&format!("{key}=`{value}` is neither true nor false"))),
        }
    }

    fn epoch(&mut self) -> Result<Option<i64>, CommandError> {
        let Some(value) = self.take("source-date-epoch") else { return Ok(None) };
        match value.parse() {
            Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
            _ => Err(self.refuse(&format!("source-date-epoch=`{value}` is not a number of seconds since 1970"))),
        }
    }

    fn annotations(&mut self) -> Result<Vec<Annotation>, CommandError> {
        let mut found = Vec::new();
        let mut rest = Vec::new();
        for (key, value) in std::mem::take(&mut self.pairs) {
            match annotation::attribute(&key, &value) {
                Some(read) => found.push(read.map_err(|reason| self.refuse(&format!("`{key}`: {reason}")))?),
                None => rest.push((key, value)),
            }
        }
        self.pairs = rest;
        Ok(found)
    }

    /// Refuses what is left.
    pub(super) fn nothing_left(&self) -> Result<(), CommandError> {
        let Some((key, _)) = self.pairs.first() else { return Ok(()) };
        let known = KNOWN.contains(&format!(" {key}"));
        if known && !key.is_empty() {
            return Err(self.refuse(&format!("attribute `{key}` does not belong to this type")));
        }
        Err(self.refuse(&format!("attribute `{key}` is not supported")).hint(KNOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;

    fn options(text: &str) -> Result<ImageOptions, String> {
        let output = Output::parse(text).map_err(|error| error.to_text())?;
        output.attributes.image(&ImageOptions::new(Compression::GZIP))
    }

    #[test]
    fn attributes_say_how_an_image_is_written() {
        let read = options("type=oci,dest=x,compression=zstd,compression-level=5,force-compression=true").unwrap();
        assert_eq!((read.compression, read.force_compression), (Compression::Zstd { level: 5 }, true));
        let read = options("type=oci,dest=x,oci-mediatypes=false,rewrite-timestamp=false,source-date-epoch=7").unwrap();
        assert_eq!(
            (read.format, read.rewrite_times, read.epoch),
            (Format::Docker, false, Some(Timestamp::from_seconds(7)))
        );
        let read = options("type=image,annotation.A.b=c,annotation-index.d=e").unwrap();
        assert_eq!((read.annotations.len(), read.annotations[0].key.as_str()), (2, "A.b"));
        for (text, wanted) in [
            ("type=oci,dest=x,compression=estargz", "compression `estargz` is not supported"),
            ("type=oci,dest=x,compression-level=10", "gzip has no level 10"),
            ("type=oci,dest=x,compression=uncompressed,compression-level=1", "no compression level"),
            ("type=oci,dest=x,compression=zstd,compression-level=22", "zstd has no level 22"),
            ("type=oci,dest=x,compression=zstd,oci-mediatypes=false", "know no zstd"),
            ("type=oci,dest=x,annotation.a=b,oci-mediatypes=false", "have no annotations"),
            ("type=oci,dest=x,force-compression=yes", "neither true nor false"),
            ("type=oci,dest=x,source-date-epoch=now", "not a number of seconds"),
            ("type=oci,dest=x,mode=delete", "`mode` does not belong to this type"),
            ("type=oci,dest=x,attestation-inline=true", "`attestation-inline` is not supported"),
            ("type=local,dest=x,mode=move", "neither copy nor delete"),
        ] {
            let said = options(text).unwrap_err();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
