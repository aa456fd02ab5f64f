//! What the simulated clock showed: who had found how much by when, and how busy its workers were.

use super::{
    plots::{self, Plot},
    series::Series,
    summary::{Estimate, estimate, with_interval},
    table::Block,
};
use crate::{
    comparison::{Outcome, Plan},
    table::Query,
};
use serde::Serialize;
use std::time::Duration;

/// A method by the clock, over all problems.
#[derive(Clone, Debug, Serialize)]
pub struct MethodClock {
    /// The method.
    pub method: String,
    /// Most trainings that it had under way: one where what it asks next follows from the last result.
    pub workers: usize,
    /// Share of the time in which these trained, from when the start was known to the end.
    pub busy: f64,
    /// When its searches ended.
    pub end: Estimate,
    /// Normalised regret after each of the times of [`ClockSummary::times`].
    pub normalised_regret: Vec<Estimate>,
}

/// All methods by the clock.
#[derive(Clone, Debug, Serialize)]
pub struct ClockSummary {
    /// Unit of all times here.
    pub unit: &'static str,
    /// A half, all, twice and four times of the time in which the quickest method spent its budget.
    pub times: Vec<f64>,
    /// In their order.
    pub methods: Vec<MethodClock>,
    /// Seconds of the clock in the unit.
    #[serde(skip)]
    scale: f64,
}

