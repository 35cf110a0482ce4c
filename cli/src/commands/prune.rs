//! `bld prune`: removes what nothing needs.

use bld_executor::image::local;

use super::Session;
use super::print;
use crate::args::images::PruneArgs;
use crate::environment;
use crate::error::CommandError;
use crate::ui::human_size;

pub(super) fn run(session: &Session, args: &PruneArgs) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    let before = store.garbage().usage()?.total();
    let nameless: Vec<_> = store.images().list()?.into_iter().filter(|(name, _)| name.is_none()).collect();
    let freed = if args.all {
        // Their layers' directories go: what their files take up is found out now or never.
        for (_, image) in store.images().list()? {
            local::size(&store, &image, &environment::host_platform()).ok();
        }
        store.garbage().prune_all()?
    } else {
        store.images().remove_all_untagged()?;
        store.garbage().remove_unreferenced()?
    };
    // Not everything that goes was counted when it was made: cache mounts and logs grow afterwards.
    let gone = before.saturating_sub(store.garbage().usage()?.total());
    let mut lines: Vec<String> = nameless.iter().map(|(_, image)| format!("Deleted: {}", image.digest)).collect();
    lines.push(format!("Total reclaimed space: {}\n", human_size(gone.max(freed.bytes))));
    print(&lines.join("\n"))
}
