//! `srnas bench import table`, the program itself: tables as people have them, good and bad.

mod harness;

use harness::{PROGRAM, failure, stdout};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const SPACE: &str = r#"
name = "toy"
interchangeable = [["left", "right"]]
[[decisions]]
name = "layers"
choices = [1, 2]
[[decisions]]
name = "width"
choices = [8, 16]
active_if = { layers = 2 }
[[decisions]]
name = "left"
choices = ["größer", "a+b"]
[[decisions]]
name = "right"
choices = ["größer", "a+b"]
"#;

const DESCRIPTOR: &str = r#"
benchmark = "toy"
space = "space.toml"
[architecture.columns]
width = "w"
[architecture.names]
"a, b" = "a+b"
[[metrics]]
name = "d/acc"
column = "acc"
unit = "%"
direction = "maximise"
"#;

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        let setup = Self(TempDir::new().unwrap());
        setup.write("space.toml", SPACE);
        setup.write("d.toml", DESCRIPTOR);
        setup
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn srnas(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env("SRNAS_BENCH_DIR", self.path().join("bench"));
        command.env("HOME", self.path()).env_remove("XDG_DATA_HOME").output().unwrap()
    }

    fn import(&self, file: &str, descriptor: &str) -> Output {
        self.srnas(&["bench", "import", "table", file, "--descriptor", descriptor])
    }

    fn refused(&self, table: &str, descriptor: &str, expected: &str) {
        self.write("bad.csv", table);
        self.write("bad.toml", descriptor);
        let (code, said) = failure(&self.import("bad.csv", "bad.toml"));
        assert!(said.contains(expected), "{said}");
        assert!(code == 1 || code == 2, "{code}");
        assert!(!self.path().join("bench").exists(), "nothing is half written");
    }

    /// The values of a metric of an architecture, as `bench query` shows them.
    fn query(&self, benchmark: &str, architecture: &str) -> String {
        stdout(&self.srnas(&["bench", "query", benchmark, architecture]))
    }
}

#[test]
fn a_table_as_a_spreadsheet_writes_it_is_read() {
    let setup = Setup::new();
    // A byte-order mark, CRLF, semicolons, decimal commas, quotes, a missing cell, an inactive decision left out, rows that
    // say the same twice (once with the interchangeable decisions exchanged).
    let table = "\u{feff}layers;w;left;right;acc;note\r\n1;;größer;größer;90,5;x\r\n2;8;größer;\"a, b\";91,25;\r\n\
                 2;16.0;größer;größer;;y\r\n2;8;\"a, b\";größer;91,25;\r\n1;16;größer;größer;90,5;inactive\r\n";
    setup.write("t.csv", table);
    setup.write("semi.toml", DESCRIPTOR.replace("space =", "delimiter = \";\"\ndecimal = \",\"\nspace ="));
    let said = stdout(&setup.import("t.csv", "semi.toml"));
    assert!(said.contains("5 rows (2 say again"), "{said}");
    assert!(setup.query("toy", "layers=2,width=8,left=a+b,right=größer").contains("91.2500"));
    // Every way of writing an architecture finds it.
    assert!(setup.query("toy", "layers=1,width=16,left=größer,right=größer").contains("90.5000"));
    let info = stdout(&setup.srnas(&["bench", "info", "toy"]));
    assert!(info.contains("toy, 4 decisions") && info.contains("not stated"), "{info}");
    assert!(stdout(&setup.srnas(&["bench", "verify", "toy"])).contains("ok"));
    // Of a table with holes the best is not known.
    let holes = setup.srnas(&["compare", "--task", "toy/d/acc", "--method", "random", "--out", "report"]);
    assert!(failure(&holes).1.contains("no value for 12 of its 16 architectures"), "{holes:?}");
}

