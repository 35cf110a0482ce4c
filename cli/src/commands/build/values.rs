//! The values of single flags of a build.

use std::collections::BTreeMap;
use std::path::Path;

use bld_executor::image::named::NamedContext;
use bld_executor::image::policy::PullPolicy;
use bld_oci::compression::Compression;
use bld_oci::platform::Platform;
use clap::ValueEnum as _;

use crate::args::BuildArgs;
use crate::args::Progress;
use crate::environment;
use crate::error::CommandError;

/// All values of `--platform`, each platform once; this machine's without any.
pub(super) fn platforms(texts: &[String], host: &Platform) -> Result<Vec<Platform>, CommandError> {
    let mut platforms = Vec::new();
    for text in texts {
        let platform = if text == "local" { host.clone() } else { platform(text, host)? };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(host.clone());
    }
    Ok(platforms)
}

/// `--pull`, as docker and as podman spell it.
pub(super) fn pull_policy(text: Option<&str>) -> Result<PullPolicy, CommandError> {
    Ok(match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("missing" | "ifmissing" | "false" | "0") => PullPolicy::Missing,
        Some("always" | "true" | "1") => PullPolicy::Always,
        Some("newer" | "ifnewer") => PullPolicy::Newer,
        Some("never") => PullPolicy::Never,
        Some(_) => {
            let shown = text.unwrap_or_default();
            return Err(CommandError::usage(format!("`--pull={shown}` is not always, missing, newer or never")));
        }
    })
}

/// `--platform`: what nobody builds for is a slip.
pub(in crate::commands) fn platform(text: &str, host: &Platform) -> Result<Platform, CommandError> {
    let platform = Platform::parse(text, host).map_err(|error| CommandError::usage(error.to_string()))?;
    if platform.is_known() {
        return Ok(platform);
    }
    Err(CommandError::usage(format!("`--platform {text}`: nothing is known of such a system or architecture"))
        .hint("write linux/amd64, linux/arm64, linux/arm/v7, linux/riscv64 or the like"))
}

/// `--progress`, else `BLD_PROGRESS`.
pub(super) fn progress(args: &BuildArgs) -> Result<Progress, CommandError> {
    if let Some(progress) = args.progress {
        return Ok(progress);
    }
    match environment::variable("BLD_PROGRESS").filter(|text| !text.is_empty()) {
        None => Ok(Progress::Auto),
        Some(text) => Progress::from_str(&text, true)
            .map_err(|_| CommandError::usage(format!("BLD_PROGRESS is `{text}`, not auto, plain or quiet"))),
    }
}

/// `NAME=VALUE`, or `NAME` for the value of the environment; a name that is not set there is left out, as docker does.
pub(super) fn build_args(texts: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut out = BTreeMap::new();
    for text in texts {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), environment::variable(text)),
        };
        if name.is_empty() {
            return Err(CommandError::usage(format!("`--build-arg {text}` has no name")));
        }
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    }
    Ok(out)
}

/// `NAME=VALUE`, or `NAME` for an empty value.
pub(super) fn pairs(flag: &str, texts: &[String]) -> Result<Vec<(String, String)>, CommandError> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if !text.is_empty() => Ok((text.clone(), String::new())),
        _ => Err(CommandError::usage(format!("`{flag} {text}` is not of the form NAME=VALUE"))),
    };
    texts.iter().map(pair).collect()
}

/// `name:ip` or `name=ip`; an IPv6 address may stand in brackets.
pub(in crate::commands) fn extra_hosts(texts: &[String]) -> Result<Vec<(String, String)>, CommandError> {
    let host = |text: &String| {
        let refuse = || CommandError::usage(format!("`--add-host {text}` is not of the form NAME:IP"));
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(refuse)?;
        let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        let valid =
            address.parse::<std::net::IpAddr>().is_ok() && !name.is_empty() && !name.contains(char::is_whitespace);
        if valid { Ok((name.to_owned(), address.to_owned())) } else { Err(refuse()) }
    };
    texts.iter().map(host).collect()
}

