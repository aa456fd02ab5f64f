//! End to end: a space of a billion combinations goes through every command, and methods are compared where measurements are made.

mod harness;

use harness::{PROGRAM, stdout, text};
use std::{
    collections::HashSet,
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const DECISIONS: usize = 10;

/// Eight choices of each of ten decisions: 8¹⁰ = 1,073,741,824.
fn space(choices: &str) -> String {
    let decision = |d| format!("[[decisions]]\nname = \"d{d}\"\nchoices = [{choices}]\n");
    (0..DECISIONS).map(decision).collect()
}

/// The sum of all digits, and how many are nought.
const MEASURE: &str = r#"
echo "$SRNAS_ARCHITECTURE" >> calls
echo "$SRNAS_ARCHITECTURE" | tr -dc ',:0-9' | tr ',' '\n' | cut -d: -f2 | awk '
    {sum += $1; if ($1 == 0) none += 1}
    END {printf "{\"score\": %d, \"none\": %d}\n", sum, none}'
"#;

fn setup() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("large.toml"), space("0, 1, 2, 3, 4, 5, 6, 7")).unwrap();
    fs::write(folder.path().join("small.toml"), space("0, 1")).unwrap();
    fs::write(folder.path().join("measure.sh"), MEASURE).unwrap();
    folder
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    // The program has a space in its name.
    let words = arguments.split(' ').map(|word| word.replace('+', " "));
    command.args(words).current_dir(folder).env("HOME", folder).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &str) -> Output {
    command(folder, arguments).output().unwrap()
}

fn done(folder: &Path, arguments: &str) -> String {
    stdout(&run(folder, arguments))
}

/// The complaint of a command that is used wrongly.
fn refused(folder: &Path, arguments: &str) -> String {
    let (code, says) = harness::failure(&run(folder, arguments));
    assert_eq!(code, 2, "{says}");
    says
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(String::from).collect()
}

#[test]
fn a_space_of_a_billion_combinations_goes_through_every_command() {
    let setup = setup();
    let folder = setup.path();
    assert!(done(folder, "space check large.toml").contains("1e9.0 combinations"));
    let search = "search --oracle cmd:sh+measure.sh --space large.toml --maximise score";
    assert!(
        done(folder, &format!("{search} --budget 15 --run-dir first")).contains("15 architectures measured")
    );
    let guided = done(folder, &format!("{search} --budget 8 --run-dir second --past first"));
    assert!(guided.contains("8 architectures measured"), "{guided}");
    // A policy for it is trained on functions that are made up over a part of it, and searches all of it.
    let trained = done(folder, "run --space large.toml --past first --steps 2500 --run-dir own");
    assert!(trained.contains("own/policy.safetensors") || trained.contains("own/report"), "{trained}");
    let walked = format!("{search} --budget 6 --run-dir third --method policy:own,by=trained");
    assert!(done(folder, &walked).contains("6 architectures measured"));
    // It goes on where it was, and trains nothing twice.
    let more = done(folder, "search --resume --run-dir third --budget 10");
    assert!(more.contains("10 architectures measured"), "{more}");
    let all = calls(folder);
    let of_the_third: HashSet<&String> = all[15 + 8..].iter().collect();
    assert_eq!((all.len(), of_the_third.len()), (15 + 8 + 10, 10));
}

