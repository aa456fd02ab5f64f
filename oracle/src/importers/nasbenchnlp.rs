//! NAS-Bench-NLP (Klyuchnikov et al., arXiv 2006.07116): recurrent cells trained on WikiText-2, each published as a recipe: a graph whose
//! nodes are named freely. Here a recipe is a list of steps in an order that its graph alone decides, so that the same cell under other
//! names, or told in another order, is the same architecture.

use super::{
    ImportError, Imported,
    csv::{Column, CsvError, CsvTable},
    trainings::{self, Trainings},
};
use crate::benchmark::{BenchmarkWriter, Direction, Fidelity, MetricInfo, SpaceDefinition, SpaceFormat};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Name of the benchmark made.
pub const BENCHMARK: &str = "nlp";
const TABLE: &str = "nasbench_nlp_wikitext2";
const PROVENANCE: &str = "NAS-Bench-NLP (Klyuchnikov et al., arXiv 2006.07116): github fmsnew/nas-bench-nlp-release, \
    train_logs_wikitext-2; Penn Treebank and weights from github aaronserianni/training-free-nas";
const LICENCE: &str = "Apache-2.0";

/// What a step can do: our name, the published one, how many inputs it takes, and whether their order matters.
const OPERATIONS: [(&str, &str, usize, bool); 8] = [
    ("linear", "linear", 2, false),
    ("linear3", "linear", 3, false),
    ("sum", "elementwise_sum", 2, false),
    ("prod", "elementwise_prod", 2, false),
    ("blend", "blend", 3, true),
    ("sigmoid", "activation_sigm", 1, true),
    ("tanh", "activation_tanh", 1, true),
    ("leaky_relu", "activation_leaky_relu", 1, true),
];
/// Steps of the longest recipe, hidden states of the one that has most, inputs of a step.
const STEPS: usize = 15;
const STATES: usize = 3;
const INPUTS: [&str; 3] = ["a", "b", "c"];
/// Decisions of a step: what it does, on what, and which state it makes.
const OF_STEP: usize = INPUTS.len() + 2;

/// Epochs of a full training, and of shorter ones.
const FULL: u32 = 50;
const SHORTER: [u32; 3] = [5, 10, 25];

/// Column, metric, unit and description of what is one number a row.
const COLUMNS: [(&str, &str, &str, &str); 6] = [
    ("final_val_loss", "wikitext2/val", "nats", "validation loss on WikiText-2 after 50 epochs"),
    ("best_val_loss", "wikitext2/best_val", "nats", "the least validation loss on WikiText-2 of 50 epochs"),
    ("final_test_loss", "wikitext2/test", "nats", "test loss on WikiText-2 after 50 epochs"),
    ("num_params", "wikitext2/params", "", "weights, those of the embedding included"),
    ("wall_times_total", "wikitext2/train_time", "s", "time of the training"),
    ("ptb_test_or_val_loss", "ptb/loss", "nats", "loss on Penn Treebank"),
];

/// A node as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    op: String,
    input: Vec<String>,
}

/// Reads the table.
///
/// # Errors
/// Refuses a recipe that is no cell of the space and any value that is no number; with file, line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    trainings::import(folders, TABLE, progress, read)
}

fn read(table: &CsvTable) -> Result<BenchmarkWriter, CsvError> {
    let definition = definition();
    let space = Arc::new(definition.space(BENCHMARK).expect("the definition is a space"));
    let recipe = table.column("recepie")?;
    let trainings = Trainings::new(table.rows(), |row| {
        cell(recipe.text(row)).map_err(|reason| recipe.error(row, reason))
    })?;
    let mut benchmark =
        BenchmarkWriter::new(BENCHMARK, &space, trainings.choices.clone(), PROVENANCE, LICENCE);
    benchmark.define_space(definition);
    let mut metric =
        |name: &str, unit: &str, description: String, value: &dyn Fn(usize) -> Result<f64, CsvError>| {
            let values = trainings.values(value)?;
            let info = MetricInfo { unit: unit.into(), direction: Direction::Minimise, description };
            benchmark.exact_metric(name, info, trainings.seeds(), &values);
            Ok::<_, CsvError>(())
        };
    for (column, name, unit, description) in COLUMNS {
        let column = table.column(column)?;
        metric(name, unit, description.into(), &|row| number(column, row))?;
    }
    let curve = table.column("val_losses")?;
    for epochs in SHORTER {
        let description = format!("validation loss on WikiText-2 after {epochs} epochs");
        metric(&format!("wikitext2/val_{epochs}"), "nats", description, &|row| after(curve, row, epochs))?;
    }
    for epochs in SHORTER {
        benchmark.fidelity(Fidelity {
            metric: format!("wikitext2/val_{epochs}"),
            of: "wikitext2/val".into(),
            unit: "epochs".into(),
            amount: epochs,
            full: FULL,
        });
    }
    Ok(benchmark)
}

