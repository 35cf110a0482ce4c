//! Platforms: `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

/// An operating system, an architecture and perhaps a variant, normalised as containerd does (`x86_64` is `amd64`, `aarch64` is
/// `arm64` without variant `v8`, `arm` is `arm/v7`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64` ...
    pub architecture: String,
    /// `v7` ...
    pub variant: Option<String>,
}

/// A string that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: it must be `os/architecture` or `os/architecture/variant`, like `linux/arm64`")]
pub struct PlatformError {
    /// The string, shortened to 100 characters.
    pub text: String,
}

const KNOWN_ARCHITECTURE: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
];
const KNOWN_OS: &[&str] = &["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "wasip1"];

impl Platform {
    /// The platform of these names, in any spelling in use.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.unwrap_or_default().to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "i686" | "x86" | "386", _) => ("386", String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1" | "1") => ("amd64", String::new()),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", with_v(other)),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", String::new()),
            ("aarch64" | "arm64", other) => ("arm64", with_v(other)),
            ("armhf", _) | ("arm", "") => ("arm", "v7".to_owned()),
            ("armel", _) => ("arm", "v6".to_owned()),
            ("arm", other) => ("arm", with_v(other)),
            ("loongarch64", other) => ("loong64", other.to_owned()),
            ("powerpc64le", other) => ("ppc64le", other.to_owned()),
            (other, variant) => (other, variant.to_owned()),
        };
        Platform { os, architecture: architecture.to_owned(), variant: Some(variant).filter(|text| !text.is_empty()) }
    }

    /// The platform of a machine whose `std::env::consts::OS` and `ARCH` are given.
    pub fn host(os: &str, architecture: &str) -> Platform {
        // Rust's name does not tell the byte order; images exist for little-endian machines only.
        let architecture = if architecture == "powerpc64" { "ppc64le" } else { architecture };
        Platform::new(os, architecture, None)
    }

    /// Reads `os/architecture[/variant]`, or one of os and architecture alone, the other being the host's.
    pub fn parse(text: &str, host: &Platform) -> Result<Platform, PlatformError> {
        let error = || PlatformError { text: text.chars().take(100).collect() };
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(valid) {
            return Err(error());
        }
        match parts.as_slice() {
            [one] => {
                let os = Platform::new(one, "", None).os;
                if KNOWN_OS.contains(&os.as_str()) {
                    return Ok(Platform { os, ..host.clone() });
                }
                // A single word must be one that is known: it could be a slip of either kind.
                let platform = Platform::new(&host.os, one, None);
                if KNOWN_ARCHITECTURE.contains(&platform.architecture.as_str()) { Ok(platform) } else { Err(error()) }
            }
            [os, architecture] => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, Some(variant))),
            _ => Err(error()),
        }
    }

    /// Whether both operating system and architecture are among those that images are made for.
    pub fn is_known(&self) -> bool {
        KNOWN_OS.contains(&self.os.as_str()) && KNOWN_ARCHITECTURE.contains(&self.architecture.as_str())
    }

    /// What can stand in for this platform, best first: itself, then older variants of the same architecture.
    pub fn preferences(&self) -> Vec<Platform> {
        let lowest = match self.architecture.as_str() {
            "arm" => 5,
            "amd64" => 1,
            "arm64" => 8,
            _ => return vec![self.clone()],
        };
        let Some(own) = self.variant.as_deref().map_or(Some(lowest), version_of) else {
            let plain = Platform { variant: None, ..self.clone() };
            return vec![self.clone(), plain];
        };
        let mut found = vec![self.clone()];
        for version in (lowest..own).rev() {
            found.push(Platform::new(&self.os, &self.architecture, Some(&format!("v{version}"))));
        }
        found
    }

    /// Whether an image for `candidate` runs here.
    pub fn accepts(&self, candidate: &Platform) -> bool {
        self.rank(candidate).is_some()
    }

    /// How well `candidate` fits: 0 is exact, larger is worse, `None` is not at all.
    pub fn rank(&self, candidate: &Platform) -> Option<usize> {
        self.preferences().iter().position(|platform| platform == candidate)
    }
}

fn with_v(variant: &str) -> String {
    if variant.starts_with(|first: char| first.is_ascii_digit()) { format!("v{variant}") } else { variant.to_owned() }
}

/// `v7` is 7. Anything that is not a small number is not comparable.
fn version_of(variant: &str) -> Option<u8> {
    variant.strip_prefix('v')?.parse().ok().filter(|version| *version < 20)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads the full form only: what a lone name means depends on the host, see [`Platform::parse`].
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        if !text.contains('/') {
            return Err(PlatformError { text: text.chars().take(100).collect() });
        }
        Platform::parse(text, &Platform::new("linux", "amd64", None))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let host = Platform::host("linux", "x86_64");
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
            ("linux", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
            ("windows", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(text, &host).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "/", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/\u{e9}", "linux/amd64/"] {
            assert!(Platform::parse(text, &host).is_err(), "{text}");
        }
        assert!("linux".parse::<Platform>().is_err());
        assert_eq!(Platform::host("linux", "powerpc64").to_string(), "linux/ppc64le");
    }

    #[test]
    fn ranks() {
        let rank = |wanted: &str, offered: &str| {
            wanted.parse::<Platform>().unwrap().rank(&offered.parse::<Platform>().unwrap())
        };
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm/v7", "linux/arm"), Some(0));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(rank("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(rank("linux/arm64/v9", "linux/arm64"), Some(1));
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
        assert_eq!(rank("linux/amd64", "linux/386"), None);
    }
}
