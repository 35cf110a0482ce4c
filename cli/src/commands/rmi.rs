//! `bld rmi`: takes names away, and images whose last name goes.

use bld_cache::Store;
use bld_oci::image::Descriptor;

use super::Session;
use super::print;
use crate::args::RmiArgs;
use crate::error::CommandError;

pub(super) fn run(session: &Session, args: &RmiArgs) -> Result<(), CommandError> {
    let store = session.open_store()?;
    let mut failures = Vec::new();
    for text in &args.images {
        match remove(&store, text, args.force) {
            Ok(lines) => print(&lines)?,
            Err(error) => failures.push(error),
        }
    }
    store.garbage().remove_unreferenced()?;
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        count => {
            for failure in &failures {
                // The code of all of them together is given below.
                let _code = failure.report();
            }
            Err(CommandError::failed(format!("{count} images were not removed")))
        }
    }
}

/// Takes away one name, or an image named by ID; answers what to print.
fn remove(store: &Store, text: &str, force: bool) -> Result<String, CommandError> {
    if let Ok(name) = bld_executor::image::local::full_name(text)
        && let Some(descriptor) = store.images().remove(&name)?
    {
        let mut out = format!("Untagged: {}\n", crate::reference::familiar(&name));
        if names_of(store, &descriptor)?.is_empty() {
            store.images().remove_untagged(&descriptor.digest)?;
            out.push_str(&format!("Deleted: {}\n", descriptor.digest));
        }
        return Ok(out);
    }
    let Some(descriptor) = store.images().find(text)? else {
        return Err(CommandError::failed(format!("no such image: `{text}`")).hint("`bld images` lists what there is"));
    };
    let names = names_of(store, &descriptor)?;
    if names.len() > 1 && !force {
        let names = names.iter().map(|name| crate::reference::familiar(name)).collect::<Vec<_>>().join(", ");
        return Err(CommandError::failed(format!("`{text}` has several names ({names})"))
            .hint("remove it by name, or with --force under all of them"));
    }
    let mut out = String::new();
    for name in &names {
        store.images().remove(name)?;
        out.push_str(&format!("Untagged: {}\n", crate::reference::familiar(name)));
    }
    store.images().remove_untagged(&descriptor.digest)?;
    out.push_str(&format!("Deleted: {}\n", descriptor.digest));
    Ok(out)
}

fn names_of(store: &Store, descriptor: &Descriptor) -> Result<Vec<String>, CommandError> {
    let all = store.images().list()?;
    Ok(all.into_iter().filter(|(_, other)| other.digest == descriptor.digest).filter_map(|(name, _)| name).collect())
}
