//! COPY and ADD.

use bld_oci::ImagePath;
use bld_parser::ast::Add;
use bld_parser::ast::Copy;
use bld_parser::ast::CopyFlags;
use bld_parser::ast::CopyPaths;
use bld_parser::ast::CopySource;
use bld_parser::ast::Located;
use bld_parser::ast::Word;
use bld_parser::source::Span;
use bld_parser::suggest::meant_as_flag;

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
use crate::op::Op;
use crate::op::Selector;
use crate::op::Source;
use crate::remote;
use crate::remote::Remote;
use crate::remote::redacted;
use crate::worker::Resolved;

/// Name of the build context that is no named context.
pub(super) const MAIN_CONTEXT: &str = "context";

/// What is read at once.
enum Sources {
    /// Paths of one tree.
    Local(Vec<String>),
    /// ADD of something on the network.
    Remote(Remote),
}

/// What COPY and ADD have in common once ADD's own flags are seen to.
struct Request<'a> {
    name: &'static str,
    paths: &'a CopyPaths,
    flags: &'a CopyFlags,
    from: CopyFrom,
    /// The vertex behind [`CopyFrom::Input`].
    input: Option<VertexId>,
    /// What messages call the tree.
    tree: String,
    parents: bool,
    unpack: Option<bool>,
    /// ADD's flags for what comes from the network.
    remote: Option<RemoteFlags<'a>>,
}

/// Flags of ADD that say something about sources on the network.
struct RemoteFlags<'a> {
    checksum: Option<&'a Word>,
    keep_git_dir: Option<bool>,
    unpack: bool,
}

