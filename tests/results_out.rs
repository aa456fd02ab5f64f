//! End to end: what a search measured becomes files of other programs.

mod harness;
#[path = "results/setup.rs"]
mod setup;

use harness::{failure, stdout, text};
use serde_json::Value;
use setup::{OPTUNA_PYTHON, Setup, has};
use std::process::Command;

const SPACE: &str = r#"
[[decisions]]
name = "layers"
range = [1, 4]
[[decisions]]
name = "width"
choices = [8, 16, 32]
[[decisions]]
name = "op"
choices = ["conv", "pool"]
active_if = { layers = [2, 3, 4] }
[[decisions]]
name = "bias"
choices = [true, false]
[[decisions]]
name = "rate"
range = [1e-4, 1e-1]
log = true
"#;

/// What a search measures: some architectures fail.
const MEASURE: &str = r#"
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
[ "$layers$width" != 432 ] || { echo "out of memory" >&2; exit 7; }
echo "{\"loss\": 0.$((400 - layers * width)), \"size\": $((layers * width))}"
"#;

impl Setup {
    /// A search of 24 measurements.
    fn search(&self) {
        self.write("space.toml", SPACE);
        self.write("measure.sh", MEASURE);
        self.search_with(&["--budget", "24", "--seed", "3", "--run-dir", "run"]);
    }

    fn search_with(&self, more: &[&str]) {
        let base = ["search", "--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--minimise", "loss"];
        let said = self.srnas(&[&base[..], &["--method", "random"], more].concat());
        assert!(said.status.success(), "{}", text(&said.stderr));
    }

    /// Decisions and metrics of each measurement that has a value, as the search's own report has them, in some order.
    fn measured(&self) -> Vec<(String, String)> {
        let said = stdout(&self.srnas(&["export", "run", "--to", "jsonl"]));
        let rows = said.lines().map(|line| line.parse::<Value>().unwrap());
        let measured = rows.filter(|row| row.get("infeasible").is_none());
        let mut all: Vec<(String, String)> = measured
            .map(|row| {
                let decisions =
                    ["layers", "width", "op", "bias", "rate"].map(|name| row[name].to_string()).join(" ");
                (decisions, format!("{} {}", row["loss"], row["size"]))
            })
            .collect();
        all.sort();
        all
    }

    /// The same of a benchmark.
    fn of_benchmark(&self, benchmark: &str, loss: &str, size: &str) -> Vec<(String, String)> {
        let said = stdout(&self.srnas(&["bench", "best", benchmark, loss, "--limit", "100", "--json"]));
        let mut all = Vec::new();
        for line in said.lines() {
            let row: Value = line.parse().unwrap();
            let decisions = &row["choices"];
            let architecture = decisions.to_string();
            let query = self.srnas(&["bench", "query", benchmark, &architecture, "--json"]);
            let metrics: Vec<Value> = stdout(&query).lines().map(|line| line.parse().unwrap()).collect();
            let value = |name: &str| {
                let metric = metrics
                    .iter()
                    .find(|m| m["metric"] == name)
                    .unwrap_or_else(|| panic!("{name}: {metrics:?}"));
                metric["value"].as_f64().unwrap_or_else(|| panic!("{metric}"))
            };
            let names = ["layers", "width", "op", "bias", "rate"];
            let decisions = names.map(|name| decisions[name].to_string()).join(" ");
            let number = |value: f64| Value::from(value).to_string();
            all.push((decisions, format!("{} {}", number(value(loss)), number(value(size)))));
        }
        all.sort();
        all
    }
}

