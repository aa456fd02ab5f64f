//! What a benchmark knows of architectures without training them.

use super::{TaskBuildError, resolve_objectives};
use crate::{catalog::Catalog, digits, digits_wrn};
use srnas_predictor::{Columns, Describe, Formulas};
use srnas_task::{Count, TaskName};
use std::sync::Arc;

/// The benchmark's metrics that take no training: those of the task's data set, or where it has none those of the first data set that
/// has some; what is searched itself is none of them. Of digits, what its networks say; of a space that has formulas, where no metric is
/// named, these. Nothing where there is nothing.
///
/// # Errors
/// As [`super::resolve_tasks`].
pub fn untrained(catalog: &Catalog, task: &TaskName) -> Result<Option<Arc<dyn Describe>>, TaskBuildError> {
    let open = catalog.open(&task.benchmark);
    let benchmark = open.map_err(|source| TaskBuildError::Catalog { task: task.to_string(), source })?;
    if benchmark.name() == digits::BENCHMARK {
        return Ok(digits::untrained().map(|proxies| Arc::new(proxies) as Arc<dyn Describe>));
    }
    if benchmark.name() == digits_wrn::BENCHMARK {
        return Ok(digits_wrn::untrained().map(|proxies| Arc::new(proxies) as Arc<dyn Describe>));
    }
    if benchmark.untrained().is_empty() {
        return Ok(Formulas::of(benchmark.space()).map(|formulas| Arc::new(formulas) as Arc<dyn Describe>));
    }
    let is_searched = |metric: &String| task.metrics().any(|searched| searched == metric);
    let all: Vec<&String> = benchmark.untrained().iter().filter(|metric| !is_searched(metric)).collect();
    let dataset = |metric: &str| metric.rsplit_once('/').map_or("", |(dataset, _)| dataset).to_string();
    let mut datasets = task.metrics().map(dataset);
    let own = datasets.find(|own| all.iter().any(|metric| dataset(metric) == *own));
    let Some(from) = own.or_else(|| all.first().map(|metric| dataset(metric))) else {
        return Ok(None);
    };
    let metrics: Vec<&String> = all.into_iter().filter(|metric| dataset(metric) == from).collect();
    let names = metrics.iter().map(|metric| format!("{}/{metric}", task.benchmark).parse());
    let names: Vec<TaskName> = names.collect::<Result<_, _>>().expect("a metric of a benchmark is a task");
    // Looked up by active forms, of which a table may have another encoding.
    let tasks = resolve_objectives(catalog, &names, Count::Classes)?;
    Ok(Some(Arc::new(Columns::new(metrics.into_iter().cloned().zip(tasks)))))
}
