//! NAS-Bench-Graph: one file a data set, rows by the published number of the architecture.

use super::{
    Folders, ImportError, Imported,
    csv::{CsvError, CsvTable},
};
use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo, Rows};
use srnas_space::{SearchSpace, graph};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Name of the benchmark made.
pub const BENCHMARK: &str = "graph";
const DATASETS: [&str; 4] = ["cora", "citeseer", "pubmed", "arxiv"];
/// Column, metric, unit, direction, factor and description.
const COLUMNS: [(&str, &str, &str, Direction, f64, &str); 4] = [
    ("valid_perf", "val", "%", Direction::Maximise, 100.0, "validation accuracy"),
    ("perf", "test", "%", Direction::Maximise, 100.0, "test accuracy"),
    ("latency", "latency", "ms", Direction::Minimise, 1000.0, "time of a forward pass"),
    ("para", "params", "M", Direction::Minimise, 1.0, "millions of weights"),
];
const PROVENANCE: &str =
    "NAS-Bench-Graph (Qin et al., NeurIPS 2022), the light tables of PyPI nas-bench-graph 1.4.0";
const LICENCE: &str = "Apache-2.0";

/// Reads the data sets that the folders have; one must be there.
///
/// # Errors
/// Refuses a folder without any, and any number that is no architecture, or not the one that stands for its class, or is there twice;
/// with file, line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    let folders = Folders::new(folders)?;
    let there: Vec<(&str, PathBuf)> =
        DATASETS.iter().filter_map(|name| Some((*name, folders.find(name)?))).collect();
    if there.is_empty() {
        return Err(folders.absent(DATASETS[0], ", or that of citeseer, pubmed or arxiv,"));
    }
    let space = SearchSpace::named(BENCHMARK)?;
    let (mut choices, mut places): (Vec<u8>, HashMap<u64, usize>) = (Vec::new(), HashMap::new());
    let mut read = Vec::new();
    for (done, (dataset, path)) in there.iter().enumerate() {
        progress(done, there.len(), path);
        let table = CsvTable::read(path)?.with_rows()?;
        let hash = table.column("hash")?;
        let mut lines = HashMap::new();
        let mut rows = Vec::with_capacity(table.rows());
        for row in 0..table.rows() {
            let number = hash.index(row, 100_000)? as u64;
            let own = graph::choices_of_hash(number).filter(|own| space.is_valid(own));
            let own = own
                .ok_or_else(|| hash.error(row, format!("{number} is no architecture of NAS-Bench-Graph")))?;
            let mut active = own.clone();
            space.activate(&mut active);
            if active != own {
                let reason = format!(
                    "{number} is another way of writing {}, which the tables have",
                    space.format(&active)
                );
                return Err(hash.error(row, reason).into());
            }
            if let Some(line) = lines.insert(number, hash.line(row)) {
                return Err(hash.error(row, format!("{number} is already in line {line}")).into());
            }
            let next = places.len();
            rows.push(*places.entry(number).or_insert_with(|| {
                choices.extend(own);
                next
            }));
        }
        let columns = COLUMNS.map(|(name, ..)| {
            let column = table.column(name)?;
            (0..table.rows()).map(|row| column.number(row)).collect::<Result<Vec<f64>, CsvError>>()
        });
        read.push((*dataset, rows, columns));
    }
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space, choices, PROVENANCE, LICENCE);
    benchmark.rows_are(Rows::Classes);
    for (dataset, rows, columns) in read {
        for ((_, metric, unit, direction, factor, what), column) in COLUMNS.into_iter().zip(columns) {
            let mut values = vec![f32::NAN; places.len()];
            for (&place, value) in rows.iter().zip(column?) {
                values[place] = (value * factor) as f32;
            }
            let info =
                MetricInfo { unit: unit.into(), direction, description: format!("{what} on {dataset}") };
            benchmark.metric(format!("{dataset}/{metric}"), info, 1, &values);
        }
    }
    let absent = DATASETS.iter().filter(|name| !there.iter().any(|(found, _)| found == *name));
    let absent = absent.map(|name| format!("{name}.csv.gz")).collect();
    Ok(Imported {
        benchmarks: vec![benchmark],
        files: there.into_iter().map(|(_, path)| path).collect(),
        absent,
    })
}
