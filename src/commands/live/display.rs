//! What a search by a costly oracle shows while it goes on and at its end.

mod remarks;

use super::alone::Alone;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use remarks::Remarks;
use serde_json::json;
use srnas_basics::{names::did_you_mean, text::number};
use srnas_oracle::{curves::STOPPED_AT, training::METRIC_ACCURACY};
use srnas_search::{
    Enough, Event, Goal, Limit, LiveSearch, Measured, MethodSpec,
    report::{Row, Said, SearchReport},
};
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use srnas_telemetry as telemetry;
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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
    /// Whether it knows what can be said without training.
    describes: bool,
    method: Option<MethodSpec>,
    /// Whether measurements are answers on shared weights.
    shared: bool,
    began: Instant,
    known: usize,
    remarks: Mutex<Remarks>,
    now: Mutex<Now>,
    stop_when: Vec<Limit>,
    bar: ProgressBar,
    json: bool,
}

/// How the search stands.
#[derive(Default)]
struct Now {
    /// Measured and paid for.
    done: usize,
    /// What that cost, in full trainings.
    spent: f64,
    running: usize,
    /// The best full training within the limits, in the unit of the first metric.
    best: Option<f64>,
    /// What was said last.
    last: String,
    /// Why nothing more is begun, if so.
    enough: Option<Enough>,
    /// Whether it is decided if the metrics at which the search ends are reported.
    reports: bool,
}

