//! Comparisons on a made-up table: the protocol, what is remembered, what is refused, what is written.

use srnas_config::Latency;
use srnas_oracle::{catalog::Catalog, simulated::Delays};
use srnas_search::{
    Clock, Comparison, ComparisonError, Durations, MethodSpec, Outcome, Plan, Problem, report,
};
use srnas_space::{Conditional, Decision, SearchSpace};
use srnas_task::{Count, Task};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;

fn space() -> Arc<SearchSpace> {
    let decisions = (0..5).map(|d| Decision::new(format!("d{d}"), &["a", "b", "c"])).collect();
    Arc::new(Conditional::space("made-up", decisions, vec![]).unwrap())
}

/// A table of 243 architectures by a weight for each decision.
fn task(name: &str, weights: [f32; 5]) -> Arc<Task> {
    let space = space();
    let mut choices = vec![0; 5];
    let values = (0..243).map(|rank| {
        space.unrank(rank, &mut choices);
        choices.iter().zip(weights).map(|(&c, w)| w * f32::from(c)).sum::<f32>()
            + 0.01 * (rank as f32 * 1.7).sin()
    });
    let values: Vec<f32> = values.collect();
    Arc::new(Task::new(name, name, space.clone(), values, Count::Strings).unwrap())
}

fn single(name: &str, weights: [f32; 5]) -> Problem {
    Problem::on(name, "%", vec![task(name, weights)])
}

fn several() -> Problem {
    let tasks = vec![task("b/d/x", [1.0, 0.5, 0.2, 0.1, 0.4]), task("b/d/y", [-1.0, 0.5, -0.3, 0.2, -0.2])];
    Problem::on("b/d/x & b/d/y", "", tasks)
}

fn comparison(dir: &Path, methods: &[&str], problems: Vec<Problem>, budget: usize) -> Comparison {
    let plan = Plan {
        software: "test".into(),
        methods: methods.iter().map(|m| (*m).to_string()).collect(),
        problems: problems.iter().map(|p| p.signals.iter().map(|t| t.name().into()).collect()).collect(),
        limits: vec![],
        report: problems.iter().map(|p| p.report.name().into()).collect(),
        count: Count::Strings,
        budgets: vec![5, budget],
        seeds: 6,
        seed: 1,
        past: vec![],
        clock: Default::default(),
        content: BTreeMap::new(),
    };
    let methods: Vec<MethodSpec> = methods.iter().map(|m| m.parse().unwrap()).collect();
    Comparison::new(plan, methods, problems, vec![], dir).unwrap()
}

/// The same with trainings of very different lengths on simulated workers.
fn simulated(dir: &Path, methods: &[&str], workers: usize) -> Comparison {
    let plain = comparison(dir, methods, two(), 20);
    let latency: Latency = "lognormal:2h:0.8".parse().unwrap();
    let durations = Durations::new(Delays::new(&latency, &[], &Catalog::new(None), 0).unwrap());
    let plan = Plan { clock: Clock { workers, latency: Some(latency) }, ..plain.plan().clone() };
    let methods = methods.iter().map(|m| m.parse().unwrap()).collect();
    Comparison::new(plan, methods, two(), vec![], dir).unwrap().lasting(vec![durations; 2])
}

fn run(comparison: &Comparison) -> Result<Vec<Vec<Outcome>>, ComparisonError> {
    comparison.run(&CancellationToken::new(), &|_| {})
}

