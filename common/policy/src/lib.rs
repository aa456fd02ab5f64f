//! The policy file, which is also what a broadcast carries: safetensors with the networks' weights, the prior, and in
//! the metadata everything that is needed to act with them.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod compress;
pub mod evaluation;

pub use evaluation::Caution;

use candle_core::{Device, Tensor};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use srnas_basics::files::write_whole;
use srnas_config::Config;
use srnas_environment::EnvironmentConfig;
use srnas_network::{
    self as network, Agent, AgentConfig, FrozenPredictor, FrozenQNetwork, Named, PredictorConfig,
    QNetworkConfig,
};
use srnas_predictor::{Observed, PosteriorSettings, Prior, PriorError};
use srnas_wire::{MAX_SNAPSHOT_BYTES, fnv1a};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    io::Read,
    path::{Path, PathBuf},
};

/// Format of the file; another number is refused.
const FORMAT: u32 = 1;
/// No description of a policy is longer.
const LONGEST_HEADER: u64 = 1 << 20;
/// Key of the metadata.
const KEY: &str = "srnas_policy";
/// Key of the checksum in the metadata.
const CHECKSUM: &str = "srnas_checksum";

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acts {
    /// The base rule: the trained part did not earn its export.
    Rule,
    /// The trained network.
    Trained,
}

/// Mean normalised regrets on the validation tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Tasks, each searched from `starts` paired starts.
    pub tasks: Vec<String>,
    /// Starts per task.
    pub starts: usize,
    /// Margin of the trained policy, see [`Caution`].
    pub margin: f32,
    /// How far it was followed, see [`Caution`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// After so many paid queries: the rule.
    pub rule: BTreeMap<usize, f64>,
    /// After so many paid queries: the trained policy's best weights.
    pub trained: BTreeMap<usize, f64>,
    /// Mean gain in shaped quality of the trained policy over the rule, with its 95 % interval.
    pub gain: f64,
    /// See `gain`.
    pub interval: [f64; 2],
}

/// The predictor network with the tasks of its heads.
#[derive(Clone, Debug)]
pub struct LearnedPrior {
    /// Counts the broadcasts of the predictor, so that actors need not tabulate the same twice.
    pub version: u64,
    /// The network.
    pub network: FrozenPredictor,
    /// Task of each head.
    pub tasks: Vec<String>,
    /// Family of each head.
    pub families: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Counts the broadcasts of a run.
    pub version: u64,
    /// Space it was trained on; the network itself runs on any.
    pub space: String,
    /// Who acts.
    pub acts: Acts,
    /// Numbers of the posteriors.
    pub settings: PosteriorSettings,
    /// Environment it was trained in.
    pub environment: EnvironmentConfig,
    /// The Q-network.
    pub network: FrozenQNetwork,
    /// How far the network is followed in a search.
    pub caution: Caution,
    /// The predictor network, in runs with `prior = "network"`.
    pub learned_prior: Option<LearnedPrior>,
    /// The prior's values; in exported files, so that a search needs no training task's table.
    pub prior: Option<Prior>,
    /// Of each training task some measurements, which are the prior in a space that is too large for a table.
    pub observed: Vec<Observed>,
    /// The agent that compresses, in runs that train one; the rule and the Q-network are beside it as they were in the beginning.
    pub agent: Option<Agent>,
    /// The learning rate at which that agent is fine-tuned.
    pub agent_rate: f32,
    /// What the check found.
    pub validation: Option<ValidationReport>,
}

/// What is wrong with a policy file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read or written.
    #[error("cannot {what} the policy {path}: {source}")]
    Io {
        /// "read" or "write".
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not safetensors: foreign, cut short, or damaged.
    #[error("not a whole safetensors file ({0}); was it cut short, or is it another kind of file?")]
    NotSafetensors(#[from] safetensors::SafeTensorError),
    /// Something in it changed since it was written.
    #[error(
        "it is damaged: its checksum is {found}, not {expected}; take a copy that is whole, or export it again"
    )]
    Damaged {
        /// Of what is in it.
        found: String,
        /// Of what was written.
        expected: String,
    },
    /// It is something else.
    #[error("{0}")]
    Foreign(String),
    /// The weights do not fit the network that it describes.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The prior is damaged.
    #[error(transparent)]
    Prior(#[from] PriorError),
    /// With the file's name.
    #[error("the policy {path} is refused: {source}")]
    At {
        /// The file.
        path: String,
        /// What is wrong.
        source: Box<PolicyError>,
    },
}

