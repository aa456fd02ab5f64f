//! `srnas bench import table`: a benchmark from anybody's table.

use super::{Output, Usage, megabytes, thousands, write};
use anyhow::Context;
use serde_json::json;
use srnas_basics::files::write_whole;
use srnas_oracle::{
    catalog::Catalog,
    importers::table::{self as importer, Descriptor},
};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// The one file of a table.
fn one_file(paths: &[PathBuf]) -> anyhow::Result<&Path> {
    match paths {
        [file] if !file.is_dir() => Ok(file),
        _ => Err(Usage("`import table` reads one file; give its name".into()).into()),
    }
}

/// Makes a benchmark of a table.
pub(super) fn import(
    catalog: &Catalog,
    paths: &[PathBuf],
    descriptor: Option<&Path>,
    replace: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let file = one_file(paths)?;
    let descriptor = descriptor.ok_or_else(|| {
        Usage(format!(
            "say what the columns are: --descriptor D.toml (docs/your-own-table.md); `srnas bench import table {} --suggest \
             --descriptor D.toml` writes a first one",
            file.display()
        ))
    })?;
    let read = Descriptor::read(descriptor)?;
    Catalog::check_own_name(&read.benchmark)?;
    let folder = descriptor.parent().unwrap_or(Path::new("."));
    let imported = importer::import(file, &read, folder)?;
    let (rows, architectures, metrics) =
        (imported.rows, imported.benchmark.rows(), imported.benchmark.metrics());
    imported.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let (path, bytes) = write(catalog, imported.benchmark, replace)?;
    let seconds = began.elapsed().as_secs_f64();
    if out.json {
        return out.line(json!({
            "benchmark": read.benchmark, "path": path, "rows": rows, "left_out": imported.left_out,
            "architectures": architectures, "repeated": imported.repeated, "constant": imported.constant,
            "warnings": imported.warnings, "metrics": metrics, "bytes": bytes,
            "seconds": seconds, "files": [file],
        }));
    }
    let repeated = match imported.repeated {
        0 => String::new(),
        n => format!(" ({n} say again what others say)"),
    };
    let left_out = match imported.left_out {
        0 => String::new(),
        n => format!(", {} left out", thousands(n)),
    };
    out.line(format!("read   {}: {} rows{left_out}{repeated}", file.display(), thousands(rows)))?;
    let (architectures, size) = (thousands(architectures), megabytes(bytes as usize));
    out.line(format!(
        "wrote  {}: {architectures} architectures, {metrics} metrics, {size}, in {seconds:.1} s",
        path.display()
    ))
}

/// Writes or shows a first descriptor and a first space.
pub(super) fn suggest(paths: &[PathBuf], to: Option<&Path>, out: &mut Output) -> anyhow::Result<()> {
    let suggestion = importer::suggest(one_file(paths)?)?;
    let left_out: Vec<_> =
        suggestion.left_out.iter().map(|(column, why)| json!({ "column": column, "why": why })).collect();
    let Some(descriptor) = to else {
        if out.json {
            return out.line(json!({
                "descriptor": suggestion.descriptor, "space": suggestion.space, "space_file": suggestion.space_file,
                "left_out": left_out,
            }));
        }
        out.line(&suggestion.descriptor)?;
        return out.line(format!("# ---- {} ----\n{}", suggestion.space_file, suggestion.space));
    };
    let space = descriptor.parent().unwrap_or(Path::new(".")).join(&suggestion.space_file);
    for file in [descriptor, &space] {
        if file.exists() {
            return Err(Usage(format!("{} is there already; it is not overwritten", file.display())).into());
        }
    }
    if descriptor.file_name() == space.file_name() {
        let text = format!("{} is to be the space's file; give the descriptor another name", space.display());
        return Err(Usage(text).into());
    }
    write_whole(&space, suggestion.space.as_bytes())
        .with_context(|| format!("cannot write {}", space.display()))?;
    if let Err(e) = write_whole(descriptor, suggestion.descriptor.as_bytes()) {
        // Both or none.
        let _ = std::fs::remove_file(&space);
        return Err(e).with_context(|| format!("cannot write {}", descriptor.display()));
    }
    if out.json {
        return out.line(json!({ "descriptor": descriptor, "space": space, "left_out": left_out }));
    }
    out.line(format!("wrote  {}\nwrote  {}", descriptor.display(), space.display()))?;
    match suggestion.left_out.len() {
        0 => {}
        1 => out.line("1 column is left out; the descriptor's end says why.")?,
        n => out.line(format!("{n} columns are left out; the descriptor's end says which and why."))?,
    }
    out.line("Read them through, then import with the same command without --suggest.")
}
