//! What each reader makes of shapes that its program writes; whole files are in the tests of the program.

use super::*;
use crate::importers::table::Domain;
use serde_json::json;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.json");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn of(kind: &str, text: &str) -> Result<Source, String> {
    let (_folder, path) = file(text);
    read(kind, &[path], None, None).map_err(|e| e.to_string())
}

fn cells(source: &Source, column: &str) -> Vec<String> {
    let column = source.table.column(column).unwrap_or_else(|e| panic!("{e}"));
    (0..source.table.rows()).map(|row| column.text(row).to_string()).collect()
}

#[test]
fn every_version_of_smac_writes_the_same_runs() {
    let configs = json!({"1": {"lr": 0.1, "op": "a"}, "2": {"lr": 0.01, "op": "b"}});
    let newest = json!([
        {"config_id": 1, "instance": null, "seed": 0, "budget": 9.0, "cost": 0.5, "time": 1.0, "status": 1},
        {"config_id": 2, "instance": null, "seed": 0, "budget": 9.0, "cost": 1.0, "time": 1.0, "status": 2},
    ]);
    let rows = json!([[1, null, 0, 9.0, 0.5, 1.0, 1, 0, 1, {}], [2, null, 0, 9.0, 1.0, 1.0, 2, 0, 1, {}]]);
    let success = json!({"__enum__": "StatusType.SUCCESS"});
    let crashed = json!({"__enum__": "StatusType.CRASHED"});
    let older = json!([
        [[1, null, 0, 9.0], [0.5, 1.0, success, 0, 1, {}]],
        [[2, null, 0, 9.0], [2147483647.0, 1.0, crashed, 0, 1, {}]],
    ]);
    let numbers = json!([[[1, null, 0, 9.0], [0.5, 1.0, 1, {}]], [[2, null, 0, 9.0], [1.0, 1.0, 3, {}]]]);
    for data in [newest, rows, older, numbers] {
        let source = of("smac", &json!({"data": data, "configs": configs}).to_string()).unwrap();
        assert_eq!(cells(&source, "status"), ["SUCCESS", "CRASHED"], "{data}");
        assert_eq!(
            (cells(&source, "cost")[0].as_str(), cells(&source, "config.op")),
            ("0.5", vec!["a".into(), "b".into()])
        );
        assert_eq!(source.only, [("status".into(), "SUCCESS".into()), ("budget".into(), "9.0".into())]);
    }
    let several = json!([{"config_id": 1, "seed": 0, "cost": [0.5, 3.0], "status": 1}]);
    let source = of("smac", &json!({"data": several, "configs": configs}).to_string()).unwrap();
    assert_eq!(
        (cells(&source, "cost_0"), cells(&source, "cost_1")),
        (vec!["0.5".into()], vec!["3.0".into()])
    );
    for (data, says) in [
        (json!([]), "it has no trial"),
        (json!([7]), "entry 1 of `data` is no trial: 7"),
        (json!([{"config_id": 9, "cost": 1.0, "status": 1}]), "lacks the configuration 9"),
    ] {
        let said = of("smac", &json!({"data": data, "configs": configs}).to_string()).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn batches_curves_and_newer_objectives_of_ax_are_read() {
    let arm = |name: &str, x: f64| json!({"name": name, "parameters": {"x": x, "op": null}});
    let data = |name: &str, rows: &[(&str, f64, Option<f64>)]| {
        let column = |cell: &dyn Fn(usize) -> Value| -> Value {
            (0..rows.len()).map(|i| (i.to_string(), cell(i))).collect::<serde_json::Map<_, _>>().into()
        };
        let frame = json!({
            "arm_name": column(&|i| rows[i].0.into()), "metric_name": column(&|_| name.into()),
            "mean": column(&|i| rows[i].1.into()), "trial_index": column(&|_| 0.into()),
            "step": column(&|i| rows[i].2.map_or(Value::Null, Value::from)),
        });
        json!({"__type": "Data", "df": {"__type": "DataFrame", "value": frame.to_string()}})
    };
    let curve = [("0_0", 0.9, Some(3.0)), ("0_0", 0.1, Some(1.0)), ("0_1", 0.4, Some(3.0))];
    let experiment = |batch: Value| {
        json!({
            "__type": "MultiTypeExperiment", "name": "", "search_space": {"parameters": []},
            "optimization_config": {"objective": {"__type": "Objective", "expression": "acc, -loss"}},
            "trials": {"0": {"__type": "BatchTrial", "status": {"name": "COMPLETED"}, "generator_runs": batch}},
            "data_by_trial": {"0": {"0": data("acc", &curve)}},
        })
        .to_string()
    };
    let runs = json!([{"arms": [arm("0_0", 0.5), arm("0_1", 1.0)]}]);
    let source = of("ax", &experiment(runs.clone())).unwrap();
    assert_eq!(cells(&source, "metric.acc"), ["0.9", "0.4"], "the last of a curve");
    assert_eq!(cells(&source, "parameter.op"), ["None", "None"]);
    let way = |metric: &str| source.known[&format!("metric.{metric}")].minimised;
    assert_eq!((way("acc"), way("loss"), source.name.as_deref()), (Some(false), Some(true), None));
    let structs = experiment(runs).replace("generator_runs", "unused").replace(
        "\"unused\":",
        "\"generator_run_structs\": [{\"generator_run\": {\"arms\": [{\"name\": \"0_0\", \"parameters\": {\"x\": 1}}]}}], \"unused\":",
    );
    assert_eq!(cells(&of("ax", &structs).unwrap(), "metric.acc"), ["0.9"]);
    assert!(
        of("ax", "{\"__type\": \"Experiment\", \"trials\": {}}").unwrap_err().contains("it has no trial")
    );
}

#[test]
fn several_files_are_one_table() {
    let (_one, first) = file("[{\"op\": \"a\", \"acc\": 1}]");
    let (_two, second) = file("{\"op\": \"b\", \"acc\": 2, \"note\": \"x\"}\n{\"op\": \"c\"}\n");
    let source = read("json", &[first, second], None, None).unwrap();
    assert_eq!(
        (cells(&source, "op"), cells(&source, "note")),
        (vec!["a".to_string(), "b".into(), "c".into()], vec![String::new(), "x".into(), String::new()],)
    );
    let said = of("json", "{\"op\": 1}\n[2]\n").unwrap_err();
    assert!(said.contains("line 2: it is no record"), "{said}");
}

#[test]
fn domains_that_changed_are_joined() {
    let numbers = |low, high, step, whole| Domain::Numbers { low, high, log: true, step, whole };
    assert_eq!(
        numbers(1.0, 4.0, Some(1.0), true).joined(numbers(2.0, 9.0, Some(1.0), true)),
        numbers(1.0, 9.0, Some(1.0), true)
    );
    assert_eq!(
        numbers(0.1, 0.5, Some(0.1), false).joined(numbers(0.2, 0.9, Some(0.1), false)),
        numbers(0.1, 0.9, None, false)
    );
    let choices = |values: &[&str]| Domain::Choices(values.iter().map(|v| Value::from(*v)).collect(), false);
    assert_eq!(choices(&["a", "b"]).joined(choices(&["b", "c"])), choices(&["a", "b", "c"]));
    assert_eq!(numbers(1.0, 4.0, None, false).including(0.5, 2.0), numbers(0.5, 4.0, None, false));
}
