//! Checks of a benchmark against what is known of it.

use crate::benchmark::Benchmark;
use std::collections::HashSet;

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// Whether that is good enough.
    pub ok: bool,
}

/// Best means over seeds of NAS-Bench-201 (in percent), with the digits to which they are known.
const NB201_BEST: [(&str, f64); 6] = [
    ("cifar10/test", 94.373),
    ("cifar100/test", 73.513),
    ("imagenet16/test", 47.311),
    ("cifar10/val", 91.607),
    ("cifar100/val", 73.493),
    ("imagenet16/val", 46.733),
];

/// What is known of a published table: how many architectures differ, and the best means of some metrics.
struct Known {
    benchmark: &'static str,
    architectures: usize,
    best: &'static [(&'static str, f64)],
}

const OTHERS: [Known; 5] = [
    Known {
        benchmark: "transnas-micro",
        architectures: 4_096,
        best: &[("class_scene/val", 54.936), ("jigsaw/val", 95.372)],
    },
    Known { benchmark: "nasbench-macro", architectures: 6_561, best: &[("cifar10/test", 93.127)] },
    Known {
        benchmark: "graph",
        architectures: 26_206,
        best: &[("cora/test", 83.133), ("pubmed/test", 78.6)],
    },
    Known { benchmark: "flexibert", architectures: 491, best: &[("glue/mean", 75.13)] },
    Known { benchmark: "nlp", architectures: 265, best: &[] },
];

/// (180 · 7⁸)²: two cells of four nodes, each with two of its 2 to 5 predecessors and two of seven operations.
const NB301_SPACE: usize = 1_076_746_950_455_072_400;

/// HW-GPT-Bench by size: how many perplexities were measured, and by how much the published network is off in the mean.
const HWGPT: [(&str, usize, f64); 3] =
    [("hwgpt-s", 10_000, 0.013), ("hwgpt-m", 5_245, 0.036), ("hwgpt-l", 429, 0.048)];

/// Checks the structure of any benchmark, and the published facts of those that have some.
pub fn verify(benchmark: &Benchmark) -> Vec<Check> {
    let mut checks = vec![content_hash(benchmark), rows(benchmark), values(benchmark)];
    if benchmark.name() == crate::importers::nasbench201::BENCHMARK {
        checks.push(exactly("cells", 15_625, benchmark.rows()));
        checks.push(exactly("classes by the published rule", 6_466, classes(benchmark)));
        checks.extend(NB201_BEST.map(|(metric, best)| best_mean(benchmark, metric, best)));
    }
    if benchmark.name() == crate::importers::nasbench101::BENCHMARK {
        // The official files have every cell of the space.
        let official = benchmark.metric("cifar10/test").is_ok();
        checks.push(exactly("cells", if official { 423_624 } else { 30_001 }, benchmark.rows()));
        checks.push(exactly("cells up to the numbers of vertices", benchmark.rows(), classes(benchmark)));
        if !official {
            checks.push(best_mean(benchmark, "cifar10/val", 94.912));
        }
    }
    if let Some(known) = OTHERS.iter().find(|known| known.benchmark == benchmark.name()) {
        checks.push(exactly("architectures that differ", known.architectures, classes(benchmark)));
        // A table that was not there left its metrics out.
        let there = known.best.iter().filter(|(metric, _)| benchmark.metric(metric).is_ok());
        checks.extend(there.map(|(metric, best)| best_mean(benchmark, metric, *best)));
    }
    if benchmark.name() == crate::importers::nasbench301::BENCHMARK {
        let size = benchmark.space().size().unwrap_or(0) as usize;
        checks.push(exactly("architectures of the space", NB301_SPACE, size));
    }
    checks.extend(network(benchmark));
    if let Some((_, measured, off)) = HWGPT.iter().find(|(name, ..)| *name == benchmark.name()) {
        let known = |m: crate::benchmark::MetricView| m.values().filter(|v| !v.is_nan()).count();
        checks.push(exactly(
            "architectures measured",
            10_000,
            benchmark.metric("owt/params").map_or(0, known),
        ));
        checks.extend(perplexities(benchmark, *measured, *off));
    }
    if benchmark.name() == crate::digits::BENCHMARK {
        checks.push(exactly("cells", 15_625, benchmark.rows()));
        checks.push(exactly("classes by the published rule", 6_466, classes(benchmark)));
    }
    if benchmark.name() == crate::digits_wrn::BENCHMARK {
        checks.push(exactly("networks", 1_458, benchmark.rows()));
    }
    if benchmark.name() == crate::control::BENCHMARK {
        checks.push(exactly("architectures", 4_374, benchmark.rows()));
        checks.push(exactly("architectures that differ", 1_638, classes(benchmark)));
    }
    checks
}

