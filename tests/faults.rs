//! End to end: processes that are killed, frozen and starved of disk, again and again.

#[path = "faults/addresses.rs"]
mod addresses;
mod harness;
#[path = "faults/logs.rs"]
mod logs;
#[path = "faults/silent.rs"]
mod silent;
#[path = "faults/unwritable.rs"]
mod unwritable;

use harness::{Process, SOON, Setup, text};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use srnas_actor::client::{Client, ClientConfig, ClientCounters};
use srnas_environment::Layout;
use srnas_oracle::catalog::Catalog;
use srnas_proto::v1;
use srnas_space::SearchSpace;
use srnas_wire::{Experience, Measurements};
use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// What no real actor of these runs measures at: whatever has it is the witness's.
const WITNESS_FIDELITY: f32 = 0.5;
const AGAIN: Duration = Duration::from_secs(10);

/// An actor of the test itself, whose every batch is one step and one measurement that nobody else makes. So what was
/// acknowledged, lost or counted twice shows in the ledger.
struct Witness {
    counters: Arc<ClientCounters>,
    enough: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Witness {
    fn start(setup: &Setup, address: &str) -> Witness {
        let benchmark = Catalog::over([setup.path().join("bench")]).open("nb201").unwrap();
        let layout = Layout::new(true);
        let config = ClientConfig {
            learner: format!("http://{address}"),
            actor: "witness".into(),
            layout_hash: layout.hash(),
            candidate_features: layout.candidate_features() as u32,
            context_features: layout.context_features() as u32,
            benchmarks: vec![v1::Benchmark {
                name: "nb201".into(),
                space: "nb201".into(),
                content_hash: benchmark.content_hash().to_vec().into(),
            }],
            episodes: 1,
            drain: SOON,
            ..ClientConfig::default()
        };
        let enough = Arc::new(AtomicBool::new(false));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (_, handle) = runtime.block_on(Client::start(config, CancellationToken::new())).unwrap();
        let (counters, stop) = (handle.counters.clone(), enough.clone());
        let thread = thread::spawn(move || {
            let space = SearchSpace::named("nb201").unwrap();
            let mut sent = 0;
            while !stop.load(Relaxed) {
                let mut choices = vec![0; space.len()];
                space.unrank(sent % space.size().unwrap(), &mut choices);
                let experience = Experience {
                    measurements: Measurements {
                        tasks: vec![0],
                        keys: vec![sent],
                        architectures: choices,
                        fidelities: vec![WITNESS_FIDELITY],
                        values: vec![sent as f32],
                    },
                    environment_steps: 1,
                    ..Experience::default()
                };
                handle.experience.send(experience).unwrap();
                sent += 1;
                thread::sleep(Duration::from_millis(2));
            }
            runtime.block_on(handle.finished()).unwrap();
            sent
        });
        Witness { counters, enough, thread }
    }

    fn acknowledged(&self) -> u64 {
        self.counters.acknowledged.load(Relaxed)
    }

    /// Waits until more is acknowledged than now.
    fn goes_on(&self, within: Duration) {
        let (before, deadline) = (self.acknowledged(), Instant::now() + within);
        while self.acknowledged() <= before {
            assert!(Instant::now() < deadline, "nothing is acknowledged within {within:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it; the batches that it sent.
    fn finish(self) -> u64 {
        self.enough.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// Keys and values of the witness in the ledger, and the environment steps counted of it.
fn ledger_of_witness(run: &Path) -> (Vec<(i64, f64)>, i64) {
    let ledger = Connection::open(run.join("ledger.sqlite")).unwrap();
    let mut rows =
        ledger.prepare("SELECT key, value FROM measurements WHERE fidelity = ?1 ORDER BY key").unwrap();
    let rows = rows.query_map([f64::from(WITNESS_FIDELITY)], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    let steps = "SELECT sum(environment_steps) FROM actors WHERE actor = 'witness'";
    (rows.map(Result::unwrap).collect(), ledger.query_row(steps, [], |r| r.get(0)).unwrap())
}

fn updates(run: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(run.join("checkpoints")) else { return 0 };
    entries.filter_map(|e| e.unwrap().file_name().to_string_lossy().parse().ok()).max().unwrap_or(0)
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn setup() -> Setup {
    let setup = Setup::new();
    let quick = "[wire]\nheartbeat = 0.3\nlease = 2.0\n[posterior]\nfit = false\n[learning]";
    setup.config("quick.toml", &[("minutes = 5", "minutes = 600"), ("[learning]", quick)]);
    setup
}

fn learner(setup: &Setup, address: &str, resume: bool) -> Process {
    let mut arguments = vec!["learner", "--run-dir", "out", "--listen", address];
    arguments.extend(if resume { vec!["--resume"] } else { vec!["--config", "quick.toml"] });
    let mut learner = Process::start(setup.command(&arguments));
    // How long a resumed one takes is for its test to measure.
    if !resume {
        learner.wait_for(&["learner listens for actors"], SOON);
    }
    learner
}

#[test]
fn twenty_kills_lose_nothing_acknowledged_and_count_nothing_twice() {
    let setup = setup();
    let run = setup.path().join("out");
    let address = free_address();
    let mut chief = learner(&setup, &address, false);
    let mut actors = [setup.actor(&address, "a"), setup.actor(&address, "b")];
    let witness = Witness::start(&setup, &address);
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut killed = [0; 3];
    for kill in 0..21 {
        thread::sleep(Duration::from_millis(rng.random_range(100..1200)));
        // Each of them at least five times.
        let victim = if kill < 15 { kill % 3 } else { rng.random_range(0..3) };
        killed[victim] += 1;
        match victim {
            0 => {
                let before = updates(&run);
                chief.kill();
                chief = learner(&setup, &address, true);
                let since = Instant::now();
                witness.goes_on(AGAIN);
                while updates(&run) <= before {
                    assert!(
                        since.elapsed() < AGAIN,
                        "no training within {AGAIN:?}: {}",
                        chief.seen.join("\n")
                    );
                    thread::sleep(Duration::from_millis(20));
                }
            }
            i => {
                actors[i - 1].kill();
                actors[i - 1] = setup.actor(&address, if i == 1 { "a" } else { "b" });
                witness.goes_on(AGAIN);
            }
        }
    }
    let sent = witness.finish();
    chief.signal("-TERM");
    assert!(chief.wait(SOON).success());
    let (rows, steps) = ledger_of_witness(&run);
    // All of them were acknowledged in the end: none is lost, none is there twice, and none was counted twice.
    let expected: Vec<(i64, f64)> = (0..sent as i64).map(|key| (key, key as f64)).collect();
    assert!(rows == expected, "{} of {sent} measurements are in the ledger", rows.len());
    assert_eq!(steps, sent as i64, "environment steps counted, killed {killed:?}");
}

#[test]
fn a_frozen_actor_is_dropped_and_joins_again_when_it_thaws() {
    let setup = setup();
    let address = free_address();
    let mut chief = learner(&setup, &address, false);
    let mut actor = setup.actor(&address, "sleeper");
    actor.wait_for(&["acts with the policy"], SOON);
    actor.signal("-STOP");
    chief.wait_for(&["sleeper", "dropped"], SOON);
    actor.signal("-CONT");
    actor.wait_for(&["joined again"], SOON);
    chief.wait_for(&["actor joined", "sleeper"], SOON);
    actor.signal("-TERM");
    assert!(actor.wait(SOON).success());
    chief.wait_for(&["actor left", "sleeper"], SOON);
}

/// A small file system in memory, gone at the end.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(path: &Path, megabytes: usize) -> Option<SmallDisk<'_>> {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "srnas-test"]).arg(path).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_else() {
    let setup = setup();
    let disk = setup.path().join("out");
    let Some(_disk) = SmallDisk::mount(&disk, 64) else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let address = free_address();
    let mut chief = learner(&setup, &address, false);
    let witness = Witness::start(&setup, &address);
    witness.goes_on(SOON);
    let filler = disk.join("filler");
    // Whatever fits: dd ends with an error, and the disk is full.
    let _ =
        Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display())).output();
    chief.wait_for(&["the ledger cannot be written", "room"], SOON);
    chief.wait_for(&["limited by the disk"], SOON);
    let status = setup.output(&["status", "--learner", &address]);
    assert!(text(&status.stdout).contains("limited by the disk"), "{status:?}");
    let acknowledged = witness.acknowledged();
    thread::sleep(Duration::from_secs(1));
    assert!(witness.acknowledged() <= acknowledged + 1, "acknowledged what is not durable");
    std::fs::remove_file(&filler).unwrap();
    chief.wait_for(&["the ledger is written again"], SOON);
    witness.goes_on(SOON);
    let sent = witness.finish();
    chief.signal("-TERM");
    assert!(chief.wait(SOON).success());
    let (rows, steps) = ledger_of_witness(&disk);
    assert_eq!((rows.len() as u64, steps as u64), (sent, sent));
}

#[test]
fn a_disk_that_is_read_only_is_said_so_and_nothing_hangs() {
    let setup = setup();
    let disk = setup.path().join("readonly");
    let Some(_disk) = SmallDisk::mount(&disk, 8) else {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().unwrap();
    assert!(remounted.success());
    let run = disk.join("run");
    let out = setup.output(&["run", "--config", "quick.toml", "--run-dir", run.to_str().unwrap()]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only") && said.contains("--run-dir") && !said.contains("panicked"), "{said}");
}

#[test]
fn actors_leave_when_the_run_is_over() {
    let setup = setup();
    let address = free_address();
    setup.config("short.toml", &[("minutes = 5", "minutes = 5\nsteps = 3000")]);
    let mut chief = Process::start(setup.command(&[
        "learner",
        "--run-dir",
        "out",
        "--listen",
        &address,
        "--config",
        "short.toml",
    ]));
    chief.wait_for(&["learner listens for actors"], SOON);
    let mut actor = setup.actor(&address, "a");
    actor.wait_for(&["the run is over"], SOON);
    assert!(actor.wait(SOON).success());
    assert!(chief.wait(SOON).success());
    let out = setup.output(&["run", "--resume", "--run-dir", "out", "--minutes", "5"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}
