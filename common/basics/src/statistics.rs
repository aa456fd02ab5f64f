//! Small statistics of reports: median, mean, bootstrap intervals.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Median of finite numbers; reorders them. The mean of the middle two where their number is even; NaN for none.
pub fn median(values: &mut [f32]) -> f32 {
    let n = values.len();
    if n == 0 {
        return f32::NAN;
    }
    let (_, &mut upper, _) = values.select_nth_unstable_by(n / 2, f32::total_cmp);
    if n % 2 == 1 {
        return upper;
    }
    let lower = values[..n / 2].iter().copied().fold(f32::NEG_INFINITY, f32::max);
    lower + (upper - lower) / 2.0
}

/// Mean; NaN for none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Ranks of some values, 1 for the lowest; equal ones share their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let shared = (start + 1 + end) as f64 / 2.0;
        order[start..end].iter().for_each(|&i| ranks[i] = shared);
        start = end;
    }
    ranks
}

/// Spearman's rank correlation of two equally long lists; equal values share their mean rank. NaN where one is the same
/// everywhere.
pub fn rank_correlation(left: &[f64], right: &[f64]) -> f64 {
    let (left, right) = (ranks(left), ranks(right));
    let centre = (left.len() as f64 + 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - centre) * (b - centre)).sum::<f64>();
    product(&left, &right) / (product(&left, &left) * product(&right, &right)).sqrt()
}

/// Kendall's τ_b of two equally long lists: of all pairs, how many more are in the same order than in the other; pairs that are equal in a
/// list do not count in it. NaN where one is the same everywhere. Every pair is looked at.
pub fn kendall(left: &[f64], right: &[f64]) -> f64 {
    let (mut agreement, mut of_left, mut of_right) = (0i64, 0i64, 0i64);
    for (i, (a, b)) in left.iter().zip(right).enumerate() {
        for (c, d) in left[..i].iter().zip(&right[..i]) {
            let (x, y) = (order(*a, *c), order(*b, *d));
            agreement += x * y;
            of_left += x.abs();
            of_right += y.abs();
        }
    }
    agreement as f64 / (of_left as f64 * of_right as f64).sqrt()
}

fn order(a: f64, b: f64) -> i64 {
    i64::from(a > b) - i64::from(a < b)
}

/// [`rank_correlation`] with its 95 % percentile bootstrap interval, drawn by resampling pairs: how sure it is for more pairs
/// like these. Draws that are the same everywhere do not count; NaN if all are. Repeats for the same input.
pub fn bootstrap_rank_correlation(left: &[f64], right: &[f64]) -> (f64, [f64; 2]) {
    let n = left.len();
    let mut rng = ChaCha8Rng::seed_from_u64(0x5eed);
    let draw = |_| {
        let pairs: (Vec<f64>, Vec<f64>) = (0..n)
            .map(|_| {
                let i = rng.random_range(0..n);
                (left[i], right[i])
            })
            .unzip();
        rank_correlation(&pairs.0, &pairs.1)
    };
    let mut draws: Vec<f64> =
        (0..DRAWS).take(if n > 1 { DRAWS } else { 0 }).map(draw).filter(|r| !r.is_nan()).collect();
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| match draws.len() {
        0 => f64::NAN,
        n => draws[((n - 1) as f64 * share) as usize],
    };
    (rank_correlation(left, right), [at(0.025), at(0.975)])
}

/// The mean of `groups` of values (mean of the groups' means) with its 95 % percentile bootstrap interval, drawn by
/// resampling within each group: how sure the mean over *these* groups is. Repeats for the same input.
pub fn bootstrap_mean(groups: &[Vec<f64>]) -> (f64, [f64; 2]) {
    bootstrap(groups, |rng, draw| groups.iter().map(|g| draw(rng, g)).sum::<f64>() / groups.len() as f64)
}

/// The same mean, with the groups themselves resampled too: how sure the mean over *other groups like these* is.
pub fn bootstrap_mean_of_others(groups: &[Vec<f64>]) -> (f64, [f64; 2]) {
    bootstrap(groups, |rng, draw| {
        let drawn: f64 = (0..groups.len())
            .map(|_| {
                let group = &groups[rng.random_range(0..groups.len())];
                draw(rng, group)
            })
            .sum();
        drawn / groups.len() as f64
    })
}

