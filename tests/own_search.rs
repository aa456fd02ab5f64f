//! End to end: a search space in a file, a program that measures, a search that is killed and goes on.

mod harness;

use harness::{Process, RATE, SPACE, command, failure, frozen, output, stdout, text};
use rusqlite::Connection;
use std::{collections::HashSet, fs, path::Path, process::Output, time::Duration};
use tempfile::TempDir;

/// The space of the harness with a rate and a limit.
fn space() -> String {
    format!("{SPACE}{RATE}[[constraints]]\nrequire = \"layers * width <= 96\"\n")
}

/// Says a loss that the space's names determine, notes each call, fails for one rate.
const PROGRAM_TEXT: &str = r#"
echo "$SRNAS_ARCHITECTURE" >> calls
sleep 0.05
case "$SRNAS_ARCHITECTURE" in *'"op":"pool"'*) echo "no pool here" >&2; exit 3;; esac
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
echo "words before"
echo "{\"loss\": $((100 - layers * width)), \"layers\": $layers}"
"#;

fn setup() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("space.toml"), space()).unwrap();
    fs::write(folder.path().join("measure.sh"), PROGRAM_TEXT).unwrap();
    folder
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(str::to_string).collect()
}

#[test]
fn a_search_by_a_program_is_killed_and_resumed_and_measures_nothing_twice() {
    let setup = setup();
    let folder = setup.path();
    let search = [
        "search",
        "--oracle",
        "cmd:sh measure.sh",
        "--space",
        "space.toml",
        "--minimise",
        "loss",
        "--budget",
        "30",
        "--parallel",
        "3",
        "--run-dir",
        "s",
    ];
    let mut first = Process::start(command(folder, &search));
    first.wait_for(&["10 measured"], Duration::from_secs(60));
    first.kill();
    let kept = |table: &str| -> i64 {
        let ledger = Connection::open(folder.join("s/ledger.sqlite")).unwrap();
        ledger.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let before = kept("measurements") + kept("infeasible");
    assert!((10..30).contains(&before), "{before}");
    // Her file may have changed meanwhile: the search has its copy.
    fs::write(folder.join("space.toml"), "").unwrap();
    let resumed = output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "30", "--json"]);
    let said = stdout(&resumed);
    assert_eq!(said.lines().count() as i64, 30 - before + 1, "{said}");
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let summary = &last["summary"];
    assert_eq!((summary["measured"].as_i64(), summary["before"].as_i64()), (Some(30), Some(before)));
    assert_eq!(kept("measurements") + kept("infeasible"), 30);
    // The best there is: three layers of 32 make 96.
    assert_eq!(summary["best"]["value"], 4.0, "{summary}");
    assert_eq!(summary["best"]["decisions"]["width"], 32);
    assert_eq!(summary["infeasible"].as_i64(), Some(kept("infeasible")));
    let importance = summary["importance"].as_array().unwrap();
    assert_eq!(importance.len(), 4, "{summary}");
    // What was running when it was killed was asked once more; nothing else was, and nothing invalid.
    let calls = calls(folder);
    let distinct: HashSet<&String> = calls.iter().collect();
    assert!(
        distinct.len() >= 30 && calls.len() <= distinct.len() + 3,
        "{} of {}",
        distinct.len(),
        calls.len()
    );
    let reason: String = Connection::open(folder.join("s/ledger.sqlite"))
        .unwrap()
        .query_row("SELECT reason FROM infeasible", [], |row| row.get(0))
        .unwrap();
    assert!(reason.contains("exit status 3: no pool here (kept: s/measurements/"), "{reason}");
    let folders = fs::read_dir(folder.join("s/measurements")).unwrap().count() as i64;
    assert_eq!(folders, kept("infeasible"), "a folder for each that failed");

    let page = frozen(&fs::read_to_string(folder.join("s/report.html")).unwrap());
    let (head, columns) = (&page[0]["head"], &page[0]["rows"]["columns"]);
    assert_eq!(columns["value"][head["best"].as_u64().unwrap() as usize], 4.0);
    assert_eq!(page[0]["rows"]["count"], 30);
    assert_eq!(head["failures"][0][0], "exit status 3: no pool here");
    assert_eq!(head["importance"]["main"].as_array().unwrap().len(), 4);
    // What ended before it was killed has its time, too.
    let times = columns["ended"].as_array().unwrap();
    assert!(times.iter().filter(|time| time.is_null()).count() <= 3, "{times:?}");
    let table = fs::read_to_string(folder.join("s/measurements.csv")).unwrap();
    assert_eq!(table.lines().count(), 31);
    assert!(table.starts_with("measurement,architecture,infeasible,layers,loss\n"), "{table}");

    // The next search knows this one, another space does not.
    fs::write(folder.join("space.toml"), space()).unwrap();
    let next = [
        "search",
        "--oracle",
        "cmd:sh measure.sh # again",
        "--space",
        "space.toml",
        "--minimise",
        "loss",
        "--budget",
        "4",
        "--past",
        "s",
        "--run-dir",
        "t",
    ];
    let out = output(folder, &next);
    assert!(harness::text(&out.stderr).contains("measurements of "), "{}", harness::text(&out.stderr));
    let said = stdout(&out);
    assert!(said.contains("knows earlier tasks") && said.contains("loss 4.0000"), "{said}");
    fs::write(folder.join("other.toml"), space().replace("[8, 16, 32, 64]", "[8, 16, 32]")).unwrap();
    let other: Vec<&str> = next.iter().map(|a| if *a == "space.toml" { "other.toml" } else { a }).collect();
    let (code, error) = failure(&output(folder, &[&other[..9], &["--past", "s", "--run-dir", "u"]].concat()));
    assert!(code == 2 && error.contains("decision `width` has other choices"), "{error}");
    let (code, error) =
        failure(&output(folder, &[&other[..9], &["--past", "nowhere", "--run-dir", "u"]].concat()));
    assert!(code == 2 && error.contains("nowhere"), "{error}");

    // More of the same, as it says; and all there is in the end, with nothing left to ask for.
    let all = output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "1000"]);
    let text = stdout(&all);
    // (1 layer: 4 widths; 2: 3 widths that fit × 3; 3: 3 × 3) × 2 rates.
    assert!(
        text.contains("44 architectures measured (30 before)") && text.contains("What mattered"),
        "{text}"
    );
}

