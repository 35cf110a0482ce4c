//! How the facts of a step differ from those of what it was.

use std::collections::BTreeMap;

use bld_cache::key::KeyPart;

use super::Cause;
use super::Change;
use super::VariableSource;
use super::facts::StepFacts;
use super::facts::Taken;

/// A difference, and what it is about: the same subject may be what changed further up already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) subject: String,
    pub(super) cause: Cause,
}

/// What a step takes from a context is not what it took: position among [`StepFacts::taken`], the digest before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retaken<'a> {
    pub(super) was: &'a Taken,
    pub(super) is: &'a Taken,
}

/// The differences of a step's own, what explains others first.
pub(super) fn differences(was: &StepFacts, is: &StepFacts) -> Vec<Difference> {
    let mut found = Vec::new();
    if was.platform != is.platform {
        let cause = field("platform", Some(&was.platform), Some(&is.platform));
        found.push(Difference { subject: "platform".to_owned(), cause });
    }
    let variables = variables(was, is);
    let fields = fields(was, is);
    // With the same text it is the variables that make the difference, else the text.
    if was.instruction == is.instruction {
        found.extend(variables);
        found.extend(fields);
    } else {
        found.extend(fields);
        found.extend(variables);
    }
    if let (Some((_, was)), Some((url, is))) = (&was.remote, &is.remote)
        && was != is
    {
        found.push(Difference { subject: url.clone(), cause: Cause::Remote { url: url.clone() } });
    }
    found
}

/// What is taken from contexts and changed.
pub(super) fn retaken<'a>(was: &'a StepFacts, is: &'a StepFacts) -> Option<Retaken<'a>> {
    let pairs = was.taken.iter().zip(&is.taken).map(|(was, is)| Retaken { was, is });
    // With another number of sources the instruction itself changed.
    pairs.filter(|_| was.taken.len() == is.taken.len()).find(|pair| pair.was.digest != pair.is.digest)
}

fn field(what: &str, was: Option<&str>, is: Option<&str>) -> Cause {
    Cause::Field { what: what.to_owned(), was: was.map(str::to_owned), is: is.map(str::to_owned) }
}

/// The variables: those that the instruction names, and the whole environment of a RUN.
fn variables(was: &StepFacts, is: &StepFacts) -> Vec<Difference> {
    let (before, now) = (values(was), values(is));
    let is_arg = |name: &str| {
        let mut all = is.variables.iter().chain(&was.variables);
        all.find(|variable| variable.name == name).is_some_and(|variable| variable.source == VariableSource::Arg)
    };
    let mut found = Vec::new();
    for name in now.keys().chain(before.keys().filter(|name| !now.contains_key(*name))) {
        let (old, new) = (before.get(name), now.get(name));
        if old == new {
            continue;
        }
        let source = if is_arg(name) { VariableSource::Arg } else { VariableSource::Env };
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        let shown =
            |value: Option<&&str>| value.filter(|_| !bld_parser::is_secret(name)).map(|value| (*value).to_owned());
        let cause = Cause::Variable { source, name: (*name).to_owned(), was: shown(old), is: shown(new), change };
        found.push(Difference { subject: format!("variable {name}"), cause });
    }
    // An ENV made of an ARG changes with it.
    found.sort_by_key(|difference| !matches!(&difference.cause, Cause::Variable { source: VariableSource::Arg, .. }));
    found
}

fn values(step: &StepFacts) -> BTreeMap<&str, &str> {
    let named = step.variables.iter().map(|variable| (variable.name.as_str(), variable.value.as_str()));
    let env = step.exec.iter().flat_map(|exec| &exec.env).map(|(name, value)| (name.as_str(), value.as_str()));
    named.chain(env).collect()
}