/// The part of the metadata that tells how to read the rest.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// Numbers of the posteriors as a file has them: one of before there was any smoothing was made without, and goes on without.
///
/// # Errors
/// What are no such numbers.
pub fn stored_settings<'de, D: serde::Deserializer<'de>>(from: D) -> Result<PosteriorSettings, D::Error> {
    let mut stored = serde_json::Value::deserialize(from)?;
    if let Some(transfer) = stored.get_mut("transfer").and_then(serde_json::Value::as_object_mut) {
        transfer.entry("smoothing").or_insert(0.0.into());
    }
    serde_json::from_value(stored).map_err(serde::de::Error::custom)
}

#[derive(Serialize, Deserialize)]
struct Meta {
    format: u32,
    /// Whether there is a checksum; files of older releases have none.
    #[serde(default)]
    checked: bool,
    software: String,
    layout: String,
    version: u64,
    space: String,
    acts: Acts,
    #[serde(deserialize_with = "stored_settings")]
    settings: PosteriorSettings,
    environment: EnvironmentConfig,
    network: QNetworkConfig,
    margin: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u32>,
    predictor: Option<PredictorMeta>,
    prior: Option<PriorMeta>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    observed: Vec<ObservedMeta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentConfig>,
    #[serde(default)]
    agent_rate: f32,
    validation: Option<ValidationReport>,
}

#[derive(Serialize, Deserialize)]
struct PredictorMeta {
    version: u64,
    config: PredictorConfig,
    tasks: Vec<String>,
    families: Vec<String>,
}

/// Its choices and values are tensors `observed/N/choices` and `observed/N/values`, N its place.
#[derive(Serialize, Deserialize)]
struct ObservedMeta {
    task: String,
    family: String,
}

#[derive(Serialize, Deserialize)]
struct PriorMeta {
    tasks: Vec<String>,
    families: Vec<String>,
    encodings: usize,
    /// Hash of the list of architectures that its ranks are places in, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<u64>,
}

