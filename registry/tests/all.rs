//! The client against registries of the tests' own, good and bad ones, and against docker's.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "tests start the registry and the tools they compare with")]

mod pull;
mod push;
mod real;
mod security;
mod support;
