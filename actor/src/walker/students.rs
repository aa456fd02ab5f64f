//! What teaches an agent that compresses: students of one teacher, drawn one after another.

use super::{Walker, WalkerError};
use crate::segment::{Done, Seen, Segment};
use srnas_environment::Measurement;
use srnas_oracle::compress::{Offer, Teachers};
use srnas_policy::compress::{Decided, Drawn, draw_student};
use srnas_task::Fidelity;
use srnas_wire::Experience;
use std::sync::Arc;

impl Walker {
    /// One episode: the students of a teacher within a budget on a task. Returns the batches that became full. Before the first policy there
    /// is nothing to act with.
    ///
    /// # Errors
    /// [`WalkerError::NothingToSearch`].
    pub(super) fn compress(&mut self, teachers: &Arc<Teachers>) -> Result<Vec<Experience>, WalkerError> {
        let Some(agent) = self.agent.clone() else { return Ok(Vec::new()) };
        let offer = teachers
            .draw(&self.tasks.all, &self.tasks.learned, &mut self.rng)
            .ok_or(WalkerError::NothingToSearch)?;
        let Offer { task, compression, judge, .. } = &offer;
        let mut lipschitz = 0.0;
        let (mut segment, mut best, mut returned) = (Segment::default(), f32::NEG_INFINITY, 0.0);
        let students = teachers.config().students;
        for student in 0..students {
            let Drawn { choices, decided } = draw_student(&agent, compression, lipschitz, &mut self.rng);
            let value = self.measure(*task, &choices).ok_or(WalkerError::NothingToSearch)?;
            let reward = judge.reward(compression, &choices, value);
            for (head, made) in decided.iter().enumerate() {
                let is_last = head + 1 == decided.len();
                self.see(&mut segment, made, head);
                let place = made.allowed[..made.choice].iter().filter(|allowed| **allowed).count();
                segment.act(&Done {
                    action: place as u16,
                    log_probability: made.log,
                    reward: if is_last { reward } else { 0.0 },
                    terminated: is_last && student + 1 == students,
                    truncated: false,
                });
            }
            lipschitz = judge.lipschitz(&choices);
            (best, returned) = (best.max(value), returned + reward);
            self.batch.environment_steps += 1;
        }
        // What comes after the end is not looked at.
        let after = Decided {
            seen: compression.see(compression.teacher(), lipschitz),
            allowed: vec![true],
            choice: 0,
            log: 0.0,
        };
        self.see(&mut segment, &after, 0);
        segment.finish(*task as u16, &mut self.batch);
        let ends = &mut self.batch.episodes;
        ends.tasks.push(*task as u16);
        ends.normalised_regrets.push(offer.normalised_regret(best));
        ends.returns.push(returned);
        let full = self.batch.lengths.len() >= self.config.acting.segments_per_batch;
        Ok(if full { vec![std::mem::take(&mut self.batch)] } else { Vec::new() })
    }

    /// What a student is worth on a task; it goes to the ledger.
    fn measure(&mut self, task: usize, choices: &[u8]) -> Option<f32> {
        let known = self.tasks.all[task].clone();
        let (value, rank) = (known.value(choices)?, known.space().rank(choices));
        let measurement =
            Measurement { rank, key: known.key(choices, rank), value, fidelity: Fidelity::Full };
        self.record(task as u16, measurement, 1.0, choices);
        Some(value)
    }

