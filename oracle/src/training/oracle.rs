//! Training as an oracle.

use srnas_common::space::{Choices, SearchSpace};
use std::sync::{Arc, atomic::AtomicBool};

use super::{
    Recipe, TrainingError,
    data::ImageSet,
    measure::{Measurement, Questions, SplitScores, Times, measure, time},
    model,
};
use crate::costly::{Answer, CostlyError, CostlyOracle};

/// Trains each architecture it is asked for.
#[derive(Debug)]
pub struct TrainingOracle {
    space: Arc<SearchSpace>,
    data: ImageSet,
    recipe: Recipe,
    questions: Questions,
    seed: u64,
}

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
            return Err(format!("architectures of {} cannot be trained; those of nb201 can", space.name()));
        }
        recipe.check(&data)?;
        Ok(Self { space, data, recipe, questions, seed })
    }
}

impl CostlyOracle for TrainingOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        let said = serde_json::json!({
            "data": self.data.name, "sha256": self.data.sha256(), "recipe": self.recipe,
            "questions": self.questions, "seed": self.seed,
        });
        (format!("train:{}", self.data.name), said.to_string())
    }

    fn metric_names(&self) -> Vec<String> {
        let scores = || SplitScores {
            corrupted: vec![Default::default(); self.questions.corruptions.len()],
            attacked: vec![Default::default(); self.questions.attacks.len()],
            ..SplitScores::default()
        };
        let empty = Measurement { validation: scores(), test: scores() };
        empty.scores(&self.questions).into_keys().chain(Times::default().costs().into_keys()).collect()
    }

    fn measure(&self, choices: &Choices, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let failed = |error: TrainingError| match error {
            TrainingError::Stopped => Err(CostlyError::Stopped),
            diverged @ TrainingError::Diverged { .. } => Ok(Answer::Infeasible(diverged.to_string())),
            other => Err(CostlyError::Failed(other.to_string())),
        };
        let (data, recipe) = (&self.data, &self.recipe);
        let measurement = match measure(&self.space, choices, data, recipe, &self.questions, self.seed, stop)
        {
            Ok(measurement) => measurement,
            Err(error) => return failed(error),
        };
        let mut metrics = measurement.scores(&self.questions);
        match time(&self.space, choices, data, recipe) {
            Ok(times) => metrics.extend(times.costs()),
            Err(error) => return failed(error),
        }
        Ok(Answer::Metrics(metrics))
    }
}
