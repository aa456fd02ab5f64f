//! End to end: a search by a program of one's own that is steered: first points, slots, what ends it, what is asked again.

mod harness;

use harness::{PROGRAM, Process, RATE, SOON, SPACE, failure, stdout, text};
use rusqlite::Connection;
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Notes how it is called. Where `hold` is, it leaves a state in its folder and waits until that has gone; where `broken` is, it
/// fails. Says a loss that the architecture determines.
const PROGRAM_TEXT: &str = r#"
echo "$SRNAS_SLOT ${DEVICE:-none} ${SRNAS_INTERRUPTED:-0} $(cat "$SRNAS_DIRECTORY/state" 2>/dev/null || echo -) $SRNAS_ARCHITECTURE" >> calls
echo "$SRNAS_ARCHITECTURE" > "$SRNAS_DIRECTORY/state"
while [ -e hold ]; do sleep 0.02; done
[ ! -e broken ] || { echo "out of memory" >&2; exit 7; }
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
echo "{\"loss\": $((200 - layers * width)), \"size\": $((layers * width))}"
"#;

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        let setup = Self(TempDir::new().unwrap());
        setup.write("space.toml", &format!("{SPACE}{RATE}"));
        setup.write("measure.sh", PROGRAM_TEXT);
        setup
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env("HOME", self.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The command of a new search in `s`.
    fn search(&self, more: &[&str]) -> Command {
        let base = ["search", "--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--minimise", "loss"];
        self.command(&[&base[..], &["--run-dir", "s"], more].concat())
    }

    fn resume(&self, more: &[&str]) -> Output {
        self.output(&[&["search", "--resume", "--run-dir", "s"], more].concat())
    }

    /// What was called, each with its slot, device, whether it was interrupted, the state in its folder, and the architecture.
    fn calls(&self) -> Vec<[String; 5]> {
        let text = fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        let call = |line: &str| {
            let mut parts = line.splitn(5, ' ').map(String::from);
            std::array::from_fn(|_| parts.next().unwrap())
        };
        text.lines().map(call).collect()
    }

    /// Waits until so many programs were started.
    fn wait_for_calls(&self, n: usize) {
        let deadline = std::time::Instant::now() + SOON;
        while self.calls().len() < n {
            assert!(std::time::Instant::now() < deadline, "{:?}", self.calls());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let ledger = Connection::open(self.path().join("s/ledger.sqlite")).unwrap();
        ledger.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// The last line of a `--json` output: the summary.
fn summary(out: &Output) -> serde_json::Value {
    let said = stdout(out);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    last["summary"].clone()
}

#[test]
fn first_points_have_slots_and_what_a_kill_interrupts_is_taken_up_first_with_its_folder() {
    let setup = Setup::new();
    setup.write(
        "known.csv",
        "layers,width,op,rate,loss,size\n3,64,skip,0.1,8,192\n1,8,,0.1,192,8\n2,16,conv,0.01,,\n3,8,pool,0.1,,\n1,64,,0.01,,\n",
    );
    setup.write("slots.env", "# two devices\nDEVICE=left\nDEVICE='right'\n");
    setup.write("hold", "");
    let more = ["--budget", "6", "--start", "known.csv", "--slots-env", "slots.env"];
    let mut first = Process::start(setup.search(&more));
    setup.wait_for_calls(2);
    first.kill();
    let before = setup.calls();
    let started = |calls: &[[String; 5]]| calls.iter().map(|call| call[4].clone()).collect::<Vec<_>>();
    let wanted = [
        r#"{"layers":2,"op":"conv","rate":0.01,"width":16}"#,
        r#"{"layers":3,"op":"pool","rate":0.1,"width":8}"#,
    ];
    let mut begun = started(&before);
    begun.sort();
    assert_eq!(begun, wanted);
    let mut slots: Vec<String> = before.iter().map(|call| call[..3].join(" ")).collect();
    slots.sort();
    assert_eq!(slots, ["0 left 0", "1 right 0"]);
    // What was measured elsewhere is in the ledger, and nothing was paid for it.
    assert_eq!(
        setup.one::<i64>("SELECT count(*) FROM measurements WHERE actor = 'elsewhere' AND cost = 0"),
        2
    );

    setup.remove("hold");
    let out = setup.resume(&["--budget", "6", "--json"]);
    let found = summary(&out);
    assert_eq!(
        (&found["measured"], &found["elsewhere"], &found["spent"]),
        (&8.into(), &2.into(), &6.0.into())
    );
    assert_eq!(found["best"]["value"], 8.0, "known from elsewhere");
    let after = setup.calls();
    // Both that were interrupted come first, know it, and find their folders as they were.
    let mut again: Vec<&[String; 5]> = after[2..4].iter().collect();
    again.sort_by(|a, b| a[4].cmp(&b[4]));
    for (call, architecture) in again.iter().zip(wanted) {
        assert_eq!((call[4].as_str(), call[3].as_str()), (architecture, architecture), "{call:?}");
    }
    assert!(started(&after[4..]).contains(&r#"{"layers":1,"rate":0.01,"width":64}"#.to_string()));
    assert_eq!(after.len(), 2 + 6);
    let all: std::collections::HashSet<String> = started(&after).into_iter().collect();
    assert_eq!(all.len(), 6, "nothing that is known from elsewhere is measured");
    // The same file again says nothing new.
    let out = setup.resume(&["--budget", "7", "--start", "known.csv", "--json"]);
    assert_eq!((summary(&out)["measured"].as_i64(), setup.calls().len()), (Some(9), 9));
    stdout(&setup.output(&["ledger", "verify", "s"]));
}

#[test]
fn bad_first_points_and_slots_are_named_and_nothing_is_begun() {
    let setup = Setup::new();
    setup.write("bad.jsonl", "{\"layers\": 1, \"width\": 8, \"rate\": 0.1}\n{\"layers\": 1, \"width\": 9, \"rate\": 0.1}\n{\"lairs\": 1}\n");
    setup.write("slots.env", "A=1\nB\n");
    setup.write("one.env", "A=1\n");
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--start", "bad.jsonl"], &["2 of 3 rows", "line 2: ", "no choice `9`", "line 3: it has neither"]),
        (&["--start", "nowhere.csv"], &["--start cannot read nowhere.csv"]),
        (&["--slots-env", "slots.env"], &["--slots-env slots.env: line 2: `B` is not KEY=VALUE"]),
        (
            &["--slots-env", "one.env", "--parallel", "2"],
            &["has 1 line, and --parallel 2 needs one line for each"],
        ),
        (&["--stop-when", "loss < 3"], &["`loss < 3` is no limit"]),
        (&["--stop-when", "never", "--stop-when", "loss <= 3"], &["--stop-when never"]),
        (&["--time-limit", "0s"], &["nothing would be measured"]),
        (&["--grace", "1m"], &["--time-limit"]),
    ];
    for (more, says) in cases {
        let (code, error) = failure(&setup.search(more).output().unwrap());
        assert!(code == 2 && says.iter().all(|says| error.contains(says)), "{more:?}: {error}");
        assert!(!setup.path().join("s/config.toml").exists() && setup.calls().is_empty(), "{more:?}");
    }
}

#[test]
fn a_search_ends_by_time_by_what_is_reached_and_by_no_gain_and_goes_on() {
    let setup = Setup::new();
    setup.write("hold", "");
    // Given up after the grace: nothing is paid, and the folder stays.
    let mut timed =
        Process::start(setup.search(&["--budget", "5", "--time-limit", "300ms", "--grace", "200ms"]));
    timed.wait_for(&["the time of 300ms is over", "1 measurement still runs"], SOON);
    timed.wait_for(&["given up: layers="], SOON);
    assert_eq!(timed.ends(SOON), Some(0));
    setup.remove("hold");
    let said = stdout(&setup.resume(&["--budget", "3"]));
    assert!(said.contains("3 architectures measured (0 before)"), "{said}");
    let calls = setup.calls();
    assert_eq!((calls.len(), &calls[1][2], &calls[1][4]), (4, &"1".to_string(), &calls[0][4]));

    // Waited for: it ends with what runs, and says how to go on.
    setup.write("hold", "");
    let resume = ["search", "--resume", "--run-dir", "s", "--budget", "9", "--time-limit", "300ms"];
    let mut patient = Process::start(setup.command(&resume));
    patient.wait_for(&["the time of 300ms is over"], SOON);
    setup.remove("hold");
    assert_eq!(patient.ends(SOON), Some(0));
    assert_eq!(setup.calls().len(), 5);

    // A limit is kept with the search.
    let found = setup.resume(&["--budget", "60", "--stop-when", "size >= 96", "--json"]);
    let ended = summary(&found);
    assert_eq!(ended["ended"], "size >= 96 is reached", "{ended}");
    assert!(ended["best"]["value"].as_f64() <= Some(104.0), "{ended}");
    let measured = ended["measured"].as_i64();
    assert_eq!(summary(&setup.resume(&["--budget", "60", "--json"]))["measured"], measured.unwrap());

    let other = [
        "search",
        "--oracle",
        "cmd:sh measure.sh",
        "--space",
        "space.toml",
        "--minimise",
        "loss",
        "--run-dir",
        "t",
    ];
    let reached = setup.output(&[&other[..], &["--budget", "40", "--stop-when", "size >= 96"]].concat());
    let said = stdout(&reached);
    assert!(said.contains("It ended before its budget of 40: size >= 96 is reached."), "{said}");
    assert!(said.contains("--stop-when never --budget 40"), "{said}");
    let again = ["search", "--resume", "--run-dir", "t", "--budget", "40", "--json"];
    let before = setup.calls().len();
    assert_eq!(
        summary(&setup.output(&again))["ended"],
        "size >= 96 is reached",
        "it is in the configuration"
    );
    assert_eq!(setup.calls().len(), before);
    let on = setup.output(&[&again[..], &["--stop-when", "never", "--no-gain", "3"]].concat());
    let on = summary(&on);
    assert_eq!(on["ended"], "3 full trainings' cost brought no gain", "{on}");
    let misspelt = setup.output(&[&again[..], &["--no-gain", "0", "--stop-when", "sise >= 1000"]].concat());
    assert!(
        text(&misspelt.stderr).contains("reports no metric `sise`; did you mean `size`?"),
        "{misspelt:?}"
    );
}

#[test]
fn what_failed_is_asked_again_first_where_that_is_wanted() {
    let setup = Setup::new();
    setup.write("broken", "");
    let failed = setup.search(&["--budget", "3"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    setup.remove("broken");
    stdout(&setup.resume(&["--budget", "5"]));
    let calls = setup.calls();
    assert_eq!(setup.one::<i64>("SELECT count(*) FROM infeasible"), 3);
    // stdout is kept beside stderr.
    let kept = fs::read_dir(setup.path().join("s/measurements")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(kept.join("stderr.txt")).unwrap().contains("out of memory"));
    assert!(kept.join("stdout.txt").exists());

    let (code, error) = failure(&setup.output(&["search", "retry", "--run-dir", "s", "--reason", "disk"]));
    assert!(code == 2 && error.contains("there is `exit status 7: out of memory` (3)"), "{error}");
    let (code, error) = failure(&setup.output(&["search", "retry", "--run-dir", "nowhere"]));
    assert!(code == 2 && error.contains("nowhere"), "{error}");
    let said = stdout(&setup.output(&["search", "retry", "--run-dir", "s", "--reason", "Out of Memory"]));
    assert!(
        said.contains("3 infeasible measurements are asked for again") && said.contains("--run-dir s"),
        "{said}"
    );
    assert_eq!(setup.one::<i64>("SELECT count(*) FROM infeasible"), 0);
    stdout(&setup.output(&["ledger", "verify", "s"]));
    let noted = fs::read_to_string(setup.path().join("s/retried.jsonl")).unwrap();
    assert!(noted.lines().count() == 3 && noted.contains("out of memory"), "{noted}");
    let (code, error) = failure(&setup.output(&["search", "retry", "--run-dir", "s"]));
    assert!(code == 2 && error.contains("no measurement in s is infeasible"), "{error}");

    // A kill in between changes nothing of what comes first.
    setup.write("hold", "");
    let mut first = Process::start(setup.command(&["search", "--resume", "--run-dir", "s", "--budget", "5"]));
    setup.wait_for_calls(6);
    first.kill();
    setup.remove("hold");
    let found = summary(&setup.resume(&["--budget", "5", "--json"]));
    assert_eq!((&found["measured"], &found["infeasible"]), (&5.into(), &0.into()));
    let of = |calls: &[[String; 5]]| calls.iter().map(|call| call[4].clone()).collect::<Vec<_>>();
    assert_eq!(of(&setup.calls()[6..]), of(&calls[..3]));
}

#[test]
fn a_search_answers_by_its_directory_while_it_runs_and_after() {
    let setup = Setup::new();
    setup.write("known.jsonl", "{\"layers\": 3, \"width\": 64, \"op\": \"conv\", \"rate\": 0.1, \"loss\": 8}\n{\"layers\": 1, \"width\": 8, \"rate\": 0.1}\n");
    setup.write("hold", "");
    let more = ["--budget", "30", "--parallel", "2", "--start", "known.jsonl"];
    let mut search = Process::start(setup.search(&more));
    setup.wait_for_calls(2);
    let said = stdout(&setup.output(&["status", "s"]));
    for part in [
        "search s · running (process ",
        "0 of 30 measured · 1 from elsewhere · 0 infeasible · 2 running",
        "best loss 8.0000: layers=3,width=64",
        "layers=1,width=8",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let look: serde_json::Value =
        serde_json::from_str(&stdout(&setup.output(&["status", "s", "--json"]))).unwrap();
    assert_eq!(
        (&look["running"], &look["best"], &look["status"]["budget"]),
        (&true.into(), &8.0.into(), &30.into())
    );
    assert_eq!(look["status"]["running"].as_array().unwrap().len(), 2);
    let top = stdout(&setup.output(&["top", "s", "--once"]));
    for part in ["search s · running", "measured now", "layers=1,width=8", "elsewhere", "best loss so far"] {
        assert!(top.contains(part), "no {part:?} in {top}");
    }
    let (code, error) = failure(&setup.output(&["search", "retry", "--run-dir", "s"]));
    assert!(code == 1 && error.contains("in use by process"), "{error}");
    // It begins nothing more, and what runs ends.
    assert!(stdout(&setup.output(&["drain", "s"])).contains("begins nothing more"));
    search.wait_for(&["it was asked to begin nothing more", "2 measurements still run"], SOON);
    setup.remove("hold");
    assert_eq!(search.ends(SOON), Some(0));
    assert_eq!(setup.calls().len(), 2);
    assert!(!setup.path().join("s/status.json").exists() && !setup.path().join("s/drain").exists());

    let said = stdout(&setup.output(&["status", "s"]));
    assert!(
        said.contains("search s · not running · 2 measured · 1 from elsewhere")
            && said.contains("--resume --run-dir s"),
        "{said}"
    );
    let best: serde_json::Value =
        serde_json::from_str(&stdout(&setup.output(&["best", "s", "--json"]))).unwrap();
    assert_eq!(
        best["best"]["decisions"],
        serde_json::json!({"layers": 3, "width": 64, "op": "conv", "rate": 0.1})
    );
    assert!(stdout(&setup.output(&["best", "s"])).contains("best loss "));
    let (code, error) = failure(&setup.output(&["drain", "s"]));
    assert!(code == 1 && error.contains("no search runs in s"), "{error}");
    for command in [&["status", "nowhere"][..], &["top", "nowhere", "--once"], &["best", "nowhere"]] {
        let (code, error) = failure(&setup.output(command));
        assert!(code == 2 && error.contains("nowhere"), "{error}");
    }
    let (code, error) = failure(&setup.output(&["top", "s"]));
    assert!(code == 2 && error.contains("--once"), "{error}");
    // A killed search leaves no status that is taken for one.
    setup.write("hold", "");
    let mut search =
        Process::start(setup.command(&["search", "--resume", "--run-dir", "s", "--budget", "30"]));
    setup.wait_for_calls(3);
    search.kill();
    assert!(setup.path().join("s/status.json").exists());
    assert!(stdout(&setup.output(&["status", "s"])).contains("not running"));
}

/// Reports as it goes; the worse half takes minutes.
const REPORTING: &str = r#"
echo "$SRNAS_ARCHITECTURE ${SRNAS_INTERRUPTED:-0}" >> reported
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
echo "{\"epoch\": 1, \"loss\": $((300 - layers * width)), \"size\": $((layers * width))}"
[ $((layers * width)) -ge 32 ] || sleep 300
echo "{\"epoch\": 2, \"loss\": $((250 - layers * width)), \"size\": $((layers * width))}"
"#;

#[test]
fn a_training_that_is_surely_worse_is_stopped_and_informs() {
    let setup = Setup::new();
    setup.write("measure.sh", REPORTING);
    setup.write("start.jsonl", "{\"layers\": 1, \"width\": 64, \"rate\": 0.1}\n{\"layers\": 1, \"width\": 32, \"rate\": 0.1}\n{\"layers\": 3, \"width\": 64, \"op\": \"conv\", \"rate\": 0.1}\n{\"layers\": 1, \"width\": 8, \"rate\": 0.1}\n");
    let more = ["--start", "start.jsonl", "--stop-early", "median:of=3"];
    stdout(&setup.search(&[&more[..], &["--budget", "3"]].concat()).output().unwrap());
    // Kept with the search, and the curves are known again.
    let resumed = setup.resume(&["--budget", "4", "--json"]);
    assert!(text(&resumed.stderr).contains("loss 292.0000 (stopped early at 1)"), "{resumed:?}");
    let found = summary(&resumed);
    assert_eq!((&found["measured"], &found["infeasible"]), (&4.into(), &0.into()));
    let of = |name: &str| {
        setup.one::<f64>(&format!("SELECT metrics.value FROM metrics JOIN measurements ON id = measurement WHERE id = 4 AND name = '{name}'"))
    };
    assert_eq!((of("stopped_at"), of("loss"), of("size")), (1.0, 292.0, 8.0));
    let curves = fs::read_dir(setup.path().join("s/curves")).unwrap().count();
    assert_eq!(curves, 4);
    let (code, error) = failure(&setup.search(&["--stop-early", "mean"]).output().unwrap());
    assert!(code == 2 && error.contains("`mean` is no rule"), "{error}");
}
