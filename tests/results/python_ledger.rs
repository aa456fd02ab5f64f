//! The ledger of a search in a Python process is exported as that of any other.

use crate::{
    Setup,
    harness::{failure, stdout},
};
use rusqlite::Connection;
use serde_json::Value;
use srnas_ledger::{AnswerRecord, Database, RunRecord};
use srnas_space::SearchSpace;
use std::{collections::BTreeMap, fs, path::Path};

/// A ledger as `srnas.Search(space, minimise="loss", ledger=…)` keeps it: two measurements and one that has no value.
fn ledger_of_python(path: &Path, space: &SearchSpace) {
    let run = RunRecord {
        name: "run".into(),
        space: space.name().into(),
        seed: 1,
        tasks: vec![("python/-loss, size <= 9".into(), "loss".into())],
        benchmarks: vec![("python".into(), "00".into())],
    };
    let mut database = Database::create(path, &run).unwrap();
    for (choices, said) in [
        ([0, 1], Ok((-0.5, BTreeMap::from([("loss".to_string(), 0.5), ("size".to_string(), 3.0)])))),
        ([1, 0], Err("out of memory".to_string())),
        ([1, 1], Ok((-0.25, BTreeMap::from([("size".to_string(), 4.0)])))),
    ] {
        let key = space.canonical_key(&choices);
        let answer = AnswerRecord { key, choices: choices.into(), fidelity: 1.0, cost: 1.0, said };
        database.record_answer(0, &answer, "python").unwrap();
    }
}

#[test]
fn the_ledger_of_a_search_in_python_is_exported() {
    let setup = Setup::new();
    let text = "[[decisions]]\nname = \"layers\"\nchoices = [1, 2]\n[[decisions]]\nname = \"op\"\nchoices = [\"a\", \"b\"]\n";
    setup.write("run.sqlite.space.toml", text);
    let space = srnas_space::read(text, "space").unwrap();
    ledger_of_python(&setup.path().join("run.sqlite"), &space);
    let said = stdout(&setup.srnas(&["export", "run.sqlite", "--to", "jsonl"]));
    let lines: Vec<Value> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert_eq!((&lines[0]["layers"], &lines[0]["op"]), (&1.into(), &"b".into()), "{said}");
    assert_eq!((&lines[0]["loss"], &lines[0]["size"]), (&0.5.into(), &3.0.into()), "{said}");
    assert_eq!(lines[1]["infeasible"], "out of memory", "{said}");
    // In the sign of the metric, and not as it is maximised.
    assert_eq!(lines[2]["loss"], 0.25, "{said}");
    stdout(&setup.srnas(&["export", "run.sqlite", "--to", "optuna"]));
    let study = Connection::open(setup.path().join("run.db")).unwrap();
    let direction: String =
        study.query_row("SELECT direction FROM study_directions", [], |row| row.get(0)).unwrap();
    assert_eq!(direction, "MINIMIZE");
    setup.write("other.sqlite", "no ledger");
    setup.write("away.sqlite", fs::read(setup.path().join("run.sqlite")).unwrap());
    setup.write("wrong.sqlite", fs::read(setup.path().join("run.sqlite")).unwrap());
    setup.write("wrong.sqlite.space.toml", "[[decisions]]\nname = \"layers\"\nchoices = [1, 2]\n");
    for (file, says) in [
        ("other.sqlite", "is not a ledger of srnas"),
        ("away.sqlite", "away.sqlite.space.toml is missing"),
        ("wrong.sqlite", "was not measured in the space beside it"),
    ] {
        let (code, said) = failure(&setup.srnas(&["export", file, "--to", "csv"]));
        assert!(code == 2 && said.contains(says), "{file}: {code} {said}");
    }
}
