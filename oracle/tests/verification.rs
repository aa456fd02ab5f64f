//! `verify` sees what is wrong.

use srnas_oracle::{
    benchmark::{Benchmark, BenchmarkWriter, Direction, MetricInfo},
    verify::{Check, verify},
};
use srnas_space::SearchSpace;
use tempfile::TempDir;

fn checks(name: &str, metrics: &[(&str, [f32; 2])]) -> Vec<Check> {
    let space = SearchSpace::named("nb201").unwrap();
    let mut writer =
        BenchmarkWriter::new(name, &space, vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0], "made up", "none");
    for (metric, values) in metrics {
        let info =
            MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: String::new() };
        writer.metric(*metric, info, 1, values);
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("b.safetensors");
    writer.write(&path).unwrap();
    verify(&Benchmark::open(&path).unwrap())
}

fn failed(checks: &[Check]) -> Vec<(&str, &str, &str)> {
    let failed = checks.iter().filter(|c| !c.ok);
    failed.map(|c| (c.what.as_str(), c.expected.as_str(), c.found.as_str())).collect()
}

#[test]
fn a_sound_benchmark_passes_and_tells_what_is_missing_in_it() {
    let checks = checks("any", &[("d/a", [1.0, 2.0]), ("d/b", [1.0, f32::NAN])]);
    assert_eq!(failed(&checks), []);
    let values = checks.iter().find(|c| c.what == "metrics with values").unwrap();
    assert_eq!(values.found, "2, 1 of them complete");
    assert!(!checks.iter().any(|c| c.what.starts_with("best mean")), "these are facts of nb201 alone");
}

#[test]
fn a_metric_without_values_fails() {
    let checks = checks("any", &[("d/a", [1.0, 2.0]), ("d/b", [f32::NAN; 2])]);
    assert_eq!(failed(&checks), [("metrics with values", "2", "1, but none of d/b")]);
}

#[test]
fn an_nb201_that_is_not_the_published_one_fails() {
    let checks = checks("nb201", &[("cifar10/test", [94.0, 10.0]), ("cifar10/val", [91.6069, 10.0])]);
    assert_eq!(
        failed(&checks)[..3],
        [
            ("cells", "15625", "2"),
            ("classes by the published rule", "6466", "2"),
            ("best mean cifar10/test", "94.373", "94.000")
        ]
    );
    assert!(checks.iter().any(|c| c.what == "best mean cifar10/val" && c.ok));
    let absent = failed(&checks)[3];
    assert_eq!(absent.0, "best mean cifar100/test");
    assert!(absent.2.contains("no metric `cifar100/test`"), "{absent:?}");
}
