//! End to end: a search that pays for short trainings first, is killed while it does and again while it pays for full ones, and
//! pays for nothing twice.

mod harness;

use harness::{PROGRAM, Process, SOON, failure, frozen, stdout, text};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Notes that it began and that it ended, goes on from where a shorter training left its state, and says a score that the
/// choices determine.
const PROGRAM_TEXT: &str = r#"
echo "$SRNAS_FIDELITY $SRNAS_ARCHITECTURE" >> began
sleep 0.05
from=0
if [ -n "$SRNAS_RESUME_FROM" ]; then from=$(cat "$SRNAS_RESUME_FROM/epochs") || exit 4; fi
[ "$from" = "${SRNAS_RESUME_FIDELITY:-0}" ] || exit 5
echo "$SRNAS_FIDELITY" > "$SRNAS_DIRECTORY/epochs"
sum=$(echo "$SRNAS_ARCHITECTURE" | sed 's/[^0-9]*\([0-9]*\)[^0-9]*/\1+/g; s/+$//; s/++*/+/g')
echo "$SRNAS_FIDELITY $SRNAS_ARCHITECTURE" >> ended
echo "{\"score\": $(( ($sum) * $SRNAS_FIDELITY )), \"resumed_from\": $from}"
"#;

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let decision = |name: &str| format!("[[decisions]]\nname = \"{name}\"\nchoices = [1, 2, 4]\n");
        let space: String = ["a", "b", "c", "d", "e", "f"].map(decision).concat();
        fs::write(folder.path().join("space.toml"), space).unwrap();
        fs::write(folder.path().join("measure.sh"), PROGRAM_TEXT).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env("HOME", self.path()).env_remove("RUST_LOG");
        command.env_remove("SRNAS_TOKEN_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A search of this space by `oracle`; `more` are further arguments.
    fn search(&self, oracle: &str, more: &[&str]) -> Command {
        let all = ["search", "--oracle", oracle, "--space", "space.toml", "--maximise", "score"];
        self.command(&[&all, more].concat())
    }

    /// How often each training is in a file that the program writes.
    fn noted(&self, file: &str) -> HashMap<String, usize> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        let mut counts = HashMap::new();
        text.lines().for_each(|line| *counts.entry(line.to_string()).or_default() += 1);
        counts
    }

    fn ledger(&self, query: &str) -> f64 {
        let ledger = Connection::open(self.path().join("s/ledger.sqlite")).unwrap();
        ledger.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Everything was paid for once, and of what went on only the rest. What had ended and was not in the ledger when the search was killed
    /// need not be asked for again: so many at most.
    fn check(&self, budget: f64, lost: usize) {
        let costs = self.ledger("SELECT sum(cost) FROM measurements");
        assert!(costs <= budget + 1e-6 && costs > budget - 1.0, "{costs} of {budget}");
        assert_eq!(self.ledger("SELECT count(*) FROM infeasible"), 0.0);
        let twice =
            "SELECT count(*) FROM (SELECT key FROM measurements GROUP BY key, fidelity HAVING count(*) > 1)";
        assert_eq!(self.ledger(twice), 0.0);
        let rest = "SELECT count(*) FROM measurements WHERE fidelity = 1.0 AND abs(cost - 0.9) < 1e-6";
        assert!(self.ledger(rest) >= 1.0, "nothing went on where a short training had ended");
        let rows = self.ledger("SELECT count(*) FROM measurements");
        let ended = self.noted("ended").len();
        let known = rows as usize;
        assert!(
            (known..=known + lost).contains(&ended),
            "{ended} trainings ended, {known} are in the ledger"
        );
    }
}

