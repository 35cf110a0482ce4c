//! Everything about bld as a user meets it: the binary, run for real.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "tests run programs and look at their own environment")]

mod attacks;
mod builds;
mod cache;
mod cache_commands;
mod checks;
mod concurrency;
mod conformance;
mod crash;
mod debugging;
mod examples;
mod faults;
mod images;
mod limits;
mod mistakes;
mod mounts;
mod outputs;
mod registry;
mod report;
mod rootless;
mod run;
mod same_commit;
mod sources;
mod support;
mod tidy;
mod ux;
