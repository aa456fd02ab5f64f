//! Students of a wide residual network, trained and attacked.

use super::{measured, output, text};
use tempfile::TempDir;

const SHORT: &str = r#"
[recipe]
scale = { width = 2, stages = 3, cells = 1 }
epochs = 2
batch = 64
adversarial = { trades = { attack = { epsilon = "24/255", steps = 2 }, beta = 6.0 } }
[questions]
robustness = { epsilon = ["16/255"], attacks = ["fgsm", "pgd-5"], images = 100 }
"#;

const SEARCH: [&str; 8] =
    ["search", "--oracle", "train", "--space", "wrn-compress-22-3-basic", "--data", "digits", "--budget"];

#[test]
fn a_student_is_found_within_a_budget() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("short.toml"), SHORT).unwrap();
    let rest = ["4", "--recipe", "short.toml", "--run-dir", "s", "--maximise", "val/worst@16", "--json"];
    let limit = ["--require", "cost/multiply_adds_percent <= 60"];
    let out = output(folder.path(), &[&SEARCH[..], &rest, &limit].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(measured(&folder.path().join("s")), 4);
    let said = text(&out.stdout);
    let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let mut shares = 0;
    for line in said.lines().map(of).filter(|line| line.get("metrics").is_some()) {
        let metric =
            |name: &str| line["metrics"][name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
        for split in ["val", "test"] {
            let of = |name: &str| metric(&format!("{split}/{name}"));
            assert!(
                of("worst@16") <= of("fgsm@16").min(of("pgd5@16")) && of("fgsm@16") <= of("clean"),
                "{line}"
            );
            assert!(of("lipschitz@16") >= 0.0);
        }
        assert!(metric("cost/multiply_adds") > 0.0 && metric("cost/parameters_percent") <= 100.0);
        shares += usize::from(metric("cost/multiply_adds_percent") <= 60.0);
    }
    assert!(shares > 0, "{said}");
}

#[test]
fn what_is_no_teacher_no_budget_and_no_attack_is_refused_before_anything_is_trained() {
    let folder = TempDir::new().unwrap();
    let recipe = |name: &str, from: &str, to: &str| {
        assert!(SHORT.contains(from));
        std::fs::write(folder.path().join(name), SHORT.replace(from, to)).unwrap();
    };
    recipe("unit.toml", "[\"16/255\"]", "[16]");
    recipe("attack.toml", "pgd-5", "pgd5");
    recipe("inner.toml", "\"24/255\"", "24");
    recipe("stages.toml", "stages = 3", "stages = 2");
    for (arguments, says) in [
        (
            &["--require", "cost/multiply_adds_percent <= 0.5"][..],
            "the smallest network of wrn-compress-22-3-basic (stem stride 2, depths 1 1 1, widths 1 1 1)",
        ),
        (&["--require", "cost/parameters <= 100"], "give at least that"),
        (&["--require", "cost/multiply_add <= 100"], "did you mean `cost/multiply_adds`"),
        (&["--recipe", "unit.toml"], "do you mean 16/255?"),
        (&["--recipe", "inner.toml"], "do you mean 24/255?"),
        (&["--recipe", "attack.toml"], "did you mean `pgd`"),
        (&["--recipe", "stages.toml"], "scale.stages must be 3"),
    ] {
        let rest = ["2", "--run-dir", "s", "--maximise", "val/worst@16"];
        let out = output(folder.path(), &[&SEARCH[..], &rest, arguments].concat());
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(says), "{arguments:?}: {}", text(&out.stderr));
        assert!(!folder.path().join("s").exists(), "{arguments:?} left something behind");
    }
    for (space, says) in [
        ("wrn-compress-29-10", "layers are 6 D + 4"),
        ("wrn-compress", "as in wrn-compress-28-10"),
        ("wrn-compres-28-10", "no space of that name"),
    ] {
        let out = output(folder.path(), &["space", "check", space]);
        assert_eq!(out.status.code(), Some(2), "{space}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains(says), "{space}: {}", text(&out.stderr));
    }
    let out = output(folder.path(), &["space", "check", "wrn-compress-70-16"]);
    assert!(out.status.success() && text(&out.stdout).contains("10 decisions"), "{}", text(&out.stdout));
}
