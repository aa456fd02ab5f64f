//! The importer of NAS-Bench-Graph: small tables, what is wrong in them, and the published ones.

use srnas_oracle::{
    benchmark::Benchmark,
    importers::{Imported, nasbenchgraph},
    verify::verify,
};
use std::{env, fs, path::Path};
use tempfile::TempDir;

const CORA: &str = "hash,valid_perf,perf,latency,para\n0,0.77,0.79,0.005,1.7\n80123,0.7,0.8,0.006,2.5\n";

fn import(folder: &Path) -> Result<Imported, String> {
    nasbenchgraph::import(&[folder.to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn opened(folder: &Path) -> Benchmark {
    let path = folder.join("graph.safetensors");
    import(folder).unwrap().benchmarks.remove(0).write(&path).unwrap();
    Benchmark::open(&path).unwrap()
}

#[test]
fn data_sets_are_joined_by_the_number_and_every_way_of_writing_is_found() {
    // The second has one architecture of the first, and one of its own.
    let pubmed = "hash,valid_perf,perf,latency,para\n80123,0.6,0.5,0.007,0.2\n12,0.4,0.3,0.001,0.1\n";
    let folder = folder(&[("cora.csv", CORA), ("pubmed.csv", pubmed)]);
    assert_eq!(import(folder.path()).unwrap().absent, ["citeseer.csv.gz", "arxiv.csv.gz"]);
    let benchmark = opened(folder.path());
    let value = |text: &str, metric: &str| {
        let row = benchmark.row_of(&benchmark.space().parse(text).unwrap()).unwrap();
        benchmark.metric(metric).unwrap().mean(row)
    };
    let chain = "tree=0123,layer1=gat,layer2=gcn,layer3=gin,layer4=cheb";
    assert!(
        (value(chain, "cora/val") - 70.0).abs() < 1e-4 && (value(chain, "pubmed/test") - 50.0).abs() < 1e-4
    );
    assert!((value(chain, "cora/latency") - 6.0).abs() < 1e-4);
    // 12 is 0000 with gat, gat, gcn, gin.
    let turned = "tree=0000,layer1=gin,layer2=gat,layer3=gcn,layer4=gat";
    assert!((value(turned, "pubmed/val") - 40.0).abs() < 1e-4 && value(turned, "cora/val").is_nan());
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (change, says) in [
        (("80123", "90123"), ":3: column 1, `hash`: 90123 is no architecture"),
        (("80123", "8888"), "8888 is no architecture"),
        (("80123", "many"), "`many` is not a whole number"),
        (("80123", "0"), "0 is already in line 2"),
        (
            ("80123", "10"),
            "10 is another way of writing tree=0000,layer1=gat,layer2=gat,layer3=gat,layer4=gcn",
        ),
        (("0.8,", "good,"), "`good` is not a number"),
        (("para", "weights"), "has no column `para`"),
    ] {
        let found = import(folder(&[("cora.csv", &CORA.replace(change.0, change.1))]).path()).unwrap_err();
        assert!(found.contains(says), "{found}");
    }
    assert!(import(TempDir::new().unwrap().path()).unwrap_err().contains("cora.csv.gz (or cora.csv)"));
}

#[test]
fn the_published_tables_are_as_they_are_known() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("graph.safetensors");
    let imported = nasbenchgraph::import(&[sources.into()], &mut |_, _, _| {}).unwrap();
    assert!(imported.absent.is_empty(), "{:?}", imported.absent);
    imported.benchmarks[0].clone().write(&path).unwrap();
    let checks = verify(&Benchmark::open(&path).unwrap());
    assert!(checks.len() > 4 && checks.iter().all(|check| check.ok), "{checks:#?}");
}
