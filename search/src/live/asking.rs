//! Whether a method can search for something, and what begins it.

use super::Asking;
use crate::{
    goal::Goal,
    method::{MethodSpec, Past, SpecError, Whole},
    methods::{Preparation, Priors, Starter},
};
use srnas_environment::compress::Students;
use srnas_predictor::Prior;
use srnas_space::SearchSpace;
use std::sync::Arc;

/// What a search is prepared with.
pub(super) struct Prepared {
    pub whole: Option<Arc<Whole>>,
    /// Number of architectures, where they can be counted.
    pub distinct: Option<usize>,
    /// Begins the method that is named.
    pub start: Option<Starter>,
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
            prepare(&spec, space, goal, shorter, 1, (&past, None)).map(|_| ())
        }
        false => prepare(&spec, space, goal, shorter, 1, (&Past::default(), None)).map(|_| ()),
    }
}

/// What begins the method that is named.
pub(super) fn starter(asking: &Asking) -> Result<Option<Starter>, SpecError> {
    let Asking { space, fidelities, goal, budget, past, students, .. } = asking;
    let start = |spec: &MethodSpec| {
        if spec.knows_a_past() && past.is_empty() {
            return Err(spec.unfit(NO_PAST));
        }
        prepare(spec, space, goal, fidelities.shorter(), *budget, (past, students.as_ref()))
    };
    asking.method.as_ref().map(start).transpose()
}

fn prepare(
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
