//! The numbers of a comparison.

use super::{
    clock::ClockSummary,
    plots::Plot,
    series::{Series, near},
    table::{Block, Document},
};
use crate::{
    comparison::{Outcome, Plan},
    known::{Known, Why},
    problem::Problem,
    statistics::{Friedman, friedman, nemenyi_critical_difference},
};
use serde::Serialize;
use srnas_basics::statistics::{bootstrap_mean, mean, ranks};
use std::collections::BTreeMap;

/// A mean with its 95 % bootstrap interval over seeds, and the median.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub median: f64,
    pub ci95: [f64; 2],
}

/// A method on one problem.
#[derive(Clone, Debug, Serialize)]
pub struct MethodSummary {
    pub method: String,
    /// Searches that came to their end.
    pub searches: usize,
    /// Seeds that failed, and why.
    pub failed: BTreeMap<usize, String>,
    /// After so many paid queries: the reported metric of the incumbent.
    pub incumbent: BTreeMap<usize, Estimate>,
    /// How far the incumbent is from the best of the table.
    pub regret: BTreeMap<usize, Estimate>,
    /// The same over (best − median); with several objectives the share of the hypervolume that is missing.
    pub normalised_regret: BTreeMap<usize, Estimate>,
    /// Median paid queries until near the best of what is searched; `None` if less than half of the searches came there.
    pub median_queries_to_near: Option<f64>,
    /// Median paid queries to the best of what is searched.
    pub median_queries_to_optimum: Option<f64>,
}

/// One problem.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemSummary {
    pub problem: String,
    pub report: String,
    pub unit: String,
    /// Whether less of what is reported is better.
    pub minimise: bool,
    pub best: f64,
    pub median: f64,
    /// How near counts as near, in what is searched.
    pub near: f64,
    /// How many architectures have values, where not all have: the others are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feasible: Option<Known>,
    pub methods: Vec<MethodSummary>,
}

/// A method over all problems.
#[derive(Clone, Debug, Serialize)]
pub struct OverallSummary {
    pub method: String,
    pub normalised_regret: BTreeMap<usize, Estimate>,
    pub average_rank: BTreeMap<usize, f64>,
}

/// A method against the chosen one, from the same starts.
#[derive(Clone, Debug, Serialize)]
pub struct PairedSummary {
    pub method: String,
    /// Normalised regret of the method minus that of the chosen one: positive where the chosen one is better.
    pub difference: BTreeMap<usize, Estimate>,
    /// Share of the starts from which the chosen one is better, those with equal results counting half.
    pub share_behind: BTreeMap<usize, f64>,
}

/// The numbers of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was compared.
    pub plan: Plan,
    /// Each problem.
    pub problems: Vec<ProblemSummary>,
    /// Each method over all problems.
    pub overall: Vec<OverallSummary>,
    /// What is ranked: problems, or the starts of a single one.
    pub ranked: String,
    /// Friedman's test after so many paid queries; `None` where there is nothing to test.
    pub friedman: BTreeMap<usize, Option<Friedman>>,
    /// Average ranks that differ by less are not told apart.
    pub nemenyi_critical_difference: Option<f64>,
    /// By the simulated clock, where there are workers or a latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockSummary>,
    /// The method that the others are paired with.
    pub against: String,
    /// Each other method against it.
    pub paired: Vec<PairedSummary>,
}

type All = [Vec<Vec<Option<Series>>>];

