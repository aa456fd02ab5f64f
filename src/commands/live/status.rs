//! What a search that runs says of itself in its run directory, and what it is asked there: to begin nothing more, and to take in
//! first points.

use super::start;
use serde::{Deserialize, Serialize};
use srnas_basics::text::with_causes;
use srnas_search::{Event, Inbox, LiveSearch, report::Row};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::warn;

/// The file of a run directory, there while a search runs, and left by one that was killed.
const FILE: &str = "status.json";
/// The file of a run directory with when each measurement began and ended.
const TIMES: &str = "times.jsonl";
/// The file that asks a search to begin nothing more.
const DRAIN: &str = "drain";
/// A search looks so often whether it is asked.
const PULSE: Duration = Duration::from_millis(250);

/// How a search that runs stands, as far as its ledger does not say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// When this call began, in seconds since 1970.
    pub began: f64,
    /// Full trainings to pay for in all.
    pub budget: usize,
    /// Measurements at a time.
    pub parallel: usize,
    /// What was paid when this call began, in full trainings.
    pub spent_before: f64,
    /// Seconds after which it begins nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
    /// What is measured now, in the order in which it began.
    pub running: Vec<Running>,
    /// Why nothing more is begun, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
}

/// A measurement that is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// In the space's notation.
    pub architecture: String,
    /// How long it is trained, in words; nothing where there are full trainings only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: f64,
}

/// When a measurement began and ended, in seconds since 1970: a line of [`TIMES`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Time {
    /// In the space's notation.
    architecture: String,
    /// How long it was trained, in the unit of the search's fidelities.
    trained: f64,
    began: f64,
    ended: f64,
}

/// When measurements of a search began and ended, by architecture and how long they were trained.
#[derive(Debug, Default)]
pub struct TimesTaken(HashMap<(String, u64), [f64; 2]>);

impl TimesTaken {
    /// Those that a run directory has. What cannot be read is not known: nothing but pictures depends on it.
    pub fn read(run_dir: &Path) -> Self {
        let text = fs::read_to_string(run_dir.join(TIMES)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Time>(line).ok());
        Self(lines.map(|t| ((t.architecture, t.trained.to_bits()), [t.began, t.ended])).collect())
    }

    /// When one began and ended, if that is known.
    pub fn of(&self, row: &Row) -> Option<[f64; 2]> {
        self.0.get(&(row.architecture.clone(), row.trained.to_bits())).copied()
    }
}

impl Status {
    /// That of a search in a run directory; none where there is none that can be read.
    pub fn read(run_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(run_dir.join(FILE)).ok()?).ok()
    }
}

/// Forgets what an earlier call said and was asked; whoever holds the run directory does so before anybody looks.
pub fn forget(run_dir: &Path) {
    for left in [FILE, DRAIN] {
        let _ = fs::remove_file(run_dir.join(left));
    }
}

/// Now, in seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Keeps the status of a search up to date, and hears when it is asked to begin nothing more.
pub struct Reporter {
    run_dir: PathBuf,
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    state: Mutex<(Status, Vec<Training>)>,
    over: Arc<(Mutex<bool>, Condvar)>,
    ear: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Of a search that begins; `spent` was paid before.
    ///
    /// # Errors
    /// The system's, if there is no thread.
    pub fn new(run_dir: &Path, search: &LiveSearch, spent: f64) -> io::Result<Self> {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let asked = Asked {
            run_dir: run_dir.into(),
            space: search.oracle.space().clone(),
            fidelities: search.oracle.fidelities().clone(),
            drain: search.ends.drain.clone(),
            added: search.added.clone(),
        };
        let (heard, known) = (over.clone(), asked.stamp());
        let ear =
            std::thread::Builder::new().name("asked".into()).spawn(move || asked.listen(known, &heard))?;
        let status = Status {
            began: now(),
            budget: search.budget,
            parallel: search.parallel,
            spent_before: spent,
            time_limit: search.ends.time.map(|time| time.as_secs_f64()),
            running: Vec::new(),
            ending: None,
        };
        let reporter = Self {
            run_dir: run_dir.into(),
            space: search.oracle.space().clone(),
            fidelities: search.oracle.fidelities().clone(),
            state: Mutex::new((status, Vec::new())),
            over,
            ear: Some(ear),
        };
        reporter.write(&reporter.state.lock().unwrap_or_else(PoisonError::into_inner).0);
        Ok(reporter)
    }

