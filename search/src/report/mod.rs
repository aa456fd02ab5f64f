//! The report of a comparison: `results.csv`, `summary.json`, `summary.md`, `report.html` and SVG plots.

mod clock;
mod front;
mod live;
mod page;
mod plots;
mod series;
mod shorter;
mod summary;
mod table;

pub use clock::{ClockSummary, MethodClock};
pub use front::FrontPoint;
pub use live::{Row, Said, SearchReport};
pub use page::{ReportedCurve, SearchPage};
pub use shorter::{Agreement, Shorter};
pub use summary::Summary;

use crate::{
    comparison::{Outcome, Plan},
    problem::Problem,
};
use series::{ROUNDING, Series};
use srnas_basics::files::{write_whole, write_whole_by};
use std::{fs::File, io, path::Path};

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A plot.
    #[error("cannot draw {name}: {reason}")]
    Plot {
        /// The plot.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Writes the report of a comparison into `dir` and returns its numbers. `against` is the place of the method that the others
/// are paired with.
///
/// # Errors
/// See [`ReportError`].
pub fn write(
    dir: &Path,
    plan: &Plan,
    problems: &[Problem],
    outcomes: &[Vec<Outcome>],
    against: usize,
) -> Result<Summary, ReportError> {
    let budget = plan.budgets.iter().copied().max().unwrap_or(0);
    let series: Vec<Vec<Vec<Option<Series>>>> = problems
        .iter()
        .zip(outcomes)
        .map(|(problem, methods)| {
            let of = |outcome: &Outcome| {
                outcome.iter().map(|r| r.as_ref().ok().map(|t| Series::new(problem, t, budget))).collect()
            };
            methods.iter().map(of).collect()
        })
        .collect();
    let summary = Summary::new(plan, problems, outcomes, &series, against);
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| ReportError::Io { path, source }
    };
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        write_whole(&path, text.as_bytes()).map_err(io(&path))
    };
    let csv = dir.join("results.csv");
    write_whole_by(&csv, |file| results(file, plan, problems, outcomes, &series)).map_err(io(&csv))?;
    let json = serde_json::to_string_pretty(&summary).expect("a summary is JSON");
    put("summary.json", json + "\n")?;
    let plots = plots::all(plan, problems, outcomes, &series, &summary)?;
    for plot in &plots {
        put(&format!("plots/{}.svg", plot.name), plot.svg.clone())?;
    }
    let document = summary::document(&summary, &plots);
    put("summary.md", table::markdown(&document))?;
    put("report.html", srnas_page::frozen(&[table::view(&document, &plots)]))?;
    Ok(summary)
}

/// One row for each paid query.
fn results(
    file: &mut File,
    plan: &Plan,
    problems: &[Problem],
    outcomes: &[Vec<Outcome>],
    series: &[Vec<Vec<Option<Series>>>],
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    let mut head =
        vec!["method", "task", "seed", "query", "architecture", "incumbent", "regret", "cost", "spent"];
    let clock = !plan.clock.is_plain();
    if clock {
        head.extend(["began", "ended"]);
    }
    csv.write_record(head)?;
    for (p, problem) in problems.iter().enumerate() {
        for (m, method) in plan.methods.iter().enumerate() {
            for (s, result) in outcomes[p][m].iter().enumerate() {
                let (Ok(trace), Some(series)) = (result, &series[p][m][s]) else { continue };
                let mut shown = (f64::NAN, f64::NAN);
                for (q, query) in trace.iter().enumerate() {
                    // With shorter trainings queries and full trainings' worth are not the same; the incumbent changes at full ones.
                    if query.fidelity.is_full() {
                        let paid =
                            ((query.spent - ROUNDING).ceil() as usize).clamp(1, series.incumbents.len()) - 1;
                        shown = (series.incumbents[paid], series.regrets[paid]);
                    }
                    let cost = query.spent - if q == 0 { 0.0 } else { trace[q - 1].spent };
                    let mut row = vec![
                        method.clone(),
                        problem.name.clone(),
                        s.to_string(),
                        (q + 1).to_string(),
                        problem.space().format(&query.choices),
                        shown.0.to_string(),
                        shown.1.to_string(),
                        format!("{cost:.4}"),
                        format!("{:.4}", query.spent),
                    ];
                    if clock {
                        row.extend([query.began, query.ended].map(|time| time.as_secs_f64().to_string()));
                    }
                    csv.write_record(row)?;
                }
            }
        }
    }
    csv.flush()
}
