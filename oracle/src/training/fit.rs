//! Training a network, and asking it afterwards.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_network::ops::{copied, tensor, with_values};
use srnas_space::SearchSpace;

use super::{
    TrainingError,
    attack::Attack,
    corruption::Corruption,
    data::{Batch, ImageSet, Split},
    model::{self, Calibration, Model, Phase, Scale},
    ops::{self, BLOCK, Moments},
    robustness::{
        self, Radius,
        crowd::{Victim, held, sign},
    },
    sgd::Sgd,
};

/// Images in a batch when a trained network is asked.
const EVALUATION_BATCH: usize = BLOCK;

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Size of the network.
    pub scale: Scale,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in a batch, a multiple of [`BLOCK`]; a last batch that is not full is left out.
    pub batch: usize,
    /// Learning rate of the first step; it falls to 0 along a cosine.
    pub learning_rate: f32,
    /// Nesterov momentum.
    pub momentum: f32,
    /// Weight decay of all parameters.
    pub weight_decay: f32,
    /// What happens to a training image, each with probability one half.
    pub augmentations: Vec<Corruption>,
    /// Adversarial training, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adversarial: Option<Adversarial>,
    /// Where shorter trainings are asked for: whether each is the beginning of the full one, along its schedule, so that the full
    /// one goes on from it. Otherwise it has a schedule of its own and says more, and the full one begins anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continue_shorter: bool,
}

impl Default for Recipe {
    /// A short training for data sets of the size of CIFAR-10, after NAS-Bench-201's.
    fn default() -> Self {
        Self {
            scale: Scale { width: 16, stages: 3, cells: 1 },
            epochs: 12,
            batch: 256,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            augmentations: vec![Corruption::Shift],
            adversarial: None,
            continue_shorter: false,
        }
    }
}

/// Training images of these indices, each changed as the recipe says.
pub(super) fn augmented(data: &ImageSet, indices: &[usize], recipe: &Recipe, rng: &mut ChaCha8Rng) -> Batch {
    data.batch(&data.train, indices, |_, image| {
        for &corruption in &recipe.augmentations {
            if rng.random_bool(0.5) {
                corruption.apply(image, data.shape.size, rng);
            }
        }
    })
}

impl Recipe {
    /// The learning rate when such a share of the training is done.
    pub(super) fn rate(&self, done: f64) -> f32 {
        self.learning_rate * (0.5 * (1.0 + (std::f64::consts::PI * done).cos())) as f32
    }

    /// Adversarial training as published for wide residual networks on CIFAR-10 and CIFAR-100: TRADES with ten steps of 2/255 within 8/255,
    /// β 6 (arXiv 1901.08573; weight decay as in 2110.03825 and 2212.11005). A cosine stands for their steps of the learning
    /// rate, Nesterov momentum for the plain one, shifts for crops and flips.
    pub fn trades() -> Self {
        let attack = Attack { epsilon: 8.0 / 255.0, steps: 10 };
        Self {
            epochs: 100,
            batch: 128,
            weight_decay: 2e-4,
            adversarial: Some(Adversarial::Trades { attack, beta: 6.0 }),
            ..Self::default()
        }
    }

