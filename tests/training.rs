//! End to end: real processes of the real program on a benchmark that the test makes up.

mod harness;

use harness::{Process, SOON, Setup, text};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[test]
fn with_the_predictor_network_the_posteriors_are_fitted_to_what_was_measured() {
    let setup = Setup::new();
    let arguments = ["run", "--config", "run.toml", "--steps", "6000", "--run-dir", "out"];
    let out = setup.output(&[&arguments[..], &["--set", "prior=network"]].concat());
    let log = text(&out.stderr);
    assert!(out.status.success(), "{log}");
    assert!(log.contains("posteriors fitted by evidence on the training tasks"), "{log}");
    assert!(text(&out.stdout).contains("Exported: the"), "{log}");
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
        "--seeds",
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
        "--seeds",
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
    let (mut learner, address) = setup.learner(&["--config", "run.toml"]);
    let actor = |id: &str| setup.actor(&address, id);
    let (mut first, mut second) = (actor("first"), actor("second"));
    first.wait_for(&["joined the learner"], SOON);
    second.wait_for(&["joined the learner"], SOON);
    learner.wait_for(&["2 actor(s)", "updates/s", " · limited by "], SOON);

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
    let status = learner.wait(SOON);
    assert!(status.success());
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
    let large = ["--set", "acting.segment=1024", "--set", "acting.segments_per_batch=256"];
    let large = [&["learner", "--config", "run.toml", "--listen", "127.0.0.1:0"][..], &large].concat();
    let cases: [(&[&str], i32, &[&str]); 15] = [
        (&large, 2, &["acting.segments_per_batch", "a learner takes 8 MiB", "of these fit"]),
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
        (&["run", "--config", "misspelt.toml"], 2, &["horizn", "did you mean `horizon`", "line"]),
        (&["run", "--config", "absent.toml"], 2, &["absent.toml"]),
        (&["run", "--config", "metric.toml"], 2, &["dpeth", "depth"]),
        (&["run", "--config", "set.toml"], 2, &["releted", "did you mean `related`"]),
        (&["run", "--config", "family.toml"], 2, &["mixx", "mix"]),
        (&["run", "--config", "benchmark.toml"], 1, &["nb202", "bench"]),
        (&["run", "--config", "run.toml", "--bench-dir", "damaged"], 1, &["nb201.safetensors"]),
        (&["run", "--config", "seen.toml"], 2, &["nb201/made/depth", "held"]),
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

/// No task can be drawn over more than 65,536 combinations: the share of synthetic episodes walks made-up spaces.
#[test]
fn a_run_trains_on_a_part_of_a_large_space() {
    let setup = Setup::new();
    let write = |name: &str, text: &str| std::fs::write(setup.path().join(name), text).unwrap();
    let decision = |d: usize| format!("[[decisions]]\nname = \"d{d}\"\nchoices = [0, 1, 2]\n");
    write("space.toml", &format!("name = \"large\"\n{}", (0..12).map(decision).collect::<String>()));
    let names = (0..12).map(|d| format!("d{d}")).collect::<Vec<_>>();
    let mut table = format!("{},acc\n", names.join(","));
    for row in 0..600usize {
        let digits: Vec<usize> = (0..12).map(|d| (row * 7919 + 13) / 3usize.pow(d) % 3).collect();
        let sum: usize = digits.iter().sum();
        let cells: Vec<String> = digits.iter().map(ToString::to_string).collect();
        table += &format!("{},{}\n", cells.join(","), 50 + sum);
    }
    write("table.csv", &table);
    write(
        "table.toml",
        "benchmark = \"big\"\nspace = \"space.toml\"\nprovenance = \"made up\"\nlicence = \"none\"\n[[metrics]]\n\
         name = \"d/acc\"\ncolumn = \"acc\"\nunit = \"%\"\ndirection = \"maximise\"\ndescription = \"made up\"\n",
    );
    let imported = setup.output(&[
        "bench",
        "--bench-dir",
        "bench",
        "import",
        "table",
        "table.csv",
        "--descriptor",
        "table.toml",
    ]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let run = [
        "run",
        "--task",
        "big/d/acc",
        "--steps",
        "2000",
        "--actors",
        "1",
        "--run-dir",
        "large",
        "--set",
        "acting.synthetic=0.5",
        "--set",
        "prior=none",
    ];
    let out = setup.output(&run);
    let said = text(&out.stderr);
    assert!(out.status.success() && !said.contains("panicked"), "{said}");
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
            "--seeds",
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
    for command in ["run", "learner"] {
        let out = setup.output(&[command, "--config", "run.toml", "--run-dir", "out", "--http", &address]);
        assert_eq!(out.status.code(), Some(1));
        let said = text(&out.stderr);
        assert!(said.contains(&address) && said.contains("in use") && said.contains("--http"), "{said}");
    }
}

/// Status and body of what a process serves.
fn http(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
}

#[test]
fn a_run_is_seen_from_outside_and_leaves_its_curves_behind() {
    let setup = Setup::new();
    let arguments = ["run", "--config", "run.toml", "--run-dir", "out", "--http", "127.0.0.1:0"];
    let mut run = Process::start(setup.command(&arguments));
    let line = run.wait_for(&["HTTP serves"], SOON);
    let address = line.split("address=").nth(1).unwrap().trim().to_string();
    assert_eq!(http(&address, "/healthz").0, 200);
    run.wait_for(&["acts with the policy"], SOON);
    assert_eq!(http(&address, "/readyz"), (200, "ready\n".into()));
    let deadline = Instant::now() + SOON;
    let learns = |text: &str| {
        let value = |name: &str| {
            text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
        };
        value("srnas_updates_total ") > 0.0
            && value("srnas_actor_environment_steps_total{actor=\"local-0\"} ") > 0.0
            && value("srnas_actor_seconds_total ") > 0.0
    };
    loop {
        let (status, metrics) = http(&address, "/metrics");
        assert_eq!(status, 200);
        if learns(&metrics) {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(Duration::from_millis(100));
    }
    // For people: the page, and what it is drawn from.
    let (status, page) = http(&address, "/");
    assert!(status == 200 && page.contains("<title>srnas</title>"), "{page}");
    // The curves begin with the first line of metrics.csv.
    let parts =
        ["\"kind\":\"run\"", "\"actors\":[[\"local-0\"", "elapsed_seconds", "\"actions\":null", "\nid: "];
    loop {
        let (status, events) = http(&address, "/events");
        assert_eq!(status, 200);
        let Some(part) = parts.iter().find(|part| !events.contains(**part)) else { break };
        assert!(Instant::now() < deadline, "no {part} in {events}");
        std::thread::sleep(Duration::from_millis(500));
    }
    run.signal("-INT");
    assert!(run.child.wait().unwrap().success());
    let rows = std::fs::read_to_string(setup.path().join("out/metrics.csv")).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    assert!(lines.len() >= 2 && lines[0].starts_with("elapsed_seconds,"), "{rows}");
    assert!(lines[0].ends_with(",regret/related,regret/synthetic"), "{rows}");
    read_with_tensorboard(&setup.path().join("out"));
}

/// Where Python has TensorBoard (`pip install tensorboard`), it reads what a run wrote.
fn read_with_tensorboard(run_dir: &Path) {
    let python = |script: &str| Command::new("python3").args(["-c", script]).arg(run_dir).output();
    if !python("import tensorboard").is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: python3 has no tensorboard");
        return;
    }
    let read = python(
        "import sys\n\
         from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n\
         events = EventAccumulator(sys.argv[1]).Reload()\n\
         for tag in events.Tags()['scalars']: print(tag, [(e.step, e.value) for e in events.Scalars(tag)])",
    );
    let read = read.unwrap();
    let printed = text(&read.stdout);
    assert!(read.status.success(), "{}", text(&read.stderr));
    for tag in ["train/updates_per_second", "actors/environment_steps_per_second", "regret/related"] {
        assert!(printed.contains(&format!("{tag} [(")), "no {tag} in {printed}");
    }
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
    std::thread::sleep(Duration::from_secs(4));
    run.signal("-INT");
    let most = 160.0 * began.elapsed().as_secs_f64() + 160.0;
    assert!(run.wait(SOON).success());
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
    std::thread::sleep(Duration::from_millis(300));
    run.signal("-INT");
    assert!(run.wait(Duration::from_secs(15)).success());
    let config = std::fs::read_to_string(setup.path().join("hours/config.toml")).unwrap();
    let simulation = config.split("[simulation]").nth(1).unwrap();
    for line in ["latency = \"lognormal:2h:0.1\"", "noise = 0.1", "failures = 0.05"] {
        assert!(simulation.contains(line), "{simulation}");
    }
}

#[test]
fn an_actor_with_another_benchmark_is_refused_on_both_sides() {
    let setup = Setup::new();
    let (mut learner, address) = setup.learner(&["--config", "run.toml"]);
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
