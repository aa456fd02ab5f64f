//! `srnas bench import table`, and of the files of other programs: a benchmark from anybody's results.

use super::{Output, TABLE, Usage, megabytes, thousands, write};
use anyhow::Context;
use serde_json::json;
use srnas_basics::files::write_whole;
use srnas_oracle::{
    catalog::Catalog,
    importers::{
        study,
        table::{self as importer, Descriptor, ImportedTable, Suggestion},
    },
};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// What results are read from.
pub(super) struct Files<'a> {
    /// `table`, or a program.
    pub kind: &'a str,
    pub paths: &'a [PathBuf],
    /// The study of a storage.
    pub study: Option<&'a str>,
}

impl Files<'_> {
    /// Their names.
    fn names(&self) -> String {
        self.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Refuses folders, and several tables.
    fn check(&self) -> anyhow::Result<()> {
        let kind = self.kind;
        if let Some(folder) = self.paths.iter().find(|path| path.is_dir()) {
            return Err(
                Usage(format!("{} is a folder; `import {kind}` reads files", folder.display())).into()
            );
        }
        match (kind, self.paths.len()) {
            (TABLE, 2..) => Err(Usage("`import table` reads one file; give its name".into()).into()),
            _ => Ok(()),
        }
    }

    /// A first descriptor.
    fn guess(&self) -> anyhow::Result<Suggestion> {
        self.check()?;
        if self.kind == TABLE {
            return Ok(importer::suggest(&self.paths[0])?);
        }
        Ok(importer::suggest_of(study::read(self.kind, self.paths, self.study, None)?)?)
    }

    fn read(&self, descriptor: &Descriptor, folder: &Path) -> anyhow::Result<ImportedTable> {
        self.check()?;
        if self.kind == TABLE {
            return Ok(importer::import(&self.paths[0], descriptor, folder)?);
        }
        let source = study::read(self.kind, self.paths, self.study, descriptor.delimiter)?;
        Ok(importer::import_table(source.table, descriptor, folder)?)
    }

    /// Makes a benchmark of them.
    pub fn import(
        &self,
        catalog: &Catalog,
        descriptor: Option<&Path>,
        replace: bool,
        out: &mut Output,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        self.check()?;
        let descriptor = descriptor.ok_or_else(|| {
        let docs = if self.kind == TABLE { "your-own-table" } else { "bringing-results" };
        let study = self.study.map_or(String::new(), |study| format!(" --study '{study}'"));
        Usage(format!(
            "say what the columns are: --descriptor D.toml (docs/{docs}.md); `srnas bench import {} {}{study} --suggest \
             --descriptor D.toml` writes a first one",
            self.kind,
            self.names()
        ))
    })?;
        let read = Descriptor::read(descriptor)?;
        Catalog::check_own_name(&read.benchmark)?;
        let folder = descriptor.parent().unwrap_or(Path::new("."));
        let imported = self.read(&read, folder)?;
        let (rows, architectures, metrics) =
            (imported.rows, imported.benchmark.rows(), imported.benchmark.metrics());
        imported.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let (path, bytes) = write(catalog, imported.benchmark, replace)?;
        let seconds = began.elapsed().as_secs_f64();
        let left_out: usize = imported.left_out.iter().map(|(_, rows)| rows).sum();
        if out.json {
            let by: serde_json::Map<_, _> =
                imported.left_out.iter().map(|(word, rows)| (word.clone(), (*rows).into())).collect();
            return out.line(json!({
                "benchmark": read.benchmark, "path": path, "rows": rows, "left_out": left_out,
                "architectures": architectures, "repeated": imported.repeated, "constant": imported.constant,
                "warnings": imported.warnings, "metrics": metrics, "bytes": bytes,
                "seconds": seconds, "files": self.paths, "left_out_by": by,
            }));
        }
        let repeated = match imported.repeated {
            0 => String::new(),
            n => format!(" ({n} say again what others say)"),
        };
        let why: Vec<String> =
            imported.left_out.iter().map(|(word, rows)| format!("{} `{word}`", thousands(*rows))).collect();
        let left_out = match left_out {
            0 => String::new(),
            n => format!(", {} left out ({})", thousands(n), why.join(", ")),
        };
        out.line(format!("read   {}: {} rows{left_out}{repeated}", self.names(), thousands(rows)))?;
        let (architectures, size) = (thousands(architectures), megabytes(bytes as usize));
        out.line(format!(
            "wrote  {}: {architectures} architectures, {metrics} metrics, {size}, in {seconds:.1} s",
            path.display()
        ))
    }

    /// Writes or shows a first descriptor and a first space.
    pub fn suggest(&self, to: Option<&Path>, out: &mut Output) -> anyhow::Result<()> {
        let suggestion = self.guess()?;
        // Of a space that srnas knows nothing is written.
        let known = suggestion.space.is_empty();
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
            if known {
                return Ok(());
            }
            return out.line(format!("# ---- {} ----\n{}", suggestion.space_file, suggestion.space));
        };
        let space = descriptor.parent().unwrap_or(Path::new(".")).join(&suggestion.space_file);
        for file in [descriptor, &space].into_iter().take(if known { 1 } else { 2 }) {
            if file.exists() {
                return Err(
                    Usage(format!("{} is there already; it is not overwritten", file.display())).into()
                );
            }
        }
        if descriptor.file_name() == space.file_name() {
            let text =
                format!("{} is to be the space's file; give the descriptor another name", space.display());
            return Err(Usage(text).into());
        }
        if !known {
            write_whole(&space, suggestion.space.as_bytes())
                .with_context(|| format!("cannot write {}", space.display()))?;
        }
        if let Err(e) = write_whole(descriptor, suggestion.descriptor.as_bytes()) {
            // Both or none.
            if !known {
                let _ = std::fs::remove_file(&space);
            }
            return Err(e).with_context(|| format!("cannot write {}", descriptor.display()));
        }
        if out.json {
            let space = if known { suggestion.space_file.into() } else { space };
            return out.line(json!({ "descriptor": descriptor, "space": space, "left_out": left_out }));
        }
        out.line(format!("wrote  {}", descriptor.display()))?;
        if !known {
            out.line(format!("wrote  {}", space.display()))?;
        }
        match suggestion.left_out.len() {
            0 => {}
            1 => out.line("1 column is left out; the descriptor's end says why.")?,
            n => out.line(format!("{n} columns are left out; the descriptor's end says which and why."))?,
        }
        out.line("Read them through, then import with the same command without --suggest.")
    }
}
