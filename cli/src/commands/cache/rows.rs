//! The results of a store with the steps they are of, and how people name them.

use std::path::Path;

use bld_cache::Store;
use bld_cache::store::CachedResult;

use crate::args::cache::Selection;
use crate::commands::steps;
use crate::environment;
use crate::error::CommandError;

/// So many digits of a key tell results apart well enough.
pub(super) const SHORT: usize = 12;

/// Fewer digits name no result.
const LEAST: usize = 4;

/// A result.
#[derive(Debug)]
pub(super) struct Row {
    /// As it is known.
    pub(super) result: CachedResult,
    /// What progress shows in brackets: `build 2/4`; empty if that is not known.
    pub(super) place: String,
    /// The instruction, variables expanded.
    pub(super) instruction: String,
    /// The stage: its name, or its number.
    pub(super) stage: String,
    /// The step's place in the stage.
    pub(super) step: Option<u32>,
    /// The project, as builds name it.
    pub(super) project: String,
    /// The bytes of the files of its own layers.
    pub(super) size: u64,
}

impl Row {
    fn new(result: CachedResult) -> Row {
        let origin = result.record.origin.as_ref();
        let name = origin.map(|origin| origin.name.as_str()).unwrap_or_default();
        let (place, instruction) = match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((place, instruction)) => (place.split_whitespace().collect::<Vec<_>>().join(" "), instruction),
            None => (String::new(), name),
        };
        let step = place.rsplit(' ').next().and_then(|count| count.split_once('/')?.0.parse().ok());
        let instruction = if origin.is_none() { "(base image)".to_owned() } else { instruction.to_owned() };
        let stage = origin.map(|origin| origin.stage.clone()).unwrap_or_default();
        let project = origin.map(|origin| origin.project.clone()).unwrap_or_default();
        let is_base = is_base(&instruction, result.record.origin.is_some());
        let own = if is_base { 0 } else { result.layer_sizes.len().saturating_sub(1) };
        let size = result.layer_sizes.iter().skip(own).sum();
        Row { result, place, instruction, stage, step, project, size }
    }

    /// All of the key that names it.
    pub(super) fn id(&self) -> String {
        self.result.keys.first().map(ToString::to_string).unwrap_or_default()
    }

    /// The beginning of the key that names it.
    pub(super) fn short_id(&self) -> String {
        self.id().chars().take(SHORT).collect()
    }

    /// Whether it is what others begin with, and not what a step made.
    pub(super) fn is_base(&self) -> bool {
        is_base(&self.instruction, self.result.record.origin.is_some())
    }

    /// The project as people know it: where its context is, and the Dockerfile if that is an unusual one.
    pub(super) fn shown_project(&self) -> String {
        shown_project(&self.project)
    }

    fn is_called(&self, id: &str) -> bool {
        self.result.keys.iter().any(|key| key.to_string().starts_with(id))
    }

    fn is_in_stage(&self, stage: &str) -> bool {
        is_stage(&self.stage, stage)
    }
}

/// A project as people know it.
pub(super) fn shown_project(project: &str) -> String {
    match project.split_once('\0') {
        Some((directory, dockerfile)) => {
            let inside = Path::new(dockerfile).strip_prefix(directory).ok().and_then(Path::to_str);
            format!("{directory} ({})", inside.unwrap_or(dockerfile))
        }
        None => project.to_owned(),
    }
}

fn is_base(instruction: &str, has_origin: bool) -> bool {
    !has_origin || instruction.starts_with("FROM ")
}

/// Whether a stage's label is meant, as it is or as progress shows it.
pub(super) fn is_stage(label: &str, wanted: &str) -> bool {
    label.eq_ignore_ascii_case(wanted) || wanted.strip_prefix("stage-").is_some_and(|number| number == label)
}

/// All results, those used last first.
pub(super) fn rows(store: &Store) -> Result<Vec<Row>, CommandError> {
    let mut rows: Vec<Row> = store.records().list()?.into_iter().map(Row::new).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.result.last_used, row.result.number)));
    Ok(rows)
}

