//! Earlier tasks on the same space as a guide.

use super::{Usage, config::LiveConfig};
use crate::commands::space::GivenSpace;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_ledger::{
    AnswerRecord, Database,
    shared::{Address, Subject, tasks_of_space},
};
use srnas_oracle::costly::CostlyOracle;
use srnas_oracle::{OracleSpec, catalog::Catalog, rewarded::reward_of, tasks::resolve_tasks};
use srnas_predictor::Observed;
use srnas_predictor::{Describe, Formulas, Untrained};
use srnas_search::{Goal, Guide, MethodSpec, Objective, Past, PastSearch, past_of};
use srnas_space::SearchSpace;
use srnas_task::{Count, TaskName, expand_braces};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
    time::Instant,
};
use tracing::{info, warn};

/// The part of a search's config.toml that says on which space it was.
#[derive(Deserialize)]
struct SpaceOf {
    space: String,
}

/// In the place of a past task: what is known without training.
pub const UNTRAINED: &str = "untrained";
/// In the place of any: nothing is to be known, not even that.
pub const NONE: &str = "none";

/// Whether what takes no training is among what is to be known.
pub fn wants_untrained(named: &[String]) -> bool {
    named.iter().any(|name| name == UNTRAINED)
}

/// Refuses what takes no training where nothing is made of it.
pub fn check_untrained(
    config: &LiveConfig,
    goal: &Goal,
    method: Option<&MethodSpec>,
    shorter: usize,
) -> anyhow::Result<()> {
    let says = match method {
        _ if !config.wants_untrained() => return Ok(()),
        _ if !goal.is_single() || !goal.limits().is_empty() => {
            "it goes with one objective without limits".to_string()
        }
        Some(method) if !method.knows_untrained() => {
            format!("{method} makes nothing of it; transfer-gp does, and so does a search without --method")
        }
        _ if shorter > 0 => {
            "short trainings say more, and nothing is made of both: leave out what takes no training, or the shorter trainings of --fidelity"
                .to_string()
        }
        _ => return Ok(()),
    };
    Err(wrong(UNTRAINED, says))
}

/// What is known of architectures without training them, where that is asked for: by the formulas of their space, else by what trains
/// them.
pub fn untrained(named: &[String], oracle: &dyn CostlyOracle) -> anyhow::Result<Option<Arc<Untrained>>> {
    let space = oracle.space();
    if !wants_untrained(named) && !oracle.fidelities().asks_untrained() {
        return Ok(None);
    }
    let formulas = Formulas::of(space).map(|formulas| Arc::new(formulas) as Arc<dyn Describe>);
    let describe = formulas.or_else(|| oracle.describe()).ok_or_else(|| {
        wrong(
            UNTRAINED,
            "neither the space nor what measures says anything without training: give the space file `describe = [\"width * depth\"]`, \
             or search with --oracle train",
        )
    })?;
    info!("asks of every architecture without training it: {}", describe.names().join(", "));
    known(space, describe).map(Some)
}

/// Whether a search that trains is told what untrained networks say although nobody asked for it: they say much of what they are trained
/// for, nothing else is to be known, and it is soon known.
pub fn by_default(config: &LiveConfig, oracle: &dyn CostlyOracle) -> anyhow::Result<bool> {
    let goal = config.goal()?;
    let alone = config.policy.is_none() && config.method.is_none() && config.inherit.is_none();
    let alone = alone && config.past.is_empty() && config.fidelity.is_none();
    let one = goal.is_single() && goal.limits().is_empty() && goal.rewards().is_empty();
    Ok(config.oracle == OracleSpec::Train
        && alone
        && one
        && oracle.describe().is_some_and(|describe| Untrained::is_cheap(oracle.space(), &*describe)))
}

/// What is described of every architecture of a space.
pub fn known(space: &SearchSpace, describe: Arc<dyn Describe>) -> anyhow::Result<Arc<Untrained>> {
    let began = Instant::now();
    let known = Untrained::new(space, describe)
        .ok_or_else(|| wrong(UNTRAINED, "it is the same of every architecture of the space"))?;
    info!(
        "knows of every architecture without training it: {} ({:.1} s)",
        known.names().join(", "),
        began.elapsed().as_secs_f64()
    );
    Ok(Arc::new(known))
}

/// What is known of earlier tasks on the space as a guide, see [`searches`].
pub fn guide(named: &[String], space: &Arc<SearchSpace>, catalog: &Catalog) -> anyhow::Result<Guide> {
    let past = searches(named, space, catalog)?;
    Ok(Guide::of_past(space, &past).map_err(|e| Usage(format!("--past: {e}")))?)
}

