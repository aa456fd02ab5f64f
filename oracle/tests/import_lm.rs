//! The published tables of language models are as they are known: FlexiBERT and NAS-Bench-NLP.

use srnas_oracle::{
    benchmark::Benchmark,
    importers::{Import, flexibert, nasbenchnlp},
    verify::verify,
};
use std::env;
use tempfile::TempDir;

/// A benchmark from the published tables, and what is known of it; nothing where no folder of these is named.
fn verified(import: Import) -> Option<Benchmark> {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return None;
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table.safetensors");
    let imported = import(&[sources.into()], &mut |_, _, _| {}).unwrap();
    imported.benchmarks[0].clone().write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    let checks = verify(&benchmark);
    assert!(checks.len() >= 4 && checks.iter().all(|check| check.ok), "{checks:#?}");
    Some(benchmark)
}

#[test]
fn flexibert_is_as_it_is_known() {
    let Some(benchmark) = verified(flexibert::import) else { return };
    assert_eq!(benchmark.rows(), 491);
}

#[test]
fn nasbenchnlp_is_as_it_is_known() {
    let Some(benchmark) = verified(nasbenchnlp::import) else { return };
    assert_eq!(benchmark.rows(), 265);
    // Every training of the file is a seed of one of them.
    let trainings = benchmark.metric("wikitext2/params").unwrap();
    assert_eq!(trainings.values().filter(|v| !v.is_nan()).count(), 345);
}
