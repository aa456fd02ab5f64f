//! Makes benchmark files.

use super::{
    BenchmarkError, Fidelity, MetricInfo, Network,
    format::{
        self, CHOICES, DOUBLE_VERSION, Descriptor, FIRST_VERSION, METADATA_KEY, NETWORK_VERSION, Refusal,
        Rows, SpaceDefinition, network_tensor,
    },
    precision::Precision,
};
use half::f16;
use safetensors::{Dtype, View};
use srnas_basics::{files::write_whole, text::hex};
use srnas_space::SearchSpace;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    sync::Arc,
};

/// A benchmark in the making: architectures first, then metrics over them, then [`Self::write`].
#[derive(Clone, Debug)]
pub struct BenchmarkWriter {
    descriptor: Descriptor,
    tensors: BTreeMap<String, Tensor>,
    rows: usize,
}

/// A tensor as it lies in the file.
#[derive(Clone, Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Whether a file has these bytes already; refuses one that has others.
fn is_there(path: &Path, bytes: &[u8]) -> Result<bool, BenchmarkError> {
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(true),
        Ok(_) => Err(BenchmarkError::Present { path: path.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(BenchmarkError::Write { path: path.into(), source }),
    }
}

impl BenchmarkWriter {
    /// A benchmark over `choices`, u8 [rows, decisions] row by row. `provenance` says where the numbers come from,
    /// `licence` under which terms. What is not a benchmark is refused by [`Self::write`].
    pub fn new(
        name: impl Into<String>,
        space: &Arc<SearchSpace>,
        choices: Vec<u8>,
        provenance: impl Into<String>,
        licence: impl Into<String>,
    ) -> Self {
        let descriptor = Descriptor {
            format_version: FIRST_VERSION,
            name: name.into(),
            space: space.name().into(),
            space_definition: None,
            rows: Rows::Encodings,
            metrics: BTreeMap::new(),
            fidelities: Vec::new(),
            untrained: Vec::new(),
            network: None,
            provenance: provenance.into(),
            licence: licence.into(),
            content_sha256: None,
        };
        let rows = choices.len() / space.len();
        let choices = Tensor { dtype: Dtype::U8, shape: vec![rows, space.len()], bytes: choices };
        Self { descriptor, tensors: BTreeMap::from([(CHOICES.into(), choices)]), rows }
    }

    /// Puts the space itself into the file; needed where it is no known one.
    pub fn define_space(&mut self, definition: SpaceDefinition) {
        self.descriptor.space_definition = Some(definition);
    }

    /// Says what a row stands for, if not for one encoding.
    pub fn rows_are(&mut self, rows: Rows) {
        self.descriptor.rows = rows;
    }

    /// Adds a metric, or replaces the one of that name: `values` are [rows, seeds], row by row, NaN where missing.
    pub fn metric(&mut self, name: impl Into<String>, info: MetricInfo, seeds: usize, values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.add(name.into(), info, seeds, values.len(), Dtype::F32, bytes);
    }

    /// Like [`Self::metric`], kept in double precision where single precision would change a number as it is written.
    pub fn exact_metric(&mut self, name: impl Into<String>, info: MetricInfo, seeds: usize, values: &[f64]) {
        match Precision::that_keeps(values) {
            Precision::Half | Precision::Single => {
                let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                self.metric(name, info, seeds, &single);
            }
            Precision::Double => {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                self.add(name.into(), info, seeds, values.len(), Dtype::F64, bytes);
            }
        }
    }

    /// Like [`Self::metric`], kept as half floats: three digits, up to 65,504.
    pub fn half_metric(&mut self, name: impl Into<String>, info: MetricInfo, seeds: usize, values: &[f32]) {
        let bytes = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        self.add(name.into(), info, seeds, values.len(), Dtype::F16, bytes);
    }

    fn add(
        &mut self,
        name: String,
        info: MetricInfo,
        seeds: usize,
        values: usize,
        dtype: Dtype,
        bytes: Vec<u8>,
    ) {
        let shape = if seeds == 1 { vec![values] } else { vec![self.rows, seeds] };
        self.descriptor.metrics.insert(name.clone(), info);
        self.tensors.insert(name, Tensor { dtype, shape, bytes });
        self.set_version();
    }

    /// The least that has what the file needs.
    fn set_version(&mut self) {
        let double = self.tensors.values().any(|tensor| tensor.dtype == Dtype::F64);
        self.descriptor.format_version = match (&self.descriptor.network, double) {
            (Some(_), _) => NETWORK_VERSION,
            (None, true) => DOUBLE_VERSION,
            (None, false) => FIRST_VERSION,
        };
    }

    /// Adds a network, which answers for what has no row.
    pub fn network(&mut self, network: &Network) {
        let (info, weights) = (network.info(), network.weights());
        let mut add = |part: &str, values: &[f32], columns: Option<usize>| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let shape = columns.map_or(vec![values.len()], |columns| vec![values.len() / columns, columns]);
            self.tensors.insert(network_tensor(part), Tensor { dtype: Dtype::F32, shape, bytes });
        };
        add("first", &weights.first, Some(info.width()));
        add("bias", &weights.bias, Some(info.width()));
        for (b, layers) in weights.layers.iter().enumerate() {
            for (l, (weight, bias)) in layers.iter().enumerate() {
                add(&format!("{b}.{l}.weight"), weight, Some(bias.len()));
                add(&format!("{b}.{l}.bias"), bias, None);
            }
        }
        self.descriptor.network = Some(info.clone());
        self.set_version();
    }

    /// Says that one metric is another after a shorter training.
    pub fn fidelity(&mut self, fidelity: Fidelity) {
        self.descriptor.fidelities.push(fidelity);
    }

    /// Says that a metric takes no training.
    pub fn untrained(&mut self, metric: impl Into<String>) {
        self.descriptor.untrained.push(metric.into());
    }

    /// Name of the benchmark.
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    /// Number of architectures.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of metrics so far.
    pub fn metrics(&self) -> usize {
        self.descriptor.metrics.len()
    }

    /// Writes the file whole or not at all: under a temporary name in the same folder (which is made if need be),
    /// then renamed. Equal contents make equal files. Returns the size in bytes.
    ///
    /// # Errors
    /// Refuses contents that [`super::Benchmark::open`] would refuse, and says why; passes on what the system refuses.
    pub fn write(mut self, path: &Path) -> Result<u64, BenchmarkError> {
        let bytes = self.signed()?;
        write_whole(path, &bytes).map_err(|source| BenchmarkError::Write { path: path.into(), source })?;
        Ok(bytes.len() as u64)
    }

    /// Like [`Self::write`] where nothing is there, or the same already.
    ///
    /// # Errors
    /// As [`Self::write`]; and [`BenchmarkError::Present`] for a file that is there and differs, which is left as it is.
    pub fn write_new(mut self, path: &Path) -> Result<u64, BenchmarkError> {
        let bytes = self.signed()?;
        if !is_there(path, &bytes)? {
            write_whole(path, &bytes)
                .map_err(|source| BenchmarkError::Write { path: path.into(), source })?;
        }
        Ok(bytes.len() as u64)
    }

    /// Refuses what [`Self::write_new`] would refuse, without writing it.
    ///
    /// # Errors
    /// As [`Self::write_new`].
    pub fn check_new(&self, path: &Path) -> Result<(), BenchmarkError> {
        is_there(path, &self.clone().signed()?).map(drop)
    }

    /// Refuses what [`Self::write`] would refuse, without writing it.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), BenchmarkError> {
        self.hash_of(&self.serialise()?).map(drop)
    }

    fn signed(&mut self) -> Result<Vec<u8>, BenchmarkError> {
        // The hash is known once the contents are laid out, and is then part of them.
        let unsigned = self.serialise()?;
        self.descriptor.content_sha256 = Some(hex(&self.hash_of(&unsigned)?));
        let bytes = self.serialise()?;
        self.hash_of(&bytes)?;
        Ok(bytes)
    }

    fn serialise(&self) -> Result<Vec<u8>, BenchmarkError> {
        for (name, tensor) in &self.tensors {
            let (width, shape) = (tensor.dtype.bitsize() / 8, &tensor.shape);
            if tensor.bytes.len() != shape.iter().product::<usize>() * width {
                let values = tensor.bytes.len() / width;
                return Err(
                    self.malformed(format!("`{name}` has {values} values, which do not make {shape:?}"))
                );
            }
        }
        let json = serde_json::to_string(&self.descriptor).map_err(|e| self.malformed(e.to_string()))?;
        let metadata = HashMap::from([(METADATA_KEY.to_string(), json)]);
        safetensors::serialize(&self.tensors, Some(metadata)).map_err(|e| self.malformed(e.to_string()))
    }

    fn hash_of(&self, bytes: &[u8]) -> Result<[u8; 32], BenchmarkError> {
        match format::read(bytes) {
            Ok(layout) => Ok(layout.content_hash),
            Err(Refusal::Foreign(reason) | Refusal::Damaged(reason)) => Err(self.malformed(reason)),
        }
    }

    fn malformed(&self, reason: String) -> BenchmarkError {
        BenchmarkError::Malformed { name: self.descriptor.name.clone(), reason }
    }
}
