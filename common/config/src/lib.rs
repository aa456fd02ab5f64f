//! The configuration of a run: every key has a default, every unknown key is refused by name. [`layers`] puts it
//! together from a file, the environment and flags.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod compress;
pub mod keys;
pub mod layers;
mod operation;
mod sections;
mod simulation;

pub use compress::CompressConfig;
pub use operation::*;
pub use sections::*;
pub use simulation::{Latency, LatencyError, SimulationConfig};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{WrongValue, require};
use srnas_basics::names;
use srnas_environment::EnvironmentConfig;
use srnas_predictor::PosteriorSettings;
use srnas_space::SearchSpace;
use srnas_task::{TaskName, TaskNameError, expand_braces};
use std::{collections::BTreeMap, path::Path};

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Every random draw of the run comes from it.
    pub seed: u64,
    /// Where the transfer posterior's prior comes from.
    pub prior: PriorSource,
    /// How long, and by how many.
    pub run: RunConfig,
    /// What is trained on.
    pub tasks: TasksConfig,
    /// Named lists of tasks; names may be abbreviated with braces.
    pub task_sets: BTreeMap<String, Vec<String>>,
    /// The environment.
    pub environment: EnvironmentConfig,
    /// Numbers of the posteriors: where the fit by evidence starts, or what is used as it is.
    pub posterior: PosteriorConfig,
    /// The Q-network.
    pub network: NetworkConfig,
    /// Q-learning.
    pub learning: LearningConfig,
    /// The predictor network.
    pub predictor: PredictorTraining,
    /// Acting.
    pub acting: ActingConfig,
    /// Checkpoints.
    pub checkpoint: CheckpointConfig,
    /// The wire.
    pub wire: WireConfig,
    /// The check that the trained part has earned its export.
    pub validation: ValidationConfig,
    /// The comparison at the end.
    pub comparison: ComparisonConfig,
    /// What is simulated on top of the oracle.
    pub simulation: SimulationConfig,
    /// An agent that compresses networks, which may be trained in place of the Q-network.
    pub compress: CompressConfig,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path}: {source}; `configs/` in the repository has some to start from"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A layer is not TOML of the right shape, or one of its values makes no sense.
    #[error("{place}: {message}")]
    Parse {
        /// The file, the environment variable or the flag.
        place: String,
        /// What is wrong, with line and column in a file, and the nearest known key.
        message: String,
    },
    /// A value makes no sense.
    #[error(transparent)]
    Value(#[from] WrongValue),
    /// A task set or a task does not exist.
    #[error("`{name}` is neither a task set nor a task{hint}")]
    UnknownTask {
        /// The name.
        name: String,
        /// The nearest task sets.
        hint: String,
    },
    /// A task's name is wrong.
    #[error(transparent)]
    Task(#[from] TaskNameError),
}

impl Config {
    /// Numbers of the posteriors for the kind of prior that there is: what a predictor network says is smooth already, and changes with
    /// every update of it.
    pub fn posterior_settings(&self) -> PosteriorSettings {
        let mut settings = self.posterior.settings;
        if self.prior == PriorSource::Network {
            settings.transfer.smoothing = 0.0;
        }
        settings
    }

    /// What experience is made of: features of a candidate and of a context, most candidates of a step, and most steps of a segment.
    pub fn experience(&self, space: &SearchSpace) -> [usize; 4] {
        match self.compress.train {
            true => [
                CompressConfig::CANDIDATE_FEATURES,
                CompressConfig::CONTEXT_FEATURES,
                CompressConfig::max_candidates(space),
                self.compress.steps(),
            ],
            false => {
                let layout = self.environment.layout();
                let features = [layout.candidate_features(), layout.context_features()];
                [features[0], features[1], self.environment.max_candidates(), self.acting.segment]
            }
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Says which key is unknown or wrong, where, and what is near it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Self::text(path)?, &path.display().to_string())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn text(path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
    }

    /// Reads and checks a text; `place` names it in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, place: &str) -> Result<Self, ConfigError> {
        let config = Self::read(text, place)?;
        config.check()?;
        Ok(config)
    }

    /// Reads a text without checking the values.
    fn read(text: &str, place: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::Parse {
            place: place.into(),
            message: explain_unknown_key(&e.to_string()),
        })
    }

    /// The configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain data")
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the first key that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.run.check()?;
        self.environment.check()?;
        self.posterior.check()?;
        self.network.check()?;
        self.learning.check()?;
        self.predictor.check()?;
        self.acting.check()?;
        let reason = "must be 0 where acting.rollouts is not: what is learned is the advantage over the rule";
        require(self.acting.rollouts == 0 || self.network.base_scale == 0.0, "network.base_scale", reason)?;
        let reason = "needs environment.posteriors: without them there is no rule to deviate from";
        require(self.acting.rollouts == 0 || self.environment.posteriors, "acting.rollouts", reason)?;
        let reason = "goes with acting.rollouts, which follow what improves";
        require(!self.acting.improve || self.acting.rollouts > 0, "acting.improve", reason)?;
        self.checkpoint.check()?;
        self.wire.check()?;
        self.validation.check()?;
        self.comparison.check()?;
        self.compress.check()?;
        if self.compress.train {
            let reason = "must be 0 where compress.train is: its agent acts by itself";
            require(self.acting.rollouts == 0, "acting.rollouts", reason)?;
        }
        Ok(self.simulation.check()?)
    }

    /// The training tasks.
    ///
    /// # Errors
    /// Refuses unknown names, and none at all.
    pub fn train_tasks(&self) -> Result<Vec<TaskName>, ConfigError> {
        let tasks = self.resolve(&self.tasks.train)?;
        if tasks.is_empty() {
            let reason = "names no task; name tasks or task sets to train on".into();
            return Err(WrongValue { key: "tasks.train", reason }.into());
        }
        Ok(tasks)
    }

    /// Names of task sets and of tasks, resolved to tasks: each once, in order.
    ///
    /// # Errors
    /// Refuses what is neither, with the nearest task sets.
    pub fn resolve(&self, names: &[String]) -> Result<Vec<TaskName>, ConfigError> {
        let mut tasks: Vec<TaskName> = Vec::new();
        let mut add = |pattern: &str| -> Result<(), ConfigError> {
            for name in expand_braces(pattern)? {
                let task: TaskName = name.parse()?;
                if !tasks.contains(&task) {
                    tasks.push(task);
                }
            }
            Ok(())
        };
        for name in names {
            if let Some(set) = self.task_sets.get(name) {
                set.iter().try_for_each(|n| add(n))?;
            } else if name.contains('/') {
                add(name)?;
            } else {
                let hint = names::did_you_mean(name, self.task_sets.keys().map(String::as_str));
                return Err(ConfigError::UnknownTask { name: name.clone(), hint });
            }
        }
        Ok(tasks)
    }
}