/// Expanded.
struct Files {
    sources: Vec<Sources>,
    /// Sources as the history shows them.
    source_texts: Vec<String>,
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
            tree: copy.from.as_ref().map(|from| self.tree_name(state, &from.value)).unwrap_or_default(),
            parents: copy.parents,
            unpack: Some(false),
            remote: None,
        };
        self.files(state, &request, located);
    }

    pub(super) fn add(&mut self, state: &mut StageState, add: &Add, located: &Located) {
        // `--unpack` is the default for what is local.
        let unpack = add.unpack.filter(|unpack| !unpack);
        let from = CopyFrom::Context(MAIN_CONTEXT.to_owned());
        let (paths, flags) = (&add.paths, &add.flags);
        let remote = Some(RemoteFlags {
            checksum: add.checksum.as_ref(),
            keep_git_dir: add.keep_git_dir,
            unpack: add.unpack == Some(true),
        });
        let request = Request {
            name: "ADD",
            paths,
            flags,
            from,
            input: None,
            tree: String::new(),
            parents: false,
            unpack,
            remote,
        };
        self.files(state, &request, located);
    }

    /// What `--from` names, and the vertex if it is one.
    pub(super) fn copy_source(
        &mut self,
        state: &StageState,
        name: &str,
        span: Span,
    ) -> Option<(CopyFrom, Option<VertexId>)> {
        let vertex = match self.stages.source(name, state.index)? {
            Reference::Scratch => self.scratch(),
            Reference::Stage(index) => self.lowered.get(&index)?.vertex,
            Reference::External(id) => match self.stages.external(id)?.resolved.as_ref()? {
                Resolved::Context(context) => return Some((CopyFrom::Context(context.clone()), None)),
                Resolved::Image(image) => self.image(id, image, span),
                Resolved::Remote(remote) => self.remote_tree(remote, span),
            },
        };
        Some((CopyFrom::Input(InputIndex(1)), Some(vertex)))
    }

    /// What messages call the tree that `--from` names.
    fn tree_name(&self, state: &StageState, name: &str) -> String {
        match self.stages.source(name, state.index) {
            Some(Reference::Stage(index)) => format!("stage `{}`", self.stages.label(index)),
            Some(Reference::External(id)) => match self.stages.external(id).and_then(|found| found.resolved.as_ref()) {
                Some(Resolved::Image(_)) => format!("image `{name}`"),
                _ => format!("build context `{name}`"),
            },
            Some(Reference::Scratch) => "`scratch`".to_owned(),
            None => String::new(),
        }
    }

    fn files(&mut self, state: &mut StageState, request: &Request<'_>, located: &Located) {
        let owner = self.parsed(state, request.flags.chown.as_ref(), "InvalidOwner", values::owner);
        let mode = self.parsed(state, request.flags.chmod.as_ref(), "InvalidMode", values::mode);
        let Some(files) = self.paths(state, request) else { return };
        let texts = (owner.as_ref().map(|(_, text)| text.as_str()), mode.as_ref().map(|(_, text)| text.as_str()));
        let created_by = created_by(request, &files, texts);
        let (owner, mode) = (owner.map(|(owner, _)| owner), mode.map(|(mode, _)| mode));
        let mut actions = Vec::new();
        let mut inputs: Vec<VertexId> = request.input.into_iter().collect();
        for sources in files.sources {
            let exclude = request.flags.exclude.iter().map(|text| text.value.clone()).collect();
            let (from, sources, exclude, unpack) = match sources {
                Sources::Local(paths) => (request.from.clone(), paths, exclude, request.unpack),
                Sources::Remote(remote) => {
                    inputs.push(self.remote(&remote, located.span));
                    let from = CopyFrom::Input(InputIndex(inputs.len()));
                    let unpacks = request.remote.as_ref().is_some_and(|flags| flags.unpack);
                    match remote {
                        Remote::Http(http) => {
                            (from, vec![literal(&http.name)], Vec::new(), if unpacks { None } else { Some(false) })
                        }
                        Remote::Git(_) => (from, vec!["/".to_owned()], exclude, Some(false)),
                    }
                }
            };
            actions.push(FileAction::Copy(CopyAction {
                from,
                selector: Selector { sources, exclude, parents: request.parents, tree: request.tree.clone() },
                destination: files.destination.clone(),
                owner: owner.clone(),
                mode: mode.clone(),
                unpack,
            }));
        }
        for (name, body) in files.heredocs {
            let destination = files.destination.clone();
            let (mode, owner) = (mode.clone(), owner.clone());
            actions.push(FileAction::Mkfile(Mkfile { name, destination, body, mode, owner }));
        }
        // Names are looked up in the base, and docker's own builder does not link if there is a mode.
        let link =
            request.flags.link && mode.is_none() && owner.as_ref().is_none_or(values::is_numeric) && !state.is_empty;
        let op = Op::File(FileOp { actions });
        // Split and joined at blanks of any kind, so that the text stays as it was written.
        let text: String = located.text.split_inclusive(char::is_whitespace).map(redacted).collect();
        let vertex = state.describe(op, &text, located.span);
        let base = if link { self.scratch() } else { state.vertex };
        let merge = Vertex { op: Op::Merge, no_cache: false, ..vertex.clone() };
        let mut vertex = self.graph.add(vertex, std::iter::once(base).chain(inputs));
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
                let hint = (code == "InvalidMode").then(|| mode_hint(&text));
                self.report.error(code, word.span, message, hint);
                None
            }
        }
    }

    fn paths(&mut self, state: &StageState, request: &Request<'_>) -> Option<Files> {
        let mut fine = true;
        let (mut sources, mut heredocs, mut source_texts) = (Vec::new(), Vec::new(), Vec::new());
        for source in &request.paths.sources {
            match source {
                CopySource::Path(word) => match self.expand(state, word) {
                    Some(path) => {
                        source_texts.push(redacted(&path));
                        match (self.remote_source(request, &path, word), sources.last_mut()) {
                            (Err(()), _) => fine = false,
                            (Ok(Some(remote)), _) => sources.push(Sources::Remote(remote)),
                            (Ok(None), Some(Sources::Local(paths))) => paths.push(path),
                            (Ok(None), _) => sources.push(Sources::Local(vec![path])),
                        }
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
        fine &= self.remote_flags(state, request, &mut sources).is_some();
        if source_texts.len() + heredocs.len() > 1 && !is_directory {
            // Whether it is one, only the image can tell; but these were hardly meant as paths.
            let mut paths = source_texts.iter().chain([&destination_text]);
            let comment = || format!("a comment needs a line of its own; else write `{destination_text}/`");
            let hint = paths.find_map(|path| meant_as_flag(path));
            let is_comment = source_texts.iter().any(|text| text.starts_with('#'));
            if let Some(hint) = hint.or_else(|| is_comment.then(comment)) {
                let message =
                    format!("with more than one source the destination of {} must be a directory", request.name);
                self.report.error("DestinationNotDirectory", word.span, message, Some(hint));
            }
        }
        let destination = Destination { path: state.directory().join(&destination_text), is_directory };
        fine.then_some(Files { sources, source_texts, heredocs, destination, destination_text })
    }

    /// The source on the network that `path` is. What is wrong with it is reported.
    fn remote_source(&mut self, request: &Request<'_>, path: &str, word: &Word) -> Result<Option<Remote>, ()> {
        let parsed = Remote::parse(path);
        if request.remote.is_some() || matches!(parsed, Ok(None)) {
            return parsed
                .map_err(|error| self.report.error("InvalidRemote", word.span, error.to_string(), error.hint()));
        }
        let hint = Some("ADD can: write ADD instead of COPY".to_owned());
        self.report.error("CopyFromUrl", word.span, "COPY cannot fetch from the network".to_owned(), hint);
        Err(())
    }

    /// Tells sources on the network what ADD's flags say. `None` if a flag makes no sense, which is reported.
    fn remote_flags(&mut self, state: &StageState, request: &Request<'_>, sources: &mut [Sources]) -> Option<()> {
        let Some(flags) = &request.remote else { return Some(()) };
        if let Some(keep) = flags.keep_git_dir {
            for source in sources.iter_mut() {
                if let Sources::Remote(Remote::Git(git)) = source {
                    git.keep_git_dir = keep;
                }
            }
        }
        let Some(word) = flags.checksum else { return Some(()) };
        let text = self.expand(state, word)?;
        if text.is_empty() {
            return Some(());
        }
        let outcome = match sources {
            [Sources::Remote(remote)] => expect_checksum(remote, &text),
            _ => Err("`--checksum` needs exactly one source, a URL or a git repository".to_owned()),
        };
        outcome.map_err(|message| self.report.error("InvalidChecksum", word.span, message, None)).ok()
    }

    /// The vertex that fetches something; one for all who want it.
    pub(super) fn remote(&mut self, remote: &Remote, span: Span) -> VertexId {
        if let Some((_, known)) = self.remotes.iter().find(|(known, _)| known == remote) {
            return *known;
        }
        let op = match remote.clone() {
            Remote::Http(http) => Op::Source(Source::Http(http)),
            Remote::Git(git) => Op::Source(Source::Git(git)),
        };
        let vertex = self.graph.add(fetching(op, remote.title(), span), []);
        self.remotes.push((remote.clone(), vertex));
        vertex
    }

    /// What a named context on the network holds: an archive is unpacked.
    pub(super) fn remote_tree(&mut self, remote: &Remote, span: Span) -> VertexId {
        let fetched = self.remote(remote, span);
        let Remote::Http(http) = remote else { return fetched };
        if let Some(unpacked) = self.unpacked.get(&fetched) {
            return *unpacked;
        }
        let op = Op::File(FileOp {
            actions: vec![FileAction::Copy(CopyAction {
                from: CopyFrom::Input(InputIndex(1)),
                selector: Selector {
                    sources: vec![literal(&http.name)],
                    exclude: Vec::new(),
                    parents: false,
                    tree: String::new(),
                },
                destination: Destination { path: ImagePath::root(), is_directory: true },
                owner: None,
                mode: None,
                unpack: None,
            })],
        });
        let scratch = self.scratch();
        let vertex = fetching(op, format!("UNPACK {}", remote.shown()), span);
        let unpacked = self.graph.add(vertex, [scratch, fetched]);
        self.unpacked.insert(fetched, unpacked);
        unpacked
    }
}

/// Tells a source what ADD's `--checksum` says; an empty one says nothing.
pub(super) fn expect_checksum(remote: &mut Remote, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    match remote {
        Remote::Http(http) => match text.parse() {
            Ok(checksum) => {
                http.checksum = Some(checksum);
                Ok(())
            }
            Err(_) => Err(format!("`{text}` is not a checksum: write sha256: and 64 hexadecimal digits")),
        },
        Remote::Git(git) => match remote::commit(text) {
            Ok(commit) if git.checksum.as_ref().is_none_or(|known| *known == commit) => {
                git.checksum = Some(commit);
                Ok(())
            }
            Ok(_) => Err("the URL asks for another checksum".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn fetching(op: Op, name: String, span: Span) -> Vertex {
    Vertex { span: Some(span), ..Vertex::new(op, name) }
}

/// The pattern that matches a name and nothing else. A name without wildcards is none and is taken as it stands.
fn literal(name: &str) -> String {
    let mut pattern = "/".to_owned();
    let is_pattern = name.contains(['*', '?', '[']);
    for character in name.chars() {
        match character {
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            '\\' if is_pattern => pattern.push_str("\\\\"),
            _ => pattern.push(character),
        }
    }
    pattern
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
    for source in &files.source_texts {
        text.push(' ');
        text.push_str(source);
    }
    for (name, _) in &files.heredocs {
        text.push_str(" <<");
        text.push_str(name);
    }
    format!("{text} {} # buildkit", files.destination_text)
}

/// What to write instead of a mode that is none.
fn mode_hint(text: &str) -> String {
    let listed =
        text.len() == 9 && text.bytes().zip(b"rwxrwxrwx").all(|(letter, bit)| letter == *bit || letter == b'-');
    if listed {
        let bits = text.bytes().fold(0_u32, |bits, letter| bits << 1 | u32::from(letter != b'-'));
        return format!("write it as a number: `--chmod={bits:o}`");
    }
    "write an octal number like `755`, or changes like `u=rwX,go=rX` or `+x`".to_owned()
}
