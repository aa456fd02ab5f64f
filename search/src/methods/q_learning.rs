//! Tabular Q-learning over the decisions of an architecture, made one after another.
//!
//! * `metaqnn`: Baker et al., "Designing Neural Network Architectures using Reinforcement Learning" (arXiv 1611.02167): the state is all that
//!   was decided, the reward comes at the end, learning rate 0.01, no discount, Q begins at 0.5, and after each training 100 of those so far
//!   are replayed.
//! * `blockqnn`: Zhong et al., "Practical Block-wise Neural Network Architecture Generation" (arXiv 1708.05552): the state is the code that was
//!   chosen last, each step has its share of the reward, 64 are replayed, and what is learned from are early-stopped trainings where there
//!   are shorter ones; as much is spent on full trainings of the best of them.
//!
//! Accuracies as fractions lie between 0 and 1, and so does every metric here: the worst so far is 0 and the best 1. Published ε schedules
//! count architectures; here each value of ε has the same share of the budget.

use super::{
    Begin, Method, MethodError, MethodSpec, Preparation, SpecError, Starter,
    measured::Measured,
    prefixes::{Made, Prefixes, Step},
};
use crate::method::Training;
use hashbrown::{HashMap, HashSet};
use rand::{Rng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;
use std::sync::{Arc, OnceLock};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learner {
    MetaQnn,
    BlockQnn,
}

impl Learner {
    /// For how many architectures (MetaQNN) or batches (BlockQNN) ε is 1, 0.9, 0.8, …, 0.1.
    fn schedule(self) -> [f64; 10] {
        match self {
            Self::MetaQnn => [1500.0, 100.0, 100.0, 100.0, 150.0, 150.0, 150.0, 150.0, 150.0, 150.0],
            Self::BlockQnn => [95.0, 7.0, 7.0, 7.0, 10.0, 10.0, 10.0, 10.0, 10.0, 12.0],
        }
    }

    /// The share of random choices when this share of the budget is spent.
    fn epsilon(self, spent: f64) -> f64 {
        let schedule = self.schedule();
        let mut left = spent * schedule.iter().sum::<f64>();
        for (tenths, length) in (1..=10).rev().zip(schedule) {
            left -= length;
            if left < 0.0 {
                return f64::from(tenths) / 10.0;
            }
        }
        0.1
    }
}

#[derive(Clone, Copy)]
struct Settings {
    learner: Learner,
    rate: f64,
    replay: usize,
    initial: f64,
    /// Share of the cost that full trainings have of what shorter ones said to be good.
    full: f64,
}

pub fn prepare(spec: &MethodSpec, p: &Preparation, learner: Learner) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let blocks = learner == Learner::BlockQnn;
    let mut settings = Settings {
        learner,
        rate: options.number("rate", 0.01, 0.0)?,
        replay: options.whole("replay", if blocks { 64 } else { 100 }, 0)?,
        initial: options.number("initial", 0.5, 0.0)?,
        full: 0.5,
    };
    if blocks {
        settings.full = options.number("full", 0.5, 0.0)?;
    }
    options.end()?;
    let short = blocks && p.shorter > 0;
    let prefixes = OnceLock::new();
    Ok(Box::new(move |begin| {
        let prefixes = prefixes.get_or_init(|| Arc::new(Prefixes::new(&begin.space)));
        Ok(Box::new(QLearning {
            rng: begin.rng(),
            begin: begin.clone(),
            settings,
            cost: if short { begin.shorter[0] } else { 1.0 },
            short,
            table: Table { blocks, rate: settings.rate, initial: settings.initial, values: HashMap::new() },
            prefixes: prefixes.clone(),
            measured: Measured::new(begin),
            memory: Vec::new(),
            remembered: HashSet::new(),
            trained: HashSet::new(),
        }))
    }))
}

/// What a choice is worth in a state.
struct Table {
    /// Whether the state is the last code alone, and each step has its share of the reward.
    blocks: bool,
    rate: f64,
    initial: f64,
    /// f64 [choices] of each state that was learned of.
    values: HashMap<Vec<u8>, Vec<f64>>,
}

impl Table {
    fn state(&self, prefix: &[u8], last: Option<&Made>, step: &Step) -> Vec<u8> {
        let mut state = Vec::new();
        match (self.blocks, last) {
            (false, _) => state.extend_from_slice(prefix),
            (true, None) => {}
            (true, Some(last)) => {
                state.extend((last.step.decision as u16).to_le_bytes());
                state.push(last.choice);
            }
        }
        state.extend((step.decision as u16).to_le_bytes());
        state
    }

