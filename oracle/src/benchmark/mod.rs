//! Benchmarks: architectures of one search space with their measured metrics, in one memory-mapped file.
//!
//! [`Benchmark::open`] checks everything, so that no later read can fail; [`BenchmarkWriter`] makes such files. The
//! format is told in `format.rs`; from Python it reads with `safetensors.numpy.load_file`.

mod fidelity;
mod format;
mod map;
mod network;
mod precision;
mod writer;

pub use fidelity::Fidelity;
pub use format::{Rows, SpaceDefinition, SpaceFormat};
pub use map::MappedFile;
pub use network::{Activation, Branch, HeldOut, Network, NetworkInfo, Output, Weights};
pub use precision::Precision;
pub use writer::BenchmarkWriter;

use format::{Layout, Refusal};
use serde::{Deserialize, Serialize};
use srnas_basics::{names, text};
use srnas_space::SearchSpace;
use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Ending of benchmark files.
pub const EXTENSION: &str = "safetensors";

/// What stands for the path of a benchmark that is part of the program.
pub const BUILT_IN: &str = "(built in)";

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Maximise,
    /// Less is better.
    Minimise,
}

impl Direction {
    /// 1 where more is better, −1 where less is.
    pub fn sign(self) -> f64 {
        match self {
            Self::Maximise => 1.0,
            Self::Minimise => -1.0,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Maximise => "maximise",
            Self::Minimise => "minimise",
        })
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It was measured.
    Measured,
    /// A network says it.
    Predicted,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::Predicted => "predicted",
        })
    }
}

/// What a metric's numbers mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Unit of the values, such as `%` or `ms`; empty where there is none.
    pub unit: String,
    /// Which way it is better.
    pub direction: Direction,
    /// One line on what was measured.
    pub description: String,
}

/// A metric of an open benchmark, without its values.
#[derive(Clone, Debug)]
struct Metric {
    name: String,
    info: MetricInfo,
    seeds: usize,
    precision: Precision,
    /// Where its values lie in the file.
    bytes: Range<usize>,
}

/// What can be wrong with a benchmark file or a question to it.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// The file cannot be read.
    #[error("cannot read the benchmark {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the benchmark {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another file is there already.
    #[error("{} is there already, and is not the same; it is overwritten with --replace only", path.display())]
    Present {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a benchmark file: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file breaks a rule of the format.
    #[error("the benchmark file {} is damaged: {reason}; import it again with `srnas bench import`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// What is to be written is not a benchmark.
    #[error("benchmark `{name}` cannot be written: {reason}")]
    Malformed {
        /// The benchmark.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// No metric has this name.
    #[error("benchmark `{benchmark}` has no metric `{metric}`{hint}")]
    UnknownMetric {
        /// The benchmark.
        benchmark: String,
        /// The name as given.
        metric: String,
        /// The nearest known names, ready to print.
        hint: String,
    },
}

/// An open benchmark: architectures by row, and metrics over the rows.
pub struct Benchmark {
    source: Bytes,
    layout: Layout,
}

/// Where the bytes of a benchmark are.
enum Bytes {
    File(PathBuf, MappedFile),
    BuiltIn(&'static [u8]),
}

impl Bytes {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::File(_, bytes) => bytes,
            Self::BuiltIn(bytes) => bytes,
        }
    }
}

impl Benchmark {
    /// Opens a benchmark file and checks all of it, its content hash included.
    ///
    /// # Errors
    /// Refuses what is not a whole, consistent benchmark file that this version can read, and says what is wrong.
    pub fn open(path: &Path) -> Result<Self, BenchmarkError> {
        let path = path.to_path_buf();
        let bytes = match MappedFile::open(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(BenchmarkError::Read { path, source }),
        };
        match format::read(&bytes) {
            Ok(layout) => Ok(Self { source: Bytes::File(path, bytes), layout }),
            Err(Refusal::Foreign(reason)) => Err(BenchmarkError::Foreign { path, reason }),
            Err(Refusal::Damaged(reason)) => Err(BenchmarkError::Damaged { path, reason }),
        }
    }

