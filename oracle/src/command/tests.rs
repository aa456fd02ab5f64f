use super::*;
use srnas_space::read as read_space;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

const SPACE: &str = "[[decisions]]\nname = \"width\"\nchoices = [8, 16]\n[[decisions]]\nname = \"op\"\nchoices = [\"conv\", \"pool\"]";

fn oracle(folder: &Path, command: &str) -> CommandOracle {
    let options = CommandOptions {
        command: command.into(),
        metrics: vec!["loss".into()],
        timeout: Some(Duration::from_secs(20)),
        retries: 0,
        seed: 7,
        folder: folder.into(),
        keep: false,
        fidelities: Fidelities::FULL,
        slots: SlotVariables::default(),
        curves: None,
    };
    CommandOracle::new(Arc::new(read_space(SPACE, "made-up").unwrap()), SPACE.into(), options).unwrap()
}

fn ask(oracle: &CommandOracle) -> Answer {
    oracle.measure(&Training::full(vec![1, 0]), &AtomicBool::new(false)).unwrap()
}

fn reason(command: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let oracle = oracle(folder.path(), command);
    let Answer::Infeasible(reason) = ask(&oracle) else { panic!("`{command}` was feasible") };
    // Its folder is kept, with what went in.
    let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(
        fs::read_to_string(kept.join("architecture.json")).unwrap(),
        "{\"op\":\"conv\",\"width\":16}\n"
    );
    reason
}

#[test]
fn a_program_gets_what_it_needs_and_its_last_line_counts() {
    let folder = tempfile::tempdir().unwrap();
    let command = r#"read line; [ "$line" = "$SRNAS_ARCHITECTURE" ] || exit 3; [ "$SRNAS_SEED" = 7 ] || exit 4
        echo working > "$SRNAS_DIRECTORY/file"; echo words; echo '{"loss": 0.5, "note": "x", "other": 3}'; echo"#;
    let metrics = BTreeMap::from([("loss".to_string(), 0.5), ("other".into(), 3.0)]);
    assert_eq!(ask(&oracle(folder.path(), command)), Answer::Metrics(metrics));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a good measurement leaves nothing");
}

#[test]
fn whatever_else_it_does_is_a_reason() {
    for (command, expected) in [
        ("true", "it said nothing"),
        ("echo '{\"loss\": 1}'; echo done", "its last line `done` is no JSON object"),
        ("echo '{\"loss\": 1} {\"loss\": 2}'", "is no JSON object"),
        ("echo '{\"loss\": NaN}'", "its metric `loss` is not a number (NaN)"),
        ("echo '{\"loss\": 1e39}'", "its metric `loss` is 1"),
        ("echo '{\"loss\": \"low\"}'", "its metric `loss` is \"low\", no number"),
        ("echo '{\"los\": 1}'", "it has no metric `loss`; did you mean `los`?"),
        ("echo broken >&2; exit 3", "exit status 3: broken"),
        ("kill -9 $$", "killed by signal 9"),
        ("sh -c 'kill -SEGV $$'; exit $?", "signal 11"),
        ("no-such-program-here", "exit status 127"),
    ] {
        let said = reason(command);
        assert!(said.contains(expected), "{command}: {said}");
    }
}

#[test]
fn a_torrent_of_words_is_drained_and_only_its_end_kept() {
    let folder = tempfile::tempdir().unwrap();
    let command =
        "head -c 200000000 /dev/zero | tr '\\0' 'x' >&2; yes words | head -n 3000000; echo '{\"loss\": 2}'";
    let mut oracle = oracle(folder.path(), command);
    oracle.options.keep = true;
    assert_eq!(ask(&oracle), Answer::Metrics(BTreeMap::from([("loss".into(), 2.0)])));
    let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert!(fs::metadata(kept.join("stderr.txt")).unwrap().len() <= 1 << 20);
}