    /// Checks that the recipe can be followed on a data set.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self, data: &ImageSet) -> Result<(), String> {
        let positive = |name: &str, value: usize| match value {
            0 => Err(format!("{name} must be at least 1")),
            _ => Ok(()),
        };
        positive("scale.width", self.scale.width)?;
        positive("scale.stages", self.scale.stages)?;
        positive("scale.cells", self.scale.cells)?;
        positive("epochs", self.epochs)?;
        if self.scale.stages > 8 || self.scale.width > 1024 {
            return Err("scale: at most 8 stages, and 1024 channels in the first".into());
        }
        if self.batch == 0 || !self.batch.is_multiple_of(BLOCK) {
            return Err(format!("batch must be a multiple of {BLOCK}, and is {}", self.batch));
        }
        if data.train.len() < self.batch {
            return Err(format!(
                "batch is {}, more than the {} training images",
                self.batch,
                data.train.len()
            ));
        }
        let finite =
            [self.learning_rate, self.momentum, self.weight_decay].iter().all(|v| v.is_finite() && *v >= 0.0);
        if !finite || self.learning_rate == 0.0 || self.momentum >= 1.0 {
            return Err(
                "learning_rate must be above 0, momentum from 0 to below 1, weight_decay 0 or more".into()
            );
        }
        match self.adversarial {
            None => Ok(()),
            Some(Adversarial::Pgd { attack }) => attack.check(),
            Some(Adversarial::Trades { attack, beta }) => match beta.is_finite() && beta >= 0.0 {
                true => attack.check(),
                false => Err(format!("adversarial.trades.beta must be 0 or more, and is {beta}")),
            },
            Some(Adversarial::Fast { epsilon }) => Radius::new(epsilon).map(|_| ()),
            Some(Adversarial::Free { replays, .. }) if !(1..=64).contains(&replays) => {
                Err(format!("adversarial.free.replays must be 1 to 64, and is {replays}"))
            }
            // What is carried from batch to batch is in no checkpoint.
            Some(Adversarial::Free { .. }) if self.continue_shorter => {
                Err("free adversarial training cannot go on from a shorter one: leave out continue_shorter"
                    .into())
            }
            Some(Adversarial::Free { epsilon, .. }) => Radius::new(epsilon).map(|_| ()),
        }
    }
}

/// Training on attacked images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Adversarial {
    /// On the images that the attack finds, in place of the clean ones (arXiv 1706.06083).
    Pgd {
        /// The attack.
        attack: Attack,
    },
    /// On the clean images, and held by `beta` to say the same of attacked ones, which an attack finds that climbs the divergence of the
    /// two (arXiv 1901.08573).
    Trades {
        /// The attack.
        attack: Attack,
        /// Weight of the divergence.
        beta: f32,
    },
    /// On the images that one step of 1.25 ε finds from anywhere in the ball (arXiv 2001.03994).
    Fast {
        /// The radius of the ball, as that of an attack.
        #[serde(deserialize_with = "robustness::share")]
        epsilon: f32,
    },
    /// On each batch several times, each time moving its images by the gradient that also moves the weights; what was added is carried to
    /// the next batch (arXiv 1904.12843). Costs as much as so many epochs for each.
    Free {
        /// The radius of the ball, as that of an attack.
        #[serde(deserialize_with = "robustness::share")]
        epsilon: f32,
        /// How often each batch is trained on.
        replays: usize,
    },
}

/// A network with what it does to pixels first.
pub struct Network {
    model: Box<dyn Model>,
    shape: model::Shape,
    pixels: Moments,
    /// What free adversarial training added to the last batch, [C, H, W, N]; empty before.
    added: Vec<f32>,
}

/// What a network says of images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Share of the images that are told right.
    pub accuracy: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
}

