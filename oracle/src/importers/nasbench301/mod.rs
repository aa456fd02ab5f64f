//! NAS-Bench-301: a published network that knows what a DARTS architecture would reach, in a space of which nobody can train a part that is
//! worth speaking of.
//!
//! It is YAHPO-Gym's network (arXiv 2109.03670), fitted on the trainings of NAS-Bench-301: an embedding of the operation of each of the 28
//! possible edges and of the inputs of six nodes, then three branches of dense layers. Its embeddings and first layers are multiplied once,
//! here, so that a first layer is a sum of rows.

mod onnx;

use super::{Folders, ImportError, Imported, csv::CsvTable};
use crate::{
    benchmark::{
        Activation, BenchmarkWriter, Branch, Direction, Fidelity, MetricInfo, Network, NetworkInfo, Output,
        Weights,
    },
    climb::climb,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_space::{SearchSpace, darts};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Name of the benchmark made.
pub const BENCHMARK: &str = "nb301";
const MODEL: &str = "yahpo_nb301_new_model.onnx";
const ENCODING: &str = "yahpo_nb301_encoding.json";
const ORDER: &str = "yahpo_nb301_input_order.json";
const PREDICTIONS: &str = "nb301_yahpo_predictions_11221";
/// Epochs of a full training, and of shorter ones.
const FULL: u32 = 98;
const EPOCHS: [u32; 4] = [10, 25, 50, FULL];
/// Architectures drawn at random, whose median stands for the space's.
const DRAWN: usize = 10_000;
/// The best of them from which better ones are looked for, for each metric.
const STARTS: usize = 8;
/// The published predictions have four decimals; of seconds two, up to 13,000 in single precision.
const NEAR: [f64; 2] = [1e-4, 2e-2];

const PROVENANCE: &str = "NAS-Bench-301 (Siems et al., arXiv 2008.09777): YAHPO-Gym's network fitted on its trainings (Pfisterer et al., \
    AutoML 2022), github slds-lmu/yahpo_data @ 615ae3b14ab6 nb301; an intermediate model, not the release of version 1.0. Rows: 10,000 \
    architectures drawn at random and the best that a local search found; every value is the network's.";
const LICENCE: &str = "Apache-2.0";

/// Reads the network that the folders have, and compares what it says with the published predictions where these are there, too.
///
/// # Errors
/// Refuses a file that is not that network, by what differs, and a prediction that is not the network's, with file and line.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let named = |name: &'static str| {
        let absent = || ImportError::RequiredName { name, folders: folders.given.clone() };
        folders.find_named(name).ok_or_else(absent)
    };
    let (model, encoding, order) = (named(MODEL)?, named(ENCODING)?, named(ORDER)?);
    let predictions = folders.find(PREDICTIONS);
    let total = 2 + usize::from(predictions.is_some());
    progress(0, total, &model);
    let columns = Columns::read(&encoding, &order)?;
    let space = SearchSpace::named("darts")?;
    let network = of_file(&model, &columns, &space)?;
    let mut files = vec![model.clone(), encoding, order];
    let mut absent = Vec::new();
    match predictions {
        None => absent.push(format!("{PREDICTIONS}.csv.gz")),
        Some(path) => {
            progress(1, total, &path);
            compare(&network, &space, &CsvTable::read(&path)?.with_rows()?)?;
            files.push(path);
        }
    }
    progress(total - 1, total, &model);
    Ok(Imported { benchmarks: vec![benchmark(&network, &space)], files, absent })
}

/// A metric's name: of a full training without its length.
fn named(metric: &str, epochs: u32) -> String {
    if epochs == FULL { format!("cifar10/{metric}") } else { format!("cifar10/{metric}_{epochs}") }
}

/// What the network calls its categories.
struct Columns {
    /// In the order of its inputs.
    order: Vec<String>,
    /// Code of each choice, by column.
    codes: BTreeMap<String, BTreeMap<String, usize>>,
}

#[derive(serde::Deserialize)]
struct InputOrder {
    x_cat_order: Vec<String>,
}

impl Columns {
    fn read(encoding: &Path, order: &Path) -> Result<Self, ImportError> {
        fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ImportError> {
            let text =
                fs::read_to_string(path).map_err(|source| ImportError::File { path: path.into(), source })?;
            serde_json::from_str(&text).map_err(|e| wrong(path, format!("it is not what it should be: {e}")))
        }
        let InputOrder { x_cat_order } = json(order)?;
        let codes: BTreeMap<String, BTreeMap<String, usize>> = json(encoding)?;
        if let Some(column) = x_cat_order.iter().find(|column| !codes.contains_key(*column)) {
            return Err(wrong(encoding, format!("it has no codes of `{column}`")));
        }
        let short = |name: &String| name.rsplit("_COLON_").next().unwrap_or(name).to_string();
        let codes = codes.iter().map(|(name, codes)| (short(name), codes.clone())).collect();
        Ok(Self { order: x_cat_order.iter().map(short).collect(), codes })
    }
}

