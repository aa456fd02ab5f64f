//! Makes the benchmark: thousands of trainings, on all cores, that may be interrupted at any time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{BENCHMARK, SEEDS, classes, fidelities, metric_info, questions, recipe, space};
use crate::{
    benchmark::{BenchmarkWriter, Rows},
    training::{
        Recipe, TrainingError,
        data::{ImageSet, digits},
        measure::{Questions, Times, measure, time},
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

/// The first line of the file of trainings.
#[derive(PartialEq, Serialize, Deserialize)]
struct Header {
    recipe: Recipe,
    questions: Questions,
}

/// A later line: one training.
#[derive(Serialize, Deserialize)]
struct Entry {
    class: usize,
    seed: u64,
    /// By metric; none where the training diverged.
    values: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// The scores of the trainings by class and seed.
type Trained = HashMap<(usize, u64), BTreeMap<String, f64>>;

/// What [`generate`] made.
pub struct Generated {
    /// The benchmark, ready to be written.
    pub benchmark: BenchmarkWriter,
    /// Trainings that diverged, whose values are missing.
    pub diverged: usize,
}

/// Trains and measures all classes on the cores of the rayon pool it is called in, then measures the times one by one,
/// so that nothing else runs meanwhile. Trainings that `journal` already holds are not repeated; each new one is added
/// as it ends.
///
/// # Errors
/// Says why it stopped; the journal then holds what was trained.
pub fn generate(
    journal: &Path,
    stop: &AtomicBool,
    progress: impl Fn(Progress) + Sync,
) -> Result<Generated, GenerateError> {
    let (space, classes, data) = (space(), classes(), digits());
    let trained = train(journal, &classes, &data, stop, progress)?;
    let header = Header { recipe: recipe(), questions: questions() };
    let times: Vec<Times> = classes
        .iter()
        .map(|choices| time(&space, choices, &data, &header.recipe))
        .collect::<Result<_, _>>()?;

    let licence = "CC BY 4.0, as the images: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI \
                   Machine Learning Repository, 1998, doi:10.24432/C50P49";
    let provenance = format!(
        "trained by srnas {} from the UCI handwritten digits, {SEEDS} seeds: {}",
        env!("CARGO_PKG_VERSION"),
        serde_json::to_string(&header).expect("plain data")
    );
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space, classes.concat(), provenance, licence);
    benchmark.rows_are(Rows::Classes);
    let names: BTreeSet<&String> = trained.values().flat_map(BTreeMap::keys).collect();
    for name in names {
        let of = |class, seed| trained.get(&(class, seed)).and_then(|scores| scores.get(name));
        let all = (0..classes.len()).flat_map(|class| (0..SEEDS).map(move |seed| (class, seed)));
        let values: Vec<f32> = all.map(|(c, s)| of(c, s).map_or(f32::NAN, |&v| v as f32)).collect();
        benchmark.half_metric(name, metric_info(name), SEEDS as usize, &values);
    }
    let costs: Vec<BTreeMap<String, f64>> = times.iter().map(Times::costs).collect();
    for name in costs[0].keys() {
        // Not as half floats, which end at 65,504.
        let values: Vec<f32> = costs.iter().map(|costs| costs[name] as f32).collect();
        benchmark.metric(name, metric_info(name), 1, &values);
    }
    fidelities().into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
    let diverged = trained.values().filter(|scores| scores.is_empty()).count();
    Ok(Generated { benchmark, diverged })
}

fn train(
    journal: &Path,
    classes: &[Vec<u8>],
    data: &ImageSet,
    stop: &AtomicBool,
    progress: impl Fn(Progress) + Sync,
) -> Result<Trained, GenerateError> {
    let failed = |source| GenerateError::Journal { path: journal.into(), source };
    let header = Header { recipe: recipe(), questions: questions() };
    let mut trained = read(journal, &header)?;
    let space = space();
    let mut file = OpenOptions::new().create(true).append(true).open(journal).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        writeln!(file, "{}", serde_json::to_string(&header).expect("plain data")).map_err(failed)?;
    }
    let all = (0..classes.len()).flat_map(|class| (0..SEEDS).map(move |seed| (class, seed)));
    let missing: Vec<(usize, u64)> = all.filter(|key| !trained.contains_key(key)).collect();
    let total = missing.len() + trained.len();
    let state = Mutex::new((file, &mut trained));
    progress(Progress { done: total - missing.len(), total });
    missing.into_par_iter().try_for_each(|(class, seed)| {
        let stopped = || {
            let done = state.lock().expect("nobody panics with it").1.len();
            GenerateError::Stopped { done, total }
        };
        if stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let outcome = measure(&space, &classes[class], data, &header.recipe, &header.questions, seed, stop);
        let (values, reason) = match outcome {
            Ok(measurement) => (measurement.scores(&header.questions), None),
            Err(e @ TrainingError::Diverged { .. }) => (BTreeMap::new(), Some(e.to_string())),
            Err(TrainingError::Stopped) => return Err(stopped()),
            Err(e) => return Err(e.into()),
        };
        let entry = Entry { class, seed, values, failed: reason };
        let line = serde_json::to_string(&entry).expect("plain data") + "\n";
        let (file, trained) = &mut *state.lock().expect("nobody panics with it");
        file.write_all(line.as_bytes()).map_err(failed)?;
        trained.insert((class, seed), entry.values);
        progress(Progress { done: trained.len(), total });
        Ok(())
    })?;
    Ok(trained)
}

/// The trainings a journal holds. A last line that was cut short is cut off.
fn read(journal: &Path, expected: &Header) -> Result<Trained, GenerateError> {
    let failed = |source| GenerateError::Journal { path: journal.into(), source };
    let file = match File::open(journal) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
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
            let header: Option<Header> = serde_json::from_str(&line).ok();
            if header.as_ref() != Some(expected) {
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
    Ok(trained)
}