#[test]
fn a_table_that_is_a_sample_of_a_large_space_is_searched_compared_and_learned_from() {
    let setup = setup();
    let folder = setup.path();
    let mut rows = String::from("d0,d1,d2,d3,d4,d5,d6,d7,d8,d9,score,none\n");
    let mut state = 7u64;
    for _ in 0..400 {
        let digits: Vec<u64> = (0..DECISIONS)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 61
            })
            .collect();
        digits.iter().for_each(|digit| write!(rows, "{digit},").unwrap());
        let none = digits.iter().filter(|digit| **digit == 0).count();
        writeln!(rows, "{},{none}", digits.iter().sum::<u64>()).unwrap();
    }
    fs::write(folder.join("sample.csv"), &rows).unwrap();
    let descriptor = "benchmark = \"sample\"\nspace = \"large.toml\"\nprovenance = \"made up\"\nlicence = \"none\"\n\
        [[metrics]]\nname = \"sample/score\"\ncolumn = \"score\"\nunit = \"\"\ndirection = \"maximise\"\ndescription = \"\"\n\
        [[metrics]]\nname = \"sample/none\"\ncolumn = \"none\"\nunit = \"\"\ndirection = \"minimise\"\ndescription = \"\"\n";
    fs::write(folder.join("sample.toml"), descriptor).unwrap();
    done(folder, "bench import table sample.csv --descriptor sample.toml --bench-dir tables");
    let methods = "--method random --method local --method evolution:population=10 --method nsga2:population=10 --method gp \
                   --method transfer-gp";
    let compare = format!(
        "compare --bench-dir tables --task sample/sample/score --past sample/sample/none {methods} --budget 10,40 --seeds 3 \
         --out report"
    );
    let said = done(folder, &compare);
    assert!(
        said.contains("400 architectures have a value, a sample of a space too large to be listed"),
        "{said}"
    );
    assert!(!said.contains("failed"), "{said}");
    let summary: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("report/summary.json")).unwrap()).unwrap();
    let best = rows.lines().skip(1).map(|row| row.split(',').nth(DECISIONS).unwrap().parse::<f64>().unwrap());
    assert_eq!(summary["problems"][0]["best"], best.fold(0.0, f64::max));
    let regret =
        |method: usize| summary["overall"][method]["normalised_regret"]["40"]["mean"].as_f64().unwrap();
    assert!(regret(4) < 0.5 * regret(0), "gp {} random {}", regret(4), regret(0));
    // A policy learns from it, and searches it.
    let train = "run --bench-dir tables --task sample/sample/{score,none} --steps 2500 --run-dir learned";
    done(folder, train);
    let searched =
        "search --bench-dir tables --policy learned --task sample/sample/score --budget 20 --seeds 4";
    assert!(done(folder, searched).contains("sample/sample/score"));
    // Not another sample of the space, of as many rows: what it knows by rank is of its own.
    let others: Vec<&str> = rows.lines().collect();
    let turned: Vec<String> = others[1..]
        .iter()
        .map(|row| {
            let mut cells: Vec<&str> = row.split(',').collect();
            cells[..DECISIONS].reverse();
            cells.join(",")
        })
        .collect();
    fs::write(folder.join("other.csv"), format!("{}\n{}\n", others[0], turned.join("\n"))).unwrap();
    fs::write(folder.join("other.toml"), descriptor.replace("= \"sample\"", "= \"other\"")).unwrap();
    done(folder, "bench import table other.csv --descriptor other.toml --bench-dir tables");
    let said = harness::failure(&run(folder, &searched.replace("sample/sample", "other/sample")));
    assert!(said.1.contains("has others here"), "{said:?}");
    // What was measured of an earlier task guides a search of the whole space.
    let guided = "search --bench-dir tables --oracle cmd:sh+measure.sh --space large.toml --maximise score --budget 4 --run-dir \
                  guided --past sample/sample/score";
    assert!(done(folder, guided).contains("4 architectures measured"));
}

const COMPARE: &str = "compare --oracle cmd:sh+measure.sh --space small.toml --maximise score --method random --method universal \
                       --method evolution:population=4 --budget 4,10 --seeds 2 --out report";

