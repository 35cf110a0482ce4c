//! What the sources of a COPY stand for.
//!
//! A source is cleaned as if written at the root of its tree (`..` stops there). Up to its first component with a wildcard it is
//! resolved with all links followed; the rest is matched name by name, and links are not entered. What a source names is followed
//! once more if it is a link; links inside a directory are taken as links. A directory stands for what it holds.

use bld_oci::ImagePath;
use bld_parser::glob::Glob;
use bld_parser::ignorefile::Patterns;
use bld_parser::suggest::nearest_file;
use bld_solver::op::Selector;

use super::error::CopyError;
use super::error::Missing;
use super::error::Note;
use super::walk::walk;
use crate::context::ContextTree;
use crate::context::Exclusions;
use crate::view::TreeView;
use crate::view::ViewKind;
use crate::view::ViewNode;
use crate::view::resolve;

/// The tree a copy reads, and whoever can say why something is missing in it.
#[derive(Clone, Copy)]
pub struct CopySource<'a> {
    /// The tree.
    pub view: &'a dyn TreeView,
    /// Explains what an ignore file took away.
    pub exclusions: Option<&'a dyn Exclusions>,
}

impl<'a> CopySource<'a> {
    /// A tree in which nothing is hidden.
    pub fn new(view: &'a dyn TreeView) -> CopySource<'a> {
        CopySource { view, exclusions: None }
    }

    /// A build context.
    pub fn context(tree: &'a ContextTree) -> CopySource<'a> {
        CopySource { view: tree, exclusions: Some(tree) }
    }
}

impl std::fmt::Debug for CopySource<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CopySource").finish_non_exhaustive()
    }
}

/// Everything a selector picks from a tree.
#[derive(Debug)]
pub struct Selection {
    pub(super) picks: Vec<Pick>,
    /// What the user should hear about.
    pub notes: Vec<Note>,
}

/// What one source, or one match of a pattern, stands for.
#[derive(Debug)]
pub(super) struct Pick {
    /// As written in the Dockerfile (for a pattern: the match).
    pub(super) written: String,
    /// The name it gets in a directory.
    pub(super) name: Vec<u8>,
    /// Where it really is.
    pub(super) path: ImagePath,
    /// What is there.
    pub(super) node: ViewNode,
    /// What the directory holds, in tree order; nothing for other kinds.
    pub(super) entries: Vec<Entry>,
    /// Made of `--parents`: the directory is only where the parents begin, not a source itself.
    pub(super) pivot: bool,
}

/// Something in a picked directory.
#[derive(Debug)]
pub(super) struct Entry {
    /// Path below the picked directory.
    pub(super) relative: Vec<u8>,
    /// What is there.
    pub(super) node: ViewNode,
}

impl Pick {
    /// Where `entry` is in the source tree.
    pub(super) fn entry_path(&self, entry: &Entry) -> ImagePath {
        self.path.join(&entry.relative)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.node.kind == ViewKind::Directory
    }
}

/// Finds out what `selector` picks.
pub fn select(source: CopySource<'_>, selector: &Selector) -> Result<Selection, CopyError> {
    let exclude = patterns(&selector.exclude)?;
    let mut selection = Selection { picks: Vec::new(), notes: Vec::new() };
    let mut all_missing = Vec::new();
    for (index, written) in selector.sources.iter().enumerate() {
        let outcome = if selector.parents {
            select_with_parents(source, written, exclude.as_ref(), &mut selection)
        } else {
            select_one(source, written, exclude.as_ref(), &mut selection)
        };
        match outcome {
            Err(CopyError::NotFound { mut missing }) => {
                let name = name_with_blanks(source.view, &selector.sources, index);
                for missing in &mut missing {
                    missing.name_with_blanks.clone_from(&name);
                }
                all_missing.extend(missing);
            }
            outcome => outcome?,
        }
    }
    for missing in &mut all_missing {
        missing.tree.clone_from(&selector.tree);
    }
    if all_missing.is_empty() { Ok(selection) } else { Err(CopyError::NotFound { missing: all_missing }) }
}

