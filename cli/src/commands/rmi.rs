//! `bld rmi`: takes names away, and images whose last name goes.

use bld_cache::Store;
use bld_executor::image::ImagesError;
use bld_executor::image::local;

use super::Session;
use super::image_error;
use super::print;
use super::shown::names as names_of;
use crate::args::images::RmiArgs;
use crate::error::CommandError;
use crate::ui::human_size;
use crate::ui::plain::write_line;

pub(super) fn run(session: &Session, args: &RmiArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let mut failures = Vec::new();
    let mut removed = false;
    for text in &args.images {
        match remove(&store, text, args.force) {
            Ok(lines) => {
                print(&lines)?;
                removed = true;
            }
            Err(error) => failures.push(error),
        }
    }
    let freed =
        if args.no_prune { bld_cache::store::Freed::default() } else { store.garbage().remove_unreferenced()? };
    if removed && freed.bytes > 0 {
        write_line(&format!("Freed {}", human_size(freed.bytes)));
    }
    CommandError::together(failures, "images were not removed")
}

/// Takes away one name, or an image named by ID; answers what to print.
fn remove(store: &Store, text: &str, force: bool) -> Result<String, CommandError> {
    if let Ok(name) = local::full_name(text)
        && let Some(descriptor) = store.images().remove(&name)?
    {
        let mut out = format!("Untagged: {}\n", crate::reference::familiar(&name));
        if names_of(store, &descriptor)?.is_empty() {
            store.images().remove_untagged(&descriptor.digest)?;
            out.push_str(&format!("Deleted: {}\n", descriptor.digest));
        }
        return Ok(out);
    }
    let descriptor = match local::locate(store, text) {
        Ok((descriptor, _)) => descriptor,
        Err(ImagesError::NotFound { similar, .. }) => {
            if force {
                return Ok(String::new());
            }
            let hint = similar.map(|similar| format!("did you mean `{similar}`?"));
            return Err(CommandError::failed(format!("no such image: `{text}`"))
                .hint(hint.unwrap_or_else(|| "`bld images` lists what there is".to_owned())));
        }
        Err(error) => return Err(image_error(&error)),
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
