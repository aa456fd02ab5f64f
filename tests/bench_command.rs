//! `srnas bench`, the program itself: made-up benchmarks, exit codes, output for people and for programs.

mod harness;

use harness::{failure, stdout};
use serde_json::Value;
use srnas_oracle::benchmark::{BenchmarkWriter, Direction, MetricInfo};
use srnas_space::SearchSpace;
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const CELL: &str = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|";

/// `srnas bench` with no benchmarks but those in `folder`.
fn bench(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srnas"));
    command.arg("bench").args(args).env("SRNAS_BENCH_DIR", folder);
    command.env("HOME", folder.join("home")).env_remove("XDG_DATA_HOME");
    command
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A folder with a benchmark of two cells and two metrics.
fn toy() -> TempDir {
    let folder = TempDir::new().unwrap();
    let space = SearchSpace::named("nb201").unwrap();
    let mut writer =
        BenchmarkWriter::new("toy", &space, vec![0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0], "made up", "none");
    let info =
        |unit: &str, direction| MetricInfo { unit: unit.into(), direction, description: "made up".into() };
    writer.metric("d/val", info("%", Direction::Maximise), 2, &[0.1, f32::NAN, 20.0, 30.0]);
    writer.metric("d/latency", info("ms", Direction::Minimise), 1, &[1.5, 0.5]);
    writer.write(&folder.path().join("toy.safetensors")).unwrap();
    folder
}

#[test]
fn list_shows_good_and_damaged_files_and_how_to_make_the_first() {
    let empty = TempDir::new().unwrap();
    let text = stdout(&bench(empty.path(), &["list"]));
    assert!(text.contains("digits") && text.contains("srnas bench import nasbench201"), "{text}");

    let folder = toy();
    fs::write(folder.path().join("bad.safetensors"), "").unwrap();
    let text = stdout(&bench(folder.path(), &["list"]));
    let line = |start: &str| text.lines().find(|l| l.starts_with(start)).unwrap().to_string();
    assert!(line("bad").contains("is damaged: it is empty"), "{text}");
    assert_eq!(line("toy").split_whitespace().take(4).collect::<Vec<_>>(), ["toy", "nb201", "2", "2"]);

    let lines = json_lines(&bench(folder.path(), &["list", "--json"]));
    assert_eq!(lines.len(), 5);
    assert!(lines[0]["error"].as_str().unwrap().contains("it is empty"));
    for (line, name) in lines[1..4].iter().zip(["control", "digits", "digits-wrn"]) {
        assert_eq!((&line["benchmark"], &line["path"]), (&name.into(), &"(built in)".into()));
    }
    assert_eq!((&lines[4]["benchmark"], &lines[4]["rows"]), (&"toy".into(), &2.into()));
    assert_eq!(lines[4]["content_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn bench_dir_comes_before_the_environment() {
    let (folder, empty) = (toy(), TempDir::new().unwrap());
    let option = folder.path().to_str().unwrap();
    for args in [["--bench-dir", option, "list", "--json"], ["list", "--json", "--bench-dir", option]] {
        assert_eq!(json_lines(&bench(empty.path(), &args))[3]["benchmark"], "toy");
    }
}

#[test]
fn info_tells_sources_and_metrics() {
    let folder = toy();
    let text = stdout(&bench(folder.path(), &["info", "toy"]));
    for expected in ["provenance  made up", "licence     none", "rows        2, 0.013 % of the space"] {
        assert!(text.contains(expected), "{text}");
    }
    let lines = json_lines(&bench(folder.path(), &["info", "toy", "--json"]));
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["space"], &lines[0]["covers_space"]), (&"nb201".into(), &false.into()));
    let val = lines.iter().find(|l| l["metric"] == "d/val").unwrap();
    assert_eq!((&val["seeds"], &val["known"], &val["unit"]), (&2.into(), &2.into(), &"%".into()));
    assert_eq!((&val["values"], val["share"].as_f64()), (&3.into(), Some(1.0)));
    // Of the two architectures, 0.1 of the one seed that is known and 25 of both.
    assert_eq!(
        (val["min"].as_f64(), val["median"].as_f64(), val["max"].as_f64()),
        (Some(0.1), Some(12.55), Some(25.0))
    );
}

#[test]
fn a_table_is_whole_where_every_architecture_is_measured_however_many_seeds_it_has() {
    let folder = TempDir::new().unwrap();
    let space = SearchSpace::named("nb201").unwrap();
    let mut choices = vec![0; 15_625 * 6];
    choices.chunks_mut(6).enumerate().for_each(|(rank, cell)| space.unrank(rank as u64, cell));
    let mut writer = BenchmarkWriter::new("whole", &space, choices, "made up", "none");
    let info = |direction| MetricInfo { unit: "%".into(), direction, description: String::new() };
    // One of two seeds, and all but five architectures.
    let seeds: Vec<f32> = (0..15_625).flat_map(|rank| [rank as f32, f32::NAN]).collect();
    let holes: Vec<f32> = (0..15_625).map(|rank| if rank < 5 { f32::NAN } else { rank as f32 }).collect();
    writer.metric("d/seeds", info(Direction::Maximise), 2, &seeds);
    writer.metric("d/holes", info(Direction::Maximise), 1, &holes);
    writer.write(&folder.path().join("whole.safetensors")).unwrap();
    let text = stdout(&bench(folder.path(), &["info", "whole"]));
    assert!(text.contains("15,625, the whole space; 6,466 architectures, by the published rule"), "{text}");
    let known = |metric: &str| {
        let line = text.lines().find(|l| l.starts_with(metric)).unwrap();
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((known("d/seeds").as_str(), known("d/holes").as_str()), ("100 %", "99.97 %"), "{text}");
    let lines = json_lines(&bench(folder.path(), &["info", "whole", "--json"]));
    assert_eq!((&lines[0]["covers_space"], &lines[0]["architectures"]), (&true.into(), &6466.into()));
    assert_eq!((&lines[1]["known"], lines[1]["median"].as_f64()), (&15_620.into(), Some(7814.5)));
}

#[test]
fn best_shows_the_best_rows_in_the_users_sign_and_unit() {
    let folder = toy();
    let text = stdout(&bench(folder.path(), &["best", "toy", "d/latency"]));
    assert!(text.starts_with("d/latency in ms, minimise: the best 2 of 2 with a value"), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().skip(3).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..2], ["1", "0.5000"], "{text}");
    assert_eq!(rows[1], ["2", "1.5000", CELL], "{text}");
    let lines = json_lines(&bench(folder.path(), &["best", "toy", "d/val", "--limit", "1", "--json"]));
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["rank"], lines[0]["value"].as_f64()), (&1.into(), Some(25.0)));
    assert_eq!((&lines[0]["seeds"], &lines[0]["unit"]), (&serde_json::json!([20.0, 30.0]), &"%".into()));
    assert_eq!(lines[0]["choices"]["0>3"], "skip_connect", "{lines:?}");
    // What is shown is read again, in either way of writing it.
    for shown in [lines[0]["architecture"].as_str().unwrap().to_string(), lines[0]["choices"].to_string()] {
        let again =
            json_lines(&bench(folder.path(), &["query", "toy", &shown, "--metric", "d/val", "--json"]));
        assert_eq!(again[0]["value"], lines[0]["value"], "{shown}");
    }
    for (args, code, says) in [
        (["best", "toy", "d/vall"], 2, "did you mean `d/val`?"),
        (["best", "tooy", "d/val"], 1, "did you mean `toy`?"),
    ] {
        let (found, said) = failure(&bench(folder.path(), &args));
        assert!(found == code && said.contains(says), "{args:?}: {found} {said}");
    }
    let (code, said) = failure(&bench(folder.path(), &["best", "toy", "d/val", "--limit", "0"]));
    assert!(code == 2 && said.contains("--limit"), "{said}");
}

