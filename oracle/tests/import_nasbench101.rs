//! The importer of NAS-Bench-101: records as the official files have them, the CSV of some cells, what is wrong in either, and the
//! published files.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use srnas_oracle::{
    benchmark::Benchmark,
    importers::{
        Imported,
        csv::CsvTable,
        nasbench101::{self, EvaluationData, ModelMetrics, hash::module_hash, tfrecord},
    },
    verify::verify,
};
use srnas_space::{SearchSpace, nb101};
use std::{env, fs, path::Path};
use tempfile::TempDir;

const ONLY_108: &str = "nasbench_only108.tfrecord";
const CONV: &str = "conv3x3-bn-relu";

fn import(folder: &Path) -> Result<Imported, String> {
    nasbench101::import(&[folder.to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())
}

fn opened(folder: &Path) -> Benchmark {
    let path = folder.join("nb101.safetensors");
    import(folder).unwrap().benchmarks.remove(0).write(&path).unwrap();
    Benchmark::open(&path).unwrap()
}

/// A training as the official files have it, of accuracies in percent.
#[derive(Clone)]
struct Run {
    matrix: &'static str,
    operations: String,
    hash: Option<String>,
    epochs: u32,
    val: f64,
    evaluations: usize,
}

fn run(matrix: &'static str, inner: &[&str], val: f64) -> Run {
    let operations = [&["input"][..], inner, &["output"]].concat().join(",");
    Run { matrix, operations, hash: None, epochs: 108, val, evaluations: 3 }
}

impl Run {
    fn contents(&self) -> Vec<u8> {
        let n = (self.matrix.len() as f64).sqrt() as usize;
        let digits: Vec<f64> = self.matrix.bytes().map(|b| f64::from(b - b'0')).collect();
        let matrix: Vec<Vec<f64>> = digits.chunks(n).map(<[f64]>::to_vec).collect();
        let operations: Vec<String> = self.operations.split(',').map(str::to_string).collect();
        let cell = nb101::choices_of(&matrix, &operations);
        let hash = self.hash.clone().or_else(|| module_hash(&cell.ok()?)).unwrap_or_default();
        let evaluation = |place: usize| EvaluationData {
            current_epoch: 54.0 * place as f64,
            training_time: 500.0 * place as f64,
            train_accuracy: 1.0,
            validation_accuracy: if place == 2 { self.val / 100.0 } else { 0.1 },
            test_accuracy: if place == 2 { self.val / 100.0 - 0.01 } else { 0.1 },
        };
        let metrics = ModelMetrics {
            evaluation_data: (0..self.evaluations).map(evaluation).collect(),
            trainable_parameters: 8_555_530,
            total_time: 1100.0,
        };
        let results = BASE64_STANDARD.encode(metrics.encode_to_vec());
        serde_json::to_vec(&(hash, self.epochs, self.matrix, &self.operations, results)).unwrap()
    }
}

/// Two cells, three runs of 108 epochs each; a vertex of the second leads nowhere.
fn runs() -> Vec<Run> {
    let one = |val| run("010001000", &[CONV], val);
    let other = |val| run("0110000100000000", &["maxpool3x3", CONV], val);
    vec![one(90.0), one(91.0), other(80.0), one(92.0), other(81.0), other(83.0)]
}

fn official(runs: &[Run]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let bytes: Vec<u8> = runs.iter().flat_map(|run| tfrecord::record(&run.contents())).collect();
    fs::write(folder.path().join(ONLY_108), bytes).unwrap();
    folder
}

#[test]
fn the_three_runs_of_a_cell_are_seeds_wherever_they_stand() {
    let mut all = runs();
    let short = |run: &Run| Run { epochs: 12, val: run.val - 20.0, ..run.clone() };
    all.extend(runs().iter().map(short));
    let folder = official(&all);
    let benchmark = opened(folder.path());
    assert_eq!(benchmark.rows(), 2);
    let row = |text: &str| benchmark.row_of(&benchmark.space().parse(text).unwrap()).unwrap();
    let (one, other) = (row("conv3x3-bn-relu(0)|output(1)"), row("maxpool3x3(0)|output(1)"));
    let metric = |name: &str| benchmark.metric(name).unwrap();
    assert!((metric("cifar10/val").mean(one) - 91.0).abs() < 1e-4);
    assert!((metric("cifar10/test").mean(other) - (244.0 / 3.0 - 1.0)).abs() < 1e-4);
    assert!((metric("cifar10/val_12").mean(one) - 71.0).abs() < 1e-4);
    assert_eq!(
        (metric("cifar10/train_time").mean(one), metric("cifar10/params").mean(one)),
        (1000.0, 8_555_530.0)
    );
    let shorter = benchmark.fidelities("cifar10/val");
    assert_eq!(shorter.iter().map(|f| (f.amount, f.full)).collect::<Vec<_>>(), [(12, 108)]);
    // An isomorphic encoding is the listed cell.
    let shifted = r#"{"matrix": [[0,0,1,0],[0,0,0,0],[0,0,0,1],[0,0,0,0]], "operations": ["input","conv1x1-bn-relu","maxpool3x3","output"]}"#;
    assert_eq!(row(shifted), other);
}

#[test]
fn what_is_wrong_in_an_official_file_is_named_with_its_record() {
    let changed = |change: &dyn Fn(&mut Vec<Run>)| {
        let mut runs = runs();
        change(&mut runs);
        import(official(&runs).path()).unwrap_err()
    };
    let hash = module_hash(
        &nb101::choices_of(&[vec![0.0, 1.0], vec![0.0, 0.0]], &["input".into(), "output".into()]).unwrap(),
    );
    for (found, says) in [
        (changed(&|runs| drop(runs.remove(3))), "has 2 of 3 runs of 108 epochs"),
        (changed(&|runs| runs.push(runs[0].clone())), "record 7: cell "),
        (changed(&|runs| runs.push(Run { epochs: 4, ..runs[0].clone() })), "of 3 runs of 4 epochs"),
        (changed(&|runs| runs.iter_mut().for_each(|run| run.epochs = 36)), "no trainings of 108 epochs"),
        (changed(&|runs| runs[2].evaluations = 2), "record 3: 2 evaluations instead of 3"),
        (changed(&|runs| runs[1].hash = hash.clone()), "record 2: the cell has the hash "),
        (changed(&|runs| runs[0] = run("01000100", &[CONV], 90.0)), "which is no square"),
        (changed(&|runs| runs[0] = run("010101000", &[CONV], 90.0)), "row 1, column 0 of the matrix is 1"),
        (changed(&|runs| runs[0] = run("010001000", &["conv7x7"], 90.0)), "operation 1 is `conv7x7`"),
        (changed(&|runs| runs[0].val = f64::NAN), "is NaN"),
    ] {
        assert!(found.contains(ONLY_108) && found.contains(says), "{found}");
    }
    let folder = official(&runs());
    let path = folder.path().join(ONLY_108);
    let good = fs::read(&path).unwrap();
    let mut damaged = good.clone();
    // The first record's contents begin after its length and that one's checksum.
    damaged[30] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let found = import(folder.path()).unwrap_err();
    assert!(found.contains("the checksum of its contents is not right"), "{found}");
    fs::write(&path, &good[..good.len() - 3]).unwrap();
    assert!(import(folder.path()).unwrap_err().contains("record 6 is cut short"));
    fs::write(&path, tfrecord::record(b"{\"a\": 1}")).unwrap();
    assert!(import(folder.path()).unwrap_err().contains("it is no row of NAS-Bench-101"));
    fs::write(&path, "arch,accuracy\n1,2\n3,4\n").unwrap();
    assert!(import(folder.path()).unwrap_err().contains("or no TFRecord"));
    fs::write(&path, "").unwrap();
    assert!(import(folder.path()).unwrap_err().contains("no trainings of 108 epochs"));
}

const HEAD: &str = "module_hash,num_vertices,num_edges,adjacency_upper,op_labels,trainable_parameters,val_acc_4,val_acc_12,\
    val_acc_36,val_acc_108,training_time_108_s";
/// The first row of the published file.
const CELL: &str =
    "00005c142e6f48ac74fdcf73e3439874,7,9,100110100001001010101,02001,8555530,0.36,0.42,0.9,0.93,1768.9";

#[test]
fn rows_of_the_csv_are_checked_against_their_hash() {
    let of = |rows: &[&str]| {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("nb101_subset_30001.csv"), format!("{HEAD}\n{}\n", rows.join("\n")))
            .unwrap();
        folder
    };
    let benchmark = opened(of(&[CELL]).path());
    assert!((benchmark.metric("cifar10/val").unwrap().mean(0) - 93.0).abs() < 1e-4);
    assert_eq!(benchmark.fidelities("cifar10/val").len(), 3);
    for (row, says) in [
        (CELL.replace("00005c", "00005d"), ":2: column 1, `module_hash`: the cell has the hash 00005c142e"),
        (CELL.replace(",7,9,", ",6,9,"), "not the 15 digits 0 and 1 above the diagonal of 6 vertices"),
        (CELL.replace(",7,9,", ",7,8,"), "`num_edges`: `8` for a cell of 9 edges"),
        (CELL.replace("02001", "02003"), "`3` is no operation"),
        (CELL.replace("02001", "0200"), "6 operations for 7 vertices"),
        (CELL.replace("0.93", "good"), "`val_acc_108`: `good` is not a number"),
    ] {
        let found = import(of(&[&row]).path()).unwrap_err();
        assert!(found.contains(says), "{found}");
    }
    assert!(import(of(&[CELL, CELL]).path()).unwrap_err().contains("the same cell as in line 2"));
    let nothing = TempDir::new().unwrap();
    assert!(import(nothing.path()).unwrap_err().contains("nb101_subset_30001.csv.gz"));
}

