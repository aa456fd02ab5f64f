//! What a run reads: its benchmarks and its tasks.

use super::Check;
use srnas_basics::text::with_causes;
use srnas_config::{
    ConfigError,
    layers::{Origin, Resolved},
};
use srnas_oracle::{catalog::Catalog, run_tasks::RunTasks, tasks::resolve_tasks};

/// Opens each benchmark file whole, one check each.
pub fn benchmarks(catalog: &Catalog) -> Vec<Check> {
    const NAME: &str = "benchmark";
    let entries = match catalog.list() {
        Ok(entries) => entries,
        Err(e) => return vec![Check::failed(NAME, with_causes(&e))],
    };
    let check = |entry: &srnas_oracle::catalog::Entry| match catalog.open(&entry.name) {
        Ok(b) => Check::ok(
            NAME,
            format!(
                "{}: {} rows, {} metrics, SHA-256 {}…, whole: {}",
                b.name(),
                b.rows(),
                b.metrics().len(),
                &b.content_hash_hex()[..12],
                b.path().display()
            ),
        ),
        Err(e) => Check::failed(NAME, with_causes(&e)),
    };
    entries.iter().map(check).collect()
}

/// Whether the configuration holds, and whether its tasks can be built.
pub fn tasks(resolved: Result<Resolved, ConfigError>, catalog: &Catalog) -> Vec<Check> {
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(e) => return vec![Check::failed("configuration", with_causes(&e))],
    };
    let mut checks = vec![Check::ok("configuration", layers(&resolved))];
    let config = &resolved.config;
    if resolved.origin["tasks.train"] != Origin::Default {
        let held_out = config.resolve(&config.tasks.held_out).map_err(|e| with_causes(&e));
        let built = RunTasks::resolve(config, catalog).map_err(|e| with_causes(&e)).and_then(|run| {
            let held_out = held_out?;
            resolve_tasks(catalog, &held_out, config.tasks.count).map_err(|e| with_causes(&e))?;
            Ok(format!(
                "{} to learn, {} to check on, {} held out, over {}",
                run.learned.len(),
                run.validation.len(),
                held_out.len(),
                run.space().name()
            ))
        });
        checks.push(match built {
            Ok(text) => Check::ok("tasks", text),
            Err(text) => Check::failed("tasks", text),
        });
    }
    checks
}

/// How many keys each layer has set.
fn layers(resolved: &Resolved) -> String {
    let mut told: Vec<(String, usize)> = Vec::new();
    for origin in resolved.origin.values().filter(|origin| **origin != Origin::Default) {
        let layer = match origin {
            Origin::File { path, .. } => path.clone(),
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => origin.to_string(),
        };
        match told.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, n)) => *n += 1,
            None => told.push((layer, 1)),
        }
    }
    let told: Vec<String> = told.iter().map(|(layer, n)| format!("{n} from {layer}")).collect();
    match told.is_empty() {
        true => "every key has its default".into(),
        false => format!("keys: {}, the others have their defaults", told.join(", ")),
    }
}
