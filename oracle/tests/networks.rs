//! Benchmarks with a network: as files, as tasks on spaces of which there is no table, and fitted to a part of a table.

use srnas_oracle::{
    benchmark::{
        Activation, Benchmark, BenchmarkWriter, Branch, Direction, Fidelity, MetricInfo, Network,
        NetworkInfo, Output, Source, Weights,
    },
    catalog::Catalog,
    fit::{FitError, fit},
    tasks::{resolve_tasks, resolve_with_shorter},
    verify::verify,
};
use srnas_space::SearchSpace;
use srnas_task::{Count, Fidelity as Length, Task, TaskName};
use std::{fs, path::Path, sync::Arc};
use tempfile::TempDir;

fn info(direction: Direction) -> MetricInfo {
    MetricInfo { unit: "%".into(), direction, description: String::new() }
}

/// A sum over the choices of a DARTS architecture: `d/early` half of it, `d/cost` three times its negative.
fn network() -> (Arc<SearchSpace>, Network) {
    let space = SearchSpace::named("darts").unwrap();
    let output = |metric: &str, scale| Output {
        metric: metric.into(),
        column: 0,
        sigmoid: false,
        scale,
        offset: 100.0,
    };
    let info = NetworkInfo {
        rows_are_measured: false,
        slots: (0..space.len()).map(|d| vec![d]).collect(),
        branches: vec![Branch { hidden: vec![], activation: Activation::Relu }],
        outputs: vec![output("d/val", 1.0), output("d/early", 0.5), output("d/cost", -3.0)],
        held_out: None,
    };
    let first = (0..space.len()).flat_map(|d| (0..space.arity(d)).map(f32::from)).collect();
    let weights = Weights { first, bias: vec![0.0; 3], layers: vec![vec![]] };
    let network = Network::new(info, space.clone(), weights).unwrap();
    (space, network)
}

/// A file of three architectures and that network.
fn write(folder: &Path) {
    let (space, network) = network();
    let mut choices = vec![0; 3 * space.len()];
    choices[space.len()] = 3;
    choices[2 * space.len() + 1] = 6;
    let mut writer = BenchmarkWriter::new("made-up", &space, choices.clone(), "made up", "none");
    for (output, (metric, direction)) in
        [("d/val", Direction::Maximise), ("d/early", Direction::Maximise), ("d/cost", Direction::Minimise)]
            .into_iter()
            .enumerate()
    {
        writer.metric(metric, info(direction), 1, &network.values(output, &choices));
    }
    writer.metric("d/measured", info(Direction::Maximise), 1, &[1.0, 2.0, 3.0]);
    let (metric, of) = ("d/early".into(), "d/val".into());
    writer.fidelity(Fidelity { metric, of, unit: "epochs".into(), amount: 1, full: 4 });
    writer.network(&network);
    writer.write(&folder.join("made-up.safetensors")).unwrap();
}

fn tasks(folder: &Path, names: &[&str]) -> Result<Vec<Arc<Task>>, String> {
    let catalog = Catalog::over([folder.to_path_buf()]);
    let names: Vec<TaskName> = names.iter().map(|name| name.parse().unwrap()).collect();
    resolve_with_shorter(&catalog, &names, Count::Classes).map_err(|e| e.to_string())
}

#[test]
fn a_file_with_a_network_says_of_every_answer_where_it_is_from() {
    let folder = TempDir::new().unwrap();
    write(folder.path());
    let benchmark = Benchmark::open(&folder.path().join("made-up.safetensors")).unwrap();
    assert!(verify(&benchmark).iter().all(|check| check.ok));
    let metric = |name: &str| benchmark.metric(name).unwrap();
    let here = benchmark.choices(1).to_vec();
    let mut elsewhere = here.clone();
    elsewhere[21] = 5;
    assert_eq!(benchmark.answer(&metric("d/val"), &here), Some((103.0, Source::Predicted)));
    assert_eq!(benchmark.answer(&metric("d/val"), &elsewhere), Some((108.0, Source::Predicted)));
    assert_eq!(benchmark.answer(&metric("d/measured"), &here), Some((2.0, Source::Measured)));
    assert_eq!(benchmark.answer(&metric("d/measured"), &elsewhere), None);
}

