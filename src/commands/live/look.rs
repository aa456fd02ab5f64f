//! A look into the run directory of a search, while it runs or after.

use super::{
    config::LiveConfig,
    reported::Reports,
    status::{Status, TimesTaken, now},
};
use serde_json::json;
use srnas_basics::text::{number, shell};
use srnas_learner::RunDir;
use srnas_ledger::Database;
use srnas_search::{
    Goal, Importance, Measured, MethodError,
    report::{SearchPage, SearchReport},
};
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How a search stands.
pub struct Look {
    pub run_dir: PathBuf,
    pub space: Arc<SearchSpace>,
    pub goal: Goal,
    pub fidelities: Fidelities,
    /// By which method, in words.
    method: String,
    /// Everything in its ledger.
    found: Vec<Measured>,
    /// Of everything in its ledger.
    pub report: SearchReport,
    /// Who works in it, if somebody does.
    pub holder: Option<String>,
    /// What that process says, if it does.
    pub status: Option<Status>,
}

impl Look {
    /// Looks into a run directory.
    ///
    /// # Errors
    /// What is no search, and what cannot be read.
    pub fn at(run_dir: &Path) -> anyhow::Result<Self> {
        let (config, given) = LiveConfig::looked_at(run_dir)?;
        let (_, answers) = Database::look(&run_dir.join(RunDir::LEDGER), 0)?;
        let (goal, fidelities) = (config.goal()?, config.fidelities());
        let known = Measured::of_records(answers, &goal, &fidelities);
        let report = SearchReport::new(&given.space, &fidelities, &goal, &known, &[]);
        let holder = RunDir::holder(run_dir);
        let status = holder.as_ref().and_then(|_| Status::read(run_dir));
        let method = match &config.method {
            Some(method) => format!("the method {method}"),
            None => "what is predicted".into(),
        };
        let (run_dir, space) = (run_dir.into(), given.space);
        Ok(Self { run_dir, space, goal, fidelities, method, found: known, report, holder, status })
    }

