//! The values of `--output`: `type=oci,dest=app.tar`, or just a directory.

pub(crate) mod annotation;
mod attributes;

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::path::PathBuf;

use bld_executor::output::Destination;

pub(crate) use self::attributes::Attributes;
use self::attributes::Fields;
use crate::error::CommandError;

/// One output of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// What is written.
    pub(crate) kind: OutputKind,
    /// Names of the image, besides `--tag`.
    pub(crate) names: Vec<String>,
    /// How it is written.
    pub(crate) attributes: Attributes,
}

/// What is written where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// An archive: OCI layout and docker archive in one.
    Archive(Destination),
    /// An OCI layout directory.
    Layout(PathBuf),
    /// The root file system as one tar.
    RootfsTar(Destination),
    /// The root file system in a directory.
    RootfsDirectory(PathBuf),
    /// The local store.
    Store,
    /// The registries that the names are of.
    Registry {
        /// Without a tag.
        by_digest: bool,
        /// Over plain http.
        insecure: bool,
        /// In the local store under these names, too.
        stored: bool,
    },
    /// docker or podman on this machine.
    Engine {
        /// Which of docker's contexts.
        context: Option<String>,
        /// Whether it is an error if there is none.
        required: bool,
    },
}

impl OutputKind {
    /// What it is called in a build's record.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            OutputKind::Archive(_) => "image archive",
            OutputKind::Layout(_) => "image layout",
            OutputKind::RootfsTar(_) | OutputKind::RootfsDirectory(_) => "files",
            OutputKind::Store => "image",
            OutputKind::Registry { .. } => "image to the registry",
            OutputKind::Engine { .. } => "image to the engine",
        }
    }
}

impl Output {
    /// An output without attributes.
    pub(crate) fn plain(kind: OutputKind) -> Output {
        Output { kind, names: Vec::new(), attributes: Attributes::default() }
    }

    /// Whether it needs an image, and not only files.
    pub(crate) fn is_image(&self) -> bool {
        !matches!(self.kind, OutputKind::RootfsTar(_) | OutputKind::RootfsDirectory(_))
    }

