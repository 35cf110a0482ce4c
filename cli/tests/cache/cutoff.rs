//! Early cutoff: a step that runs again and writes the same bytes ends the work.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Built;
use super::build;
use crate::support;
use crate::support::Base;
use crate::support::Store;

const FOLLOWERS: usize = 30;

/// Steps that each need what the one before them wrote; the first needs `/generated`.
fn followers() -> String {
    let mut text = "RUN sha256sum < /generated > /step0\n".to_owned();
    for number in 1..FOLLOWERS {
        writeln!(text, "RUN cat /step{} /generated | sha256sum > /step{number}", number - 1).unwrap();
    }
    text
}

/// Builds `context` and demands that exactly these steps ran.
#[track_caller]
fn runs(store: &Store, context: &Path, arguments: &[&str], steps: &[&str]) -> Built {
    let built = build(store, context, arguments);
    assert_eq!(built.progress.executed(), steps.iter().copied().collect::<BTreeSet<_>>(), "the steps that run");
    built
}

#[test]
fn the_same_generated_file_leaves_thirty_steps_known() {
    const GENERATE: &str = "RUN grep -v '^#' /input > /generated";
    let (store, context) = (Store::with(&[Base::Busybox]), TempDir::new().unwrap());
    let head = format!("FROM busybox:1 AS gen\nCOPY input /input\n{GENERATE}\n");
    let dockerfile = format!("{head}FROM busybox:1\nCOPY --from=gen /generated /generated\n{}", followers());
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    fs::write(context.path().join("input"), "# one\nvalue\n").unwrap();
    let first = build(&store, context.path(), &[]);
    assert_eq!(first.progress.executed().len(), FOLLOWERS + 4);
    fs::write(context.path().join("input"), "# quite another comment\nvalue\n").unwrap();
    let second = runs(&store, context.path(), &[], &["COPY input /input", GENERATE]);
    assert_eq!(second.digest, first.digest);
    // Now there is nothing at all to do.
    runs(&store, context.path(), &[], &[]);
    fs::write(context.path().join("input"), "# one\nanother value\n").unwrap();
    let third = build(&store, context.path(), &[]);
    assert_eq!(third.progress.executed().len(), FOLLOWERS + 3);
    assert_ne!(third.digest, first.digest);
}

/// The same where the steps stand upon the generator itself, and it is the command that changes.
#[test]
fn another_command_with_the_same_result_leaves_thirty_steps_known() {
    let (store, context) = (Store::with(&[Base::Busybox]), TempDir::new().unwrap());
    fs::write(context.path().join("input"), "# one\nvalue\n").unwrap();
    let mount = "RUN --mount=type=bind,source=input,target=/input";
    let write = |command: &str| {
        let dockerfile = format!("FROM busybox:1\n{mount} {command} > /generated\n{}", followers());
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    };
    let layers = |digest: &str| super::layers(&store, digest);
    write("grep -v '^#' /input");
    let first = build(&store, context.path(), &[]);
    assert_eq!(first.progress.executed().len(), FOLLOWERS + 2);
    write("sed '/^#/d' /input");
    let other = format!("{mount} sed '/^#/d' /input > /generated");
    let second = runs(&store, context.path(), &[], &[&other]);
    assert_eq!(layers(&second.digest), layers(&first.digest));
    fs::write(context.path().join("input"), "# two\nvalue\n").unwrap();
    let third = runs(&store, context.path(), &[], &[&other]);
    assert_eq!(third.digest, second.digest);
}

const COMPILE: &str = r#"
FROM busybox:1 AS cc
COPY --from=toolchain . /

FROM cc AS gen
COPY version.in /version.in
RUN sed -n 's/^version=\(.*\)/#define VERSION "\1"/p' /version.in > /version.h

FROM cc AS build
WORKDIR /src
COPY --from=gen /version.h .
COPY src .
RUN gcc -O2 -Wall -Werror -c greet.c
RUN gcc -O2 -Wall -Werror -c main.c
RUN gcc main.o greet.o -o /hello
RUN /hello > /said