    /// Which decisions mattered in what is there.
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self) -> Result<Importance, MethodError> {
        srnas_search::importance(&self.space, &self.fidelities, &self.goal, &self.found)
    }

    /// What its page shows; `importance` and after how many measurements that was.
    pub fn page<'a>(&'a self, importance: (&'a Importance, usize)) -> SearchPage<'a> {
        let times = TimesTaken::read(&self.run_dir);
        SearchPage {
            report: &self.report,
            space: &self.space,
            fidelities: &self.fidelities,
            goal: &self.goal,
            found: &self.found,
            importance,
            title: format!("Search {}", self.run_dir.display()),
            how: format!("The space {}, searched by {}.", self.space.name(), self.method),
            headline: self.headline(),
            state: self.status.as_ref().map(|status| self.state(status)),
            times: self.report.rows.iter().map(|row| times.of(row)).collect(),
            curves: {
                let running = self.status.iter().flat_map(|status| self.reports().running(status));
                self.reports().ended(&self.report.rows, &self.found).into_iter().chain(running).collect()
            },
        }
    }

    fn reports(&self) -> Reports<'_> {
        let Self { run_dir, space, fidelities, goal, .. } = self;
        Reports { run_dir, space, fidelities, goal }
    }

    /// How a search that runs stands; see [`SearchPage::state`].
    fn state(&self, status: &Status) -> serde_json::Value {
        let left = self.time_left();
        let elapsed = (now() - status.began).max(0.0);
        let paid = self.report.spent - status.spent_before;
        let limited = status
            .time_limit
            .filter(|limit| left.is_some_and(|left| left.as_secs_f64() >= limit - elapsed - 1.0));
        let basis = match (left, limited) {
            (None, _) => "how long the rest takes is not known before something has ended".to_string(),
            (Some(_), Some(_)) => "what --time-limit allows".into(),
            (Some(_), None) => format!(
                "{} of {} paid, at the rate since this call began ({} for {})",
                hundredths(self.report.spent),
                status.budget,
                hundredths(paid),
                shortly(Duration::try_from_secs_f64(elapsed).unwrap_or_default())
            ),
        };
        json!({
            "now": now(), "began": status.began, "budget": status.budget, "parallel": status.parallel,
            "running": self.reports().told(status),
            "left": left.map(|left| left.as_secs_f64().round()), "basis": basis, "ending": status.ending,
        })
    }

    /// Measurements that were paid for.
    pub fn paid_for(&self) -> usize {
        self.report.rows.iter().filter(|row| row.cost > 0.0).count()
    }

    /// How many have no value, shorter trainings among them.
    pub fn infeasible(&self) -> usize {
        self.report.rows.iter().filter(|row| row.value().is_none()).count()
    }

    /// What the rest takes at the rate of this call, and no longer than is allowed; nothing where that is not known.
    pub fn time_left(&self) -> Option<Duration> {
        let status = self.status.as_ref()?;
        let elapsed = Duration::try_from_secs_f64(now() - status.began).ok()?;
        let limit = status.time_limit.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        super::display::time_left(
            status.spent_before,
            self.report.spent,
            status.budget as f64,
            elapsed,
            limit,
        )
    }

    /// How it stands, in words, such as `running (process 7 on host a), 12 of 40 measured`.
    pub fn headline(&self) -> String {
        let state = match (&self.holder, self.status.as_ref().and_then(|status| status.ending.as_ref())) {
            (None, _) => "not running".to_string(),
            (Some(holder), None) => format!("running ({holder})"),
            (Some(holder), Some(ending)) => format!("ending, as {ending} ({holder})"),
        };
        let paid = match (&self.status, self.fidelities.shorter()) {
            (Some(status), 0) => format!("{} of {} measured", self.paid_for(), status.budget),
            (None, 0) => format!("{} measured", self.paid_for()),
            (Some(status), _) => format!("{:.2} of {} full trainings paid", self.report.spent, status.budget),
            (None, _) => format!("{:.2} full trainings paid", self.report.spent),
        };
        let running =
            self.status.as_ref().map_or(String::new(), |s| format!(" · {} running", s.running.len()));
        let elsewhere = match self.report.elsewhere {
            0 => String::new(),
            n => format!(" · {n} from elsewhere"),
        };
        let left = self.time_left().map_or(String::new(), |left| format!(" · {} left", shortly(left)));
        format!("{state} · {paid}{elsewhere} · {} infeasible{running}{left}", self.infeasible())
    }

    /// The best, in a line.
    pub fn best_in_words(&self) -> String {
        match &self.report.best {
            None => "nothing has a value yet".into(),
            Some(best) => {
                let value = best.value().map_or(String::new(), number);
                format!("best {} {value}: {}", self.report.metric, best.architecture)
            }
        }
    }

    /// `srnas status`.
    pub fn print_status(&self, as_json: bool) {
        if as_json {
            let best = self.report.best.as_ref();
            let line = json!({
                "search": self.run_dir.display().to_string(), "running": self.holder.is_some(), "process": self.holder,
                "measured": self.paid_for(), "elsewhere": self.report.elsewhere, "infeasible": self.infeasible(),
                "spent": self.report.spent, "metric": self.report.metric, "minimise": self.report.minimise,
                "best": best.and_then(|best| best.value()), "best_architecture": best.map(|best| &best.architecture),
                "status": self.status, "seconds_left": self.time_left().map(|left| left.as_secs_f64()),
            });
            println!("{line}");
            return;
        }
        println!("search {} · {}", self.run_dir.display(), self.headline());
        println!("{}", self.best_in_words());
        let Some(status) = &self.status else {
            if self.holder.is_some() {
                return;
            }
            println!("go on: srnas search --resume --run-dir {} --budget N", shell(&self.run_dir));
            return;
        };
        if !status.running.is_empty() {
            println!("\n{:>9}  measured now", "for");
        }
        for running in &status.running {
            let since = Duration::try_from_secs_f64(now() - running.since).unwrap_or_default();
            let trained = running.trained.as_ref().map_or(String::new(), |trained| format!("  ({trained})"));
            println!("{:>9}  {}{trained}", shortly(since), running.architecture);
        }
    }

    /// `srnas best`.
    pub fn print_best(&self, as_json: bool) {
        let report = &self.report;
        if as_json {
            let line = json!({
                "metric": report.metric, "minimise": report.minimise, "best": report.best, "front": report.front,
                "least_violating": report.least_violating, "measured": self.paid_for(), "spent": report.spent,
            });
            println!("{line}");
            return;
        }
        println!("{}", self.best_in_words());
        if let Some(best) = &report.best {
            let cells: Vec<String> =
                best.metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
            println!("  {}", cells.join("  "));
            println!("  {}", serde_json::Value::Object(best.decisions.clone()));
        }
        report.beyond().iter().for_each(|line| println!("{line}"));
    }
}

/// A cost as people count it: 32, or 11.65.
fn hundredths(cost: f64) -> f64 {
    (100.0 * cost).round() / 100.0
}

/// A time in its two largest units, such as 2h 5m.
pub fn shortly(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3725, "1h 2m"),
            (86_400, "1d 0h"),
            (1_000_000, "11d 13h"),
        ] {
            assert_eq!(shortly(Duration::from_secs(seconds)), text);
        }
    }
}
