//! `srnas bench import table`, the program itself: tables as people have them, good and bad.

mod harness;
#[path = "table_import/refused.rs"]
mod refused;

use harness::{PROGRAM, failure, stdout};
use serde_json::Value;
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
        self.srnas(&["bench", "import", "table", file, "--descriptor", descriptor, "--replace"])
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
}

/// A space of three decisions with three choices each, and its combinations in order.
const THREE: &str = "[[decisions]]\nname = \"a\"\nchoices = [0, 1, 2]\n[[decisions]]\nname = \"b\"\nchoices = [0, 1, 2]\n\
                     [[decisions]]\nname = \"c\"\nchoices = [0, 1, 2]\n";

fn three() -> impl Iterator<Item = [u32; 3]> {
    (0..27).map(|i| [i / 9, i / 3 % 3, i % 3])
}

/// A descriptor over [`THREE`] of metrics in columns of their names, to be maximised.
fn descriptor(head: &str, metrics: &[&str]) -> String {
    let metric = |name: &&str| {
        format!("[[metrics]]\nname = \"d/{name}\"\ncolumn = \"{name}\"\ndirection = \"maximise\"\n")
    };
    let metrics: String = metrics.iter().map(metric).collect();
    format!("benchmark = \"three\"\nspace = \"three.toml\"\n{head}\n{metrics}")
}

