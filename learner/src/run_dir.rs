//! The run directory: where everything of a run lies, and the lock that keeps a second learner out of it.

use crate::{checkpoint::Checkpoints, trainer::Fitting};
use srnas_basics::{files::write_whole, machine::host_name};
use srnas_policy::Policy;
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
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
    #[error("there is nothing to resume in {path}: {found}")]
    Nothing {
        /// The directory.
        path: String,
        /// What is there instead, and what to do.
        found: String,
    },
    /// There are checkpoints of a run, and not its measurements.
    #[error(
        "the run directory {path} has lost its ledger: {} is not there, but {left} is; put a backup of the ledger in its place, \
         or begin anew with another --run-dir (or here, after moving {left} away)",
        RunDir::LEDGER
    )]
    LedgerGone {
        /// The directory.
        path: String,
        /// What of the run is still there.
        left: String,
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

impl RunDirError {
    /// Whether another command line would do.
    pub fn is_usage(&self) -> bool {
        matches!(self, RunDirError::Taken { .. } | RunDirError::Nothing { .. })
    }
}

impl RunDir {
    /// Name of the resolved configuration's file.
    pub const CONFIG: &str = "config.toml";
    /// Name of the ledger's file.
    pub const LEDGER: &str = "ledger.sqlite";
    pub(crate) const CHECKPOINTS: &str = "checkpoints";

    /// Whether there is something in a directory to go on with.
    ///
    /// # Errors
    /// Says what is there instead, and what to do.
    pub fn resumable(path: &Path) -> Result<(), RunDirError> {
        Self::has_its_ledger(path)?;
        match Self::nothing_to_resume(path) {
            None => Ok(()),
            Some(found) => Err(RunDirError::Nothing { path: path.display().to_string(), found }),
        }
    }

    /// Refuses a directory that has no ledger and something that was left with one.
    fn has_its_ledger(path: &Path) -> Result<(), RunDirError> {
        if path.join(Self::LEDGER).exists() {
            return Ok(());
        }
        let checkpoints = Checkpoints::new(path.join(Self::CHECKPOINTS), 0).list().unwrap_or_default();
        let log = format!("{}-wal", Self::LEDGER);
        let left = match () {
            () if !checkpoints.is_empty() => Self::CHECKPOINTS.into(),
            () if path.join(&log).is_file() => log,
            () => return Ok(()),
        };
        Err(RunDirError::LedgerGone { path: path.display().to_string(), left })
    }

    /// Why a directory, which may not be there, holds nothing to go on with, and what to do.
    fn nothing_to_resume(path: &Path) -> Option<String> {
        let missing = [Self::CONFIG, Self::LEDGER].into_iter().find(|name| !path.join(name).is_file())?;
        let anew = "to begin anew, leave out --resume";
        let entries = || fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        let mut runs: Vec<String> = entries()
            .filter(|entry| entry.path().join(Self::LEDGER).is_file())
            .map(|entry| entry.path().display().to_string())
            .collect();
        runs.sort();
        Some(match () {
            () if path.is_symlink() && !path.exists() => {
                format!(
                    "it leads to a directory that is not there any more; name the run by --run-dir, or {anew}"
                )
            }
            () if !path.exists() => format!("there is no such directory; is --run-dir right? {anew}"),
            () if !path.is_dir() => format!("it is a file; --run-dir wants the directory of the run; {anew}"),
            () if missing == Self::CONFIG && path.join(Self::LEDGER).is_file() => format!(
                "it has a ledger and no {missing}, which says how the run is to go on: put it back, or go on with --config F \
                 after copying F there as {missing}"
            ),
            () if missing == Self::LEDGER => {
                format!("it has no {missing}, where the measurements are: put a backup in its place; {anew}")
            }
            () if !runs.is_empty() => {
                format!(
                    "it has no {missing}, but there are runs in it: --run-dir {}",
                    runs.join(", --run-dir ")
                )
            }
            () if entries().next().is_none() => format!("the directory is empty; {anew}"),
            () => format!("the directory has no {missing}; {anew}"),
        })
    }

    /// Takes the directory for a new run or for one that is there, and says which.
    ///
    /// # Errors
    /// See [`RunDirError`]. Nothing that was there is changed.
    pub fn open(path: &Path, start: Start) -> Result<(RunDir, bool), RunDirError> {
        let name = path.display().to_string();
        let resume = match start {
            Start::New => false,
            Start::Resume => true,
            Start::Either => path.join(Self::LEDGER).is_file(),
        };
        match resume {
            true => Self::resumable(path)?,
            false => Self::has_its_ledger(path)?,
        }
        let held = Self::hold(path)?;
        if !resume && path.join(Self::LEDGER).exists() {
            return Err(RunDirError::Taken { path: name });
        }
        Ok((held, resume))
    }

    /// Takes the directory, made if it is not there, whatever is in it.
    ///
    /// # Errors
    /// Where somebody else works in it, and where it cannot be written.
    pub fn hold(path: &Path) -> Result<RunDir, RunDirError> {
        let name = path.display().to_string();
        let io = |source| RunDirError::Io { what: "write", path: name.clone(), source };
        fs::create_dir_all(path).map_err(io)?;
        let file = path.join("learner.lock");
        let mut lock =
            File::options().read(true).write(true).create(true).truncate(false).open(file).map_err(io)?;
        match patiently(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let said = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if said { holder.trim().to_string() } else { "another process".into() };
                return Err(RunDirError::Held { path: name, holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let holder = format!("process {} on host {}\n", std::process::id(), host_name());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(holder.as_bytes()))
            .map_err(io)?;
        Ok(RunDir { path: path.to_path_buf(), _lock: lock })
    }

    /// Who works in a directory now, if somebody does.
    pub fn holder(path: &Path) -> Option<String> {
        let mut lock = File::open(path.join("learner.lock")).ok()?;
        let Err(TryLockError::WouldBlock) = lock.try_lock() else { return None };
        let mut holder = String::new();
        let _ = lock.read_to_string(&mut holder);
        Some(if holder.trim().is_empty() { "another process".into() } else { holder.trim().into() })
    }

    /// Its name, which is the run's.
    pub fn name(&self) -> String {
        let whole = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        whole.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned())
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join(Self::CONFIG)
    }

    /// The ledger's database.
    pub fn ledger(&self) -> PathBuf {
        self.path.join(Self::LEDGER)
    }

    /// Where checkpoints lie, one folder each.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(Self::CHECKPOINTS)
    }

    /// What was fitted at the beginning.
    pub(crate) fn posterior(&self) -> PathBuf {
        self.path.join(Fitting::FILE)
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

/// Locks a file. Who was killed just when it started a program holds it for as long as that takes.
fn patiently(lock: &File) -> Result<(), TryLockError> {
    const PAUSE: Duration = Duration::from_millis(50);
    const TRIES: usize = 10;
    for _ in 1..TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    lock.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_learner_at_a_time_and_a_run_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let refused = |start| RunDir::open(&path, start).unwrap_err().to_string();
        assert!(refused(Start::Resume).contains("there is no such directory"), "{}", refused(Start::Resume));
        assert!(!path.exists(), "asking changes nothing");
        let (held, resumed) = RunDir::open(&path, Start::Either).unwrap();
        assert!(!resumed);
        assert_eq!(held.name(), "run");
        // The same process through another handle is another holder for the system.
        let error = RunDir::open(&path, Start::New).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(RunDir::holder(&path).unwrap().starts_with(&format!("process {}", std::process::id())));
        held.write_config("seed = 1").unwrap();
        fs::write(held.ledger(), "x").unwrap();
        drop(held);
        assert_eq!((RunDir::holder(&path), RunDir::holder(&path.join("nowhere"))), (None, None));
        assert!(matches!(RunDir::open(&path, Start::New), Err(RunDirError::Taken { .. })));
        assert!(RunDir::open(&path, Start::Resume).unwrap().1);
        assert!(RunDir::open(&path, Start::Either).unwrap().1);
        assert_eq!(fs::read_to_string(path.join("ledger.sqlite")).unwrap(), "x");
        assert!(
            RunDir::nothing_to_resume(folder.path())
                .unwrap()
                .contains(&format!("--run-dir {}", path.display()))
        );
        fs::remove_file(path.join("config.toml")).unwrap();
        assert!(refused(Start::Resume).contains("has a ledger and no config.toml"));
    }

    #[test]
    fn what_is_left_of_a_run_without_its_ledger_is_no_place_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("config.toml"), "seed = 1").unwrap();
        fs::create_dir_all(path.join("checkpoints/000000100")).unwrap();
        for start in [Start::New, Start::Resume, Start::Either] {
            let error = RunDir::open(path, start).unwrap_err();
            assert!(matches!(error, RunDirError::LedgerGone { .. }), "{error}");
            let said = error.to_string();
            assert!(
                said.contains("ledger.sqlite")
                    && said.contains("backup")
                    && said.contains("moving checkpoints")
            );
        }
        fs::rename(path.join("checkpoints"), path.join("checkpoints.old")).unwrap();
        fs::write(path.join("ledger.sqlite-wal"), "x").unwrap();
        assert!(matches!(RunDir::open(path, Start::Either), Err(RunDirError::LedgerGone { .. })));
        fs::remove_file(path.join("ledger.sqlite-wal")).unwrap();
        assert!(!RunDir::open(path, Start::Either).unwrap().1);
    }

    #[test]
    fn a_directory_that_is_let_go_of_in_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let held = RunDir::hold(folder.path()).unwrap();
        let soon = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(120));
            drop(held);
        });
        let _held = RunDir::hold(folder.path()).unwrap();
        soon.join().unwrap();
        assert!(matches!(RunDir::hold(folder.path()), Err(RunDirError::Held { .. })));
    }
}