    /// A benchmark file that is part of the program; checked like any other.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn built_in(bytes: &'static [u8]) -> Result<Self, BenchmarkError> {
        match format::read(bytes) {
            Ok(layout) => Ok(Self { source: Bytes::BuiltIn(bytes), layout }),
            Err(Refusal::Foreign(reason)) => Err(BenchmarkError::Foreign { path: BUILT_IN.into(), reason }),
            Err(Refusal::Damaged(reason)) => Err(BenchmarkError::Damaged { path: BUILT_IN.into(), reason }),
        }
    }

    /// The file, or [`BUILT_IN`].
    pub fn path(&self) -> &Path {
        match &self.source {
            Bytes::File(path, _) => path,
            Bytes::BuiltIn(_) => Path::new(BUILT_IN),
        }
    }

    /// Name of the benchmark, the first part of its tasks' names.
    pub fn name(&self) -> &str {
        &self.layout.descriptor.name
    }

    /// The space its architectures belong to.
    pub fn space(&self) -> &Arc<SearchSpace> {
        &self.layout.space
    }

    /// The space in the words of the file, where it is no known one.
    pub fn space_definition(&self) -> Option<&SpaceDefinition> {
        self.layout.descriptor.space_definition.as_ref()
    }

    /// Where the numbers come from.
    pub fn provenance(&self) -> &str {
        &self.layout.descriptor.provenance
    }

    /// Licence of the numbers.
    pub fn licence(&self) -> &str {
        &self.layout.descriptor.licence
    }

    /// Number of architectures.
    pub fn rows(&self) -> usize {
        self.layout.architectures.rows()
    }

    /// Whether every encoding of the space has a row.
    pub fn covers_space(&self) -> bool {
        self.space().size() == Some(self.rows() as u64)
    }

    /// How many combinations of choices the space allows; none where they are too many to be counted.
    pub fn valid(&self) -> Option<u64> {
        let (space, size) = (self.space(), self.space().size().filter(|&size| size <= format::DENSE_ROWS)?);
        if size == self.rows() as u64 {
            return Some(size);
        }
        let mut choices = vec![0; space.len()];
        let valid = (0..size).filter(|&rank| {
            space.unrank(rank, &mut choices);
            space.is_valid(&choices)
        });
        Some(valid.count() as u64)
    }

    /// The share of the valid combinations of choices that have a row: 1 where all have. Estimated in a space whose valid ones
    /// cannot be counted.
    pub fn coverage(&self) -> f64 {
        let rows = self.rows() as f64;
        match self.valid() {
            Some(valid) => rows / valid as f64,
            // Not 1, for nobody counted them.
            None => {
                (rows / (self.space().log_size().exp() * self.space().valid_share())).min(1.0 - f64::EPSILON)
            }
        }
    }

    /// One row for each that was measured: all where the file lists encodings, the first of each class where it lists classes.
    pub fn measured(&self) -> Vec<usize> {
        let Some(stored) = self.layout.architectures.stored() else { return (0..self.rows()).collect() };
        let mut seen = vec![false; stored.len()];
        (0..self.rows()).filter(|&row| !std::mem::replace(&mut seen[stored[row] as usize], true)).collect()
    }

    /// One row for each architecture that the space tells apart: the first of its encodings, in the order of the rows.
    pub fn distinct(&self) -> Vec<usize> {
        let mut seen = hashbrown::HashSet::new();
        let space = self.space();
        (0..self.rows()).filter(|&row| seen.insert(space.canonical_key(self.choices(row)))).collect()
    }

    /// The architecture of a row below [`Self::rows`].
    pub fn choices(&self, row: usize) -> &[u8] {
        let decisions = self.space().len();
        &self.layout.architectures.choices(self.source.bytes())[row * decisions..(row + 1) * decisions]
    }

    /// The row of an architecture, if the benchmark has it.
    pub fn row_of(&self, choices: &[u8]) -> Option<usize> {
        if choices.len() != self.space().len() {
            return None;
        }
        // Choices that are not of the space may share a rank with some that are.
        let row_of = |choices: &[u8]| {
            self.layout.index.get(self.space().rank(choices)).filter(|&row| self.choices(row) == choices)
        };
        // Where what does not count is all that tells encodings of a class apart, one stands for all.
        let by_form = || {
            let space = self.space();
            let own = space.is_valid(choices) && !space.has_published_classes();
            let mut active = choices.to_vec();
            own.then(|| {
                space.activate(&mut active);
                row_of(&active)
            })
        };
        row_of(choices).or_else(|| by_form().flatten())
    }

    /// A metric by its full name, such as `cifar10/val`.
    ///
    /// # Errors
    /// An unknown name is refused with the nearest known ones.
    pub fn metric(&self, name: &str) -> Result<MetricView<'_>, BenchmarkError> {
        let found = self.layout.metrics.binary_search_by(|m| m.name.as_str().cmp(name));
        found.map(|i| self.view(&self.layout.metrics[i])).map_err(|_| BenchmarkError::UnknownMetric {
            benchmark: self.name().into(),
            metric: name.into(),
            hint: names::did_you_mean(name, self.layout.metrics.iter().map(|m| m.name.as_str())),
        })
    }

    /// Its metrics in order of their names.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = MetricView<'_>> {
        self.layout.metrics.iter().map(|m| self.view(m))
    }

    /// Shorter trainings of a metric, the cheapest first.
    pub fn fidelities(&self, of: &str) -> Vec<&Fidelity> {
        let mut all: Vec<&Fidelity> =
            self.layout.descriptor.fidelities.iter().filter(|f| f.of == of).collect();
        all.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        all
    }

    /// Metrics that take no training, in the order in which the file names them.
    pub fn untrained(&self) -> &[String] {
        &self.layout.descriptor.untrained
    }

    /// The network that answers for what has no row, if the file has one.
    pub fn network(&self) -> Option<&Arc<Network>> {
        self.layout.network.as_ref()
    }

    /// What is known of a metric for an architecture of the space, and whether that was measured: the mean of its row, else what the
    /// network says; none where neither has a value.
    pub fn answer(&self, metric: &MetricView, choices: &[u8]) -> Option<(f64, Source)> {
        let output = self.network().and_then(|network| Some((network, network.output(metric.name())?)));
        let row = self.row_of(choices).map(|row| metric.mean(row)).filter(|value| !value.is_nan());
        match (row, output) {
            (Some(value), Some((network, _))) if !network.info().rows_are_measured => {
                Some((value, Source::Predicted))
            }
            (Some(value), _) => Some((value, Source::Measured)),
            (None, Some((network, output))) => {
                Some((network.value(output, choices).into(), Source::Predicted))
            }
            (None, None) => None,
        }
    }

    /// SHA-256 of what tasks depend on: name, space, architectures, metrics and network. Two processes with the same hash agree
    /// on every task.
    pub fn content_hash(&self) -> &[u8; 32] {
        &self.layout.content_hash
    }

    /// [`Self::content_hash`] as 64 hexadecimal digits.
    pub fn content_hash_hex(&self) -> String {
        text::hex(&self.layout.content_hash)
    }

    /// The content hash that the file states, which [`Self::open`] compared; files of other programs may state none.
    pub fn stated_hash(&self) -> Option<&str> {
        self.layout.descriptor.content_sha256.as_deref()
    }

    /// Size of the file in bytes.
    pub fn file_size(&self) -> usize {
        self.source.bytes().len()
    }

    fn view<'a>(&'a self, metric: &'a Metric) -> MetricView<'a> {
        let bytes = &self.source.bytes()[metric.bytes.clone()];
        MetricView { metric, bytes, rows: self.rows(), stored: self.layout.architectures.stored() }
    }
}

