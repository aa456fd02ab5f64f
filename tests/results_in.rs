//! End to end: files of other programs become benchmarks and spaces.

mod harness;
#[path = "results/python_ledger.rs"]
mod python_ledger;
#[path = "results/setup.rs"]
mod setup;

use harness::stdout;
use rusqlite::Connection;
use setup::{Setup, has};
use std::{fs, path::Path};

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