fn wrong(path: &Path, reason: String) -> ImportError {
    ImportError::Records { path: path.into(), reason }
}

/// What the network computes after its embeddings, step by step.
fn steps() -> Vec<String> {
    let gemm = |name: &str| format!("Gemm {name}.weight {name}.bias");
    let mut steps = vec!["Concat".to_string(), "Gather".into(), "Mul".into()];
    // The epochs join the embeddings; a vector of zeros is added to the linear branch.
    steps.extend(["Concat", "Concat", "Gather", "Concat"].map(String::from));
    steps.extend([gemm("wide.0"), "Add".into()]);
    for (layers, last) in [
        (&["deep.0.1", "deep.1.1"][..], "deep.2.0"),
        (&["deeper.0.1", "deeper.1.1", "deeper.2.1", "deeper.3.1"], "deeper.4.0"),
    ] {
        layers.iter().for_each(|layer| steps.extend([gemm(layer), "Selu".into()]));
        steps.extend([gemm(last), "Add".into()]);
    }
    steps.extend(["Sigmoid", "Gather", "Div", "Gather", "Sub", "Mul", "Add", "Concat"].map(String::from));
    steps
}

fn of_file(path: &Path, columns: &Columns, space: &Arc<SearchSpace>) -> Result<Network, ImportError> {
    let bytes = fs::read(path).map_err(|source| ImportError::File { path: path.into(), source })?;
    let file = onnx::Network::read(&bytes).map_err(|reason| wrong(path, reason))?;
    let embeddings = columns.order.len();
    let looked_up =
        (0..embeddings).flat_map(|i| ["Gather".to_string(), format!("Gather embds_fct.{i}.weight")]);
    let expected: Vec<String> = looked_up.chain(steps()).collect();
    if let Some(at) =
        (0..expected.len().max(file.steps.len())).find(|&i| expected.get(i) != file.steps.get(i))
    {
        let of = |steps: &[String]| steps.get(at).map_or("nothing".into(), |step| format!("`{step}`"));
        let reason =
            format!("it is another network: its step {at} is {}, not {}", of(&file.steps), of(&expected));
        return Err(wrong(path, reason));
    }
    let [epoch, of_one, shift, factor, least] = file.constants[..] else {
        return Err(wrong(path, format!("it has {} constants, not 5", file.constants.len())));
    };
    let weights = Folded { file: &file, columns };
    let weights = weights.weights(epoch, space).map_err(|reason| wrong(path, reason))?;
    let outputs = EPOCHS.iter().flat_map(|&epochs| {
        let read = |metric: &str, column, scale, offset| Output {
            metric: named(metric, epochs),
            column,
            sigmoid: true,
            scale,
            offset,
        };
        [read("val", 0, 1.0 / of_one, 0.0), read("runtime", 1, factor, least - shift * factor)]
    });
    let info = NetworkInfo { outputs: outputs.collect(), ..description() };
    Network::new(info, space.clone(), weights).map_err(|reason| wrong(path, reason))
}

/// The network without its outputs.
fn description() -> NetworkInfo {
    let slots = (0..darts::CELLS.len()).flat_map(|cell| {
        (0..darts::NODES).flat_map(move |node| {
            let darts::Node { inputs, operations } = darts::node(cell, node);
            operations.map(|operation| inputs.into_iter().chain([operation]).collect())
        })
    });
    let selu = |hidden: &[usize]| Branch { hidden: hidden.to_vec(), activation: Activation::Selu };
    NetworkInfo {
        rows_are_measured: false,
        slots: slots.collect(),
        branches: vec![selu(&[512, 512]), selu(&[256, 256, 128, 128]), selu(&[])],
        outputs: Vec::new(),
        held_out: None,
    }
}

/// Columns of the outputs: accuracy and seconds.
const OUTPUTS: usize = 2;
/// Layers of each branch by their names, the first and the rest.
const LAYERS: [(&str, &[&str]); 3] = [
    ("deep.0.1", &["deep.1.1", "deep.2.0"]),
    ("deeper.0.1", &["deeper.1.1", "deeper.2.1", "deeper.3.1", "deeper.4.0"]),
    ("wide.0", &[]),
];

/// The published network while its embeddings and first layers become one.
struct Folded<'a> {
    file: &'a onnx::Network,
    columns: &'a Columns,
}

