//! HW-GPT-Bench (Sukthanker et al., NeurIPS Datasets and Benchmarks 2024): sub-networks of three GPT-2 super-networks on OpenWebText,
//! ten thousand of each size, with their perplexity and what they cost on fourteen devices.
//!
//! A size's main file says which architecture an id is; the hardware file numbers its rows with the same ids. Both are samples of a space
//! that is too large to be listed, so a benchmark of them is one, too.

mod network;

use super::{
    Folders, ImportError, Imported,
    csv::{Column, CsvError, CsvTable},
};
use crate::{
    benchmark::{BenchmarkWriter, Direction, MetricInfo, Network, SpaceDefinition, SpaceFormat},
    climb::climb,
};
use srnas_space::SearchSpace;
use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Names of the benchmarks made.
pub const BENCHMARKS: &[&str] = &["hwgpt-s", "hwgpt-m", "hwgpt-l"];

const PROVENANCE: &str = "HW-GPT-Bench (Sukthanker et al., NeurIPS D&B 2024), github automl/HW-GPT-Bench: perplexities and accuracies of \
    sub-networks with inherited weights and hardware measurements from the repository's history (2024-05), perplexity_net by the authors' \
    published network. The final release's perplexities differ a little from this first collection.";
const LICENCE: &str = "Apache-2.0";

/// A size of the super-network.
struct Size {
    benchmark: &'static str,
    architectures: &'static str,
    hardware: &'static str,
    network: &'static str,
    widths: [u32; 3],
    depths: [u32; 3],
    heads: [u32; 3],
}

const SIZES: [Size; 3] = [
    Size {
        benchmark: BENCHMARKS[0],
        architectures: "hwgpt_s_archs",
        hardware: "hwgpt_s_hardware",
        network: "hwgpt_s_ppl_mlp",
        widths: [192, 384, 768],
        depths: [10, 11, 12],
        heads: [4, 8, 12],
    },
    Size {
        benchmark: BENCHMARKS[1],
        architectures: "hwgpt_m_archs",
        hardware: "hwgpt_m_hardware",
        network: "hwgpt_m_ppl_mlp",
        widths: [256, 512, 1024],
        depths: [22, 23, 24],
        heads: [8, 12, 16],
    },
    Size {
        benchmark: BENCHMARKS[2],
        architectures: "hwgpt_l_archs",
        hardware: "hwgpt_l_hardware",
        network: "hwgpt_l_ppl_mlp",
        widths: [320, 640, 1280],
        depths: [34, 35, 36],
        heads: [8, 16, 20],
    },
];

const MLP_RATIOS: [u32; 3] = [2, 3, 4];

/// The column of what the published network says, the metric that it becomes, and how near the file's four digits are to the network.
const PREDICTIONS: &str = "perplexity_mlp";
const PREDICTED: &str = "perplexity_net";
const NEAR: f64 = 1e-4;

/// Column, metric, unit, direction and description of what the main file has.
const MAIN: [(&str, &str, &str, Direction, &str); 6] = [
    ("perplexity", "perplexity", "", Direction::Minimise, "perplexity with inherited weights, as measured"),
    (
        PREDICTIONS,
        PREDICTED,
        "",
        Direction::Minimise,
        "perplexity as the authors' network predicts it; where it was measured, too",
    ),
    ("accuracy", "accuracy", "", Direction::Maximise, "share of next tokens that are the most probable ones"),
    ("params", "params", "", Direction::Minimise, "weights"),
    ("macs", "macs", "", Direction::Minimise, "multiply-adds of a forward pass"),
    ("flops", "flops", "", Direction::Minimise, "floating-point operations of a forward pass"),
];

/// Reads the files of the sizes that `folders` and the folders right below them have; one must be there.
///
/// # Errors
/// Refuses a folder without any, any value that is not what its column holds, an architecture outside its space or twice, and hardware
/// of an architecture that is not in the main file; with file, line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let (mut benchmarks, mut files, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    let there: Vec<(&Size, PathBuf)> =
        SIZES.iter().filter_map(|size| Some((size, folders.find(size.architectures)?))).collect();
    if there.is_empty() {
        return Err(folders.absent(SIZES[0].architectures, ", or that of hwgpt_m or hwgpt_l,"));
    }
    let missing =
        SIZES.iter().filter(|size| !there.iter().any(|(found, _)| found.benchmark == size.benchmark));
    absent.extend(missing.map(|size| format!("{}.csv.gz", size.architectures)));
    let total = 2 * there.len();
    for (place, (size, path)) in there.into_iter().enumerate() {
        progress(2 * place, total, &path);
        let mut main = Main::read(size, &path)?;
        match folders.find_ending(size.network, ["json.gz", "json"]) {
            None => absent.push(format!("{}.json.gz", size.network)),
            Some(path) => {
                main.add_network(&path)?;
                files.push(path);
            }
        }
        let mut benchmark = main.benchmark()?;
        files.push(path);
        match folders.find(size.hardware) {
            None => absent.push(format!("{}.csv.gz", size.hardware)),
            Some(path) => {
                progress(2 * place + 1, total, &path);
                main.add_hardware(&path, &mut benchmark)?;
                files.push(path);
            }
        }
        benchmarks.push(benchmark);
    }
    Ok(Imported { benchmarks, files, absent })
}

