//! `srnas doctor`, the program itself: what is well, what is not, and a learner that is really there.

use serde_json::Value;
use srnas_oracle::benchmark::{BenchmarkWriter, Direction, MetricInfo};
use srnas_space::SearchSpace;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

/// A folder with a benchmark of the whole of nb201, one task made of it, and a configuration.
fn setup() -> TempDir {
    let folder = TempDir::new().unwrap();
    let space = SearchSpace::named("nb201").unwrap();
    let rows = space.size().unwrap();
    let mut architectures = Vec::new();
    for rank in 0..rows {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        architectures.extend(choices);
    }
    let values: Vec<f32> = (0..rows).map(|rank| (rank % 977) as f32).collect();
    let mut writer = BenchmarkWriter::new("nb201", &space, architectures, "made up by a test", "none");
    let info = MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: "made up".into() };
    writer.metric("made/val", info, 1, &values);
    fs::create_dir(folder.path().join("bench")).unwrap();
    writer.write(&folder.path().join("bench/nb201.safetensors")).unwrap();
    fs::write(folder.path().join("run.toml"), "prior = 'none'\n[tasks]\ntrain = ['nb201/made/val']\n")
        .unwrap();
    folder
}

fn srnas(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srnas"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder);
    command.env("SRNAS_BENCH_DIR", folder.join("bench"));
    command
}

/// The line of a check, and how it ended.
fn line(output: &Output, check: &str) -> (String, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    // The built-in benchmark is always there; what is asked for is the other one.
    let of = |line: &&str| line.split_whitespace().nth(1) == Some(check) && !line.contains("(built in)");
    let line = text.lines().find(of).unwrap_or_else(|| panic!("no {check} in {text}"));
    (line.split_whitespace().next().unwrap().into(), line.into())
}

#[test]
fn a_machine_that_is_ready_is_ok_line_by_line() {
    let folder = setup();
    let arguments = ["doctor", "--config", "run.toml", "--listen", "127.0.0.1:0", "--run-dir", "runs/new"];
    let output = srnas(folder.path(), &arguments).env("SRNAS_RUN__ACTORS", "3").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (check, part) in [
        ("versions", concat!("srnas ", env!("CARGO_PKG_VERSION"), ", protocol 1.")),
        ("clock", "Z"),
        ("benchmark", "nb201: 15625 rows, 1 metrics, SHA-256 "),
        ("configuration", "2 from run.toml, 1 from environment SRNAS_RUN__ACTORS"),
        ("tasks", "1 to learn, 0 to check on, 0 held out, over nb201"),
        ("port", "127.0.0.1:0 is free"),
    ] {
        let (status, line) = line(&output, check);
        assert!(status == "ok" && line.contains(part), "{line}");
    }
    // How many cores and how much room there are is the machine's affair, that nothing fails is ours.
    assert_ne!(line(&output, "cores").0, "failed");
    assert_ne!(line(&output, "disk").0, "failed");
    assert!(!folder.path().join("runs").exists(), "it leaves nothing behind");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do_and_exit_code_1() {
    let folder = setup();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let arguments = ["doctor", "--listen", &port, "--config", "run.toml", "--run-dir", "run.toml/x"];

    // A benchmark with one byte that is not as it was written.
    let file = folder.path().join("bench/nb201.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = srnas(folder.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for (check, parts) in [
        ("benchmark", ["is damaged", "srnas bench import"]),
        ("tasks", ["is damaged", "srnas bench import"]),
        ("port", ["is in use", "--listen"]),
        ("disk", ["run.toml is a file", "--run-dir"]),
    ] {
        let (status, line) = line(&output, check);
        assert!(status == "failed" && parts.iter().all(|part| line.contains(part)), "{line}");
    }
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("error: 4 of ") && complaint.contains("checks failed"), "{complaint}");
}

#[test]
fn the_built_in_benchmark_is_enough_until_a_task_wants_another() {
    let folder = setup();
    fs::remove_dir_all(folder.path().join("bench")).unwrap();
    let output = srnas(folder.path(), &["doctor", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        ["control: 4374 rows", "digits: 15625 rows"].iter().all(|row| text.contains(row))
            && text.contains("over nb201"),
        "{text}"
    );

    let arguments = ["doctor", "--listen", "127.0.0.1:0", "--config", "run.toml"];
    let output = srnas(folder.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(line(&output, "tasks").1.contains("`nb201` is not in"), "{output:?}");

    let output = srnas(folder.path(), &["doctor", "--json", "--listen", "127.0.0.1:0"])
        .env("SRNAS_SEEDS", "3")
        .output();
    let output = output.unwrap();
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let wrong: Vec<&Value> = lines.iter().filter(|check| check["status"] == "failed").collect();
    assert_eq!(
        (output.status.code(), wrong.len(), &wrong[0]["check"]),
        (Some(1), 1, &"configuration".into())
    );
    assert!(wrong[0]["message"].as_str().unwrap().contains("did you mean `SRNAS_SEED`"), "{wrong:?}");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_learner_is_found_while_it_is_there() {
    let folder = setup();
    let arguments = [
        "learner",
        "--config",
        "run.toml",
        "--listen",
        "127.0.0.1:0",
        "--run-dir",
        "run",
        "--log-format",
        "json",
    ];
    let mut learner = Killed(srnas(folder.path(), &arguments).stderr(Stdio::piped()).spawn().unwrap());
    // Every line of its log is an object; one says where it listens.
    let address = BufReader::new(learner.0.stderr.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|line| line["fields"]["message"] == "learner listens for actors")
        .and_then(|line| line["fields"]["address"].as_str().map(String::from))
        .expect("the learner ended before it listened");

    let url = format!("http://{address}");
    let output = srnas(folder.path(), &["doctor", "--learner", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(line(&output, "learner").1.contains("is reached and serves"), "{output:?}");
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains(" port "),
        "an actor's machine listens nowhere"
    );

    drop(learner);
    let output = srnas(folder.path(), &["doctor", "--learner", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(line(&output, "learner").1.contains("cannot connect"), "{output:?}");
}
