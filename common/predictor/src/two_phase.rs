//! The two-phase rule: which training to pay for where some are shorter. Short trainings come first, half of them uniform and half
//! by the upper bound of their own posterior; then full ones by what the short ones say ([`crate::Joint`]), each after those of
//! middle length. Whoever may be stopped at any time lets full ones in among the first short ones ([`TwoPhase::interleaved`]).

use srnas_task::Fidelity;

/// Of the budget, the first short trainings take so much at most.
const SHORT_SHARE: f64 = 0.6;

/// The rule with its numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwoPhase {
    first: usize,
    /// Short trainings before each full one among the first; none where these come in one block.
    pace: Option<usize>,
}

/// What is to be paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The shortest training of a random architecture.
    Random,
    /// The shortest training of what has the highest upper bound of such trainings, [`TwoPhase::BETA`] deviations above the mean.
    Bound,
    /// What full trainings promise most of, see [`TwoPhase::length`].
    Full,
}

impl TwoPhase {
    /// How far above its mean the bound of short trainings lies.
    pub const BETA: f32 = 3.0;
    /// Whoever may be stopped at any time spends so much on short trainings, in full ones, before each full one.
    pub const PACE: f64 = 3.0;

    /// Short trainings of this cost first, with a budget of so many full ones: `most`, and what a part of the budget pays. What costs
    /// much of a full training must say much to be worth it.
    pub fn new(most: usize, cost: f64, budget: usize) -> Self {
        let share = SHORT_SHARE * (1.0 - 2.0 * cost).max(0.1);
        let affordable = share * budget as f64 / cost + 1e-6;
        Self { first: most.min(affordable as usize).max(1), pace: None }
    }

    /// The same with a full training after each so many of the first short ones as cost `spent` full trainings, at this cost of one.
    pub fn interleaved(self, spent: f64, cost: f64) -> Self {
        Self { pace: Some(((spent / cost).round() as usize).max(1)), ..self }
    }

    /// Short trainings before anything else.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Short trainings in a row, of which half are uniform.
    fn block(&self) -> usize {
        self.pace.map_or(self.first, |pace| pace.min(self.first))
    }

    /// What comes after so many short and so many full trainings, those under way counted.
    pub fn turn(&self, short: usize, full: usize) -> Turn {
        match short {
            _ if short >= self.first => Turn::Full,
            _ if self.pace.is_some_and(|pace| short >= pace * full.max(1)) => Turn::Full,
            _ if 2 * (short % self.block()) < self.block() => Turn::Random,
            _ => Turn::Bound,
        }
    }

    /// How long what full trainings promise most of is trained next: those of middle length first, the shorter before the longer, as far as
    /// they are open to it.
    pub fn length(shorter: usize, is_open: impl Fn(usize) -> bool) -> Fidelity {
        (1..shorter).find(|&place| is_open(place)).map_or(Fidelity::Full, Fidelity::Shorter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_first_are_random_then_bounds_then_full_ones_after_those_of_middle_length() {
        let turns = |rule: TwoPhase, n: usize| (0..n).map(|short| rule.turn(short, 1)).collect::<Vec<_>>();
        let rule = TwoPhase::new(5, 0.06, 25);
        use Turn::{Bound, Full, Random};
        assert_eq!(turns(rule, 7), [Random, Random, Random, Bound, Bound, Full, Full]);
        // What is dear is seldom paid for, but once.
        assert_eq!(TwoPhase::new(100, 0.5, 1).first(), 1);
        assert_eq!(turns(TwoPhase::new(100, 0.9, 1), 2), [Random, Full]);
        assert_eq!(TwoPhase::new(100, 0.06, 25).first(), 100);
        assert_eq!(TwoPhase::new(100, 0.3, 25).first(), 20);
        assert_eq!(TwoPhase::length(3, |place| place == 2), Fidelity::Shorter(2));
        assert_eq!(TwoPhase::length(3, |_| true), Fidelity::Shorter(1));
        // Full ones in between, for whoever may be stopped, the start counted.
        let rule = TwoPhase::new(9, 0.5, 100).interleaved(2.0, 0.5);
        assert_eq!(turns(rule, 4), [Random, Random, Bound, Bound]);
        let counts = [(3, 0), (4, 0), (4, 1), (4, 2), (7, 2), (8, 2), (8, 3), (9, 9)];
        let turn = |(short, full)| rule.turn(short, full);
        assert_eq!(counts.map(turn), [Bound, Full, Full, Random, Bound, Full, Random, Full]);
        // The first may be fewer than come in a row, and one training may cost more than is spent on a row.
        let few = TwoPhase::new(2, 0.06, 100).interleaved(3.0, 0.06);
        assert_eq!(turns(few, 3), [Random, Bound, Full]);
        assert_eq!(TwoPhase::new(5, 0.9, 1000).interleaved(0.1, 0.9).turn(1, 1), Full);
        // The shortest is never paid for again.
        assert_eq!(TwoPhase::length(1, |_| true), Fidelity::Full);
        assert_eq!(TwoPhase::length(0, |_| true), Fidelity::Full);
    }
}