/// What is left empty was not measured, and what diverged has no value.
fn number(column: Column, row: usize) -> Result<f64, CsvError> {
    match column.text(row).trim() {
        "" | "nan" => Ok(f64::NAN),
        _ => column.number(row),
    }
}

/// The loss after so many epochs of a curve, if it came that far.
fn after(curve: Column, row: usize, epochs: u32) -> Result<f64, CsvError> {
    let Some(text) = curve.text(row).split_whitespace().nth(epochs as usize - 1) else { return Ok(f64::NAN) };
    let value: f64 = text.parse().map_err(|_| curve.error(row, format!("`{text}` is not a number")))?;
    Ok(if value.is_finite() { value } else { f64::NAN })
}

/// What a step may read: the input, the states before, the steps before it.
fn sources(step: usize) -> Vec<String> {
    let states = (0..STATES).map(|state| format!("h{state}"));
    std::iter::once("x".into()).chain(states).chain((1..step).map(|before| format!("s{before}"))).collect()
}

fn definition() -> SpaceDefinition {
    let mut text = format!("name = \"{BENCHMARK}\"\n");
    let mut decision = |name: String, choices: &[String], active: Option<String>| {
        write!(text, "\n[[decisions]]\nname = \"{name}\"\nchoices = {choices:?}\n")
            .expect("writing to a text does not fail");
        if let Some(active) = active {
            writeln!(text, "active_if = {{ {active} }}").expect("as above");
        }
    };
    let taking =
        |inputs: usize| OPERATIONS.iter().filter(move |known| known.2 >= inputs).map(|known| known.0);
    let none = || std::iter::once("none".to_string());
    for step in 1..=STEPS {
        let names = OPERATIONS.iter().map(|known| known.0.to_string());
        decision(format!("op{step}"), &none().chain(names).collect::<Vec<_>>(), None);
        for (place, input) in INPUTS.iter().enumerate() {
            let active = format!("op{step} = {:?}", taking(place + 1).collect::<Vec<_>>());
            decision(format!("{input}{step}"), &sources(step), Some(active));
        }
        let states = none().chain((0..STATES).map(|state| format!("h{state}")));
        let active = format!("op{step} = {:?}", taking(1).collect::<Vec<_>>());
        decision(format!("state{step}"), &states.collect::<Vec<_>>(), Some(active));
    }
    SpaceDefinition { format: SpaceFormat::Toml, text }
}

/// The choices of a recipe. Of the nodes whose inputs are all there, the one whose operation and inputs come first is the next step.
fn cell(recipe: &str) -> Result<Vec<u8>, String> {
    let nodes: BTreeMap<String, Node> =
        serde_json::from_str(recipe).map_err(|e| format!("it is no recipe: {e}"))?;
    if nodes.is_empty() || nodes.len() > STEPS {
        return Err(format!("it has {} nodes; 1 to {STEPS} are known", nodes.len()));
    }
    let mut known: HashMap<String, u8> = HashMap::from([("x".to_string(), 0)]);
    known.extend((0..STATES).map(|state| (format!("h_prev_{state}"), 1 + state as u8)));
    let mut waiting: Vec<(&String, &Node)> = nodes.iter().collect();
    let mut choices = Vec::with_capacity(STEPS * OF_STEP);
    while !waiting.is_empty() {
        let mut ready = Vec::new();
        for (place, (name, node)) in waiting.iter().enumerate() {
            let inputs: Option<Vec<u8>> = node.input.iter().map(|input| known.get(input).copied()).collect();
            if let Some(inputs) = inputs {
                ready.push((step(name, node, inputs)?, place));
            }
        }
        let Some((next, place)) = ready.into_iter().min() else {
            let (name, node) = waiting[0];
            let without = node.input.iter().find(|input| !known.contains_key(*input));
            return Err(format!(
                "`{name}` waits for `{}`, which is nowhere or in a circle",
                without.map_or("", |w| w)
            ));
        };
        known.insert(waiting.remove(place).0.clone(), known.len() as u8);
        choices.extend(next);
    }
    choices.resize(STEPS * OF_STEP, 0);
    Ok(choices)
}

