//! Who is ahead while a policy trains: the same few starts on the held-out tasks for every method and every version.

use crate::{
    Comparison, HeldOutError, MethodError, MethodSpec, Plan, PolicySearchError, Problem, ProblemError,
    comparison::Ready,
    policy::{Acting, policy_environment},
};
use srnas_config::{Config, PriorSource};
use srnas_oracle::{
    catalog::Catalog,
    tasks::{onto, resolve_tasks},
};
use srnas_policy::{Policy, evaluation};
use srnas_predictor::Prior;
use srnas_task::Task;
use std::{path::Path, sync::Arc};

/// A policy in training and the methods that it is compared with.
pub struct Rivals {
    comparison: Comparison,
    ready: Vec<Ready>,
    /// What the policy knows of the training tasks, where that comes from tables.
    prior: Option<Prior>,
    budget: usize,
}

impl Rivals {
    /// What the configuration names in `comparison`; `None` where nothing is held out or no baseline is named.
    ///
    /// # Errors
    /// Tasks and methods that are refused.
    pub fn new(config: &Config, catalog: &Catalog) -> Result<Option<Self>, HeldOutError> {
        let names = config.resolve(&config.tasks.held_out)?;
        // What an agent is worth shows when it is fine-tuned, at the end.
        if names.is_empty() || config.comparison.baselines.is_empty() || config.compress.train {
            return Ok(None);
        }
        let problems: Vec<Problem> = names
            .iter()
            .map(|task| Problem::single(catalog, task, None, &[], config.tasks.count))
            .collect::<Result<_, ProblemError>>()?;
        let texts = &config.comparison.baselines;
        let methods: Vec<MethodSpec> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let trained = resolve_tasks(catalog, &config.train_tasks()?, config.tasks.count);
        let trained = onto(problems[0].space(), trained.map_err(ProblemError::from)?);
        let trained: Vec<Arc<Task>> = trained.map_err(ProblemError::from)?;
        let prior = match config.prior {
            PriorSource::Table => {
                Prior::of_tasks(problems[0].space(), &config.posterior.settings.plain, &trained).ok()
            }
            PriorSource::Network | PriorSource::None => None,
        };
        let mut budgets = config.comparison.budgets.clone();
        budgets.sort_unstable();
        let budget = budgets[budgets.len() / 2];
        let starts = (config.comparison.starts, config.seed);
        let plan = Plan::unwritten(&methods, &problems, budget, starts, config.tasks.count);
        let comparison = Comparison::new(plan, methods, problems, trained, Path::new(""))?;
        let ready = comparison.prepare(budget)?;
        Ok(Some(Self { comparison, ready, prior, budget }))
    }

    /// Paid queries of each search.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Number of held-out tasks.
    pub fn tasks(&self) -> usize {
        self.ready.len()
    }

    /// The baselines.
    pub fn baselines(&self) -> &[String] {
        &self.comparison.plan().methods
    }

    /// Normalised regret of a baseline on a task, from each start.
    ///
    /// # Errors
    /// A method that fails.
    pub fn baseline(&self, method: usize, task: usize) -> Result<Vec<f64>, MethodError> {
        let searched = &self.comparison.problems()[task].signals[0];
        let starts = 0..self.comparison.plan().seeds;
        let regret = |start| {
            let trace = self.comparison.one(&self.ready[task], task, method, start, self.budget)?;
            let best = trace
                .iter()
                .filter(|query| query.fidelity.is_full())
                .map(|query| query.values[0])
                .fold(f32::NEG_INFINITY, f32::max);
            Ok(f64::from((searched.best() - best) / (searched.best() - searched.median())))
        };
        starts.map(regret).collect()
    }

    /// Normalised regret of a policy in training on a task, from each start; on the current rayon pool.
    ///
    /// # Errors
    /// A policy that does not fit the space.
    pub fn policy(&self, policy: &mut Policy, task: usize) -> Result<Vec<f64>, PolicySearchError> {
        let searched = &self.comparison.problems()[task].signals[0];
        if policy.prior.is_none() && policy.observed.is_empty() && policy.learned_prior.is_none() {
            policy.prior = self.prior.clone().filter(Prior::is_tabulated);
            policy.observed = self.prior.as_ref().map_or_else(Vec::new, |prior| prior.observed().to_vec());
        }
        let environment = policy_environment(policy, searched.space(), self.budget, Acting::Trained)?;
        let weights = environment.prior().map_or_else(Vec::new, |prior| prior.all());
        let plan = self.comparison.plan();
        let searcher = Acting::Trained.searcher(policy);
        let searches =
            evaluation::search(&Arc::new(environment), searched, &weights, &searcher, plan.seeds, plan.seed)?;
        Ok(searches.iter().map(|s| f64::from(s.regrets[self.budget - 1])).collect())
    }
}
