//! End to end: runs that are stopped, killed and resumed, and what cannot be resumed.

mod harness;

use harness::{Process, SOON, Setup, text, write_benchmark_from};
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Checkpoints of a run, the oldest first.
fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    found.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    found.sort();
    found
}

/// Every file below a folder with its content, but for the lock and SQLite's side files.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else if !["learner.lock", "ledger.sqlite-shm", "ledger.sqlite-wal"]
            .contains(&path.file_name().unwrap().to_str().unwrap())
        {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A learner and an actor that acts.
fn started(setup: &Setup) -> (Process, Process, String) {
    let (learner, address) = setup.learner(&["--config", "run.toml"]);
    let mut actor = setup.actor(&address, "a");
    actor.wait_for(&["acts with the policy"], SOON);
    (learner, actor, address)
}

/// A run of a few seconds that was stopped by SIGTERM, with at least one checkpoint.
fn stopped_run(setup: &Setup) {
    let (mut learner, _actor, _) = started(setup);
    learner.wait_for(&["checkpoint", "path="], SOON);
    learner.signal("-TERM");
    assert!(learner.wait(SOON).success());
}

#[test]
fn a_stopped_run_drains_goes_on_and_says_how() {
    let setup = Setup::new();
    let (mut learner, mut actor, address) = started(&setup);
    learner.wait_for(&["checkpoint", "path="], SOON);

    // One learner at a time: the other hears who has the directory.
    let out = setup.output(&["learner", "--run-dir", "out", "--resume", "--listen", "127.0.0.1:0"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("in use") && said.contains(&format!("process {}", learner.child.id())), "{said}");

    learner.signal("-TERM");
    assert!(learner.wait(SOON).success());
    let run = setup.path().join("out");
    let before = checkpoints(&run);
    let updates = |path: &Path| path.file_name().unwrap().to_string_lossy().parse::<u64>().unwrap();
    assert!(run.join("policy.safetensors").is_file());

    // The actor waits, and joins the resumed learner by itself when it is back at the same address.
    actor.wait_for(&["connection lost"], SOON);
    let resume = ["learner", "--run-dir", "out", "--resume", "--listen", &address];
    let mut learner = Process::start(setup.command(&resume));
    learner.wait_for(&["the run goes on", &format!("updates={}", updates(before.last().unwrap()))], SOON);
    actor.wait_for(&["joined again"], SOON);
    loop {
        learner.wait_for(&["checkpoint", "path="], SOON);
        if updates(checkpoints(&run).last().unwrap()) > updates(before.last().unwrap()) {
            break;
        }
    }
    assert!(checkpoints(&run).len() <= 2, "older ones are removed");
    learner.signal("-INT");
    assert!(learner.wait(SOON).success());
}

#[test]
fn a_learner_says_how_it_goes_and_drains_when_asked() {
    let setup = Setup::new();
    let (mut learner, _actor, address) = started(&setup);
    let ask = |command: &str, more: &[&str]| {
        let out = setup.output(&[&[command, "--learner", &address], more].concat());
        assert!(out.status.success(), "{command}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let written = ask("checkpoint", &[]);
    assert!(setup.path().join(written.trim()).join("manifest.json").is_file(), "{written}");
    // Reports come once a second.
    learner.wait_for(&["1 actor(s)"], SOON);
    let status: serde_json::Value = serde_json::from_str(&ask("status", &["--json"])).unwrap();
    assert_eq!(status["actors"][0]["id"], "a");
    assert!(status["actors"][0]["environment_steps_per_s"].as_f64().unwrap() > 0.0, "{status}");
    assert!(status["checkpoint"].is_u64() && status["measurements"].as_u64().unwrap() > 0, "{status}");
    assert!(ask("status", &[]).contains("newest checkpoint: after"));
    let best = ask("best", &["--task", "depth", "--json"]);
    let best: serde_json::Value = serde_json::from_str(&best).unwrap();
    assert_eq!(best["task"], "nb201/made/depth");
    assert!(best["architecture"].as_str().unwrap().starts_with('|'), "{best}");
    ask("drain", &[]);
    assert!(learner.wait(SOON).success());
    let out = setup.output(&["status", "--learner", &address]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("no learner at"), "{}", text(&out.stderr));
}

#[test]
fn a_damaged_checkpoint_is_said_and_skipped() {
    let setup = Setup::new();
    let (mut learner, address) = setup.learner(&["--config", "run.toml"]);
    let _actor = setup.actor(&address, "a");
    let run = setup.path().join("out");
    while checkpoints(&run).len() < 2 {
        learner.wait_for(&["checkpoint", "path="], SOON);
    }
    learner.kill();
    let found = checkpoints(&run);
    let (newest, older) = (found.last().unwrap(), &found[found.len() - 2]);
    let damaged = newest.join("networks.safetensors");
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let (mut learner, _) = setup.learner(&["--resume"]);
    assert!(
        learner.seen.iter().any(|l| l.contains("damaged and skipped") && l.contains("networks.safetensors"))
    );
    let older = older.file_name().unwrap().to_str().unwrap();
    assert!(
        learner.seen.iter().any(|l| l.contains("the run goes on") && l.contains(older)),
        "{:?}",
        learner.seen
    );
    learner.kill();

    // Nothing whole is left: refused, and the measurements stay.
    for checkpoint in checkpoints(&run) {
        fs::write(checkpoint.join("manifest.json"), "{").unwrap();
    }
    let out = setup.output(&["learner", "--run-dir", "out", "--resume"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("none of the") && said.contains("anew"), "{said}");
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let (mut learner, _) = setup.learner(&["--resume"]);
    assert!(
        learner.seen.iter().any(|l| l.contains("begins anew with the measurements")),
        "{:?}",
        learner.seen
    );
    learner.kill();
}

#[test]
fn what_cannot_be_resumed_is_refused_and_left_as_it_was() {
    let setup = Setup::new();
    stopped_run(&setup);
    let run = setup.path().join("out");
    let before = content(&run);
    setup.config("wide.toml", &[("[learning]", "[network]\nwidth = 32\n[learning]")]);
    setup.config("other-tasks.toml", &[("{depth,width,mix}", "{depth,mix}")]);
    let refused = |arguments: &[&str], code: i32, parts: &[&str]| {
        let out = setup.output(arguments);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?} does not say {part:?}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(content(&run), before, "{arguments:?} changed something");
    };
    let resume = |config| ["run", "--resume", "--run-dir", "out", "--config", config];
    refused(&resume("wide.toml"), 2, &["network.width", "32", "64"]);
    refused(&resume("other-tasks.toml"), 1, &["another run"]);
    refused(&["run", "--run-dir", "out", "--config", "run.toml"], 2, &["holds a run already", "--resume"]);
    refused(&["run", "--resume", "--run-dir", "nowhere"], 2, &["nowhere"]);

    let ledger = Connection::open(run.join("ledger.sqlite")).unwrap();
    ledger.pragma_update(None, "user_version", 99).unwrap();
    drop(ledger);
    let out = setup.output(&["run", "--resume", "--run-dir", "out"]);
    assert!(text(&out.stderr).contains("schema 99"), "{}", text(&out.stderr));
    Connection::open(run.join("ledger.sqlite")).unwrap().pragma_update(None, "user_version", 4).unwrap();

    // The same names, another content.
    let other = setup.path().join("other");
    write_benchmark_from(&other, 40.0);
    let out = setup
        .command(&["run", "--resume", "--run-dir", "out"])
        .env("SRNAS_BENCH_DIR", &other)
        .output()
        .unwrap();
    assert!(text(&out.stderr).contains("another content"), "{}", text(&out.stderr));
}

#[test]
fn a_ledger_that_has_lost_something_is_not_gone_on_with_until_it_is_repaired() {
    let setup = Setup::new();
    stopped_run(&setup);
    let run = setup.path().join("out");
    let said = |arguments: &[&str], code: i32, part: &str| {
        let out = setup.output(arguments);
        let said = text(&out.stdout) + &text(&out.stderr);
        assert!(out.status.code() == Some(code) && said.contains(part), "{arguments:?}: {said}");
        said
    };
    said(&["ledger", "verify", "out"], 0, "answers are whole");
    said(&["ledger", "repair", "out"], 0, "nothing to repair");
    said(&["ledger", "backup", "out", "--to", "backup.sqlite"], 0, "backup.sqlite");
    said(&["ledger", "backup", "out", "--to", "backup.sqlite"], 2, "there is a file of that name");

    // An older copy, whole by itself: the checkpoint knows better.
    let raw = Connection::open(run.join("ledger.sqlite")).unwrap();
    let (id, sum): (i64, i64) = raw
        .query_row("SELECT id, checksum FROM answers ORDER BY id DESC LIMIT 1", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })
        .unwrap();
    let all: i64 = raw.query_row("SELECT checksum FROM run", [], |r| r.get(0)).unwrap();
    raw.execute("DELETE FROM measurements WHERE id = ?1", [id]).unwrap();
    said(&["run", "--resume", "--run-dir", "out"], 1, "were written");
    raw.execute("UPDATE run SET answers = answers - 1, checksum = ?1", [all.wrapping_sub(sum)]).unwrap();
    drop(raw);
    said(&["run", "--resume", "--run-dir", "out"], 1, "the last ones are gone");
    said(&["ledger", "verify", "out"], 1, "the last ones are gone");
    said(&["ledger", "repair", "out"], 0, "answers are kept");
    said(&["ledger", "verify", "out"], 0, "answers are whole");
    let (mut learner, _) = setup.learner(&["--resume"]);
    learner.kill();

    // Gone: not begun anew beside checkpoints of another.
    for file in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(run.join(file));
    }
    let before = content(&run);
    for resume in ["--resume", "--resume=auto"] {
        said(&["learner", "--run-dir", "out", resume, "--config", "run.toml"], 1, "has lost its ledger");
    }
    assert_eq!(content(&run), before);
    fs::copy(setup.path().join("backup.sqlite"), run.join("ledger.sqlite")).unwrap();
    let (mut learner, _) = setup.learner(&["--resume"]);
    assert!(learner.seen.iter().any(|l| l.contains("the run goes on")), "{:?}", learner.seen);
    learner.kill();
}

#[test]
fn a_resume_of_what_is_not_there_says_what_is() {
    let setup = Setup::new();
    let said = |arguments: &[&str], parts: &[&str]| {
        let out = setup.output(arguments);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    };
    for command in ["run", "learner", "search"] {
        said(&[command, "--resume", "--run-dir", "nowhere"], &["nowhere", "there is no such directory"]);
    }
    said(&["run", "--resume"], &["runs/latest", "--run-dir"]);
    let search = setup.path().join("s");
    fs::create_dir(&search).unwrap();
    fs::write(search.join("config.toml"), "oracle = \"cmd:true\"\nspace = \"nb201\"\nmetric = \"m\"\n")
        .unwrap();
    said(&["run", "--resume", "--run-dir", "s"], &["s", "no ledger.sqlite", "backup"]);
    fs::write(search.join("ledger.sqlite"), "").unwrap();
    said(&["run", "--resume", "--run-dir", "s"], &["holds a search", "srnas search --resume"]);
    said(&["learner", "--resume=auto", "--run-dir", "s"], &["holds a search", "srnas search --resume"]);
    said(&["run", "--resume", "--run-dir", "."], &["--run-dir ./s"]);
    fs::write(search.join("config.toml"), "[tasks]\ntrain = [\"nb201/made/depth\"]\n").unwrap();
    said(
        &["search", "--resume", "--run-dir", "s"],
        &["holds the training of a policy", "srnas run --resume"],
    );
    assert!(!setup.path().join("nowhere").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_said_so() {
    let setup = Setup::new();
    let out = setup.output(&["run", "--config", "run.toml", "--run-dir", "/proc/srnas-run"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("/proc/srnas-run") && said.contains("--run-dir"), "{said}");
}

#[test]
fn a_deterministic_run_ends_the_same_to_the_last_bit_also_over_a_kill() {
    let setup = Setup::new();
    setup.config(
        "turns.toml",
        &[
            ("prior = \"table\"", "prior = \"network\""),
            ("minutes = 5\n", "minutes = 5\nsteps = 6000\ndeterministic = true\nactors = 2\n"),
            ("starts = 2", "starts = 2\nupdates = 70"),
            ("minutes = 0.02", "updates = 40\nkeep = 1000"),
        ],
    );
    let whole = setup.output(&["run", "--config", "turns.toml", "--run-dir", "whole"]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let count = checkpoints(&setup.path().join("whole")).len();
    assert!(count >= 3, "{count} checkpoints");

    let mut killed = Process::start(setup.command(&["run", "--config", "turns.toml", "--run-dir", "killed"]));
    killed.wait_for(&["checkpoint; the actors begin anew", "000000080"], SOON);
    std::thread::sleep(Duration::from_millis(30));
    killed.kill();
    let killed_at = checkpoints(&setup.path().join("killed")).len();
    let resumed = setup.output(&["run", "--resume", "--run-dir", "killed"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(killed_at < count, "it was killed too late");

    let rows = |run: &str| -> Vec<(i64, i64, i64, String, f64, String)> {
        let ledger = Connection::open(setup.path().join(run).join("ledger.sqlite")).unwrap();
        let mut statement = ledger
            .prepare("SELECT id, task, key, architecture, value, actor FROM measurements ORDER BY id")
            .unwrap();
        let row = |r: &rusqlite::Row| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?));
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(rows("whole"), rows("killed"));
    let last = |run: &str| checkpoints(&setup.path().join(run)).pop().unwrap();
    for file in ["networks.safetensors", "replay.safetensors"] {
        let (a, b) =
            (fs::read(last("whole").join(file)).unwrap(), fs::read(last("killed").join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let policy = |run: &str| fs::read(setup.path().join(run).join("policy.safetensors")).unwrap();
    assert!(policy("whole") == policy("killed"), "the policies differ");
}