impl Summary {
    pub(super) fn new(
        plan: &Plan,
        problems: &[Problem],
        outcomes: &[Vec<Outcome>],
        series: &All,
        against: usize,
    ) -> Self {
        let methods = 0..plan.methods.len();
        let at = |f: &dyn Fn(usize) -> Vec<Vec<f64>>| -> BTreeMap<usize, Estimate> {
            let each = plan.budgets.iter().map(|&b| (b, f(b - 1)));
            each.filter_map(|(b, groups)| Some((b, estimate(&groups)?))).collect()
        };
        let per_problem = |p: usize| {
            let of = |m: usize| {
                let all: Vec<&Series> = series[p][m].iter().flatten().collect();
                let one = |f: fn(&Series) -> &[f64]| at(&|q| vec![all.iter().map(|s| f(s)[q]).collect()]);
                MethodSummary {
                    method: plan.methods[m].clone(),
                    searches: all.len(),
                    failed: failures(&outcomes[p][m]),
                    incumbent: one(|s| &s.incumbents),
                    regret: one(|s| &s.regrets),
                    normalised_regret: one(|s| &s.normalised),
                    median_queries_to_near: median_queries(all.iter().map(|s| s.near)),
                    median_queries_to_optimum: median_queries(all.iter().map(|s| s.optimum)),
                }
            };
            let problem = &problems[p];
            ProblemSummary {
                problem: problem.name.clone(),
                report: if problem.front.is_some() {
                    "hypervolume".into()
                } else {
                    problem.report.name().into()
                },
                unit: problem.unit.clone(),
                minimise: problem.front.is_none() && problem.report.minimises(),
                best: if problem.front.is_some() { 1.0 } else { problem.report.shown(problem.report.best()) },
                median: if problem.front.is_some() {
                    0.0
                } else {
                    problem.report.shown(problem.report.median())
                },
                near: if problem.front.is_some() { 0.01 } else { near(problem) },
                known: problem.known(),
                feasible: problem.feasible(),
                methods: methods.clone().map(of).collect(),
            }
        };
        let blocks: BTreeMap<usize, Vec<Vec<f64>>> =
            plan.budgets.iter().map(|&b| (b, blocks(series, b - 1))).collect();
        let overall = methods
            .clone()
            .map(|m| OverallSummary {
                method: plan.methods[m].clone(),
                normalised_regret: at(&|q| {
                    let of = |p: &Vec<Vec<Option<Series>>>| {
                        p[m].iter().flatten().map(|s| s.normalised[q]).collect()
                    };
                    series.iter().map(of).collect()
                }),
                average_rank: blocks
                    .iter()
                    .filter(|(_, blocks)| !blocks.is_empty())
                    .map(|(&b, blocks)| (b, mean(&blocks.iter().map(|r| r[m]).collect::<Vec<_>>())))
                    .collect(),
            })
            .collect();
        let paired = methods
            .clone()
            .filter(|&m| m != against)
            .map(|m| PairedSummary {
                method: plan.methods[m].clone(),
                difference: at(&|q| series.iter().map(|p| differences(&p[m], &p[against], q)).collect()),
                share_behind: plan
                    .budgets
                    .iter()
                    .filter_map(|&b| {
                        let all = series.iter().flat_map(|p| differences(&p[m], &p[against], b - 1));
                        let behind: Vec<f64> = all
                            .map(|d| {
                                if d > 0.0 {
                                    1.0
                                } else if d < 0.0 {
                                    0.0
                                } else {
                                    0.5
                                }
                            })
                            .collect();
                        (!behind.is_empty()).then(|| (b, mean(&behind)))
                    })
                    .collect(),
            })
            .collect();
        let most = blocks.values().next_back().map_or(0, Vec::len);
        Self {
            plan: plan.clone(),
            problems: (0..problems.len()).map(per_problem).collect(),
            overall,
            ranked: if problems.len() > 1 { "problems" } else { "starts" }.into(),
            friedman: blocks.iter().map(|(&b, blocks)| (b, friedman(blocks))).collect(),
            nemenyi_critical_difference: nemenyi_critical_difference(plan.methods.len(), most),
            clock: ClockSummary::new(plan, outcomes, series),
            against: plan.methods.get(against).cloned().unwrap_or_default(),
            paired,
        }
    }

    /// The highest budget.
    pub(super) fn budget(&self) -> usize {
        self.plan.budgets.iter().copied().max().unwrap_or(0)
    }
}

impl Estimate {
    /// In another unit.
    pub(super) fn scaled(self, factor: f64) -> Self {
        let Self { mean, median, ci95: [low, high] } = self;
        Self { mean: mean * factor, median: median * factor, ci95: [low * factor, high * factor] }
    }
}

pub(super) fn estimate(groups: &[Vec<f64>]) -> Option<Estimate> {
    let groups: Vec<Vec<f64>> = groups.iter().filter(|g| !g.is_empty()).cloned().collect();
    if groups.is_empty() {
        return None;
    }
    let (mean, ci95) = bootstrap_mean(&groups);
    let median = median(groups.concat())?;
    Some(Estimate { mean, median, ci95 })
}

fn failures(outcome: &Outcome) -> BTreeMap<usize, String> {
    outcome.iter().enumerate().filter_map(|(s, r)| r.as_ref().err().map(|why| (s, why.clone()))).collect()
}

/// Median over searches, of which some may never have come there.
fn median_queries(found: impl Iterator<Item = Option<usize>>) -> Option<f64> {
    median(found.map(|n| n.map_or(f64::INFINITY, |n| n as f64)).collect()).filter(|median| median.is_finite())
}

/// Median, the mean of the middle two where their number is even; `None` for none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Differences from the starts that both methods searched.
fn differences(a: &[Option<Series>], b: &[Option<Series>], q: usize) -> Vec<f64> {
    a.iter().zip(b).filter_map(|(a, b)| Some(a.as_ref()?.normalised[q] - b.as_ref()?.normalised[q])).collect()
}

