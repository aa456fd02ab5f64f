//! Who says what is measured next: the method of a search, when it begins, what it is told, and what it asks for.

use super::{LiveError, LiveSearch, Measured, State};
use crate::{
    goal::Goal,
    method::{Begin, Fidelity, MethodError, MethodSpec, SpecError, Whole},
    methods::{Preparation, Priors, Starter, unmeasured},
};
use hashbrown::HashSet;
use srnas_space::SearchSpace;
use srnas_task::Count;
use srnas_task::Training;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

/// A method that asks for nothing new so many times in a row has failed, or waits for what is under way.
const REPEATS: usize = 1000;

/// The worst values so far of each length of training.
pub(super) type Worst = BTreeMap<Fidelity, Vec<f32>>;

/// What a search is prepared with.
pub(super) struct Prepared {
    pub whole: Option<Arc<Whole>>,
    /// Number of architectures, where they can be counted.
    pub distinct: Option<usize>,
    /// Begins the method that is named.
    pub start: Option<Starter>,
}

impl LiveSearch<'_> {
    /// What the method asks for that is new; what is known already it is told again.
    pub(super) fn ask(&self, now: &mut State, prepared: &Prepared) -> Result<Option<Training>, LiveError> {
        let Some(method) = &now.method else { return Ok(self.first(now, prepared)) };
        if !method.concurrent() && !now.running.is_empty() {
            return Ok(None);
        }
        let space = self.oracle.space();
        for _ in 0..REPEATS {
            let Some(method) = &mut now.method else { break };
            let Some(next) = method.ask_training()? else { return Ok(None) };
            if !space.is_valid(&next.choices) {
                return Err(MethodError(format!("asked for {:?}, which is not valid", next.choices)).into());
            }
            match now.place(space, &next) {
                Some(place) => self.told(now, place)?,
                None if now.is_under_way(space, &next) => {}
                None => return Ok(Some(next)),
            }
        }
        match now.running.is_empty() {
            true => {
                Err(MethodError(format!("asked {REPEATS} times in a row for what was measured already"))
                    .into())
            }
            false => Ok(None),
        }
    }

    /// Random architectures, one at a time, until one has a value.
    fn first(&self, now: &State, prepared: &Prepared) -> Option<Training> {
        if !now.running.is_empty() {
            return None;
        }
        let begin = self.begin_with(now, prepared, Vec::new());
        let taken: HashSet<u64> = now.known.iter().map(|measured| measured.key).collect();
        unmeasured(&begin, &taken, &mut begin.rng()).map(Training::full)
    }

    /// Begins the method if it can begin, and tells it what is known.
    pub(super) fn begin(&self, now: &mut State, prepared: &Prepared) -> Result<(), LiveError> {
        let Some(start) = &prepared.start else {
            now.method = Some(Box::new(self.guided(prepared.whole.clone())));
            return (0..now.known.len()).try_for_each(|place| self.told(now, place));
        };
        let full = now.known.iter().filter(|measured| measured.training.fidelity.is_full());
        let first = full.into_iter().find(|measured| self.goal.values(&measured.answer).is_ok());
        let Some(first) = first.map(|measured| measured.training.choices.clone()) else { return Ok(()) };
        now.method = Some(start(&self.begin_with(now, prepared, first))?);
        (0..now.known.len()).try_for_each(|place| self.told(now, place))?;
        let State { method, running, .. } = now;
        method.iter_mut().for_each(|method| running.iter().for_each(|training| method.begun(training)));
        Ok(())
    }

    /// What a method begins with.
    fn begin_with(&self, now: &State, prepared: &Prepared, start: Vec<u8>) -> Begin {
        Begin {
            space: self.oracle.space().clone(),
            count: Count::Classes,
            objectives: self.goal.objectives().len(),
            limits: self.goal.limits().len(),
            budget: self.budget,
            shorter: self.oracle.fidelities().costs().collect(),
            start,
            // A search that goes on draws what it has not drawn before.
            seed: self.seed.wrapping_add((now.known.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            start_seed: self.seed,
            whole: prepared.whole.clone(),
            past: None,
        }
    }

    /// What a method is told of a measurement: its objectives, each to be maximised, and how far it keeps each limit; none where it
    /// has no value.
    fn told_values(&self, measured: &Measured) -> Option<Vec<f32>> {
        let values = self.goal.values(&measured.answer).ok()?;
        let number = |value: &f64| value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        Some(values.maximised.iter().chain(&values.slacks).map(number).collect())
    }

    /// Takes a measurement into the worst values of its kind, which what has no value counts as.
    pub(super) fn learn_worst(&self, worst: &mut Worst, measured: &Measured) {
        let Some(values) = self.told_values(measured) else { return };
        match worst.entry(measured.training.fidelity) {
            Entry::Occupied(mut known) => {
                known.get_mut().iter_mut().zip(values).for_each(|(worst, value)| *worst = worst.min(value));
            }
            Entry::Vacant(first) => drop(first.insert(values)),
        }
    }

    /// Tells the method what is known at one place.
    pub(super) fn told(&self, now: &mut State, place: usize) -> Result<(), LiveError> {
        let State { known, worst, method: Some(method), .. } = now else { return Ok(()) };
        let training = &known[place].training;
        match (self.told_values(&known[place]), training.fidelity) {
            (Some(values), Fidelity::Full) => method.tell(&training.choices, &values)?,
            (Some(values), Fidelity::Shorter(_)) => method.tell_shorter(training, values[0])?,
            (None, fidelity) => {
                let worst = worst.get(&fidelity).or_else(|| worst.values().next());
                method.tell_infeasible(training, worst.map(Vec::as_slice))?;
            }
        }
        Ok(())
    }

    /// What begins the method that is named.
    pub(super) fn starter(&self) -> Result<Option<Starter>, SpecError> {
        let (space, shorter) = (self.oracle.space(), self.oracle.fidelities().shorter());
        self.method.as_ref().map(|spec| starter(spec, space, &self.goal, shorter, self.budget)).transpose()
    }
}

/// Whether a method can search for this where measurements are made; `shorter` is the number of shorter trainings.
///
/// # Errors
/// Says why not, and which methods can.
pub fn check_method(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
) -> Result<(), SpecError> {
    starter(spec, space, goal, shorter, 1).map(|_| ())
}

fn starter(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
    budget: usize,
) -> Result<Starter, SpecError> {
    if spec.policy_file().is_some() {
        return Err(spec.unfit("is given as --policy where measurements are made"));
    }
    if spec.knows_a_past() {
        let reason = "learns from past tasks, which a search that makes its measurements knows by --prior, without --method";
        return Err(spec.unfit(reason));
    }
    let preparation = Preparation {
        space,
        tasks: &[],
        objectives: goal.objectives().len(),
        limits: goal.limits().len(),
        shorter,
        budget,
        past: &[],
        priors: &Priors::default(),
    };
    Ok(spec.prepare(&preparation)?.start)
}
