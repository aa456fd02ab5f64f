//! A user's program as an oracle: one process for each measurement (docs/your-own-search.md).
//!
//! The program gets the architecture as a JSON object on stdin and in `SRNAS_ARCHITECTURE`, a seed in `SRNAS_SEED`, a folder of
//! its own in `SRNAS_DIRECTORY` and the number of its slot, of those that measure at a time, in `SRNAS_SLOT`. Its last line on
//! stdout is a JSON object of metrics. Whatever else it does, the search goes on and nothing of it is left running.
//!
//! A measurement that is interrupted leaves its folder; the next of the same training gets it as it was, and `SRNAS_INTERRUPTED`.
//!
//! Where there are shorter trainings, `SRNAS_FIDELITY` says how long to train, and `SRNAS_RESUME_FROM` is the folder of the
//! longest shorter training of the same architecture, kept for it to go on from. Where it is 0, nothing is to be trained: whatever can be
//! said of the architecture as it is.

mod answer;
mod interrupted;
mod process;
mod reports;
mod slots;

pub(crate) use answer::point;
pub use answer::read as read_answer;
pub use slots::{SlotVariables, SlotsError};

use crate::{
    costly::{Answer, CostlyError, CostlyOracle},
    curves::{self, CurveOptions, Curves, Hear, Report, STOPPED_AT},
};
use interrupted::Interrupted;
use process::{Ended, Process};
use reports::{Heard, Listener};
use slots::{Slot, Slots};
use srnas_space::{Choices, SearchSpace};
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tracing::{info, warn};

/// What a measurement's folder has: what went in, and why it is infeasible or what was measured.
const ARCHITECTURE: &str = "architecture.json";
const REASON: &str = "reason.txt";
const METRICS: &str = "metrics.json";

/// How a program is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandOptions {
    /// What `sh -c` is given.
    pub command: String,
    /// The metrics without which an answer is infeasible.
    pub metrics: Vec<String>,
    /// Longest time of a measurement.
    pub timeout: Option<Duration>,
    /// How often an infeasible measurement is tried again.
    pub retries: u32,
    /// What the program gets as its seed.
    pub seed: u64,
    /// Where the folders of the measurements are.
    pub folder: PathBuf,
    /// Whether the folders of good measurements are kept too.
    pub keep: bool,
    /// How long it can train.
    pub fidelities: Fidelities,
    /// Variables of each slot, of which there are as many as measurements at a time.
    pub slots: SlotVariables,
    /// What is made of what it reports of the first metric while it trains; nothing where it is not asked for.
    pub curves: Option<CurveOptions>,
}

/// Asks a program.
#[derive(Debug)]
pub struct CommandOracle {
    space: Arc<SearchSpace>,
    definition: String,
    options: CommandOptions,
    slots: Slots,
    /// Measurements that came to no end.
    interrupted: Interrupted,
    curves: Option<Arc<Curves>>,
    /// Shorter trainings that have a durable answer, by the names of their folders.
    answered: Mutex<HashSet<String>>,
}

impl CommandOracle {
    /// An oracle for the space that `definition` describes. Whatever an earlier one with the same folder left running is
    /// killed; what came to no end there is known to [`CostlyOracle::interrupted`].
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(space: Arc<SearchSpace>, definition: String, mut options: CommandOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        options.folder = fs::canonicalize(&options.folder)?;
        let interrupted = Interrupted::default();
        let (slots, answered) = (Slots::default(), Mutex::default());
        let mut oracle = Self { space, definition, options, slots, interrupted, curves: None, answered };
        oracle.kill_strays("");
        oracle.find_interrupted()?;
        if let Some(curves) = &oracle.options.curves {
            let unit = oracle.options.fidelities.unit().to_string();
            let has_ended =
                |name: &str| oracle.interrupted.attempt(|begun| attempt_of(begun, name)).is_none();
            let curves = Curves::open(curves.clone(), oracle.options.metrics.clone(), unit, has_ended)?;
            oracle.curves = Some(Arc::new(curves));
        }
        Ok(oracle)
    }