impl Folded<'_> {
    fn weights(&self, epoch: f32, space: &SearchSpace) -> Result<Weights, String> {
        let mut info = description();
        info.outputs = vec![Output {
            metric: String::new(),
            column: OUTPUTS - 1,
            sigmoid: true,
            scale: 1.0,
            offset: 0.0,
        }];
        // By column and code: what it adds to the first layer.
        let parts = self.parts(&info)?;
        let of = |column: &str, code: &str| -> Result<&Vec<f64>, String> {
            let place = self.columns.order.iter().position(|name| name == column);
            let code = self.columns.codes.get(column).and_then(|codes| codes.get(code));
            place
                .zip(code)
                .and_then(|(place, &code)| parts[place].get(code))
                .ok_or_else(|| format!("it has no input `{column}`"))
        };
        let mut constant = self.constant(&info)?;
        for cell in darts::CELLS {
            for edge in 0..14 {
                add(&mut constant, of(&format!("edge_{cell}_{edge}"), "#na#")?);
            }
        }
        let mut first = Vec::new();
        for (c, cell) in darts::CELLS.iter().enumerate() {
            for n in 0..darts::NODES {
                let before: usize = (0..n).map(|n| n + 2).sum();
                let pairs = darts::pairs(n);
                for (side, decision) in darts::node(c, n).operations.into_iter().enumerate() {
                    for pair in &pairs {
                        let edge = format!("edge_{cell}_{}", before + usize::from(pair[side]));
                        for operation in &space.decisions()[decision].choices {
                            let mut row = of(&edge, operation)?.clone();
                            of(&edge, "#na#")?.iter().zip(&mut row).for_each(|(none, row)| *row -= none);
                            // What is known of the inputs themselves stands with the first of them.
                            if pairs.len() > 1 && side == 0 {
                                let inputs = format!("{}_{}", pair[0], pair[1]);
                                add(&mut row, of(&format!("inputs_node_{cell}_{}", n + 2), &inputs)?);
                            }
                            first.extend(row.iter().map(|&v| v as f32));
                        }
                    }
                }
            }
        }
        let of_epochs = self.of_epochs(&info)?;
        let mut bias = Vec::new();
        for epochs in EPOCHS {
            // As the network has it, in single precision.
            let share = f64::from(epochs as f32 * epoch);
            let own: Vec<f32> =
                constant.iter().zip(&of_epochs).map(|(b, e)| (b + share * e) as f32).collect();
            (0..OUTPUTS).for_each(|_| bias.extend_from_slice(&own));
        }
        let layer = |(name, [inputs, outputs]): (&&str, [usize; 2])| {
            let weight = self.file.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = self.file.tensor(&format!("{name}.bias"), &[outputs])?;
            let turned = (0..inputs).flat_map(|i| (0..outputs).map(move |o| weight.values[o * inputs + i]));
            Ok((turned.collect(), bias.values.clone()))
        };
        let layers = info.branches.iter().zip(LAYERS).map(|(branch, (_, names))| {
            names.iter().zip(info.layers(branch)).map(layer).collect::<Result<Vec<_>, String>>()
        });
        Ok(Weights { first, bias, layers: layers.collect::<Result<_, _>>()? })
    }

    /// The widths of the embeddings, one after the other.
    fn widths(&self) -> Result<Vec<usize>, String> {
        let width = |(i, column): (usize, &String)| {
            let codes = self.columns.codes[column].len();
            Ok(self.file.matrix(&format!("embds_fct.{i}.weight"), codes)?.shape[1])
        };
        self.columns.order.iter().enumerate().map(width).collect()
    }

    /// The first layers of the branches, one below the other: for each of their outputs its weights, and its bias.
    fn first(&self, info: &NetworkInfo) -> Result<Vec<(Vec<f32>, f32)>, String> {
        let inputs = self.widths()?.iter().sum::<usize>() + 1;
        let mut rows = Vec::with_capacity(info.width());
        for (branch, (name, _)) in info.branches.iter().zip(LAYERS) {
            let outputs = branch.hidden.first().copied().unwrap_or(OUTPUTS);
            let weight = self.file.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = self.file.tensor(&format!("{name}.bias"), &[outputs])?;
            rows.extend(
                weight.values.chunks_exact(inputs).map(<[f32]>::to_vec).zip(bias.values.iter().copied()),
            );
        }
        Ok(rows)
    }

    fn constant(&self, info: &NetworkInfo) -> Result<Vec<f64>, String> {
        Ok(self.first(info)?.iter().map(|(_, bias)| f64::from(*bias)).collect())
    }

    fn of_epochs(&self, info: &NetworkInfo) -> Result<Vec<f64>, String> {
        Ok(self.first(info)?.iter().map(|(row, _)| row.last().map_or(0.0, |v| f64::from(*v))).collect())
    }

    /// By column and code: its embedding times the first layers.
    fn parts(&self, info: &NetworkInfo) -> Result<Vec<Vec<Vec<f64>>>, String> {
        let (widths, first) = (self.widths()?, self.first(info)?);
        let mut parts = Vec::with_capacity(widths.len());
        let mut start = 0;
        for (i, (width, column)) in widths.iter().zip(&self.columns.order).enumerate() {
            let codes = self.columns.codes[column].len();
            let embedding = self.file.tensor(&format!("embds_fct.{i}.weight"), &[codes, *width])?;
            let part = |code: usize| {
                let own = &embedding.values[code * width..][..*width];
                let product =
                    |row: &[f32]| row.iter().zip(own).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                first.iter().map(|(row, _)| product(&row[start..start + width])).collect()
            };
            parts.push((0..codes).map(part).collect());
            start += width;
        }
        Ok(parts)
    }
}

