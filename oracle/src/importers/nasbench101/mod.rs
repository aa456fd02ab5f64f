//! NAS-Bench-101: from the official TFRecord files, or from a CSV of some of its cells.
//!
//! Official: `nasbench_only108.tfrecord` or `nasbench_full.tfrecord`, rows in JSON of hash, epochs, matrix, operations, and a protocol
//! buffer with the results, three runs of each cell and number of epochs. CSV: `nb101_subset_30001`, single runs of some cells. Every cell's hash is
//! computed and compared, so that a file of another benchmark is found out.

pub mod hash;
pub mod tfrecord;

use super::{
    Folders, ImportError, Imported,
    csv::{CsvError, CsvTable},
};
use crate::benchmark::{BenchmarkWriter, Direction, Fidelity, MetricInfo};
use base64::{Engine, prelude::BASE64_STANDARD};
use hash::module_hash;
use prost::Message;
use serde::Deserialize;
use srnas_space::{SearchSpace, nb101};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};
use tfrecord::Records;

/// Name of the benchmark made.
pub const BENCHMARK: &str = "nb101";
/// The official files: all lengths, and the longest alone.
const OFFICIAL: [&str; 2] = ["nasbench_full.tfrecord", "nasbench_only108.tfrecord"];
const SUBSET: &str = "nb101_subset_30001";
/// Epochs of a full training, and of shorter ones.
const FULL: u32 = 108;
const SHORTER: [u32; 3] = [4, 12, 36];
/// Runs of each cell and number of epochs in the official files.
const RUNS: usize = 3;

const OFFICIAL_PROVENANCE: &str = "NAS-Bench-101 (Ying et al., ICML 2019), the official TFRecord file of github google-research/nasbench: three runs of each cell.";
const SUBSET_PROVENANCE: &str = "NAS-Bench-101 (Ying et al., ICML 2019), 30,001 of its 423,624 cells by github tiga1231/nasbench-vis: one of three runs, \
    validation accuracy alone.";
const LICENCE: &str = "Apache-2.0";

/// Reads an official file, if one of the folders has one, else the CSV of some cells.
///
/// # Errors
/// Refuses a file with a broken checksum, a cell outside the space, of another hash, twice or without all of its runs, and any value that
/// is not what it should be; with the record, or with line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let official = OFFICIAL.iter().find_map(|name| folders.find_named(name));
    let path = match official {
        Some(path) => path,
        None => folders
            .find(SUBSET)
            .ok_or_else(|| folders.absent(SUBSET, ", nasbench_full.tfrecord or nasbench_only108.tfrecord"))?,
    };
    progress(0, 1, &path);
    let benchmark = match path.extension().is_some_and(|ending| ending == "tfrecord") {
        true => of_records(&path)?,
        false => of_table(&CsvTable::read(&path)?.with_rows()?)?,
    };
    Ok(Imported { benchmarks: vec![benchmark], files: vec![path], absent: Vec::new() })
}

fn info(unit: &str, direction: Direction, description: String) -> MetricInfo {
    MetricInfo { unit: unit.into(), direction, description }
}

fn accuracy(of: &str, epochs: u32) -> MetricInfo {
    info("%", Direction::Maximise, format!("{of} accuracy on CIFAR-10 after {epochs} epochs"))
}

/// A metric's name: of a full training without its length.
fn named(metric: &str, epochs: u32) -> String {
    if epochs == FULL { format!("cifar10/{metric}") } else { format!("cifar10/{metric}_{epochs}") }
}

fn shorter(benchmark: &mut BenchmarkWriter, metric: &str, epochs: u32) {
    benchmark.fidelity(Fidelity {
        metric: named(metric, epochs),
        of: named(metric, FULL),
        unit: "epochs".into(),
        amount: epochs,
        full: FULL,
    });
}

