//! Changes of COPY, ADD and WORKDIR.

use bld_oci::ImagePath;
use bld_solver::op::CopyAction;
use bld_solver::op::Destination;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::Mkdir;
use bld_solver::op::Mkfile;
use bld_solver::op::ModeChange;
use bld_solver::op::Owner;
use bld_solver::op::Selector;

use super::changes::Change;
use super::changes::Changes;
use super::changes::lists;
use super::changes::options;
use super::changes::paths;
use super::changes::text_lists;
use super::changes::texts;
use super::exec::of_tree;

pub(super) fn of_file(file: &FileOp) -> Vec<Change<FileOp>> {
    let mut changes = Changes::of("", file);
    let FileOp { actions } = file;
    for (index, action) in actions.iter().enumerate() {
        changes.inside("actions", of_action(action), |file, to| file.actions[index] = to);
    }
    let another = FileAction::Mkdir(Mkdir { path: ImagePath::new("/x"), owner: None });
    changes.keyed("actions", [()], |file, ()| file.actions.push(another.clone()));
    changes.keyed("actions", [()], |file, ()| file.actions.insert(0, another.clone()));
    changes.list()
}

fn of_action(action: &FileAction) -> Vec<Change<FileAction>> {
    let mut changes = Changes::of("", action);
    match action {
        FileAction::Copy(inner) => changes.inside("copy", of_copy(inner), |action, to| *action = FileAction::Copy(to)),
        FileAction::Mkfile(inner) => {
            changes.inside("mkfile", of_mkfile(inner), |action, to| *action = FileAction::Mkfile(to));
        }
        FileAction::Mkdir(inner) => {
            changes.inside("mkdir", of_mkdir(inner), |action, to| *action = FileAction::Mkdir(to));
        }
    }
    changes.list()
}

fn of_copy(copy: &CopyAction) -> Vec<Change<CopyAction>> {
    let mut changes = Changes::of("", copy);
    let CopyAction { from, selector, destination, owner, mode, unpack } = copy;
    changes.inside("from", of_tree(from), |copy, to| copy.from = to);
    changes.inside("selector", of_selector(selector), |copy, to| copy.selector = to);
    changes.inside("destination", of_destination(destination), |copy, to| copy.destination = to);
    changes.inside("owner", of_owner(owner.as_ref()), |copy, to| copy.owner = to);
    changes.inside("mode", of_mode(mode.as_ref()), |copy, to| copy.mode = to);
    let others = [None, Some(false), Some(true)].into_iter().filter(|other| other != unpack);
    changes.keyed("unpack", others, |copy, to| copy.unpack = to);
    changes.list()
}

fn of_selector(selector: &Selector) -> Vec<Change<Selector>> {
    let mut changes = Changes::of("", selector);
    let Selector { sources, exclude, parents, tree } = selector;
    changes.keyed("sources", text_lists(sources), |selector, to| selector.sources = to);
    changes.keyed("exclude", text_lists(exclude), |selector, to| selector.exclude = to);
    changes.keyed("parents", [!parents], |selector, to| selector.parents = to);
    changes.unkeyed("tree", texts(tree), |selector, to| selector.tree = to);
    changes.list()
}

fn of_destination(destination: &Destination) -> Vec<Change<Destination>> {
    let mut changes = Changes::of("", destination);
    let Destination { path, is_directory } = destination;
    changes.keyed("path", paths(path), |destination, to| destination.path = to);
    changes.keyed("is_directory", [!is_directory], |destination, to| destination.is_directory = to);
    changes.list()
}

fn of_owner(owner: Option<&Owner>) -> Vec<Change<Option<Owner>>> {
    let from = owner.cloned();
    let mut changes = Changes::of("", &from);
    let another = Owner { user: "7".to_owned(), group: None };
    changes.keyed("", options(owner, another), |owner, to| *owner = to);
    if let Some(Owner { user, group }) = owner {
        changes.keyed("user", texts(user), |owner, to| owner.as_mut().unwrap().user = to);
        let groups = options(group.as_ref(), "7".to_owned());
        changes.keyed("group", groups, |owner, to| owner.as_mut().unwrap().group = to);
    }
    changes.list()
}

fn of_mode(mode: Option<&ModeChange>) -> Vec<Change<Option<ModeChange>>> {
    let from = mode.cloned();
    let mut changes = Changes::of("", &from);
    changes.keyed("", options(mode, ModeChange::Absolute(0o421)), |mode, to| *mode = to);
    match mode {
        None => {}
        Some(ModeChange::Absolute(bits)) => {
            changes.keyed("octal", [bits ^ 1, bits | 0o4000], |mode, to| *mode = Some(ModeChange::Absolute(to)));
            // The same digits as text are something else.
            changes.keyed("kind", [format!("{bits:04o}")], |mode, to| *mode = Some(ModeChange::Symbolic(to)));
        }
        Some(ModeChange::Symbolic(text)) => {
            changes.keyed("symbolic", texts(text), |mode, to| *mode = Some(ModeChange::Symbolic(to)));
        }
    }
    changes.list()
}

fn of_mkfile(file: &Mkfile) -> Vec<Change<Mkfile>> {
    let mut changes = Changes::of("", file);
    let Mkfile { name, destination, body, mode, owner } = file;
    changes.keyed("name", texts(name), |file, to| file.name = to);
    changes.inside("destination", of_destination(destination), |file, to| file.destination = to);
    changes.keyed("body", lists(body, &0xff), |file, to| file.body = to);
    changes.inside("mode", of_mode(mode.as_ref()), |file, to| file.mode = to);
    changes.inside("owner", of_owner(owner.as_ref()), |file, to| file.owner = to);
    changes.list()
}

fn of_mkdir(directory: &Mkdir) -> Vec<Change<Mkdir>> {
    let mut changes = Changes::of("", directory);
    let Mkdir { path, owner } = directory;
    changes.keyed("path", paths(path), |directory, to| directory.path = to);
    changes.inside("owner", of_owner(owner.as_ref()), |directory, to| directory.owner = to);
    changes.list()
}
