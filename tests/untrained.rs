//! End to end: what is known of architectures before any is trained, by formulas of their space or by a program.

mod harness;

use harness::{Process, SOON, command, failure, output, text};
use rusqlite::Connection;
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SPACE: &str = r#"
[[decisions]]
name = "layers"
choices = [1, 2, 3, 4]
[[decisions]]
name = "width"
choices = [8, 16, 32, 64]
[[decisions]]
name = "op"
choices = ["conv", "pool", "skip"]
"#;

/// Says a loss that the product of two decisions determines, and without training what they multiply to; of pools nothing.
const PROGRAM: &str = r#"
echo "$SRNAS_FIDELITY $SRNAS_FULL_FIDELITY $SRNAS_ARCHITECTURE" >> calls
layers=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"layers":\([0-9]*\).*/\1/')
width=$(echo "$SRNAS_ARCHITECTURE" | sed 's/.*"width":\([0-9]*\).*/\1/')
product=$((layers * width))
if [ "$SRNAS_FIDELITY" = 0 ]; then
    sleep 0.1
    case "$SRNAS_ARCHITECTURE" in *'"op":"pool"'*) echo "no pool here" >&2; exit 3;; esac
    echo "{\"parameters\": $product, \"release\": 7}"
else
    echo "{\"loss\": $((product > 96 ? product - 96 : 96 - product))}"
fi
"#;

fn setup() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("space.toml"), SPACE).unwrap();
    fs::write(folder.path().join("measure.sh"), PROGRAM).unwrap();
    folder
}

const SEARCH: [&str; 7] =
    ["search", "--oracle", "cmd:sh measure.sh", "--space", "space.toml", "--minimise", "loss"];

fn said(out: &Output) -> String {
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stderr)
}

fn calls(folder: &Path, amount: &str) -> Vec<String> {
    let calls = fs::read_to_string(folder.join("calls")).unwrap_or_default();
    calls.lines().filter(|line| line.starts_with(amount)).map(str::to_string).collect()
}

#[test]
fn what_a_space_says_without_training_guides_a_search_and_is_asked_for() {
    let setup = setup();
    let folder = setup.path();
    fs::write(folder.join("space.toml"), format!("describe = [\"layers * width\"]\n{SPACE}")).unwrap();
    let search = |more: &[&str]| output(folder, &[&SEARCH[..], &["--budget", "10"], more].concat());
    const KNOWS: &str = "knows of every architecture without training it: layers * width";
    assert!(!said(&search(&["--run-dir", "without"])).contains(KNOWS));
    assert!(said(&search(&["--run-dir", "with", "--past", "untrained"])).contains(KNOWS));
    let share = ["--past", "untrained", "--method", "transfer-gp:untrained=0.3"];
    let named = search(&[&["--run-dir", "named"][..], &share].concat());
    assert!(said(&named).contains(KNOWS));
    // Nobody else makes something of it.
    let (code, error) = failure(&search(&["--run-dir", "no", "--past", "untrained", "--method", "mobo"]));
    assert!(code == 2 && error.contains("mobo makes nothing of it"), "{error}");
    // Who goes on knows it again.
    let more = output(folder, &["search", "--resume", "--run-dir", "with", "--budget", "12"]);
    assert!(said(&more).contains(KNOWS));
    // The loss is the least at a product of 96.
    let found = fs::read_to_string(folder.join("with/measurements.csv")).unwrap();
    assert!(found.lines().any(|line| line.contains("layers=3,width=32")), "{found}");
    assert!(calls(folder, "0 ").is_empty(), "no program was asked");
}

