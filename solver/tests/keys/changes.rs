//! One change of one field at a time, and which keys it must change.
//!
//! Every function that makes changes takes its value apart without `..`: a new field does not compile until it is said here whether
//! it means anything.

use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_parser::source::Span;
use bld_solver::explain::VariableSource;
use bld_solver::graph::ImageName;
use bld_solver::graph::Variable;
use bld_solver::graph::Vertex;
use bld_solver::keys;
use bld_solver::op::Op;

use super::case::Case;
use super::case::known_early;
use super::exec;
use super::file;
use super::source;

/// Which keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) definition: bool,
    pub(super) content: bool,
    pub(super) operation: bool,
}

pub(super) const ALL: Effect = Effect { definition: true, content: true, operation: true };
pub(super) const NONE: Effect = Effect { definition: false, content: false, operation: false };
const DEFINITION: Effect = Effect { definition: true, content: false, operation: false };
const CONTENT: Effect = Effect { definition: false, content: true, operation: false };

/// A value that differs from another in one place.
#[derive(Debug, Clone)]
pub(super) struct Change<T> {
    /// The place: `exec.mounts.cache.id`.
    pub(super) what: String,
    pub(super) effect: Effect,
    pub(super) to: T,
}

/// Changes of a value.
#[derive(Debug)]
pub(super) struct Changes<'a, T> {
    name: &'static str,
    from: &'a T,
    list: Vec<Change<T>>,
}

impl<'a, T: Clone + PartialEq + std::fmt::Debug> Changes<'a, T> {
    pub(super) fn of(name: &'static str, from: &'a T) -> Changes<'a, T> {
        Changes { name, from, list: Vec::new() }
    }

    /// Values of a field that enters every key.
    pub(super) fn keyed<V>(&mut self, field: &str, values: impl IntoIterator<Item = V>, set: impl Fn(&mut T, V)) {
        self.set(field, ALL, values, set);
    }

    /// Values of a field that enters none.
    pub(super) fn unkeyed<V>(&mut self, field: &str, values: impl IntoIterator<Item = V>, set: impl Fn(&mut T, V)) {
        self.set(field, NONE, values, set);
    }

    pub(super) fn set<V>(
        &mut self,
        field: &str,
        effect: Effect,
        values: impl IntoIterator<Item = V>,
        set: impl Fn(&mut T, V),
    ) {
        let inner = values.into_iter().map(|to| Change { what: String::new(), effect, to });
        self.inside(field, inner, set);
    }

    /// Changes inside of a field.
    pub(super) fn inside<V>(
        &mut self,
        field: &str,
        changes: impl IntoIterator<Item = Change<V>>,
        set: impl Fn(&mut T, V),
    ) {
        for Change { what, effect, to: value } in changes {
            let mut to = self.from.clone();
            set(&mut to, value);
            // Two equal neighbours change nothing if they change places.
            if to != *self.from {
                let place = [self.name, field, &what].into_iter().filter(|part| !part.is_empty());
                self.list.push(Change { what: place.collect::<Vec<_>>().join("."), effect, to });
            }
        }
    }

    pub(super) fn list(self) -> Vec<Change<T>> {
        self.list
    }
}

/// Everything that can be changed about a vertex and what it is given.
pub(super) fn of_case(case: &Case) -> Vec<Change<Case>> {
    let mut changes = Changes::of("", case);
    let Case { vertex, inputs, digests } = case;
    changes.inside("", of_vertex(vertex), |case, to| case.vertex = to);
    let only_first = matches!(vertex.op, Op::File(_) | Op::Exec(_));
    for (index, (definition, state)) in inputs.iter().enumerate() {
        let other = keys::definition_key(&Op::Merge, &[*definition], &[]).0;
        changes.set("definition of an input", DEFINITION, [other], |case, to| case.inputs[index].0 = to);
        let (what, effect) = if index > 0 && only_first {
            ("state of an input that is copied from", NONE)
        } else {
            ("state of an input", CONTENT)
        };
        changes.set(what, effect, [state.push(&[9; 32])], |case, to| case.inputs[index].1 = to);
    }
    let extra = (keys::definition_key(&Op::Merge, &[], &[]).0, StateId::scratch());
    let one_more = Effect { operation: false, ..ALL };
    changes.set("inputs", one_more, [extra], |case, to| case.inputs.push(to));
    let early = known_early(&vertex.op);
    for (index, digest) in digests.iter().enumerate() {
        let mut other = *digest;
        other[index] ^= 1;
        let (what, effect) = match early.get(index) {
            Some(true) => ("digest of a context or a pin", ALL),
            Some(false) => ("digest of an input's files", CONTENT),
            None => ("digest nobody asks for", NONE),
        };
        changes.set(what, effect, [other], |case, to| case.digests[index] = to);
    }
    changes.list()
}