/// The canonical form of a cell that is written as an upper triangle and operations by their places.
fn cell(space: &SearchSpace, n: usize, triangle: &str, operations: &str) -> Result<Vec<u8>, String> {
    let expected = n * n.saturating_sub(1) / 2;
    if triangle.len() != expected || !triangle.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
        return Err(format!(
            "`{triangle}` is not the {expected} digits 0 and 1 above the diagonal of {n} vertices"
        ));
    }
    let mut digits = triangle.bytes().map(|digit| f64::from(digit - b'0'));
    let mut matrix = vec![vec![0.0; n]; n];
    for (r, row) in matrix.iter_mut().enumerate() {
        for value in row.iter_mut().skip(r + 1) {
            *value = digits.next().unwrap_or(0.0);
        }
    }
    let operation = |digit: char| {
        let known = digit.to_digit(10).and_then(|place| nb101::OPERATIONS.get(place as usize));
        known.map(|name| (*name).to_string()).ok_or_else(|| format!("`{digit}` is no operation: 0, 1 or 2"))
    };
    let inner = operations.chars().map(operation).collect::<Result<Vec<String>, _>>()?;
    let operations = [vec!["input".to_string()], inner, vec!["output".to_string()]].concat();
    let mut choices = nb101::choices_of(&matrix, &operations)?;
    space.activate(&mut choices);
    Ok(choices)
}

fn check_hash(choices: &[u8], said: &str) -> Result<(), String> {
    match module_hash(choices) {
        Some(found) if found == said => Ok(()),
        found => Err(format!("the cell has the hash {}, not `{said}`", found.unwrap_or_default())),
    }
}

/// Some cells, single runs.
fn of_table(table: &CsvTable) -> Result<BenchmarkWriter, ImportError> {
    let space = SearchSpace::named(BENCHMARK)?;
    let column = |name: &str| table.column(name);
    let (hash, triangle, operations) =
        (column("module_hash")?, column("adjacency_upper")?, column("op_labels")?);
    let (vertices, edges) = (column("num_vertices")?, column("num_edges")?);
    let (mut choices, mut lines) = (Vec::new(), HashMap::new());
    for row in 0..table.rows() {
        let n = vertices.index(row, nb101::VERTICES + 1)?;
        let wrong = |reason: String| triangle.error(row, reason);
        let own = cell(&space, n, triangle.text(row), operations.text(row)).map_err(wrong)?;
        let (labels, found) = nb101::published_form(&own).expect("a cell");
        if labels.len() != n {
            return Err(
                wrong(format!("{} of its {n} vertices are on a way to the output", labels.len())).into()
            );
        }
        let count = found.iter().flatten().filter(|edge| **edge).count();
        if edges.index(row, 22)? != count {
            return Err(edges
                .error(row, format!("`{}` for a cell of {count} edges", edges.text(row)))
                .into());
        }
        check_hash(&own, hash.text(row)).map_err(|reason| hash.error(row, reason))?;
        if let Some(line) = lines.insert(own.clone(), hash.line(row)) {
            return Err(hash.error(row, format!("the same cell as in line {line}")).into());
        }
        choices.extend(own);
    }
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space, choices, SUBSET_PROVENANCE, LICENCE);
    let read = |name: &str, factor: f64| -> Result<Vec<f32>, CsvError> {
        let column = column(name)?;
        (0..table.rows()).map(|row| Ok((factor * column.number(row)?) as f32)).collect()
    };
    for epochs in SHORTER.into_iter().chain([FULL]) {
        let values = read(&format!("val_acc_{epochs}"), 100.0)?;
        benchmark.metric(named("val", epochs), accuracy("validation", epochs), 1, &values);
    }
    let parameters = info("", Direction::Minimise, "weights".into());
    benchmark.untrained("cifar10/params");
    benchmark.metric("cifar10/params", parameters, 1, &read("trainable_parameters", 1.0)?);
    let time = info("s", Direction::Minimise, format!("a training of {FULL} epochs took so long"));
    benchmark.metric("cifar10/train_time", time, 1, &read("training_time_108_s", 1.0)?);
    SHORTER.iter().for_each(|&epochs| shorter(&mut benchmark, "val", epochs));
    Ok(benchmark)
}

