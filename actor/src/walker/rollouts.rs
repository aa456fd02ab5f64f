//! Policy improvement by rollouts. A walk follows a policy to its end; at some of its states another candidate is taken in the place of
//! the base rule's choice, and the policy is followed from there to the same end with the same random numbers; so it is from the rule's
//! choice. The difference of the two returns is a sample of the *advantage of deviating once*, without a maximum over noisy values and
//! without bootstrapping (rollout algorithms: Bertsekas, Tsitsiklis, Wu 1997; as classification Lagoudakis and Parr 2003). On the wire each
//! is an episode of one step that earns it.
//!
//! The policy that is followed is the rule at first. With `acting.improve` it is, from the first check on that found it better, what was
//! learned: policy iteration, in which each check begins a round.

use super::{Walker, WalkerError};
use crate::segment::{Done, Seen, Segment};
use rand::Rng;
use srnas_environment::{CandidateKind, Episode};
use srnas_network::ObservationBatch;
use srnas_policy::evaluation::{Searcher, choose, observe};
use srnas_wire::Experience;

/// Of so many states one says besides that the rule's own choice has no advantage.
const OWN: u32 = 8;

/// What a step earned, and what it cost in full trainings.
#[derive(Clone, Copy)]
struct Earned {
    reward: f32,
    cost: f32,
}

/// A deviation from the rule, and what it was worth.
struct Deviation {
    /// Index of the state's move in the walk.
    at: usize,
    seen: ObservationBatch,
    by_rule: usize,
    action: usize,
    /// Return from this state on with the deviation; where it is what the walk itself does, the walk knows it in the end.
    returned: Option<f32>,
    /// The same with the rule's choice.
    returned_by_rule: Option<f32>,
}

impl Walker {
    /// One walk by what is followed, with the deviations from the rule that the configuration asks for. Returns the batches that became
    /// full.
    ///
    /// # Errors
    /// [`WalkerError::NothingToSearch`]; the network's, if what is followed does not fit the observations.
    pub(super) fn roll_out(&mut self) -> Result<Vec<Experience>, WalkerError> {
        let (mut episode, task) = self.new_episode()?;
        self.record_start(&episode, task);
        // Doubling what was spent matters alike wherever it begins.
        let furthest = (self.config.environment.horizon as f64).ln();
        let mut at: Vec<f64> =
            (0..self.config.acting.rollouts).map(|_| (furthest * self.rng.random::<f64>()).exp()).collect();
        at.sort_unstable_by(f64::total_cmp);
        let (mut rewards, mut deviations) = (Vec::new(), Vec::with_capacity(at.len()));
        let mut at = at.into_iter().peekable();
        loop {
            let spent = episode.walk().spent();
            if at.peek().is_some_and(|at| *at <= spent) {
                if self.followed.is_none() {
                    // By the rule no other candidates were looked for.
                    episode.walk_mut().look();
                }
                while at.next_if(|at| *at <= spent).is_some() {
                    deviations.extend(self.deviate(&mut episode, task, rewards.len())?);
                }
            }
            let choice = self.choice(&mut episode)?;
            let (earned, is_over) = self.follow(&mut episode, task, choice);
            rewards.push(earned);
            if is_over {
                break;
            }
        }
        let ends = &mut self.batch.episodes;
        ends.tasks.push(task);
        ends.normalised_regrets.push(episode.normalised_regret());
        ends.returns.push(episode.returned());
        let of_walk = self.returns(&rewards);
        let mut full = Vec::new();
        for deviation in &deviations {
            let of = |returned: Option<f32>| returned.unwrap_or(of_walk[deviation.at]);
            let advantage = of(deviation.returned) - of(deviation.returned_by_rule);
            self.tell(task, deviation, deviation.action, advantage);
            if self.rng.random_ratio(1, OWN) {
                self.tell(task, deviation, deviation.by_rule, 0.0);
            }
            if self.batch.lengths.len() >= self.config.acting.segments_per_batch {
                full.push(std::mem::take(&mut self.batch));
            }
        }
        Ok(full)
    }

