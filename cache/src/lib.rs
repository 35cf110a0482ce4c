//! Everything durable: content store, trees, layers, key index, image names, locks, logs.
#![forbid(unsafe_code)]

pub mod error;
pub mod key;
pub mod record;
pub mod store;
pub mod tree;

pub use error::StoreError;
pub use key::CacheKey;
pub use record::LayerId;
pub use record::Record;
pub use record::StateId;
pub use store::Store;
pub use tree::Tree;
