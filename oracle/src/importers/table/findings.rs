//! What a search will find in a metric: whether it can tell its values apart, and whether there is anything to find.

use super::MetricColumn;
use crate::{benchmark::Direction, importers::csv::CsvError};
use srnas_basics::text::percent;

/// Means over seeds that differ by less, relative to their size, differ by how they were added up.
const ROUNDING: f64 = 1e-12;

/// A metric's values by architecture.
pub(super) struct Findings {
    /// Those known, ascending.
    means: Vec<f64>,
    /// Different values that are the same in single precision.
    merged: usize,
}

impl Findings {
    /// Looks at the columns of a metric; `groups` are the rows of each architecture.
    ///
    /// # Errors
    /// Where a search, whose values are f32, would take most of the different values for equal: names two of them.
    pub fn of(columns: &[MetricColumn<'_>], groups: &[Vec<usize>]) -> Result<Self, CsvError> {
        let mean = |group: &Vec<usize>| {
            let values = group.iter().flat_map(|&row| columns.iter().map(move |c| c.values[row]));
            let (sum, n) = values.filter(|v| !v.is_nan()).fold((0.0, 0u32), |(sum, n), v| (sum + v, n + 1));
            (n > 0).then(|| (sum / f64::from(n), group[0]))
        };
        let mut means: Vec<(f64, usize)> = groups.iter().filter_map(mean).collect();
        means.sort_by(|a, b| a.0.total_cmp(&b.0));
        let differ = |pair: &&[(f64, usize)]| {
            let (low, high) = (pair[0].0, pair[1].0);
            high - low > ROUNDING * low.abs().max(high.abs())
        };
        let apart: Vec<&[(f64, usize)]> = means.windows(2).filter(differ).collect();
        let merged: Vec<&[(f64, usize)]> =
            apart.iter().copied().filter(|pair| pair[0].0 as f32 == pair[1].0 as f32).collect();
        if let Some(pair) = merged.first()
            && 2 * merged.len() > apart.len()
        {
            let ((one, there), (other, row)) = (pair[0], pair[1]);
            let column = &columns[0].column;
            let line = column.line(there);
            return Err(column.error(
                row,
                format!(
                    "{other} and {one} (line {line}) are too near each other for a search, which keeps seven digits: it would \
                     take {} of {} different values for the same; give the metric in another unit, such as what it is above its \
                     lowest value",
                    merged.len() + 1,
                    apart.len() + 1
                ),
            ));
        }
        let merged = merged.len();
        let means = means.into_iter().map(|(mean, _)| mean).collect();
        Ok(Self { means, merged })
    }

    /// Whether it is the same wherever it is known, as a search sees it.
    pub fn is_constant(&self) -> bool {
        match (self.means.first(), self.means.last()) {
            (Some(low), Some(high)) => *low as f32 == *high as f32,
            _ => true,
        }
    }

    /// What a person should know of the metric, if anything.
    pub fn warning(&self, metric: &str, direction: Direction) -> Option<String> {
        let (Some(low), Some(high)) = (self.means.first(), self.means.last()) else {
            return Some(format!("metric `{metric}` has no value: nothing can be searched for in it"));
        };
        if self.is_constant() {
            return Some(format!(
                "metric `{metric}` is the same everywhere: nothing can be searched for in it; in a sum it adds nothing"
            ));
        }
        let best = match direction {
            Direction::Maximise => high,
            Direction::Minimise => low,
        };
        let (n, as_good) =
            (self.means.len(), self.means.iter().filter(|v| **v as f32 == *best as f32).count());
        if 2 * as_good > n {
            return Some(format!(
                "metric `{metric}` has its best value in {as_good} of {n} architectures ({}): it cannot be searched alone, but \
                 in a sum or as one of several objectives",
                percent(as_good as f64 / n as f64)
            ));
        }
        (self.merged > 0).then(|| {
            format!(
                "metric `{metric}` has {} values that a search, which keeps seven digits, takes for the same as others; the file \
                 keeps them apart",
                self.merged
            )
        })
    }
}
