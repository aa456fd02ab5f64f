//! One training and everything that is measured of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use candle_core::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_space::SearchSpace;
use tracing::warn;

use super::{
    Fit, Network, Recipe, TrainingError,
    attack::Attack,
    checkpoint,
    corruption::Corruption,
    data::{ImageSet, Split},
    model::Phase,
    ops::BLOCK,
    robustness::{Radius, Robustness, Strong},
};

/// What is asked of a trained network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Questions {
    /// The epoch after which the accuracy is also taken; 0 for none.
    pub early: usize,
    /// Corruptions of the images.
    pub corruptions: Vec<Corruption>,
    /// Attacks on the network.
    pub attacks: Vec<Attack>,
    /// Strong attacks, on what is told right without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robustness: Option<Robustness>,
}

impl Questions {
    /// The attacks that are usual where robust networks are compared: FGSM, PGD-20 and CW-40 within 8/255, on validation and test images.
    pub fn robust() -> Self {
        let attacks = [Strong::Fgsm, Strong::Pgd(20), Strong::Cw(40)].to_vec();
        let epsilon = vec![Radius::new(8.0 / 255.0).expect("within the range")];
        Self { robustness: Some(Robustness { epsilon, attacks, images: None }), ..Self::default() }
    }

    /// How many passes of [`BLOCK`] images forward through the network it takes at most to ask them of so many images; one backward is two.
    pub(crate) fn passes(&self, images: usize) -> usize {
        let looks = 1 + usize::from(self.early > 0) + self.corruptions.len();
        let weak: usize = self.attacks.iter().map(|attack| 1 + 3 * attack.steps).sum();
        let strong = self.robustness.as_ref().map_or(0, |robustness| robustness.passes(images));
        (looks + weak) * images.div_ceil(BLOCK) + strong
    }

    /// Checks that they can be asked of networks that tell so many classes apart.
    ///
    /// # Errors
    /// Names what is wrong, with the question where ε is in another unit.
    pub fn check(&self, classes: usize) -> std::result::Result<(), String> {
        self.attacks.iter().try_for_each(|attack| attack.check())?;
        self.robustness.as_ref().map_or(Ok(()), |robustness| robustness.check(classes))
    }
}

/// What a split says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitScores {
    /// Accuracy and loss on the images as they are, after the whole training.
    pub clean: super::Score,
    /// The same after the early epoch.
    pub early: super::Score,
    /// By corruption, in the order asked.
    pub corrupted: Vec<super::Score>,
    /// By attack, in the order asked.
    pub attacked: Vec<super::Score>,
    /// What strong attacks found, by [`Robustness::names`].
    pub robust: BTreeMap<String, f64>,
}

/// A trained network, measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// On the validation images.
    pub validation: SplitScores,
    /// On the test images.
    pub test: SplitScores,
}

impl Measurement {
    /// The scores by the names of their metrics, `val/…` and `test/…`: accuracies in percent, `clean`, `early`, one for
    /// each corruption, `fgsm@ε` and `pgd@ε` for each attack, ε a share of the range; and `loss` in nats. Of strong attacks
    /// [`Robustness::names`], ε in 255ths.
    pub fn scores(&self, questions: &Questions) -> BTreeMap<String, f64> {
        let mut scores = BTreeMap::new();
        for (split, of) in [("val", &self.validation), ("test", &self.test)] {
            let mut add = |name: &str, value: f64| scores.insert(format!("{split}/{name}"), value);
            add("clean", 100.0 * of.clean.accuracy);
            add("loss", of.clean.loss);
            if questions.early > 0 {
                add("early", 100.0 * of.early.accuracy);
            }
            for (corruption, score) in questions.corruptions.iter().zip(&of.corrupted) {
                add(corruption.name(), 100.0 * score.accuracy);
            }
            for (attack, score) in questions.attacks.iter().zip(&of.attacked) {
                add(&attack.name(), 100.0 * score.accuracy);
            }
            for name in questions.robustness.iter().flat_map(Robustness::names) {
                if let Some(value) = of.robust.get(&name) {
                    add(&name, *value);
                }
            }
        }
        scores
    }
}

impl Times {
    /// The costs by the names of their metrics, `cost/…`.
    pub fn costs(&self) -> BTreeMap<String, f64> {
        BTreeMap::from([
            ("cost/parameters".into(), self.parameters as f64),
            ("cost/multiply_adds".into(), self.multiply_adds as f64),
            ("cost/training_s".into(), self.training_seconds),
            ("cost/latency_ms".into(), self.latency_ms),
        ])
    }
}

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Number of weights.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Seconds that a whole training takes on one core, as some of its steps tell.
    pub training_seconds: f64,
    /// Milliseconds for a batch of [`BLOCK`] images on one core.
    pub latency_ms: f64,
}

/// A part of a training.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// The epoch with which it ends; none is the recipe's last.
    pub until: Option<usize>,
    /// Where a shorter part left it; from the beginning if that cannot be read.
    pub from: Option<&'a Path>,
    /// Where to leave it for a longer one.
    pub to: Option<&'a Path>,
}

/// Trains the network of an architecture and measures it. Equal arguments give equal results but for the two times.
///
/// # Errors
/// A training that diverges, or is stopped; a space without networks.
pub fn measure(
    space: &SearchSpace,
    choices: &[u8],
    data: &ImageSet,
    recipe: &Recipe,
    questions: &Questions,
    seed: u64,
    stop: &AtomicBool,
) -> std::result::Result<Measurement, TrainingError> {
    let whole = Part::default();
    Ok(measure_part(space, choices, data, recipe, questions, seed, whole, stop)?.0)
}