/// The decisions of one step.
fn step(name: &str, node: &Node, mut inputs: Vec<u8>) -> Result<[u8; OF_STEP], String> {
    let operation = OPERATIONS.iter().position(|known| known.1 == node.op && known.2 == inputs.len());
    let Some(operation) = operation else {
        return Err(format!("`{name}`: no operation `{}` takes {} inputs", node.op, inputs.len()));
    };
    if !OPERATIONS[operation].3 {
        inputs.sort_unstable();
    }
    // Other names that begin like a state's, such as `h_new_1_part1`, are names like any other.
    let state = match name.strip_prefix("h_new_").and_then(|number| number.parse::<usize>().ok()) {
        None => 0,
        Some(state) if state < STATES => 1 + state as u8,
        Some(_) => return Err(format!("`{name}` is none of {STATES} states")),
    };
    let mut choices = [0; OF_STEP];
    choices[0] = 1 + operation as u8;
    choices[1..=inputs.len()].copy_from_slice(&inputs);
    choices[OF_STEP - 1] = state;
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::Benchmark;
    use std::fs;

    const HEAD: &str = "recepie,num_params,best_val_loss,final_val_loss,final_test_loss,val_losses,wall_times_total,ptb_test_or_val_loss";
    const CELL: &str = r#"{"f": {"op": "linear", "input": ["x", "h_prev_0"]}, "h_new_0": {"op": "activation_tanh", "input": ["f"]}}"#;

    fn row(recipe: &str, loss: &str) -> String {
        format!("\"{}\",15,5.0,{loss},5.1,6.0 5.9 5.8 5.7 5.6,60,", recipe.replace('"', "\"\""))
    }

    fn imported(rows: &[String]) -> Result<Benchmark, String> {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join(format!("{TABLE}.csv")), format!("{HEAD}\n{}\n", rows.join("\n")))
            .unwrap();
        let imported =
            import(&[folder.path().to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())?;
        let path = folder.path().join("nlp.safetensors");
        imported.benchmarks[0].clone().write(&path).unwrap();
        Benchmark::open(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn the_names_and_the_order_of_nodes_do_not_matter_and_what_is_there_again_is_a_second_training() {
        let renamed = CELL.replace("\"f\"", "\"node_7\"");
        let swapped = r#"{"h_new_0": {"op": "activation_tanh", "input": ["f"]}, "f": {"op": "linear", "input": ["h_prev_0", "x"]}}"#;
        let other = CELL.replace("h_prev_0", "h_prev_1");
        let benchmark =
            imported(&[row(CELL, "5"), row(&renamed, "6"), row(swapped, "7"), row(&other, "nan")]).unwrap();
        let loss = benchmark.metric("wikitext2/val").unwrap();
        assert_eq!((benchmark.rows(), loss.seeds(), loss.mean(0)), (2, 3, 6.0));
        assert!(loss.mean(1).is_nan(), "what diverged has no value");
        assert!((benchmark.metric("wikitext2/val_5").unwrap().mean(0) - 5.6).abs() < 1e-6);
        assert!(benchmark.metric("wikitext2/val_10").unwrap().mean(0).is_nan(), "it did not come that far");
        let shown = benchmark.space().format(benchmark.choices(0));
        assert!(
            shown.starts_with(
                "op1=linear,a1=x,b1=h0,c1=x,state1=none,op2=tanh,a2=s1,b2=x,c2=x,state2=h0,op3=none"
            ),
            "{shown}"
        );
    }

    #[test]
    fn what_is_no_cell_of_the_space_is_named_with_its_place() {
        let refused = |recipe: &str| imported(&[row(recipe, "1")]).map(|b| b.rows()).unwrap_err();
        let said = refused("[]");
        assert!(said.contains(":2: column 1, `recepie`: it is no recipe"), "{said}");
        assert!(refused("{}").contains("it has 0 nodes"));
        assert!(
            refused(&CELL.replace("tanh", "gelu"))
                .contains("`h_new_0`: no operation `activation_gelu` takes 1 inputs")
        );
        assert!(refused(&CELL.replace("[\"f\"]", "[\"g\"]")).contains("`h_new_0` waits for `g`"));
        assert!(refused(&CELL.replace("[\"f\"]", "[\"h_new_0\"]")).contains("in a circle"));
        assert!(refused(&CELL.replace("h_new_0", "h_new_5")).contains("none of 3 states"));
        assert!(refused(&CELL.replace("\"x\", ", "")).contains("no operation `linear` takes 1 inputs"));
        let said = imported(&[row(CELL, "low")]).map(|b| b.rows()).unwrap_err();
        assert!(said.contains("`final_val_loss`: `low` is not a number"), "{said}");
    }
}
