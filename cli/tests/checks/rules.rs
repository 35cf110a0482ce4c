//! Names of checks, their pages and the code agree.

use std::collections::BTreeSet;
use std::path::Path;

use bld_parser::rules::RULES;
use bld_parser::rules::find;

use crate::support;
use crate::support::Base;
use crate::support::Store;

#[test]
fn every_rule_has_a_page() {
    let directory = support::project().join("docs/rules");
    let mut pages: BTreeSet<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".md").to_owned())
        .collect();
    assert!(pages.remove("README"));
    let rules: BTreeSet<String> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
    assert_eq!(pages, rules);
    let index = std::fs::read_to_string(directory.join("README.md")).unwrap();
    for rule in RULES {
        let page = std::fs::read_to_string(directory.join(format!("{}.md", rule.name))).unwrap();
        assert!(page.starts_with(&format!("# {}\n", rule.name)), "{}", rule.name);
        for part in ["## Bad\n", "## Good\n", "## Why\n"] {
            assert!(page.contains(part), "{} has no {part}", rule.name);
        }
        assert!(index.contains(&format!("| [{0}]({0}.md) | {1} |", rule.name, rule.description)), "{}", rule.name);
    }
}

/// What a page calls bad is reported under its name, and what it calls good is not.
#[test]
fn examples_of_pages_do_what_they_say() {
    let store = Store::with(&[Base::Busybox]);
    let pages: Vec<String> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
    let mut images = BTreeSet::new();
    for rule in &pages {
        for part in ["Bad", "Good"] {
            images.extend(bases(&example(rule, part).dockerfile));
        }
    }
    for image in images {
        support::run(store.bld().arg("import").arg(Base::Busybox.tar()).arg(image)).succeeded();
    }
    let problems = support::for_each(&pages, |rule| {
        let said = |part: &str| is_reported(&store, rule, &example(rule, part));
        match (said("Bad"), said("Good")) {
            (Ok(()), Err(_)) => Vec::new(),
            (Err(said), _) => vec![format!("{rule}: the bad example is not reported: {said}")],
            (_, Ok(())) => vec![format!("{rule}: the good example is reported")],
        }
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// One example of a page.
struct Example {
    dockerfile: Vec<u8>,
    /// A part headed `# .dockerignore`.
    ignore: Option<String>,
    /// What a comment `# bld build ARGUMENTS` on top says.
    arguments: Vec<String>,
}

fn example(rule: &str, part: &str) -> Example {
    let page = std::fs::read_to_string(support::project().join(format!("docs/rules/{rule}.md"))).unwrap();
    let (_, text) = page.split_once(&format!("## {part}\n```dockerfile\n")).unwrap();
    let (text, _) = text.split_once("```").unwrap();
    let (ignore, text) = match text.strip_prefix("# .dockerignore\n").and_then(|text| text.split_once("# Dockerfile\n"))
    {
        Some((ignore, text)) => (Some(ignore.to_owned()), text),
        None => (None, text),
    };
    let command = text.lines().next().and_then(|line| line.strip_prefix("# bld build "));
    let arguments = command.map(|command| command.split(',').next().unwrap_or_default().split(' '));
    // Bytes that are no text are written as escapes.
    let dockerfile = text.split("\\x").enumerate().flat_map(|(index, piece)| match piece.get(..2) {
        Some(digits) if index > 0 => {
            let byte = u8::from_str_radix(digits, 16).unwrap();
            std::iter::once(byte).chain(piece[2..].bytes()).collect::<Vec<u8>>()
        }
        _ => piece.bytes().collect(),
    });
    Example {
        dockerfile: dockerfile.collect(),
        ignore,
        arguments: arguments.into_iter().flatten().map(str::to_owned).collect(),
    }
}

/// Images an example starts from.
fn bases(dockerfile: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(dockerfile);
    let defaults: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('=')).collect();
    let words = text
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("from "))
        .filter_map(|line| line.split_whitespace().skip(1).find(|word| !word.starts_with("--")).map(str::to_owned));
    let expanded = words.map(|word| {
        defaults.iter().fold(word, |word, (name, value)| {
            word.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        })
    });
    expanded
        .filter(|name| name != "scratch" && !name.contains('$') && name.contains(':') && !name.ends_with(':'))
        .collect()
}

/// What was said instead if it is not.
fn is_reported(store: &Store, rule: &str, example: &Example) -> Result<(), String> {
    let context = tempfile::TempDir::new().unwrap();
    std::fs::write(context.path().join("Dockerfile"), &example.dockerfile).unwrap();
    for file in ["package-lock.json", "package.json"] {
        std::fs::write(context.path().join(file), "{}").unwrap();
    }
    if let Some(ignore) = &example.ignore {
        std::fs::write(context.path().join(".dockerignore"), ignore).unwrap();
    }
    let mut command = store.bld();
    command.args(["build", "--progress=plain"]).args(&example.arguments);
    // The files of the context are looked at when a step runs.
    if rule != "EmptyWildcard" {
        command.arg("--check");
    }
    let done = support::run(command.arg(context.path()));
    let found = done.stdout.contains(&format!("WARNING: {rule}\n")) || done.stderr.contains(&format!("[{rule}]"));
    if found { Ok(()) } else { Err(format!("{}{}", done.stdout, done.stderr)) }
}

/// Every rule is reported somewhere, and no warning has a name that is no rule.
#[test]
fn every_rule_is_in_the_code() {
    let mut texts = Vec::new();
    for folder in ["parser/src", "solver/src", "executor/src"] {
        collect(&support::project().join(folder), &mut texts);
    }
    for rule in RULES {
        let literal = format!("\"{}\"", rule.name);
        assert!(texts.iter().any(|text| text.contains(&literal)), "nobody reports {}", rule.name);
    }
    for call in texts.iter().flat_map(|text| text.split("warning(").skip(1)) {
        let Some(code) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
        assert!(find(code).is_some(), "`{code}` is no rule");
    }
}

fn collect(directory: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, texts);
        } else if !path.ends_with("parser/src/rules.rs") {
            texts.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}