    /// Whether it puts the image into the local store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.kind, OutputKind::Store | OutputKind::Registry { stored: true, .. })
    }

    /// Whether it goes to a registry.
    pub(crate) fn is_push(&self) -> bool {
        matches!(self.kind, OutputKind::Registry { .. })
    }

    /// Whether it goes to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(&self.kind, OutputKind::Archive(Destination::Stdout) | OutputKind::RootfsTar(Destination::Stdout))
    }

    /// Where on disk it goes, and whether that is a file.
    fn path(&self) -> Option<(&Path, bool)> {
        match &self.kind {
            OutputKind::Archive(Destination::File(path)) | OutputKind::RootfsTar(Destination::File(path)) => {
                Some((path, true))
            }
            OutputKind::RootfsDirectory(path) | OutputKind::Layout(path) => Some((path, false)),
            OutputKind::Archive(Destination::Stdout)
            | OutputKind::RootfsTar(Destination::Stdout)
            | OutputKind::Engine { .. }
            | OutputKind::Registry { .. }
            | OutputKind::Store => None,
        }
    }

    /// Reads a value.
    pub(crate) fn parse(text: &str) -> Result<Output, CommandError> {
        let refuse = |reason: String| CommandError::usage(format!("`--output {text}`: {reason}"));
        let fields = csv(text).ok_or_else(|| refuse("a quote is not closed, or stands within a field".to_owned()))?;
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            let kind = match path.as_str() {
                "" => return Err(refuse("it is empty".to_owned())),
                "-" => OutputKind::RootfsTar(Destination::Stdout),
                directory => OutputKind::RootfsDirectory(directory.into()),
            };
            return Ok(Output::plain(kind));
        }
        let mut fields = Fields::parse(text, &fields)?;
        let kind = fields.take("type").ok_or_else(|| {
            refuse("it has no type".to_owned()).hint("write type=oci, docker, tar, local, image or registry")
        })?;
        let destination = fields.take("dest");
        let wanted = |destination: Option<String>| {
            destination.filter(|path| !path.is_empty()).ok_or_else(|| refuse(format!("type={kind} needs dest=PATH")))
        };
        let file = |destination: Option<String>| {
            wanted(destination).map(|path| match path.as_str() {
                "-" => Destination::Stdout,
                path => Destination::File(path.into()),
            })
        };
        let kind = match kind.as_str() {
            "oci" | "docker" => {
                let is_tar = fields.truth("tar")?.unwrap_or(true);
                let context = if kind == "docker" { fields.take("context") } else { None };
                match (destination, is_tar) {
                    (None, true) if kind == "docker" => OutputKind::Engine { context, required: true },
                    _ if context.is_some() => {
                        return Err(refuse("`context` is docker's own: it takes no dest".to_owned()));
                    }
                    (destination, true) => OutputKind::Archive(file(destination)?),
                    (destination, false) => match wanted(destination)?.as_str() {
                        "-" => return Err(refuse("a directory cannot go to standard output".to_owned())),
                        path => OutputKind::Layout(path.into()),
                    },
                }
            }
            "tar" => OutputKind::RootfsTar(file(destination)?),
            "local" => match wanted(destination)?.as_str() {
                "-" => return Err(refuse("a directory cannot go to standard output".to_owned()).hint("write type=tar")),
                path => OutputKind::RootfsDirectory(path.into()),
            },
            "image" | "registry" => {
                if destination.is_some() {
                    return Err(refuse(format!("type={kind} goes where its names say and takes no dest")));
                }
                match fields.truth("push")?.unwrap_or(kind == "registry") {
                    true => OutputKind::Registry {
                        by_digest: fields.truth("push-by-digest")?.unwrap_or(false),
                        insecure: fields.truth("registry.insecure")?.unwrap_or(false),
                        stored: kind == "image",
                    },
                    false if kind == "registry" => return Err(refuse("type=registry pushes".to_owned())),
                    false => OutputKind::Store,
                }
            }
            other => {
                return Err(refuse(format!("type `{other}` is not supported"))
                    .hint("the types are oci, docker, tar, local, image and registry"));
            }
        };
        let names = fields.take("name").unwrap_or_default();
        let names: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if !names.is_empty() && matches!(kind, OutputKind::RootfsTar(_) | OutputKind::RootfsDirectory(_)) {
            return Err(refuse("a root file system has no name".to_owned()));
        }
        let attributes = Attributes::take(&mut fields, &kind)?;
        fields.nothing_left()?;
        Ok(Output { kind, names, attributes })
    }

    /// The same with paths seen from where `absolute` stands.
    pub(crate) fn resolved(
        self,
        absolute: &dyn Fn(&Path) -> Result<PathBuf, CommandError>,
    ) -> Result<Output, CommandError> {
        let file = |destination| {
            Ok::<_, CommandError>(match destination {
                Destination::File(path) => Destination::File(absolute(&path)?),
                Destination::Stdout => Destination::Stdout,
            })
        };
        let kind = match self.kind {
            OutputKind::Archive(destination) => OutputKind::Archive(file(destination)?),
            OutputKind::Layout(path) => OutputKind::Layout(absolute(&path)?),
            OutputKind::RootfsTar(destination) => OutputKind::RootfsTar(file(destination)?),
            OutputKind::RootfsDirectory(path) => OutputKind::RootfsDirectory(absolute(&path)?),
            kind @ (OutputKind::Store | OutputKind::Engine { .. } | OutputKind::Registry { .. }) => kind,
        };
        Ok(Output { kind, ..self })
    }
}

