//! COPY and ADD.

use bld_parser::ast::Add;
use bld_parser::ast::Copy;
use bld_parser::ast::CopyFlags;
use bld_parser::ast::CopyPaths;
use bld_parser::ast::CopySource;
use bld_parser::ast::Located;
use bld_parser::ast::Word;
use bld_parser::source::Span;

use super::stage::Lowering;
use super::stage::StageState;
use super::stages::Reference;
use super::values;
use super::words;
use crate::graph::Vertex;
use crate::graph::VertexId;
use crate::op::CopyAction;
use crate::op::CopyFrom;
use crate::op::Destination;
use crate::op::FileAction;
use crate::op::FileOp;
use crate::op::InputIndex;
use crate::op::Mkfile;
use crate::op::ModeChange;
use crate::op::Op;
use crate::op::Selector;
use crate::worker::Resolved;

/// Name of the build context that is no named context.
const MAIN_CONTEXT: &str = "context";

/// What COPY and ADD have in common once ADD's own flags are seen to.
struct Request<'a> {
    name: &'static str,
    paths: &'a CopyPaths,
    flags: &'a CopyFlags,
    from: CopyFrom,
    /// The vertex behind [`CopyFrom::Input`].
    input: Option<VertexId>,
    parents: bool,
    unpack: Option<bool>,
}

/// Expanded.
struct Files {
    sources: Vec<String>,
    heredocs: Vec<(String, Vec<u8>)>,
    destination: Destination,
    /// As written, for the history.
    destination_text: String,
}

impl Lowering<'_> {
    pub(super) fn copy(&mut self, state: &mut StageState, copy: &Copy, located: &Located) {
        let (from, input) = match &copy.from {
            None => (CopyFrom::Context(MAIN_CONTEXT.to_owned()), None),
            Some(from) => match self.copy_source(state, &from.value, located.span) {
                Some(found) => found,
                // Reported; the rest of the instruction is still worth checking.
                None => (CopyFrom::Context(MAIN_CONTEXT.to_owned()), None),
            },
        };
        let request = Request {
            name: "COPY",
            paths: &copy.paths,
            flags: &copy.flags,
            from,
            input,
            parents: copy.parents,
            unpack: Some(false),
        };
        self.files(state, &request, located);
    }

    pub(super) fn add(&mut self, state: &mut StageState, add: &Add, located: &Located) {
        if let Some(checksum) = &add.checksum {
            self.refuse_add("ADD --checksum", checksum.span);
        }
        if add.keep_git_dir.is_some() {
            self.refuse_add("ADD --keep-git-dir", flag_span(located, "--keep-git-dir"));
        }
        // `--unpack` is the default for what is local.
        let unpack = add.unpack.filter(|unpack| !unpack);
        let from = CopyFrom::Context(MAIN_CONTEXT.to_owned());
        let (paths, flags) = (&add.paths, &add.flags);
        let request = Request { name: "ADD", paths, flags, from, input: None, parents: false, unpack };
        self.files(state, &request, located);
    }

    fn refuse_add(&mut self, what: &str, span: Span) {
        self.report.error("Unsupported", span, format!("`{what}` is not supported"), None);
    }

    /// What `--from` names, and the vertex if it is one.
    fn copy_source(&mut self, state: &StageState, name: &str, span: Span) -> Option<(CopyFrom, Option<VertexId>)> {
        let vertex = match self.stages.source(name, state.index)? {
            Reference::Scratch => return None,
            Reference::Stage(index) => self.lowered.get(&index)?.vertex,
            Reference::External(id) => match self.stages.external(id)?.resolved.as_ref()? {
                Resolved::Context(context) => return Some((CopyFrom::Context(context.clone()), None)),
                Resolved::Image(image) => self.image(id, image, span),
            },
        };
        Some((CopyFrom::Input(InputIndex(1)), Some(vertex)))
    }

    fn files(&mut self, state: &mut StageState, request: &Request<'_>, located: &Located) {
        let owner = self.parsed(state, request.flags.chown.as_ref(), "InvalidOwner", values::owner);
        let mode = self.parsed(state, request.flags.chmod.as_ref(), "InvalidMode", values::mode);
        let Some(files) = self.paths(state, request) else { return };
        let texts = (owner.as_ref().map(|(_, text)| text.as_str()), mode.as_ref().map(|(_, text)| text.as_str()));
        let created_by = created_by(request, &files, texts);
        let (owner, mode) = (owner.map(|(owner, _)| owner), mode.map(|(mode, _)| mode));
        let mut actions = Vec::new();
        if !files.sources.is_empty() {
            actions.push(FileAction::Copy(CopyAction {
                from: request.from.clone(),
                selector: Selector {
                    sources: files.sources,
                    exclude: request.flags.exclude.iter().map(|text| text.value.clone()).collect(),
                    parents: request.parents,
                },
                destination: files.destination.clone(),
                owner: owner.clone(),
                mode: mode.clone(),
                unpack: request.unpack,
            }));
        }
        for (name, body) in files.heredocs {
            let destination = files.destination.clone();
            let mode = mode.clone().unwrap_or(ModeChange::Absolute(0o644));
            actions.push(FileAction::Mkfile(Mkfile { name, destination, body, mode, owner: owner.clone() }));
        }
        // Names are looked up in the base, and docker's own builder does not link if there is a mode.
        let link =
            request.flags.link && mode.is_none() && owner.as_ref().is_none_or(values::is_numeric) && !state.is_empty;
        let op = Op::File(FileOp { actions });
        let vertex = state.describe(op, &located.text, located.span);
        let base = if link { self.scratch() } else { state.vertex };
        let merge = Vertex { op: Op::Merge, no_cache: false, ..vertex.clone() };
        let mut vertex = self.graph.add(vertex, std::iter::once(base).chain(request.input));
        if link {
            vertex = self.graph.add(merge, [state.vertex, vertex]);
        }
        state.advance(vertex, created_by, located.span);
    }

    /// The value of a flag and its text; `None` if it is not given, empty or wrong.
    fn parsed<T>(
        &mut self,
        state: &StageState,
        word: Option<&Word>,
        code: &'static str,
        parse: fn(&str) -> Result<Option<T>, String>,
    ) -> Option<(T, String)> {
        let word = word?;
        let text = self.expand(state, word)?;
        match parse(&text) {
            Ok(value) => Some((value?, text)),
            Err(message) => {
                self.report.error(code, word.span, message, None);
                None
            }
        }
    }

    fn paths(&mut self, state: &StageState, request: &Request<'_>) -> Option<Files> {
        let mut fine = true;
        let (mut sources, mut heredocs) = (Vec::new(), Vec::new());
        for source in &request.paths.sources {
            match source {
                CopySource::Path(word) => match self.expand(state, word) {
                    Some(path) => {
                        fine &= self.check_source(request, &path, word);
                        sources.push(path);
                    }
                    None => fine = false,
                },
                CopySource::Heredoc(heredoc) => match words::expand_heredoc(&mut self.report, heredoc, &state.scope) {
                    Some(body) => heredocs.push((heredoc.name.clone(), body.into_bytes())),
                    None => fine = false,
                },
            }
        }
        let word = &request.paths.destination;
        let destination_text = self.expand(state, word)?;
        let last = destination_text.rsplit('/').next().unwrap_or_default();
        let is_directory = matches!(last, "" | "." | "..");
        if sources.len() + heredocs.len() > 1 && !is_directory {
            let message = format!("with more than one source the destination of {} must be a directory", request.name);
            let hint = format!("write `{destination_text}/`");
            self.report.error("DestinationNotDirectory", word.span, message, Some(hint));
        }
        let destination = Destination { path: state.directory().join(&destination_text), is_directory };
        fine.then_some(Files { sources, heredocs, destination, destination_text })
    }

    fn check_source(&mut self, request: &Request<'_>, path: &str, word: &Word) -> bool {
        let what = if is_git(path) {
            "ADD of a git repository"
        } else if is_url(path) {
            "ADD of a URL"
        } else {
            return true;
        };
        if request.name == "COPY" {
            self.report.error("CopyFromUrl", word.span, "COPY cannot fetch from the network".to_owned(), None);
            return false;
        }
        self.refuse_add(what, word.span);
        false
    }
}

