//! Sizes: what is refused, and what must stay linear.

use bld_parser::expand;
use bld_parser::expand::ExpandErrorKind;
use bld_parser::ignorefile::Patterns;
use std::time::Duration;
use std::time::Instant;

/// Generous for an unoptimised build on a busy machine; what is quadratic takes minutes.
const LIMIT: Duration = Duration::from_secs(20);

#[track_caller]
fn quickly(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
}

fn codes(text: &str) -> Vec<&'static str> {
    bld_parser::parse(text.as_bytes()).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn a_huge_file_is_refused() {
    let text = "#".repeat((32 << 20) + 1);
    assert_eq!(codes(&text), ["FileTooLarge"]);
}

#[test]
fn a_long_line_is_refused() {
    let long = "x".repeat(65_535 - 4);
    assert_eq!(codes(&format!("FROM scratch\nRUN {long}\r\n")), [""; 0]);
    assert_eq!(codes(&format!("FROM scratch\nRUN {long}x\n")), ["LineTooLong"]);
}

#[test]
fn many_continuations() {
    quickly(|| {
        let text = format!("FROM scratch\nRUN true {}\n", "\\\n a".repeat(1_000_000));
        assert!(bld_parser::parse(text.as_bytes()).dockerfile.is_some());
    });
}

#[test]
fn many_heredocs() {
    quickly(|| {
        let openers: String = (0..10_000).map(|number| format!(" \\\n<<E{number}")).collect();
        let bodies: String = (0..10_000).map(|number| format!("text\nE{number}\n")).collect();
        let text = format!("FROM scratch\nRUN cat{openers}\n{bodies}");
        assert!(bld_parser::parse(text.as_bytes()).dockerfile.is_some());
    });
}

#[test]
fn many_copied_heredocs() {
    quickly(|| {
        let openers: String = (0..10_000).map(|number| format!(" \\\n<<E{number}")).collect();
        let bodies: String = (0..10_000).map(|number| format!("text\nE{number}\n")).collect();
        let text = format!("FROM scratch\nCOPY{openers} /x/\n{bodies}");
        assert!(bld_parser::parse(text.as_bytes()).dockerfile.is_some());
    });
}

#[test]
fn many_unterminated_heredocs() {
    quickly(|| {
        let text = format!("FROM scratch\n{}", "RUN <<E\n E\n".repeat(100_000));
        assert_eq!(codes(&text).len(), 17);
    });
}

#[test]
fn not_a_dockerfile_at_all() {
    quickly(|| {
        let codes = codes(&"x\n".repeat(1_000_000));
        assert_eq!(codes.len(), 1000);
        assert_eq!(codes.last(), Some(&"TooManyDiagnostics"));
    });
}

#[test]
fn many_flags_and_descriptions() {
    quickly(|| {
        let comments: String = (0..100_000).map(|number| format!("# N{number} x\n")).collect();
        let names: String = (0..100_000).map(|number| format!(" \\\nN{number}")).collect();
        let flags = " \\\n--exclude=a".repeat(100_000) + &" \\\n--link".repeat(100_000);
        let text = format!("FROM scratch\n{comments}ARG{names}\nCOPY{flags} a b\n");
        assert_eq!(codes(&text).len(), 1000);
    });
}

#[test]
fn many_words() {
    quickly(|| {
        let text = format!("FROM scratch\nENV{}\nEXPOSE{}\n", " \\\n a=b".repeat(200_000), " \\\n 80".repeat(200_000));
        assert!(bld_parser::parse(text.as_bytes()).dockerfile.is_some());
    });
}

#[test]
fn nesting_is_capped() {
    let deep = format!("{}{}", "${a:-".repeat(101), "}".repeat(101));
    let error = expand::expand(&deep, '\\', &|_| None).unwrap_err();
    assert_eq!(error.kind, ExpandErrorKind::TooDeep { limit: 100 });
    let fine = format!("{}x{}", "${a:-".repeat(100), "}".repeat(100));
    assert_eq!(expand::expand(&fine, '\\', &|_| None).unwrap().value, "x");
}

#[test]
fn values_are_capped() {
    let big = "x".repeat(600 * 1024);
    let error = expand::expand("$a$a", '\\', &|_| Some(big.clone())).unwrap_err();
    assert_eq!(error.kind, ExpandErrorKind::TooLong { limit: 1 << 20 });
    let error = expand::expand("${a//x/xxxx}", '\\', &|_| Some(big.clone())).unwrap_err();
    assert_eq!(error.kind, ExpandErrorKind::TooLong { limit: 1 << 20 });
}

#[test]
fn patterns_never_backtrack() {
    quickly(|| {
        let text = format!("{}b", "**/".repeat(200));
        let patterns = Patterns::parse(text.as_bytes()).unwrap();
        assert!(!patterns.matches("a/".repeat(500).trim_end_matches('/').as_bytes()).is_excluded());
        let stars = format!("{}b", "*a".repeat(200));
        let patterns = Patterns::parse(stars.as_bytes()).unwrap();
        assert!(!patterns.matches("a".repeat(5_000).as_bytes()).is_excluded());
        let value = "a".repeat(100_000);
        assert_eq!(expand::expand("${v#*a*a*a*a*b}", '\\', &|_| Some(value.clone())).unwrap().value, value);
    });
}

#[test]
fn many_ignore_lines() {
    quickly(|| {
        let text: String = (0..100_000).map(|number| format!("dir{number}/*.o\nfile{number}\n")).collect();
        let patterns = Patterns::parse(text.as_bytes()).unwrap();
        assert!(patterns.matches(b"dir5/a.o").is_excluded());
        assert!(patterns.matches(b"file99999/below").is_excluded());
        assert!(!patterns.matches(b"other/a/b/c").is_excluded());
    });
}
