//! Shared weights as an oracle.

use super::{SharedFileError, SharedSettings, SharedWeights};
use crate::{
    costly::{Answer, CostlyError, CostlyOracle},
    training::{Proxies, Recipe, TrainingError, data::ImageSet},
};
use srnas_predictor::Describe;
use srnas_space::SearchSpace;
use srnas_task::Training;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};
use tracing::info;

/// The accuracy on shared weights, in per cent of the validation images.
pub const METRIC_ACCURACY: &str = "shared_weights/accuracy";
const METRIC_LOSS: &str = "shared_weights/loss";
/// So often in the course of their training it is said how far they are.
const TELLS: usize = 10;

/// Says what each architecture is worth on shared weights, which it trains before the first answer.
pub struct SharedOracle {
    space: Arc<SearchSpace>,
    identity: (String, String),
    /// What untrained networks are made of.
    data: Arc<ImageSet>,
    recipe: Recipe,
    path: PathBuf,
    epochs: usize,
    state: Mutex<State>,
}

enum State {
    /// Where the first that asks has them trained.
    Untrained(Option<Box<SharedWeights>>),
    Trained(Arc<SharedWeights>),
}

impl SharedOracle {
    /// Weights that are trained to the end, in the course of the first measurement, from where the file left them if it is there.
    ///
    /// # Errors
    /// Says what cannot be trained, and why a file cannot be gone on with.
    pub fn new(
        space: Arc<SearchSpace>,
        data: ImageSet,
        recipe: Recipe,
        settings: SharedSettings,
        path: PathBuf,
    ) -> Result<Self, String> {
        let (images, epochs, data) = (settings.images, settings.epochs, Arc::new(data));
        let weights = SharedWeights::new(space.clone(), data.clone(), recipe.clone(), settings)?;
        weights.check_file(&path).map_err(|e| e.to_string())?;
        let mut said = weights.identity().clone();
        said["images"] = images.into();
        let identity = (format!("shared weights:{}", data.name), said.to_string());
        let state = Mutex::new(State::Untrained(Some(Box::new(weights))));
        Ok(Self { space, identity, data, recipe, path, epochs, state })
    }

    /// The weights; whoever asks first waits until they are trained, and so does who asks meanwhile.
    ///
    /// # Errors
    /// As [`SharedWeights::train`].
    pub fn weights(&self, stop: &AtomicBool) -> Result<Arc<SharedWeights>, SharedFileError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let weights = match &mut *state {
            State::Trained(weights) => return Ok(weights.clone()),
            State::Untrained(weights) => weights,
        };
        let Some(mut training) = weights.take() else { return Err(TrainingError::Stopped.into()) };
        let (epochs, every) = (self.epochs, self.epochs.div_ceil(TELLS));
        training.train(&self.path, stop, &mut |epoch| {
            if epoch.is_multiple_of(every) {
                info!("shared weights: epoch {epoch} of {epochs}");
            }
        })?;
        info!("shared weights are trained: {}", self.path.display());
        let trained = Arc::new(*training);
        *state = State::Trained(trained.clone());
        Ok(trained)
    }
}

impl CostlyOracle for SharedOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        self.identity.clone()
    }

    fn metric_names(&self) -> Vec<String> {
        [METRIC_ACCURACY, METRIC_LOSS, "cost/multiply_adds", "cost/parameters"].map(String::from).to_vec()
    }

    fn describe(&self) -> Option<Arc<dyn Describe>> {
        let proxies = Proxies::new(self.space.clone(), &self.data, self.recipe.scale, 0).ok()?;
        Some(Arc::new(proxies))
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let weights = self.weights(stop).map_err(|error| match error {
            SharedFileError::Training(TrainingError::Stopped) => CostlyError::Stopped,
            other => CostlyError::Failed(other.to_string()),
        })?;
        let found = weights.ask(&training.choices).map_err(|e| CostlyError::Failed(e.to_string()))?;
        Ok(Answer::Metrics(BTreeMap::from([
            (METRIC_ACCURACY.into(), 100.0 * found.score.accuracy),
            (METRIC_LOSS.into(), found.score.loss),
            ("cost/multiply_adds".into(), found.multiply_adds as f64),
            ("cost/parameters".into(), found.parameters as f64),
        ])))
    }
}
