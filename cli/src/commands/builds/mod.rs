//! `bld builds`: what is recorded of builds.

mod show;

use std::fs::File;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::Path;

use bld_cache::store::Build;
use bld_solver::record::BuildRecord;
use bld_solver::record::Status;

use super::Session;
use super::exported;
use super::print;
use super::recorded::Recorded;
use super::steps;
use crate::args::builds::BuildsArgs;
use crate::args::builds::BuildsCommand;
use crate::args::builds::BuildsExportArgs;
use crate::args::builds::BuildsListArgs;
use crate::args::builds::BuildsRemoveArgs;
use crate::environment;
use crate::error::CommandError;
use crate::reference;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_time;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;
use crate::ui::plain::write_line;

pub(super) fn run(session: &Session, args: &BuildsArgs) -> Result<(), CommandError> {
    match &args.command {
        None => list(session, &args.list),
        Some(BuildsCommand::Ls(args)) => list(session, args),
        Some(BuildsCommand::Show(args)) => show::run(session, args),
        Some(BuildsCommand::Logs(args)) => super::logs::run(session, args),
        Some(BuildsCommand::Rm(args)) => remove(session, args),
        Some(BuildsCommand::Export(args)) => export(session, args),
    }
}

/// The fields of a row, and what stands above them.
const HEADINGS: [(&str, &str); 12] = [
    ("Cached", "CACHED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "WHEN"),
    ("Dockerfile", "DOCKERFILE"),
    ("Duration", "TIME"),
    ("ID", "ID"),
    ("Image", "IMAGE"),
    ("Project", "PROJECT"),
    ("Ran", "RAN"),
    ("Status", "STATUS"),
    ("Steps", "STEPS"),
    ("Target", "TARGET"),
];

const STANDARD: &str =
    "{{.ID}}\t{{.CreatedSince}}\t{{.Project}}\t{{.Target}}\t{{.Status}}\t{{.Steps}}\t{{.Duration}}\t{{.Image}}";

/// So many builds are listed outside of projects.
const NEWEST: usize = 20;

/// So much of a directory and of an image's name is shown.
const SHOWN: usize = 36;

fn list(session: &Session, args: &BuildsListArgs) -> Result<(), CommandError> {
    let format = ListFormat::parse(args.format.as_deref(), STANDARD)?;
    let filters = Filters::parse(&args.filters)?;
    let store = session.open_existing_store()?;
    let all = store.builds().newest(None, usize::MAX)?;
    let count = all.len();
    let those = if args.all || filters.project.is_some() { all } else { steps::of_this_project(all)? };
    let others = if args.all || filters.project.is_some() { 0 } else { count - those.len() };
    // In no project: nobody asked for all there are.
    let is_open = !args.all && !args.quiet && args.filters.is_empty() && matches!(format, ListFormat::Table(_));
    let is_whole_store = is_open && others == 0 && !is_in_project(&those)?;
    let most = args.last.or(is_whole_store.then_some(NEWEST));
    let mut left_out = 0;
    let mut found: Vec<(Build, BuildRecord)> = Vec::new();
    for build in those {
        if most.is_some_and(|most| found.len() >= most) {
            left_out += 1;
            continue;
        }
        match steps::read_record(&build) {
            Ok(record) if filters.fit(&build, &record) => found.push((build, record)),
            Ok(_) => {}
            Err(error) => write_line(&format!("note: {}", one_line(error.message()))),
        }
    }
    let id = |build: &Build| if args.no_trunc { build.id.clone() } else { steps::short_id(&build.id).to_owned() };
    if args.quiet && !matches!(format, ListFormat::Lines(_)) {
        let ids = found.iter().flat_map(|(build, _)| [id(build), "\n".to_owned()]);
        return print(&ids.collect::<String>());
    }
    let rows: Vec<Value> = found.iter().map(|(build, record)| row(args, id(build), build, record)).collect();
    print(&format.render(&HEADINGS, &rows)?)?;
    if others > 0 && matches!(format, ListFormat::Table(_)) {
        let builds = if others == 1 { "1 build".to_owned() } else { format!("{others} builds") };
        write_line(&format!("note: {builds} of other projects: --all lists them"));
    }
    if left_out > 0 && args.last.is_none() {
        write_line(&format!(
            "note: these are the newest {NEWEST} of {count} builds: --all lists them, -n N the newest N"
        ));
    }
    Ok(())
}

/// Whether the working directory is in the project of these builds.
fn is_in_project(builds: &[Build]) -> Result<bool, CommandError> {
    let here = environment::absolute(Path::new(""))?;
    let is_here = |build: &Build| {
        let context = Path::new(steps::directory(&build.project));
        context.is_absolute() && here.starts_with(context)
    };
    Ok(builds.iter().any(is_here))
}

fn row(args: &BuildsListArgs, id: String, build: &Build, record: &BuildRecord) -> Value {
    let (ran, cached) = record.counts();
    let created = jiff::Timestamp::from_microsecond(record.started_us).ok();
    let created = created.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string());
    let project = steps::directory(&build.project);
    let project = if project.is_empty() { &record.context } else { project };
    let cut = |text: &str| if args.no_trunc { text.to_owned() } else { end_of(text) };
    let duration = if record.status == Status::Unfinished { "-".to_owned() } else { human_time(record.wall_us) };
    let values = [
        cached.to_string(),
        created,
        age(record),
        one_line(&record.dockerfile),
        duration,
        id,
        cut(&one_line(&image(record))),
        cut(&one_line(project)),
        ran.to_string(),
        status(record.status).to_owned(),
        if record.status == Status::Unfinished { "-".to_owned() } else { record.tally() },
        record.target.as_deref().map_or_else(|| "-".to_owned(), one_line),
    ];
    Value::Struct(HEADINGS.iter().zip(values).map(|((field, _), value)| Field::new(field, value)).collect())
}

