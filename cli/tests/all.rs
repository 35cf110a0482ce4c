//! Everything about bld as a user meets it: the binary, run for real.
#![expect(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod examples;
mod mistakes;
mod cache;
mod support;
