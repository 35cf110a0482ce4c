//! Names of checks, their pages and the code agree.

use std::collections::BTreeSet;
use std::path::Path;

use bld_parser::rules::RULES;
use bld_parser::rules::find;

use crate::support;

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