/// Ranks of the methods, in each problem by the mean over seeds; where there is one problem, from each start. A block in which
/// a method has nothing is left out.
fn blocks(series: &All, q: usize) -> Vec<Vec<f64>> {
    let values: Vec<Vec<Option<f64>>> = match series {
        [one] => {
            let seeds = one.first().map_or(0, Vec::len);
            let of = |s: usize| one.iter().map(|m| m[s].as_ref().map(|x| x.normalised[q])).collect();
            (0..seeds).map(of).collect()
        }
        many => many
            .iter()
            .map(|problem| {
                let of = |m: &Vec<Option<Series>>| {
                    let all: Vec<f64> = m.iter().flatten().map(|s| s.normalised[q]).collect();
                    (!all.is_empty()).then(|| mean(&all))
                };
                problem.iter().map(of).collect()
            })
            .collect(),
    };
    let whole = values.into_iter().filter_map(|block| block.into_iter().collect::<Option<Vec<f64>>>());
    whole.map(|block| ranks(&block)).collect()
}

/// The report that people read.
pub(super) fn document(summary: &Summary, plots: &[Plot]) -> Document {
    let plan = &summary.plan;
    let mut blocks = Vec::new();
    let counted = match plan.count {
        srnas_task::Count::Classes => "distinct canonical keys",
        srnas_task::Count::Strings => "distinct encodings",
    };
    blocks.push(Block::Paragraph(format!(
        "{} methods on {} problem(s), {} searches each from shared random starts (seed {}). Queries are {counted}, the start is \
         the first. srnas {}.",
        plan.methods.len(),
        plan.problems.len(),
        plan.seeds,
        plan.seed,
        plan.software
    )));
    let known =
        summary.problems.iter().filter_map(|p| Some((p.known?.why, format!("{}: {}", p.problem, p.known?))));
    let (predicted, partial): (Vec<_>, Vec<_>) = known.partition(|(why, _)| *why == Why::AreTheBestKnown);
    let joined =
        |all: &[(Why, String)]| all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
    if !predicted.is_empty() {
        blocks.push(Block::Paragraph(format!(
            "Values are predictions of a benchmark's network wherever its file has no measurement. {}.",
            joined(&predicted)
        )));
    }
    let feasible: Vec<String> =
        summary.problems.iter().filter_map(|p| Some(format!("{}: {}", p.problem, p.feasible?))).collect();
    if !feasible.is_empty() {
        blocks.push(Block::Paragraph(format!(
            "What breaks a limit is paid for and told to the method, and does not count: best and median are those of what keeps every \
             limit, and until a search has found something that does, it has the worst of them. {}.",
            feasible.join("; ")
        )));
    }
    if !partial.is_empty() {
        blocks.push(Block::Paragraph(format!(
            "The comparison is on a part of the architectures: best and median are theirs, and of a table nothing else is drawn or asked for. {}.",
            joined(&partial)
        )));
    }
    let failed: Vec<String> = summary
        .problems
        .iter()
        .flat_map(|p| p.methods.iter().map(move |m| (p, m)))
        .filter(|(_, m)| !m.failed.is_empty())
        .map(|(p, m)| {
            let (seed, why) = m.failed.first_key_value().expect("not empty");
            let all = m.failed.len() + m.searches;
            format!(
                "{} on {}: {} of {all} searches failed (seed {seed}: {why})",
                m.method,
                p.problem,
                m.failed.len()
            )
        })
        .collect();
    if !failed.is_empty() {
        blocks.push(Block::Heading("Failed".into()));
        blocks.push(Block::Paragraph(format!("These are not in any mean below: {}.", failed.join("; "))));
    }
    let picture = |name: &str| {
        let plot = plots.iter().find(|p| p.name == name)?;
        Some(Block::Picture { name: plot.name.clone(), caption: plot.caption.clone() })
    };
    blocks.push(Block::Heading("All problems".into()));
    blocks.push(Block::Paragraph(
        "Normalised regret, (best − incumbent)/(best − median) of the table, after so many paid queries: mean over the problems \
         and its 95 % bootstrap interval over starts. 0 is the best, 1 the median; with several objectives, the share of the \
         whole front's hypervolume that is missing."
            .into(),
    ));
    blocks.push(overall_table(summary));
    blocks.extend(picture("regret"));
    if let Some(clock) = &summary.clock {
        blocks.extend(clock.blocks(plan));
        blocks.extend(picture("clock"));
    }
    if summary.overall.len() > 1 {
        blocks.push(Block::Heading("Ranks".into()));
        blocks.push(Block::Paragraph(rank_text(summary)));
        blocks.push(rank_table(summary));
        blocks.extend(picture("ranks"));
        blocks.push(Block::Heading(format!("Against {}", summary.against)));
        blocks.push(Block::Paragraph(format!(
            "Normalised regret minus that of {} from the same starts (positive: {} is better), its 95 % bootstrap interval, and \
             the share of starts from which {} is better, equal results counting half.",
            summary.against, summary.against, summary.against
        )));
        blocks.push(paired_table(summary));
    }
    for problem in &summary.problems {
        blocks.push(Block::Heading(problem.problem.clone()));
        blocks.extend(problem_blocks(problem, summary));
        let name = super::plots::file_name(&problem.problem);
        for kind in ["regret", "hypervolume", "front"] {
            blocks.extend(picture(&format!("{kind}-{name}")));
        }
    }
    Document { title: "Comparison of search methods".into(), blocks }
}