/// As [`measure`], of a part of the training: the epochs up to one, going on after earlier ones where they were kept. A part
/// that went on says the same as one from the beginning, but for an early accuracy where that epoch was before. Also says
/// after how many epochs it went on, 0 for the beginning.
///
/// # Errors
/// As [`measure`], and a place that cannot be written.
#[expect(clippy::too_many_arguments, reason = "what a training is, each by its name")]
pub fn measure_part(
    space: &SearchSpace,
    choices: &[u8],
    data: &ImageSet,
    recipe: &Recipe,
    questions: &Questions,
    seed: u64,
    part: Part,
    stop: &AtomicBool,
) -> std::result::Result<(Measurement, usize), TrainingError> {
    let begin = || -> std::result::Result<_, TrainingError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::new(space, choices, data, recipe.scale, &mut rng)?;
        let fit = network.begin(data, recipe);
        Ok((network, fit, rng))
    };
    let (mut network, mut fit, mut rng) = begin()?;
    if let Some(path) = part.from {
        match checkpoint::load(path, &mut network, &mut fit) {
            Ok(then) => rng = then,
            Err(error) => {
                warn!("{} cannot be read, so its training begins anew: {error}", path.display());
                (network, fit, rng) = begin()?;
            }
        }
    }
    let after = fit.epochs;
    let until = part.until.unwrap_or(recipe.epochs);
    let mut training = UnderWay { network, fit, rng };
    let early = training.go_on(until, data, recipe, questions, stop)?;
    if let Some(path) = part.to {
        let failed = |source| TrainingError::Checkpoint { path: path.display().to_string(), source };
        let UnderWay { network, fit, rng } = &mut training;
        checkpoint::save(path, network, fit, rng).map_err(failed)?;
    }
    Ok((training.network.asked(early, data, questions, seed, stop)?, after))
}

/// A network in training, and all that it goes on with.
pub(super) struct UnderWay {
    pub network: Network,
    pub fit: Fit,
    pub rng: ChaCha8Rng,
}

impl UnderWay {
    /// Trains to the end of an epoch; the measurement has the early accuracies alone.
    pub fn go_on(
        &mut self,
        until: usize,
        data: &ImageSet,
        recipe: &Recipe,
        questions: &Questions,
        stop: &AtomicBool,
    ) -> std::result::Result<Measurement, TrainingError> {
        let mut measurement = Measurement::default();
        self.network.go_on(&mut self.fit, until, data, recipe, &mut self.rng, |epoch, network| {
            if stop.load(Ordering::Relaxed) {
                return Err(TrainingError::Stopped);
            }
            if epoch == questions.early {
                measurement.validation.early = network.score(data, &data.validation, |_, _| {})?;
                measurement.test.early = network.score(data, &data.test, |_, _| {})?;
            }
            Ok(())
        })?;
        Ok(measurement)
    }
}

impl Network {
    /// Adds to a measurement what is asked of a trained network.
    pub(super) fn asked(
        &mut self,
        mut measurement: Measurement,
        data: &ImageSet,
        questions: &Questions,
        seed: u64,
        stop: &AtomicBool,
    ) -> std::result::Result<Measurement, TrainingError> {
        let Measurement { validation, test } = &mut measurement;
        for (scores, split) in [(validation, &data.validation), (test, &data.test)] {
            ask(self, data, split, questions, seed, stop, scores)?;
        }
        Ok(measurement)
    }
}

/// Measures what the network of an architecture costs. The times are the least of several, so that what else runs on
/// the machine counts little.
///
/// # Errors
/// A space without networks; too few images for a batch.
pub fn time(
    space: &SearchSpace,
    choices: &[u8],
    data: &ImageSet,
    recipe: &Recipe,
) -> std::result::Result<Times, TrainingError> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut network = Network::new(space, choices, data, recipe.scale, &mut rng)?;
    let mut step = f64::INFINITY;
    let mut same = network.steps(data, recipe, &mut rng)?;
    for _ in 0..10 {
        let began = Instant::now();
        same.step()?;
        step = step.min(began.elapsed().as_secs_f64());
    }
    let steps = recipe.epochs * (data.train.len() / recipe.batch);
    Ok(Times {
        parameters: network.parameter_count(),
        multiply_adds: network.multiply_adds(),
        training_seconds: step * steps as f64,
        latency_ms: latency(&mut network, data)?,
    })
}

fn ask(
    network: &mut Network,
    data: &ImageSet,
    split: &Split,
    questions: &Questions,
    seed: u64,
    stop: &AtomicBool,
    scores: &mut SplitScores,
) -> std::result::Result<(), TrainingError> {
    scores.clean = network.score(data, split, |_, _| {})?;
    for &corruption in &questions.corruptions {
        // The same corrupted images for every network: an image's draw depends on nothing but its place.
        scores.corrupted.push(network.score(data, split, |index, image| {
            let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
            corruption.apply(image, data.shape.size, &mut rng);
        })?);
    }
    for &attack in &questions.attacks {
        scores.attacked.push(network.score_attacked(data, split, attack, seed)?);
    }
    if let Some(robustness) = &questions.robustness {
        scores.robust = robustness.of(network, data, split, seed, stop)?;
    }
    Ok(())
}

fn latency(network: &mut Network, data: &ImageSet) -> Result<f64> {
    let indices: Vec<usize> = (0..data.train.len().min(BLOCK)).collect();
    let pixels = network.tensor(&data.batch(&data.train, &indices, |_, _| {}))?;
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        let began = Instant::now();
        network.forward(&pixels, Phase::Evaluate)?;
        least = least.min(began.elapsed().as_secs_f64());
    }
    Ok(1000.0 * least)
}
