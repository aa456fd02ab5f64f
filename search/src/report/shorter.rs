//! What the shorter trainings of a search said of the full ones.

use crate::{goal::Objective, live::Measured};
use serde::Serialize;
use srnas_basics::statistics::bootstrap_rank_correlation;
use srnas_task::{Fidelities, Fidelity};
use std::collections::HashMap;

/// So many architectures with both trainings before anything is said of them.
const ENOUGH: usize = 3;

/// One kind of shorter training.
#[derive(Clone, Debug, Serialize)]
pub struct Shorter {
    /// What is spent, such as `epochs`.
    pub unit: String,
    /// How much of it.
    pub amount: f64,
    /// In full trainings, from the beginning.
    pub cost: f64,
    /// How many there were.
    pub trained: usize,
    /// How many had no value.
    pub infeasible: usize,
    /// How well they agreed with the full trainings of the same architectures; none with fewer than three.
    pub agreement: Option<Agreement>,
    /// In words, such as `3 of 27 epochs`.
    #[serde(skip)]
    name: String,
    /// What a full training is in words.
    #[serde(skip)]
    full: String,
    /// Which measurements are the short and the full training of an architecture that had both.
    #[serde(skip)]
    pub(super) pairs: Vec<(usize, usize)>,
}

/// How well short and full trainings agreed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Agreement {
    /// Architectures that had both.
    pub architectures: usize,
    /// Spearman's; none where one of the two said the same of all.
    pub rank_correlation: Option<f64>,
    /// Its 95 % bootstrap interval.
    pub ci95: Option<[f64; 2]>,
    /// Whether each full training said exactly what its short one said.
    pub identical: bool,
}

impl Agreement {
    fn of(pairs: &[(f64, f64)]) -> Self {
        let (short, full): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let (correlation, interval) = bootstrap_rank_correlation(&short, &full);
        let known = !correlation.is_nan() && interval.iter().all(|v| !v.is_nan());
        Self {
            architectures: pairs.len(),
            rank_correlation: known.then_some(correlation),
            ci95: known.then_some(interval),
            identical: pairs.iter().all(|(short, full)| short == full),
        }
    }
}

impl Shorter {
    /// Each kind of shorter training, the cheapest first.
    pub fn all(fidelities: &Fidelities, objective: &Objective, found: &[Measured]) -> Vec<Self> {
        let value = |m: &Measured| {
            let value = objective.value(&m.answer).ok()?;
            Some(if objective.minimise { 0.0 - value } else { value })
        };
        let values: Vec<Option<f64>> = found.iter().map(value).collect();
        let full =
            found.iter().enumerate().filter(|(i, m)| m.training.fidelity.is_full() && values[*i].is_some());
        let full: HashMap<u64, usize> = full.map(|(i, m)| (m.key, i)).collect();
        let level = |place: usize| {
            let short = Fidelity::Shorter(place);
            let of_level = || found.iter().enumerate().filter(move |(_, m)| m.training.fidelity == short);
            let both = of_level().filter_map(|(i, m)| values[i].and(full.get(&m.key)).map(|&f| (i, f)));
            let pairs: Vec<(usize, usize)> = both.collect();
            let said = |&(i, f): &(usize, usize)| Some((values[i]?, values[f]?));
            let found_both: Vec<(f64, f64)> = pairs.iter().filter_map(said).collect();
            Self {
                unit: fidelities.unit().into(),
                amount: fidelities.amount(Fidelity::Shorter(place)),
                cost: fidelities.cost(Fidelity::Shorter(place)),
                trained: of_level().count(),
                infeasible: of_level().filter(|(i, _)| values[*i].is_none()).count(),
                agreement: (pairs.len() >= ENOUGH).then(|| Agreement::of(&found_both)),
                name: fidelities.name(Fidelity::Shorter(place)),
                full: fidelities.name(Fidelity::Full),
                pairs,
            }
        };
        (0..fidelities.shorter()).map(level).collect()
    }

    /// A sentence or two.
    pub fn in_words(&self) -> String {
        let mut text = format!("{} trainings of {}", self.trained, self.name);
        if self.infeasible > 0 {
            text += &format!(" ({} without a value)", self.infeasible);
        }
        match &self.agreement {
            None => text += &format!("; too few of the same architectures had {} to compare.", self.full),
            Some(Agreement { identical: true, architectures, .. }) => {
                text += &format!(
                    "; all {architectures} architectures that also had {} said exactly the same there. Does what trains look at the \
                     fidelity (SRNAS_FIDELITY for a program)? If not, short trainings are full ones under another name.",
                    self.full
                );
            }
            Some(Agreement { architectures, rank_correlation: Some(r), ci95: Some([low, high]), .. }) => {
                text += &format!(
                    "; rank correlation with {} {r:.2} [{low:.2}, {high:.2}] over the {architectures} architectures that had both.",
                    self.full
                );
                if *high < 0.0 {
                    text += " They say the opposite of what full trainings say: is it the same metric, and the same direction?";
                }
            }
            Some(agreement) => {
                text += &format!(
                    "; over the {} architectures that also had {} one of the two said the same of all.",
                    agreement.architectures, self.full
                );
            }
        }
        text
    }
}