#[test]
fn too_long_is_a_reason_also_for_who_ignores_the_signal_and_nobody_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    // Ignores SIGTERM, has a child in its group, and one that left it.
    let command = "trap '' TERM; sleep 300 & setsid sleep 300 & echo $! > \"$SRNAS_DIRECTORY/pid\"; sleep 300; sleep 300";
    let mut oracle = oracle(folder.path(), command);
    oracle.options.timeout = Some(Duration::from_millis(300));
    let began = Instant::now();
    let Answer::Infeasible(reason) = ask(&oracle) else { panic!("it was feasible") };
    assert!(reason.contains("longer than 300ms"), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(process::marked(&oracle.mark("")).len(), 0);

    // A program that ends well and leaves a child that holds its output.
    let other = tempfile::tempdir().unwrap();
    let oracle = super::tests::oracle(other.path(), "setsid sleep 300 & echo '{\"loss\": 1}'");
    let began = Instant::now();
    assert!(matches!(ask(&oracle), Answer::Metrics(_)));
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(process::marked(&oracle.mark("")).len(), 0);
}

#[test]
fn a_stop_is_heard_and_an_infeasible_answer_is_tried_again_where_asked() {
    let folder = tempfile::tempdir().unwrap();
    let slow = oracle(folder.path(), "sleep 300");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| slow.measure(&Training::full(vec![0, 0]), &stop));
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(measured.join().unwrap(), Err(CostlyError::Stopped)));
    });
    assert_eq!(process::marked(&slow.mark("")).len(), 0);

    let tries = folder.path().join("tries");
    let command =
        format!("echo x >> {0}; [ $(wc -l < {0}) -ge 3 ] && echo '{{\"loss\": 4}}'", tries.display());
    let work = tempfile::tempdir().unwrap();
    let mut again = oracle(work.path(), &command);
    again.options.retries = 2;
    assert_eq!(ask(&again), Answer::Metrics(BTreeMap::from([("loss".into(), 4.0)])));
}

#[test]
fn a_long_last_line_is_read_and_a_longer_one_refused_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let line = |megabytes: usize| {
        let note = format!("head -c {} /dev/zero | tr '\\0' 'x'", megabytes << 20);
        format!("echo words; printf '{{\"loss\": 2, \"note\": \"'; {note}; echo '\"}}'; echo")
    };
    let metrics = Answer::Metrics(BTreeMap::from([("loss".into(), 2.0)]));
    assert_eq!(ask(&oracle(folder.path(), &line(2))), metrics);
    assert_eq!(ask(&oracle(folder.path(), &line(15))), metrics);
    let said = reason(&line(17));
    assert!(said.contains("longer than 16 MiB"), "{said}");
}

/// What happens to a program, once all of it runs, that is stopped.
fn stopped(command: &str) -> (PathBuf, tempfile::TempDir, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    fs::create_dir(&notes).unwrap();
    let slow = oracle(&folder.path().join("work"), &command.replace("NOTES", notes.to_str().unwrap()));
    let stop = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        let measured = scope.spawn(|| slow.measure(&Training::full(vec![0, 0]), &stop));
        while !notes.join("ready").exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let asked = Instant::now();
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(measured.join().unwrap(), Err(CostlyError::Stopped)));
        asked.elapsed()
    });
    assert_eq!(process::marked(&slow.mark("")).len(), 0);
    (notes, folder, took)
}

