//! How an agent that compresses learns: by the gradient of the logarithms of its probabilities (REINFORCE), each student measured by the
//! others of its episode.

use super::TrainerError;
use crate::validation::gain_over_families;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use srnas_config::CompressConfig;
use srnas_environment::{compress::Compression, shaped_quality};
use srnas_network::{self as network, Agent, Choice, Named};
use srnas_oracle::{compress::Offer, run_tasks::RunTasks};
use srnas_policy::{
    ValidationReport,
    compress::{Compressing, Drawn, FineTuning, advantages, agent_config},
};
use srnas_wire::Experience;
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// Batches that wait at most; then actors do.
const WAITING: usize = 4;
/// Draws of what was measured before, for one that was not.
const DRAWS: usize = 50;

/// What a head saw and did, and what the student earned if it was the last of one.
struct Step {
    seen: Vec<f32>,
    head: usize,
    allowed: Vec<bool>,
    choice: usize,
    reward: f32,
}

/// The agent of a run, and the episodes that it has not learned from.
pub(super) struct AgentLearner {
    agent: Agent,
    config: CompressConfig,
    waiting: VecDeque<Vec<Step>>,
    /// At which it is fine-tuned.
    rate: f32,
}

impl AgentLearner {
    /// An agent for the tasks of a run, drawn by a seed.
    pub fn new(config: &CompressConfig, tasks: &RunTasks, seed: u64) -> Result<Self, TrainerError> {
        let agent = drawn(config, tasks, seed)?;
        Ok(Self { agent, config: config.clone(), waiting: VecDeque::new(), rate: FineTuning::default().rate })
    }

    /// The agent as it is.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The learning rate at which it is fine-tuned: the best of the last check.
    pub fn rate(&self) -> f32 {
        self.rate
    }

