//! End to end: the parts of a language model are searched, the search is killed and goes on, and what is picked is exported; a
//! model is tuned, the training is killed and goes on to the same model.

mod harness;

use harness::{Process, command, failure, output, stdout, text};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

fn until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "it takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}

fn measured(run_dir: &Path) -> usize {
    // Not made where it is not there yet: the search would find somebody else's.
    let there = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(ledger) = Connection::open_with_flags(run_dir.join("ledger.sqlite"), there) else { return 0 };
    ledger.query_row("SELECT COUNT(*) FROM measurements", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
        as usize
}

const SEARCH: [&str; 16] = [
    "llm",
    "search",
    "--model",
    "built-in",
    "--tokens",
    "4096",
    "--limit",
    "24",
    "--minimise",
    "perplexity",
    "--minimise",
    "bytes",
    "--run-dir",
    "parts",
    "--budget",
    "30",
];

#[test]
fn a_search_of_parts_is_killed_goes_on_and_what_it_picks_is_exported() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut search = Process::start(command(folder, &SEARCH));
    let parts = folder.join("parts");
    until(|| measured(&parts) >= 8);
    search.kill();
    let before = measured(&parts);
    assert!(before < 30);
    let ended = output(folder, &["llm", "search", "--resume", "--run-dir", "parts", "--budget", "30"]);
    let said = stdout(&ended);
    assert!(said.contains("smallest") && said.contains("the whole"), "{said}");
    assert_eq!(measured(&parts), 30);
    let ledger = Connection::open(parts.join("ledger.sqlite")).unwrap();
    let mut keys = ledger.prepare("SELECT key FROM measurements").unwrap();
    let keys: HashSet<i64> = keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(keys.len(), 30, "nothing is measured twice");
    // The whole model was measured, and what is smallest is smaller and nearly as good.
    let picks = stdout(&output(folder, &["llm", "picks", "--run-dir", "parts", "--within", "0.3", "--json"]));
    let smallest: Value = serde_json::from_str(picks.lines().next().unwrap()).unwrap();
    assert_eq!(smallest["pick"], "smallest");
    let bytes = smallest["metrics"]["bytes"].as_f64().unwrap();
    for to in ["smallest.gguf", "smallest"] {
        let export = ["llm", "export", "--run-dir", "parts", "--pick", "best:400000", "--to", to, "--json"];
        let written: Value = serde_json::from_str(&stdout(&output(folder, &export))).unwrap();
        assert!(written["bytes"].as_f64().unwrap() <= 400_000.0);
        let generated = output(
            folder,
            &["llm", "generate", "--model", to, "--prompt", "A happy", "--tokens", "8", "--json"],
        );
        let generated: Value = serde_json::from_str(&stdout(&generated)).unwrap();
        assert_eq!(generated["tokens"].as_array().unwrap().len(), 8, "{generated}");
    }
    // What the picks say under a share is what is written under it, in f32 as it is stored.
    let export = [
        "llm",
        "export",
        "--run-dir",
        "parts",
        "--pick",
        "smallest",
        "--within",
        "0.3",
        "--to",
        "p.gguf",
        "--json",
    ];
    let written: Value = serde_json::from_str(&stdout(&output(folder, &export))).unwrap();
    assert_eq!(written["bytes"].as_f64(), Some(bytes));
    let refused = [&export[..5], &["smallest", "--within", "nan", "--to", "q.gguf"]].concat();
    let (code, said) = failure(&output(folder, &refused));
    assert!(code == 2 && said.contains("it is a share, such as 0.01"), "{said}");
    // Another goal cannot be gone on with, and what is no pick is refused with those that are.
    let other = output(folder, &["llm", "search", "--resume", "--run-dir", "parts", "--minimise", "nats"]);
    assert_eq!(failure(&other).0, 2);
    let other = output(folder, &["llm", "search", "--resume", "--run-dir", "parts", "--model", "built-in"]);
    assert_eq!(failure(&other).0, 2);
    let wrong =
        output(folder, &["llm", "export", "--run-dir", "parts", "--pick", "largest", "--to", "x.gguf"]);
    let (code, said) = failure(&wrong);
    assert!(code == 2 && said.contains("smallest"), "{said}");
    assert!(!folder.join("x.gguf").exists());
}

