//! What a process may do, and what it does.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes events by REST
    Ingest,
    /// Matches events to integrations
    Match,
    /// Delivers
    Deliver,
    /// Keeps the history that the API answers from; one process
    Project,
    /// Serves the admin API
    Api,
}

/// The roles of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    pub fn of(roles: &[Role]) -> Self {
        Roles(roles.iter().copied().collect())
    }

    pub fn all() -> Self {
        Roles::of(Role::value_variants())
    }

    pub(super) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

/// For the log of the process.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter_map(Role::to_possible_value);
        let names: Vec<_> = names.map(|role| role.get_name().to_owned()).collect();
        f.write_str(&names.join(","))
    }
}
