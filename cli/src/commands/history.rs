//! `bld history`: the steps an image was made in, in docker's columns, newest first.

use bld_executor::image::local;
use bld_oci::image::steps;
use jiff::Timestamp;

use super::Session;
use super::image_error;
use super::print;
use crate::args::HistoryArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::human_age;
use crate::ui::human_size;
use crate::ui::sanitize;
use crate::ui::table;

/// How much of a command is shown, as docker does.
const SHOWN: usize = 45;

pub(super) fn run(session: &Session, args: &HistoryArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let platform = environment::host_platform();
    let (image, _) = local::find_any(&store, &args.image, &platform).map_err(|error| image_error(&error))?;
    let now = environment::now().seconds;
    let mut rows = Vec::new();
    let sizes = local::layer_sizes(&store, &image.config).map_err(|error| image_error(&error))?;
    let mut sizes = sizes.into_iter();
    for step in steps(&image.config, &image.manifest)? {
        let text = |field: &str| step.history.get(field).and_then(|value| value.as_str()).unwrap_or_default();
        let created = text("created")
            .parse::<Timestamp>()
            .map_or_else(|_| "N/A".to_owned(), |created| human_age(now - created.as_second()));
        let command = sanitize(&text("created_by").replace(['\n', '\t'], " "));
        let command = if args.no_trunc || command.chars().count() <= SHOWN {
            command
        } else {
            command.chars().take(SHOWN - 1).chain(['…']).collect()
        };
        let size = step.layer.as_ref().map_or(0, |layer| sizes.next().flatten().unwrap_or(layer.blob.size));
        rows.push(vec!["<missing>".to_owned(), created, command, human_size(size), sanitize(text("comment"))]);
    }
    rows.reverse();
    if let Some(newest) = rows.first_mut() {
        let id = image.manifest.config.digest;
        newest[0] = if args.no_trunc { id.to_string() } else { id.hex().chars().take(12).collect() };
    }
    print(&table::render(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows))
}