    /// Whether more may come in.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING * self.config.batch
    }

    /// Whether there is a batch to learn from.
    pub fn is_ready(&self) -> bool {
        self.waiting.len() >= self.config.batch
    }

    /// Leaves out what waits.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Takes a checked batch in and returns the number of its steps. What names no choice of the agent's is left out.
    pub fn insert(&mut self, experience: &Experience) -> usize {
        let inputs = self.agent.config().inputs();
        let (mut row, mut observation, mut step) = (0, 0, 0);
        for &length in &experience.lengths {
            let mut episode = Vec::with_capacity(length.into());
            for _ in 0..length {
                let count = usize::from(experience.counts[observation]);
                let context = &experience.contexts[observation * (inputs + 1)..][..inputs + 1];
                let seen: Vec<f32> = context[..inputs].iter().map(|value| value.to_f32()).collect();
                let head = context[inputs].to_f32() as usize;
                let size = self.agent.config().heads.get(head).copied().unwrap_or(0);
                let mut allowed = vec![false; size];
                let choices = experience.candidates[row..row + count].iter().map(|c| c.to_f32() as usize);
                let choices: Vec<usize> = choices.filter(|choice| *choice < size).collect();
                choices.iter().for_each(|&choice| allowed[choice] = true);
                let made =
                    choices.get(usize::from(experience.actions[step])).filter(|_| choices.len() == count);
                if let Some(&choice) = made {
                    episode.push(Step { seen, head, allowed, choice, reward: experience.rewards[step] });
                }
                (row, observation, step) = (row + count, observation + 1, step + 1);
            }
            row += usize::from(experience.counts[observation]);
            observation += 1;
            if episode.len() == usize::from(length) {
                self.waiting.push_back(episode);
            }
        }
        experience.steps()
    }

    /// One update from a batch of episodes, when so much of the run is over; the mean reward, and the norm of the gradient.
    pub fn learn(&mut self, share: f64, final_rate: f64) -> (f64, f32) {
        let episodes: Vec<Vec<Step>> =
            self.waiting.drain(..self.config.batch.min(self.waiting.len())).collect();
        let steps: usize = episodes.iter().map(Vec::len).sum();
        let (mut sum, mut students) = (0.0, 0usize);
        for episode in &episodes {
            let heads = self.agent.config().heads.len();
            let earned: Vec<f32> =
                episode.chunks(heads).map(|student| student.iter().map(|s| s.reward).sum()).collect();
            // In spreads: large budgets differ by little, and count as much.
            for (student, advantage) in episode.chunks(heads).zip(advantages(&earned)) {
                let weight = advantage / steps as f32;
                let entropy = self.config.entropy / steps as f32;
                for Step { seen, head, allowed, choice, .. } in student {
                    let made = Choice { seen, head: *head, allowed, choice: *choice };
                    self.agent.add_gradient(&made, weight, entropy);
                }
            }
            (sum, students) = (sum + f64::from(earned.iter().sum::<f32>()), students + earned.len());
        }
        let rate = self.config.learning_rate * (1.0 - share * (1.0 - final_rate));
        (sum / students.max(1) as f64, self.agent.ascend(rate as f32))
    }

    /// Everything that a checkpoint needs.
    pub fn to_tensors(&self) -> network::Result<Named> {
        self.agent.to_tensors()
    }

    /// Goes on from what [`AgentLearner::to_tensors`] gave.
    pub fn restore(&mut self, tensors: &Named) -> network::Result<()> {
        self.agent = Agent::from_tensors(self.agent.config().clone(), tensors)?;
        Ok(())
    }

    /// Searches of the validation tasks, `starts` teachers and budgets of each: by the agent at each rate of the configuration, of which it
    /// keeps the best, and by one that has learned nothing; on the current rayon pool. None where a stop came first.
    pub fn check(
        &mut self,
        tasks: &RunTasks,
        starts: usize,
        points: &[usize],
        seed: u64,
        stop: &CancellationToken,
    ) -> Result<Option<ValidationReport>, TrainerError> {
        let Some(teachers) = tasks.teachers.clone() else { return Ok(None) };
        let points: Vec<usize> = points.iter().copied().filter(|n| *n <= self.config.check).collect();
        let points = if points.is_empty() { vec![self.config.check] } else { points };
        let mut offers = Vec::new();
        for &task in &tasks.validation {
            for start in 0..starts {
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ ((task * starts + start) as u64) << 8);
                offers.extend(teachers.draw(&tasks.all, &[task], &mut rng).map(|offer| (offer, rng)));
            }
        }
        let search = |agent: &Agent, rate: f32| -> Vec<Vec<f32>> {
            let one =
                |(offer, rng): &(Offer, ChaCha8Rng)| self.search(agent, rate, offer, tasks, &mut rng.clone());
            offers.par_iter().take_any_while(|_| !stop.is_cancelled()).map(one).collect()
        };
        let quality = |found: &Vec<f32>| -> f64 {
            points.iter().map(|n| f64::from(shaped_quality(found[n - 1]))).sum::<f64>() / points.len() as f64
        };
        let total = |found: &[Vec<f32>]| found.iter().map(quality).sum::<f64>();
        let scratch = search(&drawn(&self.config, tasks, seed ^ 0x5c)?, FineTuning::SCRATCH);
        let by_rate: Vec<(f32, Vec<Vec<f32>>)> =
            self.config.fine_tuning.iter().map(|&rate| (rate, search(&self.agent, rate))).collect();
        if stop.is_cancelled() {
            return Ok(None);
        }
        let best = by_rate.into_iter().max_by(|(_, a), (_, b)| total(a).total_cmp(&total(b)));
        let Some((rate, found)) = best else { return Ok(None) };
        let families: Vec<&str> = tasks.validation.iter().map(|&i| tasks.all[i].family()).collect();
        let of_task = |task: usize| {
            let all = offers.iter().zip(scratch.iter().zip(&found));
            let own = all.filter(|((offer, _), _)| offer.task == task);
            own.map(|(_, (scratch, found))| quality(found) - quality(scratch)).collect()
        };
        let gains: Vec<Vec<f64>> = tasks.validation.iter().map(|&task| of_task(task)).collect();
        let (gain, interval) = gain_over_families(families.into_iter(), &gains);
        let mean = |all: &[Vec<f32>]| -> BTreeMap<usize, f64> {
            let at = |n: usize| all.iter().map(|regrets| f64::from(regrets[n - 1])).sum::<f64>();
            points.iter().map(|&n| (n, at(n) / all.len().max(1) as f64)).collect()
        };
        let (rule, trained) = (mean(&scratch), mean(&found));
        self.rate = rate;
        let tasks = tasks.validation.iter().map(|&i| tasks.all[i].name().into()).collect();
        Ok(Some(ValidationReport { tasks, starts, margin: 0.0, until: None, rule, trained, gain, interval }))
    }

    /// Normalised regret of the best student after each evaluation.
    fn search(
        &self,
        agent: &Agent,
        rate: f32,
        offer: &Offer,
        tasks: &RunTasks,
        rng: &mut ChaCha8Rng,
    ) -> Vec<f32> {
        let (compression, task) = (offer.compression.clone(), &tasks.all[offer.task]);
        let tuning = FineTuning { rate, ..FineTuning::default() };
        let mut search = Compressing::new(agent.clone(), compression.clone(), tuning);
        let (mut known, mut best, mut regrets) = (HashSet::new(), f32::NEG_INFINITY, Vec::new());
        for _ in 0..self.config.check {
            let drawn = (0..DRAWS).map(|_| search.draw(rng)).find(|drawn| !known.contains(&drawn.choices));
            let (choices, decided) = match drawn {
                Some(Drawn { choices, decided }) => (choices, Some(decided)),
                None => (another(&compression, &known, rng), None),
            };
            let value = task.value(&choices).unwrap_or(f32::NEG_INFINITY);
            if let Some(decided) = decided.filter(|_| value.is_finite()) {
                let reward = offer.judge.reward(&compression, &choices, value);
                search.learn(decided, reward, offer.judge.lipschitz(&choices));
            }
            known.insert(choices);
            best = best.max(value);
            regrets.push(offer.normalised_regret(best));
        }
        regrets
    }
}

