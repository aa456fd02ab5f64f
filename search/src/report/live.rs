//! The report of one search by a costly oracle.

use super::{
    ReportError, plots,
    table::{self, Block, Document},
};
use crate::live::{Measured, Objective};
use serde::Serialize;
use srnas_common::{
    files::write_whole_by,
    space::{Choices, SearchSpace},
};
use srnas_oracle::costly::Answer;
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
    /// Number of measurements.
    pub measured: usize,
    /// How many of them have no value.
    pub infeasible: usize,
    /// The best, if anything has a value.
    pub best: Option<Row>,
    /// The best after so many measurements.
    pub curve: Vec<(usize, f64)>,
    /// How much of the predicted variance over the space each decision explains by itself, the highest first.
    pub importance: Vec<(String, f64)>,
    /// Every measurement, in the order in which it was recorded.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// In the space's notation.
    pub architecture: String,
    /// The value of each decision that counts.
    pub decisions: serde_json::Map<String, serde_json::Value>,
    /// What is searched, or why there is none.
    #[serde(flatten)]
    pub said: Said,
    /// Everything that was measured.
    pub metrics: BTreeMap<String, f64>,
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
    pub fn new(space: &SearchSpace, objective: &Objective, choices: &Choices, answer: &Answer) -> Self {
        let metrics = match answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        let said = match objective.value(answer) {
            Ok(value) => Said::Value(metrics.get(&objective.metric).copied().unwrap_or(f64::from(value))),
            Err(reason) => Said::Infeasible(reason),
        };
        let (architecture, decisions) = (space.format(choices), space.to_json(choices));
        Self { architecture, decisions, said, metrics }
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
    /// The report of what was measured; `importance` is that of [`crate::LiveSearch::importance`].
    pub fn new(
        space: &SearchSpace,
        objective: &Objective,
        found: &[Measured],
        importance: &[(usize, f64)],
    ) -> Self {
        let rows: Vec<Row> =
            found.iter().map(|m| Row::new(space, objective, &m.choices, &m.answer)).collect();
        let better = |a: f64, b: f64| if objective.minimise { a < b } else { a > b };
        let best = |upto: usize| {
            let feasible = rows[..upto].iter().filter_map(|row| Some((row, row.value()?)));
            feasible.reduce(|best, next| if better(next.1, best.1) { next } else { best })
        };
        let marks =
            MARKS.into_iter().filter(|&n| n < rows.len()).chain((!rows.is_empty()).then_some(rows.len()));
        let named = |&(d, share): &(usize, f64)| (space.decisions()[d].name.clone(), share);
        Self {
            metric: objective.metric.clone(),
            minimise: objective.minimise,
            measured: rows.len(),
            infeasible: rows.iter().filter(|r| r.value().is_none()).count(),
            best: best(rows.len()).map(|(row, _)| row.clone()),
            curve: marks.filter_map(|n| Some((n, best(n)?.1))).collect(),
            importance: importance.iter().map(named).collect(),
            rows,
        }
    }

    /// Writes `report.html` (one page with everything in it) and `measurements.csv` into a folder.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn write(&self, dir: &Path, title: &str, how: &str) -> Result<(), ReportError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| ReportError::Io { path, source }
        };
        let csv = dir.join("measurements.csv");
        write_whole_by(&csv, |file| self.csv(file)).map_err(failed(&csv))?;
        let values: Vec<Option<f64>> = self.rows.iter().map(Row::value).collect();
        let plot = plots::best_so_far(&values, &self.metric, self.minimise)?;
        let document = self.document(title, how, &plot.caption);
        let page = dir.join("report.html");
        let html = table::html(&document, &[plot]);
        write_whole_by(&page, |file| file.write_all(html.as_bytes())).map_err(failed(&page))
    }

    fn metric_names(&self) -> BTreeSet<&String> {
        self.rows.iter().flat_map(|row| row.metrics.keys()).collect()
    }

    fn csv(&self, file: &mut std::fs::File) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(file));
        let names = self.metric_names();
        let head = ["measurement", "architecture", "infeasible"].into_iter();
        writer.write_record(head.chain(names.iter().map(|n| n.as_str())))?;
        for (i, row) in self.rows.iter().enumerate() {
            let reason = match &row.said {
                Said::Infeasible(reason) => reason.as_str(),
                Said::Value(_) => "",
            };
            let cells = names.iter().map(|name| row.metrics.get(*name).map_or(String::new(), f64::to_string));
            let front = [(i + 1).to_string(), row.architecture.clone(), reason.into()];
            writer.write_record(front.into_iter().chain(cells))?;
        }
        writer.flush()
    }

    fn document(&self, title: &str, how: &str, caption: &str) -> Document {
        let mut blocks = vec![Block::Paragraph(how.into())];
        if let Some(best) = &self.best {
            let value = best.value().unwrap_or(f64::NAN);
            blocks.push(Block::Heading(format!("Best: {} {}", self.metric, short(value))));
            blocks.push(Block::Paragraph(best.architecture.clone()));
            let rows = best.metrics.iter().map(|(name, value)| vec![name.clone(), short(*value)]).collect();
            blocks.push(Block::Table { head: vec!["metric".into(), "value".into()], rows });
        }
        blocks.push(Block::Picture { name: "best".into(), caption: caption.into() });
        let head = vec!["measurements".into(), format!("best {}", self.metric)];
        let rows = self.curve.iter().map(|(n, value)| vec![n.to_string(), short(*value)]).collect();
        blocks.push(Block::Table { head, rows });
        if !self.importance.is_empty() {
            blocks.push(Block::Heading("Which decisions mattered".into()));
            blocks.push(Block::Paragraph(IMPORTANCE.into()));
            let percent =
                |(name, share): &(String, f64)| vec![name.clone(), format!("{:.0} %", 100.0 * share)];
            let rows = self.importance.iter().map(percent).collect();
            blocks.push(Block::Table { head: vec!["decision".into(), "share".into()], rows });
        }
        blocks.push(Block::Heading("All measurements, the best first".into()));
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let worth = |i: usize| {
            let value = self.rows[i].value().map(|v| if self.minimise { -v } else { v });
            value.unwrap_or(f64::NEG_INFINITY)
        };
        order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)).then(a.cmp(&b)));
        let row = |&i: &usize| {
            let row = &self.rows[i];
            let said = match &row.said {
                Said::Value(value) => short(*value),
                Said::Infeasible(reason) => format!("infeasible: {reason}"),
            };
            vec![row.architecture.clone(), said, (i + 1).to_string()]
        };
        blocks.push(Block::Table {
            head: vec!["architecture".into(), self.metric.clone(), "measurement".into()],
            rows: order.iter().map(row).collect(),
        });
        Document { title: title.into(), blocks }
    }
}

/// What the shares are.
pub const IMPORTANCE: &str = "Share of the variance of the predicted values over the space that one decision explains by itself; what \
     is missing to 100 % is owed to decisions together. It is what the predictor believes after these measurements, no more.";

fn short(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e7) {
        format!("{value:.3e}")
    } else {
        format!("{value:.4}")
    }
}
