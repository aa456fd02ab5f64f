//! Search by the transfer posterior: the past tasks' mean with a free slope, their covariance, and the plain kernel as
//! residual ([`srnas_predictor::Predictor`]).

use super::{
    Begin, MethodSpec, Past, Preparation, SLOPE_OF_PART, SpecError, Starter, Whole,
    gp::{Acquisition, Gp, acquisition, lookout, universal},
    random::unmeasured,
};
use crate::method::Method;
use hashbrown::HashSet;
use rayon::prelude::*;
use srnas_predictor::{Kind, Observed, PosteriorSettings, Prior, PriorError, Untrained};
use srnas_task::Task;
use std::sync::Arc;

/// What a method that learns from past tasks says where there are none.
pub(super) const NO_PAST: &str = "needs past tasks on the same space: give --past T or --past-set NAME";

/// A past task of which only some measurements are known is searched for half of them by this bound.
const PAST_BETA: f32 = 3.0;

/// Where nothing but what takes no training is known, so many measurements are chosen among random architectures.
const FIRST_DESCRIBED: usize = 2;

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<(Starter, Past), SpecError> {
    let mut options = spec.options()?;
    let acquisition = acquisition(&mut options)?;
    let mut settings = PosteriorSettings::default();
    if p.known.is_known() {
        settings.transfer.slope = SLOPE_OF_PART;
        settings.transfer.smoothing = 0.0;
    }
    let slope = options.word_or_number("slope", "fixed", settings.transfer.slope.into())?;
    settings.transfer.slope = slope.unwrap_or(0.0) as f32;
    settings.transfer.residual = options.number("residual", settings.transfer.residual.into(), 0.0)? as f32;
    settings.transfer.smoothing =
        options.number("smoothing", settings.transfer.smoothing.into(), 0.0)?.min(1.0) as f32;
    let lookout = lookout(&mut options)?;
    let measurements = options.word_or_number("n", "all", 0.0)?.filter(|n| *n > 0.0);
    let mut filling = universal();
    filling.plain.cut = options.number("cut", filling.plain.cut.into(), 0.0)? as f32;
    let share = options.number("untrained", -1.0, 0.0)? as f32;
    if share > 1.0 {
        return Err(spec.unfit("has untrained=… above 1: it is a share of the kernel"));
    }
    // Where measurements are made, what is known comes after the method is checked.
    if share >= 0.0 && p.known.untrained().is_none() && !p.tasks.is_empty() {
        return Err(
            spec.unfit("has untrained=… and nothing that is known without training: give --past untrained")
        );
    }
    let first = options.whole("first", FIRST_DESCRIBED, 0)?;
    options.end()?;
    let prior = past_of(spec, p, measurements.map(|n| n as usize), filling)?;
    let untrained = p.known.untrained().filter(|_| share != 0.0).map(|untrained| match share {
        share if share > 0.0 => Arc::new(Untrained::clone(untrained).sharing(share)),
        _ => untrained.clone(),
    });
    if prior.is_none() && untrained.is_none() {
        return Err(spec.unfit(format!("{NO_PAST}, or what is known without training: --past untrained")));
    }
    let past = Past::one(prior).describing(untrained);
    let start: Starter = match past.is_known() {
        true => Box::new(move |begin| {
            let favourites = begin.past.favourites().to_vec();
            let gp = Gp::looking(lookout, begin, settings, Kind::Transfer, acquisition);
            Ok(Box::new(gp.near(favourites)))
        }),
        // Nothing but what takes no training.
        false => Box::new(move |begin| {
            let gp = Gp::looking(lookout, begin, filling, Kind::Plain, acquisition);
            Ok(Box::new(gp.beginning_among_random(first)))
        }),
    };
    Ok((start, past))
}

