//! What leaves the trainer: broadcasts, checks, and at the end the policy that has earned it.

use super::{AgentLearner, Ending, Trainer, TrainerError, fitting::fitted_settings};
use crate::validation::{Check, Validator};
use srnas_config::ValidationConfig;
use srnas_network::FrozenQNetwork;
use srnas_policy::{Acts, Caution, Policy, ValidationReport};
use srnas_predictor::Prior;
use srnas_task::Task;
use srnas_wire::Snapshot;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Starts of the last check for each of a regular one, and of other seeds: the best of several checks looks better than
/// it is.
const LAST_CHECK: usize = 4;

impl Trainer {
    pub(super) fn policy(
        &self,
        network: FrozenQNetwork,
        acts: Acts,
        validation: Option<ValidationReport>,
    ) -> Result<Policy, TrainerError> {
        Ok(Policy {
            version: self.version,
            space: self.tasks.space().name().into(),
            acts,
            settings: self.settings,
            environment: self.config.environment.clone(),
            network,
            caution: validation.as_ref().map_or_else(Caution::default, caution_of),
            learned_prior: self.learned.clone(),
            prior: None,
            observed: Vec::new(),
            agent: self.agent.as_ref().map(|learner| learner.agent().clone()),
            agent_rate: self.agent.as_ref().map_or(0.0, AgentLearner::rate),
            validation,
        })
    }

    /// Writes a policy that acts as the rule.
    pub(super) fn save_rule(&self, network: FrozenQNetwork, path: &Path) -> Result<Policy, TrainerError> {
        let mut policy = self.policy(network, Acts::Rule, None)?;
        self.tell_prior(&mut policy)?;
        policy.save(path)?;
        Ok(policy)
    }

    /// Puts what the training tasks say into a policy that is to search without their tables.
    fn tell_prior(&self, policy: &mut Policy) -> Result<(), TrainerError> {
        let prior = self.prior()?;
        policy.observed = prior.as_ref().map_or_else(Vec::new, |prior| prior.observed().to_vec());
        policy.prior = prior.filter(|prior| prior.is_tabulated()).map(Arc::unwrap_or_clone);
        Ok(())
    }

    /// The averaged network under a new version, for all actors. Where rollouts follow what improves, it acts with the margin that the
    /// last check found, if it found a gain.
    pub fn broadcast(&mut self) -> Result<Arc<Snapshot>, TrainerError> {
        self.version += 1;
        let acts = match self.config.acting.improve && self.gained.is_none() {
            true => Acts::Rule,
            false => Acts::Trained,
        };
        let mut policy = self.policy(self.update.acting()?, acts, None)?;
        policy.caution = self.gained.unwrap_or(policy.caution);
        let bytes = policy.to_bytes()?;
        Ok(Arc::new(Snapshot::new(self.version, bytes.into())))
    }

    /// The prior as it is now.
    pub(super) fn prior(&self) -> Result<Option<Arc<Prior>>, TrainerError> {
        if let Some(learned) = &self.learned {
            let (space, l) = (self.tasks.space(), learned);
            let prior = Prior::from_network(space, &l.network, l.tasks.clone(), l.families.clone())?;
            return Ok(Some(Arc::new(prior)));
        }
        Ok(self.table.clone())
    }

    pub(super) fn check(
        &self,
        network: FrozenQNetwork,
        cautions: Vec<Caution>,
        starts: usize,
        seed: u64,
    ) -> Result<Check, TrainerError> {
        let (settings, prior, seed) = (self.settings, self.prior()?, self.config.seed ^ seed);
        Ok(Check { network, settings, prior, cautions, starts, seed })
    }

