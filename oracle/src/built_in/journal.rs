//! The trainings of a benchmark: thousands, on all cores, that may be interrupted at any time.

use crate::training::TrainingError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Trainings done, those of earlier calls among them.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The file of trainings cannot be read or written.
    #[error("cannot keep the trainings in {}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of trainings is of another recipe.
    #[error("{} holds trainings by another recipe; remove it, or take another folder", path.display())]
    OtherRecipe {
        /// The file.
        path: PathBuf,
    },
    /// A training failed in a way that no seed explains.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// It was asked to stop; what was trained is kept.
    #[error("stopped after {done} of {total} trainings; the same command goes on")]
    Stopped {
        /// Trainings done.
        done: usize,
        /// Of how many.
        total: usize,
    },
}

/// What one training said, by metric.
pub type Scores = BTreeMap<String, f64>;

/// A line of the file of trainings after the first, which says by which recipe they are.
#[derive(Serialize, Deserialize)]
struct Entry {
    class: usize,
    seed: u64,
    /// None where the training diverged.
    values: Scores,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// The scores of the trainings by class and seed; none of those that diverged.
#[derive(Default)]
pub struct Trained(HashMap<(usize, u64), Scores>);

impl Trained {
    /// The metrics there are.
    pub fn metrics(&self) -> BTreeSet<&str> {
        self.0.values().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// The values of a metric, [classes, seeds], NaN where a training diverged or there was none.
    pub fn values(&self, metric: &str, classes: usize, seeds: u64) -> Vec<f32> {
        let of = |key| self.0.get(&key).and_then(|scores| scores.get(metric));
        let all = (0..classes).flat_map(|class| (0..seeds).map(move |seed| (class, seed)));
        all.map(|key| of(key).map_or(f32::NAN, |&value| value as f32)).collect()
    }

    /// How many diverged.
    pub fn diverged(&self) -> usize {
        self.0.values().filter(|scores| scores.is_empty()).count()
    }
}

/// Does all trainings, of each class with each seed, on the cores of the rayon pool it is called in. `recipe` is whatever they
/// depend on: trainings by another one are refused. Those that `journal` already holds are not repeated; each new one is added as
/// it ends. Classes are named by numbers that mean the same in every call.
///
/// # Errors
/// Says why it stopped; the journal then holds what was trained.
pub fn trained<R: PartialEq + Serialize + DeserializeOwned>(
    journal: &Path,
    recipe: &R,
    classes: &[usize],
    seeds: u64,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
    train: impl Fn(usize, u64) -> Result<Scores, TrainingError> + Sync,
) -> Result<Trained, GenerateError> {
    let failed = |source| GenerateError::Journal { path: journal.into(), source };
    let mut trained = read(journal, recipe)?;
    let mut file = OpenOptions::new().create(true).append(true).open(journal).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        writeln!(file, "{}", serde_json::to_string(recipe).expect("plain data")).map_err(failed)?;
    }
    // One seed of all, then the next: what is interrupted has something of everything.
    let all = (0..seeds).flat_map(|seed| classes.iter().map(move |&class| (class, seed)));
    let missing: Vec<(usize, u64)> = all.filter(|key| !trained.0.contains_key(key)).collect();
    let total = classes.len() * seeds as usize;
    let done = total - missing.len();
    let state = Mutex::new((file, &mut trained.0, done));
    progress(Progress { done, total });
    missing.into_par_iter().try_for_each(|(class, seed)| {
        let stopped = || {
            let done = state.lock().expect("nobody panics with it").2;
            GenerateError::Stopped { done, total }
        };
        if stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let (values, reason) = match train(class, seed) {
            Ok(scores) => (scores, None),
            Err(e @ (TrainingError::Diverged { .. } | TrainingError::NoNumber { .. })) => {
                (Scores::new(), Some(e.to_string()))
            }
            Err(TrainingError::Stopped) => return Err(stopped()),
            Err(e) => return Err(e.into()),
        };
        let entry = Entry { class, seed, values, failed: reason };
        let line = serde_json::to_string(&entry).expect("plain data") + "\n";
        let (file, trained, done) = &mut *state.lock().expect("nobody panics with it");
        file.write_all(line.as_bytes()).map_err(failed)?;
        trained.insert((class, seed), entry.values);
        *done += 1;
        progress(Progress { done: *done, total });
        Ok(())
    })?;
    // Of an earlier call there may be more.
    let wanted: HashSet<usize> = classes.iter().copied().collect();
    trained.0.retain(|(class, seed), _| wanted.contains(class) && *seed < seeds);
    Ok(trained)
}

/// The trainings a journal holds. A last line that was cut short is cut off.
fn read<R: PartialEq + DeserializeOwned>(journal: &Path, expected: &R) -> Result<Trained, GenerateError> {
    let failed = |source| GenerateError::Journal { path: journal.into(), source };
    let file = match File::open(journal) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Trained::default()),
        Err(e) => return Err(failed(e)),
    };
    let mut trained = HashMap::new();
    let mut whole = 0;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while reader.read_line(&mut line).map_err(failed)? > 0 {
        if !line.ends_with('\n') {
            break;
        }
        if whole == 0 {
            let recipe: Option<R> = serde_json::from_str(&line).ok();
            if recipe.as_ref() != Some(expected) {
                return Err(GenerateError::OtherRecipe { path: journal.into() });
            }
        } else if let Ok(entry) = serde_json::from_str::<Entry>(&line) {
            trained.insert((entry.class, entry.seed), entry.values);
        }
        whole += line.len() as u64;
        line.clear();
    }
    let length = fs::metadata(journal).map_err(failed)?.len();
    if whole < length {
        OpenOptions::new().write(true).open(journal).and_then(|f| f.set_len(whole)).map_err(failed)?;
    }
    Ok(Trained(trained))
}
