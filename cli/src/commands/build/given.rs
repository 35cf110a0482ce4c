//! What a build is given on the command line and nowhere else: secrets, ssh agents, and what a RUN may do.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::path::PathBuf;

use bld_executor::secrets::Secrets;
use bld_executor::ssh::AgentSource;
use bld_parser::suggest::did_you_mean;

use crate::environment;
use crate::error::CommandError;

/// BuildKit's limit.
const MAX_SECRET: u64 = 500 * 1024;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretSource {
    /// This file.
    File(PathBuf),
    /// This variable.
    Variable(String),
    /// The variable of the secret's name if it is set, else the file of that name.
    Named,
}

/// `--allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entitlement {
    /// `network.host`.
    HostNetwork,
    /// `security.insecure`.
    Insecure,
    /// `buildx.local.delete`.
    DeleteLocal,
}

/// Reads `--allow`.
pub(super) fn entitlements(texts: &[String]) -> Result<Vec<Entitlement>, CommandError> {
    let one = |text: &String| match text.as_str() {
        "network.host" => Ok(Entitlement::HostNetwork),
        "security.insecure" => Ok(Entitlement::Insecure),
        "buildx.local.delete" => Ok(Entitlement::DeleteLocal),
        device if device == "device" || device.starts_with("device=") => {
            let error = CommandError::usage(format!("`--allow {device}`: RUN steps cannot be given devices"));
            Err(error.hint("`RUN --device` is not supported; `RUN --security=insecure` has /dev/fuse, /dev/kvm and /dev/net/tun of this machine"))
        }
        other => {
            let error = CommandError::usage(format!("`--allow {other}` is not known"));
            let hint = did_you_mean(other, ["network.host", "security.insecure"]);
            Err(error.hint(hint.unwrap_or_else(|| "write `network.host` or `security.insecure`".to_owned())))
        }
    };
    texts.iter().map(one).collect()
}

/// Reads `--secret`: `id=ID[,type=file|env][,src=FILE][,env=NAME]`.
pub(super) fn secrets(texts: &[String]) -> Result<BTreeMap<String, SecretSource>, CommandError> {
    let mut out = BTreeMap::new();
    for text in texts {
        let refuse = |why: String| CommandError::usage(format!("`--secret {text}`: {why}"));
        let (mut id, mut kind, mut source, mut variable) = (None, None, None, None);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(|| {
                refuse(format!("`{field}` is not of the form KEY=VALUE")).hint("write `--secret id=NAME,src=FILE`")
            })?;
            let place = match key.to_ascii_lowercase().as_str() {
                "id" => &mut id,
                "type" => &mut kind,
                "src" | "source" => &mut source,
                "env" => &mut variable,
                _ => {
                    let error = refuse(format!("`{key}` is not known"));
                    return Err(match did_you_mean(key, ["id", "type", "src", "source", "env"]) {
                        Some(hint) => error.hint(hint),
                        None => error.hint("keys are `id`, `type`, `src` and `env`"),
                    });
                }
            };
            if place.replace(value.to_owned()).is_some() {
                return Err(refuse(format!("`{key}` is given twice")));
            }
        }
        let id = id.ok_or_else(|| refuse("`id` is missing".to_owned()))?;
        match kind.as_deref() {
            None | Some("file") => {}
            // As docker has it, `src` is the variable then.
            Some("env") => variable = variable.or_else(|| source.take()).or_else(|| Some(id.clone())),
            Some(other) => return Err(refuse(format!("type `{other}` is neither `file` nor `env`"))),
        }
        let found = match (source, variable) {
            (Some(_), Some(_)) => return Err(refuse("it comes from a file or from a variable, not from both".into())),
            (Some(path), None) => SecretSource::File(environment::absolute(Path::new(&path))?),
            (None, Some(name)) => SecretSource::Variable(name),
            (None, None) if kind.is_some() => SecretSource::File(environment::absolute(Path::new(&id))?),
            (None, None) => SecretSource::Named,
        };
        if out.insert(id.clone(), found).is_some() {
            return Err(CommandError::usage(format!("the secret `{id}` is given twice")));
        }
    }
    Ok(out)
}

