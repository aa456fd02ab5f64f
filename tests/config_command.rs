//! `srnas config`, the program itself: layers, origins, exit codes, and the page that lists every key.

mod harness;

use harness::{failure, stdout};
use serde_json::Value;
use srnas_config::Config;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

/// `srnas` in an environment of these variables alone.
fn srnas(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srnas"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder);
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn show_puts_the_layers_together_and_can_be_loaded_again() {
    let folder = TempDir::new().unwrap();
    let file =
        "seed = 5\n[run]\nminutes = 3\n[learning]\nbatch = 64\nn_step = 4\n[validation]\nfamilies = ['x']\n";
    fs::write(folder.path().join("run.toml"), file).unwrap();
    let environment = [("SRNAS_LEARNING__BATCH", "128"), ("SRNAS_SEED", "6"), ("SRNAS_BENCH_DIR", "/data")];
    let arguments = [
        "config",
        "show",
        "--config",
        "run.toml",
        "--seed",
        "7",
        "--task",
        "nb201/a/{b,c}",
        "--steps",
        "900",
        "--set",
        "environment.betas=[2]",
        "--set",
        "run.minutes=0.5",
    ];
    let shown = stdout(&srnas(folder.path(), &environment, &arguments));
    for line in [
        "seed = 7  # flag --seed",
        "n_step = 4  # file run.toml:6",
        "batch = 128  # environment SRNAS_LEARNING__BATCH",
        "train = [\"nb201/a/{b,c}\"]  # flag --task",
        "families = []  # flag --task",
        "betas = [2.0]  # flag --set",
        "minutes = 0.5  # flag --set",
        "steps = 900  # flag --steps",
        "gamma = 0.96  # default",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line} is not in {shown}");
    }

    fs::write(folder.path().join("shown.toml"), &shown).unwrap();
    let again = stdout(&srnas(folder.path(), &[], &["config", "show", "--config", "shown.toml"]));
    assert_eq!(Config::parse(&again, "again").unwrap(), Config::parse(&shown, "shown").unwrap());
    assert!(again.contains("# file shown.toml:") && !again.contains("# default"), "{again}");

    let json = stdout(&srnas(folder.path(), &environment, &[&arguments[..], &["--json"]].concat()));
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str| lines.iter().find(|line| line["key"] == key).unwrap();
    let batch = of("learning.batch");
    assert_eq!((&batch["value"], &batch["layer"]), (&128.into(), &"environment".into()));
    assert_eq!(batch["from"], "environment SRNAS_LEARNING__BATCH");
    assert_eq!(of("environment.betas")["value"], serde_json::json!([2.0]));
}

#[test]
fn what_is_wrong_is_refused_by_its_layer_with_exit_code_2_by_every_command() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("run.toml"), "[learning]\nbatch = 'many'\n").unwrap();
    fs::write(folder.path().join("seed.toml"), "seed = 2\n").unwrap();
    let run = ["run", "--task", "nb201/a/b", "--run-dir", "out"];
    let show = ["config", "show"];
    for (environment, arguments, parts) in [
        (vec![("SRNAS_LEARNING_BATCH", "2")], &show[..], ["SRNAS_LEARNING_BATCH", "`SRNAS_LEARNING__BATCH`"]),
        (vec![("SRNAS_LEARNING__BATCH", "x")], &run, ["SRNAS_LEARNING__BATCH", "invalid type: string \"x\""]),
        (vec![], &["config", "show", "--config", "run.toml"], ["run.toml", "line 2"]),
        (vec![], &["config", "show", "--config", "absent.toml"], ["absent.toml", "configs/"]),
        (vec![], &["config", "show", "--set", "learning.bacth=2"], ["--set", "`learning.batch`"]),
        (vec![], &["config", "show", "--set", "learning.gamma=2"], ["flag --set", "`learning.gamma`"]),
        (vec![], &["config", "show", "--minutes", "0"], ["flag --minutes", "`run.minutes`"]),
        (vec![], &["config", "show", "--set", "learning"], ["--set", "KEY=VALUE"]),
        (
            vec![],
            &["learner", "--run-dir", "out", "--config", "seed.toml"],
            ["nothing to train on", "--task"],
        ),
    ] {
        let (code, error) = failure(&srnas(folder.path(), &environment, arguments));
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{arguments:?}: {error}");
    }
    assert!(!folder.path().join("out").exists(), "nothing is written");
}

#[test]
fn a_failure_is_json_where_the_log_is() {
    let folder = TempDir::new().unwrap();
    let broken = ("SRNAS_SEED", "x");
    let as_json = |environment: &[(&str, &str)], arguments: &[&str]| -> Value {
        let (code, error) = failure(&srnas(folder.path(), environment, arguments));
        assert_eq!(code, 2);
        serde_json::from_str(&error).unwrap()
    };
    for line in [
        as_json(&[broken], &["config", "show", "--log-format", "json"]),
        as_json(&[broken, ("SRNAS_LOG_FORMAT", "json")], &["config", "show"]),
    ] {
        assert_eq!(line["level"], "ERROR");
        assert!(line["fields"]["message"].as_str().unwrap().contains("SRNAS_SEED"), "{line}");
    }
    // The flag wins over the variable, and a failure is told even where no log is wanted.
    let arguments = ["--log-format", "text", "config", "show"];
    let (_, error) = failure(&srnas(folder.path(), &[broken, ("SRNAS_LOG_FORMAT", "json")], &arguments));
    assert!(error.starts_with("error: environment variable SRNAS_SEED"), "{error}");
    let quiet = [broken, ("SRNAS_LOG_FORMAT", "json"), ("RUST_LOG", "off")];
    let (_, error) = failure(&srnas(folder.path(), &quiet, &["config", "show"]));
    assert!(error.contains("SRNAS_SEED"), "{error}");
    let (code, error) = failure(&srnas(folder.path(), &[("SRNAS_LOG_FORMAT", "yaml")], &["config", "show"]));
    assert!(code == 2 && error.contains("yaml"), "{error}");
}

/// `UPDATE_DOCS=1 cargo test --release --test config_command` writes the page's list anew.
#[test]
fn the_page_lists_every_key_as_the_program_does() {
    const HEADING: &str = "\n## Every key\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let reference = stdout(&srnas(Path::new("."), &[], &["config", "reference"]));
    let (before, list) = page.split_once(HEADING).expect("the page has its list");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{HEADING}\n{reference}")).unwrap();
        return;
    }
    for (ours, theirs) in reference.lines().zip(list.trim_start().lines()) {
        assert_eq!(ours, theirs, "the code and the page differ: UPDATE_DOCS=1 writes the list anew");
    }
    assert_eq!(reference.trim(), list.trim(), "one is longer: UPDATE_DOCS=1 writes the list anew");
}
