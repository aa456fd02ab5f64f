//! End to end: `srnas compare` on a made-up benchmark, on the published tables, and with Optuna.

mod harness;

use harness::{Process, SOON, Setup, text};
use srnas_oracle::benchmark::{BenchmarkWriter, Direction, Fidelity, MetricInfo};
use srnas_space::SearchSpace;
use std::{
    env,
    path::PathBuf,
    process::{Command, Output},
};

fn json(out: &Output) -> serde_json::Value {
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_str(text(&out.stdout).trim()).unwrap()
}

#[test]
fn what_untrained_networks_say_is_known_where_it_is_asked_for() {
    let setup = Setup::new();
    let compare = |more: &[&str]| {
        let base =
            ["compare", "--past", "untrained", "--method", "transfer-gp", "--budget", "4", "--seeds", "1"];
        setup.output(&[&base[..], &["--out", "report"], more].concat())
    };
    let other = compare(&["--task", "nb201/made/other"]);
    assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
    assert!(
        text(&other.stderr).contains("names no metric that takes no training"),
        "{}",
        text(&other.stderr)
    );
    let digits = compare(&["--task", "digits/val/clean"]);
    assert!(digits.status.success(), "{}", text(&digits.stderr));
    let plan = std::fs::read_to_string(setup.path().join("report/plan.json")).unwrap();
    assert!(
        plan.contains("untrained of digits/val/clean: nwot, synflow, jacov, params, zen, snip, grad_norm"),
        "{plan}"
    );
}

