//! Content addresses: sha256 and nothing else, always 32 bytes, always parsed before use.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use sha2::Sha256;

/// A sha256 digest of bytes as stored or sent: `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The digest of a layer's *uncompressed* tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiffId(pub Digest);

/// The identity of a stack of layers, as the OCI image specification computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(Digest);

/// A string that is not `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: it must be `sha256:` and 64 lower-case hex digits")]
pub struct DigestError {
    /// The string, shortened to 100 characters.
    pub text: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere, by a hasher of the sha256 kind.
    pub fn from_hash(hash: [u8; 32]) -> Digest {
        Digest(hash)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits: the name of a blob's file.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl ChainId {
    /// The chain of one layer.
    pub fn base(layer: DiffId) -> ChainId {
        ChainId(layer.0)
    }

    /// This chain with one more layer on top.
    #[must_use]
    pub fn push(self, layer: DiffId) -> ChainId {
        ChainId(Digest::of(format!("{} {}", self.0, layer.0).as_bytes()))
    }

    /// The chain of all layers, bottom to top; `None` for no layer.
    pub fn of(layers: impl IntoIterator<Item = DiffId>) -> Option<ChainId> {
        layers.into_iter().fold(None, |chain: Option<ChainId>, layer| {
            Some(chain.map_or_else(|| ChainId::base(layer), |chain| chain.push(layer)))
        })
    }

    /// As a plain digest.
    pub fn digest(self) -> Digest {
        self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let error = || DigestError { text: text.chars().take(100).collect() };
        let digits = text.strip_prefix("sha256:").ok_or_else(error)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(error());
        }
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| error())?;
        Ok(Digest(hash))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_in_lower_case() {
        let good = Digest::of(b"").to_string();
        assert_eq!(good, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(good.parse(), Ok(Digest::of(b"")));
        let hex = &good[7..];
        for text in [
            String::new(),
            hex.to_owned(),
            good.to_uppercase(),
            format!("sha256:{}", hex.to_uppercase()),
            good[..70].to_owned(),
            format!("{good}0"),
            format!("{good}\0"),
            format!("{}\0", &good[..70]),
            format!("md5:{hex}"),
            format!("sha512:{hex}{hex}"),
            "sha256:../../x".to_owned(),
            format!(" {good}"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<Digest>(text.into()).is_err());
        }
        assert_eq!(serde_json::from_value::<Digest>(good.into()).unwrap(), Digest::of(b""));
    }

    #[test]
    fn chains() {
        let [a, b] = [b"a", b"b"].map(|text| DiffId(Digest::of(text)));
        assert_eq!(ChainId::of([]), None);
        assert_eq!(ChainId::of([a]).map(ChainId::digest), Some(a.0));
        assert_eq!(ChainId::of([a, b]).map(ChainId::digest), Some(Digest::of(format!("{a} {b}").as_bytes())));
        assert_ne!(ChainId::of([a, b]), ChainId::of([b, a]));
    }
}
