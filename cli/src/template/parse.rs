//! Tokens into a tree.
//!
//! ```text
//! node     = text | "{{" pipeline "}}" | if | with | range | "{{break}}" | "{{continue}}"
//! if       = "{{if" pipeline "}}" node* ("{{else if" pipeline "}}" node*)* ["{{else}}" node*] "{{end}}"
//! range    = "{{range" [ "$i" ["," "$v"] ":=" ] pipeline "}}" node* ["{{else}}" node*] "{{end}}"
//! pipeline = [ "$x" (":=" | "=") ] command ("|" command)*
//! command  = operand+
//! operand  = ("." | "$x" | literal | function | "(" pipeline ")") (".Field")*
//! ```

use std::iter::Peekable;
use std::vec::IntoIter;

use super::TemplateError;
use super::functions;
use super::lex::Kind;
use super::lex::Token;
use super::value::Value;

/// Nobody nests deeper by hand.
const MAX_DEPTH: usize = 50;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { list: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// A chain of commands, each the last argument of the next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// `$i, $v :=`
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// What a command is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    /// The fields taken of it, outermost first.
    pub(super) fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum OperandKind {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Parenthesis(Pipeline),
}

/// What ended a list of nodes.
enum Ending {
    /// The text did.
    Text,
    Marked,
    Else,
    ElseIf(Pipeline),
    ElseWith(Pipeline),
}

pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0, loops: 0, last: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        Ending::Text => Ok(nodes),
        Ending::Marked => Err(parser.error("`{{end}}` has nothing to end")),
        Ending::Else | Ending::ElseIf(_) | Ending::ElseWith(_) => {
            Err(parser.error("`{{else}}` stands without `{{if}}`"))
        }
    }
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    depth: usize,
    loops: usize,
    last: usize,
}

impl Parser {
    fn error(&self, reason: impl Into<String>) -> TemplateError {
        TemplateError::Syntax { at: self.last, reason: reason.into() }
    }

    fn next(&mut self) -> Option<Kind> {
        let token = self.tokens.next()?;
        self.last = token.at;
        Some(token.kind)
    }