/// A random student that was not measured, if one is found soon.
fn another(compression: &Arc<Compression>, known: &HashSet<Vec<u8>>, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut draws = (0..DRAWS).map(|_| compression.random(rng));
    draws.find(|choices| !known.contains(choices)).unwrap_or_else(|| compression.teacher().to_vec())
}

fn drawn(config: &CompressConfig, tasks: &RunTasks, seed: u64) -> Result<Agent, TrainerError> {
    let space = tasks.space();
    let shape = agent_config(space, config.lstm, config.hidden)
        .ok_or_else(|| network::Error::Config(format!("{} has no stages to decide on", space.name())))?;
    Ok(Agent::new(shape, &mut ChaCha8Rng::seed_from_u64(seed))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use srnas_config::Config;
    use srnas_oracle::catalog::Catalog;

    fn tasks() -> (Config, RunTasks) {
        let text = "prior = 'none'\n[tasks]\ntrain = ['digits-wrn/val/{pgd20,cw40}@16']\n[validation]\nfamilies = ['cw']\n\
                    [compress]\ntrain = true\nstudents = 4\nbatch = 2\ncheck = 10\nlearning_rate = 0.01\nentropy = 0.0";
        let text = text.replace("'cw'", "'cw40'");
        let config = Config::parse(&text, "test").unwrap();
        let tasks = RunTasks::resolve(&config, &Catalog::new(None)).unwrap();
        (config, tasks)
    }

    /// Episodes in which a student is worth 1 where the first head took its first choice, and 0 else.
    fn experience(agent: &Agent, rng: &mut ChaCha8Rng) -> Experience {
        let mut e = Experience::default();
        let inputs = agent.config().inputs();
        let seen = vec![0.5; inputs];
        for _ in 0..2 {
            for step in 0..13 {
                let head = step % 3;
                e.counts.push(3);
                e.candidates.extend([0.0, 1.0, 4.0].map(f16::from_f32));
                e.contexts.extend(seen.iter().map(|v| f16::from_f32(*v)));
                e.contexts.push(f16::from_f32(head as f32));
                if step == 12 {
                    break;
                }
                let mut allowed = vec![false; agent.config().heads[head]];
                [0, 1, 4].iter().for_each(|&choice| allowed[choice] = true);
                let choice = srnas_network::lstm::draw(&agent.logs(&seen, head, &allowed), rng);
                let place = [0, 1, 4].iter().position(|c| *c == choice).unwrap();
                e.actions.push(place as u16);
                let first = e.actions[e.actions.len() - 1 - head];
                e.rewards.push(if head == 2 && first == 0 { 1.0 } else { 0.0 });
                e.ends.push(u8::from(step == 11));
            }
            e.lengths.push(12);
        }
        e
    }

    #[test]
    fn it_learns_from_what_comes_in_and_goes_on_from_a_checkpoint() {
        let (config, tasks) = tasks();
        let mut learner = AgentLearner::new(&config.compress, &tasks, 1).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        assert!(!learner.is_ready() && learner.has_room());
        let mut earned = Vec::new();
        for round in 0..120 {
            let batch = experience(learner.agent(), &mut rng);
            assert_eq!(learner.insert(&batch), 24);
            assert!(learner.is_ready());
            let (mean, norm) = learner.learn(f64::from(round) / 120.0, 0.05);
            assert!(norm.is_finite());
            earned.push(mean);
            if round == 60 {
                let saved = learner.to_tensors().unwrap();
                let before = learner.agent().logs(&[0.5; 15], 0, &[true; 18]);
                learner = AgentLearner::new(&config.compress, &tasks, 9).unwrap();
                learner.restore(&saved).unwrap();
                assert_eq!(learner.agent().logs(&[0.5; 15], 0, &[true; 18]), before);
            }
        }
        let mean = |earned: &[f64]| earned.iter().sum::<f64>() / earned.len() as f64;
        let (first, last) = (mean(&earned[..5]), mean(&earned[100..]));
        assert!(first < 0.7 && last > 0.9, "{first} {last}");
    }

    #[test]
    fn foreign_choices_are_left_out() {
        let (config, tasks) = tasks();
        let mut learner = AgentLearner::new(&config.compress, &tasks, 1).unwrap();
        let good = experience(learner.agent(), &mut ChaCha8Rng::seed_from_u64(2));
        let mut bad = good.clone();
        // Another head, and choices that there are not.
        bad.contexts[15] = f16::from_f32(7.0);
        learner.insert(&bad);
        assert_eq!(learner.waiting.len(), 1);
        let mut bad = good;
        for row in (0..bad.candidates.len()).step_by(3) {
            bad.candidates[row] = f16::from_f32(1000.0);
        }
        learner.insert(&bad);
        assert_eq!(learner.waiting.len(), 1);
    }

    #[test]
    fn a_check_searches_what_was_kept_out() {
        let (config, tasks) = tasks();
        let mut learner = AgentLearner::new(&config.compress, &tasks, 1).unwrap();
        let never = CancellationToken::new();
        let check =
            |learner: &mut AgentLearner, stop| learner.check(&tasks, 3, &[5, 10, 50], 7, stop).unwrap();
        let report = check(&mut learner, &never).unwrap();
        assert_eq!((report.tasks.len(), report.starts), (1, 3));
        assert_eq!(report.rule.keys().copied().collect::<Vec<_>>(), [5, 10]);
        assert!(report.trained.values().all(|regret| regret.is_finite() && *regret >= 0.0));
        assert_eq!(report, check(&mut learner, &never).unwrap());
        let now = CancellationToken::new();
        now.cancel();
        assert_eq!(check(&mut learner, &now), None);
    }
}
