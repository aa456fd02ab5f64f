//! Weights that networks inherit, as a person asks for them.

use super::{command, output};
use crate::harness::{Process, text};
use std::{path::Path, time::Duration};
use tempfile::TempDir;

const SMALL: &str = "[recipe]\nscale = { width = 4, stages = 2, cells = 1 }\nepochs = 4\nbatch = 64\n";

/// Without the times that trainings took and would take.
fn measurements(run: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(run.join("measurements.csv")).unwrap();
    let mut rows = table.lines().map(|row| row.split(',').map(String::from).collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let wanted =
        |name: &String| ["inherited/", "val/", "test/"].iter().any(|begins| name.starts_with(begins));
    let places: Vec<usize> = (0..names.len()).filter(|&at| wanted(&names[at])).collect();
    assert!(names.iter().any(|name| name == "inherited/edits"), "{names:?}");
    // A quoted architecture may have commas: metrics are counted from the end.
    rows.map(|row| {
        places.iter().map(|&at| row[row.len() - (names.len() - at)].clone()).collect::<Vec<_>>().join(",")
    })
    .collect()
}

#[test]
fn a_search_with_inherited_weights_is_killed_and_goes_on() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    std::fs::write(path.join("small.toml"), SMALL).unwrap();
    let begin = |run: &'static str| -> Vec<&'static str> {
        let search = ["search", "--oracle", "train", "--data", "digits", "--recipe", "small.toml"];
        let how =
            ["--method", "path-level:reward=percent", "--inherit", "2", "--parallel", "1", "--budget", "12"];
        [&search[..], &how, &["--run-dir", run]].concat()
    };
    let whole = output(path, &begin("whole"));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let expected = measurements(&path.join("whole"));
    assert_eq!(expected.len(), 12);
    let mut killed = Process::start(command(path, &begin("killed")));
    killed.wait_for(&["4 measured"], Duration::from_secs(120));
    killed.kill();
    let resumed =
        output(path, &["search", "--resume", "--run-dir", "killed", "--parallel", "1", "--budget", "12"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let found = measurements(&path.join("killed"));
    assert_eq!((found.len(), &found[..4]), (12, &expected[..4]));
    let kept = std::fs::read_dir(path.join("killed/trainings")).unwrap();
    let kept = kept.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json"));
    assert_eq!(kept.count(), 12, "all may be inherited from");
}

#[test]
fn what_cannot_inherit_is_refused_and_what_is_saved_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    std::fs::write(path.join("small.toml"), SMALL).unwrap();
    let train =
        ["search", "--oracle", "train", "--data", "digits", "--recipe", "small.toml", "--run-dir", "s"];
    for (arguments, says) in [
        ([&train[..], &["--inherit", "4"]].concat(), "from the beginning has 4 epochs"),
        ([&train[..], &["--inherit", "2", "--fidelity", "epochs=2,4"]].concat(), "leave out --fidelity"),
        (
            vec!["search", "--oracle", "shared", "--data", "digits", "--inherit", "2", "--run-dir", "s"],
            "--inherit goes with --oracle train",
        ),
        (vec!["space", "inherit", "nb101", "--recipe", "small.toml"], "networks of nb101 have no edits"),
    ] {
        let out = output(path, &arguments);
        assert!(out.status.code() == Some(2) && text(&out.stderr).contains(says), "{}", text(&out.stderr));
    }
    assert!(!path.join("s").exists());
    let inherit = ["space", "inherit", "nb201", "--recipe", "small.toml", "--pairs", "3", "--json"];
    let said = output(path, &inherit);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let lines: Vec<serde_json::Value> =
        text(&said.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    for pair in &lines[..3] {
        assert!(pair["change"].as_f64().unwrap() <= 1e-5, "{pair}");
        assert_eq!(pair["accuracy"]["inherited"].as_array().unwrap().len(), 2, "{pair}");
    }
    assert_eq!(lines[3]["summary"]["pairs"], 3);
    let again = output(path, &inherit);
    assert_eq!(text(&again.stdout), text(&said.stdout));
}