/// Reads the secrets themselves. They are never written anywhere.
pub(super) fn read(sources: &BTreeMap<String, SecretSource>) -> Result<Secrets, CommandError> {
    let mut values = BTreeMap::new();
    for (id, source) in sources {
        let value = match source {
            SecretSource::File(path) => read_file(id, path)?,
            SecretSource::Variable(name) => environment::variable_bytes(name).ok_or_else(|| {
                CommandError::failed(format!("the secret `{id}` cannot be read: the variable `{name}` is not set"))
                    .hint(format!("`export {name}=...` sets it; `src=FILE` takes the value from a file"))
            })?,
            SecretSource::Named => match environment::variable_bytes(id) {
                Some(value) => value,
                None => read_file(id, &environment::absolute(Path::new(id))?)?,
            },
        };
        if value.len() as u64 > MAX_SECRET {
            return Err(CommandError::failed(format!("the secret `{id}` is larger than {} KiB", MAX_SECRET >> 10)));
        }
        values.insert(id.clone(), value);
    }
    Ok(Secrets::new(values))
}

fn read_file(id: &str, path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut value = Vec::new();
    // One byte more than allowed, so that a file that is too long is noticed and not read to its end.
    File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut value)).map_err(|error| {
        CommandError::failed(format!("the secret `{id}` cannot be read from `{}`: {error}", path.display()))
            .hint("`src` is relative to the directory you are in; `env=NAME` takes the value of a variable")
    })?;
    Ok(value)
}

/// Reads `--ssh`: `ID`, `ID=SOCKET` or `ID=KEY[,KEY]`.
pub(super) fn agents(texts: &[String]) -> Result<BTreeMap<String, AgentSource>, CommandError> {
    let mut out = BTreeMap::new();
    for text in texts {
        let refuse = |why: String| CommandError::usage(format!("`--ssh {text}`: {why}"));
        let (id, paths) = text.split_once('=').map_or((text.as_str(), None), |(id, paths)| (id, Some(paths)));
        if id.is_empty() {
            return Err(refuse("it has no name".to_owned()).hint("write `--ssh default` or `--ssh default=PATH`"));
        }
        let source = match paths.filter(|paths| !paths.is_empty()) {
            None => match environment::variable("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) {
                Some(socket) => AgentSource::Socket(environment::absolute(Path::new(&socket))?),
                None => {
                    return Err(CommandError::failed(format!(
                        "`--ssh {text}`: no agent runs, SSH_AUTH_SOCK is not set"
                    ))
                    .hint(format!("start one with `eval $(ssh-agent)`, or give keys: `--ssh {id}=KEY`")));
                }
            },
            Some(paths) => {
                let paths = paths.split(',').map(|path| environment::absolute(Path::new(path)));
                let paths = paths.collect::<Result<Vec<_>, _>>()?;
                let mut sockets = 0;
                for path in &paths {
                    let status = std::fs::metadata(path).map_err(|error| {
                        CommandError::failed(format!("`--ssh {text}`: cannot open `{}`: {error}", path.display()))
                    })?;
                    sockets += usize::from(status.file_type().is_socket());
                }
                match paths.first() {
                    Some(socket) if sockets == 1 && paths.len() == 1 => AgentSource::Socket(socket.clone()),
                    _ if sockets > 0 => return Err(refuse("one socket, or keys, not both".to_owned())),
                    _ => AgentSource::Keys(paths),
                }
            }
        };
        if out.insert(id.to_owned(), source).is_some() {
            return Err(CommandError::usage(format!("the ssh agent `{id}` is given twice")));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<SecretSource, ()> {
        let mut found = secrets(&[text.to_owned()]).map_err(drop)?;
        found.remove("x").ok_or(())
    }

    #[test]
    fn secrets_are_files_or_variables() {
        let variable = |name: &str| Ok(SecretSource::Variable(name.to_owned()));
        let file = |path: &str| Ok(SecretSource::File(PathBuf::from(path)));
        assert_eq!(secret("id=x"), Ok(SecretSource::Named));
        assert_eq!(secret("id=x,src=/a"), file("/a"));
        assert_eq!(secret("type=file,id=x,source=/a=b"), file("/a=b"));
        assert_eq!(secret("id=x,env=A"), variable("A"));
        assert_eq!(secret("id=x,type=env"), variable("x"));
        assert_eq!(secret("id=x,type=env,src=A"), variable("A"));
        for wrong in
            ["", "x", "id=", "src=/a", "id=x,src=/a,env=A", "id=x,type=vault", "id=x,id=x", "id=x,path=/a", "id=x,"]
        {
            assert_eq!(secret(wrong), Err(()), "{wrong}");
        }
        assert!(secrets(&["id=x".to_owned(), "id=x,env=A".to_owned()]).is_err());
    }

    #[test]
    fn entitlements_are_exact() {
        let read = |text: &str| entitlements(&[text.to_owned()]).ok();
        assert_eq!(read("network.host"), Some(vec![Entitlement::HostNetwork]));
        assert_eq!(read("security.insecure"), Some(vec![Entitlement::Insecure]));
        for wrong in ["", "host", "security", "Security.Insecure", "device"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
