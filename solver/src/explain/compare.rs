//! How the facts of a step differ from those of what it was.

use std::collections::BTreeMap;

use bld_cache::key::KeyPart;

use super::Cause;
use super::Change;
use super::VariableSource;
use super::facts::StepFacts;
use super::facts::Taken;

/// What a step takes from a context is not what it took: position among [`StepFacts::taken`], the digest before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retaken<'a> {
    pub(super) was: &'a Taken,
    pub(super) is: &'a Taken,
}

/// The differences of a step's own, what explains others first.
pub(super) fn differences(was: &StepFacts, is: &StepFacts) -> Vec<Cause> {
    let mut found = Vec::new();
    if was.platform != is.platform {
        found.push(field("platform", Some(&was.platform), Some(&is.platform)));
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
    if let (Some((old_url, was)), Some((url, is))) = (&was.remote, &is.remote)
        && was != is
    {
        let is_same = old_url == url;
        found.push(if is_same {
            Cause::Remote { url: url.clone() }
        } else {
            field("source", Some(old_url), Some(url))
        });
    }
    found
}

/// In about how many ways a step differs from what it was by itself: it is asked for many more steps than [`differences`].
pub(super) fn distance(was: &StepFacts, is: &StepFacts) -> usize {
    let flags = [
        was.platform != is.platform,
        was.parts != is.parts,
        args(was) != args(is),
        was.remote != is.remote,
        retaken(was, is).is_some(),
    ];
    let variables = if env(was) == env(is) && was.variables == is.variables { 0 } else { variables(was, is).len() };
    flags.into_iter().filter(|flag| *flag).count() + variables
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
fn variables(was: &StepFacts, is: &StepFacts) -> Vec<Cause> {
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
        found.push(Cause::Variable { source, name: (*name).to_owned(), was: shown(old), is: shown(new), change });
    }
    // An ENV made of an ARG changes with it.
    found.sort_by_key(|cause| !matches!(cause, Cause::Variable { source: VariableSource::Arg, .. }));
    if found.is_empty() && env(was) != env(is) {
        let order = |step| env(step).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
        found.push(field("order of the environment", Some(&order(was)), Some(&order(is))));
    }
    found
}

fn env(step: &StepFacts) -> &[(String, String)] {
    step.exec.as_ref().map(|exec| exec.env.as_slice()).unwrap_or_default()
}

fn values(step: &StepFacts) -> BTreeMap<&str, &str> {
    let named = step.variables.iter().map(|variable| (variable.name.as_str(), variable.value.as_str()));
    named.chain(env(step).iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

/// What the instruction asks for.
fn fields(was: &StepFacts, is: &StepFacts) -> Vec<Cause> {
    let (before, now) = (groups(&was.parts), groups(&is.parts));
    let mut found = Vec::new();
    if before.mounts != now.mounts {
        let first = mounts(&before.mounts, &now.mounts);
        // What is only in another order has the same fields.
        let cause = first.unwrap_or_else(|| field("order of the mounts", None, None));
        found.push(cause);
    }
    let (old, new) = (args(was), args(is));
    if old != new {
        match (old.split_last(), new.split_last()) {
            (Some((last_before, before)), Some((last_now, now)))
                if last_before == last_now && is_shell(before) && is_shell(now) =>
            {
                found.push(field("SHELL", Some(&before.join(" ")), Some(&now.join(" "))));
            }
            (Some((before, shell)), Some((now, same))) if shell == same && is_shell(shell) => {
                found.push(field("command", Some(before), Some(now)));
            }
            _ => found.push(field("command", Some(&old.join(" ")), Some(&new.join(" ")))),
        }
    }
    let mut names: Vec<&str> = before.fields.keys().chain(now.fields.keys()).copied().collect();
    names.sort_by_key(|name| (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), *name));
    names.dedup();
    for name in names {
        let (old, new) = (before.fields.get(name), now.fields.get(name));
        if old == new {
            continue;
        }
        let (old, new) = (shown(name, old), shown(name, new));
        // Else it is nothing that has a name of its own.
        if old.is_some() || new.is_some() {
            found.push(field(label(name, &is.instruction), old.as_deref(), new.as_deref()));
        }
    }
    found
}

fn args(step: &StepFacts) -> &[String] {
    step.exec.as_ref().map(|exec| exec.args.as_slice()).unwrap_or_default()
}

/// What comes before a command line, and not the beginning of an argument vector.
fn is_shell(args: &[String]) -> bool {
    args.len() > 1 && args.last().is_some_and(|flag| flag.starts_with(['-', '/']))
}

/// Fields that say most; the others follow in the order of the alphabet.
const FIRST: [&str; 5] = ["source", "exclude", "parents", "from", "destination"];

/// The values of a field as people write them; `None` if that is the default.
fn shown(name: &str, values: Option<&Vec<String>>) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for value in values.into_iter().flatten().map(String::as_str) {
        let value = match (name, value) {
            ("parents", "yes") | ("from", "context") => "",
            ("parents", _) | ("unpack", "archives") | ("mode" | "owner", "") => continue,
            ("from", _) => return Some(String::new()),
            ("unpack", "yes") => "true",
            ("unpack", _) => "false",
            ("user", "") => "root",
            (_, value) => value,
        };
        if !all.contains(&value) {
            all.push(value);
        }
    }
    if all.is_empty() || name == "from" { None } else { Some(all.join(" ")) }
}

/// What a field of a key is called by people.
fn label<'a>(name: &'a str, instruction: &str) -> &'a str {
    match name {
        "user" => "USER",
        // WORKDIR makes its directory for the user in force.
        "owner" if instruction.to_ascii_uppercase().starts_with("WORKDIR") => "USER",
        "cwd" | "path" => "WORKDIR",
        "network" => "--network",
        "security" => "--security",
        "extra host" => "--add-host",
        "os" | "architecture" | "variant" => "platform",
        "script body" | "body" => "here-document",
        "is directory" => "destination",
        "owner" => "--chown",
        "mode" => "--chmod",
        "exclude" => "--exclude",
        "parents" => "--parents",
        "unpack" => "--unpack",
        "from" => "--from",
        other => other,
    }
}

