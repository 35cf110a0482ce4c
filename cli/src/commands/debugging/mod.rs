//! `bld shell`, `bld exec`, `bld cp`: into the files of a step, as it left them or as it found them.
//!
//! ```text
//! files      which layers those are: kept ones of a failed step, or what the cache knows
//! inside     a process over them, with what the step had; what it writes is thrown away
//! cp         files out of them, without any process
//! ```

pub(super) mod cp;
pub(super) mod inside;

pub(super) mod files;