#[test]
fn a_search_is_killed_among_short_and_among_full_trainings_and_pays_for_nothing_twice() {
    let setup = Setup::new();
    let options = ["--fidelity", "epochs=2,20", "--budget", "8", "--parallel", "2", "--run-dir", "s"];
    let mut search = Process::start(setup.search("cmd:sh measure.sh", &options));
    (0..8).for_each(|_| drop(search.wait_for(&["2 of 20 epochs"], SOON)));
    search.kill();
    let short = setup.ledger("SELECT count(*) FROM measurements");
    assert!((8.0..46.0).contains(&short), "{short}");
    let resume = ["search", "--resume", "--run-dir", "s", "--budget", "8"];
    let mut search = Process::start(setup.command(&resume));
    search.wait_for(&["going on with", "of 8 full trainings paid"], SOON);
    search.wait_for(&["· 20 epochs ·"], SOON);
    search.kill();
    let full = setup.ledger("SELECT count(*) FROM measurements WHERE fidelity = 1.0");
    assert!((1.0..5.0).contains(&full), "{full}");
    let ended = setup.output(&[&resume[..], &["--json"]].concat());
    let said = stdout(&ended);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let summary = &last["summary"];
    setup.check(8.0, 4);
    let shorter = &summary["shorter"][0];
    assert_eq!((shorter["unit"].as_str(), shorter["amount"].as_f64()), (Some("epochs"), Some(2.0)));
    // Not quite half of the budget for trainings of a tenth each, and one before each full training.
    let trained = shorter["trained"].as_f64().unwrap();
    assert!((38.0..46.0).contains(&trained), "{summary}");
    assert_eq!(shorter["agreement"]["rank_correlation"], 1.0, "{summary}");
    assert!(summary["best"]["full"].as_bool().unwrap() && summary["best"]["trained"] == 20.0, "{summary}");
    // At most what was running at each kill was begun again.
    let began: usize = setup.noted("began").values().sum();
    let rows = setup.ledger("SELECT count(*) FROM measurements") as usize;
    assert!(began <= rows + 4, "{began} begun for {rows}");
    let twice = setup.noted("ended").values().filter(|&&times| times > 1).count();
    assert!(twice <= 4, "{twice} ended twice");
    // What went on is not needed any more, what may go on is.
    let going_on = setup.ledger("SELECT count(*) FROM measurements WHERE fidelity = 1.0 AND cost < 1.0");
    let folders = fs::read_dir(setup.path().join("s/measurements")).unwrap().count();
    let anew = setup.ledger("SELECT count(*) FROM measurements WHERE fidelity = 1.0 AND cost = 1.0");
    let kept = (trained - going_on) as usize;
    assert!((kept..=kept + 4).contains(&folders), "{folders} folders, {kept} may go on, {anew} began anew");
    let page = frozen(&fs::read_to_string(setup.path().join("s/report.html")).unwrap());
    assert_eq!(page[0]["about"]["shorter"][0], "2 of 20 epochs");
    let pairs = page[0]["head"]["shorter"][0]["pairs"].as_array().unwrap();
    assert_eq!(pairs.len() as f64, shorter["agreement"]["architectures"].as_f64().unwrap());

    // The next search knows both kinds of training of this one.
    let next = ["--past", "s", "--budget", "2", "--run-dir", "next"];
    let next = setup.search("cmd:sh measure.sh", &next).env("SRNAS_FIDELITY", "20").output().unwrap();
    let log = text(&next.stderr);
    assert!(next.status.success() && log.contains("trainings of 10.0 % of a full one"), "{log}");
}

#[test]
fn evaluators_train_short_and_go_on_with_what_they_have() {
    let setup = Setup::new();
    let options = [
        "--fidelity",
        "epochs=2,20",
        "--budget",
        "5",
        "--lease",
        "2s",
        "--listen",
        "127.0.0.1:0",
        "--run-dir",
        "s",
    ];
    let mut search = Process::start(setup.search("remote", &options));
    let address = search.wait_for(&["listening for evaluators"], SOON);
    let address = address.split("address=").nth(1).unwrap().trim().to_string();
    let evaluator = ["evaluator", "--search", &address, "--id", "one", "--oracle", "cmd:sh measure.sh"];
    let mut one = Process::start(setup.command(&evaluator));
    one.wait_for(&["attached"], SOON);
    (0..4).for_each(|_| drop(search.wait_for(&["2 of 20 epochs"], SOON)));
    search.kill();
    let resume = ["search", "--resume", "--run-dir", "s", "--budget", "5", "--listen", &address];
    let mut search = Process::start(setup.command(&resume));
    search.wait_for(&["· 20 epochs ·"], SOON);
    assert_eq!(search.ends(SOON), Some(0));
    assert_eq!(one.ends(SOON), Some(0));
    setup.check(5.0, 0);
    let began = setup.noted("began");
    assert!(began.values().all(|&times| times == 1), "{began:?}");
    // Under the same name another search begins with nothing: its folders are of this search, also over its restart.
    let folders = fs::read_dir(setup.path().join("runs/evaluator-one")).unwrap();
    let folders: Vec<String> = folders.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(folders.len() == 1 && folders[0].starts_with("search-"), "{folders:?}");
}

