//! Whether the table of Dockerfiles has a row for everything the language has.

use std::collections::BTreeSet;
use std::path::Path;

use bld_parser::ast::Add;
use bld_parser::ast::Copy;
use bld_parser::ast::CopyFlags;
use bld_parser::ast::CopyPaths;
use bld_parser::ast::CopySource;
use bld_parser::ast::Dockerfile;
use bld_parser::ast::From;
use bld_parser::ast::Healthcheck;
use bld_parser::ast::Instruction;
use bld_parser::ast::Run;
use bld_parser::mount;
use bld_parser::mount::MountKey;

use super::text::rows;
use crate::lower;

/// Every instruction but FROM; [`name`] does not compile without one of them.
const INSTRUCTIONS: [&str; 17] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Types of mounts, and what a value of each option may be.
const MOUNTS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const OPTIONS: [(MountKey, &str); 13] = [
    (MountKey::From, "tools"),
    (MountKey::Source, "/s"),
    (MountKey::Target, "/t"),
    (MountKey::ReadOnly, "true"),
    (MountKey::ReadWrite, "true"),
    (MountKey::Id, "i"),
    (MountKey::Sharing, "shared"),
    (MountKey::Size, "1"),
    (MountKey::Env, "E"),
    (MountKey::Required, "true"),
    (MountKey::Mode, "400"),
    (MountKey::Uid, "1"),
    (MountKey::Gid, "1"),
];

#[test]
fn every_instruction_and_flag_is_in_the_table() {
    let mut wanted: BTreeSet<String> = INSTRUCTIONS.iter().map(|name| (*name).to_owned()).collect();
    wanted.insert("FROM".to_owned());
    for name in INSTRUCTIONS.iter().copied().chain(["FROM"]) {
        wanted.extend(flags_of(name).into_iter().map(|flag| format!("{name} --{flag}")));
    }
    for (kind, key) in mount_options() {
        wanted.insert(format!("RUN --mount={kind} {key}"));
    }
    wanted.extend(["RUN", "COPY", "ADD"].map(|name| format!("{name} <<")));
    // The parser told what it knows, or this test looks for nothing.
    assert!(wanted.len() > 70, "{wanted:?}");
    let mut covered = BTreeSet::new();
    for row in rows() {
        let used: BTreeSet<String> = row.texts.iter().flat_map(|text| used_by(text)).collect();
        assert!(used.contains(&row.about), "a row about `{}` does not use it: {used:?}", row.about);
        covered.insert(row.about);
    }
    let missing: Vec<_> = wanted.difference(&covered).collect();
    assert!(missing.is_empty(), "no row is about {missing:?}");
    let strange: Vec<_> = covered.difference(&wanted).collect();
    assert!(strange.is_empty(), "rows are about {strange:?}");
}

/// The flags of an instruction: the parser lists them to whoever writes one it does not know.
fn flags_of(name: &str) -> Vec<String> {
    let first = if name == "FROM" { "" } else { "FROM scratch\n" };
    let parsed = bld_parser::parse(format!("{first}{name} --zzzzzzzzzzzzzzzz=x scratch /\n").as_bytes());
    let unknown = parsed.diagnostics.iter().find(|found| found.code == "UnknownFlag");
    let hint =
        unknown.and_then(|found| found.hint.clone()).unwrap_or_else(|| panic!("{name}: {:?}", parsed.diagnostics));
    if hint.starts_with(&format!("{name} has no flags")) {
        return Vec::new();
    }
    let list = hint.strip_prefix(&format!("{name} knows ")).unwrap_or_else(|| panic!("{name}: {hint}"));
    list.split(", ").map(|flag| flag.trim_matches('`').trim_start_matches("--").to_owned()).collect()
}

/// Which types of mounts take which options: asked for by trying.
fn mount_options() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for kind in MOUNTS {
        for (key, value) in OPTIONS {
            let option = key_name(key);
            let target = if key == MountKey::Target { "" } else { ",target=/x" };
            let text = format!("FROM alpine\nRUN --mount=type={kind}{target},{option}={value} true\n");
            let refused = match lower::lowered(Path::new("mount"), &text, &lower::resolver()) {
                Ok(_) => false,
                Err(errors) => errors.iter().any(|error| error.diagnostic().message.contains("has no option")),
            };
            if !refused {
                found.push((kind, option));
            }
        }
    }
    found
}

