//! `RUN --mount`: which options go with which type, their defaults and values.

use bld_oci::ImagePath;
use bld_parser::ast::Text;
use bld_parser::ast::Word;
use bld_parser::mount;
use bld_parser::mount::MountKey;
use bld_parser::mount::MountOption;
use bld_parser::source::Span;
use bld_parser::suggest::did_you_mean;

use super::copy::MAIN_CONTEXT;
use super::stage::Lowering;
use super::stage::StageState;
use crate::graph::VertexId;
use crate::op::BindMount;
use crate::op::CacheMount;
use crate::op::CopyFrom;
use crate::op::ExecMount;
use crate::op::InputIndex;
use crate::op::MountContent;
use crate::op::SecretMount;
use crate::op::Sharing;
use crate::op::SshMount;
use crate::op::TmpfsMount;

/// Where secrets and agents appear unless something else is asked for.
const SECRETS: &str = "/run/secrets";
const AGENTS: &str = "/run/buildkit";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const KINDS: [(&str, Kind); 5] = [
    ("bind", Kind::Bind),
    ("cache", Kind::Cache),
    ("tmpfs", Kind::Tmpfs),
    ("secret", Kind::Secret),
    ("ssh", Kind::Ssh),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn takes(self, key: MountKey) -> bool {
        use MountKey as Key;
        match key {
            Key::Type | Key::Target => true,
            Key::From => matches!(self, Kind::Bind | Kind::Cache),
            Key::Source => matches!(self, Kind::Bind | Kind::Cache | Kind::Secret),
            Key::ReadOnly => matches!(self, Kind::Bind | Kind::Cache),
            Key::ReadWrite => matches!(self, Kind::Bind | Kind::Cache | Kind::Tmpfs),
            Key::Id => matches!(self, Kind::Cache | Kind::Secret | Kind::Ssh),
            Key::Sharing => self == Kind::Cache,
            Key::Size => self == Kind::Tmpfs,
            Key::Env => self == Kind::Secret,
            Key::Required => matches!(self, Kind::Secret | Kind::Ssh),
            Key::Mode | Key::Uid | Key::Gid => matches!(self, Kind::Cache | Kind::Secret | Kind::Ssh),
        }
    }
}

/// What the `from` of a mount names, if that is something to be found.
pub(super) fn from(word: &Word) -> Option<Text> {
    let (options, _) = mount::options(word);
    let value = |key| options.iter().find(|option: &&MountOption| option.key == key)?.value.as_ref();
    let from = value(MountKey::From)?;
    // An empty cache is what a cache begins as.
    let is_empty_cache = from.raw == "scratch" && value(MountKey::Type).is_some_and(|kind| kind.raw == "cache");
    let is_name = !from.raw.contains('$') && !is_empty_cache;
    is_name.then(|| Text { value: from.raw.clone(), span: from.span })
}

/// A mistake that was reported.
#[derive(Debug, Clone, Copy)]
struct Reported;

/// The options of one mount, expanded.
struct Options<'a> {
    kind: Kind,
    list: Vec<(MountOption, Option<String>)>,
    word: &'a Word,
}

impl Options<'_> {
    fn text(&self, key: MountKey) -> Option<(&str, Span)> {
        let (option, value) = self.list.iter().find(|(option, _)| option.key == key)?;
        Some((value.as_deref()?, option.span))
    }
}

