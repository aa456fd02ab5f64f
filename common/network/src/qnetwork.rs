//! The scorer of candidates: one network for all spaces, equivariant in the candidates.
//!
//! Candidate row and context pass two ReLU layers, and optionally transformer blocks between candidates. Mean and
//! maximum over the candidates, with the context, make a pooled state. The score is the state's value plus the
//! candidate's advantage less the mean advantage, on top of a fixed base rule. The learned part begins at zero,
//! so an untrained network ranks candidates exactly as the base rule does.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use rand::Rng;

use super::{
    IdentityConfig, ObservationBatch, PackedBatch, QNetworkConfig, Result,
    ops::{
        Sharing, copied,
        dueling::{base_scores, dueling},
        embedding::embedding,
        linear::linear,
        pool::pool,
    },
    transformer::Block,
    weights::{self, Affine, Drawn, Initial, Named, Saved, Supply, Trainable},
};

/// The tensors of the network and how they are put together.
#[derive(Clone, Debug)]
struct Scorer {
    base_scale: f32,
    candidate: Tensor,
    context: Affine,
    identity: Option<Tensor>,
    hidden: Affine,
    blocks: Vec<Block>,
    pooled: Tensor,
    pooled_context: Affine,
    value: Affine,
    advantage: Tensor,
    advantage_state: Affine,
    advantage_score: Tensor,
}

impl Scorer {
    fn new(config: &QNetworkConfig, supply: &mut dyn Supply) -> Result<Self> {
        config.check()?;
        let (width, zero) = (config.width, Initial::Constant(0.0));
        let of = |inputs| Initial::Uniform { inputs };
        // Layers that are split in two are drawn as the one layer they are.
        let first = of(config.candidate_features + config.context_features);
        let state = of(2 * width + config.context_features);
        let advantage = of(2 * width);
        Ok(Self {
            base_scale: config.base_scale,
            candidate: supply.supply("candidate.weight", &[width, config.candidate_features], first)?,
            context: Affine::new(supply, "context", width, config.context_features, first)?,
            identity: match &config.identity {
                Some(IdentityConfig { decisions, choices }) => {
                    let shape = [*decisions, *choices, width];
                    Some(supply.supply("identity.weight", &shape, of(*decisions))?)
                }
                None => None,
            },
            hidden: Affine::new(supply, "hidden", width, width, of(width))?,
            blocks: (0..config.layers)
                .map(|layer| Block::new(supply, &format!("blocks.{layer}"), width, config.heads))
                .collect::<Result<_>>()?,
            pooled: supply.supply("pooled.weight", &[width, 2 * width], state)?,
            pooled_context: Affine::new(supply, "pooled_context", width, config.context_features, state)?,
            value: Affine::new(supply, "value", 1, width, zero)?,
            advantage: supply.supply("advantage.weight", &[width, width], advantage)?,
            advantage_state: Affine::new(supply, "advantage_state", width, width, advantage)?,
            advantage_score: supply.supply("advantage_score.weight", &[width], zero)?,
        })
    }

    /// Scores, [R].
    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        let segments = &batch.segments;
        let per_segment = || Sharing::PerSegment(segments.clone());
        let context = self.context.forward(&batch.contexts, false)?;
        let (bias, sharing) = match &self.identity {
            Some(table) => (embedding(&context, table, &batch.entries, segments)?, Sharing::Each),
            None => (context, per_segment()),
        };
        let first = linear(&batch.rows, &self.candidate, &bias, sharing, true)?;
        let mut hidden = self.hidden.forward(&first, true)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, segments)?;
        }
        let context = self.pooled_context.forward(&batch.contexts, false)?;
        let state = linear(&pool(&hidden, segments)?, &self.pooled, &context, Sharing::Each, true)?;
        let value = self.value.forward(&state, false)?;
        let shared = self.advantage_state.forward(&state, false)?;
        let advantage = linear(&hidden, &self.advantage, &shared, per_segment(), true)?;
        let base = base_scores(&batch.base, self.base_scale, segments);
        dueling(&advantage, &self.advantage_score, &value, base, segments)
    }
}

/// The online network: its weights are variables, its scores are tracked.
pub struct QNetwork {
    config: QNetworkConfig,
    scorer: Scorer,
    parameters: Vec<(String, Var)>,
}