fn key_name(key: MountKey) -> &'static str {
    match key {
        MountKey::Type => "type",
        MountKey::From => "from",
        MountKey::Source => "source",
        MountKey::Target => "target",
        MountKey::ReadOnly => "readonly",
        MountKey::ReadWrite => "readwrite",
        MountKey::Id => "id",
        MountKey::Sharing => "sharing",
        MountKey::Size => "size",
        MountKey::Env => "env",
        MountKey::Required => "required",
        MountKey::Mode => "mode",
        MountKey::Uid => "uid",
        MountKey::Gid => "gid",
    }
}

/// The instructions and flags of a Dockerfile, as rows name them.
fn used_by(text: &str) -> Vec<String> {
    let parsed = bld_parser::parse(text.as_bytes());
    let Some(Dockerfile { directives: _, global_args, stages }) = parsed.dockerfile else {
        panic!("{:?}\n{text}", parsed.diagnostics);
    };
    let mut used: Vec<String> = global_args.iter().map(|_| "ARG".to_owned()).collect();
    for stage in stages {
        let From { platform, base: _, name: _, span: _, text: _, doc: _, check: _ } = stage.from;
        used.push("FROM".to_owned());
        used.extend(platform.map(|_| "FROM --platform".to_owned()));
        for located in stage.instructions {
            let name = name(&located.instruction);
            used.push(name.to_owned());
            used.extend(flags(&located.instruction).into_iter().map(|flag| format!("{name} {flag}")));
        }
    }
    used
}

fn name(instruction: &Instruction) -> &'static str {
    match instruction {
        Instruction::Add(_) => "ADD",
        Instruction::Arg(_) => "ARG",
        Instruction::Cmd(_) => "CMD",
        Instruction::Copy(_) => "COPY",
        Instruction::Entrypoint(_) => "ENTRYPOINT",
        Instruction::Env(_) => "ENV",
        Instruction::Expose(_) => "EXPOSE",
        Instruction::Healthcheck(_) => "HEALTHCHECK",
        Instruction::Label(_) => "LABEL",
        Instruction::Maintainer(_) => "MAINTAINER",
        Instruction::Onbuild(_) => "ONBUILD",
        Instruction::Run(_) => "RUN",
        Instruction::Shell(_) => "SHELL",
        Instruction::StopSignal(_) => "STOPSIGNAL",
        Instruction::User(_) => "USER",
        Instruction::Volume(_) => "VOLUME",
        Instruction::Workdir(_) => "WORKDIR",
    }
}

fn flags(instruction: &Instruction) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    let mut note = |is: bool, flag: &str| used.extend(is.then(|| flag.to_owned()));
    match instruction {
        Instruction::Run(Run { command: _, heredocs, script: _, mounts, network, security, devices }) => {
            note(!heredocs.is_empty(), "<<");
            note(!mounts.is_empty(), "--mount");
            note(network.is_some(), "--network");
            note(security.is_some(), "--security");
            note(!devices.is_empty(), "--device");
            for word in mounts {
                let (options, _) = mount::options(word);
                let kind = options.iter().find(|option| option.key == MountKey::Type);
                let kind = kind.and_then(|kind| kind.value.as_ref()).map_or("bind", |kind| &kind.raw);
                for option in &options {
                    note(true, &format!("--mount={kind} {}", key_name(option.key)));
                }
            }
        }
        Instruction::Copy(Copy { paths, from, parents, flags }) => {
            note(has_heredoc(paths), "<<");
            note(from.is_some(), "--from");
            note(*parents, "--parents");
            used.extend(shared_flags(flags));
        }
        Instruction::Add(Add { paths, checksum, keep_git_dir, unpack, flags }) => {
            note(has_heredoc(paths), "<<");
            note(checksum.is_some(), "--checksum");
            note(keep_git_dir.is_some(), "--keep-git-dir");
            note(unpack.is_some(), "--unpack");
            used.extend(shared_flags(flags));
        }
        Instruction::Healthcheck(Healthcheck::Command {
            command: _,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        }) => {
            note(*interval > 0, "--interval");
            note(*timeout > 0, "--timeout");
            note(*start_period > 0, "--start-period");
            note(*start_interval > 0, "--start-interval");
            note(*retries > 0, "--retries");
        }
        // They have none.
        _ => {}
    }
    used
}

fn shared_flags(CopyFlags { chown, chmod, link, exclude }: &CopyFlags) -> Vec<String> {
    let given = [
        (chown.is_some(), "--chown"),
        (chmod.is_some(), "--chmod"),
        (*link, "--link"),
        (!exclude.is_empty(), "--exclude"),
    ];
    given.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag.to_owned()).collect()
}

fn has_heredoc(paths: &CopyPaths) -> bool {
    paths.sources.iter().any(|source| matches!(source, CopySource::Heredoc(_)))
}
