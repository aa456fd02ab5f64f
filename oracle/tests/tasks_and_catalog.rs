//! From a name to a task: folders, benchmarks, objectives.

use srnas_oracle::{
    benchmark::{Benchmark, BenchmarkWriter, Direction, MetricInfo},
    catalog::{Catalog, CatalogError},
    tasks::{build_task, resolve_objectives, resolve_tasks},
};
use srnas_space::SearchSpace;
use srnas_task::{Count, Task, TaskName};
use std::{
    error::Error,
    f64::consts::{FRAC_1_SQRT_2, SQRT_2},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// Five cells without symmetries among them: skip, 1×1, 3×3, pool into one edge, and two convolutions.
const CELLS: [[u8; 6]; 5] =
    [[0, 0, 0, 1, 0, 0], [0, 0, 0, 2, 0, 0], [0, 0, 0, 3, 0, 0], [0, 0, 0, 4, 0, 0], [3, 0, 0, 0, 3, 0]];

fn write(
    folder: &Path,
    name: &str,
    cells: &[[u8; 6]],
    metrics: &[(&str, Direction, usize, &[f32])],
) -> PathBuf {
    let space = SearchSpace::named("nb201").unwrap();
    let mut writer = BenchmarkWriter::new(name, &space, cells.concat(), "made up", "none");
    for &(metric, direction, seeds, values) in metrics {
        let info = MetricInfo { unit: String::new(), direction, description: String::new() };
        writer.metric(metric, info, seeds, values);
    }
    let path = folder.join(format!("{name}.safetensors"));
    writer.write(&path).unwrap();
    path
}

fn toy(folder: &Path) -> PathBuf {
    use Direction::{Maximise, Minimise};
    let nan = f32::NAN;
    write(
        folder,
        "toy",
        &CELLS,
        &[
            ("d/val", Maximise, 2, &[10.0, 20.0, 30.0, 30.0, 50.0, nan, 70.0, 90.0, nan, nan]),
            ("d/cost", Minimise, 1, &[1.0, 2.0, 4.0, 8.0, 16.0]),
            ("d/zero", Minimise, 1, &[1.0, 0.0, 4.0, 8.0, 16.0]),
            ("d/same", Maximise, 1, &[7.0; 5]),
            ("d/most", Maximise, 1, &[100.0, 100.0, 60.0, 100.0, 90.0]),
            ("d/huge", Maximise, 1, &[3e38, -3e38, 1.0, 2.0, 3.0]),
            ("d/tiny", Maximise, 1, &[1.0, 1e-39, 1.0, 2.0, 3.0]),
        ],
    )
}

fn task(name: &str) -> Result<Task, String> {
    let folder = TempDir::new().unwrap();
    let benchmark = Arc::new(Benchmark::open(&toy(folder.path())).unwrap());
    let name: TaskName = name.parse().unwrap();
    build_task(&benchmark, &name, Count::Strings).map_err(|e| with_causes(&e))
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn values(task: &Task) -> Vec<Option<f32>> {
    CELLS.iter().map(|cell| task.value(cell)).collect()
}

#[test]
fn a_metric_alone_is_its_mean_over_the_seeds_there_are() {
    let task = task("toy/d/val").unwrap();
    assert_eq!(values(&task), [Some(15.0), Some(30.0), Some(50.0), Some(80.0), None]);
    assert_eq!((task.name(), task.family(), task.best(), task.median()), ("toy/d/val", "val", 80.0, 40.0));
    assert_eq!(task.value(&[1; 6]), None, "not in the table");
}

#[test]
fn a_seed_can_be_named() {
    assert_eq!(values(&task("toy/d/val:1").unwrap()), [Some(20.0), Some(30.0), None, Some(90.0), None]);
}

#[test]
fn a_metric_of_which_less_is_better_is_negated() {
    let task = task("toy/d/cost").unwrap();
    assert_eq!(values(&task), [-1.0, -2.0, -4.0, -8.0, -16.0].map(Some));
    assert_eq!((task.best(), task.median()), (-1.0, -4.0));
}

fn close(found: &[Option<f32>], expected: &[Option<f64>]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        let near = match (f, e) {
            (Some(f), Some(e)) => (f64::from(*f) - e).abs() < 1e-6,
            (None, None) => true,
            _ => false,
        };
        assert!(near, "{found:?} should be {expected:?}");
    }
}

/// ln 1, ln 2, … ln 16 have mean 2 ln 2 and deviation √2 ln 2.
const LOG_COST: [f64; 5] = [-SQRT_2, -FRAC_1_SQRT_2, 0.0, FRAC_1_SQRT_2, SQRT_2];

#[test]
fn a_logarithm_is_standardised_and_alone_turned_where_less_is_better() {
    close(&values(&task("toy/d/log(cost)").unwrap()), &LOG_COST.map(|v| Some(-v)));
}

#[test]
fn sums_are_of_scaled_terms() {
    // val: median 40, best 80; logarithms keep their sign.
    let val = [-0.625, -0.25, 0.25, 1.0];
    let mut expected: Vec<Option<f64>> = (0..4).map(|i| Some(val[i] - 0.5 * LOG_COST[i])).collect();
    expected.push(None);
    close(&values(&task("toy/d/val-0.5*log(cost)").unwrap()), &expected);
    // cost: median 4, best 1, so that a positive weight asks for less.
    let cost = [1.0, 2.0 / 3.0, 0.0, -4.0 / 3.0];
    let mut expected: Vec<Option<f64>> = (0..4).map(|i| Some(val[i] + 2.0 * cost[i])).collect();
    expected.push(None);
    close(&values(&task("toy/d/val+2*cost").unwrap()), &expected);
}

#[test]
fn products_are_of_metrics_as_they_are() {
    // val · 4/cost beyond a cost of 4, and val within it; val is missing of the last.
    let hard = task("toy/d/val*(cost/4)^(0|-1)").unwrap();
    close(&values(&hard), &[Some(15.0), Some(30.0), Some(50.0), Some(40.0), None]);
    assert_eq!((hard.family(), hard.best(), hard.median()), ("val*(cost)", 50.0, 35.0));
    let soft = |val: f64, ratio: f64| Some(val * ratio.powf(-0.07));
    let expected = [soft(15.0, 0.25), soft(30.0, 0.5), soft(50.0, 1.0), soft(80.0, 2.0), None];
    let task_of = |name: &str| values(&task(name).unwrap());
    let found = task_of("toy/d/val*(cost/4)^-0.07");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(found.unwrap_or(0.0)) - expected.unwrap_or(0.0)).abs() < 1e-5,
            "{found:?} {expected:?}"
        );
    }
    // A seed alone; and a cost that is minimised, the dearer the worse.
    close(&task_of("toy/d/val:0*(cost/1)^-1"), &[Some(10.0), Some(15.0), Some(12.5), Some(8.75), None]);
    assert_eq!(task_of("toy/d/cost*(cost/1)^1"), [-1.0, -4.0, -16.0, -64.0, -256.0].map(Some));
    for (name, says) in [
        (
            "toy/d/val*(zero/4)^-0.07",
            "metric `d/zero` is 0, and (d/zero/4)^… is of numbers above 0 (|none~0|",
        ),
        ("toy/d/huge*(cost/4)^-0.07", "metric `d/huge` has 3e38"),
        ("toy/d/val*(vall/4)^1", "no metric `d/vall`"),
        ("toy/d/val*(cost/1e-10)^3", "it comes to"),
    ] {
        let error = task(name).unwrap_err();
        assert!(error.contains(says), "{error:?} should say {says:?}");
    }
}

