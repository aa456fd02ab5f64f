//! `srnas bench info`: what a benchmark holds.

use super::{
    Output,
    numbers::{megabytes, number, thousands},
};
use serde_json::json;
use srnas_basics::text::percent;
use srnas_oracle::benchmark::{Benchmark, MetricView, NetworkInfo};

/// Shows a benchmark and its metrics.
pub(super) fn info(benchmark: &Benchmark, out: &mut Output) -> anyhow::Result<()> {
    let space = benchmark.space();
    let (coverage, architectures) = (benchmark.coverage(), benchmark.distinct().len());
    if out.json {
        out.line(json!({
            "benchmark": benchmark.name(), "space": space.name(), "rows": benchmark.rows(),
            "covers_space": coverage == 1.0, "coverage": coverage, "architectures": architectures,
            "counting": space.counting(), "provenance": benchmark.provenance(),
            "licence": benchmark.licence(), "bytes": benchmark.file_size(),
            "content_sha256": benchmark.content_hash_hex(), "path": benchmark.path(),
            "network": benchmark.network().map(|network| network.info()),
            "untrained": benchmark.untrained(),
            "shorter": benchmark.metrics().flat_map(|m| benchmark.fidelities(m.name())).collect::<Vec<_>>(),
        }))?;
    } else {
        let covered = match (coverage == 1.0, benchmark.valid()) {
            (true, _) => "the whole space".to_string(),
            (false, None) if coverage < 1e-6 => "a small part of the space".to_string(),
            _ => format!("{} of the space", percent(coverage)),
        };
        // What rows count as the same architecture.
        let told_apart = match architectures == benchmark.rows() {
            true => String::new(),
            false => format!("; {} architectures, {}", thousands(architectures), space.counting()),
        };
        for (what, is) in [
            ("benchmark", benchmark.name().to_string()),
            ("space", format!("{}, {} decisions", space.name(), space.len())),
            ("rows", format!("{}, {covered}{told_apart}", thousands(benchmark.rows()))),
            ("provenance", benchmark.provenance().to_string()),
            ("licence", benchmark.licence().to_string()),
            ("content", format!("SHA-256 {}", benchmark.content_hash_hex())),
            ("file", format!("{}, {}", benchmark.path().display(), megabytes(benchmark.file_size()))),
        ] {
            out.line(format!("{what:<12}{is}"))?;
        }
        if let Some(network) = benchmark.network() {
            out.line(format!("{:<12}{}", "network", answers(network.info())))?;
        }
        if !benchmark.untrained().is_empty() {
            out.line(format!("{:<12}{}", "untrained", benchmark.untrained().join(", ")))?;
        }
        for metric in benchmark.metrics() {
            for shorter in benchmark.fidelities(metric.name()) {
                let (amount, full, unit, cost) =
                    (shorter.amount, shorter.full, &shorter.unit, shorter.cost());
                out.line(format!(
                    "{:<12}{} says {} after {amount} of {full} {unit}, at a cost of {cost:.3}",
                    "shorter", shorter.metric, shorter.of
                ))?;
            }
        }
        out.line("")?;
    }
    let (mut rows, measured) = (Vec::new(), benchmark.measured());
    for metric in benchmark.metrics() {
        let s = Summary::of(&metric, &measured);
        let info = metric.info();
        if out.json {
            out.line(json!({
                "metric": metric.name(), "unit": info.unit, "direction": info.direction, "seeds": metric.seeds(),
                "known": s.known, "share": s.known as f64 / measured.len() as f64, "values": s.values,
                "min": metric.written(s.min), "median": metric.written(s.median), "max": metric.written(s.max),
                "description": info.description,
            }))?;
        } else {
            rows.push(vec![
                metric.name().into(),
                info.unit.clone(),
                info.direction.to_string(),
                metric.seeds().to_string(),
                percent(s.known as f64 / measured.len() as f64),
                number(s.min),
                number(s.median),
                number(s.max),
                info.description.clone(),
            ]);
        }
    }
    if out.json {
        return Ok(());
    }
    out.table(&["metric", "unit", "direction", "seeds", "known", "min", "median", "max", "what"], &rows)?;
    out.line("\nKnown: share of the architectures with a value; min, median and max are over architectures, of their means over seeds.")
}

/// What a network answers for, and how well.
fn answers(network: &NetworkInfo) -> String {
    let metrics: Vec<&str> = network.outputs.iter().map(|output| output.metric.as_str()).collect();
    let rows = if network.rows_are_measured { "rows were measured" } else { "rows are its predictions" };
    let held_out = network.held_out.map_or_else(String::new, |found| {
        format!(
            "; on {} rows held out Kendall's τ {:.3}, Spearman's ρ {:.3}, mean error {}",
            thousands(found.rows),
            found.kendall,
            found.spearman,
            number(found.mean_error)
        )
    });
    format!("predicts {} of any architecture; {rows}{held_out}", metrics.join(", "))
}

/// The distribution of a metric over what was measured of it, each architecture with its mean over seeds.
struct Summary {
    /// Architectures with a value.
    known: usize,
    /// Values, of all seeds.
    values: usize,
    min: f64,
    median: f64,
    max: f64,
}

impl Summary {
    fn of(metric: &MetricView, measured: &[usize]) -> Self {
        let values = measured.iter().map(|&row| metric.known(row).count()).sum();
        let mut known: Vec<f64> =
            measured.iter().map(|&row| metric.mean(row)).filter(|v| !v.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let at = |place: usize| known.get(place).copied().unwrap_or(f64::NAN);
        let n = known.len();
        // The middle two of an even number.
        let median = match n % 2 {
            1 => at(n / 2),
            _ => (at((n / 2).wrapping_sub(1)) + at(n / 2)) / 2.0,
        };
        Self { known: n, values, min: at(0), median, max: at(n.wrapping_sub(1)) }
    }
}
