//! Comparing methods over many tasks: average ranks, Friedman's test, Nemenyi's critical difference (Demšar, "Statistical
//! Comparisons of Classifiers over Multiple Data Sets", JMLR 2006).

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The 95 % quantile of the studentised range with infinitely many degrees of freedom over √2, for 2, 3, … methods: Demšar 2006,
/// table 5, for more methods and exact, `scipy.stats.studentized_range.ppf(0.95, k, inf) / sqrt(2)`.
const NEMENYI: [f64; 19] = [
    1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219, 3.268, 3.313, 3.354, 3.391, 3.426,
    3.458, 3.489, 3.517, 3.544,
];

/// Friedman's test of "all methods are the same".
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Friedman {
    /// χ² with (methods − 1) degrees of freedom.
    pub statistic: f64,
    /// Chance of as large a value if all methods were the same.
    pub p: f64,
    /// Blocks in which the methods were ranked.
    pub blocks: usize,
}

/// Friedman's test on blocks of ranks, with the correction for ties; `None` for fewer than two blocks or methods, and where
/// all are equal everywhere.
pub fn friedman(blocks: &[Vec<f64>]) -> Option<Friedman> {
    let (n, k) = (blocks.len() as f64, blocks.first()?.len() as f64);
    if n < 2.0 || k < 2.0 {
        return None;
    }
    let centre = (k + 1.0) / 2.0;
    let between: f64 =
        (0..blocks[0].len()).map(|m| (blocks.iter().map(|b| b[m]).sum::<f64>() / n - centre).powi(2)).sum();
    let within: f64 = blocks.iter().flatten().map(|r| (r - centre).powi(2)).sum::<f64>() / (n * (k - 1.0));
    if within <= 0.0 {
        return None;
    }
    let statistic = n * between / within;
    let p = ChiSquared::new(k - 1.0).ok()?.sf(statistic);
    Some(Friedman { statistic, p, blocks: blocks.len() })
}

/// Average ranks that differ by less than this are not told apart at α = 0.05; `None` for fewer than two methods, more than 20,
/// or no block.
pub fn nemenyi_critical_difference(methods: usize, blocks: usize) -> Option<f64> {
    let q = NEMENYI.get(methods.checked_sub(2)?)?;
    let k = methods as f64;
    (blocks > 0).then(|| q * (k * (k + 1.0) / (6.0 * blocks as f64)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example() {
        let critical = nemenyi_critical_difference(4, 14).unwrap();
        assert!((critical - 1.25).abs() < 0.01, "{critical}");
        // Ten judges, three wines, no ties: χ² by the textbook formula.
        let blocks =
            vec![vec![1.0, 2.0, 3.0]; 7].into_iter().chain(vec![vec![2.0, 1.0, 3.0]; 3]).collect::<Vec<_>>();
        let test = friedman(&blocks).unwrap();
        let sums = [13.0f64, 17.0, 30.0];
        let textbook = 12.0 / (10.0 * 3.0 * 4.0) * sums.iter().map(|s| s * s).sum::<f64>() - 3.0 * 10.0 * 4.0;
        assert!((test.statistic - textbook).abs() < 1e-9);
        // χ² with two degrees of freedom has the tail exp(−x/2).
        assert!((test.p - (-textbook / 2.0).exp()).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_tell_apart() {
        assert_eq!(friedman(&[]), None);
        assert_eq!(friedman(&[vec![1.0, 2.0]]), None);
        assert_eq!(friedman(&[vec![1.5, 1.5], vec![1.5, 1.5]]), None);
        assert_eq!(nemenyi_critical_difference(1, 5), None);
        assert_eq!(nemenyi_critical_difference(21, 5), None);
        assert_eq!(nemenyi_critical_difference(3, 0), None);
    }
}