#[test]
fn a_program_that_does_not_look_at_the_fidelity_is_told_of_and_one_whose_short_trainings_fail_too() {
    let setup = Setup::new();
    let options = |dir: &'static str| ["--fidelity", "epochs=2,20", "--budget", "10", "--run-dir", dir];
    let same =
        "cmd:echo '{\"score\": '$(echo \"$SRNAS_ARCHITECTURE\" | cksum | cut -c1-4)', \"resumed_from\": 7}'";
    let out = setup.search(same, &options("same")).output().unwrap();
    let log = text(&out.stderr);
    assert!(
        out.status.success() && log.contains("said exactly the same") && log.contains("SRNAS_FIDELITY"),
        "{log}"
    );
    // It went on with nothing that there was, so nothing is taken off, and it is told so once.
    assert_eq!(log.matches("says `resumed_from` 7").count(), 1, "{log}");

    let other =
        "cmd:if [ $SRNAS_FIDELITY = 20 ]; then echo '{\"score\": 3}'; else echo '{\"scores\": 3}'; fi";
    let out = setup.search(other, &options("other")).output().unwrap();
    let (log, said) = (text(&out.stderr), stdout(&out));
    assert!(
        log.contains("none of the first 5 shorter trainings has a value")
            && log.contains("no metric `score`"),
        "{log}"
    );
    assert!(said.contains("5 shorter and 9 full trainings"), "{said}");
}

#[test]
fn fidelities_that_are_none_are_refused_before_anything_is_made() {
    let setup = Setup::new();
    for (fidelity, says) in [
        ("epochs=20,2", "2 comes after 20"),
        ("epochs=2,0,20", "0 stands first"),
        ("epochs=0", "without training nothing is found"),
        ("epochs=-1,20", "no amount above 0"),
        ("epochs=20", "one amount"),
        ("20", "no `=`"),
    ] {
        let argument = format!("--fidelity={fidelity}");
        let out = setup.search("cmd:true", &[&argument, "--run-dir", "s"]).output().unwrap();
        let (code, said) = failure(&out);
        assert!(code == 2 && said.contains(says), "{fidelity}: {code} {said}");
        assert!(!setup.path().join("s").exists());
    }
    for (fidelity, says) in
        [("epochs=2,20", "a full training of this recipe has 30 epochs"), ("steps=3,30", "whole epochs")]
    {
        let train =
            ["search", "--oracle", "train", "--data", "digits", "--fidelity", fidelity, "--run-dir", "s"];
        let (code, said) = failure(&setup.output(&train));
        assert!(code == 2 && said.contains(says), "{fidelity}: {code} {said}");
    }
    let out = setup
        .search("cmd:sh measure.sh", &["--fidelity", "epochs=2,20", "--budget", "1", "--run-dir", "s"])
        .output();
    assert!(out.unwrap().status.success());
    let changed = ["search", "--resume", "--run-dir", "s", "--fidelity", "epochs=4,20"];
    let (code, said) = failure(&setup.output(&changed));
    assert!(code == 2 && said.contains("--fidelity cannot change"), "{code} {said}");
}

const RUN: &str = r#"
prior = "none"

[tasks]
train = ["digits/{val,test}/clean", "digits/val/clean-0.15*log(cost/latency_ms)"]
held_out = ["digits/val/clean-0.15*log(cost/multiply_adds)"]

