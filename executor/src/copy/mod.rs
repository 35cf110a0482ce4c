//! COPY, ADD, WORKDIR and COPY heredocs: files written by bld itself, as one change set.
//!
//! ```text
//! select   what the sources of a copy are                        -> Selection (and its digest, for cache keys)
//! apply    where everything goes, as pure planning over views     -> Plan
//! archive  ADD's tar files, bodies spooled, entries planned alike -> Plan
//! write    the plan, into a layer directory, in parallel          -> Tree
//! ```
//! A *layer directory* is a change set in the form of an overlayfs upper directory. Nothing is written before the whole operation is
//! planned (but for the bodies of archives, which wait in a staging directory), so that no path is written twice and no link can
//! be in the way of anything.

mod apply;
mod archive;
mod digest;
mod error;
mod plan;
mod select;
mod transfer;
mod walk;
mod write;

pub use apply::Applied;
pub use apply::ApplyOptions;
pub use apply::apply;
pub use error::CopyError;
pub use error::Missing;
pub use error::Note;
pub use select::CopySource;
pub use select::Selection;
pub use select::select;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