/// serde says ``unknown field `x`, expected one of `a`, `b` ``: put the nearest of them first.
fn explain_unknown_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(unknown) if message.contains("unknown field") => {
            let known: Vec<&str> = quoted.collect();
            let hint = names::did_you_mean(unknown, known);
            let place = message.lines().next().unwrap_or_default();
            format!("{place}: unknown key `{unknown}`{hint}")
        }
        _ => message.trim_end().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_go_both_ways() {
        let config = Config::default();
        config.check().unwrap();
        assert_eq!(Config::parse(&config.to_toml(), "x").unwrap(), config);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        let error = Config::parse("[environment]\nhorizn = 3\n", "run.toml").unwrap_err().to_string();
        assert!(error.contains("`horizn`") && error.contains("did you mean `horizon`"), "{error}");
        assert!(error.contains("line 2") && error.contains("run.toml"), "{error}");
    }

    #[test]
    fn senseless_values_are_refused_by_key() {
        for (text, key) in [
            ("[learning]\ngamma = 1.5", "learning.gamma"),
            ("[run]\nminutes = nan", "run.minutes"),
            ("[environment]\nhorizon = 0", "environment.horizon"),
            ("[wire]\nlease = 1.0", "wire.lease"),
            ("[wire]\nlease = 1e300", "wire.lease"),
            ("[posterior.settings.transfer]\nnoise = 0.0", "posterior.settings.transfer.noise"),
            ("[posterior.settings.plain]\ncount_share = 2", "posterior.settings.plain.count_share"),
            ("[network]\nheads = 5", "network.heads"),
            ("[learning]\nreplay = 100", "learning.replay"),
            ("[learning]\nbroadcast = 0", "learning.broadcast"),
            ("[predictor]\nevery = 0", "predictor.every"),
            ("[acting]\nprior_dropout = -0.1", "acting.prior_dropout"),
            ("[validation]\nmargins = []", "validation.margins"),
        ] {
            let error = Config::parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{text}: {error}");
        }
    }

    #[test]
    fn task_sets_expand_once_each_and_strangers_are_refused() {
        let config = Config::parse(
            "[task_sets]\nclean = ['nb201/{cifar10,cifar100}/val']\nall = ['nb201/cifar10/val', 'nb201/cifar10/pgd@1']",
            "x",
        )
        .unwrap();
        let names: Vec<String> = config
            .resolve(&["clean".into(), "all".into()])
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["nb201/cifar10/val", "nb201/cifar100/val", "nb201/cifar10/pgd@1"]);
        let error = config.resolve(&["claen".into()]).unwrap_err().to_string();
        assert!(error.contains("did you mean `clean`"), "{error}");
    }

    #[test]
    fn exploration_rates_fall_from_the_first_episode_to_the_floor() {
        let acting = ActingConfig::default();
        assert_eq!(acting.epsilon_of(0, 96), 0.4);
        assert_eq!(acting.epsilon_of(95, 96), 0.02);
        assert!(acting.epsilon_of(0, 1) >= 0.02);
    }
}