#[test]
fn a_space_is_looked_at_and_refused_by_name() {
    let setup = setup();
    let folder = setup.path();
    let said = stdout(&output(folder, &["space", "check", "space.toml"]));
    for part in [
        "space: 4 decisions",
        "72 combinations",
        "44 architectures",
        "Example: layers=",
        "neighbours:",
        "drawn as often",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&output(folder, &["space", "check", "space.toml", "--json"]))).unwrap();
    assert_eq!((&json["combinations"], &json["architectures"]), (&72.into(), &44.into()));
    assert_eq!(json["decisions"][3]["choices"], serde_json::json!([0.1, 0.01]));
    fs::write(folder.join("narrow.toml"), space().replace("<= 96", "<= 63")).unwrap();
    let said = stdout(&output(folder, &["space", "check", "narrow.toml"]));
    assert!(said.contains("warning: no architecture has width = 64"), "{said}");

    fs::write(folder.join("bad.toml"), space().replace("layers = [2, 3]", "layres = [2, 3]")).unwrap();
    let (code, error) = failure(&output(folder, &["space", "check", "bad.toml"]));
    assert!(
        code == 2 && error.contains("bad.toml: active_if of `op`") && error.contains("`layers`"),
        "{error}"
    );
    let (code, error) = failure(&output(folder, &["space", "check", "nowhere.toml"]));
    assert!(code == 2 && error.contains("no file nowhere.toml"), "{error}");
}

#[test]
fn wrong_usage_is_refused_before_anything_is_made() {
    let setup = setup();
    let folder = setup.path();
    let base = ["search", "--oracle", "cmd:sh measure.sh", "--run-dir", "s"];
    let cases: [(&[&str], &str); 8] = [
        (
            &["--space", "space.toml", "--minimise", "loss", "--past", "untrained"],
            "neither the space nor what measures says anything without training",
        ),
        (&["--minimise", "loss"], "needs --space FILE"),
        (&["--space", "space.toml"], "--maximise METRIC or --minimise METRIC"),
        (&["--space", "space.toml", "--minimise", "loss", "--data", "digits"], "--oracle train"),
        (&["--space", "space.tml", "--minimise", "loss"], "no file space.tml"),
        (&["--space", "space.toml", "--minimise", "loss", "--timeout", "soon"], "--timeout"),
        (&["--space", "space.toml", "--minimise", "loss", "--parallel", "0"], "--parallel"),
        (&["--space", "space.toml", "--minimise", "loss", "--resume"], "nothing to resume"),
    ];
    for (arguments, expected) in cases {
        let out = output(folder, &[&base[..], arguments].concat());
        assert!(
            !out.status.success() && text(&out.stderr).contains(expected),
            "{arguments:?}: {}",
            text(&out.stderr)
        );
        assert!(!folder.join("s/config.toml").exists(), "{arguments:?}");
    }
    let out = output(folder, &["search", "--oracle", "cmd: ", "--space", "space.toml"]);
    assert!(
        out.status.code() == Some(2) && text(&out.stderr).contains("needs a program"),
        "{}",
        text(&out.stderr)
    );
    assert!(calls(folder).is_empty());

    // A program that only ever fails ends its search with reasons, not with a crash.
    let search = [
        "search",
        "--oracle",
        "cmd:exit 9",
        "--space",
        "space.toml",
        "--minimise",
        "loss",
        "--budget",
        "5",
        "--run-dir",
        "f",
    ];
    let failed = output(folder, &search);
    assert_eq!(failed.status.code(), Some(1));
    let (found, said) = (text(&failed.stdout), text(&failed.stderr));
    assert!(found.contains("5 infeasible") && said.contains("measurements.csv says why"), "{found}{said}");
    let table = fs::read_to_string(folder.join("f/measurements.csv")).unwrap();
    assert!(table.contains("exit status 9"), "{table}");
    let (code, error) =
        failure(&output(folder, &["search", "--resume", "--run-dir", "f", "--maximise", "loss"]));
    assert!(code == 2 && error.contains("cannot change when a search goes on"), "{error}");
}

