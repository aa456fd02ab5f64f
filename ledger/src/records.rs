//! What goes into the ledger's file and comes out of it, and why it cannot.

use serde::{Deserialize, Serialize};
use srnas_wire::Measurements;
use std::collections::BTreeMap;

/// What one batch of experience adds to the ledger.
#[derive(Debug)]
pub struct Record {
    /// Its measurements that are new.
    pub measurements: Measurements,
    /// What is taken in of its actor with it.
    pub progress: ActorRecord,
    /// Newest policy version when it came.
    pub policy_version: u64,
}

/// What a costly oracle said of an architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRecord {
    /// By what the architecture is paid for.
    pub key: u64,
    /// Its choices.
    pub choices: Vec<u8>,
    /// How much of a full training it took; 1 is all of it.
    pub fidelity: f64,
    /// What was paid, in full trainings: less than the fidelity where it went on after a shorter training.
    pub cost: f64,
    /// The value of the objective and every metric; or why it has none.
    pub said: Result<(f64, BTreeMap<String, f64>), String>,
}

/// What the ledger knows of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Name of the run.
    pub name: String,
    /// Name of the space.
    pub space: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name and family of each task, in the order of their indices.
    pub tasks: Vec<(String, String)>,
    /// Name and content hash (hex) of each benchmark.
    pub benchmarks: Vec<(String, String)>,
}

/// What was taken in of one incarnation of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRecord {
    /// Name of the actor.
    pub actor: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// Highest sequence number that was taken in.
    pub acknowledged: u64,
    /// Environment steps that it made.
    pub environment_steps: u64,
    /// Transitions taken in.
    pub transitions: u64,
    /// Episodes that ended.
    pub episodes: u64,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("the ledger {path}: {source}")]
    Sqlite {
        /// The file.
        path: String,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// It was written by a newer program.
    #[error(
        "the ledger {path} has schema {found}, and this version of srnas knows {known}; go on with the version that wrote it"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The server of a shared ledger, or the way to it, failed.
    #[error("the shared ledger {place}: {reason}")]
    Server {
        /// Its address, without a password.
        place: String,
        /// What was said.
        reason: String,
    },
    /// It is no ledger.
    #[error(
        "{path} is not a ledger of srnas, or its beginning is damaged: put a backup in its place (`srnas ledger backup` makes \
         one), or choose another directory with --run-dir"
    )]
    Foreign {
        /// The file.
        path: String,
    },
    /// It is not what was written.
    #[error(
        "the ledger {path} is damaged: {reason}; `srnas ledger verify {path}` says everything that is wrong, `srnas ledger \
         repair {path}` keeps what is whole and goes on with that; or put a backup in its place"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It belongs to another run.
    #[error("the ledger {path} is of another run: {difference}; choose another directory with --run-dir")]
    OtherRun {
        /// The file.
        path: String,
        /// What differs.
        difference: String,
    },
    /// Nothing can be kept of it.
    #[error(
        "nothing can be kept of the ledger {path}: {reason}; put a backup in its place, or begin anew with another --run-dir"
    )]
    Beyond {
        /// The file.
        path: String,
        /// What cannot be read.
        reason: String,
    },
    /// The new file cannot get its name.
    #[error("cannot write {path}: {source}")]
    Name {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its thread is gone.
    #[error("the ledger could not be written, so what came last is not acknowledged: the actors keep it")]
    Unwritten,
    /// No thread.
    #[error("cannot start the ledger's thread: {0}")]
    Thread(std::io::Error),
}

/// In what two runs differ, if they cannot share a ledger.
pub(super) fn difference(found: &RunRecord, wanted: &RunRecord) -> Option<String> {
    if found.space != wanted.space {
        return Some(format!("its space is {}, not {}", found.space, wanted.space));
    }
    if let Some((a, b)) = found.tasks.iter().zip(&wanted.tasks).find(|(a, b)| a != b) {
        return Some(format!("it has the task {} where {} is now", a.0, b.0));
    }
    if found.tasks.len() != wanted.tasks.len() {
        return Some(format!("it has {} tasks, not {}", found.tasks.len(), wanted.tasks.len()));
    }
    let other = wanted.benchmarks.iter().find(|b| !found.benchmarks.contains(b));
    other.map(|(name, hash)| {
        format!(
            "its benchmark {name} had another content than the file at hand ({})",
            &hash[..hash.len().min(12)]
        )
    })
}
