//! Real processes of the real program on a benchmark that a test makes up.
#![allow(dead_code, reason = "each test file uses its share")]

use srnas_oracle::benchmark::{BenchmarkWriter, Direction, MetricInfo};
use srnas_space::SearchSpace;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_srnas");

/// A space that a program can be asked about: twelve combinations of the first two, of which those of more than one layer have a third.
pub const SPACE: &str = r#"
[[decisions]]
name = "layers"
choices = [1, 2, 3]
[[decisions]]
name = "width"
choices = [8, 16, 32, 64]
[[decisions]]
name = "op"
choices = ["conv", "pool", "skip"]
active_if = { layers = [2, 3] }
"#;
/// One decision more for it.
pub const RATE: &str = "[[decisions]]\nname = \"rate\"\nchoices = [0.1, 0.01]\n";

/// A folder with a benchmark and a configuration of a short run on it.
pub struct Setup {
    pub folder: TempDir,
}

impl Setup {
    pub fn new() -> Self {
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
[checkpoint]
minutes = 0.02
[comparison]
seeds = 0
"#;
        std::fs::write(folder.path().join("run.toml"), config).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.path())
            .env("SRNAS_BENCH_DIR", self.path().join("bench"))
            .env_remove("RUST_LOG")
            .env_remove("SRNAS_TOKEN_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Writes `run.toml` with a part replaced, under another name.
    pub fn config(&self, name: &str, replaced: &[(&str, &str)]) {
        let mut text = std::fs::read_to_string(self.path().join("run.toml")).unwrap();
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// A learner of the run in `out` and the address where it listens.
    pub fn learner(&self, arguments: &[&str]) -> (Process, String) {
        let mut all = vec!["learner", "--run-dir", "out"];
        all.extend(arguments);
        if !arguments.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        let mut learner = Process::start(self.command(&all));
        let line = learner.wait_for(&["learner listens for actors"], SOON);
        let address = line.split("address=").nth(1).unwrap().trim().to_string();
        (learner, address)
    }

    /// A learner of `run.toml`, which goes on with its run if there is one.
    pub fn start_learner(&self, arguments: &[&str]) -> (Process, String) {
        self.learner(&[&["--config", "run.toml", "--resume=auto"], arguments].concat())
    }

    /// The command of an actor of the learner at an address.
    pub fn actor_command(&self, learner: &str, id: &str, arguments: &[&str]) -> Command {
        self.command(&[&["actor", "--learner", learner, "--id", id], arguments].concat())
    }

    /// An actor of the learner at an address.
    pub fn actor(&self, address: &str, id: &str) -> Process {
        Process::start(self.command(&["actor", "--learner", address, "--id", id]))
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

/// Four smooth objectives over the whole nb201 space: how much each operation is worth on each edge.
pub fn write_benchmark(folder: &Path) {
    write_benchmark_from(folder, 50.0);
}

/// As [`write_benchmark`], with another value of the worst architecture.
pub fn write_benchmark_from(folder: &Path, least: f64) {
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
                (least + 10.0 * (shares[0] * value(&worth[0]) + shares[1] * value(&worth[1]))) as f32
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
pub struct Process {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    pub seen: Vec<String>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
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
    pub fn wait_for(&mut self, parts: &[&str], within: Duration) -> String {
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

    /// Waits for the end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; there was:\n{}", self.seen.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end; its exit code.
    pub fn ends(&mut self, within: Duration) -> Option<i32> {
        self.wait(within).code()
    }

    /// Ends it at once, as nothing else would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: &str) {
        Self::signal_to(self.child.id(), signal);
    }

    pub fn signal_to(process: u32, signal: &str) {
        let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Far beyond what anything here takes, and short enough for a person to wait.
pub const SOON: Duration = Duration::from_secs(60);

/// The program with these arguments, in a folder that is its home, too.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env("HOME", folder).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What came of it.
pub fn output(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// What is in a page that is frozen.
pub fn frozen(page: &str) -> serde_json::Value {
    let data = page.split("id=\"frozen\">").nth(1).and_then(|rest| rest.split("</script>").next());
    serde_json::from_str(data.expect("a page with its data")).unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command printed that must have worked.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// Exit code and complaint of a command that fails and prints nothing else.
pub fn failure(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), text(&output.stderr))
}