    /// Takes in what happened.
    pub fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, trainings) = &mut *state;
        let ended = match event {
            Event::Began { training, .. } => {
                let short = self.fidelities.shorter() > 0;
                status.running.push(Running {
                    architecture: self.space.format(&training.choices),
                    trained: short.then(|| self.fidelities.name(training.fidelity)),
                    since: now(),
                });
                trainings.push((*training).clone());
                None
            }
            Event::Enough { why, .. } => {
                status.ending = Some(why.to_string());
                None
            }
            Event::Ended { measured, .. } => Some(&measured.training),
            Event::GaveUp { training } => Some(*training),
            Event::NotResumed { .. } => return,
        };
        if let Some(place) = ended.and_then(|ended| trainings.iter().position(|training| training == ended)) {
            let training = trainings.remove(place);
            let running = status.running.remove(place);
            if matches!(event, Event::Ended { .. }) {
                self.note(running, &training);
            }
        }
        self.write(status);
    }

    /// Notes when a measurement began and ended; where that cannot be written the search goes on.
    fn note(&self, running: Running, training: &Training) {
        let trained = self.fidelities.amount(training.fidelity);
        let time = Time { architecture: running.architecture, trained, began: running.since, ended: now() };
        let line = serde_json::to_string(&time).unwrap_or_default() + "\n";
        let file = File::options().append(true).create(true).open(self.run_dir.join(TIMES));
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Readers see the old or the new one; where it cannot be written the search goes on.
    fn write(&self, status: &Status) {
        let (path, new) = (self.run_dir.join(FILE), self.run_dir.join(format!(".{FILE}")));
        let text = serde_json::to_vec(status).unwrap_or_default();
        if fs::write(&new, text).is_ok() {
            let _ = fs::rename(new, path);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let (over, changed) = &*self.over;
        *over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(ear) = self.ear.take() {
            let _ = ear.join();
        }
        let _ = fs::remove_file(self.run_dir.join(FILE));
        let _ = fs::remove_file(self.run_dir.join(DRAIN));
    }
}

/// What a search is asked while it runs, by files in its run directory.
struct Asked {
    run_dir: PathBuf,
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    drain: Arc<AtomicBool>,
    added: Inbox,
}

impl Asked {
    /// By what is seen that there are other first points.
    fn stamp(&self) -> Option<(u64, SystemTime)> {
        let file = fs::metadata(self.run_dir.join(start::FILE)).ok()?;
        Some((file.len(), file.modified().ok()?))
    }

    /// Hears what is asked until the search is over; the first points that were there when it began are `known`.
    fn listen(&self, mut known: Option<(u64, SystemTime)>, over: &(Mutex<bool>, Condvar)) {
        let (over, changed) = over;
        let mut is_over = over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            if self.run_dir.join(DRAIN).exists() {
                self.drain.store(true, Ordering::Relaxed);
            }
            let now = self.stamp();
            if now != known {
                known = now;
                match start::load(&self.run_dir, &self.space, &self.fidelities) {
                    Ok(points) => self.added.leave(points),
                    Err(error) => warn!("first points: {}", with_causes(error.as_ref())),
                }
            }
            is_over = changed.wait_timeout(is_over, PULSE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Asks the search that runs in a run directory to begin nothing more.
///
/// # Errors
/// The system's.
pub fn drain(run_dir: &Path) -> io::Result<()> {
    fs::write(run_dir.join(DRAIN), "")
}