    fn of(&self, state: &[u8], choice: usize) -> f64 {
        self.values.get(state).map_or(self.initial, |values| values[choice])
    }

    /// What the best allowed choice is worth.
    fn best(&self, state: &[u8], step: &Step) -> f64 {
        let allowed = step.allowed.iter().enumerate().filter(|(_, allowed)| **allowed);
        allowed.map(|(choice, _)| self.of(state, choice)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// ε-greedy; of equals any.
    fn choose(&self, state: &[u8], step: &Step, epsilon: f64, rng: &mut impl Rng) -> u8 {
        let at_random = rng.random_bool(epsilon);
        let best = self.best(state, step);
        let open = step.allowed.iter().enumerate().filter(|(_, allowed)| **allowed);
        let open = open.filter(|(choice, _)| at_random || self.of(state, *choice) >= best);
        open.map(|(choice, _)| choice).choose(rng).unwrap_or(0) as u8
    }

    /// Learns from an architecture, its last decision first: Q ← (1 − α) Q + α (r + max Q of what follows).
    fn learn(&mut self, prefixes: &Prefixes, choices: &Choices, reward: f64) {
        let (path, made) = prefixes.path(choices);
        let share = if self.blocks { reward / path.len().max(1) as f64 } else { 0.0 };
        let mut ahead = None;
        for (t, step) in path.iter().enumerate().rev() {
            let last = t.checked_sub(1).map(|last| &path[last]);
            let state = self.state(&made[..step.step.decision], last, &step.step);
            let target = ahead.map_or(reward, |ahead: f64| share + ahead);
            let (rate, initial) = (self.rate, self.initial);
            let values =
                self.values.entry(state.clone()).or_insert_with(|| vec![initial; step.step.allowed.len()]);
            let value = &mut values[usize::from(step.choice)];
            *value += rate.min(1.0) * (target - *value);
            ahead = Some(self.best(&state, &step.step));
        }
    }
}

struct QLearning {
    begin: Begin,
    rng: ChaCha8Rng,
    settings: Settings,
    prefixes: Arc<Prefixes>,
    table: Table,
    /// Whether shorter trainings are learned from, and what one costs.
    short: bool,
    cost: f64,
    /// What was asked for of what is learned from.
    measured: Measured,
    /// What was learned from, with its value: the replay memory. Each key once.
    memory: Vec<(Vec<u8>, f32)>,
    remembered: HashSet<u64>,
    /// Keys of what was fully trained, or is being, where shorter trainings are learned from.
    trained: HashSet<u64>,
}

impl QLearning {
    fn learn(&mut self, choices: &Choices, value: f32) {
        if self.remembered.insert(self.begin.key(choices)) {
            self.memory.push((choices.to_vec(), value));
        }
        let values = || self.memory.iter().map(|(_, value)| f64::from(*value));
        let (worst, best) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        // One value, or equal ones, say nothing: they are in the middle.
        let reward =
            |value: f32| if best > worst { (f64::from(value) - worst) / (best - worst) } else { 0.5 };
        self.table.learn(&self.prefixes, choices, reward(value));
        for _ in 0..self.settings.replay {
            let (choices, value) = &self.memory[self.rng.random_range(0..self.memory.len())];
            self.table.learn(&self.prefixes, choices, reward(*value));
        }
    }

    /// What was spent on full trainings of what was chosen, and on what is learned from, with what is under way.
    fn spent(&self) -> (f64, f64) {
        (self.trained.len() as f64, self.cost * self.measured.keys().len() as f64)
    }

    fn draw(&mut self) -> Option<Vec<u8>> {
        let (full, learned) = self.spent();
        let epsilon = self.settings.learner.epsilon((full + learned) / self.begin.budget as f64);
        let (table, prefixes) = (&self.table, &self.prefixes);
        let draw = |rng: &mut ChaCha8Rng| {
            let mut last: Option<Made> = None;
            prefixes.complete(Vec::new(), |prefix, step| {
                let choice = table.choose(&table.state(prefix, last.as_ref(), step), step, epsilon, rng);
                last = Some(Made { step: step.clone(), choice });
                choice
            })
        };
        let drawn = self.measured.draw(&mut self.rng, |rng| (prefixes.valid(rng, draw), ()));
        drawn.map(|(choices, _)| choices)
    }

    /// The best of what shorter trainings said that was not fully trained.
    fn promising(&self) -> Option<&Vec<u8>> {
        let open = self.memory.iter().filter(|(c, _)| !self.trained.contains(&self.begin.key(c)));
        open.rev().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(choices, _)| choices)
    }
}

impl Method for QLearning {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        if !self.short {
            return Ok(self.draw().map(Training::full));
        }
        let (full, shorter) = self.spent();
        if full + 1.0 <= self.settings.full * (full + shorter + 1.0)
            && let Some(best) = self.promising()
        {
            return Ok(Some(Training::full(best.clone())));
        }
        let short = self.draw().map(|choices| Training::shorter(choices, 0));
        // Where everything was trained for a short time, the best of it is left.
        Ok(short.or_else(|| self.promising().cloned().map(Training::full)))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.short {
            self.trained.insert(self.begin.key(choices));
        } else {
            self.measured.add(choices);
            self.learn(choices, values[0]);
        }
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        self.measured.add(&training.choices);
        self.learn(&training.choices, value);
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        if self.short && training.fidelity.is_full() {
            self.trained.insert(self.begin.key(&training.choices));
        } else {
            self.measured.add(&training.choices);
        }
    }