/// What the instruction asks for.
fn fields(was: &StepFacts, is: &StepFacts) -> Vec<Difference> {
    let (before, now) = (groups(&was.parts), groups(&is.parts));
    let mut found = Vec::new();
    let mut push = |subject: &str, cause: Cause| found.push(Difference { subject: subject.to_owned(), cause });
    if before.mounts != now.mounts {
        let first = mounts(&before.mounts, &now.mounts);
        // What is only in another order has the same fields.
        let cause = first.unwrap_or_else(|| field("order of the mounts", None, None));
        push("mounts", cause);
    }
    let (old, new) = (args(was), args(is));
    if old != new {
        match (old.split_last(), new.split_last()) {
            (Some((last_before, before)), Some((last_now, now))) if last_before == last_now => {
                push("SHELL", field("SHELL", Some(&before.join(" ")), Some(&now.join(" "))));
            }
            (Some((before, shell)), Some((now, same))) if shell == same => {
                push("command", field("command", Some(before), Some(now)));
            }
            _ => push("command", field("command", Some(&old.join(" ")), Some(&new.join(" ")))),
        }
    }
    for name in before.fields.keys().chain(now.fields.keys().filter(|name| !before.fields.contains_key(*name))) {
        let text = |fields: &BTreeMap<&str, Vec<&str>>| fields.get(name).map(|values| values.join(" "));
        let (old, new) = (text(&before.fields), text(&now.fields));
        if old != new {
            let (subject, what) = label(name);
            push(subject, field(what, old.as_deref(), new.as_deref()));
        }
    }
    found
}

fn args(step: &StepFacts) -> &[String] {
    step.exec.as_ref().map(|exec| exec.args.as_slice()).unwrap_or_default()
}

/// What a field of a key is called by people: the subject it belongs to, and its name.
fn label(name: &str) -> (&str, &str) {
    match name {
        "user" => ("USER", "USER"),
        "cwd" | "path" => ("WORKDIR", "WORKDIR"),
        "network" => ("network", "--network"),
        "security" => ("security", "--security"),
        "extra host" => ("hosts", "--add-host"),
        "os" | "architecture" | "variant" => ("platform", "platform"),
        "script body" | "body" => ("heredoc", "here-document"),
        "source" => ("source", "source"),
        "destination" | "is directory" => ("destination", "destination"),
        "owner" => ("--chown", "--chown"),
        "mode" => ("--chmod", "--chmod"),
        "exclude" => ("--exclude", "--exclude"),
        "parents" => ("--parents", "--parents"),
        "unpack" => ("--unpack", "--unpack"),
        "from" => ("--from", "--from"),
        other => (other, other),
    }
}

/// The parts of a key, sorted out.
#[derive(Debug, Default)]
struct Groups<'a> {
    mounts: Vec<Mount<'a>>,
    fields: BTreeMap<&'a str, Vec<&'a str>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    kind: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl Mount<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    /// `cache /root/.cache`, `secret token`.
    fn name(&self) -> String {
        let name = self.get("id").or_else(|| self.get("target")).unwrap_or_default();
        format!("{} {name}", self.kind)
    }
}

fn groups(parts: &[KeyPart]) -> Groups<'_> {
    let mut groups = Groups::default();
    for KeyPart { name, value } in parts {
        match (name.as_str(), groups.mounts.last_mut()) {
            // How many there are says nothing more.
            ("mounts" | "actions" | "script", _) => {}
            ("mount", _) => groups.mounts.push(Mount { kind: value, fields: Vec::new() }),
            // They follow the mounts.
            ("os" | "architecture" | "variant", _) | (_, None) => {
                groups.fields.entry(of_field(name)).or_default().push(value);
            }
            (_, Some(mount)) => mount.fields.push((name, value)),
        }
    }
    groups
}

/// Fields that only together say something.
fn of_field(name: &str) -> &str {
    match name {
        "user of owner" | "group" => "owner",
        "bits" | "clauses" => "mode",
        other => other,
    }
}

fn mounts(before: &[Mount<'_>], now: &[Mount<'_>]) -> Option<Cause> {
    let cause = |mount: &Mount<'_>, what: String| Some(Cause::Mount { mount: mount.name(), what });
    for mount in now {
        let Some(old) = before.iter().find(|old| old.name() == mount.name()) else {
            return cause(mount, "is new".to_owned());
        };
        for (name, value) in &mount.fields {
            let shown = match *name {
                "writable" => "readwrite",
                "subpath" => "source",
                other => other,
            };
            match old.get(name) {
                Some(was) if was == *value => {}
                Some(was) => return cause(mount, format!("{shown} {value}, was {was}")),
                None => return cause(mount, format!("{shown} {value} is new")),
            }
        }
        if let Some((name, _)) = old.fields.iter().find(|(name, _)| mount.get(name).is_none()) {
            return cause(mount, format!("{name} is gone"));
        }
    }
    let gone = before.iter().find(|old| !now.iter().any(|mount| mount.name() == old.name()))?;
    cause(gone, "is gone".to_owned())
}
