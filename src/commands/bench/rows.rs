//! `srnas bench query` and `srnas bench best`: what was measured of architectures.

use super::{
    Output, Usage,
    numbers::{number, thousands},
};
use anyhow::bail;
use serde_json::json;
use srnas_oracle::{
    benchmark::{Benchmark, MetricView, Source},
    ranking::{Ranked, ranked},
};

/// Shows all that is known of one architecture.
pub(super) fn query(
    benchmark: &Benchmark,
    architecture: &str,
    metrics: &[String],
    out: &mut Output,
) -> anyhow::Result<()> {
    let space = benchmark.space();
    let choices = space.parse(architecture).map_err(|e| Usage(e.to_string()))?;
    let architecture = space.format(&choices);
    let row = benchmark.row_of(&choices);
    if row.is_none() && benchmark.network().is_none() {
        bail!("{architecture} is not in the table of {}", benchmark.name());
    }
    let asked: Vec<MetricView> = match metrics {
        [] => benchmark.metrics().collect(),
        names => {
            let metric = |name: &String| benchmark.metric(name).map_err(|e| Usage(e.to_string()));
            names.iter().map(metric).collect::<Result<_, _>>()?
        }
    };
    let mut rows = Vec::new();
    for metric in asked {
        let (info, answer) = (metric.info(), benchmark.answer(&metric, &choices));
        let mean = answer.map_or(f64::NAN, |(value, _)| value);
        let source = answer.map(|(_, source)| source);
        let seeds: Vec<f64> = match (row, source) {
            (Some(row), Some(Source::Measured)) => {
                (0..metric.seeds()).map(|seed| metric.value(row, seed)).collect()
            }
            _ => Vec::new(),
        };
        if out.json {
            out.line(json!({
                "benchmark": benchmark.name(), "architecture": architecture, "metric": metric.name(),
                "value": metric.written(mean),
                "seeds": seeds.iter().map(|&v| metric.written(v)).collect::<Vec<_>>(),
                "unit": info.unit, "direction": info.direction, "source": source,
            }))?;
        } else {
            let apart: Vec<String> = seeds.iter().map(|&v| number(v)).collect();
            let apart = match source {
                Some(Source::Predicted) => Source::Predicted.to_string(),
                _ if seeds.len() > 1 => format!("mean of {}", apart.join(", ")),
                _ => String::new(),
            };
            rows.push(vec![metric.name().into(), number(mean), info.unit.clone(), apart]);
        }
    }
    if out.json {
        return Ok(());
    }
    out.line(format!("{architecture}\n"))?;
    out.table(&["metric", "value", "unit", ""], &rows)
}

/// Shows the architectures that are best in a metric.
pub(super) fn best(
    benchmark: &Benchmark,
    metric: &str,
    limit: usize,
    out: &mut Output,
) -> anyhow::Result<()> {
    let metric = benchmark.metric(metric).map_err(|e| Usage(e.to_string()))?;
    let (space, info, all) = (benchmark.space(), metric.info(), ranked(benchmark, &metric));
    if all.is_empty() {
        bail!("metric `{}` of {} has no value", metric.name(), benchmark.name());
    }
    let shown = &all[..limit.min(all.len())];
    let seeds = |row: usize| (0..metric.seeds()).map(move |seed| metric.value(row, seed));
    if out.json {
        for place in shown {
            let choices = benchmark.choices(place.row);
            out.line(json!({
                "benchmark": benchmark.name(), "metric": metric.name(), "rank": place.rank,
                "value": metric.written(place.value),
                "seeds": seeds(place.row).map(|v| metric.written(v)).collect::<Vec<_>>(),
                "unit": info.unit, "direction": info.direction, "architecture": space.format(choices),
                "choices": space.to_json(choices),
            }))?;
        }
        return Ok(());
    }
    let unit = if info.unit.is_empty() { String::new() } else { format!(" in {}", info.unit) };
    let (n, of) = (thousands(shown.len()), thousands(all.len()));
    out.line(format!("{}{unit}, {}: the best {n} of {of} with a value\n", metric.name(), info.direction))?;
    let several = metric.seeds() > 1;
    let row = |place: &Ranked| {
        let mut cells = vec![place.rank.to_string(), number(place.value)];
        cells.extend(several.then(|| metric.known(place.row).count().to_string()));
        cells.push(space.format(benchmark.choices(place.row)));
        cells
    };
    let rows: Vec<Vec<String>> = shown.iter().map(row).collect();
    let header: &[&str] = if several {
        &["rank", "value", "seeds", "architecture"]
    } else {
        &["rank", "value", "architecture"]
    };
    out.table(header, &rows)?;
    let last = shown[shown.len() - 1].value;
    match all[shown.len()..].iter().take_while(|place| place.value == last).count() {
        0 => Ok(()),
        more => {
            out.line(format!("\n{} more are as good as the last one; --limit shows them.", thousands(more)))
        }
    }
}
