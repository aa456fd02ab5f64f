//! Students that are trained while they are searched, within a budget that is known beforehand.

use crate::harness::{failure, output, text};
use serde_json::Value;
use std::{fs, path::Path};
use tempfile::TempDir;

const RECIPE: &str = r#"
[recipe]
scale = { width = 2, stages = 3, cells = 1 }
epochs = 1
batch = 64
adversarial = { trades = { attack = { epsilon = "24/255", steps = 1 }, beta = 6.0 } }
[questions]
robustness = { epsilon = ["16/255"], attacks = ["fgsm"], images = 64 }
"#;
const SPACE: &str = "wrn-compress-22-3-basic";
const WITHIN: &str = "cost/multiply_adds <= 50%";
/// Multiply-adds of WRN-16-2 on 8×8 pixels with two channels in the first stage at width 1.
const TEACHER: f64 = 104_864.0;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
    folder
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base =
        ["search", "--oracle", "train", "--space", SPACE, "--data", "digits", "--recipe", "recipe.toml"];
    [&base[..], &["--maximise", "val/worst@16"], more].concat()
}

/// What was trained, from the report's table.
fn trained(run: &Path) -> Vec<(String, f64)> {
    let mut table = csv::Reader::from_path(run.join("measurements.csv")).unwrap();
    let headers = table.headers().unwrap().clone();
    let place = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (architecture, cost) = (place("architecture"), place("cost/multiply_adds"));
    let rows = table.records().map(|row| {
        let row = row.unwrap();
        (row[architecture].to_string(), row[cost].parse().unwrap())
    });
    rows.collect()
}

#[test]
fn what_breaks_the_budget_is_never_proposed_whoever_searches() {
    let folder = folder();
    let part = ["--within", WITHIN, "--teacher", "WRN-16-2"];
    let keeps = |run: &str, many: usize| {
        let all = trained(&folder.path().join(run));
        assert_eq!(all.len(), many, "{run}");
        for (architecture, cost) in all {
            assert!(cost <= 0.5 * TEACHER, "{run}: {architecture} {cost}");
            let large = ["depth1=3", "depth2=3", "depth3=3", "width1=3x", "width2=3x", "width3=3x"];
            assert!(!large.iter().any(|part| architecture.contains(part)), "{run}: {architecture}");
        }
    };
    let methods = ["rc-nas", "uniform-scaling", "evolution:population=4,tournament=2", "gp", "local"];
    for (run, method) in ["a", "b", "c", "d", "e"].into_iter().zip(methods) {
        let out = output(
            folder.path(),
            &arguments(&[&part[..], &["--budget", "8", "--method", method, "--run-dir", run]].concat()),
        );
        assert!(out.status.success(), "{method}: {}", text(&out.stderr));
        keeps(run, 8);
    }
    // The predictor, and then further, without saying it again.
    let out = output(folder.path(), &arguments(&[&part[..], &["--budget", "6", "--run-dir", "p"]].concat()));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let config = fs::read_to_string(folder.path().join("p/config.toml")).unwrap();
    assert!(config.contains("within = [\"cost/multiply_adds <= 50%\"]"), "{config}");
    let page = fs::read_to_string(folder.path().join("p/report.html")).unwrap();
    assert!(page.contains("of the teacher"), "the report says within what");
    let go_on = ["search", "--resume", "--run-dir", "p", "--budget"];
    let out = output(folder.path(), &[&go_on[..], &["9"]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    keeps("p", 9);
    for other in [["--within", "cost/multiply_adds <= 60%"], ["--teacher", "WRN-16-3"]] {
        let (code, said) = failure(&output(folder.path(), &[&go_on[..], &["10"], &other].concat()));
        assert!(code == 2 && said.contains(other[0]) && said.contains("cannot change"), "{said}");
    }
    // Above the teacher students may be deeper.
    let more =
        ["--within", "cost/parameters <= 300%", "--teacher", "WRN-10-1", "--method", "uniform-scaling"];
    let out = output(folder.path(), &arguments(&[&more[..], &["--budget", "3", "--run-dir", "g"]].concat()));
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(trained(&folder.path().join("g")).iter().any(|(architecture, _)| architecture.contains("=2")));
}

#[test]
fn methods_are_compared_within_a_budget() {
    let folder = folder();
    let mut compare = arguments(&["--within", WITHIN, "--method", "rc-nas", "--method", "random"]);
    compare[0] = "compare";
    compare.extend(["--budget", "4", "--seeds", "2", "--out", "r"]);
    let out = output(folder.path(), &compare);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("r/plan.json")).unwrap()).unwrap();
    assert!(summary["limits"].to_string().contains("known without training"), "{summary}");
    let other: Vec<&str> =
        compare.iter().map(|part| if *part == WITHIN { "cost/multiply_adds <= 60%" } else { part }).collect();
    assert_eq!(failure(&output(folder.path(), &other)).0, 2, "another comparison");
}

#[test]
fn what_nothing_keeps_is_refused_before_anything_is_trained() {
    let folder = folder();
    let large = "stem_stride=1,depth1=3,width1=3x,depth2=3,width2=3x,depth3=3,width3=3x";
    fs::write(folder.path().join("known.jsonl"), format!("{{\"architecture\": \"{large}\"}}\n")).unwrap();
    let smallest =
        "the smallest network of wrn-compress-22-3-basic (stem stride 2, depths 1 1 1, widths 1 1 1) has ";
    for (more, says) in [
        (&["--within", "cost/multiply_adds <= 1%"][..], smallest),
        (&["--within", "cost/multiply_adds <= 1000"], smallest),
        (&["--within", "cost/latency_ms <= 1"], "cost/latency_ms is not known without training"),
        (&["--within", "cost/multiply_adds < 50%"], "is no limit"),
        (&["--teacher", "WRN-28-3"], "the depth of stage 1 is 4, and the teacher's is 3"),
        (&["--teacher", "WRN-16-2", "--start", "known.jsonl"], "it is larger than the teacher"),
        (
            &["--within", WITHIN, "--start", "known.jsonl"],
            "--within 'cost/multiply_adds <= 50% of the teacher's': it has",
        ),
    ] {
        let (code, said) = failure(&output(
            folder.path(),
            &arguments(&[more, &["--budget", "2", "--run-dir", "s"]].concat()),
        ));
        assert!(code == 2 && said.contains(says), "{more:?}: {code} {said}");
        assert!(!folder.path().join("s").exists(), "{more:?} left something behind");
    }
    let cells = [
        "search",
        "--oracle",
        "train",
        "--data",
        "digits",
        "--budget",
        "2",
        "--within",
        "cost/parameters <= 900",
    ];
    let (code, said) = failure(&output(folder.path(), &cells));
    assert!(code == 2 && said.contains("--require what a training finds"), "{said}");
    let program = ["search", "--oracle", "cmd:true", "--space", SPACE, "--maximise", "x", "--within", WITHIN];
    let (code, said) = failure(&output(folder.path(), &program));
    assert!(code == 2 && said.contains("--within and --teacher go with --oracle train"), "{said}");
}
