//! Checks of what a run needs, before it needs it: each says that it is well, or what to do.

mod machine;
mod network;
mod run;

pub use machine::machine;
pub use network::{learner, ports};
pub use run::{benchmarks, tasks};

use serde::Serialize;
use std::fmt;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Ok,
    /// A run works, but worse than it could.
    Warning,
    /// A run would fail.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    #[serde(rename = "check")]
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was found and, where it is not well, what to do.
    pub message: String,
}

impl Check {
    /// A check that ended well.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, message: message.into() }
    }

    /// A check that found something worth changing.
    pub fn warning(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Status::Warning, message: message.into() }
    }

    /// A check that found what would make a run fail.
    pub fn failed(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Status::Failed, message: message.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
        };
        write!(f, "{status:<9}{:<15}{}", self.name, self.message)
    }
}
