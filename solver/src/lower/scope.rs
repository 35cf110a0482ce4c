//! The variables in force at a place of a stage: ENV, ARG, and what cannot be known because of a mistake.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use bld_parser::expand::expand;

use super::ordered::Ordered;
use super::words::Variables;
use crate::explain::VariableSource;
use crate::graph::Variable;

/// Variables in force in a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// ENV, the base's included, in order.
    pub(super) env: Ordered<String>,
    /// Names of the ARGs before the first FROM: they are no variables here, but people expect them to be.
    globals: Arc<BTreeSet<String>>,
    /// What the base sets is not known, or what an instruction with a mistake would set: any name may be among it.
    base_unknown: bool,
    /// Not even what is set here is sure, because an instruction was left out.
    values_unknown: bool,
    /// What a RUN of this stage exported, which ends with it: names and values as written.
    exported: HashMap<String, String>,
    /// WORKDIR was met in this stage or one it starts from.
    pub(super) workdir_set: bool,
    /// ARG, in order of declaration.
    pub(super) args: Ordered<Option<String>>,
    /// Names of ENV that an ARG behind it hides until the end of the stage.
    hidden: BTreeSet<String>,
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        let env = || self.env.get(name).map(String::as_str);
        let arg = || self.args.get(name).and_then(Option::as_deref);
        if self.hidden.contains(name) { arg() } else { env().or_else(arg) }
    }

    fn names(&self) -> Vec<&str> {
        let args = self.args.iter().map(|(name, _)| name);
        self.env.iter().map(|(name, _)| name).chain(args).map(String::as_str).collect()
    }

    fn hint(&self, name: &str) -> Option<String> {
        if self.globals.contains(name) {
            return Some(format!("it is declared before the first FROM: write `ARG {name}` in this stage to use it"));
        }
        let value = self.exported.get(name)?;
        Some(format!("an `export` in RUN lasts until that step ends: write `ENV {name}={value}` before"))
    }

    fn is_known(&self, raw: &str, undefined: bool) -> bool {
        !(self.values_unknown && raw.contains('$') || self.base_unknown && undefined)
    }

    fn is_declared(&self, name: &str) -> bool {
        self.base_unknown || self.args.contains(name)
    }
}

impl Scope {
    /// A stage begins with what its base left.
    pub(super) fn enter_stage(&mut self, globals: Arc<BTreeSet<String>>) {
        self.globals = globals;
        // What the base sets is set once more here.
        self.hidden.clear();
    }

    /// Nothing is known of what the base sets.
    pub(super) fn lose_base(&mut self) {
        self.base_unknown = true;
    }

    /// An instruction with a mistake was left out: it could have set anything.
    pub(super) fn trust_nothing(&mut self) {
        self.base_unknown = true;
        self.values_unknown = true;
    }

    /// Notes what a RUN exports, for the hint of those who expect it to last.
    pub(super) fn note_exports(&mut self, command: &str) {
        for part in command.split(['\n', ';', '&', '|']) {
            let Some(text) = part.trim().strip_prefix("export ") else { continue };
            let Some((name, value)) = text.trim().split_once('=') else { continue };
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                self.exported.entry(name.to_owned()).or_insert_with(|| value.trim().to_owned());
            }
        }
    }

    /// Sets a variable for the image, in place if it is there.
    pub(super) fn set_env(&mut self, name: String, value: String) {
        self.hidden.remove(&name);
        self.env.insert(name, value);
    }

    /// Declares an argument, in place if it was declared. Without a value it changes nothing that has one.
    pub(super) fn set_arg(&mut self, name: String, value: Option<String>) {
        if value.is_some() && self.env.contains(&name) {
            self.hidden.insert(name.clone());
        }
        if value.is_some() || !self.args.contains(&name) {
            self.args.insert(name, value);
        }
    }

    /// Declared arguments with the values a RUN sees.
    pub(super) fn seen_args(&self) -> Vec<(String, String)> {
        let value = |name: &str| self.get(name).unwrap_or_default().to_owned();
        self.args.iter().map(|(name, _)| (name.clone(), value(name))).collect()
    }

    /// The arguments that a RUN has in its environment.
    pub(super) fn run_args(&self) -> Vec<Variable> {
        let args = self.args.iter().filter(|(name, value)| value.is_some() && !self.is_env(name));
        args.map(|(name, _)| self.variable(name)).collect()
    }

    /// The variables that a text names, each once.
    pub(super) fn named(&self, text: &str, escape: char) -> Vec<Variable> {
        if !text.contains('$') {
            return Vec::new();
        }
        let names = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            let value = self.get(name).map(str::to_owned);
            if value.is_some() {
                names.borrow_mut().insert(name.to_owned());
            }
            value
        };
        // What is wrong with it is reported elsewhere.
        drop(expand(text, escape, &lookup));
        names.into_inner().iter().map(|name| self.variable(name)).collect()
    }

    fn variable(&self, name: &str) -> Variable {
        let source = if self.is_env(name) { VariableSource::Env } else { VariableSource::Arg };
        Variable { source, name: name.to_owned(), value: self.get(name).unwrap_or_default().to_owned() }
    }

    fn is_env(&self, name: &str) -> bool {
        self.env.contains(name) && !self.hidden.contains(name)
    }

    /// The environment of a RUN: ENV, then arguments with a value that have no ENV of their name.
    pub(super) fn run_env(&self) -> Vec<(String, String)> {
        let args = self.args.iter().filter(|(name, value)| value.is_some() && !self.env.contains(name));
        let names = self.env.iter().map(|(name, _)| name).chain(args.map(|(name, _)| name));
        names.map(|name| (name.clone(), self.get(name).unwrap_or_default().to_owned())).collect()
    }
}
