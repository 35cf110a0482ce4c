//! Layers and archives as the outside sees them: against hostile input, GNU tar, and themselves.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "other tools are asked what they see")]

mod archive;
mod hostile;
mod raw;
mod tar_round_trip;