/// How long ago a build began.
pub(super) fn age(record: &BuildRecord) -> String {
    human_age(environment::now().seconds - record.started_us.div_euclid(1_000_000))
}

/// How a build ended, in a word.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Unfinished => "unfinished",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
    }
}

/// The name of what was made, else its digest.
fn image(record: &BuildRecord) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in record.images.iter().flat_map(|image| &image.names) {
        let name = reference::familiar(name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match (names.as_slice(), record.images.first()) {
        ([], None) => "-".to_owned(),
        ([], Some(image)) => image.digest.chars().take("sha256:".len() + 12).collect(),
        (names, _) => names.join(", "),
    }
}

/// The end of a long text: of directories and names it says most.
fn end_of(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(count + 1 - SHOWN)).collect()
}

/// What `--filter` asks for. Of several states one is enough.
#[derive(Debug, Default)]
struct Filters {
    states: Vec<Status>,
    project: Option<String>,
}

impl Filters {
    fn parse(texts: &[String]) -> Result<Filters, CommandError> {
        let mut filters = Filters::default();
        for text in texts {
            let refuse = |reason: &str| CommandError::usage(format!("`--filter {text}`: {reason}"));
            let (key, value) = text.split_once('=').ok_or_else(|| refuse("it is not of the form KEY=VALUE"))?;
            match key.trim() {
                "status" => {
                    let states = [Status::Succeeded, Status::Failed, Status::Canceled, Status::Unfinished];
                    let state = states.into_iter().find(|state| status(*state) == value.trim());
                    let refused = || {
                        refuse("there is no such status").hint("they are succeeded, failed, canceled and unfinished")
                    };
                    filters.states.push(state.ok_or_else(refused)?);
                }
                "project" => filters.project = Some(value.to_owned()),
                _ => return Err(refuse("there is no such filter").hint("the filters are status, project")),
            }
        }
        Ok(filters)
    }

    fn fit(&self, build: &Build, record: &BuildRecord) -> bool {
        let is_of = |wanted: &String| {
            let project = Path::new(steps::directory(&build.project));
            let is_there = |path: &Path| path.components().eq(project.components());
            let last = project.file_name().is_some_and(|last| last == wanted.as_str());
            last || is_there(Path::new(wanted))
                || environment::absolute(Path::new(wanted)).is_ok_and(|path| is_there(&path))
        };
        (self.states.is_empty() || self.states.contains(&record.status)) && self.project.as_ref().is_none_or(is_of)
    }
}

fn remove(session: &Session, args: &BuildsRemoveArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    // All are found before one goes: `-1` and `-2` mean what they meant when they were typed.
    let mut ids: Vec<String> = Vec::new();
    if args.all {
        ids.extend(store.builds().newest(None, usize::MAX)?.into_iter().map(|build| build.id));
    }
    for text in &args.builds {
        if exported::path(text).is_some() {
            return Err(CommandError::usage(format!("`{text}` is a file, and no build of the store")));
        }
        let id = steps::find_stored(&store, Some(text))?.id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    for id in &ids {
        store.builds().remove(id)?;
        print(&format!("Deleted: {id}\n"))?;
    }
    Ok(())
}

fn export(session: &Session, args: &BuildsExportArgs) -> Result<(), CommandError> {
    let recorded = Recorded::find(session, args.build.as_deref())?;
    let bytes = for_others(&recorded)?;
    let Some(path) = &args.output else { return print(&(String::from_utf8_lossy(&bytes).into_owned() + "\n")) };
    let open = |log: &_| recorded.open(log);
    if path == Path::new("-") {
        let stdout = std::io::stdout().lock();
        if stdout.is_terminal() {
            return Err(CommandError::usage(
                "standard output is a terminal: redirect it or name a file with `-o FILE`",
            ));
        }
        let mut stdout = exported::write(stdout, &recorded.record, &bytes, open)?;
        return stdout.flush().map_err(|error| CommandError::stdout(&error));
    }
    let failed = |error: &std::io::Error| CommandError::failed(format!("cannot write {}: {error}", path.display()));
    let mut file = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => {
            let mut file = File::create(path).map_err(|error| failed(&error))?;
            file.write_all(&bytes).map_err(|error| failed(&error))?;
            file
        }
        Some("tar") => {
            let file = std::io::BufWriter::new(File::create(path).map_err(|error| failed(&error))?);
            let written = exported::write(file, &recorded.record, &bytes, open)?;
            written.into_inner().map_err(|error| failed(error.error()))?
        }
        _ => {
            return Err(CommandError::usage(format!("`-o {}` is neither a .tar nor a .json file", path.display()))
                .hint("FILE.tar gets the record and the logs, FILE.json the record alone"));
        }
    };
    file.flush().map_err(|error| failed(&error))
}

/// The record without what only this store can use: see `StepRecord::exec`.
fn for_others(recorded: &Recorded) -> Result<Vec<u8>, CommandError> {
    let mut record = recorded.record.clone();
    for step in &mut record.steps {
        step.exec = None;
    }
    Ok(serde_json::to_vec_pretty(&record)?)
}
