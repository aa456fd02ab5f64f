//! End to end: files of other programs become benchmarks and spaces, and what a search measured becomes files of theirs. The small files
//! in `tests/results` have the shapes of real ones.

mod harness;
#[path = "results/python_ledger.rs"]
mod python_ledger;

use harness::{PROGRAM, failure, stdout, text};
use rusqlite::Connection;
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// Names a Python that has Optuna.
const OPTUNA_PYTHON: &str = "OPTUNA_PYTHON";

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Copies a file that has the shape of a real one.
    fn golden(&self, name: &str) {
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results").join(name),
            self.path().join(name),
        )
        .unwrap();
    }

    fn srnas(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env("SRNAS_BENCH_DIR", self.path().join("bench"));
        command
            .env("HOME", self.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove(OPTUNA_PYTHON)
            .output()
            .unwrap()
    }

    /// Suggests of files, imports by that, and returns the descriptor, the space, and what the import said.
    fn suggest_and_import(&self, kind: &str, files: &[&str], more: &[&str]) -> (String, String, Value) {
        let before = ["bench", "import", kind];
        let arguments =
            |last: &[&'static str]| [&before[..], files, more, &["--descriptor", "d.toml"], last].concat();
        fs::remove_file(self.path().join("d.toml")).ok();
        let said: Value = stdout(&self.srnas(&arguments(&["--suggest", "--json"]))).parse().unwrap();
        let space = said["space"].as_str().unwrap();
        let space = fs::read_to_string(self.path().join(space)).unwrap_or_else(|_| space.into());
        let imported = stdout(&self.srnas(&arguments(&["--json", "--replace"])));
        (self.read("d.toml"), space, imported.parse().unwrap())
    }

    fn refused(&self, arguments: &[&str], says: &[&str]) {
        let (code, said) = failure(&self.srnas(&[&["bench", "import"], arguments].concat()));
        assert!(code == 1 || code == 2, "{code}: {said}");
        for says in says {
            assert!(said.contains(says), "no {says:?} in {said}");
        }
        assert!(!self.path().join("bench").exists(), "nothing is half written");
    }

    fn best(&self, benchmark: &str, metric: &str) -> Value {
        let said = stdout(&self.srnas(&["bench", "best", benchmark, metric, "--limit", "1", "--json"]));
        said.lines().next().unwrap().parse().unwrap()
    }
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// A storage of Optuna as its versions write it.
const STORAGE: &str = r#"
CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512));
CREATE TABLE study_directions (study_direction_id INTEGER PRIMARY KEY, direction VARCHAR(8), study_id INTEGER, objective INTEGER);
CREATE TABLE version_info (version_info_id INTEGER PRIMARY KEY, schema_version INTEGER, library_version VARCHAR(256));
CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state VARCHAR(8), datetime_start DATETIME,
    datetime_complete DATETIME);
CREATE TABLE trial_user_attributes (trial_user_attribute_id INTEGER PRIMARY KEY, trial_id INTEGER, "key" VARCHAR(512), value_json TEXT);
CREATE TABLE trial_params (param_id INTEGER PRIMARY KEY, trial_id INTEGER, param_name VARCHAR(512), param_value FLOAT,
    distribution_json TEXT);
CREATE TABLE trial_values (trial_value_id INTEGER PRIMARY KEY, trial_id INTEGER, objective INTEGER, value FLOAT, value_type VARCHAR(7));
CREATE TABLE trial_intermediate_values (id INTEGER PRIMARY KEY, trial_id INTEGER, step INTEGER, intermediate_value FLOAT,
    intermediate_value_type VARCHAR(7));
INSERT INTO version_info VALUES (1, 12, '4.0.0');
INSERT INTO studies VALUES (1, 'one');
INSERT INTO study_directions VALUES (1, 'MAXIMIZE', 1, 0);
"#;