#[test]
fn a_program_measures_a_part_as_an_evaluator_asks_it_to() {
    let folder = TempDir::new().unwrap();
    let mut command = command(
        folder.path(),
        &["llm", "measure", "--model", "built-in", "--tokens", "1024", "--limit", "4"],
    );
    let mut measure = command.stdin(Stdio::piped()).spawn().unwrap();
    let asked = br#"{"layer0": 96, "format0": "q8_0", "layer1": 0, "format_embedding": "f32"}"#;
    measure.stdin.take().unwrap().write_all(asked).unwrap();
    let said: Value = serde_json::from_str(text(&measure.wait_with_output().unwrap().stdout).trim()).unwrap();
    for metric in ["bytes", "nats", "perplexity", "accuracy"] {
        assert!(said[metric].as_f64().is_some_and(f64::is_finite), "{said}");
    }
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_model() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let tale = "A happy meeb lived in the snow. It was black, as every meeb is. Nobody saw them again.\n";
    fs::write(folder.join("tales.txt"), tale.repeat(200)).unwrap();
    let tune = |run_dir: &'static str| {
        let fixed = [
            "llm",
            "tune",
            "--model",
            "built-in",
            "--text",
            "tales.txt",
            "--steps",
            "24",
            "--checkpoint",
            "4",
        ];
        let sizes = ["--sequences", "4", "--length", "32", "--run-dir", run_dir];
        [&fixed[..], &sizes[..]].concat()
    };
    let through = stdout(&output(folder, &tune("through")));
    assert!(through.contains("the whole") && through.contains("without layer 0"), "{through}");
    let mut killed = Process::start(command(folder, &tune("killed")));
    until(|| folder.join("killed/tuning.safetensors").exists());
    killed.kill();
    let (code, said) = failure(&output(folder, &tune("killed")));
    assert!(code == 2 && said.contains("--resume"), "{said}");
    stdout(&output(folder, &["llm", "tune", "--resume", "--run-dir", "killed"]));
    for file in ["model/model.safetensors", "history.csv"] {
        assert_eq!(
            fs::read(folder.join("through").join(file)).unwrap(),
            fs::read(folder.join("killed").join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn what_cannot_be_searched_is_refused_before_anything_is_begun() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("empty.txt"), "").unwrap();
    for (more, named) in [
        (vec!["--text", "empty.txt"], "empty.txt"),
        (vec!["--text", "nowhere.txt"], "nowhere.txt"),
        (vec!["--minimise", "perplexty"], "perplexity"),
        (vec!["--window", "9999"], "window"),
        (vec!["--tokens", "100", "--fidelity", "tokens=10,100"], "--fidelity"),
        (vec!["--fewest-layers", "9"], "1 to"),
        (vec!["--kv-heads", "3"], "key heads"),
        (vec!["--formats", "q9"], "q8_0"),
        (vec!["--minimise", "nats", "--fidelity", "tokens=100,99999999"], "tokens"),
        (vec!["--fidelity", "tokens=100,1000"], "one objective"),
    ] {
        let arguments = [&["llm", "search", "--model", "built-in", "--run-dir", "parts"][..], &more].concat();
        let (code, said) = failure(&output(folder, &arguments));
        assert!(code == 2 && said.contains(named), "{more:?}: {said}");
        assert!(!folder.join("parts").exists(), "{more:?}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_begun() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for (more, named) in [
        (vec!["--sample", "0"], "--text"),
        (vec!["--length", "9999"], "context"),
        (vec!["--learning-rate", "nan"], "learning rate"),
        (vec!["--original", "nowhere.bin"], "nowhere.bin"),
        (vec!["--kv-heads", "1"], "--kv-heads"),
        (vec!["--parts", "0"], "--whole"),
        (vec!["--whole", "--widths", "2"], "--widths"),
        (vec!["--sequences", "400000000"], "fewer --sequences"),
    ] {
        let arguments = [&["llm", "tune", "--model", "built-in", "--run-dir", "tuned"][..], &more].concat();
        let (code, said) = failure(&output(folder, &arguments));
        assert!(code == 2 && said.contains(named), "{more:?}: {said}");
        assert!(!folder.join("tuned").exists(), "{more:?}");
    }
}

#[test]
fn a_disk_that_fills_during_an_export_leaves_nothing_half_written() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("before.gguf"), "as it was").unwrap();
    // No file may be longer than a tenth of the model's: the system says so, as it would of a disk without room.
    let script = "trap '' XFSZ; ulimit -f 200; exec \"$@\"";
    for to in ["whole", "before.gguf", "new.gguf"] {
        let export = command(folder, &["llm", "export", "--model", "built-in", "--to", to]);
        let mut limited = Command::new("sh");
        limited.args(["-c", script, "sh"]).arg(export.get_program()).args(export.get_args());
        limited.current_dir(folder).envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let (code, said) = failure(&limited.output().unwrap());
        assert!(code == 1 && said.contains(to) && said.contains("too large"), "{to}: {code} {said}");
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["before.gguf"], "{to}");
        assert_eq!(fs::read(folder.join("before.gguf")).unwrap(), b"as it was");
    }
}