#[test]
fn what_is_degenerate_alone_counts_in_a_sum() {
    // val: median 40, best 80. What is the same everywhere adds nothing.
    let val = [-0.625, -0.25, 0.25, 1.0].map(Some).into_iter().chain([None]).collect::<Vec<_>>();
    for name in ["toy/d/val+1*same", "toy/d/val+1*log(same)", "toy/d/val-2*same"] {
        close(&values(&task(name).unwrap()), &val);
    }
    // Most have all the points there are: the worst, 60, is one below the best.
    let full = [0.0, 0.0, -1.0, 0.0, -0.25];
    let mut expected: Vec<Option<f64>> = (0..4).map(|i| Some(val[i].unwrap() + 0.5 * full[i])).collect();
    expected.push(None);
    close(&values(&task("toy/d/val+0.5*most").unwrap()), &expected);
    // As one of several objectives.
    let folder = TempDir::new().unwrap();
    toy(folder.path());
    let catalog = Catalog::over([folder.path().to_path_buf()]);
    let names = ["toy/d/val", "toy/d/same", "toy/d/most"].map(|n| n.parse::<TaskName>().unwrap());
    assert!(resolve_tasks(&catalog, &names, Count::Strings).is_err());
    let together = resolve_objectives(&catalog, &names, Count::Strings).unwrap();
    assert_eq!(together.iter().map(|t| t.best()).collect::<Vec<_>>(), [80.0, 7.0, 100.0]);
}

