//! Tables of other people, their descriptors, and what is guessed of them.

use super::{benchmark::sound, sections::sections};
use srnas_oracle::{
    benchmark::Benchmark,
    importers::{
        csv::CsvTable,
        table::{Descriptor, import, suggest},
    },
};
use std::{fs, path::Path, sync::Arc};
use tempfile::TempDir;

/// A descriptor, a space and a table: refused, or a file that opens again and answers what the table says.
pub fn table(bytes: &[u8]) {
    let Some([descriptor, space, cells]) = sections(bytes) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("a file");
    put("descriptor.toml", descriptor);
    // Of both formats: the descriptor names one.
    put("space.toml", space);
    put("space.json", space);
    put("table.csv", cells);
    let _ = imported(&folder, "descriptor.toml", "table.csv");
}

/// What is guessed of a table can be imported, but for what only a person can say.
pub fn suggested(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.csv");
    fs::write(&file, bytes).expect("a file");
    let Ok(suggestion) = suggest(&file) else { return };
    fs::write(folder.path().join("descriptor.toml"), &suggestion.descriptor).expect("a file");
    fs::write(folder.path().join(&suggestion.space_file), &suggestion.space).expect("a file");
    if let Err(reason) = imported(&folder, "descriptor.toml", "table.csv") {
        let said = ["duplicates = ", "mixed = "].iter().any(|word| reason.contains(word));
        assert!(said, "{reason}\n{}\n{}", suggestion.descriptor, suggestion.space);
    }
}

fn imported(folder: &TempDir, descriptor: &str, table: &str) -> Result<(), String> {
    let (folder, path) = (folder.path(), folder.path().join(descriptor));
    let file = folder.join(table);
    let descriptor = Descriptor::read(&path).map_err(|e| e.to_string())?;
    // Any path may stand there, and a file of this machine is none of ours.
    if descriptor.space.contains(['/', '\\']) {
        return Ok(());
    }
    let imported = import(&file, &descriptor, folder).map_err(|e| e.to_string())?;
    assert!(imported.repeated <= imported.rows);
    let written = folder.join("written.safetensors");
    if let Err(reason) = imported.benchmark.write(&written) {
        assert!(!written.exists(), "half a file is left");
        return Err(reason.to_string());
    }
    let benchmark = Arc::new(Benchmark::open(&written).expect("what is written can be opened"));
    sound(&benchmark);
    answers(&benchmark, &descriptor, &file);
    Ok(())
}

/// Where columns are named as decisions, the benchmark answers what the cells say.
fn answers(benchmark: &Benchmark, descriptor: &Descriptor, file: &Path) {
    let columns = &descriptor.architecture;
    let plain = columns.column.is_none() && columns.columns.is_empty() && columns.names.is_empty();
    if !plain || descriptor.delimiter.is_some() || format!("{:?}", descriptor.decimal) != "Point" {
        return;
    }
    let space = benchmark.space();
    let table = CsvTable::read(file).expect("it was read");
    let cell = |name: &str, row: usize| table.column(name).expect("it was read").text(row);
    for row in 0..table.rows().min(200) {
        let written: Vec<String> =
            space.decisions().iter().map(|d| format!("{}={}", d.name, cell(&d.name, row))).collect();
        // What is written otherwise, as a number may be, is not looked for.
        let Ok(choices) = space.parse(&written.join(",")) else { continue };
        let place = benchmark.row_of(&choices).expect("what the table has is found");
        for metric in descriptor.metrics.iter().filter(|metric| metric.unit != "%") {
            let view = benchmark.metric(&metric.name).expect("what is described is there");
            for column in metric.seeds() {
                let Ok(value) = cell(column, row).parse::<f64>() else { continue };
                let known =
                    |seed| view.value(place, seed) == value || view.value(place, seed) as f32 == value as f32;
                assert!(value.is_nan() || (0..view.seeds()).any(known), "{column}: {value} is not found");
            }
        }
    }
}