#[test]
fn all_of_a_program_has_its_time_after_sigterm_and_not_its_shell_alone() {
    // The shell goes at once; what it started saves what it has, in its group and outside of it.
    let saver = r#"sh -c 'trap "sleep 1; touch NOTES/saved; exit" TERM; touch NOTES/ready; while :; do sleep 0.05; done'"#;
    for command in [format!("{saver}; true"), format!("{saver} & wait"), format!("setsid {saver} & wait")] {
        let (notes, _folder, took) = stopped(&command);
        assert!(notes.join("saved").exists(), "{command}: {took:?}");
    }
    // Whoever does not go is not waited for much longer.
    let stubborn = r#"sh -c 'trap "" TERM; touch NOTES/ready; while :; do sleep 0.05; done' & wait"#;
    let (_, _folder, took) = stopped(stubborn);
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_longer_training_is_given_what_the_shorter_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let command = r#"echo "$SRNAS_FIDELITY of $SRNAS_FULL_FIDELITY" > "$SRNAS_DIRECTORY/state"
        echo "{\"loss\": $SRNAS_FIDELITY, \"from\": ${SRNAS_RESUME_FIDELITY:-0}, \"state\": $(cut -d' ' -f1 "$SRNAS_RESUME_FROM/state" 2>/dev/null || echo 0)}""#;
    let mut oracle = oracle(folder.path(), command);
    oracle.options.fidelities = "epochs=3,9,27".parse().unwrap();
    let training = |fidelity| Training { choices: vec![1, 0], fidelity };
    let said = |fidelity| {
        let answer = oracle.measure(&training(fidelity), &AtomicBool::new(false)).unwrap();
        let Answer::Metrics(metrics) = answer else { panic!("{answer:?}") };
        ["loss", "from", "state"].map(|name| metrics[name])
    };
    let folders = || {
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| name.split_once('-').unwrap().1.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(said(Fidelity::Shorter(0)), [3.0, 0.0, 0.0]);
    oracle.kept(&training(Fidelity::Shorter(0)));
    // Until it is in the ledger, a longer one may have to be begun again: what it began with stays.
    assert_eq!(said(Fidelity::Shorter(1)), [9.0, 3.0, 3.0]);
    assert_eq!(folders(), ["epochs3", "epochs9"]);
    oracle.kept(&training(Fidelity::Shorter(1)));
    assert_eq!(folders(), ["epochs9"]);
    // Begun again by another process; and where the folder has gone, from the beginning.
    let options = oracle.options.clone();
    let oracle = CommandOracle::new(oracle.space.clone(), String::new(), options).unwrap();
    let answer = oracle.measure(&training(Fidelity::Full), &AtomicBool::new(false)).unwrap();
    assert!(matches!(&answer, Answer::Metrics(m) if m["from"] == 9.0 && m["state"] == 9.0), "{answer:?}");
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let answer = oracle.measure(&training(Fidelity::Full), &AtomicBool::new(false)).unwrap();
    assert!(matches!(&answer, Answer::Metrics(m) if m["from"] == 0.0), "{answer:?}");
}

#[test]
fn every_program_has_a_slot_with_its_variables() {
    let folder = tempfile::tempdir().unwrap();
    let command = r#"echo "{\"loss\": $SRNAS_SLOT, \"device\": $DEVICE}""#;
    let mut oracle = oracle(folder.path(), command);
    oracle.options.slots = SlotVariables::read("DEVICE=40\nDEVICE=41").unwrap();
    let said =
        |slot: u32| BTreeMap::from([("loss".into(), slot.into()), ("device".into(), f64::from(40 + slot))]);
    assert_eq!(ask(&oracle), Answer::Metrics(said(0)));
    let busy = oracle.slots.take();
    assert_eq!(ask(&oracle), Answer::Metrics(said(1)));
    drop(busy);
    assert_eq!(ask(&oracle), Answer::Metrics(said(0)));
}

#[test]
fn what_it_says_on_stdout_is_kept_beside_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let oracle = oracle(folder.path(), "echo one; echo two >&2; echo three; exit 3");
    assert!(matches!(ask(&oracle), Answer::Infeasible(_)));
    let kept = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = |name: &str| fs::read_to_string(kept.join(name)).unwrap();
    assert_eq!((text("stdout.txt"), text("stderr.txt")), ("one\nthree\n".into(), "two\n".into()));
}

