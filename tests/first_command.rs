//! End to end: what works on a fresh machine: `srnas run` with nothing said, and searches by real trainings.

mod harness;
#[path = "first_command/inheriting.rs"]
mod inheriting;
#[path = "first_command/robust_students.rs"]
mod robust_students;

use harness::{PROGRAM, Process, SOON, text};
use rusqlite::Connection;
use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The program in a folder of its own, with no benchmarks but its own.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env_remove("SRNAS_BENCH_DIR")
        .env_remove("XDG_DATA_HOME")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

#[test]
fn the_first_command_trains_and_says_what_it_learned() {
    let folder = TempDir::new().unwrap();
    let short = ["run", "--minutes", "0.05", "--set", "comparison.seeds=4", "--set", "validation.starts=2"];
    let out = output(folder.path(), &short);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    for part in [
        "On 5 tasks that the run never saw, 4 starts each",
        "10 queries",
        "random  ",
        "local  ",
        "evolution:population=10,tournament=3",
        "this policy",
        "Best found for digits/val/fgsm@0.05: |",
        "cost/parameters",
        "report/report.html",
        "Everything of this run is in runs/digits-",
        "--oracle train --data digits",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let report = folder.path().join("runs/latest/report");
    assert!(std::fs::read_to_string(report.join("report.html")).unwrap().contains("digits/val/contrast"));
    // The second command it names.
    let next =
        ["search", "--policy", "runs/latest", "--task-set", "held-out", "--budget", "10", "--seeds", "2"];
    let searched = output(folder.path(), &next);
    assert!(searched.status.success(), "{}", text(&searched.stderr));
}

#[test]
fn the_built_in_benchmark_is_there_like_any_other_and_can_be_trained_again() {
    let folder = TempDir::new().unwrap();
    let listed = text(&output(folder.path(), &["bench", "list"]).stdout);
    assert!(listed.contains("digits") && listed.contains("(built in)"), "{listed}");
    let verified = output(folder.path(), &["bench", "verify", "digits", "--retrain", "3"]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
    assert_eq!(text(&verified.stdout).matches("trained again").count(), 3);
    let verified = output(folder.path(), &["bench", "verify", "digits-wrn", "--retrain", "2"]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
    assert_eq!(text(&verified.stdout).matches("trained again").count(), 2);
    let verified = output(folder.path(), &["bench", "verify", "control", "--retrain", "3"]);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
    let equal = |line: &&str| line.matches("8 equal scores").count() == 2;
    assert_eq!(text(&verified.stdout).lines().filter(equal).count(), 3);
    // An encoding that is not the one its class is stored under.
    let cell = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|";
    let found = output(folder.path(), &["bench", "query", "digits", cell, "--metric", "val/clean", "--json"]);
    let found: serde_json::Value = serde_json::from_str(text(&found.stdout).trim()).unwrap();
    assert_eq!(found["seeds"].as_array().unwrap().len(), 2);
    assert!(found["value"].as_f64().unwrap() > 50.0, "{found}");
}

#[test]
fn generating_is_interrupted_and_goes_on() {
    let folder = TempDir::new().unwrap();
    let journal = folder.path().join("d.trainings.jsonl");
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let mut first =
        Process::start(command(folder.path(), &["bench", "generate", "digits", "--out", "d.safetensors"]));
    let deadline = std::time::Instant::now() + SOON;
    while lines() < 4 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    first.signal("-INT");
    assert_eq!(first.ends(SOON), Some(1));
    let kept = lines();
    assert!(kept >= 4, "{kept}");
    let second =
        Process::start(command(folder.path(), &["bench", "generate", "digits", "--out", "d.safetensors"]));
    let deadline = std::time::Instant::now() + SOON;
    while lines() <= kept && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(second);
    let text = std::fs::read_to_string(&journal).unwrap();
    let done: Vec<(u64, u64)> = text
        .lines()
        .skip(1)
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|entry| (entry["class"].as_u64().unwrap(), entry["seed"].as_u64().unwrap()))
        .collect();
    let mut distinct = done.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), done.len(), "trained twice: {done:?}");
    assert!(done.len() > kept - 1);
}