[environment]
horizon = 6
shorter = 20
max_edits = 2
pool = 64

[acting]
episodes = 8
segments_per_batch = 2

[learning]
batch = 64
warm_up = 200
replay = 5000

[validation]
families = ["clean-0.15*log(cost/latency_ms)"]
starts = 1
points = [3, 6]

[comparison]
methods = ["two-phase"]
budgets = [3, 6]
seeds = 2
"#;

#[test]
fn a_run_learns_how_long_to_train_and_what_it_learned_searches() {
    let setup = Setup::new();
    fs::write(setup.path().join("run.toml"), RUN).unwrap();
    let run = ["run", "--config", "run.toml", "--run-dir", "r", "--deterministic", "--steps", "3000"];
    let said = stdout(&setup.output(&run));
    assert!(said.contains("6 full trainings"), "{said}");
    // Short trainings and full ones are in the ledger, and the best are full ones.
    let ledger = Connection::open(setup.path().join("r/ledger.sqlite")).unwrap();
    let count = |query: &str| -> i64 { ledger.query_row(query, [], |row| row.get(0)).unwrap() };
    for fidelity in ["fidelity = 1.0", "fidelity BETWEEN 0.3 AND 0.34"] {
        assert!(count(&format!("SELECT count(*) FROM measurements WHERE {fidelity}")) > 50, "{fidelity}");
    }
    assert_eq!(
        count("SELECT count(*) FROM measurements WHERE fidelity < 0.3 OR fidelity > 0.34 AND fidelity < 1.0"),
        0
    );
    // What it learned is a method among others: it pays for short trainings and stays within the budget.
    let compare = [
        "compare",
        "--task",
        "digits/val/clean",
        "--method",
        "policy:r,by=rule",
        "--method",
        "policy:r,by=trained",
    ];
    stdout(&setup.output(&[&compare[..], &["--budget", "6", "--seeds", "2", "--out", "c"]].concat()));
    let journal = fs::read_to_string(setup.path().join("c/searches.jsonl")).unwrap();
    for line in journal.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let queries = line["queries"].as_array().unwrap();
        let shorter = queries.iter().filter(|query| query.as_str().unwrap().contains('@')).count();
        let cost = (queries.len() - shorter) as f64 + shorter as f64 / 3.0;
        assert!(cost <= 6.0 + 1e-6 && cost > 5.0, "{line}");
    }
    assert!(journal.contains("@0"), "{journal}");
    // On a table, and where there is nothing to train short.
    let search = ["search", "--policy", "r", "--budget", "4", "--seeds", "2"];
    for task in ["digits/val/clean", "digits/val/noise"] {
        let said = stdout(&setup.output(&[&search[..], &["--task", task]].concat()));
        assert!(said.contains("4 full trainings each"), "{said}");
    }
    // By real trainings: the rule is what was exported after so short a run, or what was learned.
    let real =
        ["--oracle", "train", "--data", "digits", "--maximise", "val/noise", "--fidelity", "epochs=6,30"];
    let said = stdout(&setup.output(&[&search[..5], &real, &["--run-dir", "s"]].concat()));
    assert!(said.contains("shorter") && said.contains("full trainings"), "{said}");
}

#[test]
fn a_run_whose_shorter_trainings_cannot_be_judged_is_refused() {
    let setup = Setup::new();
    let without = RUN.replace("shorter = 20", "shorter = 20\nposteriors = false");
    fs::write(setup.path().join("run.toml"), without).unwrap();
    let (code, said) = failure(&setup.output(&["run", "--config", "run.toml", "--run-dir", "r"]));
    assert!(code == 2 && said.contains("environment.shorter"), "{code} {said}");
    fs::write(setup.path().join("run.toml"), RUN.replace("points = [3, 6]", "points = [6, 3]")).unwrap();
    let (code, said) = failure(&setup.output(&["run", "--config", "run.toml", "--run-dir", "r"]));
    assert!(code == 2 && said.contains("validation.points"), "{code} {said}");
    assert!(!setup.path().join("r").exists());
}
