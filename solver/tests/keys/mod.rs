//! Keys: their format is fixed by a golden file, their meaning by random vertices (`random`) of which everything is changed, one
//! thing at a time (`changes`), and by pairs of Dockerfiles (`text`).

mod case;
mod changes;
mod coverage;
mod examples;
mod exec;
mod file;
mod random;
mod source;
mod text;

use std::collections::BTreeMap;
use std::collections::HashMap;

use bld_cache::record::StateId;
use bld_oci::ImagePath;
use bld_solver::keys;
use bld_solver::op::CopyFrom;
use bld_solver::op::ExecMount;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::InputIndex;
use bld_solver::op::MountContent;
use bld_solver::op::Op;

use self::case::Case;
use self::case::Keys;
use self::changes::Effect;

#[test]
fn an_input_that_is_only_copied_from_enters_by_its_files() {
    let op =
        Op::File(FileOp { actions: vec![FileAction::Copy(examples::example_copy(CopyFrom::Input(InputIndex(1))))] });
    let (one, two) = (StateId::scratch(), StateId::scratch().push(&[1; 32]));
    let key = |base, from, digest| keys::content_key(&op, &[base, from], &[digest]).0;
    assert_eq!(key(one, one, [1; 32]), key(one, two, [1; 32]));
    assert_ne!(key(one, one, [1; 32]), key(one, one, [2; 32]));
    assert_ne!(key(one, one, [1; 32]), key(two, one, [1; 32]));
}

#[test]
fn a_tree_that_is_only_mounted_enters_by_its_files() {
    let mut exec = examples::example_exec();
    exec.mounts = examples::example_mounts().drain(1..2).collect();
    let op = Op::Exec(exec.clone());
    let (one, two) = (StateId::scratch(), StateId::scratch().push(&[1; 32]));
    let key = |base, from, digest| keys::content_key(&op, &[base, from], &[digest]).0;
    assert_eq!(key(one, one, [1; 32]), key(one, two, [1; 32]));
    assert_ne!(key(one, one, [1; 32]), key(one, one, [2; 32]));
    assert_ne!(key(one, one, [1; 32]), key(two, one, [1; 32]));
    // Before the input is known, another part of it is another step.
    let input = keys::definition_key(&Op::Merge, &[], &[]).0;
    let definition = |op: &Op| keys::definition_key(op, &[input, input], &[None]).0;
    let ExecMount::Bind(bind) = &mut exec.mounts[0] else { panic!("{exec:?}") };
    bind.from.source = bind.from.source.join("x");
    assert_ne!(definition(&op), definition(&Op::Exec(exec)));
}

#[test]
fn a_mounted_path_is_no_pattern() {
    for (path, source) in [("/", "/"), ("/a/b\\c", "/a/b\\c"), ("/a\\b/c*[d]?/e\\f", "/a\\b/c[*][[]d][?]/e\\\\f")] {
        let content = MountContent { from: CopyFrom::Context("context".to_owned()), source: ImagePath::new(path) };
        assert_eq!(content.selection().selector.sources, [source]);
    }
}

#[test]
fn definition_and_content_keys_never_meet() {
    for (_, op, _) in examples::operations() {
        let digests = vec![[7; 32]; keys::selections(&op).len()];
        let known = digests.iter().copied().map(Some).collect::<Vec<_>>();
        assert_ne!(keys::definition_key(&op, &[], &known).0, keys::content_key(&op, &[], &digests).0);
    }
}

/// How many random vertices are looked at.
const VERTICES: usize = 2000;

#[test]
fn a_change_shows_in_the_keys_it_means_something_to() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in random::cases(VERTICES) {
        let before = case.keys();
        for change in changes::of_case(&case) {
            *seen.entry(change.what.clone()).or_default() += 1;
            let after = change.to.keys();
            let effect = Effect {
                definition: before.definition != after.definition,
                content: before.content != after.content,
                operation: before.operation != after.operation,
            };
            if effect != change.effect {
                wrong.push(format!("{}: {effect:?} instead of {:?}\n{case:?}\n", change.what, change.effect));
            }
        }
    }
    assert!(wrong.is_empty(), "{} changes, the first: {}", wrong.len(), wrong[0]);
    // Nothing is left out by chance.
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 50).collect();
    assert!(rare.is_empty() && seen.len() > 100, "{} places, rare are {rare:?}", seen.len());
}

#[test]
fn equal_meaning_is_equal_key() {
    let mut known = Known::default();
    for case in random::cases(VERTICES) {
        known.add(&case);
        // The nearest neighbours there are.
        let changes = changes::of_case(&case);
        for change in changes.iter().step_by(changes.len() / 8 + 1) {
            known.add(&change.to);
        }
    }
    // Else nothing was shown.
    assert!(known.met_again > VERTICES, "only {} vertices were met again", known.met_again);
}

/// Keys by meaning, and meanings by key.
#[derive(Default)]
struct Known {
    keys: [HashMap<String, [u8; 32]>; 3],
    meanings: HashMap<[u8; 32], String>,
    met_again: usize,
}

impl Known {
    fn add(&mut self, case: &Case) {
        let meaning = case.meaning();
        let Keys { definition, content, operation } = case.keys();
        let pairs = [(meaning.definition, definition), (meaning.content, content), (meaning.operation, operation)];
        for (index, (meaning, key)) in pairs.into_iter().enumerate() {
            let key = *key.as_bytes();
            let meant = format!("{index} {meaning}");
            self.met_again += usize::from(self.keys[index].contains_key(&meaning));
            assert_eq!(*self.keys[index].entry(meaning).or_insert(key), key, "equal meaning, two keys: {meant}");
            assert_eq!(*self.meanings.entry(key).or_insert_with(|| meant.clone()), meant, "one key, two meanings");
        }
    }
}
