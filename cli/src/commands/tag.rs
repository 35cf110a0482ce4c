//! `bld tag`: further names for an image.

use bld_executor::image::local;

use super::Session;
use super::image_error;
use crate::args::images::TagArgs;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &TagArgs) -> Result<(), CommandError> {
    let names = args.names.iter().map(|name| crate::reference::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let store = session.open_existing_store()?;
    let _lease = store.lease()?;
    let (descriptor, _) = local::locate(&store, &args.image).map_err(|error| image_error(&error))?;
    for name in names {
        store.images().set(&name.to_string(), &descriptor)?;
    }
    Ok(())
}
