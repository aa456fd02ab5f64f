//! Training as an oracle.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_predictor::Describe;
use srnas_space::{
    SearchSpace,
    wrn::{Measure, Teacher},
};
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};
use tracing::info;

use super::{
    Counts, Network, Proxies, Recipe, TrainingError,
    data::ImageSet,
    inherit::{InheritError, Kept, Trained, inherit, inheriting},
    measure::{Measurement, Part, Questions, SplitScores, Times, UnderWay, measure_part, time},
    model::{
        self,
        wide::{of_teacher, wide_scale},
    },
};
use crate::costly::{Answer, CostlyError, CostlyOracle, RESUMED_FROM};

/// Trains each architecture it is asked for.
#[derive(Debug)]
pub struct TrainingOracle {
    space: Arc<SearchSpace>,
    data: ImageSet,
    recipe: Recipe,
    questions: Questions,
    seed: u64,
    fidelities: Fidelities,
    /// Where shorter trainings are left for longer ones to go on from.
    folder: Option<PathBuf>,
    /// How many epochs a training has that inherits weights, where trainings do.
    heirs: Option<usize>,
    /// What they inherit from.
    parents: Option<Kept>,
}

/// How many edits a network is from the one that it inherits from; 0 where it was trained from the beginning.
const INHERITED_EDITS: &str = "inherited/edits";
/// How many epochs this training had.
const INHERITED_EPOCHS: &str = "inherited/epochs";

