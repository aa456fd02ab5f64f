//! FlexiBERT as NAS-Bench-BERT measured it (Serianni and Kalita, ACL 2023, arXiv 2306.00288): encoders of two or four layers, each with an
//! operation of its own, trained with ELECTRA's objective and judged by the tasks of GLUE. Layers beyond the second of two do not count.

use super::{
    ImportError, Imported,
    csv::{Column, CsvError, CsvTable},
    trainings::{self, Trainings},
};
use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo, SpaceDefinition, SpaceFormat};
use serde::Deserialize;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Name of the benchmark made.
pub const BENCHMARK: &str = "flexibert";
const TABLE: &str = "nasbench_bert_flexibert_500";
const PROVENANCE: &str = "FlexiBERT's space as NAS-Bench-BERT measured 500 of it (Serianni and Kalita, ACL 2023), github \
    aaronserianni/training-free-nas, data/BERT_benchmark.json";
const LICENCE: &str = "Apache-2.0";

const HIDDEN: [u32; 2] = [128, 256];
const DEPTHS: [usize; 2] = [2, 4];
/// Self-attention by scaled dot product or weighted multiplication, a linear transform, a dynamic span-based convolution of a width.
const OPERATIONS: [&str; 6] = ["SA-SDP", "SA-WMA", "LT-DFT", "LT-DCT", "DSC-5", "DSC-9"];
const HEADS: [u32; 2] = [2, 4];
const WIDTHS: [u32; 2] = [512, 1024];
const STACKS: [u32; 2] = [1, 3];
/// Decisions of a layer.
const OF_LAYER: usize = 4;

/// Column, metric, unit, direction and description.
const COLUMNS: [(&str, &str, &str, Direction, &str); 11] = [
    ("glue", "glue/mean", "", Direction::Maximise, "mean of the eight scores"),
    ("cola", "glue/cola", "", Direction::Maximise, "Matthews correlation on CoLA, times 100"),
    ("mnli", "glue/mnli", "%", Direction::Maximise, "accuracy on MNLI"),
    ("mrpc", "glue/mrpc", "", Direction::Maximise, "score on MRPC"),
    ("qnli", "glue/qnli", "%", Direction::Maximise, "accuracy on QNLI"),
    ("qqp", "glue/qqp", "", Direction::Maximise, "score on QQP"),
    ("rte", "glue/rte", "%", Direction::Maximise, "accuracy on RTE"),
    ("sst", "glue/sst", "%", Direction::Maximise, "accuracy on SST-2"),
    ("sts", "glue/sts", "", Direction::Maximise, "correlation on STS-B, times 100"),
    ("n_params", "glue/params", "", Direction::Minimise, "weights"),
    ("time_to_train_s", "glue/train_time", "s", Direction::Minimise, "time of the training"),
];

/// A layer as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    operation_type: String,
    operation_parameter: serde_json::Value,
    num_operation_heads: u32,
    feed_forward_dimension: u32,
    num_feed_forward: u32,
}

/// Reads the table.
///
/// # Errors
/// Refuses an architecture outside the space and any value that is no number; with file, line and column.
pub fn import(
    folders: &[PathBuf],
    progress: &mut dyn FnMut(usize, usize, &Path),
) -> Result<Imported, ImportError> {
    trainings::import(folders, TABLE, progress, read)
}

fn read(table: &CsvTable) -> Result<BenchmarkWriter, CsvError> {
    let definition = definition();
    let space = Arc::new(definition.space(BENCHMARK).expect("the definition is a space"));
    let (hidden, layers) = (table.column("hidden_size")?, table.column("layers_json")?);
    let trainings = Trainings::new(table.rows(), |row| architecture(hidden, layers, row))?;
    let mut benchmark =
        BenchmarkWriter::new(BENCHMARK, &space, trainings.choices.clone(), PROVENANCE, LICENCE);
    benchmark.define_space(definition);
    for (column, metric, unit, direction, description) in COLUMNS {
        let column = table.column(column)?;
        let values = trainings.values(|row| column.number(row))?;
        let info = MetricInfo { unit: unit.into(), direction, description: description.into() };
        benchmark.exact_metric(metric, info, trainings.seeds(), &values);
    }
    Ok(benchmark)
}

fn definition() -> SpaceDefinition {
    let mut text = format!("name = \"{BENCHMARK}\"\n");
    let mut decision = |name: String, choices: String, ordered: bool, layer: usize| {
        write!(text, "\n[[decisions]]\nname = \"{name}\"\nchoices = {choices}\n")
            .expect("writing to a text does not fail");
        if ordered {
            text += "ordered = true\n";
        }
        if layer > DEPTHS[0] {
            writeln!(text, "active_if = {{ layers = [{}] }}", DEPTHS[1]).expect("as above");
        }
    };
    decision("hidden".into(), format!("{HIDDEN:?}"), true, 0);
    decision("layers".into(), format!("{DEPTHS:?}"), true, 0);
    for layer in 1..=DEPTHS[1] {
        decision(format!("op{layer}"), format!("{OPERATIONS:?}"), false, layer);
        decision(format!("heads{layer}"), format!("{HEADS:?}"), true, layer);
        decision(format!("width{layer}"), format!("{WIDTHS:?}"), true, layer);
        decision(format!("stack{layer}"), format!("{STACKS:?}"), true, layer);
    }
    SpaceDefinition { format: SpaceFormat::Toml, text }
}

