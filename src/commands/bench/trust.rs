//! How far a benchmark can be trusted: its checks, and what seeds and metrics agree on.

use super::{Output, Usage, numbers::number};
use anyhow::bail;
use serde_json::json;
use srnas_basics::text::{percent, with_causes};
use srnas_oracle::{
    agreement::{Alike, agreement, alike},
    benchmark::{Benchmark, MetricView},
    built_in::BuiltIn,
    verify::verify,
    wrn_tables::{Making, Size, WrnTable},
};
use std::path::Path;

/// What seeds and metrics agree on.
pub(super) fn show_agreement(
    benchmark: &Benchmark,
    names: &[String],
    out: &mut Output,
) -> anyhow::Result<()> {
    let metrics: Vec<MetricView> = match names {
        [] => benchmark.metrics().collect(),
        names => {
            let metric = |name: &String| benchmark.metric(name).map_err(|e| Usage(e.to_string()));
            names.iter().map(metric).collect::<Result<_, _>>()?
        }
    };
    let all = agreement(benchmark, &metrics);
    if out.json {
        for of in &all {
            let with: serde_json::Map<_, _> =
                metrics.iter().zip(&of.with).map(|(m, r)| (m.name().to_string(), json!(r))).collect();
            out.line(json!({
                "metric": of.metric, "spread": of.spread, "noise": of.noise, "between_seeds": of.between_seeds,
                "within_noise_of_best": of.within_noise_of_best, "rank_correlation": with,
            }))?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| {
            let unit = benchmark.metric(&a.metric).map_or("", |m| &m.info().unit).to_string();
            vec![
                a.metric.clone(),
                unit,
                if a.spread.is_nan() { "-".into() } else { number(a.spread) },
                a.noise.map_or("-".into(), number),
                a.between_seeds.map_or("-".into(), correlation),
                a.within_noise_of_best.map_or("-".into(), percent),
            ]
        })
        .collect();
    out.line(format!(
        "Classes count once ({}). Spread: standard deviation over classes; noise: of one seed",
        benchmark.space().counting()
    ))?;
    out.line("around its class's mean, of those with several; seeds: rank correlation between them;\nnear best: share of the classes within two standard errors of the best.\n")?;
    out.table(&["metric", "unit", "spread", "noise", "seeds", "near best"], &rows)?;
    // A matrix of many columns is no table for people.
    if !(2..=12).contains(&metrics.len()) {
        return out
            .line("\nWith --metric given 2 to 12 times, also their rank correlations with each other.");
    }
    out.line("\nRank correlations of the means:\n")?;
    let columns: Vec<&str> = std::iter::once("").chain(metrics.iter().map(MetricView::name)).collect();
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| std::iter::once(a.metric.clone()).chain(a.with.iter().map(|r| correlation(*r))).collect())
        .collect();
    out.table(&columns, &rows)
}

/// What two benchmarks say alike.
pub(super) fn show_alike(one: &Benchmark, other: &Benchmark, out: &mut Output) -> anyhow::Result<()> {
    let all = alike(one, other).map_err(Usage)?;
    if out.json {
        return all.iter().try_for_each(|of| out.line(json!(of)));
    }
    let row = |of: &Alike| vec![of.metric.clone(), of.classes.to_string(), correlation(of.rank_correlation)];
    out.line(format!("Rank correlations of {} with {}, metric by metric.\n", one.name(), other.name()))?;
    out.table(&["metric", "classes", "correlation"], &all.iter().map(row).collect::<Vec<_>>())
}

/// Two digits, which are 1 only where it is one; `-` where there is none.
fn correlation(r: f64) -> String {
    match r {
        r if r.is_nan() => "-".into(),
        r if r.abs() < 1.0 && r.abs() > 0.995 => format!("{:.2}", 0.99f64.copysign(r)),
        r => format!("{r:.2}"),
    }
}

/// Compares a benchmark with what is known of it.
pub(super) fn check(
    benchmark: &Benchmark,
    retrain: usize,
    draw: u64,
    images: Option<&Path>,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut checks = verify(benchmark);
    if let Some(own) = BuiltIn::of(benchmark.name()) {
        checks.extend((own.retrain)(benchmark, retrain, draw)?);
    }
    if let Some(table) = WrnTable::of(benchmark.name()) {
        let usual = table.usual_folder().filter(|folder| folder.exists());
        match images.map(Path::to_path_buf).or(usual) {
            Some(images) => {
                let making =
                    Making::new(table, &images, Size::of(benchmark)).map_err(|e| Usage(with_causes(&e)))?;
                checks.extend(making.retrain(benchmark, retrain, draw)?);
            }
            None => tracing::warn!("nothing is trained again: give --images DIR, {}", table.needs),
        }
    }
    if out.json {
        for check in &checks {
            out.line(json!(check))?;
        }
    } else {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|c| {
                let verdict = if c.ok { "ok" } else { "FAILED" };
                vec![verdict.into(), c.what.clone(), c.expected.clone(), c.found.clone()]
            })
            .collect();
        out.table(&["", "what", "expected", "found"], &rows)?;
    }
    match checks.iter().filter(|c| !c.ok).count() {
        0 => Ok(()),
        failed => bail!(
            "{failed} of {} checks of {} failed: make it again, from the published tables or by training",
            checks.len(),
            benchmark.path().display()
        ),
    }
}