#[test]
fn what_is_exported_is_imported_as_the_same_measurements() {
    let setup = Setup::new();
    setup.search();
    let measured = setup.measured();
    assert!(measured.len() > 10 && measured.len() < 24, "{}", measured.len());
    for (format, kind, file, loss, size) in [
        ("optuna", "optuna", "s.db", "run/loss", "run/size"),
        ("csv", "table", "m.csv", "m/loss", "m/size"),
        ("parquet", "table", "p.parquet", "p/loss", "p/size"),
        ("jsonl", "json", "j.jsonl", "j/loss", "j/size"),
    ] {
        let said = stdout(&setup.srnas(&["export", "run", "--to", format, "--out", file]));
        has(&said, &[file, "24 measurements"]);
        let (code, said) = failure(&setup.srnas(&["export", "run", "--to", format, "--out", file]));
        assert!(code == 2 && said.contains("is there already"), "{said}");
        let benchmark = loss.split('/').next().unwrap();
        if format == "optuna" {
            let (descriptor, space, imported) = setup.suggest_and_import(kind, &[file], &[]);
            assert_eq!(space, SPACE, "the space as it was written");
            assert_eq!(imported["left_out"].as_u64(), Some(24 - measured.len() as u64), "{imported}");
            let known = "column = \"value_loss\"\nunit = \"\"\ndirection = \"minimise\"\n";
            has(&descriptor, &[known, "duplicates = \"refuse\""]);
        } else {
            let metric = |name: &str| {
                format!(
                    "[[metrics]]\nname = \"{benchmark}/{name}\"\ncolumn = \"{name}\"\ndirection = \"minimise\"\n"
                )
            };
            let head = format!("benchmark = \"{benchmark}\"\nspace = \"space.toml\"\n");
            setup.write("own.toml", head + &metric("loss") + &metric("size"));
            stdout(&setup.srnas(&["bench", "import", kind, file, "--descriptor", "own.toml"]));
            // A first one is guessed of it, too, and takes no note for a decision.
            let guessed = stdout(&setup.srnas(&["bench", "import", kind, file, "--suggest"]));
            has(&guessed, &["#   \"measurement\": ", "#   \"infeasible\": ", "column = \"loss\""]);
        }
        assert_eq!(setup.of_benchmark(benchmark, loss, size), measured, "{format}");
    }
    // A search reads it again as what was measured elsewhere.
    setup.search_with(&["--budget", "2", "--start", "j.jsonl", "--run-dir", "again"]);
    let known = stdout(&setup.srnas(&["status", "again"]));
    has(&known, &["24 from elsewhere"]);
    for (arguments, says) in [
        (&["export", "nowhere", "--to", "csv"][..], "holds neither a search by --oracle nor a run"),
        (&["export", "run"], "--to"),
        (&["export", "run", "--to", "xls"], "xls"),
    ] {
        let (code, said) = failure(&setup.srnas(arguments));
        assert!(code == 2 && said.contains(says), "{said}");
    }
}

#[test]
fn optuna_itself_loads_what_is_exported_and_goes_on() {
    let Some(python) = std::env::var_os(OPTUNA_PYTHON) else {
        eprintln!("skipped: OPTUNA_PYTHON names no Python that has Optuna and pandas");
        return;
    };
    let setup = Setup::new();
    setup.search();
    stdout(&setup.srnas(&["export", "run", "--to", "optuna", "--out", "s.db"]));
    setup.write(
        "load.py",
        r#"
import json, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="run", storage="sqlite:///s.db")
for trial in study.trials:
    print(json.dumps([trial.state.name, trial.params, trial.values, trial.user_attrs]))
print(json.dumps([study.direction.name, study.metric_names, study.best_value]))
study.optimize(lambda trial: trial.suggest_int("layers", 1, 4) * trial.suggest_float("rate", 1e-4, 1e-1, log=True), n_trials=3)
study.trials_dataframe().to_csv("trials.csv")
print(len(study.trials))
"#,
    );
    let said = Command::new(python).arg("load.py").current_dir(setup.path()).output().unwrap();
    let said = stdout(&said);
    let lines: Vec<Value> = said.lines().map(|line| line.parse().unwrap()).collect();
    let (trials, [study, count]) = lines.split_at(24) else { panic!("{said}") };
    let mut found: Vec<(String, String)> = Vec::new();
    for trial in trials {
        if trial[0] == "FAIL" {
            assert!(trial[3]["infeasible"].as_str().unwrap().contains("7"), "{trial}");
            continue;
        }
        let decisions =
            ["layers", "width", "op", "bias", "rate"].map(|name| trial[1][name].to_string()).join(" ");
        found.push((decisions, format!("{} {}", trial[2][0], trial[3]["size"])));
    }
    found.sort();
    assert_eq!(found, setup.measured());
    assert_eq!((&study[0], &study[1][0], count), (&"MINIMIZE".into(), &"loss".into(), &27.into()), "{said}");
    // The data frame of it is read as well.
    let (descriptor, _, imported) = setup.suggest_and_import("optuna", &["trials.csv"], &[]);
    has(&descriptor, &["an export of Optuna", "column = \"value_loss\""]);
    assert!(imported["rows"].as_u64().unwrap() >= 20, "{imported}");
}
