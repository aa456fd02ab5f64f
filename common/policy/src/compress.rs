//! Searching with an agent that compresses (RC-NAS): it draws students, stage after stage, and learns from what each was worth.

use rand::Rng;
use srnas_environment::compress::{Compression, STAGE_FEATURES, WHOLE_FEATURES, choices_of_heads};
use srnas_network::{Agent, AgentConfig, Baseline, Choice, lstm::draw};
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
    /// Share of the baseline that is kept with each reward.
    pub keep: f64,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self { rate: 3e-3, entropy: 1e-4, keep: 0.9 }
    }
}

/// A search by an agent.
#[derive(Clone, Debug)]
pub struct Compressing {
    agent: Agent,
    compression: Arc<Compression>,
    tuning: FineTuning,
    baseline: Baseline,
    lipschitz: f32,
}

impl Compressing {
    /// A search that knows of no student yet.
    pub fn new(agent: Agent, compression: Arc<Compression>, tuning: FineTuning) -> Self {
        let baseline = Baseline::new(tuning.keep);
        Self { agent, compression, tuning, baseline, lipschitz: 0.0 }
    }

    /// What is compressed.
    pub fn compression(&self) -> &Arc<Compression> {
        &self.compression
    }

    /// A student.
    pub fn draw(&self, rng: &mut impl Rng) -> Drawn {
        draw_student(&self.agent, &self.compression, self.lipschitz, rng)
    }

    /// Learns what a student was worth. What was not drawn says only what to expect.
    pub fn learn(&mut self, drawn: Option<&[Decided]>, reward: f32, lipschitz: f32) {
        let advantage = self.baseline.advantage(f64::from(reward)) as f32;
        for (head, decided) in drawn.unwrap_or_default().iter().enumerate() {
            let Decided { seen, allowed, choice, .. } = decided;
            let made = Choice { seen, head, allowed, choice: *choice };
            self.agent.add_gradient(&made, advantage, self.tuning.entropy);
        }
        if drawn.is_some() && advantage != 0.0 {
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
    fn students_keep_the_budget_and_what_is_worth_more_is_drawn_more() {
        let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let teacher = vec![0, 2, 2, 2, 2, 2, 2];
        let compression = Arc::new(Compression::new(&space, &teacher, 0.5, Costs::Published).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let agent = Agent::new(agent_config(&space, 16, 32).unwrap(), &mut rng).unwrap();
        let tuning = FineTuning { rate: 0.01, entropy: 0.0, keep: 0.9 };
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
            search.learn(Some(&decided), deep(&choices), 0.0);
        }
        let after = mean(&search, &mut rng);
        assert!(before < 1.6 && after > 1.9, "{before} {after}");
    }
}
