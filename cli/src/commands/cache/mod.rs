//! `bld cache`: looks into what is known of steps, and removes parts of it.

pub(super) mod limit;

mod list;
mod mounts;
mod remove;
mod rows;
mod show;
mod usage;

use super::Session;
use crate::args::cache::CacheCommand;
use crate::args::cache::CacheMountCommand;
use crate::error::CommandError;

pub(super) fn run(session: &Session, command: &CacheCommand) -> Result<(), CommandError> {
    let store = session.open_existing_store()?;
    match command {
        CacheCommand::Ls(args) => list::run(&store, args),
        CacheCommand::Show(args) => show::run(&store, args),
        CacheCommand::Rm(args) => remove::run(&store, args),
        CacheCommand::Du(args) => usage::run(&store, args),
        CacheCommand::Mount(args) => match &args.command {
            CacheMountCommand::Ls(args) => mounts::list(&store, args),
            CacheMountCommand::Browse(args) => mounts::browse(&store, args),
            CacheMountCommand::Rm(args) => mounts::remove(&store, args),
        },
    }
}