#[test]
fn what_was_interrupted_is_known_and_gets_its_folder_back() {
    let folder = tempfile::tempdir().unwrap();
    let command = r#"echo "$SRNAS_INTERRUPTED" >> "$SRNAS_DIRECTORY/times"; echo words
        [ -e FOLDER/quick ] || { touch "FOLDER/ready$SRNAS_SLOT"; sleep 300; }
        echo "{\"loss\": $(wc -l < "$SRNAS_DIRECTORY/times"), \"times\": $(tail -n 1 "$SRNAS_DIRECTORY/times")}""#;
    let command = command.replace("FOLDER", folder.path().to_str().unwrap());
    let work = folder.path().join("work");
    let mut first = oracle(&work, &command);
    first.options.fidelities = "epochs=3,9".parse().unwrap();
    // The rate of an inactive decision, and the order, are as they were.
    let trainings = [Training::full(vec![1, 1]), Training::shorter(vec![0, 1], 0)];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let measured: Vec<_> = trainings
            .iter()
            .enumerate()
            .map(|(slot, training)| {
                let running = scope.spawn(|| first.measure(training, &stop));
                while !folder.path().join(format!("ready{slot}")).exists() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                running
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for measured in measured {
            assert!(matches!(measured.join().unwrap(), Err(CostlyError::Stopped)));
        }
    });
    assert_eq!(first.interrupted(), trainings, "the same process knows it");
    // A folder that nobody can go on with, and one of another release, are removed.
    for odd in ["odd", "older"] {
        fs::create_dir(work.join(odd)).unwrap();
    }
    fs::write(work.join("odd").join(interrupted::FILE), "{}").unwrap();
    fs::write(work.join("older").join(ARCHITECTURE), "{}").unwrap();
    let options = first.options.clone();
    drop(first);
    fs::write(folder.path().join("quick"), "").unwrap();
    let second = CommandOracle::new(Arc::new(read_space(SPACE, "made-up").unwrap()), SPACE.into(), options);
    let second = second.unwrap();
    assert_eq!(second.interrupted(), trainings);
    assert_eq!(fs::read_dir(&work).unwrap().count(), 2);
    for training in &trainings {
        let answer = second.measure(training, &AtomicBool::new(false)).unwrap();
        let metrics = BTreeMap::from([("loss".to_string(), 2.0), ("times".into(), 1.0)]);
        assert_eq!(answer, Answer::Metrics(metrics));
    }
    assert!(second.interrupted().is_empty());
    // What was said before the interruption stays.
    let shorter = fs::read_dir(&work).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(shorter.join("stdout.txt")).unwrap().starts_with("words\nwords\n"));
}

#[test]
fn a_training_that_is_worse_than_the_others_is_stopped_and_what_it_said_counts() {
    let folder = tempfile::tempdir().unwrap();
    // Three end well; whoever is as bad as 9 in its first epoch would take minutes.
    let command = r#"case "$SRNAS_ARCHITECTURE" in *16*pool*|*pool*16*) echo '{"epoch": 1, "loss": 9, "acc": 2}'; sleep 300;; esac
        for epoch in 1 2 3; do echo "{\"epoch\": $epoch, \"loss\": $((5 - epoch))}"; done"#;
    let mut options = oracle(&folder.path().join("work"), command).options;
    options.curves = Some(CurveOptions {
        folder: Some(folder.path().join("curves")),
        minimise: true,
        rule: Some("median:of=3".parse().unwrap()),
    });
    let new = || {
        CommandOracle::new(Arc::new(read_space(SPACE, "made-up").unwrap()), SPACE.into(), options.clone())
            .unwrap()
    };
    let oracle = new();
    let said = |oracle: &CommandOracle, choices: [u8; 2]| {
        oracle.measure(&Training::full(choices.to_vec()), &AtomicBool::new(false)).unwrap()
    };
    for choices in [[0, 0], [0, 1], [1, 0]] {
        let metrics = BTreeMap::from([("loss".to_string(), 2.0), ("epoch".into(), 3.0)]);
        assert_eq!(said(&oracle, choices), Answer::Metrics(metrics));
    }
    // Another process knows their curves.
    let began = Instant::now();
    let metrics = [("loss", 9.0), ("acc", 2.0), ("epoch", 1.0), (STOPPED_AT, 1.0)];
    let metrics = metrics.map(|(name, value)| (name.to_string(), value)).into();
    assert_eq!(said(&new(), [1, 1]), Answer::Metrics(metrics));
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(fs::read_dir(folder.path().join("curves")).unwrap().count(), 4);
}