impl Lowering<'_> {
    /// The mounts of a RUN, and the vertices they show, which become inputs 1 and up.
    pub(super) fn mounts(&mut self, state: &StageState, words: &[Word]) -> (Vec<ExecMount>, Vec<VertexId>) {
        let (mut mounts, mut inputs) = (Vec::new(), Vec::new());
        for word in words {
            if let Some(options) = self.mount_options(state, word)
                && let Ok(mount) = self.mount(state, &options, &mounts, &mut inputs)
            {
                mounts.push(mount);
            }
        }
        (mounts, inputs)
    }

    fn mount_options<'a>(&mut self, state: &StageState, word: &'a Word) -> Option<Options<'a>> {
        let (options, mistakes) = mount::options(word);
        let mut fine = mistakes.is_empty();
        for mistake in mistakes {
            self.report.error(mistake.code, mistake.span, mistake.message, mistake.hint);
        }
        let mut list = Vec::new();
        for option in options {
            let value = match &option.value {
                Some(value) if value.raw.contains('$') && option.key == MountKey::From => {
                    let message = format!("`from` of a mount takes no variables: `{}`", value.raw);
                    let hint = "name a stage instead: `FROM $VARIABLE AS NAME`, and `from=NAME`".to_owned();
                    self.report.error("MountFromVariable", option.span, message, Some(hint));
                    fine = false;
                    continue;
                }
                Some(value) if value.raw.contains('$') => {
                    let Some(text) = self.expand(state, value) else {
                        fine = false;
                        continue;
                    };
                    Some(text)
                }
                value => value.as_ref().map(|value| value.raw.clone()),
            };
            list.push((option, value));
        }
        let mut options = Options { kind: Kind::Bind, list, word };
        if let Some((text, span)) = options.text(MountKey::Type) {
            let Some((_, kind)) = KINDS.into_iter().find(|(name, _)| *name == text) else {
                let names = KINDS.map(|(name, _)| name);
                let message = format!("`{text}` is not a type of mount");
                let hint = did_you_mean(text, names).or_else(|| Some(format!("types are `{}`", names.join("`, `"))));
                self.report.error("UnknownMountType", span, message, hint);
                return None;
            };
            options.kind = kind;
        }
        for (option, _) in options.list.iter().filter(|(option, _)| !options.kind.takes(option.key)) {
            let owners: Vec<&str> =
                KINDS.iter().filter(|(_, kind)| kind.takes(option.key)).map(|(name, _)| *name).collect();
            let message = format!("a mount of type {} has no option `{}`", options.kind.name(), option.name);
            let hint = format!("`{}` is for type={}", option.name, owners.join(", type="));
            self.report.error("InvalidMountOption", option.span, message, Some(hint));
            fine = false;
        }
        fine.then_some(options)
    }

    fn mount(
        &mut self,
        state: &StageState,
        options: &Options<'_>,
        before: &[ExecMount],
        inputs: &mut Vec<VertexId>,
    ) -> Result<ExecMount, Reported> {
        // Every value is looked at before the first mistake counts, so that all of them are reported.
        let target = self.mount_target(state, options);
        let read_only = self.flag(options, MountKey::ReadOnly);
        let read_write = self.flag(options, MountKey::ReadWrite);
        let required = self.flag(options, MountKey::Required);
        let mode = self.mode(options);
        let uid = self.owner_number(options, MountKey::Uid);
        let gid = self.owner_number(options, MountKey::Gid);
        let source = options.text(MountKey::Source).map(|(text, _)| text);
        let id = options.text(MountKey::Id).map(|(text, _)| text);
        Ok(match options.kind {
            Kind::Bind => {
                let from = self.mount_content(state, options, inputs)?;
                let (read_only, read_write) = (read_only?, read_write?);
                let read_write = read_write.unwrap_or(false) && read_only != Some(true) || read_only == Some(false);
                ExecMount::Bind(BindMount { target: target?.ok_or(Reported)?, from, read_write })
            }
            Kind::Cache => {
                let sharing = self.sharing(options);
                let (initial, subpath) = match options.text(MountKey::From) {
                    Some((name, _)) if name != "scratch" => {
                        (Some(self.mount_content(state, options, inputs)?), ImagePath::root())
                    }
                    _ => (None, ImagePath::new(source.unwrap_or_default())),
                };
                let target = target?.ok_or(Reported)?;
                let id = id.map_or_else(|| target.to_string(), str::to_owned);
                let id = match self.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS") {
                    Some(space) if !space.is_empty() => format!("{space}/{id}"),
                    _ => id,
                };
                let read_only = read_only?.unwrap_or(read_write? == Some(false));
                let (mode, uid, gid) = (mode?.unwrap_or(0o755), uid?.unwrap_or(0), gid?.unwrap_or(0));
                ExecMount::Cache(CacheMount {
                    target,
                    id,
                    sharing: sharing?,
                    initial,
                    subpath,
                    mode,
                    uid,
                    gid,
                    read_only,
                })
            }
            Kind::Tmpfs => {
                let size = self.size(options);
                if read_write? == Some(false) {
                    let message = "a mount of type tmpfs is always writable".to_owned();
                    self.report.error("InvalidMountOption", options.word.span, message, None);
                    return Err(Reported);
                }
                ExecMount::Tmpfs(TmpfsMount { target: target?.ok_or(Reported)?, size: size? })
            }
            Kind::Secret => {
                let env = self.variable(options);
                let id = self.secret_id(options, id, source);
                let (target, env, id) = (target?, env?, id?);
                // A variable alone is no file.
                let target = target.or_else(|| env.is_none().then(|| ImagePath::new(SECRETS).join(&id)));
                let (mode, uid, gid) = (mode?.unwrap_or(0o400), uid?.unwrap_or(0), gid?.unwrap_or(0));
                ExecMount::Secret(SecretMount { id, target, env, required: required?.unwrap_or(false), mode, uid, gid })
            }
            Kind::Ssh => {
                let number = before.iter().filter(|mount| matches!(mount, ExecMount::Ssh(_))).count();
                let target = target?.unwrap_or_else(|| ImagePath::new(AGENTS).join(format!("ssh_agent.{number}")));
                let (mode, uid, gid) = (mode?.unwrap_or(0o600), uid?.unwrap_or(0), gid?.unwrap_or(0));
                let id = id.unwrap_or("default").to_owned();
                ExecMount::Ssh(SshMount { id, target, required: required?.unwrap_or(false), mode, uid, gid })
            }
        })
    }

    /// The target; `Ok(None)` if there is none and none is needed.
    fn mount_target(&mut self, state: &StageState, options: &Options<'_>) -> Result<Option<ImagePath>, Reported> {
        let (text, span) = match options.text(MountKey::Target) {
            Some((text, span)) if !text.is_empty() => (text, span),
            _ if matches!(options.kind, Kind::Secret | Kind::Ssh) => return Ok(None),
            _ => {
                let message = format!("a mount of type {} needs a target", options.kind.name());
                let hint = "add `target=PATH`".to_owned();
                self.report.error("MissingMountTarget", options.word.span, message, Some(hint));
                return Err(Reported);
            }
        };
        let path = state.directory().join(text);
        let inside = ["/proc", "/sys", "/dev"].into_iter().find(|place| path.starts_with(&ImagePath::new(place)));
        if let Some(place) = inside {
            let message = format!("nothing can be mounted in {place}, and `{text}` is there");
            self.report.error("InvalidMountTarget", span, message, None);
            return Err(Reported);
        }
        if path.is_root() {
            self.report.error("InvalidMountTarget", span, "nothing can be mounted at /".to_owned(), None);
            return Err(Reported);
        }
        if text.contains('\0') {
            self.report.error("InvalidMountTarget", span, "a mount target cannot hold a NUL byte".to_owned(), None);
            return Err(Reported);
        }
        Ok(Some(path))
    }

    fn mount_content(
        &mut self,
        state: &StageState,
        options: &Options<'_>,
        inputs: &mut Vec<VertexId>,
    ) -> Result<MountContent, Reported> {
        let source = ImagePath::new(options.text(MountKey::Source).map_or("/", |(text, _)| text));
        let Some((name, _)) = options.text(MountKey::From) else {
            return Ok(MountContent { from: CopyFrom::Context(MAIN_CONTEXT.to_owned()), source });
        };
        let (from, vertex) = self.copy_source(state, name, options.word.span).ok_or(Reported)?;
        let from = match vertex {
            None => from,
            Some(vertex) => {
                let position = inputs.iter().position(|known| *known == vertex).unwrap_or_else(|| {
                    inputs.push(vertex);
                    inputs.len() - 1
                });
                CopyFrom::Input(InputIndex(position + 1))
            }
        };
        Ok(MountContent { from, source })
    }

    fn invalid<T>(&mut self, span: Span, message: String, hint: &str) -> Result<T, Reported> {
        self.report.error("InvalidMountValue", span, message, Some(hint.to_owned()));
        Err(Reported)
    }

    /// A yes or no; `Ok(None)` if nothing is said.
    fn flag(&mut self, options: &Options<'_>, key: MountKey) -> Result<Option<bool>, Reported> {
        let Some((option, value)) = options.list.iter().find(|(option, _)| option.key == key) else {
            return Ok(None);
        };
        match value.as_deref().unwrap_or("true") {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(Some(true)),
            "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(Some(false)),
            other => {
                let message = format!("mount option `{}` is true or false, not `{other}`", option.name);
                let hint = format!("write `{0}` or `{0}=false`", option.name);
                self.invalid(option.span, message, &hint)
            }
        }
    }

    fn mode(&mut self, options: &Options<'_>) -> Result<Option<u32>, Reported> {
        let Some((text, span)) = options.text(MountKey::Mode) else { return Ok(None) };
        let limit = if options.kind == Kind::Cache { 0o7777 } else { 0o777 };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(mode) = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= limit) {
            return Ok(Some(mode));
        }
        let hint = format!("write an octal number up to {limit:04o}");
        self.invalid(span, format!("`{text}` is not a mode"), &hint)
    }

    fn owner_number(&mut self, options: &Options<'_>, key: MountKey) -> Result<Option<u32>, Reported> {
        let Some((text, span)) = options.text(key) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>().ok().filter(|id| digits && *id != u32::MAX) {
            Some(id) => Ok(Some(id)),
            None => self.invalid(span, format!("`{text}` is not a user or group number"), "write a decimal number"),
        }
    }

    fn size(&mut self, options: &Options<'_>) -> Result<Option<u64>, Reported> {
        let Some((text, span)) = options.text(MountKey::Size) else { return Ok(None) };
        match bytes(text) {
            Some(size) => Ok(Some(size)),
            None => self.invalid(span, format!("`{text}` is not a size"), "write bytes, or a number with k, m or g"),
        }
    }

    fn sharing(&mut self, options: &Options<'_>) -> Result<Sharing, Reported> {
        let Some((text, span)) = options.text(MountKey::Sharing) else { return Ok(Sharing::Shared) };
        match text {
            "shared" => Ok(Sharing::Shared),
            "private" => Ok(Sharing::Private),
            "locked" => Ok(Sharing::Locked),
            other => {
                let names = ["shared", "private", "locked"];
                let hint = did_you_mean(other, names);
                let hint = hint.unwrap_or_else(|| "write `shared`, `private` or `locked`".to_owned());
                self.invalid(span, format!("`{other}` is not a way of sharing"), &hint)
            }
        }
    }

    fn variable(&mut self, options: &Options<'_>) -> Result<Option<String>, Reported> {
        let Some((text, span)) = options.text(MountKey::Env) else { return Ok(None) };
        if text.is_empty() || text.contains(['=', '\0']) {
            return self.invalid(span, format!("`{text}` is not the name of a variable"), "write `env=NAME`");
        }
        Ok(Some(text.to_owned()))
    }

    /// `id`, or its alias `source`, or the last component of the target.
    fn secret_id(&mut self, options: &Options<'_>, id: Option<&str>, source: Option<&str>) -> Result<String, Reported> {
        let span = options.word.span;
        if id.is_some() && source.is_some() {
            let message = "a secret is named by `id` or by `source`, not by both".to_owned();
            self.report.error("InvalidMountOption", span, message, None);
            return Err(Reported);
        }
        let target = options.text(MountKey::Target).map(|(text, _)| text);
        let last = |path: &str| ImagePath::new(path).file_name().map(|name| String::from_utf8_lossy(name).into_owned());
        let found = id.map(str::to_owned).or_else(|| source.and_then(last)).or_else(|| target.and_then(last));
        let found = found.or_else(|| options.text(MountKey::Env).map(|(text, _)| text.to_owned()));
        match found.filter(|id| !id.is_empty()) {
            Some(id) if !id.contains('/') || target.is_some() || options.text(MountKey::Env).is_some() => Ok(id),
            Some(id) => self.invalid(span, format!("the secret `{id}` needs a target"), "add `target=PATH`"),
            None => {
                let hint = "add `id=NAME`".to_owned();
                self.report.error("MissingSecretId", span, "a secret needs a name".to_owned(), Some(hint));
                Err(Reported)
            }
        }
    }
}

/// `64m` and the like: powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}
