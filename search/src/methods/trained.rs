//! A trained srnas policy as a method among others.

use super::{Begin, Method, MethodError, MethodSpec, Preparation, SpecError, Starter};
use crate::method::{Fidelity, Training};
use crate::policy::{Acting, policy_environment};
use srnas_environment::{Environment, Walk};
use srnas_policy::{
    Policy,
    evaluation::{Searcher, choose},
};
use srnas_space::Choices;
use srnas_task::Measurable;
use std::{path::Path, sync::Arc};

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<Starter, SpecError> {
    let (file, by) = spec.policy().unwrap_or_default();
    if file.is_empty() {
        return Err(spec.unfit("needs a file: policy:runs/latest"));
    }
    let acting: Acting = by.parse().map_err(|e| spec.unfit(format!("has by={by}: {e}")))?;
    let policy = Policy::load(Path::new(file)).map_err(|e| spec.unfit(format!("cannot be used: {e}")))?;
    let policy = over_these(policy, p);
    let environment = policy_environment(&policy, p.space, p.budget, acting)
        .map_err(|e| spec.unfit(format!("cannot be used: {e}")))?;
    let environment = Arc::new(environment);
    let searcher = acting.searcher(&policy);
    Ok(Box::new(move |begin| Ok(Box::new(Trained::new(environment.clone(), searcher.clone(), begin)))))
}

/// What a policy knows of a benchmark's whole list, where what is searched is a part of that list: what has all its values.
fn over_these(mut policy: Policy, p: &Preparation) -> Policy {
    if let Some(known) = policy.prior.as_ref().filter(|known| known.is_tabulated())
        && policy.space == p.space.name()
        && !known.is_over(p.space)
        && known.is_over(p.table)
    {
        policy.prior = Some(known.within(p.table, p.space));
    }
    policy
}

/// A walk on which a searcher chooses.
pub(crate) struct Trained {
    walk: Walk,
    searcher: Searcher,
    /// Whether what is known has changed since the walk last looked for candidates.
    stale: bool,
}

impl Trained {
    pub fn new(environment: Arc<Environment>, searcher: Searcher, begin: &Begin) -> Self {
        let weights = environment.prior().map_or_else(Vec::new, |prior| prior.all());
        let what = Arc::new(Measurable::everything(begin.count, begin.shorter.iter().copied()));
        // Of the start's seed: the first draw is the start that all methods of this seed share.
        let walk = Walk::new(environment, what, &weights, begin.start_seed);
        Self { walk, searcher, stale: true }
    }
}

impl Method for Trained {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        if std::mem::take(&mut self.stale) {
            self.walk.look();
        }
        let waits = self.walk.waits();
        let mut imagined = waits.then(|| self.walk.imagined());
        let walk = imagined.as_mut().unwrap_or(&mut self.walk);
        if waits {
            walk.look();
        }
        let mut choices = vec![0; walk.current().len()];
        // It may walk over what was measured before it comes to something new.
        while !walk.is_over() && !walk.candidates().is_empty() {
            let choice = choose(&self.searcher, walk).map_err(|e| MethodError(e.to_string()))?;
            let candidate = walk.candidates()[choice];
            if !candidate.measured {
                walk.choices_of(choice, &mut choices);
                return Ok(Some(Training { choices, fidelity: candidate.fidelity }));
            }
            walk.go(choice);
            walk.look();
        }
        Ok(None)
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.walk.told(choices, Fidelity::Full, values[0]);
        self.stale = true;
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        self.walk.told(&training.choices, training.fidelity, value);
        self.stale = true;
        Ok(())
    }

    fn tell_infeasible(&mut self, training: &Training, _worst: Option<&[f32]>) -> Result<(), MethodError> {
        self.walk.infeasible(&training.choices, training.fidelity);
        self.stale = true;
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.walk.begun(training);
    }

    fn concurrent(&self) -> bool {
        true
    }

    fn asks_again(&self) -> bool {
        true
    }
}