/// The name that the source at `index` is a part of, if there is one: without quotes, blanks cut a name in pieces.
fn name_with_blanks(view: &dyn TreeView, sources: &[String], index: usize) -> Option<String> {
    const MOST_WORDS: usize = 6;
    let first = index.saturating_sub(MOST_WORDS - 1);
    let runs =
        (first..=index).flat_map(|from| (index + 1..=sources.len().min(from + MOST_WORDS)).map(move |to| (from, to)));
    let names = runs.filter(|(from, to)| to - from > 1).filter_map(|(from, to)| Some(sources.get(from..to)?.join(" ")));
    let is_there = |name: &String| resolve(view, &ImagePath::new(name), true).is_ok_and(|(_, node)| node.is_some());
    names.into_iter().find(is_there)
}

fn select_one(
    source: CopySource<'_>,
    written: &str,
    exclude: Option<&Patterns>,
    selection: &mut Selection,
) -> Result<(), CopyError> {
    let asked = ImagePath::new(written);
    let components: Vec<&[u8]> = asked.components().collect();
    let Some(first) = components.iter().position(|component| is_pattern(component)) else {
        let (path, node) = resolve(source.view, &asked, true)?;
        let node = node.ok_or_else(|| not_found(source, written, &asked))?;
        return pick(source, written.to_owned(), &asked, (path, node), exclude, selection);
    };
    let globs = components[first..].iter().map(|component| glob(written, component)).collect::<Result<Vec<_>, _>>()?;
    let fixed = ImagePath::new(components[..first].join(&b'/'));
    let (base, node) = resolve(source.view, &fixed, true)?;
    let mut matches = vec![base];
    if !node.is_some_and(|node| node.kind == ViewKind::Directory) {
        matches.clear();
    }
    for glob in &globs {
        let mut next = Vec::new();
        for directory in &matches {
            let names = source.view.children(directory)?;
            next.extend(names.iter().filter(|name| glob.matches(name)).map(|name| directory.join(name)));
        }
        matches = next;
    }
    let before = selection.picks.len();
    for found in matches {
        let name = String::from_utf8_lossy(found.relative()).into_owned();
        let (path, node) = resolve(source.view, &found, true)?;
        let node = node.ok_or_else(|| not_found(source, &name, &found))?;
        pick(source, name, &found, (path, node), exclude, selection)?;
    }
    if selection.picks.len() == before {
        let excluded = source.exclusions.and_then(|exclusions| exclusions.excluded_by(&asked));
        selection.notes.push(Note::NoMatch { pattern: written.to_owned(), excluded });
    }
    Ok(())
}

fn pick(
    source: CopySource<'_>,
    written: String,
    asked: &ImagePath,
    (path, node): (ImagePath, ViewNode),
    exclude: Option<&Patterns>,
    selection: &mut Selection,
) -> Result<(), CopyError> {
    let name = asked.file_name().unwrap_or_default().to_vec();
    let mut entries = Vec::new();
    if node.kind == ViewKind::Directory {
        entries = walk(source.view, &path, None, exclude)?;
    } else if exclude.is_some_and(|patterns| super::walk::matches(patterns, &name)) {
        return Ok(());
    }
    selection.picks.push(Pick { written, name, path, node, entries, pivot: false });
    Ok(())
}

fn select_with_parents(
    source: CopySource<'_>,
    written: &str,
    exclude: Option<&Patterns>,
    selection: &mut Selection,
) -> Result<(), CopyError> {
    let (base, wanted) = written.split_once("/./").unwrap_or(("/", written));
    let base = ImagePath::new(base);
    let wanted = ImagePath::new(wanted);
    let (path, node) = resolve(source.view, &base, true)?;
    let node = node.filter(|node| node.kind == ViewKind::Directory).ok_or_else(|| not_found(source, written, &base))?;
    let is_literal = !wanted.components().any(is_pattern);
    if is_literal {
        let target = path.join(wanted.relative());
        resolve(source.view, &target, false)?.1.ok_or_else(|| not_found(source, written, &target))?;
    }
    let include = if wanted.is_root() {
        None
    } else {
        let include = Glob::with_double_star(wanted.relative());
        Some(include.map_err(|error| CopyError::BadPattern { pattern: written.to_owned(), source: Box::new(error) })?)
    };
    let entries = walk(source.view, &path, include.as_ref(), exclude)?;
    // A literal path behind a link exists, but links are not entered here: saying so beats copying nothing in silence.
    if entries.is_empty() && !wanted.is_root() {
        let excluded = source.exclusions.and_then(|exclusions| exclusions.excluded_by(&path.join(wanted.relative())));
        selection.notes.push(Note::NoMatch { pattern: written.to_owned(), excluded });
    }
    selection.picks.push(Pick { written: written.to_owned(), name: Vec::new(), path, node, entries, pivot: true });
    Ok(())
}

