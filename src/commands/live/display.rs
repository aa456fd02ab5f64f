//! What a search by a costly oracle shows while it goes on and at its end.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_common::space::SearchSpace;
use srnas_search::{
    Event, LiveSearch, Objective,
    report::{Row, Said, SearchReport},
};
use std::{path::Path, sync::Arc, time::Instant};
use tracing::info;

/// So many decisions are told by name at the end.
const DECISIONS: usize = 8;

pub struct Display {
    space: Arc<SearchSpace>,
    objective: Objective,
    guided: bool,
    began: Instant,
    known: usize,
    bar: ProgressBar,
    json: bool,
}

impl Display {
    pub fn new(search: &LiveSearch, known: usize, json: bool) -> Self {
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {bar:30} {pos}/{len} measured, {eta} left  {msg}",
        );
        let bar = ProgressBar::new(search.budget as u64).with_style(style.expect("a valid template"));
        bar.set_position(known as u64);
        bar.reset_eta();
        if known > 0 {
            info!("going on with {known} measurements");
        }
        Self {
            space: search.oracle.space().clone(),
            objective: search.objective.clone(),
            guided: search.guide.knows_a_past(),
            began: Instant::now(),
            known,
            bar,
            json,
        }
    }

    /// Takes the progress bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub fn event(&self, event: Event) {
        let Event::Ended { measured, seconds, done, running, .. } = event else { return };
        self.bar.set_position(done as u64);
        let row = Row::new(&self.space, &self.objective, &measured.choices, &measured.answer);
        let said = match &row.said {
            Said::Value(value) => format!("{} {value:.4}", self.objective.metric),
            Said::Infeasible(reason) => format!("infeasible: {reason}"),
        };
        if self.bar.is_hidden() {
            info!("{done} measured · {said} · {} · {seconds:.1} s", row.architecture);
        } else {
            self.bar.set_message(format!("{running} running, last {said}"));
        }
        if self.json {
            let infeasible = match &row.said {
                Said::Infeasible(reason) => Some(reason),
                Said::Value(_) => None,
            };
            println!(
                "{}",
                json!({
                    "architecture": row.architecture, "decisions": row.decisions, "metrics": row.metrics,
                    "infeasible": infeasible, "seconds": seconds,
                })
            );
        }
    }

    /// How the architectures were chosen.
    pub fn how(&self, report: &SearchReport) -> String {
        let by = if self.guided {
            "the transfer posterior, which knows earlier tasks"
        } else {
            "the plain posterior"
        };
        format!(
            "{} architectures measured ({} before), {} infeasible, in {:.0} s, chosen by {by}.",
            report.measured,
            self.known,
            report.infeasible,
            self.began.elapsed().as_secs_f64()
        )
    }

    /// What was found. `again` is the command that goes on.
    pub fn summary(&self, report: &SearchReport, run_dir: &Path, again: &str) {
        if self.json {
            let mut summary = json!(report);
            summary["before"] = self.known.into();
            summary["seconds"] = self.began.elapsed().as_secs_f64().into();
            summary["run_dir"] = run_dir.display().to_string().into();
            println!("{}", json!({ "summary": summary }));
            return;
        }
        println!("{}", self.how(report));
        let Some(best) = &report.best else {
            println!("None has a value; {} says why.", run_dir.join("measurements.csv").display());
            return;
        };
        println!("\nBest {} after", self.objective.metric);
        for (n, value) in &report.curve {
            println!("  {n:>4} measurements  {value:.4}");
        }
        println!("\nBest found: {}", best.architecture);
        let cells: Vec<String> =
            best.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        for line in cells.chunks(5) {
            println!("  {}", line.join("  "));
        }
        if !report.importance.is_empty() {
            println!(
                "\nWhat mattered, as the predictor sees it (share of its variance that one decision explains alone):"
            );
            let wide = report.importance.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, share) in report.importance.iter().take(DECISIONS) {
                println!("  {name:wide$}  {:>3.0} %", 100.0 * share);
            }
        }
        println!("\nReport: {}", run_dir.join("report.html").display());
        println!(
            "Ledger: {} (SQLite; docs/run-directory.md tells its tables)",
            run_dir.join("ledger.sqlite").display()
        );
        println!("More:   {again}");
    }
}