    /// Finds the folders of measurements that came to no end, and removes those that nobody can go on with.
    fn find_interrupted(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.options.folder)? {
            let folder = entry?.path();
            let began = folder.join(ARCHITECTURE).exists() || folder.join(interrupted::FILE).exists();
            if !began || folder.join(REASON).exists() || folder.join(METRICS).exists() {
                continue;
            }
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let belongs = |training: &Training| {
                let key = self.space.canonical_key(&training.choices);
                attempt_of(&name, &self.folder_name(key, training.fidelity)).is_some()
            };
            let known = self.interrupted.read(&folder, &self.space, &self.options.fidelities, belongs);
            if !known {
                fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }

    /// Kills what carries the mark of this folder's measurements, or of one of them.
    fn kill_strays(&self, measurement: &str) {
        let killed = process::kill_marked(&self.mark(measurement));
        if killed > 0 {
            warn!("killed {killed} process(es) that the program had left behind");
        }
    }

    /// What `SRNAS_MEASUREMENT` of a measurement begins with; of all of them where none is named. It ends with a slash, so that no
    /// measurement's is the beginning of another's.
    fn mark(&self, measurement: &str) -> String {
        let folder = self.options.folder.display();
        match measurement {
            "" => format!("{folder}/"),
            measurement => format!("{folder}/{measurement}/"),
        }
    }

    /// Name of the folder of a training's first try.
    fn folder_name(&self, key: u64, fidelity: Fidelity) -> String {
        curves::file_name(&self.options.fidelities, key, fidelity)
    }

    /// Name of the folder in which it is asked about what is not trained.
    fn untrained_name(&self, key: u64) -> String {
        format!("{key:016x}-{}0", self.options.fidelities.unit())
    }

    /// What a program is told; `amount` is how much it is to train.
    fn variables(
        &self,
        (name, folder): (&str, &Path),
        (choices, architecture): (&Choices, String),
        slot: &Slot,
        amount: f64,
    ) -> Vec<(&str, String)> {
        let mut variables = vec![
            ("SRNAS_ARCHITECTURE", architecture),
            ("SRNAS_NOTATION", self.space.format(choices)),
            ("SRNAS_SEED", self.options.seed.to_string()),
            ("SRNAS_DIRECTORY", folder.to_string_lossy().into_owned()),
            ("SRNAS_SLOT", slot.to_string()),
            (process::MARK, self.mark(name)),
        ];
        let of_slot = self.options.slots.of(slot.number());
        variables.extend(of_slot.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let fidelities = &self.options.fidelities;
        if fidelities.vary() {
            variables.push(("SRNAS_FIDELITY", amount.to_string()));
            variables.push(("SRNAS_FULL_FIDELITY", fidelities.amount(Fidelity::Full).to_string()));
        }
        variables
    }

    /// The folders of a training, one for each try that there was.
    fn tries(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let first = self.options.folder.join(name);
        let again = (1..).map(|attempt| self.options.folder.join(try_name(name, attempt)));
        std::iter::once(first).chain(again).take_while(|folder| folder.is_dir())
    }

    /// The longest shorter training of the same architecture that ended well and left its folder: its amount and folder.
    fn resumable(&self, key: u64, fidelity: Fidelity) -> Option<(f64, PathBuf)> {
        let fidelities = &self.options.fidelities;
        for shorter in fidelities.before(fidelity).rev().map(Fidelity::Shorter) {
            let name = self.folder_name(key, shorter);
            if let Some(folder) = self.tries(&name).find(|folder| folder.join(METRICS).exists()) {
                return Some((fidelities.amount(shorter), folder));
            }
            let gone = self.tries(&name).next().is_none();
            if gone && self.answered.lock().unwrap_or_else(PoisonError::into_inner).contains(&name) {
                let folder = shown(&self.options.folder.join(name));
                warn!("{folder} has gone: the training that would go on from it begins anew");
            }
        }
        None
    }

    /// What is said of a training that was stopped early: what it reported last, and when that was.
    fn stopped_early(&self, last: Option<Report>) -> Result<BTreeMap<String, f64>, String> {
        let Report { at, mut metrics } = last.ok_or("it was stopped early, and reported nothing")?;
        metrics.insert(STOPPED_AT.into(), at);
        match Answer::of(metrics, &self.options.metrics) {
            Answer::Metrics(metrics) => Ok(metrics),
            Answer::Infeasible(reason) => Err(format!("it was stopped early at {at}, and {reason}")),
        }
    }

    fn once(
        &self,
        name: &str,
        training: &Training,
        slot: &Slot,
        stop: &AtomicBool,
        hearing: Option<&Arc<dyn Hear>>,
    ) -> Result<Result<Answer, String>, CostlyError> {
        let choices = &training.choices;
        let folder = self.options.folder.join(name);
        let failed = |e: io::Error| CostlyError::Failed(format!("{}: {e}", folder.display()));
        let goes_on = self.interrupted.take(name) && folder.is_dir();
        if !goes_on {
            match fs::remove_dir_all(&folder) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
                _ => fs::create_dir_all(&folder).map_err(failed)?,
            }
        }
        let number = self.interrupted.begin(&folder, training, &self.options.fidelities).map_err(failed)?;
        let architecture = serde_json::Value::Object(self.space.to_json(choices)).to_string();
        let input = folder.join(ARCHITECTURE);
        fs::write(&input, format!("{architecture}\n")).map_err(failed)?;
        let amount = self.options.fidelities.amount(training.fidelity);
        let mut variables = self.variables((name, &folder), (choices, architecture), slot, amount);
        if goes_on {
            variables.push(("SRNAS_INTERRUPTED", "1".into()));
        }
        if let Some((amount, from)) = self.resumable(self.space.canonical_key(choices), training.fidelity) {
            variables.push(("SRNAS_RESUME_FROM", from.to_string_lossy().into_owned()));
            variables.push(("SRNAS_RESUME_FIDELITY", amount.to_string()));
        }
        let heard = hearing.map(|hearing| {
            hearing.begins(goes_on);
            Heard::by(hearing.clone(), self.options.fidelities.unit(), &self.options.metrics)
        });
        let process = Process {
            command: &self.options.command,
            name,
            input: &input,
            output: &folder.join("stdout.txt"),
            errors: &folder.join("stderr.txt"),
            variables: &variables,
            timeout: self.options.timeout,
            heard: heard.as_deref(),
        };
        let ended = process.run(stop, heard.clone().map(Listener::new));
        self.kill_strays(name);
        let answer = match ended {
            Ok(ended) => ended,
            Err(e) => {
                return Err(CostlyError::Failed(format!(
                    "`{}` cannot be started: {e}",
                    self.options.command
                )));
            }
        };
        let said = match answer {
            Ended::Early => self.stopped_early(heard.and_then(|heard| heard.last())),
            Ended::Stopped => {
                self.interrupted.add(name, number, training);
                return Err(CostlyError::Stopped);
            }
            Ended::Failed(reason) => Err(reason),
            Ended::Well(stdout) => answer::read(&stdout, &self.options.metrics),
        };
        match &said {
            Err(reason) => fs::write(folder.join(REASON), format!("{reason}\n")).map_err(failed)?,
            // A longer training may go on from it.
            Ok(metrics) if self.options.keep || !training.fidelity.is_full() => {
                fs::write(folder.join(METRICS), format!("{}\n", serde_json::json!(metrics)))
                    .map_err(failed)?;
            }
            Ok(_) => fs::remove_dir_all(&folder).map_err(failed)?,
        }
        Ok(said.map(Answer::Metrics))
    }

    /// Measures, as often as it may be tried.
    fn tried(
        &self,
        training: &Training,
        stop: &AtomicBool,
        hearing: Option<Arc<dyn Hear>>,
    ) -> Result<Answer, CostlyError> {
        let first = self.folder_name(self.space.canonical_key(&training.choices), training.fidelity);
        let slot = self.slots.take();
        let mut attempt = self.interrupted.attempt(|name| attempt_of(name, &first)).unwrap_or(0);
        loop {
            let name = if attempt == 0 { first.clone() } else { try_name(&first, attempt) };
            match self.once(&name, training, &slot, stop, hearing.as_ref())? {
                Ok(answer) => return Ok(answer),
                Err(reason) if attempt < self.options.retries => {
                    info!("{reason}; trying again");
                    attempt += 1;
                }
                Err(reason) => {
                    let folder = shown(&self.options.folder.join(name));
                    return Ok(Answer::Infeasible(format!("{reason} (kept: {folder})")));
                }
            }
        }
    }
}

impl CostlyOracle for CommandOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        let said = serde_json::json!({
            "command": self.options.command, "space": self.definition, "seed": self.options.seed,
        });
        ("cmd".into(), said.to_string())
    }

    /// The metrics that are searched; what else the program says is known when it has said it.
    fn metric_names(&self) -> Vec<String> {
        self.options.metrics.clone()
    }

    fn fidelities(&self) -> &Fidelities {
        &self.options.fidelities
    }

    fn interrupted(&self) -> Vec<Training> {
        self.interrupted.trainings()
    }

    /// The folders of shorter trainings are not needed once a longer one has ended.
    fn kept(&self, training: &Training) {
        let key = self.space.canonical_key(&training.choices);
        let fidelities = &self.options.fidelities;
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.folder_name(key, training.fidelity);
        // Of what failed everything is kept that it began with.
        let failed = self.tries(&name).any(|folder| folder.join(REASON).exists());
        for shorter in fidelities.before(training.fidelity).map(Fidelity::Shorter) {
            let shorter = self.folder_name(key, shorter);
            answered.remove(&shorter);
            if !self.options.keep && !failed {
                for folder in self.tries(&shorter).collect::<Vec<_>>() {
                    if let Err(e) = fs::remove_dir_all(&folder) {
                        warn!("{} cannot be removed: {e}", shown(&folder));
                    }
                }
            }
        }
        if !training.fidelity.is_full() {
            answered.insert(name);
        }
    }

    /// A process of its own, like a measurement; its folder is left only where it says nothing.
    fn ask_untrained(&self, choices: &Choices, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let name = self.untrained_name(self.space.canonical_key(choices));
        let (slot, folder) = (self.slots.take(), self.options.folder.join(&name));
        let failed = |e: io::Error| CostlyError::Failed(format!("{}: {e}", folder.display()));
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => fs::create_dir_all(&folder).map_err(failed)?,
        }
        let architecture = serde_json::Value::Object(self.space.to_json(choices)).to_string();
        let input = folder.join(ARCHITECTURE);
        fs::write(&input, format!("{architecture}\n")).map_err(failed)?;
        let process = Process {
            command: &self.options.command,
            name: &name,
            input: &input,
            output: &folder.join("stdout.txt"),
            errors: &folder.join("stderr.txt"),
            variables: &self.variables((&name, &folder), (choices, architecture), &slot, 0.0),
            timeout: self.options.timeout,
            heard: None,
        };
        let ended = process.run(stop, None);
        self.kill_strays(&name);
        let said = match ended {
            Ok(Ended::Stopped) => return Err(CostlyError::Stopped),
            Ok(Ended::Well(stdout)) => answer::read(&stdout, &[]),
            Ok(Ended::Failed(reason)) => Err(reason),
            // Nobody follows what it reports.
            Ok(Ended::Early) => Err("it was stopped early".into()),
            Err(e) => {
                return Err(CostlyError::Failed(format!(
                    "`{}` cannot be started: {e}",
                    self.options.command
                )));
            }
        };
        match said {
            Ok(metrics) => {
                fs::remove_dir_all(&folder).map_err(failed)?;
                Ok(Answer::Metrics(metrics))
            }
            Err(reason) => {
                fs::write(folder.join(REASON), format!("{reason}\n")).map_err(failed)?;
                Ok(Answer::Infeasible(format!("{reason} (kept: {})", shown(&folder))))
            }
        }
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let Some(curves) = &self.curves else { return self.tried(training, stop, None) };
        let key = self.space.canonical_key(&training.choices);
        let followed = Arc::new(curves.follow(&self.folder_name(key, training.fidelity)));
        let answer = self.tried(training, stop, Some(followed.clone()));
        if let Ok(answer) = &answer {
            followed.end(matches!(answer, Answer::Metrics(_)));
        }
        answer
    }

    fn measure_heard(
        &self,
        training: &Training,
        stop: &AtomicBool,
        hearing: Arc<dyn Hear>,
    ) -> Result<Answer, CostlyError> {
        self.tried(training, stop, Some(hearing))
    }
}

/// Name of the folder of a further try.
fn try_name(first: &str, attempt: u32) -> String {
    format!("{first}-{attempt}")
}

/// Which try of a training a folder is of; none of that training's, where it is of another.
fn attempt_of(name: &str, first: &str) -> Option<u32> {
    match name.strip_prefix(first)? {
        "" => Some(0),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

/// A path as short as it can be said here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests;
