//! Answers to calls as text.

use std::fmt::Write as _;

use bld_parser::diagnostic::Diagnostic;
use bld_solver::lower::Outline;
use bld_solver::lower::OutlineMount;
use bld_solver::lower::Target;

use super::json::REQUESTS;
use crate::ui::excerpt::Quoted;
use crate::ui::one_line;
use crate::ui::table::columns;

pub(super) fn check(warnings: &[Diagnostic], errors: &[Diagnostic], quoted: &Quoted<'_>) -> String {
    let mut out = match warnings.len() {
        0 if errors.is_empty() => "Check complete, no warnings found.\n".to_owned(),
        0 => String::new(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        several => format!("Check complete, {several} warnings have been found!\n"),
    };
    for warning in warnings {
        let _ = write!(out, "\nWARNING: {}\n{}\n", warning.code, one_line(&warning.message));
        if let Some(hint) = &warning.hint {
            let _ = writeln!(out, "hint: {}", one_line(hint));
        }
        if quoted.line(warning.span).is_some() {
            out.push_str(&quoted.excerpt(warning.span, true));
        }
    }
    for (index, error) in errors.iter().enumerate() {
        if index > 0 || !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&quoted.diagnostic(error));
    }
    out
}

pub(super) fn outline(outline: &Outline) -> String {
    let mut parts = Vec::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.clone().unwrap_or_else(|| "(default)".to_owned());
        let mut rows = vec![vec!["TARGET:".to_owned(), name]];
        if let Some(description) = &outline.description {
            rows.push(vec!["DESCRIPTION:".to_owned(), description.clone()]);
        }
        parts.push(columns(&rows, 1));
    }
    if !outline.arguments.is_empty() {
        let rows = outline.arguments.iter().map(|argument| {
            vec![
                argument.name.clone(),
                argument.value.clone().unwrap_or_default(),
                argument.description.clone().unwrap_or_default(),
            ]
        });
        parts.push(table(&["BUILD ARG", "VALUE", "DESCRIPTION"], rows));
    }
    let mounts = |list: &[OutlineMount]| -> Vec<Vec<String>> {
        let row = |mount: &OutlineMount| {
            vec![mount.id.clone(), if mount.required { "true".to_owned() } else { String::new() }]
        };
        list.iter().map(row).collect()
    };
    for (title, list) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !list.is_empty() {
            parts.push(table(&[title, "REQUIRED"], mounts(list).into_iter()));
        }
    }
    if !outline.caches.is_empty() {
        parts.push(table(&["CACHE"], outline.caches.iter().map(|cache| vec![cache.id.clone()])));
    }
    parts.join("\n")
}

pub(super) fn targets(targets: &[Target]) -> String {
    let rows = targets.iter().map(|target| {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        };
        vec![name, target.description.clone().unwrap_or_default()]
    });
    let rows = std::iter::once(vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]).chain(rows);
    columns(&rows.collect::<Vec<_>>(), 1)
}

pub(super) fn describe() -> String {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let requests = REQUESTS.iter().map(|request| row([request.call(), request.version, request.description]));
    let rows = std::iter::once(row(["NAME", "VERSION", "DESCRIPTION"])).chain(requests);
    columns(&rows.collect::<Vec<_>>(), 1)
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let header = header.iter().map(|title| (*title).to_owned()).collect();
    columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>(), 3)
}