    fn enter(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("it is nested too deeply")) } else { Ok(()) }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Ending), TemplateError> {
        self.enter()?;
        let mut nodes = Vec::new();
        let end = loop {
            match self.next() {
                None => break Ending::Text,
                Some(Kind::Literal(text)) => nodes.push(Node::Text(text)),
                Some(Kind::Open) => {
                    if let Some(end) = self.action(&mut nodes)? {
                        break end;
                    }
                }
                Some(_) => return Err(self.error("this does not stand in an action")),
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// An action after its `{{`; the end of the list of nodes if it is one.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Ending>, TemplateError> {
        let keyword = match self.tokens.peek().map(|token| &token.kind) {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        if ["if", "with", "range", "end", "else", "break", "continue"].contains(&keyword.as_str()) {
            self.next();
        }
        match keyword.as_str() {
            "end" => {
                self.close()?;
                return Ok(Some(Ending::Marked));
            }
            "else" => {
                let end = match self.tokens.peek().map(|token| &token.kind) {
                    Some(Kind::Word(word)) if word == "if" => {
                        self.next();
                        Ending::ElseIf(self.closed_pipeline()?)
                    }
                    Some(Kind::Word(word)) if word == "with" => {
                        self.next();
                        Ending::ElseWith(self.closed_pipeline()?)
                    }
                    _ => {
                        self.close()?;
                        Ending::Else
                    }
                };
                return Ok(Some(end));
            }
            "if" => {
                let condition = self.closed_pipeline()?;
                nodes.push(self.conditional(condition, true)?);
            }
            "with" => {
                let value = self.closed_pipeline()?;
                nodes.push(self.conditional(value, false)?);
            }
            "range" => {
                let list = self.closed_pipeline()?;
                self.loops += 1;
                let (body, end) = self.nodes()?;
                self.loops -= 1;
                let otherwise = self.rest(&end)?;
                nodes.push(Node::Range { list, body, otherwise });
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(self.error(format!("`{{{{{keyword}}}}}` stands outside of `{{{{range}}}}`")));
                }
                self.close()?;
                nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
            }
            "define" | "template" | "block" => {
                return Err(self.error(format!("`{{{{{keyword}}}}}` is not supported: a format is one template")));
            }
            _ => nodes.push(Node::Action(self.closed_pipeline()?)),
        }
        Ok(None)
    }

    fn conditional(&mut self, condition: Pipeline, is_if: bool) -> Result<Node, TemplateError> {
        let (then, end) = self.nodes()?;
        self.enter()?;
        let otherwise = match end {
            Ending::ElseIf(next) => vec![self.conditional(next, true)?],
            Ending::ElseWith(next) => vec![self.conditional(next, false)?],
            end => self.rest(&end)?,
        };
        self.depth -= 1;
        Ok(if is_if {
            Node::If { condition, then, otherwise }
        } else {
            Node::With { value: condition, then, otherwise }
        })
    }

    /// What follows `{{else}}`, up to `{{end}}`.
    fn rest(&mut self, end: &Ending) -> Result<Vec<Node>, TemplateError> {
        match end {
            Ending::Marked => Ok(Vec::new()),
            Ending::Else => match self.nodes()? {
                (nodes, Ending::Marked) => Ok(nodes),
                _ => Err(self.error("`{{end}}` is missing")),
            },
            Ending::Text => Err(self.error("`{{end}}` is missing")),
            Ending::ElseIf(_) | Ending::ElseWith(_) => Err(self.error("`{{range}}` has a plain `{{else}}` only")),
        }
    }

    fn close(&mut self) -> Result<(), TemplateError> {
        match self.next() {
            Some(Kind::Close) => Ok(()),
            _ => Err(self.error("`}}` is missing")),
        }
    }

    fn closed_pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let pipeline = self.pipeline()?;
        self.close()?;
        Ok(pipeline)
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        self.enter()?;
        let (variables, assigns) = self.variables()?;
        let mut commands = vec![Vec::new()];
        while let Some(token) = self.tokens.peek() {
            match &token.kind {
                Kind::Close | Kind::Right => break,
                Kind::Pipe => {
                    self.next();
                    if commands.last().is_some_and(Vec::is_empty) {
                        return Err(self.error("nothing stands before `|`"));
                    }
                    commands.push(Vec::new());
                }
                _ => {
                    let operand = self.operand()?;
                    if let Some(command) = commands.last_mut() {
                        command.push(operand);
                    }
                }
            }
        }
        if commands.last().is_some_and(Vec::is_empty) {
            return Err(self.error("a value is missing"));
        }
        self.depth -= 1;
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$i, $v :=` or `$x =`, if the pipeline begins so.
    fn variables(&mut self) -> Result<(Vec<String>, bool), TemplateError> {
        let mut ahead = self.tokens.clone().map(|token| token.kind);
        let count = match (ahead.next(), ahead.next(), ahead.next(), ahead.next()) {
            (Some(Kind::Variable(_)), Some(Kind::Declare | Kind::Assign), ..) => 1,
            (
                Some(Kind::Variable(_)),
                Some(Kind::Comma),
                Some(Kind::Variable(_)),
                Some(Kind::Declare | Kind::Assign),
            ) => 2,
            _ => return Ok((Vec::new(), false)),
        };
        let mut names = Vec::new();
        loop {
            match self.next() {
                Some(Kind::Variable(name)) => names.push(name),
                Some(Kind::Comma) => {}
                Some(Kind::Declare) if names.len() == count => return Ok((names, false)),
                Some(Kind::Assign) if names.len() == count => return Ok((names, true)),
                _ => return Err(self.error("a variable is missing")),
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let mut fields = Vec::new();
        let kind = match self.next() {
            Some(Kind::Dot) => OperandKind::Dot,
            Some(Kind::Field(name)) => {
                fields.push(name);
                OperandKind::Dot
            }
            Some(Kind::Variable(name)) => OperandKind::Variable(name),
            Some(Kind::Text(text)) => OperandKind::Literal(Value::Text(text)),
            Some(Kind::Int(number)) => OperandKind::Literal(Value::Int(number)),
            Some(Kind::Float(number)) => OperandKind::Literal(Value::Float(number)),
            Some(Kind::Word(word)) => match word.as_str() {
                "true" | "false" => OperandKind::Literal(Value::Bool(word == "true")),
                "nil" => OperandKind::Literal(Value::Nil),
                name if functions::is_known(name) => OperandKind::Function(word),
                _ => return Err(TemplateError::UnknownFunction { name: word }),
            },
            Some(Kind::Left) => {
                let pipeline = self.pipeline()?;
                if self.next() != Some(Kind::Right) {
                    return Err(self.error("`)` is missing"));
                }
                OperandKind::Parenthesis(pipeline)
            }
            _ => return Err(self.error("a value is missing")),
        };
        while let Some(Token { kind: Kind::Field(name), spaced: false, .. }) = self.tokens.peek() {
            fields.push(name.clone());
            self.next();
        }
        Ok(Operand { kind, fields })
    }
}
