//! A run that learns on one benchmark and searches another, whose space is another one.

use srnas_config::Config;
use srnas_oracle::{
    benchmark::{BenchmarkWriter, Direction, MetricInfo, SpaceDefinition, SpaceFormat},
    catalog::Catalog,
    run_tasks::RunTasks,
};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{fmt::Write, path::Path, sync::Arc};
use tempfile::TempDir;

const EDGES: [&str; 6] = ["0>1", "0>2", "1>2", "0>3", "1>3", "2>3"];

fn info() -> MetricInfo {
    MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: String::new() }
}

/// All of nb201, worth its number of 3×3 convolutions.
fn learned(folder: &Path) {
    let space = SearchSpace::named("nb201").unwrap();
    let mut choices = vec![0; 15_625 * 6];
    choices.chunks_exact_mut(6).zip(0..).for_each(|(cell, rank)| space.unrank(rank, cell));
    let values: Vec<f32> =
        choices.chunks_exact(6).map(|cell| cell.iter().filter(|&&c| c == 3).count() as f32).collect();
    let mut writer = BenchmarkWriter::new("learned", &space, choices, "made up", "none");
    writer.metric("d/val", info(), 1, &values);
    writer.write(&folder.join("learned.safetensors")).unwrap();
}

/// Cells of the same edges with two operations, the second of which has the name of a convolution, or another.
fn searched(folder: &Path, name: &str, operation: &str) {
    let mut text = format!("name = \"{name}\"\n");
    for edge in EDGES {
        writeln!(text, "[[decisions]]\nname = \"{edge}\"\nchoices = [\"none\", \"{operation}\"]").unwrap();
    }
    let definition = SpaceDefinition { format: SpaceFormat::Toml, text };
    let space = Arc::new(definition.space(name).unwrap());
    let mut choices = vec![0; 64 * 6];
    choices.chunks_exact_mut(6).zip(0..).for_each(|(cell, rank)| space.unrank(rank, cell));
    let mut writer = BenchmarkWriter::new(name, &space, choices, "made up", "none");
    writer.define_space(definition);
    writer.metric("d/val", info(), 1, &(0..64).map(|v| v as f32).collect::<Vec<_>>());
    writer.write(&folder.join(format!("{name}.safetensors"))).unwrap();
}

fn resolve(folder: &Path, held_out: &str) -> Result<RunTasks, String> {
    let mut config = Config::default();
    config.task_sets.insert("train".into(), vec!["learned/d/val".into()]);
    config.task_sets.insert("held-out".into(), vec![held_out.into()]);
    config.tasks.train = vec!["train".into()];
    config.tasks.held_out = vec!["held-out".into()];
    config.validation.families = Vec::new();
    config.tasks.count = Count::Strings;
    let needed = RunTasks::benchmarks(&config).unwrap();
    assert!(needed.contains("learned") && needed.len() == 2, "{needed:?}");
    RunTasks::resolve(&config, &Catalog::over([folder.to_path_buf()])).map_err(|e| e.to_string())
}

#[test]
fn tasks_are_learned_on_the_space_that_is_searched() {
    let folder = TempDir::new().unwrap();
    learned(folder.path());
    searched(folder.path(), "alike", "nor_conv_3x3");
    searched(folder.path(), "unlike", "attention");
    let tasks = resolve(folder.path(), "alike/d/val").unwrap();
    assert_eq!((tasks.space().name(), tasks.space().size(), tasks.all.len()), ("alike", Some(64), 1));
    assert_eq!((tasks.all[0].name(), tasks.all[0].value(&[0, 1, 0, 1, 0, 0])), ("learned/d/val", Some(2.0)));
    let refused = resolve(folder.path(), "unlike/d/val").unwrap_err();
    assert!(
        refused.contains("a run has one space") && refused.contains("says nothing of unlike"),
        "{refused}"
    );
}
