//! Who says what is measured next: the method of a search, when it begins, what it is told, and what it asks for.

use super::{LiveError, LiveSearch, Measured, State};
use crate::{
    goal::Goal,
    method::{Begin, MethodError, MethodSpec, Past, SpecError, Whole},
    methods::{Preparation, Priors, Starter, unmeasured},
    search::Next,
};
use hashbrown::HashSet;
use srnas_environment::compress::{Students, lipschitz_beside};
use srnas_oracle::costly::Answer;
use srnas_predictor::Prior;
use srnas_space::SearchSpace;
use srnas_task::{Count, Training};
use std::sync::Arc;

/// What a search is prepared with.
pub(super) struct Prepared {
    pub whole: Option<Arc<Whole>>,
    /// Number of architectures, where they can be counted.
    pub distinct: Option<usize>,
    /// Begins the method that is named.
    pub start: Option<Starter>,
}

impl LiveSearch<'_> {
    /// What is measured next.
    pub(super) fn next(&self, now: &mut State, prepared: &Prepared) -> Result<Next, LiveError> {
        let waits = now.search.has_method() || now.search.wanted().is_some();
        let first = if waits { None } else { self.first(now, prepared) };
        Ok(now.search.next(|| self.oracle.brought().or(first))?)
    }

    /// Random architectures, one at a time, until one has a value.
    fn first(&self, now: &State, prepared: &Prepared) -> Option<Training> {
        if now.search.under_way() > 0 {
            return None;
        }
        let begin = self.begin_with(now, prepared, Vec::new());
        let taken: HashSet<u64> = now.search.ended().iter().map(|ended| ended.key).collect();
        unmeasured(&begin, &taken, &mut begin.rng()).map(Training::full)
    }

    /// Begins the method if it can begin.
    pub(super) fn begin(&self, now: &mut State, prepared: &Prepared) -> Result<(), LiveError> {
        let Some(start) = &prepared.start else {
            return Ok(now.search.begin(Box::new(self.guided(prepared.whole.clone())))?);
        };
        let mut ended = now.search.ended().iter();
        let first = ended.find(|ended| ended.training.fidelity.is_full() && ended.values.is_some());
        let Some(first) = first.map(|ended| ended.training.choices.clone()) else { return Ok(()) };
        let method = start(&self.begin_with(now, prepared, first))?;
        Ok(now.search.begin(method)?)
    }

    /// Takes a measurement in.
    pub(super) fn learn(&self, now: &mut State, measured: Measured) -> Result<(), MethodError> {
        let (training, values) = (measured.training.clone(), self.told_values(&measured));
        let cost = measured.cost;
        // Before the method is told, which asks for it then.
        if let (Some(students), Some(values)) = (&now.students, &values) {
            students.judge.found(&training.choices, values[0], self.lipschitz(&measured));
        }
        now.search.end(training, values, cost)?;
        now.progress.add(&self.ends, &self.goal, &measured, now.search.spent());
        now.known.push(measured);
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
            past: self.past.clone(),
        }
    }

    /// What a method is told of a measurement: its objectives, each to be maximised, and how far it keeps each limit; none where it
    /// has no value.
    fn told_values(&self, measured: &Measured) -> Option<Vec<f32>> {
        let values = self.goal.values(&measured.answer).ok()?;
        let number = |value: &f64| value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        Some(values.maximised.iter().chain(&values.slacks).map(number).collect())
    }

    /// The Lipschitz term that goes with the first objective, where it was measured.
    fn lipschitz(&self, measured: &Measured) -> Option<f32> {
        let (metric, Answer::Metrics(metrics)) =
            (lipschitz_beside(&self.goal.first().metric)?, &measured.answer)
        else {
            return None;
        };
        metrics.get(&metric).map(|term| *term as f32)
    }

    /// What begins the method that is named.
    pub(super) fn starter(&self, students: Option<&Students>) -> Result<Option<Starter>, SpecError> {
        let (space, shorter) = (self.oracle.space(), self.oracle.fidelities().shorter());
        let start = |spec: &MethodSpec| {
            if spec.knows_a_past() && self.past.is_empty() {
                return Err(spec.unfit(NO_PAST));
            }
            starter(spec, space, &self.goal, shorter, self.budget, (&self.past, students))
        };
        self.method.as_ref().map(start).transpose()
    }
}

/// What a method that learns from past tasks says where there are none.
const NO_PAST: &str = "learns from past tasks: give --past DIR, as often as there are some";

/// Whether a method can search for this where measurements are made; `shorter` is the number of shorter trainings, and `past` whether
/// something is known of earlier tasks.
///
/// # Errors
/// Says why not, and which methods can.
pub fn check_method(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
    past: bool,
) -> Result<(), SpecError> {
    let spec = if past { spec.knowing_the_past()? } else { spec.clone() };
    match spec.knows_a_past() {
        true if !past => Err(spec.unfit(NO_PAST)),
        // Which past is known later; whatever it is, the method is the same.
        true => {
            let past = Past::one(Some(Arc::new(Prior::expected(Vec::new()))));
            starter(&spec, space, goal, shorter, 1, (&past, None)).map(|_| ())
        }
        false => starter(&spec, space, goal, shorter, 1, (&Past::default(), None)).map(|_| ()),
    }
}

fn starter(
    spec: &MethodSpec,
    space: &Arc<SearchSpace>,
    goal: &Goal,
    shorter: usize,
    budget: usize,
    (past, students): (&Past, Option<&Students>),
) -> Result<Starter, SpecError> {
    let preparation = Preparation {
        space,
        table: space,
        tasks: &[],
        objectives: goal.objectives().len(),
        limits: goal.limits().len(),
        shorter,
        budget,
        past: &[],
        known: past,
        students,
        priors: &Priors::default(),
    };
    Ok(spec.prepare(&preparation)?.start)
}
