//! The only place that reads the environment, the working directory and the clock.
#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use bld_oci::Timestamp;
use bld_oci::platform::Platform;

use crate::error::CommandError;

/// The command line, the program's name first.
pub(crate) fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// A variable's value, if it is set and UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable's bytes, if it is set.
pub(crate) fn variable_bytes(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    std::env::var_os(name).map(OsString::into_vec)
}

/// The time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() }
}

/// `SOURCE_DATE_EPOCH`: the newest time any output may show, in seconds since 1970.
pub(crate) fn source_date_epoch() -> Result<Option<i64>, CommandError> {
    let Some(text) = variable("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(CommandError::usage(format!(
            "SOURCE_DATE_EPOCH is `{text}`: it must be a number of seconds since 1970-01-01T00:00:00Z"
        ))),
    }
}

/// `BLD_LOAD`: which engine `--load` hands images to: `docker`, `podman`, `none`, or whichever is there.
pub(crate) fn load_engine() -> Option<String> {
    variable("BLD_LOAD").filter(|text| !text.is_empty())
}

/// Whether users here are not those of the machine.
pub(crate) fn in_user_namespace() -> bool {
    // The first user namespace of all maps every id to itself.
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// `path` seen from the working directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let current = std::env::current_dir()
        .map_err(|error| CommandError::failed(format!("cannot read the working directory: {error}")))?;
    Ok(current.join(path))
}

/// `BLD_ROOT`: where the store is, unless `--root` says otherwise.
pub(crate) fn given_root() -> Option<PathBuf> {
    std::env::var_os("BLD_ROOT").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `BLD_OFFLINE`: no registry may be asked. Set to nothing or to `0` it says nothing.
pub(crate) fn is_offline() -> bool {
    variable("BLD_OFFLINE").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// `BLD_CACHE_SIZE`: how large the cache may be after a build.
pub(crate) fn cache_size() -> Option<String> {
    variable("BLD_CACHE_SIZE").filter(|text| !text.trim().is_empty())
}

/// Where the store is, unless `--root` or `BLD_ROOT` says otherwise.
pub(crate) fn default_root(is_root: bool) -> Result<PathBuf, CommandError> {
    if is_root {
        return Ok(PathBuf::from("/var/lib/bld"));
    }
    let directory = |name: &str| std::env::var_os(name).filter(|value: &OsString| Path::new(value).is_absolute());
    directory("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| directory("HOME").map(|home| Path::new(&home).join(".local/share")))
        .map(|data| data.join("bld"))
        .ok_or_else(|| {
            CommandError::usage("neither XDG_DATA_HOME nor HOME says where the store could be").hint("give --root DIR")
        })
}

/// The platform bld runs on.
pub(crate) fn host_platform() -> Platform {
    Platform::host(std::env::consts::OS, std::env::consts::ARCH)
}
