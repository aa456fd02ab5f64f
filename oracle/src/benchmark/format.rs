//! The benchmark file format: from bytes to a layout in which every later read is within bounds.
//!
//! A safetensors file with a u8 tensor `choices` `[N, decisions]` and one f64, f32 or f16 tensor per metric, `[N]` or
//! `[N, seeds]`, NaN where a value is missing. Its one metadata entry, `srnas_benchmark`, is the [`Descriptor`] in JSON.
//! Where that says `"rows": "classes"`, a row stands for every encoding of its class, and the file is read as if each
//! encoding had a row of its own. Where it describes a `network`, the file answers for every architecture of its space, and has the numbers
//! of the network in f32 tensors `network.first`, `network.bias`, and `network.B.L.weight` and `network.B.L.bias` of each later layer L of
//! a branch B. The reader and the writer go through the same check, so what is written can be opened.

use super::{
    Direction, Fidelity, Metric, MetricInfo, Network, NetworkInfo, Precision, fidelity, network::Weights,
};
use hashbrown::HashMap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorInfo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_space::{self as space, SearchSpace};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The metadata entry that makes a safetensors file a benchmark.
pub(super) const METADATA_KEY: &str = "srnas_benchmark";
/// Name of the tensor of architectures.
pub(super) const CHOICES: &str = "choices";
/// The newest version of the format that this program reads.
pub(super) const FORMAT_VERSION: u32 = 3;
/// The first version, which is written wherever nothing of a later one is needed.
pub(super) const FIRST_VERSION: u32 = 1;
/// The first version in which a metric may be in double precision.
pub(super) const DOUBLE_VERSION: u32 = 2;
/// The first version in which a file may have a network.
pub(super) const NETWORK_VERSION: u32 = 3;
/// Spaces with up to this many encodings get a dense table from rank to row (16 MB at most), others a hash map.
pub(super) const DENSE_ROWS: u64 = 4_000_000;
/// Marks an encoding that the benchmark does not have.
const ABSENT: u32 = u32::MAX;

/// What the metadata says of a benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub(super) format_version: u32,
    pub(super) name: String,
    pub(super) space: String,
    /// The space itself, where it is no known one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) space_definition: Option<SpaceDefinition>,
    /// What a row of the tensors stands for.
    #[serde(default, skip_serializing_if = "Rows::are_encodings")]
    pub(super) rows: Rows,
    pub(super) metrics: BTreeMap<String, MetricInfo>,
    /// Metrics that say early what others say at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fidelities: Vec<Fidelity>,
    /// Metrics that take no training. They change no task, so they are no part of the content hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) untrained: Vec<String>,
    /// What answers for what has no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<NetworkInfo>,
    pub(super) provenance: String,
    pub(super) licence: String,
    /// Of name, space, directions and tensors; files made by other programs may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_sha256: Option<String>,
}

/// A space in the words of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceDefinition {
    /// The format.
    pub format: SpaceFormat,
    /// The file's text.
    pub text: String,
}

/// The formats of files that define spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceFormat {
    /// srnas's own.
    Toml,
    /// ConfigSpace's.
    Json,
}

impl SpaceDefinition {
    /// The space, under `name` if it has none of its own.
    ///
    /// # Errors
    /// Says what is wrong with the text; a known space's name is refused.
    pub fn space(&self, name: &str) -> Result<SearchSpace, String> {
        let read = match self.format {
            SpaceFormat::Toml => space::read,
            SpaceFormat::Json => space::read_configspace,
        };
        let space = read(&self.text, name).map_err(|e| e.to_string())?;
        if space::is_known(space.name()) {
            return Err(format!("a space of its own cannot be called `{}`, as a known one is", space.name()));
        }
        Ok(space)
    }
}

/// What a row of a file stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// One encoding.
    #[default]
    Encodings,
    /// All encodings with the canonical key of the one that is written.
    Classes,
}

impl Rows {
    fn are_encodings(&self) -> bool {
        *self == Self::Encodings
    }
}