/// The parts of a key, sorted out.
#[derive(Debug, Default)]
struct Groups<'a> {
    mounts: Vec<Mount<'a>>,
    fields: BTreeMap<&'a str, Vec<String>>,
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
    let mut last = "";
    for KeyPart { name, value } in parts {
        let of = match (name.as_str(), last) {
            ("user" | "group", "owner" | "user of owner") => "user of owner",
            (name, _) => name,
        };
        last = of;
        match (of, groups.mounts.last_mut()) {
            // They say nothing more than what comes with them.
            ("mounts" | "actions" | "action" | "script", _) => {}
            ("mount", _) => groups.mounts.push(Mount { kind: value, fields: Vec::new() }),
            // They follow the mounts.
            ("os" | "architecture" | "variant", _) | (_, None) => put(&mut groups.fields, of, value),
            (_, Some(mount)) => mount.fields.push((name, value)),
        }
    }
    groups
}

/// Puts a part to the others of its field. Some only together say something.
fn put<'a>(fields: &mut BTreeMap<&'a str, Vec<String>>, name: &'a str, value: &str) {
    let mut last = |field: &'a str, separator: &str, text: &str| {
        let values = fields.entry(field).or_default();
        match values.last_mut() {
            Some(last) if last.is_empty() => text.clone_into(last),
            Some(last) => *last += &format!("{separator}{text}"),
            None => values.push(text.to_owned()),
        }
    };
    match (name, value) {
        ("user of owner", _) => last("owner", ":", value),
        ("bits" | "clauses", _) => last("mode", "", value),
        ("is directory", "yes") => last("destination", "/", ""),
        ("is directory", _) => {}
        ("mode", _) | ("owner", "kept" | "given") => fields.entry(name).or_default().push(String::new()),
        _ => fields.entry(name).or_default().push(value.to_owned()),
    }
}

