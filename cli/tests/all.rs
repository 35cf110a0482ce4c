//! Everything about bld as a user meets it: the binary, run for real.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "tests run programs and look at their own environment")]

mod cache;
mod concurrency;
mod crash;
mod conformance;
mod examples;
mod mistakes;
mod outputs;
mod support;
mod tidy;