/// What flags leave of the rows. Without `--project` and `--all` it is the project whose context the working directory is in.
pub(super) fn select(rows: Vec<Row>, selection: &Selection, all: bool) -> Result<Vec<Row>, CommandError> {
    let mut rows = match &selection.project {
        Some(directory) => of_project(rows, directory)?,
        None if all => rows,
        None => of_this_project(rows)?,
    };
    if let Some(stage) = &selection.stage {
        rows.retain(|row| row.is_in_stage(stage));
    }
    if let Some(step) = &selection.step {
        let (stage, number) = address(step).ok_or_else(|| {
            CommandError::usage(format!("`--step {step}` is no step")).hint("write 2 or build:2 for `[build 2/4]`")
        })?;
        rows.retain(|row| row.step == Some(number) && stage.is_none_or(|stage| row.is_in_stage(stage)));
    }
    Ok(rows)
}

/// The rows of the project with this build context.
pub(super) fn of_project(mut rows: Vec<Row>, directory: &Path) -> Result<Vec<Row>, CommandError> {
    let wanted = environment::absolute(directory)?;
    // Only compared with names, which builds note without links.
    let wanted = wanted.canonicalize().unwrap_or(wanted);
    rows.retain(|row| Path::new(steps::directory(&row.project)) == wanted);
    Ok(rows)
}

fn of_this_project(mut rows: Vec<Row>) -> Result<Vec<Row>, CommandError> {
    let here = environment::absolute(Path::new(""))?;
    let is_here = |row: &&Row| {
        let context = Path::new(steps::directory(&row.project));
        context.is_absolute() && here.starts_with(context)
    };
    if let Some(project) = rows.iter().find(is_here).map(|row| steps::directory(&row.project).to_owned()) {
        rows.retain(|row| steps::directory(&row.project) == project);
    }
    Ok(rows)
}

/// `build:2`, or just `2`.
fn address(text: &str) -> Option<(Option<&str>, u32)> {
    match text.rsplit_once(':') {
        Some((stage, step)) => Some((Some(stage), step.parse().ok()?)),
        None => Some((None, text.parse().ok()?)),
    }
}

/// Whether a step is named by its number: nobody types only digits of an ID, and so few of them.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let is_short = text.starts_with('#') || digits.len() < LEAST;
    is_short && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The results that an argument names: the one of an ID, or those of a step. Which of them comes first was used last.
pub(super) fn named<'a>(
    store: &Store,
    rows: &'a [Row],
    here: &[i64],
    text: &str,
) -> Result<Vec<&'a Row>, CommandError> {
    if is_number(text) {
        let record = steps::find_build(store, None)?;
        let key = &steps::find_step(&record, Some(text))?.key;
        return Ok(rows.iter().filter(|row| !key.is_empty() && row.is_called(key)).collect());
    }
    if let Some((Some(stage), step)) = address(text) {
        let fits = |row: &&Row| row.step == Some(step) && row.is_in_stage(stage) && here.contains(&row.result.number);
        return Ok(rows.iter().filter(fits).collect());
    }
    let id = text.to_ascii_lowercase();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(CommandError::usage(format!("`{text}` is neither an ID nor a step"))
            .hint("`bld cache ls` lists the results; a step is written build:2 for `[build 2/4]`"));
    }
    if id.len() < LEAST {
        return Err(CommandError::usage(format!("`{text}` is too short for an ID"))
            .hint(format!("write {LEAST} digits of it or more; a step is written build:2 for `[build 2/4]`")));
    }
    let found: Vec<&Row> = rows.iter().filter(|row| row.is_called(&id)).collect();
    if found.len() > 1 {
        let digits = (id.len() + 4).max(SHORT);
        let ids: Vec<String> = found.iter().take(4).map(|row| row.id().chars().take(digits).collect()).collect();
        let more = if found.len() > ids.len() { " ..." } else { "" };
        return Err(CommandError::failed(format!(
            "`{text}` could be {} results: {}{more}",
            found.len(),
            ids.join(", ")
        ))
        .hint("write more of the ID"));
    }
    Ok(found)
}

/// The numbers of the rows of this project; of all if the working directory is in none.
pub(super) fn numbers_here(store: &Store) -> Result<Vec<i64>, CommandError> {
    Ok(of_this_project(rows(store)?)?.iter().map(|row| row.result.number).collect())
}
