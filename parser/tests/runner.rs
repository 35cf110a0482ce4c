//! All integration tests of the parser in one binary.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::format_push_string, clippy::format_collect, reason = "short texts; speed is no concern here")]

mod dump;
mod golden;
mod limits;
mod places;
mod properties;
mod tables;