impl Setup {
    /// Imports a table over [`THREE`]: a line for each architecture of what `cells` gives after its choices.
    fn three(&self, head: &str, metrics: &[&str], cells: impl Fn([u32; 3]) -> Option<String>) -> Output {
        let rows = three().filter_map(|at @ [a, b, c]| Some(format!("{a},{b},{c},{}\n", cells(at)?)));
        let table = format!("a,b,c,{}\n{}", metrics.join(","), rows.collect::<String>());
        self.write("three.toml", THREE);
        self.write("three.csv", table);
        self.write("three-d.toml", descriptor(head, metrics));
        self.import("three.csv", "three-d.toml")
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        stdout(&self.srnas(arguments)).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_comparison_is_on_the_architectures_that_have_a_value() {
    let setup = Setup::new();
    let value = |[a, b, c]: [u32; 3]| (3 * a + 2 * b + c).to_string();
    // The best one was never measured, and another one has an empty cell.
    stdout(&setup.three("", &["acc"], |at| match at {
        [2, 2, 2] => None,
        [0, 0, 1] => Some(String::new()),
        at => Some(value(at)),
    }));
    let compare = |out: &str, budget: &str, methods: &[&str]| {
        let methods = methods.iter().flat_map(|method| ["--method", method]);
        let mut arguments = vec!["compare", "--task", "three/d/acc", "--seeds", "5", "--json"];
        arguments.extend(["--budget", budget, "--out", out].into_iter().chain(methods));
        setup.srnas(&arguments)
    };
    let all: Value =
        serde_json::from_str(&stdout(&compare("all", "25", &["random", "gp", "universal"]))).unwrap();
    for method in all["problems"][0]["methods"].as_array().unwrap() {
        // All that has a value is measured, and nothing else.
        assert_eq!(method["regret"]["25"]["mean"].as_f64(), Some(0.0), "{method}");
    }
    let methods = ["random", "local", "evolution:population=5,tournament=2", "ridge:initial=5", "gp"];
    let found = compare("report", "3,12", &methods);
    let said = stdout(&found);
    let summary: Value = serde_json::from_str(&said).unwrap();
    let problem = &summary["problems"][0];
    assert_eq!(
        problem["known"],
        serde_json::json!({ "known": 25, "all": 27, "why": "have-a-value" }),
        "{said}"
    );
    assert_eq!((problem["best"].as_f64(), problem["median"].as_f64()), (Some(11.0), Some(6.0)));
    for method in problem["methods"].as_array().unwrap() {
        assert_eq!((&method["searches"], &method["failed"]), (&5.into(), &serde_json::json!({})), "{method}");
        assert!(method["regret"]["12"]["mean"].as_f64().unwrap() >= 0.0, "{method}");
    }
    let warned = String::from_utf8_lossy(&found.stderr);
    assert!(warned.contains("25 of 27 architectures have a value (93 %)"), "{warned}");
    let report = fs::read_to_string(setup.path().join("report/report.html")).unwrap();
    assert!(report.contains("25 of 27 architectures have a value (93 %)"), "{report}");
    // More than there is cannot be paid for.
    let (code, said) = failure(&compare("more", "26", &["random"]));
    assert!(
        code == 2 && said.contains("25 distinct architectures of three (what does not count left out)"),
        "{said}"
    );
}

#[test]
fn one_hole_in_a_table_is_99_97_percent_of_it() {
    let setup = Setup::new();
    let (names, of): (Vec<String>, usize) = ((0..4).map(|d| format!("d{d}")).collect(), 8);
    let decisions = names.iter().map(|name| {
        let choices: Vec<String> = (0..of).map(|c| c.to_string()).collect();
        format!("[[decisions]]\nname = \"{name}\"\nchoices = [{}]\n", choices.join(", "))
    });
    setup.write("three.toml", decisions.collect::<String>());
    let mut table = format!("{},acc\n", names.join(","));
    for rank in 0..4096usize {
        let at = [rank / 512, rank / 64 % 8, rank / 8 % 8, rank % 8].map(|c| c.to_string());
        let acc = if rank == 77 { String::new() } else { (rank as f64 * 0.37).sin().to_string() };
        table += &format!("{},{acc}\n", at.join(","));
    }
    setup.write("three.csv", table);
    setup.write("three-d.toml", descriptor("", &["acc"]));
    stdout(&setup.import("three.csv", "three-d.toml"));
    let found = setup.srnas(&[
        "compare",
        "--task",
        "three/d/acc",
        "--method",
        "random",
        "--seeds",
        "2",
        "--budget",
        "5",
        "--out",
        "report",
    ]);
    assert!(
        stdout(&found)
            .contains("4095 of 4096 architectures have a value (99.98 %); the comparison is on these")
    );
    let info = stdout(&setup.srnas(&["bench", "info", "three"]));
    assert!(info.contains("99.98 %") && info.contains("4,096, the whole space"), "{info}");
}

#[test]
fn what_is_degenerate_alone_is_searched_with_others() {
    let setup = Setup::new();
    let imported = setup.three("", &["acc", "full", "same", "five", "none"], |[a, b, c]| {
        Some(format!("{},{},7,5,", 3 * a + 2 * b + c, if a == 0 && b == 0 { 90 + c } else { 100 }))
    });
    stdout(&imported);
    let warned = String::from_utf8_lossy(&imported.stderr);
    for says in [
        "`d/same` is the same everywhere: nothing can be searched for in it; in a sum it adds nothing",
        "`d/full` has its best value in 24 of 27 architectures (89 %): it cannot be searched alone, but in a sum",
        "`d/none` has no value",
    ] {
        assert!(warned.contains(says), "{warned}");
    }
    let compare = |what: &[&str], budget: &str, out: &str| {
        let common = ["compare", "--seeds", "3", "--json", "--budget", budget, "--out", out];
        setup.srnas(&[&common, what].concat())
    };
    let alone = failure(&compare(&["--task", "three/d/full", "--method", "random"], "5", "alone"));
    assert!(alone.0 == 2 && alone.1.contains("a part of a sum, or one of several objectives"), "{alone:?}");
    let sum = stdout(&compare(&["--task", "three/d/acc+0.5*full-1*same", "--method", "gp"], "27", "sum"));
    let sum: Value = serde_json::from_str(&sum).unwrap();
    assert_eq!(sum["problems"][0]["methods"][0]["regret"]["27"]["mean"].as_f64(), Some(0.0), "{sum}");
    for (objectives, out) in
        [("three/d/{acc,full}", "a"), ("three/d/{same,acc}", "b"), ("three/d/{acc,same,full}", "c")]
    {
        let methods = ["--method", "nsga2:population=5", "--method", "linas:population=5"];
        let found = stdout(&compare(&[&["--objectives", objectives], &methods[..]].concat(), "5,15", out));
        let found: Value = serde_json::from_str(&found).unwrap();
        for method in found["problems"][0]["methods"].as_array().unwrap() {
            assert_eq!(method["failed"], serde_json::json!({}), "{objectives}: {method}");
            let share = method["incumbent"]["15"]["mean"].as_f64().unwrap();
            assert!((0.0..=1.0 + 1e-9).contains(&share), "{objectives}: {method}");
        }
        // All of it is measured.
        let whole = stdout(&compare(
            &["--objectives", objectives, "--method", "random"],
            "27",
            &format!("all-{out}"),
        ));
        let whole: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(
            whole["problems"][0]["methods"][0]["incumbent"]["27"]["mean"].as_f64(),
            Some(1.0),
            "{whole}"
        );
    }
    let (code, said) =
        failure(&compare(&["--objectives", "three/d/{same,five}", "--method", "random"], "5", "no"));
    assert!(code == 2 && said.contains("every objective is the same everywhere"), "{said}");
}

#[test]
fn equal_rows_are_equal_seeds_where_rows_are_seeds() {
    let setup = Setup::new();
    let head = "a,b,c,seed,acc\n";
    let rows = "0,0,0,1,90\n0,0,0,2,90\n0,0,0,3,80\n1,1,1,1,85.5\n1,1,1,2,85.5\n1,1,1,3,85.5\n";
    setup.write("three.toml", THREE);
    setup.write("three.csv", format!("{head}{rows}"));
    setup.write("seeds.toml", descriptor("duplicates = \"seeds\"", &["acc"]));
    setup.write("plain.toml", descriptor("", &["acc"]));
    assert!(failure(&setup.import("three.csv", "plain.toml")).1.contains("`80`, where line 2 has `90`"));
    let said = stdout(&setup.import("three.csv", "seeds.toml"));
    assert!(said.contains("three.csv: 6 rows\n"), "{said}");
    let best = setup.json(&["bench", "best", "three", "d/acc", "--json"]);
    let mean = (90.0 + 90.0 + 80.0) / 3.0;
    assert!((best[0]["value"].as_f64().unwrap() - mean).abs() < 1e-5, "{best:?}");
    assert_eq!(best[0]["seeds"], serde_json::json!([90.0, 90.0, 80.0]));
    assert_eq!(best[1]["seeds"], serde_json::json!([85.5, 85.5, 85.5]));
    // Of 2 and 2 degrees of freedom.
    let agreement = setup.json(&["bench", "agreement", "three", "--json"]);
    let noise = ((2.0 * (90.0 - mean).powi(2) + (80.0 - mean).powi(2)) / 4.0).sqrt();
    assert!((agreement[0]["noise"].as_f64().unwrap() - noise).abs() < 1e-4, "{agreement:?}");
    // Equal rows are one where rows are not seeds.
    setup.write("three.csv", format!("{head}0,0,0,1,90\n0,0,0,2,90\n1,1,1,1,85.5\n"));
    let said = stdout(&setup.import("three.csv", "plain.toml"));
    assert!(said.contains("3 rows (1 say again what others say)"), "{said}");
    assert_eq!(
        setup.json(&["bench", "best", "three", "d/acc", "--json"])[0]["seeds"],
        serde_json::json!([90.0])
    );
}

#[test]
fn numbers_are_kept_as_they_are_written_or_refused() {
    let setup = Setup::new();
    let count = |[a, b, c]: [u32; 3]| 39_974_282 + 1000 * (9 * a + 3 * b + c);
    stdout(&setup.three("", &["params", "acc"], |at| Some(format!("{},0.{}234567890123", count(at), at[2]))));
    let lines = setup.json(&["bench", "query", "three", "a=0,b=0,c=1", "--json"]);
    assert_eq!(
        (lines[1]["value"].as_f64(), lines[0]["value"].as_f64()),
        (Some(39_975_282.0), Some(0.1234567890123))
    );
    let first = stdout(&setup.srnas(&["bench", "query", "three", r#"{"a": 0, "b": 0, "c": 0}"#]));
    assert!(first.contains("39974282.0000"), "{first}");
    let info = setup.json(&["bench", "info", "three", "--json"]);
    let params = info.iter().find(|l| l["metric"] == "d/params").unwrap();
    assert_eq!((params["min"].as_f64(), params["max"].as_f64()), (Some(39_974_282.0), Some(40_000_282.0)));
    let best = setup.json(&["bench", "best", "three", "d/params", "--json", "--limit", "1"]);
    assert_eq!(best[0]["value"].as_f64(), Some(40_000_282.0));
    assert!(stdout(&setup.srnas(&["bench", "verify", "three"])).lines().skip(1).all(|l| l.starts_with("ok")));
    let before = fs::read(setup.path().join("bench/three.safetensors")).unwrap();
    for (cell, says) in [
        (
            "3e38",
            "three.csv:15: column 4, `acc`: `3e38` is more than a search can hold (1e30): give the metric in another unit",
        ),
        ("-3e38", "`-3e38` is more than a search can hold"),
        ("1e39", "`1e39` is more than"),
        ("1e999", "`1e999` is more than"),
        ("1e-50", "`1e-50` is nearer to 0 than a search can hold (1e-30): give the metric in another unit"),
        ("inf", "`inf` is not finite"),
    ] {
        let refused = setup.three("", &["acc"], |at| {
            Some(if at == [1, 1, 1] { cell.into() } else { count(at).to_string() })
        });
        let (code, said) = failure(&refused);
        assert!(code == 1 && said.contains(says), "{said}");
    }
    // Numbers that differ in the tenth digit alone.
    let refused =
        setup.three("", &["acc"], |[a, b, c]| Some((1_000_000_000 + 9 * a + 3 * b + c).to_string()));
    let (code, said) = failure(&refused);
    assert!(
        code == 1
            && said.contains("three.csv:3: column 4, `acc`: 1000000001 and 1000000000 (line 2) are too near"),
        "{said}"
    );
    assert!(said.contains("27 of 27 different values"), "{said}");
    assert_eq!(
        fs::read(setup.path().join("bench/three.safetensors")).unwrap(),
        before,
        "nothing is half written"
    );
}

#[test]
fn a_whole_table_of_a_constrained_space_is_the_whole_space() {
    let setup = Setup::new();
    setup.write("three.toml", "");
    let table = three().filter(|[a, b, c]| a + b + c <= 2);
    let rows: String = table.map(|[a, b, c]| format!("{a},{b},{c},{}\n", a + b)).collect();
    setup.write("three.toml", format!("{THREE}[[constraints]]\nrequire = \"a + b + c <= 2\"\n"));
    setup.write("three.csv", format!("a,b,c,acc\n{rows}"));
    setup.write("three-d.toml", descriptor("", &["acc"]));
    stdout(&setup.import("three.csv", "three-d.toml"));
    let info = stdout(&setup.srnas(&["bench", "info", "three"]));
    assert!(info.contains("10, the whole space\n"), "{info}");
    let json = &setup.json(&["bench", "info", "three", "--json"])[0];
    assert_eq!((&json["covers_space"], json["coverage"].as_f64()), (&true.into(), Some(1.0)));
    // One less.
    let rows = rows.replace("2,0,0,2\n", "");
    setup.write("three.csv", format!("a,b,c,acc\n{rows}"));
    stdout(&setup.import("three.csv", "three-d.toml"));
    let info = stdout(&setup.srnas(&["bench", "info", "three"]));
    assert!(info.contains("9, 90 % of the space"), "{info}");
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
fn a_metric_can_be_known_without_training() {
    let setup = Setup::new();
    let mut table = String::from("layers,w,left,right,acc,params\n");
    for (layers, w) in [(1, 8), (2, 8), (2, 16)] {
        table += &format!("{layers},{w},größer,größer,{},{}\n", 80 + layers * w, layers * w);
    }
    setup.write("t.csv", &table);
    let metric = "\n[[metrics]]\nname = \"d/params\"\ncolumn = \"params\"\ndirection = \"minimise\"\nuntrained = true\n";
    setup.write("params.toml", format!("{DESCRIPTOR}{metric}"));
    stdout(&setup.import("t.csv", "params.toml"));
    let info = stdout(&setup.srnas(&["bench", "info", "toy"]));
    assert!(info.contains("untrained   d/params"), "{info}");
    let compare = |task: &str, method: &str| {
        let task = format!("toy/{task}");
        let arguments =
            ["compare", "--past", "untrained", "--budget", "2", "--seeds", "1", "--out", "report"];
        setup.srnas(&[&arguments[..], &["--task", &task, "--method", method]].concat())
    };
    // What is searched itself is nothing that is known.
    let (_, said) = failure(&compare("d/params", "transfer-gp"));
    assert!(said.contains("names no metric that takes no training"), "{said}");
    let (_, said) = failure(&compare("d/acc", "gp"));
    assert!(said.contains("none of the methods"), "{said}");
    stdout(&compare("d/acc", "transfer-gp"));
    let plan = fs::read_to_string(setup.path().join("report/plan.json")).unwrap();
    assert!(plan.contains("untrained of toy/d/acc: d/params"), "{plan}");
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
    for (kind, file, benchmark, facts) in [
        (
            "transnas",
            "transnas-bench-101/transbench101_micro_val.csv.gz",
            "transnas-micro",
            &["4,096, the whole space", "54.9363", "95.3722"][..],
        ),
        (
            "macro",
            "nasbench-macro/nasbench_macro_cifar10.csv.gz",
            "nasbench-macro",
            &["6,561, the whole space"],
        ),
    ] {
        let file = sources.join(file);
        stdout(&setup.srnas(&["bench", "import", kind, sources.to_str().unwrap()]));
        let checks = stdout(&setup.srnas(&["bench", "verify", benchmark]));
        assert!(!checks.contains("FAILED") && checks.contains("best mean"), "{checks}");
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

#[test]
fn what_untrained_networks_say_becomes_a_table() {
    let setup = Setup::new();
    let cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|";
    let shown = stdout(&setup.srnas(&["space", "proxies", "nb201", cell, "--json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (shown["architecture"].as_str(), shown["proxies"].as_object().unwrap().len()),
        (Some(cell), 13)
    );
    let snip = shown["proxies"]["snip"]["score"].as_f64().unwrap();
    assert!(snip > 0.0 && shown["proxies"]["snip"]["time"].as_f64().unwrap() > 0.0);

    let asked =
        ["space", "proxies", "nb201", cell, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "--csv"];
    let asked = asked.iter().chain(&["--proxy", "snip", "--proxy", "jacov"]).copied().collect::<Vec<_>>();
    let table = stdout(&setup.srnas(&asked));
    setup.write("proxies.csv", &table);
    let descriptor = r#"
        benchmark = "proxies"
        space = "nb201"
        metrics = [
            { name = "digits/jacov", column = "jacov", direction = "maximise", untrained = true },
            { name = "digits/snip", column = "snip", direction = "maximise", untrained = true },
        ]
    "#;
    setup.write("proxies.toml", descriptor);
    stdout(&setup.srnas(&["bench", "import", "table", "proxies.csv", "--descriptor", "proxies.toml"]));
    let found =
        stdout(&setup.srnas(&["bench", "query", "proxies", cell, "--metric", "digits/snip", "--json"]));
    assert!(found.contains(&(snip as f32).to_string()[..6]), "{found} {snip}");

    let (code, said) = failure(&setup.srnas(&["space", "proxies", "nb201", "--proxy", "naswot"]));
    assert!(code == 2 && said.contains("there is no proxy `naswot`"), "{code} {said}");
    let (code, said) = failure(&setup.srnas(&["space", "proxies", "space.toml"]));
    assert!(code == 2 && said.contains("cannot be built"), "{code} {said}");
}