/// A row of an official file: hash, epochs, matrix, operations, results.
#[derive(Deserialize)]
struct Row<'a>(
    #[serde(borrow)] &'a str,
    u32,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
);

/// The results of a training (`model_metrics.proto`).
#[derive(Clone, PartialEq, Message)]
pub struct ModelMetrics {
    /// Before it, halfway and at its end.
    #[prost(message, repeated, tag = "1")]
    pub evaluation_data: Vec<EvaluationData>,
    /// Weights.
    #[prost(int32, tag = "2")]
    pub trainable_parameters: i32,
    /// Seconds of all of it.
    #[prost(double, tag = "3")]
    pub total_time: f64,
}

/// What was measured at some point of a training.
#[derive(Clone, PartialEq, Message)]
pub struct EvaluationData {
    /// Epochs by then.
    #[prost(double, tag = "1")]
    pub current_epoch: f64,
    /// Seconds by then.
    #[prost(double, tag = "2")]
    pub training_time: f64,
    /// A share.
    #[prost(double, tag = "3")]
    pub train_accuracy: f64,
    /// A share.
    #[prost(double, tag = "4")]
    pub validation_accuracy: f64,
    /// A share.
    #[prost(double, tag = "5")]
    pub test_accuracy: f64,
}

/// What one number of epochs found, by cell and run.
#[derive(Default)]
struct Runs {
    values: BTreeMap<&'static str, Vec<[f32; RUNS]>>,
    /// By cell.
    seen: Vec<u8>,
}

/// An official file, read record by record.
fn of_records(path: &Path) -> Result<BenchmarkWriter, ImportError> {
    let foreign = |reason: String| ImportError::Records { path: path.into(), reason };
    let file = File::open(path).map_err(|e| foreign(format!("cannot be read: {e}")))?;
    let space = SearchSpace::named(BENCHMARK)?;
    let mut records = Records::new(BufReader::with_capacity(1 << 20, file));
    let mut cells = Cells::new(space);
    loop {
        let record = records.record() + 1;
        match records.read() {
            Ok(Some(bytes)) => {
                cells.add(bytes).map_err(|reason| foreign(format!("record {record}: {reason}")))?
            }
            Ok(None) => break,
            Err(error) => return Err(foreign(error.to_string())),
        }
    }
    cells.benchmark().map_err(foreign)
}

/// The cells of an official file so far.
struct Cells {
    space: Arc<SearchSpace>,
    choices: Vec<u8>,
    hashes: Vec<String>,
    places: HashMap<String, usize>,
    parameters: Vec<f32>,
    /// By epochs.
    runs: BTreeMap<u32, Runs>,
}

impl Cells {
    fn new(space: Arc<SearchSpace>) -> Self {
        let (choices, hashes, places) = (Vec::new(), Vec::new(), HashMap::new());
        Self { space, choices, hashes, places, parameters: Vec::new(), runs: BTreeMap::new() }
    }

