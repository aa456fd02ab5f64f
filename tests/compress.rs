//! End to end: an agent that compresses wide residual networks, trained over the wire, exported, and fine-tuned on what it has not seen.

mod harness;
#[path = "compress/live.rs"]
mod live;
#[path = "compress/wrn_tables.rs"]
mod wrn_tables;

use harness::{Process, SOON, failure, output, stdout, text};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;

const CONFIG: &str = r#"
seed = 5
[run]
minutes = 5
[tasks]
train = ["digits-wrn/val/{pgd20,cw40,fgsm}@{16,32}"]
held_out = ["digits-wrn/val/worst@32"]
[posterior]
fit = false
[compress]
train = true
budgets = [0.5]
held_out = ["WRN-16-3"]
students = 6
batch = 8
lstm = 8
hidden = 16
check = 10
[acting]
segments_per_batch = 4
[validation]
families = ["fgsm"]
points = [5, 10]
starts = 2
[checkpoint]
updates = 20
keep = 1000
[comparison]
methods = ["uniform-scaling"]
budgets = [5, 10]
seeds = 2
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("agent.toml"), CONFIG).unwrap();
    folder
}

fn last_checkpoint(run: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).max().unwrap()
}

fn last_line(json: &str) -> Value {
    serde_json::from_str(json.lines().last().unwrap()).unwrap()
}