    /// Where what is followed moves to.
    fn choice(&self, episode: &mut Episode) -> Result<usize, WalkerError> {
        Ok(choose(self.followed.as_ref().unwrap_or(&Searcher::Rule), episode.walk_mut())?)
    }

    /// Takes another candidate than the rule would and follows the walk's policy from there; nothing where there is no other. The walk
    /// has looked at all its candidates.
    fn deviate(
        &mut self,
        episode: &mut Episode,
        task: u16,
        at: usize,
    ) -> Result<Option<Deviation>, WalkerError> {
        let by_rule = episode.walk_mut().rule_choice();
        let by_walk = self.choice(episode)?;
        let Some(action) = self.other(episode, by_rule, by_walk) else { return Ok(None) };
        let mut seen = ObservationBatch::new(self.observations.identities.is_some());
        observe(episode.walk_mut(), &mut seen);
        let mut returned = |choice: usize| match choice == by_walk {
            true => Ok(None),
            false => self.returned_by(episode.clone(), task, choice).map(Some),
        };
        let (returned, returned_by_rule) = (returned(action)?, returned(by_rule)?);
        Ok(Some(Deviation { at, seen, by_rule, action, returned, returned_by_rule }))
    }

    /// A candidate other than the rule's choice: half of the time what the walk does, where that is another.
    fn other(&mut self, episode: &Episode, by_rule: usize, by_walk: usize) -> Option<usize> {
        if by_walk != by_rule && self.rng.random() {
            return Some(by_walk);
        }
        let candidates = episode.walk().candidates();
        let others = |kinds: &[CandidateKind]| -> Vec<usize> {
            let other = |i: &usize| *i != by_rule && !candidates[*i].measured;
            (0..candidates.len()).filter(other).filter(|&i| kinds.contains(&candidates[i].kind)).collect()
        };
        // There are few proposals and many edits: half of the deviations are to the former.
        let mut to = if self.rng.random() { others(&[CandidateKind::Proposal]) } else { Vec::new() };
        if to.is_empty() {
            to = others(&[CandidateKind::Proposal, CandidateKind::Edit, CandidateKind::Random]);
        }
        to.get(self.rng.random_range(0..to.len().max(1))).copied()
    }

    /// Return of a walk that takes a candidate and goes on as all walks do.
    fn returned_by(
        &mut self,
        mut episode: Episode,
        task: u16,
        mut choice: usize,
    ) -> Result<f32, WalkerError> {
        let mut rewards = Vec::new();
        loop {
            let (earned, is_over) = self.follow(&mut episode, task, choice);
            rewards.push(earned);
            if is_over {
                return Ok(self.returns(&rewards)[0]);
            }
            choice = self.choice(&mut episode)?;
        }
    }

    /// One step of a walk, after which it has looked for what is followed; and whether it was the last. What it measures goes to the
    /// ledger.
    fn follow(&mut self, episode: &mut Episode, task: u16, choice: usize) -> (Earned, bool) {
        let mut choices = vec![0; episode.task().space().len()];
        episode.walk().choices_of(choice, &mut choices);
        let candidate = episode.walk().candidates()[choice];
        let outcome = match self.followed {
            Some(_) => episode.step(choice),
            None => episode.step_by_rule(choice),
        };
        self.batch.environment_steps += 1;
        if let Some(measured) = outcome.measured {
            self.record(task, measured, candidate.cost as f32, &choices);
        }
        let cost = if candidate.measured { 1.0 } else { candidate.cost as f32 };
        (Earned { reward: outcome.reward, cost }, outcome.terminated || outcome.truncated)
    }

    /// Sum of the rewards from each step on, discounted by what was paid for them.
    fn returns(&self, earned: &[Earned]) -> Vec<f32> {
        let mut returns: Vec<f32> = earned.iter().map(|earned| earned.reward).collect();
        for i in (1..returns.len()).rev() {
            returns[i - 1] += self.config.learning.gamma.powf(earned[i - 1].cost) * returns[i];
        }
        returns
    }