    fn add(&mut self, record: &[u8]) -> Result<(), String> {
        let Row(hash, epochs, matrix, operations, metrics) = serde_json::from_slice(record)
            .map_err(|e| format!("it is no row of NAS-Bench-101, which is a list of five in JSON: {e}"))?;
        let metrics =
            BASE64_STANDARD.decode(metrics).map_err(|e| format!("its results are no base64: {e}"))?;
        let metrics =
            ModelMetrics::decode(&metrics[..]).map_err(|e| format!("its results cannot be read: {e}"))?;
        let [_, _, end] = &metrics.evaluation_data[..] else {
            return Err(format!("{} evaluations instead of 3", metrics.evaluation_data.len()));
        };
        let place = match self.places.get(hash) {
            Some(&place) => place,
            None => self.insert(hash, matrix, operations, metrics.trainable_parameters)?,
        };
        let cells = self.hashes.len();
        let runs = self.runs.entry(epochs).or_default();
        runs.seen.resize(cells.max(runs.seen.len()), 0);
        let run = usize::from(runs.seen[place]);
        if run == RUNS {
            return Err(format!("cell {hash} has more than {RUNS} runs of {epochs} epochs"));
        }
        runs.seen[place] += 1;
        let found = [
            ("val", 100.0 * end.validation_accuracy),
            ("test", 100.0 * end.test_accuracy),
            ("train_time", end.training_time),
        ];
        for (metric, value) in found {
            if !value.is_finite() {
                return Err(format!("{metric} of cell {hash} is {value}"));
            }
            let values = runs.values.entry(metric).or_default();
            values.resize(cells.max(values.len()), [f32::NAN; RUNS]);
            values[place][run] = value as f32;
        }
        Ok(())
    }

    /// A cell that was not there before.
    fn insert(
        &mut self,
        hash: &str,
        matrix: &str,
        operations: &str,
        parameters: i32,
    ) -> Result<usize, String> {
        let n = (matrix.len() as f64).sqrt() as usize;
        if n * n != matrix.len() {
            return Err(format!("the matrix of cell {hash} has {} digits, which is no square", matrix.len()));
        }
        let digit = |digit: u8| match digit {
            b'0' => Ok(0.0),
            b'1' => Ok(1.0),
            other => Err(format!("the matrix of cell {hash} has `{}`", char::from(other))),
        };
        let digits = matrix.bytes().map(digit).collect::<Result<Vec<f64>, String>>()?;
        let rows: Vec<Vec<f64>> = digits.chunks(n.max(1)).map(<[f64]>::to_vec).collect();
        let operations: Vec<String> = operations.split(',').map(str::to_string).collect();
        let mut choices = nb101::choices_of(&rows, &operations)?;
        self.space.activate(&mut choices);
        check_hash(&choices, hash)?;
        let place = self.hashes.len();
        self.choices.extend(choices);
        self.hashes.push(hash.into());
        self.places.insert(hash.into(), place);
        self.parameters.push(parameters as f32);
        Ok(place)
    }

    fn benchmark(self) -> Result<BenchmarkWriter, String> {
        if !self.runs.contains_key(&FULL) {
            return Err(format!("it has no trainings of {FULL} epochs"));
        }
        for (epochs, runs) in &self.runs {
            let missing = (0..self.hashes.len())
                .find(|&place| runs.seen.get(place).is_none_or(|seen| usize::from(*seen) < RUNS));
            if let Some(place) = missing {
                let found = runs.seen.get(place).copied().unwrap_or(0);
                return Err(format!(
                    "cell {} has {found} of {RUNS} runs of {epochs} epochs",
                    self.hashes[place]
                ));
            }
        }
        let mut benchmark =
            BenchmarkWriter::new(BENCHMARK, &self.space, self.choices, OFFICIAL_PROVENANCE, LICENCE);
        let parameters = info("", Direction::Minimise, "weights".into());
        benchmark.untrained("cifar10/params");
        benchmark.metric("cifar10/params", parameters, 1, &self.parameters);
        for (&epochs, runs) in &self.runs {
            for (&metric, values) in &runs.values {
                let info = match metric {
                    "val" => accuracy("validation", epochs),
                    "test" => accuracy("test", epochs),
                    _ => {
                        info("s", Direction::Minimise, format!("a training of {epochs} epochs took so long"))
                    }
                };
                benchmark.metric(named(metric, epochs), info, RUNS, values.as_flattened());
                if epochs < FULL {
                    shorter(&mut benchmark, metric, epochs);
                }
            }
        }
        Ok(benchmark)
    }
}
