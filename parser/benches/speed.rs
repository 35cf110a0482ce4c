//! How fast Dockerfiles are parsed, checks that need only the text included: one of 10,000 lines, and all below `testdata/`.
//!
//! Run by `benches/parse`. Prints medians beside what is asked for; the exit status is 1 if one of them is above that.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

const ROUNDS: usize = 51;

/// Lines of the generated file.
const LINES: usize = 10_000;

/// What is asked for.
const ONE_FILE: Duration = Duration::from_millis(20);
const ALL_FILES: Duration = Duration::from_millis(100);

/// At least as many files are below `testdata/`.
const FILES: usize = 300;

fn main() -> io::Result<ExitCode> {
    let generated = generate();
    let lines = generated.lines().count();
    let parsed = bld_parser::parse(generated.as_bytes());
    let Some(dockerfile) = &parsed.dockerfile else {
        println!("the generated Dockerfile has mistakes: {:?}", parsed.diagnostics.first());
        return Ok(ExitCode::FAILURE);
    };
    let instructions: usize = dockerfile.stages.iter().map(|stage| 1 + stage.instructions.len()).sum();
    let shape = format!("{lines} lines, {instructions} instructions, {} stages", dockerfile.stages.len());

    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"), &mut paths)?;
    if paths.len() < FILES {
        println!("only {} Dockerfiles below testdata/", paths.len());
        return Ok(ExitCode::FAILURE);
    }
    let texts = paths.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
    let bytes = texts.iter().map(Vec::len).sum();

    println!("{:<58} {:>9} {:>9} {:>9}", format!("median of {ROUNDS}"), "parsed in", "asked for", "MB/s");
    let one = measure(|| drop(bld_parser::parse(generated.as_bytes())));
    let all = measure(|| texts.iter().for_each(|text| drop(bld_parser::parse(text))));
    let fine = [
        row(&format!("one Dockerfile: {shape}"), one, ONE_FILE, generated.len()),
        row(&format!("{} Dockerfiles of testdata/", paths.len()), all, ALL_FILES, bytes),
    ];
    Ok(if fine.iter().all(|fine| *fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(name: &str, took: Duration, asked: Duration, bytes: usize) -> bool {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let kilobytes = u32::try_from(bytes / 1000).unwrap_or(u32::MAX);
    let speed = f64::from(kilobytes) / 1000.0 / took.as_secs_f64();
    let too_slow = if took > asked { "  TOO SLOW" } else { "" };
    println!("{name:<58} {:>6.2} ms {:>6} ms {speed:>9.0}{too_slow}", milliseconds(took), milliseconds(asked));
    took <= asked
}

fn measure(work: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.is_file() && (name.ends_with("Dockerfile") || name.starts_with("Dockerfile.")) {
            let is_ignore_file = name.ends_with(".dockerignore");
            found.extend((!is_ignore_file).then_some(path));
        }
    }
    Ok(())
}

/// Every instruction, in the proportions of real files but with more of what is hard: continuations, comments between them,
/// here-documents, JSON, quotes and variables.
fn generate() -> String {
    let mut text = String::from("# syntax=docker/dockerfile:1\nARG VERSION=1.2\n");
    let mut lines = text.lines().count();
    let mut block = 0;
    while lines < LINES {
        let piece = if block % 20 == 0 {
            format!("FROM debian:${{VERSION:-12}} AS stage{block}\n\n# What the stage needs.\nARG VERSION\n")
        } else {
            piece(block)
        };
        lines += piece.lines().count();
        text.push_str(&piece);
        block += 1;
    }
    text
}

fn piece(block: usize) -> String {
    match block % 10 {
        0 => format!("WORKDIR /srv/app{block}/${{VERSION%.*}}\nUSER app:app\nEXPOSE 80{block}/udp 443\n", block = block % 100),
        1 => {
            let packages = repeated(12, |index| format!("        package-{block}-{index} \\\n"));
            format!(
                "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked apt-get update && \\\n    \
                 # one for each line\n    apt-get install -y --no-install-recommends \\\n{packages}    \
                 && rm -rf /var/lib/apt/lists/*\n"
            )
        }
        2 => format!("ENV PATH=\"/opt/{block}/bin:$PATH\" \\\n    NAME='single quoted' \\\n    PLAIN=a\\ b EMPTY=\n"),
        3 => {
            let body = repeated(15, |index| format!("echo \"line {index} of $NAME\" >> /log/{block}\n"));
            format!("RUN <<EOF\nset -e\n{body}EOF\n")
        }
        4 => format!("COPY --chown=app:app --chmod=0755 src/a{block} src/b{block} ./dst/\nCOPY [\"a b\", \"/c d/\"]\n"),
        5 => {
            let body = repeated(10, |index| format!("key{index} = ${{VERSION}}/{block}\n"));
            format!("COPY <<\"one.conf\" <<two.conf /etc/app/\n{body}one.conf\n{body}two.conf\n")
        }
        6 => format!("LABEL org.example.{block}=\"a \\\"quoted\\\" value\" \\\n      other=value\n\n# Comment.\nVOLUME [\"/data/{block}\", \"/log\"]\n"),
        7 => format!("CMD [\"/usr/bin/server\", \"--port\", \"{block}\", \"--name\", \"\\u00e9\"]\nENTRYPOINT [\"/entry\"]\nSTOPSIGNAL SIGTERM\n"),
        8 => format!(
            "ADD --checksum=sha256:{block:064x} https://example.org/file-{block}.tar.gz /tmp/\nARG A{block}=1 B{block}=\"two words\"\n"
        ),
        _ => "HEALTHCHECK --interval=30s --timeout=5s \\\n    CMD curl -f http://localhost/ || exit 1\nSHELL [\"/bin/bash\", \"-c\"]\n"
            .to_owned(),
    }
}

fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}
