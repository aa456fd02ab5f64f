//! The run directory: where everything of a run lies, and the lock that keeps a second learner out of it.

use srnas_common::{files::write_whole, policy::Policy};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// A run directory that this process holds.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Locked for as long as it is open; the system lets go of it however the process ends.
    _lock: File,
}

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another learner works in it.
    #[error(
        "the run directory {path} is in use by {holder}; stop that learner, or choose another directory with --run-dir"
    )]
    Held {
        /// The directory.
        path: String,
        /// Who holds it.
        holder: String,
    },
    /// It cannot be read or written.
    #[error("cannot {what} the run directory {path}: {source}; choose another with --run-dir")]
    Io {
        /// "read" or "write".
        what: &'static str,
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is a run in it, and it was not said to go on with it.
    #[error(
        "the run directory {path} holds a run already; go on with it by --resume, or choose another directory with \
         --run-dir"
    )]
    Taken {
        /// The directory.
        path: String,
    },
    /// There is nothing to go on with.
    #[error(
        "the run directory {path} holds no run to resume ({missing} is not there); start one without --resume"
    )]
    Nothing {
        /// The directory.
        path: String,
        /// The file that a run has.
        missing: &'static str,
    },
}

/// Whether a run begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A new one; a directory that holds one already is refused.
    New,
    /// The one that is there.
    Resume,
    /// The one that is there, or a new one.
    Either,
}

impl RunDir {
    /// Takes the directory for a new run or for one that is there, and says which.
    ///
    /// # Errors
    /// See [`RunDirError`]. Nothing that was there is changed.
    pub fn open(path: &Path, start: Start) -> Result<(RunDir, bool), RunDirError> {
        let name = path.display().to_string();
        let resume = match start {
            Start::New => false,
            Start::Resume => true,
            Start::Either => path.join("ledger.sqlite").is_file(),
        };
        if resume {
            for missing in ["config.toml", "ledger.sqlite"] {
                if !path.join(missing).is_file() {
                    return Err(RunDirError::Nothing { path: name, missing });
                }
            }
        }
        let io = |source| RunDirError::Io { what: "write", path: name.clone(), source };
        fs::create_dir_all(path).map_err(io)?;
        let file = path.join("learner.lock");
        let mut lock =
            File::options().read(true).write(true).create(true).truncate(false).open(file).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let said = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if said { holder.trim().to_string() } else { "another process".into() };
                return Err(RunDirError::Held { path: name, holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        if !resume && path.join("ledger.sqlite").exists() {
            return Err(RunDirError::Taken { path: name });
        }
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into());
        let holder = format!("process {} on host {}\n", std::process::id(), host.trim());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(holder.as_bytes()))
            .map_err(io)?;
        Ok((RunDir { path: path.to_path_buf(), _lock: lock }, resume))
    }

    /// Its name, which is the run's.
    pub fn name(&self) -> String {
        let whole = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        whole.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned())
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The ledger's database.
    pub fn ledger(&self) -> PathBuf {
        self.path.join("ledger.sqlite")
    }

    /// Where checkpoints lie, one folder each.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The exported policy.
    pub fn policy(&self) -> PathBuf {
        self.path.join(Policy::FILE)
    }

    /// Writes the resolved configuration.
    ///
    /// # Errors
    /// When the directory cannot be written; the file that was there is whole.
    pub fn write_config(&self, toml: &str) -> Result<(), RunDirError> {
        let io = |source| RunDirError::Io { what: "write", path: self.path.display().to_string(), source };
        write_whole(&self.config(), toml.as_bytes()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_learner_at_a_time_and_a_run_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        assert!(matches!(
            RunDir::open(&path, Start::Resume),
            Err(RunDirError::Nothing { missing: "config.toml", .. })
        ));
        assert!(!path.exists(), "asking changes nothing");
        let (held, resumed) = RunDir::open(&path, Start::Either).unwrap();
        assert!(!resumed);
        assert_eq!(held.name(), "run");
        // The same process through another handle is another holder for the system.
        let error = RunDir::open(&path, Start::New).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        held.write_config("seed = 1").unwrap();
        fs::write(held.ledger(), "x").unwrap();
        drop(held);
        assert!(matches!(RunDir::open(&path, Start::New), Err(RunDirError::Taken { .. })));
        assert!(RunDir::open(&path, Start::Resume).unwrap().1);
        assert!(RunDir::open(&path, Start::Either).unwrap().1);
        assert_eq!(fs::read_to_string(path.join("ledger.sqlite")).unwrap(), "x");
    }
}