/// Whether a component has a wildcard in it that is not escaped; one without is taken as it stands, backslashes and all.
fn is_pattern(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

fn glob(written: &str, component: &[u8]) -> Result<Glob, CopyError> {
    Glob::new(component).map_err(|error| CopyError::BadPattern { pattern: written.to_owned(), source: Box::new(error) })
}

/// The patterns of `--exclude`; `None` if there are none.
fn patterns(list: &[String]) -> Result<Option<Patterns>, CopyError> {
    if list.is_empty() {
        return Ok(None);
    }
    let patterns = Patterns::from_list(list.iter().map(String::as_str));
    patterns.map(Some).map_err(|error| CopyError::BadPattern { pattern: list.join(" "), source: Box::new(error) })
}

/// The error for a source that is not there, with the best explanation that can be found.
fn not_found(source: CopySource<'_>, written: &str, asked: &ImagePath) -> CopyError {
    let is_context = source.exclusions.is_some();
    // Relative to what people work in, absolute in an image.
    let shown = |path: &str| if is_context { path.to_owned() } else { format!("/{}", path.trim_start_matches('/')) };
    let gap = gap(source.view, asked);
    let excluded = source.exclusions.and_then(|exclusions| {
        let real = || Some(resolve(source.view, asked, true).ok()?.0);
        exclusions.excluded_by(asked).or_else(|| exclusions.excluded_by(&real()?))
    });
    let (link, suggestion) = match gap {
        Some(Gap::Link { link, target }) => {
            let link = String::from_utf8_lossy(link.relative()).into_owned();
            (Some((shown(&link), String::from_utf8_lossy(&target).into_owned())), None)
        }
        Some(Gap::Near(path)) => (None, Some(shown(&String::from_utf8_lossy(path.relative())))),
        None => (None, None),
    };
    let missing = Missing {
        source_path: shown(written),
        tree: String::new(),
        link,
        leaves: is_context && leaves(written),
        suggestion,
        name_with_blanks: None,
        excluded,
    };
    CopyError::NotFound { missing: vec![missing] }
}

/// Whether a path is written as if it did not begin at the root of its tree, or left that.
fn leaves(written: &str) -> bool {
    let mut depth = 0_usize;
    for component in written.split('/') {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    written.starts_with('/')
}

/// What is known of the first component of a path that leads nowhere.
enum Gap {
    /// It is a link to nothing.
    Link { link: ImagePath, target: Vec<u8> },
    /// The path would exist, were the component the existing name most like it.
    Near(ImagePath),
}

fn gap(view: &dyn TreeView, asked: &ImagePath) -> Option<Gap> {
    /// Almost anything is like a shorter name.
    const SHORTEST: usize = 3;
    let mut at = ImagePath::root();
    let mut components = asked.components();
    while let Some(component) = components.next() {
        let next = at.join(component);
        let (real, node) = resolve(view, &next, true).ok()?;
        if node.is_some() {
            at = real;
            continue;
        }
        if let (link, Some(ViewNode { kind: ViewKind::Symlink { target }, .. })) = resolve(view, &next, false).ok()? {
            return Some(Gap::Link { link, target });
        }
        let wrong = String::from_utf8_lossy(component);
        if wrong.chars().count() < SHORTEST {
            return None;
        }
        let names = view.children(&at).ok()?;
        let names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
        let right = nearest_file(&wrong, names.iter().map(String::as_str).filter(|name| **name != *wrong))?;
        return Some(Gap::Near(components.fold(at.join(right), |path, rest| path.join(rest))));
    }
    None
}
