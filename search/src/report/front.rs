//! The front of a search with several objectives, and the points of it that one would take.

use super::live::Row;
use crate::{
    goal::{Goal, Objective},
    pareto::dominates,
};
use serde::Serialize;
use std::{cmp::Ordering, collections::BTreeMap};

/// So near the best of the first objective, in shares of it, the cheapest is looked for.
const NEAR: f64 = 0.01;

/// A point of the front.
#[derive(Clone, Debug, Serialize)]
pub struct FrontPoint {
    /// In the space's notation.
    pub architecture: String,
    /// The value of each decision that counts.
    pub decisions: serde_json::Map<String, serde_json::Value>,
    /// Everything that was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Which measurement it was, counted from 1.
    pub measurement: usize,
    /// Why one would take it: the best of an objective, the knee, the cheapest near the best.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub picks: Vec<String>,
}

/// The full trainings within the limits that no other dominates, the best in the first objective first. Of points that are
/// equal in every objective the one that was measured first stands for all.
pub fn front(goal: &Goal, rows: &[Row]) -> Vec<FrontPoint> {
    let objectives = goal.objectives();
    let values = |row: &Row| -> Option<Vec<f64>> {
        if !row.full || row.counting().is_none() {
            return None;
        }
        objectives.iter().map(|o| Some(o.maximised(*row.metrics.get(&o.metric)?))).collect()
    };
    let mut all: Vec<(usize, Vec<f64>)> =
        rows.iter().enumerate().filter_map(|(i, row)| Some((i, values(row)?))).collect();
    // The best in the first objective come first, of equals the first measured: nothing later beats something earlier.
    let better = |a: &[f64], b: &[f64]| b.partial_cmp(a).unwrap_or(Ordering::Equal);
    all.sort_by(|(i, a), (j, b)| better(a, b).then(i.cmp(j)));
    let mut kept: Vec<(usize, Vec<f64>)> = Vec::new();
    for (i, own) in all {
        if !kept.iter().any(|(_, other)| dominates(other, &own) || *other == own) {
            kept.push((i, own));
        }
    }
    let mut points: Vec<FrontPoint> = kept.iter().map(|(i, _)| FrontPoint::of(&rows[*i], i + 1)).collect();
    let values: Vec<&[f64]> = kept.iter().map(|(_, values)| values.as_slice()).collect();
    for (name, place) in picks(objectives, &values) {
        points[place].picks.push(name);
    }
    points
}

impl FrontPoint {
    fn of(row: &Row, measurement: usize) -> Self {
        Self {
            architecture: row.architecture.clone(),
            decisions: row.decisions.clone(),
            metrics: row.metrics.clone(),
            measurement,
            picks: Vec::new(),
        }
    }
}

