//! Cache keys: digests that name a result before it exists.
//!
//! A key is built by feeding named fields to a [`KeyHasher`]. The encoding is injective: every field is tagged and length-prefixed,
//! so `("ab", "c")` and `("a", "bc")` differ. The first field is a domain with a version: change what a key means, change its
//! version, and old records are simply never found again.

use std::fmt;

/// Names the result of a vertex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

/// What kind of key it is, with the version of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain(pub &'static str);

/// Collects the fields of a key. It keeps them, so that a miss can be explained.
#[derive(Debug)]
pub struct KeyHasher {
    hasher: blake3::Hasher,
    parts: Vec<KeyPart>,
}

/// One named field of a key, as it went in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyPart {
    /// The field's name.
    pub name: String,
    /// Its value: text as it is, bytes in hex.
    pub value: String,
}

impl KeyHasher {
    /// Starts a key of a domain (`bld.exec.v1`).
    pub fn new(domain: Domain) -> KeyHasher {
        let mut this = KeyHasher { hasher: blake3::Hasher::new(), parts: Vec::new() };
        this.put(domain.0.as_bytes());
        this
    }

    /// Adds a text field.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> KeyHasher {
        self.field(name, value.as_bytes(), || value.to_owned());
        self
    }

    /// Adds a field of bytes.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> KeyHasher {
        self.field(name, value, || hex::encode(value));
        self
    }

    /// Adds a list: its length, then each item under the same name.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, items: impl ExactSizeIterator<Item = T>) -> KeyHasher {
        self.put(name.as_bytes());
        self.hasher.update(&(items.len() as u64).to_le_bytes());
        for item in items {
            self.field(name, item.as_ref(), || String::from_utf8_lossy(item.as_ref()).into_owned());
        }
        self
    }

    /// The key, and the parts it was made of.
    pub fn finish(self) -> (CacheKey, Vec<KeyPart>) {
        (CacheKey(*self.hasher.finalize().as_bytes()), self.parts)
    }

    fn field(&mut self, name: &str, value: &[u8], shown: impl FnOnce() -> String) {
        self.put(name.as_bytes());
        self.put(value);
        self.parts.push(KeyPart { name: name.to_owned(), value: shown() });
    }

    fn put(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}

impl CacheKey {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key read back from an index.
    pub fn from_stored(bytes: [u8; 32]) -> CacheKey {
        CacheKey(bytes)
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