impl Policy {
    /// The policy as safetensors.
    ///
    /// # Errors
    /// Only if candle or safetensors fail.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let meta = Meta {
            format: FORMAT,
            checked: true,
            software: env!("CARGO_PKG_VERSION").into(),
            layout: format!("{:016x}", self.environment.layout().hash()),
            version: self.version,
            space: self.space.clone(),
            acts: self.acts,
            settings: self.settings,
            environment: self.environment.clone(),
            network: self.network.config().clone(),
            margin: self.caution.margin,
            until: self.caution.until,
            predictor: self.learned_prior.as_ref().map(|p| PredictorMeta {
                version: p.version,
                config: p.network.config().clone(),
                tasks: p.tasks.clone(),
                families: p.families.clone(),
            }),
            prior: self.prior.as_ref().map(|p| PriorMeta {
                tasks: p.tasks().to_vec(),
                families: p.families().to_vec(),
                encodings: p.encodings(),
                list: p.list(),
            }),
            observed: self
                .observed
                .iter()
                .map(|o| ObservedMeta { task: o.task.clone(), family: o.family.clone() })
                .collect(),
            agent: self.agent.as_ref().map(|agent| agent.config().clone()),
            agent_rate: self.agent_rate,
            validation: self.validation.clone(),
        };
        let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        let mut add = |prefix: &str, named: &Named| -> Result<(), PolicyError> {
            for (name, tensor) in named {
                let values =
                    tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(network::Error::from)?;
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.insert(format!("{prefix}/{name}"), (Dtype::F32, tensor.dims().to_vec(), bytes));
            }
            Ok(())
        };
        add("q", self.network.tensors())?;
        if let Some(p) = &self.learned_prior {
            add("predictor", p.network.tensors())?;
        }
        if let Some(agent) = &self.agent {
            add("agent", &agent.to_tensors()?)?;
        }
        if let Some(p) = &self.prior {
            // Half floats: their rounding is far below the noise of any measurement.
            let bytes = p.values().iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
            tensors.insert("prior".into(), (Dtype::F16, vec![p.tasks().len(), p.encodings()], bytes));
        }
        for (place, o) in self.observed.iter().enumerate() {
            let (n, bytes) = (o.values.len(), o.values.iter().flat_map(|v| v.to_le_bytes()).collect());
            let shape = vec![n, o.choices.len() / n.max(1)];
            tensors.insert(format!("observed/{place}/choices"), (Dtype::U8, shape, o.choices.clone()));
            tensors.insert(format!("observed/{place}/values"), (Dtype::F32, vec![n], bytes));
        }
        let views: Result<Vec<(&String, TensorView)>, _> = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>();
        let views = views?;
        let meta = serde_json::to_string(&meta).expect("metadata is plain data");
        let checksum = checksum(&meta, views.iter().map(|(name, view)| (name.as_str(), view)));
        let described = HashMap::from([(KEY.to_string(), meta), (CHECKSUM.to_string(), checksum)]);
        Ok(in_order(&safetensors::serialize(views, Some(described))?))
    }

    /// Reads what [`Policy::to_bytes`] wrote.
    ///
    /// # Errors
    /// Refuses files that are cut short, damaged, of another kind, format or observation layout.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PolicyError> {
        // Parsed, a header takes tens of times its length.
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > LONGEST_HEADER && header <= bytes.len() as u64 {
            let reason = format!("its header has {header} bytes, more than {LONGEST_HEADER}");
            return Err(PolicyError::Foreign(reason));
        }
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let meta = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| {
            PolicyError::Foreign(
                "it is safetensors, but not a policy of srnas; give the policy.safetensors of a run".into(),
            )
        })?;
        let format = serde_json::from_str::<Format>(meta).ok().map(|m| m.format);
        if format != Some(FORMAT.into()) {
            let found = format.map_or("none".into(), |f| f.to_string());
            return Err(PolicyError::Foreign(format!(
                "its format is {found}, this program reads {FORMAT}; export it again with this version"
            )));
        }
        let expected = header.metadata().as_ref().and_then(|m| m.get(CHECKSUM)).cloned();
        if let Some(expected) = &expected {
            let mut views = file.tensors();
            views.sort_by(|(a, _), (b, _)| a.cmp(b));
            let found = checksum(meta, views.iter().map(|(name, view)| (name.as_str(), view)));
            if found != *expected {
                return Err(PolicyError::Damaged { found, expected: expected.clone() });
            }
        }
        let meta: Meta = serde_json::from_str(meta)
            .map_err(|e| PolicyError::Foreign(format!("its description is damaged: {e}")))?;
        if meta.checked && expected.is_none() {
            return Err(PolicyError::Foreign("it is damaged: its checksum is not there any more".into()));
        }
        let layout = meta.environment.layout();
        if meta.layout != format!("{:016x}", layout.hash()) {
            return Err(PolicyError::Foreign(
                "it was trained with another set of observation features; train it again with this version"
                    .into(),
            ));
        }
        // The same limits as in a run's configuration: what acts with the policy relies on them.
        let mut limits = Config { environment: meta.environment.clone(), ..Config::default() };
        limits.posterior.settings = meta.settings;
        limits.check().map_err(|e| PolicyError::Foreign(format!("its settings are refused: {e}")))?;
        let sizes = (meta.network.candidate_features, meta.network.context_features);
        if sizes != (layout.candidate_features(), layout.context_features())
            || !meta.margin.is_finite()
            || !(0.0..=1.0).contains(&meta.agent_rate)
        {
            return Err(PolicyError::Foreign(
                "its network is not one for this program's observations".into(),
            ));
        }
        let network = FrozenQNetwork::from_tensors(meta.network, &named(&file, "q/")?)?;
        let learned_prior = meta
            .predictor
            .map(|p| -> Result<LearnedPrior, PolicyError> {
                if p.tasks.len() != p.config.heads || p.families.len() != p.config.heads {
                    return Err(PolicyError::Foreign("its predictor has not one head per task".into()));
                }
                let network = FrozenPredictor::from_tensors(p.config, &named(&file, "predictor/")?)?;
                Ok(LearnedPrior { version: p.version, network, tasks: p.tasks, families: p.families })
            })
            .transpose()?;
        let prior = meta
            .prior
            .map(|p| -> Result<Prior, PolicyError> {
                let view = file.tensor("prior")?;
                if view.dtype() != Dtype::F16 {
                    return Err(PolicyError::Foreign(format!(
                        "its prior is {:?} instead of F16",
                        view.dtype()
                    )));
                }
                let values =
                    view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
                Ok(Prior::new(p.tasks, p.families, p.encodings, values)?.of_list(p.list))
            })
            .transpose()?;
        let agent = match meta.agent {
            Some(config) => Some(Agent::from_tensors(config, &named(&file, "agent/")?)?),
            None => None,
        };
        let observed = meta.observed.into_iter().enumerate();
        let observed = observed.map(|(place, meta)| read_observed(&file, place, meta));
        Ok(Self {
            version: meta.version,
            space: meta.space,
            acts: meta.acts,
            settings: meta.settings,
            environment: meta.environment,
            network,
            caution: Caution { margin: meta.margin, until: meta.until },
            learned_prior,
            prior,
            observed: observed.collect::<Result<_, _>>()?,
            agent,
            agent_rate: meta.agent_rate,
            validation: meta.validation,
        })
    }

    /// Writes the file: under a temporary name first, so that a crash leaves the old one or the new one whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PolicyError> {
        let io = |source| PolicyError::Io { what: "write", path: path.display().to_string(), source };
        write_whole(path, &self.to_bytes()?).map_err(io)
    }

    /// Name of the file in a run directory.
    pub const FILE: &str = "policy.safetensors";

    /// The file that [`Policy::load`] reads.
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(Self::FILE) } else { path.to_path_buf() }
    }

    /// Reads a file, or the `policy.safetensors` of a run directory.
    ///
    /// # Errors
    /// As [`Policy::from_bytes`], with the file's name.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let path = Self::file(path);
        let name = || path.display().to_string();
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(MAX_SNAPSHOT_BYTES).read_to_end(&mut bytes))
            .map_err(|source| PolicyError::Io { what: "read", path: name(), source })?;
        Self::from_bytes(&bytes).map_err(|source| PolicyError::At { path: name(), source: Box::new(source) })
    }
}