    /// An episode of one step that earns the advantage of an action.
    fn tell(&mut self, task: u16, deviation: &Deviation, action: usize, advantage: f32) {
        let (features, d) = (self.layout.candidate_features(), self.tasks.space().len());
        let seen = &deviation.seen;
        let mut segment = Segment::default();
        let state = Seen {
            count: seen.rows(0).len(),
            candidates: &seen.candidates,
            context: &seen.contexts,
            identities: seen.identities.as_deref().unwrap_or(&[]),
            chosen_value: 0.0,
            best_value: 0.0,
            version: self.policy_version,
        };
        segment.see(&state);
        segment.act(&Done {
            action: action as u16,
            log_probability: 0.0,
            reward: advantage,
            terminated: true,
            truncated: false,
        });
        // What comes after the end is not looked at.
        let identities = vec![0; if seen.identities.is_some() { d } else { 0 }];
        segment.see(&Seen { count: 1, candidates: &vec![0.0; features], identities: &identities, ..state });
        segment.finish(task, &mut self.batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_config::Config;
    use srnas_environment::synthetic;
    use srnas_network::QNetwork;
    use srnas_oracle::run_tasks::RunTasks;
    use srnas_policy::{Acts, Caution, Policy};
    use srnas_space::SearchSpace;
    use srnas_task::{Count, Task};
    use srnas_wire::TERMINATED;
    use std::sync::Arc;

    /// Over the whole of a space, or with a pool in it and shorter trainings.
    fn walker(pool: usize, shorter: usize) -> Walker {
        let space = SearchSpace::named("nb201").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = synthetic::draw(&space, &[], &mut rng);
        let values: Arc<[f32]> = (0..15_625).map(|rank| drawn.value_of_rank(rank).unwrap()).collect();
        let task = Arc::new(Task::new("nb201/x/y", "y", space, values, Count::Strings).unwrap());
        let task = if shorter > 0 { synthetic::with_shorter(&task, &mut rng) } else { task };
        let tasks = RunTasks { all: vec![task], learned: vec![0], validation: Vec::new(), teachers: None };
        let text = format!(
            "prior = 'none'\n[environment]\nhorizon = 8\npool = {pool}\nmax_edits = 8\nshorter = {shorter}\n\
             [network]\nbase_scale = 0.0\n[acting]\nsynthetic = 0.0\nrollouts = 6\nsegments_per_batch = 1\n"
        );
        Walker::new(Config::parse(&text, "test").unwrap(), tasks, 1, (0, 1), 7).unwrap()
    }

    /// What is followed once something was learned. A network that has learned nothing sees no difference between candidates, so that with
    /// a margin below 0 it takes the first of them.
    fn improved(walker: &Walker) -> Searcher {
        let shape = walker.config.network.shape(walker.tasks.space(), walker.layout);
        let network = QNetwork::new(shape, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        Searcher::Network(network.frozen().unwrap(), Caution::by(-1.0))
    }

    #[test]
    fn who_deviates_to_what_the_walk_does_gains_exactly_nothing() {
        for (pool, shorter, improves) in
            [(16_000, 0, false), (64, 0, false), (64, 20, false), (16_000, 0, true), (64, 20, true)]
        {
            let mut walker = walker(pool, shorter);
            walker.followed = improves.then(|| improved(&walker));
            let (mut episode, task) = walker.new_episode().unwrap();
            let (mut rewards, mut copies, mut deviates) = (Vec::new(), Vec::new(), 0);
            loop {
                copies.push(episode.clone());
                let choice = walker.choice(&mut episode).unwrap();
                deviates += usize::from(choice != episode.walk_mut().rule_choice());
                let (earned, is_over) = walker.follow(&mut episode, task, choice);
                rewards.push(earned);
                if is_over {
                    break;
                }
            }
            assert!(rewards.len() >= 7, "{} moves", rewards.len());
            assert_eq!(deviates > 0, improves, "{deviates} moves are not the rule's");
            let of_walk = walker.returns(&rewards);
            assert!(of_walk[0] > 0.0);
            for (mut copy, of_walk) in copies.into_iter().zip(of_walk) {
                let choice = walker.choice(&mut copy).unwrap();
                assert_eq!(walker.returned_by(copy, task, choice).unwrap(), of_walk);
            }
        }
    }

    #[test]
    fn what_improved_is_followed_and_judged_by_what_the_rules_choice_would_have_led_to() {
        let mut walker = walker(16_000, 0);
        walker.followed = Some(improved(&walker));
        let (mut episode, task) = walker.new_episode().unwrap();
        let by_rule = episode.walk_mut().rule_choice();
        let by_walk = walker.choice(&mut episode).unwrap();
        assert_ne!(by_walk, by_rule);
        let (mut of_walk, mut others) = (0, 0);
        for _ in 0..40 {
            let deviation = walker.deviate(&mut episode, task, 0).unwrap().unwrap();
            assert!(deviation.by_rule == by_rule && deviation.action != by_rule);
            let of_rule = walker.returned_by(episode.clone(), task, by_rule).unwrap();
            assert_eq!(deviation.returned_by_rule, Some(of_rule));
            match deviation.returned {
                None => of_walk += usize::from(deviation.action == by_walk),
                Some(_) => others += usize::from(deviation.action != by_walk),
            }
        }
        assert!(of_walk >= 10 && others >= 10 && of_walk + others == 40, "{of_walk} {others}");
    }

    #[test]
    fn the_learner_says_what_is_followed() {
        let mut walker = walker(64, 0);
        walker.config.acting.improve = true;
        let network = match improved(&walker) {
            Searcher::Network(network, _) => network,
            other => panic!("{other:?}"),
        };
        let policy = |acts, margin| Policy {
            version: 1,
            space: "nb201".into(),
            acts,
            settings: *walker.environment.settings(),
            environment: walker.config.environment.clone(),
            network: network.clone(),
            caution: Caution::by(margin),
            learned_prior: None,
            prior: None,
            observed: Vec::new(),
            agent: None,
            agent_rate: 0.0,
            validation: None,
        };
        let said = [(Acts::Rule, 0.0), (Acts::Trained, 0.25), (Acts::Rule, 0.0)];
        let said = said.map(|(acts, margin)| policy(acts, margin).to_bytes().unwrap());
        for (bytes, margin) in said.iter().zip([None, Some(0.25), None]) {
            walker.adopt(bytes).unwrap();
            let followed = walker.followed.as_ref().map(|followed| match followed {
                Searcher::Network(_, caution) => caution.margin,
                other => panic!("{other:?}"),
            });
            assert_eq!(followed, margin);
        }
        walker.config.acting.improve = false;
        walker.adopt(&said[1]).unwrap();
        assert!(walker.followed.is_none());
    }

    #[test]
    fn a_walk_tells_what_its_deviations_were_worth_and_the_same_again() {
        for (pool, shorter) in [(16_000, 0), (64, 20)] {
            let walks = |walker: &mut Walker| -> Vec<Experience> {
                (0..4).flat_map(|_| walker.step().unwrap()).collect()
            };
            let told = walks(&mut walker(pool, shorter));
            assert_eq!(told, walks(&mut walker(pool, shorter)));
            let steps: Vec<_> = told.iter().flat_map(|batch| batch.rewards.iter().zip(&batch.ends)).collect();
            assert!(steps.len() >= 4 * 6, "{} deviations", steps.len());
            assert!(steps.iter().all(|(advantage, end)| advantage.is_finite() && **end == TERMINATED));
            assert!(steps.iter().any(|(advantage, _)| **advantage < 0.0));
            let lengths: Vec<u16> = told.iter().flat_map(|batch| batch.lengths.iter().copied()).collect();
            assert!(lengths.iter().all(|length| *length == 1) && lengths.len() == steps.len());
            // All that was asked is in the ledger, once.
            let measured: Vec<_> = told
                .iter()
                .flat_map(|batch| batch.measurements.keys.iter().zip(&batch.measurements.fidelities))
                .map(|(key, fidelity)| (*key, fidelity.to_bits()))
                .collect();
            let distinct: std::collections::HashSet<_> = measured.iter().collect();
            assert!(measured.len() == distinct.len() && measured.len() > 40, "{}", measured.len());
        }
    }
}
