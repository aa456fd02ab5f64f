//! What is looked at before something goes on: whether there is anything, and whether this command made it.

use super::Usage;
use srnas_basics::text::shell;
use srnas_learner::RunDir;
use std::{fmt, fs, path::Path};

/// What a run directory may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The training of a policy.
    Training,
    /// A search by measurements made on the spot.
    Search,
}

impl Kind {
    /// What a directory with a configuration holds; nothing that is known, where that cannot be told.
    pub fn of(run_dir: &Path) -> Option<Kind> {
        let text = fs::read_to_string(run_dir.join(RunDir::CONFIG)).ok()?;
        let config: toml::Table = text.parse().ok()?;
        // A search is by an oracle; a training has tasks.
        match (config.get("oracle").is_some_and(toml::Value::is_str), config.contains_key("tasks")) {
            (true, _) => Some(Kind::Search),
            (false, true) => Some(Kind::Training),
            (false, false) => None,
        }
    }

    /// How it goes on.
    fn command(self) -> &'static str {
        match self {
            Kind::Training => "srnas run --resume --run-dir",
            Kind::Search => "srnas search --resume --budget N --run-dir",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Training => "the training of a policy",
            Kind::Search => "a search",
        })
    }
}

/// Refuses to go on where there is nothing, or what another command made.
///
/// # Errors
/// Says what is there and what to do.
pub fn check(run_dir: &Path, wanted: Kind) -> anyhow::Result<()> {
    RunDir::resumable(run_dir)?;
    match Kind::of(run_dir) {
        Some(found) if found != wanted => {
            let path = run_dir.display();
            Err(Usage(format!(
                "{path} holds {found}, not {wanted}; go on with it by `{} {}`",
                found.command(),
                shell(run_dir)
            ))
            .into())
        }
        _ => Ok(()),
    }
}
