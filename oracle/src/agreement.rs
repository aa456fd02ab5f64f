//! How far a benchmark can be trusted: what seeds agree on, and what metrics agree on.

use crate::benchmark::{Benchmark, MetricView};
use serde::Serialize;
use srnas_basics::statistics::rank_correlation;

/// How much of a metric is the architecture, and how much is chance. Each class counts once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The metric.
    pub metric: String,
    /// Standard deviation over classes of the mean over seeds.
    pub spread: f64,
    /// Standard deviation of one seed around its architecture's mean: the squares of all classes over their degrees of freedom,
    /// one less than a class has seeds; `None` where no class has two.
    pub noise: Option<f64>,
    /// Spearman's rank correlation between seeds, the mean over the pairs of seeds that have one; `None` where none has.
    pub between_seeds: Option<f64>,
    /// Share of the classes whose mean cannot be told from the best one's: less than two standard errors of the difference
    /// away, of as many seeds as the two have. `None` where the noise is not known.
    pub within_noise_of_best: Option<f64>,
    /// Spearman's rank correlation of the means with those of each metric asked for, in their order.
    pub with: Vec<f64>,
}

/// What the seeds of one class say.
struct Class {
    /// NaN where there is none.
    mean: f64,
    seeds: usize,
    /// Sum of the squared differences to the mean.
    squares: f64,
}

impl Class {
    fn of(metric: &MetricView, row: usize) -> Self {
        let known: Vec<f64> = metric.known(row).collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        Self { mean, seeds: known.len(), squares: known.iter().map(|v| (v - mean).powi(2)).sum() }
    }
}

/// The agreement of each of these metrics. Classes of which a metric is missing are left out of it.
pub fn agreement(benchmark: &Benchmark, metrics: &[MetricView]) -> Vec<Agreement> {
    let rows = benchmark.distinct();
    let means: Vec<Vec<f64>> =
        metrics.iter().map(|m| rows.iter().map(|&row| m.mean(row)).collect()).collect();
    let of = |(metric, mean): (&MetricView, &Vec<f64>)| {
        let classes: Vec<Class> =
            rows.iter().map(|&row| Class::of(metric, row)).filter(|class| class.seeds > 0).collect();
        let noise = noise(&classes);
        Agreement {
            metric: metric.name().into(),
            spread: deviation(&classes),
            noise,
            between_seeds: between_seeds(metric, &rows),
            within_noise_of_best: noise
                .map(|noise| within_noise(&classes, noise, metric.info().direction.sign())),
            with: means.iter().map(|other| correlation(mean, other)).collect(),
        }
    };
    metrics.iter().zip(&means).map(of).collect()
}

/// What two benchmarks of one space say alike of a metric of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alike {
    /// The metric.
    pub metric: String,
    /// Classes of which both have a value.
    pub classes: usize,
    /// Spearman's rank correlation of their means.
    pub rank_correlation: f64,
}

/// What two benchmarks say alike of each metric that both have, in the order of the first.
///
/// # Errors
/// Benchmarks of two spaces.
pub fn alike(one: &Benchmark, other: &Benchmark) -> Result<Vec<Alike>, String> {
    let names = [one, other].map(|benchmark| benchmark.space().name());
    if names[0] != names[1] {
        return Err(format!(
            "{} is of the space {}, and {} of {}: they have no architecture in common",
            one.name(),
            names[0],
            other.name(),
            names[1]
        ));
    }
    let places = one.distinct().into_iter().filter_map(|row| Some((row, other.row_of(one.choices(row))?)));
    let places: Vec<(usize, usize)> = places.collect();
    let of = |metric: MetricView| {
        let same = other.metric(metric.name()).ok()?;
        let means = places.iter().map(|&(own, others)| (metric.mean(own), same.mean(others)));
        let known: (Vec<f64>, Vec<f64>) = means.filter(|(a, b)| !a.is_nan() && !b.is_nan()).unzip();
        let rank_correlation = rank_correlation(&known.0, &known.1);
        Some(Alike { metric: metric.name().into(), classes: known.0.len(), rank_correlation })
    };
    Ok(one.metrics().filter_map(of).collect())
}