fn content_hash(benchmark: &Benchmark) -> Check {
    let found = benchmark.content_hash_hex();
    let stated = benchmark.stated_hash();
    Check {
        what: "content SHA-256".into(),
        expected: stated.unwrap_or("(the file states none)").into(),
        ok: stated.is_none_or(|s| s == found),
        found,
    }
}

/// Every row leads to an architecture that leads back to the row.
fn rows(benchmark: &Benchmark) -> Check {
    let back = (0..benchmark.rows()).filter(|&r| benchmark.row_of(benchmark.choices(r)) == Some(r)).count();
    exactly("rows found by their architecture", benchmark.rows(), back)
}

/// Every metric has values; also tells how many have all of theirs.
fn values(benchmark: &Benchmark) -> Check {
    let (mut complete, mut empty) = (0, Vec::new());
    for metric in benchmark.metrics() {
        match metric.values().filter(|v| !v.is_nan()).count() {
            0 => empty.push(metric.name()),
            known if known == metric.values().len() => complete += 1,
            _ => {}
        }
    }
    let metrics = benchmark.metrics().len();
    let found = match empty.is_empty() {
        true => format!("{metrics}, {complete} of them complete"),
        false => format!("{}, but none of {}", metrics - empty.len(), empty.join(", ")),
    };
    Check { what: "metrics with values".into(), expected: metrics.to_string(), found, ok: empty.is_empty() }
}

/// How many perplexities were measured, and how near the published network is to them.
fn perplexities(benchmark: &Benchmark, measured: usize, off: f64) -> Vec<Check> {
    let (Ok(found), Ok(network)) =
        (benchmark.metric("owt/perplexity"), benchmark.metric("owt/perplexity_net"))
    else {
        return vec![exactly("perplexities measured", measured, 0)];
    };
    let known: Vec<usize> = (0..benchmark.rows()).filter(|&row| found.mean(row).is_finite()).collect();
    let sum: f64 = known.iter().map(|&row| (found.mean(row) - network.mean(row)).abs()).sum();
    let mean = sum / known.len().max(1) as f64;
    let near = Check {
        what: "mean error of the published network".into(),
        expected: format!("{off:.3}"),
        found: format!("{mean:.3}"),
        ok: (mean - off).abs() < 1e-3,
    };
    vec![exactly("perplexities measured", measured, known.len()), near]
}

/// Where rows are predictions of the file's network: every one is what it says.
fn network(benchmark: &Benchmark) -> Option<Check> {
    let network = benchmark.network().filter(|network| !network.info().rows_are_measured)?;
    let architectures: Vec<u8> =
        (0..benchmark.rows()).flat_map(|row| benchmark.choices(row)).copied().collect();
    let (mut values, mut equal) = (0, 0);
    for (place, output) in network.info().outputs.iter().enumerate() {
        let Ok(metric) = benchmark.metric(&output.metric) else { continue };
        let known = network.values(place, &architectures).into_iter().enumerate();
        let known = known.map(|(row, found)| (f64::from(found), metric.mean(row)));
        for (found, stated) in known.filter(|(_, stated)| !stated.is_nan()) {
            values += 1;
            equal += usize::from((found - stated).abs() <= 1e-4 * stated.abs().max(1.0));
        }
    }
    Some(exactly("predictions that are the network's, to 1e-4", values, equal))
}

fn classes(benchmark: &Benchmark) -> usize {
    let key = |row| benchmark.space().canonical_key(benchmark.choices(row));
    (0..benchmark.rows()).map(key).collect::<HashSet<_>>().len()
}

fn exactly(what: &str, expected: usize, found: usize) -> Check {
    Check {
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
        ok: expected == found,
    }
}

/// The highest mean over seeds, to 0.001.
fn best_mean(benchmark: &Benchmark, name: &str, expected: f64) -> Check {
    let best = benchmark
        .metric(name)
        .map(|m| (0..benchmark.rows()).map(|row| m.mean(row)).fold(f64::NEG_INFINITY, f64::max));
    Check {
        what: format!("best mean {name}"),
        expected: format!("{expected:.3}"),
        found: best.as_ref().map_or_else(ToString::to_string, |b| format!("{b:.3}")),
        ok: best.is_ok_and(|b| (b - expected).abs() < 1e-3),
    }
}
