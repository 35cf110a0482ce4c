//! The typed syntax tree of a Dockerfile.
//!
//! Nothing here is expanded: a [`Word`] still holds its `$variables` and quotes, because only the solver knows the values in
//! force. Every node carries the [`Span`] it came from, so that any later mistake can be shown in the user's own text.

use crate::source::Span;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// `# syntax=`, `# escape=` and `# check=`.
    pub directives: Directives,
    /// ARG instructions before the first FROM: they are visible in FROM lines only.
    pub global_args: Vec<ArgInstruction>,
    /// The stages in the order of the file.
    pub stages: Vec<Stage>,
}

/// The parser directives at the top of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The value of `# syntax=`, if any.
    pub syntax: Option<Text>,
    /// The escape character: `\` or `` ` ``.
    pub escape: char,
    /// The value of `# check=`, if any.
    pub check: Option<Text>,
}

/// A piece of text taken literally, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// Unexpanded text: quotes, escapes and `$variables` are still in it. Only [`crate::expand`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The raw text, line continuations already joined.
    pub raw: String,
    /// Where it stands.
    pub span: Span,
}

/// FROM and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The FROM instruction that opens the stage.
    pub from: From,
    /// What follows it up to the next FROM.
    pub instructions: Vec<Located>,
    /// Where the first ENV or ARG stood that was left out because of a mistake: from there on the value of any variable is unknown.
    pub values_unknown_from: Option<u32>,
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// What the stage starts from: an image, an earlier stage, `scratch` or a named context.
    pub base: Word,
    /// The stage's name in lower case.
    pub name: Option<Text>,
    /// The whole instruction, from its first character to the last of its last line.
    pub span: Span,
    /// The instruction as written, continuations joined, for progress lines.
    pub text: String,
    /// The comment directly above of the form `# NAME description`, without the name.
    pub doc: Option<String>,
    /// A `# check=` comment directly above: holds for the stage.
    pub check: Option<Text>,
}

/// One instruction and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The instruction.
    pub instruction: Instruction,
    /// The whole instruction, heredoc bodies included.
    pub span: Span,
    /// The first logical line as written, continuations joined, for progress lines and history.
    pub text: String,
    /// A `# check=` comment directly above.
    pub check: Option<Text>,
}

/// Every instruction but FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`.
    Add(Add),
    /// `ARG`.
    Arg(ArgInstruction),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`.
    Env(KeyValues),
    /// `EXPOSE`.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(KeyValues),
    /// `MAINTAINER`, never expanded.
    Maintainer(Text),
    /// `ONBUILD`.
    Onbuild(Onbuild),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(Word),
    /// `USER`.
    User(Word),
    /// `VOLUME`.
    Volume(Vec<Word>),
    /// `WORKDIR`.
    Workdir(Word),
}

/// A command in one of its two forms. Never expanded: the shell does that when the container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Text handed to the SHELL in force.
    Shell(String),
    /// A JSON array: the argument vector itself.
    Exec(Vec<String>),
}

/// `ENV` and `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValues {
    /// The pairs in the order written.
    pub pairs: Vec<(Word, Word)>,
    /// Written in the old `KEY value with blanks` form.
    pub legacy: bool,
}

/// `ARG name[=default] ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgInstruction {
    /// The declarations in the order written.
    pub declarations: Vec<ArgDeclaration>,
    /// The whole instruction.
    pub span: Span,
}

/// One `name[=default]` of an ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name as it is written: neither quotes nor variables mean anything in it.
    pub name: Text,
    /// The default.
    pub default: Option<Word>,
    /// The comment directly above of the form `# NAME description`, without the name.
    pub doc: Option<String>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`.
    None,
    /// `HEALTHCHECK [flags] CMD ...`; durations in nanoseconds, 0 = inherit.
    Command {
        /// The test.
        command: CommandLine,
        /// `--interval`.
        interval: u64,
        /// `--timeout`.
        timeout: u64,
        /// `--start-period`.
        start_period: u64,
        /// `--start-interval`.
        start_interval: u64,
        /// `--retries`, 0 = inherit.
        retries: u32,
    },
}

/// `ONBUILD <instruction>`: kept as text, parsed again when it triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The raw text of the trigger, heredoc bodies included: what goes into the image configuration.
    pub text: Text,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run.
    pub command: CommandLine,
    /// Here-documents of the line, in order. With a shell-form command the bodies are already part of what the shell gets: see
    /// [`RunScript`].
    pub heredocs: Vec<Heredoc>,
    /// How heredocs and command go together.
    pub script: RunScript,
    /// `--mount`, in order, each unexpanded.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<Word>,
    /// `--security`.
    pub security: Option<Word>,
    /// `--device`.
    pub devices: Vec<Word>,
}

/// How the command of a RUN is built when it has here-documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunScript {
    /// No here-document: [`Run::command`] is all.
    None,
    /// Only a here-document whose body starts with `#!`: the body is a file to execute.
    Shebang,
    /// Only a here-document: the body is the script of the SHELL in force.
    Body,
    /// A command with here-documents: the text and the bodies go to the shell unchanged (`Run::command` holds all of it).
    Shell,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, quotes removed.
    pub name: String,
    /// The body, leading tabs removed if `<<-`.
    pub body: String,
    /// Whether the body is subject to expansion: false if any part of the delimiter was quoted.
    pub expand: bool,
    /// The file descriptor in front of `<<`, if any.
    pub file_descriptor: Option<u32>,
    /// The `<<NAME` word.
    pub span: Span,
    /// The body's place.
    pub body_span: Span,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources and destination.
    pub paths: CopyPaths,
    /// `--from`, never expanded.
    pub from: Option<Text>,
    /// `--parents`.
    pub parents: bool,
    /// Flags shared with ADD.
    pub flags: CopyFlags,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources and destination.
    pub paths: CopyPaths,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// Flags shared with COPY.
    pub flags: CopyFlags,
}

/// Flags that COPY and ADD share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyFlags {
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order, never expanded.
    pub exclude: Vec<Text>,
}

/// Sources and destination of COPY and ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPaths {
    /// Paths, URLs and heredocs, in order; at least one.
    pub sources: Vec<CopySource>,
    /// The destination.
    pub destination: Word,
}

/// One source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a wildcard or (ADD) a URL.
    Path(Word),
    /// A here-document: the file's name is the delimiter.
    Heredoc(Heredoc),
}