/// A study of 24 trials, of which four have no value.
fn storage(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(STORAGE).unwrap();
    let layers =
        r#"{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 4}}"#;
    let act = r#"{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", null, "tanh"]}}"#;
    let rate = r#"{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.1, "log": true}}"#;
    let drop = r#"{"name": "FloatDistribution", "attributes": {"step": 0.1, "low": 0.0, "high": 0.5, "log": false}}"#;
    for trial in 1..=24 {
        let state = match trial {
            5 => "FAIL",
            9 | 10 => "PRUNED",
            24 => "RUNNING",
            _ => "COMPLETE",
        };
        let number = trial - 1;
        let row = (trial, number, state);
        let sql =
            "INSERT INTO trials VALUES (?1, ?2, 1, ?3, '2026-01-02 10:11:12.000013', '2026-01-02 10:12:12')";
        connection.execute(sql, row).unwrap();
        let parameter = |name: &str, value: f64, distribution: &str| {
            let sql = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?1, ?2, ?3, ?4)";
            connection.execute(sql, (trial, name, value, distribution)).unwrap();
        };
        parameter("layers", f64::from(1 + trial % 4), layers);
        parameter("act", f64::from(trial % 3), act);
        parameter("rate", 1e-4 * 1000f64.powf(f64::from(trial) / 24.0), rate);
        if trial % 3 == 0 {
            parameter("drop", f64::from(trial % 6) * 0.1, drop);
        }
        if state == "COMPLETE" {
            // One diverged.
            let value = (trial != 7).then(|| 0.5 + f64::from((trial * 7) % 24) / 100.0);
            let sql =
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?1, 0, ?2, ?3)";
            connection
                .execute(sql, (trial, value, if value.is_some() { "FINITE" } else { "INF_NEG" }))
                .unwrap();
            let sql = "INSERT INTO trial_user_attributes (trial_id, \"key\", value_json) VALUES (?1, ?2, ?3)";
            connection.execute(sql, (trial, "train_seconds", format!("{}.5", 60 + trial))).unwrap();
            connection.execute(sql, (trial, "host", "\"node1\"")).unwrap();
            let sql = "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value) VALUES (?1, 1, 0.3)";
            connection.execute(sql, [trial]).unwrap();
        }
    }
    connection
}

#[test]
fn a_study_in_a_storage_of_optuna_becomes_a_benchmark() {
    let setup = Setup::new();
    storage(&setup.path().join("s.db"));
    let (descriptor, space, said) = setup.suggest_and_import("optuna", &["s.db"], &[]);
    has(
        &descriptor,
        &[
            "benchmark = \"one\"",
            "only = { state = \"COMPLETE\" }  # rows with anything else there do not count: 2 `PRUNED`, 1 `FAIL`, 1 `RUNNING`",
            // The storage says so: no guess.
            "column = \"value\"\nunit = \"\"  # check\ndirection = \"maximise\"\n",
            "[architecture.nearest]",
            "rate = \"log\"",
            "column = \"user_attrs_train_seconds\"",
            "#   \"user_attrs_host\": ",
            "# Not taken over: infinite values (1)",
            "values on the way",
        ],
    );
    assert!(!descriptor.contains("datetime"), "no time is an architecture: {descriptor}");
    has(
        &space,
        &[
            "name = \"layers\"\nchoices = [1, 2, 3, 4]\nordered = true\n",
            "choices = [\"relu\", \"None\", \"tanh\"]",
            "name = \"rate\"  # check: its values count as the nearest level",
            "range = [0.0001, 0.1]\nlog = true\n",
            "name = \"drop\"",
            "active_if = { act = [\"relu\"] }  # check",
        ],
    );
    assert_eq!((said["rows"].as_u64(), said["left_out"].as_u64()), (Some(20), Some(4)), "{said}");
    assert_eq!(said["left_out_by"]["PRUNED"], 2, "{said}");
    let best = setup.best("one", "one/value");
    assert!(best["value"].as_f64().unwrap() > 0.7, "{best}");
    // In words, too.
    let words = setup.srnas(&["bench", "import", "optuna", "s.db", "--descriptor", "d.toml", "--replace"]);
    assert!(stdout(&words).contains("20 rows, 4 left out (2 `PRUNED`, 1 `FAIL`, 1 `RUNNING`)"), "{words:?}");
}

