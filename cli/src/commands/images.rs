//! `bld images`: what the local store holds, in docker's columns, newest first.

use bld_oci::Digest;

use super::Session;
use super::entries::Entry;
use super::entries::Filters;
use super::entries::entries;
use super::print;
use crate::args::images::ImagesArgs;
use crate::environment;
use crate::error::CommandError;
use crate::reference;
use crate::template::Field;
use crate::template::Value;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::listing::ListFormat;
use crate::ui::one_line;
use crate::ui::plain::write_line;

const FILTERS: [&str; 6] = ["dangling", "label", "reference", "before", "since", "until"];

/// The fields of a row, and what docker writes above them.
const HEADINGS: [(&str, &str); 10] = [
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const STANDARD: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

pub(super) fn run(session: &Session, args: &ImagesArgs) -> Result<(), CommandError> {
    let format = ListFormat::parse(args.format.as_deref(), if args.digests { WITH_DIGESTS } else { STANDARD })?;
    let filters = Filters::parse(&args.filters, &FILTERS)?;
    let wanted = args.name.as_deref().map(Wanted::parse).transpose()?;
    let store = session.open_existing_store()?;
    let mut found = filters.apply(&store, entries(&store)?)?;
    found.retain(|entry| wanted.as_ref().is_none_or(|wanted| wanted.is(entry)));
    for entry in &found {
        if let Err(error) = &entry.size {
            let shown = entry.name.as_deref().map_or_else(|| shown_id(args, entry.id), reference::familiar);
            write_line(&format!("note: image {shown} cannot be read: {}", one_line(error.message())));
        }
    }
    if args.quiet && !matches!(format, ListFormat::Lines(_)) {
        let mut ids: Vec<String> = found.iter().map(|entry| shown_id(args, entry.id)).collect();
        ids.dedup();
        ids.push(String::new());
        return print(&ids.join("\n"));
    }
    let rows: Vec<Value> = found.iter().map(|entry| row(args, entry)).collect();
    print(&format.render(&HEADINGS, &rows)?)
}

fn row(args: &ImagesArgs, entry: &Entry) -> Value {
    let none = || "<none>".to_owned();
    let (repository, tag) = entry.name.as_deref().map_or_else(|| (none(), none()), reference::split);
    let age = |created: jiff::Timestamp| human_age(environment::now().seconds - created.as_second());
    let not_known = || "N/A".to_owned();
    let created_at =
        entry.created.map_or_else(not_known, |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string());
    let values = [
        not_known(),
        created_at,
        entry.created.map_or_else(not_known, age),
        entry.descriptor.digest.to_string(),
        shown_id(args, entry.id),
        repository,
        not_known(),
        entry.size.as_ref().map_or_else(|_| "damaged".to_owned(), |size| human_size(*size)),
        tag,
        not_known(),
    ];
    Value::Struct(HEADINGS.iter().zip(values).map(|((field, _), value)| Field::new(field, value)).collect())
}

fn shown_id(args: &ImagesArgs, id: Digest) -> String {
    if args.no_trunc { id.to_string() } else { id.hex().chars().take(12).collect() }
}

/// What NAME stands for.
enum Wanted {
    /// A repository, and perhaps a tag.
    Name(String, Option<String>),
    /// The same with wildcards.
    Pattern(Filters),
}

impl Wanted {
    fn parse(text: &str) -> Result<Wanted, CommandError> {
        if text.contains(['*', '?', '[']) {
            return Ok(Wanted::Pattern(Filters::parse(&[format!("reference={text}")], &["reference"])?));
        }
        // What is no name names no image.
        let full = reference::parse(text).map_or_else(|_| text.to_owned(), |reference| reference.to_string());
        let (repository, tag) = reference::split(&full);
        Ok(Wanted::Name(repository, text.rsplit('/').next().is_some_and(|last| last.contains(':')).then_some(tag)))
    }

    fn is(&self, entry: &Entry) -> bool {
        match self {
            Wanted::Pattern(filters) => filters.has_name(entry),
            Wanted::Name(repository, tag) => entry
                .name
                .as_deref()
                .map(reference::split)
                .is_some_and(|found| found.0 == *repository && tag.as_ref().is_none_or(|tag| found.1 == *tag)),
        }
    }
}
