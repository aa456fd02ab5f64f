//! The report of one search by a costly oracle.

use super::{
    ReportError,
    front::{FrontPoint, front},
    shorter::Shorter,
};
use crate::{
    goal::{Goal, Limit, Objective},
    live::Measured,
};
use serde::Serialize;
use srnas_basics::{files::write_whole_by, text::number};
use srnas_oracle::costly::Answer;
use srnas_page::View;
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
};

/// After how many measurements the best is told.
const MARKS: [usize; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/// What a search found, in the units of its metric.
#[derive(Debug, Serialize)]
pub struct SearchReport {
    /// What was searched.
    pub metric: String,
    /// Whether less is better.
    pub minimise: bool,
    /// Every objective, where there are several; the first is the one above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Objective>,
    /// The limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// How many of the full trainings that have values break a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond_limits: Option<usize>,
    /// With several objectives, what no other dominates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front: Option<Vec<FrontPoint>>,
    /// Where nothing keeps every limit, what breaks them least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_violating: Option<Row>,
    /// Number of full trainings.
    pub measured: usize,
    /// How many of them have no value.
    pub infeasible: usize,
    /// How many of all trainings were measured elsewhere, and cost nothing.
    #[serde(skip_serializing_if = "is_none")]
    pub elsewhere: usize,
    /// What everything cost, in full trainings.
    pub spent: f64,
    /// The shorter trainings, the cheapest first.
    pub shorter: Vec<Shorter>,
    /// The best of the full trainings in the first objective that keeps every limit, if there is one.
    pub best: Option<Row>,
    /// Which of the rows that is.
    #[serde(skip)]
    pub best_row: Option<usize>,
    /// The best after so many full trainings, or what costs the same.
    pub curve: Vec<(usize, f64)>,
    /// How much of the predicted variance over the space each decision explains by itself, the highest first.
    pub importance: Vec<(String, f64)>,
    /// Every measurement, in the order in which it was recorded.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// In the space's notation.
    pub architecture: String,
    /// How much was trained, in the unit of the search's fidelities; 1 where there are full trainings only.
    pub trained: f64,
    /// Whether that is a full training.
    pub full: bool,
    /// What was paid for it, in full trainings.
    pub cost: f64,
    /// The value of each decision that counts.
    pub decisions: serde_json::Map<String, serde_json::Value>,
    /// What is searched, or why there is none.
    #[serde(flatten)]
    pub said: Said,
    /// Everything that was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Which limits it breaks, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// The value, or the reason why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// In the unit of the metric.
    Value(f64),
    /// Why there is none.
    Infeasible(String),
}

impl Row {
    /// One measurement as the report has it.
    pub fn new(space: &SearchSpace, fidelities: &Fidelities, goal: &Goal, measured: &Measured) -> Self {
        let (training, answer) = (&measured.training, &measured.answer);
        let metrics = match answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        let metric = &goal.first().metric;
        let said = match goal.values(answer) {
            Ok(values) => Said::Value(metrics.get(metric).copied().unwrap_or(values.maximised[0])),
            Err(reason) => Said::Infeasible(reason),
        };
        let broken = matches!(said, Said::Value(_)).then(|| goal.broken(&metrics)).flatten();
        Self {
            architecture: space.format(&training.choices),
            trained: fidelities.amount(training.fidelity),
            full: training.fidelity.is_full(),
            cost: measured.cost,
            decisions: space.to_json(&training.choices),
            said,
            metrics,
            broken,
        }
    }

    /// The value, if it has one and keeps every limit.
    pub fn counting(&self) -> Option<f64> {
        self.value().filter(|_| self.broken.is_none())
    }

    /// The value, if it has one.
    pub fn value(&self) -> Option<f64> {
        match self.said {
            Said::Value(value) => Some(value),
            Said::Infeasible(_) => None,
        }
    }
}

impl SearchReport {
    /// The report of what was measured; `importance` are the main effects of [`crate::Importance`].
    pub fn new(
        space: &SearchSpace,
        fidelities: &Fidelities,
        goal: &Goal,
        found: &[Measured],
        importance: &[(usize, f64)],
    ) -> Self {
        let rows: Vec<Row> = found.iter().map(|m| Row::new(space, fidelities, goal, m)).collect();
        let objective = goal.first();
        let better = |a: f64, b: f64| if objective.minimise { a < b } else { a > b };
        let spent: Vec<f64> = rows
            .iter()
            .scan(0.0, |sum, row| {
                *sum += row.cost;
                Some(*sum)
            })
            .collect();
        let best = |most: f64| {
            let paid = rows
                .iter()
                .enumerate()
                .zip(&spent)
                .filter(|((_, row), spent)| row.full && **spent <= most + 1e-6);
            let feasible = paid.filter_map(|((i, row), _)| Some((i, row.counting()?)));
            feasible.reduce(|best, next| if better(next.1, best.1) { next } else { best })
        };
        let total = spent.last().copied().unwrap_or(0.0);
        let end = (total - 1e-6).ceil() as usize;
        let marks = MARKS.into_iter().filter(|&n| n < end).chain((end > 0).then_some(end));
        let named = |&(d, share): &(usize, f64)| (space.decisions()[d].name.clone(), share);
        let full = || rows.iter().filter(|row| row.full);
        Self {
            metric: objective.metric.clone(),
            minimise: objective.minimise,
            objectives: if goal.is_single() { Vec::new() } else { goal.objectives().to_vec() },
            limits: goal.limits().to_vec(),
            beyond_limits: (!goal.limits().is_empty()).then(|| full().filter(|r| r.broken.is_some()).count()),
            front: (!goal.is_single()).then(|| front(goal, &rows)),
            least_violating: least_violating(goal, &rows),
            measured: full().count(),
            infeasible: full().filter(|r| r.value().is_none()).count(),
            elsewhere: found.iter().filter(|measured| measured.is_elsewhere()).count(),
            spent: total,
            shorter: Shorter::all(fidelities, objective, found),
            best: best(f64::INFINITY).map(|(i, _)| rows[i].clone()),
            best_row: best(f64::INFINITY).map(|(i, _)| i),
            curve: marks.filter_map(|n| Some((n, best(n as f64)?.1))).collect(),
            importance: importance.iter().map(named).collect(),
            rows,
        }
    }

    /// What was found beyond the best, in lines: how many keep the limits, and the front with what one would take of it.
    pub fn beyond(&self) -> Vec<String> {
        let mut lines = self.within_limits();
        if let Some(front) = self.front.as_ref().filter(|front| !front.is_empty()) {
            let points = if front.len() == 1 { "point" } else { "points" };
            lines.push(format!("Front of {}, {} {points}:", self.goal_in_words(), front.len()));
            for point in front {
                let value = |o: &Objective| format!("{} {}", o.metric, number(point.metrics[&o.metric]));
                let values: Vec<String> = self.objectives.iter().map(value).collect();
                let picks = if point.picks.is_empty() {
                    String::new()
                } else {
                    format!("  ← {}", point.picks.join(", "))
                };
                lines.push(format!("  {}  {}{picks}", values.join("  "), point.architecture));
            }
        }
        lines
    }

    /// How many keep the limits, and where none does, what breaks them least.
    pub(super) fn within_limits(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(beyond) = self.beyond_limits {
            let with_value = self.measured - self.infeasible;
            let limits: Vec<String> = self.limits.iter().map(ToString::to_string).collect();
            let kept = with_value - beyond;
            lines.push(format!(
                "{kept} of {with_value} architectures with values keep {}.",
                limits.join(" and ")
            ));
        }
        if let Some(row) = &self.least_violating {
            let broken = row.broken.as_deref().unwrap_or_default();
            lines.push(format!("Nothing feasible; the least violating is {}: {broken}.", row.architecture));
        }
        lines
    }

    pub(super) fn goal_in_words(&self) -> String {
        let words = |o: &Objective| format!("{} {}", if o.minimise { "least" } else { "most" }, o.metric);
        self.objectives.iter().map(words).collect::<Vec<_>>().join(" and ")
    }

    /// What the budget is counted in.
    pub fn counted(&self) -> &'static str {
        if self.shorter.is_empty() { "measurements" } else { "full trainings' cost" }
    }

    /// Writes `report.html` (the page, frozen, with everything in it) and `measurements.csv` into a folder.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn write(&self, dir: &Path, page: &View) -> Result<(), ReportError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| ReportError::Io { path, source }
        };
        let csv = dir.join("measurements.csv");
        write_whole_by(&csv, |file| self.csv(file)).map_err(failed(&csv))?;
        let path = dir.join("report.html");
        let html = srnas_page::frozen(std::slice::from_ref(page));
        write_whole_by(&path, |file| file.write_all(html.as_bytes())).map_err(failed(&path))
    }

    /// What the shorter trainings saved, in words.
    pub fn saved(&self) -> String {
        // What was measured elsewhere cost nothing here.
        let paid = || self.rows.iter().filter(|row| row.cost > 0.0);
        let distinct: BTreeSet<&String> = paid().map(|row| &row.architecture).collect();
        let from_the_beginning: f64 = paid()
            .map(|row| match self.shorter.iter().find(|shorter| !row.full && shorter.amount == row.trained) {
                Some(shorter) => shorter.cost,
                None => 1.0,
            })
            .sum();
        let resumed = from_the_beginning - self.spent;
        let also = match resumed > 0.005 {
            true => format!(" Going on where a shorter training had ended saved {resumed:.1} of it."),
            false => String::new(),
        };
        format!(
            "{} architectures were looked at for the cost of {:.1} full trainings; one full training each would have cost {}.{also}",
            distinct.len(),
            self.spent,
            distinct.len()
        )
    }

    fn metric_names(&self) -> BTreeSet<&String> {
        self.rows.iter().flat_map(|row| row.metrics.keys()).collect()
    }

    fn csv(&self, file: &mut std::fs::File) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(file));
        let names = self.metric_names();
        // How long each was trained is told where that differs.
        let trained = self.shorter.first().map(|shorter| [shorter.unit.as_str(), "cost"]);
        let elsewhere = (self.elsewhere > 0).then_some("elsewhere");
        let limited = (!self.limits.is_empty()).then_some("breaks");
        let on_front = self.front.is_some().then_some("front");
        let points: BTreeSet<usize> = self.front.iter().flatten().map(|point| point.measurement).collect();
        let head = ["measurement", "architecture", "infeasible"].into_iter();
        let head = head.chain(limited).chain(on_front).chain(elsewhere).chain(trained.into_iter().flatten());
        writer.write_record(head.chain(names.iter().map(|n| n.as_str())))?;
        for (i, row) in self.rows.iter().enumerate() {
            let reason = match &row.said {
                Said::Infeasible(reason) => reason.as_str(),
                Said::Value(_) => "",
            };
            let cells = names.iter().map(|name| row.metrics.get(*name).map_or(String::new(), f64::to_string));
            let front = [(i + 1).to_string(), row.architecture.clone(), reason.into()];
            let how_long = trained.map(|_| [row.trained.to_string(), row.cost.to_string()]);
            let breaks = limited.map(|_| row.broken.clone().unwrap_or_default());
            let is_there = on_front.map(|_| u8::from(points.contains(&(i + 1))).to_string());
            let was_elsewhere = elsewhere.map(|_| u8::from(row.cost == 0.0).to_string());
            let front = front.into_iter().chain(breaks).chain(is_there).chain(was_elsewhere);
            writer.write_record(front.chain(how_long.into_iter().flatten()).chain(cells))?;
        }
        writer.flush()
    }
}

/// What breaks the limits least, each in shares of its bound, where nothing keeps them all.
fn least_violating(goal: &Goal, rows: &[Row]) -> Option<Row> {
    let full = || rows.iter().filter(|row| row.full && row.value().is_some());
    if goal.limits().is_empty() || full().any(|row| row.broken.is_none()) {
        return None;
    }
    let violation = |row: &Row| -> f64 {
        let of = |limit: &Limit| {
            let value = row.metrics.get(&limit.metric).copied().unwrap_or(f64::NAN);
            (-limit.slack(value)).max(0.0) / if limit.bound == 0.0 { 1.0 } else { limit.bound.abs() }
        };
        goal.limits().iter().map(of).sum()
    };
    full()
        .map(|row| (violation(row), row))
        .reduce(|least, next| if next.0 < least.0 { next } else { least })
        .map(|(_, row)| row.clone())
}

/// What the shares are.
pub const IMPORTANCE: &str = "Share of the variance of the predicted values over the space that one decision explains by itself; what \
     is missing to 100 % is owed to decisions together. It is what the predictor believes after these measurements, no more.";
