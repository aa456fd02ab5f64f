//! A search as its page shows it, live or frozen as its report.

use super::live::{Said, SearchReport};
use crate::{goal::Goal, importance::Importance, live::Measured};
use serde::Serialize;
use serde_json::{Value, json};
use srnas_page::{Rows, View};
use srnas_space::SearchSpace;
use srnas_task::Fidelities;
use std::collections::{BTreeMap, BTreeSet};

/// So many reasons of failures are told apart.
const REASONS: usize = 12;

/// A search, and what is told of it.
pub struct SearchPage<'a> {
    /// What was found.
    pub report: &'a SearchReport,
    /// Where.
    pub space: &'a SearchSpace,
    /// By which trainings.
    pub fidelities: &'a Fidelities,
    /// What for.
    pub goal: &'a Goal,
    /// What the report is of, in its order.
    pub found: &'a [Measured],
    /// Which decisions mattered, and after how many measurements that was found.
    pub importance: (&'a Importance, usize),
    /// Its heading.
    pub title: String,
    /// How the architectures were chosen.
    pub how: String,
    /// How it stands, in a line.
    pub headline: String,
    /// Of one that runs: `now`, `began`, `budget`, `parallel`, `left` (seconds), `basis` (of that, in words) and `running`.
    pub state: Option<Value>,
    /// When each began and ended, in seconds since 1970, where that is known.
    pub times: Vec<Option<[f64; 2]>>,
    /// What some trainings reported as they went.
    pub curves: Vec<ReportedCurve>,
}

/// What a training reported of the first metric that is measured as it went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportedCurve {
    /// Which of the rows it is; none where it runs.
    pub row: Option<usize>,
    /// In the space's notation.
    pub architecture: String,
    /// Whether it was stopped early.
    pub early: bool,
    /// How far it was, and the metric there, ascending.
    pub points: Vec<(f64, f64)>,
}

impl SearchPage<'_> {
    /// What the page is drawn from.
    pub fn view(&self) -> View {
        View { about: self.about(), head: self.head(), rows: self.rows() }
    }

    fn about(&self) -> Value {
        let decision =
            |d: &srnas_space::Decision| json!({ "name": d.name, "choices": d.choices, "literal": d.literal });
        let shorter: Vec<String> =
            self.fidelities.all().filter(|f| !f.is_full()).map(|f| self.fidelities.name(f)).collect();
        json!({
            "kind": "search",
            "title": self.title,
            "how": self.how,
            "space": {
                "name": self.space.name(),
                "decisions": self.space.decisions().iter().map(decision).collect::<Vec<_>>(),
            },
            "goal": { "words": self.report.goal_in_words(), "objectives": self.goal.objectives() },
            "reported": self.goal.metrics().first(),
            "unit": (self.fidelities.shorter() > 0).then(|| self.fidelities.unit()),
            "shorter": shorter,
            "full_name": match self.fidelities.shorter() {
                0 => "a full training".into(),
                _ => self.fidelities.name(srnas_task::Fidelity::Full),
            },
            "counted": self.report.counted(),
        })
    }

    fn head(&self) -> Value {
        let report = self.report;
        let front = report.front.as_ref().map(|front| {
            let point = |p: &super::FrontPoint| json!({ "row": p.measurement - 1, "picks": p.picks });
            front.iter().map(point).collect::<Vec<_>>()
        });
        let (importance, of) = self.importance;
        let shorter = report.shorter.iter().map(|one| json!({ "words": one.in_words(), "pairs": one.pairs }));
        json!({
            "headline": self.headline,
            "state": self.state,
            "spent": report.spent,
            "infeasible": report.rows.iter().filter(|row| row.value().is_none()).count(),
            "best": report.best_row,
            "front": front,
            "within": report.within_limits(),
            "failures": self.failures(),
            "importance": {
                "main": importance.main, "pairs": importance.pairs, "words": super::live::IMPORTANCE, "of": of,
            },
            "shorter": shorter.collect::<Vec<_>>(),
            "curves": self.curves,
            "saved": if report.shorter.is_empty() { String::new() } else { report.saved() },
        })
    }

    /// Reasons and how often, the most frequent first; folders that were kept differ from one to the next.
    fn failures(&self) -> Vec<(String, usize)> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.report.rows {
            if let Said::Infeasible(reason) = &row.said {
                *reasons.entry(reason.split(" (kept: ").next().unwrap_or(reason)).or_default() += 1;
            }
        }
        let mut told: Vec<(String, usize)> =
            reasons.into_iter().map(|(why, n)| (why.to_string(), n)).collect();
        told.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let others: usize = told.iter().skip(REASONS).map(|(_, n)| n).sum();
        told.truncate(REASONS);
        told.extend((others > 0).then(|| ("other reasons".to_string(), others)));
        told
    }

    fn rows(&self) -> Rows {
        let rows = &self.report.rows;
        let choices = self.found.iter().map(|measured| {
            let all = &measured.training.choices;
            let counts = |d: usize| (!self.space.is_inactive(all, d)).then_some(all[d]);
            (0..all.len()).map(|d| counts(d).map_or(Value::Null, Value::from)).collect::<Value>()
        });
        let reason = |said: &Said| match said {
            Said::Infeasible(reason) => Some(reason.clone()),
            Said::Value(_) => None,
        };
        let time = |place: usize| {
            (0..rows.len()).map(move |i| self.times.get(i).copied().flatten().map(|t| t[place]))
        };
        let mut all = Rows::new(rows.len())
            .with("architecture", rows.iter().map(|row| row.architecture.clone()))
            .with("choices", choices)
            .with("value", rows.iter().map(|row| row.value()))
            .with("reason", rows.iter().map(|row| reason(&row.said)))
            .with("broken", rows.iter().map(|row| row.broken.clone()))
            .with("trained", rows.iter().map(|row| row.trained))
            .with("cost", rows.iter().map(|row| row.cost))
            .with("full", rows.iter().map(|row| row.full))
            .with("began", time(0))
            .with("ended", time(1));
        let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
        for name in names {
            all = all.with(&format!("metric/{name}"), rows.iter().map(|row| row.metrics.get(name).copied()));
        }
        all
    }
}