/// The first of the mounts that is new, gone or another.
fn mounts(before: &[Mount<'_>], now: &[Mount<'_>]) -> Option<Cause> {
    let lacks = |all: &[Mount<'_>], wanted: &Mount<'_>| !all.iter().any(|mount| mount.name() == wanted.name());
    let cause = |mount: String, what: String| Some(Cause::Mount { mount, what });
    let mut gone = before.iter().filter(|mount| lacks(now, mount));
    let new = now.iter().find(|mount| lacks(before, mount));
    match (new, gone.next()) {
        // The one became the other.
        (Some(new), Some(old)) if before.len() == now.len() && new.kind == old.kind => {
            return cause(new.kind.to_owned(), mount_change(old, new)?);
        }
        (Some(new), _) => return cause(new.name(), "is new".to_owned()),
        (None, Some(old)) => return cause(old.name(), "is gone".to_owned()),
        (None, None) => {}
    }
    now.iter().find_map(|mount| {
        let old = before.iter().find(|old| old.name() == mount.name())?;
        cause(mount.name(), mount_change(old, mount)?)
    })
}

/// What is another in a mount.
fn mount_change(was: &Mount<'_>, is: &Mount<'_>) -> Option<String> {
    let word = |name: &str, value: &str| match (name, value) {
        ("from", "context") => "the build context".to_owned(),
        ("from", value) if value.starts_with("input ") => "a stage or an image".to_owned(),
        ("size", value) => size(value),
        (_, value) => value.to_owned(),
    };
    for (name, value) in &is.fields {
        let shown = match *name {
            "writable" => "readwrite",
            "read-only" => "readonly",
            "subpath" => "source",
            "variable" => "env",
            other => other,
        };
        match (was.get(name), *value) {
            (Some(was), is) if was == is => {}
            (Some("no") | None, "yes") => return Some(format!("{shown} is new")),
            (Some("yes"), "no") => return Some(format!("{shown} is gone")),
            (Some(was), is) if word(name, was) == word(name, is) => return Some(format!("{shown} another one")),
            (Some(was), is) => return Some(format!("{shown} {}, was {}", word(name, is), word(name, was))),
            (None, is) => return Some(format!("{shown} {} is new", word(name, is))),
        }
    }
    let (name, _) = was.fields.iter().find(|(name, _)| is.get(name).is_none())?;
    Some(format!("{name} is gone"))
}

/// `64MiB` of a number of bytes that is as round as that.
fn size(text: &str) -> String {
    let Ok(bytes) = text.parse::<u64>() else { return text.to_owned() };
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<KeyPart> {
        let part = |part: &str| {
            let (name, value) = part.split_once('=').unwrap();
            KeyPart { name: name.to_owned(), value: value.to_owned() }
        };
        text.split(' ').map(|text| part(&text.replace('_', " "))).collect()
    }

    fn step(instruction: &str, text: &str) -> StepFacts {
        StepFacts { instruction: instruction.to_owned(), parts: parts(text), ..StepFacts::default() }
    }

    /// The causes of the change from one to the other.
    fn told(was: &str, is: &str) -> Vec<String> {
        differences(&step("a", was), &step("b", is)).iter().map(ToString::to_string).collect()
    }

    const COPY: &str = "actions=1 action=copy from=context source=/a parents=no destination=/x is_directory=no owner=kept mode=kept unpack=archives";

    #[test]
    fn fields_of_copies() {
        for (from, to, text) in [
            ("source=/a", "source=/b", "source changed: /a -> /b"),
            ("source=/a", "source=/a source=/b", "source changed: /a -> /a /b"),
            ("parents=no", "parents=yes", "--parents is new"),
            ("parents=no", "exclude=*.log parents=no", "--exclude is new: *.log"),
            ("from=context", "from=input_1", "--from is new"),
            ("destination=/x", "destination=/y", "destination changed: /x -> /y"),
            ("is_directory=no", "is_directory=yes", "destination changed: /x -> /x/"),
            ("owner=kept", "owner=given user=app", "--chown is new: app"),
            ("owner=kept", "owner=given user=1 group=2", "--chown is new: 1:2"),
            ("mode=kept", "mode=octal bits=0755", "--chmod is new: 0755"),
            ("unpack=archives", "unpack=no", "--unpack is new: false"),
        ] {
            assert_eq!(told(COPY, &COPY.replace(from, to)), [text]);
        }
        let owned =
            COPY.replace("owner=kept", "owner=given user=1 group=1").replace("mode=kept", "mode=octal bits=0644");
        assert_eq!(told(&owned, &owned.replace("group=1", "group=2")), ["--chown changed: 1:1 -> 1:2"]);
        assert_eq!(
            told(&owned, &owned.replace("mode=octal bits=0644", "mode=symbolic clauses=u=rw")),
            ["--chmod changed: 0644 -> u=rw"]
        );
        assert_eq!(told(&owned, COPY), ["--chmod is gone: 0644", "--chown is gone: 1:1"]);
        assert_eq!(told(COPY, COPY), Vec::<String>::new());
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (bytes, text) in [("1073741824", "1GiB"), ("67108864", "64MiB"), ("1536", "1536B"), ("0", "0B"), ("x", "x")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn fields_of_mounts() {
        let secret =
            "cwd=/ user= network=default mounts=1 mount=secret id=key required=no mode=0400 owner=0:0 os=linux";
        for (from, to, text) in [
            ("required=no", "required=yes", "mount secret key: required is new"),
            ("id=key", "id=other", "mount secret: id other, was key"),
            ("id=key", "id=key target=/k", "mount secret key: target /k is new"),
            ("id=key", "id=key variable=K", "mount secret key: env K is new"),
            ("mode=0400", "mode=0440", "mount secret key: mode 0440, was 0400"),
            ("os=linux", "mount=tmpfs target=/t os=linux", "mount tmpfs /t: is new"),
            ("user=", "user=app", "USER changed: root -> app"),
            ("network=default", "network=none", "--network changed: default -> none"),
        ] {
            assert_eq!(told(secret, &secret.replace(from, to)), [text]);
        }
        let bind = "mounts=1 mount=bind target=/src writable=yes from=context";
        assert_eq!(told(bind, &bind.replace("yes", "no")), ["mount bind /src: readwrite is gone"]);
        assert_eq!(
            told(bind, &bind.replace("from=context", "from=input_1 source=/src")),
            ["mount bind /src: from a stage or an image, was the build context"]
        );
        let two = "mounts=2 mount=tmpfs target=/a mount=tmpfs target=/b";
        assert_eq!(told(two, "mounts=2 mount=tmpfs target=/b mount=tmpfs target=/a"), ["order of the mounts changed"]);
    }
}