#[test]
fn what_is_no_task_is_refused_with_metric_and_reason() {
    for (name, expected) in [
        ("toy/d/vall", "task `toy/d/vall`: benchmark `toy` has no metric `d/vall`; did you mean `d/val`?"),
        ("toy/d/val:2", "metric `d/val` has the seeds `:0` to `:1` and no `:2`"),
        ("toy/d/cost:1", "metric `d/cost` has one seed, `:0`, and no `:1`"),
        (
            "toy/d/val-1*log(zero)",
            "metric `d/zero` is 0 for |none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
        ),
        ("toy/d/same", "its best value 7 is also its median, so nothing can be found in it alone"),
        ("toy/d/same+1*log(same)", "its best value 0 is also its median"),
        ("toy/d/log(same)", "its best value 0 is also its median"),
        ("toy/d/most", "its best value 100 is also its median"),
        ("toy/d/huge", "metric `d/huge` has 3e38 for |none~0|"),
        ("toy/d/tiny", "which is nearer to 0 than a search can hold (1e-30); make the benchmark again"),
        ("toy/d/val+1e35*cost", "it comes to"),
        ("other/d/val", "task `other/d/val` is not on benchmark `toy`"),
    ] {
        let error = task(name).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
}

#[test]
fn a_table_of_the_whole_space_is_looked_up_by_rank() {
    let space = SearchSpace::named("nb201").unwrap();
    let mut cells = vec![[0; 6]; 15_625];
    // Rows against the order of ranks.
    cells.iter_mut().enumerate().for_each(|(row, cell)| space.unrank(15_624 - row as u64, cell));
    let ranks: Vec<f32> = (0..15_625).rev().map(|r| r as f32).collect();
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "whole", &cells, &[("d/rank", Direction::Maximise, 1, &ranks)]);
    let benchmark = Arc::new(Benchmark::open(&path).unwrap());
    assert!(benchmark.covers_space());
    let name: TaskName = "whole/d/rank".parse().unwrap();
    let strings = build_task(&benchmark, &name, Count::Strings).unwrap();
    assert!((0..15_625).all(|rank| strings.value_of_rank(rank) == Some(rank as f32)));
    let classes = build_task(&benchmark, &name, Count::Classes).unwrap();
    assert_eq!(classes.count(), Count::Classes);
    // The same convolution from input to output, directly and behind a skip.
    let (direct, behind) = ([0, 0, 0, 3, 0, 0], [1, 0, 0, 0, 3, 0]);
    assert_ne!(strings.value(&direct), strings.value(&behind));
    assert_eq!(classes.value(&direct), classes.value(&behind));
}

#[test]
fn tasks_come_in_the_order_of_their_names() {
    let folder = TempDir::new().unwrap();
    toy(folder.path());
    let catalog = Catalog::over([folder.path().to_path_buf()]);
    let names = ["toy/d/cost", "toy/d/val"].map(|n| n.parse::<TaskName>().unwrap());
    let tasks = resolve_tasks(&catalog, &names, Count::Classes).unwrap();
    assert_eq!(tasks.iter().map(|t| t.name()).collect::<Vec<_>>(), ["toy/d/cost", "toy/d/val"]);
    let absent = ["nb201/d/val".parse().unwrap()];
    let error = with_causes(&resolve_tasks(&catalog, &absent, Count::Classes).unwrap_err());
    assert!(error.starts_with("task `nb201/d/val`: benchmark `nb201` is not in "), "{error}");
}

#[test]
fn an_absent_benchmark_says_where_it_was_looked_for_and_what_makes_it() {
    let folder = TempDir::new().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    toy(&b);
    let catalog = Catalog::over([a.clone(), b.clone()]);
    let error = |name| catalog.open(name).unwrap_err().to_string();
    assert_eq!(
        error("nb201"),
        format!(
            "benchmark `nb201` is not in {} or {}; make it with `srnas bench import nasbench201 DIR…`, DIR… the \
             folders of its tables",
            a.display(),
            b.display()
        )
    );
    assert!(error("tooy").ends_with("did you mean `toy`?"), "{}", error("tooy"));
    assert!(error("../b/toy").contains("is not in"), "names are no paths");
    assert!(matches!(Catalog::over([]).open("nb201"), Err(CatalogError::NoFolder)));
    assert!(matches!(Catalog::over([]).import_dir(), Err(CatalogError::NoFolder)));
}

#[test]
fn the_first_folder_hides_the_others_and_takes_imports() {
    let folder = TempDir::new().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let metric = |values| [("d/only", Direction::Maximise, 1usize, values)];
    write(&a, "toy", &CELLS[..2], &metric(&[1.0f32, 2.0][..]));
    toy(&b);
    write(&b, "more", &CELLS[..2], &metric(&[1.0, 2.0]));
    // Neither of these is a benchmark: a file being written, and something else.
    fs::write(b.join(".srnas-x.safetensors"), "").unwrap();
    fs::write(b.join("notes.txt"), "").unwrap();
    let catalog = Catalog::over([a.clone(), b.clone()]);
    let names: Vec<_> = catalog.list().unwrap().into_iter().map(|e| (e.name, e.path)).collect();
    assert_eq!(
        names,
        [
            ("control".into(), "(built in)".into()),
            ("digits".into(), "(built in)".into()),
            ("digits-wrn".into(), "(built in)".into()),
            ("more".into(), b.join("more.safetensors")),
            ("toy".into(), a.join("toy.safetensors")),
        ]
    );
    assert_eq!(catalog.open("toy").unwrap().rows(), 2);
    assert_eq!(catalog.import_dir().unwrap(), a);
    assert_eq!(Catalog::new(Some(a.clone())).folders()[0], a);
}

#[test]
fn a_file_under_another_name_or_damaged_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::rename(toy(folder.path()), folder.path().join("tin.safetensors")).unwrap();
    fs::write(folder.path().join("bad.safetensors"), "").unwrap();
    let catalog = Catalog::over([folder.path().to_path_buf()]);
    let error = |name| catalog.open(name).unwrap_err().to_string();
    assert!(
        error("tin").contains("holds the benchmark `toy`: rename it to toy.safetensors"),
        "{}",
        error("tin")
    );
    assert!(error("bad").contains("bad.safetensors is damaged: it is empty"), "{}", error("bad"));
}