/// `--build-context`, with paths that are absolute.
pub(super) fn named_contexts(texts: &[String]) -> Result<BTreeMap<String, NamedContext>, CommandError> {
    let mut out = BTreeMap::new();
    for text in texts {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| CommandError::usage(format!("`--build-context {text}` is not of the form NAME=SOURCE")))?;
        if ["context", "scratch"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(CommandError::usage(format!("`--build-context {text}`: the name `{name}` is reserved")));
        }
        let exists = |path: &str| Path::new(path).exists();
        let context = NamedContext::parse(value, &exists).map_err(|error| CommandError::usage(error.to_string()))?;
        let context = match context {
            NamedContext::Directory(path) => {
                let resolved = environment::absolute(&path)?;
                if !resolved.is_dir() {
                    return Err(CommandError::failed(format!(
                        "`--build-context {text}`: `{}` is not a directory",
                        path.display()
                    ))
                    .hint("an image is written docker-image://NAME, oci-layout://DIR, oci-archive:FILE or docker-archive:FILE"));
                }
                NamedContext::Directory(resolved)
            }
            NamedContext::OciLayout { directory, image } => {
                NamedContext::OciLayout { directory: environment::absolute(&directory)?, image }
            }
            NamedContext::Archive { file, image } => {
                NamedContext::Archive { file: environment::absolute(&file)?, image }
            }
            NamedContext::Image(reference) => NamedContext::Image(reference),
            NamedContext::Remote(remote) => NamedContext::Remote(remote),
        };
        out.insert(name.to_owned(), context);
    }
    Ok(out)
}

/// `none`, `gzip`, `gzip:9`, `zstd`, `zstd:3`.
pub(super) fn compression(text: &str) -> Result<Compression, CommandError> {
    let (algorithm, level) = text.split_once(':').map_or((text, None), |(algorithm, level)| (algorithm, Some(level)));
    let refuse = || CommandError::usage(format!("`--compression {text}` is not none, gzip[:0-9] or zstd[:1-19]"));
    let level = level.map(|level| level.parse::<u8>().map_err(|_| refuse())).transpose()?;
    let compression = match (algorithm, level) {
        ("none" | "uncompressed", None) => Compression::None,
        ("gzip", None) => Compression::GZIP,
        ("gzip", Some(level)) => Compression::Gzip { level },
        ("zstd", None) => Compression::ZSTD,
        ("zstd", Some(level)) => Compression::Zstd { level },
        _ => return Err(refuse()),
    };
    compression.check().map_err(|_| refuse())?;
    Ok(compression)
}

/// `64m` and the like: powers of 1024.
pub(in crate::commands) fn bytes(text: &str) -> Result<u64, CommandError> {
    let refuse = || CommandError::usage(format!("`{text}` is not a size: write a number with b, k, m or g"));
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 10),
        Some('m') => (&lower[..lower.len() - 1], 20),
        Some('g') => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    let number: u64 = digits.trim().parse().map_err(|_| refuse())?;
    number.checked_mul(1 << shift).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [("0", 0), ("64m", 64 << 20), ("1g", 1 << 30), ("2kb", 2048), ("1MiB", 1 << 20), ("5b", 5)]
        {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for text in ["", "m", "-1", "1x", "99999999999g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        let hosts = |text: &str| extra_hosts(&[text.to_owned()]);
        assert_eq!(hosts("db:10.0.0.1").unwrap(), [("db".to_owned(), "10.0.0.1".to_owned())]);
        assert_eq!(hosts("db=[::1]").unwrap(), [("db".to_owned(), "::1".to_owned())]);
        assert!(hosts("db").is_err());
        assert!(hosts("db:nowhere").is_err());
    }

    #[test]
    fn compressions() {
        assert_eq!(compression("gzip:9").unwrap(), Compression::Gzip { level: 9 });
        assert_eq!(compression("none").unwrap(), Compression::None);
        for text in ["gzip:x", "lz4", "zstd:99", "none:1", ""] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