/// Standard deviation of the means.
fn deviation(classes: &[Class]) -> f64 {
    let n = classes.len() as f64;
    let centre = classes.iter().map(|class| class.mean).sum::<f64>() / n;
    (classes.iter().map(|class| (class.mean - centre).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

/// Standard deviation of one seed, pooled; a class with one seed says nothing of it.
fn noise(classes: &[Class]) -> Option<f64> {
    let freedom: usize = classes.iter().map(|class| class.seeds - 1).sum();
    let squares: f64 = classes.iter().map(|class| class.squares).sum();
    (freedom > 0).then(|| (squares / freedom as f64).sqrt())
}

fn within_noise(classes: &[Class], noise: f64, sign: f64) -> f64 {
    // Of equally good ones the surest.
    let better =
        |a: &&Class, b: &&Class| (sign * a.mean).total_cmp(&(sign * b.mean)).then(a.seeds.cmp(&b.seeds));
    let Some(best) = classes.iter().max_by(better) else { return f64::NAN };
    let near = |class: &&Class| {
        let error = noise * (1.0 / class.seeds as f64 + 1.0 / best.seeds as f64).sqrt();
        sign * (best.mean - class.mean) <= 2.0 * error
    };
    classes.iter().filter(near).count() as f64 / classes.len() as f64
}

fn between_seeds(metric: &MetricView, rows: &[usize]) -> Option<f64> {
    let column = |seed| rows.iter().map(|&row| metric.value(row, seed)).collect::<Vec<f64>>();
    let columns: Vec<Vec<f64>> = (0..metric.seeds()).map(column).collect();
    let pairs = (0..columns.len()).flat_map(|a| (a + 1..columns.len()).map(move |b| (a, b)));
    let each: Vec<f64> =
        pairs.map(|(a, b)| correlation(&columns[a], &columns[b])).filter(|r| !r.is_nan()).collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
}

/// Rank correlation where both are known.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let known: (Vec<f64>, Vec<f64>) =
        a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan()).map(|(&a, &b)| (a, b)).unzip();
    rank_correlation(&known.0, &known.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo, Rows};
    use srnas_space::SearchSpace;
    use std::{collections::HashSet, f32::consts::FRAC_1_SQRT_2};

    #[test]
    fn two_benchmarks_are_compared_by_the_metrics_and_the_architectures_that_both_have() {
        let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
        let choices = |ranks: &[u64]| -> Vec<u8> {
            let mut choices = vec![0; space.len()];
            let all = ranks.iter().flat_map(|&rank| {
                space.unrank(rank, &mut choices);
                choices.clone()
            });
            all.collect()
        };
        let folder = tempfile::tempdir().unwrap();
        let benchmark = |name: &str, ranks: &[u64], metrics: &[(&str, &[f32])]| {
            let mut writer = BenchmarkWriter::new(name, &space, choices(ranks), "a test", "none");
            for (metric, values) in metrics {
                let info = MetricInfo {
                    unit: "%".into(),
                    direction: Direction::Maximise,
                    description: "made up".into(),
                };
                writer.metric(*metric, info, 1, values);
            }
            let path = folder.path().join(format!("{name}.safetensors"));
            writer.write(&path).unwrap();
            Benchmark::open(&path).unwrap()
        };
        let nan = f32::NAN;
        let one = benchmark("one", &[1, 2, 3, 4, 5], &[("a/x", &[1., 2., 3., 4., nan]), ("a/y", &[1.; 5])]);
        // In another order, and of 4 nothing.
        let other = benchmark("other", &[9, 3, 2, 1, 5], &[("a/x", &[0., 9., 7., 8., 1.])]);
        let found = alike(&one, &other).unwrap();
        assert_eq!(found, [Alike { metric: "a/x".into(), classes: 3, rank_correlation: 0.5 }]);
        let cells = crate::digits::benchmark();
        assert!(alike(&one, &cells).unwrap_err().contains("no architecture in common"));
    }

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
    /// A benchmark of cells of different classes with one metric; NaN is a seed that is missing.
    fn toy(seeds: usize, direction: Direction, values: &[f32]) -> Agreement {
        let space = SearchSpace::named("nb201").unwrap();
        let choices: Vec<u8> = (0..values.len() / seeds).flat_map(|i| [0, 0, 0, 1 + i as u8, 0, 0]).collect();
        let mut writer = BenchmarkWriter::new("toy", &space, choices, "a test", "none");
        let info = MetricInfo { unit: "%".into(), direction, description: "made up".into() };
        writer.metric("a/m", info, seeds, values);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.safetensors");
        writer.write(&path).unwrap();
        let benchmark = Benchmark::open(&path).unwrap();
        let metrics: Vec<MetricView> = benchmark.metrics().collect();
        agreement(&benchmark, &metrics).remove(0)
    }

    #[test]
    fn unequal_numbers_of_seeds_count_by_their_degrees_of_freedom() {
        let nan = f32::NAN;
        // Squares 2, 0.5 and none over 2 + 1 + 0 degrees of freedom.
        let values = [11.0, 12.0, 13.0, 20.0, 21.0, nan, 30.0, nan, nan, nan, nan, nan];
        let found = toy(3, Direction::Maximise, &values);
        assert!((found.noise.unwrap() - (2.5f64 / 3.0).sqrt()).abs() < 1e-6, "{found:?}");
        // 30 is the best, of one seed: its difference to 20.5, of two, has an error of √(1 + 1/2) noises.
        assert_eq!(found.within_noise_of_best, Some(1.0 / 3.0));
        // Seeds 0 and 1 are both known of two classes, the others of one and say nothing of ranks.
        assert_eq!(found.between_seeds, Some(1.0));
        // Twenty single measurements leave the noise of the two that were repeated what it is.
        let repeated = [10.0, 10.4, 11.0, 11.4];
        let alone = toy(2, Direction::Maximise, &repeated).noise.unwrap();
        let many = [&repeated[..], &[12.0, nan], &[13.0, nan]].concat();
        assert!((toy(2, Direction::Maximise, &many).noise.unwrap() - alone).abs() < 1e-9);
        assert!((alone - 0.08f64.sqrt()).abs() < 1e-6, "{alone}");
    }

    #[test]
    fn how_sure_a_difference_is_depends_on_the_seeds_of_both() {
        let nan = f32::NAN;
        let noise = [-FRAC_1_SQRT_2, FRAC_1_SQRT_2];
        let found = toy(2, Direction::Maximise, &[noise[0], noise[1], 4.0, nan, 1.6, 1.6, 1.1, nan]);
        assert!((found.noise.unwrap() - 0.5f64.sqrt()).abs() < 1e-4, "two classes were repeated: {found:?}");
        // Errors: √0.5 √1.5 = 0.866 and √0.5 √2 = 1: of 4, 1.6 is 2.4 away and 1.1 is 2.9.
        assert_eq!(found.within_noise_of_best, Some(0.25));
        let found = toy(2, Direction::Minimise, &[noise[0], noise[1], 4.0, nan, 1.6, 1.6, 1.1, nan]);
        // 0 of two seeds: to 1.6 of two the error is 0.707, to 1.1 of one 0.866.
        assert_eq!(found.within_noise_of_best, Some(0.5));
    }

    #[test]
    fn where_nothing_was_repeated_nothing_is_known_of_noise() {
        let nan = f32::NAN;
        let found = toy(2, Direction::Maximise, &[1.0, nan, nan, 2.0, 3.0, nan]);
        assert_eq!((found.noise, found.between_seeds, found.within_noise_of_best), (None, None, None));
        assert_eq!(found.spread, 1.0);
    }
}
