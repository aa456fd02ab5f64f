//! Training that goes on where it was left, to the bit: what is drawn in a step follows from the seed and the step.

use super::{
    corpus::Corpus,
    network::Network,
    supernet::{Batch, Losses, Settings, gradients},
};
use crate::{LlmError, config::Config, model::Model};
use candle_core::safetensors;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_basics::files::write_whole_by;
use srnas_network::{Adam, AdamConfig, ops::copied};
use std::{collections::HashMap, fs::File, path::Path};

/// Gradients longer than this are cut to it.
const CLIP: f64 = 1.0;

/// Why a training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TuningError {
    /// The model.
    #[error(transparent)]
    Model(#[from] LlmError),
    /// The loss is no number any more.
    #[error("the loss of step {step} is not a number: a lower learning rate than {rate} may help")]
    Diverged {
        /// Which.
        step: u64,
        /// The highest learning rate.
        rate: f64,
    },
    /// The state on disk is not of this training.
    #[error("{path}: {reason}")]
    State {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<candle_core::Error> for TuningError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// A training.
pub struct Tuning {
    network: Network,
    /// What the whole and its parts learn from, besides the text.
    original: Option<Network>,
    adam: Adam,
    settings: Settings,
    seed: u64,
}

/// What draws a part of the network.
pub type Draw<'a> = dyn Fn(&mut ChaCha8Rng) -> Vec<Option<usize>> + 'a;

impl Tuning {
    /// A training that begins: of a model, by an original where there is one to learn from.
    ///
    /// # Errors
    /// Settings by which nothing can be trained, and an original of another vocabulary.
    pub fn new(
        model: &Model,
        original: Option<&Model>,
        settings: Settings,
        seed: u64,
    ) -> Result<Self, LlmError> {
        Self::check(model.config(), original.map(Model::config), &settings)?;
        let network = Network::new(model)?;
        let config = AdamConfig { weight_decay: settings.weight_decay, clip: CLIP, ..AdamConfig::default() };
        let adam = Adam::new(config, network.parameters());
        Ok(Self { original: original.map(Network::new).transpose()?, network, adam, settings, seed })
    }

    /// Whether a model can be trained so: what is wrong is known before anything is made.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(model: &Config, original: Option<&Config>, settings: &Settings) -> Result<(), LlmError> {
        settings.check(model.context)?;
        let Some(other) = original else { return Ok(()) };
        if model.vocabulary != other.vocabulary || settings.length > other.context {
            return Err(LlmError::Asked(format!(
                "the original has {} tokens and a context of {}: it cannot teach a model of {} tokens by sequences of {}",
                other.vocabulary, other.context, model.vocabulary, settings.length
            )));
        }
        Ok(())
    }

    /// Steps done.
    pub fn done(&self) -> u64 {
        self.adam.steps()
    }

    /// How it is trained.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The model as it is now.
    ///
    /// # Errors
    /// As candle's.
    pub fn model(&self) -> Result<Model, LlmError> {
        self.network.model()
    }

    /// One step; `draw` says which parts take part in it.
    ///
    /// # Errors
    /// See [`TuningError`].
    pub fn step(
        &mut self,
        corpus: &Corpus,
        smallest: Option<&[Option<usize>]>,
        draw: &Draw,
    ) -> Result<Losses, TuningError> {
        let Settings { sequences, length, parts, .. } = self.settings;
        let step = self.done();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(step + 1);
        let (read, follow) = corpus.draw(sequences, length, &mut rng);
        let mut shapes: Vec<_> = (0..parts).map(|_| draw(&mut rng)).collect();
        shapes.extend(smallest.filter(|_| self.settings.smallest).map(<[_]>::to_vec));
        let batch = Batch { read, follow, length };
        let (gradients, losses) =
            gradients(&self.network, self.original.as_ref(), &batch, &shapes, &self.settings)?;
        let moved = self.adam.step(self.network.parameters(), &gradients, self.settings.rate(step));
        match moved {
            Ok(moved) if !moved.skipped && losses.whole.is_finite() => Ok(losses),
            Ok(_) => Err(TuningError::Diverged { step, rate: self.settings.learning_rate }),
            Err(error) => Err(LlmError::Asked(error.to_string()).into()),
        }
    }

    /// Writes weights and the optimiser's state; what was there is whole until the new is.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> Result<(), TuningError> {
        let failed = |reason: String| TuningError::State { path: path.display().to_string(), reason };
        let mut tensors =
            self.adam.to_tensors(self.network.parameters()).map_err(|e| failed(e.to_string()))?;
        for (name, var) in self.network.parameters() {
            tensors.insert(format!("weight.{name}"), var.as_detached_tensor());
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let aside = tempfile::tempdir_in(folder).map_err(|e| failed(e.to_string()))?;
        let whole = aside.path().join("state");
        safetensors::save(&tensors, &whole)?;
        let copied = write_whole_by(path, |file| std::io::copy(&mut File::open(&whole)?, file).map(|_| ()));
        copied.map_err(|e| failed(e.to_string()))
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// A state that is not of this model.
    pub fn restore(&mut self, path: &Path) -> Result<(), TuningError> {
        let failed = |reason: String| TuningError::State { path: path.display().to_string(), reason };
        let tensors =
            safetensors::load(path, &candle_core::Device::Cpu).map_err(|e| failed(e.to_string()))?;
        let weights: HashMap<&str, _> =
            tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix("weight.")?, t))).collect();
        if weights.len() != self.network.parameters().len() {
            return Err(failed("it is of a model with other layers".into()));
        }
        for (name, var) in self.network.parameters() {
            match weights.get(name.as_str()) {
                Some(saved) if saved.dims() == var.dims() => {
                    var.set(&srnas_network::ops::tensor(copied(saved)?, var.dims())?)?;
                }
                _ => {
                    return Err(failed(format!(
                        "`{name}` is not there as it should be: it is of another model"
                    )));
                }
            }
        }
        let config =
            AdamConfig { weight_decay: self.settings.weight_decay, clip: CLIP, ..AdamConfig::default() };
        self.adam = Adam::from_tensors(config, self.network.parameters(), &tensors)
            .map_err(|e| failed(e.to_string()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evaluate::perplexity,
        matrix::Format,
        subnetwork::{Kept, Subnetwork},
        training::{by_importance, fresh},
    };
    use rand::Rng;

    /// A language of which the next token follows from the last two.
    fn corpus() -> Corpus {
        let text: Vec<u32> = (0..4000u32)
            .scan((3u32, 5u32), |(a, b), i| {
                let next = 3 + (*a * *b + *a + i / 500) % 20;
                (*a, *b) = (*b, next);
                Some(next)
            })
            .collect();
        Corpus::new(vec![text], Some(1)).unwrap()
    }

    fn model() -> Model {
        let config = Config {
            vocabulary: 24,
            dim: 32,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            widths: vec![64; 3],
            context: 64,
            rope_theta: 1e4,
            norm_epsilon: 1e-5,
            tied: true,
            bos: Some(1),
            eos: vec![2],
        };
        fresh(config, 3).unwrap()
    }

    /// Steps in which a model learns the language.
    const LEARNS: u64 = 600;

    fn settings(steps: u64) -> Settings {
        Settings { steps, sequences: 6, length: 32, learning_rate: 5e-3, ..Settings::default() }
    }

    fn nats(model: &Model) -> f64 {
        perplexity(model, &corpus().texts()[0][..512], 32).unwrap().nats
    }

    fn part(model: &Model, widths: [Option<usize>; 3]) -> Model {
        let kept = |width: Option<usize>| width.map(|width| Kept { width, format: Format::F32 });
        let layers = widths.into_iter().map(kept).collect();
        model.cut(&Subnetwork { layers, embedding: Format::F32, kv_heads: 2 }, None).unwrap()
    }

    fn drawn(rng: &mut ChaCha8Rng) -> Vec<Option<usize>> {
        let mut shape: Vec<_> = (0..3).map(|_| [None, Some(32), Some(64)][rng.random_range(0..3)]).collect();
        shape[0] = shape[0].or(Some(32));
        shape
    }

    #[test]
    fn a_model_learns_and_then_its_parts_do() {
        let corpus = corpus();
        let whole = Settings { parts: 0, ..settings(LEARNS) };
        let mut first = Tuning::new(&model(), None, whole, 1).unwrap();
        while first.done() < LEARNS {
            first.step(&corpus, None, &drawn).unwrap();
        }
        let learned = first.model().unwrap();
        let (before, after) = (nats(&model()), nats(&learned));
        assert!(before > 3.0 && after < before - 1.0, "{before} {after}");
        let ordered = by_importance(&learned, &corpus, 16, 1).unwrap();
        assert!((nats(&ordered) - after).abs() < 1e-4);
        let mut tuned = Tuning::new(&ordered, Some(&ordered), settings(150), 2).unwrap();
        while tuned.done() < 150 {
            tuned.step(&corpus, None, &drawn).unwrap();
        }
        let tuned = tuned.model().unwrap();
        for widths in [[Some(32), None, Some(64)], [Some(64), Some(32), None]] {
            let (was, is) = (nats(&part(&ordered, widths)), nats(&part(&tuned, widths)));
            assert!(is < was - 0.1, "{widths:?}: {was} {is}");
        }
        assert!(nats(&tuned) < after + 0.1);
    }

    #[test]
    fn the_most_important_channels_are_worth_more_than_the_least() {
        let corpus = corpus();
        let mut training = Tuning::new(&model(), None, Settings { parts: 0, ..settings(LEARNS) }, 1).unwrap();
        while training.done() < LEARNS {
            training.step(&corpus, None, &drawn).unwrap();
        }
        let ordered = by_importance(&training.model().unwrap(), &corpus, 16, 1).unwrap();
        let backwards: Vec<Vec<usize>> = vec![(0..64).rev().collect(); 3];
        let half = |orders: Option<&[Vec<usize>]>| {
            let kept = Some(Kept { width: 32, format: Format::F32 });
            let part = Subnetwork { layers: vec![kept; 3], embedding: Format::F32, kv_heads: 2 };
            nats(&ordered.cut(&part, orders).unwrap())
        };
        let (best, worst) = (half(None), half(Some(&backwards)));
        assert!(best < worst - 0.1, "{best} {worst}");
    }

    #[test]
    fn what_goes_on_is_what_never_stopped() {
        let (corpus, folder) = (corpus(), tempfile::tempdir().unwrap());
        let path = folder.path().join("state.safetensors");
        let begun = || Tuning::new(&model(), Some(&model()), settings(6), 4).unwrap();
        let mut through = begun();
        let mut losses = Vec::new();
        for step in 0..6 {
            if step == 3 {
                through.save(&path).unwrap();
            }
            losses.push(through.step(&corpus, None, &drawn).unwrap());
        }
        let mut again = begun();
        again.restore(&path).unwrap();
        assert_eq!(again.done(), 3);
        let rest: Vec<_> = (3..6).map(|_| again.step(&corpus, None, &drawn).unwrap()).collect();
        assert_eq!(rest, losses[3..]);
        let mut other =
            Tuning::new(&part(&model(), [Some(64), None, Some(64)]), None, settings(6), 4).unwrap();
        assert!(other.restore(&path).is_err());
        std::fs::write(&path, b"short").unwrap();
        assert!(begun().restore(&path).is_err());
    }

    #[test]
    fn what_cannot_be_trained_is_refused() {
        for wrong in [
            Settings { length: 65, ..settings(1) },
            Settings { steps: 0, ..settings(1) },
            Settings { learning_rate: f64::NAN, ..settings(1) },
            Settings { alpha: 1.5, ..settings(1) },
        ] {
            assert!(Tuning::new(&model(), None, wrong, 1).is_err(), "{wrong:?}");
        }
        let wild = Settings { learning_rate: 1e30, parts: 0, ..settings(40) };
        let mut training = Tuning::new(&model(), None, wild, 1).unwrap();
        let ended = (0..40).find_map(|_| training.step(&corpus(), None, &drawn).err());
        assert!(matches!(ended, Some(TuningError::Diverged { .. })), "{ended:?}");
    }
}
