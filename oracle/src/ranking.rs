//! Which architectures of a benchmark are the best in a metric.
//!
//! The rule for ties, the one place that knows it: of equally good architectures the one comes first that comes first in its
//! space, by its choices from the first decision on, each in the order of its list. They share a rank, and the next rank counts
//! them all (1, 1, 3).

use crate::benchmark::{Benchmark, MetricView};

/// An architecture in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// 1 for the best; equally good ones share it.
    pub rank: usize,
    /// Its row in the benchmark.
    pub row: usize,
    /// Its mean over seeds, in the metric's own sign and unit.
    pub value: f64,
}

/// What was measured of a metric, the best first; where it has no value an architecture has no place.
pub fn ranked(benchmark: &Benchmark, metric: &MetricView) -> Vec<Ranked> {
    let sign = metric.info().direction.sign();
    let rows = benchmark.measured().into_iter().map(|row| Ranked { rank: 1, row, value: metric.mean(row) });
    let mut all: Vec<Ranked> = rows.filter(|ranked| !ranked.value.is_nan()).collect();
    let choices = |ranked: &Ranked| benchmark.choices(ranked.row);
    all.sort_by(|a, b| {
        // Adding 0 makes one zero of both.
        (sign * b.value + 0.0).total_cmp(&(sign * a.value + 0.0)).then_with(|| choices(a).cmp(choices(b)))
    });
    for place in 1..all.len() {
        let before = all[place - 1];
        all[place].rank = if all[place].value == before.value { before.rank } else { place + 1 };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo};
    use srnas_space::SearchSpace;

    #[test]
    fn equal_values_share_a_rank_in_the_order_of_the_space() {
        let space = SearchSpace::named("nb201").unwrap();
        // Against the order of the space.
        let choices: Vec<u8> = (0..5).rev().flat_map(|op| [0, 0, 0, op, 0, 0]).collect();
        let mut writer = BenchmarkWriter::new("toy", &space, choices, "made up", "none");
        let info = |direction| MetricInfo { unit: "ms".into(), direction, description: String::new() };
        writer.metric(
            "d/up",
            info(Direction::Maximise),
            2,
            &[1.0, 3.0, 2.0, f32::NAN, -0.0, 0.0, f32::NAN, f32::NAN, 0.0, 0.0],
        );
        writer.metric("d/down", info(Direction::Minimise), 1, &[-2.5, 7.0, 7.0, -3.0, 7.0]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.safetensors");
        writer.write(&path).unwrap();
        let benchmark = Benchmark::open(&path).unwrap();
        let of = |metric: &str| -> Vec<(usize, u8, f64)> {
            let all = ranked(&benchmark, &benchmark.metric(metric).unwrap());
            all.iter().map(|r| (r.rank, benchmark.choices(r.row)[3], r.value)).collect()
        };
        // Means 2 (of 1 and 3, and of 2 alone) and 0.
        assert_eq!(of("d/up"), [(1, 3, 2.0), (1, 4, 2.0), (3, 0, 0.0), (3, 2, 0.0)]);
        assert_eq!(of("d/down"), [(1, 1, -3.0), (2, 4, -2.5), (3, 0, 7.0), (3, 2, 7.0), (3, 3, 7.0)]);
    }
}