    /// Keeps the weights of the best check so far.
    pub(super) fn judge(&mut self, (check, report): (Check, ValidationReport)) {
        let better = self.best.as_ref().is_none_or(|(_, best)| report.gain > best.gain);
        self.gained = (report.gain > 0.0).then(|| caution_of(&report));
        let [low, high] = report.interval;
        info!(
            gain = %format!("{:+.4} [{low:+.4}, {high:+.4}]", report.gain),
            margin = report.margin,
            until = report.until,
            rule = %regrets(&report.rule),
            trained = %regrets(&report.trained),
            best_so_far = better,
            "validation: trained policy against the rule, normalised regret by paid queries"
        );
        if better {
            self.best = Some((check.network, report));
        }
    }

    /// Writes a policy without a check, because there is no time for one: it acts as the rule.
    pub fn save_unchecked(&self, path: &Path) -> Result<Policy, TrainerError> {
        let network = match &self.best {
            Some((network, _)) => network.clone(),
            None => self.update.acting()?,
        };
        self.save_rule(network, path)
    }

    /// What the agent is worth where it has not been, beside one that has learned nothing.
    fn check_agent(&mut self, stop: &CancellationToken) -> Result<Option<ValidationReport>, TrainerError> {
        let Some(agent) = &mut self.agent else { return Ok(None) };
        if !self.validator.has_tasks() {
            warn!("nothing could be checked: name validation.families");
            return Ok(None);
        }
        info!("searches by the agent and by one that has learned nothing, on tasks that were kept out");
        let v = &self.config.validation;
        let report =
            agent.check(&self.tasks, LAST_CHECK * v.starts, &v.points, self.config.seed ^ 0x1a57, stop)?;
        if let Some(report) = &report {
            let [low, high] = report.interval;
            info!(
                gain = %format!("{:+.4} [{low:+.4}, {high:+.4}]", report.gain),
                from_scratch = %regrets(&report.rule),
                trained = %regrets(&report.trained),
                "validation: the agent against one from scratch, normalised regret by evaluations"
            );
        }
        Ok(report)
    }

    /// `prior = "network"`: the prior of the network as it ended, and the posteriors' numbers fitted to what the run measured.
    /// Where the prior comes from tables this was done before the training.
    fn finish_predictor(&mut self, stop: &CancellationToken) -> Result<(), TrainerError> {
        let Some(predictor) = self.predictor.as_ref().filter(|predictor| predictor.has_learned()) else {
            return Ok(());
        };
        self.learned = Some(predictor.publish(self.version + 1)?);
        if self.config.posterior.fit
            && let Some(prior) = self.prior()?
        {
            let learned = self.tasks.learned.iter();
            let known = learned.filter_map(|&index| self.ledger.measured(index, &self.tasks.all[index]));
            let known: Vec<Arc<Task>> = known.map(Arc::new).collect();
            self.settings = fitted_settings(&self.config, &self.tasks, &known, &prior, self.settings, stop)?;
        }
        Ok(())
    }

    /// The last check, with fresh starts; then the trained part is exported if it wins beyond its interval.
    /// A stop during the check leaves the rule, and the check to a resume.
    pub fn export(mut self, path: &Path, stop: &CancellationToken) -> Result<(Policy, Ending), TrainerError> {
        let (network, caution) = match &self.best {
            Some((network, report)) => (network.clone(), caution_of(report)),
            None => (self.update.acting()?, Caution::by(self.config.validation.margins[0])),
        };
        let (mut acts, mut report) = (Acts::Rule, None);
        // Whatever happens from here on, there is a policy.
        let rule = self.save_rule(network.clone(), path)?;
        self.finish_predictor(stop)?;
        if self.agent.is_some() {
            report = self.check_agent(stop)?;
            if stop.is_cancelled() {
                return Ok((rule, Ending::Stopped));
            }
        } else if self.validator.has_tasks() && self.updates > 0 {
            info!("last check of the best weights, with fresh starts");
            let check = self.check(
                network.clone(),
                vec![caution],
                LAST_CHECK * self.config.validation.starts,
                0x1a57,
            )?;
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let validator = Validator::new(self.tasks.clone(), &self.config, cores).until(stop.clone());
            let Some(found) = validator.check(&check)? else { return Ok((rule, Ending::Stopped)) };
            if found.interval[0] > 0.0 {
                acts = Acts::Trained;
            }
            report = Some(found);
        } else {
            warn!(
                "nothing could be checked, so the rule is exported; name validation.families, or train longer"
            );
        }
        let mut policy = self.policy(network, acts, report)?;
        self.tell_prior(&mut policy)?;
        policy.save(path)?;
        Ok((policy, Ending::Finished))
    }
}

