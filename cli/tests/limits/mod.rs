//! Dockerfiles of a size nobody writes by hand: the answer comes soon, in little memory, and is an image or names the limit.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::Run;
use crate::support::Store;

/// No build of these may take more.
const MEMORY: u64 = 256 << 20;
/// Far above what an unoptimised build on a busy machine takes; what is quadratic takes hours.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs bld on a Dockerfile, for as long as that may take and in no more memory than it may.
#[track_caller]
fn bounded(dockerfile: &str, arguments: &[&str]) -> Run {
    let store = Store::empty();
    let context = TempDir::new().unwrap();
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let (said, answer) = (context.path().join("said"), context.path().join("answer"));
    let mut command = store.bld();
    command.arg("build").args(arguments).arg(context.path()).stdout(fs::File::create(&answer).unwrap());
    let mut child = command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (start, mut peak) = (Instant::now(), 0);
    let ended = loop {
        // It only ever grows, and ends with the process.
        let line = fs::read_to_string(&status).unwrap_or_default();
        let peak_now = line.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = peak_now.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok()).map_or(peak, |now| now << 10);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("still not done after {:?}", start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(0 < peak && peak < MEMORY, "{} MiB", peak >> 20);
    let (stdout, stderr) = (fs::read_to_string(answer).unwrap(), fs::read_to_string(said).unwrap());
    Run { command: format!("{command:?}"), code: ended.code(), stdout, stderr }
}

#[track_caller]
fn refused(dockerfile: &str, reason: &str) {
    for arguments in [&["--check"][..], &[]] {
        let run = bounded(dockerfile, arguments);
        let shown: String = run.stderr.chars().take(2000).collect();
        assert_eq!(run.code, Some(1), "{shown}");
        // Findings of `--check` are its answer.
        assert!(arguments.len() == 1 || run.stderr.contains(reason), "{shown}");
    }
}

#[track_caller]
fn fine(dockerfile: &str) -> Run {
    bounded(dockerfile, &["--check"]).succeeded();
    bounded(dockerfile, &[]).succeeded()
}

/// `line` of every number.
fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn a_line_of_a_hundred_megabytes() {
    refused(&format!("FROM scratch\nLABEL a={}\n", "x".repeat(100_000_000)), "move data out of the Dockerfile");
    // Short enough for a file, not for a line.
    refused(&format!("FROM scratch\nLABEL a={}\n", "x".repeat(30_000_000)), "split it");
}

#[test]
fn a_million_continuations() {
    fine(&format!("FROM scratch\nLABEL a=b \\\n{}  c=d\n", "# a comment does not end it\n".repeat(1_000_000)));
    bounded(&format!("FROM scratch\nRUN true{}\n", " \\\n x".repeat(1_000_000)), &["--check"]).succeeded();
}

#[test]
fn values_that_double() {
    for (before, name) in [("FROM scratch\n", "ARG"), ("FROM scratch\n", "ENV"), ("", "ARG")] {
        let doubling = format!("{name} a=$a$a\n").repeat(40);
        let behind = if before.is_empty() { "FROM scratch\n" } else { "" };
        refused(&format!("{before}{name} a=xx\n{doubling}{behind}"), "expands to more than 1048576 bytes");
    }
}

#[test]
fn variables_nested_without_end() {
    let deep = |depth: usize| format!("FROM scratch\nLABEL a={}x{}\n", "${a:-".repeat(depth), "}".repeat(depth));
    fine(&deep(100));
    refused(&deep(10_000), "nested deeper than 100");
    refused(&deep(100_000), "split it");
}

#[test]
fn a_hundred_thousand_instructions() {
    for name in ["LABEL", "ENV", "ARG"] {
        let many =
            |count| format!("FROM scratch\n{}", repeated(count, |number| format!("{name} k{number}=v{number}\n")));
        bounded(&many(100_000), &["--check"]).succeeded();
        let refused = bounded(&many(100_000), &[]);
        assert!(refused.code == Some(1) && refused.stderr.contains("configuration would be larger"), "{name}");
        bounded(&many(20_000), &[]).succeeded();
    }
    bounded(&format!("FROM scratch\n{}", repeated(100_000, |_| "RUN true\n".to_owned())), &["--check"]).succeeded();
}

/// `--check` finds so many variables without a value; the hints of the first and of the last of them.
#[track_caller]
fn undefined(dockerfile: &str, code: &str, count: usize) -> (String, String) {
    let run = bounded(dockerfile, &["--check"]);
    let shown: String = run.stderr.chars().take(2000).collect();
    assert_eq!(run.code, Some(1), "{shown}");
    let findings = run.stdout.split("\nWARNING: ").filter(|finding| finding.starts_with(code));
    let findings: Vec<&str> = findings.collect();
    assert_eq!(findings.len(), count, "{shown}");
    let hint = |finding: &str| finding.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap().to_owned();
    (hint(findings[0]), hint(findings[count - 1]))
}

#[test]
fn a_hundred_thousand_names() {
    let known = repeated(100_000, |number| format!("ENV k{number}=v\n"));
    let used = repeated(100_000, |number| format!("LABEL l{number}=$k{number}\n"));
    bounded(&format!("FROM scratch\n{known}{used}"), &["--check"]).succeeded();
    // Each is compared with those that are known, as long as these are not too many.
    let unknown = repeated(50_000, |number| format!("LABEL l{number}=$u{number}\n"));
    let (first, last) = undefined(&format!("FROM scratch\n{known}{unknown}"), "UndefinedVar", 50_000);
    assert_eq!(first, "did you mean `k0`?");
    assert_eq!(last, "define it first: `ARG u49999=VALUE` or `ENV u49999=VALUE`");
}

#[test]
fn a_hundred_thousand_variables_without_a_value() {
    let pairs: Vec<String> = (0..100_000).map(|number| format!("k{number}=$k{number}")).collect();
    let (first, last) = undefined(&format!("FROM scratch\nENV {}\n", pairs.join(" \\\n")), "UndefinedVar", 100_000);
    for (hint, name) in [(first, "k0"), (last, "k99999")] {
        assert_eq!(hint, format!("what an instruction sets counts from the next one on: set `{name}` in one before"));
    }
    // Without its tabs no line is where it was: all findings are of one place.
    let lines = repeated(100_000, |number| format!("\t$u{number}\n"));
    undefined(&format!("FROM scratch\nCOPY <<-E /f\n{lines}E\n"), "UndefinedVar", 100_000);
    let skipping = repeated(50_000, |number| format!("# check=skip=StageNameCasing\nLABEL l{number}=$u{number}\n"));
    undefined(&format!("FROM scratch\n{skipping}"), "UndefinedVar", 50_000);
    let globals = repeated(100_000, |number| format!("ARG g{number}=v\n"));
    let stages = repeated(20_000, |number| format!("FROM $u{number}\n"));
    undefined(&format!("{globals}{stages}"), "UndefinedArgInFrom", 20_000);
}

#[test]
fn ten_thousand_stages() {
    let stages = repeated(10_000, |number| format!("FROM scratch AS s{number}\nCOPY <<E /f\n{number}\nE\n"));
    fine(&format!("{stages}COPY --from=s9998 /f /g\n"));
    let star = repeated(10_000, |number| format!("FROM scratch AS s{}\nCOPY --from=first /f /f\n", number + 1));
    fine(&format!("FROM scratch AS first\nCOPY <<E /f\nE\n{star}"));
    let starts = repeated(10_000, |number| format!("FROM s{number} AS s{}\nLABEL l{number}=x\n", number + 1));
    fine(&format!("FROM scratch AS s0\n{starts}"));
    let wide = repeated(5_000, |number| format!("ENV e{number}=x\n"));
    fine(&format!("FROM scratch AS wide\n{wide}{}", "FROM wide\nLABEL a=b\n".repeat(5_000)));
}

#[test]
fn ten_thousand_stages_each_made_of_the_one_before() {
    let mut text = "FROM scratch AS s0\nCOPY <<E /f\n0\nE\n".to_owned();
    for number in 1..10_000 {
        write!(text, "FROM scratch AS s{number}\nCOPY --from=s{} /f /f\n", number - 1).unwrap();
    }
    let run = fine(&text);
    assert!(run.stderr.contains("2 steps ran, 9998 were cached"), "{}", run.stderr.lines().last().unwrap_or_default());
}
