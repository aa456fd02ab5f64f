//! What a search may know of what it searches.

use super::{Count, Fidelity, Values};
use srnas_space::{Choices, SearchSpace};

/// What counts as one architecture, which of them can be measured, and what trainings cost: everything but the values.
#[derive(Clone)]
pub struct Measurable {
    pub(super) count: Count,
    /// Where these have a value there is something to measure; everywhere, where there are none. They are shown to nobody.
    pub(super) full: Option<Values>,
    /// The same of each shorter training, after its cost in full ones.
    pub(super) shorter: Vec<(f64, Option<Values>)>,
}

impl Measurable {
    /// Everything valid, at full length and at each of these costs in full trainings, the cheapest first.
    pub fn everything(count: Count, costs: impl IntoIterator<Item = f64>) -> Self {
        Self { count, full: None, shorter: costs.into_iter().map(|cost| (cost, None)).collect() }
    }

    /// What counts as one architecture.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Number of shorter trainings.
    pub fn shorter(&self) -> usize {
        self.shorter.len()
    }

    /// What a training costs, in full ones.
    ///
    /// # Panics
    /// At a place that there is not.
    pub fn cost(&self, fidelity: Fidelity) -> f64 {
        fidelity.place().map_or(1.0, |place| self.shorter[place].0)
    }

    /// Whether there is a value to be had, by the rank of a valid encoding.
    pub fn has(&self, fidelity: Fidelity, rank: u64) -> bool {
        let values = match fidelity {
            Fidelity::Full => &self.full,
            Fidelity::Shorter(place) => match self.shorter.get(place) {
                Some((_, values)) => values,
                None => return false,
            },
        };
        values.as_ref().is_none_or(|values| values.has(rank))
    }

    /// The key by which an architecture is paid for.
    pub fn key(&self, space: &SearchSpace, choices: &Choices, rank: u64) -> u64 {
        self.count.key(space, choices, rank)
    }
}

impl std::fmt::Debug for Measurable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Measurable({:?}, {} shorter)", self.count, self.shorter.len())
    }
}