/// Names and places of the points that one would take; `values` are those of the front, each to be maximised, the best in the
/// first objective first.
fn picks(objectives: &[Objective], values: &[&[f64]]) -> Vec<(String, usize)> {
    let Some(first) = values.first() else { return Vec::new() };
    // Of equals the one nearer to the best of the first objective.
    let most = |score: &dyn Fn(usize) -> f64, among: &mut dyn Iterator<Item = usize>| {
        among.reduce(|best, next| if score(next) > score(best) { next } else { best })
    };
    let mut picked = Vec::new();
    for (d, objective) in objectives.iter().enumerate() {
        let name = format!("best {}", objective.metric);
        picked.extend(most(&|i| values[i][d], &mut (0..values.len())).map(|place| (name, place)));
    }
    if values.len() < 3 {
        return picked;
    }
    // The point nearest to where every objective would be at its best, each in units of its range on the front.
    let range = |d: usize| {
        let of = || values.iter().map(|v| v[d]);
        (of().fold(f64::INFINITY, f64::min), of().fold(f64::NEG_INFINITY, f64::max))
    };
    let ranges: Vec<(f64, f64)> = (0..objectives.len()).map(range).collect();
    let far = |i: usize| -> f64 {
        let part = |(d, (low, high)): (usize, &(f64, f64))| match high > low {
            true => ((high - values[i][d]) / (high - low)).powi(2),
            false => 0.0,
        };
        ranges.iter().enumerate().map(part).sum()
    };
    picked.extend(most(&|i| -far(i), &mut (0..values.len())).map(|place| ("knee".into(), place)));
    let best = first[0];
    let mut near = (0..values.len()).filter(|&i| best - values[i][0] <= NEAR * best.abs());
    let name = format!("best {} within 1 % of the best {}", objectives[1].metric, objectives[0].metric);
    picked.extend(most(&|i| values[i][1], &mut near).map(|place| (name, place)));
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{live::Measured, report::Said};
    use srnas_oracle::costly::Answer;
    use srnas_space::{Conditional, Decision};
    use srnas_task::{Fidelities, Training};

    fn rows(goal: &Goal, measured: &[(f64, f64)]) -> Vec<Row> {
        let choices = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let space = Conditional::space("made-up", vec![Decision::new("d", &choices)], vec![]).unwrap();
        let row = |(i, (accuracy, ms)): (usize, &(f64, f64))| {
            let metrics = BTreeMap::from([("accuracy".into(), *accuracy), ("ms".into(), *ms)]);
            let training = Training::full(vec![i as u8]);
            let measured = Measured { training, key: i as u64, cost: 1.0, answer: Answer::Metrics(metrics) };
            Row::new(&space, &Fidelities::FULL, goal, &measured)
        };
        measured.iter().enumerate().map(row).collect()
    }

    fn goal(limits: &[&str]) -> Goal {
        let objective = |metric: &str, minimise| Objective { metric: metric.into(), minimise };
        let limits = limits.iter().map(|text| text.parse().unwrap()).collect();
        Goal::new(vec![objective("accuracy", false), objective("ms", true)], limits).unwrap()
    }

    fn names(points: &[FrontPoint]) -> Vec<(usize, Vec<&str>)> {
        points.iter().map(|p| (p.measurement, p.picks.iter().map(String::as_str).collect())).collect()
    }

    #[test]
    fn a_front_has_what_nothing_dominates_once_and_names_what_one_would_take() {
        let goal = goal(&[]);
        let near = "best ms within 1 % of the best accuracy";
        // The second is dominated, the fourth is the third again.
        let all =
            rows(&goal, &[(94.0, 20.0), (93.0, 21.0), (93.5, 8.0), (93.5, 8.0), (80.0, 2.0), (93.9, 19.0)]);
        let expected =
            vec![(1, vec!["best accuracy"]), (6, vec![]), (3, vec!["knee", near]), (5, vec!["best ms"])];
        assert_eq!(names(&front(&goal, &all)), expected);
        assert!(front(&goal, &[]).is_empty());
        // One point is the best of everything, and no knee.
        assert_eq!(names(&front(&goal, &all[..1])), vec![(1, vec!["best accuracy", "best ms"])]);
        // A constant objective leaves the best of the other.
        assert_eq!(names(&front(&goal, &rows(&goal, &[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)])))[0].0, 3);
    }

    #[test]
    fn what_breaks_a_limit_or_has_no_value_is_on_no_front() {
        let goal = goal(&["ms <= 10", "accuracy >= 85"]);
        let mut all = rows(&goal, &[(94.0, 20.0), (93.5, 8.0), (80.0, 2.0), (90.0, 4.0)]);
        assert_eq!(all[0].broken.as_deref(), Some("ms 20.0000 is not <= 10"));
        assert_eq!(front(&goal, &all).iter().map(|p| p.measurement).collect::<Vec<_>>(), [2, 4]);
        all[1].said = Said::Infeasible("it burnt".into());
        assert_eq!(front(&goal, &all).iter().map(|p| p.measurement).collect::<Vec<_>>(), [4]);
    }
}