#[test]
fn a_suggestion_names_nothing_twice() {
    // nb201 is there, and it is one of those that can be imported.
    let folder = toy();
    fs::rename(folder.path().join("toy.safetensors"), folder.path().join("nb201.safetensors")).unwrap();
    let (_, said) = failure(&bench(folder.path(), &["info", "nb21"]));
    assert!(said.contains("did you mean `nb201` or `nb101` or `nb301`?"), "{said}");
}

#[test]
fn query_shows_means_and_seeds() {
    let folder = toy();
    let text = stdout(&bench(folder.path(), &["query", "toy", CELL]));
    assert!(text.starts_with(CELL) && text.contains("mean of 0.1000, missing"), "{text}");
    let lines = json_lines(&bench(folder.path(), &["query", "toy", CELL, "--metric", "d/val", "--json"]));
    assert_eq!(lines.len(), 1);
    assert_eq!(
        lines[0]["value"].as_f64(),
        Some(0.1),
        "as it is in the file, not as it would be in double precision"
    );
    assert_eq!(lines[0]["seeds"], serde_json::json!([0.1, null]));
    assert_eq!(lines[0]["architecture"], CELL);
}

#[test]
fn verify_passes_or_fails_with_1() {
    let folder = toy();
    assert!(stdout(&bench(folder.path(), &["verify", "toy"])).lines().skip(1).all(|l| l.starts_with("ok")));
    let space = SearchSpace::named("nb201").unwrap();
    let mut writer = BenchmarkWriter::new("nb201", &space, vec![0; 6], "made up", "none");
    let info = MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: String::new() };
    writer.metric("cifar10/test", info, 1, &[10.0]);
    writer.write(&folder.path().join("nb201.safetensors")).unwrap();
    let output = bench(folder.path(), &["verify", "nb201"]);
    assert_eq!(output.status.code(), Some(1));
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("FAILED  cells") && text.contains("15625"), "{text}");
    assert!(error.contains("checks of") && error.contains("nb201.safetensors failed"), "{error}");
}

