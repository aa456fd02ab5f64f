//! A trained srnas policy as a method among others.

use super::{Method, MethodError, MethodSpec, Preparation, SpecError, Starter};
use crate::method::Training;
use crate::policy::{Acting, policy_environment};
use srnas_environment::Episode;
use srnas_policy::{
    Policy,
    evaluation::{Searcher, choose},
};
use srnas_space::Choices;
use std::{path::Path, sync::Arc};

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<Starter, SpecError> {
    let (file, by) = spec.policy().unwrap_or_default();
    if file.is_empty() {
        return Err(spec.unfit("needs a file: policy:runs/latest"));
    }
    let acting = match by {
        "exported" => Acting::Exported,
        "rule" => Acting::Rule,
        "trained" => Acting::Trained,
        "plain" => Acting::Plain,
        other => {
            let reason = format!("has by={other}, which is not exported, rule, trained or plain");
            return Err(spec.unfit(reason));
        }
    };
    let policy = Policy::load(Path::new(file)).map_err(|e| spec.unfit(format!("cannot be used: {e}")))?;
    let environment = policy_environment(&policy, p.space, p.budget, acting)
        .map_err(|e| spec.unfit(format!("cannot be used: {e}")))?;
    let environment = Arc::new(environment);
    let searcher = acting.searcher(&policy);
    Ok(Box::new(move |begin| {
        let weights = environment.prior().map_or_else(Vec::new, |prior| prior.all());
        // The episode draws the start that all methods of this seed share.
        let episode = Episode::new(environment.clone(), begin.tasks[0].clone(), &weights, begin.start_seed);
        debug_assert_eq!(episode.current(), begin.start);
        Ok(Box::new(Trained { episode, searcher: searcher.clone(), over: false }))
    }))
}

struct Trained {
    episode: Episode,
    searcher: Searcher,
    over: bool,
}

impl Method for Trained {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    /// An episode measures for itself as it steps; the value that is told afterwards is the same.
    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        let mut choices = vec![0; self.episode.current().len()];
        while !self.over && !self.episode.candidates().is_empty() {
            let choice = choose(&self.searcher, &mut self.episode).map_err(|e| MethodError(e.to_string()))?;
            self.episode.choices_of(choice, &mut choices);
            let shorter = self.episode.candidates()[choice].shorter;
            let outcome = self.episode.step(choice);
            self.over = outcome.terminated || outcome.truncated;
            if outcome.measured.is_some() {
                return Ok(Some(Training { choices, shorter }));
            }
        }
        Ok(None)
    }

    fn tell(&mut self, _choices: &Choices, _values: &[f32]) -> Result<(), MethodError> {
        Ok(())
    }
}