/// The choices of a row. What does not count gets the first choice.
fn architecture(hidden: Column, layers: Column, row: usize) -> Result<Vec<u8>, CsvError> {
    fn place<T: PartialEq + std::fmt::Debug>(
        all: &[T],
        value: &T,
        column: Column,
        row: usize,
    ) -> Result<u8, CsvError> {
        let found = all.iter().position(|known| known == value);
        let place = found.ok_or_else(|| column.error(row, format!("{value:?} is not one of {all:?}")))?;
        Ok(place as u8)
    }
    let size = hidden.index(row, 1 << 16)? as u32;
    let found: Vec<Layer> = serde_json::from_str(layers.text(row))
        .map_err(|e| layers.error(row, format!("it is no list of layers: {e}")))?;
    let mut choices = vec![place(&HIDDEN, &size, hidden, row)?, place(&DEPTHS, &found.len(), layers, row)?];
    for layer in &found {
        let parameter = match &layer.operation_parameter {
            serde_json::Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        let operation = format!("{}-{parameter}", layer.operation_type);
        choices.push(place(&OPERATIONS, &operation.as_str(), layers, row)?);
        choices.push(place(&HEADS, &layer.num_operation_heads, layers, row)?);
        choices.push(place(&WIDTHS, &layer.feed_forward_dimension, layers, row)?);
        choices.push(place(&STACKS, &layer.num_feed_forward, layers, row)?);
    }
    choices.resize(2 + OF_LAYER * DEPTHS[1], 0);
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::Benchmark;
    use std::fs;

    const HEAD: &str =
        "id,hidden_size,layers_json,cola,mnli,mrpc,qnli,qqp,rte,sst,sts,glue,n_params,time_to_train_s";

    fn layer(operation: &str, heads: u32) -> String {
        format!(
            r#"{{""operation_type"":""LT"",""operation_parameter"":{operation},""num_operation_heads"":{heads},""feed_forward_dimension"":1024,""num_feed_forward"":3}}"#
        )
    }

    fn row(hidden: &str, layers: &[String], glue: &str) -> String {
        format!("0,{hidden},\"[{}]\",1,2,3,4,5,6,7,8,{glue},100,60", layers.join(","))
    }

    fn imported(rows: &[String]) -> Result<Benchmark, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let text = format!("{HEAD}\n{}\n", rows.join("\n"));
        fs::write(folder.path().join(format!("{TABLE}.csv")), text).unwrap();
        let imported =
            import(&[folder.path().to_path_buf()], &mut |_, _, _| {}).map_err(|e| e.to_string())?;
        let path = folder.path().join("flexibert.safetensors");
        imported.benchmarks[0].clone().write(&path).unwrap();
        Benchmark::open(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn layers_beyond_the_second_do_not_count_and_what_is_there_again_is_a_second_training() {
        let (a, b) = (layer("\"\"DFT\"\"", 2), layer("\"\"DCT\"\"", 4));
        let two = [a.clone(), b.clone()];
        let four = [a.clone(), b.clone(), a.clone(), b.clone()];
        let benchmark =
            imported(&[row("128", &two, "60"), row("256", &four, "70"), row("128", &two, "64")]).unwrap();
        let glue = benchmark.metric("glue/mean").unwrap();
        assert_eq!((benchmark.rows(), glue.seeds(), glue.mean(0), glue.mean(1)), (2, 2, 62.0, 70.0));
        let space = benchmark.space();
        let mut other = benchmark.choices(0).to_vec();
        *other.last_mut().unwrap() = 1;
        assert_eq!(space.canonical_key(&other), space.canonical_key(benchmark.choices(0)));
        assert!(
            space
                .format(benchmark.choices(0))
                .starts_with("hidden=128,layers=2,op1=LT-DFT,heads1=2,width1=1024,stack1=3,op2=LT-DCT")
        );
    }

    #[test]
    fn what_is_outside_the_space_is_named_with_its_place() {
        let good = [layer("\"\"DFT\"\"", 2), layer("\"\"DCT\"\"", 4)];
        let refused = |rows: &[String]| imported(rows).map(|b| b.rows()).unwrap_err();
        assert!(
            refused(&[row("129", &good, "1")])
                .contains(":2: column 2, `hidden_size`: 129 is not one of [128, 256]")
        );
        assert!(refused(&[row("128", &good[..1], "1")]).contains("1 is not one of [2, 4]"));
        assert!(
            refused(&[row("128", &[layer("7", 2), good[0].clone()], "1")]).contains("\"LT-7\" is not one of")
        );
        assert!(
            refused(&[row("128", &[layer("\"\"DFT\"\"", 3), good[0].clone()], "1")])
                .contains("3 is not one of [2, 4]")
        );
        assert!(refused(&[row("128", &good, "high")]).contains("`glue`: `high` is not a number"));
        assert!(refused(&["0,128,{},1,2,3,4,5,6,7,8,9,10,11".into()]).contains("no list of layers"));
    }
}