impl TrainingOracle {
    /// Refuses spaces whose architectures cannot be built, and recipes that cannot be followed.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn new(
        space: Arc<SearchSpace>,
        data: ImageSet,
        recipe: Recipe,
        questions: Questions,
        seed: u64,
    ) -> Result<Self, String> {
        if !model::can_build(&space) {
            return Err(format!("architectures of {} cannot be trained; {}", space.name(), model::BUILT));
        }
        recipe.check(&data)?;
        questions.check(data.shape.classes)?;
        if Teacher::of(&space).is_some() {
            wide_scale(data.shape, recipe.scale)?;
        }
        Ok(Self {
            space,
            data,
            recipe,
            questions,
            seed,
            fidelities: Fidelities::FULL,
            folder: None,
            heirs: None,
            parents: None,
        })
    }

    /// Trains shorter too, see [`Recipe::continue_shorter`]. What is asked early of a training is not asked then.
    ///
    /// # Errors
    /// Says which fidelities the recipe has.
    pub fn with(mut self, fidelities: Fidelities) -> Result<Self, String> {
        let whole = fidelities.all().all(|fidelity| fidelities.amount(fidelity).fract() == 0.0);
        if fidelities.unit() != "epochs" || !whole {
            return Err(format!(
                "--fidelity {fidelities}: what this trains is counted in whole epochs, such as epochs=3,27"
            ));
        }
        if fidelities.amount(Fidelity::Full) != self.recipe.epochs as f64 {
            return Err(format!(
                "--fidelity {fidelities}: a full training of this recipe has {} epochs, and the last amount is the full one",
                self.recipe.epochs
            ));
        }
        self.questions.early = 0;
        self.fidelities = fidelities;
        Ok(self)
    }

    /// Lets a training begin, where edits lead to its architecture from one that was trained before, with that one's weights, and train on
    /// for so many epochs ([`inheriting`]). What it says then depends on what was trained before it.
    ///
    /// # Errors
    /// Where there are shorter trainings, and as many epochs as the recipe has or more.
    pub fn with_heirs(mut self, epochs: usize) -> Result<Self, String> {
        if self.fidelities.vary() {
            return Err("--inherit knows full trainings alone: leave out --fidelity".into());
        }
        if !(1..self.recipe.epochs).contains(&epochs) {
            return Err(format!(
                "--inherit {epochs}: a training from the beginning has {} epochs, and one that inherits fewer",
                self.recipe.epochs
            ));
        }
        self.heirs = Some(epochs);
        Ok(self)
    }

    /// Leaves shorter trainings in a folder, so that longer ones go on from them, also after a restart; where the recipe says that
    /// they do.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn keep_in(&mut self, folder: PathBuf) -> io::Result<()> {
        if self.fidelities.shorter() > 0 && self.recipe.continue_shorter {
            fs::create_dir_all(&folder)?;
            self.folder = Some(folder);
        } else if self.heirs.is_some() {
            self.parents = Some(Kept::new(folder)?);
        }
        Ok(())
    }

    /// Trains with what is inherited, if there is anything, and keeps the training for others; also says the epochs and the edits.
    fn inherited(
        &self,
        (parents, epochs): (&Kept, usize),
        choices: &[u8],
        stop: &AtomicBool,
    ) -> Result<(Measurement, Recipe, usize), TrainingError> {
        let (space, data, questions) = (&self.space, &self.data, &self.questions);
        let failed = |source| TrainingError::Checkpoint { path: parents.to_string(), source };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let parent = parents.parent(space, data, &self.recipe, choices).map_err(failed)?;
        let (network, recipe, from, edits) = match parent {
            None => (
                Network::new(space, choices, data, self.recipe.scale, &mut rng)?,
                self.recipe.clone(),
                None,
                0,
            ),
            Some((trained, edits, mut network)) => {
                info!("{} inherits from {}", space.format(choices), trained.architecture);
                let pair = (trained.choices.as_slice(), &mut network);
                let heir =
                    inherit(space, data, &self.recipe, pair, choices, &mut rng).map_err(
                        |error| match error {
                            InheritError::Training(error) => error,
                            other => TrainingError::Network(candle_core::Error::msg(other)),
                        },
                    )?;
                (heir, inheriting(&self.recipe, epochs), Some(trained.choices), edits)
            }
        };
        let mut training = UnderWay { fit: network.begin(data, &recipe), network, rng };
        let early = training.go_on(recipe.epochs, data, &recipe, questions, stop)?;
        let measurement = training.network.asked(early, data, questions, self.seed, stop)?;
        let trained = Trained {
            architecture: space.format(choices),
            choices: choices.to_vec(),
            epochs: recipe.epochs,
            from,
            loss: measurement.validation.clean.loss,
        };
        let UnderWay { mut network, fit, rng } = training;
        parents.keep(&trained, &mut network, &fit, &rng).map_err(failed)?;
        Ok((measurement, recipe, edits))
    }

    /// Of a metric of costs that is known without training the least that there is, and the network that has it; for spaces of wide
    /// residual networks.
    pub fn least(&self, metric: &str) -> Option<(String, f64)> {
        let counts = Counts::of(&self.space, self.data.shape, self.recipe.scale).ok().flatten()?;
        counts.least(metric).map(|(smallest, least)| (smallest.to_string(), least))
    }

    /// Where a shorter training is left.
    fn left(&self, choices: &[u8], place: usize) -> Option<PathBuf> {
        let key = self.space.canonical_key(choices);
        let name =
            format!("{key:016x}-epochs{}.safetensors", self.fidelities.amount(Fidelity::Shorter(place)));
        Some(self.folder.as_ref()?.join(name))
    }
}

