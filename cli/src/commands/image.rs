//! `bld image`: the commands that deal with images, the way docker groups them.

use super::Session;
use crate::args::images::ImageCommand;
use crate::error::CommandError;

pub(super) fn run(session: &Session, command: &ImageCommand) -> Result<(), CommandError> {
    match command {
        ImageCommand::Build(args) => super::build::run(session, args),
        ImageCommand::History(args) => super::history::run(session, args),
        ImageCommand::Import(args) => super::import::run(session, args),
        ImageCommand::Inspect(args) => super::inspect::run(session, args),
        ImageCommand::Load(args) => super::load::run(session, args),
        ImageCommand::Ls(args) => super::images::run(session, args),
        ImageCommand::Prune(args) => super::image_prune::run(session, args),
        ImageCommand::Pull(args) => super::pull::run(session, args),
        ImageCommand::Push(args) => super::push::run(session, args),
        ImageCommand::Rm(args) => super::rmi::run(session, args),
        ImageCommand::Save(args) => super::save::run(session, args),
        ImageCommand::Tag(args) => super::tag::run(session, args),
    }
}
