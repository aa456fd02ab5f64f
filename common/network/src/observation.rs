//! Observations on their way into a network: padded as they are stored, packed as they are computed with.

use std::{ops::Range, sync::Arc};

use candle_core::{Device, Tensor};

use super::{Error, QNetworkConfig, Result, ops::Segments};

/// Values of the widest tensor of a block of observations: a quarter of a megabyte, so that what one layer writes
/// is still in the cache when the next reads it. candle splits what is larger among threads that wait in a busy
/// loop, which costs far more than it gains where other processes need the processor.
const BLOCK_VALUES: usize = 64 * 1024 - 1;

/// A padded batch of observations. The valid candidates of a row are its first `counts[i]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservationBatch {
    /// Number of observations, B.
    pub batch: usize,
    /// Candidate slots per observation, M.
    pub width: usize,
    /// Candidate rows, [B, M, candidate features].
    pub candidates: Vec<f32>,
    /// Context rows, [B, context features].
    pub contexts: Vec<f32>,
    /// Valid candidates per observation, [B].
    pub counts: Vec<u32>,
    /// Choices of each candidate, [B, M, decisions]; needed by networks with an identity.
    pub identities: Option<Vec<u8>>,
}

impl ObservationBatch {
    /// Says what does not fit, if anything: lengths, counts, and choices of every observation.
    fn check(&self, config: &QNetworkConfig) -> Result<()> {
        let slots = self.batch * self.width;
        let length = |what: &str, found: usize, expected: usize| match found == expected {
            true => Ok(()),
            false => Err(Error::Input(format!("{what} hold {found} values, expected {expected}"))),
        };
        length("candidates", self.candidates.len(), slots * config.candidate_features)?;
        length("contexts", self.contexts.len(), self.batch * config.context_features)?;
        length("counts", self.counts.len(), self.batch)?;
        if let Some(identity) = &config.identity {
            let choices = self.identities.as_ref().ok_or_else(|| {
                Error::Input("the network embeds identities, the observations have none".into())
            })?;
            length("identities", choices.len(), slots * identity.decisions)?;
        }
        Ok(())
    }

    /// Cuts a range of observations into blocks to compute one after the other, each as many observations as a
    /// cache holds and at least one.
    pub fn blocks(&self, range: Range<usize>, config: &QNetworkConfig) -> Vec<Range<usize>> {
        let most = BLOCK_VALUES / config.widest();
        let (mut blocks, mut start, mut rows) = (Vec::new(), range.start, 0);
        for index in range.clone() {
            let count = self.counts.get(index).map_or(0, |&count| count as usize);
            if index > start && rows + count > most {
                blocks.push(start..index);
                (start, rows) = (index, 0);
            }
            rows += count;
        }
        if start < range.end {
            blocks.push(start..range.end);
        }
        blocks
    }

    /// Packs the observations whose indices are given, in that order.
    ///
    /// Refuses sizes that do not fit `config`, and observations without a valid candidate.
    pub fn pack(
        &self,
        observations: impl IntoIterator<Item = usize>,
        config: &QNetworkConfig,
    ) -> Result<PackedBatch> {
        self.check(config)?;
        let (features, context_features) = (config.candidate_features, config.context_features);
        let mut offsets = vec![0];
        let (mut rows, mut contexts, mut base) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = Vec::new();
        for observation in observations {
            let count = match self.counts.get(observation) {
                Some(&count) if count > 0 && count as usize <= self.width => count as usize,
                count => {
                    return Err(Error::Input(format!(
                        "observation {observation} has {count:?} valid candidates of {}",
                        self.width
                    )));
                }
            };
            let first = observation * self.width;
            let valid = &self.candidates[first * features..][..count * features];
            rows.extend_from_slice(valid);
            contexts.extend_from_slice(&self.contexts[observation * context_features..][..context_features]);
            match config.base_feature {
                Some(feature) => base.extend(valid.iter().skip(feature).step_by(features)),
                None => base.resize(rows.len() / features, 0.0),
            }
            if let (Some(identity), Some(choices)) = (&config.identity, &self.identities) {
                let valid = &choices[first * identity.decisions..][..count * identity.decisions];
                identity.entries(valid, &mut entries)?;
            }
            offsets.push(offsets[offsets.len() - 1] + count);
        }
        let (batch, total) = (offsets.len() - 1, offsets[offsets.len() - 1]);
        Ok(PackedBatch {
            rows: Tensor::from_vec(rows, (total, features), &Device::Cpu)?,
            contexts: Tensor::from_vec(contexts, (batch, context_features), &Device::Cpu)?,
            base: Arc::new(base),
            entries: Arc::new(entries),
            segments: Arc::new(Segments { offsets, width: self.width }),
        })
    }
}

/// The valid candidates of a batch one after the other: padding costs nothing and needs no mask.
/// R is the number of valid candidates in all B observations.
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
}
