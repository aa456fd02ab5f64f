//! Searching with an agent that compresses (RC-NAS): it draws students, stage after stage, and learns from what each was worth.

use rand::Rng;
use srnas_environment::compress::{Compression, STAGE_FEATURES, WHOLE_FEATURES, choices_of_heads};
use srnas_network::{Agent, AgentConfig, Choice, lstm::draw};
use srnas_space::SearchSpace;
use std::sync::Arc;

/// The shape of an agent for a space; none where that has no stages.
pub fn agent_config(space: &SearchSpace, lstm: usize, hidden: usize) -> Option<AgentConfig> {
    let heads = choices_of_heads(space.whole().map_or(space, |whole| whole))?;
    Some(AgentConfig { stage: STAGE_FEATURES, whole: WHOLE_FEATURES, lstm, hidden, heads })
}

/// What a head saw and chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// See [`Choice::seen`].
    pub seen: Vec<f32>,
    /// See [`Choice::allowed`].
    pub allowed: Vec<bool>,
    /// See [`Choice::choice`].
    pub choice: usize,
    /// Logarithm of its probability.
    pub log: f32,
}

/// A student, and how each head came to its part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The student.
    pub choices: Vec<u8>,
    /// One for each head.
    pub decided: Vec<Decided>,
}

/// Draws what the teacher becomes: each head sees what those before it have decided, and draws among what is allowed. `lipschitz` is the
/// logarithm of the last student's term over the teacher's.
pub fn draw_student(agent: &Agent, compression: &Compression, lipschitz: f32, rng: &mut impl Rng) -> Drawn {
    let (mut choices, mut decided) =
        (compression.teacher().to_vec(), Vec::with_capacity(compression.heads()));
    for head in 0..compression.heads() {
        let (seen, allowed) = (compression.see(&choices, lipschitz), compression.allowed(&choices, head));
        let logs = agent.logs(&seen, head, &allowed);
        let choice = draw(&logs, rng);
        compression.decide(&mut choices, head, choice);
        decided.push(Decided { seen, allowed, choice, log: logs[choice] });
    }
    Drawn { choices, decided }
}

/// How an agent learns during a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// Learning rate of Adam.
    pub rate: f32,
    /// Weight of the entropy.
    pub entropy: f32,
    /// Students from which it learns at a time, at least two: each is measured by the others.
    pub batch: usize,
}

/// How far each reward is above the mean of the others, in spreads of all; nought where all are equal, or there is one alone.
pub fn advantages(rewards: &[f32]) -> Vec<f32> {
    let (n, total) = (rewards.len() as f32, rewards.iter().sum::<f32>());
    let spread = (rewards.iter().map(|reward| (reward - total / n).powi(2)).sum::<f32>() / n).sqrt();
    let others = |reward: f32| (total - reward) / (n - 1.0);
    let of = |&reward: &f32| if spread > 1e-6 { (reward - others(reward)) / spread } else { 0.0 };
    rewards.iter().map(of).collect()
}

impl FineTuning {
    /// Learning rate of an agent that begins from scratch.
    pub const SCRATCH: f32 = 0.03;
}

/// Whether an agent decides on this space.
pub fn decides_on(agent: &Agent, space: &SearchSpace) -> bool {
    let of = agent.config();
    agent_config(space, of.lstm, of.hidden).as_ref() == Some(of)
}

impl Default for FineTuning {
    fn default() -> Self {
        Self { rate: 1e-3, entropy: 1e-3, batch: 5 }
    }
}

/// A search by an agent.
#[derive(Clone, Debug)]
pub struct Compressing {
    agent: Agent,
    compression: Arc<Compression>,
    tuning: FineTuning,
    told: Vec<(Vec<Decided>, f32)>,
    lipschitz: f32,
}

impl Compressing {
    /// A search that knows of no student yet.
    pub fn new(agent: Agent, compression: Arc<Compression>, tuning: FineTuning) -> Self {
        Self { agent, compression, tuning, told: Vec::new(), lipschitz: 0.0 }
    }

    /// What is compressed.
    pub fn compression(&self) -> &Arc<Compression> {
        &self.compression
    }

    /// A student.
    pub fn draw(&self, rng: &mut impl Rng) -> Drawn {
        draw_student(&self.agent, &self.compression, self.lipschitz, rng)
    }

    /// Takes in what a student was worth, and learns once there are enough.
    pub fn learn(&mut self, decided: Vec<Decided>, reward: f32, lipschitz: f32) {
        self.told.push((decided, reward));
        if self.told.len() >= self.tuning.batch.max(2) {
            let told = std::mem::take(&mut self.told);
            let rewards: Vec<f32> = told.iter().map(|(_, reward)| *reward).collect();
            let steps = told.iter().map(|(decided, _)| decided.len()).sum::<usize>().max(1) as f32;
            for ((decided, _), advantage) in told.iter().zip(advantages(&rewards)) {
                for (head, Decided { seen, allowed, choice, .. }) in decided.iter().enumerate() {
                    let made = Choice { seen, head, allowed, choice: *choice };
                    self.agent.add_gradient(&made, advantage / steps, self.tuning.entropy / steps);
                }
            }
            self.agent.ascend(self.tuning.rate);
        }
        self.lipschitz = lipschitz;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_environment::compress::Costs;

    #[test]
    fn advantages_are_in_spreads_above_the_others() {
        let of = |scale: f32| advantages(&[1.0, 2.0, 3.0].map(|reward| scale * reward));
        let spread = (2.0f32 / 3.0).sqrt();
        for (own, wanted) in of(1.0).iter().zip([-1.5, 0.0, 1.5]) {
            assert!((own - wanted / spread).abs() < 1e-5);
        }
        assert!(of(1.0).iter().zip(of(50.0)).all(|(a, b)| (a - b).abs() < 1e-4), "whatever the unit");
        assert_eq!(
            (advantages(&[2.0, 2.0]), advantages(&[7.0]), advantages(&[])),
            (vec![0.0; 2], vec![0.0], vec![])
        );
    }

    #[test]
    fn students_keep_the_budget_and_what_is_worth_more_is_drawn_more() {
        let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let teacher = vec![0, 2, 2, 2, 2, 2, 2];
        let compression = Arc::new(Compression::new(&space, &teacher, 0.5, Costs::Published).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let agent = Agent::new(agent_config(&space, 16, 32).unwrap(), &mut rng).unwrap();
        let tuning = FineTuning { rate: 0.02, entropy: 0.0, batch: 5 };
        let mut search = Compressing::new(agent, compression.clone(), tuning);
        // Worth as much as the first stage is deep.
        let deep = |choices: &[u8]| f32::from(choices[1]);
        let mean = |search: &Compressing, rng: &mut ChaCha8Rng| {
            (0..200).map(|_| deep(&search.draw(rng).choices)).sum::<f32>() / 200.0
        };
        let before = mean(&search, &mut rng);
        for _ in 0..200 {
            let Drawn { choices, decided } = search.draw(&mut rng);
            assert!(compression.share(&choices) <= 0.5 + 1e-6);
            let log: f32 = decided.iter().map(|decided| decided.log).sum();
            assert!(log <= 0.0 && log.is_finite());
            search.learn(decided, deep(&choices), 0.0);
        }
        let after = mean(&search, &mut rng);
        assert!(before < 1.6 && after > 1.9, "{before} {after}");
    }
}
