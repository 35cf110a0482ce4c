//! All integration tests of the crate, in one binary: it also starts itself to be another process at the same store.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "the other processes are this binary again, told by the environment what to be"
)]

mod eviction;
mod kept;
mod keys;
mod processes;
mod stat_cache;
mod store;
mod support;
mod trees;