FROM scratch
COPY --from=build /hello /said /
"#;

const GENERATE_HEADER: &str = r#"RUN sed -n 's/^version=\(.*\)/#define VERSION "\1"/p' /version.in > /version.h"#;

/// Collects gcc, the linker, and what they read to make a program of `$1/*.c`, below `$2`.
const TOOLCHAIN: &str = r#"
sources=$1 root=$2
programs="$(command -v gcc) $(for name in cc1 collect2 as ld; do gcc -print-prog-name=$name; done)"
libraries=$(for program in $(which $programs); do ldd $program; done | grep -o '/[^ ]*' | sort -u)
read_by_linker=$(for name in crt1.o Scrt1.o crti.o crtn.o crtbegin.o crtbeginS.o crtend.o crtendS.o libc.so libc_nonshared.a \
  libc.so.6 libgcc.a libgcc_s.so libgcc_s.so.1 liblto_plugin.so ld-linux-x86-64.so.2 ld-linux-aarch64.so.1; do gcc -print-file-name=$name; done)
headers=$(printf '#define VERSION ""\n' > $root/version.h; gcc -O2 -I $root -M $sources/*.c | tr ' \\' '\n\n' | grep '^/usr' | sort -u)
rm $root/version.h
for file in $(which $programs) $libraries $read_by_linker $headers; do
  case $file in
    /*) cp -L --parents "$(realpath -s "$file")" $root ;;
  esac
done
"#;

/// gcc compiles a program that includes a generated header.
#[test]
fn the_same_generated_header_compiles_nothing() {
    let (store, work) = (Store::with(&[Base::Busybox]), TempDir::new().unwrap());
    let (context, toolchain) = (work.path().join("context"), work.path().join("toolchain"));
    fs::create_dir_all(context.join("src")).unwrap();
    fs::create_dir(&toolchain).unwrap();
    let version = |text: &str| fs::write(context.join("version.in"), text).unwrap();
    fs::write(context.join("Dockerfile"), COMPILE).unwrap();
    version("# the version of the program\nversion=1.0\n");
    let greet = "#include <stdio.h>\n#include \"version.h\"\n/* says who it is */\nvoid greet(void) { printf(\"hello, I am %s\\n\", VERSION); }\n";
    fs::write(context.join("src/greet.c"), greet).unwrap();
    fs::write(context.join("src/main.c"), "void greet(void);\nint main(void) { greet(); return 0; }\n").unwrap();
    let mut collect = Command::new("bash");
    collect.args(["-euc", TOOLCHAIN, "toolchain"]).arg(context.join("src")).arg(&toolchain);
    support::run(&mut collect).succeeded();

    let named = format!("toolchain={}", toolchain.display());
    let out = work.path().join("out");
    let spec = format!("type=local,dest={}", out.display());
    let arguments = ["--build-context", &named, "-o", &spec];
    let said = || fs::read_to_string(out.join("said")).unwrap();
    let first = build(&store, &context, &arguments);
    assert!(first.progress.executed().contains("RUN gcc -O2 -Wall -Werror -c greet.c"));
    assert_eq!(said(), "hello, I am 1.0\n");

    version("# the version of the program, as its users see it\nversion=1.0\n");
    runs(&store, &context, &arguments, &["COPY version.in /version.in", GENERATE_HEADER]);
    assert_eq!(said(), "hello, I am 1.0\n");

    // A comment of the program itself: the compiler has to look, and what it makes is the same program.
    fs::write(context.join("src/greet.c"), greet.replace("who it is", "what it is")).unwrap();
    let compiled = build(&store, &context, &arguments);
    let executed = compiled.progress.executed();
    assert!(executed.contains("RUN gcc -O2 -Wall -Werror -c greet.c"), "{executed:?}");
    assert!(!executed.contains("COPY --from=build /hello /said /"), "{executed:?}");

    version("version=2.0\n");
    let changed = build(&store, &context, &arguments);
    assert!(changed.progress.executed().contains("RUN gcc -O2 -Wall -Werror -c greet.c"));
    assert_eq!(said(), "hello, I am 2.0\n");
}
