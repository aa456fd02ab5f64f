//! Benchmark files.

use super::sections::safetensors;
use srnas_oracle::{agreement::agreement, benchmark::Benchmark, tasks::build_task, verify::verify};
use srnas_task::{Count, TaskName};
use std::{fs, sync::Arc};

/// A file is refused, or everything in it can be asked for.
pub fn benchmark(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.safetensors");
    fs::write(&path, safetensors(bytes, "srnas_benchmark")).expect("a file");
    if let Ok(benchmark) = Benchmark::open(&path) {
        sound(&Arc::new(benchmark));
    }
}

/// Every row is found by its architecture, and every metric is a task or says why it is none.
pub fn sound(benchmark: &Arc<Benchmark>) {
    let space = benchmark.space();
    assert!(benchmark.rows() > 0 && benchmark.metrics().len() > 0);
    for row in 0..benchmark.rows().min(200) {
        let choices = benchmark.choices(row);
        assert!(space.is_valid(choices));
        assert_eq!(benchmark.row_of(choices), Some(row));
        let parsed = space.parse(&space.format(choices)).expect("what is written can be read");
        assert_eq!(parsed, choices);
    }
    assert_eq!(benchmark.row_of(&vec![255; space.len()]), None);
    for metric in benchmark.metrics() {
        assert!(metric.seeds() > 0 && metric.values().all(|v| !v.is_infinite()));
        assert_eq!(benchmark.metric(metric.name()).expect("its own metric").seeds(), metric.seeds());
        let name = format!("{}/{}", benchmark.name(), metric.name());
        let name: TaskName = name.parse().expect("a metric's name is a task's");
        for count in [Count::Classes, Count::Strings] {
            if let Ok(task) = build_task(benchmark, &name, count) {
                assert!(task.best() > task.median() && task.best().is_finite());
                let best =
                    (0..benchmark.rows()).find(|&r| task.value(benchmark.choices(r)) == Some(task.best()));
                assert!(best.is_some(), "the best is in the table");
            }
        }
        for fidelity in benchmark.fidelities(metric.name()) {
            assert!(0.0 < fidelity.cost() && fidelity.cost() < 1.0);
        }
    }
    let metrics: Vec<_> = benchmark.metrics().take(3).collect();
    assert_eq!(agreement(benchmark, &metrics).len(), metrics.len());
    assert!(verify(benchmark)[..2].iter().all(|check| check.ok), "what is open is whole");
}