impl Network {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// Spaces without networks.
    pub fn new(
        space: &SearchSpace,
        choices: &[u8],
        data: &ImageSet,
        scale: Scale,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, TrainingError> {
        let (mean, variance) = data.moments();
        Self::over(space, choices, data.shape, Moments { mean, variance }, scale, rng)
    }

    /// As [`Self::new`], for images of this shape and with these moments of each channel.
    pub(super) fn over(
        space: &SearchSpace,
        choices: &[u8],
        shape: model::Shape,
        pixels: Moments,
        scale: Scale,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, TrainingError> {
        let model = model::build(space, choices, shape, scale, rng)?;
        Ok(Self { model, shape, pixels, added: Vec::new() })
    }

    /// Sets every normalisation to the moments of what pixels [C, H, W, N] come to before it.
    pub(super) fn calibrate(&mut self, pixels: &Tensor) -> candle_core::Result<()> {
        let normalised = ops::standardise(pixels, &self.pixels)?;
        self.model.pass(&normalised, &mut Calibration).map(drop)
    }

    /// The pixels of a batch as a tensor [C, H, W, N].
    pub(super) fn tensor(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        self.of_pixels(&batch.pixels, batch.width)
    }

    fn of_pixels(&self, pixels: &[f32], images: usize) -> candle_core::Result<Tensor> {
        let [height, width] = self.shape.size;
        tensor(pixels.to_vec(), (self.shape.channels, height, width, images))
    }

    /// Logits [classes, 1, 1, N] of pixels [C, H, W, N] in 0..1.
    pub(super) fn forward(&mut self, pixels: &Tensor, phase: Phase) -> candle_core::Result<Tensor> {
        let normalised = ops::standardise(pixels, &self.pixels)?;
        self.model.forward(&normalised, phase)
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        self.model.parameter_count()
    }

    /// Multiply-adds for one image.
    pub fn multiply_adds(&self) -> u64 {
        self.model.multiply_adds()
    }

    /// How well it tells the images of a split; `change` may alter each, given its index and pixels.
    ///
    /// # Errors
    /// Images of another size.
    pub fn score(
        &mut self,
        data: &ImageSet,
        split: &Split,
        mut change: impl FnMut(usize, &mut [f32]),
    ) -> Result<Score, TrainingError> {
        self.score_batches(data, split, &mut change, |_, batch| Ok(batch))
    }

    /// How well it tells the images of a split under an attack.
    ///
    /// # Errors
    /// Images of another size.
    pub fn score_attacked(
        &mut self,
        data: &ImageSet,
        split: &Split,
        attack: Attack,
        seed: u64,
    ) -> Result<Score, TrainingError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.score_batches(data, split, &mut |_, _| {}, |network, batch| {
            Ok(attack.on(network, &batch, &mut rng)?)
        })
    }

    fn score_batches(
        &mut self,
        data: &ImageSet,
        split: &Split,
        change: &mut dyn FnMut(usize, &mut [f32]),
        mut then: impl FnMut(&mut Self, Batch) -> Result<Batch, TrainingError>,
    ) -> Result<Score, TrainingError> {
        let (mut right, mut loss) = (0usize, 0.0f64);
        let indices: Vec<usize> = (0..split.len()).collect();
        for indices in indices.chunks(EVALUATION_BATCH) {
            let batch = data.batch(split, indices, &mut *change);
            let batch = then(self, batch)?;
            let logits = self.forward(&self.tensor(&batch)?, Phase::Evaluate)?;
            let log = ops::log_probabilities(&logits)?;
            for (n, &label) in batch.labels.iter().enumerate() {
                let of = |class: usize| log[class * batch.width + n];
                // The first of equals, so that saying nothing is saying class 0.
                let said = (1..self.shape.classes).fold(0, |said, c| if of(c) > of(said) { c } else { said });
                right += usize::from(said == usize::from(label));
                loss -= f64::from(of(usize::from(label)));
            }
        }
        let images = split.len() as f64;
        Ok(Score { accuracy: right as f64 / images, loss: loss / images })
    }

    /// Trains on the training images, from the first epoch to the recipe's last. `after` hears of each epoch, counted from 1,
    /// with the network as it then is.
    ///
    /// # Errors
    /// A loss that is not a number any more; too few images for a batch.
    pub fn fit(
        &mut self,
        data: &ImageSet,
        recipe: &Recipe,
        rng: &mut ChaCha8Rng,
        after: impl FnMut(usize, &mut Self) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let mut fit = self.begin(data, recipe);
        self.go_on(&mut fit, recipe.epochs, data, recipe, rng, after)
    }

    /// A training before its first epoch.
    pub fn begin(&self, data: &ImageSet, recipe: &Recipe) -> Fit {
        Fit {
            sgd: Sgd::new(recipe.momentum, recipe.weight_decay, self.model.parameters()),
            order: (0..data.train.len()).collect(),
            epochs: 0,
        }
    }

    /// Trains on to the end of epoch `until`, along the schedule of the whole recipe: what is trained in parts is what is
    /// trained at once.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub fn go_on(
        &mut self,
        fit: &mut Fit,
        until: usize,
        data: &ImageSet,
        recipe: &Recipe,
        rng: &mut ChaCha8Rng,
        mut after: impl FnMut(usize, &mut Self) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let per_epoch = data.train.len() / recipe.batch;
        if per_epoch == 0 {
            return Err(TrainingError::TooFewImages { images: data.train.len(), batch: recipe.batch });
        }
        let steps = per_epoch * recipe.epochs;
        while fit.epochs < until {
            fit.order.shuffle(rng);
            for (step, indices) in fit.order.chunks_exact(recipe.batch).enumerate() {
                let done = (fit.epochs * per_epoch + step) as f64 / steps as f64;
                let loss = self.step(data, indices, recipe, recipe.rate(done), &mut fit.sgd, rng)?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged { epoch: fit.epochs + 1, epochs: recipe.epochs });
                }
            }
            fit.epochs += 1;
            after(fit.epochs, self)?;
        }
        Ok(())
    }

    /// The parameters by name.
    pub(super) fn parameters(&self) -> &[(String, Var)] {
        self.model.parameters()
    }

    /// The running averages of every normalisation.
    pub(super) fn running(&mut self) -> Vec<&mut Moments> {
        self.model.running()
    }

    /// One step; gives the loss before it. Where that is not finite the step is not taken.
    pub(super) fn step(
        &mut self,
        data: &ImageSet,
        indices: &[usize],
        recipe: &Recipe,
        rate: f32,
        sgd: &mut Sgd,
        rng: &mut ChaCha8Rng,
    ) -> Result<f32, TrainingError> {
        let batch = augmented(data, indices, recipe, rng);
        if let Some(Adversarial::Free { epsilon, replays }) = recipe.adversarial {
            return self.replay(&batch, epsilon, replays, rate, sgd);
        }
        let loss = self.loss(&batch, recipe.adversarial, rng)?;
        let value = loss.to_scalar::<f32>()?;
        if value.is_finite() {
            sgd.step(self.model.parameters(), &loss.backward()?, rate)?;
        }
        Ok(value)
    }

    /// Steps on one batch, again and again: what a step costs.
    ///
    /// # Errors
    /// Too few images for a batch.
    pub fn steps<'n>(
        &'n mut self,
        data: &'n ImageSet,
        recipe: &'n Recipe,
        rng: &'n mut ChaCha8Rng,
    ) -> Result<Steps<'n>, TrainingError> {
        let images = data.train.len();
        if images < recipe.batch {
            return Err(TrainingError::TooFewImages { images, batch: recipe.batch });
        }
        let sgd = Sgd::new(recipe.momentum, recipe.weight_decay, self.model.parameters());
        Ok(Steps { indices: (0..recipe.batch).collect(), network: self, data, recipe, sgd, rng })
    }

    /// Steps of free adversarial training on one batch; gives the loss before the last.
    fn replay(
        &mut self,
        batch: &Batch,
        epsilon: f32,
        replays: usize,
        rate: f32,
        sgd: &mut Sgd,
    ) -> Result<f32, TrainingError> {
        let labels: Arc<[u8]> = batch.labels.clone().into();
        self.added.resize(batch.pixels.len(), 0.0);
        let mut value = 0.0;
        for _ in 0..replays {
            let moved = batch
                .pixels
                .iter()
                .zip(&self.added)
                .map(|(pixel, added)| held(pixel + added, *pixel, epsilon));
            let images = Var::from_tensor(&self.of_pixels(&moved.collect::<Vec<f32>>(), batch.width)?)?;
            let loss = ops::cross_entropy(&self.forward(&images, Phase::Train)?, &labels)?;
            value = loss.to_scalar::<f32>()?;
            if !value.is_finite() {
                break;
            }
            let gradients = loss.backward()?;
            sgd.step(self.model.parameters(), &gradients, rate)?;
            if let Some(gradient) = gradients.get(&images) {
                with_values(gradient, |gradient| {
                    for (added, gradient) in self.added.iter_mut().zip(gradient) {
                        *added = (*added + epsilon * sign(*gradient)).clamp(-epsilon, epsilon);
                    }
                })?;
            }
        }
        Ok(value)
    }

    fn loss(
        &mut self,
        batch: &Batch,
        adversarial: Option<Adversarial>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Tensor, TrainingError> {
        let labels: Arc<[u8]> = batch.labels.clone().into();
        let of = |network: &mut Self, batch: &Batch| {
            let pixels = network.tensor(batch)?;
            network.forward(&pixels, Phase::Train)
        };
        Ok(match adversarial {
            // Free adversarial training has no loss apart from its steps.
            None | Some(Adversarial::Free { .. }) => ops::cross_entropy(&of(self, batch)?, &labels)?,
            Some(Adversarial::Fast { epsilon }) => {
                let attacked = robustness::ascent::fast(self, batch, epsilon, rng)?;
                ops::cross_entropy(&of(self, &attacked)?, &labels)?
            }
            Some(Adversarial::Pgd { attack }) => {
                let attacked = attack.on(self, batch, rng)?;
                ops::cross_entropy(&of(self, &attacked)?, &labels)?
            }
            Some(Adversarial::Trades { attack, beta }) => {
                let attacked = attack.diverging(self, batch, rng)?;
                let (clean, attacked) = (of(self, batch)?, of(self, &attacked)?);
                let divergence = ops::divergence(&clean, &attacked)?;
                (ops::cross_entropy(&clean, &labels)? + (divergence * f64::from(beta))?)?
            }
        })
    }
}