/// Why bytes are refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is something else, or from a version of srnas that this one cannot read.
    Foreign(String),
    /// It was a benchmark once, or means to be one.
    Damaged(String),
}

/// Where everything lies in the checked bytes of a benchmark.
pub(super) struct Layout {
    pub(super) descriptor: Descriptor,
    pub(super) space: Arc<SearchSpace>,
    pub(super) architectures: Architectures,
    /// In order of their names.
    pub(super) metrics: Vec<Metric>,
    pub(super) index: RowIndex,
    pub(super) network: Option<Arc<Network>>,
    pub(super) content_hash: [u8; 32],
}

/// The architectures of a benchmark by row.
pub(super) enum Architectures {
    /// As the file has them.
    Stored { rows: usize, choices: Range<usize> },
    /// Every encoding of the file's classes.
    Expanded {
        /// u8 [rows, decisions].
        choices: Vec<u8>,
        /// By row: the row of its class in the file.
        stored: Vec<u32>,
    },
}

impl Architectures {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Stored { rows, .. } => *rows,
            Self::Expanded { stored, .. } => stored.len(),
        }
    }

    /// u8 [rows, decisions].
    pub(super) fn choices<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Stored { choices, .. } => &bytes[choices.clone()],
            Self::Expanded { choices, .. } => choices,
        }
    }

    /// By row: the row of the file; none where they are the same.
    pub(super) fn stored(&self) -> Option<&[u32]> {
        match self {
            Self::Stored { .. } => None,
            Self::Expanded { stored, .. } => Some(stored),
        }
    }

    /// Gives every encoding of the space the row of its class. The file's classes must be different ones.
    fn expand(space: &SearchSpace, choices: &[u8]) -> Result<Self, Refusal> {
        let size = space.size().filter(|&size| size <= DENSE_ROWS).ok_or_else(|| {
            Refusal::Damaged(format!("{} is too large for a table of classes", space.name()))
        })?;
        let mut classes = HashMap::new();
        for (row, architecture) in choices.chunks_exact(space.len()).enumerate() {
            if let Some(first) = classes.insert(space.canonical_key(architecture), row as u32) {
                return Err(Refusal::Damaged(format!("rows {first} and {row} are of one class")));
            }
        }
        let (mut expanded, mut stored) = (Vec::new(), Vec::new());
        let mut architecture = vec![0; space.len()];
        for rank in 0..size {
            space.unrank(rank, &mut architecture);
            if !space.is_valid(&architecture) {
                continue;
            }
            if let Some(&row) = classes.get(&space.canonical_key(&architecture)) {
                expanded.extend_from_slice(&architecture);
                stored.push(row);
            }
        }
        Ok(Self::Expanded { choices: expanded, stored })
    }
}

/// From the rank of an encoding to its row.
pub(super) enum RowIndex {
    Dense(Box<[u32]>),
    Sparse(HashMap<u64, u32>),
}

impl RowIndex {
    pub(super) fn get(&self, rank: u64) -> Option<usize> {
        let row = match self {
            Self::Dense(rows) => *rows.get(usize::try_from(rank).ok()?)?,
            Self::Sparse(rows) => *rows.get(&rank)?,
        };
        (row != ABSENT).then_some(row as usize)
    }

    fn new(space: &SearchSpace, choices: &[u8]) -> Result<Self, Refusal> {
        let mut index = match space.size() {
            Some(size) if size <= DENSE_ROWS => Self::Dense(vec![ABSENT; size as usize].into()),
            _ => Self::Sparse(HashMap::with_capacity(choices.len() / space.len())),
        };
        let d = space.len();
        // Most of the time goes into what is valid.
        let of = |architecture: &[u8]| space.is_valid(architecture).then(|| space.rank(architecture));
        let ranks: Vec<Option<u64>> = choices.par_chunks_exact(d).map(of).collect();
        for (row, (architecture, rank)) in choices.chunks_exact(d).zip(ranks).enumerate() {
            let Some(rank) = rank else {
                return Err(Refusal::Damaged(format!(
                    "row {row} of `{CHOICES}`, {architecture:?}, is not an architecture of {}",
                    space.name()
                )));
            };
            if let Some(first) = index.get(rank) {
                return Err(Refusal::Damaged(format!(
                    "rows {first} and {row} are the same architecture, {}",
                    space.format(architecture)
                )));
            }
            match &mut index {
                Self::Dense(rows) => rows[rank as usize] = row as u32,
                Self::Sparse(rows) => drop(rows.insert(rank, row as u32)),
            }
        }
        Ok(index)
    }
}