#[test]
fn a_policy_is_compared_as_it_searches() {
    let setup = Setup::new();
    let out = setup.output(&["run", "--config", "run.toml", "--steps", "3000", "--run-dir", "out"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let searched = setup.output(&[
        "search",
        "--policy",
        "out",
        "--task-set",
        "foreign",
        "--budget",
        "12",
        "--seeds",
        "8",
        "--at",
        "4,12",
        "--json",
    ]);
    let last: serde_json::Value =
        serde_json::from_str(text(&searched.stdout).lines().last().unwrap()).unwrap();
    let compared = json(&setup.output(&[
        "compare",
        "--config",
        "run.toml",
        "--task-set",
        "foreign",
        "--method",
        "transfer-gp",
        "--method",
        "gp",
        "--method",
        "policy:out",
        "--budget",
        "4,12",
        "--seeds",
        "8",
        "--out",
        "report",
        "--json",
    ]));
    for at in ["4", "12"] {
        let alone = last["summary"]["normalised_regret"][at].as_f64().unwrap();
        let beside = compared["overall"][2]["normalised_regret"][at]["mean"].as_f64().unwrap();
        assert!((alone - beside).abs() < 1e-6, "after {at}: {alone} alone, {beside} compared");
    }
    let page = std::fs::read_to_string(setup.path().join("report/report.html")).unwrap();
    assert!(page.contains("\\u003csvg") && page.contains("Against policy:out"));
}

#[test]
fn a_run_says_who_is_ahead_while_it_trains() {
    let setup = Setup::new();
    let run =
        ["run", "--config", "run.toml", "--run-dir", "out", "--baseline", "random", "--baseline", "local"];
    let mut run = Process::start(setup.command(&run));
    let line = run.wait_for(&["held out after 25 queries", "policy 0.", "random 0.", "local 0."], SOON);
    // The best first, and on this smooth task that is not random search.
    let place = |method: &str| line.find(method).unwrap();
    assert!(place("policy 0.") < place("random 0."), "{line}");
    run.signal("-INT");
    assert_eq!(run.ends(SOON), Some(0));
    for (arguments, says) in [
        (&["--baseline", "lokal"][..], "did you mean `local`"),
        (&["--baseline", "local", "--deterministic", "--steps", "100"], "leave out --baseline"),
    ] {
        let refused =
            setup.output(&[&["run", "--config", "run.toml", "--run-dir", "other"], arguments].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(says), "{}", text(&refused.stderr));
    }
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let setup = Setup::new();
    let task = ["compare", "--task", "nb201/made/other", "--out", "report"];
    for (arguments, says) in [
        (&["--method", "lokal"][..], "did you mean `local`"),
        (&["--method", "evolution:populaton=5"], "did you mean `population`"),
        (&["--method", "random", "--method", "random"], "`random` is given twice"),
        (&["--budget", "20000"], "more than the"),
        (&["--budget", "0"], "from 1 on"),
        (&["--report", "nothing"], "nothing"),
        (&["--method", "random", "--against", "local"], "not one of the methods compared"),
        (&["--objectives", "nb201/made/other"], "give two or more"),
        (&["--method", "transfer-gp"], "needs past tasks"),
    ] {
        let out = setup.output(&[&task[..], arguments].concat());
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(says), "{arguments:?}: {}", text(&out.stderr));
        assert!(!setup.path().join("report").exists(), "{arguments:?} wrote something");
    }
    let nothing = setup.output(&["compare", "--out", "report"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("nothing to compare on"));
}

/// A benchmark of the whole nb201 space with shorter trainings, of which the times are recorded, and times that are none.
fn write_timed(setup: &Setup) {
    let space = SearchSpace::named("nb201").unwrap();
    let mut architectures = Vec::new();
    for rank in 0..space.size().unwrap() {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        architectures.extend(choices);
    }
    let of = |worth: [f32; 5]| -> Vec<f32> {
        architectures.chunks_exact(6).map(|c| c.iter().map(|&c| worth[c as usize]).sum()).collect()
    };
    let mut writer =
        BenchmarkWriter::new("timed", &space, architectures.clone(), "made up by a test", "none");
    let hours = |hours: f32| -> Vec<f32> {
        of([1.0, 1.2, 2.0, 3.0, 1.1]).iter().map(|h| 3600.0 * hours * h).collect()
    };
    let one_of = |odd: f32| -> Vec<f32> { [odd].into_iter().chain(hours(1.0).into_iter().skip(1)).collect() };
    for (name, unit, values) in [
        ("d/val", "%", of([0.0, 6.0, 8.0, 10.0, 3.0])),
        ("d/val_12", "%", of([0.0, 5.0, 7.0, 6.0, 3.0])),
        ("d/time", "s", hours(1.0)),
        ("d/time_12", "s", hours(0.125)),
        ("d/negative", "s", one_of(-1.0)),
        ("d/unknown", "s", one_of(f32::NAN)),
    ] {
        let info = MetricInfo {
            unit: unit.into(),
            direction: if unit == "s" { Direction::Minimise } else { Direction::Maximise },
            description: "made up".into(),
        };
        writer.metric(name, info, 1, &values);
    }
    for (metric, of) in [("d/val_12", "d/val"), ("d/time_12", "d/time")] {
        writer.fidelity(Fidelity {
            metric: metric.into(),
            of: of.into(),
            unit: "epochs".into(),
            amount: 12,
            full: 200,
        });
    }
    writer.write(&setup.path().join("bench/timed.safetensors")).unwrap();
}

#[test]
fn workers_search_by_the_recorded_times() {
    let setup = Setup::new();
    write_timed(&setup);
    let column = "column:d/time*1";
    let compare = |out: &str, rest: &[&str]| {
        let head = ["compare", "--task", "timed/d/val", "--budget", "5,15", "--seeds", "3", "--out", out];
        setup.output(&[&head[..], rest].concat())
    };
    let methods = ["--method", "asha", "--method", "halving", "--method", "local"];
    let simulated = ["--workers", "4", "--simulate-latency", column];
    let all = [&methods[..], &simulated, &["--json"]].concat();
    let clock = &json(&compare("report", &all))["clock"];
    assert_eq!((clock["unit"].as_str(), clock["times"].as_array().unwrap().len()), (Some("hours"), 4));
    let of = |m: usize, key: &str| clock["methods"][m][key].as_f64().unwrap();
    assert_eq!([0, 1, 2].map(|m| of(m, "workers")), [4.0, 4.0, 1.0]);
    assert!(of(0, "busy") > of(1, "busy"), "ASHA does not wait: {clock}");
    // Each query of the results took its recorded time.
    let results = std::fs::read_to_string(setup.path().join("report/results.csv")).unwrap();
    let rows: Vec<Vec<&str>> = results.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for row in &rows {
        let number = |from_the_end: usize| row[row.len() - from_the_end].parse::<f64>().unwrap();
        let (cost, took) = (number(4), number(1) - number(2));
        let hour = if cost < 1.0 { 450.0 } else { 3600.0 };
        assert!((6.0 * hour - 0.1..18.0 * hour + 0.1).contains(&took), "{row:?}");
    }
    assert!(rows.iter().any(|row| row[row.len() - 2] != "1.0000"));
    // The same again is the same, and another clock is another comparison.
    let again = json(&compare("report", &all));
    assert_eq!(&again["clock"], clock);
    let other = compare("report", &methods);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("`clock` differs"), "{}", text(&other.stderr));

    let two = ["--task", "nb201/made/other", "--method", "random"];
    let objectives = ["--objectives", "timed/d/{val,time}", "--method", "random"];
    for (arguments, says) in [
        (&["--workers", "0"][..], "0 is not in 1.."),
        (&["--simulate-latency", "20"], "not a time"),
        (&["--simulate-latency", "0s"], "would take any time"),
        (&["--simulate-latency", "column:d/time*1e-15"], "would take any time"),
        (&["--simulate-latency", "column:d/tiem*1"], "did you mean `d/time`"),
        (&["--simulate-latency", "column:d/val*1"], "in `%`, not in seconds"),
        (&["--simulate-latency", "column:d/negative*1"], "is -1, which is no time"),
        (&["--simulate-latency", "column:d/unknown*1"], "is not known for"),
        (&[&two[..], &["--simulate-latency", column]].concat(), "the tasks are on `timed` and `nb201`"),
    ] {
        let refused = compare("refused", arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(says), "{arguments:?}: {}", text(&refused.stderr));
        assert!(!setup.path().join("refused").exists(), "{arguments:?} wrote something");
    }
    let several = compare("several", &[&objectives[..], &simulated].concat());
    assert!(several.status.success(), "{}", text(&several.stderr));
    assert!(text(&several.stdout).contains("wall clock"), "{}", text(&several.stdout));
}

#[test]
fn what_is_minimised_keeps_its_sign_and_an_option_without_effect_is_refused() {
    let setup = Setup::new();
    write_timed(&setup);
    // Hours of the cells: from 6 of one choice six times to 18.
    let (least, most) = (6.0 * 3600.0, 18.0 * 3600.0);
    let within = |value: &serde_json::Value| {
        let value = value.as_f64().unwrap();
        assert!((least - 1.0..=most + 1.0).contains(&value), "{value}");
    };
    let report = json(&setup.output(&[
        "compare",
        "--task",
        "timed/d/time",
        "--count",
        "strings",
        "--method",
        "random",
        "--method",
        "local",
        "--budget",
        "5,10",
        "--seeds",
        "3",
        "--out",
        "report",
        "--json",
    ]));
    let problem = &report["problems"][0];
    assert_eq!((&problem["minimise"], problem["best"].as_f64()), (&true.into(), Some(least)), "{problem}");
    within(&problem["median"]);
    for method in 0..2 {
        let incumbent = |at: &str| problem["methods"][method]["incumbent"][at]["mean"].clone();
        within(&incumbent("5"));
        assert!(incumbent("10").as_f64() <= incumbent("5").as_f64(), "less is better: {problem}");
        assert!(problem["methods"][method]["regret"]["10"]["mean"].as_f64().unwrap() >= 0.0);
    }
    let results = std::fs::read_to_string(setup.path().join("report/results.csv")).unwrap();
    for line in results.lines().skip(1) {
        within(&line.split(',').nth(5).unwrap().parse::<f64>().unwrap().into());
    }
    let page = std::fs::read_to_string(setup.path().join("report/report.html")).unwrap();
    assert!(page.contains("best 21600.00") && !page.contains("-21600"));

    let front = setup.output(&[
        "compare",
        "--objectives",
        "timed/d/{val,time}",
        "--method",
        "random",
        "--budget",
        "5",
        "--seeds",
        "2",
        "--out",
        "front",
    ]);
    assert!(front.status.success(), "{}", text(&front.stderr));
    let page = std::fs::read_to_string(setup.path().join("front/report.html")).unwrap();
    assert!(page.contains("more timed/d/val and less timed/d/time is better"), "{page}");

    let compare = |rest: &[&str]| {
        let head = ["compare", "--task", "timed/d/val", "--budget", "5", "--seeds", "2", "--out", "refused"];
        setup.output(&[&head[..], rest].concat())
    };
    for (arguments, says) in [
        (&["--method", "random", "--past", "timed/d/time"][..], "--past and --past-set have no effect"),
        (&["--method", "two-phase", "--past", "timed/d/time"], "--past and --past-set have no effect"),
        (&["--method", "two-phase:past=all"], "needs past tasks"),
        (&["--method", "two-phase:past=all", "--past", "nosuch/x/y"], "nosuch"),
        (&["--method", "random", "--past", "nosuch/x/y"], "have no effect"),
    ] {
        let refused = compare(arguments);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(text(&refused.stderr).contains(says), "{arguments:?}: {}", text(&refused.stderr));
        assert!(!setup.path().join("refused").exists(), "{arguments:?} wrote something");
    }
    let several = ["compare", "--objectives", "timed/d/{val,time}", "--report", "time", "--out", "refused"];
    let refused = setup.output(&several);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--report has no effect"), "{}", text(&refused.stderr));
    // A past counts without transfer-gp beside: other architectures are asked for.
    let with = |past: &[&str], out: &str| {
        let head =
            ["compare", "--task", "timed/d/val", "--budget", "10", "--seeds", "4", "--json", "--out", out];
        let report = json(&setup.output(&[&head[..], past].concat()));
        report["overall"][0]["normalised_regret"]["10"]["mean"].as_f64().unwrap()
    };
    let known = with(&["--method", "two-phase:past=all", "--past", "timed/d/time"], "with");
    let unknown = with(&["--method", "two-phase"], "without");
    assert_ne!(known, unknown, "the past changes nothing");
}

#[test]
fn within_limits_the_best_of_a_table_is_the_best_that_keeps_them() {
    let setup = Setup::new();
    write_timed(&setup);
    let space = SearchSpace::named("nb201").unwrap();
    let mut choices = vec![0; space.len()];
    // Brute force: the most of what takes no more than eight hours. Every choice counts for itself.
    let all = (0..space.size().unwrap()).map(|rank| {
        space.unrank(rank, &mut choices);
        let sum = |worth: [f32; 5]| choices.iter().map(|&c| worth[c as usize]).sum::<f32>();
        (sum([0.0, 6.0, 8.0, 10.0, 3.0]), sum([1.0, 1.2, 2.0, 3.0, 1.1]))
    });
    let kept: Vec<f32> = all.filter(|(_, hours)| *hours <= 8.0).map(|(value, _)| value).collect();
    let best = kept.iter().copied().fold(f32::MIN, f32::max);
    let compare = |objectives: &[&str], rest: &[&str], out: &str| {
        let head = ["compare", "--count", "strings", "--seeds", "4", "--json", "--out", out];
        setup.output(&[&head[..], objectives, rest].concat())
    };
    let methods =
        ["--method", "random", "--method", "nsga2:population=10", "--method", "linas:population=10"];
    let methods = [&methods[..], &["--method", "mobo"]].concat();
    let limit = ["--require", "time <= 28800", "--budget", "10,60"];
    let report = json(&compare(&["--task", "timed/d/val"], &[&limit[..], &methods].concat(), "one"));
    let problem = &report["problems"][0];
    assert_eq!(problem["best"].as_f64(), Some(f64::from(best)), "{problem}");
    assert_eq!(problem["feasible"]["known"], kept.len(), "{problem}");
    assert!(f64::from(best) < 60.0, "the limit excludes nothing");
    let at =
        |method: usize, n: &str| problem["methods"][method]["normalised_regret"][n]["mean"].as_f64().unwrap();
    for method in 0..4 {
        // Nothing that breaks the limit is ever an incumbent.
        assert!(at(method, "60") >= 0.0 && at(method, "60") <= at(method, "10"), "{problem}");
    }
    assert!(at(3, "60") < at(0, "60"), "mobo is no better than random search: {problem}");
    // The same command goes on with what is there, another limit does not.
    let again = compare(&["--task", "timed/d/val"], &[&limit[..], &methods].concat(), "one");
    assert_eq!(json(&again), report);
    let other = ["--require", "time <= 30000", "--budget", "10,60"];
    let refused = compare(&["--task", "timed/d/val"], &[&other[..], &methods].concat(), "one");
    assert!(text(&refused.stderr).contains("holds another comparison"), "{}", text(&refused.stderr));
    // Known without training, it is a smaller space, where every method can search and nothing beyond is paid for.
    let within =
        ["--within", "time <= 28800", "--budget", "10,60", "--method", "local", "--method", "universal"];
    let known = json(&compare(&["--task", "timed/d/val"], &within, "within"));
    let problem = &known["problems"][0];
    assert_eq!(problem["best"].as_f64(), Some(f64::from(best)), "{problem}");
    for method in 0..2 {
        let regret = &problem["methods"][method]["normalised_regret"];
        let at = |n: &str| regret[n]["mean"].as_f64().unwrap();
        assert!((0.0..=at("10")).contains(&at("60")), "{problem}");
    }
    let front = json(&compare(&["--objectives", "timed/d/{val,time}"], &within[..4], "within-two"));
    assert_eq!(front["problems"][0]["methods"].as_array().map(Vec::len), Some(4), "{front}");
    let refused = compare(
        &["--task", "timed/d/val"],
        &["--require", "time <= 28800", "--budget", "10,60"],
        "within-two",
    );
    assert!(text(&refused.stderr).contains("holds another comparison"), "{}", text(&refused.stderr));
    // A program is told of limits, too.
    std::fs::write(setup.path().join("solver.py"), LIMITED).unwrap();
    let program = ["--method", "cmd:python3 solver.py", "--require", "time <= 28800", "--budget", "5"];
    let report = json(&compare(&["--task", "timed/d/val"], &program, "program"));
    assert_eq!(report["problems"][0]["methods"][0]["failed"], serde_json::json!({}), "{report}");
    let front =
        json(&compare(&["--objectives", "timed/d/{val,time}"], &[&limit[..], &methods].concat(), "two"));
    assert_eq!(front["problems"][0]["feasible"]["known"], kept.len());
    // What a limit leaves is all the same.
    let refused = compare(&["--task", "timed/d/val"], &["--require", "val <= 0"], "refused");
    assert!(
        text(&refused.stderr).contains("keep every limit, and these are all equal"),
        "{}",
        text(&refused.stderr)
    );
    for (arguments, says) in [
        (["--require", "time <= 60"], "the loosest that some keep alone: time <= 21600"),
        (["--require", "times <= 60"], "did you mean `d/time`"),
        (["--require", "time < 60"], "is no limit"),
        (["--within", "time <= 60"], "the loosest that some keep alone: time <= 21600"),
        (["--within", "times <= 60"], "did you mean `d/time`"),
        (["--within", "val <= 0"], "and these are all equal"),
    ] {
        let refused = compare(&["--task", "timed/d/val"], &arguments, "refused");
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(text(&refused.stderr).contains(says), "{arguments:?}: {}", text(&refused.stderr));
    }
}

/// A solver that dies where it is told anything but one objective and one limit, of which the start may break the limit.
const LIMITED: &str = r#"
import json, random, sys

for line in sys.stdin:
    said = json.loads(line)
    if said["type"] == "space":
        decisions, rng = said["decisions"], random.Random(said["seed"])
        assert said["objectives"] == 1 and said["limits"] == 1, said
    elif said["type"] == "tell":
        value, slack = said["values"]
        assert value <= 60 and slack <= 28800 - 21600, said
    elif said["type"] == "ask":
        print(json.dumps({"architecture": [rng.choice(d["choices"]) for d in decisions]}), flush=True)
    elif said["type"] == "end":
        break
"#;

/// The published tables as a benchmark; `None`, said so, where they are not at hand.
fn published(setup: &Setup) -> Option<()> {
    let Some(sources) = env::var_os("SRNAS_BENCH_SOURCES").map(PathBuf::from) else {
        eprintln!("skipped: SRNAS_BENCH_SOURCES names no folder of published tables");
        return None;
    };
    // In place of the made-up one.
    std::fs::remove_dir_all(setup.path().join("bench")).unwrap();
    let folder = sources.join("nasbench201");
    let robustness = sources.join("robustness");
    let imported = setup.output(&[
        "bench",
        "--bench-dir",
        "bench",
        "import",
        "nasbench201",
        folder.to_str().unwrap(),
        robustness.to_str().unwrap(),
        sources.join("hw").to_str().unwrap(),
    ]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    Some(())
}

/// Fewer seeds than docs/results.md has, and wider bands.
#[test]
fn published_figures_are_met_on_the_published_table() {
    let setup = Setup::new();
    let Some(()) = published(&setup) else { return };
    let evolution = "evolution:population=50,tournament=10";
    let methods = ["--method", "random", "--method", evolution, "--method", "local", "--method", "ridge"];
    let compare = |task: &str, rest: &[&str]| {
        let head = ["compare", "--task", task, "--count", "strings", "--seeds", "60", "--json", "--out"];
        json(&setup.output(&[&head[..], rest, &methods].concat()))
    };
    let cifar10 = compare("nb201/cifar10/val", &["a", "--report", "test", "--budget", "50,100,150"]);
    let accuracy = |method: usize, at: &str| {
        cifar10["problems"][0]["methods"][method]["incumbent"][at]["mean"].as_f64().unwrap()
    };
    for (at, published) in [("50", 93.62), ("100", 93.75), ("150", 93.81)] {
        assert!((accuracy(0, at) - published).abs() < 0.15, "random after {at}: {}", accuracy(0, at));
    }
    for method in 1..4 {
        assert!(accuracy(method, "150") > 94.1, "{method}: {}", accuracy(method, "150"));
    }
    let cifar100 = compare("nb201/cifar100/val", &["b", "--budget", "300"]);
    let queries = |method: usize| {
        cifar100["problems"][0]["methods"][method]["median_queries_to_optimum"].as_f64().unwrap()
    };
    assert!((queries(1) - 138.0).abs() < 30.0, "evolution: {}", queries(1));
    assert!((queries(2) - 57.0).abs() < 18.0, "local: {}", queries(2));

    let other = ["compare", "--task", "nb201/cifar10/val", "--report", "edgegpu_latency", "--out", "c"];
    let units = setup.output(&other);
    assert_eq!(units.status.code(), Some(2));
    assert!(
        text(&units.stderr).contains("report a metric in the unit that is searched"),
        "{}",
        text(&units.stderr)
    );
}

#[test]
fn optuna_searches_by_the_lines_of_anybody() {
    let python = env::var("OPTUNA_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import optuna"]).output();
    if !there.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: {python} has no optuna (pip install optuna; OPTUNA_PYTHON names another python)");
        return;
    }
    let setup = Setup::new();
    let solver = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/optuna_solver.py");
    let method = format!("cmd:{python} {solver} --sampler tpe");
    let compared = json(&setup.output(&[
        "compare",
        "--task",
        "nb201/made/other",
        "--method",
        "random",
        "--method",
        &method,
        "--budget",
        "10,40",
        "--seeds",
        "4",
        "--out",
        "report",
        "--json",
    ]));
    let tpe = &compared["problems"][0]["methods"][1];
    assert_eq!(tpe["searches"], 4, "{tpe}");
    let regret =
        |m: usize, at: &str| compared["overall"][m]["normalised_regret"][at]["mean"].as_f64().unwrap();
    assert!(regret(1, "40") < regret(1, "10"));
    assert!(regret(1, "40") < regret(0, "40"), "TPE finds more than chance");
}
