//! Why a step was not found in the cache: a comparison with what earlier builds knew of it.

mod cause;
pub mod files;

pub use cause::Cause;
pub use cause::Change;
pub use cause::VariableSource;