/// The mean of some units with its 95 % interval by Student's t: how sure the mean over *other units like these* is, also where
/// they are so few that resampling them would look too sure. A point for fewer than two.
pub fn mean_of_few(units: &[f64]) -> (f64, [f64; 2]) {
    let (n, centre) = (units.len() as f64, mean(units));
    let Ok(t) = StudentsT::new(0.0, 1.0, n - 1.0) else { return (centre, [centre; 2]) };
    let variance = units.iter().map(|u| (u - centre).powi(2)).sum::<f64>() / (n - 1.0);
    let half = t.inverse_cdf(0.975) * (variance / n).sqrt();
    (centre, [centre - half, centre + half])
}

/// The median with an interval of order statistics that has it in 95 % of draws or more; where values are too few for that, from the least
/// to the greatest. Two zeros of none.
pub fn median_of_few(values: &[f64]) -> (f64, [f64; 2]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return (0.0, [0.0; 2]);
    }
    let median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    // The chance that at most so many of n are below the median, in halves of powers.
    let (mut log, mut below, mut cut) = (n as f64 * 0.5f64.ln(), 0.0, 0);
    while below + log.exp() <= 0.025 {
        below += log.exp();
        cut += 1;
        log += ((n + 1 - cut) as f64 / cut as f64).ln();
    }
    let from = cut.saturating_sub(1).min((n - 1) / 2);
    (median, [sorted[from], sorted[n - 1 - from]])
}

/// The standard normal distribution's quantile: below it lies a draw with probability `p`.
///
/// # Panics
/// Unless `p` is from 0 to 1.
pub fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// How often is resampled.
const DRAWS: usize = 1000;

/// Mean of a resampled group.
type DrawMean = fn(&mut ChaCha8Rng, &[f64]) -> f64;