/// Checks everything that later reads rely on.
pub(super) fn read(bytes: &[u8]) -> Result<Layout, Refusal> {
    let (header_len, header) = SafeTensors::read_metadata(bytes).map_err(|e| not_safetensors(bytes, &e))?;
    // The header's length is a number of 8 bytes in front of it; offsets count from its end.
    let tensors_start = 8 + header_len;
    let place = |t: &TensorInfo| tensors_start + t.data_offsets.0..tensors_start + t.data_offsets.1;

    let json = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).ok_or_else(|| {
        Refusal::Foreign(format!("it is a safetensors file, but without the metadata `{METADATA_KEY}`"))
    })?;
    let descriptor = read_descriptor(json)?;
    check_name(&descriptor.name).map_err(Refusal::Damaged)?;
    let space = match &descriptor.space_definition {
        None => SearchSpace::named(&descriptor.space).map_err(|e| Refusal::Foreign(e.to_string()))?,
        Some(definition) => Arc::new(definition.space(&descriptor.space).map_err(Refusal::Damaged)?),
    };
    if space.name() != descriptor.space {
        let (said, found) = (&descriptor.space, space.name());
        return Err(Refusal::Damaged(format!(
            "its space is called `{said}` in one place and `{found}` in another"
        )));
    }

    let mut tensors = header.tensors();
    let architectures =
        tensors.remove(CHOICES).ok_or_else(|| Refusal::Damaged(format!("it has no tensor `{CHOICES}`")))?;
    if architectures.dtype != Dtype::U8 {
        let found = architectures.dtype;
        return Err(Refusal::Damaged(format!("`{CHOICES}` holds {found:?} instead of U8")));
    }
    let rows = match architectures.shape[..] {
        [rows, decisions] if decisions == space.len() && rows > 0 && rows < ABSENT as usize => rows,
        _ => {
            return Err(Refusal::Damaged(format!(
                "`{CHOICES}` has shape {:?} instead of [rows, {}]",
                architectures.shape,
                space.len()
            )));
        }
    };
    let choices = place(architectures);
    let mut metrics = Vec::with_capacity(descriptor.metrics.len());
    for (name, info) in &descriptor.metrics {
        check_metric_name(name).map_err(Refusal::Damaged)?;
        let tensor = tensors
            .remove(name)
            .ok_or_else(|| Refusal::Damaged(format!("metric `{name}` is described but has no tensor")))?;
        let precision = Precision::of(tensor.dtype).ok_or_else(|| {
            let other = tensor.dtype;
            Refusal::Damaged(format!("metric `{name}` holds {other:?} instead of F64, F32 or F16"))
        })?;
        let seeds = match tensor.shape[..] {
            [n] if n == rows => 1,
            [n, seeds] if n == rows && seeds > 0 => seeds,
            _ => {
                return Err(Refusal::Damaged(format!(
                    "metric `{name}` has shape {:?} instead of [{rows}] or [{rows}, seeds]",
                    tensor.shape
                )));
            }
        };
        metrics.push(Metric {
            name: name.clone(),
            info: info.clone(),
            seeds,
            precision,
            bytes: place(tensor),
        });
    }
    let mut numbers = Vec::new();
    let network = match &descriptor.network {
        None => None,
        Some(info) => {
            let mut take = |name: &str| -> Result<Vec<f32>, Refusal> {
                let tensor = tensors.remove(name).filter(|tensor| tensor.dtype == Dtype::F32);
                let place = tensor.map(place).ok_or_else(|| {
                    Refusal::Damaged(format!("its network is described but has no f32 tensor `{name}`"))
                })?;
                let values = bytes[place.clone()].chunks_exact(4);
                let values = values.map(|v| f32::from_le_bytes(v.try_into().expect("four bytes"))).collect();
                numbers.push(place);
                Ok(values)
            };
            Some(Arc::new(read_network(info, &space, &descriptor.metrics, &mut take)?))
        }
    };
    if let Some(name) = tensors.keys().min() {
        return Err(Refusal::Damaged(format!("tensor `{name}` is not described in its metadata")));
    }
    fidelity::check_all(&descriptor.fidelities, &descriptor.metrics).map_err(Refusal::Damaged)?;
    check_untrained(&descriptor).map_err(Refusal::Damaged)?;

    // What takes long in a large file, side by side.
    let ((index, values), content_hash) = rayon::join(
        || rayon::join(|| RowIndex::new(&space, &bytes[choices.clone()]), || check_values(bytes, &metrics)),
        || content_hash(bytes, &descriptor, &choices, &metrics, &numbers),
    );
    // Checks what the file has, also where it is to be expanded.
    let mut index = index?;
    values?;
    if metrics.is_empty() {
        return Err(Refusal::Damaged("it has no metrics".into()));
    }
    let architectures = match descriptor.rows {
        Rows::Encodings => Architectures::Stored { rows, choices: choices.clone() },
        Rows::Classes => {
            let expanded = Architectures::expand(&space, &bytes[choices.clone()])?;
            index = RowIndex::new(&space, expanded.choices(bytes))?;
            expanded
        }
    };
    match &descriptor.content_sha256 {
        Some(stated) if *stated != hex(&content_hash) => Err(Refusal::Damaged(format!(
            "its content has SHA-256 {} where its metadata says {stated}",
            hex(&content_hash)
        ))),
        _ => Ok(Layout { descriptor, space, architectures, metrics, index, network, content_hash }),
    }
}