#[test]
fn an_interrupted_search_stops_its_programs_and_says_how_to_go_on() {
    let setup = setup();
    let folder = setup.path();
    let search = [
        "search",
        "--oracle",
        "cmd:case $SRNAS_ARCHITECTURE in *16*) sleep 300;; esac; sh measure.sh",
        "--space",
        "space.toml",
        "--minimise",
        "loss",
        "--budget",
        "40",
        "--parallel",
        "8",
        "--run-dir",
        "s",
    ];
    let mut running = Process::start(command(folder, &search));
    running.wait_for(&["5 measured"], Duration::from_secs(60));
    running.signal("-INT");
    running.wait_for(&["srnas search --resume --run-dir s --budget 40"], Duration::from_secs(30));
    assert_eq!(running.wait(Duration::from_secs(30)).code(), Some(1));
    let page = frozen(&fs::read_to_string(folder.join("s/report.html")).unwrap());
    assert!(page[0]["rows"]["count"].as_u64().unwrap() >= 5, "{page}");
    assert_eq!(fs::read_dir("/proc").map(|_| sleepers(folder)).unwrap_or(0), 0);
}

#[test]
fn a_policy_is_trained_for_a_space_of_ones_own_and_searches_it() {
    let setup = setup();
    let folder = setup.path();
    let oracle = ["--oracle", "cmd:sh measure.sh", "--minimise", "loss", "--space", "space.toml"];
    let train = ["run", "--budget", "8", "--run-dir", "own", "--minutes", "0.03"];
    let quick = ["--set", "comparison.seeds=2", "--set", "validation.starts=2"];
    let arguments: Vec<&str> = train.into_iter().chain(oracle).chain(quick).collect();
    let said = stdout(&output(folder, &arguments));
    for expected in ["8 architectures measured", "Against `universal`", "In simulation", "--policy own"] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
    assert_eq!(calls(folder).len(), 8);
    // The surrogates go through what was measured.
    let listed = stdout(&output(folder, &["bench", "--bench-dir", "own", "info", "surrogates"]));
    assert!(listed.contains("search1/t0") && listed.contains("random/h7"), "{listed}");
    // A run is not written over, and goes on with what it made.
    let (code, error) = failure(&output(folder, &arguments));
    assert!(code == 2 && error.contains("holds a run already"), "{error}");
    let resume = ["run", "--resume", "--run-dir", "own", "--minutes", "0.04"];
    assert!(stdout(&output(folder, &resume)).contains("Against `universal`"));
    assert_eq!(calls(folder).len(), 8);
    let search: Vec<&str> =
        ["search", "--policy", "own", "--budget", "6", "--run-dir", "s"].into_iter().chain(oracle).collect();
    assert!(stdout(&output(folder, &search)).contains("6 architectures measured"));
}

/// Processes whose environment names the folder's measurements.
fn sleepers(folder: &Path) -> usize {
    let wanted = format!("{}/s/measurements", fs::canonicalize(folder).unwrap().display());
    let environments =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|e| fs::read(e.path().join("environ")).ok());
    environments.filter(|e| String::from_utf8_lossy(e).contains(&wanted)).count()
}

/// Fails for the first five, and measures from then on.
const LATE: &str = r#"
echo . >> count
[ $(wc -l < count) -gt 5 ] || { echo "not yet" >&2; exit 1; }
echo "{\"loss\": $(wc -l < count)}"
"#;