fn bootstrap(groups: &[Vec<f64>], resample: impl Fn(&mut ChaCha8Rng, DrawMean) -> f64) -> (f64, [f64; 2]) {
    let centre = mean(&groups.iter().map(|g| mean(g)).collect::<Vec<_>>());
    let mut rng = ChaCha8Rng::seed_from_u64(0x5eed);
    let draw_mean: DrawMean =
        |rng, g| (0..g.len()).map(|_| g[rng.random_range(0..g.len())]).sum::<f64>() / g.len() as f64;
    let mut draws: Vec<f64> = (0..DRAWS).map(|_| resample(&mut rng, draw_mean)).collect();
    draws.sort_by(f64::total_cmp);
    (centre, [draws[DRAWS / 40], draws[DRAWS - 1 - DRAWS / 40]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_none_one_even_and_odd() {
        assert!(median(&mut []).is_nan());
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [4.0, 1.0]), 2.5);
        assert_eq!(median(&mut [5.0, 1.0, 3.0]), 3.0);
    }

    #[test]
    fn an_interval_of_equal_values_is_a_point_and_others_contain_the_mean() {
        assert_eq!(bootstrap_mean(&[vec![0.25; 8]]), (0.25, [0.25, 0.25]));
        let (centre, [low, high]) = bootstrap_mean(&[vec![0.0, 1.0, 2.0], vec![10.0, 12.0]]);
        assert_eq!(centre, 6.0);
        assert!(low < centre && centre < high);
    }

    #[test]
    fn few_units_are_not_trusted_much() {
        // The 97.5 % quantiles of Student's t with 1 and 3 degrees of freedom are 12.706 and 3.182.
        let (centre, [low, high]) = mean_of_few(&[0.1, 0.3]);
        assert!((centre - 0.2).abs() < 1e-12 && (high - centre - 12.706 * 0.1).abs() < 1e-3);
        assert!((centre - low - (high - centre)).abs() < 1e-9);
        let (_, [low, _]) = mean_of_few(&[0.2, 0.3, 0.25, 0.25]);
        assert!((0.25 - low - 3.182 * 0.0408248 / 2.0).abs() < 1e-4, "{low}");
        assert_eq!(mean_of_few(&[0.4]), (0.4, [0.4, 0.4]));
        assert_eq!(mean_of_few(&[0.4, 0.4]).1, [0.4, 0.4]);
    }

    #[test]
    fn other_groups_are_less_sure_than_these() {
        let groups = [vec![0.0, 0.1], vec![1.0, 1.1], vec![2.0, 2.1]];
        let (centre, [low, high]) = bootstrap_mean(&groups);
        let (same, [lower, higher]) = bootstrap_mean_of_others(&groups);
        assert_eq!(centre, same);
        assert!(lower < low - 0.3 && higher > high + 0.3);
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[0.3, 0.1, 0.3, 0.2]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(ranks(&[1.0, 1.0, 1.0]), [2.0; 3]);
        assert!(ranks(&[]).is_empty());
    }

    /// The example of Demšar 2006, section 3.2.2: four classifiers on 14 data sets, average ranks 3.143, 2.000, 2.893, 1.964.

    #[test]
    fn kendall_counts_pairs_and_leaves_equal_ones_out() {
        let tau = |a: &[f64], b: &[f64]| kendall(a, b);
        assert_eq!(tau(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]), 1.0);
        assert_eq!(tau(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // Five of six pairs agree, one does not.
        assert!((tau(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 4.0 / 6.0).abs() < 1e-12);
        // scipy.stats.kendalltau([12, 2, 1, 12, 2], [1, 4, 7, 1, 0])
        assert!(
            (tau(&[12.0, 2.0, 1.0, 12.0, 2.0], &[1.0, 4.0, 7.0, 1.0, 0.0]) + 0.471_404_520_791_031_7).abs()
                < 1e-12
        );
        assert!(tau(&[1.0, 1.0], &[1.0, 2.0]).is_nan() && tau(&[], &[]).is_nan());
    }

    #[test]
    fn rank_correlation_goes_by_order_alone() {
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[0.1, 0.2, 0.3]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // scipy.stats.spearmanr of the same.
        let tied = rank_correlation(&[1.0, 1.0, 2.0, 3.0, 5.0], &[2.0, 1.0, 3.0, 3.0, 1.0]);
        assert!((tied - 0.081_110_710_565_381_27).abs() < 1e-9, "{tied}");
        assert!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]).is_nan() && rank_correlation(&[], &[]).is_nan());
    }

    #[test]
    fn a_rank_correlation_of_few_pairs_is_unsure_and_of_none_or_equal_ones_is_not_a_number() {
        let left: Vec<f64> = (0..12).map(f64::from).collect();
        let right: Vec<f64> = left.iter().map(|v| (v - 4.0).abs()).collect();
        let (centre, [low, high]) = bootstrap_rank_correlation(&left, &right);
        assert!(
            low < centre - 0.1 && centre + 0.1 < high && low >= -1.0 && high <= 1.0,
            "{low} {centre} {high}"
        );
        assert_eq!(bootstrap_rank_correlation(&left, &left), (1.0, [1.0, 1.0]));
        for pairs in [&[][..], &[1.0], &[1.0, 1.0]] {
            let (centre, interval) = bootstrap_rank_correlation(pairs, pairs);
            assert!(centre.is_nan() && interval.iter().all(|v| v.is_nan()));
        }
    }

    #[test]
    fn medians_of_few_have_intervals_of_order_statistics() {
        let of = |n: usize| median_of_few(&(1..=n).rev().map(|v| v as f64).collect::<Vec<_>>());
        assert_eq!(of(0), (0.0, [0.0, 0.0]));
        assert_eq!(of(5), (3.0, [1.0, 5.0]));
        // Published tables of the sign test: 6 to 8 values from the least to the greatest, 9 to 11 from the second, 20 from the sixth.
        assert_eq!(of(8), (4.5, [1.0, 8.0]));
        assert_eq!(of(9), (5.0, [2.0, 8.0]));
        assert_eq!(of(20), (10.5, [6.0, 15.0]));
    }
}
