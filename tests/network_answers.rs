//! End to end: a benchmark whose network answers for every architecture of a space of 10¹⁸ is searched, compared and learned from, and
//! a part of a table gets a surrogate.

mod harness;

use harness::{PROGRAM, failure, stdout};
use srnas_oracle::benchmark::{
    Activation, BenchmarkWriter, Branch, Direction, Fidelity, MetricInfo, Network, NetworkInfo, Output,
    Weights,
};
use srnas_space::SearchSpace;
use std::{
    fs,
    path::Path,
    process::{self, Command, Stdio},
};
use tempfile::TempDir;

fn info(unit: &str) -> MetricInfo {
    MetricInfo { unit: unit.into(), direction: Direction::Maximise, description: "made up".into() }
}

/// Convolutions are good, more so with a skip beside them; `d/early` and `d/middle` say nearly the same.
fn write(folder: &Path) {
    let space = SearchSpace::named("darts").unwrap();
    let output = |column: usize, metric: &str| Output {
        metric: metric.into(),
        column,
        sigmoid: true,
        scale: 20.0 + 10.0 * column as f32,
        offset: 60.0,
    };
    let hidden = 8;
    let mut state = 5u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let rows: usize = (0..space.len()).map(|d| usize::from(space.arity(d))).sum();
    let first = (0..rows * hidden).map(|_| draw()).collect();
    let last = (0..hidden).flat_map(|_| [draw(); 3]).collect();
    let network = NetworkInfo {
        rows_are_measured: false,
        slots: (0..space.len()).map(|d| vec![d]).collect(),
        branches: vec![Branch { hidden: vec![hidden], activation: Activation::Relu }],
        outputs: vec![output(0, "d/early"), output(1, "d/middle"), output(2, "d/val")],
        held_out: None,
    };
    let layers = vec![vec![(last, vec![0.0, -0.1, 0.1])]];
    let bias = (0..3 * hidden).map(|_| draw()).collect();
    let network = Network::new(network, space.clone(), Weights { first, bias, layers }).unwrap();
    let mut choices = Vec::new();
    let mut one = vec![0; space.len()];
    for row in 0..300u64 {
        space.unrank(row.wrapping_mul(0x9e37_79b9_7f4a_7c15) % space.size().unwrap(), &mut one);
        choices.extend_from_slice(&one);
    }
    let mut writer = BenchmarkWriter::new("made-up", &space, choices.clone(), "made up", "none");
    for (output, metric) in ["d/early", "d/middle", "d/val"].into_iter().enumerate() {
        writer.metric(metric, info("%"), 1, &network.values(output, &choices));
    }
    for (metric, amount) in [("d/early", 1), ("d/middle", 2)] {
        writer.fidelity(Fidelity {
            metric: metric.into(),
            of: "d/val".into(),
            unit: "epochs".into(),
            amount,
            full: 8,
        });
    }
    writer.network(&network);
    writer.write(&folder.join("tables/made-up.safetensors")).unwrap();
}

const CONFIG: &str = r#"
seed = 1
prior = "table"
[tasks]
train = ["short"]
held_out = ["full"]
[environment]
horizon = 12
[validation]
families = ["middle"]
starts = 4
points = [6, 12]
[comparison]
methods = ["random", "gp"]
budgets = [6, 12]
seeds = 4
[task_sets]
short = ["made-up/d/{early,middle}", "made-up/d/early+0.2*middle"]
full = ["made-up/d/val"]
"#;

