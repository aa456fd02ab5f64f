//! The importer on the published tables themselves. They are not part of the project: name their folder in
//! `SRNAS_BENCH_SOURCES`, without which these tests say that they skip.

use srnas_oracle::{
    benchmark::Benchmark,
    catalog::Catalog,
    importers::{csv::CsvTable, nasbench201},
    tasks::{build_task, resolve_tasks},
    verify::verify,
};
use srnas_space::SearchSpace;
use srnas_task::{Count, TaskName};
use std::{
    collections::{HashMap, HashSet},
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};
use tempfile::TempDir;

/// The folder of published tables, if there is one.
fn sources() -> Option<PathBuf> {
    let folder = env::var_os("SRNAS_BENCH_SOURCES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
    }
    folder
}

/// The imported benchmark, made once for all tests.
fn imported() -> Option<&'static Path> {
    static FILE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let sources = sources()?;
    let (_, path) = FILE.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("nb201.safetensors");
        let imported = nasbench201::import(&[sources], &mut |_, _, _| {}).unwrap();
        // What NASLib keeps of proxies may stand beside the tables.
        assert_eq!(imported.absent, ["zc_nasbench201.json"]);
        imported.benchmarks[0].clone().write(&path).unwrap();
        (folder, path)
    });
    Some(path)
}

#[test]
fn every_known_fact_of_nb201_holds() {
    let Some(path) = imported() else { return };
    let checks = verify(&Benchmark::open(path).unwrap());
    let failed: Vec<_> = checks.iter().filter(|c| !c.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(checks.iter().any(|c| c.what == "best mean cifar10/test"));
}

/// The class map of two independent studies is the partition that the space's canonical keys make.
#[test]
fn canonical_keys_are_the_published_classes() {
    let Some(sources) = sources() else { return };
    let space = SearchSpace::named("nb201").unwrap();
    let main = CsvTable::read(&sources.join("nasbench201/nb201_main.csv.gz")).unwrap();
    let (index, architecture) = (main.column("index").unwrap(), main.column("arch_str").unwrap());
    let key_of: HashMap<usize, u64> = (0..main.rows())
        .map(|row| {
            let choices = space.parse(architecture.text(row)).unwrap();
            (index.index(row, 15_625).unwrap(), space.canonical_key(&choices))
        })
        .collect();
    for file in ["nb201_cifar10_attacks", "jung2023_eps1_three_datasets", "nasrobbench201_adv_trained"] {
        let table = CsvTable::read(&sources.join(format!("robustness/{file}.csv.gz"))).unwrap();
        let (index, class) = (table.column("index").unwrap(), table.column("isomorph_index").unwrap());
        let pairs: HashSet<(usize, u64)> = (0..table.rows())
            .map(|row| (class.index(row, 15_625).unwrap(), key_of[&index.index(row, 15_625).unwrap()]))
            .collect();
        let classes: HashSet<usize> = pairs.iter().map(|p| p.0).collect();
        let keys: HashSet<u64> = pairs.iter().map(|p| p.1).collect();
        assert_eq!(
            (table.rows(), pairs.len(), classes.len(), keys.len()),
            (15_625, 6_466, 6_466, 6_466),
            "{file}"
        );
    }
}

#[test]
fn every_metric_is_a_task_and_its_numbers_are_the_published_ones() {
    let Some(path) = imported() else { return };
    let benchmark = std::sync::Arc::new(Benchmark::open(path).unwrap());
    for metric in benchmark.metrics() {
        let name: TaskName = format!("nb201/{}", metric.name()).parse().unwrap();
        let task = build_task(&benchmark, &name, Count::Classes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(task.best() > task.median(), "{name}");
    }
    let value = |metric: &str, architecture: &str| {
        let row = benchmark.row_of(&benchmark.space().parse(architecture).unwrap()).unwrap();
        let metric = benchmark.metric(metric).unwrap();
        metric.written(metric.mean(row)).unwrap()
    };
    // The example in the robustness study's own documentation.
    let example =
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_1x1~1|skip_connect~2|";
    assert_eq!((value("cifar10/clean", example), value("cifar10/pgd@1", example)), (89.3, 33.6));
}

#[test]
fn tasks_resolve_from_a_catalog() {
    let Some(path) = imported() else { return };
    let catalog = Catalog::over([path.parent().unwrap().to_path_buf()]);
    let names: Vec<TaskName> = [
        "nb201/cifar10/val",
        "nb201/cifar100/val:0",
        "nb201/imagenet16/adv_pgd@8",
        "nb201/cifar10/val-0.15*log(edgegpu_latency)",
    ]
    .map(|n| n.parse().unwrap())
    .into();
    let tasks = resolve_tasks(&catalog, &names, Count::Strings).unwrap();
    assert!((tasks[0].best() - 91.607).abs() < 1e-3, "{:?}", tasks[0]);
    assert_eq!(tasks[3].name(), "nb201/cifar10/val-0.15*log(edgegpu_latency)");
}
