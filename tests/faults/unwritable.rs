//! Stdout and stderr that are closed, full or never read: the work goes on and ends as it would.

use super::{free_address, setup};
use crate::harness::{Process, SOON, Setup, text};
use rusqlite::Connection;
use std::{
    fs::File,
    io::{Write, pipe},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A pipe whose reader has gone, as after `| head -1`.
fn gone() -> Stdio {
    pipe().unwrap().1.into()
}

/// A disk without room.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn ends(child: &mut Child, within: Duration) -> Option<i32> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("it does not end within {within:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Exit code of a command with these for stdout and stderr; `None` where a signal ended it.
fn code(mut command: Command, stdout: Stdio, stderr: Stdio) -> Option<i32> {
    ends(&mut command.stdout(stdout).stderr(stderr).spawn().unwrap(), 2 * SOON)
}

/// What only prints.
const ANSWERS: [&[&str]; 9] = [
    &["--help"],
    &["search", "--help"],
    &["--version"],
    &["config", "reference"],
    &["config", "show", "--json"],
    &["space", "check", "nb201"],
    &["bench", "list"],
    &["bench", "info", "digits"],
    &["bench", "agreement", "digits", "--json"],
];

#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
    let setup = Setup::new();
    for arguments in ANSWERS {
        assert_eq!(code(setup.command(arguments), gone(), full()), Some(0), "{arguments:?}");
        assert_eq!(code(setup.command(arguments), full(), gone()), Some(1), "{arguments:?}");
        let said = setup.command(arguments).stdout(full()).output().unwrap();
        let complaint = text(&said.stderr);
        assert!(complaint.contains("stdout cannot be written"), "{arguments:?}: {complaint}");
    }
    // What fails fails as before, whoever hears of it.
    for (wrong, expected) in [(["space", "check", "nosuch"], 2), (["bench", "info", "nosuch"], 1)] {
        let usual = setup.output(&wrong).status.code();
        assert_eq!(usual, Some(expected), "{wrong:?}");
        assert_eq!(code(setup.command(&wrong), gone(), gone()), usual, "{wrong:?}");
        assert_eq!(code(setup.command(&wrong), full(), full()), usual, "{wrong:?}");
    }
    assert_eq!(code(setup.command(&["search", "--nosuch"]), gone(), full()), Some(2));
}

#[test]
fn searches_and_comparisons_go_on_when_nobody_reads() {
    let setup = Setup::new();
    let space = "[[decisions]]\nname = \"a\"\nchoices = [1, 2, 3, 4, 5, 6]\n";
    std::fs::write(setup.path().join("space.toml"), space).unwrap();
    for (name, stdout, stderr) in [("gone", gone(), full()), ("full", full(), gone())] {
        let search = setup.command(&[
            "search",
            "--oracle",
            "cmd:sleep 0.05; echo '{\"loss\": 1}'",
            "--space",
            "space.toml",
            "--minimise",
            "loss",
            "--budget",
            "6",
            "--run-dir",
            name,
            "--json",
        ]);
        assert_eq!(code(search, stdout, stderr), Some(0), "{name}");
        let ledger = Connection::open(setup.path().join(name).join("ledger.sqlite")).unwrap();
        let measured: i64 =
            ledger.query_row("SELECT count(*) FROM measurements", [], |row| row.get(0)).unwrap();
        assert_eq!(measured, 6, "{name}");
        assert!(setup.path().join(name).join("report.html").is_file(), "{name}");
        let compare = ["compare", "--task", "nb201/made/depth", "--method", "random", "--budget", "5"];
        let out = format!("report-{name}");
        let compare = setup.command(&[&compare[..], &["--seeds", "2", "--out", &out]].concat());
        assert_eq!(code(compare, if name == "gone" { gone() } else { full() }, full()), Some(0), "{name}");
        assert!(setup.path().join(out).join("report.html").is_file(), "{name}");
    }
}

#[test]
fn a_run_whose_output_goes_nowhere_trains_to_its_end() {
    let setup = Setup::new();
    let arguments = ["run", "--config", "run.toml", "--steps", "3000", "--actors", "1", "--run-dir", "out"];
    assert_eq!(code(setup.command(&arguments), gone(), full()), Some(0));
    assert!(setup.path().join("out/policy.safetensors").is_file());
    let policy = setup.path().join("out");
    let search = ["search", "--policy", policy.to_str().unwrap(), "--task", "nb201/made/other"];
    let search = [&search[..], &["--budget", "5", "--seeds", "2"]].concat();
    for more in [&[][..], &["--json"]] {
        let search = [&search[..], more].concat();
        assert_eq!(code(setup.command(&search), gone(), gone()), Some(0), "{more:?}");
        // Of this search nothing is left but what it printed.
        assert_eq!(code(setup.command(&search), full(), gone()), Some(1), "{more:?}");
    }
}

#[test]
fn learner_actor_and_evaluator_hear_sigterm_whatever_becomes_of_their_logs() {
    let setup = setup();
    // A pipe without room, whose reader is there and reads nothing.
    let unread = || {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(&[b'.'; 1 << 16]).unwrap();
        (Some(reader), Stdio::from(writer))
    };
    for stderr in [&(|| (None, gone())) as &dyn Fn() -> _, &|| (None, full()), &unread] {
        let address = free_address();
        let mut kept = Vec::new();
        let mut start = |arguments: &[&str]| {
            let (reader, stderr) = stderr();
            kept.extend(reader);
            setup.command(arguments).stdout(gone()).stderr(stderr).spawn().unwrap()
        };
        let learner = ["learner", "--config", "quick.toml", "--run-dir", "out", "--listen", &address];
        let mut learner = start(&[&learner[..], &["--resume=auto"]].concat());
        let mut actor = start(&["actor", "--learner", &address]);
        let mut evaluator = start(&["evaluator", "--search", &free_address(), "--oracle", "cmd:true"]);
        let deadline = Instant::now() + SOON;
        let status = ["status", "--learner", &address, "--json"];
        while !text(&setup.output(&status).stdout).contains("\"policy_lag\"") {
            assert!(Instant::now() < deadline, "no actor joins");
            thread::sleep(Duration::from_millis(100));
        }
        for child in [&mut evaluator, &mut actor, &mut learner] {
            Process::signal_to(child.id(), "-TERM");
            assert_eq!(ends(child, SOON), Some(0));
        }
    }
}