#[test]
fn the_published_cells_are_as_they_are_known() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let imported = nasbench101::import(&[sources.clone().into()], &mut |_, _, _| {}).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nb101.safetensors");
    imported.benchmarks[0].clone().write(&path).unwrap();
    let checks = verify(&Benchmark::open(&path).unwrap());
    assert!(checks.iter().all(|check| check.ok), "{checks:#?}");

    // Of the whole space every hash is the published one, and every key another.
    let space = SearchSpace::named("nb101").unwrap();
    let table = CsvTable::read(&Path::new(&sources).join("nasbench101/nb101_space_423624.csv.gz")).unwrap();
    let column = |name: &str| table.column(name).unwrap();
    let (hash, vertices) = (column("module_hash"), column("num_vertices"));
    let (triangle, labels) = (column("adjacency_upper"), column("op_labels"));
    let mut keys = std::collections::HashSet::new();
    for row in 0..table.rows() {
        let n: usize = vertices.text(row).parse().unwrap();
        let mut digits = triangle.text(row).bytes().map(|b| f64::from(b - b'0'));
        let mut row_of = |from: usize| -> Vec<f64> {
            (0..n).map(|to| if to > from { digits.next().unwrap() } else { 0.0 }).collect()
        };
        let matrix: Vec<Vec<f64>> = (0..n).map(&mut row_of).collect();
        let inner = labels.text(row).bytes().map(|b| nb101::OPERATIONS[usize::from(b - b'0')].to_string());
        let operations: Vec<String> =
            ["input".to_string()].into_iter().chain(inner).chain(["output".into()]).collect();
        let choices = nb101::choices_of(&matrix, &operations).unwrap();
        assert!(keys.insert(space.canonical_key(&choices)), "{}", hash.text(row));
        // Every twentieth: a hash takes a hundred times as long as a key.
        if row % 20 == 0 {
            assert_eq!(module_hash(&choices).unwrap(), hash.text(row));
        }
    }
    assert_eq!(keys.len(), 423_624);
}