#[test]
fn a_file_whose_network_was_changed_or_cut_is_refused() {
    let folder = TempDir::new().unwrap();
    write(folder.path());
    let path = folder.path().join("made-up.safetensors");
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        Benchmark::open(&path).unwrap_err().to_string()
    };
    // A number of the network: the file ends with its tensors.
    let mut changed = whole.clone();
    let last = changed.len() - 2;
    changed[last] ^= 1;
    assert!(refused(changed).contains("SHA-256"));
    let text = |from: &str, to: &str| {
        let header = String::from_utf8_lossy(&whole[8..]).into_owned();
        assert!(header.contains(from), "{from}");
        let mut bytes = whole.clone();
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        refused(bytes)
    };
    assert!(text("\"network.bias\"", "\"network.bass\"").contains("no f32 tensor `network.bias`"));
    assert!(text("\\\"format_version\\\":3", "\\\"format_version\\\":4").contains("a newer srnas can"));
}

#[test]
fn tasks_of_a_network_are_on_the_whole_space_and_those_of_its_rows_alone_are_not() {
    let folder = TempDir::new().unwrap();
    write(folder.path());
    let all = tasks(folder.path(), &["made-up/d/val", "made-up/d/cost"]).unwrap();
    let (val, cost) = (&all[0], &all[1]);
    assert_eq!((val.tabulated(), val.best_of(), val.best(), val.median()), (None, Some(3), 106.0, 103.0));
    let mut choices = vec![0; 22];
    choices[5] = 2;
    assert_eq!((val.value(&choices), cost.value(&choices).map(|v| cost.shown(v))), (Some(102.0), Some(94.0)));
    assert_eq!(val.value_after(Length::Shorter(0), &choices), Some(101.0));
    // A sum's best is climbed to: all that can be had of both.
    let sum = &tasks(folder.path(), &["made-up/d/val+0.5*cost"]).unwrap()[0];
    assert!(sum.best() > 20.0, "{}", sum.best());
    assert!((sum.value(&choices).unwrap() - (-0.5)).abs() < 1e-5);
    // Of a product, too: val times 100/cost, of which less is predicted the more is chosen. What costs less than nothing is as the worst.
    let product = &tasks(folder.path(), &["made-up/d/val*(cost/100)^-1"]).unwrap()[0];
    assert!((product.value(&choices).unwrap() - 102.0 / 0.94).abs() < 1e-3 && product.best() > 1000.0);
    assert_eq!((product.value(&most_of_all(product)), product.median() > 100.0), (Some(100.0), true));
    // What was measured of some is a table of these, and so is what stands beside it.
    let beside = tasks(folder.path(), &["made-up/d/measured", "made-up/d/val"]).unwrap();
    assert_eq!((beside[0].tabulated(), beside[1].tabulated()), (Some(3), Some(3)));
    assert_eq!(tasks(folder.path(), &["made-up/d/val:0"]).unwrap()[0].tabulated(), Some(3));
}

/// The last choice everywhere: it costs less than nothing.
fn most_of_all(task: &Task) -> Vec<u8> {
    (0..task.space().len()).map(|d| task.space().arity(d) - 1).collect()
}