/// How far the network was followed in what a check reports.
fn caution_of(report: &ValidationReport) -> Caution {
    Caution { margin: report.margin, until: report.until }
}

/// All that a check tries: each margin, followed to the end and as far as is asked for.
pub(super) fn cautions(config: &ValidationConfig, horizon: usize) -> Vec<Caution> {
    let until = config.until.iter().copied().filter(|&until| (until as usize) < horizon);
    let untils: Vec<Option<u32>> = std::iter::once(None).chain(until.map(Some)).collect();
    let each = |&margin: &f32| untils.iter().map(move |&until| Caution { margin, until }).collect::<Vec<_>>();
    config.margins.iter().flat_map(each).collect()
}

fn regrets(by_query: &BTreeMap<usize, f64>) -> String {
    by_query.iter().map(|(n, r)| format!("{n}: {r:.4}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::Fitting;
    use srnas_config::Config;
    use srnas_oracle::run_tasks::RunTasks;
    use srnas_space::SearchSpace;
    use srnas_task::Count;

    fn trainer(improve: bool) -> Trainer {
        let space = SearchSpace::named("nb201").unwrap();
        let values: Arc<[f32]> = (0..15_625).map(|rank| rank as f32).collect();
        let task = Arc::new(Task::new("nb201/x/y", "y", space, values, Count::Strings).unwrap());
        let tasks = RunTasks { all: vec![task], learned: vec![0], validation: Vec::new(), teachers: None };
        let text = format!(
            "prior = 'none'\n[network]\nbase_scale = 0.0\n[acting]\nrollouts = 4\nimprove = {improve}\n"
        );
        let config = Config::parse(&text, "test").unwrap();
        // Without a past nothing is fitted.
        let fitting = Fitting { kept: Default::default(), basis: String::new(), say: &|_| {} };
        Trainer::new(config, tasks, &Default::default(), None, &fitting).unwrap()
    }

    #[test]
    fn what_rollouts_follow_is_the_rule_until_a_check_finds_a_gain_and_as_long_as_the_last_one_does() {
        let broadcast = |trainer: &mut Trainer| {
            let policy = Policy::from_bytes(&trainer.broadcast().unwrap().bytes).unwrap();
            (policy.acts, policy.caution.margin)
        };
        let judge = |trainer: &mut Trainer, gain: f64, margin: f32| {
            let network = trainer.update.acting().unwrap();
            let check = trainer.check(network, vec![Caution::by(margin)], 1, 0).unwrap();
            trainer.judge((check, ValidationReport { gain, margin, ..ValidationReport::default() }));
        };
        let mut improving = trainer(true);
        assert_eq!(broadcast(&mut improving), (Acts::Rule, 0.0));
        for (gain, margin, followed) in [
            (-0.1, 0.25, (Acts::Rule, 0.0)),
            (0.2, 0.5, (Acts::Trained, 0.5)),
            (0.0, 0.25, (Acts::Rule, 0.0)),
        ] {
            judge(&mut improving, gain, margin);
            assert_eq!(broadcast(&mut improving), followed, "after a gain of {gain}");
        }
        // What is exported is the best check's still.
        assert_eq!(improving.best.as_ref().map(|(_, report)| report.margin), Some(0.5));
        assert_eq!(broadcast(&mut trainer(false)), (Acts::Trained, 0.0), "in any other run");
    }
}
