//! End to end: a search for several objectives and within limits, by a program, killed and gone on with.

mod harness;

use harness::{PROGRAM, failure, frozen, stdout, text};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SPACE: &str = r#"
[[decisions]]
name = "depth"
choices = [2, 4, 6, 8]
[[decisions]]
name = "width"
choices = [16, 32, 64, 128]
[[decisions]]
name = "op"
choices = ["conv", "pool", "skip"]
"#;

/// Deeper and wider is better and slower; pools fail, and say a latency that is no number where they are narrow.
const PROGRAM_TEXT: &str = r#"
echo "$SRNAS_ARCHITECTURE" >> calls
sleep 0.02
depth=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"depth":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
case "$SRNAS_ARCHITECTURE" in
  *'"op":"pool","width":16}'*) echo "{\"accuracy\": 50, \"ms\": NaN}"; exit;;
  *'"op":"pool"'*) echo "no pool here" >&2; exit 3;;
  *'"op":"skip"'*) bonus=3;;
  *) bonus=0;;
esac
echo "{\"accuracy\": $((60 + depth * 2 + width / 8 + bonus)), \"ms\": $((depth * width / 16))}"
"#;

fn setup() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("space.toml"), SPACE).unwrap();
    fs::write(folder.path().join("measure.sh"), PROGRAM_TEXT).unwrap();
    folder
}

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("search").args(more).current_dir(folder).env("HOME", folder).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn search(folder: &Path, more: &[&str]) -> Output {
    let all = ["--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--run-dir", "run"];
    command(folder, &[&all, more].concat()).output().unwrap()
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(String::from).collect()
}

/// The last line of `--json`.
fn summary(output: &Output) -> serde_json::Value {
    let said = stdout(output);
    let line: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    line["summary"].clone()
}