#[test]
fn methods_are_compared_by_a_program_that_is_asked_once_also_after_a_kill() {
    let setup = setup();
    let folder = setup.path();
    let mut first = command(folder, COMPARE).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while calls(folder).len() < 15 {
        assert!(Instant::now() < deadline, "it does not measure");
        std::thread::sleep(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let killed = calls(folder).len();
    let said = done(folder, COMPARE);
    assert!(said.contains("0 is the best of all that was measured"), "{said}");
    let all = calls(folder);
    let distinct: HashSet<&String> = all.iter().collect();
    // What was under way when it was killed is measured again, and nothing else.
    assert!(all.len() > killed && all.len() <= distinct.len() + 1, "{} of {}", distinct.len(), all.len());
    // Six searches of ten; the start of each seed at least is shared.
    assert!((10..=60 - 4).contains(&distinct.len()), "{}", distinct.len());
    let results = fs::read_to_string(folder.join("report/results.csv")).unwrap();
    assert_eq!(results.lines().count(), 1 + 60);
    // Once more, and nothing is measured at all.
    assert_eq!((done(folder, COMPARE), calls(folder).len()), (said, all.len()));
    assert_eq!(fs::read_to_string(folder.join("report/results.csv")).unwrap(), results);
}

#[test]
fn methods_that_learn_from_the_past_are_compared_by_a_program_and_go_on_with_the_same_past() {
    let setup = setup();
    let folder = setup.path();
    let search = "search --oracle cmd:sh+measure.sh --space small.toml --maximise score --budget";
    done(folder, &format!("{search} 12 --run-dir first"));
    let compare = "compare --oracle cmd:sh+measure.sh --space small.toml --maximise score --budget 2,6 --seeds 2 --past first";
    for (methods, out) in [
        ("--method transfer-gp --method random", "one"),
        ("--method random --method transfer-gp", "two"),
        ("--method mobo:past=all", "three"),
    ] {
        let said = done(folder, &format!("{compare} {methods} --out {out}"));
        assert!(!said.contains("failed"), "{said}");
    }
    let alone = refused(folder, &format!("{compare} --method random --out four"));
    assert!(alone.contains("none of the methods learns from past tasks"), "{alone}");
    // The past has grown since.
    done(folder, "search --resume --run-dir first --budget 20");
    let other = refused(folder, &format!("{compare} --method mobo:past=all --out three"));
    assert!(other.contains("`content` differs"), "{other}");
}

#[test]
fn what_cannot_be_compared_by_an_oracle_is_refused_with_the_way() {
    let setup = setup();
    let folder = setup.path();
    for (more, says) in [
        ("--task nb201/cifar10/val", "--task goes with tables"),
        ("--workers 4", "--workers goes with tables"),
        ("--method random", "method `random` is given twice"),
        ("--method transfer-gp", "learns from past tasks"),
        ("--method asha", "needs shorter trainings"),
        ("--method policy:nowhere", "nowhere"),
        ("--minimise none", "method `universal` searches one objective"),
        ("--against gp", "not one of the methods compared"),
    ] {
        let said = refused(folder, &format!("{COMPARE} {more}"));
        assert!(said.contains(says), "{more}: {said}");
    }
    assert!(!folder.join("report").exists() && calls(folder).is_empty());
    let remote = refused(folder, &COMPARE.replace("cmd:sh+measure.sh", "remote"));
    assert!(remote.contains("goes with `srnas search`"), "{remote}");
    // Another comparison in the folder, and something else.
    let two = COMPARE.replace(" --method universal", "").replace("--budget 4,10", "--budget 3");
    done(folder, &two);
    let other = refused(folder, COMPARE);
    // Nothing that was there is lost by what is refused.
    let kept = fs::read_to_string(folder.join("report/space.toml")).unwrap();
    let space = refused(folder, &two.replace("small.toml", "large.toml"));
    assert!(space.contains("`content` differs"), "{space}");
    assert_eq!(fs::read_to_string(folder.join("report/space.toml")).unwrap(), kept);
    assert!(other.contains("another comparison"), "{other}");
    let table = "compare --task digits/val/clean --method random --budget 3 --seeds 1 --out table";
    let out = run(folder, table);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let mixed = refused(folder, &COMPARE.replace("--out report", "--out table"));
    assert!(mixed.contains("give another --out"), "{mixed}");
}