impl CostlyOracle for TrainingOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        let mut said = serde_json::json!({
            "data": self.data.name, "sha256": self.data.sha256(), "recipe": self.recipe,
            "questions": self.questions, "seed": self.seed,
        });
        if let Some(epochs) = self.heirs {
            // Values are of what was trained before, too, and of no use to who trains alone.
            said["inherits"] = epochs.into();
        }
        (format!("train:{}", self.data.name), said.to_string())
    }

    fn describe(&self) -> Option<Arc<dyn Describe>> {
        let proxies = Proxies::new(self.space.clone(), &self.data, self.recipe.scale, self.seed).ok()?;
        Some(Arc::new(proxies))
    }

    fn metric_names(&self) -> Vec<String> {
        let robust = self.questions.robustness.iter().flat_map(|asked| asked.names());
        let robust: BTreeMap<String, f64> = robust.map(|name| (name, 0.0)).collect();
        let scores = || SplitScores {
            robust: robust.clone(),
            corrupted: vec![Default::default(); self.questions.corruptions.len()],
            attacked: vec![Default::default(); self.questions.attacks.len()],
            ..SplitScores::default()
        };
        let empty = Measurement { validation: scores(), test: scores() };
        let costs = Times::default().costs().into_keys();
        let shares =
            Teacher::of(&self.space).map(|_| Measure::ALL.map(|measure| measure.metric_of_teacher().into()));
        let heirs = self.heirs.map(|_| [INHERITED_EDITS, INHERITED_EPOCHS].map(String::from));
        let all = empty.scores(&self.questions).into_keys().chain(costs);
        all.chain(shares.into_iter().flatten()).chain(heirs.into_iter().flatten()).collect()
    }

    fn fidelities(&self) -> &Fidelities {
        &self.fidelities
    }

    fn resumes(&self) -> bool {
        self.folder.is_some()
    }

    fn kept(&self, training: &Training) {
        for place in self.fidelities.before(training.fidelity) {
            if let Some(path) = self.left(&training.choices, place) {
                // Most are not there.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let failed = |error: TrainingError| match error {
            TrainingError::Stopped => Err(CostlyError::Stopped),
            diverged @ (TrainingError::Diverged { .. } | TrainingError::NoNumber { .. }) => {
                Ok(Answer::Infeasible(diverged.to_string()))
            }
            other => Err(CostlyError::Failed(other.to_string())),
        };
        let (data, choices) = (&self.data, &training.choices);
        let shares = match of_teacher(&self.space, choices, data.shape, self.recipe.scale) {
            Ok(shares) => shares,
            Err(reason) => return Ok(Answer::Infeasible(reason)),
        };
        if let (Some(parents), Some(epochs)) = (&self.parents, self.heirs) {
            let (measurement, recipe, edits) = match self.inherited((parents, epochs), choices, stop) {
                Ok(measured) => measured,
                Err(error) => return failed(error),
            };
            let mut metrics = measurement.scores(&self.questions);
            match time(&self.space, choices, data, &recipe) {
                Ok(times) => metrics.extend(times.costs()),
                Err(error) => return failed(error),
            }
            metrics.extend(shares);
            metrics.insert(INHERITED_EDITS.into(), edits as f64);
            metrics.insert(INHERITED_EPOCHS.into(), recipe.epochs as f64);
            return Ok(Answer::Metrics(metrics));
        }
        let epochs = self.fidelities.amount(training.fidelity) as usize;
        let annealed = !training.fidelity.is_full() && !self.recipe.continue_shorter;
        let recipe = &match annealed {
            true => Recipe { epochs, ..self.recipe.clone() },
            false => self.recipe.clone(),
        };
        let earlier = self.fidelities.before(training.fidelity);
        let from = earlier.rev().filter_map(|place| self.left(choices, place)).find(|path| path.exists());
        let to = training.fidelity.place().and_then(|place| self.left(choices, place));
        let part = Part {
            until: (!training.fidelity.is_full()).then_some(epochs),
            from: from.as_deref(),
            to: to.as_deref(),
        };
        let measured =
            measure_part(&self.space, choices, data, recipe, &self.questions, self.seed, part, stop);
        let (measurement, after) = match measured {
            Ok(measured) => measured,
            Err(error) => return failed(error),
        };
        let mut metrics = measurement.scores(&self.questions);
        match time(&self.space, choices, data, recipe) {
            Ok(times) => metrics.extend(times.costs()),
            Err(error) => return failed(error),
        }
        metrics.extend(shares);
        if after > 0 {
            metrics.insert(RESUMED_FROM.into(), after as f64);
        }
        Ok(Answer::Metrics(metrics))
    }
}