/// The names of benchmarks are file names and the first part of a task's name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!(
            "`{name}` cannot name a benchmark: letters, digits, `_`, `-` and `.` can, not starting with `.`"
        ));
    }
    Ok(())
}

/// A metric is dataset/metric, in letters that a task's name can hold.
fn check_metric_name(name: &str) -> Result<(), String> {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.'))
    };
    match name.split_once('/') {
        Some((dataset, metric)) if plain(dataset) && plain(metric) => Ok(()),
        _ => Err(format!(
            "`{name}` cannot name a metric: dataset/metric can, in letters, digits, `_`, `@` and `.`"
        )),
    }
}

fn read_descriptor(json: &str) -> Result<Descriptor, Refusal> {
    let unreadable =
        |e: serde_json::Error| Refusal::Damaged(format!("its metadata `{METADATA_KEY}` cannot be read: {e}"));
    // The version first: a later format may differ in everything else.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let Version { format_version } = serde_json::from_str(json).map_err(unreadable)?;
    if format_version == 0 || format_version > FORMAT_VERSION {
        return Err(Refusal::Foreign(format!(
            "it has format version {format_version}, and this srnas reads up to {FORMAT_VERSION}: a newer srnas can"
        )));
    }
    serde_json::from_str(json).map_err(unreadable)
}

fn not_safetensors(bytes: &[u8], error: &SafeTensorError) -> Refusal {
    match error {
        _ if bytes.is_empty() => Refusal::Damaged("it is empty".into()),
        SafeTensorError::MetadataIncompleteBuffer => {
            let text = format!(
                "its {} bytes are not what its header announces: it was cut short or added to",
                bytes.len()
            );
            Refusal::Damaged(text)
        }
        other => Refusal::Foreign(format!("it cannot be read as safetensors, or was cut short: {other}")),
    }
}