    /// Candidates are the choices that a head may take, by their places; the context is what it sees, and then which head it is.
    fn see(&self, segment: &mut Segment, made: &Decided, head: usize) {
        let allowed = made.allowed.iter().enumerate().filter(|(_, allowed)| **allowed);
        let candidates: Vec<f32> = allowed.map(|(choice, _)| choice as f32).collect();
        let context: Vec<f32> = made.seen.iter().copied().chain([head as f32]).collect();
        segment.see(&Seen {
            count: candidates.len(),
            candidates: &candidates,
            context: &context,
            identities: &[],
            chosen_value: 0.0,
            best_value: 0.0,
            version: self.policy_version,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_config::Config;
    use srnas_network::{Agent, QNetwork, QNetworkConfig};
    use srnas_oracle::{catalog::Catalog, run_tasks::RunTasks};
    use srnas_policy::{Acts, Caution, Policy, compress::agent_config};
    use srnas_space::SearchSpace;
    use srnas_wire::TERMINATED;

    fn walker() -> Walker {
        let text = "prior = 'none'\n[tasks]\ntrain = ['digits-wrn/val/{pgd20,cw40}@{16,32}']\n\
                    [acting]\nsegments_per_batch = 2\n[compress]\ntrain = true\nstudents = 5\nbudgets = [0.5]\n";
        let config = Config::parse(text, "test").unwrap();
        let tasks = RunTasks::resolve(&config, &Catalog::new(None)).unwrap();
        let mut walker = Walker::new(config, tasks, 4, (0, 4), 7).unwrap();
        let shape = agent_config(walker.tasks.space(), 8, 8).unwrap();
        walker.agent = Some(Arc::new(Agent::new(shape, &mut walker.rng).unwrap()));
        walker
    }

    #[test]
    fn a_policy_without_an_agent_for_the_space_is_refused_and_the_one_before_stays() {
        let mut walker = walker();
        let before = walker.agent.clone();
        let other = agent_config(&SearchSpace::named("wrn-compress-16-2-basic").unwrap(), 8, 8).unwrap();
        let layout = walker.layout;
        let shape = QNetworkConfig::new(layout.candidate_features(), layout.context_features());
        for agent in [None, Some(Agent::new(other, &mut walker.rng).unwrap())] {
            let network = QNetwork::new(shape.clone(), &mut walker.rng).unwrap().frozen().unwrap();
            let policy = Policy {
                version: 2,
                space: walker.tasks.space().name().into(),
                acts: Acts::Trained,
                settings: *walker.environment.settings(),
                environment: walker.config.environment.clone(),
                network,
                caution: Caution::default(),
                learned_prior: None,
                prior: None,
                observed: Vec::new(),
                agent,
                agent_rate: 0.001,
                validation: None,
            };
            let error = walker.adopt(&policy.to_bytes().unwrap()).unwrap_err().to_string();
            assert!(error.contains("no agent that decides on wrn-compress-22-3-basic"), "{error}");
        }
        assert!(Arc::ptr_eq(&walker.agent.unwrap(), &before.unwrap()) && walker.policy_version == 0);
    }

    #[test]
    fn an_episode_is_so_many_students_and_the_same_again() {
        let episodes = |walker: &mut Walker| -> Vec<Experience> {
            (0..8).flat_map(|_| walker.step().unwrap()).collect()
        };
        let told = episodes(&mut walker());
        assert_eq!(told, episodes(&mut walker()));
        assert_eq!(told.len(), 4);
        for batch in &told {
            assert_eq!((&batch.lengths[..], batch.environment_steps), (&[15, 15][..], 10));
            assert_eq!(batch.contexts.len(), (2 * 16) * 16);
            for (step, (reward, end)) in batch.rewards.iter().zip(&batch.ends).enumerate() {
                assert_eq!(*reward > 0.0, step % 3 == 2);
                assert_eq!(*end == TERMINATED, step % 15 == 14);
            }
            assert_eq!(batch.episodes.normalised_regrets.len(), 2);
            assert!(batch.log_probabilities.iter().all(|log| *log <= 0.0));
        }
        let measured: Vec<(u16, u64)> = told
            .iter()
            .flat_map(|batch| {
                batch.measurements.tasks.iter().copied().zip(batch.measurements.keys.iter().copied())
            })
            .collect();
        let distinct: std::collections::HashSet<_> = measured.iter().collect();
        assert!(measured.len() == distinct.len() && measured.len() > 20, "{}", measured.len());
    }
}