/// The same file with its header in order: safetensors writes the metadata as its hash map has them, in each process another way,
/// and the policies of equal runs are equal to the last bit.
fn in_order(file: &[u8]) -> Vec<u8> {
    const METADATA: &str = "__metadata__";
    let length = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length)) as usize;
    let (header, tensors) = file[size_of::<u64>()..].split_at(length);
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).expect("a header that was just written");
    if let Some(metadata) = header.get_mut(METADATA) {
        let sorted: BTreeMap<String, serde_json::Value> =
            serde_json::from_value(metadata.take()).expect("metadata that was just written");
        *metadata = serde_json::json!(sorted);
    }
    let mut header = serde_json::to_vec(&header).expect("it is JSON");
    // Tensors begin at multiples of eight.
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, tensors].concat()
}

/// Of a policy's description and its tensors, in the order of their names.
fn checksum<'a>(meta: &str, tensors: impl Iterator<Item = (&'a str, &'a TensorView<'a>)>) -> String {
    let mut all = meta.to_string();
    for (name, view) in tensors {
        let hash = fnv1a(view.data());
        // Writing to a String does not fail.
        let _ = write!(all, "\n{name} {:?} {:?} {hash:016x}", view.dtype(), view.shape());
    }
    format!("{:016x}", fnv1a(all.as_bytes()))
}

/// The measurements of a training task.
fn read_observed(file: &SafeTensors, place: usize, meta: ObservedMeta) -> Result<Observed, PolicyError> {
    let ObservedMeta { task, family } = meta;
    let choices = file.tensor(&format!("observed/{place}/choices"))?;
    let values = file.tensor(&format!("observed/{place}/values"))?;
    let rows = match (choices.dtype(), values.dtype(), choices.shape(), values.shape()) {
        (Dtype::U8, Dtype::F32, [rows, _], [n]) if rows == n => *n,
        _ => return Err(PolicyError::Foreign(format!("what it observed of {task} has another shape"))),
    };
    let values: Vec<f32> =
        values.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    // More would take a square of it to read.
    if rows == 0 || rows > Observed::MOST || values.iter().any(|v| !v.is_finite()) {
        let reason = format!("what it observed of {task} is nothing, too much, or not a number");
        return Err(PolicyError::Foreign(reason));
    }
    Ok(Observed { task, family, choices: choices.data().to_vec(), values })
}

/// The f32 tensors whose names start with `prefix`, without it.
fn named(file: &SafeTensors, prefix: &str) -> Result<Named, PolicyError> {
    let mut tensors = Named::new();
    for (name, view) in file.iter() {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        if view.dtype() != Dtype::F32 {
            return Err(PolicyError::Foreign(format!(
                "tensor `{name}` is {:?} instead of F32",
                view.dtype()
            )));
        }
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(PolicyError::Foreign(format!(
                "tensor `{name}` has a value that is not a number at {i}"
            )));
        }
        let tensor = Tensor::from_vec(values, view.shape(), &Device::Cpu).map_err(network::Error::from)?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}