/// Keys in the ledger of a search.
fn measured(run: &Path) -> usize {
    let ledger = Connection::open(run.join("ledger.sqlite")).unwrap();
    ledger
        .query_row("SELECT count(DISTINCT key) FROM (SELECT key FROM measurements UNION ALL SELECT key FROM infeasible)", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap() as usize
}

#[test]
fn a_search_of_40_trainings_is_killed_and_resumed_and_trains_nothing_twice() {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("s");
    let search = ["search", "--oracle", "train", "--data", "digits", "--budget", "40", "--run-dir", "s"];
    let mut first = Process::start(command(folder.path(), &search));
    first.wait_for(&["12 measured"], Duration::from_secs(120));
    let second = output(folder.path(), &[&search[..], &["--resume"]].concat());
    assert!(text(&second.stderr).contains("is in use by process"), "{}", text(&second.stderr));
    first.kill();
    let kept = measured(&run);
    assert!((12..40).contains(&kept), "{kept}");
    let again = output(folder.path(), &search);
    assert!(text(&again.stderr).contains("--resume"), "{}", text(&again.stderr));
    let resumed = output(
        folder.path(),
        &["search", "--oracle", "train", "--resume", "--run-dir", "s", "--budget", "40", "--json"],
    );
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(measured(&run), 40);
    let said = text(&resumed.stdout);
    // A line for each new training, and a summary.
    assert_eq!(said.lines().count(), 40 - kept + 1);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (last["summary"]["measured"].as_u64(), last["summary"]["before"].as_u64()),
        (Some(40), Some(kept as u64))
    );
    assert!(last["summary"]["best"]["value"].as_f64().unwrap() > 90.0, "{last}");
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("bad.toml"), "[recipe]\nepoch = 3\n").unwrap();
    std::fs::write(
        folder.path().join("wild.toml"),
        "[recipe]\nlearning_rate = 1e30\nepochs = 2\nbatch = 64\n",
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("mnist")).unwrap();
    std::fs::write(folder.path().join("mnist/train-images-idx3-ubyte"), b"no idx file").unwrap();
    let search = ["search", "--oracle", "train", "--budget", "2", "--run-dir", "s"];
    for (arguments, code, says) in [
        (&[][..], 2, "--data digits"),
        (&["--data", "digit"], 2, "`digit` is not a data set"),
        (&["--data", "cifar10:nowhere"], 2, "nowhere/data_batch_1.bin is missing"),
        (&["--data", "idx:mnist"], 2, "not such an IDX file"),
        (&["--data", "digits", "--maximise", "val/claen"], 2, "did you mean `val/clean`"),
        (&["--data", "digits", "--recipe", "bad.toml"], 2, "unknown field `epoch`"),
        (&["--data", "digits", "--recipe", "nowhere.toml"], 1, "cannot read nowhere.toml"),
        (&["--resume"], 2, "nothing to resume"),
    ] {
        let out = output(folder.path(), &[&search[..], arguments].concat());
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(says), "{arguments:?}: {}", text(&out.stderr));
        assert!(!folder.path().join("s").exists(), "{arguments:?} left something behind");
    }
    // Trainings that diverge are answers; a search that has nothing else found nothing.
    let wild = output(folder.path(), &[&search[..], &["--data", "digits", "--recipe", "wild.toml"]].concat());
    assert_eq!(wild.status.code(), Some(1), "{}", text(&wild.stderr));
    assert!(text(&wild.stderr).contains("none of 2 measurements has a value"), "{}", text(&wild.stderr));
    assert!(
        text(&wild.stdout).contains("2 architectures measured (0 before), 2 infeasible"),
        "{}",
        text(&wild.stdout)
    );
    assert_eq!(measured(&folder.path().join("s")), 2);
}

/// A small network, and weights that are shared for a moment.
const SMALL: &str =
    "[recipe]\nscale = { width = 4, stages = 2, cells = 1 }\nepochs = 2\nbatch = 64\n[shared]\nepochs = 6\n";