/// What the past tasks say, all of it or from so many measurements of each; none without past tasks.
pub(super) fn past_of(
    spec: &MethodSpec,
    p: &Preparation,
    measurements: Option<usize>,
    filling: PosteriorSettings,
) -> Result<Option<Arc<Prior>>, SpecError> {
    if p.known.is_known() {
        return Ok(p.known.of(0).cloned());
    }
    let past = past_tasks(p);
    if past.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = past.iter().map(|t| t.name()).collect();
    // The same tasks are other values on another space, and on another list of one.
    let space = (p.space.name(), p.space.list_hash());
    let key = format!("{space:?} {measurements:?} {} {}", filling.plain.cut, names.join(" "));
    let known = p.priors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&key).cloned();
    let prior = match (known, measurements) {
        (Some(prior), _) => prior,
        (None, None) => {
            Arc::new(Prior::of_tasks(p.space, &filling.plain, &past).map_err(|e| spec.unfit(e.to_string()))?)
        }
        (None, Some(n)) if p.space.size().is_none_or(|size| size > Prior::LARGEST) => {
            let observed = Observed::of_tasks(p.space, &past, n);
            Arc::new(Prior::of_observed(p.space, &filling.plain, observed))
        }
        (None, Some(n)) => {
            Arc::new(sampled_prior(p, &past, n, filling).map_err(|e| spec.unfit(e.to_string()))?)
        }
    };
    p.priors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(key, prior.clone());
    Ok(Some(prior))
}

/// The past tasks: what is searched must not be looked up in the past, nor must its nearest relatives.
pub(super) fn past_tasks(p: &Preparation) -> Vec<Arc<Task>> {
    let task = p.tasks.first().and_then(Option::as_ref);
    let own = task.filter(|task| p.past.iter().any(|past| past.name() == task.name()));
    let is_relative = |past: &Task| own.is_some_and(|own| past.family() == own.family());
    p.past.iter().filter(|past| !is_relative(past)).cloned().collect()
}

/// A prior from `n` measurements of each past task, half of them uniform and half as a search visits them; the rest is filled
/// by the task's own plain posterior.
fn sampled_prior(
    p: &Preparation,
    past: &[Arc<Task>],
    n: usize,
    filling: PosteriorSettings,
) -> Result<Prior, PriorError> {
    let whole = Whole::new(p.space, past[0].count()).map(Arc::new);
    let Some(whole) = whole else {
        return Err(PriorError::TooLarge(p.space.name().into()));
    };
    let n = n.min(whole.distinct());
    let values: Vec<Vec<f32>> = past
        .par_iter()
        .enumerate()
        .map(|(index, task)| filled(p, task, &whole, n, index as u64, filling))
        .collect();
    let names = |f: fn(&Task) -> &str| past.iter().map(|t| f(t).to_string()).collect();
    Prior::new(names(Task::name), names(Task::family), whole.keys.len(), values.concat())
}

fn filled(
    p: &Preparation,
    task: &Arc<Task>,
    whole: &Arc<Whole>,
    n: usize,
    index: u64,
    filling: PosteriorSettings,
) -> Vec<f32> {
    let begin = Begin {
        space: p.space.clone(),
        count: task.count(),
        objectives: 1,
        limits: 0,
        budget: n,
        shorter: Arc::from([]),
        start: vec![0; p.space.len()],
        seed: 0x9a57 + index,
        start_seed: 0,
        whole: Some(whole.clone()),
        past: Past::default(),
    };
    let mut rng = begin.rng();
    let mut gp = Gp::new(&begin, filling, Kind::Plain, Acquisition::Bound(PAST_BETA));
    let mut measured = HashSet::new();
    let mut known: Vec<(u64, f32)> = Vec::with_capacity(n);
    for turn in 0..n {
        let next = match turn < n.div_ceil(2) {
            true => unmeasured(&begin, &measured, &mut rng),
            false => gp.ask().expect("a Gaussian process does not fail"),
        };
        let Some(choices) = next else { break };
        let Some(value) = task.value(&choices) else { continue };
        measured.insert(begin.key(&choices));
        known.push((begin.key(&choices), value));
        gp.tell(&choices, &[value]).expect("a Gaussian process does not fail");
    }
    gp.completed(whole, &known.into_iter().collect())
}