#[test]
fn what_failed_is_numbered_when_it_failed_and_a_space_keeps_its_name_in_a_copy() {
    let setup = setup();
    let folder = setup.path();
    fs::write(folder.join("late.sh"), LATE).unwrap();
    fs::rename(folder.join("space.toml"), folder.join("noname.toml")).unwrap();
    // The program runs in a folder of its own.
    let program = format!("cmd:cd {} && sh late.sh", folder.display());
    let search = [
        "search",
        "--oracle",
        &program,
        "--space",
        "noname.toml",
        "--minimise",
        "loss",
        "--run-dir",
        "s",
        "--json",
    ];
    stdout(&output(folder, &[&search[..], &["--budget", "7"]].concat()));
    let resumed = output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "8", "--json"]);
    let said = stdout(&resumed);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let curve = &last["summary"]["curve"];
    assert_eq!(curve, &serde_json::json!([[8, 6.0]]), "nothing was there after 5: {last}");
    let table = fs::read_to_string(folder.join("s/measurements.csv")).unwrap();
    let failed: Vec<bool> =
        table.lines().skip(1).map(|line| line.contains("not yet") || line.contains("exit status")).collect();
    assert_eq!(failed, [[true; 5].as_slice(), &[false; 3]].concat(), "{table}");

    let ledger = folder.join("s/ledger.sqlite");
    stdout(&output(folder, &["ledger", "verify", "s"]));
    Connection::open(&ledger)
        .unwrap()
        .execute("UPDATE metrics SET value = 1.0 WHERE measurement = 6", [])
        .unwrap();
    let damaged = output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "9"]);
    assert!(text(&damaged.stderr).contains("answer 6") && damaged.status.code() == Some(1), "{damaged:?}");
    let repaired = stdout(&output(folder, &["ledger", "repair", "s"]));
    assert!(repaired.contains("7 answers are kept") && repaired.contains("lost: answer 6"), "{repaired}");
    let again = stdout(&output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "9", "--json"]));
    assert_eq!(again.lines().count(), 2 + 1, "{again}");
}

#[test]
fn a_search_without_a_value_fails_and_one_that_has_it_all_says_so() {
    let setup = setup();
    let folder = setup.path();
    let small = "[[decisions]]\nname = \"a\"\nchoices = [0, 1, 2, 3]\n[[decisions]]\nname = \"b\"\nchoices = [0, 1]\n";
    fs::write(folder.join("small.toml"), small).unwrap();
    let search = |oracle: &str, run_dir: &str, more: &[&str]| {
        let head = [
            "search",
            "--oracle",
            oracle,
            "--space",
            "small.toml",
            "--minimise",
            "loss",
            "--run-dir",
            run_dir,
        ];
        output(folder, &[&head[..], more].concat())
    };
    let ended = |out: Output| (out.status.code(), text(&out.stderr));
    let (code, said) = ended(search("cmd:exit 3", "failing", &["--budget", "4"]));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("none of 4 measurements has a value") && said.contains("measurements.csv"),
        "{said}"
    );

    let (code, said) = ended(search("cmd:exit 3", "stopped", &["--budget", "100", "--max-failures", "3"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("3 measurements have no value") && said.contains("exit status 3"), "{said}");
    let csv = fs::read_to_string(folder.join("stopped/measurements.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3, "{csv}");

    // The hint is for a shell, and values are as they were said.
    let program = r#"cmd:echo "{\"loss\": 0.0000031, \"NaN_batches\": 2, \"big\": 39974282}""#;
    let found = stdout(&search(program, "my run", &["--budget", "3"]));
    assert!(found.contains("--run-dir 'my run' --budget 6"), "{found}");
    assert!(found.contains("3.1000e-6") && found.contains("NaN_batches 2.0000"), "{found}");
    let ledger = Connection::open(folder.join("my run/ledger.sqlite")).unwrap();
    let kept: (f64, f64) = ledger
        .query_row(
            "SELECT measurements.value, metrics.value FROM measurements JOIN metrics ON measurement = id WHERE name = 'big'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(kept, (-0.0000031, 39_974_282.0));

    // From elsewhere its program would be another one.
    let elsewhere = TempDir::new().unwrap();
    let place = folder.join("my run").display().to_string();
    let resume = ["search", "--resume", "--run-dir", &place, "--budget", "20"];
    let (code, said) = failure(&output(elsewhere.path(), &resume));
    let here = fs::canonicalize(folder).unwrap();
    assert!(code == 2 && said.contains(&format!("was begun in {}", here.display())), "{said}");
    for (option, value) in [("--seed", "7"), ("--task", "nb201/a/b"), ("--seeds", "3"), ("--by", "rule")] {
        let (code, said) = failure(&output(folder, &[&resume[..], &[option, value]].concat()));
        assert!(code == 2 && said.contains(option), "{option}: {said}");
    }
    let all = stdout(&output(folder, &resume));
    assert!(all.contains("All 8 architectures of the space are measured") && !all.contains("More:"), "{all}");
    let again = stdout(&output(folder, &[&resume[..], &["--json"]].concat()));
    let last: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["summary"]["used_up"], &last["summary"]["measured"]),
        (&true.into(), &8.into()),
        "{last}"
    );
}
