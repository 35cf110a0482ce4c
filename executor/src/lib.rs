//! Does operations: sandboxed commands, file copies, layer directories, build contexts, base images, outputs.
//!
//! Decides nothing: the solver says what has to be done, and the user where it goes.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

pub mod admission;
pub mod context;
pub mod copy;
pub mod error;
pub mod image;
pub mod layers;
pub mod output;
pub mod passwd;
pub mod pull;
pub mod push;
pub mod run;
pub mod sandbox;
pub mod secrets;
pub mod sources;
pub mod ssh;
pub mod view;
pub mod worker;

mod claims;

pub use error::ExecuteError;
