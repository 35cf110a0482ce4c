//! The Dockerfile language: text in, typed stages with spans out.
//!
//! ```text
//! bytes -> source   (byte order mark, UTF-8, size limits)
//!       -> lines    (directives, comments, continuations, heredoc bodies; hand-written, keeps byte offsets)
//!       -> head     (instruction name, flags)             \
//!       -> words / json / heredoc (nom, inside one line)  / -> instruction -> ast
//!       -> lint     (warnings that need only the text)
//! ```
//!
//! Parsing finds every mistake of a file in one go: after an error it goes on with the next instruction. Nothing here opens a
//! file or knows the value of a variable: [`expand`], [`ignorefile`], [`glob`], [`mode`] and [`mount`] are pure functions the solver and
//! the executor call with what they know.

#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests"))]

pub mod ast;
pub mod check;
pub mod diagnostic;
pub mod duration;
pub mod expand;
pub mod glob;
pub mod ignorefile;
pub mod mode;
pub mod mount;
pub mod rules;
pub mod source;
pub mod suggest;

mod directive;
mod double_star;
mod head;
mod heredoc;
mod instruction;
mod joined;
mod json;
mod limits;
mod lines;
mod lint;
mod parse;
mod sink;
mod words;

pub use lint::is_secret;
pub use parse::Parsed;
pub use parse::ParsedTrigger;
pub use parse::parse;
pub use parse::parse_trigger;