#[test]
fn it_is_trained_by_actors_exported_and_fine_tuned_within_a_budget() {
    let folder = folder();
    let out = output(folder.path(), &["run", "--config", "agent.toml", "--run-dir", "r", "--steps", "12000"]);
    let said = stdout(&out);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(said.contains("Exported: the agent") && said.contains("scratch"), "{said}");
    assert!(said.contains("this agent, fine-tuned") && said.contains("uniform-scaling"), "{said}");

    assert!(
        said.contains("--finetune 25")
            && said.contains("--teacher 'WRN-16-3' --within 'cost/multiply_adds <= 50%'"),
        "{said}"
    );

    let part = ["--teacher", "WRN-16-3", "--within", "cost/multiply_adds <= 50%"];
    let search = |more: &[&str]| {
        let base = ["search", "--policy", "r", "--task", "digits-wrn/val/worst@32", "--seeds", "4", "--json"];
        output(folder.path(), &[&base[..], &part, more].concat())
    };
    let tuned = search(&["--finetune", "12"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    let found: Value = serde_json::from_str(stdout(&tuned).lines().next().unwrap()).unwrap();
    let best = found["best_architecture"].as_str().unwrap();
    // Within the teacher: no stage is deeper than two blocks.
    assert!(!best.contains("depth1=3") && !best.contains("depth3=3"), "{best}");
    let regret = |out: &std::process::Output, n: &str| {
        last_line(&stdout(out))["summary"]["normalised_regret"][n].as_f64().unwrap()
    };
    assert!(regret(&tuned, "12") <= regret(&tuned, "5"));
    assert_eq!(stdout(&tuned), stdout(&search(&["--finetune", "12"])), "the same again");
    // The rule beside it knows the other attacks.
    let rule = search(&["--budget", "10", "--by", "rule"]);
    assert!(rule.status.success(), "{}", text(&rule.stderr));
    assert!(regret(&rule, "10") < 0.2);
}

#[test]
fn a_deterministic_run_of_it_ends_the_same_also_over_a_kill() {
    let folder = folder();
    let run = ["run", "--config", "agent.toml", "--deterministic", "--steps", "6000", "--run-dir"];
    let whole = output(folder.path(), &[&run[..], &["whole"]].concat());
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let mut killed = Process::start(harness::command(folder.path(), &[&run[..], &["killed"]].concat()));
    killed.wait_for(&["checkpoint; the actors begin anew", "000000040"], SOON);
    std::thread::sleep(Duration::from_millis(5));
    killed.kill();
    let resumed = output(folder.path(), &["run", "--resume", "--run-dir", "killed"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let networks =
        |run: &str| fs::read(last_checkpoint(&folder.path().join(run)).join("networks.safetensors")).unwrap();
    assert!(networks("whole") == networks("killed"), "the networks differ");
    let policy = |run: &str| fs::read(folder.path().join(run).join("policy.safetensors")).unwrap();
    assert!(policy("whole") == policy("killed"), "the policies differ");
}

#[test]
fn what_cannot_be_compressed_is_said() {
    let folder = folder();
    let compare = |more: &[&str]| {
        let base = [
            "compare",
            "--task",
            "digits-wrn/val/worst@32",
            "--method",
            "rc-nas",
            "--budget",
            "5",
            "--seeds",
            "1",
        ];
        failure(&output(folder.path(), &[&base[..], &["--out", "report"], more].concat()))
    };
    for (arguments, says) in [
        (&["--teacher", "WRN-28-10"][..], "the depth of stage 1 is 4, and the teacher's is 3"),
        (&["--teacher", "WRN-17-2"], "such as 16 or 22"),
        (&["--within", "cost/multiply_adds <= 1%"], "cost/multiply_adds <="),
        (&["--within", "cost/multiply_adds < 50%"], "is no limit"),
        (&["--within", "cost/multiply_adds <= half%"], "is no limit"),
    ] {
        let (code, said) = compare(arguments);
        assert!(code == 2 && said.contains(says), "{arguments:?}: {code} {said}");
    }
    // A percentage and a number on one metric are compared by what they come to.
    for (least, code_wanted) in [("30000", 0), ("3000000", 2)] {
        let least = format!("cost/multiply_adds >= {least}");
        let both = ["--within", "cost/multiply_adds <= 50%", "--within", &least, "--out", "both"];
        let base = [
            "compare",
            "--task",
            "digits-wrn/val/worst@32",
            "--method",
            "rc-nas",
            "--budget",
            "5",
            "--seeds",
            "1",
        ];
        let out = output(folder.path(), &[&base[..], &both].concat());
        assert_eq!(out.status.code(), Some(code_wanted), "{}", text(&out.stderr));
    }
    let other = ["compare", "--task", "digits/val/clean", "--budget", "5", "--seeds", "1", "--out", "report"];
    for (more, says) in [
        (&["--method", "rc-nas"][..], "compresses wide residual networks"),
        (&["--method", "robust-wrn"], "scales wide residual networks"),
        (&["--method", "random", "--teacher", "WRN-16-2"], "no space of wide residual networks"),
        (&["--method", "random", "--within", "cost/parameters <= 50%"], "there is no teacher"),
    ] {
        let (code, said) = failure(&output(folder.path(), &[&other[..], more].concat()));
        assert!(code == 2 && said.contains(says), "{more:?}: {code} {said}");
    }
    let config = |from: &str, to: &str| {
        fs::write(folder.path().join("wrong.toml"), CONFIG.replace(from, to)).unwrap();
        failure(&output(folder.path(), &["run", "--config", "wrong.toml", "--run-dir", "wrong"]))
    };
    for (from, to, says) in [
        ("digits-wrn/val/{pgd20,cw40,fgsm}@{16,32}", "digits/val/{clean,noise}", "a run has one space"),
        ("budgets = [0.5]", "budgets = [50.0]", "0.5 is half of it"),
        ("held_out = [\"WRN-16-3\"]", "held_out = [\"WRN-16-4\"]", "the width of stage 1 is 4"),
        ("students = 6", "students = 1", "compress.students"),
    ] {
        let (code, said) = config(from, to);
        assert!(code == 2 && said.contains(says), "{to}: {code} {said}");
    }
    let elsewhere =
        CONFIG.replace("digits-wrn/val/{pgd20,cw40,fgsm}@{16,32}", "digits/val/{clean,loss,fgsm@0.1}");
    fs::write(
        folder.path().join("agent.toml"),
        elsewhere.replace("digits-wrn/val/worst@32", "digits/val/noise"),
    )
    .unwrap();
    let (code, said) =
        failure(&output(folder.path(), &["run", "--config", "agent.toml", "--run-dir", "wrong"]));
    assert!(
        code == 2 && said.contains("compress.train") && said.contains("listed in a table"),
        "{code} {said}"
    );
    // A policy without an agent.
    let run = ["run", "--steps", "300", "--run-dir", "plain", "--minutes", "0.2"];
    let out = output(folder.path(), &[&run[..], &["--set", "comparison.seeds=0"]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let search = ["search", "--policy", "plain", "--finetune", "5", "--task", "digits-wrn/val/worst@32"];
    let (code, said) = failure(&output(folder.path(), &search));
    assert!(code == 2 && said.contains("has no agent; train one"), "{code} {said}");
}