/// Some cells of NAS-Bench-201 with a value that can be learned, noise, and what says it early.
fn part(rows: usize) -> (TempDir, Benchmark) {
    let space = SearchSpace::named("nb201").unwrap();
    let folder = TempDir::new().unwrap();
    let (mut choices, mut values) = (Vec::new(), Vec::new());
    for row in 0..rows as u64 {
        let mut cell = vec![0; 6];
        space.unrank(row * 7_919 % 15_625, &mut cell);
        let strength = cell
            .iter()
            .enumerate()
            .map(|(d, &c)| [0.0, 1.0, 2.5, 4.0, 1.5][usize::from(c)] * (1.0 + d as f32))
            .sum::<f32>();
        values.push(90.0 * strength / (20.0 + strength) + (row % 5) as f32 * 0.1);
        choices.extend(cell);
    }
    let mut writer = BenchmarkWriter::new("part", &space, choices, "made up", "none");
    let early: Vec<f32> = values.iter().map(|v| v * 0.7).collect();
    writer.metric("d/val", info(Direction::Maximise), 1, &values);
    writer.metric("d/early", info(Direction::Maximise), 1, &early);
    writer.metric("d/same", info(Direction::Maximise), 1, &vec![1.0; rows]);
    let (metric, of) = ("d/early".into(), "d/val".into());
    writer.fidelity(Fidelity { metric, of, unit: "epochs".into(), amount: 1, full: 4 });
    let path = folder.path().join("part.safetensors");
    writer.write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    (folder, benchmark)
}

#[test]
fn a_surrogate_of_a_part_predicts_the_rest_and_keeps_what_was_measured() {
    let (folder, part) = part(3_000);
    let fitted = |tau| fit(&part, &["d/val".into()], "all-of-it", tau, 1, &mut |_, _| {});
    let first = fitted(0.8).unwrap();
    let [(val, held_out), (early, _)] = &first.held_out[..] else { panic!("two metrics") };
    // A tenth of the classes.
    assert_eq!((val.as_str(), early.as_str()), ("d/val", "d/early"));
    assert_eq!(held_out.rows, part.distinct().len() / 10);
    assert!(held_out.kendall > 0.85 && held_out.mean_error < 2.0, "{held_out:?}");
    first.benchmark.write(&folder.path().join("all-of-it.safetensors")).unwrap();
    let whole = Benchmark::open(&folder.path().join("all-of-it.safetensors")).unwrap();
    assert!(
        verify(&whole).iter().all(|check| check.ok) && whole.provenance().contains("fitted by srnas on part")
    );
    let val = whole.metric("d/val").unwrap();
    let known = part.metric("d/val").unwrap().mean(5);
    assert_eq!(whole.answer(&val, part.choices(5)), Some((known, Source::Measured)));
    let space = part.space();
    let mut unknown = vec![0; 6];
    let missing = (0..15_625).find(|&rank| {
        space.unrank(rank, &mut unknown);
        part.row_of(&unknown).is_none()
    });
    let (predicted, source) = whole.answer(&val, &unknown).unwrap();
    assert!(missing.is_some() && source == Source::Predicted && (0.0..100.0).contains(&predicted));
    // A small space of which every architecture has a value is a table again.
    let names: Vec<TaskName> = vec!["all-of-it/d/val".parse().unwrap()];
    let task =
        &resolve_tasks(&Catalog::over([folder.path().to_path_buf()]), &names, Count::Strings).unwrap()[0];
    assert_eq!((task.tabulated(), task.value(&unknown)), (Some(15_625), Some(predicted as f32)));
    let poor = fitted(0.999).unwrap_err();
    assert!(matches!(poor, FitError::Poor { .. }) && poor.to_string().contains("--least-tau"), "{poor}");
}

#[test]
fn what_cannot_be_fitted_is_refused_before_it_is_tried() {
    let refused = |rows: usize, metric: &str| {
        fit(&part(rows).1, &[metric.to_string()], "s", 0.0, 1, &mut |_, _| panic!("nothing is fitted"))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(60, "d/val").contains("architectures, and 100 are needed"));
    assert!(refused(200, "d/same").contains("`d/same` is the same everywhere"));
    assert!(refused(200, "d/vol").contains("d/val"));
    assert!(refused(15_625, "d/val").contains("nothing to stand in for"));
}