fn written(comparison: &Comparison, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let outcomes = run(comparison).unwrap();
    report::write(
        dir,
        comparison.plan(),
        comparison.problems(),
        &outcomes,
        comparison.plan().methods.len() - 1,
    )
    .unwrap();
    let mut files = BTreeMap::new();
    for folder in [dir.to_path_buf(), dir.join("plots")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.insert(path.strip_prefix(dir).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn two() -> Vec<Problem> {
    vec![single("b/d/x", [1.0, 0.5, 0.2, 0.1, 0.4]), single("b/d/y", [0.1, 0.9, 0.3, -0.5, 0.2])]
}

#[test]
fn all_methods_of_a_seed_share_their_start_and_the_same_comparison_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let methods = ["random", "local", "evolution:population=8,tournament=3", "ridge"];
    let first = comparison(&a, &methods, two(), 30);
    let outcomes = run(&first).unwrap();
    for problem in &outcomes {
        for seed in 0..6 {
            let starts: Vec<&[u8]> =
                problem.iter().map(|m| m[seed].as_ref().unwrap()[0].choices.as_slice()).collect();
            assert!(starts.iter().all(|s| *s == starts[0]));
            assert!(problem.iter().all(|m| m[seed].as_ref().unwrap().len() == 30));
        }
        assert_ne!(problem[0][0].as_ref().unwrap()[0], problem[0][1].as_ref().unwrap()[0]);
    }
    let files = written(&first, &a);
    assert_eq!(files, written(&comparison(&b, &methods, two(), 30), &b));
    for name in ["plan.json", "searches.jsonl", "results.csv", "summary.json", "summary.md", "report.html"] {
        assert!(files.contains_key(name), "{name}");
    }
    assert!(files.contains_key("plots/regret.svg") && files.contains_key("plots/ranks.svg"));
    let rows = String::from_utf8(files["results.csv"].clone()).unwrap();
    assert_eq!(rows.lines().count(), 1 + 2 * 4 * 6 * 30);
    assert_eq!(
        rows.lines().next().unwrap(),
        "method,task,seed,query,architecture,incumbent,regret,cost,spent"
    );
}

#[test]
fn an_interrupted_comparison_goes_on_and_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let methods = ["random", "gp"];
    let whole = written(&comparison(&a, &methods, two(), 20), &a);
    // Stopped after some searches, the last line cut short by a kill.
    let stopped = comparison(&b, &methods, two(), 20);
    let stop = CancellationToken::new();
    let interrupted = stopped.run(&stop, &|done| {
        if done >= 7 {
            stop.cancel();
        }
    });
    assert!(matches!(interrupted, Err(ComparisonError::Stopped)));
    let journal = b.join("searches.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines = text.lines().filter(|l| !l.is_empty()).count();
    assert!((7..24).contains(&lines), "{lines}");
    fs::write(&journal, &text[..text.len() - 9]).unwrap();
    assert_eq!(written(&comparison(&b, &methods, two(), 20), &b), whole);
}

#[test]
fn a_simulated_clock_is_kept_reported_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let methods = ["random", "local", "evolution:population=8", "gp"];
    let whole = written(&simulated(&a, &methods, 4), &a);
    let stop = CancellationToken::new();
    let after_nine = |done| {
        if done >= 9 {
            stop.cancel()
        }
    };
    assert!(matches!(simulated(&b, &methods, 4).run(&stop, &after_nine), Err(ComparisonError::Stopped)));
    assert_eq!(written(&simulated(&b, &methods, 4), &b), whole);

    let text = |name: &str| String::from_utf8(whole[name].clone()).unwrap();
    assert!(text("plan.json").contains(r#""latency": "lognormal:2h:0.8""#));
    assert!(text("searches.jsonl").lines().all(|line| line.contains(r#""times":[["#)));
    assert!(text("results.csv").lines().next().unwrap().ends_with(",cost,spent,began,ended"));
    assert!(text("report.html").contains("wall clock in hours") && whole.contains_key("plots/clock.svg"));
    let summary: serde_json::Value = serde_json::from_str(&text("summary.json")).unwrap();
    let clock = |m: usize| &summary["clock"]["methods"][m];
    let workers: Vec<u64> = (0..4).map(|m| clock(m)["workers"].as_u64().unwrap()).collect();
    assert_eq!((workers, summary["clock"]["unit"].as_str()), (vec![4, 1, 4, 4], Some("hours")));
    let end = |m: usize| clock(m)["end"]["mean"].as_f64().unwrap();
    assert!(end(1) > 2.5 * end(0), "one worker {} and four {}", end(1), end(0));
    for m in 0..4 {
        let regrets = clock(m)["normalised_regret"].as_array().unwrap();
        let means: Vec<f64> = regrets.iter().map(|e| e["mean"].as_f64().unwrap()).collect();
        assert!(means.len() == 4 && means.windows(2).all(|pair| pair[1] <= pair[0]), "{means:?}");
    }
    // What it cost is the same whoever waited for whom.
    let budget = |m: usize| summary["overall"][m]["normalised_regret"]["20"]["mean"].as_f64();
    assert!((0..4).all(|m| budget(m).is_some_and(f64::is_finite)));

    let other = run(&simulated(&a, &methods, 5)).unwrap_err().to_string();
    assert!(other.contains("`clock` differs"), "{other}");
    let plain = run(&comparison(&a, &methods, two(), 20)).unwrap_err().to_string();
    assert!(plain.contains("`clock` differs"), "{plain}");
}

#[test]
fn a_plain_clock_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(&comparison(folder.path(), &["random"], two(), 10), folder.path());
    for name in ["plan.json", "searches.jsonl", "summary.json", "report.html"] {
        let text = String::from_utf8(files[name].clone()).unwrap();
        // Of the page what it shows: its script knows clocks.
        let shown = text.split("id=\"frozen\">").last().and_then(|data| data.split("</script>").next());
        assert!(shown.is_some_and(|text| !text.contains("clock") && !text.contains("times")), "{name}");
    }
}

#[test]
fn other_comparisons_other_folders_and_impossible_budgets_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a");
    run(&comparison(&dir, &["random"], two(), 10)).unwrap();
    let other = run(&comparison(&dir, &["random", "local"], two(), 10)).unwrap_err();
    assert!(other.to_string().contains("another comparison (`methods` differs)"), "{other}");
    assert!(other.is_usage());
    let foreign = folder.path().join("b");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "my only copy").unwrap();
    let refused = run(&comparison(&foreign, &["random"], two(), 10)).unwrap_err();
    assert!(refused.to_string().contains("is not empty and not a comparison"), "{refused}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    let beyond = run(&comparison(&folder.path().join("c"), &["random"], two(), 244)).unwrap_err();
    assert!(beyond.to_string().contains("more than the 243 distinct architectures"), "{beyond}");
    for (method, says) in [
        ("gp:bta=3", "did you mean `beta`"),
        ("policy:/nowhere/at/all", "cannot be used"),
        ("transfer-gp", "needs past tasks"),
        ("cmd:", "needs a program"),
    ] {
        let refused = run(&comparison(&folder.path().join("d"), &[method], two(), 10)).unwrap_err();
        assert!(refused.to_string().contains(says), "{method}: {refused}");
        assert!(!folder.path().join("d").exists(), "nothing is written for what is refused");
    }
    let one = run(&comparison(&folder.path().join("e"), &["local"], vec![several()], 10)).unwrap_err();
    assert!(one.to_string().contains("searches one objective"), "{one}");
}

/// A program for `sh` that answers each ask with the next of some lines, the last one for ever.
fn program(dir: &Path, name: &str, answers: &[&str]) -> String {
    let mut script =
        String::from("n=0\nwhile read -r line; do\ncase \"$line\" in *'\"ask\"'*)\nn=$((n+1))\ncase $n in\n");
    for (i, answer) in answers.iter().enumerate() {
        let pattern = if i + 1 == answers.len() { "*".to_string() } else { (i + 1).to_string() };
        script += &format!("{pattern}) {answer} ;;\n");
    }
    script += "esac ;;\nesac\ndone\n";
    let path = dir.join(name);
    fs::write(&path, script).unwrap();
    format!("cmd:sh {}", path.display())
}

#[test]
fn a_foreign_method_that_misbehaves_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let say = |names: &str| format!("echo '{{\"architecture\": [{names}]}}'");
    let good = say(r#""a","b","c","a","b""#);
    let cases = [
        (vec![good.clone(), say(r#""a","b""#)], "asked for 2 choices; made-up has 5"),
        (vec![say(r#""a","b","c","a","z""#)], "decision `d4` has no choice `z`"),
        (vec!["echo hello".into()], "answered `hello`, which is not"),
        (vec![good.clone(), "echo I am out of ideas >&2; exit 3".into()], "I am out of ideas"),
        (vec![good.clone()], "times in a row for what was measured already"),
    ];
    let mut methods: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(i, (answers, _))| {
            let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
            program(folder.path(), &format!("{i}.sh"), &answers)
        })
        .collect();
    // One that is content after two.
    let content = [good.as_str(), "echo '{\"done\": true}'"];
    methods.push(program(folder.path(), "content.sh", &content));
    methods.push("random".into());
    let names: Vec<&str> = methods.iter().map(String::as_str).collect();
    let dir = folder.path().join("out");
    let compared = comparison(&dir, &names, two()[..1].to_vec(), 10);
    let outcomes = run(&compared).unwrap();
    for (outcome, (_, says)) in outcomes[0].iter().zip(&cases) {
        for result in outcome {
            let why = result.as_ref().unwrap_err();
            assert!(why.contains(says), "{why} has not: {says}");
        }
    }
    assert!(outcomes[0][5].iter().all(|r| r.as_ref().unwrap().len() == 2));
    assert!(outcomes[0][6].iter().all(|r| r.as_ref().unwrap().len() == 10));
    let files = written(&compared, &dir);
    let text = String::from_utf8(files["summary.md"].clone()).unwrap();
    assert!(text.contains("## Failed") && text.contains("6 of 6 searches failed"), "{text}");
    // Failures are not in the means.
    assert!(text.contains("| random | 0."), "{text}");
}

#[test]
fn what_failed_is_tried_again_when_its_program_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let method = program(folder.path(), "solver.sh", &["exit 1"]);
    let compared = comparison(&dir, &[&method], two()[..1].to_vec(), 10);
    assert!(run(&compared).unwrap()[0][0].iter().all(Result::is_err));
    let mended = ["echo '{\"architecture\": [\"a\",\"b\",\"c\",\"a\",\"b\"]}'", "echo '{\"done\": true}'"];
    program(folder.path(), "solver.sh", &mended);
    assert!(run(&compared).unwrap()[0][0].iter().all(|r| r.as_ref().unwrap().len() == 2));
}

#[test]
fn a_damaged_journal_is_searched_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let compared = comparison(&dir, &["random"], two()[..1].to_vec(), 10);
    let outcomes = run(&compared).unwrap();
    let journal = dir.join("searches.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let damaged = [
        lines[0],
        r#"{"problem":0,"method":0,"seed":1,"queries":["ffffffffff"]}"#,
        r#"{"problem":0,"method":0,"seed":2,"queries":["00"]}"#,
        r#"{"problem":0,"method":0,"seed":3,"queries":["xyz"]}"#,
        r#"{"problem":9,"method":0,"seed":4,"queries":[]}"#,
        "not JSON",
    ];
    fs::write(&journal, damaged.join("\n")).unwrap();
    assert_eq!(run(&compared).unwrap(), outcomes);
    assert_eq!(fs::read_to_string(&journal).unwrap(), text);
}

#[test]
fn several_objectives_have_fronts_and_hypervolumes() {
    let folder = tempfile::tempdir().unwrap();
    let methods = ["random", "nsga2:population=10", "linas:population=10"];
    let compared = comparison(folder.path(), &methods, vec![several()], 60);
    let files = written(&compared, folder.path());
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    let missing = |m: usize, at: &str| {
        summary["problems"][0]["methods"][m]["normalised_regret"][at]["mean"].as_f64().unwrap()
    };
    for m in 0..3 {
        assert!(missing(m, "60") < missing(m, "5"));
    }
    assert!(missing(2, "60") < missing(0, "60"), "predictors find more of the front than chance");
    for plot in ["plots/hypervolume-b-d-x-b-d-y.svg", "plots/front-b-d-x-b-d-y.svg"] {
        let svg = String::from_utf8(files[plot].clone()).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("prefers-color-scheme"), "{plot}");
    }
}

/// A past is other values on each space, also where the tasks have the same names and the spaces are as large.
#[test]
fn what_a_past_says_of_one_problem_is_the_same_beside_another_on_another_space() {
    let folder = tempfile::tempdir().unwrap();
    let past = || vec![task("b/p/x", [0.9, 0.6, 0.1, 0.2, 0.3]), task("b/p/y", [0.8, 0.3, 0.4, 0.1, 0.5])];
    let turned = || {
        let decisions = (0..5).map(|d| Decision::new(format!("d{d}"), &["c", "b", "a"])).collect();
        let other = Arc::new(Conditional::space("turned", decisions, vec![]).unwrap());
        let values = task("o/d/x", [1.0, 0.5, 0.2, 0.1, 0.4]).matched(&other).unwrap();
        let mut choices = vec![0; 5];
        let values = (0..243).map(|rank| {
            other.unrank(rank, &mut choices);
            values.value(&choices).unwrap()
        });
        let values: Vec<f32> = values.collect();
        let task = Task::new("o/d/x", "o/d/x", other.clone(), values, Count::Strings).unwrap();
        Problem::on("o/d/x", "%", vec![Arc::new(task)])
    };
    let outcomes = |problems: Vec<Problem>, name: &str| {
        let dir = folder.path().join(name);
        let plan = comparison(&dir, &["transfer-gp"], problems, 8).plan().clone();
        let problems = plan.problems.iter().map(|of| match of[0].as_str() {
            "o/d/x" => turned(),
            _ => single("b/d/x", [1.0, 0.5, 0.2, 0.1, 0.4]),
        });
        let methods = vec!["transfer-gp".parse().unwrap()];
        let comparison = Comparison::new(plan.clone(), methods, problems.collect(), past(), &dir).unwrap();
        let methods = run(&comparison).unwrap().pop().unwrap();
        <[Outcome; 1]>::try_from(methods).unwrap()
    };
    let alone = outcomes(vec![turned()], "alone");
    let beside = outcomes(vec![single("b/d/x", [1.0, 0.5, 0.2, 0.1, 0.4]), turned()], "beside");
    let of = |[method]: &[Outcome; 1]| -> Vec<Vec<Vec<u8>>> {
        let searches = method.iter().map(|search| search.as_ref().unwrap());
        searches.map(|search| search.iter().map(|query| query.choices.clone()).collect()).collect()
    };
    let (alone, beside) = (of(&alone), of(&beside));
    assert_eq!(alone, beside);
    // It was worth something: the best is there after eight queries of 243.
    assert!(alone.iter().all(|search| search.contains(&vec![0; 5])), "{alone:?}");
}
