//! What a search had found after each of its paid queries.

use crate::{pareto::non_dominated, problem::Problem, table::Trace};

/// Values after 1, 2, … paid queries, up to the budget; a search that ended early keeps what it had.
#[derive(Clone, Debug)]
pub struct Series {
    /// The reported metric of the incumbent (the best by what is searched), as the metric has it; with several objectives the
    /// share of the front's hypervolume.
    pub incumbents: Vec<f64>,
    /// How far the incumbent is from the best of the table, in the metric's unit; with several objectives the share of the hypervolume
    /// that is missing.
    pub regrets: Vec<f64>,
    /// The same over (best − median).
    pub normalised: Vec<f64>,
    /// Paid queries until what is searched was within [`near`] of its best; `None` if it never was.
    pub near: Option<usize>,
    /// Paid queries until the best by what is searched was found.
    pub optimum: Option<usize>,
    /// When each full training ended, in seconds of the clock, and the normalised regret then.
    by_time: Vec<(f64, f64)>,
    /// When the last training ended.
    end: f64,
}

/// How near to the best counts as near: 0.1 points of a percentage, else 1 % of the gap between median and best.
pub fn near(problem: &Problem) -> f64 {
    let signal = &problem.signals[0];
    if problem.unit == "%" { 0.1 } else { 0.01 * f64::from(signal.best() - signal.median()) }
}

/// Costs are added up many times.
pub const ROUNDING: f64 = 1e-6;

impl Series {
    pub fn new(problem: &Problem, trace: &Trace, budget: usize) -> Self {
        match &problem.front {
            Some(_) => Self::of_several(problem, trace, budget),
            None => Self::of_one(problem, trace, budget),
        }
    }

    fn of_one(problem: &Problem, trace: &Trace, budget: usize) -> Self {
        let (signal, report) = (&problem.signals[0], &problem.report);
        let (best, gap) = (f64::from(report.best()), f64::from(report.best() - report.median()));
        let near = f64::from(signal.best()) - near(problem);
        let mut series = Self::empty(trace);
        // Until something keeps the limits there is no incumbent: it counts as the worst.
        let (mut highest, mut incumbent) = (f32::NEG_INFINITY, f64::from(report.worst()));
        let push = |series: &mut Self, incumbent: f64| {
            series.push(report.shown(incumbent), best - incumbent, (best - incumbent) / gap);
        };
        for query in trace {
            // What was paid before this query: entry n is what there was when n full trainings' worth was paid.
            while query.spent > (series.incumbents.len() + 1) as f64 + ROUNDING {
                push(&mut series, incumbent);
            }
            if !query.fidelity.is_full() {
                continue;
            }
            let q = (query.spent - ROUNDING).ceil() as usize - 1;
            if query.values[0] > highest {
                highest = query.values[0];
                incumbent = report.value(&query.choices).map_or(f64::NAN, f64::from);
            }
            series.by_time.push((query.ended.as_secs_f64(), (best - incumbent) / gap));
            if f64::from(highest) >= near {
                series.near.get_or_insert(q + 1);
            }
            if highest >= signal.best() {
                series.optimum.get_or_insert(q + 1);
            }
        }
        push(&mut series, incumbent);
        series.extend(budget)
    }

    fn of_several(problem: &Problem, trace: &Trace, budget: usize) -> Self {
        let front = problem.front.as_ref().expect("several objectives have a front");
        let mut series = Self::empty(trace);
        let mut found: Vec<Vec<f32>> = Vec::new();
        for (q, query) in trace.iter().enumerate() {
            let before = found.len();
            found.push(query.values.clone());
            found = non_dominated(&found);
            let volume = match series.incumbents.last() {
                // Dominated: nothing changes.
                Some(&last) if before == found.len() && !found.contains(&query.values) => last,
                _ => front.hypervolume(&found),
            };
            if volume >= 0.99 {
                series.near.get_or_insert(q + 1);
            }
            if volume >= 1.0 - 1e-9 {
                series.optimum.get_or_insert(q + 1);
            }
            series.by_time.push((query.ended.as_secs_f64(), 1.0 - volume));
            series.push(volume, 1.0 - volume, 1.0 - volume);
        }
        series.extend(budget)
    }

    /// The normalised regret at a time; before the start has ended it counts as the incumbent already.
    pub fn after(&self, time: f64) -> f64 {
        let known = self.by_time.partition_point(|(ended, _)| *ended <= time * (1.0 + ROUNDING));
        self.by_time.get(known.saturating_sub(1)).map_or(f64::NAN, |(_, normalised)| *normalised)
    }

    /// When the start had ended.
    pub fn start(&self) -> f64 {
        self.by_time.first().map_or(0.0, |(ended, _)| *ended)
    }

    /// When the search had ended.
    pub fn end(&self) -> f64 {
        self.end
    }

    fn empty(trace: &Trace) -> Self {
        Self {
            incumbents: Vec::new(),
            regrets: Vec::new(),
            normalised: Vec::new(),
            near: None,
            optimum: None,
            by_time: Vec::new(),
            end: trace.last().map_or(0.0, |query| query.ended.as_secs_f64()),
        }
    }

    fn push(&mut self, incumbent: f64, regret: f64, normalised: f64) {
        self.incumbents.push(incumbent);
        self.regrets.push(regret);
        self.normalised.push(normalised);
    }

    fn extend(mut self, budget: usize) -> Self {
        for values in [&mut self.incumbents, &mut self.regrets, &mut self.normalised] {
            let last = values.last().copied().unwrap_or(f64::NAN);
            values.resize(budget, last);
        }
        self
    }
}
