//! The values of `--volume` and `--tmpfs`.
//!
//! ```text
//! --volume HOST:PATH[:ro|rw]      what HOST shows; it holds a slash or begins with a dot
//! --volume PATH                   a directory that goes with the run
//! --tmpfs PATH[:OPTION,...]       size=BYTES mode=OCTAL exec noexec rw nosuid nodev
//! ```

use std::path::Path;
use std::path::PathBuf;

use bld_executor::sandbox::Mount;
use bld_executor::sandbox::MountSource;
use bld_oci::ImagePath;

use crate::commands::build::values::bytes;
use crate::environment;
use crate::error::CommandError;

/// All that the user mounts.
pub(super) fn resolve(volumes: &[String], tmpfs: &[String]) -> Result<Vec<Mount>, CommandError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in volumes.iter().map(|text| volume(text)).chain(tmpfs.iter().map(|text| in_memory(text))) {
        let mount = mount?;
        if mounts.iter().any(|other| other.target == mount.target) {
            return Err(CommandError::usage(format!("two things are mounted at `{}`", mount.target.display())));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

fn volume(text: &str) -> Result<Mount, CommandError> {
    let flag = format!("--volume {text}");
    let fields: Vec<&str> = text.split(':').collect();
    let (source, path, options) = match fields.as_slice() {
        [path] => return Ok(Mount { target: target(&flag, path)?, source: MountSource::Own }),
        [source, path] => (*source, *path, ""),
        [source, path, options] => (*source, *path, *options),
        _ => return Err(CommandError::usage(format!("`{flag}` is not of the form PATH:PATH[:ro|rw]"))),
    };
    let target = target(&flag, path)?;
    if !source.contains('/') && !source.starts_with('.') {
        let name = if source.is_empty() { "NAME" } else { source };
        return Err(CommandError::usage(format!("`{flag}`: named volumes are not supported"))
            .hint(format!("name a directory: `mkdir -p {name}` and `-v ./{name}:{path}`")));
    }
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "z" | "Z" => {
                return Err(CommandError::usage(format!("`{flag}`: bld sets no SELinux labels"))
                    .hint(format!("leave `{option}` out")));
            }
            other => {
                return Err(CommandError::usage(format!("`{flag}`: the option `{other}` is not supported"))
                    .hint("`ro` and `rw` are"));
            }
        }
    }
    let source_path = environment::absolute(Path::new(source))?;
    if let Err(error) = std::fs::metadata(&source_path) {
        let missing = CommandError::failed(format!("`{flag}`: cannot open {}: {error}", source_path.display()));
        return Err(if error.kind() == std::io::ErrorKind::NotFound {
            missing.hint(format!("`mkdir -p {source}` makes a directory"))
        } else {
            missing
        });
    }
    Ok(Mount { target, source: MountSource::HostTree { source: source_path, read_only } })
}

fn in_memory(text: &str) -> Result<Mount, CommandError> {
    let flag = format!("--tmpfs {text}");
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut executable) = (None, 0o1777, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size = Some(bytes(value)?),
            Some(("mode", value)) => {
                let parsed = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                mode = parsed.ok_or_else(|| CommandError::usage(format!("`{flag}`: `{value}` is not a mode")))?;
            }
            None if option == "exec" => executable = true,
            None if option == "noexec" => executable = false,
            // What it is in any case.
            None if matches!(option, "rw" | "nosuid" | "nodev") => {}
            _ => {
                return Err(CommandError::usage(format!("`{flag}`: the option `{option}` is not supported"))
                    .hint("`size=BYTES`, `mode=OCTAL`, `exec` and `noexec` are"));
            }
        }
    }
    Ok(Mount { target: target(&flag, path)?, source: MountSource::Tmpfs { size, mode, executable } })
}

/// Where something is mounted.
fn target(flag: &str, path: &str) -> Result<PathBuf, CommandError> {
    if !path.starts_with('/') {
        return Err(CommandError::usage(format!("`{flag}`: `{path}` is not an absolute path of the container")));
    }
    let out = PathBuf::from(ImagePath::new(path).to_string());
    if out == Path::new("/") {
        return Err(CommandError::usage(format!("`{flag}`: nothing can be mounted over `/`")));
    }
    if ["/proc", "/sys", "/dev"].iter().any(|kernel| out.starts_with(kernel)) {
        return Err(CommandError::usage(format!("`{flag}`: nothing can be mounted in /proc, /sys and /dev")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let target_of = |text: &str| volume(text).unwrap().target;
        assert_eq!(target_of("/:/a/../b/"), Path::new("/b"));
        assert_eq!(target_of("/data"), Path::new("/data"));
        let MountSource::HostTree { source, read_only } = volume("/tmp:/x:ro").unwrap().source else { panic!() };
        assert_eq!((source.as_path(), read_only), (Path::new("/tmp"), true));
        for (text, said) in [
            ("data:/x", "named volumes are not supported\nhint: name a directory: `mkdir -p data` and `-v ./data:/x`"),
            ("/:x", "`x` is not an absolute path"),
            ("/:/", "nothing can be mounted over `/`"),
            ("/:/x/../dev/shm", "nothing can be mounted in /proc, /sys and /dev"),
            ("/:/x:Z", "bld sets no SELinux labels\nhint: leave `Z` out"),
            ("/:/x:U", "the option `U` is not supported"),
            ("/:/x:ro:y", "is not of the form PATH:PATH[:ro|rw]"),
            ("/no/such:/x", "hint: `mkdir -p /no/such` makes a directory"),
        ] {
            let error = volume(text).unwrap_err().to_text();
            assert!(error.contains(said), "{text}: {error}");
        }
        let source = in_memory("/t:size=1m,mode=700,exec").unwrap().source;
        let MountSource::Tmpfs { size, mode, executable } = source else { panic!() };
        assert_eq!((size, mode, executable), (Some(1 << 20), 0o700, true));
        assert!(in_memory("/t:ro").is_err() && in_memory("/t:mode=9").is_err());
        assert!(resolve(&["/:/x".to_owned()], &["/x".to_owned()]).is_err());
    }
}
