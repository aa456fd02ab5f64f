//! What trainings of a search reported as they went, for its page.

use super::{
    CURVES,
    status::{Running, Status},
};
use serde::Serialize;
use srnas_basics::text::number;
use srnas_oracle::curves::{STOPPED_AT, file_name, path, read};
use srnas_search::{
    Goal, Measured,
    report::{ReportedCurve, Row},
};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Training};
use std::{collections::BTreeSet, path::Path};

/// So many of the best have a curve on the page, and so many of the newest, and of those that run.
const SHOWN: usize = 30;
/// A curve of more points is thinned.
const POINTS: usize = 100;

/// A training that runs, and what it reported last.
#[derive(Serialize)]
pub struct Told<'l> {
    #[serde(flatten)]
    running: &'l Running,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
}

/// Where a search keeps what its trainings report, and what it is told by.
pub struct Reports<'l> {
    pub run_dir: &'l Path,
    pub space: &'l SearchSpace,
    pub fidelities: &'l Fidelities,
    pub goal: &'l Goal,
}

impl Reports<'_> {
    /// The curves of the best that ended and of the newest, where they reported anything.
    pub fn ended(&self, rows: &[Row], found: &[Measured]) -> Vec<ReportedCurve> {
        if !self.run_dir.join(CURVES).is_dir() {
            return Vec::new();
        }
        let minimise = self.goal.first().minimise;
        let counting = |row: usize| Some((row, rows[row].counting().filter(|_| rows[row].full)?));
        let mut best: Vec<(usize, f64)> = (0..rows.len()).filter_map(counting).collect();
        best.sort_by(|a, b| if minimise { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) });
        let newest = (0..rows.len()).rev().filter(|row| rows[*row].value().is_some()).take(SHOWN);
        let shown: BTreeSet<usize> = best.into_iter().take(SHOWN).map(|(row, _)| row).chain(newest).collect();
        let curve = |row: usize| ReportedCurve {
            row: Some(row),
            architecture: rows[row].architecture.clone(),
            early: rows[row].metrics.contains_key(STOPPED_AT),
            points: thinned(self.points(&found[row].training)),
        };
        shown.into_iter().map(curve).filter(|curve| !curve.points.is_empty()).collect()
    }

    /// Those of what runs.
    pub fn running(&self, status: &Status) -> Vec<ReportedCurve> {
        let curve = |running: &Running| ReportedCurve {
            row: None,
            architecture: running.architecture.clone(),
            early: false,
            points: thinned(self.points_of(running)),
        };
        status.running.iter().take(SHOWN).map(curve).filter(|curve| !curve.points.is_empty()).collect()
    }

    /// What runs, with what each said last.
    pub fn told<'s>(&self, status: &'s Status) -> Vec<Told<'s>> {
        let last = |running: &Running| {
            let (at, value) = self.points_of(running).last().copied()?;
            Some(format!("{at}: {} {}", self.metric(), number(value)))
        };
        let told =
            |(place, running)| Told { running, said: if place < SHOWN { last(running) } else { None } };
        status.running.iter().enumerate().map(told).collect()
    }

    fn points_of(&self, running: &Running) -> Vec<(f64, f64)> {
        let fidelity = match &running.trained {
            None => Some(Fidelity::Full),
            Some(words) => self.fidelities.all().find(|fidelity| self.fidelities.name(*fidelity) == *words),
        };
        let choices = self.space.parse(&running.architecture).ok();
        let training = choices.zip(fidelity).map(|(choices, fidelity)| Training { choices, fidelity });
        training.map_or_else(Vec::new, |training| self.points(&training))
    }

    /// Of which metric they are: where a product is searched, of its first factor.
    fn metric(&self) -> String {
        self.goal.metrics().into_iter().next().unwrap_or_default()
    }

    fn points(&self, training: &Training) -> Vec<(f64, f64)> {
        let key = self.space.canonical_key(&training.choices);
        let file = path(&self.run_dir.join(CURVES), &file_name(self.fidelities, key, training.fidelity));
        read(&file, self.fidelities.unit(), &self.metric())
    }
}

/// So many that a page can have them, the last among them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .into_iter()
        .enumerate()
        .filter(|(i, _)| (last - i).is_multiple_of(every))
        .map(|(_, point)| point)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_has_its_last_point() {
        let curve = |n: u32| (0..n).map(|i| (f64::from(i), 0.0)).collect::<Vec<_>>();
        for n in [0, 1, 99, 100, 101, 250, 100_000] {
            let thin = thinned(curve(n));
            assert!(thin.len() <= POINTS && thin.last() == curve(n).last(), "{n}: {}", thin.len());
            assert!(n > 100 || thin.len() == n as usize);
        }
    }
}
