//! The importer of NAS-Bench-301: the published network, and what is refused.

use flate2::read::GzDecoder;
use srnas_oracle::{
    benchmark::Benchmark,
    importers::{Imported, nasbench301},
    verify::verify,
};
use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const MODEL: &str = "yahpo_nb301_new_model.onnx";
const JSON: [&str; 2] = ["yahpo_nb301_encoding.json", "yahpo_nb301_input_order.json"];
const PREDICTIONS: &str = "nb301_yahpo_predictions_11221";

fn import(folder: &Path) -> Result<Imported, String> {
    nasbench301::import(&[folder.to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())
}

fn published() -> Option<PathBuf> {
    let sources = env::var_os("SRNAS_BENCH_SOURCES");
    if sources.is_none() {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
    }
    Some(PathBuf::from(sources?).join("nasbench301"))
}

/// The published files without the predictions, but for the first lines of these.
fn copied(sources: &Path) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    for name in JSON.into_iter().chain([MODEL]) {
        // Not copied: the published files may be read-only.
        fs::write(folder.path().join(name), fs::read(sources.join(name)).unwrap()).unwrap();
    }
    let mut text = String::new();
    let file = fs::File::open(sources.join(format!("{PREDICTIONS}.csv.gz"))).unwrap();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let first: Vec<&str> = text.lines().take(20).collect();
    (folder, first.join("\n"))
}

#[test]
fn a_folder_without_the_network_says_which_file_is_missing() {
    let folder = TempDir::new().unwrap();
    assert!(import(folder.path()).unwrap_err().contains(&format!("{MODEL} is required")));
    fs::write(folder.path().join(MODEL), b"not a network").unwrap();
    assert!(import(folder.path()).unwrap_err().contains(&format!("{} is required", JSON[0])));
}

#[test]
fn the_published_predictions_are_the_networks() {
    let Some(sources) = published() else { return };
    let imported = import(&sources).unwrap();
    assert_eq!((imported.benchmarks.len(), imported.files.len(), imported.absent.len()), (1, 4, 0));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nb301.safetensors");
    imported.benchmarks[0].clone().write(&path).unwrap();
    let benchmark = Benchmark::open(&path).unwrap();
    let checks = verify(&benchmark);
    assert!(checks.len() == 5 && checks.iter().all(|check| check.ok), "{checks:#?}");
    assert!(benchmark.rows() > 10_000 && benchmark.fidelities("cifar10/val").len() == 3);
}

#[test]
fn what_is_wrong_is_named_and_makes_no_benchmark() {
    let Some(sources) = published() else { return };
    let (folder, predictions) = copied(&sources);
    let with = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, bytes).unwrap();
        let refused = import(folder.path()).err().unwrap_or_default();
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        refused
    };
    let csv = format!("{PREDICTIONS}.csv");
    let changed = predictions.replacen("72.6268", "72.7268", 1);
    let refused = with(&csv, changed.as_bytes());
    assert!(refused.contains(":2: column 4, `val_acc_ep10`") && refused.contains("not 72.7268"), "{refused}");
    let refused = with(&csv, predictions.replacen("0:6 1:4", "0:6 0:4", 1).as_bytes());
    assert!(refused.contains("node 2 of normal has 0 as both of its inputs"), "{refused}");
    let refused = with(&csv, predictions.replacen("0:6 1:4", "0:6 1:9", 1).as_bytes());
    assert!(refused.contains("no list of edges"), "{refused}");
    let model = fs::read(folder.path().join(MODEL)).unwrap();
    assert!(with(MODEL, &model[..model.len() / 2]).contains("was cut short"));
    assert!(with(MODEL, b"").contains("no graph"));
    let changed = |from: &[u8], to: &[u8]| {
        let mut other = model.clone();
        let places = model.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|place| other[place..][..to.len()].copy_from_slice(to));
        with(MODEL, &other)
    };
    // Another activation, and a tensor of another name.
    let refused = changed(b"Selu", b"Relu");
    assert!(
        refused.contains("it is another network: its step") && refused.contains("not `Selu`"),
        "{refused}"
    );
    assert!(changed(b"deep.1.1.weight", b"dead").contains("it is another network"));
    let encoding = fs::read_to_string(folder.path().join(JSON[0])).unwrap();
    assert!(with(JSON[0], encoding.replace("skip_connect", "skip").as_bytes()).contains("no input"));
    assert!(with(JSON[1], b"{}").contains("x_cat_order"));
    // Untouched it is imported, the predictions being absent.
    assert_eq!(import(folder.path()).unwrap().absent, [format!("{PREDICTIONS}.csv.gz")]);
}