fn add(to: &mut [f64], of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += of);
}

/// Compares the published predictions with the network's.
fn compare(network: &Network, space: &SearchSpace, table: &CsvTable) -> Result<(), ImportError> {
    let cells = darts::CELLS.map(|cell| table.column(cell));
    let [normal, reduce] = cells;
    let (normal, reduce) = (normal?, reduce?);
    let mut all = Vec::with_capacity(table.rows() * space.len());
    for row in 0..table.rows() {
        let edge = |text: &str| {
            let (input, operation) = text.split_once(':')?;
            let operation = darts::OPERATIONS.get(operation.parse::<usize>().ok()?)?;
            Some(((*operation).to_string(), input.parse().ok()?))
        };
        let cell = |column: &super::csv::Column| {
            let edges: Option<Vec<(String, i64)>> = column.text(row).split(' ').map(edge).collect();
            edges.ok_or_else(|| column.error(row, "it is no list of edges, input:operation"))
        };
        let read = darts::choices_of([&cell(&normal)?, &cell(&reduce)?]);
        all.extend(read.map_err(|reason| normal.error(row, reason))?);
    }
    for epochs in EPOCHS {
        for (place, (metric, prefix)) in
            [("val", "val_acc"), ("runtime", "runtime_s")].into_iter().enumerate()
        {
            let column = table.column(&format!("{prefix}_ep{epochs}"))?;
            let output = network.output(&named(metric, epochs)).expect("an output for each length");
            for (row, found) in network.values(output, &all).into_iter().enumerate() {
                let said = column.number(row)?;
                // Not a number is not near.
                if said.is_nan() || (f64::from(found) - said).abs() > NEAR[place] {
                    let reason =
                        format!("the network says {found}, not {said}: the two are not of one version");
                    return Err(column.error(row, reason).into());
                }
            }
        }
    }
    Ok(())
}

fn benchmark(network: &Network, space: &Arc<SearchSpace>) -> BenchmarkWriter {
    let choices = known(network, space);
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, space, choices.clone(), PROVENANCE, LICENCE);
    for epochs in EPOCHS {
        let val = MetricInfo {
            unit: "%".into(),
            direction: Direction::Maximise,
            description: format!("predicted validation accuracy on CIFAR-10 after {epochs} epochs"),
        };
        let runtime = MetricInfo {
            unit: "s".into(),
            direction: Direction::Minimise,
            description: format!("predicted time of a training of {epochs} epochs"),
        };
        for (metric, info) in [("val", val), ("runtime", runtime)] {
            let name = named(metric, epochs);
            let output = network.output(&name).expect("an output for each length");
            benchmark.metric(name, info, 1, &network.values(output, &choices));
        }
        if epochs != FULL {
            benchmark.fidelity(Fidelity {
                metric: named("val", epochs),
                of: named("val", FULL),
                unit: "epochs".into(),
                amount: epochs,
                full: FULL,
            });
        }
    }
    benchmark.network(network);
    benchmark
}

/// Architectures that stand for the space: many drawn at random, and for each accuracy the best that local searches find from the best of
/// these, so that a regret is measured against something good.
fn known(network: &Network, space: &SearchSpace) -> Vec<u8> {
    let (d, mut rng) = (space.len(), ChaCha8Rng::seed_from_u64(0));
    let mut all = vec![0; DRAWN * d];
    all.chunks_exact_mut(d).for_each(|choices| space.sample(&mut rng, choices));
    let drawn = all.clone();
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for epochs in EPOCHS {
        let output = network.output(&named("val", epochs)).expect("an output for each length");
        let values = network.values(output, &drawn);
        let mut order: Vec<usize> = (0..DRAWN).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        for &start in &order[..STARTS] {
            let best = climb(space, &drawn[start * d..][..d], |all| network.values(output, all));
            if seen.insert(best.clone()) {
                all.extend(best);
            }
        }
    }
    // A row each: what was drawn twice, or found where it was drawn, stands once.
    let mut rows = HashSet::new();
    all.chunks_exact(d).filter(|choices| rows.insert(space.rank(choices))).flatten().copied().collect()
}
