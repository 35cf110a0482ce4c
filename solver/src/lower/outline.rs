//! What a target takes from outside - arguments, secrets, agents, caches - and which targets there are.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;

use bld_parser::ast::ArgDeclaration;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::Instruction;
use bld_parser::expand;
use bld_parser::source::Span;

use super::stage::Lowering;
use super::words::Variables as _;
use crate::op::ExecMount;
use crate::op::Op;

/// What a target takes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The stage's name, if it has one.
    pub name: Option<String>,
    /// The comment above it.
    pub description: Option<String>,
    /// Build arguments, in the order of the text.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets of RUN steps.
    pub secrets: Vec<OutlineMount>,
    /// Agents of RUN steps.
    pub ssh: Vec<OutlineMount>,
    /// Caches of RUN steps.
    pub caches: Vec<OutlineMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// The comment above it.
    pub description: Option<String>,
    /// The value it has in this build.
    pub value: Option<String>,
    /// The declaration.
    pub span: Span,
}

/// Something a RUN step mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether the step fails without it.
    pub required: bool,
    /// The instruction.
    pub span: Span,
}

/// A stage as a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The comment above it.
    pub description: Option<String>,
    /// What FROM says, as written.
    pub base: String,
    /// What `--platform` says, as written.
    pub platform: Option<String>,
    /// It is what is built if no target is given.
    pub default: bool,
    /// FROM.
    pub span: Span,
}

/// All stages, in the order of the text.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let last = dockerfile.stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, &bld_parser::ast::Stage)| Target {
        name: stage.from.name.as_ref().map(|name| name.value.clone()),
        description: stage.from.doc.clone(),
        base: stage.from.base.raw.clone(),
        platform: stage.from.platform.as_ref().map(|word| word.raw.clone()),
        default: index == last,
        span: stage.from.span,
    };
    dockerfile.stages.iter().enumerate().map(target).collect()
}

/// What the target of a finished lowering takes.
pub(super) fn outline(lowering: &Lowering<'_>) -> Outline {
    let target = lowering.stages.target();
    let from = lowering.dockerfile.stages.get(target).map(|stage| &stage.from);
    let mut outline = Outline {
        name: from.and_then(|from| from.name.as_ref()).map(|name| name.value.clone()),
        description: from.and_then(|from| from.doc.clone()),
        arguments: arguments(lowering, target),
        ..Outline::default()
    };
    for (_, vertex) in lowering.graph.iter() {
        let (Op::Exec(exec), Some(span)) = (&vertex.op, vertex.span) else { continue };
        for mount in &exec.mounts {
            let (list, id, required) = match mount {
                ExecMount::Secret(secret) => (&mut outline.secrets, &secret.id, secret.required),
                ExecMount::Ssh(agent) => (&mut outline.ssh, &agent.id, agent.required),
                ExecMount::Cache(cache) => (&mut outline.caches, &cache.id, false),
                ExecMount::Bind(_) | ExecMount::Tmpfs(_) => continue,
            };
            match list.iter_mut().find(|known| known.id == *id) {
                Some(known) => known.required |= required,
                None => list.push(OutlineMount { id: id.clone(), required, span }),
            }
        }
    }
    for list in [&mut outline.secrets, &mut outline.ssh, &mut outline.caches] {
        list.sort_by_key(|mount| mount.span);
    }
    outline
}

/// Declared in a stage that is needed, the target first, or used by its FROM.
fn arguments(lowering: &Lowering<'_>, target: usize) -> Vec<OutlineArgument> {
    let mut arguments: Vec<OutlineArgument> = Vec::new();
    let mut names = BTreeSet::new();
    let mut add = |argument: OutlineArgument| {
        if names.insert(argument.name.clone()) {
            arguments.push(argument);
        }
    };
    let globals = globals(lowering.dockerfile);
    let needed = lowering.stages.needed();
    let others = needed.iter().copied().filter(|index| *index != target);
    for index in std::iter::once(target).chain(others) {
        let Some(stage) = lowering.dockerfile.stages.get(index) else { continue };
        let Some(lowered) = lowering.lowered.get(&index) else { continue };
        for located in &stage.instructions {
            let Instruction::Arg(arg) = &located.instruction else { continue };
            for declaration in &arg.declarations {
                let name = &declaration.name.value;
                let global = globals.get(name.as_str()).copied();
                let inherits = declaration.default.is_none();
                if inherits && global.is_none() && lowering.globals.is_predefined(name) {
                    continue;
                }
                let doc = declaration.doc.clone().or_else(|| global?.doc.clone());
                // Where the value is: a declaration without one passes on that of the whole file.
                let place = global.filter(|_| inherits).unwrap_or(declaration);
                add(OutlineArgument {
                    name: name.clone(),
                    description: doc,
                    value: lowered.arguments.get(name).cloned().flatten(),
                    span: place.name.span,
                });
            }
        }
    }
    for name in used_by_from(lowering, &needed, &globals) {
        let Some(declaration) = globals.get(name.as_str()) else { continue };
        add(OutlineArgument {
            value: lowering.globals.get(&name).map(str::to_owned),
            name,
            description: declaration.doc.clone(),
            span: declaration.name.span,
        });
    }
    arguments.sort_by_key(|argument| argument.span);
    arguments
}

/// The declarations before the first FROM by name: the last one of each, which is the one in force.
fn globals(dockerfile: &Dockerfile) -> HashMap<&str, &ArgDeclaration> {
    let declarations = dockerfile.global_args.iter().flat_map(|arg| &arg.declarations);
    declarations.map(|declaration| (declaration.name.value.as_str(), declaration)).collect()
}

/// Names that FROM lines use, and the defaults of those in turn.
fn used_by_from(
    lowering: &Lowering<'_>,
    needed: &[usize],
    globals: &HashMap<&str, &ArgDeclaration>,
) -> BTreeSet<String> {
    let used = RefCell::new(BTreeSet::new());
    let unread = RefCell::new(Vec::new());
    let lookup = |name: &str| {
        if used.borrow_mut().insert(name.to_owned()) {
            unread.borrow_mut().push(name.to_owned());
        }
        lowering.globals.get(name).map(str::to_owned)
    };
    let escape = lowering.dockerfile.directives.escape;
    // What is wrong with a word is reported elsewhere.
    let read = |raw: &str| drop(expand::expand(raw, escape, &lookup));
    for stage in needed.iter().filter_map(|index| lowering.dockerfile.stages.get(*index)) {
        read(&stage.from.base.raw);
        stage.from.platform.iter().for_each(|platform| read(&platform.raw));
    }
    loop {
        let Some(name) = unread.borrow_mut().pop() else { break };
        if let Some(default) = globals.get(name.as_str()).and_then(|declaration| declaration.default.as_ref()) {
            read(&default.raw);
        }
    }
    used.into_inner()
}
