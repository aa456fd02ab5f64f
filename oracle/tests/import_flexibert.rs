//! FlexiBERT's published table is as it is known.

use srnas_oracle::{benchmark::Benchmark, importers::flexibert, verify::verify};
use std::env;
use tempfile::TempDir;

#[test]
fn the_published_table_is_as_it_is_known() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("flexibert.safetensors");
    let imported = flexibert::import(&[sources.into()], &mut |_, _, _| {}).unwrap();
    imported.benchmarks[0].clone().write(&path).unwrap();
    let checks = verify(&Benchmark::open(&path).unwrap());
    assert!(checks.len() == 5 && checks.iter().all(|check| check.ok), "{checks:#?}");
}
