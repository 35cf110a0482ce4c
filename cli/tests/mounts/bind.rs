//! Bind mounts.

use tempfile::TempDir;

use super::Context;
use super::builds;
use super::fails;
use super::shared;

#[test]
fn the_context_without_what_is_ignored() {
    let context = Context::new(
        "FROM busybox:1\nWORKDIR /src\n\
         RUN --mount=target=. [ \"$(cat a/one)\" = 1 ] && [ ! -e a/two ] && [ ! -e secret ] && ! touch new 2>/dev/null\n\
         RUN --mount=source=a/one,target=/file [ \"$(cat /file)\" = 1 ] && ! sh -c 'echo 2 > /file' 2>/dev/null\n\
         RUN --mount=type=bind,src=a,dst=/a,rw touch /a/new && rm /a/one && [ ! -e /a/one ]\n\
         RUN --mount=src=../../../../a,dst=/a [ -e /a/one ]\n\
         RUN [ ! -e /a ] && [ -z \"$(ls /src)\" ]\n",
    );
    context.write("a/one", "1");
    context.write("a/two", "2");
    context.write("secret", "");
    context.write(".dockerignore", "secret\na/two\n");
    context.build(shared(), &[]).succeeded();
    assert!(context.path().join("a/one").exists() && !context.path().join("a/new").exists());
}

#[test]
fn only_what_is_mounted_counts() {
    let context = Context::new("FROM busybox:1\nRUN --mount=source=a,target=/a cat /a/* > /result && echo it-ran\n");
    context.write("a/one", "first");
    let ran = |context: &Context| {
        let run = context.build(shared(), &[]).succeeded();
        run.stderr.lines().any(|line| line.ends_with(" it-ran") && !line.contains("RUN"))
    };
    assert!(ran(&context));
    assert!(!ran(&context));
    context.write("elsewhere", "changed");
    assert!(!ran(&context), "a file outside of the mount counts");
    context.write("a/one", "second");
    assert!(ran(&context), "a file of the mount does not count");
}

#[test]
fn stages_images_and_contexts() {
    let other = TempDir::new().unwrap();
    std::fs::write(other.path().join("named"), "from a context").unwrap();
    let context = Context::new(
        "FROM busybox:1 AS tools\nRUN mkdir -p /opt/x && echo tool > /opt/x/tool && chown 12:34 /opt/x/tool\n\
         FROM scratch AS nothing\n\
         FROM busybox:1\n\
         RUN --mount=from=tools,source=/opt,target=/opt [ \"$(cat /opt/x/tool)\" = tool ] && [ \"$(stat -c %u:%g /opt/x/tool)\" = 12:34 ]\n\
         RUN --mount=from=0,target=/all,rw rm -r /all/opt && touch /all/new\n\
         RUN --mount=from=tools,target=/all [ -e /all/opt ] && [ ! -e /all/new ]\n\
         RUN --mount=from=tools,source=/opt/x/tool,target=/t [ \"$(cat /t)\" = tool ]\n\
         RUN --mount=from=nothing,target=/n [ -z \"$(ls /n)\" ]\n\
         RUN --mount=from=busybox:1,target=/b [ -x /b/bin/busybox ] && ! touch /b/x 2>/dev/null\n\
         RUN --mount=from=other,target=/o [ \"$(cat /o/named)\" = 'from a context' ]\n",
    );
    let named = format!("other={}", other.path().display());
    context.build(shared(), &["--build-context", &named]).succeeded();
}

#[test]
fn a_link_in_the_source_does_not_lead_out() {
    let host = TempDir::new().unwrap();
    std::fs::write(host.path().join("secret"), "of the host").unwrap();
    let path = host.path().display();
    let context = Context::new(&format!(
        "FROM busybox:1 AS base\nRUN ln -s {path} /out && mkdir -p {path} && echo inside > {path}/secret\n\
         FROM busybox:1\n\
         RUN --mount=type=bind,from=base,source=/out,target=/e,rw [ \"$(cat /e/secret)\" = inside ] && touch /e/BREAKOUT\n"
    ));
    context.build(shared(), &[]).succeeded();
    assert!(!host.path().join("BREAKOUT").exists());
    let context = Context::new("FROM busybox:1\nRUN --mount=source=link,target=/e cat /e/secret\n");
    std::os::unix::fs::symlink(host.path(), context.path().join("link")).unwrap();
    let run = context.build(shared(), &[]);
    assert_eq!(run.code, Some(1), "{}", run.failure());
    assert!(!run.stderr.contains("of the host"), "{}", run.failure());
}

#[test]
fn names_with_special_letters() {
    let context = Context::new(
        "FROM busybox:1\n\
         RUN --mount=src=a:b,dst=/x:y [ \"$(cat /x:y/f)\" = colon ]\n\
         RUN --mount=\\\"src=a,b\\\",\\\"dst=/x,y\\\" [ \"$(cat /x,y/f)\" = comma ]\n\
         RUN --mount=src=[a]*,dst=/z [ \"$(cat /z/f)\" = star ]\n",
    );
    for (name, text) in [("a:b/f", "colon"), ("a,b/f", "comma"), ("[a]*/f", "star")] {
        context.write(name, text);
    }
    context.build(shared(), &[]).succeeded();
}

#[test]
fn a_source_that_is_not_there() {
    fails("RUN --mount=source=missing,target=/x true", &[], "missing");
    fails("RUN --mount=from=busybox:1,source=/missing,target=/x true", &[], "missing");
    fails("RUN --mount=from=busibox,target=/x true", &[], "busibox");
}

#[test]
fn mounts_in_mounts_in_any_order() {
    builds(
        "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/a,id=nested --mount=type=tmpfs,target=/a/b \
         touch /a/b/c/x && [ \"$(stat -f -c %T /a/b/c)\" = tmpfs ]",
        &[],
    );
}