#[test]
fn a_storage_that_cannot_be_read_says_why() {
    let setup = Setup::new();
    let connection = storage(&setup.path().join("s.db"));
    let two = "INSERT INTO studies VALUES (2, 'two'); INSERT INTO studies VALUES (3, 'one-b')";
    connection.execute_batch(two).unwrap();
    let suggest = ["optuna", "s.db", "--suggest"];
    setup.refused(&suggest, &["several studies", "`one` (24 trials), `two` (0 trials)", "--study"]);
    setup.refused(
        &[&suggest[..], &["--study", "ome"]].concat(),
        &["no study `ome`; there are `one` (24 trials), "],
    );
    setup.refused(&[&suggest[..], &["--study", "two"]].concat(), &["its study `two` has no trial"]);
    assert!(
        stdout(&setup.srnas(&["bench", "import", "optuna", "s.db", "--suggest", "--study", "one"]))
            .contains("benchmark = \"one\"")
    );
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    setup.refused(&suggest, &["s.db is locked by a program that writes it", "a copy of the file"]);
    connection.execute_batch("ROLLBACK").unwrap();
    connection
        .execute_batch("UPDATE version_info SET schema_version = 99, library_version = '9.0.0'")
        .unwrap();
    setup.refused(&suggest, &["has schema 99 (Optuna 9.0.0)", "trials_dataframe().to_csv"]);
    connection
        .execute_batch("UPDATE version_info SET schema_version = 12; DELETE FROM studies WHERE study_id > 1")
        .unwrap();
    connection.execute_batch("DELETE FROM trials WHERE trial_id > 1").unwrap();
    setup.refused(&suggest, &["one row that counts, and a benchmark has at least two"]);
    connection.execute_batch("UPDATE trials SET state = 'RUNNING'").unwrap();
    setup.refused(&suggest, &["no row has `COMPLETE` as its `state`", "1 `RUNNING`"]);
    drop(connection);
    let whole = fs::read(setup.path().join("s.db")).unwrap();
    setup.write("cut.db", &whole[..whole.len() / 2]);
    setup.refused(&["optuna", "cut.db", "--suggest"], &["cut.db"]);
    let other = Connection::open(setup.path().join("other.db")).unwrap();
    other
        .execute_batch("CREATE TABLE runs (a); CREATE TABLE experiments (a); CREATE TABLE metrics (a);")
        .unwrap();
    setup.refused(
        &["optuna", "other.db", "--suggest"],
        &["the database of MLflow", "srnas bench import mlflow"],
    );
}

#[test]
fn storages_of_older_versions_are_read() {
    let setup = Setup::new();
    let connection = storage(&setup.path().join("old.db"));
    // One value in the trial itself, one direction in the study, and distributions by their old names.
    let older = r#"
        ALTER TABLE trials ADD COLUMN value FLOAT;
        UPDATE trials SET value = (SELECT v.value FROM trial_values v WHERE v.trial_id = trials.trial_id);
        DROP TABLE trial_values;
        ALTER TABLE studies ADD COLUMN direction VARCHAR(8);
        UPDATE studies SET direction = 'MAXIMIZE';
        DROP TABLE study_directions;
        DROP TABLE trial_intermediate_values;
        UPDATE version_info SET schema_version = 10;
        UPDATE trial_params SET distribution_json = '{"name": "LogUniformDistribution", "attributes": {"low": 0.0001, "high": 0.1}}'
            WHERE param_name = 'rate';
        UPDATE trial_params SET distribution_json = '{"name": "IntUniformDistribution", "attributes": {"low": 1, "high": 4}}'
            WHERE param_name = 'layers';
        UPDATE trial_params SET distribution_json = '{"name": "DiscreteUniformDistribution", "attributes": {"low": 0.0, "high": 0.5, "q": 0.1}}'
            WHERE param_name = 'drop';"#;
    connection.execute_batch(older).unwrap();
    drop(connection);
    let (descriptor, space, said) = setup.suggest_and_import("optuna", &["old.db"], &[]);
    has(&descriptor, &["direction = \"maximise\"\n", "rate = \"log\""]);
    has(&space, &["choices = [1, 2, 3, 4]", "range = [0.0001, 0.1]\nlog = true\n"]);
    assert_eq!(said["rows"], 20, "{said}");
}