fn heads(first: &str, plan: &Plan) -> Vec<String> {
    std::iter::once(first.to_string()).chain(plan.budgets.iter().map(|b| format!("after {b}"))).collect()
}

fn cells<T>(first: &str, plan: &Plan, by: &BTreeMap<usize, T>, show: impl Fn(&T) -> String) -> Vec<String> {
    let values = plan.budgets.iter().map(|b| by.get(b).map_or("–".into(), &show));
    std::iter::once(first.to_string()).chain(values).collect()
}

/// Three significant digits, or as many as a number near 100 needs.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v > 0.0 && v < 1e-3 || v >= 1e7 => return format!("{value:.2e}"),
        v if v >= 10.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

pub(super) fn with_interval(e: &Estimate) -> String {
    format!("{} [{}, {}]", short(e.mean), short(e.ci95[0]), short(e.ci95[1]))
}

fn overall_table(summary: &Summary) -> Block {
    let plan = &summary.plan;
    let rows = summary.overall.iter().map(|o| cells(&o.method, plan, &o.normalised_regret, with_interval));
    Block::Table { head: heads("method", plan), rows: rows.collect() }
}

fn rank_text(summary: &Summary) -> String {
    let budget = summary.budget();
    let test = match summary.friedman.get(&budget).copied().flatten() {
        Some(f) => format!(
            "Friedman's test after {budget} queries over {} {}: χ² = {:.1}, p = {:.2e}.",
            f.blocks, summary.ranked, f.statistic, f.p
        ),
        None => "Too few results for Friedman's test.".into(),
    };
    let difference = match summary.nemenyi_critical_difference {
        Some(d) => {
            format!("Average ranks that differ by less than {d:.2} are not told apart (Nemenyi, α = 0.05).")
        }
        None => "There is no critical difference for so many methods.".into(),
    };
    let starts = if summary.ranked == "starts" {
        " With one problem the ranks are over its starts, which says nothing about other problems."
    } else {
        ""
    };
    format!("Average ranks, 1 being the best. {test} {difference}{starts}")
}

fn rank_table(summary: &Summary) -> Block {
    let plan = &summary.plan;
    let rows = summary.overall.iter().map(|o| cells(&o.method, plan, &o.average_rank, |r| format!("{r:.2}")));
    Block::Table { head: heads("method", plan), rows: rows.collect() }
}

fn paired_table(summary: &Summary) -> Block {
    let plan = &summary.plan;
    let rows = summary.paired.iter().map(|p| {
        let both: BTreeMap<usize, (&Estimate, f64)> =
            p.difference.iter().filter_map(|(b, d)| Some((*b, (d, *p.share_behind.get(b)?)))).collect();
        cells(&p.method, plan, &both, |(d, share)| format!("{} · {:.0} %", with_interval(d), 100.0 * share))
    });
    Block::Table { head: heads("method", plan), rows: rows.collect() }
}

fn problem_blocks(problem: &ProblemSummary, summary: &Summary) -> Vec<Block> {
    let plan = &summary.plan;
    let unit = if problem.unit.is_empty() { String::new() } else { format!(" {}", problem.unit) };
    let several = problem.report == "hypervolume";
    let reported = match several {
        true => "Share of the hypervolume of the whole table's front".to_string(),
        false => format!(
            "{} of the incumbent ({}best {}{unit}, median {}{unit})",
            problem.report,
            if problem.report == problem.problem { "" } else { "chosen by what is searched; " },
            short(problem.best),
            short(problem.median)
        ),
    };
    let near = match several {
        true => "99 % of it".to_string(),
        false => format!("{}{unit} of the best of what is searched", short(problem.near)),
    };
    let mut head = heads("method", plan);
    head.extend(["queries to near".to_string(), "to the best".to_string()]);
    let beyond = format!("> {}", summary.budget());
    let rows = problem.methods.iter().map(|m| {
        let mut row = cells(&m.method, plan, &m.incumbent, with_interval);
        for queries in [m.median_queries_to_near, m.median_queries_to_optimum] {
            row.push(queries.map_or_else(|| beyond.clone(), |q| format!("{q}")));
        }
        row
    });
    vec![
        Block::Paragraph(format!(
            "{reported}, mean and 95 % interval. Near is within {near}; queries are medians."
        )),
        Block::Table { head, rows: rows.collect() },
    ]
}
