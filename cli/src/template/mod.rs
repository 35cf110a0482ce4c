//! `--format`: the part of Go's text templates that docker's documentation and common scripts use.
//!
//! Fields, variables, pipelines, `if`, `with`, `range`, comparisons, `printf`, trimming (`{{-`, `-}}`) and docker's own functions
//! (`json`, `join`, `split`, `lower`, `upper`, `title`, `pad`, `truncate`). Everything else is refused by name.

mod evaluate;
mod format;
mod functions;
mod lex;
mod parse;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use value::Field;
pub(crate) use value::Value;

/// A format, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// A format that is not understood, or does not fit what it is applied to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Not a template.
    #[error("at character {}: {reason}", at + 1)]
    Syntax {
        /// Where, in bytes.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// A function that is not here.
    #[error("there is no function `{name}`: there are {}", functions::NAMES.iter().filter(|name| **name != "table").copied().collect::<Vec<_>>().join(", "))]
    UnknownFunction {
        /// Its name.
        name: String,
    },
    /// A field that is not here.
    #[error("there is no field `{field}`: there are {known}")]
    UnknownField {
        /// Its path.
        field: String,
        /// What there is.
        known: String,
    },
    /// A field of something that is not set.
    #[error("`{}` is not set, so it has no field `.{field}`", if of.is_empty() { "." } else { of })]
    FieldOfNothing {
        /// Path of what is not set.
        of: String,
        /// The field.
        field: String,
    },
    /// A field of something without fields.
    #[error("`{}` is {what} and has no field `.{field}`", if of.is_empty() { "." } else { of })]
    NoFields {
        /// Path of what has no fields.
        of: String,
        /// What it is.
        what: &'static str,
        /// The field.
        field: String,
    },
    /// A variable that was never declared.
    #[error("there is no variable `${name}`")]
    UnknownVariable {
        /// Its name.
        name: String,
    },
    /// A value with arguments.
    #[error("`{what}` is not a function and takes no arguments")]
    NotAFunction {
        /// The value.
        what: String,
    },
    /// Arguments that a function does not take.
    #[error("`{function}` takes {expected}")]
    Arguments {
        /// The function.
        function: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Values that cannot be compared.
    #[error("`{function}` cannot compare {left} with {right}")]
    Compare {
        /// The function.
        function: String,
        /// The left value.
        left: &'static str,
        /// The right value.
        right: &'static str,
    },
    /// An index beyond the end.
    #[error("index {index} is out of range: there are {length}")]
    OutOfRange {
        /// The index.
        index: i64,
        /// The number of items.
        length: usize,
    },
    /// An index into something else.
    #[error("{what} cannot be indexed by {by}")]
    Index {
        /// What it is.
        what: &'static str,
        /// The index.
        by: &'static str,
    },
    /// `range` over something else.
    #[error("`range` cannot go over {what}")]
    Range {
        /// What it is.
        what: &'static str,
    },
    /// A format of `printf` that does not fit.
    #[error("`printf \"{format}\"`: {reason}")]
    Printf {
        /// The format.
        format: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that is not JSON.
    #[error("cannot write JSON: {reason}")]
    Json {
        /// Why not.
        reason: String,
    },
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { nodes: parse::parse(lex::lex(text)?)? })
    }

    /// The text that the template makes of a value.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        evaluate::evaluate(&self.nodes, value, false)
    }

    /// The headings of the columns that the template makes: functions leave them as they are.
    pub(crate) fn render_headings(&self, headings: &Value) -> Result<String, TemplateError> {
        evaluate::evaluate(&self.nodes, headings, true)
    }
}
