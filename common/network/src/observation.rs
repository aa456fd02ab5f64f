//! Observations on their way into a network: the candidates of all of them one after the other, nothing in between.

use std::{ops::Range, sync::Arc};

use candle_core::{Device, Tensor};

use super::{Error, QNetworkConfig, Result, ops::Segments};

/// Values of the widest tensor of a block of observations: a quarter of a megabyte, so that what one layer writes
/// is still in the cache when the next reads it. candle splits what is larger among threads that wait in a busy
/// loop, which costs far more than it gains where other processes need the processor.
const BLOCK_VALUES: usize = 64 * 1024 - 1;

/// A batch of B observations with R candidates in all.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationBatch {
    /// Where the candidates of each observation begin, and where those of the last end: B + 1 entries from 0 to R.
    pub offsets: Vec<usize>,
    /// Candidate rows, [R, candidate features].
    pub candidates: Vec<f32>,
    /// Context rows, [B, context features].
    pub contexts: Vec<f32>,
    /// Choices of each candidate, [R, decisions]; needed by networks with an identity.
    pub identities: Option<Vec<u8>>,
}

impl Default for ObservationBatch {
    fn default() -> Self {
        Self::new(false)
    }
}

impl ObservationBatch {
    /// No observations; with or without the choices of candidates.
    pub fn new(identities: bool) -> Self {
        Self {
            offsets: vec![0],
            candidates: Vec::new(),
            contexts: Vec::new(),
            identities: identities.then(Vec::new),
        }
    }

    /// Number of observations, B.
    pub fn batch(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The candidates of an observation, as places among those of the whole batch.
    ///
    /// # Panics
    /// When there is no such observation.
    pub fn rows(&self, observation: usize) -> Range<usize> {
        self.offsets[observation]..self.offsets[observation + 1]
    }

    /// Takes all observations out; their memory stays for those to come.
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
        self.candidates.clear();
        self.contexts.clear();
        self.identities.iter_mut().for_each(Vec::clear);
    }

    /// Adds an observation of `count` candidates and returns what is to be written over its zeros: rows, [count,
    /// features], context, [context features], and choices, [count, decisions], empty in a batch without them.
    pub fn push(
        &mut self,
        count: usize,
        features: usize,
        context_features: usize,
        decisions: usize,
    ) -> (&mut [f32], &mut [f32], &mut [u8]) {
        self.offsets.push(self.offsets[self.batch()] + count);
        (
            grown(&mut self.candidates, count * features),
            grown(&mut self.contexts, context_features),
            self.identities.as_mut().map_or(&mut [], |choices| grown(choices, count * decisions)),
        )
    }

    /// Says what does not fit, if anything: offsets, lengths, and choices of every observation.
    fn check(&self, config: &QNetworkConfig) -> Result<()> {
        let (Some(0), Some(&rows), true) =
            (self.offsets.first(), self.offsets.last(), self.offsets.is_sorted())
        else {
            return Err(Error::Input("offsets of observations do not rise from 0".into()));
        };
        let length = |what: &str, found: usize, expected: usize| match found == expected {
            true => Ok(()),
            false => Err(Error::Input(format!("{what} hold {found} values, expected {expected}"))),
        };
        length("candidates", self.candidates.len(), rows * config.candidate_features)?;
        length("contexts", self.contexts.len(), self.batch() * config.context_features)?;
        if let Some(identity) = &config.identity {
            let choices = self.identities.as_ref().ok_or_else(|| {
                Error::Input("the network embeds identities, the observations have none".into())
            })?;
            length("identities", choices.len(), rows * identity.decisions)?;
        }
        Ok(())
    }

    /// Cuts a range of observations into blocks to compute one after the other, each as many observations as a
    /// cache holds and at least one.
    ///
    /// # Panics
    /// When there are not as many observations.
    pub fn blocks(&self, range: Range<usize>, config: &QNetworkConfig) -> Vec<Range<usize>> {
        let most = BLOCK_VALUES / config.widest();
        let (mut blocks, mut start) = (Vec::new(), range.start);
        for index in range.clone() {
            if index > start && self.offsets[index + 1] > self.offsets[start] + most {
                blocks.push(start..index);
                start = index;
            }
        }
        if start < range.end {
            blocks.push(start..range.end);
        }
        blocks
    }

    /// Makes tensors of the observations whose indices are given, in that order; each value is copied once.
    ///
    /// Refuses sizes that do not fit `config`, and observations without a candidate.
    pub fn pack(
        &self,
        observations: impl IntoIterator<Item = usize>,
        config: &QNetworkConfig,
    ) -> Result<PackedBatch> {
        self.check(config)?;
        let observations: Vec<usize> = observations.into_iter().collect();
        let (mut offsets, mut total) = (vec![0], 0);
        for &observation in &observations {
            if observation >= self.batch() || self.rows(observation).is_empty() {
                return Err(Error::Input(format!("observation {observation} has no candidates")));
            }
            total += self.rows(observation).len();
            offsets.push(total);
        }
        let (features, context_features) = (config.candidate_features, config.context_features);
        let mut rows = Vec::with_capacity(total * features);
        let mut contexts = Vec::with_capacity(observations.len() * context_features);
        let mut entries = Vec::new();
        for &observation in &observations {
            let range = self.rows(observation);
            rows.extend_from_slice(&self.candidates[range.start * features..range.end * features]);
            contexts.extend_from_slice(&self.contexts[observation * context_features..][..context_features]);
            if let (Some(identity), Some(choices)) = (&config.identity, &self.identities) {
                let choices = &choices[range.start * identity.decisions..range.end * identity.decisions];
                identity.entries(choices, &mut entries)?;
            }
        }
        let base = match config.base_feature {
            Some(feature) => rows.iter().skip(feature).step_by(features).copied().collect(),
            None => vec![0.0; total],
        };
        Ok(PackedBatch {
            rows: Tensor::from_vec(rows, (total, features), &Device::Cpu)?,
            contexts: Tensor::from_vec(contexts, (observations.len(), context_features), &Device::Cpu)?,
            base: Arc::new(base),
            entries: Arc::new(entries),
            segments: Arc::new(Segments { offsets }),
        })
    }
}

/// Adds so many zeros and returns them.
fn grown<T: Clone + Default>(values: &mut Vec<T>, by: usize) -> &mut [T] {
    let start = values.len();
    values.resize(start + by, T::default());
    &mut values[start..]
}

/// The tensors of B observations with R candidates in all.
#[derive(Clone, Debug)]
pub struct PackedBatch {
    /// Candidate rows, [R, candidate features].
    pub(super) rows: Tensor,
    /// Context rows, [B, context features].
    pub(super) contexts: Tensor,
    /// The base feature of each row (0 without one), [R].
    pub(super) base: Arc<Vec<f32>>,
    /// Rows of the identity table to add up for each candidate, [R, decisions]; empty without an identity.
    pub(super) entries: Arc<Vec<u32>>,
    /// Which rows are whose.
    pub(super) segments: Arc<Segments>,
}

impl PackedBatch {
    /// Number of observations, B.
    pub fn batch(&self) -> usize {
        self.segments.count()
    }

    /// The scores of each observation, as places among those of the whole batch.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.segments.ranges()
    }
}