/// Of time, with the seconds in each.
const UNITS: [(&str, f64); 4] =
    [("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0), ("milliseconds", 1e-3)];
/// Points of the plot.
const POINTS: usize = 200;

impl ClockSummary {
    /// None where the clock says no more than what was paid, or nothing came to its end.
    pub(super) fn new(
        plan: &Plan,
        outcomes: &[Vec<Outcome>],
        series: &[Vec<Vec<Option<Series>>>],
    ) -> Option<Self> {
        if plan.clock.is_plain() {
            return None;
        }
        let by_problem = |m: usize, of: &dyn Fn(&Series) -> f64| {
            let groups: Vec<Vec<f64>> =
                series.iter().map(|problem| problem[m].iter().flatten().map(of).collect()).collect();
            estimate(&groups)
        };
        let ends: Vec<Option<Estimate>> =
            (0..plan.methods.len()).map(|m| by_problem(m, &|s| s.end())).collect();
        let quickest = ends.iter().flatten().map(|end| end.mean).filter(|end| *end > 0.0).reduce(f64::min)?;
        let (unit, scale) = match plan.clock.latency {
            None => ("full trainings", 1.0),
            // Two of the unit at least.
            Some(_) => UNITS.into_iter().find(|(_, scale)| quickest >= 2.0 * scale).unwrap_or(UNITS[3]),
        };
        let times: Vec<f64> = [0.5, 1.0, 2.0, 4.0].map(|part| rounded(part * quickest / scale)).into();
        let method = |(m, end): (usize, Option<Estimate>)| {
            let end = end?;
            let traces = || outcomes.iter().flat_map(|problem| problem[m].iter().flatten());
            let workers = traces().map(|trace| most_under_way(trace)).max()?;
            let shares: Vec<f64> = traces().map(|trace| busy(trace, workers)).collect();
            let after = |time: &f64| by_problem(m, &|s: &Series| s.after(time * scale));
            Some(MethodClock {
                method: plan.methods[m].clone(),
                workers,
                busy: srnas_basics::statistics::mean(&shares),
                end: end.scaled(1.0 / scale),
                normalised_regret: times.iter().filter_map(after).collect(),
            })
        };
        let methods = ends.into_iter().enumerate().filter_map(method).collect();
        Some(Self { unit, methods, times, scale })
    }

    /// Mean normalised regret against the clock.
    pub(super) fn plot(
        &self,
        plan: &Plan,
        series: &[Vec<Vec<Option<Series>>>],
    ) -> Result<Plot, super::ReportError> {
        let all = || series.iter().flatten().flatten().flatten();
        // Nothing at 0 fits onto a logarithmic axis.
        let ends = || all().flat_map(|s| [s.start(), s.end()]).filter(|time| *time > 0.0);
        let (first, last) = (ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
        let at = |i: usize| first * (last / first).powf(i as f64 / (POINTS - 1) as f64);
        let times: Vec<f64> = (0..POINTS).map(at).collect();
        let value = |s: &Series, i: usize| s.after(times[i]);
        let shown: Vec<f64> = times.iter().map(|time| time / self.scale).collect();
        let caption = "Mean normalised regret over all problems against the simulated wall clock, both logarithmic; bands are \
                       95 % of the mean over starts.";
        let x = format!("wall clock in {}", self.unit);
        plots::regret_by_method("clock", caption.into(), plan, series, &shown, &value, &x)
    }

    /// For people.
    pub(super) fn blocks(&self, plan: &Plan) -> Vec<Block> {
        let takes = match &plan.clock.latency {
            Some(latency) => format!("a full training takes `{latency}`"),
            None => "a full training takes 1".into(),
        };
        let text = format!(
            "{} simulated worker(s), {takes}; times are in {}. Every search trains its start alone, then as many at a time as the \
             method can use: one where what it asks next follows from the last result. Busy is the share of the time in which \
             these workers trained. Normalised regret after so long counts what had ended by then.",
            plan.clock.workers, self.unit
        );
        let mut head: Vec<String> = ["method", "workers", "busy", "end"].map(String::from).into();
        head.extend(self.times.iter().map(|time| format!("after {time}")));
        let row = |m: &MethodClock| {
            let mut row = vec![m.method.clone(), m.workers.to_string(), format!("{:.0} %", 100.0 * m.busy)];
            row.push(with_interval(&m.end));
            row.extend(m.normalised_regret.iter().map(with_interval));
            row
        };
        let rows = self.methods.iter().map(row).collect();
        vec![Block::Heading("Wall clock".into()), Block::Paragraph(text), Block::Table { head, rows }]
    }
}

/// Two significant digits.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 {
        return value;
    }
    let digits = 1 - value.log10().floor() as i32;
    // By a text: a product of powers of ten has other digits behind.
    let text = format!("{:.*}", digits.max(0) as usize, value);
    text.parse().unwrap_or(value)
}

/// Most trainings of a search at a time.
fn most_under_way(trace: &[Query]) -> usize {
    let mut began: Vec<Duration> = trace.iter().map(|query| query.began).collect();
    let mut ended: Vec<Duration> = trace.iter().map(|query| query.ended).collect();
    began.sort_unstable();
    ended.sort_unstable();
    let mut over = 0;
    let under_way = began.iter().enumerate().map(|(i, time)| {
        while over < i && ended[over] <= *time {
            over += 1;
        }
        i + 1 - over
    });
    under_way.max().unwrap_or(0)
}

/// Share of the time in which so many workers trained, once the start was known.
fn busy(trace: &[Query], workers: usize) -> f64 {
    let (Some(first), Some(last)) = (trace.first(), trace.last()) else { return 0.0 };
    let whole = last.ended.saturating_sub(first.ended).as_secs_f64() * workers as f64;
    let trained: f64 = trace[1..].iter().map(|query| (query.ended - query.began).as_secs_f64()).sum();
    if whole > 0.0 { trained / whole } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Fidelity;

    #[test]
    fn workers_and_how_busy_they_were_are_read_off_a_trace() {
        let query = |began, ended| Query {
            choices: vec![0],
            values: vec![0.0],
            fidelity: Fidelity::Full,
            spent: 1.0,
            began: Duration::from_secs(began),
            ended: Duration::from_secs(ended),
        };
        let trace = [query(0, 2), query(2, 3), query(2, 4), query(3, 6)];
        assert_eq!(most_under_way(&trace), 2);
        assert_eq!(busy(&trace, 2), 6.0 / 8.0);
        assert_eq!((most_under_way(&trace[..1]), busy(&trace[..1], 1)), (1, 1.0));
        // What ends when another begins is one worker's.
        assert_eq!(most_under_way(&[query(0, 2), query(2, 4)]), 1);
    }

    #[test]
    fn times_have_two_digits() {
        for (time, shown) in [(0.0, 0.0), (0.034_56, 0.035), (3.333, 3.3), (34.56, 35.0), (1234.0, 1234.0)] {
            assert_eq!(rounded(time), shown);
        }
    }
}