fn check_values(bytes: &[u8], metrics: &[Metric]) -> Result<(), Refusal> {
    for metric in metrics {
        let (bytes, precision) = (&bytes[metric.bytes.clone()], metric.precision);
        let infinite =
            (0..bytes.len() / precision.width()).find(|&i| precision.value(bytes, i).is_infinite());
        if let Some(i) = infinite {
            let (name, row) = (&metric.name, i / metric.seeds);
            return Err(Refusal::Damaged(format!(
                "metric `{name}` is infinite in row {row}; NaN means missing"
            )));
        }
    }
    Ok(())
}

/// SHA-256 of what a task depends on: name, space, architectures, and each metric's name, direction, seeds and values,
/// as the file has them.
fn content_hash(
    bytes: &[u8],
    descriptor: &Descriptor,
    choices: &Range<usize>,
    metrics: &[Metric],
    network: &[Range<usize>],
) -> [u8; 32] {
    let mut sha = Sha256::new();
    // With its length before each part, two different contents never hash the same bytes.
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    part(descriptor.name.as_bytes());
    part(descriptor.space.as_bytes());
    if let Some(definition) = &descriptor.space_definition {
        part(definition.text.as_bytes());
    }
    part(&bytes[choices.clone()]);
    for metric in metrics {
        part(metric.name.as_bytes());
        part(match metric.info.direction {
            Direction::Maximise => b"maximise",
            Direction::Minimise => b"minimise",
        });
        part(&(metric.seeds as u64).to_le_bytes());
        part(&bytes[metric.bytes.clone()]);
    }
    for fidelity in &descriptor.fidelities {
        part(
            format!("{} of {}: {}/{}", fidelity.metric, fidelity.of, fidelity.amount, fidelity.full)
                .as_bytes(),
        );
    }
    if let Some(info) = &descriptor.network {
        part(&serde_json::to_vec(info).expect("a description is plain data"));
        network.iter().for_each(|numbers| part(&bytes[numbers.clone()]));
    }
    sha.finalize().into()
}

/// Refuses a list of what takes no training in which something is no metric, is there twice, or is trained.
fn check_untrained(descriptor: &Descriptor) -> Result<(), String> {
    for (i, metric) in descriptor.untrained.iter().enumerate() {
        let trained = |f: &Fidelity| f.metric == *metric || f.of == *metric;
        let reason = match () {
            () if !descriptor.metrics.contains_key(metric) => "is no metric of the benchmark",
            () if descriptor.untrained[..i].contains(metric) => "is named twice",
            () if descriptor.fidelities.iter().any(trained) => "has trainings of several lengths",
            () => continue,
        };
        return Err(format!("`{metric}` is said to take no training, and {reason}"));
    }
    Ok(())
}

/// The network that metadata describe; `take` takes a tensor's numbers by its name.
fn read_network(
    info: &NetworkInfo,
    space: &Arc<SearchSpace>,
    metrics: &BTreeMap<String, MetricInfo>,
    take: &mut dyn FnMut(&str) -> Result<Vec<f32>, Refusal>,
) -> Result<Network, Refusal> {
    if let Some(output) = info.outputs.iter().find(|output| !metrics.contains_key(&output.metric)) {
        let reason = format!("its network gives `{}`, which is no metric of it", output.metric);
        return Err(Refusal::Damaged(reason));
    }
    let (first, bias) = (take(&network_tensor("first"))?, take(&network_tensor("bias"))?);
    let mut layers = Vec::with_capacity(info.branches.len());
    for (b, branch) in info.branches.iter().enumerate() {
        let mut layer = |l| {
            let name = |what| network_tensor(&format!("{b}.{l}.{what}"));
            Ok((take(&name("weight"))?, take(&name("bias"))?))
        };
        layers.push((0..branch.hidden.len()).map(&mut layer).collect::<Result<Vec<_>, Refusal>>()?);
    }
    Network::new(info.clone(), space.clone(), Weights { first, bias, layers }).map_err(Refusal::Damaged)
}

/// Name of a tensor of a network.
pub(super) fn network_tensor(part: &str) -> String {
    format!("network.{part}")
}