#[test]
fn wrong_usage_exits_with_2_and_other_failures_with_1() {
    let folder = toy();
    let cases: [(&[&str], i32, &str); 9] = [
        (&[], 2, "Usage: srnas bench"),
        (&["lst"], 2, "'list'"),
        (&["import", "nasbench2", "."], 2, "nasbench201"),
        (&["import", "nasbench201"], 2, "<PATH>..."),
        (&["import", "nasbench201", "/nowhere"], 1, "cannot read the folder /nowhere: No such file"),
        (&["info", "tooy"], 1, "did you mean `toy`?"),
        (&["info", "nb201"], 1, "make it with `srnas bench import nasbench201 DIR…`"),
        (&["query", "toy", "|none~0|"], 2, "is not an architecture of nb201: it has 1 nodes instead of 3"),
        (&["query", "toy", CELL, "--metric", "d/vall"], 2, "did you mean `d/val`?"),
    ];
    for (args, code, expected) in cases {
        let (found, complaint) = failure(&bench(folder.path(), args));
        assert_eq!(found, code, "{args:?}: {complaint}");
        assert!(complaint.contains(expected), "{args:?}: {complaint:?} should say {expected:?}");
    }
    let absent = CELL.replace("nor_conv_3x3", "nor_conv_1x1");
    let (code, complaint) = failure(&bench(folder.path(), &["query", "toy", &absent]));
    assert_eq!((code, complaint.contains("is not in the table of toy")), (1, true), "{complaint}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let folder = toy();
    let mut child = command(folder.path(), &["info", "toy"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// The main table of NAS-Bench-201, with made-up numbers.
fn write_main_table(path: &Path) {
    let mut columns = vec!["flops_M_cifar".to_string()];
    for d in ["cifar10", "cifar100", "imagenet16"] {
        let of = "params_M val_acc_12 test_acc_12 val_acc_200_s0 val_acc_200_s1 val_acc_200_s2 test_acc_200_mean \
                  test_acc_200_one_seed train_time_200_s latency_s zen";
        columns.extend(of.split(' ').map(|c| format!("{d}_{c}")));
    }
    let space = SearchSpace::named("nb201").unwrap();
    let mut text = format!("index,arch_str,ops,{}\n", columns.join(","));
    let mut choices = [0; 6];
    for rank in 0..15_625 {
        space.unrank(rank, &mut choices);
        let digits: String = choices.iter().map(u8::to_string).collect();
        let values = vec![format!("{rank}.5"); columns.len()].join(",");
        text += &format!("{rank},{},{digits},{values}\n", space.format(&choices));
    }
    fs::write(path, text).unwrap();
}

#[test]
fn import_writes_where_the_catalog_looks_first_or_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let (tables, benchmarks) = (folder.path().join("tables"), folder.path().join("benchmarks"));
    fs::create_dir(&tables).unwrap();
    let main = tables.join("nb201_main.csv");
    write_main_table(&main);
    let arguments = ["import", "nasbench201", tables.to_str().unwrap()];
    let text = stdout(&bench(&benchmarks, &arguments));
    let wrote = format!("wrote  {}: 15,625 rows, 30 metrics", benchmarks.join("nb201.safetensors").display());
    assert!(text.contains(&wrote) && text.contains("absent hwnasbench_nb201.csv.gz"), "{text}");
    let cell = "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|";
    let lines =
        json_lines(&bench(&benchmarks, &["query", "nb201", cell, "--metric", "cifar10/test", "--json"]));
    assert_eq!(lines[0]["value"], 1.5);

    let before = fs::read(benchmarks.join("nb201.safetensors")).unwrap();
    fs::write(&main, fs::read_to_string(&main).unwrap().replace(",7.5,", ",seven,")).unwrap();
    let (code, complaint) = failure(&bench(&benchmarks, &arguments));
    assert_eq!(code, 1);
    assert!(complaint.contains("nb201_main.csv:9: column "), "{complaint}");
    assert!(complaint.contains("`seven` is not a number"), "{complaint}");
    assert_eq!(fs::read(benchmarks.join("nb201.safetensors")).unwrap(), before);
    assert_eq!(fs::read_dir(&benchmarks).unwrap().count(), 1);
}
