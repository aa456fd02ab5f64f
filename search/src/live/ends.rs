//! When a search ends although its budget would pay for more.

use super::Measured;
use crate::{
    goal::{Goal, Limit, Values},
    pareto::dominates,
};
use srnas_environment::ROUNDING;
use srnas_oracle::costly::{Answer, searched};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What ends a search before its budget does; nothing where nothing is said. What runs then is waited for.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// So many of its measurements have no value, which is an error; those of earlier calls do not count.
    pub failures: Option<usize>,
    /// So long after the call nothing is begun any more.
    pub time: Option<Duration>,
    /// With `time`, how long after it what runs then is given up; none waits for its end.
    pub grace: Option<Duration>,
    /// A full training keeps all of these, and the limits of the goal.
    pub reached: Vec<Limit>,
    /// So many full trainings, or as many shorter ones as cost the same, were paid for since the best, or the front, was improved.
    pub no_gain: Option<usize>,
    /// Somebody wants nothing more to be begun.
    pub drain: Arc<AtomicBool>,
}

/// Why nothing more is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enough {
    /// The time is over.
    Time(Duration),
    /// What was wanted is reached; the limits in words.
    Reached(String),
    /// Nothing was gained for so many full trainings.
    NoGain(usize),
    /// Somebody asked for it.
    Drained,
}

impl Enough {
    /// Whether the search is meant to go on another time.
    pub fn is_a_pause(&self) -> bool {
        matches!(self, Self::Time(_) | Self::Drained)
    }
}

impl fmt::Display for Enough {
    /// As `the time of 8h is over`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "the time of {} is over", humantime::format_duration(*time)),
            Self::Reached(limits) => write!(f, "{limits} is reached"),
            Self::NoGain(1) => write!(f, "the last full training paid for brought no gain"),
            Self::NoGain(n) => write!(f, "{n} full trainings' cost brought no gain"),
            Self::Drained => write!(f, "it was asked to begin nothing more"),
        }
    }
}

/// What was reached and gained so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    reached: bool,
    /// What no other full training within the limits dominates.
    front: Vec<Vec<f64>>,
    /// What was spent when that changed last.
    gained_at: f64,
}

impl Progress {
    /// Takes a measurement in; `spent` is what was paid with it.
    pub fn add(&mut self, ends: &Ends, goal: &Goal, measured: &Measured, spent: f64) {
        let within = |values: &Values| measured.training.fidelity.is_full() && values.is_within();
        let Some(values) = goal.values(&measured.answer).ok().filter(within) else { return };
        let Answer::Metrics(metrics) = &measured.answer else { return };
        let keeps = |limit: &Limit| searched(metrics, &limit.metric).is_ok_and(|v| limit.slack(v) >= 0.0);
        self.reached |= !ends.reached.is_empty() && ends.reached.iter().all(keeps);
        let new = values.maximised;
        if self.front.iter().any(|known| *known == new || dominates(known, &new)) {
            return;
        }
        self.front.retain(|known| !dominates(&new, known));
        self.front.push(new);
        self.gained_at = spent;
    }
}

impl Ends {
    /// Why nothing more is begun, if so.
    pub(super) fn enough(&self, progress: &Progress, spent: f64, began: Instant) -> Option<Enough> {
        let words =
            |limits: &[Limit]| limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let idle =
            |n: &usize| !progress.front.is_empty() && spent - progress.gained_at + ROUNDING >= *n as f64;
        match () {
            () if self.drain.load(Ordering::Relaxed) => Some(Enough::Drained),
            () if progress.reached => Some(Enough::Reached(words(&self.reached))),
            () if self.no_gain.as_ref().is_some_and(idle) => self.no_gain.map(Enough::NoGain),
            () => self.time.filter(|time| began.elapsed() >= *time).map(Enough::Time),
        }
    }

    /// How long after its beginning a search gives up what runs.
    pub(super) fn gives_up_after(&self) -> Option<Duration> {
        self.time?.checked_add(self.grace?)
    }
}