    fn concurrent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_space::{Conditional, Decision, SearchSpace};

    fn space() -> Arc<SearchSpace> {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b"]);
        Arc::new(Conditional::space("made-up", (0..2).map(named).collect(), vec![]).unwrap())
    }

    fn table(blocks: bool, rate: f64) -> Table {
        Table { blocks, rate, initial: 0.5, values: HashMap::new() }
    }

    #[test]
    fn epsilon_falls_by_the_published_shares() {
        let at = |architectures: f64| Learner::MetaQnn.epsilon(architectures / 2700.0);
        for (architectures, epsilon) in [
            (0.0, 1.0),
            (1499.0, 1.0),
            (1501.0, 0.9),
            (1750.0, 0.7),
            (2549.0, 0.2),
            (2551.0, 0.1),
            (9999.0, 0.1),
        ] {
            assert_eq!(at(architectures), epsilon, "{architectures}");
        }
        assert_eq!(Learner::BlockQnn.epsilon(94.5 / 178.0), 1.0);
        assert_eq!(Learner::BlockQnn.epsilon(167.0 / 178.0), 0.1);
    }

    #[test]
    fn what_is_learned_is_bellmans_equation() {
        let prefixes = Prefixes::new(&space());
        let step = |decision| Step { decision, allowed: vec![true, true] };
        let made = |decision, choice| Made { step: step(decision), choice };
        let mut meta = table(false, 0.5);
        meta.learn(&prefixes, &[1, 0], 1.0);
        let (first, second) = (meta.state(&[], None, &step(0)), meta.state(&[1], None, &step(1)));
        // The last first: (0.5 + 1) / 2, and before it (0.5 + 0.75) / 2.
        assert_eq!((meta.of(&second, 0), meta.of(&first, 1), meta.of(&first, 0)), (0.75, 0.625, 0.5));
        // Of what follows the best counts.
        meta.learn(&prefixes, &[1, 1], 0.0);
        assert_eq!((meta.of(&second, 1), meta.of(&first, 1)), (0.25, (0.625 + 0.75) / 2.0));
        // Another beginning is another state, but for BlockQNN only another last code is.
        let mut block = table(true, 0.5);
        block.learn(&prefixes, &[1, 0], 1.0);
        let second = block.state(&[7, 7, 1], Some(&made(0, 1)), &step(1));
        assert_eq!(block.of(&second, 0), 0.75);
        // Half of the reward is the first step's.
        assert_eq!(block.of(&block.state(&[], None, &step(0)), 1), (0.5 + 0.5 + 0.75) / 2.0);
    }

    #[test]
    fn without_chance_the_best_is_chosen_and_equals_in_turn() {
        let (mut table, mut rng) = (table(false, 1.0), ChaCha8Rng::seed_from_u64(1));
        let step = Step { decision: 0, allowed: vec![true, true, false, true] };
        let state = table.state(&[], None, &step);
        table.values.insert(state.clone(), vec![0.1, 0.7, 0.9, 0.7]);
        let drawn = |epsilon, rng: &mut ChaCha8Rng| -> Vec<usize> {
            let mut n = vec![0; 4];
            (0..900).for_each(|_| n[usize::from(table.choose(&state, &step, epsilon, rng))] += 1);
            n
        };
        let greedy = drawn(0.0, &mut rng);
        assert!(greedy[0] == 0 && greedy[2] == 0 && greedy[1].abs_diff(450) < 60, "{greedy:?}");
        let random = drawn(1.0, &mut rng);
        assert!(random[2] == 0 && [0, 1, 3].iter().all(|&c| random[c].abs_diff(300) < 60), "{random:?}");
    }
}
