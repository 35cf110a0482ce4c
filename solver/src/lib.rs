//! From a parsed Dockerfile to a graph of operations, and from the graph to a result: lowering, keys, scheduling, explaining what was
//! not found.
//!
//! Touches no file, process, network or clock: it asks its ports ([`worker`]) to.
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

pub mod explain;
pub mod graph;
pub mod keys;
pub mod lower;
pub mod op;
pub mod record;
pub mod remote;
pub mod solve;
pub mod worker;
