//! What a search says once while it goes on, if it turns out.

use super::Display;
use srnas_oracle::costly::RESUMED_FROM;
use srnas_search::{HOPELESS, Measured, report::Shorter};
use srnas_task::Fidelity;
use std::{collections::HashMap, sync::PoisonError};
use tracing::warn;

/// What is said once, if it turns out.
#[derive(Default)]
pub(super) struct Remarks {
    /// Everything, until both of these are decided.
    pub(super) known: Vec<Measured>,
    /// Whether it is decided if full trainings say what short ones said.
    pub(super) identical: bool,
    /// Whether it was said that a training cannot have gone on after what it says.
    pub(super) not_resumed: bool,
    /// Whether it is decided if short trainings have a value.
    pub(super) hopeless: bool,
    /// Seconds and number of the measurements of this call, by fidelity.
    pub(super) seconds: HashMap<Fidelity, (f64, usize)>,
}

impl Display {
    /// Says once that a program is charged for the whole of what it says it only went on with.
    pub(super) fn not_resumed(&self, said: f64) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut remarks.not_resumed, true) {
            warn!(
                "a training says `{RESUMED_FROM}` {said}, and no shorter training of that length was made of its architecture: it \
                 is counted as a whole one; say what $SRNAS_RESUME_FIDELITY says, or 0"
            );
        }
    }

    /// Says once what looks wrong with the shorter trainings.
    pub(super) fn remark(&self, measured: &Measured, seconds: f64) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        // A training that went on took part of its time before.
        if measured.cost + 1e-6 >= self.fidelities.cost(measured.training.fidelity) {
            let (sum, number) = remarks.seconds.entry(measured.training.fidelity).or_default();
            (*sum, *number) = (*sum + seconds, *number + 1);
        }
        if remarks.identical && remarks.hopeless {
            return;
        }
        remarks.known.push(measured.clone());
        let shorter = Shorter::all(&self.fidelities, self.goal.first(), &remarks.known);
        let agreement = |s: &Shorter| s.agreement.map(|agreement| agreement.identical);
        if let Some(seen) = shorter.iter().find(|s| agreement(s).is_some()).filter(|_| !remarks.identical) {
            remarks.identical = true;
            if agreement(seen) == Some(true) {
                warn!("{}", seen.in_words());
            }
        }
        let Some(first) = shorter.first().filter(|_| !remarks.hopeless) else { return };
        if first.infeasible < first.trained {
            remarks.hopeless = true;
        } else if first.trained >= HOPELESS {
            remarks.hopeless = true;
            let reason = remarks.known.iter().find_map(|m| self.goal.values(&m.answer).err());
            warn!(
                "none of the first {HOPELESS} shorter trainings has a value ({}): from here on, full ones only",
                reason.unwrap_or_default()
            );
        }
    }

    /// What shorter trainings took by the clock, where that is far from what the budget counts.
    pub(super) fn by_the_clock(&self) -> Option<String> {
        let remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = |fidelity| remarks.seconds.get(&fidelity).map(|(sum, number)| sum / *number as f64);
        let full = mean(Fidelity::Full)?;
        let of = |fidelity: Fidelity| {
            let (share, counted) = (mean(fidelity)? / full, self.fidelities.cost(fidelity));
            let far = !(0.5..=2.0).contains(&(share / counted));
            let name = self.fidelities.name(fidelity);
            far.then(|| {
                format!(
                    "By the clock a training of {name} took {:.0} % of a full one's time; the budget counts {:.0} %.",
                    100.0 * share,
                    100.0 * counted
                )
            })
        };
        self.fidelities.all().filter(|fidelity| !fidelity.is_full()).find_map(of)
    }
}