impl QNetwork {
    /// A network with weights drawn from `rng`.
    pub fn new(config: QNetworkConfig, rng: &mut impl Rng) -> Result<Self> {
        Self::build(config, &mut Trainable::new(Drawn(rng)))
    }

    /// A network with copies of saved weights.
    pub fn from_tensors(config: QNetworkConfig, tensors: &Named) -> Result<Self> {
        let mut supply = Trainable::new(Saved::new(tensors));
        let network = Self::build(config, &mut supply)?;
        supply.source.finish()?;
        Ok(network)
    }

    fn build<S: Supply>(config: QNetworkConfig, supply: &mut Trainable<S>) -> Result<Self> {
        let scorer = Scorer::new(&config, supply)?;
        Ok(Self { config, scorer, parameters: std::mem::take(&mut supply.parameters) })
    }

    /// The shape of the network.
    pub fn config(&self) -> &QNetworkConfig {
        &self.config
    }

    /// The variables by name, in an order that depends on the configuration alone.
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        weights::parameter_count(&self.parameters)
    }

    /// Scores of all candidates, [R].
    pub fn forward(&self, batch: &ObservationBatch) -> Result<Tensor> {
        self.forward_packed(&batch.pack(0..batch.batch(), &self.config)?)
    }

    /// Scores of all candidates of a packed batch, [R].
    pub fn forward_packed(&self, batch: &PackedBatch) -> Result<Tensor> {
        Ok(self.scorer.forward(batch)?)
    }

    /// A copy for acting.
    pub fn frozen(&self) -> Result<FrozenQNetwork> {
        FrozenQNetwork::from_tensors(self.config.clone(), &self.to_tensors()?)
    }

    /// Copies the values of another network of the same shape.
    pub fn copy_from(&self, other: &QNetwork) -> Result<()> {
        weights::copy_from(&self.parameters, &other.parameters)
    }

    /// Copies of the weights by name.
    pub fn to_tensors(&self) -> Result<Named> {
        weights::to_tensors(&self.parameters)
    }
}

/// A network that no longer learns: cheap to clone, free to share between threads.
#[derive(Clone, Debug)]
pub struct FrozenQNetwork {
    config: Arc<QNetworkConfig>,
    scorer: Arc<Scorer>,
    tensors: Arc<Named>,
}

impl FrozenQNetwork {
    /// A network with copies of saved weights.
    pub fn from_tensors(config: QNetworkConfig, tensors: &Named) -> Result<Self> {
        let tensors = weights::copied(tensors)?;
        let mut supply = Saved::new(&tensors);
        let scorer = Scorer::new(&config, &mut supply)?;
        supply.finish()?;
        Ok(Self { config: Arc::new(config), scorer: Arc::new(scorer), tensors: Arc::new(tensors) })
    }

    /// The shape of the network.
    pub fn config(&self) -> &QNetworkConfig {
        &self.config
    }

    /// The weights by name.
    pub fn tensors(&self) -> &Named {
        &self.tensors
    }

