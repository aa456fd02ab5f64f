//! What a search that runs says of itself in its run directory, and how it is asked to begin nothing more.

use serde::{Deserialize, Serialize};
use srnas_search::{Event, LiveSearch};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The file of a run directory, there while a search runs, and left by one that was killed.
const FILE: &str = "status.json";
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
        let (heard, drain, asked) = (over.clone(), search.ends.drain.clone(), run_dir.join(DRAIN));
        let ear = std::thread::Builder::new().name("drain".into()).spawn(move || {
            listen(&asked, &drain, &heard);
        })?;
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
            trainings.remove(place);
            status.running.remove(place);
        }
        self.write(status);
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

/// Waits until it is asked, or the search is over.
fn listen(asked: &Path, drain: &AtomicBool, over: &(Mutex<bool>, Condvar)) {
    let (over, changed) = over;
    let mut is_over = over.lock().unwrap_or_else(PoisonError::into_inner);
    while !*is_over {
        if asked.exists() {
            drain.store(true, Ordering::Relaxed);
            return;
        }
        is_over = changed.wait_timeout(is_over, PULSE).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Asks the search that runs in a run directory to begin nothing more.
///
/// # Errors
/// The system's.
pub fn drain(run_dir: &Path) -> io::Result<()> {
    fs::write(run_dir.join(DRAIN), "")
}
