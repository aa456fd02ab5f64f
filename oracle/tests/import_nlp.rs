//! NAS-Bench-NLP's published table is as it is known.

use srnas_oracle::{benchmark::Benchmark, importers::nasbenchnlp, verify::verify};
use std::env;
use tempfile::TempDir;

#[test]
fn the_published_table_is_as_it_is_known() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nlp.safetensors");
    let imported = nasbenchnlp::import(&[sources.into()], &mut |_, _, _| {}).unwrap();
    imported.benchmarks[0].clone().write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    let checks = verify(&benchmark);
    assert!(checks.iter().all(|check| check.ok), "{checks:#?}");
    // Every training of the file is a seed of one of them.
    let losses = benchmark.metric("wikitext2/params").unwrap();
    assert_eq!(losses.values().filter(|v| !v.is_nan()).count(), 345);
}