#[test]
fn files_of_other_programs_become_benchmarks() {
    let setup = Setup::new();
    for name in [
        "ax.json",
        "runhistory.json",
        "configspace.json",
        "wandb.csv",
        "mlflow.csv",
        "hparams.csv",
        "hparams.json",
        "records.jsonl",
    ] {
        setup.golden(name);
    }
    let (descriptor, space, said) = setup.suggest_and_import("ax", &["ax.json"], &[]);
    has(
        &descriptor,
        &[
            "# It was written by Ax.",
            "benchmark = \"widths_and_rates\"",
            "only = { trial_status = \"COMPLETED\" }",
            "1 `ABANDONED`, 1 `FAILED`, 1 `RUNNING`",
            "direction = \"maximise\"\n",
            "unit = \"ms\"\ndirection = \"minimise\"\n",
            "#   \"parameter.epochs\": it can have one value alone",
            "# Not taken over: constraints of parameters (1.0 layers + 10.0 lr <= 5.0)",
            "--require 'latency_ms <= 12.0'",
            "# Not taken over: the standard errors",
        ],
    );
    has(
        &space,
        &["choices = [1, 2, 3, 4]", "[\"relu\", \"tanh\", \"gelu\"]", "range = [0.0001, 0.1]\nlog = true"],
    );
    assert_eq!((said["rows"].as_u64(), said["left_out"].as_u64()), (Some(11), Some(3)), "{said}");

    let (descriptor, space, said) = setup.suggest_and_import("smac", &["runhistory.json"], &[]);
    has(
        &descriptor,
        &[
            "status = \"SUCCESS\", budget = \"9.0\"",
            "space = \"runhistory-space.json\"",
            "lr = \"log\"",
            "direction = \"minimise\"\n",
            "#   \"seed\": ",
            "\"config_id\"",
        ],
    );
    assert!(
        space.contains("\"hyperparameters\"") && space.contains("\"conditions\""),
        "the ConfigSpace itself: {space}"
    );
    assert!(!descriptor.contains("starttime"), "{descriptor}");
    assert_eq!(said["rows"], 7, "{said}");
    // Without its ConfigSpace, the space is guessed.
    fs::remove_file(setup.path().join("configspace.json")).unwrap();
    fs::remove_file(setup.path().join("runhistory-space.json")).unwrap();
    let (_, space, _) = setup.suggest_and_import("smac", &["runhistory.json"], &[]);
    has(
        &space,
        &[
            "name = \"act\"\nchoices = [\"relu\", \"tanh\"]",
            "name = \"slope\"",
            "active_if = { act = [\"relu\"] }",
        ],
    );

    let (descriptor, space, said) = setup.suggest_and_import("wandb", &["wandb.csv"], &[]);
    has(
        &descriptor,
        &[
            "an export of Weights & Biases",
            "column = \"summary.val_accuracy\"",
            "#   \"summary._timestamp\": ",
            "#   \"config.data_dir\": ",
        ],
    );
    has(
        &space,
        &[
            "name = \"lr\"",
            "name = \"optimizer\"",
            "name = \"hidden\"",
            "name = \"bias\"\nchoices = [false, true]",
        ],
    );
    assert_eq!((said["rows"].as_u64(), said["metrics"].as_u64()), (Some(12), Some(2)), "{said}");

    let (descriptor, space, said) = setup.suggest_and_import("mlflow", &["mlflow.csv"], &[]);
    has(
        &descriptor,
        &[
            "an export of MLflow",
            "only = { status = \"FINISHED\" }",
            "1 `FAILED`, 1 `RUNNING`",
            "#   \"start_time\": ",
        ],
    );
    assert_eq!(space.matches("[[decisions]]").count(), 2, "{space}");
    assert_eq!(said["left_out_by"]["FAILED"], 1, "{said}");

    for file in ["hparams.csv", "hparams.json"] {
        fs::remove_file(setup.path().join("hparams-space.toml")).ok();
        let (descriptor, space, said) = setup.suggest_and_import("tensorboard", &[file], &[]);
        has(&descriptor, &["column = \"Accuracy\"", "direction = \"maximise\"\n"]);
        has(
            &space,
            &["name = \"num_units\"\nchoices = [16.0, 32.0]", "name = \"dropout\"", "name = \"optimizer\""],
        );
        assert_eq!(said["rows"], 8, "{file}: {said}");
    }

    let (descriptor, space, said) = setup.suggest_and_import("json", &["records.jsonl"], &[]);
    has(&descriptor, &["column = \"metrics.accuracy\"", "#   \"started\": ", "#   \"host\": "]);
    has(&space, &["name = \"op\"  # check: a parameter, by its name", "name = \"width\"  # check"]);
    assert_eq!(space.matches("[[decisions]]").count(), 2, "a start time is no architecture: {space}");
    // Each architecture was measured twice: two seeds.
    assert!(descriptor.contains("duplicates = \"seeds\"  # check"), "{descriptor}");
    assert_eq!((said["rows"].as_u64(), said["architectures"].as_u64()), (Some(12), Some(6)), "{said}");
}

