//! How far a benchmark can be trusted: what seeds agree on, and what metrics agree on.

use crate::benchmark::{Benchmark, MetricView};
use serde::Serialize;
use srnas_common::statistics::rank_correlation;
use std::collections::HashSet;

/// How much of a metric is the architecture, and how much is chance. Each class counts once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The metric.
    pub metric: String,
    /// Standard deviation over classes of the mean over seeds.
    pub spread: f64,
    /// Standard deviation of one seed around its architecture's mean, pooled over classes; `None` with one seed.
    pub noise: Option<f64>,
    /// Spearman's rank correlation between seeds, the mean over pairs of them; `None` with one seed.
    pub between_seeds: Option<f64>,
    /// Share of the classes whose mean cannot be told from the best one's: less than two standard errors of a difference
    /// away. `None` with one seed.
    pub within_noise_of_best: Option<f64>,
    /// Spearman's rank correlation of the means with those of each metric asked for, in their order.
    pub with: Vec<f64>,
}

/// The agreement of each of these metrics. Classes of which a metric is missing are left out of it.
pub fn agreement(benchmark: &Benchmark, metrics: &[MetricView]) -> Vec<Agreement> {
    let mut seen = HashSet::new();
    let space = benchmark.space();
    let rows: Vec<usize> = (0..benchmark.rows())
        .filter(|&row| seen.insert(space.canonical_key(benchmark.choices(row))))
        .collect();
    let means: Vec<Vec<f64>> =
        metrics.iter().map(|m| rows.iter().map(|&row| f64::from(m.mean(row))).collect()).collect();
    let correlation = |a: &[f64], b: &[f64]| {
        let known: (Vec<f64>, Vec<f64>) =
            a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan()).map(|(&a, &b)| (a, b)).unzip();
        rank_correlation(&known.0, &known.1)
    };
    let of = |(metric, mean): (&MetricView, &Vec<f64>)| {
        let seeds = metric.seeds();
        let column = |seed| rows.iter().map(|&row| f64::from(metric.value(row, seed))).collect::<Vec<f64>>();
        let columns: Vec<Vec<f64>> = (0..seeds).map(column).collect();
        let known: Vec<f64> = mean.iter().copied().filter(|v| !v.is_nan()).collect();
        let deviation = |values: &[f64]| {
            let centre = values.iter().sum::<f64>() / values.len() as f64;
            (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
        };
        let (mut noise, mut between, mut within) = (None, None, None);
        if seeds > 1 {
            let squares =
                (0..rows.len()).flat_map(|row| columns.iter().map(move |c| (c[row] - mean[row]).powi(2)));
            let squares: Vec<f64> = squares.filter(|v| !v.is_nan()).collect();
            let one = (squares.iter().sum::<f64>() / squares.len() as f64 * seeds as f64
                / (seeds as f64 - 1.0))
                .sqrt();
            let pairs = (0..seeds).flat_map(|a| (a + 1..seeds).map(move |b| (a, b)));
            let each: Vec<f64> = pairs.map(|(a, b)| correlation(&columns[a], &columns[b])).collect();
            between = Some(each.iter().sum::<f64>() / each.len() as f64);
            let sign = metric.info().direction.sign();
            let best = known.iter().map(|v| sign * v).fold(f64::NEG_INFINITY, f64::max);
            let error = 2.0 * one * (2.0 / seeds as f64).sqrt();
            let near = known.iter().filter(|v| sign * **v >= best - error).count();
            within = Some(near as f64 / known.len() as f64);
            noise = Some(one);
        }
        Agreement {
            metric: metric.name().into(),
            spread: deviation(&known),
            noise,
            between_seeds: between,
            within_noise_of_best: within,
            with: means.iter().map(|other| correlation(mean, other)).collect(),
        }
    };
    metrics.iter().zip(&means).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo, Rows};
    use srnas_common::space::SearchSpace;

    #[test]
    fn seeds_and_metrics_that_agree_are_told_from_those_that_do_not() {
        let space = SearchSpace::named("nb201").unwrap();
        let mut classes = HashSet::new();
        let mut all = vec![0; space.len()];
        let mut next = |rank| {
            space.unrank(rank, &mut all);
            classes.insert(space.canonical_key(&all)).then(|| all.clone())
        };
        let choices: Vec<u8> = (0..15_625).filter_map(&mut next).take(10).flatten().collect();
        let mut writer = BenchmarkWriter::new("toy", &space, choices, "a test", "none");
        let info = |direction| MetricInfo { unit: "%".into(), direction, description: "made up".into() };
        let pairs = |f: fn(f32) -> [f32; 2]| (0..10).flat_map(|i| f(i as f32)).collect::<Vec<f32>>();
        writer.metric("a/up", info(Direction::Maximise), 2, &pairs(|i| [i, i + 1.0]));
        writer.metric("a/down", info(Direction::Minimise), 2, &pairs(|i| [-i, -i]));
        writer.metric(
            "a/once",
            info(Direction::Maximise),
            1,
            &(0..10).map(|i| (i * i) as f32).collect::<Vec<_>>(),
        );
        writer.rows_are(Rows::Classes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.safetensors");
        writer.write(&path).unwrap();
        let benchmark = Benchmark::open(&path).unwrap();
        let metrics: Vec<MetricView> = benchmark.metrics().collect();
        let [down, once, up] = &agreement(&benchmark, &metrics)[..] else { panic!("three metrics") };
        assert_eq!((down.noise, down.within_noise_of_best), (Some(0.0), Some(0.1)));
        // Values half a point above and below the mean; two standard errors are √2.
        assert!((up.noise.unwrap() - 0.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(up.within_noise_of_best, Some(0.2));
        assert_eq!((up.between_seeds, once.between_seeds), (Some(1.0), None));
        assert_eq!(up.with, [-1.0, 1.0, 1.0]);
        assert!((down.spread - 3.0276503540974917).abs() < 1e-6);
    }
}
