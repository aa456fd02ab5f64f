//! End to end: a search whose architectures are measured by evaluators, some of which die, as the search does.

mod harness;

use harness::{PROGRAM, Process, SOON, SPACE, failure, stdout};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Notes that it began and that it ended; says a loss that the space's names determine; one operation fails, and where
/// the file `slow` is, everything takes its time.
const PROGRAM_TEXT: &str = r#"
echo "$1 $SRNAS_ARCHITECTURE" >> began
while [ -e slow ]; do sleep 0.05; done
sleep 0.1
case "$SRNAS_ARCHITECTURE" in *'"op":"pool"'*) echo "no pool here" >&2; exit 3;; esac
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
echo "$1 $SRNAS_ARCHITECTURE" >> ended
echo "{\"loss\": $((1000 - layers * width)), \"layers\": $layers}"
"#;

struct Setup(TempDir);

impl Setup {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("space.toml"), SPACE).unwrap();
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

    /// A search that waits for evaluators, and its address.
    fn search(&self, arguments: &[&str]) -> (Process, String) {
        let mut search = Process::start(self.command(&[&["search"], arguments].concat()));
        let line = search.wait_for(&["listening for evaluators"], SOON);
        (search, line.split("address=").nth(1).unwrap().trim().to_string())
    }

    fn begin(&self, arguments: &[&str]) -> (Process, String) {
        let new = ["--oracle", "remote", "--space", "space.toml", "--minimise", "loss", "--run-dir", "s"];
        self.search(&[&new, arguments].concat())
    }

    fn evaluator(&self, address: &str, id: &str, arguments: &[&str]) -> Process {
        let oracle = format!("cmd:sh measure.sh {id}");
        let all = ["evaluator", "--search", address, "--id", id, "--oracle", &oracle];
        Process::start(self.command(&[&all, arguments].concat()))
    }

    /// How often each architecture is in a file that the program writes.
    fn noted(&self, file: &str) -> HashMap<String, usize> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        let mut counts = HashMap::new();
        // What the third began goes on without it, and nobody hears of it.
        let lines = text.lines().filter(|line| !line.starts_with("third"));
        lines.for_each(|line| *counts.entry(line[line.find(' ').unwrap()..].to_string()).or_default() += 1);
        counts
    }

    fn kept(&self, query: &str) -> i64 {
        let ledger = Connection::open(self.path().join("s/ledger.sqlite")).unwrap();
        ledger.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn evaluators_and_the_search_are_killed_and_everything_is_measured_once() {
    let setup = Setup::new();
    let (mut search, address) = setup.begin(&["--budget", "28", "--lease", "2s", "--listen", "127.0.0.1:0"]);
    let mut first = setup.evaluator(&address, "first", &[]);
    let mut second = setup.evaluator(&address, "second", &[]);
    let mut third = setup.evaluator(&address, "third", &[]);
    search.wait_for(&["5 measured"], SOON);
    // One dies in the middle of a measurement: it is begun, and never ended.
    fs::write(setup.path().join("slow"), "").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    third.kill();
    // So does the search, while the two others are at work.
    search.kill();
    let before = setup.kept("SELECT (SELECT count(*) FROM measurements) + (SELECT count(*) FROM infeasible)");
    // Those at work when it was said, and what they began until they were slow.
    assert!((5..=14).contains(&before), "{before}");
    let (mut search, again) =
        setup.search(&["--resume", "--run-dir", "s", "--budget", "28", "--listen", &address]);
    assert_eq!(again, address);
    for evaluator in [&mut first, &mut second] {
        evaluator.wait_for(&["attached again"], SOON);
    }
    fs::remove_file(setup.path().join("slow")).unwrap();
    assert_eq!(search.ends(SOON), Some(0));
    for evaluator in [&mut first, &mut second] {
        evaluator.wait_for(&["measurements counted"], SOON);
        assert_eq!(evaluator.ends(SOON), Some(0));
    }
    // The ledger has who measured what.
    let by = "FROM (SELECT actor FROM measurements UNION ALL SELECT actor FROM infeasible) WHERE actor";
    let named = format!("SELECT count(*) {by} IN ('first', 'second', 'third')");
    assert_eq!(setup.kept(&named), 28);
    let feasible = setup.kept("SELECT count(*) FROM measurements");
    assert_eq!(feasible + setup.kept("SELECT count(*) FROM infeasible"), 28, "each once, all that there are");
    assert_eq!(setup.kept("SELECT count(*) FROM infeasible WHERE reason LIKE '%no pool here%'"), 8);
    // What the two were at when the search died is not begun again, nor anything else.
    assert!(setup.noted("ended").values().all(|&times| times == 1), "{:?}", setup.noted("ended"));
    let begun = setup.noted("began");
    assert!(begun.values().all(|&times| times == 1), "{begun:?}");
}

#[test]
fn too_long_is_infeasible_and_its_evaluator_goes_on() {
    let setup = Setup::new();
    fs::write(setup.path().join("slow"), "").unwrap();
    let limits = ["--budget", "3", "--lease", "1s", "--timeout", "500ms", "--listen", "127.0.0.1:0"];
    let (mut search, address) = setup.begin(&limits);
    let mut evaluator = setup.evaluator(&address, "only", &[]);
    search.wait_for(&["1 measured", "infeasible: it took longer than 500ms"], SOON);
    fs::remove_file(setup.path().join("slow")).unwrap();
    evaluator.wait_for(&["not wanted here any more"], SOON);
    assert_eq!(search.ends(SOON), Some(0));
    assert_eq!(evaluator.ends(SOON), Some(0));
    assert_eq!(setup.kept("SELECT count(*) FROM measurements"), 2);
    assert_eq!(setup.kept("SELECT count(*) FROM infeasible"), 1);
}

#[test]
fn an_evaluator_whose_search_has_gone_hears_sigterm_and_gives_up_in_time() {
    let setup = Setup::new();
    fs::write(setup.path().join("slow"), "").unwrap();
    let (mut search, address) = setup.begin(&["--budget", "9", "--listen", "127.0.0.1:0"]);
    let mut told = setup.evaluator(&address, "told", &[]);
    let mut tired = setup.evaluator(&address, "tired", &["--connect-timeout", "5s"]);
    let began = |id: &str| {
        let noted = fs::read_to_string(setup.path().join("began")).unwrap_or_default();
        noted.lines().any(|line| line.starts_with(id))
    };
    let deadline = Instant::now() + SOON;
    while !(began("told") && began("tired")) {
        assert!(Instant::now() < deadline, "they do not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The search goes; what they measure comes to its end, and there is nobody to tell.
    search.kill();
    fs::remove_file(setup.path().join("slow")).unwrap();
    let gone = Instant::now();
    told.wait_for(&["no search yet"], SOON);
    told.signal("-TERM");
    told.wait_for(&["could not be told to the search"], SOON);
    assert_eq!(told.ends(SOON), Some(0));
    tired.wait_for(&["no search at", "after 5 s"], SOON);
    assert_eq!(tired.ends(SOON), Some(1));
    assert!(gone.elapsed() >= Duration::from_secs(5), "it gave up too early");
}

#[test]
fn who_may_not_come_is_told_why_and_what_does_not_fit_is_refused() {
    let setup = Setup::new();
    fs::write(setup.path().join("token"), "0123456789abcdef0123").unwrap();
    let (mut search, address) =
        setup.begin(&["--budget", "2", "--listen", "127.0.0.1:0", "--token-file", "token"]);
    let url = format!("http://{address}");
    let bare = setup.output(&["evaluator", "--search", &url, "--oracle", "cmd:true"]);
    let (code, said) = failure(&bare);
    assert_eq!((code, said.contains("asks for a token")), (1, true), "{said}");
    let mut evaluator = setup.evaluator(&address, "good", &["--token-file", "token", "--parallel", "2"]);
    assert_eq!((search.ends(SOON), evaluator.ends(SOON)), (Some(0), Some(0)));

    for (arguments, expected) in [
        (&["evaluator", "--search", &url, "--oracle", "dog"][..], "or `cmd:PROGRAM`"),
        (
            &["evaluator", "--search", &url, "--oracle", "cmd:true", "--data", "digits"],
            "--data and --recipe go with",
        ),
        (&["evaluator", "--search", "nowhere", "--oracle", "cmd:true"], "a host and a port"),
        (&["search", "--oracle", "remote", "--minimise", "loss"], "needs --space FILE"),
        (
            &["search", "--oracle", "remote", "--space", "space.toml", "--minimise", "loss", "--keep"],
            "--keep goes with",
        ),
        (
            &["search", "--oracle", "cmd:true", "--space", "space.toml", "--minimise", "x", "--lease", "3s"],
            "--listen and --lease",
        ),
        (
            &["search", "--oracle", "remote", "--space", "space.toml", "--minimise", "x", "--lease", "10ms"],
            "a second at least",
        ),
        (
            &[
                "search",
                "--oracle",
                "remote",
                "--space",
                "space.toml",
                "--minimise",
                "x",
                "--listen",
                "0.0.0.0:0",
            ],
            "no token is set",
        ),
    ] {
        let (code, said) = failure(&setup.output(arguments));
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(code, if expected.contains("host") { 1 } else { 2 }, "{said}");
    }
    let patient = ["evaluator", "--search", &url, "--oracle", "cmd:true", "--connect-timeout", "1"];
    let (code, said) = failure(&setup.output(&patient));
    assert_eq!((code, said.contains("no search at")), (1, true), "{said}");
    // A search that is over is so when it is asked again.
    stdout(&setup.output(&[
        "search",
        "--resume",
        "--run-dir",
        "s",
        "--budget",
        "2",
        "--token-file",
        "token",
    ]));
}

/// Says how it goes, and where the file `hold` is, waits between its epochs; the worse half takes minutes.
const REPORTING: &str = r#"
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
size=$((layers * width))
echo "$size" >> began
echo "{\"epoch\": 1, \"loss\": $((300 - size)), \"size\": $size}"
while [ -e hold ]; do sleep 0.05; done
[ $size -ge 32 ] || sleep 300
echo "{\"epoch\": 2, \"loss\": $((250 - size)), \"size\": $size}"
"#;

#[test]
fn what_evaluators_report_is_kept_and_what_is_surely_worse_is_stopped() {
    let setup = Setup::new();
    let write = |name: &str, text: &str| fs::write(setup.path().join(name), text).unwrap();
    write("measure.sh", REPORTING);
    write(
        "start.jsonl",
        r#"{"layers": 1, "width": 64}
{"layers": 1, "width": 32}
{"layers": 3, "width": 64, "op": "conv"}
{"layers": 1, "width": 8}
{"layers": 2, "width": 64, "op": "conv"}
"#,
    );
    let more =
        ["--start", "start.jsonl", "--stop-early", "median:of=3", "--lease", "2s", "--listen", "127.0.0.1:0"];
    let (mut search, address) = setup.begin(&[&more[..], &["--budget", "3"]].concat());
    let mut evaluator = setup.evaluator(&address, "one", &[]);
    assert_eq!((search.ends(SOON), evaluator.ends(SOON)), (Some(0), Some(0)));
    let curves = || {
        let files = fs::read_dir(setup.path().join("s/curves")).unwrap();
        let text = |file: std::io::Result<fs::DirEntry>| fs::read_to_string(file.unwrap().path()).unwrap();
        let mut texts: Vec<String> = files.map(text).collect();
        texts.sort();
        texts
    };
    let whole = |size: u32| {
        let (first, second) = (300.0 - f64::from(size), 250.0 - f64::from(size));
        format!(
            "{{\"epoch\":1.0,\"loss\":{first:.1},\"size\":{size}.0}}\n{{\"epoch\":2.0,\"loss\":{second:.1},\"size\":{size}.0}}\n"
        )
    };
    assert_eq!(curves(), [whole(192), whole(64), whole(32)]);

    // Another search knows them, and stops the fourth.
    let resume = |more: &[&str]| {
        setup.search(&[&["--resume", "--run-dir", "s", "--listen", &address][..], more].concat()).0
    };
    let mut search = resume(&["--budget", "4"]);
    let mut evaluator = setup.evaluator(&address, "one", &[]);
    search.wait_for(&["loss 292.0000 (stopped early at 1)"], SOON);
    assert_eq!((search.ends(SOON), evaluator.ends(SOON)), (Some(0), Some(0)));
    let ledger = Connection::open(setup.path().join("s/ledger.sqlite")).unwrap();
    let of = |name: &str| -> f64 {
        let query = "SELECT metrics.value FROM metrics JOIN measurements ON id = measurement WHERE id = 4 AND name = ?1";
        ledger.query_row(query, [name], |row| row.get(0)).unwrap()
    };
    assert_eq!((of("stopped_at"), of("loss"), of("size")), (1.0, 292.0, 8.0));

    // What is reported is seen while it runs, and a search that was killed goes on with what it had of it.
    write("hold", "");
    let mut search = resume(&["--budget", "5", "--stop-early", "never"]);
    let mut evaluator = setup.evaluator(&address, "one", &[]);
    let deadline = Instant::now() + SOON;
    while curves().len() < 5 {
        assert!(Instant::now() < deadline, "nothing is heard");
        std::thread::sleep(Duration::from_millis(50));
    }
    stdout(&setup.output(&["view", "s", "--to", "page.html"]));
    let page = fs::read_to_string(setup.path().join("page.html")).unwrap();
    assert!(page.contains("\"said\":\"1: loss 172.0000\"") && page.contains("\"early\":true"), "{page}");
    search.kill();
    let mut search = resume(&["--budget", "5"]);
    evaluator.wait_for(&["attached again"], SOON);
    fs::remove_file(setup.path().join("hold")).unwrap();
    assert_eq!((search.ends(SOON), evaluator.ends(SOON)), (Some(0), Some(0)));
    assert!(curves().contains(&whole(128)), "{:?}", curves());
    assert_eq!(fs::read_to_string(setup.path().join("began")).unwrap(), "64\n32\n192\n8\n128\n");
}