/// What is known of each objective and each limit of a goal, by what earlier tasks measured of the same metric; of one objective
/// without limits, by whatever they searched for.
pub fn of_goal(
    named: &[String],
    goal: &Goal,
    space: &Arc<SearchSpace>,
    catalog: &Catalog,
) -> anyhow::Result<Past> {
    if goal.is_single() && goal.limits().is_empty() {
        let past = [searches(named, space, catalog)?];
        return Ok(past_of(space, &past).map_err(|e| Usage(format!("--past: {e}")))?);
    }
    let limits =
        goal.limits().iter().map(|limit| Objective { metric: limit.metric.clone(), minimise: limit.at_most });
    let each = goal.objectives().iter().cloned().chain(limits);
    let of_each = each.map(|metric| searches_of(named, space, catalog, Some(&metric)));
    let of_each = of_each.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(past_of(space, &of_each).map_err(|e| Usage(format!("--past: {e}")))?)
}

/// What is known of earlier tasks on the space: `named` are run directories, of searches or of `srnas run`, databases that searches
/// share, and tasks on benchmarks.
pub fn searches(
    named: &[String],
    space: &Arc<SearchSpace>,
    catalog: &Catalog,
) -> anyhow::Result<Vec<PastSearch>> {
    searches_of(named, space, catalog, None)
}

/// SHA-256 of what is known of earlier tasks: the same folders may hold more tomorrow.
pub fn digest(past: &[PastSearch]) -> String {
    let mut hash = Sha256::new();
    for search in past {
        hash.update(format!("{} {}", search.name.len(), search.measured.len()));
        for (choices, value) in &search.measured {
            hash.update(choices);
            hash.update(value.map_or([0xff; 4], f32::to_le_bytes));
        }
    }
    hex(&hash.finalize())
}

/// As [`searches`], of one metric; of whatever was searched where none is named.
fn searches_of(
    named: &[String],
    space: &Arc<SearchSpace>,
    catalog: &Catalog,
    metric: Option<&Objective>,
) -> anyhow::Result<Vec<PastSearch>> {
    let (mut past, mut seen) = (Vec::new(), HashSet::new());
    for name in named.iter().filter(|name| *name != UNTRAINED) {
        // The same twice says no more than once.
        if !seen.insert(fs::canonicalize(name).unwrap_or_else(|_| name.into())) {
            continue;
        }
        let found = match Path::new(name).is_dir() {
            true => of_folder(Path::new(name), space, metric)?,
            false if Address::is_meant(name) => {
                let address = name.parse().map_err(|e| Usage(format!("--past: {e}")))?;
                of_shared(&address, space, metric)?
            }
            false => of_tasks(name, space, catalog, metric)?,
        };
        past.extend(found);
    }
    if let Some(Objective { metric, .. }) = metric.filter(|_| past.is_empty()) {
        info!("nothing is known of {metric} beforehand");
    }
    for search in &past {
        let values = search.measured.iter().filter(|(_, value)| value.is_some()).count();
        match values {
            0 => warn!("{} has nothing with a value; it says nothing", search.name),
            _ => info!("knows {values} measurements of {}", search.name),
        }
    }
    Ok(past)
}

fn wrong(name: &str, reason: impl std::fmt::Display) -> anyhow::Error {
    Usage(format!("--past {name}: {reason}")).into()
}

fn check_space(name: &str, other: &SearchSpace, space: &SearchSpace) -> anyhow::Result<()> {
    let difference = difference(other, space);
    difference.map_or(Ok(()), |what| Err(wrong(name, format!("its space is another one: {what}"))))
}

/// What is in a run directory: one search, or the tasks that a policy was trained on.
fn of_folder(
    folder: &Path,
    space: &SearchSpace,
    metric: Option<&Objective>,
) -> anyhow::Result<Vec<PastSearch>> {
    let name = folder.display().to_string();
    let text = fs::read_to_string(folder.join("config.toml"))
        .map_err(|e| wrong(&name, format!("it holds no search: cannot read its config.toml ({e})")))?;
    let of_search: Option<SpaceOf> = toml::from_str(&text).ok();
    let (ledger, run) = Database::open_any(&folder.join("ledger.sqlite"))?;
    let other = match of_search {
        Some(config) if !srnas_space::is_known(&config.space) => {
            GivenSpace::load(&folder.join(config.space).display().to_string())?.space
        }
        _ => SearchSpace::named(&run.space).map_err(|e| wrong(&name, e))?,
    };
    check_space(&name, &other, space)?;
    let mut searches = Vec::new();
    for (index, (task, searched)) in run.tasks.iter().enumerate() {
        searches.extend(of_answers(&name, (task, searched), ledger.answers(index as u16)?, space, metric));
    }
    Ok(searches)
}

/// What is in a database that searches share: each of their tasks on this space.
fn of_shared(
    address: &Address,
    space: &SearchSpace,
    metric: Option<&Objective>,
) -> anyhow::Result<Vec<PastSearch>> {
    let (name, tasks) = (address.to_string(), tasks_of_space(address, space)?);
    if tasks.is_empty() {
        return Err(wrong(&name, "it has no task on this space"));
    }
    let of = |(task, answers): (Subject, Vec<AnswerRecord>)| {
        of_answers(&name, (&task.name, &task.family), answers, space, metric)
    };
    Ok(tasks.into_iter().flat_map(of).collect())
}

