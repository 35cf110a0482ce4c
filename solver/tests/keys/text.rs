//! Pairs of Dockerfiles: whether their last step is the same step.
//!
//! ```text
//! == COPY --chmod: same          what it is about, and what holds
//! COPY --chmod=644 a /           `FROM alpine` stands before it unless there is a FROM
//! --
//! COPY --chmod=0644 a /
//! ```
//! `same`: every key is equal. `different`: none is. `apart`: the result is the same, but bld does not see it and builds again.
//! `refused`: the second one is no Dockerfile that bld builds.

use std::path::Path;

use bld_cache::key::CacheKey;
use bld_cache::record::StateId;
use bld_oci::ChainId;
use bld_oci::Digest;
use bld_solver::keys;
use bld_solver::keys::Selection;
use bld_solver::lower::Plan;
use bld_solver::op::CopyFrom;
use bld_solver::op::Op;
use bld_solver::op::Source;
use bld_solver::remote::GitSource;
use bld_solver::remote::HttpSource;

use crate::golden;
use crate::lower;

/// A pair and what holds of it.
#[derive(Debug)]
pub(super) struct Row {
    /// `COPY --chmod`.
    pub(super) about: String,
    expected: Expected,
    pub(super) texts: [String; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Same,
    Different,
    Apart,
    Refused,
}

pub(super) fn rows() -> Vec<Row> {
    let table = std::fs::read_to_string(golden::testdata("keys.table")).unwrap();
    table.split("\n== ").skip(1).map(row).collect()
}

fn row(text: &str) -> Row {
    let (title, body) = text.split_once('\n').unwrap();
    let (about, expected) = title.rsplit_once(": ").unwrap_or_else(|| panic!("{title}"));
    let expected = match expected {
        "same" => Expected::Same,
        "different" => Expected::Different,
        "apart" => Expected::Apart,
        "refused" => Expected::Refused,
        other => panic!("{title}: `{other}`"),
    };
    let (one, other) = body.split_once("\n--\n").unwrap_or_else(|| panic!("{title}: one Dockerfile"));
    let whole = |text: &str| {
        let has_base = text.lines().any(|line| line.to_ascii_uppercase().starts_with("FROM "));
        format!("{}{}\n", if has_base { "" } else { "FROM alpine\n" }, text.trim_end())
    };
    Row { about: about.to_owned(), expected, texts: [whole(one), whole(other)] }
}

#[test]
fn the_same_step_has_the_same_keys() {
    let mut wrong = Vec::new();
    let rows = rows();
    for Row { about, expected, texts: [one, other] } in &rows {
        let first = keys_of(one).unwrap_or_else(|error| panic!("{about}: {error}\n{one}"));
        let found = match keys_of(other) {
            Err(_) => vec![Expected::Refused],
            Ok(second) if first == second => vec![Expected::Same],
            // One key that differs and one that does not is neither.
            Ok(second) if first.0 != second.0 && first.1 != second.1 => vec![Expected::Different, Expected::Apart],
            Ok(_) => Vec::new(),
        };
        if !found.contains(expected) {
            wrong.push(format!("{about}: {expected:?}, but is {found:?}\n{one}--\n{other}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows.len() > 150, "{}", rows.len());
}

/// Definition key and content key of the last step.
fn keys_of(text: &str) -> Result<(CacheKey, CacheKey), String> {
    let plan = lower::lowered(Path::new("keys.table"), text, &lower::resolver());
    let plan = plan.map_err(|errors| errors.iter().map(|error| error.diagnostic().message).collect::<String>())?;
    Ok(last_keys(&plan))
}

/// The keys if every step makes something of its own and every file of every context differs from every other.
fn last_keys(plan: &Plan) -> (CacheKey, CacheKey) {
    let mut made: Vec<(CacheKey, CacheKey, StateId)> = Vec::new();
    for (id, vertex) in plan.graph.iter() {
        let inputs: Vec<_> = plan.graph.inputs(id).into_iter().map(|input| made[input.index()]).collect();
        let (mut early, mut late) = (Vec::new(), Vec::new());
        if let Some(source) = keys::pinned(&vertex.op) {
            early.push(Some(pin(source)));
            late.push(pin(source));
        }
        for Selection { from, selector } in keys::selections(&vertex.op) {
            let tree = match &from {
                CopyFrom::Context(name) => digest(&["context", name]),
                CopyFrom::Input(index) => *inputs[index.0].2.as_bytes(),
            };
            let sources = selector.sources.join("\n");
            let taken = *Digest::of([&tree[..], sources.as_bytes()].concat().as_slice()).as_bytes();
            early.push(matches!(from, CopyFrom::Context(_)).then_some(taken));
            late.push(taken);
        }
        let definitions: Vec<CacheKey> = inputs.iter().map(|(definition, ..)| *definition).collect();
        let states: Vec<StateId> = inputs.iter().map(|(.., state)| *state).collect();
        let definition = keys::definition_key(&vertex.op, &definitions, &early).0;
        let content = keys::content_key(&vertex.op, &states, &late).0;
        let state = match &vertex.op {
            Op::Source(Source::Image { layers }) => {
                StateId::image(ChainId::of(layers.iter().map(|layer| layer.diff_id)))
            }
            _ => states.first().copied().unwrap_or_else(StateId::scratch).push(content.as_bytes()),
        };
        made.push((definition, content, state));
    }
    let (definition, content, _) = made[plan.images[0].target.index()];
    (definition, content)
}

/// What a source stands for: a URL or a reference is what it was, unless a checksum says what it is.
fn pin(source: &Source) -> [u8; 32] {
    match source {
        Source::Http(HttpSource { url, checksum, name }) => {
            let content = checksum.map_or_else(|| url.to_string(), |checksum| checksum.to_string());
            digest(&[&content, name])
        }
        Source::Git(GitSource { remote, reference, checksum, subdirectory, submodules, keep_git_dir, commit_time }) => {
            let commit = checksum.as_ref().or(reference.as_ref()).cloned().unwrap_or_default();
            let flags = format!("{submodules} {keep_git_dir} {commit_time}");
            digest(&[&remote.to_string(), &commit, subdirectory, &flags])
        }
        Source::Image { .. } | Source::Local { .. } => panic!("{source:?} is not pinned"),
    }
}

fn digest(parts: &[&str]) -> [u8; 32] {
    *Digest::of(parts.join("\0").as_bytes()).as_bytes()
}