#[test]
fn a_search_on_shared_weights_says_so_trains_them_once_and_its_winner_alone() {
    let folder = TempDir::new().unwrap();
    let (path, weights) = (folder.path(), folder.path().join("s/shared-weights.safetensors"));
    std::fs::write(path.join("small.toml"), SMALL).unwrap();
    std::fs::write(path.join("other.toml"), SMALL.replace("epochs = 6", "epochs = 7")).unwrap();
    let of = |arguments: &[&str]| {
        let search = ["search", "--oracle", "shared", "--data", "digits", "--recipe", "small.toml"];
        output(path, &[&search[..], arguments].concat())
    };
    let first = of(&["--budget", "12", "--run-dir", "s"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let said = text(&first.stdout);
    for says in [
        "chosen by the method nas-rl",
        "Best shared_weights/accuracy after",
        "The same trained alone",
        "val/clean ",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert!(text(&first.stderr).contains("shared weights: epoch 6 of 6"), "{}", text(&first.stderr));
    // Nothing that was asked for has a figure of a training alone.
    let table = std::fs::read_to_string(path.join("s/measurements.csv")).unwrap();
    assert!(table.contains("shared_weights/accuracy") && !table.contains("val/clean"), "{table}");
    let kept = || -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(path.join("s/alone.json")).unwrap()).unwrap()
    };
    let alone = kept();
    assert!(alone["trained_alone"]["test/clean"].as_f64().unwrap() > 5.0, "{alone}");
    assert!(alone["on_shared_weights"]["shared_weights/accuracy"].is_f64(), "{alone}");
    let trained = std::fs::read(&weights).unwrap();
    // It goes on on the same weights, and so does another search, and a comparison.
    let more = output(path, &["search", "--resume", "--run-dir", "s", "--budget", "16", "--json"]);
    assert!(more.status.success(), "{}", text(&more.stderr));
    let last: serde_json::Value = serde_json::from_str(text(&more.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["measured"], 16);
    assert_eq!(last["summary"]["alone"], kept());
    let shared = ["--shared-weights", "s/shared-weights.safetensors"];
    let other = of(&[&shared[..], &["--budget", "4", "--seed", "5", "--run-dir", "t"]].concat());
    assert!(other.status.success(), "{}", text(&other.stderr));
    let compared =
        output(
            path,
            &[
                &[
                    "compare",
                    "--oracle",
                    "shared",
                    "--data",
                    "digits",
                    "--recipe",
                    "small.toml",
                    "--out",
                    "r",
                ][..],
                &shared,
                &["--method", "nas-rl", "--method", "random", "--budget", "3,6", "--seeds", "2"],
            ]
            .concat(),
        );
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    let asked = output(
        path,
        &["space", "shared", "nb201", "--draw", "40", "--recipe", "small.toml", "--weights"]
            .into_iter()
            .chain(["s/shared-weights.safetensors", "--against", "digits/val/clean"])
            .collect::<Vec<_>>(),
    );
    let said = text(&asked.stdout);
    assert!(said.contains("Shared weights against digits/val/clean") && said.contains("Spearman"), "{said}");
    assert_eq!(std::fs::read(&weights).unwrap(), trained);
    for out in [&more, &other, &compared, &asked] {
        assert!(!text(&out.stderr).contains("shared weights: epoch"), "{}", text(&out.stderr));
    }
    // Other weights in the same file, and what goes with trainings.
    let wrong = output(
        path,
        &[
            &["search", "--oracle", "shared", "--data", "digits", "--recipe", "other.toml", "--run-dir", "u"]
                [..],
            &shared,
        ]
        .concat(),
    );
    assert!(wrong.status.code() == Some(2), "{}", text(&wrong.stderr));
    assert!(text(&wrong.stderr).contains("`epochs` differs: 6 there, 7 here"), "{}", text(&wrong.stderr));
    for (arguments, says) in [
        (&["--fidelity", "epochs=1,2"][..], "--oracle shared makes none"),
        (&["--maximise", "val/clean"], "the oracle has no metric `val/clean`"),
        (&["--timeout", "3s"], "go with --oracle cmd:PROGRAM"),
    ] {
        let out = of(&[&["--run-dir", "u"], arguments].concat());
        assert!(out.status.code() == Some(2) && text(&out.stderr).contains(says), "{}", text(&out.stderr));
    }
    let train = ["search", "--oracle", "train", "--data", "digits", "--run-dir", "u"];
    let out = output(path, &[&train[..], &shared].concat());
    assert!(
        text(&out.stderr).contains("--shared-weights goes with --oracle shared"),
        "{}",
        text(&out.stderr)
    );
    assert!(!path.join("u").exists());
}