impl fmt::Debug for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Benchmark({}, {} rows, {} metrics)", self.name(), self.rows(), self.layout.metrics.len())
    }
}

/// A metric and its values: [rows, seeds], NaN where missing.
#[derive(Clone, Copy)]
pub struct MetricView<'a> {
    metric: &'a Metric,
    bytes: &'a [u8],
    rows: usize,
    /// By row: the row of the file; none where they are the same.
    stored: Option<&'a [u32]>,
}

impl<'a> MetricView<'a> {
    /// Full name, dataset/metric.
    pub fn name(&self) -> &'a str {
        &self.metric.name
    }

    /// Unit, direction and description.
    pub fn info(&self) -> &'a MetricInfo {
        &self.metric.info
    }

    /// Number of seeds, at least 1.
    pub fn seeds(&self) -> usize {
        self.metric.seeds
    }

    /// How exactly its values are kept.
    pub fn precision(&self) -> Precision {
        self.metric.precision
    }

    /// Value of a row and a seed; NaN where missing.
    pub fn value(&self, row: usize, seed: usize) -> f64 {
        assert!(seed < self.seeds(), "seed {seed} of {}", self.seeds());
        let row = self.stored.map_or(row, |stored| stored[row] as usize);
        self.metric.precision.value(self.bytes, row * self.seeds() + seed)
    }

    /// The values of a row that are not missing.
    pub fn known(&self, row: usize) -> impl Iterator<Item = f64> {
        (0..self.seeds()).map(move |seed| self.value(row, seed)).filter(|v| !v.is_nan())
    }

    /// Mean of a row over the seeds that are not missing, as exact as they are; NaN where all are.
    pub fn mean(&self, row: usize) -> f64 {
        let (sum, n) = self.known(row).fold((0.0, 0u32), |(sum, n), v| (sum + v, n + 1));
        self.metric.precision.rounded(sum / f64::from(n))
    }

    /// A value, or a mean, as it was written: 0.1 and not 0.10000000149, as which single precision keeps it; none for NaN.
    pub fn written(&self, value: f64) -> Option<f64> {
        (!value.is_nan()).then(|| self.metric.precision.decimal(value))
    }

    /// All values, row by row.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + 'a {
        let (view, seeds) = (*self, self.seeds());
        (0..self.rows * seeds).map(move |i| view.value(i / seeds, i % seeds))
    }
}
