//! `srnas bench import nni`: the search space of an NNI experiment as a space of srnas.

use super::{Output, Usage};
use anyhow::Context;
use serde_json::json;
use srnas_basics::files::write_whole;
use srnas_oracle::importers::nni;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes or shows the space.
pub(super) fn import(paths: &[PathBuf], to: Option<&Path>, out: &mut Output) -> anyhow::Result<()> {
    let [file] = paths else {
        return Err(Usage("`import nni` reads one search_space.json; give its name".into()).into());
    };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let named = to.unwrap_or(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let made = nni::space(&text, &named.unwrap_or_default())
        .map_err(|reason| Usage(format!("{}: {reason}", file.display())))?;
    let Some(to) = to else {
        return match out.json {
            true => out.line(
                json!({ "space": made.text, "decisions": made.decisions, "checks": made.checks, "files": paths }),
            ),
            false => out.line(made.text.trim_end()),
        };
    };
    if to.exists() {
        return Err(Usage(format!("{} is there already; it is not overwritten", to.display())).into());
    }
    write_whole(to, made.text.as_bytes()).with_context(|| format!("cannot write {}", to.display()))?;
    if out.json {
        let line = json!({ "space": to, "decisions": made.decisions, "checks": made.checks, "files": paths });
        return out.line(line);
    }
    out.line(format!("wrote  {}: {} decisions", to.display(), made.decisions))?;
    match made.checks {
        0 => Ok(()),
        n => out.line(format!("{n} lines are marked with \"check\": read them through.")),
    }
}
