//! What a search by a costly oracle shows while it goes on and at its end.

use super::alone::Alone;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_basics::text::number;
use srnas_oracle::{costly::RESUMED_FROM, training::METRIC_ACCURACY};
use srnas_search::{
    Event, Goal, HOPELESS, LiveSearch, Measured, MethodSpec,
    report::{Row, Said, SearchReport, Shorter},
};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity};
use srnas_telemetry as telemetry;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tracing::{info, warn};

/// So many decisions are told by name at the end.
const DECISIONS: usize = 8;
/// Steps of the progress bar for a full training.
const STEPS: f64 = 1000.0;

/// What can be done after a search.
pub enum More {
    /// The command that goes on.
    Command(String),
    /// Every architecture is measured: so many.
    Nothing(usize),
}

impl More {
    fn words(&self) -> String {
        match self {
            Self::Command(again) => again.clone(),
            Self::Nothing(all) => {
                format!("All {all} architectures of the space are measured: there is nothing more to search.")
            }
        }
    }
}

pub struct Display {
    space: Arc<SearchSpace>,
    goal: Goal,
    fidelities: Fidelities,
    budget: usize,
    guided: bool,
    method: Option<MethodSpec>,
    /// Whether measurements are answers on shared weights.
    shared: bool,
    began: Instant,
    known: usize,
    remarks: Mutex<Remarks>,
    bar: ProgressBar,
    json: bool,
}

/// What is said once, if it turns out.
#[derive(Default)]
struct Remarks {
    /// Everything, until both of these are decided.
    known: Vec<Measured>,
    /// Whether it is decided if full trainings say what short ones said.
    identical: bool,
    /// Whether it was said that a training cannot have gone on after what it says.
    not_resumed: bool,
    /// Whether it is decided if short trainings have a value.
    hopeless: bool,
    /// Seconds and number of the measurements of this call, by fidelity.
    seconds: HashMap<Fidelity, (f64, usize)>,
}