    /// Scores of all candidates, [R].
    pub fn q_values(&self, batch: &ObservationBatch) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(batch.offsets.last().copied().unwrap_or(0));
        for block in batch.blocks(0..batch.batch(), &self.config) {
            scores.extend(self.q_values_packed(&batch.pack(block, &self.config)?)?);
        }
        Ok(scores)
    }

    /// Scores of all candidates of a packed batch, [R].
    pub fn q_values_packed(&self, batch: &PackedBatch) -> Result<Vec<f32>> {
        Ok(copied(&self.scorer.forward(batch)?)?)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

    use super::{super::Error, *};

    fn config(layers: usize, identity: bool) -> QNetworkConfig {
        let identity = identity.then_some(IdentityConfig { decisions: 3, choices: 4 });
        let base = Some(2);
        QNetworkConfig {
            width: 16,
            layers,
            identity,
            base_feature: base,
            base_scale: 0.5,
            ..QNetworkConfig::new(6, 3)
        }
    }

    fn configs() -> impl Iterator<Item = QNetworkConfig> {
        [0, 2].into_iter().flat_map(|layers| [false, true].map(|identity| config(layers, identity)))
    }

    /// Observations with these counts.
    fn observations(config: &QNetworkConfig, counts: &[usize], seed: u64) -> ObservationBatch {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut draw =
            |number: usize| -> Vec<f32> { (0..number).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let mut batch = ObservationBatch::new(true);
        for &count in counts {
            let (rows, context, choices) =
                batch.push(count, config.candidate_features, config.context_features, 3);
            rows.copy_from_slice(&draw(rows.len()));
            context.copy_from_slice(&draw(context.len()));
            choices.iter_mut().zip(draw(count * 3)).for_each(|(choice, value)| {
                *choice = (value * 2.0 + 2.0) as u8;
            });
        }
        batch
    }

    /// A network whose weights, those that start at zero too, are all random.
    fn perturbed(config: QNetworkConfig) -> QNetwork {
        let mut rng = StdRng::seed_from_u64(5);
        let network = QNetwork::new(config, &mut rng).unwrap();
        for (_, variable) in network.parameters() {
            let noise = (0..variable.elem_count()).map(|_| rng.random_range(-0.3..0.3)).collect();
            let noise = super::super::ops::tensor(noise, variable.dims()).unwrap();
            variable.set(&(variable.as_detached_tensor() + noise).unwrap()).unwrap();
        }
        network
    }

    fn scores(network: &QNetwork, batch: &ObservationBatch) -> Vec<f32> {
        network.frozen().unwrap().q_values(batch).unwrap()
    }

    fn close(left: &[f32], right: &[f32]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-5)
    }

    #[test]
    fn an_untrained_network_ranks_as_the_base_rule() {
        for config in configs() {
            let network = QNetwork::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
            let batch = observations(&config, &[5, 1, 7], 2);
            let scores = scores(&network, &batch);
            for rows in (0..3).map(|index| batch.rows(index)) {
                let base: Vec<f32> =
                    rows.clone().map(|row| batch.candidates[row * config.candidate_features + 2]).collect();
                let most = base.iter().copied().fold(f32::MIN, f32::max);
                let expected: Vec<f32> = base.iter().map(|base| 0.5 * (base - most)).collect();
                assert!(close(&scores[rows], &expected));
            }
        }
    }

    #[test]
    fn every_parameter_gets_a_gradient() {
        for config in configs() {
            let network = perturbed(config.clone());
            let batch = observations(&config, &[5, 1, 7], 3);
            let scores = network.forward(&batch).unwrap();
            let loss =
                super::super::huber(&scores, vec![4, 5, 8], vec![3.0, -3.0, 0.5], vec![1.0; 3], 1.0).unwrap();
            let gradients = loss.backward().unwrap();
            for (name, variable) in network.parameters() {
                let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
                let size: f32 = gradient.abs().unwrap().sum_all().unwrap().to_scalar().unwrap();
                assert!(size > 0.0 && size.is_finite(), "{name} has gradient {size}");
            }
        }
    }

    #[test]
    fn scores_follow_a_permutation_of_the_candidates() {
        for config in configs() {
            let network = perturbed(config.clone());
            let batch = observations(&config, &[9], 4);
            let mut order: Vec<usize> = (0..9).collect();
            order.shuffle(&mut StdRng::seed_from_u64(6));
            assert_ne!(order, (0..9).collect::<Vec<_>>());
            let pick = |size: usize| {
                let order = order.clone();
                order.into_iter().flat_map(move |slot| slot * size..(slot + 1) * size)
            };
            let identities = batch.identities.as_ref().unwrap();
            let permuted = ObservationBatch {
                candidates: pick(config.candidate_features).map(|index| batch.candidates[index]).collect(),
                identities: Some(pick(3).map(|index| identities[index]).collect()),
                ..batch.clone()
            };
            let before = scores(&network, &batch);
            let expected: Vec<f32> = order.iter().map(|&slot| before[slot]).collect();
            assert!(close(&scores(&network, &permuted), &expected));
            assert!(!close(&before, &expected));
        }
    }

    #[test]
    fn more_observations_change_nothing() {
        for config in configs() {
            let network = perturbed(config.clone());
            let few = observations(&config, &[7, 4], 7);
            let mut more = few.clone();
            // What comes after them is not a number, to see whether it is read.
            let (rows, context, _) = more.push(5, config.candidate_features, config.context_features, 3);
            rows.fill(f32::NAN);
            context.fill(f32::NAN);
            let (few, more) = (scores(&network, &few), scores(&network, &more));
            assert_eq!((few.len(), more.len()), (11, 16));
            assert!(close(&few, &more[..11]) && more[11..].iter().all(|score| score.is_nan()));
        }
    }

    #[test]
    fn observations_do_not_influence_each_other() {
        for config in configs() {
            let network = perturbed(config.clone());
            let batch = observations(&config, &[3, 1, 7, 2], 8);
            let together = scores(&network, &batch);
            for index in 0..4 {
                let alone = batch.pack([index], &config).unwrap();
                let alone = network.frozen().unwrap().q_values_packed(&alone).unwrap();
                assert!(close(&alone, &together[batch.rows(index)]));
            }
        }
    }

    #[test]
    fn the_tracked_and_the_frozen_network_agree() {
        for config in configs() {
            let network = perturbed(config.clone());
            let batch = observations(&config, &[3; 1500], 9);
            let blocks = batch.blocks(0..1500, &config);
            assert!(blocks.len() > 1 && blocks.iter().map(|block| block.len()).sum::<usize>() == 1500);
            let tracked = copied(&network.forward(&batch).unwrap()).unwrap();
            assert!(close(&tracked, &scores(&network, &batch)));
        }
    }

    #[test]
    fn a_frozen_network_does_not_follow_its_source() {
        let config = config(2, true);
        let (network, other) =
            (perturbed(config.clone()), QNetwork::new(config.clone(), &mut StdRng::seed_from_u64(8)));
        let batch = observations(&config, &[3, 2], 10);
        let frozen = network.frozen().unwrap();
        let before = frozen.q_values(&batch).unwrap();
        network.copy_from(&other.unwrap()).unwrap();
        assert_eq!(frozen.q_values(&batch).unwrap(), before);
        assert!(!close(&scores(&network, &batch), &before));
    }

    #[test]
    fn saved_weights_give_the_same_network() {
        for config in configs() {
            let network = perturbed(config.clone());
            let batch = observations(&config, &[3, 2], 11);
            let loaded = QNetwork::from_tensors(config.clone(), &network.to_tensors().unwrap()).unwrap();
            assert_eq!(scores(&loaded, &batch), scores(&network, &batch));
            let names = |network: &QNetwork| {
                network.parameters().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
            };
            assert_eq!(names(&loaded), names(&network));
        }
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let mut tensors = perturbed(config(2, true)).to_tensors().unwrap();
        let refused = |config, tensors: &Named| match FrozenQNetwork::from_tensors(config, tensors) {
            Err(Error::Weights(message)) => message,
            other => panic!("expected refused weights, got {other:?}"),
        };
        assert!(refused(config(1, true), &tensors).contains("another configuration"));
        assert!(
            refused(QNetworkConfig { width: 32, ..config(2, true) }, &tensors)
                .contains("expected F32 [32, 6]")
        );
        tensors.remove("hidden.bias");
        assert!(refused(config(2, true), &tensors).contains("'hidden.bias'"));
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let config = config(0, true);
        let good = observations(&config, &[3, 2], 12);
        assert!(good.pack(0..2, &config).is_ok());
        assert!(matches!(good.pack(1..3, &config), Err(Error::Input(_))));
        let bad = [
            ObservationBatch { offsets: vec![0, 5, 5], ..good.clone() },
            ObservationBatch { offsets: vec![0, 6, 5], ..good.clone() },
            ObservationBatch { offsets: vec![0, 3, 6], ..good.clone() },
            ObservationBatch { offsets: vec![1, 3, 5], ..good.clone() },
            ObservationBatch { offsets: vec![0, 5], ..good.clone() },
            ObservationBatch { offsets: vec![], ..good.clone() },
            ObservationBatch { contexts: vec![0.0; 5], ..good.clone() },
            ObservationBatch { candidates: vec![0.0; 5], ..good.clone() },
            ObservationBatch { identities: None, ..good.clone() },
            ObservationBatch { identities: Some(vec![0; 14]), ..good.clone() },
            ObservationBatch { identities: Some(vec![4; 15]), ..good.clone() },
        ];
        for batch in bad {
            assert!(matches!(batch.pack(0..2, &config), Err(Error::Input(_))));
        }
        for bad in [
            QNetworkConfig { width: 10, layers: 1, ..config.clone() },
            QNetworkConfig { base_feature: Some(6), ..config.clone() },
            QNetworkConfig { width: 0, ..config.clone() },
        ] {
            assert!(matches!(QNetwork::new(bad, &mut StdRng::seed_from_u64(1)), Err(Error::Config(_))));
        }
    }
}