#[test]
fn a_program_says_what_it_can_without_training_is_killed_meanwhile_and_asked_nothing_twice() {
    let setup = setup();
    let folder = setup.path();
    let asked = [&SEARCH[..], &["--fidelity", "epochs=0,27", "--budget", "10", "--parallel", "2"]].concat();
    let asked = [&asked[..], &["--run-dir", "s"]].concat();
    let kept = |what: &str| -> i64 {
        let ledger = Connection::open(folder.join("s/ledger.sqlite")).unwrap();
        ledger.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
    };
    const UNTRAINED: [&str; 2] =
        ["measurements WHERE task = 1 AND fidelity = 0", "infeasible WHERE task = 1 AND fidelity = 0"];
    let mut first = Process::start(command(folder, &asked));
    first.wait_for(&["asks the program about 48 architectures without training them"], SOON);
    let deadline = Instant::now() + SOON;
    while kept(UNTRAINED[0]) < 5 && Instant::now() < deadline {
        // The ledger is looked at, for the program's words come in no order.
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill();
    let before = kept(UNTRAINED[0]) + kept(UNTRAINED[1]);
    assert!((5..48).contains(&before), "{before}");
    let again = said(&output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "10"]));
    let left = format!("asks the program about {} architectures without training them", 48 - before);
    assert!(again.contains(&left) && again.contains(&format!("{before} are known")), "{again}");
    assert!(again.contains("of 16 of 48 architectures the program says nothing without training"), "{again}");
    assert!(again.contains("no pool here"), "{again}");
    assert!(again.contains("knows of every architecture without training it: parameters"), "{again}");
    assert!(!again.contains("release"), "what is the same everywhere says nothing: {again}");
    assert_eq!((kept(UNTRAINED[0]), kept(UNTRAINED[1])), (32, 16));
    // What was running when it was killed is asked once more, and nothing else is.
    let untrained = calls(folder, "0 27 ");
    assert_eq!(untrained.iter().collect::<HashSet<_>>().len(), 48);
    assert!(untrained.len() <= 48 + 2, "{}", untrained.len());
    // It is no measurement: ten full trainings were paid for, and nothing else is shown.
    assert_eq!(kept("measurements WHERE task = 0 AND fidelity = 1"), 10);
    assert_eq!(calls(folder, "27 27 ").len(), 10);
    let found = fs::read_to_string(folder.join("s/measurements.csv")).unwrap();
    assert_eq!(found.lines().count(), 1 + 10, "{found}");
    assert!(found.lines().any(|line| line.contains("layers=3,width=32")), "{found}");
    // Once more there is nothing to ask.
    let more = said(&output(folder, &["search", "--resume", "--run-dir", "s", "--budget", "12"]));
    assert!(!more.contains("asks the program") && more.contains("without training it: parameters"), "{more}");
    assert_eq!(calls(folder, "0 27 ").len(), untrained.len());
    for look in [&["status", "s"][..], &["best", "s"], &["ledger", "verify", "s"]] {
        said(&output(folder, look));
    }
}

#[test]
fn who_says_nothing_without_training_is_told_what_was_expected() {
    let setup = setup();
    let folder = setup.path();
    let search = |run_dir: &str, program: &str, more: &[&str]| {
        fs::write(folder.join("other.sh"), program).unwrap();
        let base = ["search", "--oracle", "cmd:sh other.sh", "--space", "space.toml", "--minimise", "loss"];
        let asked = ["--fidelity", "epochs=0,27", "--budget", "3", "--parallel", "4", "--run-dir", run_dir];
        failure(&output(folder, &[&base[..], &asked, more].concat()))
    };
    let (code, error) = search("fails", "echo broken >&2; exit 1", &[]);
    assert!(
        code == 1 && error.contains("says nothing of any architecture where SRNAS_FIDELITY is 0"),
        "{error}"
    );
    assert!(error.contains("broken") && error.contains("leave the 0 out of --fidelity"), "{error}");
    let (code, error) = search("same", "echo '{\"size\": 3, \"kind\": \"small\"}'", &[]);
    assert!(code == 1 && error.contains("tells no architecture from another (size)"), "{error}");
    // Who trains whatever is asked is not asked 48 times, and what it said is kept nowhere.
    let (code, error) = search("trains", "echo x >> trained; echo '{\"loss\": 3, \"size\": 4}'", &[]);
    assert!(code == 1 && error.contains("says `loss` where SRNAS_FIDELITY is 0"), "{error}");
    let trained = fs::read_to_string(folder.join("trained")).unwrap();
    assert!((1..=8).contains(&trained.lines().count()), "{trained}");
    let ledger = Connection::open(folder.join("trains/ledger.sqlite")).unwrap();
    let kept: i64 = ledger.query_row("SELECT count(*) FROM answers", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
    // What does not go together is refused before anything is asked.
    for (more, says) in [
        (&["--fidelity", "epochs=0,3,27"][..], "nothing is made of both"),
        (&["--method", "evolution"], "evolution makes nothing of it"),
        (&["--maximise", "speed"], "one objective"),
    ] {
        let more = match more[0] {
            "--fidelity" => {
                let search = [&SEARCH[..], more, &["--budget", "3", "--run-dir", "no"]].concat();
                failure(&output(folder, &search))
            }
            _ => search("no", "touch asked", more),
        };
        assert!(more.0 == 2 && more.1.contains(says), "{more:?}");
    }
    let remote =
        ["search", "--oracle", "remote", "--space", "space.toml", "--minimise", "loss", "--budget", "3"];
    let (code, error) = failure(&output(folder, &[&remote[..], &["--fidelity", "epochs=0,27"]].concat()));
    assert!(code == 2 && error.contains("goes with --oracle cmd:PROGRAM or train"), "{error}");
    assert!(!folder.join("no").exists() && !folder.join("asked").exists());
}
