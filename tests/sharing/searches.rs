//! Real searches that share what they measure.

use super::server::Server;
use crate::harness::{Process, SOON, SPACE, command, failure, output, stdout, text};
use rusqlite::Connection;
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Notes whom it is called for; where `hold` is, it waits until that has gone.
const PROGRAM_TEXT: &str = r#"
echo "$SRNAS_ARCHITECTURE" >> calls
while [ -e hold ]; do sleep 0.02; done
sleep ${SECONDS_EACH:-0}
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
[ "$width" != 16 ] || { echo "out of memory" >&2; exit 7; }
echo "{\"loss\": $((200 - layers * width)), \"size\": $((layers * width))}"
"#;

/// A folder with a space, a program and searches, and a database.
struct Setup {
    folder: TempDir,
    server: Server,
    address: String,
}

impl Setup {
    fn new() -> Option<Self> {
        let server = Server::start()?;
        let (folder, address) = (TempDir::new().unwrap(), server.database("nas"));
        fs::write(folder.path().join("space.toml"), SPACE).unwrap();
        fs::write(folder.path().join("measure.sh"), PROGRAM_TEXT).unwrap();
        Some(Self { folder, server, address })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command of a search that shares.
    fn search(&self, run_dir: &str, more: &[&str]) -> Command {
        let base = ["search", "--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--minimise", "loss"];
        command(self.path(), &[&base[..], &["--run-dir", run_dir, "--ledger", &self.address], more].concat())
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        text.lines().map(String::from).collect()
    }

    fn wait_for_calls(&self, n: usize) {
        self.wait(|| self.calls().len() >= n);
    }

    fn wait(&self, mut until: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !until() {
            assert!(Instant::now() < deadline, "{:?}", self.calls());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Number of answers in a run directory, those that it paid for and all.
    fn answers(&self, run_dir: &str) -> (i64, i64) {
        let ledger = Connection::open(self.path().join(run_dir).join("ledger.sqlite")).unwrap();
        let sql = "SELECT count(*) FILTER (WHERE cost > 0), count(*) FROM answers";
        ledger.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    /// Number of answers in the database.
    fn shared(&self) -> i64 {
        self.server.client("nas").query_one("SELECT count(*) FROM answers", &[]).unwrap().get(0)
    }
}

fn summary(out: &Output) -> serde_json::Value {
    let said = stdout(out);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    last["summary"].clone()
}

fn distinct(calls: &[String]) -> usize {
    calls.iter().collect::<HashSet<_>>().len()
}

#[test]
fn searches_at_once_measure_nothing_twice_and_each_knows_what_the_others_found() {
    let Some(setup) = Setup::new() else { return };
    // The same seed: each would measure what the others do.
    let begun: Vec<_> = ["a", "b", "c"]
        .map(|run_dir| {
            let mut search = setup.search(run_dir, &["--budget", "6", "--parallel", "2", "--json"]);
            search.env("SECONDS_EACH", "0.2").spawn().unwrap()
        })
        .into_iter()
        .collect();
    let ended: Vec<Output> = begun.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for (out, run_dir) in ended.iter().zip(["a", "b", "c"]) {
        assert_eq!(summary(out)["spent"], 6.0, "{run_dir}: {}", text(&out.stderr));
        assert!(stdout(out).contains("\"elsewhere\":true") && stdout(out).contains("\"elsewhere\":false"));
        let (paid, all) = setup.answers(run_dir);
        assert!(paid == 6 && all > 6, "{run_dir}: {paid} of {all}");
    }
    let calls = setup.calls();
    assert_eq!((calls.len(), distinct(&calls)), (18, 18), "{calls:?}");
    assert_eq!(setup.shared(), 18);
    // Who comes later knows all from the beginning, and pays for what is new alone.
    let late = setup.search("d", &["--budget", "2", "--json"]).output().unwrap();
    assert!(text(&late.stderr).contains("18 are there"), "{}", text(&late.stderr));
    assert_eq!(setup.answers("d"), (2, 20));
    assert_eq!(distinct(&setup.calls()), 20);
    // Of the whole space nothing is left when all have gone on.
    let rest = setup.search("e", &["--budget", "28", "--json"]).output().unwrap();
    stdout(&rest);
    assert_eq!((setup.calls().len(), distinct(&setup.calls())), (28, 28));
    let verified = output(setup.path(), &["ledger", "verify", &setup.address]);
    assert!(
        stdout(&verified).contains("cmd/-loss over space: 28 answers are whole, 7 of them without a value"),
        "{verified:?}"
    );
}

#[test]
fn what_a_killed_search_was_measuring_others_measure_and_it_goes_on_with_what_they_found() {
    let Some(setup) = Setup::new() else { return };
    fs::write(setup.path().join("hold"), "").unwrap();
    let mut killed = Process::start(setup.search("a", &["--budget", "3"]));
    setup.wait_for_calls(1);
    let mut other = Process::start(setup.search("b", &["--budget", "27"]));
    setup.wait_for_calls(2);
    assert_eq!(distinct(&setup.calls()), 2, "what another measures is left to it");
    killed.kill();
    // A minute later.
    setup
        .server
        .client("nas")
        .execute("UPDATE claims SET until = now() WHERE holder LIKE '%/a'", &[])
        .unwrap();
    fs::remove_file(setup.path().join("hold")).unwrap();
    assert_eq!(other.ends(2 * SOON), Some(0), "{:?}", other.seen);
    // All but one of the space; what the killed one had begun was begun a second time.
    let calls = setup.calls();
    assert!(calls.len() - distinct(&calls) <= 1 && distinct(&calls) >= 27, "{calls:?}");
    let again = command(setup.path(), &["search", "--resume", "--run-dir", "a", "--budget", "1", "--json"])
        .env("PGPASSWORD", "ada")
        .output()
        .unwrap();
    stdout(&again);
    assert_eq!(setup.answers("a").1, 28);
    assert_eq!(distinct(&setup.calls()), 28);
    let claims: i64 =
        setup.server.client("nas").query_one("SELECT count(*) FROM claims", &[]).unwrap().get(0);
    assert_eq!(claims, 0);
}

#[test]
fn a_server_that_goes_costs_nothing_that_was_measured() {
    let Some(mut setup) = Setup::new() else { return };
    fs::write(setup.path().join("hold"), "").unwrap();
    let mut search = Process::start(setup.search("a", &["--budget", "6"]));
    setup.wait_for_calls(1);
    setup.server.kill();
    search.wait_for(&["the shared ledger", "goes on with what it knows"], SOON);
    fs::remove_file(setup.path().join("hold")).unwrap();
    setup.wait(|| setup.answers("a").0 >= 1);
    setup.server.run();
    search.wait_for(&["answers again"], SOON);
    assert_eq!(search.ends(2 * SOON), Some(0), "{:?}", search.seen);
    assert_eq!((setup.answers("a"), setup.shared()), ((6, 6), 6));
    // Gone for longer than anybody waits: it measures alone, and says what is not written.
    fs::write(setup.path().join("hold"), "").unwrap();
    let mut alone = Process::start(setup.search("b", &["--budget", "3"]));
    setup.wait_for_calls(7);
    setup.server.kill();
    fs::remove_file(setup.path().join("hold")).unwrap();
    alone.wait_for(&["measures without asking whether others do"], SOON);
    alone.wait_for(&["could not be written to", "--resume"], SOON);
    assert_eq!(alone.ends(SOON), Some(0), "{:?}", alone.seen);
    assert_eq!(setup.answers("b"), (3, 9));
    // Without it nothing goes on that is to share, unless that is said.
    let resume = ["search", "--resume", "--run-dir", "b", "--budget", "4"];
    let (code, said) = failure(&output(setup.path(), &resume));
    assert!(code == 1 && said.contains("the shared ledger") && said.contains("--ledger none"), "{said}");
    let out = output(setup.path(), &[&resume[..], &["--ledger", "none"]].concat());
    stdout(&out);
    setup.server.run();
    let out = output(setup.path(), &[&resume[..], &["--ledger", &setup.address]].concat());
    stdout(&out);
    assert_eq!((setup.answers("b"), setup.shared()), ((4, 10), 10));
}

#[test]
fn a_server_that_cannot_write_is_written_to_when_it_can() {
    let Some(setup) = Setup::new() else { return };
    stdout(&setup.search("a", &["--budget", "2"]).output().unwrap());
    // As it says where its disk is full.
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON measurements FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
        CREATE TRIGGER full_disk BEFORE INSERT ON infeasible FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
    let mut sql = setup.server.client("nas");
    sql.batch_execute(full).unwrap();
    fs::write(setup.path().join("hold"), "").unwrap();
    let mut search = Process::start(setup.search("b", &["--budget", "5"]));
    setup.wait_for_calls(3);
    fs::remove_file(setup.path().join("hold")).unwrap();
    search.wait_for(&["No space left on device", "goes on with what it knows"], SOON);
    setup.wait(|| setup.answers("b").0 == 5);
    assert_eq!(setup.shared(), 2);
    sql.batch_execute("DROP FUNCTION full_disk CASCADE").unwrap();
    assert_eq!(search.ends(SOON), Some(0), "{:?}", search.seen);
    assert_eq!((setup.answers("b"), setup.shared()), ((5, 7), 7));
}

#[test]
fn a_run_that_measures_first_and_a_search_of_a_language_model_share_too() {
    let Some(setup) = Setup::new() else { return };
    let own = [
        "run",
        "--space",
        "space.toml",
        "--oracle",
        "cmd:sh measure.sh",
        "--minimise",
        "loss",
        "--budget",
        "6",
    ];
    let mut run = Process::start(command(
        setup.path(),
        &[&own[..], &["--run-dir", "own", "--ledger", &setup.address]].concat(),
    ));
    run.wait_for(&["surrogate tasks are made"], SOON);
    run.kill();
    assert_eq!((setup.calls().len(), setup.shared()), (6, 6));
    let found = summary(&setup.search("b", &["--budget", "1", "--json"]).output().unwrap());
    assert_eq!((&found["elsewhere"], distinct(&setup.calls())), (&6.into(), 7));

    let of_a_model = |run_dir: &str, budget: &str| {
        let model = [
            "llm",
            "search",
            "--model",
            "built-in",
            "--tokens",
            "64",
            "--minimise",
            "nats",
            "--budget",
            budget,
            "--json",
        ];
        summary(&output(
            setup.path(),
            &[&model[..], &["--run-dir", run_dir, "--ledger", &setup.address]].concat(),
        ))
    };
    of_a_model("m", "3");
    assert_eq!(of_a_model("n", "1")["elsewhere"], 3);
}

#[test]
fn what_is_shared_is_a_past_of_other_searches_and_no_password_is_kept() {
    let Some(setup) = Setup::new() else { return };
    stdout(&setup.search("a", &["--budget", "12", "--json"]).output().unwrap());
    let kept = fs::read_to_string(setup.path().join("a/config.toml")).unwrap();
    let shown = setup.address.replace(":ada@", "@");
    assert!(kept.contains(&shown) && !kept.contains(&setup.address), "{kept}");
    let base = ["search", "--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--maximise", "size"];
    let more = ["--run-dir", "p", "--budget", "2", "--past", &setup.address, "--json"];
    let out = command(setup.path(), &[&base[..], &more].concat()).env("PGPASSWORD", "ada").output().unwrap();
    assert_eq!(summary(&out)["spent"], 2.0);
    let said = text(&out.stderr);
    assert!(
        said.contains(&format!("measurements of {shown} (cmd/-loss)")) && !said.contains("ada:ada"),
        "{said}"
    );
    // What is no address, and what has nothing of this space.
    let bad = |arguments: &[&str]| failure(&output(setup.path(), &[&base[..], arguments].concat()));
    let (code, said) = bad(&["--ledger", "run.sqlite", "--run-dir", "x", "--budget", "2"]);
    assert!(code == 2 && said.contains("is no address of a PostgreSQL database"), "{said}");
    let empty = setup.server.database("other");
    let out =
        command(setup.path(), &[&base[..], &["--past", &empty, "--run-dir", "y", "--budget", "2"]].concat())
            .env("PGPASSWORD", "ada")
            .output()
            .unwrap();
    assert!(failure(&out).1.contains("it has no task on this space"), "{out:?}");
    assert!(!setup.path().join("x").exists() && !setup.path().join("y").exists());
}