fn created_by(request: &Request<'_>, files: &Files, (owner, mode): (Option<&str>, Option<&str>)) -> String {
    let mut text = request.name.to_owned();
    if request.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [(" --chown=", owner), (" --chmod=", mode)] {
        if let Some(value) = value {
            text.push_str(flag);
            text.push_str(value);
        }
    }
    for source in &files.sources {
        text.push(' ');
        text.push_str(source);
    }
    for (name, _) in &files.heredocs {
        text.push_str(" <<");
        text.push_str(name);
    }
    format!("{text} {} # buildkit", files.destination_text)
}

fn is_url(path: &str) -> bool {
    let lower = path.get(..8).unwrap_or(path).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

fn is_git(path: &str) -> bool {
    let repository = path.split(['#', '?']).next().unwrap_or_default();
    let remote = is_url(path) || path.starts_with("github.com/");
    path.starts_with("git@")
        || path.starts_with("git://")
        || path.starts_with("ssh://")
        || (remote && repository.strip_suffix(".git").is_some())
}

/// The place of a flag within its instruction; the instruction where continuations make that unknown.
fn flag_span(located: &Located, flag: &str) -> Span {
    let length = located.span.end.saturating_sub(located.span.start);
    let exact = u32::try_from(located.text.len()).is_ok_and(|text| text == length);
    match located.text.find(flag).and_then(|offset| u32::try_from(offset).ok()).filter(|_| exact) {
        Some(offset) => {
            let start = located.span.start + offset;
            Span { start, end: start + u32::try_from(flag.len()).unwrap_or(0) }
        }
        None => located.span,
    }
}
