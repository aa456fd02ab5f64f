//! Whether a metric's values are in the unit that the descriptor says.

use super::{MetricColumn, descriptor::MetricColumns};
use crate::importers::csv::CsvError;

/// What a person should know of the unit of a metric, if anything.
///
/// # Errors
/// Refuses percentages of which one seed's column looks like fractions, unless they are said to be mixed.
pub(super) fn warning(
    metric: &MetricColumns,
    columns: &[MetricColumn<'_>],
) -> Result<Option<String>, CsvError> {
    if metric.unit != "%" {
        return Ok(None);
    }
    let known = |column: &MetricColumn<'_>| column.values.iter().copied().filter(|v| !v.is_nan()).collect();
    let fractions =
        |values: &Vec<_>| values.iter().all(|v| (-1.0..=1.0).contains(v)) && values.iter().any(|v| *v != 0.0);
    let columns: Vec<(&MetricColumn<'_>, Vec<_>)> = columns.iter().map(|c| (c, known(c))).collect();
    let (small, large): (Vec<_>, Vec<_>) = columns
        .iter()
        .filter(|(_, values)| values.iter().any(|v| *v != 0.0))
        .partition(|(_, values)| fractions(values));
    match (small.first(), large.first()) {
        (Some((column, values)), Some((other, _))) if !metric.mixed => {
            let row = column.values.iter().position(|v| *v == values[0]).unwrap_or(0);
            Err(column.column.error(
                row,
                format!(
                    "metric `{}` is in %, and all values of this seed's column look like fractions, unlike those of `{}`; if they \
                     are percentages, say so with `mixed = true` in the metric's entry",
                    metric.name,
                    other.column.name()
                ),
            ))
        }
        (Some(_), None) => Ok(Some(format!(
            "metric `{}` is in %, and all its values are between -1 and 1: if they are fractions, its unit is \"\"",
            metric.name
        ))),
        _ => Ok(None),
    }
}
