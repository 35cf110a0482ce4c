//! OCI and docker image formats: digests, references, configurations, manifests, layers, layouts and archives.
//!
//! Reads and writes through [`std::io::Read`] and [`std::io::Write`] only: this crate never opens a path.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

pub mod archive;
pub mod compression;
pub mod digest;
pub mod hashing;
pub mod image;
pub mod layer;
pub mod layout;
pub mod media_type;
pub mod path;
pub mod platform;
pub mod reference;
pub mod time;

pub use compression::Compression;
pub use digest::ChainId;
pub use digest::DiffId;
pub use digest::Digest;
pub use path::ImagePath;
pub use platform::Platform;
pub use reference::Reference;
pub use time::Timestamp;
