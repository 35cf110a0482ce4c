//! What `bld plan` foretells is what `bld build` does.

use std::collections::BTreeMap;

use serde_json::Value;

/// In what the report of a build is not what was planned.
pub(crate) fn compare(planned: &Value, report: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    // An image that the store was not told of yet: what is in it can only be said when it was.
    let told =
        steps(report).filter(|step| step["counts"] == false && step["outcome"] == "ran").map(|step| keyed(step).0);
    let missed = steps(planned).filter(|step| step["prediction"] != "hit").map(|step| keyed(step).0);
    let first_new = told.chain(missed).min();
    let mut done: BTreeMap<u64, &Value> = steps(report).filter(|step| step["counts"] == true).map(keyed).collect();
    for (vertex, planned) in steps(planned).map(keyed) {
        let name = &planned["name"];
        let Some(step) = done.remove(&vertex) else {
            problems.push(format!("{name} was planned and is not in the report"));
            continue;
        };
        let outcome = step["outcome"].as_str().unwrap_or_default();
        let fits = match planned["prediction"].as_str() {
            // What comes after a step that failed is nobody's fault.
            _ if outcome == "not_reached" => report["status"] != "succeeded",
            Some("hit") => outcome == "cached",
            Some("miss") => ["ran", "failed", "canceled"].contains(&outcome),
            Some("depends") => first_new.is_some_and(|first| first < vertex),
            _ => false,
        };
        if !fits {
            problems.push(format!("{name} was planned as {}, and the build says {outcome}", planned["prediction"]));
        }
        let (mut foretold, mut told) = (planned["cause"].clone(), step["cause"].clone());
        if told.is_null() {
            continue;
        }
        for cause in [&mut foretold, &mut told] {
            // Time goes by.
            drop(cause.as_object_mut().and_then(|cause| cause.remove("ago")));
        }
        if foretold != told {
            problems.push(format!("{name}: planned {}, built {}", planned["cause_text"], step["cause_text"]));
        }
    }
    problems.extend(done.values().map(|step| format!("{} was not planned", step["name"])));
    problems
}

fn steps(document: &Value) -> impl Iterator<Item = &Value> {
    document["steps"].as_array().into_iter().flatten()
}

fn keyed(step: &Value) -> (u64, &Value) {
    (step["vertex"].as_u64().unwrap_or(u64::MAX), step)
}
