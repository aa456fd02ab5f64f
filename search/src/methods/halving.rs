//! Bandits over shorter trainings: many short ones, and the best go on.
//!
//! *Successive halving* (arXiv 1502.07943), *Hyperband* (arXiv 1603.06560), *ASHA* (arXiv 1810.05934) and *BOHB* (arXiv 1807.01774).
//! Published with trainings η = 3 times as long at each level; a table has the levels it has, so here a level keeps as many as
//! cost what the level below cost: of n trainings n·c/c′, where one costs c and one of the next level c′. With costs η apart that
//! is the published share 1/η.
//!
//! With several trainings under way ASHA never waits; the others are synchronous, and wait at the end of a level until all of it
//! has ended.

use super::{Begin, MethodSpec, Preparation, SpecError, Starter, density::Densities, random::unmeasured};
use crate::method::{Method, MethodError, Training};
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;
use std::collections::VecDeque;

/// What decides who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bandit {
    SuccessiveHalving,
    Hyperband,
    Asha,
    Bohb,
}

pub fn prepare(spec: &MethodSpec, p: &Preparation, bandit: Bandit) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    // BOHB's published settings.
    let random = if bandit == Bandit::Bohb { options.number("random", 1.0 / 3.0, 0.0)? } else { 1.0 };
    options.end()?;
    if p.shorter == 0 {
        return Err(spec.unfit(super::NO_SHORTER));
    }
    Ok(Box::new(move |begin| Ok(Box::new(Halving::new(begin, bandit, random)))))
}

struct Halving {
    begin: Begin,
    rng: ChaCha8Rng,
    bandit: Bandit,
    /// Share of the architectures that are drawn at random where a model could draw them.
    random: f64,
    /// Cost at each level, the full training last.
    costs: Vec<f64>,
    /// By level: what was trained so long, with its value and whether it went on.
    levels: Vec<Vec<Trained>>,
    drawn: HashSet<u64>,
    bracket: Bracket,
    /// What was asked for and not told yet, with its level.
    asked: Vec<(Vec<u8>, usize)>,
}

struct Trained {
    choices: Vec<u8>,
    value: f32,
    went_on: bool,
}

/// One round of successive halving.
#[derive(Default)]
struct Bracket {
    /// Rounds begun; Hyperband begins each at another level.
    number: usize,
    level: usize,
    waiting: VecDeque<Vec<u8>>,
    done: Vec<(Vec<u8>, f32)>,
}

impl Halving {
    fn new(begin: &Begin, bandit: Bandit, random: f64) -> Self {
        let costs: Vec<f64> = begin.shorter.iter().copied().chain([1.0]).collect();
        Self {
            rng: begin.rng(),
            levels: costs.iter().map(|_| Vec::new()).collect(),
            bracket: Bracket::default(),
            drawn: HashSet::from([begin.key(&begin.start)]),
            begin: begin.clone(),
            bandit,
            random,
            costs,
            asked: Vec::new(),
        }
    }

    fn full(&self) -> usize {
        self.costs.len() - 1
    }

    /// A new architecture: random, or, where BOHB's model knows enough, from where the good ones are dense.
    fn draw(&mut self) -> Option<Vec<u8>> {
        let model = match self.rng.random_bool(self.random.min(1.0)) {
            true => None,
            // The longest trainings of which there are enough.
            false => self.levels.iter().rev().find_map(|level| {
                let known: Vec<(&[u8], f32)> = level.iter().map(|t| (&t.choices[..], t.value)).collect();
                Densities::new(&self.begin.space, &known)
            }),
        };
        let choices = match model {
            Some(model) => {
                let (begin, drawn) = (&self.begin, &self.drawn);
                model.draw(&mut self.rng, |c| begin.space.is_valid(c) && !drawn.contains(&begin.key(c)))
            }
            None => None,
        };
        let choices = choices.or_else(|| unmeasured(&self.begin, &self.drawn, &mut self.rng))?;
        self.drawn.insert(self.begin.key(&choices));
        Some(choices)
    }

    /// How many of `n` go on from a level.
    fn share(&self, level: usize, n: usize) -> usize {
        (n as f64 * self.costs[level] / self.costs[level + 1] + 1e-9).floor() as usize
    }

    /// The next training of the bracket that is going on, or of a new one; none while the end of a level is waited for.
    fn of_bracket(&mut self) -> Option<(Vec<u8>, usize)> {
        if self.bracket.waiting.is_empty() && !self.asked.is_empty() {
            return None;
        }
        if self.bracket.waiting.is_empty()
            && !self.bracket.done.is_empty()
            && self.bracket.level < self.full()
        {
            let mut done = std::mem::take(&mut self.bracket.done);
            done.sort_by(|a, b| b.1.total_cmp(&a.1));
            // One at least: a bracket ends with a full training.
            done.truncate(self.share(self.bracket.level, done.len()).max(1));
            self.bracket.waiting = done.into_iter().map(|(choices, _)| choices).collect();
            self.bracket.level += 1;
        }
        if self.bracket.waiting.is_empty() {
            let (number, levels) = (self.bracket.number, self.costs.len());
            let first = if self.bandit == Bandit::SuccessiveHalving { 0 } else { number % levels };
            // As many as lead to one full training, and as many of those as Hyperband's budget for each bracket.
            let full = (levels as f64 / (levels - first) as f64).ceil();
            let n = match self.bandit {
                Bandit::SuccessiveHalving => (1.0 / self.costs[0]).ceil(),
                _ => (full / self.costs[first]).ceil(),
            };
            self.bracket = Bracket { number: number + 1, level: first, ..Bracket::default() };
            for _ in 0..n as usize {
                let Some(choices) = self.draw() else { break };
                self.bracket.waiting.push_back(choices);
            }
        }
        let choices = self.bracket.waiting.pop_front()?;
        Some((choices, self.bracket.level))
    }

    /// ASHA: the best that may go on from the highest level, else a new architecture.
    fn promoted(&mut self) -> Option<(Vec<u8>, usize)> {
        for level in (0..self.full()).rev() {
            let mut order: Vec<usize> = (0..self.levels[level].len()).collect();
            order.sort_by(|&a, &b| self.levels[level][b].value.total_cmp(&self.levels[level][a].value));
            let share = self.share(level, order.len());
            if let Some(&best) = order[..share].iter().find(|&&i| !self.levels[level][i].went_on) {
                self.levels[level][best].went_on = true;
                return Some((self.levels[level][best].choices.clone(), level + 1));
            }
        }
        Some((self.draw()?, 0))
    }

    fn learn(&mut self, choices: &Choices, value: f32, level: usize) {
        self.levels[level].push(Trained { choices: choices.to_vec(), value, went_on: false });
        let asked = self.asked.iter().position(|(asked, at)| (&asked[..], *at) == (choices, level));
        if let Some(place) = asked {
            self.bracket.done.push((self.asked.remove(place).0, value));
        }
    }
}

impl Method for Halving {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        let next = if self.bandit == Bandit::Asha { self.promoted() } else { self.of_bracket() };
        self.asked.extend(next.clone());
        let full = self.full();
        Ok(next.map(|(choices, level)| match level < full {
            true => Training::shorter(choices, level),
            false => Training::full(choices),
        }))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.learn(choices, values[0], self.full());
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        match training.fidelity.place().filter(|&level| level < self.full()) {
            Some(level) => self.learn(&training.choices, value, level),
            None => return Err(MethodError("was told of a training that there is not".into())),
        }
        Ok(())
    }

    fn concurrent(&self) -> bool {
        true
    }
}
