//! What is printed, without what is another on each machine and in each run.

use serde_json::Value;

/// The table of `bld plan`: columns two spaces apart, whatever the times.
pub(super) fn plan(stdout: &str) -> String {
    let mut out = String::new();
    for line in stdout.lines() {
        let columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
        let columns: Vec<String> = columns.map(without_times).collect();
        out += &columns.join("  ");
        out.push('\n');
    }
    out
}

/// The first cause in that table.
pub(super) fn first_planned(plan: &str) -> Option<&str> {
    plan.lines().find(|line| line.starts_with("MISS")).and_then(|line| line.split("  ").last())
}

/// The progress of `bld build`, step by step in the order of the Dockerfile: each with its lines, but for the output of commands.
pub(super) fn build(stderr: &str, report: &Value) -> String {
    let mut out = String::new();
    let mut steps: Vec<&Value> = report["steps"].as_array().unwrap().iter().collect();
    steps.sort_by_key(|step| step["vertex"].as_u64());
    for step in steps {
        let Some(number) = step["number"].as_u64() else { continue };
        let prefix = format!("#{number} ");
        let mut lines = stderr.lines().filter_map(|line| line.strip_prefix(&prefix));
        let Some(name) = lines.next() else { continue };
        out += &format!("{name}\n");
        for line in lines {
            let word = line.split(' ').next().unwrap_or_default();
            if ["MISS", "CACHED", "ERROR:"].contains(&word) {
                out += &format!("  {line}\n");
            } else if word == "DONE" {
                out += "  DONE\n";
            }
        }
    }
    out
}

/// The first cause in that.
pub(super) fn first_missed(build: &str) -> Option<&str> {
    build.lines().find_map(|line| line.strip_prefix("  MISS "))
}

/// `0.0s` for any time.
fn without_times(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let end = word.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(word.len());
        if end > 2 && word[..end].contains('.') && word[end..].starts_with('s') { "0.0s" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `AGO` for how long ago something was.
pub(super) fn without_ages(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ago = words.windows(3).position(|window| window[0].parse::<u64>().is_ok() && window[2] == "ago");
        match ago {
            Some(at) => {
                let kept: Vec<&str> =
                    words[..at].iter().copied().chain(["AGO"]).chain(words[at + 3..].iter().copied()).collect();
                out += &kept.join(" ");
            }
            None => out += &line.replace("evicted just now", "evicted AGO"),
        }
        out.push('\n');
    }
    out
}

/// `sha256:<12>` for a digest of which twelve digits are shown.
pub(super) fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(part.len());
        out += &format!("sha256:<{end}>{}", &part[end..]);
    }
    out
}