impl Display {
    pub fn new(search: &LiveSearch, before: &[Measured], json: bool) -> Self {
        let fidelities = search.oracle.fidelities().clone();
        let bar = ProgressBar::new((STEPS * search.budget as f64) as u64);
        let spent: f64 = before.iter().map(|measured| measured.cost).sum();
        bar.set_style(style(fidelities.shorter() > 0, spent, search.ends.time));
        bar.enable_steady_tick(Duration::from_secs(1));
        bar.set_position((STEPS * spent) as u64);
        let known = before.iter().filter(|measured| !measured.is_elsewhere()).count();
        match before.len() - known {
            0 => {}
            n => info!("knows {n} measurements from elsewhere"),
        }
        match fidelities.shorter() {
            _ if known == 0 => {}
            0 => info!("going on with {known} measurements"),
            _ => info!(
                "going on with {known} measurements, {spent:.2} of {} full trainings paid",
                search.budget
            ),
        }
        let best = before.iter().filter_map(|measured| {
            let row = Row::new(search.oracle.space(), &fidelities, &search.goal, measured);
            row.counting().filter(|_| row.full)
        });
        let best = best.reduce(|a, b| better(&search.goal, a, b));
        let now = Now { best, done: known, spent, ..Now::default() };
        let known_now = if fidelities.shorter() > 0 { before.to_vec() } else { Vec::new() };
        Self {
            fidelities,
            budget: search.budget,
            remarks: Mutex::new(Remarks { known: known_now, ..Remarks::default() }),
            space: search.oracle.space().clone(),
            goal: search.goal.clone(),
            guided: search.guide.knows_a_past(),
            describes: search.guide.knows_untrained(),
            method: search.method.clone(),
            shared: search.oracle.metric_names().iter().any(|metric| metric == METRIC_ACCURACY),
            began: Instant::now(),
            known,
            now: Mutex::new(now),
            stop_when: search.ends.reached.clone(),
            bar,
            json,
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the search ended before its budget, if it did.
    pub fn enough(&self) -> Option<Enough> {
        let now = self.now();
        // What ran then may have been all that was left.
        now.enough.clone().filter(|_| now.spent + 1e-6 < self.budget as f64)
    }

    /// Shows how the search stands on the progress bar.
    fn show(&self, now: &Now) {
        let mut parts = vec![match self.fidelities.shorter() {
            0 => format!("{}/{} measured", now.done, self.budget),
            _ => format!("{} measured", now.done),
        }];
        parts.push(format!("{} running", now.running));
        if let Some(best) = now.best {
            parts.push(format!("best {} {}", self.goal.first().metric, number(best)));
        }
        if !now.last.is_empty() {
            parts.push(format!("last {}", now.last));
        }
        self.bar.set_message(parts.join(" · "));
    }

    /// Nothing more is begun.
    fn is_enough(&self, why: &Enough, running: usize) {
        match running {
            0 => info!("{why}: the search ends"),
            1 => info!("{why}: nothing more is begun, and 1 measurement still runs"),
            n => info!("{why}: nothing more is begun, and {n} measurements still run"),
        }
        self.now().enough = Some(why.clone());
    }

    /// Says once that a metric at which the search ends is not reported.
    fn check_reported(&self, now: &mut Now, row: &Row) {
        if row.value().is_none() || std::mem::replace(&mut now.reports, true) {
            return;
        }
        let missing = self.stop_when.iter().find(|limit| !row.metrics.contains_key(&limit.metric));
        if let Some(limit) = missing {
            let hint = did_you_mean(&limit.metric, row.metrics.keys().map(String::as_str));
            warn!("--stop-when '{limit}': the first measurement reports no metric `{}`{hint}", limit.metric);
        }
    }

    /// Takes the progress bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub fn event(&self, event: Event) {
        let (measured, seconds, done, spent, running) = match event {
            Event::Began { running, .. } => {
                let mut now = self.now();
                now.running = running;
                return self.show(&now);
            }
            Event::GaveUp { training } => {
                return info!("given up: {}", self.space.format(&training.choices));
            }
            Event::Enough { why, running } => return self.is_enough(why, running),
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
        {
            let mut now = self.now();
            let counts = row.counting().filter(|_| row.full);
            now.best = match (now.best, counts) {
                (Some(a), Some(b)) => Some(better(&self.goal, a, b)),
                (a, b) => a.or(b),
            };
            (now.done, now.spent, now.running) = (done, spent, running);
            now.last = said.clone();
            self.check_reported(&mut now, &row);
            self.show(&now);
        }
        let took = match measured.is_elsewhere() {
            true => "from elsewhere".to_string(),
            false => format!("{seconds:.1} s"),
        };
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
                    elsewhere = measured.is_elsewhere(),
                    "measured"
                );
            }
            (true, false) => info!("{done} measured · {said} · {} · {took}", row.architecture),
            (true, true) => info!(
                "{spent:.2} of {budget} paid · {} · {said} · {} · {took}",
                self.fidelities.name(measured.training.fidelity),
                row.architecture
            ),
            // The bar says it.
            (false, _) => {}
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
                "infeasible": infeasible, "seconds": seconds, "elsewhere": measured.is_elsewhere(),
            });
            if short {
                line["trained"] = row.trained.into();
                line["cost"] = row.cost.into();
            }
            println!("{line}");
        }
    }

    /// How many of what is known was measured elsewhere, in words.
    fn elsewhere(report: &SearchReport) -> String {
        match report.elsewhere {
            0 => String::new(),
            n => format!(", {n} elsewhere"),
        }
    }

    /// How the architectures were chosen.
    pub fn how(&self, report: &SearchReport) -> String {
        let by = match (&self.method, self.guided) {
            (Some(method), _) => format!("the method {method}"),
            (None, true) => "the transfer posterior, which knows earlier tasks".into(),
            (None, false) => "the plain posterior".into(),
        };
        let by = if self.describes { format!("{by}, told what can be said without training") } else { by };
        if self.fidelities.shorter() > 0 {
            let short: usize = report.shorter.iter().map(|shorter| shorter.trained).sum();
            return format!(
                "{short} shorter and {} full trainings ({} of all before{}), {} of the full ones infeasible, in {:.0} s, for the cost of {:.2} \
                 full ones; chosen by {}{}.",
                report.measured,
                self.known,
                Self::elsewhere(report),
                report.infeasible,
                self.began.elapsed().as_secs_f64(),
                report.spent,
                if self.method.is_some() { by.as_str() } else { "what both say" },
                if self.guided { " and by earlier tasks" } else { "" }
            );
        }
        format!(
            "{} architectures measured{} ({} before{}), {} infeasible, in {:.0} s, chosen by {by}.",
            report.measured,
            if self.shared { " on shared weights" } else { "" },
            self.known,
            Self::elsewhere(report),
            report.infeasible,
            self.began.elapsed().as_secs_f64()
        )
    }

    /// What is searched of a measurement, and which limits it breaks.
    fn values(&self, row: &Row) -> String {
        let value =
            |metric: &str| row.metrics.get(metric).map(|value| format!("{metric} {}", number(*value)));
        let values: Vec<String> = self.goal.objectives().iter().filter_map(|o| value(&o.metric)).collect();
        let early = row.metrics.get(STOPPED_AT).map(|epoch| format!(" (stopped early at {epoch})"));
        let broken = row.broken.as_ref().map(|broken| format!(" ({broken})"));
        format!("{}{}{}", values.join(" "), broken.unwrap_or_default(), early.unwrap_or_default())
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
            if let Some(enough) = self.enough() {
                summary["ended"] = enough.to_string().into();
            }
            println!("{}", json!({ "summary": summary }));
            return;
        }
        println!("{}", self.how(report));
        if let Some(enough) = self.enough() {
            println!("It ended before its budget of {}: {enough}.", self.budget);
        }
        let Some(best) = &report.best else {
            report.beyond().iter().for_each(|line| println!("{line}"));
            if self.enough().is_some() {
                println!("More: {}", more.words());
            }
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

/// The better of two values of the first metric.
fn better(goal: &Goal, a: f64, b: f64) -> f64 {
    if goal.first().minimise { a.min(b) } else { a.max(b) }
}

/// The bar: how much of the budget is paid, and how long the rest takes if it goes on as in this call, or how long it may take.
fn style(shorter: bool, before: f64, limit: Option<Duration>) -> ProgressStyle {
    let template = match shorter {
        false => "{elapsed_precise} {bar:30} {left}  {msg}",
        true => "{elapsed_precise} {bar:30} {percent} % of the budget, {left}  {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("a valid template");
    style.with_key("left", move |state: &ProgressState, line: &mut dyn fmt::Write| {
        let (elapsed, all) = (state.elapsed(), state.len().unwrap_or(0) as f64 / STEPS);
        let left = time_left(before, state.pos() as f64 / STEPS, all, elapsed, limit);
        let _ = match left {
            Some(left) => write!(line, "{} left", HumanDuration(left)),
            None => Ok(()),
        };
    })
}

/// How long it takes to spend the rest, at the rate since `before` was spent, and no longer than is allowed; nothing where
/// neither is known.
pub fn time_left(
    before: f64,
    spent: f64,
    budget: f64,
    elapsed: Duration,
    limit: Option<Duration>,
) -> Option<Duration> {
    let rate = (spent - before) / elapsed.as_secs_f64();
    let by_rate = (rate > 0.0).then(|| Duration::try_from_secs_f64((budget - spent).max(0.0) / rate).ok());
    let allowed = limit.map(|limit| limit.saturating_sub(elapsed));
    by_rate.flatten().into_iter().chain(allowed).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_by_the_rate_of_this_call_and_no_more_than_is_allowed() {
        let s = Duration::from_secs;
        assert_eq!(time_left(0.0, 10.0, 40.0, s(20), None), Some(s(60)));
        assert_eq!(time_left(5.0, 10.0, 40.0, s(20), None), Some(s(120)));
        assert_eq!(time_left(5.0, 10.0, 40.0, s(20), Some(s(50))), Some(s(30)));
        assert_eq!(time_left(5.0, 5.0, 40.0, s(20), Some(s(10))), Some(s(0)));
        assert_eq!(time_left(5.0, 5.0, 40.0, s(20), None), None);
        assert_eq!(time_left(0.0, 0.0, 40.0, s(0), None), None);
        // More was paid than is to be: a resume with a smaller budget.
        assert_eq!(time_left(5.0, 41.0, 40.0, s(20), None), Some(s(0)));
    }
}
