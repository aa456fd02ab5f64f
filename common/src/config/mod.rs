//! The configuration of a run: one TOML file, every key with a default, every unknown key refused by name.

mod sections;
mod simulation;

pub use sections::*;
pub use simulation::{Latency, LatencyError, SimulationConfig};

use crate::{
    environment::EnvironmentConfig,
    names,
    task::{TaskName, TaskNameError, expand_braces},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// The wire.
    pub wire: WireConfig,
    /// The check that the trained part has earned its export.
    pub validation: ValidationConfig,
    /// What is simulated on top of the oracle.
    pub simulation: SimulationConfig,
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
    /// It is not TOML of the right shape.
    #[error("{place}: {message}")]
    Parse {
        /// The file.
        place: String,
        /// What is wrong, with line, column and the nearest known key.
        message: String,
    },
    /// A value makes no sense.
    #[error("configuration key `{key}`: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
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
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Says which key is unknown or wrong, where, and what is near it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks a text; `place` names it in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, place: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Parse {
            place: place.into(),
            message: explain_unknown_key(&e.to_string()),
        })?;
        config.check()?;
        Ok(config)
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
        let (e, l, a, n) = (&self.environment, &self.learning, &self.acting, &self.network);
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let s = &self.posterior.settings;
        let v = &self.validation;
        /// Minutes or seconds beyond which a duration is surely a mistake.
        const MANY: f64 = 1e6;
        let checks: [(bool, &'static str, &str); 33] = [
            (positive(self.run.minutes), "run.minutes", "must be above 0"),
            (self.run.steps != Some(0), "run.steps", "must be above 0"),
            (self.run.actors >= 1, "run.actors", "must be at least 1"),
            ((2..=1_000).contains(&e.horizon), "environment.horizon", "must be from 2 to 1000"),
            ((1..=512).contains(&e.max_edits), "environment.max_edits", "must be from 1 to 512"),
            (
                e.betas.len() <= 16 && e.betas.iter().all(|b| b.is_finite()),
                "environment.betas",
                "must be at most 16 finite numbers",
            ),
            (e.rule_beta.is_finite(), "environment.rule_beta", "must be finite"),
            ((16..=65_536).contains(&e.pool), "environment.pool", "must be from 16 to 65536"),
            ((4..=1024).contains(&n.width), "network.width", "must be from 4 to 1024"),
            (n.layers <= 16, "network.layers", "must be at most 16"),
            (
                n.heads >= 1 && n.width.is_multiple_of(n.heads.max(1)),
                "network.heads",
                "must divide network.width",
            ),
            (n.base_scale.is_finite() && n.base_scale >= 0.0, "network.base_scale", "must be 0 or more"),
            ((1..=65_536).contains(&l.batch), "learning.batch", "must be from 1 to 65536"),
            (l.replay >= l.batch, "learning.replay", "must hold at least one batch"),
            (
                l.warm_up >= l.batch && l.warm_up <= l.replay,
                "learning.warm_up",
                "must be from learning.batch to learning.replay",
            ),
            ((0.0..1.0).contains(&l.gamma), "learning.gamma", "must be from 0 to below 1"),
            ((1..=64).contains(&l.n_step), "learning.n_step", "must be from 1 to 64"),
            (positive(l.learning_rate), "learning.learning_rate", "must be above 0"),
            (share(l.final_learning_rate), "learning.final_learning_rate", "must be a share from 0 to 1"),
            (
                l.target_copy >= 1 && l.broadcast >= 1,
                "learning.target_copy, learning.broadcast",
                "must be at least 1",
            ),
            ((1..=64).contains(&l.threads), "learning.threads", "must be from 1 to 64"),
            ((1..=4096).contains(&a.episodes), "acting.episodes", "must be from 1 to 4096"),
            (share(a.epsilon) && share(a.epsilon_floor), "acting.epsilon", "must be a share from 0 to 1"),
            (
                share(a.synthetic) && share(a.made_up_spaces) && share(a.prior_dropout),
                "acting.synthetic, made_up_spaces, prior_dropout",
                "must be shares from 0 to 1",
            ),
            (
                a.segment >= 1
                    && a.segment <= 1024
                    && a.segments_per_batch >= 1
                    && a.segments_per_batch <= 256,
                "acting.segment, acting.segments_per_batch",
                "must be from 1 to 1024 and from 1 to 256",
            ),
            (
                positive(self.wire.heartbeat) && self.wire.lease > 2.0 * self.wire.heartbeat,
                "wire.lease",
                "must be above twice wire.heartbeat",
            ),
            (
                a.epsilon_spread.is_finite() && a.epsilon_spread >= 0.0,
                "acting.epsilon_spread",
                "must be 0 or more",
            ),
            (
                v.minutes <= MANY && self.run.minutes <= MANY && self.wire.lease <= MANY,
                "run.minutes, validation.minutes, wire.lease",
                "must be at most 1000000",
            ),
            (
                [s.transfer.slope, s.transfer.residual, s.transfer.constant]
                    .iter()
                    .all(|x| x.is_finite() && *x >= 0.0),
                "posterior.settings.transfer",
                "must be numbers of 0 or more",
            ),
            (
                v.starts >= 1 && positive(v.minutes),
                "validation.starts, validation.minutes",
                "must be above 0",
            ),
            (
                !v.margins.is_empty() && v.margins.iter().all(|m| m.is_finite() && *m >= 0.0),
                "validation.margins",
                "must be one or more numbers of 0 or more",
            ),
            (self.wire.credits >= 1, "wire.credits", "must be at least 1"),
            (
                positive(f64::from(s.transfer.noise))
                    && positive(f64::from(s.plain.noise))
                    && positive(f64::from(s.plain.count_length))
                    && positive(f64::from(s.plain.hamming_length))
                    && share(f64::from(s.plain.count_share)),
                "posterior.settings",
                "noise and lengths must be above 0, count_share a share",
            ),
        ];
        for (ok, key, reason) in checks {
            if !ok {
                return Err(ConfigError::Value { key, reason: reason.into() });
            }
        }
        self.simulation.check()
    }

    /// The training tasks.
    ///
    /// # Errors
    /// Refuses unknown names, and none at all.
    pub fn train_tasks(&self) -> Result<Vec<TaskName>, ConfigError> {
        let tasks = self.resolve(&self.tasks.train)?;
        if tasks.is_empty() {
            let reason = "names no task; name tasks or task sets to train on".into();
            return Err(ConfigError::Value { key: "tasks.train", reason });
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
            for name in expand_braces(pattern) {
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
            ("[posterior.settings.transfer]\nnoise = 0.0", "posterior.settings"),
        ] {
            let error = Config::parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
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