#[test]
fn gzip_tabs_and_rows_as_seeds_are_read() {
    let setup = Setup::new();
    let table = "layers\tw\tleft\tright\tacc\n1\t8\tgrößer\tgrößer\t90\n1\t8\tgrößer\tgrößer\t92\n2\t8\tgrößer\tgrößer\t95%\n";
    let file = fs::File::create(setup.path().join("t.tsv.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    encoder.write_all(table.replace('%', "").as_bytes()).unwrap();
    encoder.finish().unwrap();
    let (_, said) = failure(&setup.import("t.tsv.gz", "d.toml"));
    assert!(
        said.contains("t.tsv.gz:3: column 5, `acc`: `92`, where line 2 has `90`") && said.contains("seeds"),
        "{said}"
    );
    setup.write("seeds.toml", DESCRIPTOR.replace("space =", "duplicates = \"seeds\"\nspace ="));
    stdout(&setup.import("t.tsv.gz", "seeds.toml"));
    assert!(
        setup.query("toy", "layers=1,width=8,left=größer,right=größer").contains("mean of 90.0000, 92.0000")
    );
}

#[test]
fn a_metric_can_be_what_a_shorter_training_says_of_another() {
    let setup = Setup::new();
    setup.write("t.csv", "layers,w,left,right,acc,early\n1,8,größer,größer,90,40\n2,8,größer,größer,95,50\n");
    let early = |shorter: &str| {
        let metric =
            "\n[[metrics]]\nname = \"d/early\"\ncolumn = \"early\"\nunit = \"%\"\ndirection = \"maximise\"\n";
        format!("{DESCRIPTOR}{metric}shorter = {shorter}\n")
    };
    setup.write("early.toml", early("{ of = \"d/acc\", unit = \"epochs\", amount = 5, full = 50 }"));
    stdout(&setup.import("t.csv", "early.toml"));
    let info = stdout(&setup.srnas(&["bench", "info", "toy"]));
    assert!(info.contains("d/early says d/acc after 5 of 50 epochs, at a cost of 0.100"), "{info}");
    for (shorter, says) in [
        ("{ of = \"d/accuracy\", unit = \"epochs\", amount = 5, full = 50 }", "no metric of the benchmark"),
        ("{ of = \"d/acc\", unit = \"epochs\", amount = 50, full = 50 }", "takes 50 of 50 epochs"),
        ("{ of = \"d/acc\", unit = \"epochs\", amount = -5, full = 50 }", "amount"),
    ] {
        setup.write("early.toml", early(shorter));
        let (_, said) = failure(&setup.import("t.csv", "early.toml"));
        assert!(said.contains(says), "{shorter}: {said}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_file_line_and_column() {
    let setup = Setup::new();
    let head = "layers,w,left,right,acc\n";
    let row = "2,8,größer,größer,95\n";
    for (rows, expected) in [
        ("2,8,größer,größer,high\n", "bad.csv:3: column 5, `acc`: `high` is not a number"),
        ("2,8,größer,größer\n", "bad.csv:3: 4 fields where the header has 5"),
        ("2,9,größer,größer,1\n", "bad.csv:3: column 2, `w`: `9` is no choice of `width`"),
        ("2,,größer,größer,1\n", "bad.csv:3: column 2, `w`: it is empty, and this decision counts"),
        ("2,8,grösser,größer,1\n", "did you mean `größer`?"),
        ("2,8,größer,größer,96\n", "where line 2 has `95` for the same architecture"),
        ("2,16,größer,größer,inf\n", "is not finite"),
        ("2,16,größer,größer,0.96\n", "looks like a fraction among percentages"),
    ] {
        setup.refused(&format!("{head}{row}{rows}"), DESCRIPTOR, expected);
    }
    for (from, to, expected) in [
        ("\"acc\"", "\"acd\"", "has no column `acd`; did you mean `acc`?"),
        ("space.toml", "nowhere.toml", "is no known space"),
        ("width =", "widht =", "no decision `widht`; did you mean `width`?"),
        ("\"d/acc\"", "\"acc\"", "cannot name a metric"),
        ("unit", "units", "unknown field `units`"),
        ("column = \"acc\"\n", "", "needs either `column"),
        ("name = \"d/acc\"", "name = \"d/acc\"\ncolumns = [\"acc\"]", "needs either `column"),
    ] {
        setup.refused(&format!("{head}{row}"), &DESCRIPTOR.replace(from, to), expected);
    }
    setup.refused("", DESCRIPTOR, "is empty");
    setup.refused(head, DESCRIPTOR, "cannot be written");
    let (code, said) = failure(&setup.srnas(&["bench", "import", "table", "bad.csv"]));
    assert_eq!((code, said.contains("--suggest")), (2, true), "{said}");
}

#[test]
fn a_suggestion_imports_as_it_is_and_overwrites_nothing() {
    let setup = Setup::new();
    let mut table = String::from("kernel,depth,test_acc_s0,test_acc_s1,latency_ms\n");
    for kernel in ["3x3", "5x5", "\"7x7, wide\""] {
        for depth in [1, 2, 10] {
            let acc = 80.0 + f64::from(depth) + kernel.len() as f64 * 0.1;
            table += &format!("{kernel},{depth},{acc},{},{}\n", acc + 0.5, 3 * depth);
        }
    }
    setup.write("mine.csv", &table);
    stdout(&setup.srnas(&["bench", "import", "table", "mine.csv", "--suggest", "--descriptor", "mine.toml"]));
    let descriptor = fs::read_to_string(setup.path().join("mine.toml")).unwrap();
    assert!(descriptor.contains("[\"test_acc_s0\", \"test_acc_s1\"]"), "{descriptor}");
    let space = fs::read_to_string(setup.path().join("mine-space.toml")).unwrap();
    assert!(space.contains("choices = [1, 2, 10]") && space.contains("\"3x3\""), "{space}");
    let said = stdout(&setup.import("mine.csv", "mine.toml"));
    assert!(said.contains("9 architectures, 2 metrics"), "{said}");
    let again =
        setup.srnas(&["bench", "import", "table", "mine.csv", "--suggest", "--descriptor", "mine.toml"]);
    assert!(failure(&again).1.contains("not overwritten"));
    // An architecture in one string.
    let mut cells = String::from("arch;acc\n");
    for (i, ops) in
        ["none", "skip", "conv_3x3"].iter().flat_map(|a| ["none", "conv_3x3"].map(|b| (a, b))).enumerate()
    {
        cells += &format!("|{}~0|+|{}~0|;{}\n", ops.0, ops.1, 0.5 + i as f64 / 100.0);
    }
    setup.write("cells.csv", &cells);
    let shown = stdout(&setup.srnas(&["bench", "import", "table", "cells.csv", "--suggest"]));
    assert!(
        shown.contains("pattern = \"|{d1}~0|+|{d2}~0|\"") && shown.contains("delimiter = \";\""),
        "{shown}"
    );
}

/// The published tables, where they are at hand.
fn sources() -> Option<PathBuf> {
    let sources = env::var_os("SRNAS_BENCH_SOURCES").map(PathBuf::from);
    if sources.is_none() {
        eprintln!("skipped: SRNAS_BENCH_SOURCES does not say where the published tables are");
    }
    sources
}

#[test]
fn published_tables_are_read_by_the_descriptors_that_are_shipped() {
    let Some(sources) = sources() else { return };
    let setup = Setup::new();
    for (file, benchmark, facts) in [
        (
            "transnas-bench-101/transbench101_micro_val.csv.gz",
            "transnas-micro",
            &["4,096, the whole space", "54.9363", "95.3722"][..],
        ),
        ("nasbench-macro/nasbench_macro_cifar10.csv.gz", "nasbench-macro", &["6,561, the whole space"]),
    ] {
        let descriptor =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/tables/{benchmark}.toml"));
        let file = sources.join(file);
        stdout(&setup.import(file.to_str().unwrap(), descriptor.to_str().unwrap()));
        let info = stdout(&setup.srnas(&["bench", "info", benchmark]));
        assert!(facts.iter().all(|fact| info.contains(fact)), "{info}");
        // What is guessed from the published file can be imported too.
        let guessed = format!("{benchmark}-guessed.toml");
        let file = file.to_str().unwrap();
        stdout(&setup.srnas(&["bench", "import", "table", file, "--suggest", "--descriptor", &guessed]));
        stdout(&setup.import(file, &guessed));
    }
    let best: String = "22212202"
        .chars()
        .zip(1..)
        .map(|(c, i)| {
            let block = ["identity", "MB3-K3", "MB6-K5"][c.to_digit(10).unwrap() as usize];
            format!("{}layer{i}={block}", if i == 1 { "" } else { "," })
        })
        .collect();
    assert!(setup.query("nasbench-macro", &best).contains("93.1267"));
}
