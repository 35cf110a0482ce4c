//! The client of image registries: the OCI and docker distribution protocol, credentials, mirrors, retries.
//!
//! ```text
//! Registry --> route (mirrors, then the registry; retries) --> exchange (401, redirects, status) --> client (TLS, proxies)
//!    |                                                           |
//!    +-- manifests, blobs, push, lists, login                    +-- tokens --> credentials (files, helper programs)
//! ```
//! Nothing here touches network, DNS, certificates or credential files before the first request. Bytes are handed out as
//! verified only after both digest and size were compared. Credentials go to the host they are for and to nobody else.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

mod blobs;
mod challenge;
mod client;
pub mod credentials;
mod endpoint;
mod error;
mod exchange;
mod given;
mod lists;
mod login;
mod manifests;
mod push;
mod registry;
mod route;
mod secret;
pub mod settings;
mod tokens;

pub use blobs::BlobSink;
pub use credentials::Credential;
pub use credentials::Credentials;
pub use credentials::CredentialsError;
pub use credentials::Stored;
pub use endpoint::Repository;
pub use error::RegistryError;
pub use lists::Referrers;
pub use manifests::FetchedManifest;
pub use manifests::ResolvedImage;
pub use push::BlobSource;
pub use push::Pushed;
pub use registry::Config;
pub use registry::Notice;
pub use registry::Notices;
pub use registry::Progress;
pub use registry::Registry;
pub use secret::Secret;
pub use settings::Settings;
pub use settings::SettingsError;