fn of_vertex(vertex: &Vertex) -> Vec<Change<Vertex>> {
    let mut changes = Changes::of("vertex", vertex);
    let Vertex { op, name, span, stage, step, platform, no_cache, cached_only, exported, variables, image } = vertex;
    changes.inside("", of_op(op), |vertex, to| vertex.op = to);
    changes.unkeyed("name", texts(name), |vertex, to| vertex.name = to);
    changes.unkeyed("span", options(span.as_ref(), Span::new(7, 9)), |vertex, to| vertex.span = to);
    changes.unkeyed("stage", texts(stage), |vertex, to| vertex.stage = to);
    changes.unkeyed("step", options(step.as_ref(), 7), |vertex, to| vertex.step = to);
    changes.unkeyed("platform", texts(platform), |vertex, to| vertex.platform = to);
    changes.unkeyed("no_cache", [!no_cache], |vertex, to| vertex.no_cache = to);
    changes.unkeyed("cached_only", [!cached_only], |vertex, to| vertex.cached_only = to);
    changes.unkeyed("exported", [!exported], |vertex, to| vertex.exported = to);
    let variable = Variable { source: VariableSource::Arg, name: "A".to_owned(), value: "b".to_owned() };
    changes.unkeyed("variables", lists(variables, &variable), |vertex, to| vertex.variables = to);
    let known = ImageName { name: "image".to_owned(), digest: None };
    changes.unkeyed("image", options(image.as_ref(), known), |vertex, to| vertex.image = to);
    changes.list()
}

fn of_op(op: &Op) -> Vec<Change<Op>> {
    let mut changes = Changes::of("", op);
    match op {
        Op::Source(inner) => changes.inside("source", source::of_source(inner), |op, to| *op = Op::Source(to)),
        Op::Exec(inner) => changes.inside("exec", exec::of_exec(inner), |op, to| *op = Op::Exec(to)),
        Op::File(inner) => changes.inside("file", file::of_file(inner), |op, to| *op = Op::File(to)),
        Op::Merge => {}
    }
    // Operations of another kind, with as many digests as this one, so that nothing else differs.
    let others = super::examples::operations().into_iter().map(|(_, other, _)| other);
    let kind = std::mem::discriminant(op);
    let others = others.filter(|other| std::mem::discriminant(other) != kind && known_early(other) == known_early(op));
    changes.keyed("kind", others, |op, to| *op = to);
    changes.list()
}

/// Other texts.
pub(super) fn texts(text: &str) -> Vec<String> {
    vec![format!("{text}x"), format!("{text}\n"), text.chars().skip(1).collect(), String::new()]
}

/// Other paths.
pub(super) fn paths(path: &ImagePath) -> Vec<ImagePath> {
    vec![path.join("x"), ImagePath::root(), ImagePath::new("/else/where")]
}

/// Other lists: one more, one less, two changed places, one changed.
pub(super) fn lists<T: Clone>(list: &[T], another: &T) -> Vec<Vec<T>> {
    let mut others =
        vec![[list, std::slice::from_ref(another)].concat(), [std::slice::from_ref(another), list].concat()];
    if let [first, rest @ ..] = list {
        others.push(rest.to_vec());
        others.push([std::slice::from_ref(another), rest].concat());
        others.push([rest, std::slice::from_ref(first)].concat());
    }
    others
}

/// Other lists of texts, one of them with a letter moved over the border between two.
pub(super) fn text_lists(list: &[String]) -> Vec<Vec<String>> {
    let mut others = lists(list, &String::new());
    others.extend(lists(list, &"x".to_owned()));
    if let [first, second, rest @ ..] = list
        && let Some(last) = first.chars().last()
    {
        let short = first[..first.len() - last.len_utf8()].to_owned();
        others.push([vec![short, format!("{last}{second}")], rest.to_vec()].concat());
        others.push([vec![format!("{first}{second}")], rest.to_vec()].concat());
    }
    others
}

/// Nothing, and another value.
pub(super) fn options<T: Clone>(option: Option<&T>, another: T) -> Vec<Option<T>> {
    vec![option.map_or_else(|| Some(another.clone()), |_| None), Some(another)]
}