impl Display {
    pub fn new(search: &LiveSearch, before: &[Measured], json: bool) -> Self {
        let fidelities = search.oracle.fidelities().clone();
        let style = ProgressStyle::with_template(match fidelities.shorter() {
            0 => "{elapsed_precise} {bar:30} {eta} left  {msg}",
            _ => "{elapsed_precise} {bar:30} {percent} % of the budget, {eta} left  {msg}",
        });
        let bar = ProgressBar::new((STEPS * search.budget as f64) as u64);
        let bar = bar.with_style(style.expect("a valid template"));
        let spent: f64 = before.iter().map(|measured| measured.cost).sum();
        bar.set_position((STEPS * spent) as u64);
        bar.reset_eta();
        let known = before.len();
        match fidelities.shorter() {
            _ if known == 0 => {}
            0 => info!("going on with {known} measurements"),
            _ => info!(
                "going on with {known} measurements, {spent:.2} of {} full trainings paid",
                search.budget
            ),
        }
        let known_now = if fidelities.shorter() > 0 { before.to_vec() } else { Vec::new() };
        Self {
            fidelities,
            budget: search.budget,
            remarks: Mutex::new(Remarks { known: known_now, ..Remarks::default() }),
            space: search.oracle.space().clone(),
            goal: search.goal.clone(),
            guided: search.guide.knows_a_past(),
            method: search.method.clone(),
            shared: search.oracle.metric_names().iter().any(|metric| metric == METRIC_ACCURACY),
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
        let (measured, seconds, done, spent, running) = match event {
            Event::Began { .. } => return,
            Event::NotResumed { said } => return self.not_resumed(said),
            Event::Ended { measured, seconds, done, spent, running, .. } => {
                (measured, seconds, done, spent, running)
            }
        };
        self.bar.set_position((STEPS * spent) as u64);
        let row = Row::new(&self.space, &self.fidelities, &self.goal, measured);
        let short = self.fidelities.shorter() > 0;
        let said = match &row.said {
            Said::Value(_) => self.values(&row),
            Said::Infeasible(reason) => format!("infeasible: {reason}"),
        };
        let budget = self.budget;
        match (self.bar.is_hidden(), short) {
            (true, _) if telemetry::for_machines() => {
                let (value, infeasible) = match &row.said {
                    Said::Value(value) => (Some(*value), None),
                    Said::Infeasible(reason) => (None, Some(reason.as_str())),
                };
                info!(
                    measured = done,
                    paid = spent,
                    budget,
                    running,
                    metric = self.goal.first().metric.as_str(),
                    value,
                    infeasible,
                    architecture = row.architecture.as_str(),
                    trained = short.then(|| self.fidelities.name(measured.training.fidelity)),
                    seconds,
                    "measured"
                );
            }
            (true, false) => info!("{done} measured · {said} · {} · {seconds:.1} s", row.architecture),
            (true, true) => info!(
                "{spent:.2} of {budget} paid · {} · {said} · {} · {seconds:.1} s",
                self.fidelities.name(measured.training.fidelity),
                row.architecture
            ),
            (false, false) => {
                self.bar.set_message(format!("{done}/{budget} measured, {running} running, last {said}"));
            }
            (false, true) => {
                self.bar.set_message(format!("{done} measured, {running} running, last {said}"));
            }
        }
        if short {
            self.remark(measured, seconds);
        }
        if self.json {
            let infeasible = match &row.said {
                Said::Infeasible(reason) => Some(reason),
                Said::Value(_) => None,
            };
            let mut line = json!({
                "architecture": row.architecture, "decisions": row.decisions, "metrics": row.metrics,
                "infeasible": infeasible, "seconds": seconds,
            });
            if short {
                line["trained"] = row.trained.into();
                line["cost"] = row.cost.into();
            }
            println!("{line}");
        }
    }

    /// Says once that a program is charged for the whole of what it says it only went on with.
    fn not_resumed(&self, said: f64) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut remarks.not_resumed, true) {
            warn!(
                "a training says `{RESUMED_FROM}` {said}, and no shorter training of that length was made of its architecture: it \
                 is counted as a whole one; say what $SRNAS_RESUME_FIDELITY says, or 0"
            );
        }
    }

    /// Says once what looks wrong with the shorter trainings.
    fn remark(&self, measured: &Measured, seconds: f64) {
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
    fn by_the_clock(&self) -> Option<String> {
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

    /// How the architectures were chosen.
    pub fn how(&self, report: &SearchReport) -> String {
        let by = match (&self.method, self.guided) {
            (Some(method), _) => format!("the method {method}"),
            (None, true) => "the transfer posterior, which knows earlier tasks".into(),
            (None, false) => "the plain posterior".into(),
        };
        if self.fidelities.shorter() > 0 {
            let short: usize = report.shorter.iter().map(|shorter| shorter.trained).sum();
            return format!(
                "{short} shorter and {} full trainings ({} of all before), {} of the full ones infeasible, in {:.0} s, for the cost of {:.2} \
                 full ones; chosen by {}{}.",
                report.measured,
                self.known,
                report.infeasible,
                self.began.elapsed().as_secs_f64(),
                report.spent,
                if self.method.is_some() { by.as_str() } else { "what both say" },
                if self.guided { " and by earlier tasks" } else { "" }
            );
        }
        format!(
            "{} architectures measured{} ({} before), {} infeasible, in {:.0} s, chosen by {by}.",
            report.measured,
            if self.shared { " on shared weights" } else { "" },
            self.known,
            report.infeasible,
            self.began.elapsed().as_secs_f64()
        )
    }

    /// What is searched of a measurement, and which limits it breaks.
    fn values(&self, row: &Row) -> String {
        let value =
            |metric: &str| row.metrics.get(metric).map(|value| format!("{metric} {}", number(*value)));
        let values: Vec<String> = self.goal.objectives().iter().filter_map(|o| value(&o.metric)).collect();
        match &row.broken {
            Some(broken) => format!("{} ({broken})", values.join(" ")),
            None => values.join(" "),
        }
    }

    /// What was found.
    pub fn summary(&self, report: &SearchReport, run_dir: &Path, more: &More, alone: Option<&Alone>) {
        if self.json {
            let mut summary = json!(report);
            summary["used_up"] = matches!(more, More::Nothing(_)).into();
            summary["before"] = self.known.into();
            summary["seconds"] = self.began.elapsed().as_secs_f64().into();
            if let Some(alone) = alone {
                summary["alone"] = json!(alone);
            }
            summary["run_dir"] = run_dir.display().to_string().into();
            println!("{}", json!({ "summary": summary }));
            return;
        }
        println!("{}", self.how(report));
        let Some(best) = &report.best else {
            report.beyond().iter().for_each(|line| println!("{line}"));
            if report.rows.iter().any(|row| row.value().is_some()) && report.least_violating.is_none() {
                println!(
                    "Only shorter trainings have a value; a full one was not paid for, or has none. More: {}",
                    more.words()
                );
            }
            return;
        };
        println!("\nBest {} after", self.goal.first().metric);
        for (n, value) in &report.curve {
            println!("  {n:>4} {}  {}", report.counted(), number(*value));
        }
        if !report.shorter.is_empty() {
            println!("\n{}", report.saved());
            report.shorter.iter().for_each(|shorter| println!("{}", shorter.in_words()));
            self.by_the_clock().into_iter().for_each(|line| println!("{line}"));
        }
        let beyond = report.beyond();
        if !beyond.is_empty() {
            println!();
            beyond.iter().for_each(|line| println!("{line}"));
        }
        let best_of = if self.goal.is_single() { String::new() } else { format!(" in {}", report.metric) };
        println!("\nBest found{best_of}: {}", best.architecture);
        let cells: Vec<String> =
            best.metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
        for line in cells.chunks(5) {
            println!("  {}", line.join("  "));
        }
        if let Some(alone) = alone {
            alone.lines(run_dir).iter().for_each(|line| println!("{line}"));
        }
        if !report.importance.is_empty() {
            println!(
                "\nWhat mattered{}, as the predictor sees it (share of its variance that one decision explains alone):",
                if self.goal.is_single() { String::new() } else { format!(" for {}", report.metric) }
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
        match more {
            More::Command(again) => println!("More:   {again}"),
            More::Nothing(_) => println!("{}", more.words()),
        }
    }
}
