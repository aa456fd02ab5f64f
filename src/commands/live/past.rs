//! Earlier searches of the same space as a guide.

use super::Usage;
use crate::commands::space::GivenSpace;
use serde::Deserialize;
use srnas_common::space::{SPACES, SearchSpace};
use srnas_learner::Database;
use srnas_search::{Guide, PastSearch};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::{info, warn};

/// The part of a search's config.toml that says on which space it was.
#[derive(Deserialize)]
struct SpaceOf {
    space: String,
}

/// What the searches in these run directories say about the space.
pub fn guide(folders: &[PathBuf], space: &Arc<SearchSpace>) -> anyhow::Result<Guide> {
    let past = folders.iter().map(|folder| past(folder, space)).collect::<anyhow::Result<Vec<_>>>()?;
    for search in &past {
        let values = search.measured.iter().filter(|(_, value)| value.is_some()).count();
        match values {
            0 => warn!("{} has nothing with a value; it says nothing", search.name),
            _ => info!("knows {values} measurements of {}", search.name),
        }
    }
    Ok(Guide::of_past(space, &past).map_err(|e| Usage(format!("--prior: {e}")))?)
}

fn past(folder: &Path, space: &SearchSpace) -> anyhow::Result<PastSearch> {
    let wrong = |reason: String| Usage(format!("--prior {}: {reason}", folder.display()));
    let text = fs::read_to_string(folder.join("config.toml"))
        .map_err(|e| wrong(format!("it holds no search: cannot read its config.toml ({e})")))?;
    let config: SpaceOf =
        toml::from_str(&text).map_err(|_| wrong("it is no run directory of a search by --oracle".into()))?;
    let kept = match SPACES.contains(&config.space.as_str()) {
        true => config.space,
        false => folder.join(config.space).display().to_string(),
    };
    let other = GivenSpace::load(&kept)?.space;
    if let Some(difference) = difference(&other, space) {
        return Err(wrong(format!("its space is another one: {difference}")).into());
    }
    let (ledger, run) = Database::open_any(&folder.join("ledger.sqlite"))?;
    let task = run.tasks.first().map_or("", |(name, _)| name);
    // A constraint may be new.
    let answers = ledger.answers(0)?.into_iter().filter(|answer| space.is_valid(&answer.choices));
    let measured = answers.map(|answer| {
        let value = answer.said.ok().map(|(value, _)| value as f32);
        (answer.choices, value)
    });
    Ok(PastSearch { name: format!("{} ({task})", folder.display()), measured: measured.collect() })
}

/// In which decision two spaces differ.
fn difference(other: &SearchSpace, space: &SearchSpace) -> Option<String> {
    if other.len() != space.len() {
        return Some(format!("it has {} decisions, not {}", other.len(), space.len()));
    }
    let (a, b) = other.decisions().iter().zip(space.decisions()).find(|(a, b)| a != b)?;
    Some(match a.name == b.name {
        true => format!("decision `{}` has other choices", a.name),
        false => format!("it has decision `{}` where `{}` is now", a.name, b.name),
    })
}