impl Victim for Network {
    fn logits(&mut self, pixels: &[f32], width: usize) -> candle_core::Result<Vec<f32>> {
        let images = self.of_pixels(pixels, width)?;
        copied(&self.forward(&images, Phase::Evaluate)?)
    }

    fn climb(
        &mut self,
        pixels: &[f32],
        width: usize,
        loss: &mut dyn FnMut(&[f32]) -> Vec<f32>,
    ) -> candle_core::Result<(Vec<f32>, Option<Vec<f32>>)> {
        let images = Var::from_tensor(&self.of_pixels(pixels, width)?)?;
        let logits = self.forward(&images, Phase::Evaluate)?;
        let said = copied(&logits)?;
        let direction = tensor(loss(&said), logits.shape())?;
        let gradients = (&logits * direction)?.sum_all()?.backward()?;
        let gradient = gradients.get(&images).map(copied).transpose()?;
        Ok((said, gradient))
    }
}

/// A training under way.
pub struct Fit {
    pub(super) sgd: Sgd,
    /// The images in the order of the last epoch, which the next one shuffles.
    pub(super) order: Vec<usize>,
    /// Epochs that are done.
    pub(super) epochs: usize,
}

/// Training steps on one batch.
pub struct Steps<'n> {
    network: &'n mut Network,
    data: &'n ImageSet,
    recipe: &'n Recipe,
    indices: Vec<usize>,
    sgd: Sgd,
    rng: &'n mut ChaCha8Rng,
}

impl Steps<'_> {
    /// One step, with a tenth of the recipe's learning rate.
    ///
    /// # Errors
    /// A network that fails.
    pub fn step(&mut self) -> Result<(), TrainingError> {
        let rate = 0.1 * self.recipe.learning_rate;
        self.network.step(self.data, &self.indices, self.recipe, rate, &mut self.sgd, self.rng)?;
        Ok(())
    }
}
