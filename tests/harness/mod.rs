//! Real processes of the real program on a benchmark that the tests make up.
#![allow(dead_code, reason = "each test file uses what it needs")]

use srnas_common::space::SearchSpace;
use srnas_oracle::benchmark::{BenchmarkWriter, Direction, MetricInfo};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_srnas");

/// A folder with a benchmark and a configuration of a short run on it.
pub struct Setup {
    folder: TempDir,
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
"#;
        std::fs::write(folder.path().join("run.toml"), config).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program in this folder, with these arguments.
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

    /// What the program says until it ends.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a learner of `run.toml`, on a free port of this machine unless these arguments say otherwise; its address.
    pub fn start_learner(&self, arguments: &[&str]) -> (Process, SocketAddr) {
        let usual = ["learner", "--config", "run.toml", "--run-dir", "out"];
        let free: &[&str] = if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut learner = Process::start(self.command(&[&usual, free, arguments].concat()));
        let line = learner.wait_for(&["learner listens for actors"], SOON);
        let address = line.split("address=").nth(1).unwrap().trim().parse().unwrap();
        (learner, address)
    }

    /// The actor's command for this learner.
    pub fn actor(&self, learner: &str, id: &str, arguments: &[&str]) -> Command {
        self.command(&[&["actor", "--learner", learner, "--id", id], arguments].concat())
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
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
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

    /// Waits for the end; its exit code.
    pub fn ends(&mut self, within: Duration) -> Option<i32> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: &str) {
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

/// Far beyond what anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
