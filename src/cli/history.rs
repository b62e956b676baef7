//! `tidegate history rebuild`.

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::serve::exit;
use super::{Common, output};
use crate::app;
use crate::config::Flags;

/// The history that the API answers from
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidegate history rebuild                                      the one in .tidegate\n  \
    DATABASE_URL=sqlite:///var/lib/tidegate/history.db tidegate history rebuild"
)]
pub(super) struct History {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Drop the store, so that the next process with the role `project` makes it anew from the topics; no topic is touched
    #[command(
        after_help = "Examples:\n  tidegate history rebuild                                      the one in .tidegate\n  \
        DATABASE_URL=sqlite:///var/lib/tidegate/history.db tidegate history rebuild"
    )]
    Rebuild,
}

pub(super) fn run(common: &Common, command: &History) -> Result<(), Exit> {
    let config = common.load(Flags::new())?;
    match command.action {
        Action::Rebuild => output::print(&format!("{}\n", app::drop_history(&config).map_err(exit)?)),
    }
}
