//! The importer of NAS-Bench-Suite-Zero: files as NASLib writes them, of a few architectures; and that what it takes for a cell of
//! NAS-Bench-201 is the cell of which another published file has the same scores.

use srnas_oracle::{
    benchmark::{Benchmark, Direction},
    importers::{
        Import, Imported,
        csv::CsvTable,
        nasbench201,
        zerocost::{self, NB101, NB301},
    },
};
use srnas_space::SearchSpace;
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn import(import: Import, folders: &[PathBuf]) -> Result<Imported, String> {
    import(folders, &mut |_, _, _| {}).map_err(|e| e.to_string())
}

/// The benchmarks made of a file of this name.
fn of(name: &str, text: &str) -> Result<Vec<Benchmark>, String> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    let imported = import(zerocost::import, &[folder.path().to_path_buf()])
        .map_err(|error| error.replace(&format!("{}/", folder.path().display()), ""))?;
    Ok(imported.benchmarks.into_iter().map(|benchmark| opened(folder.path(), benchmark)).collect())
}

fn opened(folder: &Path, benchmark: srnas_oracle::benchmark::BenchmarkWriter) -> Benchmark {
    let path = folder.join(format!("{}.safetensors", benchmark.name()));
    benchmark.write(&path).unwrap();
    Benchmark::open(&path).unwrap()
}

const CHAIN: &str = "(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 4, 1)";
const POOL: &str = "(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2, 1)";

#[test]
fn nasbench101_s_file_becomes_a_benchmark_of_its_cells() {
    let text = format!(
        r#"{{"cifar10": {{
            "{CHAIN}": {{"id": "0", "nwot": {{"score": 700.25, "time": 0.1}}, "fisher": {{"score": -100000000.0, "time": 1}},
                         "synflow": {{"score": -Infinity, "time": 1}}, "params": {{"score": 8.5, "time": 0.2}}, "val_accuracy": 90.5}},
            "{POOL}": {{"id": "1", "nwot": {{"score": 650.5, "time": NaN}}, "synflow": {{"score": 40, "time": 1}},
                        "params": {{"score": 1.5, "time": 0.2}}, "val_accuracy": 80.25}}
        }}}}"#
    );
    let made = of("zc_nasbench101.json", &text).unwrap();
    let [b] = &made[..] else { panic!("{} benchmarks", made.len()) };
    assert_eq!((b.name(), b.space().name(), b.rows()), (NB101, "nb101", 2));
    let value = |metric: &str, row| b.metric(metric).unwrap().mean(row);
    assert_eq!([0, 1].map(|row| value("cifar10/val", row)), [90.5, 80.25]);
    assert_eq!([0, 1].map(|row| value("cifar10/nwot", row)), [700.25, 650.5]);
    assert!(value("cifar10/fisher", 0).is_nan() && value("cifar10/fisher", 1).is_nan());
    assert!(value("cifar10/synflow", 0).is_nan() && value("cifar10/synflow", 1) == 40.0);
    assert_eq!(b.metric("cifar10/params").unwrap().info().direction, Direction::Minimise);
    // What is known of every cell, of those that say most.
    assert_eq!(b.untrained(), ["cifar10/nwot", "cifar10/params"]);
    assert!(
        b.space().format(b.choices(0)).contains("conv3x3")
            && b.space().format(b.choices(1)).contains("maxpool")
    );
}

#[test]
fn nasbench301_s_file_becomes_a_benchmark_of_its_cells() {
    let cell =
        |operation: u8| format!("((0, {operation}), (1, 4), (2, 0), (0, 1), (0, 2), (1, 5), (3, 6), (4, 3))");
    let text = format!(
        r#"{{"cifar10": {{
            "({a}, {a})": {{"jacov": {{"score": -70.5, "time": 1}}, "val_accuracy": 94.25}},
            "({b}, {a})": {{"jacov": {{"score": -60.5, "time": 1}}, "val_accuracy": 93.25}}
        }}}}"#,
        a = cell(3),
        b = cell(6)
    );
    let made = of("zc_nasbench301.json", &text).unwrap();
    let b = &made[0];
    assert_eq!((b.name(), b.space().name(), b.rows()), (NB301, "darts", 2));
    assert_eq!(b.metric("cifar10/jacov").unwrap().mean(1), -60.5);
    assert!(b.metric("cifar10/val").unwrap().info().description.contains("surrogate"));
    assert_eq!(b.untrained(), ["cifar10/jacov"]);
}