#[test]
fn a_search_space_of_nni_becomes_a_space() {
    let setup = Setup::new();
    setup.golden("search_space.json");
    let said =
        stdout(&setup.srnas(&["bench", "import", "nni", "search_space.json", "--space", "space.toml"]));
    has(&said, &["space.toml: 8 decisions", "2 lines are marked with \"check\""]);
    let checked = stdout(&setup.srnas(&["space", "check", "space.toml"]));
    has(&checked, &["8"]);
    has(
        &setup.read("space.toml"),
        &["range = [128, 1024]\nstep = 128\n", "active_if = { \"layer\" = \"Conv\" }"],
    );
    setup.refused(&["nni", "search_space.json", "--space", "space.toml"], &["is there already"]);
    setup.write("bad.json", "{\"a\": {\"_type\": \"uniforn\", \"_value\": [0, 1]}}");
    setup.refused(&["nni", "bad.json"], &["bad.json: `a`: `_type` is `uniforn`"]);
}

#[test]
fn a_file_of_another_kind_is_told_which_importer_it_is_for() {
    let setup = Setup::new();
    for name in [
        "ax.json",
        "runhistory.json",
        "configspace.json",
        "wandb.csv",
        "mlflow.csv",
        "hparams.json",
        "records.jsonl",
        "search_space.json",
    ] {
        setup.golden(name);
    }
    storage(&setup.path().join("s.db"));
    setup.write("empty.json", "");
    setup.write("blank.csv", "\n");
    setup.write("cut.json", "{\"_type\": \"AxClient\", \"experiment\": {");
    setup.write("yaml.json", "a: 1\n");
    setup.write(
        "chart.csv",
        "Step,deep-sun-1 - loss,deep-sun-1 - loss__MIN,deep-sun-1 - loss__MAX\n1,2,2,2\n",
    );
    for (kind, file, says) in [
        ("ax", "s.db", "`import optuna` reads"),
        ("optuna", "ax.json", "an experiment of Ax: `srnas bench import ax` reads it"),
        ("json", "runhistory.json", "a run history of SMAC: `srnas bench import smac` reads it"),
        ("ax", "search_space.json", "`srnas bench import nni` reads it"),
        ("smac", "hparams.json", "`srnas bench import tensorboard` reads it"),
        ("wandb", "mlflow.csv", "an export of MLflow: `srnas bench import mlflow` reads it"),
        ("optuna", "wandb.csv", "an export of Weights & Biases: `srnas bench import wandb` reads it"),
        ("mlflow", "records.jsonl", "`srnas bench import json` reads it"),
        ("smac", "configspace.json", "a ConfigSpace alone has no results"),
        ("json", "mlflow.csv", "no JSON"),
        ("json", "empty.json", "empty.json is empty"),
        ("wandb", "blank.csv", "blank.csv is empty"),
        ("ax", "cut.json", "was it cut short?"),
        ("json", "yaml.json", "no JSON"),
        ("ax", "gone.json", "cannot read gone.json"),
        ("wandb", "chart.csv", "the curves of a chart"),
        ("ax", ".", "is a folder"),
        ("table", "s.db", "`srnas bench import optuna`"),
        ("table", "ax.json", "`srnas bench import json`"),
    ] {
        setup.refused(&[kind, file, "--suggest"], &[says]);
    }
    setup.refused(&["ax", "ax.json"], &["--descriptor D.toml", "srnas bench import ax ax.json --suggest"]);
    setup.refused(&["ax", "ax.json", "--study", "x"], &["--study goes with `import optuna`"]);
    setup.refused(&["nni", "search_space.json", "--suggest"], &["--descriptor and --suggest go with"]);
    setup.refused(&["hwgpt", ".", "--space", "x"], &["--space goes with `import nni`"]);
}

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