/// Finds what would keep the results from being written before anything runs. Paths are absolute.
pub(crate) fn check(outputs: &[Output], files: &[&Path], terminal: bool) -> Result<(), CommandError> {
    if terminal && outputs.iter().any(Output::is_stdout) {
        return Err(CommandError::usage("`dest=-` is a terminal: redirect it or name a file"));
    }
    if outputs.iter().filter(|output| output.is_stdout()).count() > 1 {
        return Err(CommandError::usage("only one output can go to standard output"));
    }
    for path in files {
        check_writable(path)?;
    }
    let mut taken: Vec<&Path> = Vec::new();
    for (path, is_file) in outputs.iter().filter_map(Output::path).chain(files.iter().map(|path| (*path, true))) {
        let shown = path.display();
        if taken.contains(&path) {
            return Err(CommandError::usage(format!("two outputs go to {shown}")));
        }
        taken.push(path);
        if !is_file {
            // A directory is made with all that leads to it.
            let there = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
            if let Some(other) = there.filter(|there| !there.is_dir()) {
                return Err(CommandError::failed(format!(
                    "cannot write to {shown}: {} is not a directory",
                    other.display()
                )));
            }
            continue;
        }
        if path.is_dir() {
            return Err(CommandError::failed(format!("cannot write {shown}: it is a directory"))
                .hint("name a file in it; `type=local` writes a directory"));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            return Err(CommandError::failed(format!(
                "cannot write {shown}: there is no directory {}",
                parent.display()
            )));
        }
    }
    Ok(())
}

/// Refuses what cannot be opened for writing, or only when somebody else opens it.
fn check_writable(path: &Path) -> Result<(), CommandError> {
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    let kind = metadata.file_type();
    // A pipe without a name, as behind `/dev/stdout`, is open already.
    let is_named_pipe = kind.is_fifo() && path.canonicalize().is_ok();
    if is_named_pipe || kind.is_socket() || kind.is_block_device() {
        let what = if is_named_pipe { "named pipe" } else { "socket or a disk" };
        let what = format!("cannot write {}: it is a {what}", path.display());
        return Err(CommandError::failed(what).hint("name a file, or `/dev/stdout`"));
    }
    Ok(())
}

/// The fields of one CSV record (RFC 4180); `None` if a quote is not closed, or stands within a field.
fn csv(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut()?;
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            '"' => return None,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let file = |path: &str| Destination::File(path.into());
        for (text, kind, names) in [
            ("type=oci,dest=a.tar", OutputKind::Archive(file("a.tar")), vec![]),
            ("type=docker,dest=-,name=app:1", OutputKind::Archive(Destination::Stdout), vec!["app:1"]),
            ("type=oci,dest=a.tar,\"name=a,b\"", OutputKind::Archive(file("a.tar")), vec!["a", "b"]),
            ("\"type=tar\",\"dest=a,b.tar\"", OutputKind::RootfsTar(file("a,b.tar")), vec![]),
            ("type=local,dest=out", OutputKind::RootfsDirectory("out".into()), vec![]),
            ("out", OutputKind::RootfsDirectory("out".into()), vec![]),
            ("-", OutputKind::RootfsTar(Destination::Stdout), vec![]),
            ("type=image,name=x", OutputKind::Store, vec!["x"]),
            ("type=oci,dest=d,tar=false", OutputKind::Layout("d".into()), vec![]),
            ("type=docker", OutputKind::Engine { context: None, required: true }, vec![]),
            ("type=docker,context=x", OutputKind::Engine { context: Some("x".to_owned()), required: true }, vec![]),
        ] {
            let output = Output::parse(text).unwrap();
            assert_eq!(output.kind, kind, "{text}");
            assert_eq!(output.names, names, "{text}");
        }
        for text in [
            "",
            "type=oci",
            "type=registry,push=false",
            "dest=x",
            "type=oci,dest=x,push=true",
            "type=local,dest=-",
            "type=tar,dest=",
            "type=oci,dest=\"x",
            "type=image,dest=x",
            "type=tar,dest=x,name=y",
            "type=oci,dest=-,tar=false",
            "type=oci,dest=x,tar=maybe",
            "type=oci,dest=x,dest=y",
            "type=docker,dest=x,context=y",
            "type=local,dest=x,compression=gzip",
            "type=tar,dest=x,mode=delete",
            "type=image,tar=false",
        ] {
            assert!(Output::parse(text).is_err(), "{text}");
        }
    }
}