#[test]
fn what_is_wrong_is_named() {
    let one = |key: &str, value: &str| format!(r#"{{"cifar10": {{"{key}": {value}}}}}"#);
    let score = r#"{"nwot": {"score": 1, "time": 1}}"#;
    // With a vertex more, on no way to the output.
    let chain_as_well = "(0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 1)";
    for (text, reason) in [
        (String::new(), "it is not what NASLib keeps"),
        ("[]".into(), "it is not what NASLib keeps"),
        ("{}".into(), "it has no data set"),
        (r#"{"cifar10": {}}"#.into(), "cifar10 has no architecture"),
        (r#"{"CIFAR 10": {}}"#.into(), "`CIFAR 10` is no name of a data set"),
        (one(CHAIN, "1"), "it is not what NASLib keeps"),
        (one(CHAIN, "{}"), "cifar10 has no scores"),
        (one(CHAIN, r#"{"val_accuracy": 90}"#), "cifar10 has no scores"),
        (one(CHAIN, r#"{"nwot": {"time": 1}}"#), "cifar10 has no scores"),
        (one(CHAIN, r#"{"nw ot": {"score": 1}}"#), "a score of `nw ot`, which is no name"),
        (one(CHAIN, r#"{"nwot": {"score": 1}, "nwot": {"score": 1}}"#), "has a score twice"),
        (one("(0, 1, 0)", score), "cifar10: `(0, 1, 0)`: 3 numbers are no matrix"),
        (one("|none~0|", score), "`|none~0|`: it is not numbers in brackets"),
        (format!(r#"{{"cifar10": {{"{CHAIN}": {score}, "{CHAIN}": {score}}}}}"#), "1)` twice"),
        (
            format!(
                r#"{{"cifar10": {{"{CHAIN}": {score}, "{chain_as_well}": {{"nwot": {{"score": 2}}}}}}}}"#
            ),
            "and its nwot is 2, not 1",
        ),
        (
            format!(r#"{{"cifar10": {{"{CHAIN}": {score}}}, "CIFAR10": {{"{CHAIN}": {score}}}}}"#),
            "it has the data set cifar10 twice",
        ),
    ] {
        let found = of("zc_nasbench101.json", &text).unwrap_err();
        assert!(found.starts_with("zc_nasbench101.json: ") && found.contains(reason), "{text}: {found}");
    }
    let found = of("zc_nasbench201.json", &one("(0, 0, 0, 0, 0, 0)", score)).unwrap_err();
    assert!(found.contains("zc_nasbench101.json") && found.contains("goes with `nasbench201`"), "{found}");
}

/// A cell as NASLib writes it, by the words of its notation.
fn key(architecture: &str) -> String {
    let nodes: Vec<Vec<&str>> = architecture
        .split('+')
        .map(|node| node.trim_matches('|').split('|').map(|edge| edge.split('~').next().unwrap()).collect())
        .collect();
    let names = ["skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"];
    let edges = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let places =
        edges.map(|(from, to)| names.iter().position(|n| *n == nodes[to - 1][from]).unwrap().to_string());
    format!("({})", places.join(", "))
}

#[test]
fn nasbench201_s_scores_join_its_benchmark_and_agree_with_the_other_file() {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES") else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return;
    };
    let tables = Path::new(&sources).join("nasbench201");
    let main = CsvTable::read(&tables.join("nb201_main.csv.gz")).unwrap();
    let scores = CsvTable::read(&tables.join("nb201_zerocost_cifar10_9445.csv.gz")).unwrap();
    let proxies = ["epe_nas", "fisher", "grasp", "jacov", "nwot", "snip", "zen", "flops"];
    let architectures = main.column("arch_str").unwrap();
    let index = scores.column("index").unwrap();
    let mut cells = String::new();
    for row in 0..scores.rows() {
        // The main file is in order of its index.
        let place = index.index(row, 15_625).unwrap();
        let _ =
            write!(cells, "{}\"{}\": {{", if row == 0 { "" } else { ", " }, key(architectures.text(place)));
        for proxy in proxies {
            let score = scores.column(proxy).unwrap().text(row);
            let _ = write!(cells, r#""{proxy}": {{"score": {score}, "time": 0.1}}, "#);
        }
        cells += r#""val_accuracy": 50.5}"#;
    }
    // A cell that the other file has not, for it has operations that nothing reaches; and a data set of neither.
    let more = "(1, 0, 0, 4, 4, 4)";
    let file = |nwot: &str| {
        format!(
            r#"{{"cifar10": {{{cells}, "{more}": {{"nwot": {{"score": {nwot}, "time": 1}}}}}},
                "ninapro": {{"{more}": {{"nwot": {{"score": 5, "time": 1}}, "val_accuracy": 91.5}}}}}}"#
        )
    };
    let folder = TempDir::new().unwrap();
    let write = |text: &str| fs::write(folder.path().join("zc_nasbench201.json"), text).unwrap();
    let folders = [tables, folder.path().to_path_buf()];
    write(&file("700.5"));
    let imported = import(nasbench201::import, &folders).unwrap();
    assert!(imported.files.iter().any(|file| file.ends_with("zc_nasbench201.json")));
    let b = opened(folder.path(), imported.benchmarks[0].clone());
    let space = SearchSpace::named("nb201").unwrap();
    let cell = space
        .parse("|none~0|+|skip_connect~0|avg_pool_3x3~1|+|skip_connect~0|avg_pool_3x3~1|avg_pool_3x3~2|")
        .unwrap();
    let row = b.row_of(&cell).unwrap();
    let value = |metric: &str| b.metric(metric).unwrap().mean(row);
    assert_eq!((value("cifar10/nwot"), value("ninapro/nwot"), value("ninapro/val")), (700.5, 5.0, 91.5));
    assert!(value("cifar10/val") != 50.5 && b.metric("ninapro/zen").is_err());
    assert!(
        b.untrained().contains(&"ninapro/nwot".into()) && b.untrained().contains(&"cifar10/jacov".into())
    );

    // Another score of a cell that the other file has, too.
    let known = scores.column("jacov").unwrap().text(7);
    write(&file("1").replacen(known, "-1.5", 1));
    let refused = import(nasbench201::import, &folders).unwrap_err();
    assert!(refused.contains("gives -1.5 for `cifar10/jacov` of |"), "{refused}");
    write(&file("1").replacen("(1, 0, 0, 4, 4, 4)", "(1, 0, 0, 4, 4, 7)", 1));
    let refused = import(nasbench201::import, &folders).unwrap_err();
    assert!(refused.contains("cifar10: `(1, 0, 0, 4, 4, 7)`: 7 is no operation"), "{refused}");
}
