//! Running a template over a value.

use super::TemplateError;
use super::format::go_text;
use super::functions;
use super::parse::Node;
use super::parse::Operand;
use super::parse::OperandKind;
use super::parse::Pipeline;
use super::value::Shown;
use super::value::Value;

/// Runs `nodes` with `value` as `.` and `$`. Of `headings` docker's functions change nothing.
pub(super) fn evaluate(nodes: &[Node], value: &Value, headings: bool) -> Result<String, TemplateError> {
    let mut run = Run { headings, out: String::new(), variables: vec![(String::new(), value.clone())] };
    run.nodes(nodes, value)?;
    Ok(run.out)
}

struct Run {
    headings: bool,
    out: String,
    variables: Vec<(String, Value)>,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Run {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                self.variables.truncate(scope);
                return Ok(flow);
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&go_text(&value));
                }
            }
            Node::If { condition, then, otherwise } => {
                let scope = self.variables.len();
                let chosen = if self.pipeline(condition, dot)?.is_true() { then } else { otherwise };
                let flow = self.nodes(chosen, dot)?;
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::With { value, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(value, dot)?;
                let flow = if value.is_true() { self.nodes(then, &value)? } else { self.nodes(otherwise, dot)? };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range { list, body, otherwise } => return self.range(list, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        list: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let pairs: Vec<(Value, Value)> = match self.commands(list, dot)? {
            Value::List(list) => (0..).map(Value::Int).zip(list).collect(),
            Value::Map(map) => map.into_iter().map(|(key, value)| (Value::Text(key), value)).collect(),
            Value::Missing | Value::Nil => Vec::new(),
            Value::Int(count) => {
                (0..count.min(1_000_000)).map(|index| (Value::Int(index), Value::Int(index))).collect()
            }
            other => return Err(TemplateError::Range { what: other.article() }),
        };
        if pairs.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let scope = self.variables.len();
        for (key, value) in pairs {
            match list.variables.as_slice() {
                [only] => self.set(list.assigns, only, value.clone())?,
                [first, second] => {
                    self.set(list.assigns, first, key)?;
                    self.set(list.assigns, second, value.clone())?;
                }
                _ => {}
            }
            let flow = self.nodes(body, &value)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, assigns: bool, name: &str, value: Value) -> Result<(), TemplateError> {
        if !assigns {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rfind(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => return Err(TemplateError::UnknownVariable { name: name.to_owned() }),
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(pipeline.assigns, name, value.clone())?;
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Missing))
    }

    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Missing) };
        let OperandKind::Function(name) = &first.kind else {
            if rest.is_empty() && piped.is_none() {
                return self.operand(first, dot);
            }
            return Err(TemplateError::NotAFunction { what: shown(first) });
        };
        if matches!(name.as_str(), "and" | "or") {
            // The rest is not looked at once the answer is known.
            let mut last = Value::Missing;
            for operand in rest {
                last = self.operand(operand, dot)?;
                if last.is_true() == (name == "or") {
                    return taken(last, &first.fields);
                }
            }
            return taken(piped.unwrap_or(last), &first.fields);
        }
        let mut arguments = rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        if self.headings && functions::is_dockers(name) {
            return Ok(arguments
                .into_iter()
                .find(|argument| matches!(argument, Value::Text(_)))
                .unwrap_or(Value::Missing));
        }
        taken(functions::call(name, &arguments)?, &first.fields)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let value = match &operand.kind {
            OperandKind::Dot => return field(dot, &operand.fields).cloned(),
            OperandKind::Variable(name) => match self.variables.iter().rfind(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => return Err(TemplateError::UnknownVariable { name: name.clone() }),
            },
            OperandKind::Literal(value) => value.clone(),
            OperandKind::Function(name) => functions::call(name, &[])?,
            OperandKind::Parenthesis(pipeline) => self.pipeline(pipeline, dot)?,
        };
        taken(value, &operand.fields)
    }
}

fn taken(value: Value, fields: &[String]) -> Result<Value, TemplateError> {
    if fields.is_empty() { Ok(value) } else { field(&value, fields).cloned() }
}

fn field<'a>(mut value: &'a Value, fields: &[String]) -> Result<&'a Value, TemplateError> {
    for (index, name) in fields.iter().enumerate() {
        let path = || fields[..index].iter().flat_map(|field| [".", field]).collect::<String>();
        value = match value {
            Value::Struct(known) => {
                let found = known.iter().find(|field| field.name == *name);
                let Some(field) = found else {
                    let known = known.iter().filter(|field| field.shown != Shown::Never);
                    let known = known.map(|field| format!(".{}", field.name)).collect::<Vec<_>>().join(", ");
                    return Err(TemplateError::UnknownField { field: format!("{}.{name}", path()), known });
                };
                &field.value
            }
            Value::Map(map) => map.get(name).unwrap_or(&Value::Missing),
            Value::Missing | Value::Nil => {
                return Err(TemplateError::FieldOfNothing { of: path(), field: name.clone() });
            }
            other => {
                return Err(TemplateError::NoFields { of: path(), what: other.article(), field: name.clone() });
            }
        };
    }
    Ok(value)
}

fn shown(operand: &Operand) -> String {
    let start = match &operand.kind {
        OperandKind::Dot if operand.fields.is_empty() => ".".to_owned(),
        OperandKind::Dot => String::new(),
        OperandKind::Variable(name) => format!("${name}"),
        OperandKind::Literal(value) => go_text(value),
        OperandKind::Function(name) => name.clone(),
        OperandKind::Parenthesis(_) => "(...)".to_owned(),
    };
    operand.fields.iter().fold(start, |text, field| format!("{text}.{field}"))
}
