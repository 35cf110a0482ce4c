//! Everything below a directory of a view that a copy takes, in tree order.
//!
//! The walk goes level by level: the directories of one level are read in parallel, and depth costs no stack. A directory that is
//! not taken itself appears if something below it is.

use bld_oci::ImagePath;
use bld_parser::glob::Glob;
use bld_parser::ignorefile::Patterns;
use rayon::prelude::*;

use super::error::CopyError;
use super::select::Entry;
use crate::view::TreeView;
use crate::view::ViewError;
use crate::view::ViewKind;

/// What is below `root`: of that what matches `include` (or is below a match), without what `exclude` takes away.
pub(super) fn walk(
    view: &dyn TreeView,
    root: &ImagePath,
    include: Option<&Glob>,
    exclude: Option<&Patterns>,
) -> Result<Vec<Entry>, CopyError> {
    let filter = Filter { include, exclude };
    let mut levels: Vec<Vec<Found>> = vec![list(view, root, &[], &filter)?];
    let mut pending: Vec<(usize, usize)> = positions(&levels, 0);
    while !pending.is_empty() {
        let lists: Vec<Vec<Found>> = pending
            .par_iter()
            .map(|(level, position)| list(view, root, &levels[*level][*position].entry.relative, &filter))
            .collect::<Result<_, ViewError>>()?;
        let mut next = Vec::new();
        for ((level, position), children) in pending.into_iter().zip(lists) {
            levels[level][position].children = Some(levels.len());
            levels.push(children);
            next.extend(positions(&levels, levels.len() - 1));
        }
        pending = next;
    }
    Ok(flatten(levels))
}

/// Whether `--exclude` takes `relative` away.
pub(super) fn matches(patterns: &Patterns, relative: &[u8]) -> bool {
    patterns.matches(relative).is_excluded()
}

struct Filter<'a> {
    include: Option<&'a Glob>,
    exclude: Option<&'a Patterns>,
}

impl Filter<'_> {
    fn takes(&self, relative: &[u8]) -> bool {
        self.include.is_none_or(|include| include.matches_or_parent(relative))
            && !self.exclude.is_some_and(|exclude| matches(exclude, relative))
    }

    fn takes_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// `relative`, or something below it if it is a directory.
    fn may_take(&self, relative: &[u8]) -> bool {
        self.takes(relative) || self.may_take_below(relative)
    }

    fn may_take_below(&self, directory: &[u8]) -> bool {
        self.include.is_none_or(|include| include.matches_or_parent(directory) || include.may_match_below(directory))
            && self.exclude.is_none_or(|exclude| exclude.may_match_below(directory))
    }
}

/// An entry, whether it is taken for its own sake, and where its children are listed.
struct Found {
    entry: Entry,
    taken: bool,
    children: Option<usize>,
}

fn list(view: &dyn TreeView, root: &ImagePath, relative: &[u8], filter: &Filter<'_>) -> Result<Vec<Found>, ViewError> {
    let directory = root.join(relative);
    let below = |name: &[u8]| {
        let mut below = Vec::with_capacity(relative.len() + 1 + name.len());
        below.extend_from_slice(relative);
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(name);
        below
    };
    let is_wanted = |name: &[u8]| filter.takes_all() || filter.may_take(&below(name));
    let entries = view.entries(&directory, &is_wanted)?;
    let found = entries.into_iter().filter_map(|(name, node)| {
        let relative = below(&name);
        let taken = filter.takes(&relative);
        let is_passed_through = !taken && node.kind == ViewKind::Directory;
        (taken || is_passed_through).then_some(Found { entry: Entry { relative, node }, taken, children: None })
    });
    Ok(found.collect())
}

fn positions(levels: &[Vec<Found>], level: usize) -> Vec<(usize, usize)> {
    let found = levels[level].iter().enumerate();
    found.filter(|(_, found)| found.entry.node.kind == ViewKind::Directory).map(|(index, _)| (level, index)).collect()
}

/// The lists in tree order, without directories that were only passed through for nothing.
fn flatten(levels: Vec<Vec<Found>>) -> Vec<Entry> {
    let mut lists: Vec<std::vec::IntoIter<Found>> = levels.into_iter().map(Vec::into_iter).collect();
    let mut out: Vec<Entry> = Vec::new();
    // Directories passed through and not yet emitted, with the number of open lists they belong to.
    let mut waiting: Vec<(usize, Entry)> = Vec::new();
    let mut open = vec![0];
    while let Some(list) = open.last().copied() {
        let Some(found) = lists[list].next() else {
            open.pop();
            while waiting.last().is_some_and(|(depth, _)| *depth >= open.len()) {
                waiting.pop();
            }
            continue;
        };
        if found.taken {
            out.extend(waiting.drain(..).map(|(_, entry)| entry));
            out.push(found.entry);
        } else {
            waiting.push((open.len(), found.entry));
        }
        if let Some(children) = found.children {
            open.push(children);
        }
    }
    out
}