#[test]
fn a_search_for_two_objectives_is_killed_and_goes_on_and_tells_its_front() {
    let setup = setup();
    let folder = setup.path();
    let both = ["--maximise", "accuracy", "--minimise", "ms", "--budget", "48", "--parallel", "2", "--json"];
    let begun = ["--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--run-dir", "run"];
    let mut first = command(folder, &[&begun[..], &both].concat()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // Its calls are seen in a file only.
    while calls(folder).len() < 12 {
        assert!(Instant::now() < deadline, "it measures nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let output =
        command(folder, &["--resume", "--run-dir", "run", "--budget", "48", "--json"]).output().unwrap();
    let summary = summary(&output);
    assert_eq!(summary["measured"], 48, "{summary}");
    // What was running when it was killed is measured again, nothing else.
    let (mut asked, all) = (calls(folder), calls(folder).len());
    asked.sort();
    asked.dedup();
    assert!(asked.len() == 48 && all <= 50, "{} of {all}", asked.len());

    // The front is that of the table that the search wrote.
    let mut table = csv::Reader::from_path(folder.join("run/measurements.csv")).unwrap();
    let heads: Vec<String> = table.headers().unwrap().iter().map(String::from).collect();
    let at = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let values: Vec<Option<(f64, f64)>> = rows
        .iter()
        .map(|row| {
            row[at("infeasible")]
                .is_empty()
                .then(|| (row[at("accuracy")].parse().unwrap(), row[at("ms")].parse().unwrap()))
        })
        .collect();
    let beats = |a: (f64, f64), b: (f64, f64)| a.0 >= b.0 && a.1 <= b.1 && a != b;
    let on_front = |i: usize| {
        values[i].is_some_and(|own| {
            !values.iter().flatten().any(|other| beats(*other, own)) && !values[..i].contains(&Some(own))
        })
    };
    let brute: Vec<usize> = (0..rows.len()).filter(|&i| on_front(i)).map(|i| i + 1).collect();
    let front = summary["front"].as_array().unwrap();
    let mut told: Vec<usize> = front.iter().map(|p| p["measurement"].as_u64().unwrap() as usize).collect();
    told.sort_unstable();
    assert_eq!(told, brute);
    let flagged: Vec<usize> =
        (0..rows.len()).filter(|&i| &rows[i][at("front")] == "1").map(|i| i + 1).collect();
    assert_eq!(flagged, brute);
    assert!(front[0]["picks"].to_string().contains("best accuracy"), "{}", front[0]);
    // What says no number for one objective has no value, and says so.
    let nan = rows.iter().find(|row| row[at("infeasible")].contains("`ms` is not a number"));
    assert!(nan.is_some(), "{rows:?}");
    let page = frozen(&fs::read_to_string(folder.join("run/report.html")).unwrap());
    assert_eq!(page[0]["about"]["goal"]["words"], "most accuracy and least ms");
    let shown = page[0]["head"]["front"].as_array().unwrap();
    let mut shown: Vec<usize> = shown.iter().map(|p| p["row"].as_u64().unwrap() as usize + 1).collect();
    shown.sort_unstable();
    assert_eq!(shown, brute);

    // Another objective or method is refused with both named.
    let (code, said) = failure(
        &command(folder, &["--resume", "--run-dir", "run", "--maximise", "accuracy", "--budget", "49"])
            .output()
            .unwrap(),
    );
    assert!(code == 2 && said.contains("after `accuracy & -ms`, not `accuracy`"), "{said}");
    let (code, said) = failure(
        &command(folder, &["--resume", "--run-dir", "run", "--method", "nsga2", "--budget", "49"])
            .output()
            .unwrap(),
    );
    assert!(code == 2 && said.contains("not `nsga2`"), "{said}");
}

#[test]
fn limits_decide_what_is_best_and_a_search_without_anything_within_them_fails() {
    let setup = setup();
    let folder = setup.path();
    let output =
        search(folder, &["--maximise", "accuracy", "--require", "ms <= 8", "--budget", "48", "--json"]);
    let all = summary(&output);
    // Depth 8 and width 16, with a skip: 60 + 16 + 2 + 3, in 8 ms.
    let best = all["best"]["metrics"].clone();
    assert_eq!((best["accuracy"].as_f64(), best["ms"].as_f64()), (Some(81.0), Some(8.0)), "{all}");
    assert!(all["beyond_limits"].as_u64().unwrap() > 0 && all["limits"][0] == "ms <= 8", "{all}");
    let csv = fs::read_to_string(folder.join("run/measurements.csv")).unwrap();
    assert!(csv.contains("is not <= 8"), "{csv}");

    fs::remove_dir_all(folder.join("run")).unwrap();
    let output = search(folder, &["--maximise", "accuracy", "--require", "ms <= 0.5", "--budget", "12"]);
    assert!(text(&output.stdout).contains("Nothing feasible; the least violating is"), "{output:?}");
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("keeps every limit"),
        "{output:?}"
    );
}

#[test]
fn a_reward_is_searched_as_a_metric_is_and_goes_on() {
    let setup = setup();
    let folder = setup.path();
    let hard = ["--maximise", "accuracy * (ms/8.0)^(0 | -1)"];
    let output = search(folder, &[&hard[..], &["--budget", "20", "--json"]].concat());
    assert_eq!(summary(&output)["measured"], 20, "{}", text(&output.stderr));
    // The same product, typed otherwise, goes on; another target is another search.
    let more = ["--resume", "--run-dir", "run", "--budget", "48", "--json", "--maximise"];
    let output = command(folder, &[&more[..], &["accuracy*(ms/8)^(0|-1)"]].concat()).output().unwrap();
    let all = summary(&output);
    // Within 8 ms the accuracy counts alone: depth 8, width 16, with a skip.
    let best = &all["best"]["metrics"];
    let of = |metric: &str| best[metric].as_f64();
    assert_eq!(
        (of("accuracy"), of("ms"), of("accuracy*(ms/8)^(0|-1)")),
        (Some(81.0), Some(8.0), Some(81.0)),
        "{all}"
    );
    assert_eq!((&all["metric"], &all["measured"]), (&"accuracy*(ms/8)^(0|-1)".into(), &48.into()));
    let (code, said) =
        failure(&command(folder, &[&more[..], &["accuracy*(ms/9)^(0|-1)"]].concat()).output().unwrap());
    assert!(code == 2 && said.contains("not `accuracy*(ms/9)^(0|-1)`"), "{said}");
    // Beyond it, what is twice as slow counts half.
    let mut table = csv::Reader::from_path(folder.join("run/measurements.csv")).unwrap();
    let heads: Vec<String> = table.headers().unwrap().iter().map(String::from).collect();
    let at = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let number = |row: &csv::StringRecord, name: &str| row[at(name)].parse::<f64>().unwrap();
    let mut slow = 0;
    for row in rows.iter().filter(|row| row[at("infeasible")].is_empty()) {
        let (accuracy, ms) = (number(row, "accuracy"), number(row, "ms"));
        let expected = if ms > 8.0 { accuracy * 8.0 / ms } else { accuracy };
        assert!((number(row, "accuracy*(ms/8)^(0|-1)") - expected).abs() < 1e-9);
        slow += usize::from(ms > 8.0);
    }
    assert!(slow > 5 && rows.len() == 48);
    assert!(rows.iter().any(|row| row[at("infeasible")].contains("`ms` is not a number")));
    // Another reward of the same metrics learns from it; what is no reward is refused before anything is made.
    let soft = ["--maximise", "accuracy*(ms/12)^-0.07", "--minimise", "ms", "--past", "run", "--budget", "6"];
    let begun = ["--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--run-dir", "soft"];
    let out = command(folder, &[&begun[..], &soft].concat()).output().unwrap();
    assert!(out.status.success() && !text(&out.stderr).contains("nothing is known"), "{}", text(&out.stderr));
    let (code, said) = failure(&search(folder, &["--maximise", "accuracy*(ms/0)^-1"]));
    assert!(
        code == 2 && said.contains("target 0 is not above 0") && said.contains("METRIC*(COST/TARGET)"),
        "{said}"
    );
}

#[test]
fn an_earlier_search_of_the_same_metrics_guides_this_one() {
    let setup = setup();
    let folder = setup.path();
    let first = search(folder, &["--maximise", "accuracy", "--budget", "20"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let begun = ["--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--past", "run", "--run-dir"];
    let both = ["--maximise", "accuracy", "--minimise", "ms", "--budget", "12", "--json"];
    let out = command(folder, &[&begun[..], &["next"], &both].concat()).output().unwrap();
    let front = summary(&out)["front"].as_array().unwrap().len();
    assert!(front > 1, "{front}");
    // Of a search of accuracies it is known what they took, too: both are among its metrics.
    let said = text(&out.stderr);
    assert!(said.matches("knows").count() == 2 && !said.contains("nothing is known"), "{said}");
    // The same search goes on; what was never measured begins without a past; another method does not learn from it.
    let more = ["--resume", "--run-dir", "next", "--budget", "14", "--json"];
    assert!(command(folder, &more).output().unwrap().status.success());
    let limited =
        [&begun[..], &["limited", "--maximise", "accuracy", "--require", "other >= 0", "--budget", "2"]];
    let out = command(folder, &limited.concat()).output().unwrap();
    assert!(text(&out.stderr).contains("nothing is known of other beforehand"), "{}", text(&out.stderr));
    let refused = [&begun[..], &["refused"], &both[..4], &["--method", "nsga2"]].concat();
    let says = failure(&command(folder, &refused).output().unwrap());
    assert!(
        says.0 == 2
            && says.1.contains("`nsga2` knows no earlier tasks; transfer-gp, two-phase, screen, mobo do"),
        "{says:?}"
    );
}

#[test]
fn what_cannot_be_searched_together_is_refused_before_anything_is_made() {
    let setup = setup();
    let folder = setup.path();
    for (more, expected) in [
        (&["--maximise", "accuracy", "--minimise", "accuracy"][..], "is an objective twice"),
        (&["--require", "ms <= 8"], "say which metric is searched"),
        (&["--maximise", "accuracy", "--require", "ms < 8"], "is no limit"),
        (
            &["--maximise", "accuracy", "--require", "ms <= 8", "--require", "ms >= 9"],
            "nothing can be within",
        ),
        (&["--maximise", "accuracy", "--minimise", "ms", "--method", "gp"], "for several there are"),
        (&["--maximise", "accuracy", "--require", "ms <= 8", "--method", "local"], "within limits search"),
        (&["--maximise", "accuracy", "--minimise", "ms", "--fidelity", "epochs=1,4"], "leave it out"),
        (&["--maximise", "accuracy", "--method", "evolutoin"], "did you mean `evolution`"),
        (&["--maximise", "accuracy", "--method", "halving"], "--fidelity"),
    ] {
        let (code, said) = failure(&search(folder, &[more, &["--budget", "4"]].concat()));
        assert!(code == 2 && said.contains(expected), "{more:?}: {said}");
        assert!(!folder.join("run").exists(), "{more:?}");
    }
}