/// The answers about a task by how long was trained: what shorter trainings said is a task of its own.
fn of_answers(
    place: &str,
    (task, searched): (&str, &str),
    answers: Vec<AnswerRecord>,
    space: &SearchSpace,
    metric: Option<&Objective>,
) -> Vec<PastSearch> {
    let named = |fidelity: f64| PastSearch {
        name: match fidelity {
            1.0 => format!("{place} ({task})"),
            share => format!("{place} ({task}, trainings of {:.1} % of a full one)", 100.0 * share),
        },
        measured: Vec::new(),
    };
    let mut by_fidelity: BTreeMap<u64, PastSearch> = BTreeMap::new();
    for answer in answers {
        let search = by_fidelity.entry(answer.fidelity.to_bits()).or_insert_with(|| named(answer.fidelity));
        // A constraint may be new.
        if space.is_valid(&answer.choices) {
            let of = |(value, metrics): (f64, BTreeMap<String, f64>)| match metric {
                None => Some(value),
                Some(wanted) => metrics
                    .get(&wanted.metric)
                    .copied()
                    // Rewards that were not searched for can be computed.
                    .or_else(|| reward_of(&metrics, &wanted.reward()?).ok())
                    .map(|value| wanted.maximised(value))
                    .or_else(|| (searched == wanted.metric).then_some(value)),
            };
            let value = answer.said.ok().and_then(of).map(|value| value as f32);
            search.measured.push((answer.choices, value));
        }
    }
    if by_fidelity.is_empty() {
        by_fidelity.insert(1f64.to_bits(), named(1.0));
    }
    // Of another metric it says nothing.
    let says = |search: &PastSearch| search.measured.iter().any(|(_, value)| value.is_some());
    by_fidelity.into_values().filter(|search| metric.is_none() || says(search)).collect()
}

/// All that benchmarks know of the tasks that a pattern names.
fn of_tasks(
    pattern: &str,
    space: &Arc<SearchSpace>,
    catalog: &Catalog,
    metric: Option<&Objective>,
) -> anyhow::Result<Vec<PastSearch>> {
    let parse = |name: String| -> anyhow::Result<TaskName> {
        let what = "it is no run directory, nor the name of a task such as nb201/cifar10/val";
        name.parse().map_err(|e| wrong(pattern, format!("{what} ({e})")))
    };
    let names = expand_braces(pattern).map_err(|e| wrong(pattern, e))?;
    let names = names.into_iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    let mut searches = Vec::new();
    for task in resolve_tasks(catalog, &names, Count::Classes)? {
        // On a space of other decisions, what the names of these say.
        let task = match check_space(task.name(), task.space(), space) {
            Ok(()) => task,
            Err(other) => Arc::new(task.matched(space).map_err(|_| other)?),
        };
        // A task is of the metric that its name ends with; one that is a product, of the same product.
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
        let other = |wanted: &Objective| match wanted.reward() {
            Some(_) => !task.name().ends_with(&format!("/{}", wanted.metric)),
            None => last(&wanted.metric) != last(task.name()),
        };
        if metric.is_some_and(other) {
            continue;
        }
        let measured = match task.tabulated() {
            Some(size) => {
                let mut choices = vec![0; space.len()];
                let of = |rank| {
                    task.space().unrank(rank, &mut choices);
                    let value = task.value_of_rank(rank).filter(|_| space.is_valid(&choices))?;
                    Some((choices.clone(), Some(value)))
                };
                (0..size).filter_map(of).collect()
            }
            // Of what has no table, what is enough.
            None => {
                let observed = Observed::of_tasks(space, std::slice::from_ref(&task), Observed::ENOUGH);
                let of = |one: Observed| {
                    let choices =
                        one.choices.chunks_exact(space.len()).map(<[u8]>::to_vec).collect::<Vec<_>>();
                    choices.into_iter().zip(one.values.into_iter().map(Some)).collect::<Vec<_>>()
                };
                observed.into_iter().flat_map(of).collect()
            }
        };
        searches.push(PastSearch { name: task.name().into(), measured });
    }
    Ok(searches)
}

/// In which decision two spaces differ.
fn difference(other: &SearchSpace, space: &SearchSpace) -> Option<String> {
    if other.len() != space.len() {
        return Some(format!("it has {} decisions, not {}", other.len(), space.len()));
    }
    let (a, b) = other
        .decisions()
        .iter()
        .zip(space.decisions())
        .find(|(a, b)| (&a.name, &a.choices) != (&b.name, &b.choices))?;
    Some(match a.name == b.name {
        true => format!("decision `{}` has other choices", a.name),
        false => format!("it has decision `{}` where `{}` is now", a.name, b.name),
    })
}
