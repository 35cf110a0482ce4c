//! `bld images`: what the local store holds, in docker's columns, newest first.

use bld_cache::Store;
use bld_executor::image::local;
use bld_oci::Digest;
use bld_oci::image::Descriptor;
use jiff::Timestamp;

use super::Session;
use super::image_error;
use super::print;
use crate::args::ImagesArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::plain::write_line;
use crate::ui::table;

pub(super) fn run(session: &Session, args: &ImagesArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let mut rows = Vec::new();
    for (name, descriptor) in store.images().list()? {
        if args.name.as_deref().is_none_or(|wanted| matches(name.as_deref(), wanted)) {
            rows.push(match row(&store, args, name.clone(), &descriptor) {
                Ok(row) => row,
                Err(error) => damaged(args, name, &descriptor, &error),
            });
        }
    }
    rows.sort_by(|left, right| (right.0, &left.1).cmp(&(left.0, &right.1)));
    let cells: Vec<Vec<String>> = rows.into_iter().map(|(_, cells)| cells).collect();
    if args.quiet {
        let mut ids: Vec<String> = cells.into_iter().filter_map(|mut cells| cells.pop()).collect();
        ids.dedup();
        ids.push(String::new());
        return print(&ids.join("\n"));
    }
    let header: &[&str] = if args.digests {
        &["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    } else {
        &["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    };
    print(&table::render(header, &cells))
}

/// When it was made (to sort by), and its cells; with `-q` only the ID.
fn row(
    store: &Store,
    args: &ImagesArgs,
    name: Option<String>,
    descriptor: &Descriptor,
) -> Result<(i64, Vec<String>), CommandError> {
    let details = store.images().details(descriptor)?;
    let id = details.config.unwrap_or(descriptor.digest);
    let created = details.created.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = created.map_or(0, Timestamp::as_second);
    if args.quiet {
        return Ok((seconds, vec![shown_id(args, id)]));
    }
    let age = if created.is_some() { human_age(environment::now().seconds - seconds) } else { "N/A".to_owned() };
    let size = local::size(store, descriptor, &environment::host_platform()).map_err(|error| image_error(&error))?;
    Ok((seconds, cells(args, name, descriptor, [shown_id(args, id), age, human_size(size)])))
}

/// The row of an image that cannot be read: the others must still be seen, and it must be seen to be removed.
fn damaged(
    args: &ImagesArgs,
    name: Option<String>,
    descriptor: &Descriptor,
    error: &CommandError,
) -> (i64, Vec<String>) {
    let id = shown_id(args, descriptor.digest);
    let shown = name.as_deref().map_or_else(|| id.clone(), crate::reference::familiar);
    write_line(&format!("note: image {shown} cannot be read: {}", error.message()));
    if args.quiet {
        return (0, vec![id]);
    }
    (0, cells(args, name, descriptor, [id, "N/A".to_owned(), "damaged".to_owned()]))
}

/// A row: name, tag, the manifest's digest if asked for, and then what is known of the image.
fn cells(args: &ImagesArgs, name: Option<String>, descriptor: &Descriptor, known: [String; 3]) -> Vec<String> {
    let (repository, tag) =
        name.map_or_else(|| ("<none>".to_owned(), "<none>".to_owned()), |name| crate::reference::split(&name));
    let mut cells = vec![repository, tag];
    if args.digests {
        cells.push(descriptor.digest.to_string());
    }
    cells.extend(known);
    cells
}

fn shown_id(args: &ImagesArgs, id: Digest) -> String {
    if args.no_trunc { id.to_string() } else { id.hex().chars().take(12).collect() }
}

/// Whether an image is called `wanted`: a repository, or a repository with a tag.
fn matches(name: Option<&str>, wanted: &str) -> bool {
    let Some(name) = name else { return false };
    let (repository, tag) = crate::reference::split(name);
    let wanted = match crate::reference::parse(wanted) {
        Ok(reference) => (crate::reference::split(&reference.to_string()), wanted.contains(':')),
        Err(_) => return false,
    };
    let ((wanted_repository, wanted_tag), by_tag) = wanted;
    repository == wanted_repository && (!by_tag || tag == wanted_tag)
}