impl Size {
    /// The space in the words of a file: width, depth and bias of the whole, heads and MLP ratio of each layer that there is.
    fn definition(&self) -> SpaceDefinition {
        let mut text = format!("name = \"{}\"\n", self.benchmark);
        let mut decision = |name: &str, choices: &[u32; 3], active_if: &[u32]| {
            let [a, b, c] = choices;
            write!(text, "\n[[decisions]]\nname = \"{name}\"\nchoices = [{a}, {b}, {c}]\nordered = true\n")
                .expect("writing to a text does not fail");
            if active_if.len() < self.depths.len() {
                writeln!(text, "active_if = {{ layers = {active_if:?} }}").expect("as above");
            }
        };
        decision("embed", &self.widths, &self.depths);
        decision("layers", &self.depths, &self.depths);
        for (what, choices) in [("heads", &self.heads), ("mlp", &MLP_RATIOS)] {
            for layer in 1..=self.depths[2] {
                let first = self.depths.iter().position(|depth| *depth >= layer).unwrap_or(0);
                decision(&format!("{what}{layer}"), choices, &self.depths[first..]);
            }
        }
        text += "\n[[decisions]]\nname = \"bias\"\nchoices = [\"no\", \"yes\"]\n";
        SpaceDefinition { format: SpaceFormat::Toml, text }
    }

    /// The choices of a row. What does not count gets the first choice.
    fn choices(&self, table: &CsvTable, row: usize) -> Result<Vec<u8>, CsvError> {
        let of = |column: Column, text: &str, choices: &[u32]| {
            let place = text.parse().ok().and_then(|value: u32| choices.iter().position(|c| *c == value));
            let known: Vec<String> = choices.iter().map(u32::to_string).collect();
            place
                .map(|place| place as u8)
                .ok_or_else(|| column.error(row, format!("`{text}` is not one of {}", known.join(", "))))
        };
        let whole = |name: &str, choices: &[u32]| {
            let column = table.column(name)?;
            of(column, column.text(row), choices)
        };
        let depth = whole("n_layer", &self.depths)?;
        let layers = self.depths[usize::from(depth)] as usize;
        let mut all = vec![whole("embed_dim", &self.widths)?, depth];
        for (name, choices) in [("n_head", &self.heads), ("mlp_ratio", &MLP_RATIOS)] {
            let column = table.column(name)?;
            let each: Vec<&str> = column.text(row).split('-').collect();
            if each.len() != layers {
                return Err(column.error(row, format!("{} values for {layers} layers", each.len())));
            }
            let before = all.len();
            for text in each {
                all.push(of(column, text, choices)?);
            }
            all.resize(before + self.depths[2] as usize, 0);
        }
        all.push(whole("bias", &[0, 1])?);
        Ok(all)
    }
}

/// The main file of a size.
struct Main<'a> {
    size: &'a Size,
    table: CsvTable,
    space: Arc<SearchSpace>,
    definition: SpaceDefinition,
    /// Of the table's rows, and then of what the network thinks best, if there is a network and that is none of them.
    choices: Vec<u8>,
    network: Option<Network>,
    /// Row by id.
    ids: HashMap<String, usize>,
}

impl<'a> Main<'a> {
    fn read(size: &'a Size, path: &Path) -> Result<Self, ImportError> {
        let table = CsvTable::read(path)?.with_rows()?;
        let definition = size.definition();
        let space = Arc::new(definition.space(size.benchmark).expect("the definition is a space"));
        let (mut choices, mut first, mut ids) = (Vec::new(), HashMap::new(), HashMap::new());
        let id = table.column("arch_id")?;
        for row in 0..table.rows() {
            let own = size.choices(&table, row)?;
            if let Some(line) = first.insert(own.clone(), id.line(row)) {
                return Err(id.error(row, format!("the same architecture as in line {line}")).into());
            }
            if let Some(before) = ids.insert(id.text(row).to_string(), row) {
                return Err(id.error(row, format!("the id of line {} again", id.line(before))).into());
            }
            choices.extend(own);
        }
        Ok(Self { size, table, space, definition, choices, network: None, ids })
    }

