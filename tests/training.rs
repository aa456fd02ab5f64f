//! End to end: real processes of the real program on a benchmark that the test makes up.

use srnas_common::space::SearchSpace;
use srnas_oracle::benchmark::{BenchmarkWriter, Direction, MetricInfo};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_srnas");

/// A folder with a benchmark and a configuration of a short run on it.
struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        write_benchmark(&folder.path().join("bench"));
        let config = r#"
seed = 3
prior = "table"
[run]
minutes = 5
[tasks]
count = "strings"
train = ["related"]
held_out = ["foreign"]
[task_sets]
related = ["nb201/made/{depth,width,mix}"]
foreign = ["nb201/made/other"]
[validation]
families = ["mix"]
starts = 2
[environment]
horizon = 12
[learning]
batch = 32
warm_up = 200
replay = 5000
broadcast = 10
[acting]
episodes = 8
"#;
        std::fs::write(folder.path().join("run.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.path())
            .env("SRNAS_BENCH_DIR", self.path().join("bench"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

/// Four smooth objectives over the whole nb201 space: how much each operation is worth on each edge.
fn write_benchmark(folder: &Path) {
    let space = SearchSpace::named("nb201").unwrap();
    let mut architectures = Vec::new();
    for rank in 0..space.size().unwrap() {
        let mut choices = vec![0; space.len()];
        space.unrank(rank, &mut choices);
        architectures.extend(choices);
    }
    let mut writer =
        BenchmarkWriter::new("nb201", &space, architectures.clone(), "made up by a test", "none");
    let worth = [[0.0, 0.6, 0.8, 1.0, 0.3], [0.0, 1.0, 0.3, 0.4, 0.7]];
    for (name, shares) in
        [("depth", [1.0, 0.0]), ("width", [0.8, 0.3]), ("mix", [0.6, 0.5]), ("other", [0.1, 1.0])]
    {
        let values: Vec<f32> = architectures
            .chunks_exact(6)
            .map(|choices| {
                let mut active = choices.to_vec();
                space.activate(&mut active);
                let value = |table: &[f64; 5]| -> f64 {
                    active.iter().zip(1..).map(|(&c, i)| table[c as usize] / f64::from(i)).sum()
                };
                (50.0 + 10.0 * (shares[0] * value(&worth[0]) + shares[1] * value(&worth[1]))) as f32
            })
            .collect();
        let info =
            MetricInfo { unit: "%".into(), direction: Direction::Maximise, description: "made up".into() };
        writer.metric(format!("made/{name}"), info, 1, &values);
    }
    std::fs::create_dir_all(folder).unwrap();
    writer.write(&folder.join("nb201.safetensors")).unwrap();
}

/// A process whose log lines can be waited for; killed when dropped.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that contains all of these parts.
    fn wait_for(&mut self, parts: &[&str], within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if parts.iter().all(|p| line.contains(p)) {
                        return line;
                    }
                }
                Err(_) => {
                    panic!("no line with {parts:?} within {within:?}; there was:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    fn exits(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {within:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SOON: Duration = Duration::from_secs(60);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_trains_exports_and_its_policy_searches_an_unseen_task() {
    let setup = Setup::new();
    let out = setup.output(&["run", "--config", "run.toml", "--steps", "6000", "--run-dir", "out"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let printed = text(&out.stdout);
    assert!(printed.contains("Exported: the"), "{printed}");
    assert!(printed.contains("normalised regret after"), "{printed}");
    assert!(printed.contains("srnas search --policy out"), "{printed}");

    let searched = setup.output(&[
        "search",
        "--policy",
        "out",
        "--task-set",
        "foreign",
        "--budget",
        "12",
        "--repeats",
        "8",
        "--at",
        "4,12",
        "--json",
    ]);
    assert!(searched.status.success(), "{}", text(&searched.stderr));
    let lines: Vec<serde_json::Value> =
        text(&searched.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["task"], "nb201/made/other");
    assert_eq!(lines[1]["summary"]["tasks"], 1);
    let regret = |by: &str| lines[1]["summary"]["normalised_regret"][by].as_f64().unwrap();
    assert!(regret("12") <= regret("4"));
    // A linear objective: twelve queries with a Gaussian process find something near the best, chance does not.
    assert!(regret("12") < 0.3, "{}", regret("12"));

    // The same search again gives the same bytes.
    let again = setup.output(&[
        "search",
        "--policy",
        "out",
        "--task-set",
        "foreign",
        "--budget",
        "12",
        "--repeats",
        "8",
        "--at",
        "4,12",
        "--json",
    ]);
    assert_eq!(text(&searched.stdout), text(&again.stdout));
}

#[test]
fn actors_come_and_go_while_the_learner_trains() {
    let setup = Setup::new();
    let mut learner = Process::start(setup.command(&[
        "learner",
        "--config",
        "run.toml",
        "--run-dir",
        "out",
        "--listen",
        "127.0.0.1:0",
    ]));
    let line = learner.wait_for(&["learner listens for actors"], SOON);
    let address = line.split("address=").nth(1).unwrap().trim().to_string();
    let actor = |id: &str| Process::start(setup.command(&["actor", "--learner", &address, "--id", id]));
    let (mut first, mut second) = (actor("first"), actor("second"));
    first.wait_for(&["joined the learner"], SOON);
    second.wait_for(&["joined the learner"], SOON);
    learner.wait_for(&["2 actor(s)", "updates/s"], SOON);

    first.signal("-KILL");
    let killed = Instant::now();
    learner.wait_for(&["first", "dropped"], Duration::from_secs(10));
    assert!(killed.elapsed() < Duration::from_secs(10));
    let line = learner.wait_for(&["1 actor(s)", "env steps/s"], SOON);
    assert!(!line.contains(" 0 env steps/s"), "the other actor does not go on: {line}");

    let mut third = actor("third");
    third.wait_for(&["joined the learner"], SOON);
    third.wait_for(&["acts with the policy"], SOON);
    learner.wait_for(&["2 actor(s)"], SOON);

    // An interrupted learner exports what it has and exits with 0.
    learner.signal("-INT");
    assert!(learner.exits(SOON).success());
    assert!(setup.path().join("out/policy.safetensors").is_file());
}

#[test]
fn bad_input_is_refused_with_what_is_wrong_and_the_right_exit_code() {
    let setup = Setup::new();
    let config = std::fs::read_to_string(setup.path().join("run.toml")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(setup.path().join(name), text).unwrap();
    write("misspelt.toml", &config.replace("horizon", "horizn"));
    write("metric.toml", &config.replace("depth", "dpeth"));
    write("set.toml", &config.replace("[\"related\"]", "[\"releted\"]"));
    write("family.toml", &config.replace("[\"mix\"]", "[\"mixx\"]"));
    write("benchmark.toml", &config.replace("nb201/made", "nb202/made"));
    write("seen.toml", &config.replace("[\"foreign\"]", "[\"foreign\", \"related\"]"));
    write("foreign.safetensors", "not a policy");
    let benchmark = std::fs::read(setup.path().join("bench/nb201.safetensors")).unwrap();
    std::fs::create_dir(setup.path().join("damaged")).unwrap();
    std::fs::write(setup.path().join("damaged/nb201.safetensors"), &benchmark[..benchmark.len() / 2])
        .unwrap();
    let cases: [(&[&str], i32, &[&str]); 15] = [
        (&["run", "--config", "misspelt.toml"], 2, &["horizn", "did you mean `horizon`", "line"]),
        (&["run", "--config", "absent.toml"], 2, &["absent.toml"]),
        (&["run", "--config", "metric.toml"], 2, &["dpeth", "depth"]),
        (&["run", "--config", "set.toml"], 2, &["releted", "did you mean `related`"]),
        (&["run", "--config", "family.toml"], 2, &["mixx", "mix"]),
        (&["run", "--config", "benchmark.toml"], 1, &["nb202", "bench"]),
        (&["run", "--config", "run.toml", "--bench-dir", "damaged"], 1, &["nb201.safetensors"]),
        (&["run", "--config", "seen.toml"], 2, &["nb201/made/depth", "held"]),
        (&["run"], 2, &["--config"]),
        (
            &["run", "--config", "run.toml", "--simulate-latency", "20"],
            2,
            &["not a time", "lognormal:20ms:0.5"],
        ),
        (
            &["run", "--config", "run.toml", "--simulate-latency", "column:made/dpeth*1"],
            2,
            &["simulation.latency", "did you mean `made/depth`"],
        ),
        (
            &["run", "--config", "run.toml", "--simulate-latency", "column:made/depth*1"],
            2,
            &["made/depth", "not in seconds"],
        ),
        (
            &["learner", "--config", "run.toml", "--simulate-failures", "1"],
            2,
            &["simulation.failures", "below 1"],
        ),
        (
            &["search", "--policy", "foreign.safetensors", "--task", "nb201/made/other"],
            1,
            &["foreign.safetensors", "refused"],
        ),
        (&["search", "--policy", "nowhere", "--task", "nb201/made/other"], 1, &["nowhere"]),
    ];
    for (arguments, code, parts) in cases {
        let out = setup.output(arguments);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?} does not say {part:?}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn the_shortest_budgets_and_odd_settings_work() {
    let setup = Setup::new();
    let config = std::fs::read_to_string(setup.path().join("run.toml")).unwrap();
    // Numbers that are switched off, and a horizon below every usual point of report.
    let odd = config.replace("horizon = 12", "horizon = 3")
        + "[posterior.settings.plain]\ncount_share = 0.0\n[posterior.settings.transfer]\nslope = 0.0\n";
    std::fs::write(setup.path().join("odd.toml"), odd).unwrap();
    let out = setup.output(&["run", "--config", "odd.toml", "--steps", "3000", "--run-dir", "out"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    for by in ["exported", "rule", "trained", "plain", "random"] {
        // The policy's file does as well as its folder: the task sets are found beside it.
        let policy = "out/policy.safetensors";
        let search = [
            "search",
            "--policy",
            policy,
            "--task-set",
            "foreign",
            "--budget",
            "1",
            "--repeats",
            "3",
            "--by",
            by,
        ];
        let out = setup.output(&search);
        assert!(out.status.success(), "{by}: {}", text(&out.stderr));
    }
}

#[test]
fn learning_that_diverges_is_stopped_with_the_last_weights_written() {
    let setup = Setup::new();
    let config = std::fs::read_to_string(setup.path().join("run.toml")).unwrap();
    let hot = config.replace("[learning]", "[learning]\nlearning_rate = 1e30");
    std::fs::write(setup.path().join("hot.toml"), hot).unwrap();
    let out = setup.output(&["run", "--config", "hot.toml", "--run-dir", "out"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("10 updates in a row") && said.contains("learning_rate"), "{said}");
    assert!(setup.path().join("out/policy.safetensors").is_file());
    let search = setup.output(&["search", "--policy", "out", "--task-set", "foreign", "--budget", "6"]);
    assert!(search.status.success(), "{}", text(&search.stderr));
}

#[test]
fn a_port_in_use_is_said_so() {
    let setup = Setup::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let out = setup.output(&["learner", "--config", "run.toml", "--listen", &address]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn an_actor_with_another_benchmark_is_refused_on_both_sides() {
    let setup = Setup::new();
    let mut learner = Process::start(setup.command(&[
        "learner",
        "--config",
        "run.toml",
        "--run-dir",
        "out",
        "--listen",
        "127.0.0.1:0",
    ]));
    let line = learner.wait_for(&["learner listens for actors"], SOON);
    let address = line.split("address=").nth(1).unwrap().trim().to_string();
    let empty = TempDir::new().unwrap();
    let out = setup
        .command(&["actor", "--learner", &address, "--id", "stranger"])
        .env("SRNAS_BENCH_DIR", empty.path())
        .env("HOME", empty.path())
        .env_remove("XDG_DATA_HOME")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("refused") && said.contains("nb201"), "{said}");
    learner.wait_for(&["stranger", "refused", "nb201"], SOON);
}

#[test]
fn a_slow_oracle_sets_the_pace_and_an_interrupt_ends_its_waits() {
    let setup = Setup::new();
    // 8 episodes that wait 50 ms a step: 160 steps a second at most. Without the wait it would be thousands.
    let mut run = Process::start(setup.command(&[
        "run",
        "--config",
        "run.toml",
        "--run-dir",
        "out",
        "--simulate-latency",
        "50ms",
    ]));
    run.wait_for(&["joined the learner"], SOON);
    let began = Instant::now();
    thread::sleep(Duration::from_secs(4));
    run.signal("-INT");
    let most = 160.0 * began.elapsed().as_secs_f64() + 160.0;
    assert!(run.exits(SOON).success());
    let printed = std::io::read_to_string(run.child.stdout.take().unwrap()).unwrap();
    let steps = printed.split(" environment steps").next().and_then(|s| s.rsplit(' ').next());
    let steps: f64 = steps.unwrap().parse().unwrap();
    assert!(steps > 0.0 && steps <= most, "{steps} of {most} at most: {printed}");

    // Waits that nobody would outlast.
    let mut run = Process::start(setup.command(&[
        "run",
        "--config",
        "run.toml",
        "--run-dir",
        "hours",
        "--simulate-latency",
        "lognormal:2h:0.1",
        "--simulate-noise",
        "0.1",
        "--simulate-failures",
        "0.05",
    ]));
    run.wait_for(&["acts with the policy"], SOON);
    thread::sleep(Duration::from_millis(300));
    run.signal("-INT");
    assert!(run.exits(Duration::from_secs(15)).success());
    let config = std::fs::read_to_string(setup.path().join("hours/config.toml")).unwrap();
    let simulation = config.split("[simulation]").nth(1).unwrap();
    for line in ["latency = \"lognormal:2h:0.1\"", "noise = 0.1", "failures = 0.05"] {
        assert!(simulation.contains(line), "{simulation}");
    }
}