fn run(folder: &Path, arguments: &str) -> process::Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments.split(' ')).current_dir(folder).env("HOME", folder).env_remove("RUST_LOG");
    command.env("SRNAS_BENCH_DIR", folder.join("tables"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().unwrap()
}

fn done(folder: &Path, arguments: &str) -> String {
    stdout(&run(folder, arguments))
}

fn refused(folder: &Path, arguments: &str) -> String {
    let (code, says) = failure(&run(folder, arguments));
    assert_eq!(code, 2, "{says}");
    says
}

#[test]
fn a_policy_learns_from_a_network_and_searches_where_no_table_can_be_made() {
    let setup = TempDir::new().unwrap();
    let folder = setup.path();
    write(folder);
    fs::write(folder.join("run.toml"), CONFIG).unwrap();
    assert!(done(folder, "bench verify made-up").contains("predictions that are the network's"));
    assert!(
        done(folder, "bench info made-up").contains("predicts d/early, d/middle, d/val of any architecture")
    );
    let trained = done(folder, "run --config run.toml --steps 2500 --run-dir run");
    assert!(trained.contains("this policy") && trained.contains("% (predicted)"), "{trained}");
    // The policy alone is enough: what the training tasks said is in it.
    let search = done(
        folder,
        "search --policy run/policy.safetensors --task made-up/d/val --budget 12 --seeds 3 --json",
    );
    assert!(search.contains("made-up/d/val"), "{search}");
    let methods = "--method random --method local --method evolution:population=5 --method gp --method universal \
                   --method transfer-gp --method two-phase --method policy:run";
    let methods: Vec<&str> = methods.split_whitespace().collect();
    let compared = done(
        folder,
        &format!(
            "compare --task made-up/d/val --past made-up/d/{{early,middle}} {} --budget 6,12 --seeds 3 --out report",
            methods.join(" ")
        ),
    );
    assert!(compared.contains("transfer-gp") && compared.contains("policy"), "{compared}");
    let page = fs::read_to_string(folder.join("report/report.html")).unwrap();
    assert!(
        page.contains("predictions of a benchmark") && page.contains("best and median are those of 300"),
        "no word of it"
    );
    // Nobody knows its front.
    for asked in ["--objectives made-up/d/{val,early}", "--task made-up/d/val --require early<=70"] {
        let says =
            refused(folder, &format!("compare {asked} --method random --budget 6 --seeds 1 --out other"));
        assert!(says.contains("nobody knows"), "{says}");
    }
    // Of the rows alone there is a table.
    let rows = "compare --objectives made-up/d/{val:0,early:0} --method random --method mobo --budget 6 --seeds 1 --out rows";
    assert!(done(folder, rows).contains("mobo"));
}

#[test]
fn a_part_of_a_table_gets_a_surrogate_that_says_what_it_is() {
    let setup = TempDir::new().unwrap();
    let folder = setup.path();
    let space = SearchSpace::named("nb201").unwrap();
    let (mut choices, mut values) = (Vec::new(), Vec::new());
    for row in 0..1_000u64 {
        let mut cell = vec![0; 6];
        space.unrank(row * 7_919 % 15_625, &mut cell);
        values.push(cell.iter().map(|&c| [0.0, 2.0, 3.0, 5.0, 1.0][usize::from(c)]).sum::<f32>());
        choices.extend(cell);
    }
    let mut writer = BenchmarkWriter::new("part", &space, choices, "made up", "none");
    writer.metric("d/val", info("%"), 1, &values);
    writer.write(&folder.join("tables/part.safetensors")).unwrap();
    let fit = "bench fit part --metric d/val --bench-dir tables --out";
    assert!(refused(folder, &format!("{fit} nb201")).contains("cannot be the name"));
    let (code, poor) = failure(&run(folder, &format!("{fit} all --least-tau 1")));
    assert!(
        code == 1 && poor.contains("nothing is written") && !folder.join("tables/all.safetensors").exists(),
        "{poor}"
    );
    assert!(refused(folder, &format!("{fit} all --least-tau 3")).contains("from -1 to 1"));
    let fitted = done(folder, &format!("{fit} all"));
    assert!(fitted.contains("1,000 rows as they were measured") && fitted.contains("Kendall"), "{fitted}");
    assert!(refused(folder, &format!("{fit} all")).contains("--replace"));
    let query = |cell: &str| done(folder, &format!("bench query all {cell} --json"));
    let measured = query("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|");
    assert!(measured.contains("\"source\":\"measured\"") && measured.contains("\"value\":0.0"), "{measured}");
    let predicted = query("|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|");
    assert!(predicted.contains("\"source\":\"predicted\""), "{predicted}");
    let compare = "compare --task all/d/val --method random --method gp --budget 10 --seeds 2 --out report";
    assert!(done(folder, compare).contains("gp"));
}