    /// Reads the published network, which must say what the table says of it, and climbs with it to the best that it knows.
    fn add_network(&mut self, path: &Path) -> Result<(), ImportError> {
        let wrong = |reason| ImportError::Records { path: path.into(), reason };
        let metric = format!("owt/{PREDICTED}");
        let network = network::read(path, &self.space, self.size.depths, &metric).map_err(wrong)?;
        let (column, d) = (self.table.column(PREDICTIONS)?, self.space.len());
        let (mut best, mut least) = (0, f32::INFINITY);
        for (row, found) in network.values(0, &self.choices).into_iter().enumerate() {
            let said = column.number(row)?;
            // Not a number is not near.
            if said.is_nan() || (f64::from(found) - said).abs() > NEAR {
                let reason = format!("the network says {found}, not {said}: the two are not of one version");
                return Err(column.error(row, reason).into());
            }
            if found < least {
                (best, least) = (row, found);
            }
        }
        let start = &self.choices[best * d..][..d];
        let better = |all: &[u8]| network.values(0, all).into_iter().map(|perplexity| -perplexity).collect();
        let mut top = climb(&self.space, start, better);
        self.space.activate(&mut top);
        if self.choices.chunks_exact(d).all(|known| known != top) {
            self.choices.extend(top);
        }
        self.network = Some(network);
        Ok(())
    }

    /// Rows, that of the network's best among them.
    fn rows(&self) -> usize {
        self.choices.len() / self.space.len()
    }

    fn benchmark(&self) -> Result<BenchmarkWriter, ImportError> {
        let mut benchmark =
            BenchmarkWriter::new(self.size.benchmark, &self.space, self.choices.clone(), PROVENANCE, LICENCE);
        benchmark.define_space(self.definition.clone());
        if let Some(network) = &self.network {
            benchmark.network(network);
        }
        for (column, name, unit, direction, description) in MAIN {
            let column = self.table.column(column)?;
            let mut values: Vec<f64> =
                (0..self.table.rows()).map(|row| column.number(row)).collect::<Result<_, _>>()?;
            values.resize(self.rows(), f64::NAN);
            if let Some(network) = self.network.as_ref().filter(|_| name == PREDICTED) {
                // In all digits, and of its best.
                let predicted = network.values(0, &self.choices).into_iter().map(f64::from);
                values = predicted.collect();
            }
            let info = MetricInfo { unit: unit.into(), direction, description: description.into() };
            benchmark.exact_metric(format!("owt/{name}"), info, 1, &values);
            if name == "params" {
                benchmark.untrained(format!("owt/{name}"));
            }
        }
        Ok(benchmark)
    }

    /// Adds latency, energy and memory of each device.
    fn add_hardware(&self, path: &Path, benchmark: &mut BenchmarkWriter) -> Result<(), ImportError> {
        let table = CsvTable::read(path)?;
        let id = table.column("arch_id")?;
        let mut seen = vec![None; self.table.rows()];
        let mut rows = Vec::with_capacity(table.rows());
        for row in 0..table.rows() {
            let Some(&at) = self.ids.get(id.text(row)) else {
                let reason = format!("`{}` is no architecture of {}", id.text(row), self.size.architectures);
                return Err(id.error(row, reason).into());
            };
            if let Some(line) = seen[at].replace(id.line(row)) {
                return Err(id.error(row, format!("the id of line {line} again")).into());
            }
            rows.push(at);
        }
        for name in table.header().filter(|name| *name != "arch_id") {
            let Some((metric, unit, factor, description)) = hardware(name) else { continue };
            let column = table.column(name)?;
            let mut values = vec![f64::NAN; self.rows()];
            for (row, &at) in rows.iter().enumerate() {
                values[at] = column.number(row)? * factor;
            }
            // One column of energies is 0 throughout: nothing was measured.
            if values.iter().all(|value| *value == 0.0) {
                continue;
            }
            let info = MetricInfo { unit: unit.into(), direction: Direction::Minimise, description };
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            benchmark.metric(format!("owt/{metric}"), info, 1, &values);
        }
        Ok(())
    }
}

/// Metric, unit, factor and description of a column of the hardware files; none for what is left out: spreads, and the second of two
/// protocols of energy.
fn hardware(column: &str) -> Option<(String, &'static str, f64, String)> {
    const ENERGY: &str = "in a unit that upstream labels doubtfully: for ranking only";
    let device = |suffix: &str| column.strip_suffix(suffix).map(str::to_lowercase);
    if let Some(device) = device("_gpu_lat_p50") {
        return Some((
            format!("{device}_latency"),
            "ms",
            1.0,
            format!("median latency on {device}, ten runs"),
        ));
    }
    if let Some(device) = device("_cpu_lat_p50") {
        return Some((format!("{device}_latency"), "ms", 1e3, format!("latency on {device}, one run")));
    }
    if let Some(device) = device("_gpu_energy_p50") {
        return Some((format!("{device}_energy"), "", 1.0, format!("median energy on {device}, {ENERGY}")));
    }
    if let Some(device) = device("_cpu_energy_mean") {
        return Some((format!("{device}_energy"), "", 1.0, format!("mean energy on {device}, {ENERGY}")));
    }
    let device = device("_mem_MB")?;
    Some((format!("{device}_memory"), "MB", 1.0, format!("memory on {device}")))
}
